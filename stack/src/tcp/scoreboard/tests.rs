//! The scoreboard beside a plain one, of which all is walked each time.

use nic::{Arena, Pool};
use proptest::prelude::*;

use super::*;
use crate::tcp::rack::Xmit;

const FIRST: Seq = Seq(u32::MAX - 2000);
const LEN: u32 = 100;
const REO_WND: Duration = Duration::from_millis(3);

/// A segment in the plainest form: one of a list that is walked each time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Plain {
    sacked: bool,
    lost: bool,
    resent: bool,
    again: bool,
    sent_at: u64,
}

struct Model {
    una: u32,
    segments: Vec<Plain>,
    /// RACK's newest: (sent, number), and its round trip.
    newest: (u64, usize),
    rtt: u64,
}

impl Model {
    fn range(&self) -> core::ops::Range<usize> {
        (self.una / LEN) as usize..self.segments.len()
    }

    fn count(&self, which: impl Fn(&Plain) -> bool) -> Tally {
        let segments = self.range().filter(|&n| which(&self.segments[n])).count() as u32;
        Tally { octets: segments * LEN, segments }
    }

    fn pipe(&self) -> u32 {
        self.count(|p| !p.sacked && (!p.lost || p.resent)).octets
    }

    /// These have arrived: the newest of them, and the lowest that was sent once.
    fn arrived(&self, which: &[usize]) -> (Option<(u64, usize)>, Option<usize>) {
        let newest = which.iter().map(|&n| (self.segments[n].sent_at, n)).max();
        (newest, which.iter().copied().filter(|&n| !self.segments[n].again).min())
    }

    fn rack(&mut self, newest: Option<(u64, usize)>, now: u64) {
        if let Some(newest) = newest {
            self.rtt = now - newest.0;
            self.newest = self.newest.max(newest);
        }
    }

    /// RFC 8985 §6.2, step 5, as it is written: over all segments.
    fn detect_loss(&mut self, now: u64) -> (u32, bool) {
        let (mut copies, mut waiting) = (0, false);
        for n in self.range() {
            let p = &mut self.segments[n];
            if p.sacked || (p.lost && !p.resent) || self.newest <= (p.sent_at, n) {
                continue;
            }
            if p.sent_at + self.rtt + REO_WND.as_millis() as u64 <= now {
                copies += u32::from(p.resent);
                (p.lost, p.resent) = (true, false);
            } else {
                waiting = true;
            }
        }
        (copies, waiting)
    }
}

#[derive(Clone, Debug)]
enum Event {
    Send,
    Wait(u64),
    Ack(u32),
    Sack(Vec<(u32, u32)>),
    Resend,
    Probe,
    TimeOut(u64),
    LoseHead,
    Forgive,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => Just(Event::Send),
        3 => (0..6u64).prop_map(Event::Wait),
        3 => (0..8u32).prop_map(Event::Ack),
        6 => prop::collection::vec((0..40u32, 1..10u32), 1..5).prop_map(Event::Sack),
        5 => Just(Event::Resend),
        1 => Just(Event::Probe),
        1 => (0..20u64).prop_map(Event::TimeOut),
        1 => Just(Event::LoseHead),
        1 => Just(Event::Forgive),
    ]
}

struct Bench {
    pool: Pool,
    segs: SegTable,
    sent: Sent,
    rack: Rack,
    model: Model,
    now: u64,
}

impl Bench {
    fn new() -> Self {
        Self {
            pool: Pool::new(Arena::new(64, 2048).unwrap()),
            segs: SegTable::new(64),
            sent: Sent::new(FIRST),
            rack: Rack::new(FIRST),
            model: Model { una: 0, segments: Vec::new(), newest: (0, 0), rtt: 0 },
            now: 1000,
        }
    }

    fn at(&self) -> Instant {
        Instant::from_millis(self.now)
    }

    /// No two segments are sent in the same millisecond: the order of transmission has no doubt.
    fn tick(&mut self) -> Instant {
        self.now += 1;
        self.at()
    }

    fn send(&mut self) {
        let Some(mut pkt) = self.pool.alloc() else { return };
        let now = self.tick();
        let _ = self.pool.append_with(&mut pkt, LEN as usize, |room| Ok::<_, ()>(room.len()));
        self.sent.push(&mut self.segs, pkt);
        self.sent.sent(&mut self.segs, now);
        self.model.segments.push(Plain { sent_at: self.now, ..Plain::default() });
    }

    fn nxt(&self) -> u32 {
        self.model.segments.len() as u32 * LEN
    }

    fn number(&self, at: FrameIndex) -> usize {
        ((self.segs.slot(at).seq - FIRST) / LEN) as usize
    }

    fn ack(&mut self, n: u32) {
        let before = self.model.range().start;
        self.model.una = (self.model.una + n * LEN).min(self.nxt());
        let mut delivered = Delivered::new(Instant::NEVER);
        let una = FIRST + self.model.una;
        self.sent.acknowledge(&mut self.segs, &mut self.pool, una, &mut delivered);
        let passed = before..self.model.range().start;
        let news: Vec<usize> = passed.filter(|&n| !self.model.segments[n].sacked).collect();
        self.compare(&delivered, &news);
    }

