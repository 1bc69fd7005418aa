//! What all gates of a port saw lately, in memory that its processes share: a ring of records of a fixed size. Whoever has
//! something appends it, and waits for nobody; who reads goes through it from the oldest record that is there. So what was
//! seen outlives whoever saw it, and whoever told of it.
//!
//! A record is taken by one addition and published by its last store. One whose writer was killed between the two is
//! passed over after a while; one that was written over before it was read is counted by what it stood for.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use stack::time::Instant;
use stack::types::Direction;

use super::desk::{Process, Seen};
use super::scan::Carrier;

/// Words of a record.
const RECORD: usize = 32;
/// Words in front of the records.
const HEAD: usize = 8;
/// Records of a port's log.
const RECORDS: usize = 4096;
/// Words of a port's log.
pub(crate) const WORDS: usize = HEAD + RECORDS * RECORD;
/// Bytes of a record for names.
const TEXT: usize = (RECORD - FIXED) * 8;
/// Words in front of the names.
const FIXED: usize = 11;
/// The most of a command, and of the name of a table; a rule's has the rest.
const COMMAND: usize = 16;
const TABLE: usize = 64;
/// More than a record stands for.
const MANY: u64 = u32::MAX as u64;
/// A record that was begun this long ago is not going to be there.
const LOST: Duration = Duration::from_secs(1);

/// The words in front of the records, by place: records begun; what they stand for, together; the first that matters.
const BEGUN: usize = 0;
const SUM: usize = 1;
const FROM: usize = 2;

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) at: Instant,
    /// How often.
    pub(super) count: u64,
    /// What; none: nobody looked.
    pub(super) seen: Option<Seen>,
}

/// The log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Log {
    words: &'static [AtomicU64],
}

/// How far somebody has read.
#[derive(Debug)]
pub(super) struct Reader {
    next: u64,
    /// What the records before stand for, those that were not read included; not known at first.
    sum: Option<u64>,
    /// What was read.
    read: u64,
    /// Since when the next one is not there, though it was begun.
    missing: Option<Instant>,
}

impl Log {
    /// A log in these words, of which all are zero at first: a head, and a power of two records.
    pub(super) fn new(words: &'static [AtomicU64]) -> Self {
        assert!(words.len() > HEAD && ((words.len() - HEAD) / RECORD).is_power_of_two());
        Self { words }
    }

    /// How many there are at the most.
    pub(super) fn records(&self) -> u64 {
        ((self.words.len() - HEAD) / RECORD) as u64
    }

    fn record(&self, index: u64) -> &'static [AtomicU64] {
        let at = HEAD + (index % self.records()) as usize * RECORD;
        &self.words[at..at + RECORD]
    }

    /// Adds a record.
    pub(super) fn append(&self, entry: &Entry) {
        let body = encode(entry);
        // In this order: whoever has read all records that were begun knows what they stand for.
        let index = self.words[BEGUN].fetch_add(1, Ordering::AcqRel);
        self.words[SUM].fetch_add(entry.count, Ordering::AcqRel);
        let record = self.record(index);
        record[0].store(0, Ordering::Release);
        record[1].store(check(index, &body), Ordering::Relaxed);
        for (word, value) in record[2..].iter().zip(body) {
            word.store(value, Ordering::Relaxed);
        }
        record[0].store(index.wrapping_add(1), Ordering::Release);
    }

    /// What is there by now is over: nobody reads it again.
    pub(super) fn close(&self) {
        self.words[FROM].store(self.words[BEGUN].load(Ordering::Acquire), Ordering::Release);
    }

    /// Reads from the oldest record on that matters and is there.
    pub(super) fn reader(&self) -> Reader {
        let oldest = self.words[BEGUN].load(Ordering::Acquire).saturating_sub(self.records());
        let next = oldest.max(self.words[FROM].load(Ordering::Acquire));
        Reader { next, sum: None, read: 0, missing: None }
    }
}

impl Reader {
    /// The next record; none for now.
    pub(super) fn next(&mut self, log: &Log, now: Instant) -> Option<Entry> {
        // Not for longer, whatever others write meanwhile.
        for _ in 0..=log.records() {
            let begun = log.words[BEGUN].load(Ordering::Acquire);
            if self.next >= begun {
                return None;
            }
            let oldest = begun.saturating_sub(log.records());
            if self.next < oldest {
                (self.next, self.missing) = (oldest, None);
            }
            let index = self.next;
            let record = log.record(index);
            let mark = record[0].load(Ordering::Acquire);
            let told = record[1].load(Ordering::Relaxed);
            let body = std::array::from_fn(|n| record[2 + n].load(Ordering::Relaxed));
            let whole = mark == index + 1 && told == check(index, &body);
            if !whole && mark <= index + 1 {
                // Its writer is about to finish it, or was killed.
                if now.since(*self.missing.get_or_insert(now)) < LOST {
                    return None;
                }
            }
            (self.next, self.missing) = (index + 1, None);
            if whole {
                let entry = decode(&body);
                self.read += entry.count;
                return Some(entry);
            }
        }
        None
    }

