//! Connections that a child inherited over fork. They stay with the parent's stack until the child first uses one: then
//! the child asks for it, and the parent lets it go to the child's stack. A connection that the parent closes before
//! that waits for its heirs; one that it holds still when the child closes it comes back.
//!
//! Parent and child talk over a socket pair of their own, made before the fork. It closes with the child: what that had
//! not asked for it will not ask for any more. When either becomes another program the pair goes along (`carry`), unless
//! the child has nothing left to ask for. A program that does not find the library has its end open and never reads it:
//! as long as it runs, what it might ask for waits, and who asks it gets no answer.

mod children;
mod leaving;
mod names;
mod packing;
mod passing;
mod pumps;
mod sharing;
mod watching;

use core::time::Duration;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use libc::c_int;
use ringroad::Runtime;
use ringroad::link::{Link, Links};
use ringroad::pump::Pump;
use ringroad::question::{BACK, CLAIM, LENT, RELEASE, TAKEN, question};
use ringroad::runtime::Turn;
use stack::engine::Taker;
use stack::error::SocketError;
use stack::time::Instant;
use stack::types::SocketId;

use crate::attach;
use crate::epoll;
use crate::fdtable::{self, Flag, Held, Kind, Registry, Word};
use crate::guard;
use crate::reason::Reason;
use crate::state::{self, State};

pub(crate) use children::Child;
pub(crate) use names::ask_names;
use passing::Passed;
pub(crate) use passing::{arrived, entrust, forget_lent, is_passed, name, names_of, suspend_all};
use pumps::Names;
pub(crate) use pumps::{
    ask_to_pump, begin_own as pump_own, end_all as end_pumps, leave_parent, settle_ended as settle_pumps,
};
pub(crate) use sharing::listen_again;
pub(crate) use watching::woken;

pub(crate) use packing::{
    Moved, Packed, Tie, line, pack, park, parked, resume, resume_children, resume_one, take_child, tie,
    unpack,
};

/// How long a child waits for its parent to let go, the parent's helper thread answers; and for frames.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);
/// How long the keeper is waited for, which may have to begin its stack, or to call a connection back: if it ends, that is
/// heard at once.
const KEEPERS: Duration = Duration::from_secs(10);
/// How often a stack without frames is tried again.
pub(crate) const AGAIN: Duration = Duration::from_millis(1);

/// What goes between parent and children.
#[derive(Default)]
pub(crate) struct Heirs {
    parent: Option<Arc<Link>>,
    /// By the descriptors of the lines to them.
    children: HashMap<c_int, Child>,
    /// What this process had from its parent, which held its own copy then.
    borrowed: HashSet<Word>,
    /// What the parent calls those that the program before this one had from it.
    names: HashMap<Word, u64>,
    /// Both ends' addresses of what was inherited, from whomever.
    addresses: HashMap<Word, Names>,
    /// Connections that were closed here and that children hold.
    parked: HashMap<Word, SocketId>,
    /// Connections that are open here and that a child has at present.
    lent: HashSet<Word>,
    /// Which child has those as bytes.
    debtors: HashMap<Word, children::Debt>,
    /// What the parent has asked for again, by its names.
    recalled: Vec<u64>,
    /// All is packed for the next program: children are answered there.
    packed: bool,
    /// Connections that were sent to other processes, or came from them.
    passed: HashMap<Word, Passed>,
    /// Which of those is spoken of on a line to the keeper that is heard.
    lines: HashMap<c_int, Word>,
    /// Connections that are pumped to children, or to a sandbox of this process's own.
    pumps: HashMap<Word, Arc<Pump>>,
    /// The lines to all children, and to the keeper, for the helper to wait for; made with the first.
    links: Option<Links>,
}

/// A line between the making of it and the fork.
pub(crate) struct Prepared {
    ends: [Link; 2],
    words: Vec<Word>,
}

/// Before a fork: a connection that is a standard stream and the parent's still is taken now. Its children will want it,
/// and they know this process only.
pub(crate) fn claim_standard() {
    if fdtable::any() {
        let inherited = (0..=2).filter_map(fdtable::get).filter(|held| held.file.is(Flag::Inherited));
        // Who cannot have it hears so when it uses it.
        inherited.for_each(|held| _ = claim(&held));
    }
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
    adopt(heirs, turn, Child { link, words, given: None, names: None });
}

