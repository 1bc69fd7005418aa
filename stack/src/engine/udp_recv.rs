//! Datagrams to the application: one, or with UDP_GRO a train of them.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::Stack;
use super::datagram::Datagram;
use super::entry::{Body, Entry};
use crate::error::{Fault, SocketError};
use crate::socket::{self, RecvFlags, Result};
use crate::time::Instant;
use crate::types::SocketId;
use crate::udp::{DatagramTable, Train, Waiting, Wants};

const NOBODY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// Where the application's bytes go.
pub(super) type Sink<'a> = dyn FnMut(&[u8]) -> core::result::Result<(), Fault> + 'a;

impl Stack {
    /// Receives one datagram, at most `want` bytes of it; the rest is thrown away. Where UDP_GRO is on, further
    /// datagrams of the same flow and length follow in the same buffer, as far as they fit.
    ///
    /// # Errors
    /// `WouldBlock`, the socket's error, the sink's (the datagram is lost then, as in Linux, unless it was only
    /// peeked at).
    pub fn recv_from(
        &mut self,
        now: Instant,
        id: SocketId,
        want: usize,
        flags: RecvFlags,
        sink: &mut Sink<'_>,
    ) -> Result<socket::Datagram> {
        let entry = self.table.get_mut(id).filter(|e| e.is_owned()).ok_or(SocketError::BadSocket)?;
        let Body::Datagram(datagram) = &mut entry.body else {
            let copied = self.recv_stream(now, id, want, flags, sink)?;
            let ends = self.owned(id)?;
            let key = ends.connection().map(|c| c.tcb.flow.key).ok_or(SocketError::NotConnected)?;
            return Ok(socket::Datagram::plain(copied, key.remote, key.local));
        };
        if let Some(error) = datagram.error.take() {
            return Err(error);
        }
        let Some(first) = datagram.queue.front(&self.datagrams) else {
            let nothing = socket::Datagram::plain(0, NOBODY, NOBODY);
            return if datagram.shut_read { Ok(nothing) } else { Err(SocketError::WouldBlock) };
        };
        let len = first.pkt.len();
        let copied = len.min(want);
        let mut told = tell(datagram, first);
        (told.copied, told.len) = (copied, len);
        let mut given = sink(&self.core.pool.bytes(&first.pkt)[..copied]);
        let mut train = Train::begin(len, want);
        let mut count = 1;
        if datagram.settings.gro && given.is_ok() {
            (count, given) =
                carry(datagram, &self.datagrams, &mut train, &mut |w| sink(self.core.pool.bytes(&w.pkt)));
        }
        if train.segment().is_some() {
            (told.copied, told.len, told.segment) = (train.total(), train.total(), train.segment());
        }
        if !flags.peek {
            for _ in 0..count {
                if let Some(done) = datagram.queue.pop(&mut self.datagrams) {
                    self.core.pool.free(done.pkt);
                }
            }
        }
        given?;
        if let Some(iface) = told.iface.filter(|_| told.local.ip().is_multicast()) {
            told.answer_from = self.core.out.control.address_on(iface, told.local.ip());
        }
        Ok(told)
    }

    /// What a UDP socket was told to tell of each datagram.
    pub fn wants(&self, id: SocketId) -> Wants {
        match self.table.get(id) {
            Some(Entry { body: Body::Datagram(datagram), .. }) => datagram.settings.wants,
            _ => Wants::default(),
        }
    }
}

fn tell(datagram: &Datagram, waiting: &Waiting) -> socket::Datagram {
    socket::Datagram {
        answer_from: Some(waiting.local.ip()),
        iface: Some(waiting.iface),
        ttl: waiting.ttl,
        tos: waiting.tos,
        at: waiting.at,
        drops: waiting.drops,
        wants: datagram.settings.wants,
        ..socket::Datagram::plain(0, waiting.remote, waiting.local)
    }
}

/// Gives the datagrams that join the train to `give`. Answers how many there are, the first included.
fn carry(
    datagram: &Datagram,
    table: &DatagramTable,
    train: &mut Train,
    give: &mut dyn FnMut(&Waiting) -> core::result::Result<(), Fault>,
) -> (usize, core::result::Result<(), Fault>) {
    let mut waiting = datagram.queue.iter(table);
    let Some(first) = waiting.next() else { return (0, Ok(())) };
    let mut count = 1;
    for next in waiting {
        if !next.follows(first) || !train.join(next.pkt.len()) {
            break;
        }
        count += 1;
        if let Err(fault) = give(next) {
            return (count, Err(fault));
        }
    }
    (count, Ok(()))
}
