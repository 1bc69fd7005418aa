//! Where refusals come together.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use af_xdp::Alarm;
use stack::policy::{Policy, Refusal};
use stack::time::Instant;
use stack::types::{Direction, FlowKey, Protocol};

use super::scan::{Carrier, Probe, Source};
use super::young::Young;
use crate::control::model::Alert;

/// Alerts that are counted apart from one another, at the least; the rest is counted together.
const APART: usize = 128;
/// Sources that are watched for scans, at the least.
const SOURCES: usize = 2048;
/// An alert waits so long for what belongs to it: what turns out to be a scan is told as that alone.
const PATIENCE: Duration = Duration::from_millis(800);
/// What goes on is told again after so long.
const AGAIN: Duration = Duration::from_secs(10);
/// What is over for so long is forgotten.
const OVER: Duration = Duration::from_secs(60);

/// A refusal with the names of its rule.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Seen {
    pub(crate) process: Process,
    pub(crate) carrier: Carrier,
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    pub(crate) direction: Direction,
    pub(crate) permitted: bool,
    pub(crate) limited: bool,
    pub(crate) dropped: bool,
    pub(crate) table: String,
    pub(crate) rule: String,
}

impl Seen {
    /// A refusal by a rule of `policy` in the gate of `process`.
    pub(crate) fn new(process: &Process, policy: &Policy, refusal: &Refusal) -> Self {
        let (table, rule) = policy.names(refusal);
        Self {
            process: process.clone(),
            carrier: match refusal.key.protocol {
                Protocol::Tcp => Carrier::Tcp(refusal.flags),
                Protocol::Udp => Carrier::Udp,
            },
            local: refusal.key.local,
            remote: refusal.key.remote,
            direction: refusal.direction,
            permitted: refusal.permitted,
            limited: refusal.limited,
            dropped: refusal.dropped,
            table: owned(table),
            rule: owned(rule),
        }
    }

    /// A packet that a steering program kept out, or would have, by a table and a rule of these names.
    pub(crate) fn kept_out(alarm: &Alarm, (table, rule): (Option<&str>, Option<&str>)) -> Self {
        const ICMP: u8 = 1;
        const ICMPV6: u8 = 58;
        let (mut local, remote) = (alarm.flow.local, alarm.flow.remote);
        let carrier = match alarm.flow.protocol {
            tcp if tcp == Protocol::Tcp as u8 => Carrier::Tcp(Some(alarm.tcp_flags)),
            udp if udp == Protocol::Udp as u8 => Carrier::Udp,
            ICMP | ICMPV6 => Carrier::Icmp,
            _ => Carrier::Other,
        };
        if matches!(carrier, Carrier::Icmp | Carrier::Other) {
            local.set_port(0);
        }
        Self {
            process: Process::default(),
            carrier,
            local,
            remote,
            direction: Direction::In,
            permitted: false,
            limited: false,
            dropped: alarm.dropped,
            table: owned(table),
            rule: owned(rule),
        }
    }

    /// The flow that it would have been, if it is one of TCP or UDP.
    pub(crate) fn flow(&self) -> Option<FlowKey> {
        let protocol = match self.carrier {
            Carrier::Tcp(_) => Protocol::Tcp,
            Carrier::Udp => Protocol::Udp,
            Carrier::Icmp | Carrier::Other => return None,
        };
        Some(FlowKey { protocol, local: self.local, remote: self.remote })
    }

    /// Without the port that differs from one try to the next: two that are told as one are the same then.
    pub(crate) fn without_chance(mut self) -> Self {
        match self.direction {
            Direction::In => self.remote.set_port(0),
            Direction::Out => self.local.set_port(0),
        }
        self
    }
}

fn owned(name: Option<&str>) -> String {
    name.unwrap_or_default().to_owned()
}

/// Whose stack it is; the default: nobody's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    pub(crate) command: String,
}

impl Process {
    fn alert(&self) -> Alert {
        Alert { pid: self.pid, command: self.command.clone(), ..Alert::default() }
    }
}

