//! getsockopt and setsockopt: by the stack's table of options; what it does not know is the backing socket's.

mod tcp_info;

use core::time::Duration;

use libc::{SOL_SOCKET, c_int, c_void, socklen_t, timeval};
use ringroad::runtime::{Runtime, Turn};
use stack::error::SocketError;
use stack::socket::{BbrInfo, Kind as Shape, OptName, Value};
use stack::types::{CongestionControl, SocketId};

use crate::errno::{Errno, Leave, Outcome, check, fail};
use crate::fdtable::{self, Flag, Held, Kind};
use crate::reason::Reason;
use crate::user::{Place, address_bytes};
use crate::{datagram_options, fences, headers, heirs, kernel};

/// SO_RCVTIMEO and SO_SNDTIMEO, in the numbers for the two widths of time.
const RECV_TIMEOUTS: [c_int; 2] = [20, 66];
const SEND_TIMEOUTS: [c_int; 2] = [21, 67];

/// What the socket behind a connection answers as the connection would, whosever that is; time-outs are the file's.
const SAME_FOR_ALL: [c_int; 8] = [
    libc::SO_TYPE,
    libc::SO_DOMAIN,
    libc::SO_PROTOCOL,
    libc::SO_ACCEPTCONN,
    RECV_TIMEOUTS[0],
    RECV_TIMEOUTS[1],
    SEND_TIMEOUTS[0],
    SEND_TIMEOUTS[1],
];

/// Options that the kernel does not let everybody set.
const PRIVILEGED: [OptName; 5] =
    [OptName::Mark, OptName::Priority, OptName::BusyPoll, OptName::SendBufferForce, OptName::RecvBufferForce];
/// TCP_REPAIR and its relatives: nobody may rebuild a connection of the stack.
const REPAIR: [c_int; 5] = [19, 20, 21, 22, 29];

/// What is chosen before a connection begins.
const BEFORE_IT_BEGINS: [OptName; 3] =
    [OptName::FastOpen, OptName::FastOpenConnect, OptName::FastOpenNoCookie];
/// SO_PEERNAME: getpeername as an option, all of it or nothing.
const PEER_NAME: c_int = 28;
/// IPV6_PATHMTU.
const PATH_MTU: c_int = 61;

/// An option's number in the table.
pub(crate) fn index(name: OptName) -> usize {
    OptName::ALL.iter().position(|n| *n == name).unwrap_or(0)
}

/// `setsockopt`: on the kernel's socket first, where there is one of its own, so that errors are the kernel's;
/// then on the stack's.
pub(crate) fn setsockopt(
    fd: c_int,
    level: c_int,
    name: c_int,
    value: *const c_void,
    len: socklen_t,
) -> Outcome {
    let held = fdtable::get(fd).ok_or(Reason::Plain)?;
    let place = Place::from(value);
    if level == SOL_SOCKET && (RECV_TIMEOUTS.contains(&name) || SEND_TIMEOUTS.contains(&name)) {
        return set_timeout(&held, RECV_TIMEOUTS.contains(&name), place, len);
    }
    if fences::asks((level, name), place, len) {
        return fences::set(&held, || kernel::set_option_raw(fd, level, name, value, len) as isize);
    }
    heirs::claim_for_options(&held);
    if held.file.kind() == Kind::Datagram {
        return datagram_options::set(&held, (level, name), value, len);
    }
    if level == libc::IPPROTO_TCP && REPAIR.contains(&name) && held.socket().is_some() {
        return Err(fail(libc::EPERM));
    }
    if headers::concerns(level, name) && !held.file.is(Flag::SharedBacking) {
        check(kernel::set_option_raw(fd, level, name, value, len) as isize)?;
        headers::note(&held);
        if held.socket().is_some() {
            // Too late: it is the stack's, which goes on without them.
            Reason::Header.count();
        }
        return Ok(0);
    }
    let Some(option) = for_stream(&held, level, name) else {
        // What the stack does not know it does not take over later either.
        return Err(if held.file.is(Flag::Kernels) { Reason::Plain } else { Reason::Option }.into());
    };
    if BEFORE_IT_BEGINS.contains(&option) && held.socket().is_some() && !held.file.is(Flag::Listening) {
        return Err(fail(libc::EINVAL));
    }
    if held.file.is(Flag::Pumped) && level != SOL_SOCKET {
        // A Unix socket has none of these. Whoever has the connection keeps its own, and this process goes on.
        return Ok(0);
    }
    let shared = held.file.is(Flag::SharedBacking);
    if shared && PRIVILEGED.contains(&option) {
        allowed((level, name), place, len)?;
    }
    if !shared {
        let set = check(kernel::set_option_raw(fd, level, name, value, len) as isize);
        if option == OptName::Congestion {
            keep_congestion(&held, set, place, len)?;
        } else {
            set?;
        }
        held.file.touch(index(option));
        if option == OptName::V6Only {
            note_v6_only(&held);
        }
    }
    set_on_stack(&held, option, place, len)
}

