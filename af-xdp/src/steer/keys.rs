//! Keys and counters as `bpf/steer.h` lays them out.

use std::net::{IpAddr, SocketAddr};

use crate::slots::WORDS;
use crate::sys::CPUS_MAX;

/// Slots: stacks that an interface can be shared among.
pub const SLOTS: u32 = 252;
/// Receive queues of an interface that can be steered from.
pub const QUEUES: u32 = 64;

/// Bytes in the values of maps that name a slot, a group or a socket.
pub(super) const SLOT: usize = 4;
/// Groups of stacks that share local endpoints.
pub(super) const GROUPS: u32 = 4096;
/// Words in `struct steer_group`.
pub(super) const GROUP_WORDS: usize = WORDS + BUCKETS / 8;
/// A group's flows by hash.
pub(super) const BUCKETS: usize = 256;
/// In the place of a slot.
pub(super) const NOBODY: u8 = 0xff;
/// Words in `struct steer_flow`.
pub(super) const FLOW_WORDS: usize = 5;
/// Places that a flow may have in the directory.
pub(super) const WAYS: usize = 4;
/// Flows in the directory.
pub(super) const DIRECTORY: u32 = 65536;
/// Words in `struct steer_config`.
pub(super) const CONFIG_WORDS: usize = 6;
/// Words in `struct steer_credit`.
pub(super) const CREDIT_WORDS: usize = 16;

/// Tables that a guard may have.
pub const GUARD_TABLES: usize = 256;
/// Rules of a table of a guard, as bits of so many words.
pub const GUARD_WORDS: usize = 16;
/// Rules of a table that a guard may have.
pub const GUARD_RULES: usize = GUARD_WORDS * 64;
/// Classes that a guard may have; the first is empty.
pub const CLASSES: usize = 4096;
/// Rules of a guard that have a count of their own.
pub const TALLIES: usize = 16384;
/// Packets kept out that wait to be told of.
pub(super) const ALARMS: u64 = 1024;
/// Words in `struct steer_alarm`.
pub(super) const ALARM_WORDS: usize = 8;
/// Words in `struct steer_table`.
pub(super) const TABLE_WORDS: usize = 6;
/// Bytes in `struct steer_place`.
pub(super) const PLACE: usize = 24;

/// `struct steer_flow`, as a key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct FlowKey(pub(super) [u8; FlowKey::SIZE]);

/// `struct steer_port_key`.
pub(super) struct PortKey(pub(super) [u8; PortKey::SIZE]);

/// IPv4 as v4-mapped.
pub(super) fn sixteen(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(a) => a.to_ipv6_mapped().octets(),
        IpAddr::V6(a) => a.octets(),
    }
}

impl FlowKey {
    pub(super) const SIZE: usize = 40;

    pub(super) fn new(protocol: u8, local: SocketAddr, remote: SocketAddr) -> Self {
        let mut key = [0; Self::SIZE];
        key[..16].copy_from_slice(&sixteen(local.ip()));
        key[16..32].copy_from_slice(&sixteen(remote.ip()));
        key[32..34].copy_from_slice(&local.port().to_be_bytes());
        key[34..36].copy_from_slice(&remote.port().to_be_bytes());
        key[36] = protocol;
        Self(key)
    }

    /// The key as the program reads it, a word at a time.
    pub(super) fn words(&self) -> [u64; 5] {
        let mut words = [0; 5];
        for (word, bytes) in words.iter_mut().zip(self.0.as_chunks::<8>().0) {
            *word = u64::from_ne_bytes(*bytes);
        }
        words
    }

    /// Back from [`FlowKey::words`]: protocol, local and remote end.
    pub(super) fn flow(words: [u64; 5]) -> SteeredFlow {
        let mut key = [0; Self::SIZE];
        for (bytes, word) in key.as_chunks_mut::<8>().0.iter_mut().zip(words) {
            *bytes = word.to_ne_bytes();
        }
        let end = |at: usize, port: usize| {
            let mut octets = [0; 16];
            octets.copy_from_slice(&key[at..at + 16]);
            let address = IpAddr::from(octets).to_canonical();
            SocketAddr::new(address, u16::from_be_bytes([key[port], key[port + 1]]))
        };
        SteeredFlow { protocol: key[36], local: end(0, 32), remote: end(16, 34) }
    }
}

