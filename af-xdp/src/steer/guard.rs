//! The guard: what the program itself carries out of a policy (`bpf/guard.h`).
//!
//! There are two banks. A new guard is written into the one that is not in force, and one store puts it there; the
//! program looks at that word before and after it has judged, so no packet is judged by half of it.

use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering, fence};

use super::Steering;
use super::keys::{
    ALARM_WORDS, ALARMS, CLASSES, FLOW_WORDS, FlowKey, GUARD_TABLES, GUARD_WORDS, PLACE, SLOT, SteeredFlow,
    TABLE_WORDS, TALLIES, sixteen,
};
use crate::error::{At, SetupError, Step};
use crate::mapped::Words;
use crate::sys::BpfMap;

/// In `struct steer_config`: the guard in force and the highest there was, as words of 32 bits; of what it was made.
const GUARD: usize = 6;
const HIGHEST: usize = 7;
const MARK: usize = 4;
/// In the first entry of the alarms: how many there were, and how many of them were taken away.
const WRITTEN: usize = 0;
const TAKEN: usize = 1;
/// No rule decided.
const NO_RULE: u32 = u32::MAX;
/// The rules of a table have no counts of their own.
const UNTALLIED: u32 = u32::MAX;
/// Among the flags of a table (`enum steer_table_flag`).
const MONITOR: u8 = 8;
/// How often an alarm that is being written is looked at.
const LOOKS: usize = 1000;

const PLACES_SHAPE: (usize, usize) = (PLACE, SLOT);
const CLASSES_SHAPE: (usize, usize) = (4, GUARD_WORDS * 8);
const TABLES_SHAPE: (usize, usize) = (4, TABLE_WORDS * 8);
/// Words of `struct steer_tally`.
const TALLY_WORDS: usize = 2;
const TALLIES_SHAPE: (usize, usize) = (4, TALLY_WORDS * 8);
const ALARMS_SHAPE: (usize, usize) = (4, ALARM_WORDS * 8);

/// Tables of rules in the form that the program reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Guard {
    /// At most [`GUARD_TABLES`].
    pub tables: Vec<GuardTable>,
    /// Which class of rules matches where.
    pub places: Vec<(Place, u32)>,
    /// Sets of a table's rules, the first rule in the lowest bit; at most [`CLASSES`], and the first is empty.
    pub classes: Vec<[u64; GUARD_WORDS]>,
}

/// A table of a [`Guard`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GuardTable {
    /// What no stack has asked for is judged before the kernel sees it, ICMP and all else too.
    pub cloak: bool,
    /// TCP and UDP are judged wherever they go.
    pub offload: bool,
    /// Datagrams go out: those that come to a stack's socket may be replies, which it tells apart.
    pub udp_out: bool,
    /// What it denies is counted and told of, and passes; what comes to a stack's socket is left to the stack.
    pub monitor: bool,
    /// Where the [tallies](Steering::tally) of its rules begin, of which a guard has [`TALLIES`]; it has none.
    pub tallies: Option<u32>,
    /// The class of its rules that permit.
    pub allow: u32,
    /// The classes of its rules for TCP, UDP, ICMP and ICMPv6.
    pub protocol: [u32; 4],
}

/// Addresses or numbers of a table that share their first bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// What they are.
    pub kind: PlaceKind,
    /// The table, by its place in the guard.
    pub table: u8,
    /// The first of them, the rest is zero: an address, or a port in network order.
    pub data: [u8; 16],
    /// Bits that they share.
    pub len: u8,
}

/// What a [`Place`] is about (`enum steer_kind`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PlaceKind {
    /// Remote IPv4 addresses.
    Remote4 = 1,
    /// Remote IPv6 addresses.
    Remote6 = 2,
    /// Local ports.
    LocalPort = 3,
    /// Remote ports.
    RemotePort = 4,
    /// Types and codes of ICMP, the type in the upper byte.
    IcmpType = 5,
}

/// The kind of a local address: the lowest, and kinds come first in a key, so the trie has them before all else.
const LOCAL: u8 = 0;
/// In the key of a place: its kind and its bank.
const KIND: usize = 4;
const BANK: usize = 5;