/// The rest of `setsockopt`, where there is a socket of the stack.
fn set_on_stack(held: &Held, option: OptName, place: Place, len: socklen_t) -> Outcome {
    let (Some(id), Some(runtime)) = (held.socket(), Runtime::current()) else { return Ok(0) };
    let value = read_value(option.kind(), place, len as usize)?;
    let mut turn = runtime.lock();
    let now = turn.now();
    match turn.stack().set_option(now, id, option, value) {
        Ok(()) => Ok(0),
        // The kernel took it already: what it did is what counts, unless the connection it does not know of forbids it.
        Err(error) if !held.file.is(Flag::SharedBacking) && error != SocketError::Invalid => Ok(0),
        Err(error) => Err(error.into()),
    }
}

/// Notes which families a socket of IPv6 speaks now: by what the administrator (net.ipv6.bindv6only) or the
/// application chose, or because it is bound to an address.
pub(crate) fn note_v6_only(held: &Held) {
    if held.file.is(Flag::V6) {
        held.file.set(Flag::OnlyV6, from_kernel(held.fd, OptName::V6Only) == Some(Value::Int(1)));
    }
}

/// Notes which options were set on a socket that was open when the program began, or came from another process: those
/// that a fresh one has not.
pub(crate) fn note_inherited(held: &Held) {
    fences::note_inherited(held);
    let is_datagram = held.file.kind() == Kind::Datagram;
    let kind = if is_datagram { libc::SOCK_DGRAM } else { libc::SOCK_STREAM };
    let Ok(fresh) = kernel::socket(held.file.family(), kind | libc::SOCK_CLOEXEC, 0) else {
        return;
    };
    for (at, option) in OptName::ALL.iter().enumerate() {
        if (is_datagram || !option.is_for_datagrams())
            && from_kernel(held.fd, *option) != from_kernel(fresh, *option)
        {
            held.file.touch(at);
        }
    }
    let _ = kernel::close(fresh);
}

/// Has another kernel's socket know how long calls on a connection wait at the most.
pub(crate) fn tell_timeouts(held: &Held, fd: c_int) {
    for (receiving, name) in [(true, RECV_TIMEOUTS[0]), (false, SEND_TIMEOUTS[0])] {
        let bytes = timeout_bytes(held.file.timeout(receiving));
        let len = bytes.len() as socklen_t;
        // What another socket took, this one takes.
        let _ = kernel::set_option_raw(fd, SOL_SOCKET, name, bytes.as_ptr().cast(), len);
    }
}

/// Notes what the kernel's socket knows of that.
pub(crate) fn note_timeouts(held: &Held) {
    for (receiving, name) in [(true, RECV_TIMEOUTS[0]), (false, SEND_TIMEOUTS[0])] {
        let mut bytes = [0; 16];
        if kernel::option(held.fd, SOL_SOCKET, name, &mut bytes) != Some(bytes.len()) {
            continue;
        }
        let [seconds, micros] = [0, 8].map(|at| {
            let word = bytes[at..].first_chunk().map_or(0, |word| i64::from_ne_bytes(*word));
            u64::try_from(word).unwrap_or(0)
        });
        let nanos = seconds.saturating_mul(1_000_000_000).saturating_add(micros.saturating_mul(1000));
        held.file.set_timeout(receiving, nanos);
    }
}

/// `struct timeval` of so many nanoseconds.
fn timeout_bytes(nanoseconds: u64) -> [u8; 16] {
    let timeout = Duration::from_nanos(nanoseconds);
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&(timeout.as_secs() as i64).to_ne_bytes());
    bytes[8..].copy_from_slice(&i64::from(timeout.subsec_micros()).to_ne_bytes());
    bytes
}

/// The option of that number, if it means something to this stream: IPv6's are not for sockets of IPv4.
fn for_stream(held: &Held, level: c_int, name: c_int) -> Option<OptName> {
    let foreign = level == libc::IPPROTO_IPV6 && !held.file.is(Flag::V6);
    OptName::from_raw(level, name).filter(|option| !option.is_for_datagrams() && !foreign)
}

