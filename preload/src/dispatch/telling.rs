//! What `recvmsg` tells beside the bytes: control messages, in the kernel's order and form.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;

use libc::{SOL_SOCKET, c_int};
use stack::socket::{Completed, Datagram, ErrorReport};
use stack::time::Instant;
use stack::types::IfaceId;
use stack::udp::Wants;

use crate::kernel;
use crate::user::{Fault, Writer, address_bytes};

const SO_TIMESTAMP: [c_int; 2] = [29, 63];
const SO_TIMESTAMPNS: [c_int; 2] = [35, 64];
const SO_TIMESTAMPING: [c_int; 2] = [37, 65];
const SOF_RX_SOFTWARE: u32 = 1 << 3;
const SOF_SOFTWARE: u32 = 1 << 4;
const SOL_UDP: c_int = 17;
const UDP_GRO: c_int = 104;
const IPV6_ORIGDSTADDR: c_int = 74;

/// What is the same for every socket: the two clocks.
#[derive(Clone, Copy)]
pub(super) struct Clock {
    /// The stack's, now.
    pub(super) now: Instant,
}

impl Clock {
    /// When `at` was, by the wall's clock.
    fn wall(self, at: Instant) -> Duration {
        kernel::wall_clock().saturating_sub(self.now.since(at))
    }
}

/// The control messages of a datagram.
pub(super) fn datagram(to: &mut Writer, told: &Datagram, clock: Clock) -> Result<(), Fault> {
    let wants = told.wants;
    let Some(iface) = told.iface else { return Ok(()) };
    if wants.any() {
        time(to, wants, || clock.wall(told.at))?;
        if wants.has(Wants::DROPS) && told.drops != 0 {
            to.put(SOL_SOCKET, libc::SO_RXQ_OVFL, &told.drops.to_ne_bytes())?;
        }
    }
    if let Some(segment) = told.segment {
        to.put(SOL_UDP, UDP_GRO, &c_int::from(segment).to_ne_bytes())?;
    }
    if wants.any() {
        let answer_from = told.answer_from.unwrap_or(told.local.ip());
        header(to, wants, &Header { iface, answer_from, local: told.local, ttl: told.ttl, tos: told.tos })?;
    }
    Ok(())
}

/// What the headers of a packet said.
struct Header {
    iface: IfaceId,
    answer_from: IpAddr,
    local: SocketAddr,
    ttl: u8,
    tos: u8,
}

fn time(to: &mut Writer, wants: Wants, wall: impl FnOnce() -> Duration) -> Result<(), Fault> {
    let software = SOF_SOFTWARE | SOF_RX_SOFTWARE;
    let stamping = wants.timestamping & software == software;
    if !wants.has(Wants::TIME) && !stamping {
        return Ok(());
    }
    let wall = wall();
    let seconds = (wall.as_secs() as i64).to_ne_bytes();
    let pair = |fraction: u32| {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&seconds);
        bytes[8..].copy_from_slice(&i64::from(fraction).to_ne_bytes());
        bytes
    };
    let new = usize::from(wants.has(Wants::TIME_NEW));
    if wants.has(Wants::TIME) && wants.has(Wants::TIME_NS) {
        to.put(SOL_SOCKET, SO_TIMESTAMPNS[new], &pair(wall.subsec_nanos()))?;
    } else if wants.has(Wants::TIME) {
        to.put(SOL_SOCKET, SO_TIMESTAMP[new], &pair(wall.subsec_micros()))?;
    }
    if stamping {
        // struct scm_timestamping: software, (unused), hardware.
        let mut three = [0; 48];
        three[..16].copy_from_slice(&pair(wall.subsec_nanos()));
        let new = usize::from(wants.has(Wants::TIMESTAMPING_NEW));
        to.put(SOL_SOCKET, SO_TIMESTAMPING[new], &three)?;
    }
    Ok(())
}

fn header(to: &mut Writer, wants: Wants, from: &Header) -> Result<(), Fault> {
    if wants.has(Wants::PACKET_INFO_6) {
        let mut info = [0; 20];
        info[..16].copy_from_slice(&sixteen(from.local.ip()));
        info[16..].copy_from_slice(&from.iface.0.to_ne_bytes());
        to.put(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info)?;
    }
    if from.local.is_ipv4() { header_v4(to, wants, from) } else { header_v6(to, wants, from) }
}

/// IPv4 as IPv4-mapped.
fn sixteen(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(a) => a.to_ipv6_mapped().octets(),
        IpAddr::V6(a) => a.octets(),
    }
}

