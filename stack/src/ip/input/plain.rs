//! The packet that nearly all are: a segment of TCP, whole, in an IPv4 packet without options, from one host to an
//! address of ours. One look finds that out; what is not so, or not right, is left to the steps of [`read`](super::read),
//! which say what is wrong with it. (A test holds that whatever is plain is what they find.)

use core::net::Ipv4Addr;
use core::ops::Range;

use super::{Door, Host, v4};
use crate::types::Ecn;
use crate::wire::{checksum, ethernet, ipv4};

/// Bytes of both headers.
const HEADERS: usize = ethernet::HEADER + ipv4::HEADER;
/// The first byte of a header without options.
const WITHOUT_OPTIONS: u8 = 0x45;

/// A plain packet for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plain {
    /// From.
    pub source: Ipv4Addr,
    /// To.
    pub destination: Ipv4Addr,
    /// Type of service: DSCP and ECN.
    pub tos: u8,
    /// Bytes in the packet, header included.
    pub len: u16,
}

impl Plain {
    /// What a plain frame says.
    #[inline]
    pub fn read(frame: &[u8], door: Door<'_>, host: &impl Host) -> Option<Self> {
        let head = frame.first_chunk::<HEADERS>()?;
        let (link, ip) = head.split_at(ethernet::HEADER);
        let ip = ip.first_chunk::<{ ipv4::HEADER }>()?;
        let len = u16::from_be_bytes([ip[2], ip[3]]);
        let fragment = u16::from_be_bytes([ip[6], ip[7]]) & (ipv4::MF | ipv4::OFFSET);
        let source = Ipv4Addr::new(ip[12], ip[13], ip[14], ip[15]);
        let destination = Ipv4Addr::new(ip[16], ip[17], ip[18], ip[19]);
        let is_plain = link[..6] == *door.mac
            && u16::from_be_bytes([link[12], link[13]]) == ethernet::IPV4
            && ip[0] == WITHOUT_OPTIONS
            && ip[9] == ipv4::TCP
            && fragment == 0
            && (ipv4::HEADER..=frame.len() - ethernet::HEADER).contains(&usize::from(len))
            && checksum::is_intact(ip, checksum::Raw::default())
            && host.is_own_v4(destination, door.iface)
            && !v4::is_martian(source, door, host);
        is_plain.then_some(Self { source, destination, tos: ip[1], len })
    }

    /// Where the transport lies in the frame.
    #[inline]
    pub fn transport(&self) -> Range<usize> {
        HEADERS..self.end()
    }

    /// Where the packet ends in the frame.
    #[inline]
    pub fn end(&self) -> usize {
        ethernet::HEADER + usize::from(self.len)
    }

    /// What routers on the way, or the sender, said of congestion (RFC 3168 §5).
    #[inline]
    pub fn ecn(&self) -> Ecn {
        Ecn::of_tos(self.tos)
    }

    /// The sum of the pseudo-header of its transport.
    #[inline]
    pub fn pseudo(&self) -> checksum::Raw {
        let len = self.len - ipv4::HEADER as u16;
        checksum::Raw::pseudo_v4(self.source, self.destination, ipv4::TCP, len)
    }
}