/// A flow that the directory knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SteeredFlow {
    /// The IP protocol number.
    pub protocol: u8,
    /// Our end.
    pub local: SocketAddr,
    /// The other end.
    pub remote: SocketAddr,
}

impl PortKey {
    pub(super) const SIZE: usize = 20;

    pub(super) fn new(protocol: u8, local: SocketAddr) -> Self {
        let mut key = [0; Self::SIZE];
        key[..16].copy_from_slice(&sixteen(local.ip()));
        key[16..18].copy_from_slice(&local.port().to_be_bytes());
        key[18] = protocol;
        Self(key)
    }
}

/// What the steering program did with packets (`enum steer_counter`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SteeringCounters {
    /// Redirected: exact flow.
    pub flow: u64,
    /// Redirected: local address and port.
    pub port: u64,
    /// Redirected: a piece of a TCP segment.
    pub piece: u64,
    /// Redirected: ICMP error about a packet of ours.
    pub icmp: u64,
    /// Passed: TCP or UDP that nobody asked for.
    pub pass_miss: u64,
    /// Passed: neither TCP nor UDP nor an ICMP error of ours.
    pub pass_other: u64,
    /// Passed: not IP (ARP, two VLAN tags, ...).
    pub pass_link: u64,
    /// Passed: a fragment, for the kernel to reassemble, or a datagram that fits no frame.
    pub pass_fragment: u64,
    /// Passed: cut off, or a header that contradicts itself.
    pub pass_short: u64,
    /// Passed: steered, but no socket for this queue in the slot.
    pub pass_no_xsk: u64,
    /// Dropped: a SYN to a stack that has too many of them.
    pub shed_syn: u64,
    /// Passed: of a connection that the kernel took before the stack listened.
    pub pass_kernels: u64,
    /// Dropped: to a cloaked address that does not know the sender.
    pub drop_cloaked: u64,
    /// Dropped: denied by a table that the program carries out.
    pub drop_denied: u64,
    /// Among those passed: whose tag is not that of the VLAN that has their address.
    pub miss_vlan: u64,
    /// Among those passed: denied by a table that only monitors.
    pub monitored: u64,
}

const COUNTERS: usize = 16;

/// Bytes in `struct steer_counts`.
pub(super) const COUNTS: usize = COUNTERS * 8;

impl SteeringCounters {
    /// Room for the counters of every CPU.
    pub(super) fn buffer() -> Vec<u64> {
        vec![0; COUNTERS * CPUS_MAX]
    }

    /// Adds up one row a CPU.
    pub(super) fn sum(rows: &[u64]) -> Self {
        let of = |which: usize| rows.iter().skip(which).step_by(COUNTERS).sum();
        Self {
            flow: of(0),
            port: of(1),
            piece: of(2),
            icmp: of(3),
            pass_miss: of(4),
            pass_other: of(5),
            pass_link: of(6),
            pass_fragment: of(7),
            pass_short: of(8),
            pass_no_xsk: of(9),
            shed_syn: of(10),
            pass_kernels: of(11),
            drop_cloaked: of(12),
            drop_denied: of(13),
            miss_vlan: of(14),
            monitored: of(15),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_laid_out_as_the_program_reads_them() {
        let local: SocketAddr = "10.1.2.3:80".parse().unwrap();
        let key = PortKey::new(6, local).0;
        assert_eq!(key, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 10, 1, 2, 3, 0, 80, 6, 0]);
        let key = FlowKey::new(17, local, "[::1]:258".parse().unwrap()).0;
        assert_eq!(key[..16], PortKey::new(6, local).0[..16]);
        assert_eq!(key[16..], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 80, 1, 2, 17, 0, 0, 0]);
        let flow = SteeredFlow { protocol: 17, local, remote: "[::1]:258".parse().unwrap() };
        assert_eq!(FlowKey::flow(FlowKey(key).words()), flow);
    }

    #[test]
    fn counters_are_summed_over_cpus() {
        let mut rows = SteeringCounters::buffer();
        (rows[0], rows[COUNTERS], rows[2 * COUNTERS + 9]) = (1, 2, 5);
        let c = SteeringCounters::sum(&rows);
        assert_eq!((c.flow, c.pass_no_xsk, c.port), (3, 5, 0));
    }
}