/// Whether the kernel would let this process set an option: asked of a socket made for the question.
fn allowed((level, name): (c_int, c_int), value: Place, len: socklen_t) -> Result<(), Leave> {
    let witness = kernel::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0)?;
    let set =
        check(kernel::set_option_raw(witness, level, name, value.as_mut_ptr::<c_void>().cast_const(), len)
            as isize);
    kernel::close(witness)?;
    set.map(|_| ()).map_err(Into::into)
}

/// A control that the kernel does not have, or not for everybody, may be one of the stack's. It is kept for the
/// time when the socket is attached; should that never come, the kernel serves it as it can, and says so.
fn keep_congestion(held: &Held, set: Result<isize, Errno>, name: Place, len: socklen_t) -> Result<(), Leave> {
    let Err(error) = set else {
        held.file.keep_congestion(None);
        return Ok(());
    };
    if !matches!(error.0, libc::ENOENT | libc::EPERM) || held.file.is(Flag::Kernels) {
        return Err(error.into());
    }
    let Value::Name(name) = read_value(Shape::Name, name, len as usize)? else { return Err(error.into()) };
    let control = CongestionControl::from_name(name.split(|&b| b == 0).next().unwrap_or_default());
    held.file.keep_congestion(Some(control.ok_or(error)?));
    Ok(())
}

/// What TCP_CONGESTION answers for `control`.
fn congestion_name(control: CongestionControl) -> [u8; 16] {
    core::array::from_fn(|i| control.name().as_bytes().get(i).copied().unwrap_or(0))
}

fn set_timeout(held: &Held, receiving: bool, place: Place, len: socklen_t) -> Outcome {
    if (len as usize) < size_of::<timeval>() {
        return Err(fail(libc::EINVAL));
    }
    let value: timeval = place.read()?;
    if !(0..1_000_000).contains(&value.tv_usec) {
        return Err(fail(libc::EDOM));
    }
    let timeout = Duration::new(value.tv_sec.max(0) as u64, value.tv_usec as u32 * 1000);
    held.file.set_timeout(receiving, u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX));
    if held.file.is(Flag::SharedBacking) {
        return Ok(0);
    }
    // The kernel's side waits as long, where it is it that waits.
    Err(Reason::Plain.into())
}

/// `getsockopt`.
pub(crate) fn getsockopt(
    fd: c_int,
    level: c_int,
    name: c_int,
    value: *mut c_void,
    len: *mut socklen_t,
) -> Outcome {
    let held = fdtable::get(fd).ok_or(Reason::Plain)?;
    let (value, len) = (Place::from(value), Place::from(len));
    let same_for_all = level == SOL_SOCKET && SAME_FOR_ALL.contains(&name);
    if !same_for_all {
        heirs::claim_for_options(&held);
    }
    if held.file.is(Flag::Pumped) && level == SOL_SOCKET {
        // The socket behind it is of another kind.
        match name {
            libc::SO_DOMAIN => return write_value(value, len, &held.file.family().to_ne_bytes()),
            libc::SO_PROTOCOL => return write_value(value, len, &libc::IPPROTO_TCP.to_ne_bytes()),
            _ => {}
        }
    }
    let (Some(id), Some(runtime)) = (held.socket(), Runtime::current()) else {
        let kept = held.file.congestion().filter(|_| !held.file.is(Flag::Kernels));
        return match (OptName::from_raw(level, name), kept) {
            (Some(OptName::Congestion), Some(kept)) => write_value(value, len, &congestion_name(kept)),
            _ => Err(Reason::Plain.into()),
        };
    };
    let receiving = RECV_TIMEOUTS.contains(&name);
    if level == SOL_SOCKET && (receiving || SEND_TIMEOUTS.contains(&name)) {
        if !held.file.is(Flag::SharedBacking) {
            return Err(Reason::Plain.into());
        }
        return write_value(value, len, &timeout_bytes(held.file.timeout(receiving)));
    }
    if held.file.kind() == Kind::Datagram {
        let answer = datagram_options::get((runtime, id), level, name)?;
        return write_value(value, len, &answer.to_ne_bytes());
    }
    if level == SOL_SOCKET && name == PEER_NAME {
        return peer_name(&held, (runtime, id), (value, len));
    }
    if (level, name) == (libc::IPPROTO_TCP, libc::TCP_SAVED_SYN) {
        return saved_syn((runtime, id), (value, len));
    }
    if level == libc::IPPROTO_IPV6 && name == PATH_MTU && held.file.is(Flag::V6) {
        return path_mtu((runtime, id), (value, len));
    }
    let is_family = (level, name) == (libc::IPPROTO_IPV6, libc::IPV6_ADDRFORM) && held.file.is(Flag::V6);
    if is_family && runtime.lock().stack().peer(id).is_ok() {
        return write_value(value, len, &held.file.family().to_ne_bytes());
    }
    let option = for_stream(&held, level, name).ok_or(Reason::Option)?;
    if option == OptName::Domain {
        return write_value(value, len, &held.file.family().to_ne_bytes());
    }
    let answer = if option == OptName::Error {
        Value::Int(runtime.lock().stack().take_error(id).map_or(0, SocketError::errno))
    } else {
        match runtime.lock().stack().option(id, option) {
            Ok(answer) => answer,
            Err(SocketError::NoProtocolOption) => return Err(Reason::Option.into()),
            Err(error) => return Err(error.into()),
        }
    };
    write_answer(value, len, answer)
}

