//! Another kernel socket behind a descriptor.

use core::net::SocketAddr;

use stack::socket::OptName;

use crate::errno::Leave;
use crate::fdtable::{Flag, Held};
use crate::kernel;
use crate::reason::Reason;

/// Gives the descriptor a fresh kernel socket, bound to another port of the address of `local`, whose port is zero, with the options of the
/// one before. (A port cannot be taken from a socket that has one.)
pub(super) fn rebind(held: &Held, local: SocketAddr) -> Result<SocketAddr, Leave> {
    let nonblocking = if held.file.is(Flag::NonBlocking) { libc::SOCK_NONBLOCK } else { 0 };
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC | nonblocking;
    let fresh = kernel::socket(held.file.family(), kind, 0)?;
    // The old socket still holds its port, so this is another one.
    let bound = kernel::bind(fresh, local).and_then(|_| {
        copy_options(held, fresh);
        let cloexec = kernel::fcntl(held.fd, libc::F_GETFD, 0)? & libc::FD_CLOEXEC != 0;
        kernel::dup3(fresh, held.fd, if cloexec { libc::O_CLOEXEC } else { 0 })
    });
    kernel::close(fresh)?;
    bound?;
    Ok(kernel::local(held.fd).ok_or(Reason::NoPort)?)
}

fn copy_options(held: &Held, fresh: libc::c_int) {
    for (at, option) in OptName::ALL.iter().enumerate() {
        let (level, name) = option.raw();
        let mut value = [0; 16];
        if held.file.touched(at)
            && let Some(len) = kernel::option(held.fd, level, name, &mut value)
        {
            // The kernel tells buffer sizes doubled, and doubles what it is told.
            if matches!(option, OptName::SendBuffer | OptName::RecvBuffer) {
                let doubled = i32::from_ne_bytes([value[0], value[1], value[2], value[3]]);
                value[..4].copy_from_slice(&(doubled / 2).to_ne_bytes());
            }
            // What the old socket took, this one takes; and it is the stack's that counts.
            let _ = kernel::set_option_raw(fresh, level, name, value.as_ptr().cast(), len as libc::socklen_t);
        }
    }
}
