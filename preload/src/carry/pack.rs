//! Before the exec: everything that goes along becomes bytes. Where the exec fails, all is taken back.

use core::ffi::CStr;
use std::collections::BTreeMap;
use std::ffi::CString;
use std::io;

use libc::c_int;
use ringroad::link::{FILE_MOST, Link};
use ringroad::runtime::Turn;
use ringroad::{Runtime, log};
use stack::plain::Plain;
use stack::types::SocketId;

use super::{
    BACK, CHILD, ENDS, ESTATE, LENT, LOST, OURS, PARENTS, PARKED, VERSION, deadline, file, inherit, put_bytes,
};
use crate::environment::CARRIED;
use crate::fdtable::{self, Flag, Held, Kind, Word};
use crate::heirs::{self, Child, Heirs, Tie};
use crate::reason::Reason;
use crate::{epoll, kernel, state};

/// Of the longest note, what is left to all that is no connection.
const BESIDE: usize = 1 << 20;

/// What is on its way to the next program, and what it takes to have it back.
pub(crate) struct Carried {
    entry: CString,
    line: [Link; 2],
    ours: Ours,
}

impl Carried {
    /// The new program's variable.
    pub(crate) fn entry(&self) -> &CStr {
        &self.entry
    }
}

/// What this stack has let go.
#[derive(Default)]
struct Ours {
    open: Vec<(Held, Vec<u8>)>,
    parked: Vec<(Word, Vec<u8>)>,
    estate: Vec<u8>,
}

impl Ours {
    fn is_empty(&self) -> bool {
        self.open.is_empty() && self.parked.is_empty() && self.estate.is_empty()
    }
}

/// A connection with the descriptors that stay open.
struct Passenger {
    held: Held,
    fds: Vec<c_int>,
}

fn passengers() -> Vec<Passenger> {
    let mut all: BTreeMap<u64, Passenger> = BTreeMap::new();
    let state = state::lock();
    for held in state.registry.in_range(0, c_int::MAX) {
        if heirs::is_passed(&state.heirs, held.word) && held.socket().is_none() {
            continue;
        }
        let connection = held.file.kind() == Kind::Stream && !held.file.is(Flag::Listening);
        if !connection || (held.socket().is_none() && !held.file.is(Flag::Inherited)) {
            continue;
        }
        let passenger = all.entry(held.word.cookie()).or_insert(Passenger { held, fds: Vec::new() });
        if kernel::fcntl(held.fd, libc::F_GETFD, 0).is_ok_and(|flags| flags & libc::FD_CLOEXEC == 0) {
            passenger.fds.push(held.fd);
        }
    }
    all.into_values().collect()
}

/// Before the exec: everything that goes along; none when nothing does.
pub(crate) fn pack() -> Option<Carried> {
    if !fdtable::any() {
        return None;
    }
    if let Some(runtime) = Runtime::current() {
        heirs::end_pumps(runtime);
        // The next program finds their names.
        heirs::suspend_all(&mut runtime.lock());
    }
    heirs::forget_lent(&mut state::lock().heirs);
    let passengers = passengers();
    let turn = Runtime::current().map(Runtime::lock);
    let mut state = state::lock();
    let mut packing = Packing { turn, text: Vec::new(), ours: Ours::default(), lost: 0, asks: false };
    let parent = heirs::line(&state.heirs).map_or(0, |line| line.raw() as u32);
    (VERSION, parent).put(&mut packing.text);
    passengers.iter().for_each(|passenger| packing.add(&state.heirs, passenger));
    heirs::parked(&state.heirs).into_iter().for_each(|(word, id)| packing.add_parked(word, id));
    heirs::pack(&mut state.heirs).for_each(|(child, has)| packing.add_child(child, &has));
    drop(state);
    packing.finish()
}

struct Packing {
    turn: Option<Turn<'static>>,
    text: Vec<u8>,
    ours: Ours,
    /// What cannot go along.
    lost: u32,
    /// There is something without bytes of its own.
    asks: bool,
}

impl Packing {
    fn add(&mut self, heirs: &Heirs, Passenger { held, fds }: &Passenger) {
        let (word, tie) = (held.word.cookie(), heirs::tie(heirs, held.word));
        let Some(id) = held.socket() else {
            (if tie.lent { LENT } else { PARENTS }).put(&mut self.text);
            self.asks |= !fds.is_empty();
            return self.put_open(held, fds, tie);
        };
        let Some(letter) = self.export(id) else {
            // Its handshake is not over, or there is no connection any more.
            self.lost += u32::from(!fds.is_empty() && self.is_begun(id));
            return;
        };
        held.file.set_socket(None);
        if self.has_room(&letter) {
            match fds.is_empty() {
                false => {
                    OURS.put(&mut self.text);
                    self.put_open(held, fds, tie);
                }
                true if tie.borrowed => (BACK, tie.name).put(&mut self.text),
                true if tie.wanted => (PARKED, word).put(&mut self.text),
                true => ENDS.put(&mut self.text),
            }
            put_bytes(&letter, &mut self.text);
        }
        self.ours.open.push((*held, letter));
    }

