//! Names of sockets: bind, getsockname, getpeername; and shutdown.

use core::net::SocketAddr;

use libc::{c_int, sockaddr, socklen_t};
use stack::error::SocketError;
use stack::socket::How;

use super::{attached, held, is_stream};
use crate::attach;
use crate::errno::{Leave, Outcome, check, fail};
use crate::fdtable::{Flag, Held, Kind};
use crate::reason::Reason;
use crate::user::{Named, Place, read_sockaddr, write_sockaddr};
use crate::{heirs, kernel, options, pumped};

/// `bind`: the kernel's first, so that conflicts and their errno are its own.
pub(crate) fn bind(fd: c_int, name: *const sockaddr, len: socklen_t) -> Outcome {
    let held = held(fd)?;
    let bind = || check(kernel::bind_raw(fd, name, len) as isize);
    match read_sockaddr(name.into(), len) {
        Ok(Named::Inet(local)) => attach::bind(fd, local, bind)?,
        _ => bind()?,
    };
    held.file.set(Flag::Bound, true);
    let any_port = matches!(read_sockaddr(name.into(), len), Ok(Named::Inet(local)) if local.port() == 0);
    held.file.set(Flag::OurPort, any_port);
    options::note_v6_only(&held);
    Ok(0)
}

/// Whether the kernel's socket knows both ends as well: that of UDP does, unless the program stands apart from its host.
fn kernel_knows(held: &Held) -> bool {
    let stands_apart = || attach::stands_apart() && held.socket().is_some();
    !is_stream(held) && !stands_apart()
}

/// `getsockname`.
pub(crate) fn getsockname(fd: c_int, name: *mut sockaddr, len: *mut socklen_t) -> Outcome {
    let held = held(fd)?;
    if kernel_knows(&held) {
        return Err(Reason::Plain.into());
    }
    if let Some((local, _)) = told_elsewhere(&held) {
        write_sockaddr(name.into(), len.into(), held.file.told(local))?;
        return Ok(0);
    }
    let (runtime, id) = attached(&held)?;
    let mut turn = runtime.lock();
    let mut local = held.file.told(turn.stack().local(id)?.ok_or(Reason::Plain)?);
    if held.file.is(Flag::OurAddress) && turn.stack().is_fresh(id) {
        // Linux: a connect that has failed leaves the port, and an address only if one was named by bind.
        local = held.file.any(local.port());
    }
    drop(turn);
    write_sockaddr(name.into(), len.into(), local)?;
    Ok(0)
}

/// Both addresses of a connection whose stack is another process's, and stays there.
fn told_elsewhere(held: &Held) -> Option<(SocketAddr, SocketAddr)> {
    pumped::names(held).or_else(|| heirs::ask_names(held))
}

/// `getpeername`.
pub(crate) fn getpeername(fd: c_int, name: *mut sockaddr, len: *mut socklen_t) -> Outcome {
    let held = held(fd)?;
    if kernel_knows(&held) {
        return Err(Reason::Plain.into());
    }
    if let Some((_, peer)) = told_elsewhere(&held) {
        write_sockaddr(name.into(), len.into(), held.file.told(peer))?;
        return Ok(0);
    }
    let (runtime, id) = attached(&held)?;
    let peer = runtime.lock().stack().peer(id)?;
    if Place::from(name).is_null() {
        return Err(fail(libc::EFAULT));
    }
    write_sockaddr(name.into(), len.into(), held.file.told(peer))?;
    Ok(0)
}

/// `shutdown`.
pub(crate) fn shutdown(fd: c_int, how: c_int) -> Outcome {
    let held = held(fd)?;
    let (runtime, id) = attached(&held)?;
    let how = match how {
        libc::SHUT_RD => How::Read,
        libc::SHUT_WR => How::Write,
        libc::SHUT_RDWR => How::Both,
        _ => return Err(fail(libc::EINVAL)),
    };
    let mut turn = runtime.lock();
    let now = turn.now();
    let shut = turn.stack().shutdown(now, id, how);
    if held.file.is(Flag::Listening) {
        // Shut for reading, a listener listens no more, here and in the kernel.
        if how != How::Write {
            attach::abandon(&mut turn, &held, id);
            held.file.set(Flag::Listening, false);
        }
        return Err(Reason::Plain.into());
    }
    match shut {
        Ok(()) if held.file.kind() == Kind::Datagram => Err(Reason::Plain.into()),
        Ok(()) => Ok(0),
        Err(SocketError::NotConnected) => Err(Leave::Errno(SocketError::NotConnected.into())),
        Err(error) => Err(error.into()),
    }
}
