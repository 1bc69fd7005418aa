//! A connection for a process that may not have a stack: one that has forbidden itself system calls (seccomp) or
//! descriptors. It has one end of a pair of Unix sockets for it, and the process that has the connection moves octets
//! between the other end and its stack.
//!
//! What was put into the pair stays in the connection's own queue, too, until it has been read from the pair: the window
//! tells the peer what the reader takes, and what the reader leaves behind is there for whoever uses the connection next,
//! as with a socket of the kernel's that several processes have. So the pump holds the reader's end, too, to see what is in
//! it; that the reader has closed it is told by a pipe whose other end only the reader has.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, ioctl_fionread};
use rustix::net::sockopt::set_socket_oobinline;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, Shutdown, SocketFlags, SocketType, recv, send, shutdown, socketpair,
};
use rustix::pipe::{PipeFlags, pipe_with};
use stack::error::{Fault, SocketError};
use stack::socket::{self, How};
use stack::types::{Readiness, SocketId};

use crate::link::Note;
use crate::port::aside;
use crate::runtime::{Runtime, Spin, Turn, Wait};

/// What is moved at a time.
const AT_ONCE: usize = 64 * 1024;
/// How soon it is looked whether the reader has read, while it has not read all, and how late at the most: nothing tells.
const SOON: Duration = Duration::from_millis(1);
const LATE: Duration = Duration::from_millis(128);

/// What belongs to one pump, before the two sides have theirs.
#[derive(Debug)]
pub struct Ends {
    near: OwnedFd,
    far: OwnedFd,
    life: OwnedFd,
    held: OwnedFd,
}

impl Ends {
    /// New ones, out of the application's way.
    ///
    /// # Errors
    /// The operating system's.
    pub fn new() -> io::Result<Self> {
        let (near, far) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        let (life, held) = pipe_with(PipeFlags::CLOEXEC)?;
        let [near, far, life, held] = [near, far, life, held].map(aside);
        Ok(Self { near, far, life, held })
    }

    /// What the pump needs: all but the pipe's end by which the reader lives.
    pub(crate) fn for_the_pump(&self) -> [BorrowedFd<'_>; 3] {
        [self.near.as_fd(), self.far.as_fd(), self.life.as_fd()]
    }

    /// The reader's: its end of the pair, and what it has open for as long as it has that.
    pub fn into_readers(self) -> (OwnedFd, OwnedFd) {
        (self.far, self.held)
    }
}

/// A connection that is pumped.
#[derive(Debug)]
pub struct Pump {
    /// The stack's socket.
    id: SocketId,
    /// Woken with this key, the cookie of the stack's socket.
    key: u64,
    near: OwnedFd,
    far: OwnedFd,
    life: OwnedFd,
    flow: Mutex<Flow>,
}

/// How far it is.
#[derive(Debug, Default)]
struct Flow {
    /// Octets at the front of the connection's queue that were put into the pair.
    handed: usize,
    /// The pair takes no more at present.
    near_full: bool,
    /// The connection takes no more at present.
    clogged: bool,
    /// The reader was told that the peer has ended.
    told_end: bool,
    /// The reader has ended its direction.
    heard_end: bool,
    /// The connection has failed.
    broken: bool,
    /// How long it is before the next look at what the reader has read.
    pause: Duration,
    /// Nobody pumps any more.
    over: bool,
}

impl Pump {
    /// A pump for a connection whose cookie is `key`, with the ends that another process has sent; none of what makes no
    /// sense.
    #[must_use]
    pub fn for_another(id: SocketId, key: u64, note: &mut Note) -> Option<Arc<Self>> {
        Some(Self::new(id, key, std::mem::take(&mut note.beside).try_into().ok()?))
    }

    /// A pump for this process itself.
    #[must_use]
    pub fn for_own(id: SocketId, key: u64, ends: &Ends) -> Option<Arc<Self>> {
        let [near, far, life] = ends.for_the_pump().map(|end| end.try_clone_to_owned().ok());
        Some(Self::new(id, key, [near?, far?, life?]))
    }

    fn new(id: SocketId, key: u64, ends: [OwnedFd; 3]) -> Arc<Self> {
        let [near, far, life] = ends.map(aside);
        // An urgent octet that the reader sends goes with the others.
        let _ = set_socket_oobinline(&near, true);
        Arc::new(Self { id, key, near, far, life, flow: Mutex::default() })
    }

    /// Its descriptors.
    #[must_use]
    pub fn descriptors(&self) -> [RawFd; 3] {
        [&self.near, &self.far, &self.life].map(AsRawFd::as_raw_fd)
    }

