//! Connections that the keeper holds for whoever has their descriptors, and has not used them yet: those that one
//! process sends to another over a Unix socket, and those that children have of a parent that has ended.
//!
//! A connection that was sent has a kernel's socket of its own behind it, which bears its name. The kernel knows
//! whether a process has that open, or it is on its way to one: a set of epoll, in which the keeper puts it without having
//! it open itself, loses it with the last. Then the connection ends. Who is somebody's heir has a line to the keeper.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::Duration;

use rustix::event::epoll;
use rustix::io::Errno;
use stack::engine::Taker;
use stack::error::SocketError;
use stack::plain::Plain;
use stack::time::Instant;
use stack::types::SocketId;

use super::Runtime;
use super::core::Core;
use crate::link::{self, Link, Links};
use crate::question::{
    BACK, CLAIM, LENT, NAMES, NEWS, PUMP, RECALL, RELEASE, TAKEN, WATCH, question, understood,
};

/// How soon after something has happened to look who has connections open, and how often at the least.
const SOON: Duration = Duration::from_millis(1);
const LATE: Duration = Duration::from_millis(128);
/// No more connections have one parent.
const HEIRLOOMS_MOST: u32 = 1 << 20;

/// What the keeper holds for others.
#[derive(Default)]
pub(super) struct Wards {
    all: HashMap<u64, Ward>,
    /// By their descriptors.
    lines: HashMap<RawFd, Line>,
    /// The lines together, made with the first.
    links: Option<Links>,
    /// The kernel's sockets behind connections.
    backings: Option<OwnedFd>,
    /// Until the next look.
    pause: Duration,
}

/// A connection.
struct Ward {
    place: Place,
    /// A kernel's socket bears its name.
    backed: bool,
}

/// Where a connection is.
enum Place {
    /// In a letter: there was no room for it.
    Letter(Vec<u8>),
    /// In the keeper's stack.
    Here(SocketId),
    /// With whoever asked for it.
    Away,
}

/// Somebody who may ask for connections.
struct Line {
    link: Link,
    /// What an heir calls them; none where they have one name for all.
    names: Option<HashMap<u64, u64>>,
    /// What an heir has neither asked for nor closed.
    wants: HashSet<u64>,
    /// What it was given last, until it has said that it has that.
    given: Option<(u64, Vec<u8>)>,
    /// What it has.
    has: HashSet<u64>,
    /// What it waits for, as it calls that: somebody else has it.
    asks: Option<u64>,
    /// What it lost to others, and waits for still: it hears when there is something to read.
    watches: HashSet<u64>,
}

impl Line {
    fn new(link: Link, names: Option<HashMap<u64, u64>>) -> Self {
        let wants = names.iter().flat_map(|names| names.values().copied()).collect();
        Self { link, names, wants, given: None, has: HashSet::new(), asks: None, watches: HashSet::new() }
    }

    /// The connection that it calls so.
    fn meant(&self, said: u64) -> Option<u64> {
        self.names.as_ref().map_or(Some(said), |names| names.get(&said).copied())
    }

    /// What it calls a connection.
    fn word(&self, name: u64) -> u64 {
        let names = self.names.iter().flatten();
        names.into_iter().find(|(_, other)| **other == name).map_or(name, |(said, _)| *said)
    }

    fn awaits(&self, name: u64) -> bool {
        self.asks.and_then(|said| self.meant(said)) == Some(name)
    }

    fn holds(&self, name: u64) -> bool {
        self.has.contains(&name) || self.given.as_ref().is_some_and(|(given, _)| *given == name)
    }
}

