//! Messages, read. They may come from anybody: nothing is believed before it was looked at.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use stack::tcp::State;
use stack::types::{Direction, Protocol, canonical};

use super::{
    ENDED, ENTERPRISE, FOREIGN, HEADER, OPTIONS_TEMPLATES, Source, TEMPLATES, VARIABLE, VERSION, id, own,
};
use crate::flows::{Flow, Verdict};

/// Templates and sources that are remembered, each, at the most.
const MOST_KNOWN: usize = 4096;
/// Fields of a template at the most.
const MOST_FIELDS: usize = 256;

/// What is wrong with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(&'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no IPFIX message as they are written here: {}", self.0)
    }
}

impl std::error::Error for Malformed {}

type Result<T> = std::result::Result<T, Malformed>;

#[derive(Clone, Copy, Debug)]
struct Field {
    enterprise: u32,
    id: u16,
    len: u16,
}

#[derive(Clone, Debug)]
struct Template {
    fields: Vec<Field>,
    /// Of an options record: fields that say what it is about.
    scopes: usize,
}

/// Reads messages, in the order in which they were written.
#[derive(Debug, Default)]
pub struct Decoder {
    templates: HashMap<(u32, u16), Template>,
    sources: HashMap<u32, Source>,
    /// The number of the next record of each source.
    expected: HashMap<u32, u32>,
    lost: u64,
}

/// The length of the message that begins with `head`, itself included.
///
/// # Errors
/// When it is no message.
pub fn message_len(head: [u8; 4]) -> Result<usize> {
    let [a, b, c, d] = head;
    if u16::from_be_bytes([a, b]) != VERSION {
        return Err(Malformed("it does not begin with version 10"));
    }
    match usize::from(u16::from_be_bytes([c, d])) {
        len @ HEADER.. => Ok(len),
        _ => Err(Malformed("it is shorter than its header")),
    }
}

impl Decoder {
    /// Records that were written and did not come, as far as is known.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Reads one message; the flows it tells of go to `into`. Records of other kinds are left out.
    ///
    /// # Errors
    /// When it is no message, or contradicts itself. Flows that came before the fault are there.
    pub fn read(&mut self, message: &[u8], into: &mut Vec<Flow>) -> Result<()> {
        let head = *message.first_chunk().ok_or(Malformed("it is shorter than its header"))?;
        if message_len(head)? != message.len() {
            return Err(Malformed("its length is not what it says"));
        }
        let mut rest = Bytes(&message[8..]);
        let (sequence, domain) = (rest.number(4)? as u32, rest.number(4)? as u32);
        let mut records = 0u32;
        while !rest.0.is_empty() {
            let (set, len) = (rest.number(2)? as u16, rest.number(2)? as usize);
            let body = rest.take(len.checked_sub(4).ok_or(Malformed("a set is shorter than its header"))?)?;
            match set {
                TEMPLATES | OPTIONS_TEMPLATES => self.learn(domain, set == OPTIONS_TEMPLATES, body)?,
                256.. => records += self.records(domain, set, body, into)?,
                _ => return Err(Malformed("a set has a number that is kept for others")),
            }
        }
        if records > 0 && self.expected.len() < MOST_KNOWN {
            let next = sequence.wrapping_add(records);
            let missing = self.expected.insert(domain, next).map_or(0, |due| sequence.wrapping_sub(due));
            // A process that has the number of an earlier one begins anew.
            self.lost += if missing < u32::MAX / 2 { u64::from(missing) } else { 0 };
        }
        Ok(())
    }

    fn learn(&mut self, domain: u32, options: bool, body: &[u8]) -> Result<()> {
        let mut body = Bytes(body);
        // What is shorter than a record is padding (RFC 7011 §3.3.1).
        while body.0.len() >= 4 {
            let (set, count) = (body.number(2)? as u16, body.number(2)? as usize);
            let scopes = if options { body.number(2)? as usize } else { 0 };
            if count > MOST_FIELDS || scopes > count || set < 256 {
                return Err(Malformed("a template is too long, or has no number of its own"));
            }
            let mut fields = Vec::with_capacity(count);
            for _ in 0..count {
                let (number, len) = (body.number(2)? as u16, body.number(2)? as u16);
                let enterprise = if number & FOREIGN == 0 { 0 } else { body.number(4)? as u32 };
                fields.push(Field { enterprise, id: number & !FOREIGN, len });
            }
            if fields.iter().all(|field| field.len == 0) {
                return Err(Malformed("a template has no fields"));
            }
            if self.templates.len() < MOST_KNOWN {
                self.templates.insert((domain, set), Template { fields, scopes });
            }
        }
        Ok(())
    }

    /// Reads the records of a set; how many there were.
    fn records(&mut self, domain: u32, set: u16, body: &[u8], into: &mut Vec<Flow>) -> Result<u32> {
        // RFC 7011 §8: of a template that is not known nothing can be told.
        let Some(template) = self.templates.get(&(domain, set)) else { return Ok(0) };
        let least: usize =
            template.fields.iter().map(|f| if f.len == VARIABLE { 1 } else { usize::from(f.len) }).sum();
        let mut body = Bytes(body);
        let mut count = 0;
        while body.0.len() >= least {
            let mut draft = Draft::default();
            for field in &template.fields {
                let value = match field.len {
                    VARIABLE => body.variable()?,
                    len => body.take(len.into())?,
                };
                draft.take(field, value);
            }
            count += 1;
            if template.scopes > 0 {
                if self.sources.len() < MOST_KNOWN || self.sources.contains_key(&domain) {
                    let Draft { host, command, .. } = draft;
                    self.sources.insert(domain, Source { host, pid: domain, command });
                }
            } else if let Some(flow) = draft.flow(self.sources.get(&domain), domain) {
                into.push(flow);
            }
        }
        // Records about records are not counted among them (RFC 7011 §3.1 counts them: ours come before all others).
        Ok(if template.scopes > 0 { 0 } else { count })
    }
}

