//! A listener goes while connections wait in it that nobody accepted. Where other stacks hear the same end they are
//! theirs to accept (Linux has one queue for all who share a socket, and tcp_migrate_req for those who share a port):
//! handshakes and connections leave as bytes, and until all have left the listener goes on by itself, so that what was
//! under way to it is not refused.

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::BTreeMap;

use super::Stack;
use super::entry::{Body, Entry, Stage};
use super::moving::Taker;
use crate::control::Request as ControlRequest;
use crate::error::SocketError;
use crate::plain::Plain;
use crate::socket::Result;
use crate::tcp::{Request, State};
use crate::time::Instant;
use crate::types::{FlowKey, LocalKey, Protocol, SocketId};

/// For so long a listener that is empty goes on at least: what was steered to it may not have been read yet.
const AFTERGLOW: Duration = Duration::from_secs(1);
/// After this nobody will come for what waits in it.
const PATIENCE: Duration = Duration::from_secs(3);

/// What comes in a letter, by its first byte. A kind has another number whenever its bytes mean something else, as in
/// `estate`. (1 and 2 were these two before handshakes had the headers of their SYN with them; 4 was a connection before it was known
/// how often it has waited.)
const HANDSHAKE: u8 = 3;
const CONNECTION: u8 = 5;

impl Stack {
    /// The application closes a listener, and others may take what waits in it: see [`Stack::hand_over`]. Nothing new
    /// is steered to it.
    ///
    /// # Errors
    /// `BadSocket`; `Invalid` when it is no listener.
    pub fn leave(&mut self, now: Instant, id: SocketId) -> Result<()> {
        let entry = self.owned_mut(id)?;
        let listener = entry.listener_mut().ok_or(SocketError::Invalid)?;
        (listener.leaves, listener.empty_at) = (Some(now), now);
        let key = listener.key;
        entry.cookie = 0;
        self.unsteer_port(id, key);
        self.leavers.push(id);
        if self.crowds.open(&key).len() > 1 {
            // Others here share the end: what comes from now on is theirs.
            self.crowds.set_open(&key, id, false);
            self.refront(&key);
        }
        Ok(())
    }

    /// [`Stack::leave`] for every listener, as the end of a process has it.
    pub fn leave_all(&mut self, now: Instant) {
        let listener = |entry: &Entry| matches!(entry.body, Body::Listener(_));
        let ids: Vec<SocketId> =
            self.table.iter().filter(|(_, entry)| listener(entry)).map(|(id, _)| id).collect();
        for id in ids {
            // Those that leave already are nobody's to close.
            let _ = self.leave(now, id);
        }
    }

    /// The listeners that leave, with the ends that they heard.
    pub fn leavers(&self) -> Vec<(SocketId, LocalKey)> {
        let key = |id: &SocketId| match &self.table.get(*id)?.body {
            Body::Listener(listener) => Some((*id, listener.key)),
            _ => None,
        };
        self.leavers.iter().filter_map(key).collect()
    }

    /// Whether a listener leaves.
    pub fn has_leavers(&self) -> bool {
        !self.leavers.is_empty()
    }

    /// How many handshakes and connections wait in a listener.
    pub fn waiting(&self, id: SocketId) -> usize {
        match self.table.get(id).map(|entry| &entry.body) {
            Some(Body::Listener(listener)) => listener.queue.len() + listener.requests as usize,
            _ => 0,
        }
    }

    /// Whether a listener that leaves is worth keeping where nobody else hears yet, in case somebody comes: something waits in it,
    /// or may have been steered to it and not been read yet.
    pub fn may_wait(&self, now: Instant, id: SocketId) -> bool {
        let Some(Body::Listener(listener)) = self.table.get(id).map(|entry| &entry.body) else {
            return false;
        };
        self.waiting(id) > 0 || listener.leaves.is_some_and(|left| now.since(left) < AFTERGLOW)
    }

    /// Nobody will take what waits in a listener that leaves: it ends, as [`Stack::close`] has it.
    pub fn give_up(&mut self, now: Instant, id: SocketId) {
        if let Some(at) = self.leavers.iter().position(|leaver| *leaver == id) {
            self.leavers.swap_remove(at);
            self.stop_listening(now, id);
            self.remove(id);
        }
    }