fn adopt(heirs: &mut Heirs, turn: &mut Turn<'_>, child: Child) {
    if hear(heirs, turn, &child.link) {
        fdtable::protect(child.link.raw(), true);
        heirs.children.insert(child.link.raw(), child);
    }
}

impl Heirs {
    /// What is said on a line is not heard any more.
    fn unhear(&mut self, line: &Link) {
        self.lines.remove(&line.raw());
        if let Some(links) = &self.links {
            links.remove(line);
        }
    }
}

/// What is said on a line is heard by the helper. False when it cannot be.
fn hear(heirs: &mut Heirs, turn: &mut Turn<'_>, line: &Link) -> bool {
    if heirs.links.is_none()
        && let Ok(links) = Links::new()
    {
        fdtable::protect(links.raw(), true);
        turn.attend(links.raw(), attend);
        heirs.links = Some(links);
    }
    heirs.links.as_ref().is_some_and(|links| links.add(line).is_ok())
}

/// After the fork, in the child: what its parent keeps for others is not its own. `turn`: its copy of the parent's stack, to
/// look at.
pub(crate) fn in_child(heirs: &mut Heirs, turn: Option<&mut Turn<'_>>, prepared: Option<Prepared>) {
    let mut before = core::mem::take(heirs);
    heirs.addresses = core::mem::take(&mut before.addresses);
    if let (Some(turn), Some(prepared)) = (turn, &prepared) {
        let names = |word: &Word| Some((*word, names::of(turn, word.file()?.socket()?)?));
        heirs.addresses.extend(prepared.words.iter().filter_map(names));
    }
    let links = before.links.iter().map(Links::raw);
    let lines = before.children.keys().copied();
    lines
        .chain(links)
        .chain(before.parent.iter().map(|p| p.raw()))
        .for_each(|fd| fdtable::protect(fd, false));
    pumps::in_child(&before);
    heirs.passed = passing::in_child(before);
    heirs.parent = prepared.map(|prepared| {
        let [_parents, own] = prepared.ends;
        fdtable::protect(own.raw(), true);
        Arc::new(own)
    });
}

/// The connection behind an inherited descriptor, which is this process's from now on.
///
/// # Errors
/// `Inherited` when the parent does not let it go: it ended, or another child was first. `Passed` when the keeper does not.
/// `NoStack` when this process can have none: the parent pumps it then, and the kernel's own calls do for this process.
pub(crate) fn claim(held: &Held) -> Result<(&'static Runtime, SocketId), Reason> {
    guard::shield();
    let claimed = claim_now(held);
    sharing::settle();
    claimed
}

/// Who asks for options has begun to use a connection: the socket behind an inherited one knows nothing of them. Whoever
/// cannot have it goes on as with one that he has not used.
pub(crate) fn claim_for_options(held: &Held) {
    if held.file.is(Flag::Inherited) {
        let _ = claim(held);
    }
}

fn claim_now(held: &Held) -> Result<(&'static Runtime, SocketId), Reason> {
    if held.file.kind() != Kind::Stream {
        return Err(Reason::Inherited);
    }
    // What a child gave back is here, whether the helper has looked or not.
    attend();
    // One question at a time: the answer is that of the question. Before all other locks.
    let _one = state::lock_claims();
    if let Some(is_here) = here(held).or_else(|| pumps::share(held.word)) {
        return Ok(is_here);
    }
    if held.file.is(Flag::Pumped) {
        // Since this thread has looked.
        return Err(Reason::NoStack);
    }
    if state::lock().heirs.debtors.contains_key(&held.word) {
        sharing::recall(held.word);
        if let Some(is_here) = here(held) {
            return Ok(is_here);
        }
    }
    let asked = who_to_ask(&state::lock().heirs, held.word).ok_or(Reason::Inherited)?;
    let runtime = match attach::runtime_or_silence() {
        Ok(runtime) => runtime,
        Err(reason) => {
            pumps::without_stack(held, &asked, reason);
            return Err(reason);
        }
    };
    let (line, name, refused) = match asked {
        Asked::Parent(line, name) => (line, name, Reason::Inherited),
        Asked::Keeper(name) => (passing::line(runtime, held.word)?, name, Reason::Passed),
    };
    let patience = if refused == Reason::Passed { KEEPERS } else { PATIENCE };
    let until = runtime.now() + PATIENCE;
    let got = ask(&line, name, patience).ok_or(refused).and_then(|(letter, lent)| {
        let (turn, id) = take_in(runtime, held.word.cookie(), &letter, until)?;
        Ok((turn, id, lent))
    });
    let (mut turn, id, lent) = match got {
        Ok(got) => got,
        Err(reason) => {
            if refused == Reason::Passed {
                passing::hang_up(&line);
                held.file.set(Flag::Away, false);
            }
            return Err(reason);
        }
    };
    // Until it hears this, the parent can take the connection back.
    let _ = line.send(&question(TAKEN, name), None);
    let mut state = state::lock();
    if refused == Reason::Passed {
        passing::holds(&mut state.heirs, &mut turn, held.word, line);
    } else if lent {
        state.heirs.borrowed.insert(held.word);
        sharing::listen(&mut state.heirs, &mut turn);
    }
    drop(state);
    held.file.set_socket(Some(id));
    [Flag::Inherited, Flag::Lent, Flag::Away].into_iter().for_each(|flag| held.file.set(flag, false));
    if !held.holds() {
        // Closed on another thread meanwhile.
        turn.close(id);
        return Err(Reason::Plain);
    }
    epoll::attached(&mut turn, held);
    Ok((runtime, id))
}