/// What is counted as one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Matter {
    /// Who asks, outbound; inbound all who are asked are one.
    asks: Option<u32>,
    outbound: bool,
    permitted: bool,
    limited: bool,
    protocol: &'static str,
    local: IpAddr,
    remote: IpAddr,
    /// The port that is asked for: ours inbound, theirs outbound.
    port: u16,
    rule: String,
}

#[derive(Debug)]
struct Counted {
    alert: Alert,
    first: Instant,
    last: Instant,
    told_at: Option<Instant>,
    /// Its count when it was told last.
    told: u64,
}

/// Gathers refusals into alerts.
#[derive(Debug)]
pub(crate) struct Desk {
    matters: Young<Matter, Counted>,
    sources: Young<(IpAddr, Probe), Source>,
    /// What was too much to count apart.
    crowd: u64,
    crowd_told: Option<Instant>,
    /// The wall clock at the start of the stack's.
    epoch: f64,
    /// Who tells.
    process: Process,
    next: Instant,
}

impl Desk {
    /// `epoch`: the time of day, in seconds, when the stack's clock was zero.
    pub(crate) fn new(epoch: f64, process: Process) -> Self {
        Self {
            matters: Young::new(APART),
            sources: Young::new(SOURCES),
            crowd: 0,
            crowd_told: None,
            epoch,
            process,
            next: Instant::NEVER,
        }
    }

    /// When there is something to [`tell`](Desk::tell) at the latest.
    pub(crate) fn due(&self) -> Instant {
        self.next
    }

    /// Refusals that nobody looked at.
    pub(crate) fn lost(&mut self, now: Instant, count: u64) {
        self.crowd += count;
        if count > 0 {
            self.next = self.next.min(now + PATIENCE);
        }
    }

    /// A refusal, as often as it was.
    pub(crate) fn take(&mut self, now: Instant, seen: &Seen, count: u64) {
        self.next = self.next.min(now + PATIENCE);
        let outbound = seen.direction == Direction::Out;
        let (local, remote) = (seen.local, seen.remote);
        if !outbound && !seen.limited && !seen.permitted {
            let probe = Probe::of(seen.carrier);
            let make = || Source::new(now, seen.process.clone());
            let (source, _) = self.sources.entry(&(remote.ip(), probe), make);
            source.tries(now, (local.ip(), local.port()), count);
        }
        let matter = Matter {
            asks: outbound.then_some(seen.process.pid),
            outbound,
            permitted: seen.permitted,
            limited: seen.limited,
            protocol: seen.carrier.name(),
            local: local.ip(),
            remote: remote.ip(),
            port: if outbound { remote.port() } else { local.port() },
            rule: seen.rule.clone(),
        };
        let make = || Counted { alert: raise(&matter, seen), first: now, last: now, told_at: None, told: 0 };
        let (counted, gone) = self.matters.entry(&matter, make);
        counted.alert.count += count;
        counted.last = now;
        self.crowd += gone.iter().map(|(_, counted)| counted.alert.count - counted.told).sum::<u64>();
    }

    /// What there is to say now.
    pub(crate) fn tell(&mut self, now: Instant) -> Vec<Alert> {
        if now < self.next { Vec::new() } else { self.tell_since(now, PATIENCE) }
    }

    /// What there is to say at the end: nothing waits for what may belong to it.
    pub(crate) fn tell_all(&mut self, now: Instant) -> Vec<Alert> {
        self.tell_since(now, Duration::ZERO)
    }

