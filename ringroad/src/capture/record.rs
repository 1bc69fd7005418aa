//! A packet in the ring: a head of fixed length, the names of table and rule, the packet; each record begins at a
//! multiple of eight.

use stack::engine::{Verdict, Way};
use stack::ip::input::Reason;

/// Bytes of the head.
pub(super) const HEAD: usize = 32;
/// Room for both names of a packet whose verdict comes later.
pub(super) const NAMES: usize = 96;
/// A name that is longer is cut.
const NAME: usize = NAMES / 2;
/// No record is as long.
pub(super) const MOST: usize = 1 << 20;

const REFUSED: u8 = 1;
const LIMITED: u8 = 2;

/// The head of a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Head {
    /// Of the whole record.
    pub(super) len: u32,
    /// Of the packet, as far as it is kept.
    pub(super) kept: u32,
    /// Of the packet as it was.
    pub(super) wire: u32,
    /// Room for names in front of the packet.
    pub(super) room: u8,
    /// The interface's place in the list that the reader was told.
    pub(super) interface: u8,
    pub(super) way: u8,
    /// When, in nanoseconds since 1970.
    pub(super) nanos: u64,
    pub(super) verdict: Told,
}

/// A verdict in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// 0: it passed; else one more than the place of the reason.
    reason: u8,
    flags: u8,
    /// Lengths of the names.
    table: u8,
    rule: u8,
}

/// Where the verdict lies in the head.
pub(super) const VERDICT_AT: usize = 24;

impl Head {
    /// A record of so many bytes of a packet, and room for names.
    pub(super) fn new(kept: usize, wire: usize, room: usize) -> Self {
        let len = (HEAD + room + kept).next_multiple_of(8);
        Self { len: len as u32, kept: kept as u32, wire: wire as u32, room: room as u8, ..Self::default() }
    }

    pub(super) fn bytes(&self) -> [u8; HEAD] {
        let mut bytes = [0; HEAD];
        bytes[..4].copy_from_slice(&self.len.to_ne_bytes());
        bytes[4..8].copy_from_slice(&self.kept.to_ne_bytes());
        bytes[8..12].copy_from_slice(&self.wire.to_ne_bytes());
        bytes[12..15].copy_from_slice(&[self.room, self.interface, self.way]);
        bytes[16..24].copy_from_slice(&self.nanos.to_ne_bytes());
        bytes[VERDICT_AT..VERDICT_AT + 4].copy_from_slice(&self.verdict.bytes());
        bytes
    }

    /// What a process wrote that may not be one of ours: `None` unless it makes sense.
    pub(super) fn read(bytes: &[u8; HEAD]) -> Option<Self> {
        let word = |at: usize| Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?));
        let [room, interface, way] = [bytes[12], bytes[13], bytes[14]];
        let [reason, flags, table, rule] = *bytes.get(VERDICT_AT..)?.first_chunk()?;
        let head = Self {
            len: word(0)?,
            kept: word(4)?,
            wire: word(8)?,
            room,
            interface,
            way,
            nanos: u64::from_ne_bytes(*bytes.get(16..)?.first_chunk()?),
            verdict: Told { reason, flags, table, rule },
        };
        let needed = HEAD as u64 + u64::from(room) + u64::from(head.kept);
        let fits = u64::from(head.len) == needed.next_multiple_of(8) && head.len as usize <= MOST;
        let named = u64::from(table) + u64::from(rule) <= u64::from(room);
        (fits && named && usize::from(reason) <= Reason::ALL.len() && way <= 2).then_some(head)
    }
}

impl Told {
    pub(super) fn new(verdict: &Verdict<'_>) -> Self {
        let reason =
            |reason: Reason| Reason::ALL.iter().position(|r| *r == reason).map_or(0, |n| n as u8 + 1);
        let name = |name: Option<&str>| name.map_or(0, |name| cut(name).len() as u8);
        Self {
            reason: verdict.dropped.map_or(0, reason),
            flags: u8::from(verdict.refused) * REFUSED + u8::from(verdict.limited) * LIMITED,
            table: name(verdict.table),
            rule: name(verdict.rule),
        }
    }

    pub(super) fn bytes(self) -> [u8; 4] {
        [self.reason, self.flags, self.table, self.rule]
    }

    pub(super) fn names(self) -> usize {
        usize::from(self.table) + usize::from(self.rule)
    }

    /// What `names`, of at least the right length, and the rest say.
    pub(super) fn verdict(self, names: &[u8]) -> Verdict<'_> {
        let (table, rest) = names.split_at_checked(self.table.into()).unwrap_or_default();
        let rule = rest.get(..self.rule.into()).unwrap_or_default();
        let name = |bytes| std::str::from_utf8(bytes).ok().filter(|name| !name.is_empty());
        Verdict {
            dropped: usize::from(self.reason).checked_sub(1).and_then(|n| Reason::ALL.get(n)).copied(),
            table: name(table),
            rule: name(rule),
            refused: self.flags & REFUSED != 0,
            limited: self.flags & LIMITED != 0,
        }
    }
}

/// As much of a name as there is room for.
pub(super) fn cut(name: &str) -> &str {
    let end = (0..=NAME.min(name.len())).rev().find(|at| name.is_char_boundary(*at));
    &name[..end.unwrap_or(0)]
}

pub(super) fn way_number(way: Way) -> u8 {
    match way {
        Way::In => 0,
        Way::Out => 1,
        Way::Home => 2,
    }
}

pub(super) fn way_of(number: u8) -> Way {
    match number {
        0 => Way::In,
        1 => Way::Out,
        _ => Way::Home,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_says_what_was_put_into_it() {
        for &reason in Reason::ALL {
            let verdict = Verdict {
                dropped: Some(reason),
                table: Some("10.77.0.1"),
                rule: Some("wéb"),
                refused: true,
                limited: false,
            };
            let told = Told::new(&verdict);
            let mut head = Head::new(61, 1514, told.names());
            (head.interface, head.way, head.nanos, head.verdict) = (3, 1, 1 << 60, told);
            let read = Head::read(&head.bytes()).unwrap();
            assert_eq!(read, head);
            assert_eq!(read.verdict.verdict("10.77.0.1wéb".as_bytes()), verdict);
        }
    }

    #[test]
    fn names_are_cut_between_letters() {
        assert_eq!(cut("short"), "short");
        let long = "é".repeat(60);
        assert_eq!(cut(&long).len(), NAME);
        assert_eq!(cut(&format!("x{long}")).len(), NAME - 1);
    }

    #[test]
    fn nonsense_is_no_record() {
        let good = Head::new(100, 100, 10);
        assert!(Head::read(&good.bytes()).is_some());
        for bad in [
            Head { len: good.len + 8, ..good },
            Head { kept: u32::MAX, ..good },
            Head { room: 200, ..good },
            Head { way: 3, ..good },
            Head { verdict: Told { table: 9, rule: 2, ..Told::default() }, ..good },
            Head { verdict: Told { reason: 200, ..Told::default() }, ..good },
        ] {
            assert_eq!(Head::read(&bad.bytes()), None, "{bad:?}");
        }
    }
}