    /// When one that is not there yet is passed over at the latest.
    pub(super) fn due(&self) -> Instant {
        self.missing.map_or(Instant::NEVER, |since| since + LOST)
    }

    /// What was never read of what all records stand for, since this was asked last; none before that is known.
    pub(super) fn missed(&mut self, log: &Log) -> u64 {
        let sum = log.words[SUM].load(Ordering::Acquire);
        if log.words[BEGUN].load(Ordering::Acquire) != self.next {
            return 0;
        }
        let known = self.sum.map(|before| sum.wrapping_sub(before).saturating_sub(self.read).min(MANY));
        (self.sum, self.read) = (Some(sum), 0);
        known.unwrap_or(0)
    }
}

type Body = [u64; RECORD - 2];

/// What tells a record that two have written from one that is whole.
fn check(index: u64, body: &Body) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    body.iter().fold(index.wrapping_add(ODD), |sum, word| (sum ^ word).wrapping_mul(ODD).rotate_left(29))
}

/// Bits of the third word of a body, above the carrier.
const OUT: u64 = 1 << 32;
const PERMITTED: u64 = 1 << 33;
const LIMITED: u64 = 1 << 34;
const DROPPED: u64 = 1 << 35;
const SEEN: u64 = 1 << 36;

fn encode(Entry { at, count, seen }: &Entry) -> Body {
    let mut body = [0; RECORD - 2];
    (body[0], body[1]) = (at.as_nanos(), *count);
    let Some(seen) = seen else { return body };
    let (command, table) = (cut(&seen.process.command, COMMAND), cut(&seen.table, TABLE));
    let rule = cut(&seen.rule, TEXT - command.len() - table.len());
    let bit = |is: bool, bit: u64| if is { bit } else { 0 };
    let carrier = match seen.carrier {
        Carrier::Tcp(None) => 0,
        Carrier::Tcp(Some(flags)) => 1 | u64::from(flags) << 8,
        Carrier::Udp => 2,
        Carrier::Icmp => 3,
        Carrier::Other => 4,
    };
    body[2] = carrier
        | SEEN
        | bit(seen.direction == Direction::Out, OUT)
        | bit(seen.permitted, PERMITTED)
        | bit(seen.limited, LIMITED)
        | bit(seen.dropped, DROPPED);
    body[3] = u64::from(seen.process.pid)
        | (command.len() as u64) << 32
        | (table.len() as u64) << 40
        | (rule.len() as u64) << 48;
    let octets = |end: SocketAddr| match end.ip() {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    };
    let (local, remote) = (octets(seen.local), octets(seen.remote));
    [body[4], body[5], body[6], body[7]] =
        [(local >> 64) as u64, local as u64, (remote >> 64) as u64, remote as u64];
    let mut text = [0; TEXT];
    let names = command.bytes().chain(table.bytes()).chain(rule.bytes());
    text.iter_mut().zip(names).for_each(|(to, from)| *to = from);
    let (words, _) = text.as_chunks();
    body[8] = u64::from(seen.local.port()) | u64::from(seen.remote.port()) << 16;
    body[9..].iter_mut().zip(words).for_each(|(to, from)| *to = u64::from_ne_bytes(*from));
    body
}

fn decode(body: &Body) -> Entry {
    let (at, count, bits) = (Instant::from_nanos(body[0]), body[1].min(MANY), body[2]);
    if bits & SEEN == 0 {
        return Entry { at, count, seen: None };
    }
    let mut text = [0; TEXT];
    let (words, _) = text.as_chunks_mut();
    words.iter_mut().zip(&body[9..]).for_each(|(to, from)| *to = from.to_ne_bytes());
    let mut rest = &text[..];
    let mut name = |shift: u32| {
        let (name, behind) = rest.split_at((body[3] >> shift & 0xff).min(rest.len() as u64) as usize);
        rest = behind;
        String::from_utf8_lossy(name).into_owned()
    };
    let (command, table, rule) = (name(32), name(40), name(48));
    let end = |at: usize, port: u64| {
        let address = Ipv6Addr::from_bits(u128::from(body[at]) << 64 | u128::from(body[at + 1]));
        SocketAddr::new(address.to_canonical(), port as u16)
    };
    let seen = Seen {
        process: Process { pid: body[3] as u32, command },
        carrier: match bits & 0xff {
            0 => Carrier::Tcp(None),
            1 => Carrier::Tcp(Some((bits >> 8) as u8)),
            2 => Carrier::Udp,
            3 => Carrier::Icmp,
            _ => Carrier::Other,
        },
        local: end(4, body[8]),
        remote: end(6, body[8] >> 16),
        direction: if bits & OUT == 0 { Direction::In } else { Direction::Out },
        permitted: bits & PERMITTED != 0,
        limited: bits & LIMITED != 0,
        dropped: bits & DROPPED != 0,
        table,
        rule,
    };
    Entry { at, count, seen: Some(seen) }
}

