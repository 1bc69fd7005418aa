//! Connections that a child inherited over fork. They stay with the parent's stack until the child first uses one: then
//! the child asks for it, and the parent lets it go to the child's stack. A connection that the parent closes before
//! that waits for its heirs; one that it holds still when the child closes it comes back.
//!
//! Parent and child talk over a socket pair of their own, made before the fork. It closes with the child, or when that
//! becomes another program: what it had not asked for it will not ask for any more.

use core::time::Duration;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use ringroad::Runtime;
use ringroad::link::{Link, Links};
use ringroad::runtime::Turn;
use stack::engine::Taker;
use stack::error::SocketError;
use stack::types::SocketId;

use crate::attach;
use crate::epoll;
use crate::fdtable::{self, Flag, Held, Kind, Registry, Word};
use crate::reason::Reason;
use crate::state::{self, State};

/// How long a child waits for its parent to let go: the parent's helper thread answers.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often a stack without frames is tried again.
const AGAIN: Duration = Duration::from_millis(1);

/// A child asks for a connection, or says that it closed its copy.
const CLAIM: u8 = 1;
const RELEASE: u8 = 2;
/// It has what it asked for.
const TAKEN: u8 = 3;
/// It closed what it had asked for, and the parent may have it back.
const BACK: u8 = 4;
/// Answers CLAIM where the parent holds its own copy still.
const LENT: u8 = 5;
/// Of a question: what it is, and the connection's word.
const QUESTION: usize = 9;

/// A child that may ask for connections.
struct Child {
    link: Link,
    /// What it has neither asked for nor closed.
    words: Vec<Word>,
    /// What it was given last, until it has said that it has that.
    given: Option<Vec<u8>>,
}

/// What goes between parent and children.
#[derive(Default)]
pub(crate) struct Heirs {
    parent: Option<Arc<Link>>,
    children: Vec<Child>,
    /// What this process had from its parent, which held its own copy then.
    borrowed: HashSet<Word>,
    /// Connections that were closed here and that children hold.
    parked: HashMap<Word, SocketId>,
    /// The lines to all children, for the helper to wait for; made with the first.
    links: Option<Links>,
}

/// A line between the making of it and the fork.
pub(crate) struct Prepared {
    ends: [Link; 2],
    words: Vec<Word>,
}

/// Before a fork, under both locks: a line, if there is anything to inherit.
pub(crate) fn prepare(state: &State) -> Option<Prepared> {
    let words: Vec<Word> = connections(&state.registry).collect();
    if words.is_empty() {
        return None;
    }
    Some(Prepared { ends: Link::pair().ok()?, words })
}

fn connections(registry: &Registry) -> impl Iterator<Item = Word> {
    registry.files().filter_map(|(word, file)| {
        let ours = file.kind() == Kind::Stream && file.socket().is_some();
        (ours && !file.is(Flag::Listening) && !file.is(Flag::Inherited)).then_some(word)
    })
}

/// After the fork, in the parent.
pub(crate) fn in_parent(heirs: &mut Heirs, turn: &mut Turn<'_>, prepared: Prepared) {
    let Prepared { ends: [link, _theirs], words } = prepared;
    if heirs.links.is_none()
        && let Ok(links) = Links::new()
    {
        fdtable::protect(links.raw(), true);
        turn.attend(links.raw(), attend);
        heirs.links = Some(links);
    }
    let Some(links) = &heirs.links else { return };
    if links.add(&link).is_ok() {
        fdtable::protect(link.raw(), true);
        heirs.children.push(Child { link, words, given: None });
    }
}

/// After the fork, in the child: what its parent keeps for others is not its own.
pub(crate) fn in_child(heirs: &mut Heirs, prepared: Option<Prepared>) {
    let before = core::mem::take(heirs);
    let links = before.links.iter().map(Links::raw);
    let lines = before.children.iter().map(|child| child.link.raw());
    lines
        .chain(links)
        .chain(before.parent.iter().map(|p| p.raw()))
        .for_each(|fd| fdtable::protect(fd, false));
    heirs.parent = prepared.map(|prepared| {
        let [_parents, own] = prepared.ends;
        fdtable::protect(own.raw(), true);
        Arc::new(own)
    });
}

