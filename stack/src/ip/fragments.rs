//! Reassembly of fragmented packets (RFC 791 §3.2, RFC 8200 §4.5, RFC 5722), within bounds.
//!
//! What a packet's pieces carry is copied to its place in one frame, and a bit for each eight octets says what
//! is there (the unit in which offsets count). So a piece costs no search and no list, pieces that overlap are
//! seen at once, and a packet in the making holds one frame, however many pieces it has. The gate and the
//! sockets see whole packets only: what a piece says by itself (RFC 1858) is never acted on.

use core::net::IpAddr;
use core::ops::Range;
use core::time::Duration;
use std::collections::VecDeque;

use nic::{Pkt, Pool};

use super::input::Reason;
use crate::hash::{HashKey, address_words};
use crate::time::Instant;
use crate::types::IfaceId;

/// How long the pieces of a packet may take to arrive (Linux: net.ipv4.ipfrag_time; RFC 8200 §4.5: 60 s at the
/// longest).
const PATIENCE: Duration = Duration::from_secs(30);
/// Packets in the making at the most.
const PLACES: usize = 128;
/// Of a pool's frames, one in so many may hold packets in the making.
const SHARE: usize = 16;
/// Octets in a unit of the fragment offset.
const UNIT: usize = 8;
/// Units in the longest packet that is put together: a frame holds no more.
const UNITS: usize = 512;
/// The longest header that is kept to be quoted (RFC 791: 60 octets).
const HEAD: usize = 60;

/// What the pieces of one packet have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FragmentKey {
    /// From.
    pub source: IpAddr,
    /// To.
    pub destination: IpAddr,
    /// The identification field.
    pub id: u32,
    /// What the packet carries, by IP protocol number.
    pub protocol: u8,
    /// The interface that it arrives on.
    pub iface: IfaceId,
}

/// Where a piece belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// The packet it is a piece of.
    pub key: FragmentKey,
    /// Its first octet's place in the packet's payload.
    pub offset: usize,
    /// Whether others follow.
    pub more: bool,
    /// The two ECN bits of its header.
    pub ecn: u8,
}

/// A packet whose pieces are all there.
#[derive(Debug)]
pub struct Whole {
    /// Its payload, without headers.
    pub pkt: Pkt,
    /// The ECN bits of all its pieces, as RFC 3168 §5.3 puts them together.
    pub ecn: u8,
}

/// A packet that was given up although its beginning had arrived: its sender is to be told (RFC 1122 §3.3.2,
/// RFC 4443 §3.3).
#[derive(Clone, Copy, Debug)]
pub struct Expired {
    /// From whom.
    pub source: IpAddr,
    /// To which address of ours.
    pub destination: IpAddr,
    /// Where it came in.
    pub iface: IfaceId,
    quote: [u8; HEAD + UNIT],
    len: usize,
}

impl Expired {
    /// The first piece's network header and the first eight octets of its payload.
    pub fn quote(&self) -> &[u8] {
        &self.quote[..self.len]
    }
}

#[derive(Debug)]
struct Assembly {
    key: FragmentKey,
    serial: u32,
    until: Instant,
    pkt: Pkt,
    /// What has arrived, a bit for each eight octets.
    have: [u64; UNITS / 64],
    /// Units that have arrived.
    count: usize,
    /// Octets in all, once the last piece has arrived.
    total: Option<usize>,
    /// A bit for each of the four ECN codepoints seen.
    ecn: u8,
    /// The first piece's network header, once it has arrived.
    head: [u8; HEAD],
    head_len: u8,
}

/// All packets in the making.
#[derive(Debug)]
pub struct Fragments {
    places: Box<[Option<Assembly>]>,
    /// Oldest first, with the serial number that tells a place's tenants apart.
    order: VecDeque<(usize, u32)>,
    key: HashKey,
    serial: u32,
    live: usize,
    limit: usize,
}