    /// Who listens where another leaves has what waits there.
    pub(super) fn succeed_leaver(&mut self, key: &LocalKey, id: SocketId) {
        let Some((old, _)) = self.leavers().into_iter().find(|(_, end)| end == key) else { return };
        let handshakes = self.requests.bequeath(old, id);
        let Some(gone) = self.table.get_mut(old).and_then(Entry::listener_mut) else { return };
        let queue = core::mem::take(&mut gone.queue);
        gone.requests = 0;
        for child in &queue {
            if let Some(connection) = self.table.get_mut(*child).and_then(Entry::connection_mut) {
                connection.stage = Stage::Queued(id, 0);
            }
        }
        if let Some(listener) = self.table.get_mut(id).and_then(Entry::listener_mut) {
            listener.requests += handshakes;
            listener.queue.extend(queue);
        }
        self.offer_later(id);
        self.wake(id);
        self.leavers.retain(|leaver| *leaver != old);
        self.crowds.leave(key, old);
        self.refront(key);
        self.remove(old);
    }

    /// What waits in listeners that leave goes: `address` says to whom, for each flow; none: it stays for now. Answers
    /// a letter for each, for [`Stack::take_over`] there.
    pub fn hand_over(
        &mut self,
        now: Instant,
        mut address: impl FnMut(&FlowKey) -> Option<u8>,
    ) -> BTreeMap<u8, Vec<u8>> {
        let mut letters = BTreeMap::new();
        for id in self.leavers.clone() {
            self.hand_over_handshakes(now, id, &mut address, &mut letters);
            self.hand_over_queue(now, id, &mut address, &mut letters);
            if self.waiting(id) == 0
                && let Some(listener) = self.table.get_mut(id).and_then(Entry::listener_mut)
            {
                listener.empty_at = now;
            }
        }
        letters
    }

    pub(super) fn hand_over_queue(
        &mut self,
        now: Instant,
        id: SocketId,
        address: &mut impl FnMut(&FlowKey) -> Option<u8>,
        letters: &mut BTreeMap<u8, Vec<u8>>,
    ) {
        let Some(listener) = self.table.get_mut(id).and_then(Entry::listener_mut) else { return };
        let leaves = listener.leaves.is_some();
        let mut stays = core::mem::take(&mut listener.queue);
        for child in core::mem::take(&mut stays) {
            let Some(connection) = self.table.get(child).and_then(Entry::connection) else { continue };
            let (key, over) = (connection.tcb.flow.key, connection.tcb.state == State::Closed);
            let times = if let Stage::Queued(_, times) = connection.stage { times } else { 0 };
            if leaves && (over || !connection.attached) {
                // Who accepts it learns nothing but that it is over.
                self.remove(child);
                continue;
            }
            let to = if self.may_travel(child) { address(&key) } else { None };
            match to.map(|to| letters.entry(to).or_default()) {
                Some(letter) => {
                    (CONNECTION, times.saturating_add(1)).put(letter);
                    let _ = self.export(now, child, letter);
                }
                None => stays.push_back(child),
            }
        }
        if let Some(listener) = self.table.get_mut(id).and_then(Entry::listener_mut) {
            listener.queue = stays;
        }
    }

    fn hand_over_handshakes(
        &mut self,
        now: Instant,
        id: SocketId,
        address: &mut impl FnMut(&FlowKey) -> Option<u8>,
        letters: &mut BTreeMap<u8, Vec<u8>>,
    ) {
        if self.table.get_mut(id).and_then(Entry::listener_mut).is_none_or(|l| l.requests == 0) {
            return;
        }
        for (key, request) in self.requests.of(id) {
            if self.is_at_home(&key) {
                continue;
            }
            let Some(letter) = address(&key).map(|to| letters.entry(to).or_default()) else { continue };
            HANDSHAKE.put(letter);
            (key.local, key.remote).put(letter);
            request.put(letter);
            self.saved_syns.of(&key).to_vec().put(letter);
            self.saved_syns.forget(&key);
            self.requests.depart(&key);
            self.departed.note(now, key);
            if let Some(listener) = self.table.get_mut(id).and_then(Entry::listener_mut) {
                listener.requests -= 1;
            }
        }
    }

    /// Takes the first of what another stack's listener had, off the front of a letter of [`Stack::hand_over`].
    ///
    /// # Errors
    /// As [`Stack::import`]; `ConnectionRefused` when nobody listens there any more: it is off the front, and can be
    /// sent on.
    pub fn take_over(&mut self, now: Instant, from: &mut &[u8]) -> Result<()> {
        let mut rest = *from;
        let result = match u8::take(&mut rest) {
            Some(HANDSHAKE) => self.take_handshake(now, &mut rest),
            Some(CONNECTION) => self.take_connection(now, &mut rest),
            _ => {
                rest = &[];
                Err(SocketError::Invalid)
            }
        };
        if result != Err(SocketError::NoBuffers) {
            *from = rest;
        }
        result
    }