fn write_answer(value: Place, len: Place, answer: Value) -> Outcome {
    match answer {
        Value::Int(int) => write_value(value, len, &int.to_ne_bytes()),
        Value::Linger(seconds) => {
            let mut bytes = [0; 8];
            bytes[..4].copy_from_slice(&i32::from(seconds.is_some()).to_ne_bytes());
            bytes[4..].copy_from_slice(&(seconds.unwrap_or(0) as i32).to_ne_bytes());
            write_value(value, len, &bytes)
        }
        Value::Name(name) => write_value(value, len, &name),
        Value::Info(info) => write_value(value, len, &tcp_info::octets(&info)),
        Value::ControlInfo(told) => write_value(value, len, &control_info(told)),
        Value::Rate(rate) => write_rate(value, len, rate),
    }
}

fn peer_name(held: &Held, (runtime, id): (&Runtime, SocketId), (value, len): (Place, Place)) -> Outcome {
    let room: u32 = len.read()?;
    let (name, whole) = address_bytes(held.file.told(runtime.lock().stack().peer(id)?));
    if room as usize > whole {
        return Err(fail(libc::EINVAL));
    }
    write_value(value, len, &name[..whole])
}

/// IPV6_PATHMTU: a `struct ip6_mtuinfo`, which names nobody where nothing has been told.
fn path_mtu((runtime, id): (&Runtime, SocketId), (value, len): (Place, Place)) -> Outcome {
    const NAME: usize = size_of::<libc::sockaddr_in6>();
    let mut bytes = [0; NAME + 4];
    if (len.read::<u32>()? as usize) < bytes.len() {
        return Err(fail(libc::EINVAL));
    }
    let mut turn = runtime.lock();
    turn.stack().peer(id)?;
    let Value::Int(mtu) = turn.stack().option(id, OptName::MtuV6)? else { return Err(fail(libc::ENOTCONN)) };
    drop(turn);
    bytes[NAME..].copy_from_slice(&mtu.to_ne_bytes());
    write_value(value, len, &bytes)
}

/// TCP_SAVED_SYN: all of it or nothing, and once. Who has too little room is told how much it takes.
fn saved_syn((runtime, id): (&Runtime, SocketId), (value, len): (Place, Place)) -> Outcome {
    let room: c_int = len.read()?;
    let room = usize::try_from(room).map_err(|_| Errno(libc::EINVAL))?;
    let mut turn = runtime.lock();
    let headers = turn.stack().saved_syn(id)?;
    len.write(&(headers.len() as u32))?;
    if room < headers.len() {
        return Err(fail(libc::EINVAL));
    }
    value.write_from(headers)?;
    turn.stack().forget_saved_syn(id);
    Ok(0)
}

/// Writes as much of an option as there is room for, and how much that was.
fn write_value(value: Place, len: Place, bytes: &[u8]) -> Outcome {
    let room: c_int = len.read()?;
    let room = usize::try_from(room).map_err(|_| Errno(libc::EINVAL))?;
    let n = room.min(bytes.len());
    value.write_from(&bytes[..n])?;
    len.write(&(n as u32))?;
    Ok(0)
}

/// As Linux: all of it where there is room for an `unsigned long`, else as much as an `unsigned int` can say.
fn write_rate(value: Place, len: Place, rate: u64) -> Outcome {
    let room: c_int = len.read()?;
    match room {
        8.. => write_value(value, len, &rate.to_ne_bytes()),
        _ => write_value(value, len, &u32::try_from(rate).unwrap_or(u32::MAX).to_ne_bytes()),
    }
}