fn header_v6(to: &mut Writer, wants: Wants, from: &Header) -> Result<(), Fault> {
    if wants.has(Wants::HOP_LIMIT) {
        to.put(libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT, &c_int::from(from.ttl).to_ne_bytes())?;
    }
    if wants.has(Wants::TRAFFIC_CLASS) {
        to.put(libc::IPPROTO_IPV6, libc::IPV6_TCLASS, &c_int::from(from.tos).to_ne_bytes())?;
    }
    if wants.has(Wants::ORIGINAL_DESTINATION_6) {
        let (bytes, len) = address_bytes(from.local);
        to.put(libc::IPPROTO_IPV6, IPV6_ORIGDSTADDR, &bytes[..len])?;
    }
    Ok(())
}

fn header_v4(to: &mut Writer, wants: Wants, from: &Header) -> Result<(), Fault> {
    if wants.has(Wants::PACKET_INFO)
        && let (IpAddr::V4(answer_from), IpAddr::V4(local)) = (from.answer_from, from.local.ip())
    {
        let mut info = [0; 12];
        info[..4].copy_from_slice(&from.iface.0.to_ne_bytes());
        info[4..8].copy_from_slice(&answer_from.octets());
        info[8..].copy_from_slice(&local.octets());
        to.put(libc::IPPROTO_IP, libc::IP_PKTINFO, &info)?;
    }
    if wants.has(Wants::TTL) {
        to.put(libc::IPPROTO_IP, libc::IP_TTL, &c_int::from(from.ttl).to_ne_bytes())?;
    }
    if wants.has(Wants::TOS) {
        to.put(libc::IPPROTO_IP, libc::IP_TOS, &[from.tos])?;
    }
    if wants.has(Wants::ORIGINAL_DESTINATION) {
        let (bytes, len) = address_bytes(from.local);
        to.put(libc::IPPROTO_IP, libc::IP_ORIGDSTADDR, &bytes[..len])?;
    }
    Ok(())
}

/// The control message of sends that are done (SO_EE_ORIGIN_ZEROCOPY), to a socket of that family: all were copied.
pub(super) fn completed(to: &mut Writer, done: &Completed, family: c_int) -> Result<(), Fault> {
    const SO_EE_ORIGIN_ZEROCOPY: u8 = 5;
    const SO_EE_CODE_ZEROCOPY_COPIED: u8 = 1;
    let mut bytes = [0; 16 + 28];
    bytes[4..7].copy_from_slice(&[SO_EE_ORIGIN_ZEROCOPY, 0, SO_EE_CODE_ZEROCOPY_COPIED]);
    bytes[8..12].copy_from_slice(&done.first.to_ne_bytes());
    bytes[12..16].copy_from_slice(&done.last.to_ne_bytes());
    match family {
        libc::AF_INET => to.put(libc::IPPROTO_IP, libc::IP_RECVERR, &bytes[..16 + 16]),
        _ => to.put(libc::IPPROTO_IPV6, libc::IPV6_RECVERR, &bytes),
    }
}

/// The control messages of an error from the error queue: `struct sock_extended_err` and its offender.
pub(super) fn error(to: &mut Writer, report: &ErrorReport, clock: Clock) -> Result<(), Fault> {
    time(to, report.wants, || clock.wall(report.at))?;
    let mut bytes = [0; 16 + 28];
    bytes[..4].copy_from_slice(&(report.errno as u32).to_ne_bytes());
    bytes[4..7].copy_from_slice(&[report.origin as u8, report.kind, report.code]);
    bytes[8..12].copy_from_slice(&report.info.to_ne_bytes());
    if let Some(address) = report.offender {
        let (name, len) = address_bytes(SocketAddr::new(address, 0));
        bytes[16..16 + len].copy_from_slice(&name[..len]);
    }
    if let (Some(iface), Some(local), true) = (report.iface, report.local, report.wants.any()) {
        // As in Linux, an error has no address to answer it from.
        let (answer_from, ttl, tos) = (IpAddr::V4(Ipv4Addr::UNSPECIFIED), report.ttl, report.tos);
        header(to, report.wants, &Header { iface, answer_from, local, ttl, tos })?;
    }
    let (level, kind) = match report.remote {
        SocketAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_RECVERR),
        SocketAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_RECVERR),
    };
    // The offender's place is as long as an address of the socket's family, whether there is one or not.
    to.put(level, kind, &bytes[..16 + if report.remote.is_ipv4() { 16 } else { 28 }])
}