/// The connection behind an inherited descriptor, which is this process's from now on.
///
/// # Errors
/// `Inherited` when the parent does not let it go: it ended, or another child was first.
pub(crate) fn claim(held: &Held) -> Result<(&'static Runtime, SocketId), Reason> {
    if held.file.kind() != Kind::Stream {
        return Err(Reason::Inherited);
    }
    // What a child gave back is here, whether the helper has looked or not.
    attend();
    // One question at a time: the answer is that of the question. Before all other locks.
    let _one = state::lock_claims();
    if let (Some(id), Some(runtime)) = (held.socket(), Runtime::current())
        && !held.file.is(Flag::Inherited)
    {
        return Ok((runtime, id));
    }
    let parent = state::lock().heirs.parent.clone().ok_or(Reason::Inherited)?;
    let runtime = attach::runtime()?;
    let (letter, lent) = ask(&parent, held.word).ok_or(Reason::Inherited)?;
    let (mut turn, id) = take_in(runtime, held.word, &letter)?;
    // Until it hears this, the parent can take the connection back.
    let _ = parent.send(&question(TAKEN, held.word), None);
    if lent {
        state::lock().heirs.borrowed.insert(held.word);
    }
    held.file.set_socket(Some(id));
    held.file.set(Flag::Inherited, false);
    if !held.holds() {
        // Closed on another thread meanwhile.
        turn.close(id);
        return Err(Reason::Plain);
    }
    epoll::attached(&mut turn, held);
    Ok((runtime, id))
}

fn take_in(
    runtime: &'static Runtime,
    word: Word,
    letter: &[u8],
) -> Result<(Turn<'static>, SocketId), Reason> {
    let until = runtime.now() + PATIENCE;
    loop {
        let mut turn = runtime.lock();
        // A stack that has just begun gets its frames as it turns.
        turn.poll();
        let now = turn.now();
        match turn.stack().import(now, &mut &letter[..], Taker::Application(word.cookie())) {
            Ok(arrived) => return Ok((turn, arrived.id)),
            Err(SocketError::NoBuffers) if now < until => {}
            Err(_) => return Err(Reason::NoRoom),
        }
        drop(turn);
        std::thread::sleep(AGAIN);
    }
}

/// The connection as bytes, and whether the parent holds it, too.
fn ask(parent: &Link, word: Word) -> Option<(Vec<u8>, bool)> {
    parent.send(&question(CLAIM, word), None).ok()?;
    loop {
        // Answers to questions that were given up come first.
        let answer = parent.receive(PATIENCE).ok()??;
        let lent = answer.text == question(LENT, word);
        if lent || answer.text == question(CLAIM, word) {
            return Some((answer.enclosed?, lent));
        }
    }
}

fn question(what: u8, word: Word) -> [u8; QUESTION] {
    let mut question = [what; QUESTION];
    question[1..].copy_from_slice(&word.cookie().to_ne_bytes());
    question
}

/// A copy that was never used is closed.
pub(crate) fn release(heirs: &Heirs, word: Word) {
    if let Some(parent) = &heirs.parent {
        // A parent that is gone has nothing to let go.
        let _ = parent.send(&question(RELEASE, word), None);
    }
}

/// The application closes a connection: whether it waits for heirs instead of ending.
pub(crate) fn keep(heirs: &mut Heirs, turn: &mut Turn<'_>, word: Word, id: SocketId) -> bool {
    if heirs.borrowed.remove(&word) && give_back(heirs, turn, word, id) {
        return true;
    }
    let wanted = heirs.children.iter().any(|child| child.words.contains(&word));
    if wanted {
        // Nobody here is to be told of it any more.
        let _ = turn.stack().set_cookie(id, 0);
        heirs.parked.insert(word, id);
    }
    wanted
}

/// A connection goes back to the parent. False when it cannot, or there is none.
fn give_back(heirs: &Heirs, turn: &mut Turn<'_>, word: Word, id: SocketId) -> bool {
    let Some(parent) = &heirs.parent else { return false };
    let now = turn.now();
    let mut letter = Vec::new();
    if turn.stack().export(now, id, &mut letter).is_err() {
        return false;
    }
    if parent.send(&question(BACK, word), Some(&letter)).is_err() {
        // There is no parent any more: it ends here.
        end(turn, &letter);
    }
    true
}

/// The process ends: what its parent may hold still goes back.
pub(crate) fn give_all_back() {
    let Some(runtime) = Runtime::current() else { return };
    let mut turn = runtime.lock();
    let mut state = state::lock();
    for word in core::mem::take(&mut state.heirs.borrowed) {
        if let Some(id) = word.file().and_then(fdtable::File::socket) {
            give_back(&state.heirs, &mut turn, word, id);
        }
    }
}