impl Wards {
    /// How many there are of what, for whoever looks.
    pub(super) fn census(&self) -> [(&'static str, usize); 2] {
        [
            ("connections held for others", self.all.len()),
            ("lines on which somebody may ask", self.lines.len()),
        ]
    }

    fn watch(&mut self, name: u64, backing: &OwnedFd) -> io::Result<()> {
        let set = match &mut self.backings {
            Some(set) => set,
            none => none.insert(epoll::create(epoll::CreateFlags::CLOEXEC)?),
        };
        let (data, none) = (epoll::EventData::new_u64(name), epoll::EventFlags::empty());
        match epoll::add(&*set, backing, data, none) {
            // It was here before, by another name and the same number.
            Err(Errno::EXIST) => Ok(epoll::modify(&*set, backing, data, none)?),
            added => Ok(added?),
        }
    }

    /// The connections whose kernel's sockets somebody has open; none when that cannot be told now.
    fn open(&self) -> Option<HashSet<u64>> {
        self.backings.as_ref().map_or_else(|| Some(HashSet::new()), |set| in_set(set.as_raw_fd()))
    }

    /// Somebody who has a line may ask for it, or waits for it.
    fn is_wanted(&self, name: u64) -> bool {
        self.is_awaited(name) || self.lines.values().any(|line| line.wants.contains(&name))
    }

    /// Somebody has asked for it, and waits.
    fn is_awaited(&self, name: u64) -> bool {
        self.lines.values().any(|line| line.awaits(name))
    }

    /// Somebody waits for it while another has it.
    fn is_watched(&self, name: u64) -> bool {
        self.lines.values().any(|line| line.watches.contains(&name))
    }

    /// Whoever has it, or is about to.
    fn holder(&self, name: u64) -> Option<RawFd> {
        self.lines.iter().find_map(|(at, line)| line.holds(name).then_some(*at))
    }

    fn add(&mut self, line: Line) -> io::Result<RawFd> {
        let links = match &mut self.links {
            Some(links) => links,
            none => none.insert(Links::new()?),
        };
        links.add(&line.link)?;
        self.lines.insert(line.link.raw(), line);
        Ok(links.raw())
    }
}

/// The data of what is in a set of epoll; none when it cannot be read, for want of a descriptor.
fn in_set(set: RawFd) -> Option<HashSet<u64>> {
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{set}")).ok()?;
    Some(names(&text).collect())
}

/// The data of what is in a set of epoll (proc_pid_fdinfo(5)): `tfd: 5 events: 0 data: 1f …`.
fn names(text: &str) -> impl Iterator<Item = u64> {
    text.lines().filter_map(|line| {
        let (_, data) = line.split_once(" data:")?;
        u64::from_str_radix(data.split_ascii_whitespace().next()?, 16).ok()
    })
}

impl Core {
    /// A connection comes that was sent to another process, with the kernel's socket behind it.
    pub(super) fn open_ward(&mut self, now: Instant, mut body: &[u8], backing: Option<OwnedFd>) {
        let (Some(name), Some(backing)) = (u64::take(&mut body), backing) else { return };
        if self.wards.all.contains_key(&name) {
            return;
        }
        if let Err(error) = self.wards.watch(name, &backing) {
            // It ends with the next look.
            tracing::warn!(%error, "watching a socket");
        }
        self.wards.all.insert(name, Ward { place: Place::Letter(body.to_vec()), backed: true });
        self.seat_ward(now, name);
        self.look_soon(now);
    }

    /// Somebody may ask, by a line that came; what it may ask for that has other names comes with it.
    pub(super) fn open_line(&mut self, now: Instant, mut body: &[u8], end: Option<OwnedFd>) {
        let Some(end) = end else { return };
        let names = match body {
            [] => None,
            _ => self.take_heirlooms(now, &mut body),
        };
        match self.wards.add(Line::new(Link::arrived(end), names)) {
            Ok(fd) => self.pulse.set_guest(fd, attend),
            Err(error) => tracing::warn!(%error, "a line is not heard"),
        }
        self.attend_wards(now);
    }

