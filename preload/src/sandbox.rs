//! A process that forbids itself what a stack needs: system calls (seccomp(2)), or descriptors (RLIMIT_NOFILE), as
//! sshd's child does before it speaks to a client that is not let in yet; or threads (RLIMIT_NPROC), as Dovecot's login
//! does, which has its stack before that. From then on its sockets are the kernel's, and
//! what it has accelerated is pumped (`ringroad::pump`): its descriptor is one end of a Unix socket, on which nothing but
//! the kernel's own calls are made, while its parent, or a thread of its own that was there before, has the connection.

use core::sync::atomic::{AtomicBool, Ordering};
use std::sync::OnceLock;

use libc::{c_int, c_uint, c_ulong, c_void, pid_t, rlimit};
use ringroad::errand::Errand;
use ringroad::pump::Ends;
use ringroad::{Runtime, log};

use crate::errno::{Errno, Outcome};
use crate::fdtable::{self, Flag, Held, Kind};
use crate::reason::Reason;
use crate::user::Place;
use crate::{attach, exit, heirs, kernel, likeness, pumped, state};

/// Who may have no more descriptors than this can begin no stack.
const ENOUGH: u64 = 32;
/// Operations of seccomp that forbid something.
const STRICT: c_uint = 0;
const FILTER: c_uint = 1;
/// What prctl calls them.
const MODE_STRICT: c_ulong = 1;
const MODE_FILTER: c_ulong = 2;

/// Ready for the end of a process that has a stack.
static EXIT: OnceLock<Errand> = OnceLock::new();
static ENTERED: AtomicBool = AtomicBool::new(false);
/// System calls are forbidden.
static CALLS: AtomicBool = AtomicBool::new(false);

/// Whether this process may have no stack any more.
pub(crate) fn is_entered() -> bool {
    ENTERED.load(Ordering::Relaxed)
}

/// Whether this process may have forbidden itself any call but the kernel's on what it has.
pub(crate) fn forbids_calls() -> bool {
    CALLS.load(Ordering::Relaxed)
}

/// What it is that a process forbids itself.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Forbidden {
    /// To have more descriptors: what is in its stack goes on there.
    Descriptors,
    /// System calls: nothing does.
    Calls,
}

/// `prctl`.
pub(crate) fn prctl(option: c_int, mode: c_ulong, filter: c_ulong, c: c_ulong, d: c_ulong) -> Outcome {
    if let Some(done) = likeness::prctl(option, mode, filter, c, d) {
        return done;
    }
    let forbids = || mode == MODE_STRICT || (mode == MODE_FILTER && is_filter(filter));
    if option == libc::PR_SET_SECCOMP && forbids() {
        enter(Forbidden::Calls);
    }
    Err(Reason::Plain.into())
}

/// `seccomp`, which has no function in libc.
pub(crate) fn seccomp(operation: c_uint, filter: c_ulong) -> Outcome {
    if operation == STRICT || (operation == FILTER && is_filter(filter)) {
        enter(Forbidden::Calls);
    }
    Err(Reason::Plain.into())
}

/// Whether there is a filter (`struct sock_fprog`): who gives none asks whether the kernel takes filters, as libseccomp
/// does, and goes on as before.
fn is_filter(program: c_ulong) -> bool {
    let place = Place::from(core::ptr::with_exposed_provenance::<c_void>(program as usize));
    !place.is_null() && place.read().is_ok_and(|instructions: u16| instructions > 0)
}

/// `setrlimit`.
pub(crate) fn setrlimit(resource: c_uint, limit: *const rlimit) -> Outcome {
    prlimit(0, resource, limit, core::ptr::null_mut())
}

/// `prlimit`.
pub(crate) fn prlimit(process: pid_t, resource: c_uint, new: *const rlimit, _: *mut rlimit) -> Outcome {
    let place = Place::from(new);
    if !place.is_null() && is_this(process) {
        // What only the soft limit forbids the process can allow itself again.
        let hard: u64 = place.after(core::mem::offset_of!(rlimit, rlim_max)).read()?;
        match resource {
            libc::RLIMIT_NOFILE if hard < ENOUGH => enter(Forbidden::Descriptors),
            libc::RLIMIT_NPROC => begin_while_allowed(),
            _ => {}
        }
    }
    Err(Reason::Plain.into())
}

/// A process that is about to limit its threads has its stack first, when it has a socket that waits for one.
fn begin_while_allowed() {
    if Runtime::current().is_none() && fdtable::any() {
        let all = state::lock().registry.in_range(0, c_int::MAX);
        if all.iter().any(attach::is_due) {
            // When there is none, that is told with the first use.
            let _ = attach::runtime_or_silence();
        }
    }
}

