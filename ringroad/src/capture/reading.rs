//! The end that reads: what a stack's ring holds, packet by packet. What the other process wrote is checked.

use std::io;
use std::os::fd::OwnedFd;

use stack::engine::{Verdict, Way};

use super::record::{self, Head};
use super::ring::{Counter, Reader};

/// A packet that was seen.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'r> {
    /// When, in nanoseconds since 1970.
    pub nanos: u64,
    /// The interface's place in the list of the stack's.
    pub interface: usize,
    /// Which way it went.
    pub way: Way,
    /// What became of it.
    pub verdict: Verdict<'r>,
    /// Its length, link header included.
    pub wire_len: u32,
    /// As much of it as was asked for.
    pub bytes: &'r [u8],
}

/// What was counted of an interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Frames that passed, either way.
    pub seen: u64,
    /// Those that the filter wanted.
    pub wanted: u64,
    /// Those of them for which there was no room: the reader was slow.
    pub lost: u64,
}

impl Totals {
    /// Adds what was counted elsewhere. Another process wrote it: it may be anything.
    pub fn add(&mut self, more: Totals) {
        self.seen = self.seen.saturating_add(more.seen);
        self.wanted = self.wanted.saturating_add(more.wanted);
        self.lost = self.lost.saturating_add(more.lost);
    }
}

/// A ring with its next record.
#[derive(Debug)]
pub(crate) struct Reading {
    ring: Reader,
    /// The whole record, once it was looked at.
    record: Vec<u8>,
    head: Option<Head>,
    interfaces: usize,
}

impl Reading {
    pub(crate) fn new(fd: OwnedFd, interfaces: usize) -> io::Result<Self> {
        Ok(Self { ring: Reader::new(fd)?, record: Vec::new(), head: None, interfaces })
    }

    /// Up to where there is something to read now.
    pub(crate) fn until(&self) -> u64 {
        self.ring.head()
    }

    /// When the next packet was seen, if there is one before `until`.
    ///
    /// # Errors
    /// When what was written makes no sense.
    pub(crate) fn next_at(&mut self, until: u64) -> io::Result<Option<u64>> {
        if self.head.is_none() {
            let mut bytes = [0; record::HEAD];
            if self.ring.peek(until, 0, &mut bytes).is_none() {
                return Ok(None);
            }
            let nonsense =
                || io::Error::new(io::ErrorKind::InvalidData, "what the stack wrote makes no sense");
            let head = Head::read(&bytes).filter(|head| usize::from(head.interface) < self.interfaces);
            let head = head.ok_or_else(nonsense)?;
            self.record.resize(head.len as usize - record::HEAD, 0);
            self.ring.peek(until, record::HEAD, &mut self.record).ok_or_else(nonsense)?;
            self.ring.advance(head.len as usize);
            self.head = Some(head);
        }
        Ok(self.head.map(|head| head.nanos))
    }

    /// That packet.
    pub(crate) fn take(&mut self) -> Option<Packet<'_>> {
        let head = self.head.take()?;
        let (names, rest) = self.record.split_at_checked(head.room.into())?;
        Some(Packet {
            nanos: head.nanos,
            interface: head.interface.into(),
            way: record::way_of(head.way),
            verdict: head.verdict.verdict(names),
            wire_len: head.wire,
            bytes: rest.get(..head.kept as usize)?,
        })
    }

    /// What was counted of an interface so far.
    pub(crate) fn totals(&self, interface: usize) -> Totals {
        let count = |counter| self.ring.counted(interface, counter);
        Totals { seen: count(Counter::Seen), wanted: count(Counter::Wanted), lost: count(Counter::Lost) }
    }
}

#[cfg(test)]
mod tests {
    use stack::engine::{Arrival, Tap};
    use stack::ip::input::Reason;
    use stack::types::IfaceId;

    use super::super::bpf::{Insn, Program};
    use super::super::tap::{Capture, Wanted};
    use super::*;