    /// What tells that there is something to do.
    pub(crate) fn watched(&self) -> [&OwnedFd; 2] {
        [&self.near, &self.life]
    }

    /// Closes them, in a child after a fork: nobody pumps there.
    pub fn forked(&self) {
        self.descriptors().into_iter().for_each(crate::port::close);
    }

    /// The connection for a call of this process's own, while the reader has it, too: what that has written is in its
    /// queue, what that has not read is at the front of it. Whether the pump is over with that.
    pub fn share(&self, runtime: &Runtime, patience: Duration) -> (SocketId, bool) {
        let over = self.drained(runtime, patience, |flow| {
            flow.over |= !self.lives() && !flow.clogged;
            flow.over
        });
        (self.id, over)
    }

    /// Nobody pumps from here on: what was written is in the connection, as far as that takes it within `patience`, and
    /// what was not read is, too.
    pub fn end(&self, runtime: &Runtime, patience: Duration) -> SocketId {
        self.drained(runtime, patience, |flow| flow.over = true);
        let _ = shutdown(&self.near, Shutdown::Both);
        self.id
    }

    /// Calls `then` when all that the reader has written is in the connection, or the time is up, and what it has not read
    /// is only there.
    fn drained<T>(&self, runtime: &Runtime, patience: Duration, then: impl FnOnce(&mut Flow) -> T) -> T {
        let until = runtime.now() + patience;
        loop {
            let mut flow = self.flow();
            let mut turn = runtime.lock();
            if self.outward(&mut turn, &mut flow) || runtime.now() >= until {
                self.recall(&mut turn, &mut flow);
                let told = then(&mut flow);
                if flow.over {
                    turn.dismiss(self.id);
                } else {
                    // There is more to put into the pair again.
                    turn.rouse(self.id);
                }
                return told;
            }
            drop(turn);
            drop(flow);
            let wait =
                Wait { deadline: Some(until), spin: Spin::Never, keys: &[self.key], ..Wait::default() };
            runtime.wait(wait, |turn| turn.stack().readiness(self.id).intersects(MAY_SEND).then_some(()));
        }
    }