fn is_this(process: pid_t) -> bool {
    process == 0 || u32::try_from(process) == Ok(std::process::id())
}

/// What is accelerated becomes what is allowed still. The process does with it what it did before.
fn enter(forbidden: Forbidden) {
    ENTERED.store(true, Ordering::Relaxed);
    if forbidden == Forbidden::Calls {
        CALLS.store(true, Ordering::Relaxed);
    }
    if !fdtable::any() {
        return;
    }
    let all = state::lock().registry.in_range(0, c_int::MAX);
    let stays = |held: &Held| match forbidden {
        Forbidden::Descriptors => !held.file.is(Flag::Inherited) && Runtime::current().is_some(),
        Forbidden::Calls => false,
    };
    let mut lost = 0;
    for held in all {
        let result = match held.file.kind() {
            _ if held.file.is(Flag::Kernels) || stays(&held) => Ok(()),
            Kind::Stream if !held.file.is(Flag::Listening) => pump(&held),
            Kind::Stream | Kind::Datagram => {
                leave(&held);
                Ok(())
            }
            _ => Ok(()),
        };
        if result.is_err() {
            Reason::Sandbox.count();
            lost += 1;
        }
    }
    if lost > 0 {
        log::tell(format_args!(
            "{lost} connections cannot be used in the sandbox that this process has entered"
        ));
    }
    match Runtime::current() {
        None => forget_port(),
        Some(_) if forbidden == Forbidden::Calls => prepare_exit(),
        Some(_) => {}
    }
}

/// What a process that has a stack does when it ends, this thread may not do: another does it then.
fn prepare_exit() {
    if EXIT.get().is_some() {
        return;
    }
    match Errand::prepare(exit::leave) {
        Ok(errand) => {
            errand.descriptors().into_iter().for_each(|fd| fdtable::protect(fd, true));
            let _ = EXIT.set(errand);
        }
        Err(error) => log::tell(format_args!("what this process has not sent is lost at its end: {error}")),
    }
}

/// The process ends: whether another thread has done what is to be done then.
pub(crate) fn exit() -> bool {
    EXIT.get().inspect(|errand| errand.run()).is_some()
}

/// A listener or a UDP socket is the kernel's.
fn leave(held: &Held) {
    held.file.set(Flag::Kernels, true);
    if let (Some(id), Some(runtime)) = (held.socket(), Runtime::current()) {
        attach::abandon(&mut runtime.lock(), held, id);
    }
}

/// A connection is pumped from here on.
fn pump(held: &Held) -> Result<(), Errno> {
    let is_inherited = held.file.is(Flag::Inherited);
    if !is_inherited && held.socket().is_none() {
        // It is none, or the kernel's.
        held.file.set(Flag::Kernels, true);
        return Ok(());
    }
    let refused = Errno(libc::ENOTCONN);
    let ends = Ends::new().map_err(|_| refused)?;
    let asked = if is_inherited { heirs::ask_to_pump(held, &ends) } else { None };
    let names = match asked {
        Some(names) => names,
        None => {
            if is_inherited {
                // The keeper's, or the parent's parent's.
                heirs::claim(held).map_err(|_| refused)?;
            }
            heirs::pump_own(held, &ends).ok_or(refused)?
        }
    };
    pumped::put(held, ends, names)
}

/// What opens the road is nothing for a process in a sandbox, which is not trusted.
fn forget_port() {
    heirs::leave_parent(&mut state::lock().heirs);
    let lives = pumped::lives();
    let own: Vec<c_int> = fdtable::protected(0, c_int::MAX).filter(|fd| !lives.contains(fd)).collect();
    for fd in own {
        fdtable::protect(fd, false);
        // It was open.
        let _ = kernel::close(fd);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_gives_no_filter_goes_into_no_sandbox() {
        let program = |len| libc::sock_fprog { len, filter: core::ptr::null_mut() };
        let at = |program: &libc::sock_fprog| core::ptr::from_ref(program).expose_provenance() as c_ulong;
        assert!(!is_filter(0) && !is_filter(at(&program(0))) && is_filter(at(&program(1))));
        assert!(seccomp(FILTER, 0).is_err() && prctl(libc::PR_SET_SECCOMP, MODE_FILTER, 0, 0, 0).is_err());
        assert!(!is_entered() && !forbids_calls());
    }
}