/// The rate in an `unsigned int`, of which the greatest means none.
fn short_rate(rate: u32) -> u64 {
    if rate == u32::MAX { u64::MAX } else { rate.into() }
}

/// `struct tcp_bbr_info`; other controls have nothing to tell.
fn control_info(told: Option<BbrInfo>) -> Vec<u8> {
    let Some(told) = told else { return Vec::new() };
    let words = [told.bw as u32, (told.bw >> 32) as u32, told.min_rtt, told.pacing_gain, told.cwnd_gain];
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

fn read_value(shape: Shape, place: Place, len: usize) -> Result<Value, Leave> {
    let needed = match shape {
        Shape::Int | Shape::Rate => 4,
        Shape::Linger => 8,
        Shape::Name => 1,
        Shape::Info | Shape::ControlInfo => return Err(fail(libc::ENOPROTOOPT)),
    };
    if len < needed {
        return Err(fail(libc::EINVAL));
    }
    Ok(match shape {
        Shape::Linger => linger(place.read()?),
        Shape::Rate if len == 8 => Value::Rate(place.read()?),
        Shape::Rate => Value::Rate(short_rate(place.read()?)),
        Shape::Name => {
            let mut name = [0; 16];
            let n = len.min(15);
            place.read_into(&mut name[..n])?;
            Value::Name(name)
        }
        _ => Value::Int(place.read()?),
    })
}

fn linger(raw: libc::linger) -> Value {
    Value::Linger((raw.l_onoff != 0).then_some(raw.l_linger as u32))
}

/// Sets on the stack's socket what was set on the kernel's.
pub(crate) fn carry_over(turn: &mut Turn<'_>, held: &Held, id: SocketId) {
    let now = turn.now();
    for (at, option) in OptName::ALL.iter().enumerate() {
        if *option == OptName::V6Only {
            let only = Value::Int(held.file.is(Flag::OnlyV6).into());
            let _ = turn.stack().set_option(now, id, *option, only);
            continue;
        }
        if !held.file.touched(at) {
            continue;
        }
        let kept = held.file.congestion().filter(|_| *option == OptName::Congestion);
        let kept = kept.map(|control| Value::Name(congestion_name(control)));
        if let Some(value) = kept.or_else(|| from_kernel(held.fd, *option)) {
            // A form of the time that is off would turn the one off that is on.
            if option.is_for_datagrams() && value == Value::Int(0) && option.raw().0 == SOL_SOCKET {
                continue;
            }
            // What the stack does not take was the kernel's to take.
            let _ = turn.stack().set_option(now, id, *option, value);
        }
    }
}

/// The option that tells what this one has set.
pub(crate) fn told_by(option: OptName) -> OptName {
    match option {
        OptName::SendBufferForce => OptName::SendBuffer,
        OptName::RecvBufferForce => OptName::RecvBuffer,
        _ => option,
    }
}

/// The kernel's value of an option.
pub(crate) fn from_kernel(fd: c_int, option: OptName) -> Option<Value> {
    let told = told_by(option);
    let (level, name) = told.raw();
    let mut bytes = [0; 16];
    let len = kernel::option(fd, level, name, &mut bytes)?;
    let int = |at: usize| i32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    match option.kind() {
        // The kernel tells these doubled, and whoever sets them doubles.
        Shape::Int if matches!(told, OptName::SendBuffer | OptName::RecvBuffer) => {
            Some(Value::Int(int(0) / 2))
        }
        Shape::Int => Some(Value::Int(if len == 1 { bytes[0].into() } else { int(0) })),
        Shape::Linger => Some(linger(libc::linger { l_onoff: int(0), l_linger: int(4) })),
        Shape::Name => Some(Value::Name(bytes)),
        Shape::Rate if len == 8 => Some(Value::Rate(u64::from_ne_bytes(bytes[..8].try_into().ok()?))),
        Shape::Rate => Some(Value::Rate(short_rate(int(0) as u32))),
        Shape::Info | Shape::ControlInfo => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_value_of_an_option_is_understood() {
        let fd = kernel::socket(libc::AF_INET, libc::SOCK_STREAM, 0).unwrap();
        assert_eq!(from_kernel(fd, OptName::NoDelay), Some(Value::Int(0)));
        assert_eq!(from_kernel(fd, OptName::Linger), Some(Value::Linger(None)));
        assert_eq!(from_kernel(fd, OptName::KeepIdle), Some(Value::Int(7200)));
        assert!(OptName::ALL.len() <= 128, "one bit an option in a file's words");
        kernel::close(fd).unwrap();
    }
}