    fn take_heirlooms(&mut self, now: Instant, from: &mut &[u8]) -> Option<HashMap<u64, u64>> {
        let count = u32::take(from).filter(|count| *count <= HEIRLOOMS_MOST)?;
        let mut names = HashMap::new();
        for _ in 0..count {
            let (said, name) = Plain::take(from)?;
            let letter = <Option<Vec<u8>> as Plain>::take(from)?;
            if let Some(letter) = letter {
                self.wards.all.insert(name, Ward { place: Place::Letter(letter), backed: false });
                self.seat_ward(now, name);
            }
            names.insert(said, name);
        }
        Some(names)
    }

    /// A connection that is in a letter comes into the stack, if there is room.
    fn seat_ward(&mut self, now: Instant, name: u64) {
        let Some(ward) = self.wards.all.get_mut(&name) else { return };
        let Place::Letter(letter) = &ward.place else { return };
        match self.stack.import(now, &mut &letter[..], Taker::Application(0)) {
            Ok(arrived) => {
                ward.place = Place::Here(arrived.id);
                // The flow leads here before it leads to anybody that asks.
                self.drain();
            }
            Err(SocketError::NoBuffers) => {}
            Err(error) => {
                tracing::debug!(%error, "what another process sent was not taken");
                self.wards.all.remove(&name);
            }
        }
    }

    /// Answers who has asked; what nobody has ends with the next look.
    pub(super) fn attend_wards(&mut self, now: Instant) {
        let ready = self.wards.links.as_ref().map(Links::ready).unwrap_or_default();
        for at in ready {
            if !self.serve(now, at) {
                self.end_line(now, at);
            }
        }
        // Who has them open takes a while to tell: that is asked once for all that happens until then.
        self.look_soon(now);
    }

    /// Answers one. False when it is gone.
    fn serve(&mut self, now: Instant, at: RawFd) -> bool {
        loop {
            let Some(line) = self.wards.lines.get_mut(&at) else { return true };
            let note = match line.link.receive(Duration::ZERO) {
                Ok(Some(note)) => note,
                Ok(None) => return true,
                Err(error) if link::is_lost(&error) => continue,
                Err(_) => return false,
            };
            let Some((what, said)) = understood(&note.text) else { return false };
            let meant = line.meant(said);
            match (what, meant) {
                (CLAIM, None) => line.answer(CLAIM, said, None),
                (CLAIM, Some(name)) => self.give(now, at, name),
                (TAKEN, _) => {
                    let given = line.given.take();
                    line.has.extend(given.map(|(name, _)| name));
                }
                (BACK, Some(name)) => {
                    line.has.remove(&name);
                    self.take_back(now, name, note.enclosed);
                }
                (BACK, None) => {
                    // Its parent, in whose place we are, would have been the last to have it.
                    let letter = note.enclosed.unwrap_or_default();
                    let _ = self.stack.import(now, &mut &letter[..], Taker::Nobody);
                }
                (RELEASE, Some(name)) => _ = line.wants.remove(&name),
                (WATCH, Some(name)) => self.watch_for(at, name),
                (NEWS, Some(name)) => self.pass_news_on(name),
                // These are a parent's to give: who hears of none asks for the connection itself.
                (NAMES | PUMP, _) => line.answer(what, said, None),
                _ => {}
            }
        }
    }

    /// Gives a connection to who asks for it, or has it called back from who has it.
    fn give(&mut self, now: Instant, at: RawFd, name: u64) {
        let Some(line) = self.wards.lines.get_mut(&at) else { return };
        let said = line.word(name);
        line.wants.remove(&name);
        line.watches.remove(&name);
        let place = self.wards.all.get_mut(&name).map(|ward| &mut ward.place);
        let letter = match place {
            Some(Place::Away) => return self.call_back(at, name),
            Some(Place::Letter(letter)) => Some(std::mem::take(letter)),
            Some(Place::Here(id)) => {
                let (id, mut letter) = (*id, Vec::new());
                // What its peer has ended meanwhile is nobody's to use.
                self.stack.export(now, id, &mut letter).ok().map(|_| letter)
            }
            None => None,
        };
        let shared = self.wards.is_wanted(name);
        let mut lent = false;
        match (&letter, self.wards.all.get_mut(&name)) {
            (Some(_), Some(ward)) => {
                ward.place = Place::Away;
                lent = ward.backed || shared;
            }
            (None, Some(_)) => self.end_ward(now, name),
            (_, None) => {}
        }
        let (awaited, watched) = (self.wards.is_awaited(name), self.wards.is_watched(name));
        let Some(line) = self.wards.lines.get_mut(&at) else { return };
        line.answer(if lent { LENT } else { CLAIM }, said, letter.as_deref());
        line.given = letter.map(|letter| (name, letter));
        if line.given.is_some() && awaited {
            // Others wait for it, too.
            line.tell(RECALL, name);
        } else if line.given.is_some() && watched {
            line.tell(WATCH, name);
        }
    }