/// The connection, if this process has it, as it may since another thread has asked.
fn here(held: &Held) -> Option<(&'static Runtime, SocketId)> {
    let is_away = held.file.is(Flag::Inherited);
    Runtime::current().zip(held.socket()).filter(|_| !is_away)
}

/// Who has a connection, and how it calls that.
enum Asked {
    Parent(Arc<Link>, u64),
    Keeper(u64),
}

/// Who has an inherited connection; none where a child of ours has it.
fn who_to_ask(heirs: &Heirs, word: Word) -> Option<Asked> {
    if heirs.lent.contains(&word) {
        return None;
    }
    if let Some(passed) = heirs.passed.get(&word) {
        return Some(Asked::Keeper(passed.name));
    }
    Some(Asked::Parent(heirs.parent.clone()?, name_of(heirs, word)))
}

/// A connection that came as bytes becomes one of this process's stack; nothing is locked while that waits for frames.
///
/// # Errors
/// `NoRoom` when there are none until then, or what came cannot be here.
pub(crate) fn take_in(
    runtime: &'static Runtime,
    cookie: u64,
    letter: &[u8],
    until: Instant,
) -> Result<(Turn<'static>, SocketId), Reason> {
    loop {
        let mut turn = runtime.lock();
        // A stack that has just begun gets its frames as it turns.
        turn.poll();
        let now = turn.now();
        match turn.stack().import(now, &mut &letter[..], Taker::Application(cookie)) {
            Ok(arrived) => return Ok((turn, arrived.id)),
            Err(SocketError::NoBuffers) if now < until => {}
            Err(_) => return Err(Reason::NoRoom),
        }
        drop(turn);
        std::thread::sleep(AGAIN);
    }
}

/// The connection as bytes, and whether the parent holds it, too.
fn ask(parent: &Link, name: u64, patience: Duration) -> Option<(Vec<u8>, bool)> {
    parent.send(&question(CLAIM, name), None).ok()?;
    loop {
        // Answers to questions that were given up come first.
        let answer = parent.receive(patience).ok()??;
        let lent = answer.text == question(LENT, name);
        if lent || answer.text == question(CLAIM, name) {
            return Some((answer.enclosed?, lent));
        }
        sharing::note_down(&answer);
    }
}

/// How the parent calls a connection.
fn name_of(heirs: &Heirs, word: Word) -> u64 {
    heirs.names.get(&word).copied().unwrap_or(word.cookie())
}

/// A copy is closed that the parent knows by this name.
pub(crate) fn release_name(heirs: &Heirs, name: u64) {
    if let Some(parent) = &heirs.parent {
        // A parent that is gone has nothing to let go.
        let _ = parent.send(&question(RELEASE, name), None);
    }
}

/// A copy that was never used is closed; or one that a child has, of which the parent knows nothing.
pub(crate) fn release(heirs: &mut Heirs, word: Word) {
    heirs.addresses.remove(&word);
    let passed = passing::forget(heirs, word);
    heirs.debtors.remove(&word);
    if !heirs.lent.remove(&word) && passed.is_none() {
        release_name(heirs, name_of(heirs, word));
    }
}

