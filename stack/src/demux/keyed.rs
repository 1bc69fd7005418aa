//! Small records by five-tuple: a slab and a hash table in one, for what is not (or no longer) a connection.
//!
//! A record costs its own size, 40 bytes of key and chain, and at most eight for its bucket. The buckets grow
//! by one with every record too many (linear hashing: Litwin, 1980), so no insertion pays for all the others,
//! and a record keeps its number for as long as it lives.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use crate::hash::{FlowWords, HashKey};
use crate::types::{FlowKey, Protocol, is_link_local};

/// Records in a chunk.
const CHUNK: usize = 64;
/// The end of a chain.
const NONE: u32 = u32::MAX;

/// The two ends of a TCP flow in 36 bytes; IPv4 addresses are mapped, the scope of a link-local end stands in its
/// second word, which is zero (RFC 4291 §2.5.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tuple {
    local: [u8; 16],
    remote: [u8; 16],
    ports: [u16; 2],
}

impl Tuple {
    const NOBODY: Tuple = Tuple { local: [0; 16], remote: [0; 16], ports: [0; 2] };

    fn new(key: &FlowKey) -> Self {
        Self {
            local: octets(&key.local),
            remote: octets(&key.remote),
            ports: [key.local.port(), key.remote.port()],
        }
    }

    /// Packed for hashing; where the scope of a link-local end stands is part of its address here.
    #[inline]
    fn words(&self) -> FlowWords {
        let (local, remote) = (u128::from_be_bytes(self.local), u128::from_be_bytes(self.remote));
        let ([from, to], tcp) = (self.ports, Protocol::Tcp);
        // IPv4-mapped (RFC 4291 §2.5.5.2).
        if local >> 32 == 0xffff && remote >> 32 == 0xffff {
            let (local, remote) = (Ipv4Addr::from_bits(local as u32), Ipv4Addr::from_bits(remote as u32));
            return FlowWords::v4(tcp, (local, from), (remote, to));
        }
        FlowWords::v6(tcp, (Ipv6Addr::from_bits(local), from), (Ipv6Addr::from_bits(remote), to), 0)
    }

    fn key(&self) -> FlowKey {
        FlowKey {
            protocol: Protocol::Tcp,
            local: end(self.local, self.ports[0]),
            remote: end(self.remote, self.ports[1]),
        }
    }
}

fn octets(end: &SocketAddr) -> [u8; 16] {
    match end {
        SocketAddr::V4(v4) => v4.ip().to_ipv6_mapped().octets(),
        SocketAddr::V6(v6) => {
            let mut octets = v6.ip().octets();
            if v6.ip().is_unicast_link_local() && is_link_local(v6.ip()) {
                octets[4..8].copy_from_slice(&v6.scope_id().to_be_bytes());
            }
            octets
        }
    }
}

fn end(mut octets: [u8; 16], port: u16) -> SocketAddr {
    let mut scope = [0; 4];
    // With the scope in it, it is no longer of fe80::/64.
    if Ipv6Addr::from(octets).is_unicast_link_local() {
        scope.copy_from_slice(&octets[4..8]);
        octets[4..8].fill(0);
    }
    match Ipv6Addr::from(octets).to_canonical() {
        IpAddr::V4(ip) => SocketAddr::new(ip.into(), port),
        IpAddr::V6(ip) => SocketAddrV6::new(ip, port, 0, u32::from_be_bytes(scope)).into(),
    }
}

#[derive(Clone, Copy, Debug)]
struct Node<T> {
    tuple: Tuple,
    /// The next of its bucket, or of the free.
    next: u32,
    value: T,
}

/// Records of TCP flows, named by number or by flow.
#[derive(Debug)]
pub struct Keyed<T> {
    key: HashKey,
    chunks: Vec<Box<[Node<T>]>>,
    /// The first record of each bucket; a power of two of them, and those that were split off since.
    buckets: Vec<u32>,
    free: u32,
    len: u32,
    limit: u32,
}

impl<T: Copy + Default> Keyed<T> {
    /// Room for `limit` records. Allocates nothing yet.
    pub fn new(key: HashKey, limit: u32) -> Self {
        Self { key, chunks: Vec::new(), buckets: Vec::new(), free: NONE, len: 0, limit: limit.min(NONE - 1) }
    }

    /// Records held.
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether there is none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether there is no room for more.
    pub fn is_full(&self) -> bool {
        self.len >= self.limit
    }

