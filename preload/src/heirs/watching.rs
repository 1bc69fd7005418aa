//! Two processes that wait for one connection. One of them has it; who lost it to that one hears when there is something to
//! read, and asks for it then, if it still wants to. So it stays where it is while nothing comes.

use ringroad::link::Link;
use ringroad::question::{NEWS, WATCH, question};
use ringroad::runtime::Turn;
use stack::types::Readiness;

use super::Heirs;
use crate::epoll;
use crate::fdtable::{File, Flag, Word};
use crate::state::State;

/// What there is to read, the end and errors among it.
const READABLE: Readiness =
    Readiness(Readiness::IN.0 | Readiness::PRI.0 | Readiness::RDHUP.0 | Readiness::HUP.0 | Readiness::ERR.0);

/// A connection went to somebody else, who is to tell of it.
pub(super) fn begin(file: &File, line: &Link, name: u64) {
    let told = line.send(&question(WATCH, name), None);
    // Who cannot be told so never says anything: then it is worth to ask.
    file.set(Flag::Away, told.is_ok());
}

/// Somebody else waits for a connection that is here.
pub(super) fn watched(heirs: &Heirs, turn: &mut Turn<'_>, word: Word) {
    let Some(file) = word.file() else { return };
    file.set(Flag::Watched, true);
    if let Some(id) = file.socket() {
        woken(heirs, word, turn.stack().readiness(id));
    }
}

/// A connection is ready for so much: who waits for it elsewhere is told once.
pub(crate) fn woken(heirs: &Heirs, word: Word, readiness: Readiness) {
    let Some(file) = word.file().filter(|file| file.is(Flag::Watched)) else { return };
    if !readiness.intersects(READABLE) {
        return;
    }
    file.set(Flag::Watched, false);
    if let Some((name, line)) = heirs.passed.get(&word).and_then(|p| Some((p.name, p.line.as_ref()?))) {
        // A keeper that does not read has ended, or has more to do than wait for this.
        let _ = line.send(&question(NEWS, name), None);
    }
}

/// There is something to read, where the connection is: who waits for it here asks for it.
pub(super) fn heard(state: &mut State, turn: &mut Turn<'_>, word: Word) {
    if let Some(file) = word.file() {
        file.set(Flag::Away, false);
        epoll::left(state, turn, word);
    }
}
