//! After the exec, before `main`: what the program before this one has sent becomes this one's.

use core::time::Duration;
use std::sync::atomic::{AtomicBool, Ordering};

use libc::c_int;
use ringroad::link::Link;
use ringroad::runtime::Turn;
use ringroad::{Runtime, log};
use stack::plain::Plain;
use stack::time::Instant;
use stack::types::SocketId;

use super::{
    BACK, CHILD, ENDS, ESTATE, LENT, LOST, OURS, PARENTS, PARKED, VERSION, deadline, file, inherit,
    take_bytes,
};
use crate::environment::CARRIED;
use crate::fdtable::{Flag, Held, Word};
use crate::heirs::{self, Moved, Packed, Tie};
use crate::reason::Reason;
use crate::{attach, guard, kernel, state};

/// Whether connections are on their way into this process.
static UNDER_WAY: AtomicBool = AtomicBool::new(false);

/// Whether a runtime that starts now does so for what is carried.
pub(crate) fn is_under_way() -> bool {
    UNDER_WAY.load(Ordering::Relaxed)
}

/// The line that this program was executed with, if it was.
pub(crate) fn announced() -> Option<c_int> {
    let fd = std::env::var(CARRIED.to_str().ok()?).ok()?.parse().ok();
    kernel::forget_variable(CARRIED);
    fd
}

/// Takes what the program before this one has sent.
pub(crate) fn take(fd: c_int) {
    let Some(_inside) = guard::enter() else { return };
    let Ok(line) = Link::inherited(fd) else { return };
    let _ = kernel::close(fd);
    let note = line.receive(Duration::ZERO).ok().flatten();
    let Some(text) = note.and_then(|note| note.enclosed) else { return };
    UNDER_WAY.store(true, Ordering::Relaxed);
    let mut settling = Settling::default();
    settling.read(&text);
    settling.finish();
    UNDER_WAY.store(false, Ordering::Relaxed);
    if let Some(runtime) = Runtime::current() {
        runtime.bury_former();
    }
}

#[derive(Default)]
struct Settling {
    /// Until when frames are waited for, since the stack is there.
    until: Option<Instant>,
    moved: Moved,
    children: Vec<Packed>,
    parked: u32,
    lost: u32,
}

impl Settling {
    fn read(&mut self, text: &[u8]) {
        if self.all(&mut &text[..]).is_none() {
            // Of what cannot be understood nobody knows how many connections it was.
            self.lost += 1;
        }
    }

    fn all(&mut self, from: &mut &[u8]) -> Option<()> {
        let (version, parent) = <(u16, u32)>::take(from)?;
        if version != VERSION {
            return None;
        }
        if parent != 0
            && let Ok(line) = Link::inherited(parent as c_int)
        {
            let _ = kernel::close(parent as c_int);
            heirs::resume(&mut state::lock().heirs, line);
        }
        while let Some(kind) = u8::take(from) {
            self.one(kind, from)?;
        }
        Some(())
    }

    fn one(&mut self, kind: u8, from: &mut &[u8]) -> Option<()> {
        match kind {
            PARENTS | LENT => self.elsewhere(kind, from)?,
            OURS => self.open(from)?,
            ENDS => self.end(take_bytes(from)?),
            BACK => self.give_back(u64::take(from)?, take_bytes(from)?),
            PARKED => self.park(u64::take(from)?, take_bytes(from)?),
            CHILD => self.children.push(heirs::take_child(from)?),
            ESTATE => self.inherit(take_bytes(from)?),
            LOST => self.lost += u32::take(from)?,
            _ => return None,
        }
        Some(())
    }

    /// A connection that the parent has, or a child.
    fn elsewhere(&mut self, kind: u8, from: &mut &[u8]) -> Option<()> {
        let (held, tie) = self.file(from)?;
        if kind == PARENTS && held.is_none() {
            // The exec has closed it.
            heirs::release_name(&state::lock().heirs, tie.name);
        }
        Some(())
    }

