//! Scans: one source that tries many ports of a host, or many hosts.

use std::net::IpAddr;
use std::time::Duration;

use stack::time::Instant;
use stack::types::Protocol;

/// Different ports of a host, or different hosts, from which on it is a scan.
const MANY: usize = 8;
/// A source that tries nothing for so long begins anew: slow scans have minutes between their tries.
const IDLE: Duration = Duration::from_secs(600);

/// What a scan sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Probe {
    Syn,
    Fin,
    Null,
    Xmas,
    Ack,
    Other,
    Udp,
}

impl Probe {
    const ALL: [Probe; 7] =
        [Probe::Syn, Probe::Fin, Probe::Null, Probe::Xmas, Probe::Ack, Probe::Other, Probe::Udp];

    /// From a segment's flags (RFC 9293 §3.1); URG, ACK, PSH, RST, SYN, FIN from 0x20 down.
    pub(super) fn of(protocol: Protocol, flags: Option<u8>) -> Self {
        match (protocol, flags.map(|flags| flags & 0x3f)) {
            (Protocol::Udp, _) => Probe::Udp,
            (Protocol::Tcp, Some(0x02)) => Probe::Syn,
            (Protocol::Tcp, Some(0x01)) => Probe::Fin,
            (Protocol::Tcp, Some(0x00)) => Probe::Null,
            (Protocol::Tcp, Some(0x29)) => Probe::Xmas,
            (Protocol::Tcp, Some(0x10)) => Probe::Ack,
            (Protocol::Tcp, _) => Probe::Other,
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Probe::Syn => "syn",
            Probe::Fin => "fin",
            Probe::Null => "null",
            Probe::Xmas => "xmas",
            Probe::Ack => "ack",
            Probe::Other => "tcp",
            Probe::Udp => "udp",
        }
    }
}

/// What is known of a source and a way of trying.
#[derive(Debug)]
pub(super) struct Source {
    /// The first different ends it tried.
    ports: Vec<u16>,
    hosts: Vec<IpAddr>,
    first: Instant,
    last: Instant,
    tries: u64,
    /// An alert was raised.
    pub(super) told: bool,
}

impl Source {
    pub(super) fn new(now: Instant) -> Self {
        Self { ports: Vec::new(), hosts: Vec::new(), first: now, last: now, tries: 0, told: false }
    }

    /// One more try.
    pub(super) fn tries(&mut self, now: Instant, host: IpAddr, port: u16) {
        if now.since(self.last) >= IDLE {
            *self = Self::new(now);
        }
        self.last = now;
        self.tries += 1;
        note(&mut self.ports, port);
        note(&mut self.hosts, host);
    }

    /// What it does, when that is a scan.
    pub(super) fn scan(&self, probe: Probe) -> Option<String> {
        let (ports, hosts) = (self.ports.len(), self.hosts.len());
        let word = probe.word();
        match (ports >= MANY, hosts >= MANY) {
            (_, true) if ports < MANY => Some(format!("{word} sweep")),
            (true, _) => Some(format!("{word} scan")),
            _ => None,
        }
    }

    /// Tries, and since when.
    pub(super) fn count(&self) -> (u64, Instant) {
        (self.tries, self.first)
    }

    pub(super) fn is_idle(&self, now: Instant) -> bool {
        now.since(self.last) >= IDLE
    }
}

/// Keeps the first different ones.
fn note<T: PartialEq>(seen: &mut Vec<T>, one: T) {
    if seen.len() < MANY && !seen.contains(&one) {
        seen.push(one);
    }
}

/// The ways in which a source may try.
pub(super) fn probes() -> impl Iterator<Item = Probe> {
    Probe::ALL.into_iter()
}
