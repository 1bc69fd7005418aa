//! epoll_wait and its relatives: one wait for both worlds.

use core::cell::Cell;
use core::time::Duration;

use libc::{c_int, epoll_event, pollfd, sigset_t, timespec};
use ringroad::Runtime;
use ringroad::config::Call;
use ringroad::runtime::{Spin, Turn, Wait, Waited};
use stack::engine::Stack;
use stack::time::Instant;

use super::claims::claim;
use super::interests::{Event, Report};
use super::kernel_only::{self, Ended};
use super::{key, readiness_of, tagged};
use crate::errno::{Leave, Outcome, fail};
use crate::fdtable::{self, Held, Kind};
use crate::reason::Reason;
use crate::user::Place;
use crate::{kernel, signals, state};

/// Kernel events taken at a time.
const BATCH: usize = 64;
/// Waits in a row, without the kernel's events, before these come first.
const FAIR: u32 = 32;

thread_local! {
    static SINCE_KERNEL: Cell<u32> = const { Cell::new(0) };
}

/// `epoll_wait`.
pub(crate) fn wait(epfd: c_int, events: *mut epoll_event, max: c_int, timeout: c_int) -> Outcome {
    run(epfd, (events.into(), max), Patience::Wait(timeout))
}

/// `epoll_pwait`.
pub(crate) fn pwait(
    epfd: c_int,
    events: *mut epoll_event,
    max: c_int,
    timeout: c_int,
    mask: *const sigset_t,
) -> Outcome {
    run(epfd, (events.into(), max), Patience::Pwait(timeout, mask))
}

/// `epoll_pwait2`.
pub(crate) fn pwait2(
    epfd: c_int,
    events: *mut epoll_event,
    max: c_int,
    timeout: *const timespec,
    mask: *const sigset_t,
) -> Outcome {
    run(epfd, (events.into(), max), Patience::Pwait2(timeout, mask))
}

/// How long to wait, with which signals, as the application says it.
#[derive(Clone, Copy)]
pub(super) enum Patience {
    Wait(c_int),
    Pwait(c_int, *const sigset_t),
    Pwait2(*const timespec, *const sigset_t),
}

impl Patience {
    fn timeout(self) -> Result<Option<Duration>, Leave> {
        match self {
            Self::Wait(ms) | Self::Pwait(ms, _) => Ok(milliseconds(ms)),
            Self::Pwait2(time, _) => {
                let place = Place::from(time);
                if place.is_null() { Ok(None) } else { Ok(Some(duration(place.read()?)?)) }
            }
        }
    }

    fn mask(self) -> Result<Option<sigset_t>, Leave> {
        match self {
            Self::Wait(_) => Ok(None),
            Self::Pwait(_, mask) | Self::Pwait2(_, mask) => {
                let place = Place::from(mask);
                if place.is_null() { Ok(None) } else { Ok(Some(place.read()?)) }
            }
        }
    }
}

/// A time-out in milliseconds; negative is never.
pub(crate) fn milliseconds(timeout: c_int) -> Option<Duration> {
    u64::try_from(timeout).ok().map(Duration::from_millis)
}

/// A `timespec` as a duration.
///
/// # Errors
/// EINVAL for one that is none.
pub(crate) fn duration(time: timespec) -> Result<Duration, Leave> {
    match (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec)) {
        (Ok(seconds), Ok(ns)) if ns < 1_000_000_000 => Ok(Duration::new(seconds, ns)),
        _ => Err(fail(libc::EINVAL)),
    }
}

/// The application's array, as it is filled.
struct Out {
    place: Place,
    max: usize,
    filled: usize,
}

impl Out {
    fn new(place: Place, max: c_int) -> Self {
        Self { place, max: max as usize, filled: 0 }
    }

    fn room(&self) -> usize {
        self.max - self.filled
    }

    fn put(&mut self, event: Event) -> bool {
        let raw = epoll_event { events: event.events, u64: event.data };
        let at = self.place.after(self.filled * size_of::<epoll_event>());
        let fits = at.write(&raw).is_ok();
        self.filled += usize::from(fits);
        fits
    }
}

fn run(epfd: c_int, (events, max): (Place, c_int), patience: Patience) -> Outcome {
    let held = fdtable::get(epfd).filter(|h| h.file.kind() == Kind::Epoll);
    let held = held.ok_or(Leave::Bypass(Reason::Plain))?;
    if max <= 0 || max as usize > c_int::MAX as usize / size_of::<epoll_event>() {
        return Err(fail(libc::EINVAL));
    }
    claim(&held);
    let has_ours = || state::lock().interests.has_ours(held.file.epoll());
    let runtime = match Runtime::current() {
        Some(runtime) if has_ours() => runtime,
        _ => {
            let begun = kernel::now();
            match kernel_only::wait(&held, (events, max), patience, has_ours)? {
                Ended::Answered(n) => return Ok(n),
                Ended::CalledBack => claim(&held),
            }
            let runtime = Runtime::current().ok_or(Leave::Bypass(Reason::Plain))?;
            let waited = Duration::from_nanos(kernel::now() - begun);
            let timeout = patience.timeout()?.map(|t| t.saturating_sub(waited));
            return both_worlds(runtime, &held, &mut Out::new(events, max), (timeout, patience.mask()?));
        }
    };
    both_worlds(runtime, &held, &mut Out::new(events, max), (patience.timeout()?, patience.mask()?))
}