    /// Bytes that a record takes, its bucket included at the worst.
    pub const fn bytes_each() -> usize {
        size_of::<Node<T>>() + 2 * size_of::<u32>()
    }

    /// Keeps `value` for `flow`, which must not have a record yet. None when there is no room.
    pub fn insert(&mut self, flow: &FlowKey, value: T) -> Option<u32> {
        debug_assert!(self.find(flow).is_none(), "one record a flow");
        if self.is_full() {
            return None;
        }
        if self.free == NONE {
            self.grow();
        }
        let at = self.free;
        self.free = self.node(at)?.next;
        self.len += 1;
        self.split();
        let tuple = Tuple::new(flow);
        let bucket = self.bucket(self.hash(&tuple));
        let next = core::mem::replace(&mut self.buckets[bucket], at);
        *self.node_mut(at)? = Node { tuple, next, value };
        Some(at)
    }

    /// The number of `flow`'s record.
    #[inline]
    pub fn find(&self, flow: &FlowKey) -> Option<u32> {
        if self.len == 0 {
            return None;
        }
        let tuple = Tuple::new(flow);
        let mut at = self.buckets[self.bucket(self.hash(&tuple))];
        while let Some(node) = self.node(at) {
            if node.tuple == tuple {
                return Some(at);
            }
            at = node.next;
        }
        None
    }

    /// A record.
    #[inline]
    pub fn get(&self, at: u32) -> Option<&T> {
        self.node(at).filter(|n| n.tuple != Tuple::NOBODY).map(|n| &n.value)
    }

    /// A record, for change.
    #[inline]
    pub fn get_mut(&mut self, at: u32) -> Option<&mut T> {
        self.node_mut(at).filter(|n| n.tuple != Tuple::NOBODY).map(|n| &mut n.value)
    }

    /// Whose a record is.
    pub fn flow(&self, at: u32) -> Option<FlowKey> {
        self.node(at).filter(|n| n.tuple != Tuple::NOBODY).map(|n| n.tuple.key())
    }

    /// Takes a record out; its number is free.
    pub fn remove(&mut self, at: u32) -> Option<T> {
        let node = *self.node(at).filter(|n| n.tuple != Tuple::NOBODY)?;
        let bucket = self.bucket(self.hash(&node.tuple));
        if self.buckets[bucket] == at {
            self.buckets[bucket] = node.next;
        } else {
            let mut before = self.buckets[bucket];
            while let Some(n) = self.node_mut(before) {
                if n.next == at {
                    n.next = node.next;
                    break;
                }
                before = n.next;
            }
        }
        let free = self.free;
        *self.node_mut(at)? = Node { tuple: Tuple::NOBODY, next: free, value: T::default() };
        self.free = at;
        self.len -= 1;
        Some(node.value)
    }

    /// Every flow that has a record. Linear: not for packets.
    pub fn flows(&self) -> impl Iterator<Item = FlowKey> {
        let nodes = self.chunks.iter().flat_map(|chunk| chunk.iter());
        nodes.filter(|n| n.tuple != Tuple::NOBODY).map(|n| n.tuple.key())
    }

    #[inline]
    fn hash(&self, tuple: &Tuple) -> usize {
        tuple.words().hash(&self.key) as usize
    }

    /// The bucket of a hash: of the next power of two, if that bucket was split off already.
    #[inline]
    fn bucket(&self, hash: usize) -> usize {
        let wide = hash & (self.buckets.len().next_power_of_two() - 1);
        if wide < self.buckets.len() { wide } else { wide & (self.buckets.len().next_power_of_two() / 2 - 1) }
    }

    /// Adds a bucket when there are more records than buckets, and gives it those that are now its.
    fn split(&mut self) {
        if self.buckets.len() >= self.len as usize {
            return;
        }
        let new = self.buckets.len();
        self.buckets.push(NONE);
        let Some(from) = new.checked_sub(1 << new.checked_ilog2().unwrap_or(0)) else { return };
        let (mut at, mut kept, mut moved) = (self.buckets[from], NONE, NONE);
        while let Some(&Node { tuple, next, .. }) = self.node(at) {
            let goes = self.bucket(self.hash(&tuple)) == new;
            let chain = if goes { &mut moved } else { &mut kept };
            let behind = core::mem::replace(chain, at);
            if let Some(node) = self.node_mut(at) {
                node.next = behind;
            }
            at = next;
        }
        (self.buckets[from], self.buckets[new]) = (kept, moved);
    }