impl Fragments {
    /// For a pool of `frames` frames.
    pub fn new(key: HashKey, frames: u32) -> Self {
        Self {
            places: (0..PLACES).map(|_| None).collect(),
            order: VecDeque::with_capacity(2 * PLACES),
            key,
            serial: 0,
            live: 0,
            limit: (frames as usize / SHARE).clamp(1, PLACES),
        }
    }

    /// Packets in the making.
    pub fn len(&self) -> usize {
        self.live
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.live == 0
    }

    /// Takes a piece in: octets `payload` of `pkt`'s window, whose network header is at `head`. Gives the whole
    /// packet when this was what it lacked.
    ///
    /// # Errors
    /// The [`Reason`] when the piece, or all of its packet, is dropped.
    pub fn take(
        &mut self,
        pool: &mut Pool,
        pkt: Pkt,
        (head, payload): (Range<usize>, Range<usize>),
        fragment: &Fragment,
        now: Instant,
    ) -> Result<Option<Whole>, Reason> {
        let (len, end) = (payload.len(), fragment.offset + payload.len());
        let sound = len > 0 && (!fragment.more || len % UNIT == 0);
        if !sound || end > UNITS * UNIT || end > pool.payload_capacity() {
            pool.free(pkt);
            return Err(Reason::Fragment);
        }
        let at = self.place(&fragment.key);
        if self.places[at].as_ref().is_some_and(|a| a.key != fragment.key || a.until <= now) {
            self.give_up(pool, at);
        }
        if self.places[at].is_none() && !self.begin(pool, at, fragment.key, now) {
            pool.free(pkt);
            return Err(Reason::NoFrames);
        }
        let Some(assembly) = &mut self.places[at] else { return Ok(None) };
        let fits = assembly.add(pool, &pkt, payload, fragment);
        if fragment.offset == 0 && head.len() <= HEAD {
            assembly.head[..head.len()].copy_from_slice(&pool.bytes(&pkt)[head.clone()]);
            assembly.head_len = head.len() as u8;
        }
        pool.free(pkt);
        if !fits {
            // RFC 5722 §4: pieces that contradict each other condemn the packet, those to come included.
            self.give_up(pool, at);
            return Err(Reason::Fragment);
        }
        match self.places[at].take_if(|a| a.is_complete()) {
            Some(whole) => {
                self.live -= 1;
                whole.finish(pool).map(Some)
            }
            None => Ok(None),
        }
    }

    /// When [`Fragments::expire`] is due; [`Instant::NEVER`] when nothing waits.
    pub fn next_deadline(&self) -> Instant {
        let live = self.order.iter().find_map(|&(at, serial)| {
            self.places[at].as_ref().filter(|a| a.serial == serial).map(|a| a.until)
        });
        live.unwrap_or(Instant::NEVER)
    }

    /// Gives up the next packet whose time is over. The inner value is there when its sender is to be told.
    pub fn expire(&mut self, pool: &mut Pool, now: Instant) -> Option<Option<Expired>> {
        loop {
            let &(at, serial) = self.order.front()?;
            match &self.places[at] {
                Some(a) if a.serial == serial && a.until > now => return None,
                Some(a) if a.serial == serial => {
                    self.order.pop_front();
                    self.live -= 1;
                    return self.places[at].take().map(|a| a.abandon(pool));
                }
                _ => {
                    self.order.pop_front();
                }
            }
        }
    }

    /// Gives everything up.
    pub fn clear(&mut self, pool: &mut Pool) {
        for at in 0..PLACES {
            self.give_up(pool, at);
        }
        self.order.clear();
    }

    fn place(&self, key: &FragmentKey) -> usize {
        let ([s0, s1], [d0, d1]) = (address_words(key.source), address_words(key.destination));
        let tail = u64::from(key.protocol) << 32 | u64::from(key.id);
        let iface = u64::from(key.iface.0);
        (self.key.sip13(&[s0, s1, d0, d1, iface, tail]) % PLACES as u64) as usize
    }