    fn open(&mut self, from: &mut &[u8]) -> Option<()> {
        let (held, _) = self.file(from)?;
        let letter = take_bytes(from)?;
        let Some(held) = held else {
            self.end(letter);
            return Some(());
        };
        if let Some((_turn, id)) = self.take_in(held.word.cookie(), letter) {
            held.file.set_socket(Some(id));
            held.file.set(Flag::Inherited, false);
        }
        Some(())
    }

    /// The file of a connection, if it is open, which is known from here on.
    fn file(&mut self, from: &mut &[u8]) -> Option<(Option<Held>, Tie)> {
        let (before, tie) = (u64::take(from)?, Tie::take(from)?);
        let held = file::take(from)?;
        if let Some(held) = &held {
            self.moved.insert(before, held.word);
            heirs::resume_one(&mut state::lock().heirs, held.word, tie);
        }
        Some((held, tie))
    }

    /// The stack, and until when it is waited for frames: opening it may have taken longer than that.
    fn stack(&mut self) -> Result<(&'static Runtime, Instant), Reason> {
        let runtime = attach::runtime()?;
        Ok((runtime, *self.until.get_or_insert_with(deadline)))
    }

    fn take_in(&mut self, cookie: u64, letter: &[u8]) -> Option<(Turn<'static>, SocketId)> {
        let taken = self.stack().and_then(|(runtime, until)| heirs::take_in(runtime, cookie, letter, until));
        self.lost += u32::from(taken.is_err());
        taken.ok()
    }

    fn end(&mut self, letter: &[u8]) {
        if let Some((mut turn, id)) = self.take_in(0, letter) {
            turn.close(id);
        }
    }

    /// The exec has closed a connection that the parent holds, too.
    fn give_back(&mut self, name: u64, letter: &[u8]) {
        if !heirs::send_back(&state::lock().heirs, name, letter) {
            self.end(letter);
        }
    }

    fn park(&mut self, before: u64, letter: &[u8]) {
        if let Some((_turn, id)) = self.take_in(0, letter) {
            self.parked += 1;
            let word = Word::without_file(self.parked);
            self.moved.insert(before, word);
            heirs::park(&mut state::lock().heirs, word, id);
        }
    }

    fn inherit(&mut self, estate: &[u8]) {
        if estate.is_empty() {
            return;
        }
        match self.stack() {
            Ok((runtime, until)) => inherit(runtime, estate, until),
            Err(_) => self.lost += 1,
        }
    }

    /// Children are answered from here on, and who looks after the program hears what is lost.
    fn finish(self) {
        if !self.children.is_empty()
            && let Ok(runtime) = attach::runtime()
        {
            let mut turn = runtime.lock();
            heirs::resume_children(&mut state::lock().heirs, &mut turn, self.children, &self.moved);
            drop(turn);
            // What they have asked for meanwhile.
            heirs::attend();
        }
        heirs::listen_again();
        if self.lost > 0 {
            Reason::Exec.count_many(self.lost);
            log::tell(format_args!(
                "{} connections could not go along with this program: they end",
                self.lost
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_that_cannot_be_understood_is_a_loss() {
        for (version, rest, lost) in [(0, &[][..], 0), (0, &[OURS], 1), (0, &[0], 1), (1, &[], 1)] {
            let mut text = Vec::new();
            (VERSION + version, 0_u32).put(&mut text);
            text.extend_from_slice(rest);
            let mut settling = Settling::default();
            settling.read(&text);
            assert_eq!(settling.lost, lost, "{version} {rest:?}");
        }
    }

    #[test]
    fn the_line_to_a_child_that_nobody_answers_is_closed() {
        let [line, childs] = Link::pair().unwrap();
        let mut text = Vec::new();
        (VERSION, 0_u32).put(&mut text);
        (CHILD, line.raw() as u32).put(&mut text);
        // Nothing to ask for, nothing that it has, no names, nothing given.
        (0_u32, 0_u32).put(&mut text);
        false.put(&mut text);
        None::<Vec<u8>>.put(&mut text);
        let mut settling = Settling::default();
        settling.read(&text);
        assert_eq!((settling.children.len(), settling.lost), (1, 0));
        // It is the program's that was executed: there is no other owner.
        core::mem::forget(line);
        drop(settling);
        assert!(childs.receive(Duration::ZERO).is_err(), "its other end is closed");
    }
}