/// A packet that the program kept out, or would have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// Protocol and ends; of ICMP the local port is type and code.
    pub flow: SteeredFlow,
    /// The flags of a TCP segment.
    pub tcp_flags: u8,
    /// The guard that judged it.
    pub guard: u32,
    /// The table, by its place in the guard.
    pub table: u16,
    /// The rule that says so, by its place among the table's bits; none does.
    pub rule: Option<u32>,
    /// It was; of a table that only monitors it was not.
    pub dropped: bool,
}

/// A guard that is written, and not in force yet.
#[derive(Debug)]
#[must_use]
pub struct PreparedGuard {
    number: u32,
    mark: u64,
}

/// The maps of the guard.
#[derive(Debug)]
pub(super) struct Guards {
    places: BpfMap,
    classes: BpfMap,
    tables: BpfMap,
    tallies: Words,
    alarms: Words,
}

impl Guards {
    pub(super) fn over(
        map: impl Fn(&str, (usize, usize)) -> Result<BpfMap, SetupError>,
    ) -> Result<Self, SetupError> {
        let words = |name, shape: (usize, usize), n: usize| {
            Words::of_map(map(name, shape)?.into_fd(), n * shape.1).at(Step::Load)
        };
        Ok(Self {
            places: map("places", PLACES_SHAPE)?,
            classes: map("classes", CLASSES_SHAPE)?,
            tables: map("tables", TABLES_SHAPE)?,
            tallies: words("tallies", TALLIES_SHAPE, 2 * TALLIES)?,
            alarms: words("alarms", ALARMS_SHAPE, 1 + ALARMS as usize)?,
        })
    }

    pub(super) fn fds(&self) -> [&OwnedFd; 5] {
        [self.places.fd(), self.classes.fd(), self.tables.fd(), self.tallies.fd(), self.alarms.fd()]
    }

    /// Packets and bytes of a rule.
    fn tally(&self, bank: u8, at: u32) -> [&AtomicU64; TALLY_WORDS] {
        self.tallies.longs((usize::from(bank) * TALLIES + at as usize) * TALLY_WORDS)
    }

    fn write(&self, bank: u8, guard: &Guard) -> io::Result<()> {
        for key in self.places.keys_where(|key, _| key[BANK] == bank)? {
            self.places.delete(&key)?;
        }
        for (at, class) in (0..).zip(&guard.classes) {
            let at: u32 = at + u32::from(bank) * CLASSES as u32;
            let bytes: Vec<u8> = class.iter().flat_map(|word| word.to_ne_bytes()).collect();
            self.classes.update(&at.to_ne_bytes(), &bytes)?;
        }
        for at in 0..TALLIES as u32 {
            self.tally(bank, at).into_iter().for_each(|word| word.store(0, Ordering::Relaxed));
        }
        for (at, table) in (0..).zip(&guard.tables) {
            self.tables.update(&table_at(bank, at).to_ne_bytes(), &table.bytes())?;
        }
        guard
            .places
            .iter()
            .try_for_each(|(place, class)| self.places.update(&place.key(bank), &class.to_ne_bytes()))
    }
}

fn table_at(bank: u8, table: u32) -> u32 {
    u32::from(bank) * GUARD_TABLES as u32 + table
}

fn bank(number: u32) -> u8 {
    (number & 1) as u8
}

/// `struct steer_place`; of `data`, `len` bits count.
fn key(bank: u8, kind: u8, table: u8, data: [u8; 16], len: u8) -> [u8; PLACE] {
    let mut key = [0; PLACE];
    key[..4].copy_from_slice(&(32 + u32::from(len)).to_ne_bytes());
    (key[KIND], key[BANK], key[6]) = (kind, bank, table);
    key[8..].copy_from_slice(&data);
    key
}

/// The key of a local address of the host.
fn local(number: u32, address: IpAddr) -> [u8; PLACE] {
    key(bank(number), LOCAL, 0, sixteen(address), 128)
}

impl Place {
    fn key(&self, bank: u8) -> [u8; PLACE] {
        key(bank, self.kind as u8, self.table, self.data, self.len)
    }
}

impl GuardTable {
    fn bytes(&self) -> [u8; TABLE_WORDS * 8] {
        let flags = [self.cloak, self.offload, self.udp_out, self.monitor];
        let flags = (0..).zip(flags).fold(0, |all, (bit, is)| all | u32::from(is) << bit);
        let mut bytes = [0; TABLE_WORDS * 8];
        let tallies = self.tallies.unwrap_or(UNTALLIED);
        let words = [flags, self.allow].into_iter().chain(self.protocol).chain([tallies]);
        for (room, word) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(words) {
            *room = word.to_ne_bytes();
        }
        bytes
    }
}

