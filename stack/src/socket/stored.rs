//! The options of a socket that are kept beside its protocol's own.

use core::net::IpAddr;

use crate::config::Config;
use crate::error::SocketError;
use crate::ip::Flow;
use crate::tcp::TcpOptions;

use super::Result;

/// Linux's default buffer of a UDP socket, in bytes (net.core.rmem_default).
const UDP_BUFFER: u32 = 212_992;
/// The least SO_RCVBUF, in bytes (SOCK_MIN_RCVBUF), and the most (twice net.core.rmem_max's usual value is not
/// enough for long paths; memory is bounded by the pool anyway).
pub const BUFFER_BOUNDS: (u32, u32) = (2304, 64 << 20);

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
    pub linger: Option<u16>,
    /// SO_RCVLOWAT.
    pub recv_low_water: u32,
    /// SO_PRIORITY.
    pub priority: i32,
    /// SO_BUSY_POLL.
    pub busy_poll: i32,
    /// IP_TOS.
    pub tos: u8,
    /// IP_TTL.
    pub ttl: u8,
    /// IPPROTO_IPV6's own.
    pub v6: V6Options,
    /// IP_MTU_DISCOVER; 1 is IP_PMTUDISC_WANT, Linux's default.
    pub mtu_discover: i32,
    /// TCP_DEFER_ACCEPT, TCP_LINGER2, TCP_WINDOW_CLAMP, TCP_FASTOPEN, TCP_NOTSENT_LOWAT: kept and told.
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
    /// IPV6_UNICAST_HOPS.
    pub hops: u8,
    /// IPV6_AUTOFLOWLABEL.
    pub auto_label: bool,
    /// IPV6_MTU_DISCOVER.
    pub mtu_discover: i32,
}

impl Default for V6Options {
    fn default() -> Self {
        Self { only: false, tclass: 0, hops: 64, auto_label: true, mtu_discover: 1 }
    }
}

/// Options that change nothing here yet but must read back as they were set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// TCP_DEFER_ACCEPT.
    pub defer_accept: i32,
    /// TCP_LINGER2.
    pub linger2: i32,
    /// TCP_WINDOW_CLAMP.
    pub window_clamp: i32,
    /// TCP_FASTOPEN.
    pub fast_open: i32,
    /// TCP_FASTOPEN_CONNECT.
    pub fast_open_connect: bool,
    /// TCP_FASTOPEN_NO_COOKIE.
    pub fast_open_no_cookie: bool,
    /// TCP_NOTSENT_LOWAT.
    pub not_sent_low_water: i32,
}

impl Stored {
    /// Linux's defaults.
    pub fn new(config: &Config) -> Self {
        Self {
            reuse_addr: false,
            reuse_port: false,
            broadcast: false,
            dont_route: false,
            linger: None,
            recv_low_water: 1,
            priority: 0,
            busy_poll: 0,
            tos: 0,
            ttl: 64,
            v6: V6Options::default(),
            mtu_discover: 1,
            kept: Kept { linger2: config.tcp.fin_timeout.as_secs() as i32, ..Kept::default() },
            udp_send_buffer: UDP_BUFFER,
            udp_recv_buffer: UDP_BUFFER,
            tcp: TcpOptions::new(&config.tcp),
        }
    }
}

impl Stored {
    /// Type of service and time to live, or traffic class and hop limit, of packets to `remote`.
    pub fn header(&self, remote: IpAddr) -> (u8, u8) {
        match remote {
            IpAddr::V4(_) => (self.tos, self.ttl),
            IpAddr::V6(_) => (self.v6.tclass, self.v6.hops),
        }
    }

    /// Has the packets of `flow` carry what was chosen for its family.
    pub fn dress(&self, flow: &mut Flow) {
        (flow.tos, flow.ttl) = self.header(flow.remote());
        if flow.auto_label != self.v6.auto_label {
            flow.auto_label = self.v6.auto_label;
            // The label is found with the route.
            flow.route.generation = 0;
        }
    }
}

/// A buffer's size as Linux takes it: doubled, within bounds.
pub fn buffer(value: i32) -> u32 {
    let (least, most) = BUFFER_BOUNDS;
    u32::try_from(value).unwrap_or(0).saturating_mul(2).clamp(least, most)
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
        assert_eq!(
            [buffer(-1), buffer(0), buffer(65_536), buffer(i32::MAX)],
            [2304, 2304, 131_072, 64 << 20]
        );
    }
}
