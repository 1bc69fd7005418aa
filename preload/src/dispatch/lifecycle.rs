//! Descriptors come and go: socket, close, dup and their relatives.

use core::sync::atomic::{Ordering, fence};

use libc::{AF_INET, AF_INET6, c_int, c_uint};
use ringroad::Runtime;
use ringroad::runtime::Turn;
use stack::types::SocketId;

use crate::errno::{Outcome, fail};
use crate::fdtable::{self, Flag, Held, Kind, Removed};
use crate::reason::Reason;
use crate::state::{self, State};
use crate::{epoll, heirs, kernel, options, pumped, stdio};

/// `socket`: a kernel socket, remembered if it could be accelerated one day.
pub(crate) fn socket(domain: c_int, kind: c_int, protocol: c_int) -> Outcome {
    let fd = kernel::socket(domain, kind, protocol)?;
    match classify(domain, kind & 0xf, protocol) {
        Ok(what) => {
            let nonblocking = kind & libc::SOCK_NONBLOCK != 0;
            remember(fd, what, |held| {
                held.file.set(Flag::NonBlocking, nonblocking);
                held.file.set(Flag::V6, domain == libc::AF_INET6);
                options::note_v6_only(held);
            });
        }
        Err(reason) => reason.count(),
    }
    Ok(fd as isize)
}

fn classify(domain: c_int, kind: c_int, protocol: c_int) -> Result<Kind, Reason> {
    match (domain, kind, protocol) {
        (AF_INET | AF_INET6, libc::SOCK_STREAM, 0 | libc::IPPROTO_TCP) => Ok(Kind::Stream),
        (AF_INET | AF_INET6, libc::SOCK_DGRAM, 0 | libc::IPPROTO_UDP) => Ok(Kind::Datagram),
        (AF_INET | AF_INET6, ..) => Err(Reason::Protocol),
        _ => Err(Reason::Plain),
    }
}

/// Hangs a new file on `fd`, which the kernel has just handed out.
pub(crate) fn remember(fd: c_int, kind: Kind, set_up: impl FnOnce(&Held)) -> Option<Held> {
    forget_stale(fd);
    let mut state = state::lock();
    let held = state.registry.create(fd, kind)?;
    if kind == Kind::Epoll {
        held.file.set_epoll(state.interests.create(held.word.index(), fd));
    }
    set_up(&held);
    Some(held)
}

/// The kernel has just handed out the number: a file that still hangs on it was closed behind our back.
pub(crate) fn forget_stale(fd: c_int) {
    if let Some(stale) = fdtable::get(fd) {
        forget(&stale);
    }
}

/// The descriptor is going: takes it out of the table, and ends the file if it was the last to name it.
pub(crate) fn forget(held: &Held) {
    if let Some(mut turn) = lock_for(held) {
        return forget_in(&mut turn, held);
    }
    // Another thread may just have attached it.
    if let (Some(id), Some(runtime)) = (unhang(held), Runtime::current()) {
        close_socket(&mut runtime.lock(), held, id);
    }
}

/// The runtime's lock, which comes before the state's, if the file has a socket there: from when it is out of the table
/// until its heirs may have it, no child is answered that there is nothing.
fn lock_for(held: &Held) -> Option<Turn<'static>> {
    held.file.socket().and_then(|_| Runtime::current()).map(Runtime::lock)
}

/// As [`forget`], for who holds the runtime's lock.
pub(crate) fn forget_in(turn: &mut Turn<'_>, held: &Held) {
    if let Some(id) = unhang(held) {
        close_socket(turn, held, id);
    }
}

/// Closes the stack's socket of a file that is gone, unless children have it, too.
fn close_socket(turn: &mut Turn<'_>, held: &Held, id: SocketId) {
    if !heirs::keep(&mut state::lock().heirs, turn, held.word, id) {
        turn.close(id);
    }
}

/// Takes a descriptor out of the table. The stack's socket, which is to be closed, if no other names the file.
fn unhang(held: &Held) -> Option<SocketId> {
    let mut state = state::lock();
    if state.registry.remove(held) == Removed::Shared {
        return None;
    }
    end(&mut state, held);
    if held.file.kind() != Kind::Epoll {
        held.file.set(Flag::Orphaned, true);
        fence(Ordering::SeqCst);
        if held.file.waiters() > 0 {
            return None;
        }
    }
    release(&mut state, held)
}

/// Frees the file's place in the table. The stack's socket, which is to be closed.
fn release(state: &mut State, held: &Held) -> Option<SocketId> {
    let inherited = held.file.is(Flag::Inherited);
    let socket = held.file.socket().filter(|_| !inherited);
    if inherited {
        heirs::release(&mut state.heirs, held.word);
    }
    if held.file.is(Flag::Pumped) {
        pumped::closed(held.word);
    }
    state.registry.release(held.word);
    socket
}

/// A call that waits on a file: the connection stays until it has left, also when its last descriptor is closed
/// meanwhile, as the kernel's files do.
pub(crate) struct Stay(Held);

