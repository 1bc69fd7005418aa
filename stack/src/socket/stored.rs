//! The options of a socket that are kept beside its protocol's own.

use core::net::IpAddr;

use crate::config::{Config, SocketConfig};
use crate::error::SocketError;
use crate::ip::Flow;
use crate::tcp::TcpOptions;

use super::Result;

/// The least SO_RCVBUF and SO_SNDBUF, in bytes (SOCK_MIN_RCVBUF, SOCK_MIN_SNDBUF).
pub const LEAST_RECV_BUFFER: u32 = 2304;
/// See [`LEAST_RECV_BUFFER`].
pub const LEAST_SEND_BUFFER: u32 = 4608;
/// The most that a buffer can be, in bytes: the option tells twice of what was asked for, in an `int`.
const MOST_BUFFER: u32 = (i32::MAX / 2) as u32;
/// TCP's retransmission time-out at first and at most, in seconds: how Linux counts TCP_DEFER_ACCEPT.
const TIMEOUTS: (u32, u32) = (1, 120);

/// IP_MTU_DISCOVER: from DO to INTERFACE nothing is cut here, from PROBE on the path's own MTU is not asked, from
/// INTERFACE on what routers say of it does not count.
pub mod discover {
    /// IP_PMTUDISC_DONT.
    pub const DONT: i32 = 0;
    /// IP_PMTUDISC_WANT, the default.
    pub const WANT: i32 = 1;
    /// IP_PMTUDISC_DO.
    pub const DO: i32 = 2;
    /// IP_PMTUDISC_PROBE.
    pub const PROBE: i32 = 3;
    /// IP_PMTUDISC_INTERFACE.
    pub const INTERFACE: i32 = 4;
    /// IP_PMTUDISC_OMIT.
    pub const OMIT: i32 = 5;
}

/// What an application set, in the units of the call that sets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// SO_REUSEADDR.
    pub reuse_addr: bool,
    /// SO_REUSEPORT.
    pub reuse_port: bool,
    /// SO_BROADCAST.
    pub broadcast: bool,
    /// SO_DONTROUTE.
    pub dont_route: bool,
    /// SO_LINGER, seconds.
    pub linger: Option<u32>,
    /// SO_RCVLOWAT.
    pub recv_low_water: u32,
    /// SO_PRIORITY.
    pub priority: i32,
    /// SO_MARK.
    pub mark: i32,
    /// SO_INCOMING_CPU; -1: none was asked for.
    pub incoming_cpu: i32,
    /// SO_ZEROCOPY.
    pub zero_copy: bool,
    /// SO_BUSY_POLL.
    pub busy_poll: i32,
    /// TCP_SAVE_SYN: 1, or 2 for the link's header, too.
    pub save_syn: u8,
    /// IP_TOS.
    pub tos: u8,
    /// IP_TTL.
    pub ttl: u8,
    /// IPPROTO_IPV6's own.
    pub v6: V6Options,
    /// IP_MTU_DISCOVER.
    pub mtu_discover: i32,
    /// TCP_DEFER_ACCEPT, in retransmissions of a SYN-ACK, as Linux keeps it.
    pub defer_accept: u8,
    /// TCP_FASTOPEN and its relatives.
    pub kept: Kept,
    /// SO_SNDBUF of a UDP socket.
    pub udp_send_buffer: u32,
    /// SO_RCVBUF of a UDP socket.
    pub udp_recv_buffer: u32,
    /// TCP's own.
    pub tcp: TcpOptions,
}

/// The options of IPPROTO_IPV6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct V6Options {
    /// IPV6_V6ONLY.
    pub only: bool,
    /// IPV6_TCLASS.
    pub tclass: u8,
    /// IPV6_UNICAST_HOPS; none: the interface's.
    pub hops: Option<u8>,
    /// IPV6_AUTOFLOWLABEL.
    pub auto_label: bool,
    /// IPV6_MTU_DISCOVER.
    pub mtu_discover: i32,
}

impl V6Options {
    fn new(config: &SocketConfig) -> Self {
        Self {
            only: config.v6_only,
            tclass: 0,
            hops: None,
            auto_label: config.auto_labels.at_first(),
            mtu_discover: discover::WANT,
        }
    }
}