fn both_worlds(
    runtime: &'static Runtime,
    held: &Held,
    out: &mut Out,
    (timeout, mask): (Option<Duration>, Option<sigset_t>),
) -> Outcome {
    let mask = mask.as_ref();
    let set = held.file.epoll();
    let keys = [key(set)];
    let deadline = timeout.map(|t| if t.is_zero() { Instant::ZERO } else { runtime.now() + t });
    if due() && kernel_first(runtime, held, out)? {
        return Ok(out.filled as isize);
    }
    let mut faulted = false;
    loop {
        let mut watched = [pollfd { fd: held.fd, events: libc::POLLIN, revents: 0 }];
        let waited = signals::with_count(|count| {
            let wait = Wait {
                kernel: &mut watched,
                watch: Some(held.word.cookie()),
                deadline,
                spin: spin(Call::Epoll, mask),
                sigmask: mask,
                keys: &keys,
                handlers: Some(count),
            };
            runtime.wait(wait, |turn| {
                faulted = collect(turn, held, out);
                let ready = out.filled > 0 || faulted;
                (ready || signals::waiting()).then_some(ready)
            })
        });
        let kernel_has_news = watched[0].revents != 0;
        match waited {
            Waited::Ready(true) if !kernel_has_news => {}
            Waited::Ready(false) if !kernel_has_news => return Err(interrupted()),
            Waited::Ready(_) | Waited::Kernel => {
                // An item is reported once a wait: news of the kernel's for items of ours are collected now
                // only if nothing was before.
                let first = out.filled == 0;
                faulted |= from_kernel(held, out)?;
                if first && out.room() > 0 && !faulted {
                    faulted = collect(&mut runtime.lock(), held, out);
                }
                if out.filled == 0 && !faulted {
                    continue;
                }
            }
            Waited::TimedOut => return Ok(0),
            Waited::Interrupted => return Err(interrupted()),
        }
        return if out.filled == 0 && faulted { Err(fail(libc::EFAULT)) } else { Ok(out.filled as isize) };
    }
}

/// A signal mask is in force only while blocked: with one there is no spinning.
pub(crate) fn spin(call: Call, mask: Option<&sigset_t>) -> Spin {
    if mask.is_some() { Spin::Never } else { Spin::Of(call) }
}

/// Whether the kernel's side has waited long enough for the first place in an answer.
fn due() -> bool {
    SINCE_KERNEL.with(|since| {
        let n = since.get() + 1;
        since.set(if n >= FAIR { 0 } else { n });
        n >= FAIR
    })
}

/// A turn in which the kernel's events come first: a busy stack that fills the application's array each time
/// must not hide them for ever. True when there is something to report.
fn kernel_first(runtime: &Runtime, held: &Held, out: &mut Out) -> Result<bool, Leave> {
    let max = out.max;
    out.max = max.div_ceil(2);
    let faulted = from_kernel(held, out)?;
    out.max = max;
    if out.filled > 0 && !faulted {
        let mut turn = runtime.lock();
        turn.poll();
        collect(&mut turn, held, out);
    }
    Ok(out.filled > 0)
}

/// A signal ends a wait whatever SA_RESTART says.
fn interrupted() -> Leave {
    let _ = signals::take_interrupt();
    fail(libc::EINTR)
}

struct Collector<'a> {
    stack: &'a Stack,
    epfd: c_int,
    out: &'a mut Out,
}

impl Report for Collector<'_> {
    fn readiness(&mut self, file: u32) -> u32 {
        readiness_of(self.stack, file)
    }

    fn set_of(&self, file: u32) -> Option<u32> {
        fdtable::file_at(file).filter(|f| f.kind() == Kind::Epoll).map(|f| f.epoll())
    }

    fn event(&mut self, event: Event) -> bool {
        self.out.put(event)
    }

    fn disarm(&mut self, _: u32, fd: c_int) {
        let _ = kernel::epoll_ctl(self.epfd, libc::EPOLL_CTL_MOD, fd, 0, 0);
    }
}

/// Takes what our list has. True when the application's memory was bad.
fn collect(turn: &mut Turn<'_>, held: &Held, out: &mut Out) -> bool {
    let mut state = state::lock();
    let set = held.file.epoll();
    // Closed on another thread, the number may be another set's by now.
    if !held.holds() || state.interests.ready(set) == 0 {
        return false;
    }
    let room = out.room();
    let mut collector = Collector { stack: turn.stack(), epfd: held.fd, out };
    state.interests.collect(set, room, &mut collector).1
}

/// Takes what the kernel's epoll has. True when the application's memory was bad.
fn from_kernel(held: &Held, out: &mut Out) -> Result<bool, Leave> {
    if out.room() > 0 {
        SINCE_KERNEL.with(|since| since.set(0));
    }
    let mut batch = [epoll_event { events: 0, u64: 0 }; BATCH];
    while out.room() > 0 {
        let room = out.room().min(BATCH);
        let n = kernel::epoll_look(held.fd, &mut batch[..room])?;
        let mut tagged_seen = false;
        for event in &batch[..n] {
            let event = Event { events: event.events, data: event.u64 };
            if let Some(index) = tagged(event.data) {
                tagged_seen = true;
                state::lock().interests.wake_from_kernel(index, event.events);
            } else if !out.put(event) {
                return Ok(true);
            }
        }
        // A level-triggered one comes again at once: one look is enough.
        if n < room || tagged_seen {
            break;
        }
    }
    Ok(false)
}

/// Whether a wait on the set would report something of ours now, for those who watch the set itself.
pub(crate) fn has_news(stack: &Stack, held: &Held) -> bool {
    let mut nothing = Out { place: Place::from(core::ptr::null::<u8>()), max: 0, filled: 0 };
    let mut collector = Collector { stack, epfd: held.fd, out: &mut nothing };
    state::lock().interests.peek(held.file.epoll(), &mut collector)
}
