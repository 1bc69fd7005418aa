//! What looks on at the stack for somebody who captures: filters and copies. On the packet path.

use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use stack::engine::{Arrival, Tap, Verdict, Way};
use stack::policy::Marked;
use stack::types::IfaceId;

use super::bpf::Program;
use super::record::{self, Head, NAMES, Told, VERDICT_AT};
use super::ring::{Counter, Writer};

/// Which frames are wanted.
#[derive(Debug)]
pub(crate) enum Wanted {
    /// All.
    All,
    /// Those that a program wants.
    Filter(Program),
    /// Those from or to an address that is marked.
    Of(Arc<Marked>),
}

impl Wanted {
    /// How many bytes of a frame are wanted.
    #[inline]
    fn of(&self, frame: &[u8]) -> usize {
        match self {
            Self::All => frame.len(),
            Self::Filter(program) => (program.run(frame, frame.len() as u32) as usize).min(frame.len()),
            Self::Of(marked) => match ends(frame) {
                Some(ends) if ends.into_iter().any(|end| marked.holds(end)) => frame.len(),
                _ => 0,
            },
        }
    }
}

/// The addresses of a frame of Ethernet with an IP packet.
fn ends(frame: &[u8]) -> Option<[IpAddr; 2]> {
    let v4 = |at: usize| Some(IpAddr::from(*frame.get(at..)?.first_chunk::<4>()?));
    let v6 = |at: usize| Some(IpAddr::from(*frame.get(at..)?.first_chunk::<16>()?));
    match frame.get(12..14)? {
        [8, 0] => Some([v4(26)?, v4(30)?]),
        [0x86, 0xdd] => Some([v6(22)?, v6(38)?]),
        _ => None,
    }
}

/// A frame that arrived and is not settled: where its record lies, and its room for names.
#[derive(Clone, Copy, Debug)]
struct InHand {
    at: u64,
    room: usize,
}

/// One who looks on.
#[derive(Debug)]
pub(crate) struct Capture {
    ring: Writer,
    wanted: Wanted,
    snaplen: usize,
    /// In the order in which the reader was told of them.
    interfaces: Vec<IfaceId>,
    in_hand: Option<InHand>,
    /// A frame is under way, wanted or not.
    settling: bool,
}

impl Capture {
    /// Keeps at most `snaplen` bytes of each frame that is wanted. And the descriptor for the reader.
    ///
    /// # Errors
    /// The operating system's, when there is no memory for the ring.
    pub(crate) fn new(
        wanted: Wanted,
        snaplen: usize,
        interfaces: Vec<IfaceId>,
    ) -> std::io::Result<(Self, OwnedFd)> {
        let (ring, fd) = Writer::new()?;
        Ok((Self { ring, wanted, snaplen, interfaces, in_hand: None, settling: false }, fd))
    }

    /// Counts a frame, and reserves and fills its record but for the verdict, if it is wanted.
    #[inline]
    fn take(&mut self, (iface, way): (IfaceId, Way), frame: &[u8], room: usize) -> Option<u64> {
        let interface = self.interfaces.iter().position(|i| *i == iface).unwrap_or_default();
        self.ring.count(interface, Counter::Seen);
        let kept = self.wanted.of(frame).min(self.snaplen);
        if kept == 0 {
            return None;
        }
        self.ring.count(interface, Counter::Wanted);
        let mut head = Head::new(kept, frame.len(), room);
        let Some(at) = self.ring.reserve(head.len as usize) else {
            self.ring.count(interface, Counter::Lost);
            return None;
        };
        head.interface = interface as u8;
        head.way = record::way_number(way);
        head.nanos = wall_clock();
        self.ring.write(at, &head.bytes());
        self.ring.write(at + (record::HEAD + room) as u64, &frame[..kept]);
        Some(at)
    }

    fn put_verdict(&self, at: u64, verdict: &Verdict<'_>) {
        let names = [verdict.table, verdict.rule].map(|name| record::cut(name.unwrap_or_default()));
        self.ring.write(at + VERDICT_AT as u64, &Told::new(verdict).bytes());
        self.ring.write(at + record::HEAD as u64, names[0].as_bytes());
        self.ring.write(at + (record::HEAD + names[0].len()) as u64, names[1].as_bytes());
    }
}

impl Tap for Capture {
    fn arrives(&mut self, arrival: &Arrival<'_>) {
        let room = if arrival.judged { NAMES } else { 0 };
        self.settling = true;
        self.in_hand =
            self.take((arrival.iface, arrival.way), arrival.frame, room).map(|at| InHand { at, room });
    }

    fn settles(&mut self, verdict: &Verdict<'_>) {
        self.settling = false;
        if let Some(InHand { at, room }) = self.in_hand.take() {
            // Names for which there is no room were not expected.
            let nameless = Verdict { table: None, rule: None, ..*verdict };
            self.put_verdict(at, if room == 0 { &nameless } else { verdict });
        }
        self.ring.publish();
    }

    fn leaves(&mut self, iface: IfaceId, frame: &[u8], verdict: &Verdict<'_>) {
        let room = Told::new(verdict).names();
        if let Some(at) = self.take((iface, Way::Out), frame, room) {
            self.put_verdict(at, verdict);
        }
        // What is sent because of a frame is shown after that.
        if !self.settling {
            self.ring.publish();
        }
    }
}

/// Nanoseconds since 1970.
#[inline]
fn wall_clock() -> u64 {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64
}
