//! A policy from flows that were seen: the smallest that permits them and can be read, grouped by service and by prefix.

mod prefixes;
mod render;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::IpAddr;

use stack::types::{Direction, Protocol};

use crate::flows::{Flow, Verdict};
use prefixes::{Remotes, gather};

/// Different other ends of a service that are counted; there are at least so many when there are more.
const MOST_ENDS: usize = 1 << 16;

/// A service: whether it is begun by us, its protocol's number, and the port that is asked for.
type Service = (bool, u8, u16);

/// What was seen of a service.
#[derive(Clone, Debug, Default)]
struct Seen {
    remotes: BTreeSet<IpAddr>,
    /// Other ends: ours is the same, so each is a flow.
    ends: HashSet<(IpAddr, u16)>,
    /// Flows of others that were joined.
    joined: usize,
    /// There are more than are counted.
    crowd: bool,
    commands: BTreeSet<String>,
    bytes_in: u64,
    bytes_out: u64,
    /// It would be refused by the policy that was in force, if that did more than monitor.
    monitored: bool,
}

impl Seen {
    fn add(&mut self, flow: &Flow, port: u16) {
        let address = flow.remote.ip();
        if self.ends.len() < MOST_ENDS {
            self.ends.insert((address, port));
            self.remotes.insert(address);
        } else {
            self.crowd = true;
        }
        if self.commands.len() < 8 {
            self.commands.insert(flow.command.clone());
        }
        self.bytes_in = self.bytes_in.saturating_add(flow.bytes_in);
        self.bytes_out = self.bytes_out.saturating_add(flow.bytes_out);
        self.monitored |= flow.verdict == Verdict::Monitored;
    }

    fn flows(&self) -> usize {
        self.ends.len() + self.joined
    }

    fn join(&mut self, other: &Seen) {
        self.remotes.extend(&other.remotes);
        self.joined += other.flows();
        self.crowd |= other.crowd;
        self.commands.extend(other.commands.iter().cloned());
        self.bytes_in = self.bytes_in.saturating_add(other.bytes_in);
        self.bytes_out = self.bytes_out.saturating_add(other.bytes_out);
        self.monitored |= other.monitored;
    }
}

/// Flows that were seen.
#[derive(Clone, Debug, Default)]
pub struct Suggestion {
    locals: BTreeMap<IpAddr, BTreeMap<Service, Seen>>,
    records: u64,
    /// When the first and the last were told of.
    span: Option<(f64, f64)>,
    /// Records of flows that were refused.
    refused: u64,
    /// Records of addresses that no table can be for.
    elsewhere: u64,
}

/// What a rule says: which way, over what, to which ports, with whom.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rule {
    outward: bool,
    protocol: u8,
    ports: Vec<(u16, u16)>,
    remotes: Remotes,
}

impl Suggestion {
    /// Takes a record in. What was refused is to be refused.
    pub fn see(&mut self, flow: &Flow) {
        self.records += 1;
        let (first, last) = self.span.unwrap_or((flow.time, flow.time));
        self.span = Some((first.min(flow.time), last.max(flow.time)));
        let local = flow.local.ip().to_canonical();
        if flow.verdict == Verdict::Denied {
            self.refused += 1;
            return;
        }
        if local.is_unspecified() || matches!(local, IpAddr::V4(v4) if v4.is_broadcast()) {
            self.elsewhere += 1;
            return;
        }
        let outward = flow.direction == Direction::Out;
        let (asked, other) = match outward {
            true => (flow.remote.port(), flow.local.port()),
            false => (flow.local.port(), flow.remote.port()),
        };
        let services = self.locals.entry(local).or_default();
        services.entry((outward, flow.protocol as u8, asked)).or_default().add(flow, other);
    }

    /// Whether nothing was seen that a rule could permit.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.locals.is_empty()
    }

    /// The policy.
    #[must_use]
    pub fn policy(&self) -> String {
        render::policy(self)
    }

    /// Tables with their rules, and what each was made of: addresses with the same rules share one.
    fn tables(&self) -> BTreeMap<Vec<Rule>, (Vec<IpAddr>, Vec<Seen>)> {
        let mut tables: BTreeMap<Vec<Rule>, (Vec<IpAddr>, Vec<Seen>)> = BTreeMap::new();
        for (local, services) in &self.locals {
            let (rules, seen): (Vec<Rule>, Vec<Seen>) = rules(services).into_iter().unzip();
            let (locals, all) =
                tables.entry(rules).or_insert_with(|| (Vec::new(), vec![Seen::default(); seen.len()]));
            locals.push(*local);
            all.iter_mut().zip(&seen).for_each(|(all, seen)| all.join(seen));
        }
        tables
    }
}

/// The rules for an address: services that are for the same others share one.
fn rules(services: &BTreeMap<Service, Seen>) -> Vec<(Rule, Seen)> {
    let mut grouped: BTreeMap<(bool, u8, Remotes), (Vec<u16>, Seen)> = BTreeMap::new();
    for (&(outward, protocol, port), seen) in services {
        let remotes = if seen.crowd { Remotes::Any } else { gather(&seen.remotes) };
        let (ports, all) = grouped.entry((outward, protocol, remotes)).or_default();
        ports.push(port);
        all.join(seen);
    }
    let rule = |((outward, protocol, remotes), (ports, seen)): ((bool, u8, Remotes), (Vec<u16>, Seen))| {
        (Rule { outward, protocol, ports: ranges(&ports), remotes }, seen)
    };
    let mut rules: Vec<(Rule, Seen)> = grouped.into_iter().map(rule).collect();
    // Where ranges of ports lie in one another, the narrower one is asked first.
    rules.sort_by_cached_key(|(rule, _)| {
        (rule.outward, rule.protocol, width(&rule.ports), rule.ports.clone())
    });
    rules
}

/// Ports that follow one another are a range; when there are very many apart, they all are.
fn ranges(ports: &[u16]) -> Vec<(u16, u16)> {
    const MANY: usize = 32;
    let mut ranges: Vec<(u16, u16)> = Vec::new();
    for &port in ports {
        match ranges.last_mut() {
            Some((_, last)) if u32::from(*last) + 1 == u32::from(port) => *last = port,
            _ => ranges.push((port, port)),
        }
    }
    match (ranges.first(), ranges.last()) {
        (Some(&(first, _)), Some(&(_, last))) if ranges.len() > MANY => vec![(first, last)],
        _ => ranges,
    }
}

/// How many ports there are in all.
fn width(ports: &[(u16, u16)]) -> u32 {
    ports.iter().map(|(first, last)| u32::from(last - first) + 1).sum()
}

/// The word of a protocol's number.
const fn protocol_name(protocol: u8) -> &'static str {
    if protocol == Protocol::Tcp as u8 { "tcp" } else { "udp" }
}
