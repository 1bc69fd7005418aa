//! Messages, written.

use std::net::{IpAddr, SocketAddr};

use stack::journal::FlowRecord;
use stack::types::Direction;

use super::{
    ACTIVE, ADDRESSES_V4, ADDRESSES_V6, ENDED, ENTERPRISE, Element, FLOW_V4, FLOW_V6, FOREIGN, HEADER, MOST,
    OF_SOURCE, OPTIONS_TEMPLATES, REST, SOURCE, TEMPLATES, VARIABLE, VERSION,
};
use crate::flows::Verdict;

/// The longest name in a record, in bytes; the rest of it is left out.
const LONGEST_NAME: usize = 200;

/// Whose stack tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// The host's name.
    pub host: String,
    /// The process.
    pub pid: u32,
    /// What it runs.
    pub command: String,
}

/// What whoever begins to read needs first: what records look like, and whose they are.
#[derive(Clone, Debug)]
pub struct Preamble(Vec<u8>);

impl Preamble {
    /// For what `source` tells.
    #[must_use]
    pub fn new(source: &Source) -> Self {
        let mut message = Vec::with_capacity(MOST);
        header(&mut message, source.pid, 0, 0);
        let begin = open(&mut message, TEMPLATES);
        for (id, addresses) in [(FLOW_V4, ADDRESSES_V4), (FLOW_V6, ADDRESSES_V6)] {
            template(&mut message, id, addresses.iter().chain(&REST));
        }
        close(&mut message, begin);
        let begin = open(&mut message, OPTIONS_TEMPLATES);
        numbers(&mut message, [SOURCE, OF_SOURCE.len() as u16, 1].map(u16::to_be_bytes));
        OF_SOURCE.iter().for_each(|element| field(&mut message, element));
        close(&mut message, begin);
        let begin = open(&mut message, SOURCE);
        message.extend(source.pid.to_be_bytes());
        name(&mut message, &source.host);
        name(&mut message, &source.command);
        close(&mut message, begin);
        close(&mut message, 0);
        Self(message)
    }

    /// The message for who reads `next` after it: of its time, and numbered so that its one record comes before it.
    #[must_use]
    pub fn before(&self, next: &[u8]) -> Vec<u8> {
        let mut message = self.0.clone();
        if let (Some(time), Some(&sequence)) = (next.get(4..8), next.get(8..).and_then(<[u8]>::first_chunk)) {
            message[4..8].copy_from_slice(time);
            message[8..12].copy_from_slice(&u32::from_be_bytes(sequence).wrapping_sub(1).to_be_bytes());
        }
        message
    }
}

/// A flow with what the gate says to it.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    /// What it carried.
    pub record: &'a FlowRecord,
    /// The verdict.
    pub verdict: Verdict,
    /// The table that answers for it.
    pub table: &'a str,
    /// The rule that says so.
    pub rule: &'a str,
    /// Since when it carried that, and until when: milliseconds since 1970.
    pub span: (u64, u64),
}

/// Takes a message with so many records.
pub type Done<'d> = dyn FnMut(&[u8], u32) + 'd;

/// Writes messages of one process.
#[derive(Debug)]
pub struct Encoder {
    /// The observation domain.
    pid: u32,
    /// Data records so far: RFC 7011 §3.1.
    sequence: u32,
    /// The message at hand, once it has a record.
    message: Vec<u8>,
    /// Its records, its last set, and where that begins.
    records: u32,
    set: (u16, usize),
}

impl Encoder {
    /// An encoder for what the process `pid` tells.
    #[must_use]
    pub fn new(pid: u32) -> Self {
        Self { pid, sequence: 0, message: Vec::with_capacity(MOST), records: 0, set: (0, 0) }
    }

    /// Adds a record. A message that is full goes to `done`, with the number of its records.
    pub fn put(&mut self, told: &Told<'_>, done: &mut Done<'_>) {
        let v4 = told.record.key.local.is_ipv4() && told.record.key.remote.is_ipv4();
        let id = if v4 { FLOW_V4 } else { FLOW_V6 };
        let most = 128 + bounded(told.table).len() + bounded(told.rule).len();
        if self.message.len() + most > MOST {
            self.finish(done);
        }
        if self.message.is_empty() {
            header(&mut self.message, self.pid, self.sequence, (told.span.1 / 1000) as u32);
        }
        if self.set.0 != id {
            self.close_set();
            self.set = (id, open(&mut self.message, id));
        }
        record(&mut self.message, told);
        self.records += 1;
    }

