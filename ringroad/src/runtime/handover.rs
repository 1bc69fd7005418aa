//! What a process that closes a listener, or ends, has not accepted goes to those that hear the same end.
//!
//! Until another process says that a flow is its own, in the directory that the steering program reads, it is ours and
//! we are silent about it; so a letter that is lost with its reader costs what was in it and nothing else.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use af_xdp::Slot;
use stack::engine::Stack;
use stack::error::SocketError;
use stack::time::Instant;
use stack::types::{FlowKey, LocalKey, SocketId};

use super::core::Core;
use super::steer::Steer;
use crate::port::Post;

/// How often to look whether the kernel still knows a listener that no process of the port hears.
const LOOK: Duration = Duration::from_millis(100);
/// Processes that a letter may go through: each found nobody who listens.
const HOPS_MOST: u8 = 8;
/// The first byte of a letter of this kind; the second counts hops.
const UNACCEPTED: u8 = 1;
const HEAD: usize = 2;

/// Letters to and fro.
#[derive(Default)]
pub(super) struct Handover {
    post: Option<Post>,
    /// Whose box was full.
    outbox: Vec<(Slot, Vec<u8>, Vec<FlowKey>)>,
    /// Letters of which something was not taken yet: their reader may end before it reads them.
    kept: Vec<Kept>,
    /// What there was no room for.
    inbox: Vec<Vec<u8>>,
    /// Who is next.
    turn: u8,
    looked: Instant,
}

/// A letter that went out.
struct Kept {
    to: Slot,
    addressee: u64,
    letter: Vec<u8>,
    /// What nobody has taken.
    flows: Vec<FlowKey>,
}

impl Handover {
    pub(super) fn with(post: Option<Post>) -> Self {
        Self { post, ..Self::default() }
    }

    /// Whether letters wait for room, here or there.
    fn is_stuck(&self) -> bool {
        !self.outbox.is_empty() || !self.inbox.is_empty() || !self.kept.is_empty()
    }

    fn send(&mut self, to: Slot, letter: Vec<u8>, flows: Vec<FlowKey>) {
        let Some(post) = &self.post else { return };
        match post.send(to, &letter) {
            Ok(_) if flows.is_empty() => {}
            Ok(addressee) => self.kept.push(Kept { to, addressee, letter, flows }),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.outbox.push((to, letter, flows)),
            Err(error) => tracing::debug!(to, %error, "a letter was lost"),
        }
    }

    /// Sends what found no room, and what its reader did not live to read.
    fn send_again(&mut self, steer: &dyn Steer) {
        for (to, letter, flows) in std::mem::take(&mut self.outbox) {
            self.send(to, letter, flows);
        }
        for mut kept in std::mem::take(&mut self.kept) {
            kept.flows.retain(|flow| steer.holds(flow));
            let Some(first) = kept.flows.first() else { continue };
            let home = self.post.as_ref().is_some_and(|post| post.is_home(kept.to, kept.addressee));
            match if home { None } else { self.mate(steer, first.local) } {
                Some(mate) => self.send(mate, kept.letter, kept.flows),
                None => self.kept.push(kept),
            }
        }
    }

    /// Another process that hears what is sent to `local`, each in its turn.
    fn mate(&mut self, steer: &dyn Steer, local: SocketAddr) -> Option<Slot> {
        let post = self.post.as_ref()?;
        let others = steer.hearers(local) & !(1 << post.slot());
        let mates: Vec<Slot> = (0..64).filter(|s| others & 1 << s != 0 && post.is_inhabited(*s)).collect();
        self.turn = self.turn.wrapping_add(1);
        mates.get(usize::from(self.turn) % mates.len().max(1)).copied()
    }
}

impl Core {
    /// The descriptor that is readable when a letter has come.
    pub(super) fn letters_fd(&self) -> Option<i32> {
        self.handover.post.as_ref().map(Post::fd)
    }

    /// The application closes a socket. A listener stays for what waits in it, where others could take that.
    pub(crate) fn close(&mut self, now: Instant, id: SocketId) {
        if self.handover.post.is_none() || self.stack.leave(now, id).is_err() {
            let _ = self.stack.close(now, id);
            return;
        }
        self.pulse.moves(true);
        self.drain();
        self.handover.looked = Instant::ZERO;
        self.hand_over(now);
    }

    /// The process ends: every listener closes.
    pub(super) fn leave(&mut self, now: Instant) {
        if self.handover.post.is_some() {
            self.stack.leave_all(now);
            self.drain();
        }
    }

