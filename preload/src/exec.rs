//! Another program takes over the process: its memory goes, descriptors stay.

use libc::{c_char, c_int};
use ringroad::Runtime;

use crate::environment;
use crate::errno::Outcome;
use crate::fdtable;
use crate::kernel::{self, Program};
use crate::reason::Reason;
use crate::state;

/// Strings up to a null pointer.
type Table = *const *const c_char;

/// `execve`.
pub(crate) fn execve(path: *const c_char, args: Table, env: Table) -> Outcome {
    exec(Program::Path(path), args, env)
}

/// `execvpe`.
pub(crate) fn execvpe(name: *const c_char, args: Table, env: Table) -> Outcome {
    exec(Program::Name(name), args, env)
}

/// `execv`.
pub(crate) fn execv(path: *const c_char, args: Table) -> Outcome {
    exec(Program::Path(path), args, kernel::environment())
}

/// `execvp`.
pub(crate) fn execvp(name: *const c_char, args: Table) -> Outcome {
    exec(Program::Name(name), args, kernel::environment())
}

/// `fexecve`.
pub(crate) fn fexecve(fd: c_int, args: Table, env: Table) -> Outcome {
    exec(Program::Open(fd), args, env)
}

/// The application's call as it is, unless the new program would not find the library.
fn exec(program: Program, args: Table, env: Table) -> Outcome {
    leave_behind();
    match environment::furnished(env)? {
        Some(whole) => Err(kernel::exec(program, args, &whole).into()),
        None => Err(Reason::Plain.into()),
    }
}

/// Counts the accelerated connections that the new program would find open and dead: their kernel
/// descriptors survive, their stack does not. Listeners and sockets that were never attached survive whole.
fn leave_behind() {
    if Runtime::current().is_some() {
        let ours = state::lock().registry.in_range(0, c_int::MAX);
        for held in ours {
            let survives = kernel::fcntl(held.fd, libc::F_GETFD, 0).is_ok_and(|f| f & libc::FD_CLOEXEC == 0);
            if survives && held.socket().is_some() && !held.file.is(fdtable::Flag::Listening) {
                Reason::Exec.count();
            }
        }
    }
}
