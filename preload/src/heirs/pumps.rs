//! Connections that stay in this process's stack while a process that has none uses them: a child that asks for it over its
//! line, because it may not have a stack (`sandbox`) or finds no place in the port, or this one itself. To the file here it is as if a child had the connection, but what
//! is done with it goes on, as with the kernel's sockets that several processes have.

use core::net::SocketAddr;
use core::sync::atomic::{AtomicU32, Ordering};
use std::sync::Arc;

use ringroad::link::{Link, Note};
use ringroad::pump::{Ends, Pump};
use ringroad::question::{PUMP, question};
use ringroad::runtime::Turn;
use ringroad::{Runtime, log};
use stack::plain::Plain;
use stack::types::SocketId;

use super::{Asked, Heirs, PATIENCE, is_wanted, names, passing, who_to_ask};
use crate::fdtable::{self, Flag, Held, Word};
use crate::reason::Reason;
use crate::{attach, epoll, pumped, state};

/// Both ends' addresses of a connection: here, and there.
pub(crate) type Names = (SocketAddr, SocketAddr);

/// In the child: has the parent pump an inherited connection to these ends.
pub(crate) fn ask_to_pump(held: &Held, ends: &Ends) -> Option<Names> {
    let _one = state::lock_claims();
    let Asked::Parent(line, name) = who_to_ask(&state::lock().heirs, held.word)? else { return None };
    ask(&line, name, ends)
}

fn ask(line: &Link, name: u64, ends: &Ends) -> Option<Names> {
    line.send_ends(&question(PUMP, name), ends).ok()?;
    names::answer(line, question(PUMP, name))
}

/// In the child: it can have no stack, since as many processes as may have one do. Its parent pumps the connection.
pub(super) fn without_stack(held: &Held, asked: &Asked, reason: Reason) {
    let Asked::Parent(line, name) = asked else { return attach::tell_why() };
    if reason != Reason::NoStack || attach::is_starting_here() {
        return;
    }
    let put = || {
        let ends = Ends::new().ok()?;
        let names = ask(line, *name, &ends)?;
        pumped::put(held, ends, names).ok()
    };
    if put().is_none() {
        attach::tell_why();
        log::tell(format_args!(
            "a connection that this process has inherited is lost: its parent does not let it go"
        ));
    }
}

/// Has this process pump a connection of its own, whose file is another from here on.
pub(crate) fn begin_own(held: &Held, ends: &Ends) -> Option<Names> {
    let (id, runtime) = (held.socket()?, Runtime::current()?);
    let mut turn = runtime.lock();
    let names = names::of(&mut turn, id)?;
    let word = fresh();
    let pump = Pump::for_own(id, word.cookie(), ends)?;
    turn.take_on(Arc::clone(&pump), move |turn| over(turn, word)).ok()?;
    let _ = turn.stack().set_cookie(id, word.cookie());
    let mut state = state::lock();
    passing::forget(&mut state.heirs, held.word);
    held.file.set_socket(None);
    epoll::left(&mut state, &mut turn, held.word);
    keep(&mut state.heirs, word, pump);
    Some(names)
}

/// In the parent: a child asks for that. The answer's enclosure.
pub(super) fn begin(heirs: &mut Heirs, turn: &mut Turn<'_>, word: Word, note: &mut Note) -> Option<Vec<u8>> {
    let parked = heirs.parked.get(&word).copied();
    let id = parked.or_else(|| word.file()?.socket())?;
    let mut text = Vec::new();
    names::of(turn, id)?.put(&mut text);
    // Of one that is closed here nobody is woken by its own word.
    let key = parked.map_or(word, |_| fresh());
    let pump = Pump::for_another(id, key.cookie(), note)?;
    turn.take_on(Arc::clone(&pump), move |turn| over(turn, word)).ok()?;
    let _ = turn.stack().set_cookie(id, key.cookie());
    heirs.parked.remove(&word);
    passing::forget(heirs, word);
    if let Some(file) = word.file() {
        file.set_socket(None);
        file.set(Flag::Lent, true);
        file.set(Flag::Inherited, true);
        heirs.lent.insert(word);
    }
    keep(heirs, word, pump);
    Some(text)
}

/// A name that no file has.
fn fresh() -> Word {
    static NEXT: AtomicU32 = AtomicU32::new(1 << 30);
    Word::without_file(NEXT.fetch_add(1, Ordering::Relaxed))
}

fn keep(heirs: &mut Heirs, word: Word, pump: Arc<Pump>) {
    pump.descriptors().into_iter().for_each(|fd| fdtable::protect(fd, true));
    heirs.pumps.insert(word, pump);
}

/// The connection behind a file that is pumped, for a call of this process's own; none if it is not.
pub(super) fn share(word: Word) -> Option<(&'static Runtime, SocketId)> {
    let pump = state::lock().heirs.pumps.get(&word).cloned()?;
    let runtime = Runtime::current()?;
    let (id, is_over) = pump.share(runtime, PATIENCE);
    if is_over {
        over(&mut runtime.lock(), word);
    }
    Some((runtime, id))
}

/// Before a fork: what a child has done with is this process's again, so that the next child can have it.
pub(crate) fn settle_ended() {
    if fdtable::any() {
        let all = |(word, pump): (&Word, &Arc<Pump>)| pump.has_ended().then_some(*word);
        let ended: Vec<Word> = state::lock().heirs.pumps.iter().filter_map(all).collect();
        ended.into_iter().for_each(|word| _ = share(word));
    }
}

/// The process ends, or executes another program: nobody is left to pump.
pub(crate) fn end_all(runtime: &Runtime) {
    let all: Vec<(Word, Arc<Pump>)> =
        state::lock().heirs.pumps.iter().map(|(word, pump)| (*word, Arc::clone(pump))).collect();
    for (word, pump) in all {
        pump.end(runtime, PATIENCE);
        over(&mut runtime.lock(), word);
    }
}

/// The connection is this process's alone again.
fn over(turn: &mut Turn<'_>, word: Word) {
    let mut state = state::lock();
    let heirs = &mut state.heirs;
    let Some(pump) = heirs.pumps.remove(&word) else { return };
    pump.descriptors().into_iter().for_each(|fd| fdtable::protect(fd, false));
    let open = heirs.lent.remove(&word).then(|| word.file()).flatten();
    if let Some(file) = open {
        file.set_socket(Some(pump.id()));
        file.set(Flag::Inherited, false);
        file.set(Flag::Lent, false);
        let held = state.registry.in_range(0, libc::c_int::MAX);
        drop(state);
        held.iter().filter(|held| held.word == word).for_each(|held| epoll::attached(turn, held));
    } else if is_wanted(heirs, word) {
        let _ = turn.stack().set_cookie(pump.id(), 0);
        heirs.parked.insert(word, pump.id());
    } else {
        turn.close(pump.id());
    }
}

/// After a fork, in the child: the parent pumps.
pub(super) fn in_child(before: &Heirs) {
    for pump in before.pumps.values() {
        pump.descriptors().into_iter().for_each(|fd| fdtable::protect(fd, false));
        pump.forked();
        // The parent's runtime has it, too: here it is never dropped.
        core::mem::forget(Arc::clone(pump));
    }
}

/// A process that is in a sandbox asks its parent for nothing any more.
pub(crate) fn leave_parent(heirs: &mut Heirs) {
    if let Some(parent) = heirs.parent.take() {
        heirs.unhear(&parent);
        fdtable::protect(parent.raw(), false);
    }
}