    #[inline]
    fn node(&self, at: u32) -> Option<&Node<T>> {
        self.chunks.get(at as usize / CHUNK)?.get(at as usize % CHUNK)
    }

    #[inline]
    fn node_mut(&mut self, at: u32) -> Option<&mut Node<T>> {
        self.chunks.get_mut(at as usize / CHUNK)?.get_mut(at as usize % CHUNK)
    }

    fn grow(&mut self) {
        let first = (self.chunks.len() * CHUNK) as u32;
        let last = first + CHUNK as u32 - 1;
        let empty = |at| Node {
            tuple: Tuple::NOBODY,
            next: if at == last { NONE } else { at + 1 },
            value: T::default(),
        };
        self.chunks.push((first..=last).map(empty).collect());
        self.free = first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn flow(n: u32) -> FlowKey {
        let remote = match n % 3 {
            0 => SocketAddr::from(([10, 1, (n >> 8) as u8, n as u8], 1 + (n >> 16) as u16)),
            _ => SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, (n >> 16) as u16, n as u16], 443)),
        };
        let local = match remote {
            SocketAddr::V4(_) => SocketAddr::from(([10, 0, 0, 1], 80)),
            SocketAddr::V6(_) => SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], 80)),
        };
        FlowKey { protocol: Protocol::Tcp, local, remote }
    }

    #[test]
    fn a_link_local_flow_keeps_its_link() {
        let mut keyed = Keyed::<u64>::new(HashKey::new([9; 16]), 100);
        let on = |scope| {
            let end =
                |last, port| SocketAddrV6::new(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, last), port, 0, scope);
            FlowKey { protocol: Protocol::Tcp, local: end(1, 80).into(), remote: end(2, 99).into() }
        };
        let places: Vec<u32> = (1..50).map(|scope| keyed.insert(&on(scope), scope.into()).unwrap()).collect();
        for (at, scope) in places.into_iter().zip(1..) {
            assert_eq!((keyed.find(&on(scope)), keyed.flow(at)), (Some(at), Some(on(scope))));
            assert_eq!(keyed.remove(at), Some(scope.into()));
            assert_eq!(keyed.find(&on(scope)), None);
        }
    }

    #[test]
    fn equals_a_hash_map() {
        let mut keyed = Keyed::<u64>::new(HashKey::new([9; 16]), u32::MAX);
        let mut model: HashMap<FlowKey, u64> = HashMap::new();
        let mut x = 7u64;
        for step in 0..60_000u64 {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            let key = flow((x % (1 + step / 8)) as u32);
            let found = keyed.find(&key);
            assert_eq!(found.and_then(|at| keyed.get(at)), model.get(&key));
            match found {
                Some(at) if x & 1 << 40 != 0 => {
                    assert_eq!(keyed.flow(at), Some(key));
                    assert_eq!(keyed.remove(at), model.remove(&key));
                    assert_eq!(keyed.get(at), None);
                    assert_eq!(keyed.remove(at), None);
                }
                Some(_) => {}
                None => {
                    keyed.insert(&key, step).unwrap();
                    model.insert(key, step);
                }
            }
            assert_eq!(keyed.len(), model.len());
        }
        assert!(model.len() > 1000);
        let mut flows: Vec<FlowKey> = keyed.flows().collect();
        flows.sort_by_key(|f| f.remote);
        flows.dedup();
        assert_eq!(flows.len(), model.len());
        assert!(flows.iter().all(|f| model.contains_key(f)));
        // No bucket holds much: the table grew with its records.
        assert!(keyed.buckets.len() >= keyed.len());
    }

    #[test]
    fn the_limit_holds_and_numbers_are_taken_again() {
        let mut keyed = Keyed::<u8>::new(HashKey::new([1; 16]), 2);
        let first = keyed.insert(&flow(1), 1).unwrap();
        keyed.insert(&flow(2), 2).unwrap();
        assert_eq!(keyed.insert(&flow(3), 3), None);
        assert_eq!(keyed.remove(first), Some(1));
        assert_eq!(keyed.insert(&flow(3), 3), Some(first));
        assert_eq!((keyed.find(&flow(1)), keyed.find(&flow(3))), (None, Some(first)));
    }
}