    /// A new packet in the making at `at`, which is free. False when there is no frame for it.
    fn begin(&mut self, pool: &mut Pool, at: usize, key: FragmentKey, now: Instant) -> bool {
        self.make_room(pool);
        let Some(pkt) = pool.alloc() else { return false };
        self.serial = self.serial.wrapping_add(1);
        self.order.push_back((at, self.serial));
        self.live += 1;
        self.places[at] = Some(Assembly {
            key,
            serial: self.serial,
            until: now + PATIENCE,
            pkt,
            have: [0; UNITS / 64],
            count: 0,
            total: None,
            ecn: 0,
            head: [0; HEAD],
            head_len: 0,
        });
        true
    }

    /// Gives up the oldest while there are too many, and forgets those at the front that are gone already, so
    /// that the order stays as short as what it orders.
    fn make_room(&mut self, pool: &mut Pool) {
        while let Some(&(at, serial)) = self.order.front() {
            let lives = self.places[at].as_ref().is_some_and(|a| a.serial == serial);
            if lives && self.live < self.limit && self.order.len() < 2 * PLACES {
                break;
            }
            self.order.pop_front();
            if lives {
                self.give_up(pool, at);
            }
        }
    }

    fn give_up(&mut self, pool: &mut Pool, at: usize) {
        if let Some(assembly) = self.places[at].take() {
            self.live -= 1;
            pool.free(assembly.pkt);
        }
    }
}

impl Assembly {
    /// Copies a piece to its place. False when it contradicts what is there.
    fn add(&mut self, pool: &mut Pool, from: &Pkt, payload: Range<usize>, fragment: &Fragment) -> bool {
        let end = fragment.offset + payload.len();
        let beyond = match self.total {
            Some(total) => end > total || (!fragment.more && end != total),
            None => !fragment.more && end < self.pkt.len(),
        };
        if beyond {
            return false;
        }
        let units = fragment.offset / UNIT..end.div_ceil(UNIT);
        let new = units.clone().filter(|&unit| !self.has(unit)).count();
        if new == 0 {
            // Twice the same is no contradiction (RFC 8200 §4.5 leaves that open; Linux lets it pass too).
            return pool.bytes(&self.pkt).get(fragment.offset..end) == pool.bytes(from).get(payload);
        }
        if new < units.len() || !pool.copy(from, payload, &mut self.pkt, fragment.offset) {
            return false;
        }
        units.for_each(|unit| self.have[unit / 64] |= 1 << (unit % 64));
        self.count += new;
        self.ecn |= 1 << (fragment.ecn & 3);
        if !fragment.more {
            self.total = Some(end);
        }
        true
    }

    fn has(&self, unit: usize) -> bool {
        self.have[unit / 64] & 1 << (unit % 64) != 0
    }

    fn is_complete(&self) -> bool {
        self.total.is_some_and(|total| self.count == total.div_ceil(UNIT))
    }

    /// The packet, if its ECN bits can be put together (RFC 3168 §5.3): congestion that one piece met is the
    /// packet's, unless another piece says that the transport knows no ECN.
    fn finish(self, pool: &mut Pool) -> Result<Whole, Reason> {
        const NOT_ECT: u8 = 1;
        const CE: u8 = 1 << 3;
        let ecn = match self.ecn {
            seen if seen & CE != 0 && seen & NOT_ECT != 0 => {
                pool.free(self.pkt);
                return Err(Reason::Fragment);
            }
            seen if seen & CE != 0 => 3,
            seen if seen & NOT_ECT != 0 => 0,
            seen if seen & 1 << 1 != 0 => 1,
            _ => 2,
        };
        Ok(Whole { pkt: self.pkt, ecn })
    }

