//! Receiving datagrams, of the stack's socket and of the kernel's behind it.
//!
//! Fragments, broadcasts and what comes by other interfaces arrive at the kernel's socket. What comes there from
//! peers whose way is the stack's passes the gate too, before it counts as received.

use core::cell::Cell;
use core::net::{IpAddr, SocketAddr};

use libc::{MSG_PEEK, MSG_TRUNC, c_int};
use ringroad::{Runtime, config};
use stack::error::SocketError;
use stack::socket::RecvFlags;
use stack::types::{Protocol, Readiness, SocketId, canonical};
use stack::udp::Wants;

use super::error_queue;
use super::recv::Received;
use super::telling::{self, Clock};
use super::wait::{News, Patience, readable};
use crate::attach;
use crate::errno::{Errno, Leave};
use crate::fdtable::Held;
use crate::kernel::{self, Arrival};
use crate::reason::Reason;
use crate::user::{Cursor, Writer};

/// Datagrams of the stack in a row before the kernel's socket is looked at first.
const FAIR: u32 = 64;
/// Datagrams that the gate refuses in a row before a call that must not block gives up.
const REFUSALS: usize = 64;

thread_local! {
    static SINCE_KERNEL: Cell<u32> = const { Cell::new(0) };
}

/// What one call is to fill, and how.
pub(super) struct Call<'a> {
    pub(super) held: &'a Held,
    pub(super) cursor: &'a mut Cursor,
    pub(super) control: &'a mut Writer,
    pub(super) flags: c_int,
}

/// Receives one datagram (or a train), as long as it takes.
pub(super) fn receive(call: &mut Call<'_>) -> Result<Received, Leave> {
    let (runtime, id) = attach::attach(call.held)?;
    if call.flags & libc::MSG_ERRQUEUE != 0 {
        return error_queue::receive(call, (runtime, id));
    }
    if SINCE_KERNEL.get() >= FAIR
        && let Some(received) = from_kernel(call, (runtime, id))?
    {
        return Ok(received);
    }
    let patience = Patience::of(runtime, call.held, config::Call::Recv, call.flags);
    loop {
        if let Some(received) = from_stack(call, (runtime, id))? {
            return Ok(received);
        }
        if !patience.blocks() {
            // One look at the interfaces; then what the kernel's side has is the answer.
            let arrived = {
                let mut turn = runtime.lock();
                turn.poll();
                turn.stack().readiness(id).intersects(Readiness::IN | Readiness::ERR)
            };
            if arrived && let Some(received) = from_stack(call, (runtime, id))? {
                return Ok(received);
            }
            return from_kernel(call, (runtime, id))?.ok_or(SocketError::WouldBlock.into());
        }
        let mut kernel = [readable(call.held.fd)];
        if patience.wait(call.held, id, Readiness::IN, &mut kernel)? == News::Kernel
            && let Some(received) = from_kernel(call, (runtime, id))?
        {
            return Ok(received);
        }
    }
}

/// What waits on the stack's socket; none when nothing does.
fn from_stack(
    call: &mut Call<'_>,
    (runtime, id): (&'static Runtime, SocketId),
) -> Result<Option<Received>, Leave> {
    let flags = RecvFlags { peek: call.flags & MSG_PEEK != 0, ..RecvFlags::default() };
    let (received, now) = {
        let mut turn = runtime.lock();
        let now = turn.now();
        let want = call.cursor.left();
        let mut sink = |bytes: &[u8]| call.cursor.put(bytes);
        (turn.stack().recv_from(now, id, want, flags, &mut sink), now)
    };
    let told = match received {
        Ok(told) => told,
        Err(SocketError::WouldBlock) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    SINCE_KERNEL.set(SINCE_KERNEL.get() + 1);
    telling::datagram(call.control, &told, Clock { now })?;
    let cut = told.len > told.copied;
    let bytes = if call.flags & MSG_TRUNC != 0 { told.len } else { told.copied };
    let flags = if cut { MSG_TRUNC } else { 0 };
    // The end, after a shutdown, is from nobody.
    Ok(Some(Received { bytes, flags, remote: told.iface.map(|_| call.held.file.told(told.remote)) }))
}

/// What waits on the kernel's socket and passes the gate; none when nothing does.
fn from_kernel(
    call: &mut Call<'_>,
    (runtime, id): (&'static Runtime, SocketId),
) -> Result<Option<Received>, Leave> {
    SINCE_KERNEL.set(0);
    for _ in 0..REFUSALS {
        let flags = call.flags | libc::MSG_DONTWAIT;
        let arrival = match kernel::recv_message(call.held.fd, &call.cursor.iovecs(), flags) {
            Ok(arrival) => arrival,
            Err(Errno(libc::EAGAIN)) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let wants = {
            let mut turn = runtime.lock();
            let now = turn.now();
            let stack = turn.stack();
            let passes = arrival.remote.is_none_or(|remote| {
                let remote = canonical(remote);
                let local = local_end(call.held, &arrival, stack.source_for(Protocol::Udp, remote));
                local.is_none_or(|local| stack.judge_recv(now, (local, remote), arrival.iface, arrival.bytes))
            });
            passes.then(|| stack.wants(id))
        };
        let Some(wants) = wants else {
            if call.flags & MSG_PEEK != 0 {
                // What was only looked at is still there.
                let _ = kernel::recv_message(call.held.fd, &[], libc::MSG_DONTWAIT);
            }
            continue;
        };
        Reason::KernelPeer.count();
        pass_on(call.control, &arrival, wants)?;
        let flags = arrival.flags & (MSG_TRUNC | libc::MSG_CTRUNC);
        return Ok(Some(Received { bytes: arrival.bytes, flags, remote: arrival.remote }));
    }
    Ok(None)
}

/// The end that a datagram of the kernel's was sent to, if the gate has to know: `road` is the address that its
/// sender is answered from, when the way there is the stack's.
fn local_end(held: &Held, arrival: &Arrival, road: Option<IpAddr>) -> Option<SocketAddr> {
    let road = road?;
    let port = kernel::local(held.fd)?.port();
    Some(SocketAddr::new(arrival.destination.unwrap_or(road), port))
}

/// Hands the kernel's control messages on, without the one that only we have asked for.
fn pass_on(control: &mut Writer, arrival: &Arrival, wants: Wants) -> Result<(), Leave> {
    for (level, kind, data) in arrival.messages() {
        let wanted = match (level, kind) {
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => wants.has(Wants::PACKET_INFO),
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => wants.has(Wants::PACKET_INFO_6),
            _ => true,
        };
        if wanted {
            control.put(level, kind, data)?;
        }
    }
    Ok(())
}