    fn call_back(&mut self, at: RawFd, name: u64) {
        let holder = self.wards.holder(name);
        if let Some(holder) = holder.filter(|holder| *holder != at) {
            self.wards.lines[&holder].tell(RECALL, name);
        }
        let Some(line) = self.wards.lines.get_mut(&at) else { return };
        let said = line.word(name);
        match holder {
            Some(holder) if holder != at => line.asks = Some(said),
            _ => line.answer(CLAIM, said, None),
        }
    }

    /// Somebody waits for what another has: that one tells when there is something to read. What nobody has is asked for at
    /// once, and stays with who did so.
    fn watch_for(&mut self, at: RawFd, name: u64) {
        let away = matches!(self.wards.all.get(&name), Some(Ward { place: Place::Away, .. }));
        let holder = self.wards.holder(name).filter(|holder| away && *holder != at);
        if let Some(line) = self.wards.lines.get_mut(&at) {
            line.watches.insert(name);
        }
        match holder {
            Some(holder) => self.wards.lines[&holder].tell(WATCH, name),
            None => self.pass_news_on(name),
        }
    }

    /// Who waits for a connection hears that it may be worth to ask.
    fn pass_news_on(&mut self, name: u64) {
        for line in self.wards.lines.values_mut() {
            if line.watches.remove(&name) {
                line.tell(NEWS, name);
            }
        }
    }

    fn take_back(&mut self, now: Instant, name: u64, letter: Option<Vec<u8>>) {
        let (Some(ward), Some(letter)) = (self.wards.all.get_mut(&name), letter) else { return };
        ward.place = Place::Letter(letter);
        if !self.answer_waiting(now, name) {
            self.seat_ward(now, name);
            self.pass_news_on(name);
        }
    }

    /// Who waits for a connection gets it, or hears that nobody has it. False when nobody does.
    fn answer_waiting(&mut self, now: Instant, name: u64) -> bool {
        let waits = |(at, line): (&RawFd, &Line)| line.awaits(name).then_some(*at);
        let Some(at) = self.wards.lines.iter().find_map(waits) else { return false };
        if let Some(line) = self.wards.lines.get_mut(&at) {
            line.asks = None;
        }
        self.give(now, at, name);
        true
    }

    fn end_line(&mut self, now: Instant, at: RawFd) {
        let Some(Line { link, given, has, .. }) = self.wards.lines.remove(&at) else { return };
        if let Some(links) = &self.wards.links {
            links.remove(&link);
        }
        if let Some((name, letter)) = given {
            self.take_back(now, name, Some(letter));
        }
        for name in has {
            // Its peer is reset when whoever had it is buried.
            self.wards.all.remove(&name);
            self.answer_waiting(now, name);
            self.pass_news_on(name);
        }
    }

