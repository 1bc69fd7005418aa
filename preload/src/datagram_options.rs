//! Options of UDP sockets: the kernel's socket has them all, and the stack's those that it can serve.

use libc::{SOL_SOCKET, c_int, c_void, socklen_t};
use ringroad::Runtime;
use ringroad::runtime::Turn;
use stack::error::SocketError;
use stack::socket::{OptName, Value};
use stack::types::SocketId;

use crate::dispatch::datagram_send::SOF_SENDING;
use crate::errno::{Leave, Outcome, check};
use crate::fdtable::{Flag, Held};
use crate::options::{from_kernel, index, note_v6_only};
use crate::reason::Reason;
use crate::user::Place;
use crate::{groups, headers, kernel};

const SOL_UDP: c_int = 17;
const UDP_CORK: c_int = 1;
const IP_MULTICAST_LOOP: c_int = 34;
const IPV6_MULTICAST_LOOP: c_int = 19;

/// `setsockopt`: what the kernel's socket took, the stack's takes as the kernel tells it. What nobody else knows is counted.
pub(crate) fn set(
    held: &Held,
    (level, name): (c_int, c_int),
    value: *const c_void,
    len: socklen_t,
) -> Outcome {
    check(kernel::set_option_raw(held.fd, level, name, value, len) as isize)?;
    let noted = note(held, level, name);
    let option = OptName::from_raw(level, name);
    if let Some(option) = option {
        held.file.touch(index(option));
        if option == OptName::V6Only {
            note_v6_only(held);
        }
    }
    let call = ((level, name), (Place::from(value), len as usize));
    let of_groups = match (held.socket(), Runtime::current()) {
        (Some(id), Some(runtime)) => {
            let mut turn = runtime.lock();
            if let Some(option) = option {
                follow(&mut turn, held, id, option);
            }
            groups::taken(held, call.0, call.1, Some((&mut turn, id)))?
        }
        _ => groups::taken(held, call.0, call.1, None)?,
    };
    let is_known = option.is_some() || noted || of_groups;
    if !is_known && !held.file.is(Flag::Kernels) {
        Reason::Option.count();
    }
    Ok(0)
}

/// The stack's socket takes an option as the kernel's has it now.
fn follow(turn: &mut Turn<'_>, held: &Held, id: SocketId, option: OptName) {
    if let Some(value) = from_kernel(held.fd, option) {
        let now = turn.now();
        let _ = turn.stack().set_option(now, id, option, value);
        if option == OptName::ZeroCopy {
            number_completions_here(held);
        }
    }
    if matches!(option, OptName::PacketInfo | OptName::RecvPacketInfoV6) {
        ask_for_destinations(held);
    }
}

/// What the shim itself has to know of an option. Whether it is one of those.
fn note(held: &Held, level: c_int, name: c_int) -> bool {
    let value = || {
        let mut bytes = [0; 4];
        kernel::option(held.fd, level, name, &mut bytes);
        c_int::from_ne_bytes(bytes)
    };
    let mut is_one = true;
    match (level, name) {
        (SOL_UDP, UDP_CORK) => {
            let on = value() != 0;
            held.file.set(Flag::Corked, on);
            if !on {
                // The kernel has sent what it held.
                held.file.set(Flag::Pending, false);
            }
        }
        (libc::IPPROTO_IP, IP_MULTICAST_LOOP) | (libc::IPPROTO_IPV6, IPV6_MULTICAST_LOOP) => {
            held.file.set(Flag::NoLoop, value() == 0)
        }
        _ if headers::concerns(level, name) => headers::note(held),
        _ => is_one = false,
    }
    match OptName::from_raw(level, name) {
        Some(OptName::Segment) => held.file.set(Flag::Segments, value() != 0),
        Some(OptName::Timestamping | OptName::TimestampingNew) => {
            held.file.set(Flag::TimesSending, value() & SOF_SENDING != 0);
        }
        _ => {}
    }
    is_one
}

/// The kernel tells where its datagrams were sent to, for the gate. The application hears of it only if it asked.
fn ask_for_destinations(held: &Held) {
    let (level, name) = destinations(held).raw();
    kernel::set_option(held.fd, level, name, 1);
}

/// Completions of MSG_ZEROCOPY are numbered in one row: by the stack, whoever sends.
fn number_completions_here(held: &Held) {
    let (level, name) = OptName::ZeroCopy.raw();
    kernel::set_option(held.fd, level, name, 0);
}

/// The option by which a socket of this family asks where a datagram was sent to. That of IPv6 tells of IPv4's
/// datagrams too.
fn destinations(held: &Held) -> OptName {
    if held.file.is(Flag::V6) { OptName::RecvPacketInfoV6 } else { OptName::PacketInfo }
}

/// The socket was attached to the stack.
pub(crate) fn attached(turn: &mut Turn<'_>, held: &Held, id: SocketId) {
    groups::carry_over(turn, held, id);
    ask_for_destinations(held);
    if held.file.touched(index(OptName::ZeroCopy)) {
        number_completions_here(held);
    }
}

/// The socket is the kernel's again: it tells what the application wants to hear, and nothing else.
pub(crate) fn abandoned(turn: &mut Turn<'_>, held: &Held, id: SocketId) {
    for option in [destinations(held), OptName::ZeroCopy] {
        let wanted = turn.stack().option(id, option).and_then(Value::int).unwrap_or(0);
        let (level, name) = option.raw();
        kernel::set_option(held.fd, level, name, wanted);
    }
}

/// `getsockopt`, as far as the stack knows better than the kernel's socket.
///
/// # Errors
/// A bypass where it does not.
pub(crate) fn get(
    (runtime, id): (&'static Runtime, SocketId),
    level: c_int,
    name: c_int,
) -> Result<c_int, Leave> {
    let plain = Err(Reason::Plain.into());
    let mut turn = runtime.lock();
    match OptName::from_raw(level, name) {
        Some(OptName::Error) => match turn.stack().take_error(id) {
            Some(error) => Ok(error.errno()),
            None => plain,
        },
        Some(
            option @ (OptName::Mtu
            | OptName::PacketInfo
            | OptName::MtuV6
            | OptName::RecvPacketInfoV6
            | OptName::ZeroCopy),
        ) => match turn.stack().option(id, option) {
            Ok(value) => Ok(value.int()?),
            Err(SocketError::NoProtocolOption) => plain,
            Err(error) => Err(error.into()),
        },
        _ => {
            debug_assert!(level != SOL_SOCKET || name != libc::SO_ERROR, "SO_ERROR is in the table");
            plain
        }
    }
}