    /// What the sender is to be told of, if its first piece was here.
    fn abandon(self, pool: &mut Pool) -> Option<Expired> {
        let head = usize::from(self.head_len);
        let mut quote = [0; HEAD + UNIT];
        quote[..head].copy_from_slice(&self.head[..head]);
        let start = pool.bytes(&self.pkt).first_chunk::<UNIT>().filter(|_| head > 0);
        let len = start.map(|octets| {
            quote[head..head + UNIT].copy_from_slice(octets);
            head + UNIT
        });
        pool.free(self.pkt);
        let FragmentKey { source, destination, iface, .. } = self.key;
        len.map(|len| Expired { source, destination, iface, quote, len })
    }
}

#[cfg(test)]
mod tests {
    use nic::Arena;

    use super::*;

    const T0: Instant = Instant::from_millis(1000);
    /// The network header that stands in front of every piece here.
    const HEADER: [u8; 20] = [0x45; 20];

    struct Bench {
        pool: Pool,
        fragments: Fragments,
    }

    fn key(id: u32) -> FragmentKey {
        let at = |host| IpAddr::from([192, 0, 2, host]);
        FragmentKey { source: at(2), destination: at(1), id, protocol: 6, iface: IfaceId(3) }
    }

    fn octet(n: usize) -> u8 {
        (n * 7 + n / 256) as u8
    }

    impl Bench {
        fn new(frames: u32) -> Self {
            let pool = Pool::new(Arena::new(frames, 2048).unwrap());
            Self { fragments: Fragments::new(HashKey::new([3; 16]), frames), pool }
        }

        /// Octets `range` of packet `id` arrive, those of its stream or others.
        fn piece(&mut self, id: u32, range: Range<usize>, more: bool) -> Result<Option<Whole>, Reason> {
            self.piece_with(Fragment { key: key(id), offset: range.start, more, ecn: 0 }, range, T0, octet)
        }

        fn piece_with(
            &mut self,
            fragment: Fragment,
            range: Range<usize>,
            now: Instant,
            octet: fn(usize) -> u8,
        ) -> Result<Option<Whole>, Reason> {
            let bytes: Vec<u8> = HEADER.into_iter().chain(range.clone().map(octet)).collect();
            let mut pkt = self.pool.alloc().expect("a frame to receive into");
            let fill = |room: &mut [u8]| {
                room.copy_from_slice(&bytes);
                Ok::<_, ()>(room.len())
            };
            self.pool.append_with(&mut pkt, bytes.len(), fill).unwrap().unwrap();
            let parts = (0..HEADER.len(), HEADER.len()..bytes.len());
            self.fragments.take(&mut self.pool, pkt, parts, &fragment, now)
        }

        /// The packet must be whole, with `len` octets of its stream.
        #[track_caller]
        fn whole(&mut self, taken: Result<Option<Whole>, Reason>, len: usize) -> u8 {
            let whole = taken.unwrap().expect("a whole packet");
            assert!(self.pool.bytes(&whole.pkt).iter().copied().eq((0..len).map(octet)));
            self.pool.free(whole.pkt);
            whole.ecn
        }

        /// Nothing is in the making and every frame is back.
        #[track_caller]
        fn close_books(mut self) {
            assert!(self.fragments.is_empty());
            assert_eq!(self.pool.available(), self.pool.frames() as usize);
            self.fragments.clear(&mut self.pool);
        }
    }

