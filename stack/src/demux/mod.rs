//! Five-tuple → socket.
//!
//! [`FlowIndex`] finds connections, [`FlowTable`] sockets of datagrams with a peer, [`LocalTable`] listeners and
//! unconnected sockets. All are keyed by the stack's secret, take one probe into one array, and grow without a pause.

mod growing;
mod index;
mod keyed;
mod lately;
mod table;

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::hash::{FlowWords, HashKey, LocalWords};
use crate::types::{FlowKey, LocalKey, Protocol, SocketId};
pub use index::FlowIndex;
pub use keyed::Keyed;
pub use lately::Lately;
use table::Table;

/// What a table may hold: anything that fits 64 bits.
pub trait Packed: Copy {
    /// As 64 bits.
    fn pack(self) -> u64;
    /// Back from [`Packed::pack`].
    fn unpack(bits: u64) -> Self;
}

impl Packed for u32 {
    fn pack(self) -> u64 {
        u64::from(self)
    }
    fn unpack(bits: u64) -> Self {
        bits as u32
    }
}

impl Packed for SocketId {
    fn pack(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }
    fn unpack(bits: u64) -> Self {
        Self { index: bits as u32, generation: (bits >> 32) as u32 }
    }
}

/// Anything by five-tuple.
#[derive(Debug)]
pub struct FlowTable<V> {
    v4: Table<3>,
    v6: Table<6>,
    values: core::marker::PhantomData<V>,
}

impl<V: Packed> FlowTable<V> {
    /// An empty table.
    pub fn new(key: HashKey) -> Self {
        Self::with_capacity(key, 0)
    }

    /// A table that holds `flows` IPv4 flows before it has to grow.
    pub fn with_capacity(key: HashKey, flows: usize) -> Self {
        Self { v4: Table::new(key, flows), v6: Table::new(key, 0), values: core::marker::PhantomData }
    }

    /// Flows held.
    pub fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What is kept for `flow`.
    #[inline]
    pub fn get(&self, flow: &FlowKey) -> Option<V> {
        self.at(&FlowWords::new(flow))
    }

    /// What is kept for the flow that is packed in `words`.
    #[inline]
    pub fn at(&self, words: &FlowWords) -> Option<V> {
        match *words {
            FlowWords::V4([a, b]) => self.v4.get(&[a, b, 0]),
            FlowWords::V6([a, b, c, d, e]) => self.v6.get(&[a, b, c, d, e, 0]),
        }
        .map(V::unpack)
    }

    /// Keeps `value` for `flow`; returns what it replaced.
    pub fn insert(&mut self, flow: &FlowKey, value: V) -> Option<V> {
        let value = value.pack();
        match FlowWords::new(flow) {
            FlowWords::V4([a, b]) => self.v4.insert([a, b, value]),
            FlowWords::V6([a, b, c, d, e]) => self.v6.insert([a, b, c, d, e, value]),
        }
        .map(V::unpack)
    }

    /// Forgets `flow`; returns what was kept.
    pub fn remove(&mut self, flow: &FlowKey) -> Option<V> {
        match FlowWords::new(flow) {
            FlowWords::V4([a, b]) => self.v4.remove(&[a, b, 0]),
            FlowWords::V6([a, b, c, d, e]) => self.v6.remove(&[a, b, c, d, e, 0]),
        }
        .map(V::unpack)
    }
}

/// Listeners and unconnected sockets by protocol, local address and port. An unspecified address stands for
/// every address of its family.
#[derive(Debug)]
pub struct LocalTable<V> {
    v4: Table<2>,
    v6: Table<4>,
    values: core::marker::PhantomData<V>,
}

impl<V: Packed> LocalTable<V> {
    /// An empty table.
    pub fn new(key: HashKey) -> Self {
        Self { v4: Table::new(key, 0), v6: Table::new(key, 0), values: core::marker::PhantomData }
    }