    /// Ends the message at hand, if there is one.
    pub fn finish(&mut self, done: &mut Done<'_>) {
        if self.message.is_empty() {
            return;
        }
        self.close_set();
        close(&mut self.message, 0);
        let records = std::mem::take(&mut self.records);
        done(&self.message, records);
        self.message.clear();
        self.sequence = self.sequence.wrapping_add(records);
    }

    fn close_set(&mut self) {
        if self.set.0 != 0 {
            close(&mut self.message, self.set.1);
            self.set = (0, 0);
        }
    }
}

/// The header of a message; its length is written when it is closed.
fn header(message: &mut Vec<u8>, pid: u32, sequence: u32, time: u32) {
    numbers(message, [VERSION, 0].map(u16::to_be_bytes));
    numbers(message, [time, sequence, pid].map(u32::to_be_bytes));
    debug_assert_eq!(message.len(), HEADER);
}

/// Begins a set; its length is written when it is closed.
fn open(message: &mut Vec<u8>, id: u16) -> usize {
    let begin = message.len();
    numbers(message, [id, 0].map(u16::to_be_bytes));
    begin
}

/// Writes the length of what begins at `begin`, a set or the message, and ends here.
fn close(message: &mut [u8], begin: usize) {
    let len = (message.len() - begin) as u16;
    message[begin + 2..begin + 4].copy_from_slice(&len.to_be_bytes());
}

fn template<'e>(message: &mut Vec<u8>, id: u16, elements: impl Iterator<Item = &'e Element> + Clone) {
    let count = elements.clone().count() as u16;
    numbers(message, [id, count].map(u16::to_be_bytes));
    elements.for_each(|element| field(message, element));
}

fn field(message: &mut Vec<u8>, &(foreign, id, len): &Element) {
    message.extend((id | if foreign { FOREIGN } else { 0 }).to_be_bytes());
    message.extend(len.to_be_bytes());
    if foreign {
        message.extend(ENTERPRISE.to_be_bytes());
    }
}

/// In the order of the template.
fn record(message: &mut Vec<u8>, told: &Told<'_>) {
    let record = told.record;
    let (key, carried) = (&record.key, &record.carried);
    let (inward, outward) =
        ((carried.bytes_in, carried.packets_in), (carried.bytes_out, carried.packets_out));
    let ((from, initiator), (to, responder), direction) = match record.direction {
        Direction::In => ((key.remote, inward), (key.local, outward), 0),
        Direction::Out => ((key.local, outward), (key.remote, inward), 1),
    };
    address(message, from, to);
    address(message, to, from);
    numbers(message, [from.port(), to.port()].map(u16::to_be_bytes));
    let reason = if record.over { ENDED } else { ACTIVE };
    message.extend_from_slice(&[key.protocol as u8, direction, reason]);
    numbers(message, [told.span.0, told.span.1, initiator.0, responder.0].map(u64::to_be_bytes));
    numbers(message, [initiator.1, responder.1, carried.retransmits, record.srtt_us].map(u32::to_be_bytes));
    message.extend_from_slice(&[record.state, told.verdict as u8]);
    name(message, told.table);
    name(message, told.rule);
}

fn numbers<const N: usize, const LEN: usize>(message: &mut Vec<u8>, numbers: [[u8; LEN]; N]) {
    message.extend_from_slice(numbers.as_flattened());
}

/// An end's address, in the family that both ends have.
fn address(message: &mut Vec<u8>, end: SocketAddr, other: SocketAddr) {
    match (end.ip(), other.ip()) {
        (IpAddr::V4(v4), IpAddr::V4(_)) => message.extend_from_slice(&v4.octets()),
        (IpAddr::V4(v4), IpAddr::V6(_)) => message.extend_from_slice(&v4.to_ipv6_mapped().octets()),
        (IpAddr::V6(v6), _) => message.extend_from_slice(&v6.octets()),
    }
}

/// RFC 7011 §7: shorter than 255 bytes.
fn name(message: &mut Vec<u8>, text: &str) {
    const { assert!(LONGEST_NAME < 255 && VARIABLE == u16::MAX) };
    let text = bounded(text);
    message.push(text.len() as u8);
    message.extend_from_slice(text.as_bytes());
}

fn bounded(text: &str) -> &str {
    let mut len = text.len().min(LONGEST_NAME);
    while !text.is_char_boundary(len) {
        len -= 1;
    }
    &text[..len]
}
