//! What every flow has carried since it was told of last: never sampled, and for nothing where a flow carries nothing.
//!
//! A [`Journal`] belongs to a table of flows and knows them by their slots. Whoever handles a packet [notes](Journal::note)
//! the flow, once until it is told of; whoever tells, a second later as a rule, visits the flows that were noted and no
//! others. What a flow had carried when it was told of last is kept beside the table, and only while somebody listens.

mod marks;

use std::collections::VecDeque;

use crate::time::Instant;
use crate::types::{Direction, FlowKey, Road};
use marks::Marks;

/// Flows that are over and wait to be told of, at the most; what comes beyond is counted.
const OVER: usize = 8192;

/// What a flow carried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Octets of payload that arrived: of a stream, in order and once; of datagrams, all.
    pub bytes_in: u64,
    /// Octets of payload that were sent: of a stream, those sent again not counted twice.
    pub bytes_out: u64,
    /// Packets that arrived.
    pub packets_in: u32,
    /// Packets that were sent.
    pub packets_out: u32,
    /// Segments that were sent again.
    pub retransmits: u32,
}

impl Traffic {
    /// What was carried since it was `before`; all of them count round the clock.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        Self {
            bytes_in: self.bytes_in.wrapping_sub(before.bytes_in),
            bytes_out: self.bytes_out.wrapping_sub(before.bytes_out),
            packets_in: self.packets_in.wrapping_sub(before.packets_in),
            packets_out: self.packets_out.wrapping_sub(before.packets_out),
            retransmits: self.retransmits.wrapping_sub(before.retransmits),
        }
    }

    /// A packet with so many octets of payload arrived.
    #[inline]
    pub fn arrives(&mut self, payload: usize) {
        self.packets_in = self.packets_in.wrapping_add(1);
        self.bytes_in = self.bytes_in.wrapping_add(payload as u64);
    }

    /// So many packets were sent, with so many octets of payload in all.
    #[inline]
    pub fn leaves(&mut self, packets: usize, payload: usize) {
        self.packets_out = self.packets_out.wrapping_add(packets as u32);
        self.bytes_out = self.bytes_out.wrapping_add(payload as u64);
    }

    /// Whether nothing was.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// What journals know of a flow. Kept beside the flow, also while no journal is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Noted {
    /// Nothing: it has carried nothing yet.
    #[default]
    New,
    /// It has carried something since it was told of.
    Waits,
    /// It was told of, by this journal or one before, and has carried nothing since.
    Told,
}

/// What is told of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowRecord {
    /// The flow.
    pub key: FlowKey,
    /// Who began it.
    pub direction: Direction,
    /// The interface by which whoever began it is heard, where the gate knows.
    pub road: Road,
    /// What it carried since it was told of last.
    pub carried: Traffic,
    /// TCP_INFO's number of a connection's state; zero for datagrams.
    pub state: u8,
    /// The smoothed round-trip time in microseconds; zero when it is not known.
    pub srtt_us: u32,
    /// Nothing more will be told of it.
    pub over: bool,
    /// When this was so.
    pub at: Instant,
}

/// What waits to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum News {
    /// Nothing.
    None,
    /// Something, when there is time.
    Some,
    /// So much that some will soon be lost.
    Much,
}

/// The journal of a table of flows.
#[derive(Debug, Default)]
pub struct Journal {
    kept: bool,
    marks: Marks,
    over: VecDeque<FlowRecord>,
    lost: u64,
}

impl Journal {
    /// One that is kept, of a table that has so many slots. It allocates: not for under a lock.
    pub fn kept(slots: usize) -> Self {
        Self { kept: true, marks: Marks::new(slots), over: VecDeque::with_capacity(OVER), lost: 0 }
    }

    /// Whether it is kept.
    #[inline]
    pub fn is_kept(&self) -> bool {
        self.kept
    }

