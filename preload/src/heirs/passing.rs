//! Connections that go to another process over a Unix socket (SCM_RIGHTS). Before the descriptor is sent the keeper gets
//! the connection, and the kernel's socket behind the descriptor a name (`label`). Whoever has that, the sender included,
//! asks the keeper when it first uses it, and gives it back when somebody else asks, or when it closes its copy: the
//! keeper sees whether others have theirs.

use std::io;
use std::sync::Arc;

use libc::c_int;
use ringroad::Runtime;
use ringroad::link::Link;
use ringroad::question::{BACK, NEWS, RECALL, WATCH, question, understood};
use ringroad::runtime::Turn;
use stack::time::Instant;
use stack::types::SocketId;

use super::{AGAIN, Heirs, PATIENCE, claim, hear, watching};
use crate::dispatch::backing;
use crate::fdtable::{self, Flag, Held, Word};
use crate::reason::Reason;
use crate::state::{self, Claims, State};
use crate::{epoll, kernel, label};

/// A connection that was sent, or came.
pub(super) struct Passed {
    /// The keeper's name for it.
    pub(super) name: u64,
    /// The line to the keeper, from the first use on.
    pub(super) line: Option<Arc<Link>>,
    /// The keeper asks for it, while a child of ours has it.
    recalled: bool,
}

impl Passed {
    fn new(name: u64) -> Self {
        Self { name, line: None, recalled: false }
    }
}

/// A descriptor of a connection is about to be sent to another process.
///
/// # Errors
/// `Passed` when the connection cannot go along: it has none, or its handshake is not over, or there is no keeper.
pub(crate) fn entrust(held: &Held) -> Result<(), Reason> {
    if held.file.is(Flag::Inherited) && !state::lock().heirs.passed.contains_key(&held.word) {
        // A parent's: from here on it knows nothing of it.
        claim(held)?;
    }
    entrust_alone(held, &state::lock_claims())
}

/// The same for who asks for connections alone at present, of one that is here, if it is anywhere in this process.
///
/// # Errors
/// As above.
pub(super) fn entrust_alone(held: &Held, _alone: &Claims) -> Result<(), Reason> {
    let (Some(id), Some(runtime)) = (held.socket(), Runtime::current()) else {
        // The keeper has it already.
        return Ok(());
    };
    let mut turn = runtime.lock();
    // How a connection goes on depends on what has come for it.
    turn.poll();
    let known = state::lock().heirs.passed.get(&held.word).map(|passed| passed.name);
    if let Some(name) = known {
        let whole = suspend(&mut state::lock(), &mut turn, held.word, Why::Sent);
        // The application may have told the socket something else meanwhile.
        let named = label::put(held.fd, name).is_ok();
        return if whole && named { Ok(()) } else { Err(Reason::Passed) };
    }
    if !turn.stack().may_travel(id) {
        return Err(Reason::Passed);
    }
    let name = kernel::random();
    backing::own(held).map_err(|_| Reason::Passed)?;
    label::put(held.fd, name).map_err(|_| Reason::Passed)?;
    drop(turn);
    let until = runtime.now() + PATIENCE;
    let given = patiently(runtime, until, |turn| give(turn, held, name));
    if given.is_err() {
        label::remove(held.fd);
    }
    given.map_err(|_| Reason::Passed)
}

/// The keeper gets a connection, unless that is closed meanwhile.
fn give(turn: &mut Turn<'_>, held: &Held, name: u64) -> io::Result<()> {
    let Some(id) = held.socket() else { return Ok(()) };
    match turn.entrust((id, held.word.cookie()), name, held.fd) {
        Ok(()) => {
            held.file.set_socket(None);
            held.file.set(Flag::Inherited, true);
            let mut state = state::lock();
            state.heirs.passed.insert(held.word, Passed::new(name));
            epoll::left(&mut state, turn, held.word);
            Ok(())
        }
        Err((error, again)) => {
            if again.is_some() {
                held.file.set_socket(again);
                epoll::attached(turn, held);
            }
            Err(error)
        }
    }
}

