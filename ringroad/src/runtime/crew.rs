//! The pumps of a process (`crate::pump`), all driven by its helper thread: a thread for each would take 64 MiB of address
//! space for each, which libc reserves for what it allocates.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use nic::Own;
use rustix::event::{Timespec, epoll};
use stack::time::Instant;
use stack::types::SocketId;

use super::{Runtime, Turn};
use crate::port::aside;
use crate::pump::Pump;

/// Events taken at a time.
const EVENTS: usize = 64;

/// What is called with the runtime's lock held when a pump is over.
pub(crate) type Over = Box<dyn FnOnce(&mut Turn<'_>) + Send>;

struct Member {
    pump: Arc<Pump>,
    over: Over,
    /// It is among those that are due.
    is_due: bool,
    /// When it looks by itself.
    look: Option<Instant>,
}

/// The pumps, and which of them have something to do. Nothing is asked of the others, however many they are.
#[derive(Default)]
pub(super) struct Crew {
    /// The kernel's descriptors of all; made with the first.
    set: Option<Own>,
    members: HashMap<u64, Member>,
    due: Vec<u64>,
    looks: BTreeSet<(Instant, u64)>,
}

/// A socket, as one number.
fn number(id: SocketId) -> u64 {
    u64::from(id.index) << 32 | u64::from(id.generation)
}

impl Crew {
    fn take_on(&mut self, pump: Arc<Pump>, over: Over) -> io::Result<()> {
        let number = number(pump.id());
        let set = match &self.set {
            Some(set) => set,
            None => self.set.insert(Own::new(aside(epoll::create(epoll::CreateFlags::CLOEXEC)?))),
        };
        // Once for each that happens: a pump takes all there is, or knows that there is more.
        let changes = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
        for (fd, events) in watched(&pump).into_iter().zip([changes, epoll::EventFlags::ET]) {
            epoll::add(set, fd, epoll::EventData::new_u64(number), events)?;
        }
        self.members.insert(number, Member { pump, over, is_due: false, look: None });
        self.call(number);
        Ok(())
    }

    /// Something has happened to a socket. Whether that is pumped.
    #[inline]
    pub(super) fn woken(&mut self, id: SocketId) -> bool {
        !self.members.is_empty() && self.call(number(id))
    }

    fn call(&mut self, number: u64) -> bool {
        let Some(member) = self.members.get_mut(&number) else { return false };
        if !std::mem::replace(&mut member.is_due, true) {
            self.due.push(number);
        }
        true
    }

    fn look_at(&mut self, id: SocketId, when: Option<Instant>) {
        let number = number(id);
        let Some(member) = self.members.get_mut(&number) else { return };
        if let Some(before) = std::mem::replace(&mut member.look, when) {
            self.looks.remove(&(before, number));
        }
        self.looks.extend(when.map(|when| (when, number)));
    }

    fn dismiss(&mut self, id: SocketId) -> Option<Over> {
        self.look_at(id, None);
        let Member { pump, over, .. } = self.members.remove(&number(id))?;
        if let Some(set) = &self.set {
            // Another process may have them open still, and then closing them takes them out of no set.
            watched(&pump).into_iter().for_each(|fd| _ = epoll::delete(set, fd));
        }
        Some(over)
    }

    /// Those that have something to do.
    fn take_due(&mut self, now: Instant) -> Vec<Arc<Pump>> {
        let mut events = Vec::with_capacity(EVENTS);
        if let Some(set) = &self.set {
            // Of more than there is room for the set goes on telling.
            let _ = epoll::wait(set, rustix::buffer::spare_capacity(&mut events), Some(&Timespec::default()));
        }
        events.iter().for_each(|event| _ = self.call(event.data.u64()));
        while let Some((when, number)) = self.looks.first().copied().filter(|(when, _)| *when <= now) {
            self.looks.remove(&(when, number));
            self.members.get_mut(&number).into_iter().for_each(|member| member.look = None);
            self.call(number);
        }
        let due = std::mem::take(&mut self.due);
        let member = |number| {
            let member = self.members.get_mut(&number)?;
            member.is_due = false;
            Some(Arc::clone(&member.pump))
        };
        due.into_iter().filter_map(member).collect()
    }

    /// When to look at the latest.
    fn next(&self) -> Instant {
        match self.looks.first() {
            _ if !self.due.is_empty() => Instant::ZERO,
            Some((when, _)) => *when,
            None => Instant::NEVER,
        }
    }
}

/// Whose changes are told: the pair, and what the reader holds.
fn watched(pump: &Pump) -> [BorrowedFd<'_>; 2] {
    let [near, life]: [&OwnedFd; 2] = pump.watched();
    [near.as_fd(), life.as_fd()]
}

impl Turn<'_> {
    /// Has the helper thread drive a pump from now on, and call `over` at its end.
    ///
    /// # Errors
    /// The operating system's; there is no helper.
    pub fn take_on(
        &mut self,
        pump: Arc<Pump>,
        over: impl FnOnce(&mut Turn<'_>) + Send + 'static,
    ) -> io::Result<()> {
        let core = self.core();
        if core.helper.is_none() {
            return Err(io::ErrorKind::NotConnected.into());
        }
        let id = pump.id();
        let begun = core.crew.take_on(pump, Box::new(over));
        if begun.is_err() {
            core.crew.dismiss(id);
        }
        if let Some(set) = &core.crew.set {
            core.pulse.set_crew(set.as_raw_fd());
        }
        core.call_crew();
        begun
    }

    /// There may be something to do for a pump.
    pub(crate) fn rouse(&mut self, id: SocketId) {
        let core = self.core();
        if core.crew.woken(id) {
            core.call_crew();
        }
    }

    /// When a pump looks by itself what is to be done; none: not at all.
    pub(crate) fn look_at(&mut self, id: SocketId, when: Option<Instant>) {
        self.core().crew.look_at(id, when);
    }

    /// Nobody drives a pump from here on. What is to be called at its end, unless it was over before.
    pub(crate) fn dismiss(&mut self, id: SocketId) -> Option<Over> {
        self.core().crew.dismiss(id)
    }
}

impl Runtime {
    /// The helper: drives the pumps that have something to do.
    pub(super) fn pump(&self) {
        let mut turn = self.lock_quietly();
        let now = turn.now();
        let due = turn.core().crew.take_due(now);
        drop(turn);
        due.iter().for_each(|pump| pump.step(self));
        let mut turn = self.lock_quietly();
        turn.flush();
        let core = turn.core();
        core.pulse.pumps_at(core.crew.next());
    }
}

#[cfg(test)]
mod tests {
    use rustix::io::write;

    use super::*;
    use crate::pump::Ends;

    fn id(index: u32) -> SocketId {
        SocketId { index, generation: 3 }
    }

    /// With so many pumps, which have looked round once; and the readers' ends.
    fn crew(pumps: u32) -> (Crew, Vec<Ends>) {
        let (mut crew, mut readers) = (Crew::default(), Vec::new());
        for index in 0..pumps {
            let ends = Ends::new().unwrap();
            let pump = Pump::for_own(id(index), 0, &ends).unwrap();
            crew.take_on(pump, Box::new(|_| ())).unwrap();
            readers.push(ends);
        }
        assert_eq!(due(&mut crew, Instant::ZERO).len(), pumps as usize);
        (crew, readers)
    }

    fn due(crew: &mut Crew, now: Instant) -> Vec<u32> {
        let mut due: Vec<u32> = crew.take_due(now).iter().map(|pump| pump.id().index).collect();
        due.sort_unstable();
        due
    }

    #[test]
    fn only_those_with_something_to_do_are_driven_and_each_once() {
        let (mut crew, readers) = crew(5);
        assert!(due(&mut crew, Instant::ZERO).is_empty());
        assert!(crew.woken(id(1)) && crew.woken(id(1)) && !crew.woken(id(9)));
        let mut readers: Vec<_> = readers.into_iter().map(Ends::into_readers).collect();
        write(&readers[3].0, b"octets").unwrap();
        assert_eq!(due(&mut crew, Instant::ZERO), [1, 3]);
        // One has gone.
        readers.remove(2);
        assert_eq!(due(&mut crew, Instant::ZERO), [2]);
    }

    #[test]
    fn a_look_comes_at_its_time_and_the_last_word_counts() {
        let at = Instant::from_millis;
        let (mut crew, _readers) = crew(3);
        crew.look_at(id(0), Some(at(5)));
        crew.look_at(id(1), Some(at(4)));
        crew.look_at(id(0), Some(at(7)));
        crew.look_at(id(2), Some(at(6)));
        crew.look_at(id(2), None);
        assert_eq!(crew.next(), at(4));
        assert_eq!(due(&mut crew, at(6)), [1]);
        assert_eq!(crew.next(), at(7));
        assert_eq!(due(&mut crew, at(7)), [0]);
        assert_eq!(crew.next(), Instant::NEVER);
    }

    #[test]
    fn who_is_dismissed_is_driven_no_more() {
        let (mut crew, readers) = crew(2);
        crew.woken(id(0));
        crew.look_at(id(0), Some(Instant::ZERO));
        assert!(crew.dismiss(id(0)).is_some() && crew.dismiss(id(0)).is_none());
        drop(readers);
        // Of the other the reader has gone.
        assert_eq!(due(&mut crew, Instant::ZERO), [1]);
        assert!(!crew.woken(id(0)));
    }
}
