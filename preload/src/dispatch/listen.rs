//! Listeners: one in the kernel, and one in the stack from when the process first waits for it.

use core::net::SocketAddr;
use core::sync::atomic::{AtomicI32, Ordering};

use libc::{SOCK_CLOEXEC, SOCK_NONBLOCK, c_int, sockaddr, socklen_t};
use ringroad::Runtime;
use ringroad::config::Call;
use stack::error::SocketError;
use stack::socket::Accepted;
use stack::types::{Readiness, SocketId};

use super::wait::{News, Patience, readable};
use super::{held, is_stream, lifecycle};
use crate::errno::{Leave, Outcome, check};
use crate::fdtable::{self, File, Flag, Held, Kind};
use crate::reason::Reason;
use crate::user::{Place, write_sockaddr};
use crate::{attach, kernel};

/// The sockets whose dups stand for accepted connections, IPv4's and IPv6's: a descriptor number that costs one
/// cheap call.
static TEMPLATES: [AtomicI32; 2] = [AtomicI32::new(-1), AtomicI32::new(-1)];

/// `listen`: in the kernel now.
pub(crate) fn listen(fd: c_int, backlog: c_int) -> Outcome {
    let held = held(fd)?;
    if !is_stream(&held) {
        return Err(Reason::Plain.into());
    }
    if let Some(id) = held.socket()
        && !held.file.is(Flag::Listening)
    {
        // Connected in the stack: it says what the kernel's socket cannot know.
        let runtime = Runtime::current().ok_or(Reason::NoStack)?;
        return Ok(runtime.lock().stack().listen(id, backlog.max(0) as u32).map(|()| 0)?);
    }
    check(kernel::listen(fd, backlog) as isize)?;
    held.file.set_backlog(if backlog < 0 { c_int::MAX } else { backlog });
    held.file.set(Flag::Listening, true);
    if let (Some(id), Some(runtime)) = (held.socket(), Runtime::current()) {
        let _ = runtime.lock().stack().listen(id, held.file.backlog() as u32);
    }
    Ok(0)
}

/// `accept`.
pub(crate) fn accept(fd: c_int, name: *mut sockaddr, len: *mut socklen_t) -> Outcome {
    accept4(fd, name, len, 0)
}

/// `accept4`: a connection of the stack, else one of the kernel.
pub(crate) fn accept4(fd: c_int, name: *mut sockaddr, len: *mut socklen_t, flags: c_int) -> Outcome {
    let held = held(fd)?;
    if !held.file.is(Flag::Listening) || flags & !(SOCK_CLOEXEC | SOCK_NONBLOCK) != 0 {
        return Err(Reason::Plain.into());
    }
    let (runtime, id) = attach::attach(&held)?;
    let patience = Patience::of(runtime, &held, Call::Accept, 0);
    loop {
        if let Some((new, accepted)) = take(&held, runtime, id, flags)? {
            return hand_out(new, held.file.told(accepted.remote), (name.into(), len.into()));
        }
        // Nothing in the stack: whatever there is or is not in the kernel is the answer, if it answers now.
        if !patience.blocks() {
            return from_kernel(fd, name, len, flags);
        }
        let mut listener = [readable(fd)];
        if patience.wait(&held, id, Readiness::IN, &mut listener)? == News::Kernel {
            return from_kernel(fd, name, len, flags);
        }
    }
}

fn from_kernel(fd: c_int, name: *mut sockaddr, len: *mut socklen_t, flags: c_int) -> Outcome {
    let new = check(kernel::accept4(fd, name, len, flags) as isize)?;
    Reason::KernelPeer.count();
    if let Some(stale) = fdtable::get(new as c_int) {
        lifecycle::forget(&stale);
    }
    Ok(new)
}

/// A connection and a descriptor for it, or neither.
fn take(
    listener: &Held,
    runtime: &Runtime,
    id: SocketId,
    flags: c_int,
) -> Result<Option<(c_int, Accepted)>, Leave> {
    let mut turn = runtime.lock();
    let readiness = turn.stack().readiness(id);
    if readiness.contains(Readiness::HUP) && !readiness.contains(Readiness::IN) {
        return Err(SocketError::Invalid.into());
    }
    if !readiness.contains(Readiness::IN) {
        return Ok(None);
    }
    let new = kernel::dup(template(listener.file)?, flags & SOCK_CLOEXEC != 0)?;
    if let Some(stale) = fdtable::get(new) {
        // Closed behind our back; `remember` would want the lock that is held here.
        lifecycle::forget_in(&mut turn, &stale);
    }
    let now = turn.now();
    match turn.stack().accept(now, id) {
        Ok(accepted) => {
            let set_up = |held: &Held| {
                held.file.set(Flag::SharedBacking, true);
                held.file.set(Flag::V6, listener.file.is(Flag::V6));
                held.file.set(Flag::NonBlocking, flags & SOCK_NONBLOCK != 0);
                held.file.set_socket(Some(accepted.id));
            };
            match lifecycle::remember(new, Kind::Stream, set_up) {
                Some(held) => turn.stack().set_cookie(accepted.id, held.word.cookie())?,
                None => {
                    turn.stack().close(now, accepted.id)?;
                    kernel::close(new)?;
                    return Err(SocketError::NoBuffers.into());
                }
            }
            Ok(Some((new, accepted)))
        }
        Err(error) => {
            kernel::close(new)?;
            if error == SocketError::WouldBlock { Ok(None) } else { Err(error.into()) }
        }
    }
}

fn hand_out(new: c_int, remote: SocketAddr, (name, len): (Place, Place)) -> Outcome {
    if let Err(error) = write_sockaddr(name, len, remote) {
        // As Linux: the connection is lost with the call.
        if let Some(held) = fdtable::get(new) {
            lifecycle::forget(&held);
        }
        kernel::close(new)?;
        return Err(error.into());
    }
    Ok(new as isize)
}

fn template(like: &File) -> Result<c_int, Leave> {
    let template = &TEMPLATES[usize::from(like.is(Flag::V6))];
    let known = template.load(Ordering::Acquire);
    if known >= 0 {
        return Ok(known);
    }
    let made = kernel::socket(like.family(), libc::SOCK_STREAM | SOCK_CLOEXEC, 0)?;
    let made = kernel::move_high(made);
    match template.compare_exchange(-1, made, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => {
            fdtable::protect(made, true);
            Ok(made)
        }
        Err(first) => {
            let _ = kernel::close(made);
            Ok(first)
        }
    }
}