/// Has the keeper told something, as soon as its box has room.
fn patiently<T>(
    runtime: &Runtime,
    until: Instant,
    mut tell: impl FnMut(&mut Turn<'_>) -> io::Result<T>,
) -> io::Result<T> {
    loop {
        let told = tell(&mut runtime.lock());
        let is_full = told.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
        if !is_full || runtime.now() >= until {
            return told;
        }
        std::thread::sleep(AGAIN);
    }
}

/// A descriptor has come, with a connection of this name.
pub(crate) fn arrived(held: &Held, name: u64) {
    held.file.set(Flag::Inherited, true);
    know(&mut state::lock().heirs, held.word, name);
}

/// The keeper has a connection by this name.
pub(super) fn know(heirs: &mut Heirs, word: Word, name: u64) {
    heirs.passed.insert(word, Passed::new(name));
}

/// A line to the keeper, to ask for a connection: what is heard on it is the answer from here on, and for who asks alone.
pub(super) fn line(runtime: &Runtime, word: Word) -> Result<Arc<Link>, Reason> {
    let there_is = take_line(&mut state::lock().heirs, word);
    there_is.map_or_else(|| call(runtime), Ok)
}

fn take_line(heirs: &mut Heirs, word: Word) -> Option<Arc<Link>> {
    let line = heirs.passed.get_mut(&word)?.line.take()?;
    heirs.unhear(&line);
    Some(line)
}

fn call(runtime: &Runtime) -> Result<Arc<Link>, Reason> {
    let until = runtime.now() + PATIENCE;
    let line = patiently(runtime, until, |turn| turn.line_to_keeper()).map_err(|_| Reason::Passed)?;
    fdtable::protect(line.raw(), true);
    Ok(Arc::new(line))
}

/// The connection that was asked for on `line` is here: it may be called back from now on.
pub(super) fn holds(heirs: &mut Heirs, turn: &mut Turn<'_>, word: Word, line: Arc<Link>) {
    if !heirs.passed.contains_key(&word) {
        // Closed on another thread meanwhile.
        return hang_up(&line);
    }
    hear(heirs, turn, &line);
    heirs.lines.insert(line.raw(), word);
    if let Some(passed) = heirs.passed.get_mut(&word) {
        passed.line = Some(line);
    }
}

/// A line is closed when nobody has it any more.
pub(super) fn hang_up(line: &Link) {
    fdtable::protect(line.raw(), false);
}

/// It goes back to the keeper, and is asked for again when it is used next. False when it cannot: it is over, or the
/// keeper has gone.
fn suspend(state: &mut State, turn: &mut Turn<'_>, word: Word, why: Why) -> bool {
    let Some(file) = word.file() else { return false };
    let Some(id) = file.socket() else { return true };
    let Some(Passed { name, line: Some(line), .. }) = state.heirs.passed.get(&word) else { return false };
    let sent = send_back(turn, (id, *name), line);
    if let Sent::Not = sent {
        return false;
    }
    file.set(Flag::Watched, false);
    if why == Why::Recalled {
        watching::begin(file, line, *name);
    }
    file.set_socket(None);
    file.set(Flag::Inherited, true);
    epoll::left(state, turn, word);
    matches!(sent, Sent::Whole)
}

/// Why a connection goes back.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Why {
    /// Somebody else asks for it.
    Recalled,
    /// It is sent, or the process ends.
    Sent,
}

/// What became of a connection that was to go back.
enum Sent {
    /// It went.
    Whole,
    /// It has left the stack, and nobody has taken it.
    Lost,
    /// It is here still.
    Not,
}

fn send_back(turn: &mut Turn<'_>, (id, name): (SocketId, u64), line: &Link) -> Sent {
    let (now, mut letter) = (turn.now(), Vec::new());
    if turn.stack().export(now, id, &mut letter).is_err() {
        return Sent::Not;
    }
    if line.send(&question(BACK, name), Some(&letter)).is_ok() {
        return Sent::Whole;
    }
    // There is no keeper any more: it ends here.
    super::end(turn, &letter);
    Sent::Lost
}

/// The application closes a connection that was sent or came: whether the keeper has it again.
pub(super) fn give_back(heirs: &mut Heirs, turn: &mut Turn<'_>, word: Word, id: SocketId) -> bool {
    let Some(passed) = forget(heirs, word) else { return false };
    let Passed { name, line: Some(line), .. } = passed else { return false };
    !matches!(send_back(turn, (id, name), &line), Sent::Not)
}

/// It was sent or came, and is here no more.
pub(super) fn forget(heirs: &mut Heirs, word: Word) -> Option<Passed> {
    let passed = heirs.passed.remove(&word)?;
    if let Some(line) = &passed.line {
        heirs.unhear(line);
        hang_up(line);
    }
    if let Some(file) = word.file() {
        file.set(Flag::Watched, false);
        file.set(Flag::Away, false);
    }
    Some(passed)
}

