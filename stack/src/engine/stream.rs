//! Calls on a TCP connection.

use super::Stack;
use super::entry::{Body, Connection, Entry, Stage};
use super::settle::settled;
use crate::error::{Fault, SocketError};
use crate::socket::{RecvFlags, Result, SendFlags};
use crate::tcp::{State, call};
use crate::time::Instant;
use crate::types::{FlowKey, Readiness, SocketId};

/// MSG_OOB: the urgent octet, if there is room for it and somebody wants it.
fn urgent_octet(
    connection: &mut Connection,
    want: usize,
    flags: RecvFlags,
    sink: &mut dyn FnMut(&[u8]) -> core::result::Result<(), Fault>,
) -> Result<usize> {
    let octet = call::recv_urgent(&mut connection.tcb, flags.peek)?;
    match octet {
        Some(octet) if want > 0 => {
            if !flags.trunc {
                sink(&[octet])?;
            }
            Ok(1)
        }
        _ => Ok(0),
    }
}

impl Stack {
    pub(super) fn send_stream(
        &mut self,
        now: Instant,
        id: SocketId,
        len: usize,
        flags: SendFlags,
        source: &mut dyn FnMut(&mut [u8]) -> core::result::Result<usize, Fault>,
    ) -> Result<usize> {
        let entry = self.table.get_mut(id).filter(|e| e.is_owned()).ok_or(SocketError::BadSocket)?;
        let Some(connection) = entry.connection_mut() else {
            if let Body::Deferred(remote) = entry.body {
                return self.send_deferred(now, id, remote, len, source);
            }
            // Linux: EPIPE on a stream that was never connected.
            return Err(self.take_error(id).unwrap_or(SocketError::BrokenPipe));
        };
        let gather = self.gather;
        let (tcb, env) = (&mut connection.tcb, &mut self.core.env(now, gather));
        let result = match flags.oob {
            false => call::send(tcb, env, len, flags.more, source),
            true => call::send_urgent(tcb, env, len, flags.more, source),
        };
        if !settled(entry, id, (&mut self.wakes, &mut self.wheel), &mut self.journal) {
            self.settle(id);
        }
        if gather {
            self.mark_dirty(id);
        }
        result
    }

    pub(super) fn recv_stream(
        &mut self,
        now: Instant,
        id: SocketId,
        want: usize,
        flags: RecvFlags,
        sink: &mut dyn FnMut(&[u8]) -> core::result::Result<(), Fault>,
    ) -> Result<usize> {
        let Some(entry) = self.table.get_mut(id) else { return Err(SocketError::BadSocket) };
        let listens = matches!(entry.body, Body::Listener(_));
        let Some(connection) = entry.connection_mut() else {
            // Linux: who was never connected has no urgent data either, but a listener.
            let none = flags.oob && !listens;
            let usual = if none { SocketError::Invalid } else { SocketError::NotConnected };
            return Err(self.take_error(id).filter(|_| !none).unwrap_or(usual));
        };
        if flags.oob {
            return urgent_octet(connection, want, flags, sink);
        }
        let mut env = self.core.env(now, false);
        let result = if flags.trunc {
            call::recv(&mut connection.tcb, &mut env, want, flags.peek, |_: &[u8]| Ok(()))
        } else {
            call::recv(&mut connection.tcb, &mut env, want, flags.peek, sink)
        };
        if !settled(entry, id, (&mut self.wakes, &mut self.wheel), &mut self.journal) {
            self.settle(id);
        }
        result
    }

    pub(super) fn close_stream(&mut self, now: Instant, id: SocketId, abort: bool) {
        let Some(connection) = self.table.get_mut(id).and_then(Entry::connection_mut) else { return };
        connection.stage = Stage::Orphan;
        self.orphans += 1;
        let mut env = self.core.env(now, false);
        if abort {
            call::abort(&mut connection.tcb, &mut env);
        } else {
            call::close(&mut connection.tcb, &mut env);
        }
        self.settle(id);
    }

    pub(super) fn stream_readiness(connection: &Connection, entry: &Entry) -> Readiness {
        let mut ready = connection.tcb.readiness();
        let low_water = entry.options.recv_low_water;
        if low_water > 1
            && ready.contains(Readiness::IN)
            && !ready.intersects(Readiness::RDHUP | Readiness::HUP)
            && !connection.tcb.has_enough(low_water)
        {
            ready = ready.without(Readiness::IN);
        }
        ready
    }

    /// Closes every socket that the application still holds, as the end of a process does.
    pub fn close_all(&mut self, now: Instant) {
        let ids: Vec<SocketId> = self.table.iter().map(|(id, _)| id).collect();
        for id in ids {
            // Orphans and connections that wait for accept are nobody's to close: the latter go with their
            // listener.
            let _ = self.close(now, id);
        }
    }

    /// Resets every connection (the process dies): one RST each, then no sockets are left.
    pub fn reset_all(&mut self, now: Instant) {
        let ids: Vec<SocketId> = self.table.iter().map(|(id, _)| id).collect();
        for id in ids {
            let Some(entry) = self.table.get_mut(id) else { continue };
            match &mut entry.body {
                Body::Listener(_) => self.stop_listening(now, id),
                Body::Datagram(_) => self.unbind_udp(id),
                Body::Connection(connection) if connection.tcb.state != State::Closed => {
                    call::abort(&mut connection.tcb, &mut self.core.env(now, false));
                }
                Body::Fresh(_) | Body::Deferred(_) | Body::Connection(_) => {}
            }
            self.remove(id);
        }
        let handshakes: Vec<FlowKey> = self.requests.flows().collect();
        for key in handshakes {
            if let Some(at) = self.requests.find(&key) {
                self.forget_request(at);
            }
        }
        self.leavers.clear();
        self.offers.clear();
        self.fragments.clear(&mut self.core.pool);
        self.departed.clear(&mut self.core.pool);
        while let Some(over) = self.time_waits.expire(Instant::NEVER) {
            self.unsteer_flow(over.steered, over.key);
        }
    }
}