    /// RFC 791 §3.2: in whatever order they come.
    #[test]
    fn pieces_in_any_order_make_a_packet() {
        let pieces = [(0..480, true), (480..960, true), (960..1001, false)];
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let mut b = Bench::new(64);
            for at in &order[..2] {
                let (range, more) = pieces[*at].clone();
                assert!(b.piece(1, range, more).unwrap().is_none());
                assert_eq!(b.fragments.len(), 1);
            }
            let (range, more) = pieces[order[2]].clone();
            let taken = b.piece(1, range, more);
            b.whole(taken, 1001);
            assert_eq!(b.fragments.next_deadline(), Instant::NEVER);
            b.close_books();
        }
    }

    #[test]
    fn packets_are_told_apart_by_all_that_names_them() {
        let mut b = Bench::new(64);
        let fragment = |key, offset, more| Fragment { key, offset, more, ecn: 0 };
        let ours = key(9);
        let others = [
            FragmentKey { id: 10, ..ours },
            FragmentKey { protocol: 17, ..ours },
            FragmentKey { iface: IfaceId(4), ..ours },
            FragmentKey { source: [192, 0, 2, 3].into(), ..ours },
            FragmentKey { destination: "2001:db8::1".parse().unwrap(), ..ours },
        ];
        assert!(b.piece_with(fragment(ours, 0, true), 0..8, T0, octet).unwrap().is_none());
        for other in others {
            let taken = b.piece_with(fragment(other, 8, false), 8..16, T0, octet);
            assert!(taken.unwrap().is_none(), "{other:?}");
        }
        b.fragments.clear(&mut b.pool);
        b.close_books();
    }

    /// RFC 5722 §4: an overlap condemns the packet; RFC 8200 §4.5 lets an exact repetition pass.
    #[test]
    fn an_overlap_condemns_and_a_repetition_does_not() {
        let mut b = Bench::new(64);
        assert!(b.piece(1, 0..480, true).unwrap().is_none());
        assert!(b.piece(1, 0..480, true).unwrap().is_none());
        assert!(b.piece(1, 8..16, true).unwrap().is_none());
        let taken = b.piece(1, 480..500, false);
        b.whole(taken, 500);

        for (range, more) in [(472..960, true), (0..488, true), (472..490, false)] {
            assert!(b.piece(2, 0..480, true).unwrap().is_none());
            assert_eq!(b.piece(2, range, more).unwrap_err(), Reason::Fragment);
            assert!(b.fragments.is_empty());
        }
        // The same place, other octets.
        assert!(b.piece(3, 0..480, true).unwrap().is_none());
        let again = Fragment { key: key(3), offset: 0, more: true, ecn: 0 };
        assert_eq!(b.piece_with(again, 0..480, T0, |_| 0x5a).unwrap_err(), Reason::Fragment);
        b.close_books();
    }

    #[test]
    fn an_end_that_contradicts_another_condemns() {
        for (first, second) in [
            ((480..500, false), (480..960, true)),
            ((480..500, false), (496..504, true)),
            ((480..500, false), (504..520, false)),
            ((480..960, true), (0..80, false)),
        ] {
            let mut b = Bench::new(64);
            assert!(b.piece(1, first.0, first.1).unwrap().is_none());
            assert_eq!(b.piece(1, second.0.clone(), second.1).unwrap_err(), Reason::Fragment, "{second:?}");
            b.close_books();
        }
    }

    /// RFC 8200 §4.5: a length that is no multiple of eight, and a packet too long for anybody.
    #[test]
    fn pieces_that_make_no_sense_are_refused_alone() {
        let mut b = Bench::new(64);
        assert!(b.piece(1, 0..480, true).unwrap().is_none());
        for (range, more) in [(480..485, true), (480..480, true), (480..480, false), (1850..1860, false)] {
            assert_eq!(b.piece(1, range, more).unwrap_err(), Reason::Fragment);
        }
        let beyond = Fragment { key: key(1), offset: 65_528, more: false, ecn: 0 };
        assert_eq!(b.piece_with(beyond, 0..100, T0, octet).unwrap_err(), Reason::Fragment);
        let taken = b.piece(1, 480..485, false);
        b.whole(taken, 485);
        b.close_books();
    }

    #[test]
    fn the_frames_held_are_bounded_and_the_oldest_make_room() {
        let mut b = Bench::new(64);
        for id in 0..10_000 {
            assert!(b.piece(id, 0..8, true).unwrap().is_none());
            assert!(b.fragments.len() <= 64 / SHARE);
            assert!(b.fragments.order.len() <= 2 * PLACES);
        }
        let taken = b.piece(9_999, 8..16, false);
        b.whole(taken, 16);
        assert!(b.piece(0, 8..16, false).unwrap().is_none(), "the first was given up long ago");
        b.fragments.clear(&mut b.pool);
        b.close_books();
    }

    #[test]
    fn without_a_frame_the_piece_is_lost() {
        let mut b = Bench::new(2);
        let held = b.pool.alloc().unwrap();
        assert_eq!(b.piece(1, 0..8, true).unwrap_err(), Reason::NoFrames);
        b.pool.free(held);
        b.close_books();
    }

    /// RFC 1122 §3.3.2: after its time a packet is given up, and the sender told if its beginning was here.
    #[test]
    fn time_runs_out() {
        let mut b = Bench::new(64);
        let later = T0 + Duration::from_secs(1);
        assert!(b.piece(1, 0..480, true).unwrap().is_none());
        let second = Fragment { key: key(2), offset: 480, more: true, ecn: 0 };
        assert!(b.piece_with(second, 480..488, later, octet).unwrap().is_none());
        assert_eq!(b.fragments.next_deadline(), T0 + PATIENCE);
        assert!(b.fragments.expire(&mut b.pool, later).is_none());
        let told = b.fragments.expire(&mut b.pool, T0 + PATIENCE).unwrap().expect("a sender to tell");
        assert_eq!((told.source, told.destination), (key(1).source, key(1).destination));
        let quote: Vec<u8> = HEADER.into_iter().chain((0..8).map(octet)).collect();
        assert_eq!(told.quote(), quote);
        assert_eq!(b.fragments.next_deadline(), later + PATIENCE);
        assert!(b.fragments.expire(&mut b.pool, later + PATIENCE).unwrap().is_none(), "no beginning");
        assert!(b.fragments.expire(&mut b.pool, Instant::NEVER).is_none());
        // A piece of a packet whose time is over, not yet cleared away, begins anew.
        assert!(b.piece(3, 0..8, true).unwrap().is_none());
        let late = Fragment { key: key(3), offset: 8, more: false, ecn: 0 };
        assert!(b.piece_with(late, 8..16, T0 + PATIENCE, octet).unwrap().is_none());
        b.fragments.clear(&mut b.pool);
        b.close_books();
    }

    /// RFC 3168 §5.3.
    #[test]
    fn congestion_that_one_piece_met_is_the_packet_s() {
        let packet = |first: u8, second: u8| {
            let mut b = Bench::new(64);
            let piece = |offset, more, ecn| Fragment { key: key(1), offset, more, ecn };
            assert!(b.piece_with(piece(0, true, first), 0..8, T0, octet).unwrap().is_none());
            let ecn = match b.piece_with(piece(8, false, second), 8..16, T0, octet) {
                Ok(whole) => Ok(b.whole(Ok(whole), 16)),
                Err(reason) => Err(reason),
            };
            b.close_books();
            ecn
        };
        const NOT_ECT: u8 = 0;
        const ECT1: u8 = 1;
        const ECT0: u8 = 2;
        const CE: u8 = 3;
        for (first, second, both) in [
            (NOT_ECT, NOT_ECT, Ok(NOT_ECT)),
            (ECT0, ECT0, Ok(ECT0)),
            (ECT1, ECT1, Ok(ECT1)),
            (ECT0, CE, Ok(CE)),
            (CE, ECT1, Ok(CE)),
            (CE, CE, Ok(CE)),
            (NOT_ECT, ECT0, Ok(NOT_ECT)),
            (NOT_ECT, CE, Err(Reason::Fragment)),
            (CE, NOT_ECT, Err(Reason::Fragment)),
        ] {
            assert_eq!(packet(first, second), both, "{first} {second}");
        }
    }
}
