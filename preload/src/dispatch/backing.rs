//! Another kernel socket behind a descriptor.

use core::net::SocketAddr;

use stack::socket::OptName;

use crate::errno::{Errno, Leave};
use crate::fdtable::{Flag, Held};
use crate::kernel;
use crate::reason::Reason;
use crate::{attach, heirs, options};

/// Gives the descriptor a fresh kernel socket, bound to another port of the address of `local`, whose port is zero, with the options of the
/// one before. (A port cannot be taken from a socket that has one.)
pub(super) fn rebind(held: &Held, local: SocketAddr) -> Result<SocketAddr, Leave> {
    replace(held, Some(local))?;
    Ok(kernel::local(held.fd).ok_or(Reason::NoPort)?)
}

/// Gives the descriptor a fresh kernel socket, bound to any port of the address that the application has chosen, if it has
/// chosen one.
pub(super) fn unbind(held: &Held) -> Result<(), Leave> {
    let chosen = kernel::local(held.fd).filter(|_| !held.file.is(Flag::OurAddress));
    let local = chosen.map(|mut local| {
        local.set_port(0);
        local
    });
    replace(held, local)
}

/// Gives the descriptor a fresh kernel socket with the options of the one before.
fn replace(held: &Held, local: Option<SocketAddr>) -> Result<(), Leave> {
    let nonblocking = if held.file.is(Flag::NonBlocking) { libc::SOCK_NONBLOCK } else { 0 };
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC | nonblocking;
    let fresh = kernel::socket(held.file.family(), kind, 0)?;
    // The old socket still holds its port, so this is another one.
    let bind = |local| attach::bind(fresh, local, || kernel::bind(fresh, local));
    let bound = local.map_or(Ok(0), bind).and_then(|_| {
        copy_options(held, fresh);
        put_over(fresh, held.fd)
    });
    kernel::close(fresh)?;
    Ok(bound?)
}

/// Gives a connection a kernel's socket of its own, where it has a dup of one that stands for many.
pub(crate) fn own(held: &Held) -> Result<(), Leave> {
    if !held.file.is(Flag::SharedBacking) {
        return Ok(());
    }
    let nonblocking = if held.file.is(Flag::NonBlocking) { libc::SOCK_NONBLOCK } else { 0 };
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC | nonblocking;
    let fresh = kernel::socket(held.file.family(), kind, 0)?;
    options::tell_timeouts(held, fresh);
    let names = heirs::names_of(held);
    let put = |fd: &libc::c_int| put_over(fresh, *fd);
    let all = names.iter().try_for_each(put);
    kernel::close(fresh)?;
    all?;
    held.file.set(Flag::SharedBacking, false);
    Ok(())
}

/// `fd` names the file of `fresh` from now on, and is closed by an exec as it was before.
pub(crate) fn put_over(fresh: libc::c_int, fd: libc::c_int) -> Result<(), Errno> {
    let cloexec = kernel::fcntl(fd, libc::F_GETFD, 0)? & libc::FD_CLOEXEC != 0;
    kernel::dup3(fresh, fd, if cloexec { libc::O_CLOEXEC } else { 0 }).map(|_| ())
}

fn copy_options(held: &Held, fresh: libc::c_int) {
    for (at, option) in OptName::ALL.iter().enumerate() {
        let (level, name) = option.raw();
        let (_, told_by) = options::told_by(*option).raw();
        let mut value = [0; 16];
        if held.file.touched(at)
            && let Some(len) = kernel::option(held.fd, level, told_by, &mut value)
        {
            // The kernel tells buffer sizes doubled, and doubles what it is told.
            if matches!(options::told_by(*option), OptName::SendBuffer | OptName::RecvBuffer) {
                let doubled = i32::from_ne_bytes([value[0], value[1], value[2], value[3]]);
                value[..4].copy_from_slice(&(doubled / 2).to_ne_bytes());
            }
            // What the old socket took, this one takes; and it is the stack's that counts.
            let _ = kernel::set_option_raw(fresh, level, name, value.as_ptr().cast(), len as libc::socklen_t);
        }
    }
}
