//! Both ends' addresses of a connection that a child has inherited: it has them from its copy of the parent's memory, and so do its
//! own children (ncat's ask for them); another program that it becomes has the parent tell them, who keeps the connection. They
//! are asked for to write a log or an environment (sshd's sessions do), by who goes on without the connection.

use ringroad::link::Link;
use ringroad::question::{NAMES, question};
use ringroad::runtime::Turn;
use stack::plain::Plain;
use stack::types::SocketId;

use super::pumps::Names;
use super::{Asked, Heirs, PATIENCE, sharing, who_to_ask};
use crate::fdtable::{Flag, Held, Word};
use crate::state;

/// In the child: what the parent tells; none when the connection is not the parent's, or here.
pub(crate) fn ask_names(held: &Held) -> Option<Names> {
    if !held.file.is(Flag::Inherited) {
        return None;
    }
    if let Some(known) = state::lock().heirs.addresses.get(&held.word) {
        return Some(*known);
    }
    let told = ask(held);
    sharing::settle();
    told
}

fn ask(held: &Held) -> Option<Names> {
    let _one = state::lock_claims();
    let Asked::Parent(line, name) = who_to_ask(&state::lock().heirs, held.word)? else { return None };
    line.send(&question(NAMES, name), None).ok()?;
    answer(&line, question(NAMES, name))
}

/// The addresses that an answer encloses. Answers to questions that were given up come before it.
pub(super) fn answer(line: &Link, begins: [u8; ringroad::question::LENGTH]) -> Option<Names> {
    loop {
        let answer = line.receive(PATIENCE).ok()??;
        if answer.text == begins {
            return Plain::take(&mut &answer.enclosed?[..]);
        }
        sharing::note_down(&answer);
    }
}

/// In the parent: what a child is told of a connection that it has neither asked for nor closed.
pub(super) fn told(heirs: &Heirs, turn: &mut Turn<'_>, word: Word) -> Option<Vec<u8>> {
    let pumped = || heirs.pumps.get(&word).map(|pump| pump.id());
    let parked = || heirs.parked.get(&word).copied();
    let id = word.file().and_then(|file| file.socket()).or_else(parked).or_else(pumped)?;
    let mut text = Vec::new();
    of(turn, id)?.put(&mut text);
    Some(text)
}

/// Both addresses of a connection of this stack.
pub(super) fn of(turn: &mut Turn<'_>, id: SocketId) -> Option<Names> {
    Some((turn.stack().local(id).ok()??, turn.stack().peer(id).ok()?))
}