impl Steering {
    /// The number of the guard in force; none is: zero.
    pub fn guard(&self) -> u32 {
        self.config.word(GUARD).load(Ordering::Acquire)
    }

    /// What the guard in force was marked with.
    pub fn guard_mark(&self) -> u64 {
        if self.guard() == 0 { 0 } else { self.config.long(MARK).load(Ordering::Relaxed) }
    }

    /// Writes `guard`, to be marked with `mark`, for local addresses with the numbers of their tables. Nobody else may do
    /// so before it is [in force](Steering::enforce_guard), or given up: until then the one before stays.
    ///
    /// # Errors
    /// The operating system's; `E2BIG` when the guard is too large.
    pub fn prepare_guard(
        &self,
        mark: u64,
        guard: &Guard,
        locals: &[(IpAddr, u8)],
    ) -> io::Result<PreparedGuard> {
        if guard.tables.len() > GUARD_TABLES || guard.classes.len() > CLASSES {
            return Err(io::Error::from_raw_os_error(libc::E2BIG));
        }
        let number = self.config.word(HIGHEST).load(Ordering::Relaxed).wrapping_add(1).max(1);
        self.guards.write(bank(number), guard)?;
        for (address, table) in locals {
            self.guard_local(number, *address, Some(*table))?;
        }
        Ok(PreparedGuard { number, mark })
    }

    /// Puts a guard in force that was prepared here. Its number.
    pub fn enforce_guard(&self, prepared: PreparedGuard) -> u32 {
        let PreparedGuard { number, mark } = prepared;
        self.config.word(HIGHEST).store(number, Ordering::Relaxed);
        self.config.long(MARK).store(mark, Ordering::Relaxed);
        self.config.word(GUARD).store(number, Ordering::Release);
        number
    }

    /// No guard is in force any more.
    pub fn clear_guard(&self) {
        self.config.word(GUARD).store(0, Ordering::Release);
    }

    /// The host has a local address that is a table's of guard `number`, or that is nobody's.
    ///
    /// # Errors
    /// The operating system's.
    pub fn guard_local(&self, number: u32, address: IpAddr, table: Option<u8>) -> io::Result<()> {
        let key = local(number, address);
        match table {
            Some(table) => self.guards.places.update(&key, &u32::from(table).to_ne_bytes()),
            None => self.guards.places.delete(&key),
        }
    }

    /// The host has these local addresses, with the numbers of their tables, and no others that guard `number` is about.
    ///
    /// # Errors
    /// The operating system's.
    pub fn guard_locals(&self, number: u32, locals: &[(IpAddr, u8)]) -> io::Result<()> {
        for (address, table) in locals {
            self.guard_local(number, *address, Some(*table))?;
        }
        let is_here =
            |key: &[u8]| locals.iter().any(|(address, _)| local(number, *address).as_slice() == key);
        let known = self.guards.places.keys_while(|key| key[KIND] == LOCAL)?;
        let gone = known.iter().filter(|key| key[BANK] == bank(number) && !is_here(key));
        gone.into_iter().try_for_each(|key| self.guards.places.delete(key))
    }

    /// Packets and bytes of IP that the program kept from the addresses of a table of guard `number`, or would have.
    ///
    /// # Errors
    /// The operating system's.
    pub fn kept_out(&self, number: u32, table: u8) -> io::Result<(u64, u64)> {
        let mut bytes = [0; TABLE_WORDS * 8];
        self.guards.tables.lookup(&table_at(bank(number), table.into()).to_ne_bytes(), &mut bytes)?;
        let word = |at: usize| u64::from_ne_bytes(std::array::from_fn(|n| bytes[at * 8 + n]));
        Ok((word(4), word(5)))
    }

    /// The same by a rule of guard `number`, whose count is in this place of those that there are.
    ///
    /// # Panics
    /// When there are not as many.
    pub fn tally(&self, number: u32, at: u32) -> (u64, u64) {
        assert!((at as usize) < TALLIES, "tally {at} is outside");
        let [packets, bytes] = self.guards.tally(bank(number), at);
        (packets.load(Ordering::Relaxed), bytes.load(Ordering::Relaxed))
    }