    /// Whether [`Journal::note`] would find nothing to do for what is `noted` so.
    #[inline]
    pub fn has(&self, noted: Noted) -> bool {
        noted == Noted::Waits
    }

    /// The flow in `slot` carries something; with what it has `carried` begins one that an earlier journal has told of.
    /// Before its first survey that is with the packet in hand where this is counted already (connections settle
    /// after it), and without where it is not yet (datagrams are found before it).
    #[inline]
    pub fn note(&mut self, slot: u32, noted: &mut Noted, carried: impl FnOnce() -> Traffic) {
        if *noted == Noted::Waits {
            return;
        }
        self.survey(slot, noted, carried);
        *noted = Noted::Waits;
        if self.kept {
            self.marks.note(slot);
        }
    }

    /// What the flow in `slot` has `carried` until now is not told, unless it is this journal's already.
    pub fn survey(&mut self, slot: u32, noted: &mut Noted, carried: impl FnOnce() -> Traffic) {
        if self.kept && *noted != Noted::New && !self.marks.knows(slot) {
            self.marks.replace(slot, carried());
            *noted = Noted::Told;
        }
    }

    /// What the flow in `slot` carried until now is not told.
    pub fn begin(&mut self, slot: u32, carried: Traffic) {
        if self.kept {
            self.marks.replace(slot, carried);
        }
    }

    /// The flow in `slot` is over; journals know nothing of the next one there. `record` has what it carried in all.
    #[inline]
    pub fn end(&mut self, slot: u32, noted: &mut Noted, record: impl FnOnce() -> FlowRecord) {
        if self.kept {
            self.tell_end(slot, noted, record());
        }
        *noted = Noted::New;
    }

    fn tell_end(&mut self, slot: u32, noted: &mut Noted, record: FlowRecord) {
        self.survey(slot, noted, || record.carried);
        let before = self.marks.replace(slot, Traffic::default());
        self.add(FlowRecord { carried: record.carried.since(&before), over: true, ..record });
    }

    /// One more that is over, and has no slot.
    pub fn add(&mut self, record: FlowRecord) {
        if !self.kept {
            return;
        }
        if self.over.len() < OVER { self.over.push_back(record) } else { self.lost += 1 }
    }

    /// The flow in `slot` is told of. `record` has what it carried in all; what comes back, what it carried since the
    /// last time: none, if that is nothing.
    pub fn tell(&mut self, slot: u32, noted: &mut Noted, record: FlowRecord) -> Option<FlowRecord> {
        *noted = if record.carried.is_none() { Noted::New } else { Noted::Told };
        let carried = record.carried.since(&self.marks.replace(slot, record.carried));
        (!carried.is_none()).then_some(FlowRecord { carried, ..record })
    }

    /// Those that were noted until now are to be told of, and those that were to be before.
    pub fn turn(&mut self) {
        self.marks.turn();
    }

    /// The slot of the next that is to be told of. Somebody else may live there by now.
    pub fn next_noted(&mut self) -> Option<u32> {
        self.marks.next()
    }

    /// The next that is over.
    pub fn next_over(&mut self) -> Option<FlowRecord> {
        self.over.pop_front()
    }

