//! A connection that is pumped to this process (`ringroad::pump`), which has no stack for it: its descriptor is one end of a
//! Unix socket, on which nothing but the kernel's own calls are made, while another process or thread has the connection.

use core::net::SocketAddr;
use std::collections::HashMap;
use std::os::fd::{AsRawFd, IntoRawFd};
use std::sync::{Mutex, OnceLock, PoisonError};

use libc::c_int;
use ringroad::pump::Ends;

use crate::errno::Errno;
use crate::fdtable::{self, Flag, Held, Word};
use crate::{heirs, kernel, options};

/// What the kernel's socket behind a descriptor cannot tell.
struct Pumped {
    local: SocketAddr,
    remote: SocketAddr,
    /// Open as long as the reader's end is.
    life: c_int,
}

static PUMPED: OnceLock<Mutex<HashMap<Word, Pumped>>> = OnceLock::new();

fn pumped<T>(look: impl FnOnce(&mut HashMap<Word, Pumped>) -> T) -> T {
    look(&mut PUMPED.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner))
}

/// The reader's end is behind all descriptors of the file.
pub(crate) fn put(held: &Held, ends: Ends, (local, remote): (SocketAddr, SocketAddr)) -> Result<(), Errno> {
    let (far, life) = ends.into_readers();
    let nonblocking = if held.file.is(Flag::NonBlocking) { libc::O_NONBLOCK } else { 0 };
    kernel::fcntl(far.as_raw_fd(), libc::F_SETFL, nonblocking as usize)?;
    options::tell_timeouts(held, far.as_raw_fd());
    let mut outlives = false;
    for fd in heirs::names_of(held) {
        let cloexec = kernel::fcntl(fd, libc::F_GETFD, 0)? & libc::FD_CLOEXEC != 0;
        kernel::dup3(far.as_raw_fd(), fd, if cloexec { libc::O_CLOEXEC } else { 0 })?;
        outlives |= !cloexec;
    }
    let life = life.into_raw_fd();
    if outlives {
        kernel::fcntl(life, libc::F_SETFD, 0)?;
    }
    fdtable::protect(life, true);
    pumped(|all| all.insert(held.word, Pumped { local, remote, life }));
    let file = held.file;
    [Flag::Inherited, Flag::Lent, Flag::SharedBacking].into_iter().for_each(|flag| file.set(flag, false));
    [Flag::Kernels, Flag::Pumped].into_iter().for_each(|flag| file.set(flag, true));
    Ok(())
}

/// What is open as long as the readers' ends are.
pub(crate) fn lives() -> Vec<c_int> {
    pumped(|all| all.values().map(|one| one.life).collect())
}

/// Both addresses of a connection that is pumped.
pub(crate) fn names(held: &Held) -> Option<(SocketAddr, SocketAddr)> {
    if !held.file.is(Flag::Pumped) {
        return None;
    }
    pumped(|all| all.get(&held.word).map(|one| (one.local, one.remote)))
}

/// The last descriptor of a file that was pumped is closed.
pub(crate) fn closed(word: Word) {
    if let Some(one) = pumped(|all| all.remove(&word)) {
        fdtable::protect(one.life, false);
        let _ = kernel::close(one.life);
    }
}