    /// Endpoints held.
    pub fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Who hears what is sent to `address` and `port`: an endpoint with exactly this address, else one with the
    /// unspecified address.
    #[inline]
    pub fn lookup(&self, protocol: Protocol, address: IpAddr, port: u16) -> Option<V> {
        let any = match address.to_canonical() {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        self.get(&LocalKey { protocol, address, port })
            .or_else(|| self.get(&LocalKey { protocol, address: any, port }))
    }

    /// What is kept for exactly `key`.
    #[inline]
    pub fn get(&self, key: &LocalKey) -> Option<V> {
        match LocalWords::new(key) {
            LocalWords::V4([a]) => self.v4.get(&[a, 0]),
            LocalWords::V6([a, b, c]) => self.v6.get(&[a, b, c, 0]),
        }
        .map(V::unpack)
    }

    /// Keeps `value` for `key`; returns what it replaced.
    pub fn insert(&mut self, key: &LocalKey, value: V) -> Option<V> {
        let value = value.pack();
        match LocalWords::new(key) {
            LocalWords::V4([a]) => self.v4.insert([a, value]),
            LocalWords::V6([a, b, c]) => self.v6.insert([a, b, c, value]),
        }
        .map(V::unpack)
    }

    /// Forgets `key`; returns what was kept.
    pub fn remove(&mut self, key: &LocalKey) -> Option<V> {
        match LocalWords::new(key) {
            LocalWords::V4([a]) => self.v4.remove(&[a, 0]),
            LocalWords::V6([a, b, c]) => self.v6.remove(&[a, b, c, 0]),
        }
        .map(V::unpack)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: HashKey = HashKey::new([9; 16]);

    fn flow(local: &str, remote: &str) -> FlowKey {
        FlowKey { protocol: Protocol::Tcp, local: local.parse().unwrap(), remote: remote.parse().unwrap() }
    }

    fn local(address: &str, port: u16) -> LocalKey {
        LocalKey { protocol: Protocol::Udp, address: address.parse().unwrap(), port }
    }

    #[test]
    fn each_part_of_the_tuple_counts() {
        let mut table = FlowTable::new(KEY);
        let id = SocketId { index: 7, generation: 0xffff_0001 };
        let key = flow("10.0.0.1:80", "10.0.0.2:1000");
        assert_eq!(table.insert(&key, id), None);
        assert_eq!(table.get(&key), Some(id));
        assert_eq!(table.get(&FlowKey { protocol: Protocol::Udp, ..key }), None);
        for (l, r) in [
            ("10.0.0.1:81", "10.0.0.2:1000"),
            ("10.0.0.2:80", "10.0.0.2:1000"),
            ("10.0.0.1:80", "10.0.0.3:1000"),
            ("10.0.0.1:80", "10.0.0.2:1001"),
            ("10.0.0.2:1000", "10.0.0.1:80"),
            ("[::a00:1]:80", "[::a00:2]:1000"),
        ] {
            assert_eq!(table.get(&flow(l, r)), None, "{l} {r}");
        }
        assert_eq!(table.remove(&key), Some(id));
        assert_eq!((table.get(&key), table.len()), (None, 0));
    }

    #[test]
    fn ipv6_flows_live_beside_ipv4_flows() {
        let mut table: FlowTable<u32> = FlowTable::new(KEY);
        table.insert(&flow("[2001:db8::1]:80", "[2001:db8::2]:1"), 6);
        table.insert(&flow("10.0.0.1:80", "10.0.0.2:1"), 4);
        assert_eq!(table.get(&flow("[2001:db8::1]:80", "[2001:db8::2]:1")), Some(6));
        assert_eq!(table.get(&flow("[2001:db8::1]:80", "[2001:db8::3]:1")), None);
        assert_eq!(table.len(), 2);
        assert_eq!(table.remove(&flow("[2001:db8::1]:80", "[2001:db8::2]:1")), Some(6));
        assert_eq!(table.len(), 1);
    }

    #[test]
    fn an_exact_address_goes_before_the_wildcard() {
        let mut table: LocalTable<u32> = LocalTable::new(KEY);
        table.insert(&local("0.0.0.0", 53), 1);
        table.insert(&local("10.0.0.1", 53), 2);
        table.insert(&local("::", 53), 3);
        let lookup =
            |table: &LocalTable<u32>, a: &str, port| table.lookup(Protocol::Udp, a.parse().unwrap(), port);
        assert_eq!(lookup(&table, "10.0.0.1", 53), Some(2));
        assert_eq!(lookup(&table, "10.0.0.2", 53), Some(1));
        assert_eq!(lookup(&table, "2001:db8::1", 53), Some(3));
        assert_eq!(lookup(&table, "::ffff:10.0.0.1", 53), Some(2));
        assert_eq!(lookup(&table, "10.0.0.1", 54), None);
        assert_eq!(table.lookup(Protocol::Tcp, "10.0.0.1".parse().unwrap(), 53), None);
        assert_eq!(table.remove(&local("10.0.0.1", 53)), Some(2));
        assert_eq!(lookup(&table, "10.0.0.1", 53), Some(1));
        assert_eq!(table.len(), 2);
    }
}