/// The keeper's name for it, if it was sent or came.
pub(crate) fn name(heirs: &Heirs, word: Word) -> Option<u64> {
    heirs.passed.get(&word).map(|passed| passed.name)
}

/// Whether it was sent or came.
pub(crate) fn is_passed(heirs: &Heirs, word: Word) -> bool {
    heirs.passed.contains_key(&word)
}

/// The process ends, or executes another program: what was sent or came goes back.
pub(crate) fn suspend_all(turn: &mut Turn<'_>) {
    turn.poll();
    let mut state = state::lock();
    let words: Vec<Word> = state.heirs.passed.keys().copied().collect();
    for word in words {
        suspend(&mut state, turn, word, Why::Sent);
    }
}

/// The helper: the keeper has said something of a connection, or is gone.
pub(super) fn attend(state: &mut State, turn: &mut Turn<'_>, word: Word) {
    loop {
        let Some(Passed { line: Some(line), .. }) = state.heirs.passed.get(&word) else { return };
        let said = match line.receive(core::time::Duration::ZERO) {
            Ok(Some(note)) => understood(&note.text),
            Ok(None) => return,
            Err(_) => {
                // The keeper has gone: it is this process's alone, or nobody's, which who waits for it is to hear.
                forget(&mut state.heirs, word);
                epoll::left(state, turn, word);
                return;
            }
        };
        let is_here = word.file().is_some_and(|file| file.socket().is_some());
        match said {
            Some((RECALL, _)) if is_here => recalled(state, turn, word),
            Some((RECALL, _)) => await_child(&mut state.heirs, word),
            Some((WATCH, _)) => watching::watched(&state.heirs, turn, word),
            Some((NEWS, _)) if !is_here => watching::heard(state, turn, word),
            _ => {}
        }
    }
}

fn recalled(state: &mut State, turn: &mut Turn<'_>, word: Word) {
    if !suspend(state, turn, word, Why::Recalled) {
        // Who asks hears that there is nothing, from the keeper.
        forget(&mut state.heirs, word);
    }
}

/// The keeper asks for what a child has at present.
fn await_child(heirs: &mut Heirs, word: Word) {
    if heirs.lent.contains(&word)
        && let Some(passed) = heirs.passed.get_mut(&word)
    {
        passed.recalled = true;
    }
}

/// A child has given it back: whether it went on at once to who has asked for it meanwhile.
pub(super) fn came_back(state: &mut State, turn: &mut Turn<'_>, word: Word) -> bool {
    if let Some(id) = word.file().and_then(fdtable::File::socket) {
        watching::woken(&state.heirs, word, turn.stack().readiness(id));
    }
    let asked = state.heirs.passed.get_mut(&word).is_some_and(|passed| core::mem::take(&mut passed.recalled));
    if asked {
        recalled(state, turn, word);
    }
    asked
}

/// Before another program: what a child has is between that and it.
pub(crate) fn forget_lent(heirs: &mut Heirs) {
    let lent: Vec<Word> = heirs.lent.iter().copied().collect();
    lent.into_iter().for_each(|word| _ = forget(heirs, word));
}

/// After a fork, in the child: what was in the parent's stack is the parent's, what was not is the keeper's.
pub(super) fn in_child(before: Heirs) -> std::collections::HashMap<Word, Passed> {
    let lines = before.passed.values().filter_map(|passed| passed.line.as_ref());
    lines.for_each(|line| fdtable::protect(line.raw(), false));
    // What was said of them was said to the parent: they are asked for when they are used.
    for file in before.passed.keys().filter_map(|word| word.file()) {
        file.set(Flag::Away, false);
        file.set(Flag::Watched, false);
    }
    let is_keepers = |word: &Word| word.file().is_some_and(|file| file.socket().is_none());
    let all = before.passed.into_iter().filter(|(word, _)| is_keepers(word));
    all.map(|(word, passed)| (word, Passed::new(passed.name))).collect()
}

/// All descriptors that name the same file.
pub(crate) fn names_of(held: &Held) -> Vec<c_int> {
    let all = state::lock().registry.in_range(0, c_int::MAX);
    all.iter().filter(|other| other.word == held.word).map(|other| other.fd).collect()
}