    /// Takes away what tells of packets that were kept out: whoever comes first has it. How many more there were, of
    /// which nothing else is known.
    pub fn take_alarms(&self, mut each: impl FnMut(Alarm)) -> u64 {
        let words = &self.guards.alarms;
        let (written, taken) = (words.long(WRITTEN), words.long(TAKEN));
        let (end, begin) = (written.load(Ordering::Acquire), taken.load(Ordering::Relaxed));
        if end == begin || taken.compare_exchange(begin, end, Ordering::AcqRel, Ordering::Relaxed).is_err() {
            return 0;
        }
        let first = begin.max(end.saturating_sub(ALARMS));
        let mut lost = first.saturating_sub(begin);
        for number in first..end {
            match alarm(words, number) {
                Some(alarm) => each(alarm),
                None => lost += 1,
            }
        }
        lost
    }
}

/// The alarm of this number, unless others came in its place.
fn alarm(words: &Words, number: u64) -> Option<Alarm> {
    let first = (1 + (number % ALARMS) as usize) * ALARM_WORDS;
    let word = |at: usize| words.long(first + at).load(Ordering::Relaxed);
    let mark = words.long(first + ALARM_WORDS - 1);
    let is_whole = || mark.load(Ordering::Acquire) == number + 1;
    if !(0..LOOKS).any(|_| {
        is_whole() || {
            std::hint::spin_loop();
            false
        }
    }) {
        return None;
    }
    let flow: [u64; FLOW_WORDS] = std::array::from_fn(word);
    let (of, what) = (word(FLOW_WORDS), word(FLOW_WORDS + 1));
    // What was read is looked at before the mark is: the program takes that away before it writes anything else.
    fence(Ordering::Acquire);
    if !is_whole() {
        return None;
    }
    let rule = (of >> 32) as u32;
    Some(Alarm {
        flow: FlowKey::flow(flow),
        tcp_flags: (what >> 24) as u8,
        guard: of as u32,
        table: what as u16,
        rule: (rule != NO_RULE).then_some(rule),
        dropped: (what >> 16) as u8 & MONITOR == 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys;

    #[test]
    fn keys_and_tables_are_laid_out_as_the_program_reads_them() {
        let place = Place { kind: PlaceKind::LocalPort, table: 7, data: [0; 16], len: 16 };
        assert_eq!(place.key(1)[..8], [48, 0, 0, 0, 3, 1, 7, 0]);
        let table = GuardTable {
            cloak: true,
            udp_out: true,
            allow: 9,
            protocol: [1, 2, 3, 4],
            ..GuardTable::default()
        };
        let bytes = table.bytes();
        assert_eq!(bytes[..24].iter().step_by(4).copied().collect::<Vec<u8>>(), [5, 9, 1, 2, 3, 4]);
        assert_eq!(bytes[24..28], [0xff; 4], "its rules have no counts of their own");
        assert_eq!(bytes[28..], [0; 20]);
        let monitors = GuardTable { monitor: true, ..GuardTable::default() };
        assert_eq!(monitors.bytes()[0], MONITOR);
    }

    #[test]
    fn alarms_are_read_whole_or_not_at_all() {
        let bytes = (1 + ALARMS as usize) * ALARMS_SHAPE.1;
        let words = Words::map(sys::memfd(c"alarms", bytes as u64).unwrap(), bytes).unwrap();
        let put = |number: u64, flags: u64, mark: u64| {
            let first = (1 + (number % ALARMS) as usize) * ALARM_WORDS;
            let flow = FlowKey::new(6, "10.0.0.1:22".parse().unwrap(), "10.0.0.9:4000".parse().unwrap());
            let all = flow.words().into_iter().chain([3 | 5 << 32, 7 | flags << 16 | 2 << 24, mark]);
            all.enumerate().for_each(|(at, word)| words.long(first + at).store(word, Ordering::Relaxed));
        };
        put(ALARMS + 4, 3, ALARMS + 5);
        let read = alarm(&words, ALARMS + 4).unwrap();
        assert_eq!((read.guard, read.rule, read.table, read.tcp_flags), (3, Some(5), 7, 2));
        assert!(read.dropped);
        assert_eq!(read.flow.local, "10.0.0.1:22".parse().unwrap());
        assert_eq!(alarm(&words, 4), None, "another came in its place");
        put(6, u64::from(MONITOR) | 1, 7);
        assert!(!alarm(&words, 6).unwrap().dropped, "its table only monitors");
        put(5, 0, 0);
        assert_eq!(alarm(&words, 5), None, "it is not written to its end");
    }
}