    /// As [`Stack::take_over`], where nobody listens any more and somebody may come yet: what is taken waits in a listener that
    /// leaves.
    ///
    /// # Errors
    /// As there, and of making the listener.
    pub fn take_in(&mut self, now: Instant, from: &mut &[u8]) -> Result<()> {
        let local = Self::end_of(from).ok_or(SocketError::Invalid)?;
        let id = self.tcp_socket(0)?;
        let made = self.bind(id, local).and_then(|()| self.listen(id, u32::MAX));
        if let Err(error) = made {
            let _ = self.close(now, id);
            return Err(error);
        }
        let taken = self.take_over(now, from);
        self.leave(now, id)?;
        taken
    }

    /// Our end of the flow that is first in a letter; none when that makes no sense.
    pub fn end_of(mut letter: &[u8]) -> Option<SocketAddr> {
        match u8::take(&mut letter)? {
            HANDSHAKE => SocketAddr::take(&mut letter),
            CONNECTION => Self::who_arrives(letter.get(1..)?).map(|(key, _)| key.local),
            _ => None,
        }
    }

    fn take_connection(&mut self, now: Instant, from: &mut &[u8]) -> Result<()> {
        let Some((times, (key, behind))) = u8::take(from).zip(Self::who_arrives(from)) else {
            *from = &[];
            return Err(SocketError::Invalid);
        };
        let Some(listener) = self.hears(&key) else {
            *from = behind;
            return Err(SocketError::ConnectionRefused);
        };
        self.import(now, from, Taker::Listener(listener, times)).map(|_| ())
    }

    fn take_handshake(&mut self, now: Instant, from: &mut &[u8]) -> Result<()> {
        let read = |from: &mut &[u8]| {
            let (local, remote) = Plain::take(from)?;
            let request = Request::take(from)?.arrived(now)?;
            let syn: Vec<u8> = Plain::take(from)?;
            Some((FlowKey { protocol: Protocol::Tcp, local, remote }, request, syn))
        };
        let Some((key, request, syn)) = read(from) else {
            *from = &[];
            return Err(SocketError::Invalid);
        };
        if !self.may_be_here(&key) {
            return Err(SocketError::AddressNotAvailable);
        }
        if self.is_taken(&key) {
            return Err(SocketError::AddressInUse);
        }
        let listener = self.hears(&key).ok_or(SocketError::ConnectionRefused)?;
        if self.requests.arrive(&key, request, listener) {
            self.make_way(&key);
            self.saved_syns.arrive(&key, &syn);
            self.core.out.requests.push_back(ControlRequest::SteerFlow(key));
            if let Some(listener) = self.table.get_mut(listener).and_then(Entry::listener_mut) {
                listener.requests += 1;
            }
        }
        Ok(())
    }

    /// The listener for a flow that comes from another stack: one that stays.
    fn hears(&self, key: &FlowKey) -> Option<SocketId> {
        let id = self.listener_for(key)?;
        let Body::Listener(listener) = &self.table.get(id)?.body else { return None };
        listener.leaves.is_none().then_some(id)
    }

    /// When the next listener that leaves has to be looked at.
    pub(super) fn leavers_deadline(&self) -> Instant {
        let deadline = |id: &SocketId| {
            let Body::Listener(listener) = &self.table.get(*id)?.body else { return None };
            if self.waiting(*id) > 0 {
                return Some(listener.empty_at + PATIENCE);
            }
            let afterglow = listener.leaves? + AFTERGLOW;
            Some(if self.time_waits.is_empty() {
                afterglow
            } else {
                afterglow.max(self.time_waits.next_deadline())
            })
        };
        self.leavers.iter().filter_map(deadline).min().unwrap_or(Instant::NEVER)
    }

    /// Ends the listeners that have left, or waited for long enough. While connections are in TIME-WAIT here, whoever
    /// uses their ends again is steered here, too, and has to be heard.
    pub(super) fn expire_leavers(&mut self, now: Instant) {
        for id in self.leavers.clone() {
            let waits = self.waiting(id) > 0;
            let Some(listener) = self.table.get_mut(id).and_then(Entry::listener_mut) else { continue };
            let (left, empty_at) = (listener.leaves.unwrap_or(now), listener.empty_at);
            let over = match waits {
                true => now.since(empty_at) >= PATIENCE,
                false => now.since(left) >= AFTERGLOW && self.time_waits.is_empty(),
            };
            if over {
                self.give_up(now, id);
            }
        }
    }
}