/// Bytes from which is read; too few are a fault.
struct Bytes<'m>(&'m [u8]);

impl<'m> Bytes<'m> {
    fn take(&mut self, len: usize) -> Result<&'m [u8]> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(Malformed("it ends too early"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn number(&mut self, len: usize) -> Result<u64> {
        Ok(number(self.take(len)?))
    }

    /// RFC 7011 §7.
    fn variable(&mut self) -> Result<&'m [u8]> {
        let len = match self.number(1)? {
            255 => self.number(2)?,
            short => short,
        };
        self.take(len as usize)
    }
}

/// A number in network order, of any length; of one that is too long, the end.
fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |n, byte| n << 8 | u64::from(*byte))
}

/// Text that can be shown: what a terminal would take for commands is not let through.
fn text(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => Some(IpAddr::from(*bytes.first_chunk::<4>()?)),
        16 => Some(IpAddr::from(*bytes.first_chunk::<16>()?)),
        _ => None,
    }
}

/// A record of which some fields are read.
#[derive(Debug, Default)]
struct Draft {
    source: (Option<IpAddr>, u16),
    destination: (Option<IpAddr>, u16),
    protocol: u64,
    outward: bool,
    reason: u64,
    end_ms: u64,
    /// Octets and packets of who began it, and of who answers.
    initiator: (u64, u64),
    responder: (u64, u64),
    retransmits: u64,
    srtt_us: u64,
    state: u64,
    verdict: u64,
    table: String,
    rule: String,
    host: String,
    command: String,
}

impl Draft {
    fn take(&mut self, field: &Field, value: &[u8]) {
        match (field.enterprise, field.id) {
            (0, id::SOURCE_V4 | id::SOURCE_V6) => self.source.0 = address(value),
            (0, id::DESTINATION_V4 | id::DESTINATION_V6) => self.destination.0 = address(value),
            (0, id::SOURCE_PORT) => self.source.1 = number(value) as u16,
            (0, id::DESTINATION_PORT) => self.destination.1 = number(value) as u16,
            (0, id::PROTOCOL) => self.protocol = number(value),
            (0, id::FLOW_DIRECTION) => self.outward = number(value) == 1,
            (0, id::FLOW_END_REASON) => self.reason = number(value),
            (0, id::END_MS) => self.end_ms = number(value),
            (0, id::INITIATOR_OCTETS) => self.initiator.0 = number(value),
            (0, id::RESPONDER_OCTETS) => self.responder.0 = number(value),
            (0, id::INITIATOR_PACKETS) => self.initiator.1 = number(value),
            (0, id::RESPONDER_PACKETS) => self.responder.1 = number(value),
            (0, id::DOMAIN_NAME) => self.host = text(value),
            (ENTERPRISE, own::RETRANSMITS) => self.retransmits = number(value),
            (ENTERPRISE, own::SRTT_US) => self.srtt_us = number(value),
            (ENTERPRISE, own::STATE) => self.state = number(value),
            (ENTERPRISE, own::VERDICT) => self.verdict = number(value),
            (ENTERPRISE, own::TABLE) => self.table = text(value),
            (ENTERPRISE, own::RULE) => self.rule = text(value),
            (ENTERPRISE, own::COMMAND) => self.command = text(value),
            _ => {}
        }
    }

    /// The flow, when it is one.
    fn flow(self, source: Option<&Source>, pid: u32) -> Option<Flow> {
        let end = |(address, port): (Option<IpAddr>, u16)| Some(canonical(SocketAddr::new(address?, port)));
        let (from, to) = (end(self.source)?, end(self.destination)?);
        let protocol = match self.protocol {
            6 => Protocol::Tcp,
            17 => Protocol::Udp,
            _ => return None,
        };
        let (direction, local, remote, inward, outward) = match self.outward {
            false => (Direction::In, to, from, self.initiator, self.responder),
            true => (Direction::Out, from, to, self.responder, self.initiator),
        };
        let Source { host, command, .. } = source.cloned().unwrap_or_default();
        Some(Flow {
            time: self.end_ms as f64 / 1000.0,
            host,
            pid,
            command,
            direction,
            protocol,
            local,
            remote,
            verdict: Verdict::ALL.get(self.verdict as usize).copied()?,
            table: self.table,
            rule: self.rule,
            state: State::ALL
                .into_iter()
                .find(|s| u64::from(s.number()) == self.state)
                .map_or("", State::name),
            packets_in: inward.1,
            packets_out: outward.1,
            bytes_in: inward.0,
            bytes_out: outward.0,
            retransmits: self.retransmits,
            srtt_us: self.srtt_us,
            over: self.reason == u64::from(ENDED),
        })
    }
}
