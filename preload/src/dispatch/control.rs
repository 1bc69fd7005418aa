//! fcntl, ioctl, and SO_LINGER at close.

use core::time::Duration;

use libc::{c_char, c_int, c_uint, c_ulong, c_void};
use stack::socket::{How, OptName, Value};

use super::{attached, backing, held, is_stream, owner};
use crate::errno::Outcome;
use crate::fdtable::{Flag, Held};
use crate::reason::Reason;
use crate::user::Place;
use crate::{heirs, kernel, state};

const SIOCATMARK: c_ulong = 0x8905;
const SIOCOUTQNSD: c_ulong = 0x894b;

/// `sockatmark`, which libc makes of an ioctl.
pub(crate) fn sockatmark(fd: c_int) -> Outcome {
    let held = held(fd)?;
    let (runtime, id) = attached(&held).ok().filter(|_| is_stream(&held)).ok_or(Reason::Plain)?;
    Ok(runtime.lock().stack().is_at_mark(id)? as isize)
}

/// `fcntl`. Descriptor flags are the kernel's; O_NONBLOCK of a shared backing socket is ours.
pub(crate) fn fcntl(fd: c_int, command: c_int, argument: usize) -> Outcome {
    let held = held(fd)?;
    if let Some(outcome) = owner::fcntl(&held, command, argument) {
        return outcome;
    }
    match command {
        libc::F_DUPFD | libc::F_DUPFD_CLOEXEC => {
            let new = kernel::fcntl(fd, command, argument)?;
            state::lock().registry.alias(new, &held);
            Ok(new as isize)
        }
        libc::F_SETFD => {
            held.file.set(Flag::Offered, argument as c_int & libc::FD_CLOEXEC == 0);
            Err(Reason::Plain.into())
        }
        libc::F_GETFL if held.file.is(Flag::SharedBacking) => {
            let nonblocking = if held.file.is(Flag::NonBlocking) { libc::O_NONBLOCK } else { 0 };
            Ok((libc::O_RDWR | nonblocking) as isize)
        }
        libc::F_SETFL => {
            held.file.set(Flag::NonBlocking, argument as c_int & libc::O_NONBLOCK != 0);
            if argument as c_int & libc::O_ASYNC != 0 && held.socket().is_some() {
                Reason::Control.count();
            }
            // The backing socket of an accepted connection is shared with others: its flags stay.
            if held.file.is(Flag::SharedBacking) { Ok(0) } else { Err(Reason::Plain.into()) }
        }
        _ => Err(Reason::Plain.into()),
    }
}

/// `fstat`.
pub(crate) fn fstat(fd: c_int, _: *mut c_void) -> Outcome {
    has_inode(fd)
}

/// `fstatat`, of a descriptor itself.
pub(crate) fn fstatat(fd: c_int, _: *const c_char, _: *mut c_void, _: c_int) -> Outcome {
    has_inode(fd)
}

/// `statx`, likewise.
pub(crate) fn statx(fd: c_int, _: *const c_char, _: c_int, _: c_uint, _: *mut c_void) -> Outcome {
    has_inode(fd)
}

/// Who asks which file it is gets an answer of this connection's own, and the same wherever the connection is sent (Dovecot's
/// login tells it to who has the connection next). The kernel gives it. Where there are no descriptors left it is that of many:
/// to ask fails for nobody.
fn has_inode(fd: c_int) -> Outcome {
    let held = held(fd)?;
    if !held.file.is(Flag::Inherited) {
        let _ = backing::own(&held);
    }
    Err(Reason::Plain.into())
}

/// `ioctl`.
pub(crate) fn ioctl(fd: c_int, request: c_ulong, argument: usize) -> Outcome {
    let held = held(fd)?;
    let place = Place::from(argument as *const u8);
    if let Some(outcome) = owner::ioctl(&held, request, place) {
        return outcome;
    }
    match request {
        libc::FIONBIO => {
            let on: c_int = place.read()?;
            held.file.set(Flag::NonBlocking, on != 0);
            if held.file.is(Flag::SharedBacking) { Ok(0) } else { Err(Reason::Plain.into()) }
        }
        libc::FIONREAD => {
            let (runtime, id) = attached(&held)?;
            let queued = runtime.lock().stack().recv_queue(id)?;
            if queued == 0 && !is_stream(&held) {
                return Err(Reason::Plain.into());
            }
            place.write(&c_int::try_from(queued).unwrap_or(c_int::MAX))?;
            Ok(0)
        }
        libc::TIOCOUTQ => {
            let (runtime, id) = attached(&held)?;
            let queued = runtime.lock().stack().send_queue(id)?;
            place.write(&c_int::try_from(queued).unwrap_or(c_int::MAX))?;
            Ok(0)
        }
        SIOCOUTQNSD => {
            let (runtime, id) = attached(&held)?;
            let unsent = runtime.lock().stack().unsent(id)?;
            place.write(&c_int::try_from(unsent).unwrap_or(c_int::MAX))?;
            Ok(0)
        }
        SIOCATMARK if is_stream(&held) => {
            let (runtime, id) = attached(&held)?;
            let at_mark = runtime.lock().stack().is_at_mark(id)?;
            place.write(&c_int::from(at_mark))?;
            Ok(0)
        }
        libc::FIOCLEX | libc::FIONCLEX => {
            held.file.set(Flag::Offered, request == libc::FIONCLEX);
            Err(Reason::Plain.into())
        }
        _ => Err(if held.socket().is_some() { Reason::Control } else { Reason::Plain }.into()),
    }
}

/// The last close of a blocking socket with SO_LINGER waits until its data has been acknowledged.
pub(super) fn linger(held: &Held) {
    if !is_stream(held) || held.file.is(Flag::Listening) || held.socket().is_none() {
        // What is another process's still is not asked for to be closed.
        return;
    }
    let Ok((runtime, id)) = attached(held) else { return };
    if !held.is_only_name() || heirs::is_others_too(held.word) {
        return;
    }
    let mut turn = runtime.lock();
    let Ok(Value::Linger(Some(seconds))) = turn.stack().option(id, OptName::Linger) else { return };
    if seconds == 0 {
        return;
    }
    let now = turn.now();
    let _ = turn.stack().shutdown(now, id, How::Write);
    drop(turn);
    let wait = ringroad::runtime::Wait {
        deadline: Some(runtime.now() + Duration::from_secs(seconds.into())),
        ..Default::default()
    };
    runtime.wait(wait, |turn| (turn.stack().send_queue(id).unwrap_or(0) == 0).then_some(()));
}