    const LO: IfaceId = IfaceId(1);
    const ROAD: IfaceId = IfaceId(7);

    fn captured(wanted: Wanted, snaplen: usize) -> (Capture, Reading) {
        let (capture, fd) = Capture::new(wanted, snaplen, vec![LO, ROAD]).unwrap();
        (capture, Reading::new(fd, 2).unwrap())
    }

    fn arrival(frame: &[u8], judged: bool) -> Arrival<'_> {
        Arrival { iface: ROAD, way: Way::In, frame, judged }
    }

    #[test]
    fn an_answer_is_shown_after_what_it_answers_and_neither_before_that_is_settled() {
        let (mut capture, mut reading) = captured(Wanted::All, 5);
        capture.arrives(&arrival(b"question", true));
        let named = Verdict { table: Some("t"), rule: Some("r"), ..Verdict::default() };
        capture.leaves(LO, b"answer", &named);
        assert_eq!(reading.until(), 0);
        let dropped = Verdict { dropped: Some(Reason::Denied), refused: true, ..named };
        capture.settles(&dropped);
        let until = reading.until();
        let at = reading.next_at(until).unwrap().unwrap();
        let packet = reading.take().unwrap();
        assert_eq!((packet.bytes, packet.wire_len, packet.interface), (&b"quest"[..], 8, 1));
        assert_eq!((packet.verdict, packet.way, packet.nanos), (dropped, Way::In, at));
        assert!(reading.next_at(until).unwrap().unwrap() >= at);
        let packet = reading.take().unwrap();
        assert_eq!((packet.bytes, packet.verdict, packet.way), (&b"answe"[..], named, Way::Out));
        assert_eq!(reading.next_at(until).unwrap(), None);
        let totals = Totals { seen: 1, wanted: 1, lost: 0 };
        assert_eq!((reading.totals(0), reading.totals(1)), (totals, totals));
    }

    #[test]
    fn what_is_not_wanted_is_counted_and_what_finds_no_room_too() {
        // Frames that begin with an x, ten bytes of them.
        let text = [
            Insn { code: 0x30, jt: 0, jf: 0, k: 0 },
            Insn { code: 0x15, jt: 0, jf: 1, k: b'x'.into() },
            Insn { code: 0x06, jt: 0, jf: 0, k: 10 },
            Insn { code: 0x06, jt: 0, jf: 0, k: 0 },
        ];
        let (mut capture, mut reading) = captured(Wanted::Filter(Program::new(&text).unwrap()), 1 << 18);
        let mut frame = vec![b'x'; 1000];
        capture.leaves(LO, b"y", &Verdict::default());
        let mut wanted = 0;
        while reading.totals(0).lost == 0 {
            capture.arrives(&arrival(&frame, false));
            capture.settles(&Verdict::default());
            capture.leaves(LO, &frame, &Verdict::default());
            wanted += 1;
        }
        assert_eq!(reading.totals(0), Totals { seen: wanted + 1, wanted, lost: 1 });
        let until = reading.until();
        let mut kept = 0;
        while reading.next_at(until).unwrap().is_some() {
            assert_eq!(reading.take().unwrap().bytes, b"xxxxxxxxxx");
            kept += 1;
        }
        assert_eq!(kept, 2 * wanted - 1 - reading.totals(1).lost);
        // There is room again.
        frame[1] = b'z';
        capture.leaves(LO, &frame, &Verdict::default());
        let until = reading.until();
        reading.next_at(until).unwrap().unwrap();
        assert_eq!(reading.take().unwrap().bytes, b"xzxxxxxxxx");
    }

    #[test]
    fn totals_have_an_end() {
        let mut totals = Totals { seen: 1, wanted: u64::MAX, lost: 3 };
        totals.add(Totals { seen: 2, wanted: 1, lost: u64::MAX });
        assert_eq!(totals, Totals { seen: 3, wanted: u64::MAX, lost: u64::MAX });
    }
}