    /// Whether the reader has closed its end.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        !self.lives()
    }

    /// The stack's socket.
    #[must_use]
    pub fn id(&self) -> SocketId {
        self.id
    }

    fn flow(&self) -> MutexGuard<'_, Flow> {
        self.flow.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether somebody has the reader's end.
    fn lives(&self) -> bool {
        let mut life = [PollFd::new(&self.life, PollFlags::IN)];
        !poll(&mut life, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
    }

    /// Does all there is to do at present, by the helper thread.
    pub(crate) fn step(&self, runtime: &Runtime) {
        let mut flow = self.flow();
        if flow.over {
            return;
        }
        // Before the looks: what it wrote before it ended is seen by them.
        let lives = self.lives();
        let before = flow.handed;
        let mut turn = runtime.lock_quietly();
        self.outward(&mut turn, &mut flow);
        self.inward(&mut turn, &mut flow);
        if !lives && (!flow.clogged || flow.broken) {
            flow.over = true;
            drop(flow);
            if let Some(over) = turn.dismiss(self.id) {
                over(&mut turn);
            }
            return;
        }
        flow.pause = if flow.handed == before { (flow.pause * 2).clamp(SOON, LATE) } else { SOON };
        let look = (lives && flow.handed > 0).then(|| turn.now() + flow.pause);
        turn.look_at(self.id, look);
    }

    /// What the reader has written goes into the connection. Whether all did.
    fn outward(&self, turn: &mut Turn<'_>, flow: &mut Flow) -> bool {
        flow.clogged = false;
        while !flow.broken {
            let Ok(waiting) = ioctl_fionread(&self.near) else { return self.fail(flow) };
            let waiting = usize::try_from(waiting).unwrap_or(AT_ONCE).min(AT_ONCE);
            if waiting == 0 {
                self.hear_end(turn, flow);
                return true;
            }
            let (now, mut dry) = (turn.now(), false);
            let mut fill = |room: &mut [u8]| {
                let most = room.len().min(waiting);
                // What is counted need not be there for a reader, as an urgent octet is not: nothing waits under this lock.
                match recv(&self.near, &mut room[..most], RecvFlags::DONTWAIT) {
                    Ok((_, n @ 1..)) => return Ok(n),
                    told => dry = matches!(told, Ok(_) | Err(Errno::AGAIN)),
                }
                Err(Fault)
            };
            let sent = turn.stack().send(now, self.id, waiting, socket::SendFlags::default(), &mut fill);
            if dry {
                self.hear_end(turn, flow);
                return true;
            }
            match sent {
                Ok(0) => return self.fail(flow),
                Ok(_) => {}
                Err(SocketError::WouldBlock) => {
                    flow.clogged = true;
                    return false;
                }
                Err(_) => return self.fail(flow),
            }
        }
        true
    }

    /// Whether the reader has ended its direction.
    fn hear_end(&self, turn: &mut Turn<'_>, flow: &mut Flow) {
        if flow.heard_end {
            return;
        }
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        if matches!(recv(&self.near, &mut [0u8; 1], flags), Ok((_, 0))) {
            flow.heard_end = true;
            let now = turn.now();
            // Of a connection that is over there is nothing to end.
            let _ = turn.stack().shutdown(now, self.id, How::Write);
        }
    }

    /// What has come goes into the pair, and what was read from there out of the connection's queue.
    fn inward(&self, turn: &mut Turn<'_>, flow: &mut Flow) {
        let unread =
            ioctl_fionread(&self.far).map_or(0, |unread| usize::try_from(unread).unwrap_or(usize::MAX));
        self.consume(turn, flow, unread);
        flow.near_full = false;
        while !flow.broken && !flow.told_end {
            let readiness = turn.stack().readiness(self.id);
            let queued = turn.stack().recv_queue(self.id).unwrap_or(0);
            if queued > flow.handed {
                match self.hand(turn, flow) {
                    Ok(_) => continue,
                    Err(Errno::AGAIN) => flow.near_full = true,
                    Err(_) => _ = self.fail(flow),
                }
                return;
            }
            if readiness.intersects(Readiness::ERR) {
                self.fail(flow);
            } else if readiness.intersects(Readiness::RDHUP) {
                flow.told_end = true;
                let _ = shutdown(&self.near, Shutdown::Write);
            }
            return;
        }
    }

    /// Puts more of the queue into the pair.
    fn hand(&self, turn: &mut Turn<'_>, flow: &mut Flow) -> rustix::io::Result<usize> {
        let (now, mut skip, mut handed) = (turn.now(), flow.handed, 0);
        let mut failed = None;
        let mut put = |piece: &[u8]| {
            let skipped = skip.min(piece.len());
            skip -= skipped;
            let piece = &piece[skipped..];
            if piece.is_empty() || failed.is_some() {
                return Ok(());
            }
            match send(&self.near, piece, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(taken) => {
                    handed += taken;
                    failed = (taken < piece.len()).then_some(Errno::AGAIN);
                }
                Err(error) => failed = Some(error),
            }
            Ok(())
        };
        let peek = socket::RecvFlags { peek: true, ..Default::default() };
        let seen = turn.stack().recv(now, self.id, flow.handed + AT_ONCE, peek, &mut put);
        flow.handed += handed;
        match (seen, failed) {
            (Err(_), _) => Err(Errno::CONNRESET),
            (Ok(_), Some(error)) => Err(error),
            (Ok(_), None) if handed == 0 => Err(Errno::CONNRESET),
            (Ok(_), None) => Ok(handed),
        }
    }

    /// What the reader has read is no longer in the connection's queue.
    fn consume(&self, turn: &mut Turn<'_>, flow: &mut Flow, unread: usize) {
        let read = flow.handed.saturating_sub(unread);
        flow.handed -= read;
        let skip = socket::RecvFlags { trunc: true, ..Default::default() };
        let (now, mut left) = (turn.now(), read);
        while left > 0 {
            match turn.stack().recv(now, self.id, left, skip, &mut |_| Ok(())) {
                Ok(n) if n > 0 => left -= n.min(left),
                _ => return,
            }
        }
    }

    /// Takes back what was not read.
    fn recall(&self, turn: &mut Turn<'_>, flow: &mut Flow) {
        let (mut room, mut unread) = (vec![0; AT_ONCE], 0);
        while let Ok((_, n @ 1..)) = recv(&self.far, &mut room[..], RecvFlags::DONTWAIT) {
            unread += n;
        }
        self.consume(turn, flow, unread);
        flow.handed = 0;
    }

    /// The connection has failed: the reader hears of an end.
    fn fail(&self, flow: &mut Flow) -> bool {
        flow.broken = true;
        let _ = shutdown(&self.near, Shutdown::Both);
        true
    }
}

/// The connection takes octets, or never will.
const MAY_SEND: Readiness = Readiness(Readiness::OUT.0 | Readiness::ERR.0 | Readiness::HUP.0);
