//! What children may ask for yet when their parent ends: the keeper answers them from then on, on the parent's ends of the
//! lines to them.

use std::collections::HashMap;

use ringroad::runtime::Turn;
use stack::types::SocketId;

use super::{Child, Heirs, end};
use crate::fdtable::{File, Word};
use crate::kernel;

/// Leaves it to the keeper. Where there is none it ends, as all that is this process's does.
pub(super) fn leave(heirs: &mut Heirs, turn: &mut Turn<'_>) {
    let mut names = HashMap::new();
    for child in core::mem::take(&mut heirs.children).into_values() {
        let all: Vec<_> =
            child.words.iter().filter_map(|word| bequest(heirs, turn, (&child, *word), &mut names)).collect();
        if !all.is_empty() && turn.leave_to_heir(&child.link, &all).is_err() {
            all.iter().filter_map(|(.., letter)| letter.as_ref()).for_each(|letter| end(turn, letter));
        }
    }
}

/// What a child calls a connection, the keeper's name for it, and the connection itself, if that is here still.
fn bequest(
    heirs: &mut Heirs,
    turn: &mut Turn<'_>,
    (child, word): (&Child, Word),
    names: &mut HashMap<Word, u64>,
) -> Option<(u64, u64, Option<Vec<u8>>)> {
    let said = child.name(word)?;
    if let Some(name) = names.get(&word) {
        return Some((said, *name, None));
    }
    if let Some(passed) = heirs.passed.get(&word) {
        // It went back just now.
        return Some((said, passed.name, None));
    }
    let id: SocketId = heirs.parked.remove(&word).or_else(|| word.file().and_then(File::socket))?;
    let (now, mut letter) = (turn.now(), Vec::new());
    turn.stack().export(now, id, &mut letter).ok()?;
    if let Some(file) = word.file() {
        file.set_socket(None);
    }
    let name = *names.entry(word).or_insert_with(kernel::random);
    Some((said, name, Some(letter)))
}
