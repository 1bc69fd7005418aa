//! Sending datagrams, by the stack or by the kernel's socket behind it.
//!
//! The kernel sends what only it can: fragments, what others on this host must hear too (broadcasts, and groups
//! while IP_MULTICAST_LOOP is on), datagrams put together from several calls (MSG_MORE, UDP_CORK), and whatever a
//! control message asks for that the stack does not know. The gate judges these as well, and what the stack has
//! queued goes first.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use libc::{MSG_MORE, MSG_OOB, SOL_SOCKET, c_int};
use ringroad::{Runtime, config};
use stack::error::SocketError;
use stack::socket::Outbound;
use stack::types::{IfaceId, Protocol, Readiness, SocketId};

use super::error_queue;
use super::wait::Patience;
use crate::errno::{Leave, Outcome};
use crate::fdtable::{Flag, Held};
use crate::reason::Reason;
use crate::user::{Cursor, Fault, Named, Place, Reader, Sent};
use crate::{attach, kernel};

/// Flags that are answered here; a call with others is the kernel's.
const KNOWN: c_int = libc::MSG_DONTWAIT
    | libc::MSG_NOSIGNAL
    | libc::MSG_EOR
    | libc::MSG_CONFIRM
    | libc::MSG_DONTROUTE
    | libc::MSG_ZEROCOPY;
const SOL_UDP: c_int = 17;
const UDP_SEGMENT: c_int = 103;
/// SO_TIMESTAMPING's flags that ask for times of sending, which only the kernel can tell.
pub(crate) const SOF_SENDING: c_int = 1 | 1 << 1 | 1 << 8 | 1 << 9;

/// What one call sends.
pub(super) struct Call<'a> {
    pub(super) held: &'a Held,
    pub(super) cursor: &'a mut Cursor,
    pub(super) flags: c_int,
    pub(super) to: Option<Named>,
    /// Its control messages.
    pub(super) control: Reader,
    /// Where they are, and how many bytes.
    pub(super) written: (Place, usize),
}

/// Sends one datagram, or with UDP_SEGMENT many, as long as it takes.
pub(super) fn transmit(call: &mut Call<'_>) -> Outcome {
    let remote = match call.to {
        Some(Named::Inet(remote)) => Some(call.held.file.understood(remote).ok_or(Reason::Plain)?),
        Some(_) => return Err(Reason::Plain.into()),
        None => None,
    };
    if call.flags & MSG_OOB != 0 {
        return Err(Reason::Message.into());
    }
    let broadcast = match remote {
        Some(remote) => reachable(call.held, remote)?,
        None => false,
    };
    let (runtime, id) = attach::attach(call.held)?;
    let mut out = Outbound::to(remote);
    let known = read_control(&mut call.control, &mut out)?;
    if let Some(reason) = kernels(call, known, remote.map(|r| r.ip()), broadcast) {
        return by_kernel(call, (runtime, id), &out, reason);
    }
    let patience = Patience::of(runtime, call.held, config::Call::Send, call.flags);
    let len = call.cursor.left();
    loop {
        let sent = {
            let mut turn = runtime.lock();
            let now = turn.now();
            let mut source = |room: &mut [u8]| call.cursor.take(room);
            turn.stack().send_msg(now, id, &out, len, &mut source)
        };
        match sent {
            Ok(n) => {
                error_queue::complete((runtime, id), call.flags);
                return Ok(n as isize);
            }
            Err(SocketError::MessageSize) => return too_long(call, (runtime, id), &out),
            // Another interface, or a group without a route: the kernel knows more ways.
            Err(SocketError::NetworkUnreachable) => {
                return by_kernel(call, (runtime, id), &out, Reason::Route);
            }
            Err(SocketError::WouldBlock) => {}
            Err(error) => return Err(error.into()),
        }
        patience.wait(call.held, id, Readiness::OUT, &mut [])?;
    }
}

/// Why the kernel's socket has to send this, if it has.
fn kernels(call: &Call<'_>, known: bool, remote: Option<IpAddr>, broadcast: bool) -> Option<Reason> {
    let file = call.held.file;
    if file.is(Flag::Headers) {
        return Some(Reason::Header);
    }
    let pending = file.is(Flag::Pending);
    let corked = call.flags & MSG_MORE != 0 || file.is(Flag::Corked);
    if pending || corked {
        file.set(Flag::Pending, corked);
        return Some(Reason::Message);
    }
    if !known || call.flags & !KNOWN != 0 || file.is(Flag::TimesSending) {
        return Some(Reason::Message);
    }
    let to_group = remote.map_or(file.is(Flag::GroupPeer), |r| r.is_multicast());
    let heard_here = broadcast || to_group && !file.is(Flag::NoLoop);
    heard_here.then_some(Reason::Datagram)
}

/// A datagram that the stack does not send whole: the kernel's socket fragments it, where it may.
fn too_long(call: &Call<'_>, (runtime, id): (&'static Runtime, SocketId), out: &Outbound) -> Outcome {
    let mut turn = runtime.lock();
    let stack = turn.stack();
    let cut = out.segment.is_some_and(|s| s > 0) || call.held.file.is(Flag::Segments);
    if !stack.may_fragment(id) || cut {
        return Err(SocketError::MessageSize.into());
    }
    // The gate has judged it.
    turn.flush();
    drop(turn);
    leave(call, (runtime, id), Reason::Datagram)
}

