//! poll and ppoll.

use core::time::Duration;

use libc::{c_int, nfds_t, pollfd, sigset_t, size_t, timespec};

use super::watch::{Found, Watch, count};
use crate::errno::{Leave, Outcome};
use crate::reason::Reason;
use crate::user::Place;
use crate::{epoll, fdtable, kernel};

/// `poll`.
pub(crate) fn poll(fds: *mut pollfd, count: nfds_t, timeout: c_int) -> Outcome {
    run(fds.into(), count, || Ok((epoll::milliseconds(timeout), None)))
}

/// `__poll_chk`.
pub(crate) fn poll_chk(fds: *mut pollfd, count: nfds_t, timeout: c_int, room: size_t) -> Outcome {
    checked(count, room)?;
    poll(fds, count, timeout)
}

/// `ppoll`.
pub(crate) fn ppoll(
    fds: *mut pollfd,
    count: nfds_t,
    timeout: *const timespec,
    mask: *const sigset_t,
) -> Outcome {
    run(fds.into(), count, || {
        let (timeout, mask) = (Place::from(timeout), Place::from(mask));
        let timeout = if timeout.is_null() { None } else { Some(epoll::duration(timeout.read()?)?) };
        let mask = if mask.is_null() { None } else { Some(mask.read()?) };
        Ok((timeout, mask))
    })
}

/// `__ppoll_chk`.
pub(crate) fn ppoll_chk(
    fds: *mut pollfd,
    count: nfds_t,
    timeout: *const timespec,
    mask: *const sigset_t,
    room: size_t,
) -> Outcome {
    checked(count, room)?;
    ppoll(fds, count, timeout, mask)
}

/// An array that libc's fortified functions would abort for is theirs to see.
fn checked(count: nfds_t, room: size_t) -> Result<(), Leave> {
    if count as usize > room / size_of::<pollfd>() { Err(Reason::Plain.into()) } else { Ok(()) }
}

/// So many entries no limit of descriptors forbids; the limit is asked for beyond.
const FEW: nfds_t = 256;

type Patience = (Option<Duration>, Option<sigset_t>);

fn run(fds: Place, entries: nfds_t, patience: impl FnOnce() -> Result<Patience, Leave>) -> Outcome {
    let plain = Leave::Bypass(Reason::Plain);
    // None of ours at all, or an array that the kernel may refuse for its length.
    if !fdtable::any() || (entries > FEW && entries as usize > kernel::descriptor_limit()) {
        return Err(plain);
    }
    let place = |i: usize| fds.after(i * size_of::<pollfd>());
    let entries = entries as usize;
    let is_ours = |i| place(i).read::<pollfd>().is_ok_and(|e| !fdtable::is_plain(e.fd));
    if !(0..entries).any(is_ours) {
        return Err(plain);
    }
    let asked = (0..entries).map(|i| place(i).read()).collect::<Result<Vec<pollfd>, _>>()?;
    let watch = Watch::sort(&asked)?;
    let (timeout, mask) = patience()?;
    let revents = match watch.wait(timeout, mask.as_ref())? {
        Found::Ready(revents) => revents,
        Found::Nothing => vec![0; entries],
    };
    let field = core::mem::offset_of!(pollfd, revents);
    for (i, revents) in revents.iter().enumerate() {
        place(i).after(field).write(&(*revents as u16))?;
    }
    Ok(count(&revents) as isize)
}