/// The application closes a connection: whether it waits for heirs instead of ending.
pub(crate) fn keep(heirs: &mut Heirs, turn: &mut Turn<'_>, word: Word, id: SocketId) -> bool {
    if heirs.borrowed.remove(&word) && give_back(heirs, turn, word, id) {
        return true;
    }
    let wanted = is_wanted(heirs, word);
    if !wanted && passing::give_back(heirs, turn, word, id) {
        return true;
    }
    passing::forget(heirs, word);
    if wanted {
        // Nobody here is to be told of it any more.
        let _ = turn.stack().set_cookie(id, 0);
        heirs.parked.insert(word, id);
    }
    wanted
}

/// Whether a child may ask for it yet.
fn is_wanted(heirs: &Heirs, word: Word) -> bool {
    heirs.children.values().any(|child| child.words.contains(&word))
}

/// Whether a connection goes on in another process, as far as this one knows, when it is closed here.
pub(crate) fn is_others_too(word: Word) -> bool {
    let heirs = &state::lock().heirs;
    heirs.borrowed.contains(&word) || is_wanted(heirs, word) || is_passed(heirs, word)
}

/// A connection goes back to the parent. False when it cannot, or there is none.
fn give_back(heirs: &Heirs, turn: &mut Turn<'_>, word: Word, id: SocketId) -> bool {
    if heirs.parent.is_none() {
        return false;
    }
    let now = turn.now();
    let mut letter = Vec::new();
    if turn.stack().export(now, id, &mut letter).is_err() {
        return false;
    }
    if !send_back(heirs, name_of(heirs, word), &letter) {
        // There is no parent any more: it ends here.
        end(turn, &letter);
    }
    true
}

/// The parent has a connection back that is bytes already. False when there is no parent any more.
pub(crate) fn send_back(heirs: &Heirs, name: u64, letter: &[u8]) -> bool {
    let back = |parent: &Arc<Link>| parent.send(&question(BACK, name), Some(letter));
    heirs.parent.as_ref().is_some_and(|parent| back(parent).is_ok())
}

/// The process ends: what its parent may hold still goes back, and so does what was sent or came; what its children may
/// ask for yet is the keeper's.
pub(crate) fn give_all_back() {
    let Some(runtime) = Runtime::current() else { return };
    end_pumps(runtime);
    // What children have given back goes on.
    attend();
    let mut turn = runtime.lock();
    passing::suspend_all(&mut turn);
    let mut state = state::lock();
    for word in core::mem::take(&mut state.heirs.borrowed) {
        if let Some(id) = word.file().and_then(fdtable::File::socket) {
            give_back(&state.heirs, &mut turn, word, id);
        }
    }
    leaving::leave(&mut state.heirs, &mut turn);
}

/// The helper: children have asked for something, or ended.
pub(crate) fn attend() {
    let Some(runtime) = Runtime::current() else { return };
    let mut turn = runtime.lock();
    // How a connection ends depends on what has come for it.
    turn.poll();
    let mut state = state::lock();
    let (mut heard, mut parent_speaks) = (Heard::default(), false);
    for fd in state.heirs.links.as_ref().map(Links::ready).unwrap_or_default() {
        if let Some(word) = state.heirs.lines.get(&fd).copied() {
            passing::attend(&mut state, &mut turn, word);
        } else if state.heirs.parent.as_ref().is_some_and(|parent| parent.raw() == fd) {
            parent_speaks = true;
        } else if !state.heirs.packed {
            children::attend(&mut state.heirs, &mut turn, fd, &mut heard);
        }
    }
    let Heard { mut back, shared } = heard;
    shared.into_iter().for_each(|shared| sharing::begin(&mut state, &mut turn, shared));
    back.retain(|word| !passing::came_back(&mut state, &mut turn, *word));
    // Their waiters are told without the state's lock.
    let held = state.registry.in_range(0, libc::c_int::MAX);
    drop(state);
    for held in held.iter().filter(|held| back.contains(&held.word)) {
        epoll::attached(&mut turn, held);
    }
    drop(turn);
    if parent_speaks {
        sharing::attend_parent();
    }
}

/// What children have said that is more than a question.
#[derive(Default)]
struct Heard {
    /// They gave these back, which are open here.
    back: Vec<Word>,
    /// These are the keeper's from now on.
    shared: Vec<sharing::Shared>,
}

/// The child died before it had the connection that it was given.
fn end(turn: &mut Turn<'_>, letter: &[u8]) {
    let now = turn.now();
    if let Ok(back) = turn.stack().import(now, &mut &letter[..], Taker::Application(0)) {
        turn.close(back.id);
    }
}