/// Leaves a send to the kernel's socket, if the gate lets it pass.
fn by_kernel(
    call: &Call<'_>,
    (runtime, id): (&'static Runtime, SocketId),
    out: &Outbound,
    reason: Reason,
) -> Outcome {
    let mut turn = runtime.lock();
    let now = turn.now();
    let len = call.cursor.left();
    use SocketError::{Access, AddressNotAvailable, DestinationRequired, Invalid, NetworkUnreachable};
    match turn.stack().judge_send(now, id, out, len) {
        // These the kernel says itself, or it knows another way.
        Ok(()) | Err(Access | AddressNotAvailable | DestinationRequired | Invalid | NetworkUnreachable) => {}
        Err(error) => return Err(error.into()),
    }
    turn.flush();
    drop(turn);
    leave(call, (runtime, id), reason)
}

/// Has the kernel's socket send it. It numbers no completions there (SO_ZEROCOPY is off): the stack does.
fn leave(call: &Call<'_>, (runtime, id): (&'static Runtime, SocketId), reason: Reason) -> Outcome {
    if call.flags & libc::MSG_ZEROCOPY == 0 {
        return Err(reason.into());
    }
    reason.count();
    let name = match call.to {
        Some(Named::Inet(remote)) => Some(remote),
        _ => None,
    };
    let flags = call.flags & !libc::MSG_ZEROCOPY;
    let sent = kernel::send_message(call.held.fd, &call.cursor.iovecs(), (name, call.written), flags)?;
    error_queue::complete((runtime, id), call.flags);
    Ok(sent)
}

/// Sees to it that a datagram to `remote` is the stack's business; binds the socket if it is the first. Answers
/// whether it is a broadcast.
fn reachable(held: &Held, to: SocketAddr) -> Result<bool, Leave> {
    let remote = to.ip();
    if attach::stays_in_kernel(remote) {
        return Err(Reason::Route.into());
    }
    let runtime = attach::runtime()?;
    let broadcast = {
        let mut turn = runtime.lock();
        let broadcast = turn.stack().is_broadcast(remote);
        if !broadcast && !remote.is_multicast() && turn.stack().source_for(Protocol::Udp, to).is_none() {
            return Err(Reason::Route.into());
        }
        broadcast
    };
    if !held.file.is(Flag::Bound) {
        if kernel::local(held.fd).is_some_and(|local| local.port() == 0) {
            kernel::bind(held.fd, held.file.any(0))?;
        }
        held.file.set(Flag::Bound, true);
    }
    Ok(broadcast)
}

/// Reads the control messages of a send. False when there is one that the kernel has to look at.
fn read_control(control: &mut Reader, out: &mut Outbound) -> Result<bool, Fault> {
    let mut known = true;
    while let Some(message) = control.next()? {
        let Some(message) = message else { return Ok(false) };
        known &= read_one(&message, out)?;
    }
    Ok(known)
}

fn read_one(message: &Sent, out: &mut Outbound) -> Result<bool, Fault> {
    let (place, len) = message.data;
    match (message.level, message.kind, len) {
        (libc::IPPROTO_IP, libc::IP_TTL, 4) => {
            let ttl = place.read::<i32>()?;
            out.ttl = u8::try_from(ttl).ok().filter(|t| *t > 0);
            Ok(out.ttl.is_some())
        }
        (libc::IPPROTO_IP, libc::IP_TOS, 4) => {
            out.tos = u8::try_from(place.read::<i32>()?).ok();
            Ok(out.tos.is_some())
        }
        (libc::IPPROTO_IP, libc::IP_TOS, 1) => {
            out.tos = Some(place.read()?);
            Ok(true)
        }
        (libc::IPPROTO_IP, libc::IP_PKTINFO, 12) => {
            let info: libc::in_pktinfo = place.read()?;
            let source = Ipv4Addr::from(u32::from_be(info.ipi_spec_dst.s_addr));
            out.source = (!source.is_unspecified()).then_some(source.into());
            out.iface = u32::try_from(info.ipi_ifindex).ok().filter(|i| *i > 0).map(IfaceId);
            Ok(info.ipi_ifindex >= 0)
        }
        (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT, 4) => {
            let hops = place.read::<i32>()?;
            out.ttl = u8::try_from(hops).ok();
            Ok(hops == -1 || out.ttl.is_some())
        }
        (libc::IPPROTO_IPV6, libc::IPV6_TCLASS, 4) => {
            let class = place.read::<i32>()?;
            out.tos = u8::try_from(class).ok();
            Ok(class == -1 || out.tos.is_some())
        }
        (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, 20) => {
            // struct in6_pktinfo: the address, then the interface.
            let mut octets = [0; 16];
            place.read_into(&mut octets)?;
            let source = Ipv6Addr::from(octets).to_canonical();
            out.source = (!source.is_unspecified()).then_some(source);
            out.iface = Some(place.after(16).read::<u32>()?).filter(|i| *i > 0).map(IfaceId);
            Ok(true)
        }
        (SOL_UDP, UDP_SEGMENT, 2) => {
            out.segment = Some(place.read()?);
            Ok(true)
        }
        (SOL_SOCKET, ..) | (..) => Ok(false),
    }
}