    fn sack(&mut self, ranges: &[(u32, u32)]) {
        let (base, nxt) = (self.model.una / LEN, self.model.segments.len() as u32);
        let mut blocks = SackBlocks::default();
        let mut news = Vec::new();
        for &(from, len) in ranges {
            // The oldest is missing, else it were acknowledged.
            let (from, to) = (base + 1 + from, (base + 1 + from + len).min(nxt));
            if from < to {
                blocks.push(SackBlock { left: FIRST + from * LEN, right: FIRST + to * LEN });
                if blocks.as_slice().len() <= 4 {
                    news.extend((from as usize..to as usize).filter(|&n| !self.model.segments[n].sacked));
                }
            }
        }
        news.sort_unstable();
        news.dedup();
        let range = (FIRST + self.model.una, FIRST + self.nxt());
        let mut delivered = Delivered::new(Instant::NEVER);
        self.sent.sack(&mut self.segs, &blocks, range, &mut delivered);
        for &n in &news {
            let p = &mut self.model.segments[n];
            (p.sacked, p.lost, p.resent) = (true, false, false);
        }
        self.compare(&delivered, &news);
    }

    /// What arrived, and what RACK concludes.
    fn compare(&mut self, delivered: &Delivered, news: &[usize]) {
        let (newest, original) = self.model.arrived(news);
        let end = |n: usize| FIRST + (n as u32 + 1) * LEN;
        assert_eq!(delivered.octets, news.len() as u32 * LEN);
        assert_eq!(delivered.original, original.map(end));
        assert_eq!(delivered.highest, news.iter().max().map(|&n| end(n)));
        let stamp = |(at, n)| Xmit { xmit_ts: Instant::from_millis(at), end_seq: end(n) };
        assert_eq!(delivered.newest, newest.map(stamp));
        if let Some(newest) = delivered.newest {
            self.rack.update(newest, delivered.newest_once == Some(newest.xmit_ts), self.at());
        }
        self.model.rack(newest, self.now);
        self.detect();
    }

    fn detect(&mut self) {
        let now = self.at();
        let losses = self.sent.detect_loss(&mut self.segs, &self.rack, REO_WND, now);
        let before = self.model.count(|p| p.lost && !p.resent).segments;
        let (copies, waiting) = self.model.detect_loss(self.now);
        let after = self.model.count(|p| p.lost && !p.resent).segments;
        assert_eq!(losses, Losses { any: after > before, copies, waiting });
    }

    fn again(&mut self, at: FrameIndex, n: usize) {
        let now = self.tick();
        self.sent.sent_again(&mut self.segs, at, now);
        let p = &mut self.model.segments[n];
        p.again = true;
        if !p.sacked {
            (p.resent, p.sent_at) = (p.lost, self.now);
        }
    }

    fn time_out(&mut self, back: u64) {
        let sent_by = Instant::from_millis(self.now - back);
        self.sent.time_out(&mut self.segs, sent_by);
        let head = self.model.range().start;
        let reneged = self.model.segments.get(head).is_some_and(|p| p.sacked);
        for n in self.model.range() {
            let p = &mut self.model.segments[n];
            let was_sacked = core::mem::take(&mut p.sacked);
            p.sacked = was_sacked && !reneged;
            let recent = p.sent_at > self.now - back && n != head;
            if !p.sacked && (!recent || was_sacked || (p.lost && !p.resent)) {
                (p.lost, p.resent) = (true, false);
            }
        }
    }

    fn apply(&mut self, event: &Event) {
        match event {
            Event::Send => self.send(),
            Event::Wait(ms) => {
                self.now += ms;
                self.detect();
            }
            Event::Ack(n) => self.ack(*n),
            Event::Sack(ranges) => self.sack(ranges),
            Event::Resend => {
                let got = self.sent.next_lost();
                let missing = |&n: &usize| self.model.segments[n].lost && !self.model.segments[n].resent;
                assert_eq!(got.map(|at| self.number(at)), self.model.range().find(missing));
                if let Some(at) = got {
                    self.again(at, self.number(at));
                }
            }
            Event::Probe => {
                if let Some(at) = self.sent.last_sent(&self.segs) {
                    self.again(at, self.number(at));
                }
            }
            Event::TimeOut(back) => self.time_out(*back),
            Event::Forgive => {
                self.sent.forgive(&mut self.segs);
                for n in self.model.range() {
                    let p = &mut self.model.segments[n];
                    p.lost &= p.resent;
                }
            }
            Event::LoseHead => {
                self.sent.lose_head(&mut self.segs);
                let head = self.model.range().start;
                if let Some(p) = self.model.segments.get_mut(head).filter(|p| !p.sacked) {
                    (p.lost, p.resent) = (true, false);
                }
            }
        }
    }
}

