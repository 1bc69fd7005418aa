//! The error queue (MSG_ERRQUEUE): ICMP errors about datagrams, the one that ended a connect, and completions of
//! MSG_ZEROCOPY. A send has copied its bytes into frames when it returns: each is done at once, and is told as a copy, as
//! Linux does for a device that cannot gather.

use core::net::{IpAddr, SocketAddr, SocketAddrV4};

use super::Stack;
use super::entry::{Body, Entry};
use super::udp_recv::Sink;
use crate::error::SocketError;
use crate::plain::plain;
use crate::socket::{Completed, ErrorReport, Origin, Result};
use crate::tcp::State;
use crate::time::Instant;
use crate::types::SocketId;
use crate::udp::{ErrorQueue, Wants};

/// ICMP's type and code for a host that does not answer (RFC 792).
pub(super) const NO_HOST: (u8, u8) = (3, 1);

/// The ICMP error that ended a connect. Linux tells of it whether IP_RECVERR is on or not; over IPv6 it does not.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refusal {
    error: SocketError,
    kind: (u8, u8),
    offender: core::net::Ipv4Addr,
    remote: SocketAddrV4,
}

/// Sends that are done, by their numbers. As they end in their order, what was not told yet is one range.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Completions {
    /// The number that the next send gets.
    next: u32,
    /// The first that was not told.
    first: u32,
}

plain!(Completions { next, first });

impl Completions {
    /// Whether some were not told.
    pub(super) fn wait(&self) -> bool {
        self.next != self.first
    }

    fn note(&mut self) {
        self.next = self.next.wrapping_add(1);
    }

    fn take(&mut self) -> Option<Completed> {
        let told = self.wait().then(|| Completed { first: self.first, last: self.next.wrapping_sub(1) });
        self.first = self.next;
        told
    }
}

impl Entry {
    /// Whether completions wait in the error queue.
    fn has_completions(&self) -> bool {
        self.rare().is_some_and(|rare| rare.completions.wait())
    }

    /// Whether something waits in the error queue, errors about datagrams aside.
    pub(super) fn has_report(&self) -> bool {
        self.rare().is_some_and(|rare| rare.refusal.is_some() || rare.completions.wait())
    }

    /// A connection that `was` in that state met an ICMP error of that type and code, by `offender`: if it has ended a
    /// connect, that is noted. Who connects has bound its end, and so has a rare part: nothing is allocated.
    pub(super) fn note_refusal(&mut self, was: State, kind: (u8, u8), offender: IpAddr) {
        let Some(connection) = self.connection().filter(|c| c.tcb.state == State::Closed) else { return };
        let (error, remote) = (connection.tcb.error, connection.tcb.flow.key.remote);
        if let (Some(error), SocketAddr::V4(remote), IpAddr::V4(offender), State::SynSent) =
            (error, remote, offender, was)
            && let Some(rare) = self.made_rare()
        {
            rare.refusal = Some(Refusal { error, kind, offender, remote });
        }
    }

    fn take_refusal(&mut self) -> Option<Refusal> {
        self.made_rare()?.refusal.take()
    }
}

impl Refusal {
    /// As the error queue tells it; what the error quoted was not kept.
    fn report(self) -> ErrorReport {
        ErrorReport {
            errno: self.error.errno(),
            origin: Origin::Icmp,
            kind: self.kind.0,
            code: self.kind.1,
            info: 0,
            offender: Some(self.offender.into()),
            remote: self.remote.into(),
            iface: None,
            local: None,
            ttl: 0,
            tos: 0,
            at: Instant::ZERO,
            copied: 0,
            len: 0,
            wants: Wants::default(),
        }
    }
}

impl Stack {
    /// Takes the oldest error of the error queue (MSG_ERRQUEUE), with at most `want` bytes of what the datagram
    /// that caused it carried.
    ///
    /// # Errors
    /// `WouldBlock` when there is none; the sink's.
    pub fn recv_error(&mut self, id: SocketId, want: usize, sink: &mut Sink<'_>) -> Result<ErrorReport> {
        let entry = self.owned_mut(id)?;
        let Entry { body: Body::Datagram(datagram), .. } = entry else {
            return entry.take_refusal().map(Refusal::report).ok_or(SocketError::WouldBlock);
        };
        let wants = datagram.settings.wants;
        let error = datagram.errors().and_then(ErrorQueue::pop).ok_or(SocketError::WouldBlock)?;
        // Linux: SO_ERROR is the next one's from here on.
        datagram.error = datagram.next_error();
        let bytes = error.quote.as_ref().map_or(&[][..], |pkt| self.core.pool.bytes(pkt));
        let (len, copied) = (bytes.len(), bytes.len().min(want));
        let given = sink(&bytes[..copied]);
        let report = ErrorReport {
            errno: error.errno,
            origin: match error.origin {
                1 => Origin::Local,
                2 => Origin::Icmp,
                _ => Origin::Icmp6,
            },
            kind: error.kind.0,
            code: error.kind.1,
            info: error.info,
            offender: error.offender,
            remote: error.remote,
            iface: error.iface,
            local: error.local,
            ttl: error.hops.0,
            tos: error.hops.1,
            at: error.at,
            copied,
            len,
            wants,
        };
        error.free(&mut self.core.pool);
        given?;
        Ok(report)
    }

    /// A send with MSG_ZEROCOPY has sent something: where SO_ZEROCOPY is on, its completion waits in the error queue.
    ///
    /// # Errors
    /// `BadSocket`.
    pub fn complete(&mut self, id: SocketId) -> Result<()> {
        let entry = self.owned_mut(id)?;
        if entry.options.zero_copy {
            entry.rare_mut().completions.note();
            self.wake(id);
        }
        Ok(())
    }

    /// Takes the completions that wait: of sends with MSG_ZEROCOPY, by the order in which they were made.
    ///
    /// # Errors
    /// `BadSocket`.
    pub fn take_completed(&mut self, id: SocketId) -> Result<Option<Completed>> {
        let entry = self.owned_mut(id)?;
        Ok(entry.has_completions().then(|| entry.rare_mut().completions.take()).flatten())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_told_is_one_range_across_the_wrap() {
        let mut completions = Completions { next: u32::MAX, first: u32::MAX };
        assert_eq!(completions.take(), None);
        completions.note();
        completions.note();
        assert_eq!(completions.take(), Some(Completed { first: u32::MAX, last: 0 }));
        assert!(!completions.wait());
        completions.note();
        assert_eq!(completions.take(), Some(Completed { first: 1, last: 1 }));
    }
}
