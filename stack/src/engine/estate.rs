//! What is nobody's any more when a process ends, for a stack that goes on with it: connections that the application
//! closed and that have something to deliver yet, and those in TIME-WAIT; and flows whose connections are on their way to
//! another stack, which are to be led somewhere until they are there.

use super::Stack;
use super::moving::Taker;
use super::time_wait::Record;
use crate::error::SocketError;
use crate::plain::Plain;
use crate::socket::Result;
use crate::time::Instant;
use crate::types::{FlowKey, Protocol};

/// What comes in a letter, by its first byte. A kind has another number whenever its bytes mean something else: what a
/// stack of another release left is refused then, not misread. (1 and 2 were these two while a record in TIME-WAIT had
/// a longer time of TS.Recent.)
const ORPHAN: u8 = 3;
const TIME_WAIT: u8 = 4;
const DEPARTED: u8 = 5;

impl Stack {
    /// Has everything leave that is nobody's, as bytes for [`Stack::inherit`], and answers its flows: they are to be
    /// led where the bytes go. What cannot travel stays.
    pub fn bequeath(&mut self, now: Instant, to: &mut Vec<u8>) -> Vec<FlowKey> {
        let mut flows = Vec::new();
        for id in self.orphaned() {
            let before = to.len();
            ORPHAN.put(to);
            match self.export(now, id, to) {
                Ok(key) => flows.push(key),
                Err(_) => to.truncate(before),
            }
        }
        while let Some((key, record)) = self.time_waits.take_oldest() {
            if !self.may_be_here(&key) {
                self.unsteer_flow(record.steered, key);
                continue;
            }
            TIME_WAIT.put(to);
            (key.local, key.remote).put(to);
            record.put(to);
            self.departed.note(now, key);
            flows.push(key);
        }
        flows
    }

    /// Flows that left and that nobody has taken yet, of those that the caller chooses: as bytes for [`Stack::inherit`],
    /// which is silent about them as this stack is, and has what arrives follow them.
    pub fn bequeath_departed(
        &self,
        mut choose: impl FnMut(&FlowKey) -> bool,
        to: &mut Vec<u8>,
    ) -> Vec<FlowKey> {
        let flows: Vec<FlowKey> = self.departed().filter(|key| choose(key)).collect();
        for key in &flows {
            DEPARTED.put(to);
            (key.local, key.remote).put(to);
        }
        flows
    }

