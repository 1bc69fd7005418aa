//! Rule sets of three kinds, and flows that meet them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use stack::policy::{
    Action, Mode, PolicySpec, PortRange, Prefix, RuleDirection, RuleProtocol, RuleSpec, TableSpec,
};
use stack::types::{FlowKey, Protocol};

use crate::{LOCAL, shuffled};

/// What the rules of a set have in common.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// One peer and one of our ports each.
    Peers,
    /// Any peer, a port or a range of ours each.
    Ports,
    /// Networks of all sizes in one another, ports and ranges at both ends, any protocol and direction.
    Mixed,
}

/// A table of `count` rules of one kind; every fourth denies.
#[must_use]
pub fn policy(kind: Kind, count: u32) -> PolicySpec {
    let mut random = shuffled(u32::MAX);
    let rules = (0..count).map(|n| rule(kind, n, &mut || random.next().unwrap_or_default())).collect();
    let table = TableSpec { local: LOCAL.into(), mode: Mode::Enforce, rules };
    PolicySpec { default: Action::Deny, tables: vec![table] }
}

fn rule(kind: Kind, n: u32, random: &mut impl FnMut() -> u32) -> RuleSpec {
    let mut rule = RuleSpec {
        name: format!("rule {n}"),
        direction: RuleDirection::In,
        protocol: RuleProtocol::Tcp,
        local_ports: vec![PortRange::one((random() >> 16) as u16)],
        remotes: vec![Prefix::ANY_V4],
        remote_ports: vec![PortRange::ANY],
        action: if n % 4 == 3 { Action::Deny } else { Action::Allow },
    };
    match kind {
        Kind::Peers => rule.remotes = vec![Prefix::host(peer(random()))],
        Kind::Ports => {
            if n.is_multiple_of(2) {
                rule.local_ports = vec![range(random(), 64)];
            }
        }
        Kind::Mixed => {
            let len = [8, 12, 16, 20, 24, 24, 28, 32][random() as usize % 8];
            rule.remotes = Prefix::new(peer(random()), len).into_iter().collect();
            rule.direction = [RuleDirection::In, RuleDirection::Out, RuleDirection::Both][n as usize % 3];
            rule.protocol = [RuleProtocol::Tcp, RuleProtocol::Udp, RuleProtocol::Any][n as usize / 3 % 3];
            if n.is_multiple_of(5) {
                rule.local_ports = vec![range(random(), 4096)];
            }
            if n.is_multiple_of(7) {
                rule.remote_ports = vec![range(random(), 16_384)];
            }
        }
    }
    rule
}

/// An address in 10.0.0.0/8 that is as likely as any other.
fn peer(random: u32) -> IpAddr {
    Ipv4Addr::from_bits(0x0a00_0000 | random >> 8).into()
}

fn range(random: u32, wide: u16) -> PortRange {
    let first = (random >> 16) as u16;
    PortRange { first, last: first.saturating_add(random as u16 % wide) }
}

/// Flows of which most meet a rule of `policy`, in an order without a pattern.
#[must_use]
pub fn flows(policy: &PolicySpec) -> Vec<FlowKey> {
    let rules = &policy.tables[0].rules;
    let mut random = shuffled(u32::MAX);
    let mut next = || random.next().unwrap_or_default();
    (0..1 << 14)
        .map(|_| {
            let rule = &rules[next() as usize % rules.len()];
            let IpAddr::V4(network) = rule.remotes[0].address() else { unreachable!("the sets are IPv4") };
            let free = u32::MAX.checked_shr(rule.remotes[0].len().into()).unwrap_or(0);
            let local_port = if next() % 8 == 0 { 1 } else { rule.local_ports[0].first };
            FlowKey {
                protocol: Protocol::Tcp,
                local: SocketAddr::from((LOCAL, local_port)),
                remote: SocketAddr::from((
                    Ipv4Addr::from_bits(network.to_bits() | next() & free),
                    next() as u16,
                )),
            }
        })
        .collect()
}