    fn put_open(&mut self, held: &Held, fds: &[c_int], tie: Tie) {
        held.word.cookie().put(&mut self.text);
        tie.put(&mut self.text);
        file::put(held, fds, &mut self.text);
    }

    fn add_parked(&mut self, word: Word, id: SocketId) {
        let Some(letter) = self.export(id) else { return };
        if self.has_room(&letter) {
            (PARKED, word.cookie()).put(&mut self.text);
            put_bytes(&letter, &mut self.text);
        }
        self.ours.parked.push((word, letter));
    }

    fn add_child(&mut self, child: &Child, has: &[Word]) {
        let with_given = child.given().is_some_and(|letter| self.has_room(letter));
        child.put(CHILD, has, with_given, &mut self.text);
        self.asks = true;
    }

    fn is_begun(&mut self, id: SocketId) -> bool {
        self.turn.as_mut().is_some_and(|turn| !turn.stack().is_fresh(id))
    }

    /// A connection as bytes; none of one that cannot travel.
    fn export(&mut self, id: SocketId) -> Option<Vec<u8>> {
        let turn = self.turn.as_mut()?;
        let (now, mut letter) = (turn.now(), Vec::new());
        turn.stack().export(now, id, &mut letter).ok()?;
        Some(letter)
    }

    /// Whether it can go along; else its peer is reset when the new program buries what this one was.
    fn has_room(&mut self, letter: &[u8]) -> bool {
        let room = fits(self.text.len(), letter.len());
        self.lost += u32::from(!room);
        room
    }

    /// What is nobody's goes along, too, and the note is written.
    fn finish(mut self) -> Option<Carried> {
        if let Some(mut turn) = self.turn.take() {
            let now = turn.now();
            turn.stack().bequeath(now, &mut self.ours.estate);
            turn.flush();
        }
        let estate = core::mem::take(&mut self.ours.estate);
        if self.has_room(&estate) {
            ESTATE.put(&mut self.text);
            put_bytes(&estate, &mut self.text);
        }
        self.ours.estate = estate;
        (LOST, self.lost).put(&mut self.text);
        if self.ours.is_empty() && !self.asks && self.lost == 0 {
            take_back(&self.ours);
            return None;
        }
        match send(&self.text) {
            Ok((line, entry)) => Some(Carried { entry, line, ours: self.ours }),
            Err(error) => {
                log::tell(format_args!("connections cannot go along with the next program: {error}"));
                take_back(&self.ours);
                None
            }
        }
    }
}

/// Whether a note of this length has room for so much more, and for what has to be in it.
fn fits(length: usize, more: usize) -> bool {
    length.saturating_add(more) <= FILE_MOST - BESIDE
}

fn send(text: &[u8]) -> io::Result<([Link; 2], CString)> {
    let line = Link::pair()?;
    line[0].send(&[0], Some(text))?;
    line[1].outlive_exec(true);
    let entry = format!("{}={}", CARRIED.to_str().unwrap_or_default(), line[1].raw());
    Ok((line, CString::new(entry)?))
}

/// The exec has failed: everything is as it was.
pub(crate) fn unpack(carried: Carried) {
    let Carried { ours, line, .. } = carried;
    drop(line);
    take_back(&ours);
}

fn take_back(ours: &Ours) {
    if let Some(runtime) = Runtime::current() {
        let until = deadline();
        for (held, letter) in &ours.open {
            match heirs::take_in(runtime, held.word.cookie(), letter, until) {
                Ok((mut turn, id)) => seat(&mut turn, held, id),
                Err(_) => Reason::Exec.count(),
            }
        }
        for (word, letter) in &ours.parked {
            match heirs::take_in(runtime, 0, letter, until) {
                Ok((_turn, id)) => heirs::park(&mut state::lock().heirs, *word, id),
                Err(_) => Reason::Exec.count(),
            }
        }
        inherit(runtime, &ours.estate, until);
    }
    heirs::unpack(&mut state::lock().heirs);
    // What they have asked for meanwhile.
    heirs::attend();
}

/// It has come back to the file, unless that was closed on another thread meanwhile.
fn seat(turn: &mut Turn<'_>, held: &Held, id: SocketId) {
    if !held.holds() {
        return turn.close(id);
    }
    held.file.set_socket(Some(id));
    epoll::attached(turn, held);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_has_room_for_no_more_than_can_be_read() {
        assert!(fits(0, FILE_MOST - BESIDE) && fits(FILE_MOST - BESIDE, 0));
        assert!(!fits(1, FILE_MOST - BESIDE) && !fits(FILE_MOST, 0) && !fits(2, usize::MAX));
    }
}