impl Stay {
    pub(crate) fn new(held: &Held) -> Self {
        held.file.count_waiter(true);
        Self(*held)
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        let held = &self.0;
        let left = held.file.count_waiter(false);
        fence(Ordering::SeqCst);
        if left == 0 && held.file.is(Flag::Orphaned) {
            end_orphan(held);
        }
    }
}

#[cold]
fn end_orphan(held: &Held) {
    let turn = lock_for(held);
    let mut state = state::lock();
    // Another call may have come and gone, or the one that closed may have seen us leave.
    if held.word.file().is_none() || held.file.waiters() > 0 || !held.file.is(Flag::Orphaned) {
        return;
    }
    let socket = release(&mut state, held);
    drop(state);
    if let (Some(id), Some(mut turn)) = (socket, turn.or_else(|| Runtime::current().map(Runtime::lock))) {
        close_socket(&mut turn, held, id);
    }
}

fn end(state: &mut State, held: &Held) {
    state.interests.forget_file(held.word.index());
    state.groups.forget(held.word);
    if held.file.kind() == Kind::Epoll {
        state.interests.destroy(held.file.epoll());
        Runtime::forget_watched();
    }
}

/// `close`.
pub(crate) fn close(fd: c_int) -> Outcome {
    if fdtable::is_protected(fd) {
        return Err(fail(libc::EBADF));
    }
    let Some(held) = fdtable::get(fd) else { return Err(Reason::Plain.into()) };
    super::control::linger(&held);
    let listened = held.file.is(Flag::Listening);
    forget(&held);
    let closed = kernel::close(fd);
    if let (true, Some(runtime)) = (listened, Runtime::current()) {
        runtime.lock().closed();
    }
    Ok(closed?)
}

/// `dup`, and `fcntl(F_DUPFD)`.
pub(crate) fn dup(fd: c_int) -> Outcome {
    let held = super::held(fd)?;
    let new = kernel::dup(fd, false)?;
    state::lock().registry.alias(new, &held);
    stdio::take_standard(new);
    Ok(new as isize)
}

/// `dup2`.
pub(crate) fn dup2(old: c_int, new: c_int) -> Outcome {
    if old == new {
        return Err(Reason::Plain.into());
    }
    dup3(old, new, 0)
}

/// `dup3`: also over a descriptor that is open, which is closed then.
pub(crate) fn dup3(old: c_int, new: c_int, flags: c_int) -> Outcome {
    let legal = old != new && flags & !libc::O_CLOEXEC == 0;
    if !legal || !kernel::is_open(old) || fdtable::is_protected(old) {
        return Err(Reason::Plain.into());
    }
    if fdtable::is_protected(new) {
        return Err(fail(libc::EBUSY));
    }
    kernel::dup3(old, new, flags)?;
    if let Some(gone) = fdtable::get(new) {
        forget(&gone);
    }
    if let Some(held) = fdtable::get(old) {
        state::lock().registry.alias(new, &held);
        stdio::take_standard(new);
    }
    Ok(new as isize)
}

/// `close_range`: ours one by one, the library's own not at all, the rest by the kernel.
pub(crate) fn close_range(first: c_uint, last: c_uint, flags: c_int) -> Outcome {
    const ONLY_MARK: c_int = libc::CLOSE_RANGE_CLOEXEC as c_int;
    const UNSHARE: c_int = libc::CLOSE_RANGE_UNSHARE as c_int;
    if !fdtable::any() || first > last || flags & !(ONLY_MARK | UNSHARE) != 0 {
        return Err(Reason::Plain.into());
    }
    let clamp = |fd: c_uint| c_int::try_from(fd).unwrap_or(c_int::MAX);
    let (from, to) = (clamp(first), clamp(last));
    if flags & ONLY_MARK == 0 {
        let ours = state::lock().registry.in_range(from, to);
        ours.iter().for_each(forget);
    }
    let mut next = first;
    for fd in fdtable::protected(from, to) {
        let fd = fd as c_uint;
        if fd > next {
            kernel::close_range(next, fd - 1, flags)?;
        }
        next = fd + 1;
    }
    if next <= last {
        kernel::close_range(next, last, flags)?;
    }
    Ok(0)
}

/// `closefrom`.
pub(crate) fn closefrom(first: c_int) -> Outcome {
    close_range(first.max(0) as c_uint, c_uint::MAX, 0)
}

/// In the child after a fork: connections belong to the parent, everything else can begin anew here.
pub(crate) fn after_fork_in_child() {
    let state = state::lock();
    for (_, file) in state.registry.files() {
        // What the parent has lent, it has lent to another.
        file.set(Flag::Lent, false);
        if file.socket().is_some() {
            file.set_socket(None);
            let begins_anew = file.is(Flag::Listening) || file.kind() == Kind::Datagram;
            file.set(Flag::Inherited, !begins_anew);
        }
    }
    drop(state);
    epoll::after_fork_in_child();
}