    /// Takes the first thing off the front of what another stack has left.
    ///
    /// # Errors
    /// As [`Stack::import`]: after `NoBuffers` it is at the front still, and nothing is said to its peer for now.
    pub fn inherit(&mut self, now: Instant, from: &mut &[u8]) -> Result<()> {
        let mut rest = *from;
        let result = match u8::take(&mut rest) {
            Some(ORPHAN) => self.inherit_orphan(now, &mut rest),
            Some(TIME_WAIT) => self.inherit_time_wait(now, &mut rest),
            Some(DEPARTED) => self.inherit_departed(now, &mut rest),
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

    /// Whether nothing is left that anybody could ask for: no socket, and nobody to be told that one is over.
    pub fn is_over(&self) -> bool {
        self.table.is_empty() && self.time_waits.is_empty() && !self.busy()
    }

    /// Whether there is a connection with these ends, in whatever state.
    pub fn knows(&self, key: &FlowKey) -> bool {
        self.is_taken(key) || self.time_waits.find(key).is_some()
    }

    fn inherit_orphan(&mut self, now: Instant, from: &mut &[u8]) -> Result<()> {
        let Some((key, _)) = Self::who_arrives(from) else {
            *from = &[];
            return Err(SocketError::Invalid);
        };
        let result = self.import(now, from, Taker::Nobody).map(|_| ());
        // An end that is not here, or nonsense, or no room just now: the flow leads here already.
        if result.is_err() && !self.is_taken(&key) {
            self.departed.note(now, key);
        }
        result
    }

    fn inherit_departed(&mut self, now: Instant, from: &mut &[u8]) -> Result<()> {
        let Some((local, remote)) = Plain::take(from) else {
            *from = &[];
            return Err(SocketError::Invalid);
        };
        let key = FlowKey { protocol: Protocol::Tcp, local, remote };
        // It may have come here itself meanwhile.
        if !self.knows(&key) {
            self.departed.note(now, key);
        }
        Ok(())
    }

    fn inherit_time_wait(&mut self, now: Instant, from: &mut &[u8]) -> Result<()> {
        let read = |from: &mut &[u8]| {
            let (local, remote) = Plain::take(from)?;
            Some((FlowKey { protocol: Protocol::Tcp, local, remote }, Record::take(from)?))
        };
        let Some((key, mut record)) = read(from) else {
            *from = &[];
            return Err(SocketError::Invalid);
        };
        if self.is_taken(&key) {
            return Err(SocketError::AddressInUse);
        }
        if !self.may_be_here(&key) {
            self.departed.note(now, key);
            return Err(SocketError::AddressNotAvailable);
        }
        let bounds = (self.time_waits.latest_deadline(), now + self.core.config.tcp.time_wait);
        let Some(state) = record.state.arrived(bounds) else {
            self.departed.note(now, key);
            return Err(SocketError::Invalid);
        };
        record.state = state;
        self.make_way(&key);
        if self.time_waits.insert(record.state, &record.flow(key), true) {
            self.core.out.requests.push_back(crate::control::Request::SteerFlow(key));
        } else {
            self.core.stats.tcp_time_wait_overflow += 1;
            // It leads here, or will in a moment, and must not for ever.
            self.departed.note(now, key);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use nic::{Arena, Pool};

    use super::super::time_wait::TimeWaits;
    use super::*;
    use crate::config::{Config, Secrets};
    use crate::control::{ControlEvent, Request};
    use crate::hash::HashKey;
    use crate::tcp::TimeWait;
    use crate::types::IfaceId;

    /// A stack at 10.0.0.1 that has room for so many connections in TIME-WAIT.
    fn stack(room: u32) -> Stack {
        let pool = Pool::new(Arena::new(64, 2048).unwrap());
        let mut stack = Stack::new(Config::default(), pool, Secrets([7; 32]));
        let (now, iface) = (Instant::ZERO, IfaceId(1));
        let link = ControlEvent::Iface { iface, mac: [2; 6], mtu: 1500, up: true, tx_checksum: false };
        let (address, prefix) = ([10, 0, 0, 1].into(), 24);
        stack.control(now, link);
        stack.control(now, ControlEvent::Address { iface, address, prefix, deprecated: false });
        stack.time_waits = TimeWaits::new(HashKey::new([1; 16]), room);
        stack
    }

    /// Who dies leads its flows here: what cannot be taken must not lead here for ever.
    #[test]
    fn what_cannot_be_taken_leads_here_no_longer() {
        for (room, host, shift, answer) in [
            (0, 1, 0, Ok(())),
            (1, 1, 0, Ok(())),
            (1, 3, 0, Err(SocketError::AddressNotAvailable)),
            (1, 1, 15, Err(SocketError::Invalid)),
        ] {
            let mut stack = stack(room);
            let (local, remote) = (([10, 0, 0, host], 80).into(), ([10, 0, 0, 2], 4000).into());
            let key = FlowKey { protocol: Protocol::Tcp, local, remote };
            let (mut letter, now) = (Vec::new(), Instant::from_millis(1000));
            TIME_WAIT.put(&mut letter);
            (local, remote).put(&mut letter);
            let mut record = Record::default();
            record.state = TimeWait::until(now + Duration::from_secs(60));
            let mut state = Vec::new();
            record.state.put(&mut state);
            // The shift is the last of it.
            let shift_at = letter.len() + state.len() - 1;
            record.put(&mut letter);
            letter[shift_at] = shift;
            assert_eq!(stack.inherit(now, &mut &letter[..]), answer);
            stack.expire(now + Duration::from_secs(4));
            let taken = room > 0 && answer.is_ok();
            let lost = u64::from(room == 0);
            assert_eq!((stack.knows(&key), stack.stats().tcp_time_wait_overflow), (taken, lost));
            let requests: Vec<_> = core::iter::from_fn(|| stack.next_request()).collect();
            let request = if taken { Request::SteerFlow(key) } else { Request::UnsteerFlow(key) };
            assert_eq!(requests, [request], "room for {room}, for host {host}, shift {shift}");
        }
    }
}
