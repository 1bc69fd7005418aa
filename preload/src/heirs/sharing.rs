//! A connection that parent and child use side by side, as rsync's two processes do: the child has it, and the parent uses it
//! as well. From then on it is the keeper's, whom both ask in turns, as if it had been sent (`passing`).

use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use libc::c_int;
use ringroad::Runtime;
use ringroad::link::Note;
use ringroad::question::{PASSED, RECALL, question, understood};
use ringroad::runtime::Turn;
use stack::plain::Plain;
use stack::time::Instant;

use super::{AGAIN, Heirs, PATIENCE, attend, hear, name_of, passing};
use crate::dispatch::backing::put_over;
use crate::fdtable::{Flag, Held, Word};
use crate::state::{self, Claims, State};
use crate::{epoll, label};

/// What a child says of a connection that is the keeper's now.
pub(super) struct Shared {
    word: Word,
    /// The keeper's name for it.
    name: u64,
    /// The kernel's socket behind it, by which the keeper sees whether somebody has it.
    socket: OwnedFd,
}

/// In the parent: a child has a connection that is used here as well. Waits until the keeper has it, or the child has
/// given it back.
pub(super) fn recall(word: Word) {
    let Some(runtime) = Runtime::current() else { return };
    let now = runtime.now();
    // Who has not answered in time (it is stopped, or a program without the library) is not waited for at each call.
    if ask_back(&mut state::lock().heirs, word, now) != Some(true) {
        return;
    }
    let until = now + PATIENCE;
    while runtime.now() < until && state::lock().heirs.debtors.contains_key(&word) {
        attend();
        std::thread::sleep(AGAIN);
    }
}

/// Asks the child that has it, unless that was done just now. Whether for the first time; none where it cannot be asked.
fn ask_back(heirs: &mut Heirs, word: Word, now: Instant) -> Option<bool> {
    let debt = heirs.debtors.get_mut(&word)?;
    let first = debt.asked.is_none();
    if debt.asked.is_none_or(|asked| now >= asked + PATIENCE) {
        let child = heirs.children.get(&debt.line)?;
        child.link.send(&question(RECALL, child.name(word)?), None).ok()?;
        debt.asked = Some(now);
    }
    Some(first)
}

/// In the parent: what its child says of that.
pub(super) fn understand(heirs: &Heirs, word: Option<Word>, note: &mut Note) -> Option<Shared> {
    let word = word.filter(|word| heirs.lent.contains(word))?;
    let name = Plain::take(&mut &note.enclosed.as_ref()?[..])?;
    let socket = note.take_descriptor()?;
    // It is put in place of the application's: a child could send anything.
    (label::read(socket.as_raw_fd()) == Some(name)).then_some(Shared { word, name, socket })
}

/// In the parent: it is the keeper's from here on.
pub(super) fn begin(state: &mut State, turn: &mut Turn<'_>, Shared { word, name, socket }: Shared) {
    let Some(file) = word.file() else { return };
    for held in state.registry.in_range(0, c_int::MAX).iter().filter(|held| held.word == word) {
        // A descriptor that cannot be had is as good as closed: the keeper sees the others.
        let _ = put_over(socket.as_raw_fd(), held.fd);
    }
    state.heirs.lent.remove(&word);
    state.heirs.debtors.remove(&word);
    // Whoever sent it here knows another name, and has it no longer.
    passing::forget(&mut state.heirs, word);
    passing::know(&mut state.heirs, word, name);
    [Flag::Lent, Flag::SharedBacking].into_iter().for_each(|flag| file.set(flag, false));
    epoll::left(state, turn, word);
}

/// In the child: what it has from its parent the parent may ask for again. Its helper hears that.
pub(super) fn listen(heirs: &mut Heirs, turn: &mut Turn<'_>) {
    if let Some(parent) = heirs.parent.clone() {
        hear(heirs, turn, &parent);
    }
}

/// After an exec: what came along and is the parent's as well it may ask for.
pub(crate) fn listen_again() {
    let Some(runtime) = Runtime::current() else { return };
    let mut turn = runtime.lock();
    let heirs = &mut state::lock().heirs;
    if !heirs.borrowed.is_empty() {
        listen(heirs, &mut turn);
    }
}

/// In the child: the parent has said something, unless that is the answer to a question, whose asker reads it.
pub(super) fn attend_parent() {
    let Some(asking) = state::try_lock_claims() else {
        return std::thread::sleep(AGAIN);
    };
    let Some(parent) = state::lock().heirs.parent.clone() else { return };
    loop {
        match parent.receive(Duration::ZERO) {
            Ok(Some(note)) => note_down(&note),
            Ok(None) => break,
            Err(_) => {
                // Nobody will ask any more.
                state::lock().heirs.unhear(&parent);
                break;
            }
        }
    }
    settle_alone(&asking);
}