    /// Looks who has connections open, and ends those that nobody has.
    pub(super) fn look_after_wards(&mut self, now: Instant) {
        let open = self.wards.open();
        let (mut over, mut looks) = (Vec::new(), false);
        for (name, ward) in &self.wards.all {
            let away = matches!(ward.place, Place::Away);
            let is_open = open.as_ref().is_none_or(|open| open.contains(name));
            if !is_open && !away && !self.wards.is_wanted(*name) {
                over.push(*name);
            }
            looks |= !away && ward.backed || matches!(ward.place, Place::Letter(_));
        }
        over.into_iter().for_each(|name| self.end_ward(now, name));
        let waiting: Vec<u64> = self.wards.all.keys().copied().collect();
        waiting.into_iter().for_each(|name| self.seat_ward(now, name));
        match looks {
            true => self.pulse.looks_at(now + self.wards.pause),
            false => self.pulse.looks_at(Instant::NEVER),
        }
        self.wards.pause = (self.wards.pause * 2).min(LATE);
    }

    fn look_soon(&mut self, now: Instant) {
        self.wards.pause = SOON;
        self.pulse.looks_by(now + SOON);
    }

    fn end_ward(&mut self, now: Instant, name: u64) {
        self.seat_ward(now, name);
        match self.wards.all.get(&name).map(|ward| &ward.place) {
            Some(Place::Here(id)) => _ = self.stack.close(now, *id),
            // There is room for it later.
            Some(Place::Letter(_)) => return,
            Some(Place::Away) | None => {}
        }
        self.wards.all.remove(&name);
    }
}

impl Line {
    fn tell(&self, what: u8, name: u64) {
        // Who does not hear it is gone, which is seen.
        let _ = self.link.send(&question(what, self.word(name)), None);
    }

    fn answer(&self, what: u8, said: u64, letter: Option<&[u8]>) {
        // Who does not hear it is gone, which is seen: what it was given comes back then.
        let _ = self.link.send(&question(what, said), letter);
    }
}

/// The helper: somebody has asked for something, or is gone.
fn attend() {
    let Some(runtime) = Runtime::current() else { return };
    let mut turn = runtime.lock_quietly();
    // How a connection ends depends on what has come for it.
    turn.poll();
    let now = turn.now();
    turn.core().attend_wards(now);
    turn.flush();
}

impl Runtime {
    /// The helper: it is time to look who has connections open.
    pub(super) fn look_after_wards(&self) {
        let mut turn = self.lock_quietly();
        turn.poll();
        let now = turn.now();
        turn.core().look_after_wards(now);
        turn.flush();
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_socket_is_known_as_long_as_somebody_has_it() {
        let mut wards = Wards::default();
        let socket: OwnedFd = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().into();
        let (name, other) = (u64::MAX - 5, 7);
        wards.watch(name, &socket).unwrap();
        let elsewhere = socket.try_clone().unwrap();
        drop(socket);
        assert_eq!(wards.open(), Some(HashSet::from([name])));
        // Also on its way from one process to another.
        let [one, its_end] = Link::pair().unwrap();
        crate::link::send(&one, b"x", Some(b""), &[elsewhere.as_fd()]).unwrap();
        drop(elsewhere);
        assert_eq!(wards.open(), Some(HashSet::from([name])));
        let socket: OwnedFd = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().into();
        wards.watch(other, &socket).unwrap();
        drop(its_end);
        assert_eq!(wards.open(), Some(HashSet::from([other])));
        // One that comes again comes by another name.
        wards.watch(name, &socket).unwrap();
        assert_eq!(wards.open(), Some(HashSet::from([name])));
    }

    #[test]
    fn what_cannot_be_told_is_not_taken_for_closed() {
        let set = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        assert_eq!(in_set(set.as_raw_fd()), Some(HashSet::new()));
        assert_eq!(in_set(-1), None);
    }

    #[test]
    fn an_heir_has_names_of_its_own() {
        let [link, _other] = Link::pair().unwrap();
        let line = Line::new(link, Some(HashMap::from([(1, 10), (2, 20)])));
        assert_eq!((line.meant(2), line.word(20), line.meant(10)), (Some(20), 2, None));
        assert_eq!(line.wants, HashSet::from([10, 20]));
        let [link, _other] = Link::pair().unwrap();
        let line = Line::new(link, None);
        assert_eq!((line.meant(2), line.word(20), line.wants.len()), (Some(2), 20, 0));
    }
}
