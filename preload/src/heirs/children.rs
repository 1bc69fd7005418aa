//! The children of this process, and what they ask for.

use core::time::Duration;
use std::collections::HashMap;

use libc::c_int;
use ringroad::link::{self, Link};
use ringroad::question::{BACK, CLAIM, LENT, NAMES, PASSED, PUMP, TAKEN, question, understood};
use ringroad::runtime::Turn;
use stack::engine::Taker;
use stack::time::Instant;

use super::{Heard, Heirs, end, is_wanted, names, passing, pumps, sharing};
use crate::fdtable::{self, Flag, Word};

/// A child that may ask for connections.
pub(crate) struct Child {
    pub(super) link: Link,
    /// What it has neither asked for nor closed.
    pub(super) words: Vec<Word>,
    /// What it was given last, until it has said that it has that.
    pub(super) given: Option<Vec<u8>>,
    /// What it calls connections, where it was born to the program before this one; else by their words.
    pub(super) names: Option<HashMap<u64, Word>>,
}

/// A child has a connection that is open here as well.
pub(super) struct Debt {
    /// The line to it.
    pub(super) line: c_int,
    /// When it was asked for it last.
    pub(super) asked: Option<Instant>,
}

impl Debt {
    pub(super) fn of(line: c_int) -> Self {
        Self { line, asked: None }
    }
}

impl Child {
    /// What it calls a connection.
    pub(super) fn name(&self, word: Word) -> Option<u64> {
        match &self.names {
            Some(names) => names.iter().find(|(_, other)| **other == word).map(|(name, _)| *name),
            None => Some(word.cookie()),
        }
    }

    fn word(&self, name: u64) -> Option<Word> {
        match &self.names {
            Some(names) => names.get(&name).copied(),
            None => Word::of_cookie(name),
        }
    }
}

/// Answers the child on this line, and forgets it when it is gone.
pub(super) fn attend(heirs: &mut Heirs, turn: &mut Turn<'_>, fd: c_int, heard: &mut Heard) {
    if serve(heirs, turn, fd, heard) {
        return;
    }
    let Some(Child { link, words, given, .. }) = heirs.children.remove(&fd) else { return };
    heirs.unhear(&link);
    heirs.debtors.retain(|_, debt| debt.line != fd);
    fdtable::protect(fd, false);
    if let Some(letter) = given {
        end(turn, &letter);
    }
    words.into_iter().for_each(|word| let_go(heirs, turn, word));
}

/// Answers one child. False when it is gone.
fn serve(heirs: &mut Heirs, turn: &mut Turn<'_>, fd: c_int, heard: &mut Heard) -> bool {
    loop {
        let Some(child) = heirs.children.get_mut(&fd) else { return true };
        let mut note = match child.link.receive(Duration::ZERO) {
            Ok(Some(note)) => note,
            Ok(None) => return true,
            Err(error) if link::is_lost(&error) => continue,
            Err(_) => return false,
        };
        let Some((what, name)) = understood(&note.text) else { return false };
        // Only what it inherited is its to ask for.
        let named = child.word(name);
        if what == NAMES {
            let told = named.filter(|word| child.words.contains(word));
            let names = told.and_then(|word| names::told(heirs, turn, word));
            let Some(child) = heirs.children.get(&fd) else { return true };
            // A child that is gone does not hear it.
            let _ = child.link.send(&question(NAMES, name), names.as_deref());
            continue;
        }
        let words = &mut child.words;
        let place = words.iter().position(|other| Some(*other) == named);
        let word = place.map(|place| words.swap_remove(place));
        match (what, word) {
            (CLAIM, word) => {
                let given = word.and_then(|word| give(heirs, turn, (fd, word)));
                let what = if given.as_ref().is_some_and(|(_, lent)| *lent) { LENT } else { CLAIM };
                let letter = given.map(|(letter, _)| letter);
                let Some(child) = heirs.children.get_mut(&fd) else { return true };
                // A child that is gone does not hear it: then it ends with the child.
                let _ = child.link.send(&question(what, name), letter.as_deref());
                child.given = letter;
            }
            (PUMP, word) => {
                let names = word.and_then(|word| pumps::begin(heirs, turn, word, &mut note));
                let Some(child) = heirs.children.get_mut(&fd) else { return true };
                // As above.
                let _ = child.link.send(&question(PUMP, name), names.as_deref());
            }
            (TAKEN, _) => child.given = None,
            (BACK, _) => {
                let back = note.enclosed.and_then(|letter| take_back(heirs, turn, named, &letter));
                heard.back.extend(back);
            }
            (PASSED, _) => heard.shared.extend(sharing::understand(heirs, named, &mut note)),
            (_, Some(word)) => let_go(heirs, turn, word),
            _ => {}
        }
    }
}

/// A child gives a connection back: its word, if it is open here still.
fn take_back(heirs: &mut Heirs, turn: &mut Turn<'_>, word: Option<Word>, letter: &[u8]) -> Option<Word> {
    let open = word.and_then(|word| Some((word, word.file().filter(|file| file.is(Flag::Inherited))?)));
    let Some((word, file)) = open else {
        end(turn, letter);
        return None;
    };
    let now = turn.now();
    let back = turn.stack().import(now, &mut &letter[..], Taker::Application(word.cookie())).ok()?;
    file.set_socket(Some(back.id));
    file.set(Flag::Inherited, false);
    file.set(Flag::Lent, false);
    heirs.lent.remove(&word);
    heirs.debtors.remove(&word);
    Some(word)
}

/// A connection as bytes, and it is no longer ours; whether it is open here.
fn give(heirs: &mut Heirs, turn: &mut Turn<'_>, (child, word): (c_int, Word)) -> Option<(Vec<u8>, bool)> {
    let parked = heirs.parked.get(&word).copied();
    let id = parked.or_else(|| word.file()?.socket())?;
    let now = turn.now();
    let mut letter = Vec::new();
    turn.stack().export(now, id, &mut letter).ok()?;
    heirs.parked.remove(&word);
    let open = word.file();
    if open.is_none() {
        // It is the child's alone.
        passing::forget(heirs, word);
    }
    if let Some(file) = open {
        // What is done with it here from now on finds nothing, until it comes back.
        file.set_socket(None);
        file.set(Flag::Lent, true);
        file.set(Flag::Inherited, true);
        heirs.lent.insert(word);
        heirs.debtors.insert(word, Debt::of(child));
    }
    Some((letter, open.is_some()))
}

/// A child will not ask for it any more: what waited for it alone ends.
fn let_go(heirs: &mut Heirs, turn: &mut Turn<'_>, word: Word) {
    if is_wanted(heirs, word) {
        return;
    }
    if let Some(id) = heirs.parked.remove(&word) {
        turn.close(id);
    }
}
