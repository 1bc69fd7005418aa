//! Another program takes over the process: its memory goes, descriptors stay, and connections go along (`carry`).

#[cfg(target_arch = "x86_64")]
mod variadic;

use libc::{c_char, c_int};

use crate::carry::{self, Carried};
use crate::environment;
use crate::errno::Outcome;
use crate::kernel::{self, Program};
use crate::reason::Reason;

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

/// `execveat`.
pub(crate) fn execveat(folder: c_int, path: *const c_char, args: Table, env: Table, flags: c_int) -> Outcome {
    exec(Program::At(folder, path, flags), args, env)
}

/// The application's call as it is, unless the new program would not find the library.
fn exec(program: Program, args: Table, env: Table) -> Outcome {
    let carried = carry::pack();
    match environment::furnished(env, carried.as_ref().map(Carried::entry)) {
        Ok(Some(whole)) => {
            let failed = kernel::exec(program, args, &whole);
            carried.into_iter().for_each(carry::unpack);
            Err(failed.into())
        }
        other => {
            carried.into_iter().for_each(carry::unpack);
            other?;
            Err(Reason::Plain.into())
        }
    }
}