/// Options that change nothing here yet but must read back as they were set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// TCP_FASTOPEN.
    pub fast_open: i32,
    /// TCP_FASTOPEN_CONNECT.
    pub fast_open_connect: bool,
    /// TCP_FASTOPEN_NO_COOKIE.
    pub fast_open_no_cookie: bool,
}

impl Stored {
    /// Linux's defaults, and those of `config`.
    pub fn new(config: &Config) -> Self {
        Self {
            reuse_addr: false,
            reuse_port: false,
            broadcast: false,
            dont_route: false,
            linger: None,
            recv_low_water: 1,
            priority: 0,
            mark: 0,
            incoming_cpu: -1,
            zero_copy: false,
            busy_poll: 0,
            save_syn: 0,
            tos: 0,
            ttl: config.sockets.ttl,
            v6: V6Options::new(&config.sockets),
            mtu_discover: discover::WANT,
            defer_accept: 0,
            kept: Kept::default(),
            udp_send_buffer: config.sockets.udp_send_buffer,
            udp_recv_buffer: config.sockets.udp_recv_buffer,
            tcp: TcpOptions::new(&config.tcp),
        }
    }
}

impl Stored {
    /// Type of service and time to live, or traffic class and hop limit (none: the interface's), of packets to
    /// `remote`.
    pub fn header(&self, remote: IpAddr) -> (u8, Option<u8>) {
        match remote {
            IpAddr::V4(_) => (self.tos, Some(self.ttl)),
            IpAddr::V6(_) => (self.v6.tclass, self.v6.hops),
        }
    }

    /// Has the packets of `flow` carry what was chosen for its family.
    pub fn dress(&self, flow: &mut Flow) {
        (flow.tos, flow.ttl) = self.header(flow.remote());
        // Linux: ip_dont_fragment. Datagrams have a rule of their own.
        flow.may_fragment = !(discover::WANT..=discover::DO).contains(&self.mtu_discover);
        if flow.auto_label != self.v6.auto_label {
            flow.auto_label = self.v6.auto_label;
            // The label is found with the route.
            flow.route.generation = 0;
        }
    }
}

/// A buffer's size as Linux takes it: cut to the limit `most` (a negative size counts as a huge one), doubled, and at
/// least `least`.
pub fn buffer(value: i32, least: u32, most: u32) -> u32 {
    ((value as u32).min(most).min(MOST_BUFFER) * 2).max(least)
}

/// Seconds as retransmissions of a SYN-ACK that take as long (Linux: secs_to_retrans).
pub fn retransmissions(seconds: i32) -> u8 {
    let (mut timeout, most) = TIMEOUTS;
    let Some(seconds) = u32::try_from(seconds).ok().filter(|s| *s > 0) else { return 0 };
    let (mut count, mut period) = (1, timeout);
    while seconds > period && count < u8::MAX {
        count += 1;
        timeout = (timeout * 2).min(most);
        period += timeout;
    }
    count
}

/// Back from [`retransmissions`] (Linux: retrans_to_secs).
pub fn seconds(retransmissions: u8) -> i32 {
    let (mut timeout, most) = TIMEOUTS;
    let mut period = 0;
    for _ in 0..retransmissions {
        period += timeout;
        timeout = (timeout * 2).min(most);
    }
    period as i32
}

/// A value within the bounds that Linux checks.
///
/// # Errors
/// `Invalid` outside them.
pub fn within(value: i32, least: i32, most: i32) -> Result<i32> {
    if (least..=most).contains(&value) { Ok(value) } else { Err(SocketError::Invalid) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_doubled_within_bounds() {
        let receive = |value| buffer(value, LEAST_RECV_BUFFER, 4 << 20);
        assert_eq!([0, 65_536, i32::MAX, -1].map(receive), [2304, 131_072, 8 << 20, 8 << 20]);
        assert_eq!(buffer(1, LEAST_SEND_BUFFER, 4 << 20), 4608);
        assert_eq!(buffer(-1, LEAST_SEND_BUFFER, u32::MAX), i32::MAX as u32 - 1, "whatever the host permits");
    }

    #[test]
    fn seconds_become_retransmissions_and_back() {
        assert_eq!(
            [-1, 0, 1, 2, 5, 30, 1000].map(|s| seconds(retransmissions(s))),
            [0, 0, 1, 3, 7, 31, 1087]
        );
    }
}
