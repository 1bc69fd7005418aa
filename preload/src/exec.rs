//! Another program takes over the process: its memory goes, descriptors stay.

use libc::{c_char, c_int};
use ringroad::Runtime;

use crate::errno::Outcome;
use crate::fdtable;
use crate::kernel;
use crate::reason::Reason;
use crate::state;

/// `execve` and `execvpe`.
pub(crate) fn execve(_: *const c_char, _: *const *const c_char, _: *const *const c_char) -> Outcome {
    leave_behind()
}

/// `execv` and `execvp`.
pub(crate) fn execv(_: *const c_char, _: *const *const c_char) -> Outcome {
    leave_behind()
}

/// `fexecve`.
pub(crate) fn fexecve(_: c_int, _: *const *const c_char, _: *const *const c_char) -> Outcome {
    leave_behind()
}

/// Counts the accelerated connections that the new program would find open and dead: their kernel
/// descriptors survive, their stack does not. Listeners and sockets that were never attached survive whole.
fn leave_behind() -> Outcome {
    if Runtime::current().is_some() {
        let ours = state::lock().registry.in_range(0, c_int::MAX);
        for held in ours {
            let survives = kernel::fcntl(held.fd, libc::F_GETFD, 0).is_ok_and(|f| f & libc::FD_CLOEXEC == 0);
            if survives && held.socket().is_some() && !held.file.is(fdtable::Flag::Listening) {
                Reason::Exec.count();
            }
        }
    }
    Err(Reason::Plain.into())
}