    /// What has waited for `patience`.
    fn tell_since(&mut self, now: Instant, patience: Duration) -> Vec<Alert> {
        let mut told = Vec::new();
        let epoch = self.epoch;
        let stamp = |at| time_of_day(epoch, at);
        let sources = &self.sources;
        self.matters.retain(|matter, counted| {
            if matter.outbound || matter.limited || matter.permitted {
                return true;
            }
            // What belongs to a scan is told by it.
            let scan =
                super::scan::probes().find_map(|probe| sources.peek(&(matter.remote, probe))?.scan(probe));
            scan.is_none() || counted.told > 0
        });
        told.extend(self.scans(now));
        for (_, counted) in self.matters.values_mut() {
            let waits = counted.told_at.map_or(counted.first + patience, |at| at + AGAIN);
            if counted.alert.count == counted.told || now < waits {
                continue;
            }
            (counted.told, counted.told_at) = (counted.alert.count, Some(now));
            (counted.alert.first, counted.alert.last) = (stamp(counted.first), stamp(counted.last));
            told.push(counted.alert.clone());
        }
        if self.crowd > 0 && self.crowd_told.is_none_or(|at| now.since(at) >= AGAIN) {
            self.crowd_told = Some(now);
            let count = std::mem::take(&mut self.crowd);
            let (first, last) = (stamp(now), stamp(now));
            told.push(Alert { kind: "many".into(), count, first, last, ..self.process.alert() });
        }
        self.matters.retain(|_, counted| now.since(counted.last) < OVER);
        let idle = self.matters.len() == 0 && self.crowd == 0;
        self.next = if idle { Instant::NEVER } else { now + PATIENCE };
        told
    }

    /// What sources turn out to do, each told once.
    fn scans(&mut self, now: Instant) -> Vec<Alert> {
        self.sources.retain(|_, source| !source.is_idle(now));
        let is_news = |(&key, source): (&(IpAddr, Probe), &Source)| {
            source.scan(key.1).filter(|_| !source.is_settled()).map(|kind| (key, kind))
        };
        let mut news: Vec<_> = self.sources.iter().filter_map(is_news).collect();
        // What asks hosts in several ways is told by its echoes.
        news.sort_by_key(|((_, probe), _)| *probe != Probe::Ping);
        let mut told = Vec::new();
        for ((remote, probe), kind) in news {
            let belongs = self.is_of_a_sweep(remote, probe);
            let Some(source) = self.sources.peek_mut(&(remote, probe)) else { continue };
            if belongs {
                source.hushed = true;
                continue;
            }
            source.told = true;
            let (count, first) = source.count();
            told.push(Alert {
                kind,
                remote: remote.to_string(),
                count,
                first: time_of_day(self.epoch, first),
                last: time_of_day(self.epoch, now),
                ..source.process.alert()
            });
        }
        told
    }

    /// Whether `remote` began to sweep by `probe` while it did so by another, which was told: who looks for hosts asks
    /// each in several ways (nmap: by an echo, a SYN, an ACK and a timestamp).
    fn is_of_a_sweep(&self, remote: IpAddr, probe: Probe) -> bool {
        let sweep = |probe| self.sources.peek(&(remote, probe)).filter(|source| source.sweeps());
        let Some(this) = sweep(probe) else { return false };
        super::scan::probes().filter_map(sweep).any(|other| other.leads_to(this, AGAIN))
    }
}

/// The time of day at a moment of the stack's clock.
fn time_of_day(epoch: f64, at: Instant) -> f64 {
    epoch + at.as_nanos() as f64 / 1e9
}

/// The alert of a matter that has just come up.
fn raise(matter: &Matter, seen: &Seen) -> Alert {
    let ends = |address: IpAddr, port: u16| match port {
        // Nothing but ICMP and its like has none.
        0 => address.to_string(),
        _ => SocketAddr::new(address, port).to_string(),
    };
    let (local, remote) = match matter.outbound {
        true => (matter.local.to_string(), ends(matter.remote, matter.port)),
        false => (ends(matter.local, matter.port), matter.remote.to_string()),
    };
    Alert {
        kind: match seen {
            Seen { permitted: true, .. } => "permitted",
            Seen { limited: true, .. } => "limited",
            _ => "denied",
        }
        .into(),
        direction: if matter.outbound { "out" } else { "in" }.into(),
        protocol: matter.protocol.into(),
        local,
        remote,
        table: seen.table.clone(),
        rule: seen.rule.clone(),
        dropped: seen.dropped,
        ..seen.process.alert()
    }
}