proptest! {
    /// RFC 6675 §3 and §4, RFC 8985 §6.2: with a list that is walked each time.
    #[test]
    fn the_scoreboard_is_a_plain_list(events in prop::collection::vec(event(), 1..200)) {
        let mut b = Bench::new();
        for event in &events {
            b.apply(event);
            b.runs_are_whole();
            let outstanding = b.nxt() - b.model.una;
            prop_assert_eq!(b.sent.sacked, b.model.count(|p| p.sacked), "{:?}", event);
            prop_assert_eq!(b.sent.lost, b.model.count(|p| p.lost), "{:?}", event);
            prop_assert_eq!(b.sent.resent, b.model.count(|p| p.resent), "{:?}", event);
            prop_assert_eq!(b.sent.pipe(outstanding), b.model.pipe(), "{:?}", event);
            prop_assert_eq!(b.sent.octets, outstanding);
            prop_assert_eq!(b.sent.segments, b.model.count(|_| true).segments);
        }
        b.sent.clear(&mut b.segs, &mut b.pool);
        prop_assert_eq!(b.pool.available(), 64);
    }
}

impl Bench {
    /// The ends of every run of SACKed segments know each other.
    fn runs_are_whole(&self) {
        let (mut at, mut first) = (self.sent.list.head, NONE);
        while at != NONE {
            let slot = self.segs.slot(at);
            if slot.mark.sacked {
                first = if first == NONE { at } else { first };
                if !is_sacked(&self.segs, slot.next) {
                    assert_eq!((run_end(&self.segs, first), run_begin(&self.segs, at)), (at, first));
                    first = NONE;
                }
            }
            at = slot.next;
        }
    }
}

fn filled(pool: &mut Pool, len: usize) -> nic::Pkt {
    let mut pkt = pool.alloc().unwrap();
    let _ = pool.append_with(&mut pkt, len, |room| {
        room.iter_mut().enumerate().for_each(|(n, byte)| *byte = n as u8);
        Ok::<_, ()>(len)
    });
    pkt
}

#[test]
fn a_cut_segment_keeps_its_bytes_its_marks_and_its_chain() {
    for lost in [true, false] {
        let mut pool = Pool::new(Arena::new(4, 2048).unwrap());
        let mut segs = SegTable::new(4);
        let mut sent = Sent::new(Seq(0));
        let pkt = filled(&mut pool, 1000);
        sent.push(&mut segs, pkt);
        sent.sent(&mut segs, Instant::ZERO);
        if lost {
            sent.time_out(&mut segs, Instant::NEVER);
        }
        let head = sent.head().unwrap();
        assert!(sent.split(&mut segs, &mut pool, head, 300));
        let behind = segs.slot(head).next;
        assert_eq!((segs.slot(behind).seq, segs.slot(behind).len()), (Seq(300), 700));
        assert_eq!(segs.slot(behind).mark.lost, lost);
        assert_eq!(pool.bytes(segs.slot(behind).pkt())[0], 300u32 as u8);
        assert_eq!((sent.segments, sent.lost.segments), (2, 2 * u32::from(lost)));
        let chain = if lost { sent.missing } else { sent.flight };
        assert_eq!((chain.first, chain.last), (head, behind));
        let mut delivered = Delivered::new(Instant::ZERO);
        sent.acknowledge(&mut segs, &mut pool, Seq(1000), &mut delivered);
        assert_eq!(delivered.acked, 1000);
        assert_eq!((sent.lost, sent.octets, pool.available()), (Tally::default(), 0, 4));
        assert_eq!((chain_is_empty(sent.missing), chain_is_empty(sent.flight)), (true, true));
    }
}

fn chain_is_empty(chain: Chain) -> bool {
    chain.first == NONE && chain.last == NONE
}

/// RFC 8985 §6.2, step 2: a copy that was sent too late to be what is acknowledged is left out.
#[test]
fn a_copy_that_cannot_have_been_answered_is_not_the_newest() {
    for (answered, newest) in [(49, 11), (50, 50)] {
        let mut pool = Pool::new(Arena::new(4, 2048).unwrap());
        let mut segs = SegTable::new(4);
        let mut sent = Sent::new(Seq(0));
        for at in [10, 11] {
            let pkt = filled(&mut pool, 100);
            sent.push(&mut segs, pkt);
            sent.sent(&mut segs, Instant::from_millis(at));
        }
        sent.time_out(&mut segs, Instant::from_millis(10));
        let head = sent.head().unwrap();
        sent.sent_again(&mut segs, head, Instant::from_millis(50));
        let mut delivered = Delivered::new(Instant::from_millis(answered));
        sent.acknowledge(&mut segs, &mut pool, Seq(200), &mut delivered);
        assert_eq!(delivered.newest.unwrap().xmit_ts, Instant::from_millis(newest));
        assert_eq!(delivered.newest_once, Some(Instant::from_millis(11)));
        assert!(delivered.ambiguous);
    }
}