    /// Hands over what can be, and gives up what nobody will take.
    pub(super) fn hand_over(&mut self, now: Instant) {
        self.handover.send_again(&*self.steer);
        if self.stack.has_leavers() {
            let (handover, steer) = (&mut self.handover, &*self.steer);
            let mut flows: BTreeMap<Slot, Vec<FlowKey>> = BTreeMap::new();
            // A flow that another stack has meanwhile is not ours to give: its peer asked twice, and was heard twice.
            let letters = self.stack.hand_over(now, |key| {
                let to = if steer.holds(key) { handover.mate(steer, key.local) } else { None };
                to.inspect(|to| flows.entry(*to).or_default().push(*key))
            });
            for (to, body) in letters {
                self.handover.send(to, headed(0, &body), flows.remove(&to).unwrap_or_default());
            }
            if now.since(self.handover.looked) >= LOOK {
                self.handover.looked = now;
                self.give_up(now);
            }
        }
        for rest in std::mem::take(&mut self.handover.inbox) {
            self.open(now, &rest);
        }
        self.pulse.moves(self.stack.has_leavers() || self.handover.is_stuck());
    }

    /// Ends the listeners that nobody else hears, unless the kernel knows one there: then some process holds it and
    /// may come yet (a server that is about to start its new workers).
    fn give_up(&mut self, now: Instant) {
        for (id, key) in self.stack.leavers() {
            let hope = self.is_heard(&key) || self.stack.waiting(id) > 0 && kernel_listens(key.port);
            if !hope {
                self.stack.give_up(now, id);
            }
        }
    }

    /// Whether another process hears what is sent to `key`.
    fn is_heard(&mut self, key: &LocalKey) -> bool {
        let ends = self.steer.ends(key);
        ends.into_iter().any(|local| self.handover.mate(&*self.steer, local).is_some())
    }

    /// The kernel's socket of a listener that was [closed](Core::close) is closed, too: what no process holds any more
    /// is given up now.
    pub(crate) fn settle_leavers(&mut self, now: Instant) {
        if self.stack.has_leavers() {
            self.handover.looked = Instant::ZERO;
            self.hand_over(now);
        }
    }

    /// Whether something has to be handed over yet, or nobody has taken it.
    pub(super) fn is_handing_over(&self) -> bool {
        let waits = self.stack.leavers().iter().any(|(id, _)| self.stack.waiting(*id) > 0);
        waits || self.handover.is_stuck() || self.stack.departed().any(|key| self.steer.holds(&key))
    }

    /// Reads the letters that have come.
    pub(super) fn read_letters(&mut self, now: Instant) {
        while let Some(letter) = self.handover.post.as_ref().and_then(Post::receive) {
            self.open(now, &letter);
        }
        self.pulse.moves(self.stack.has_leavers() || self.handover.is_stuck());
    }

    fn open(&mut self, now: Instant, letter: &[u8]) {
        let [UNACCEPTED, hops, body @ ..] = letter else { return };
        let mut rest = body;
        while !rest.is_empty() {
            let before = rest;
            match self.stack.take_over(now, &mut rest) {
                Ok(()) => {}
                Err(SocketError::NoBuffers) => {
                    self.handover.inbox.push(headed(*hops, rest));
                    return;
                }
                Err(SocketError::ConnectionRefused) if *hops < HOPS_MOST => {
                    let item = &before[..before.len() - rest.len()];
                    let to = Stack::end_of(item).and_then(|local| self.handover.mate(&*self.steer, local));
                    if let Some(to) = to {
                        self.handover.send(to, headed(hops + 1, item), Vec::new());
                    }
                }
                Err(error) => tracing::debug!(%error, "what another process had was not taken"),
            }
        }
    }
}

fn headed(hops: u8, body: &[u8]) -> Vec<u8> {
    let mut letter = Vec::with_capacity(HEAD + body.len());
    letter.extend([UNACCEPTED, hops]);
    letter.extend_from_slice(body);
    letter
}

/// Whether the kernel has a listening socket at this port, whoever holds it.
fn kernel_listens(port: u16) -> bool {
    ["/proc/self/net/tcp", "/proc/self/net/tcp6"]
        .iter()
        .filter_map(|path| std::fs::read_to_string(path).ok())
        .any(|table| table.lines().any(|line| is_listener_at(line, port)))
}

/// A line of proc_pid_net_tcp(5): `sl: local_address remote_address state …`, in hexadecimal.
fn is_listener_at(line: &str, port: u16) -> bool {
    const LISTEN: &str = "0A";
    let mut words = line.split_ascii_whitespace().skip(1);
    let (Some(local), Some(_), Some(state)) = (words.next(), words.next(), words.next()) else {
        return false;
    };
    let at = local.rsplit_once(':').and_then(|(_, port)| u16::from_str_radix(port, 16).ok());
    state == LISTEN && at == Some(port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_known_by_its_state_and_port() {
        let line = "   0: 0100007F:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000  0 0 1 1";
        assert!(is_listener_at(line, 80));
        assert!(!is_listener_at(line, 81));
        assert!(!is_listener_at(&line.replace(" 0A ", " 01 "), 80));
        assert!(!is_listener_at("  sl  local_address rem_address   st", 80));
    }

    #[test]
    fn the_kernel_tells_who_listens() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(kernel_listens(port));
        drop(listener);
        assert!(!kernel_listens(port));
    }
}