/// The helper: children have asked for something, or ended.
fn attend() {
    let Some(runtime) = Runtime::current() else { return };
    let mut turn = runtime.lock();
    let mut state = state::lock();
    let heirs = &mut state.heirs;
    let (mut at, mut back) = (0, Vec::new());
    while at < heirs.children.len() {
        if serve(heirs, &mut turn, at, &mut back) {
            at += 1;
            continue;
        }
        let Child { link, words, given } = heirs.children.swap_remove(at);
        if let Some(links) = &heirs.links {
            links.remove(&link);
        }
        fdtable::protect(link.raw(), false);
        if let Some(letter) = given {
            end(&mut turn, &letter);
        }
        words.into_iter().for_each(|word| let_go(heirs, &mut turn, word));
    }
    // Their waiters are told without the state's lock.
    let held = state.registry.in_range(0, libc::c_int::MAX);
    drop(state);
    for held in held.iter().filter(|held| back.contains(&held.word)) {
        epoll::attached(&mut turn, held);
    }
}

/// Answers one child. False when it is gone.
fn serve(heirs: &mut Heirs, turn: &mut Turn<'_>, at: usize, back: &mut Vec<Word>) -> bool {
    loop {
        let note = match heirs.children[at].link.receive(Duration::ZERO) {
            Ok(Some(note)) => note,
            Ok(None) => return true,
            Err(_) => return false,
        };
        let Ok([what, word_bytes @ ..]) = <[u8; QUESTION]>::try_from(&note.text[..]) else { return false };
        // Only what it inherited is its to ask for.
        let words = &mut heirs.children[at].words;
        let named = Word::of_cookie(u64::from_ne_bytes(word_bytes));
        let place = words.iter().position(|other| Some(*other) == named);
        let word = place.map(|place| words.swap_remove(place));
        match (what, word) {
            (CLAIM, word) => {
                let given = word.and_then(|word| give(heirs, turn, word));
                let what = if given.as_ref().is_some_and(|(_, lent)| *lent) { LENT } else { CLAIM };
                let letter = given.map(|(letter, _)| letter);
                let child = &mut heirs.children[at];
                // A child that is gone does not hear it: then it ends with the child.
                let _ = child.link.send(&[&[what][..], &word_bytes].concat(), letter.as_deref());
                child.given = letter;
            }
            (TAKEN, _) => heirs.children[at].given = None,
            (BACK, _) => back.extend(note.enclosed.and_then(|letter| take_back(turn, named, &letter))),
            (_, Some(word)) => let_go(heirs, turn, word),
            _ => {}
        }
    }
}

/// A child gives a connection back: its word, if it is open here still.
fn take_back(turn: &mut Turn<'_>, word: Option<Word>, letter: &[u8]) -> Option<Word> {
    let open = word.and_then(|word| Some((word, word.file().filter(|file| file.is(Flag::Inherited))?)));
    let Some((word, file)) = open else {
        end(turn, letter);
        return None;
    };
    let now = turn.now();
    let back = turn.stack().import(now, &mut &letter[..], Taker::Application(word.cookie())).ok()?;
    file.set_socket(Some(back.id));
    file.set(Flag::Inherited, false);
    Some(word)
}

/// The child died before it had the connection that it was given.
fn end(turn: &mut Turn<'_>, letter: &[u8]) {
    let now = turn.now();
    if let Ok(back) = turn.stack().import(now, &mut &letter[..], Taker::Application(0)) {
        turn.close(back.id);
    }
}

/// A connection as bytes, and it is no longer ours; whether it is open here.
fn give(heirs: &mut Heirs, turn: &mut Turn<'_>, word: Word) -> Option<(Vec<u8>, bool)> {
    let parked = heirs.parked.get(&word).copied();
    let id = parked.or_else(|| word.file()?.socket())?;
    let now = turn.now();
    let mut letter = Vec::new();
    turn.stack().export(now, id, &mut letter).ok()?;
    heirs.parked.remove(&word);
    let open = word.file();
    if let Some(file) = open {
        // What is done with it here from now on finds nothing, until it comes back.
        file.set_socket(None);
        file.set(Flag::Inherited, true);
    }
    Some((letter, open.is_some()))
}

/// A child will not ask for it any more: what waited for it alone ends.
fn let_go(heirs: &mut Heirs, turn: &mut Turn<'_>, word: Word) {
    if heirs.children.iter().any(|child| child.words.contains(&word)) {
        return;
    }
    if let Some(id) = heirs.parked.remove(&word) {
        turn.close(id);
    }
}
