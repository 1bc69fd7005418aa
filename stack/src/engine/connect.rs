//! Active opens.

use core::net::SocketAddr;

use super::Stack;
use super::egress::Output;
use super::entry::{Begin, Body, Connection, Entry, Stage};
use super::error_queue::NO_HOST;
use crate::control::Request;
use crate::error::SocketError;
use crate::ip::Flow;
use crate::seq::Seq;
use crate::socket::Result;
use crate::tcp::input::{self, PathError};
use crate::tcp::{Env, State, Tcb, call, connect};
use crate::time::Instant;
use crate::types::{Direction, FlowKey, Protocol, SocketId, canonical};

impl Stack {
    /// TCP: begins the handshake and answers `InProgress`; called again, `AlreadyConnecting`, then once `Ok`,
    /// then `IsConnected`, or the error it ended with. UDP: sets or (with an unspecified address) clears the
    /// peer. The local port must be bound; an unspecified local address is chosen by the route.
    ///
    /// # Errors
    /// `NotPermitted` when the policy denies the flow; `NetworkUnreachable`, `HostUnreachable`;
    /// `AddressNotAvailable` when the five-tuple is in use; `Invalid` when it is not bound.
    pub fn connect(&mut self, now: Instant, id: SocketId, remote: SocketAddr) -> Result<()> {
        let remote = canonical(remote);
        let entry = self.owned_mut(id)?;
        match &mut entry.body {
            Body::Datagram(_) => return self.connect_udp(now, id, remote),
            Body::Listener(_) => return Err(SocketError::IsConnected),
            Body::Connection(connection) => {
                let failed = connection.begin == Begin::Untold && connection.tcb.state == State::Closed;
                let answer = again(connection);
                if failed {
                    // Its error is told: it is a fresh socket again.
                    self.renew(id);
                }
                return answer;
            }
            // Linux, as of a connect that is put off.
            Body::Deferred(_) => return Err(SocketError::IsConnected),
            Body::Fresh(_) => {}
        }
        let options = self.owned(id)?.options.clone();
        if self.defers_connect(&options, remote) {
            self.owned_mut(id)?.body = Body::Deferred(remote);
            return Ok(());
        }
        if options.kept.fast_open_connect {
            return self.open_fast(now, id, remote, 0, &mut |_| Ok(0)).map(|_| ());
        }
        self.open_with(now, id, remote, |tcb, env| connect::open_with(tcb, env).map(|tcb| (tcb, 0)))?;
        Err(SocketError::InProgress)
    }

    /// Opens a connection; `first` sends the SYN, and says how much data went with it.
    pub(super) fn open_with(
        &mut self,
        now: Instant,
        id: SocketId,
        remote: SocketAddr,
        first: impl FnOnce(Tcb, &mut Env<'_, Output>) -> Result<(Tcb, usize)>,
    ) -> Result<usize> {
        let remote = canonical(remote);
        if remote.port() == 0 || !self.is_one_host(remote.ip()) {
            return Err(SocketError::NetworkUnreachable);
        }
        let entry = self.owned(id)?;
        entry.speaks(remote)?;
        let key = self.flow_to(Protocol::Tcp, entry.local(), remote)?;
        if self.is_the_kernels(&key) {
            return Err(SocketError::NetworkUnreachable);
        }
        let old = self.take_tuple(now, &key)?;
        let entry = self.owned_mut(id)?;
        let mut flow = Flow::new(key, Direction::Out);
        entry.options.dress(&mut flow);
        let options = entry.options.tcp;
        // Before the SYN: its answer must find the way here.
        self.core.out.requests.push_back(Request::SteerFlow(key));
        let mut env = self.core.env(now, false);
        let tcb = connect::fresh(flow, options, old, &mut env);
        let (tcb, taken) = match first(tcb, &mut env) {
            Ok(opened) => opened,
            Err(error) => {
                self.unsteer_flow(true, key);
                return Err(error);
            }
        };
        let connection = Connection {
            tcb,
            stage: Stage::Owned,
            attached: true,
            steered: true,
            begin: Begin::Untold,
            urgent: false,
        };
        let entry = self.owned_mut(id)?;
        entry.set_local(Some(key.local));
        entry.body = Body::Connection(connection);
        self.attach(&key, id);
        self.settle(id);
        Ok(taken)
    }

    /// A closed connection's socket can be used again.
    pub(super) fn renew(&mut self, id: SocketId) {
        let Some(entry) = self.table.get_mut(id) else { return };
        if let Body::Connection(mut connection) = core::mem::replace(&mut entry.body, Body::Fresh(None)) {
            connection.tcb.release(&mut self.core.pool, &mut self.core.segs);
        }
    }

    /// A connect that is shut is over, and the socket as it was, but for SO_ERROR (Linux: tcp_disconnect).
    pub(super) fn disconnect(&mut self, now: Instant, id: SocketId) {
        let Some(connection) = self.table.get_mut(id).and_then(Entry::connection_mut) else { return };
        call::abort(&mut connection.tcb, &mut self.core.env(now, false));
        self.settle(id);
        self.renew(id);
        if let Some(entry) = self.table.get_mut(id) {
            entry.body = Body::Fresh(Some(SocketError::ConnectionReset));
        }
        self.wake(id);
    }

    /// The next hop of a frame that waited did not answer. `seq` is the segment's, if it was one.
    pub(super) fn neighbour_failed(&mut self, now: Instant, flow: &FlowKey, seq: u32) {
        let id = match flow.protocol {
            Protocol::Tcp => self.connection_of(flow),
            Protocol::Udp => self.peers.get(flow),
        };
        let Some(id) = id else { return };
        let Some(entry) = self.table.get_mut(id) else { return };
        match &mut entry.body {
            Body::Connection(connection) => {
                let (was, what) =
                    (connection.tcb.state, PathError::Unreachable(SocketError::HostUnreachable));
                input::unreachable(&mut connection.tcb, what, Seq(seq), &mut self.core.env(now, false));
                entry.note_refusal(was, NO_HOST, flow.local.ip());
                self.settle(id);
            }
            Body::Datagram(datagram) => {
                // Linux sends itself an ICMP error then, a soft one: it is for who asked for errors.
                let settings = datagram.settings;
                let wanted = if flow.remote.is_ipv4() { settings.recv_error } else { settings.recv_error6 };
                if wanted {
                    datagram.error = Some(SocketError::HostUnreachable);
                    self.wake(id);
                }
            }
            Body::Fresh(_) | Body::Deferred(_) | Body::Listener(_) => {}
        }
    }
}

/// What a second `connect` on a stream is told. One that was connected stays so for good (Linux: SS_CONNECTED).
pub(super) fn again(connection: &mut Connection) -> Result<()> {
    match connection.tcb.state {
        State::SynSent | State::SynReceived => Err(SocketError::AlreadyConnecting),
        State::Closed if connection.begin == Begin::Untold => {
            connection.begin = Begin::Over;
            Err(connection.tcb.error.take().unwrap_or(SocketError::ConnectionAborted))
        }
        _ if connection.begin == Begin::Untold => {
            connection.begin = Begin::Over;
            Ok(())
        }
        _ => Err(SocketError::IsConnected),
    }
}
