//! select and pselect.

use core::time::Duration;

use libc::{c_int, c_short, fd_set, pollfd, sigset_t, timespec, timeval};

use super::watch::{Found, Watch};
use crate::errno::{Leave, Outcome, fail};
use crate::reason::Reason;
use crate::user::{Fault, Place};
use crate::{epoll, fdtable, kernel};

/// What each of the three sets asks of poll, and what of poll's answer counts for it (the kernel's
/// `POLLIN_SET`, `POLLOUT_SET`, `POLLEX_SET`).
const SETS: [(c_short, c_short); 3] = [
    (
        libc::POLLIN | libc::POLLRDNORM | libc::POLLRDBAND,
        libc::POLLIN | libc::POLLRDNORM | libc::POLLRDBAND | libc::POLLHUP | libc::POLLERR,
    ),
    (
        libc::POLLOUT | libc::POLLWRNORM | libc::POLLWRBAND,
        libc::POLLOUT | libc::POLLWRNORM | libc::POLLWRBAND | libc::POLLERR,
    ),
    (libc::POLLPRI, libc::POLLPRI),
];

const WORD: usize = 64;

/// The three sets of one call.
struct Sets {
    places: [Place; 3],
    words: [Vec<u64>; 3],
}

impl Sets {
    fn read(places: [Place; 3], count: usize) -> Result<Self, Fault> {
        let mut words = [const { Vec::new() }; 3];
        for (place, words) in places.iter().zip(&mut words) {
            for i in 0..count.div_ceil(WORD) {
                words.push(if place.is_null() { 0 } else { place.after(i * 8).read()? });
            }
        }
        Ok(Self { places, words })
    }

    fn asks(&self, fd: usize) -> c_short {
        let asked = SETS.iter().zip(&self.words).filter(|(_, w)| w[fd / WORD] >> (fd % WORD) & 1 != 0);
        asked.fold(0, |events, ((ask, _), _)| events | ask)
    }

    /// Leaves the bits of those that are ready; answers how many bits that are.
    fn keep(&mut self, entries: &[pollfd], revents: &[c_short]) -> isize {
        let mut kept = 0;
        let mut out = self.words.clone();
        out.iter_mut().flatten().for_each(|w| *w = 0);
        for (entry, revents) in entries.iter().zip(revents) {
            let fd = entry.fd as usize;
            for (set, (_, counts)) in SETS.iter().enumerate() {
                let bit = 1 << (fd % WORD);
                if revents & counts != 0 && self.words[set][fd / WORD] & bit != 0 {
                    out[set][fd / WORD] |= bit;
                    kept += 1;
                }
            }
        }
        self.words = out;
        kept
    }

    fn write(&self) -> Result<(), Fault> {
        for (place, words) in self.places.iter().zip(&self.words) {
            if !place.is_null() {
                words.iter().enumerate().try_for_each(|(i, word)| place.after(i * 8).write(word))?;
            }
        }
        Ok(())
    }
}

/// `select`; what is left of the time is written back, as Linux does.
pub(crate) fn select(
    count: c_int,
    read: *mut fd_set,
    write: *mut fd_set,
    except: *mut fd_set,
    timeout: *mut timeval,
) -> Outcome {
    let place = Place::from(timeout);
    let begun = kernel::now();
    let given = || -> Result<Option<Duration>, Leave> {
        if place.is_null() {
            return Ok(None);
        }
        let time: timeval = place.read()?;
        if time.tv_sec < 0 || time.tv_usec < 0 {
            return Err(fail(libc::EINVAL));
        }
        let extra = Duration::from_micros(time.tv_usec as u64);
        Ok(Some(Duration::from_secs(time.tv_sec as u64) + extra))
    };
    run(count, [read.into(), write.into(), except.into()], || {
        let timeout = given()?;
        let left = move || {
            let Some(timeout) = timeout else { return Ok(()) };
            let left = timeout.saturating_sub(Duration::from_nanos(kernel::now() - begun));
            let left = timeval { tv_sec: left.as_secs() as i64, tv_usec: i64::from(left.subsec_micros()) };
            place.write(&left)
        };
        Ok(Patience { timeout, mask: None, after: Box::new(left) })
    })
}

/// `pselect`.
pub(crate) fn pselect(
    count: c_int,
    read: *mut fd_set,
    write: *mut fd_set,
    except: *mut fd_set,
    timeout: *const timespec,
    mask: *const sigset_t,
) -> Outcome {
    let (timeout, mask) = (Place::from(timeout), Place::from(mask));
    run(count, [read.into(), write.into(), except.into()], || {
        let timeout = if timeout.is_null() { None } else { Some(epoll::duration(timeout.read()?)?) };
        let mask = if mask.is_null() { None } else { Some(mask.read()?) };
        Ok(Patience { timeout, mask, after: Box::new(|| Ok(())) })
    })
}

/// How long to wait, with which signals, and what to write back afterwards.
struct Patience {
    timeout: Option<Duration>,
    mask: Option<sigset_t>,
    after: Box<dyn FnOnce() -> Result<(), Fault>>,
}

fn run(count: c_int, places: [Place; 3], patience: impl FnOnce() -> Result<Patience, Leave>) -> Outcome {
    let plain = Leave::Bypass(Reason::Plain);
    // None of ours at all, or a number that the kernel refuses.
    if !fdtable::any() || count < 0 {
        return Err(plain);
    }
    let mut count = count as usize;
    if count > libc::FD_SETSIZE {
        // The kernel looks no further than the process may have descriptors.
        count = count.min(kernel::descriptor_limit());
    }
    let mut sets = Sets::read(places, count)?;
    let asked = |fd: usize| {
        let events = sets.asks(fd);
        (events != 0).then_some(pollfd { fd: fd as c_int, events, revents: 0 })
    };
    let entries: Vec<pollfd> = (0..count).filter_map(asked).collect();
    if entries.iter().all(|e| fdtable::is_plain(e.fd)) {
        return Err(plain);
    }
    let watch = Watch::sort(&entries)?;
    let patience = patience()?;
    let revents = match watch.wait(patience.timeout, patience.mask.as_ref())? {
        Found::Ready(revents) => revents,
        Found::Nothing => vec![0; entries.len()],
    };
    if revents.iter().any(|r| r & libc::POLLNVAL != 0) {
        return Err(fail(libc::EBADF));
    }
    let kept = sets.keep(&entries, &revents);
    sets.write()?;
    (patience.after)()?;
    Ok(kept)
}