/// So much of a name.
fn cut(name: &str, most: usize) -> &str {
    let end = (0..=most.min(name.len())).rev().find(|at| name.is_char_boundary(*at));
    &name[..end.unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(in super::super) fn words(records: usize) -> &'static [AtomicU64] {
        Box::leak((0..HEAD + records * RECORD).map(|_| AtomicU64::new(0)).collect())
    }

    fn entry(n: u64) -> Entry {
        Entry { at: Instant::from_millis(n), count: n, seen: None }
    }

    fn rest(reader: &mut Reader, log: &Log, now: Instant) -> Vec<u64> {
        std::iter::from_fn(|| reader.next(log, now)).map(|entry| entry.count).collect()
    }

    #[test]
    fn a_record_says_what_was_seen() {
        let log = Log::new(words(4));
        let seen = Seen {
            process: Process { pid: 77, command: "a command of many letters".into() },
            carrier: Carrier::Tcp(Some(0x29)),
            local: "[2001:db8::1]:22".parse().unwrap(),
            remote: "10.0.0.9:65535".parse().unwrap(),
            direction: Direction::Out,
            permitted: false,
            limited: true,
            dropped: true,
            table: "ä".repeat(40),
            rule: "r".repeat(300),
        };
        log.append(&Entry { at: Instant::from_millis(5), count: 3, seen: Some(seen.clone()) });
        let told = log.reader().next(&log, Instant::ZERO).unwrap();
        let expected = Seen {
            process: Process { pid: 77, command: "a command of man".into() },
            table: "ä".repeat(32),
            rule: "r".repeat(TEXT - 16 - 64),
            ..seen
        };
        assert_eq!(told, Entry { at: Instant::from_millis(5), count: 3, seen: Some(expected) });
    }

    #[test]
    fn who_reads_late_knows_how_much_it_missed() {
        let log = Log::new(words(4));
        let mut reader = log.reader();
        assert_eq!(reader.missed(&log), 0);
        (1..=10).for_each(|n| log.append(&entry(n)));
        assert_eq!(rest(&mut reader, &log, Instant::ZERO), [7, 8, 9, 10]);
        assert_eq!((reader.missed(&log), reader.missed(&log)), (21, 0));
        log.append(&entry(11));
        assert_eq!((rest(&mut reader, &log, Instant::ZERO), reader.missed(&log)), (vec![11], 0));
        assert_eq!(rest(&mut log.reader(), &log, Instant::ZERO), [8, 9, 10, 11], "who comes later");
        log.close();
        assert_eq!(rest(&mut log.reader(), &log, Instant::ZERO), [0; 0]);
    }

    #[test]
    fn a_record_whose_writer_was_killed_is_passed_over_and_counted() {
        let log = Log::new(words(4));
        let mut reader = log.reader();
        assert_eq!(reader.missed(&log), 0);
        log.append(&entry(1));
        log.words[BEGUN].fetch_add(1, Ordering::AcqRel);
        log.words[SUM].fetch_add(5, Ordering::AcqRel);
        log.append(&entry(2));
        let at = Instant::from_millis;
        assert_eq!(rest(&mut reader, &log, at(10)), [1]);
        assert_eq!((rest(&mut reader, &log, at(1009)), reader.missed(&log)), (vec![], 0));
        assert_eq!((rest(&mut reader, &log, at(1010)), reader.missed(&log)), (vec![2], 5));
    }

    #[test]
    fn a_record_that_two_have_written_is_none() {
        let log = Log::new(words(4));
        let mut reader = log.reader();
        log.append(&entry(1));
        log.record(0)[2].store(99, Ordering::Relaxed);
        assert_eq!(rest(&mut reader, &log, Instant::ZERO), [0; 0]);
        log.append(&entry(2));
        assert_eq!(rest(&mut reader, &log, Instant::from_millis(2000)), [2]);
    }

    /// Every one of them once, whoever writes beside whom.
    #[test]
    fn writers_beside_each_other_lose_nothing_uncounted() {
        const EACH: u64 = 2000;
        let log = Log::new(words(64));
        let mut reader = log.reader();
        assert_eq!(reader.missed(&log), 0);
        let (mut sum, now) = (0, Instant::ZERO);
        std::thread::scope(|scope| {
            let write = || (0..EACH).for_each(|_| log.append(&entry(1)));
            let writers = [scope.spawn(write), scope.spawn(write), scope.spawn(write)];
            while writers.iter().any(|writer| !writer.is_finished()) {
                sum += rest(&mut reader, &log, now).iter().sum::<u64>() + reader.missed(&log);
            }
        });
        sum += rest(&mut reader, &log, now).iter().sum::<u64>();
        // One that two have written at once stays unread for a second.
        sum += rest(&mut reader, &log, Instant::from_millis(2000)).iter().sum::<u64>();
        (3..200).for_each(|n| sum += rest(&mut reader, &log, Instant::from_millis(n * 1000)).len() as u64);
        assert_eq!(sum + reader.missed(&log), 3 * EACH);
    }
}
