//! Scans: one source that tries many ports of a host, or many hosts.

use std::net::IpAddr;
use std::time::Duration;

use stack::time::Instant;

use super::desk::Process;

/// Different ports of a host, or different hosts, from which on it is a scan.
const MANY: usize = 8;
/// A source that tries nothing for so long begins anew: slow scans have minutes between their tries.
const IDLE: Duration = Duration::from_secs(600);

/// How something came, as far as scans differ by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Carrier {
    /// TCP, with the flags of a segment that would begin a connection.
    Tcp(Option<u8>),
    Udp,
    Icmp,
    /// Neither of these.
    Other,
}

impl Carrier {
    /// Its name in alerts.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Carrier::Tcp(_) => "tcp",
            Carrier::Udp => "udp",
            Carrier::Icmp => "icmp",
            Carrier::Other => "other",
        }
    }
}

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
    Ping,
    Ip,
}

impl Probe {
    const ALL: [Probe; 9] = [
        Probe::Syn,
        Probe::Fin,
        Probe::Null,
        Probe::Xmas,
        Probe::Ack,
        Probe::Other,
        Probe::Udp,
        Probe::Ping,
        Probe::Ip,
    ];

    /// From a segment's flags (RFC 9293 §3.1); URG, ACK, PSH, RST, SYN, FIN from 0x20 down.
    pub(super) fn of(carrier: Carrier) -> Self {
        let flags = match carrier {
            Carrier::Tcp(flags) => flags.map(|flags| flags & 0x3f),
            Carrier::Udp => return Probe::Udp,
            Carrier::Icmp => return Probe::Ping,
            Carrier::Other => return Probe::Ip,
        };
        match flags {
            Some(0x02) => Probe::Syn,
            Some(0x01) => Probe::Fin,
            Some(0x00) => Probe::Null,
            Some(0x29) => Probe::Xmas,
            Some(0x10) => Probe::Ack,
            _ => Probe::Other,
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
            Probe::Ping => "ping",
            Probe::Ip => "protocol",
        }
    }
}

/// What is known of a source and a way of trying.
#[derive(Debug)]
pub(super) struct Source {
    /// Whom it tried first.
    pub(super) process: Process,
    /// The first different ends it tried.
    ports: Vec<u16>,
    hosts: Vec<IpAddr>,
    first: Instant,
    last: Instant,
    tries: u64,
    /// An alert was raised.
    pub(super) told: bool,
    /// Its sweep belongs to another, which was told; what else it turns out to do is news still.
    pub(super) hushed: bool,
}

impl Source {
    pub(super) fn new(now: Instant, process: Process) -> Self {
        let (ports, hosts) = (Vec::new(), Vec::new());
        Self { process, ports, hosts, first: now, last: now, tries: 0, told: false, hushed: false }
    }

    /// It tries an end, so often.
    pub(super) fn tries(&mut self, now: Instant, (host, port): (IpAddr, u16), count: u64) {
        if self.is_idle(now) {
            *self = Self::new(now, std::mem::take(&mut self.process));
        }
        self.last = now;
        self.tries += count;
        note(&mut self.ports, port);
        note(&mut self.hosts, host);
    }

    /// Whether it looks for hosts: many of them, at a few ports.
    pub(super) fn sweeps(&self) -> bool {
        self.hosts.len() >= MANY && self.ports.len() < MANY
    }

    /// Whether there is nothing to be said of it.
    pub(super) fn is_settled(&self) -> bool {
        self.told || self.hushed && self.sweeps()
    }

    /// What it does, when that is a scan.
    pub(super) fn scan(&self, probe: Probe) -> Option<String> {
        let word = probe.word();
        match self.ports.len() >= MANY {
            true => Some(format!("{word} scan")),
            false => self.sweeps().then(|| format!("{word} sweep")),
        }
    }

    /// Whether it was told of, by itself or with another, and had its last try no longer than `gap` before another began.
    pub(super) fn leads_to(&self, other: &Self, gap: Duration) -> bool {
        (self.told || self.hushed) && other.first <= self.last + gap
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