/// In the child: among the answers of its parent is a question.
pub(super) fn note_down(note: &Note) {
    if let Some((RECALL, name)) = understood(&note.text) {
        state::lock().heirs.recalled.push(name);
    }
}

/// In the child: what the parent has asked for becomes the keeper's. Nothing is locked.
pub(super) fn settle() {
    if !state::lock().heirs.recalled.is_empty() {
        settle_alone(&state::lock_claims());
    }
}

/// The same for who asks alone: the helper waits for nobody who asks, or what others ask of it would wait as well.
fn settle_alone(asking: &Claims) {
    loop {
        let Some(name) = state::lock().heirs.recalled.pop() else { return };
        let all = state::lock().registry.in_range(0, c_int::MAX);
        let mut named = all.iter().filter(|held| name_of(&state::lock().heirs, held.word) == name);
        if let Some(held) = named.find(|held| is_shared(held)) {
            share(held, name, asking);
        }
    }
}

/// Whether this process has the connection, or its children or the keeper have it from this process.
fn is_shared(held: &Held) -> bool {
    let heirs = &state::lock().heirs;
    let word = held.word;
    heirs.borrowed.contains(&word) || heirs.lent.contains(&word) || passing::name(heirs, word).is_some()
}

/// The keeper gets a connection, and the parent hears by which name. Where that fails the parent goes without, in time.
fn share(held: &Held, name: u64, asking: &Claims) {
    if state::lock().heirs.lent.contains(&held.word) {
        recall(held.word);
    }
    let known = passing::name(&state::lock().heirs, held.word);
    if known.is_none() && passing::entrust_alone(held, asking).is_err() {
        return;
    }
    let mut state = state::lock();
    let (parent, keepers) = (state.heirs.parent.clone(), passing::name(&state.heirs, held.word));
    if keepers.is_some() {
        state.heirs.borrowed.remove(&held.word);
    }
    drop(state);
    if let (Some(parent), Some(keepers)) = (parent, keepers) {
        let mut text = Vec::new();
        keepers.put(&mut text);
        // A parent that is gone asks for nothing.
        let _ = parent.send_beside(&question(PASSED, name), &text, held.fd);
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::time::Duration;

    use ringroad::link::Link;

    use super::*;
    use crate::heirs::Child;
    use crate::heirs::children::Debt;

    /// A process whose child has a connection, and the child's end of the line.
    fn lent(word: Word) -> (Heirs, Link) {
        let [link, childs] = Link::pair().unwrap();
        let mut heirs = Heirs::default();
        heirs.lent.insert(word);
        heirs.debtors.insert(word, Debt::of(link.raw()));
        heirs.children.insert(link.raw(), Child { link, words: Vec::new(), given: None, names: None });
        (heirs, childs)
    }

    #[test]
    fn a_child_that_does_not_answer_is_waited_for_once_and_asked_again_from_time_to_time() {
        let word = Word::without_file(1);
        let (mut heirs, childs) = lent(word);
        let begun = Instant::from_nanos(1);
        let mut asked = |after| {
            let waits = ask_back(&mut heirs, word, begun + after);
            let heard = childs.receive(Duration::ZERO).unwrap().is_some();
            (waits, heard)
        };
        assert_eq!(asked(Duration::ZERO), (Some(true), true));
        assert_eq!(asked(PATIENCE / 2), (Some(false), false));
        assert_eq!(asked(PATIENCE), (Some(false), true));
        assert_eq!(ask_back(&mut heirs, Word::without_file(2), begun), None);
    }

    #[test]
    fn what_has_not_the_name_is_not_put_in_place_of_a_connection() {
        let word = Word::without_file(1);
        let (heirs, _childs) = lent(word);
        let [line, parents] = Link::pair().unwrap();
        let name = 0x0123_4567_89ab_cdef_u64;
        let mut text = Vec::new();
        name.put(&mut text);
        let said = |socket: &TcpListener| {
            line.send_beside(&question(PASSED, word.cookie()), &text, socket.as_raw_fd()).unwrap();
            let mut note = parents.receive(Duration::ZERO).unwrap().unwrap();
            understand(&heirs, Some(word), &mut note).map(|shared| shared.name)
        };
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        assert_eq!(said(&socket), None);
        label::put(socket.as_raw_fd(), name + 1).unwrap();
        assert_eq!(said(&socket), None);
        label::put(socket.as_raw_fd(), name).unwrap();
        assert_eq!(said(&socket), Some(name));
    }
}