    /// How many that are over could not be told of, since this was asked last.
    pub fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }

    /// What waits to be told.
    #[inline]
    pub fn news(&self) -> News {
        match self.over.len() {
            0 if self.marks.is_empty() => News::None,
            waiting if waiting < OVER / 2 => News::Some,
            _ => News::Much,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Protocol;

    fn record(bytes_in: u64) -> FlowRecord {
        let key = FlowKey {
            protocol: Protocol::Tcp,
            local: ([10, 0, 0, 1], 80).into(),
            remote: ([10, 0, 0, 2], 4000).into(),
        };
        let carried = Traffic { bytes_in, ..Traffic::default() };
        let (direction, at) = (Direction::In, Instant::ZERO);
        FlowRecord { key, direction, road: Road::UNKNOWN, carried, state: 1, srtt_us: 0, over: false, at }
    }

    /// A flow of which nothing is known carries something.
    fn note(journal: &mut Journal, slot: u32) {
        journal.note(slot, &mut Noted::New, Traffic::default);
    }

    fn told(journal: &mut Journal) -> Vec<u32> {
        journal.turn();
        std::iter::from_fn(|| journal.next_noted()).collect()
    }

    #[test]
    fn a_flow_is_told_of_once_a_turn_with_what_is_new() {
        let mut journal = Journal::kept(0);
        for slot in [3, 70, 3, 3] {
            note(&mut journal, slot);
        }
        let mut slots = told(&mut journal);
        slots.sort_unstable();
        assert_eq!(slots, [3, 70]);
        let new = |told: Option<FlowRecord>| told.map(|r| r.carried.bytes_in);
        assert_eq!(new(journal.tell(3, &mut Noted::New, record(10))), Some(10));
        assert_eq!(new(journal.tell(70, &mut Noted::New, record(0))), None);
        assert_eq!(told(&mut journal), []);
        note(&mut journal, 3);
        assert_eq!(told(&mut journal), [3]);
        assert_eq!(new(journal.tell(3, &mut Noted::New, record(25))), Some(15));
        assert_eq!(journal.news(), News::None);
    }

    #[test]
    fn what_is_noted_while_others_are_told_of_waits_for_the_next_turn() {
        let mut journal = Journal::kept(128);
        (0..3).for_each(|slot| note(&mut journal, slot));
        journal.turn();
        let first = journal.next_noted().unwrap();
        note(&mut journal, first);
        note(&mut journal, 100);
        let rest: Vec<u32> = std::iter::from_fn(|| journal.next_noted()).collect();
        assert_eq!(rest.len(), 2);
        assert!(!rest.contains(&first));
        let mut again = told(&mut journal);
        again.sort_unstable();
        assert_eq!(again, [first, 100]);
    }

    #[test]
    fn turns_that_come_early_lose_nobody() {
        let mut journal = Journal::kept(128);
        note(&mut journal, 1);
        journal.turn();
        note(&mut journal, 2);
        journal.turn();
        note(&mut journal, 3);
        journal.turn();
        let mut slots: Vec<u32> = std::iter::from_fn(|| journal.next_noted()).collect();
        slots.sort_unstable();
        assert_eq!(slots, [1, 2, 3]);
    }

    #[test]
    fn a_flow_that_ends_is_told_of_and_its_slot_begins_anew() {
        let mut journal = Journal::kept(64);
        note(&mut journal, 5);
        told(&mut journal);
        journal.tell(5, &mut Noted::New, record(100));
        journal.end(5, &mut Noted::New, || record(130));
        let last = journal.next_over().unwrap();
        assert!(last.over && last.carried.bytes_in == 30);
        // The next tenant.
        assert_eq!(journal.tell(5, &mut Noted::New, record(7)).unwrap().carried.bytes_in, 7);
        // One that came from elsewhere has been told of there.
        journal.begin(5, record(1000).carried);
        assert_eq!(journal.tell(5, &mut Noted::New, record(1001)).unwrap().carried.bytes_in, 1);
    }

    #[test]
    fn what_is_too_much_is_counted() {
        let mut journal = Journal::kept(0);
        (0..OVER + 7).for_each(|_| journal.add(record(1)));
        assert_eq!(journal.news(), News::Much);
        assert_eq!((journal.take_lost(), journal.take_lost()), (7, 0));
        assert_eq!(std::iter::from_fn(|| journal.next_over()).count(), OVER);
        assert_eq!(journal.news(), News::None);
    }

    #[test]
    fn nothing_is_kept_unless_somebody_listens() {
        let mut journal = Journal::default();
        note(&mut journal, 3);
        journal.end(3, &mut Noted::New, || record(1));
        assert_eq!((journal.news(), journal.next_over()), (News::None, None));
    }
}
