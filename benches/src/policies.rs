//! Rule sets of several kinds, flows that meet them, and the judge that tries rule after rule.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use stack::policy::{
    Action, Mode, PolicySpec, PortRange, Prefix, RuleDirection, RuleProtocol, RuleSpec, TableSpec,
};
use stack::types::{Direction, FlowKey, Protocol};

use crate::LOCAL;

/// The local address of IPv6 rules.
pub const LOCAL_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);

/// What the rules of a set have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One peer and one of our ports each.
    Peers,
    /// Any peer, a port or a range of ours each.
    Ports,
    /// Networks of all sizes in one another, ports and ranges at both ends, any protocol and direction.
    Mixed,
    /// As ClassBench makes them from the filters of providers (Taylor and Turner, 2007): networks in few branches, long
    /// prefixes common, remote ports mostly any, our ports exact, high, low or ranges.
    Providers,
    /// What is worst: networks round one address, as deep in one another as there are lengths, and wide ranges at both ends
    /// that overlap.
    Nested,
}

/// Numbers without a pattern, the same for the same seed.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// From a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next (splitmix64).
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// The next, below `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        (self.draw() % limit.max(1) as u64) as usize
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}

/// Whose addresses the rules have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// A table of `count` rules of one kind; every fourth denies.
#[must_use]
pub fn policy(kind: Kind, family: Family, count: usize, seed: u64) -> PolicySpec {
    let mut random = Random::new(seed);
    let rules = (0..count).map(|n| rule(kind, family, n, &mut random)).collect();
    let local = match family {
        Family::V4 => IpAddr::from(LOCAL),
        Family::V6 => LOCAL_V6.into(),
    };
    PolicySpec {
        default: Action::Deny,
        tables: vec![TableSpec::of_host(local, Mode::Enforce, rules)],
        shadow: Vec::new(),
    }
}

fn rule(kind: Kind, family: Family, n: usize, random: &mut Random) -> RuleSpec {
    let any = if family == Family::V4 { Prefix::ANY_V4 } else { Prefix::ANY_V6 };
    let mut rule = RuleSpec {
        direction: RuleDirection::In,
        protocol: RuleProtocol::Tcp,
        local_ports: vec![PortRange::one(random.draw() as u16)],
        remotes: vec![any],
        ..RuleSpec::any(format!("rule {n}"), if n % 4 == 3 { Action::Deny } else { Action::Allow })
    };
    match kind {
        Kind::Peers => rule.remotes = vec![Prefix::host(peer(family, random.draw()))],
        Kind::Ports => {
            if n.is_multiple_of(2) {
                rule.local_ports = vec![range(random, 64)];
            }
        }
        Kind::Mixed => {
            let len = random.one_of(&[8, 12, 16, 20, 24, 24, 28, 32]);
            rule.remotes = network(family, random.draw(), len);
            rule.direction = [RuleDirection::In, RuleDirection::Out, RuleDirection::Both][n % 3];
            rule.protocol = [RuleProtocol::Tcp, RuleProtocol::Udp, RuleProtocol::Any][n / 3 % 3];
            if n.is_multiple_of(5) {
                rule.local_ports = vec![range(random, 4096)];
            }
            if n.is_multiple_of(7) {
                rule.remote_ports = vec![range(random, 16_384)];
            }
        }
        Kind::Providers => {
            // Few branches at the top, more below: bits near the root come from a small choice.
            let branch = random.one_of(&[0x0a, 0x0a, 0x0b, 0x3f, 0xc0, 0xc6]) << 56;
            let site = (random.draw() % 37).wrapping_mul(0x9e37_79b9) << 40 & 0x00ff_ff00_0000_0000;
            let host = random.draw() & 0x0000_00ff_ffff_ffff;
            let len = random.one_of(&[0, 8, 16, 16, 20, 24, 24, 24, 27, 28, 30, 32, 32, 32, 32, 32]);
            rule.remotes = if len == 0 { vec![any] } else { network(family, branch | site | host, len) };
            rule.protocol =
                random.one_of(&[RuleProtocol::Tcp, RuleProtocol::Tcp, RuleProtocol::Udp, RuleProtocol::Any]);
            rule.direction = random.one_of(&[RuleDirection::In, RuleDirection::In, RuleDirection::Out]);
            let known =
                random.one_of(&[22, 25, 53, 80, 110, 123, 143, 161, 389, 443, 993, 1521, 3306, 5432, 8080]);
            rule.local_ports = vec![match random.below(10) {
                0 | 1 => PortRange::ANY,
                2 => PortRange { first: 1024, last: u16::MAX },
                3 => PortRange { first: 0, last: 1023 },
                4 => range(random, 512),
                _ => PortRange::one(known),
            }];
            if random.below(10) == 0 {
                rule.remote_ports = vec![PortRange { first: 1024, last: u16::MAX }];
            }
        }
        Kind::Nested => {
            let longest = if family == Family::V4 { 32 } else { 128 };
            let len = (n % (longest + 1)) as u8;
            rule.remotes = Prefix::new(address(family, 0x0a4d_4d4d_4d4d_4d4d), len).into_iter().collect();
            rule.local_ports = vec![range(random, 32_768)];
            rule.remote_ports = vec![range(random, 32_768)];
        }
    }
    rule
}

fn network(family: Family, bits: u64, len: u8) -> Vec<Prefix> {
    let len = if family == Family::V4 { len } else { 32 + 3 * len };
    Prefix::new(address(family, bits), len).into_iter().collect()
}

/// An address in 10.0.0.0/8, or the like of IPv6, that is as likely as any other.
fn peer(family: Family, random: u64) -> IpAddr {
    address(family, 0x0a << 56 | random >> 8)
}

/// From the highest bits of a number.
fn address(family: Family, bits: u64) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::from_bits((bits >> 32) as u32).into(),
        Family::V6 => {
            Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(bits) << 32 | u128::from(bits >> 7)).into()
        }
    }
}

fn range(random: &mut Random, wide: u16) -> PortRange {
    let first = random.draw() as u16;
    PortRange { first, last: first.saturating_add(random.draw() as u16 % wide) }
}

/// Inbound TCP flows of which most meet a rule of `policy`, in an order without a pattern.
#[must_use]
pub fn flows(policy: &PolicySpec, seed: u64) -> Vec<FlowKey> {
    let table = &policy.tables[0];
    let mut random = Random::new(seed);
    (0..1 << 14)
        .map(|_| {
            let rule = &table.rules[random.below(table.rules.len())];
            let prefix = &rule.remotes[0];
            let wild = (u128::from(random.draw()) << 64 | u128::from(random.draw()))
                .wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let remote: IpAddr = match prefix.address() {
                IpAddr::V4(v4) => {
                    let free = u32::MAX.checked_shr(prefix.len().into()).unwrap_or(0);
                    Ipv4Addr::from_bits(v4.to_bits() | wild as u32 & free).into()
                }
                IpAddr::V6(v6) => {
                    let free = u128::MAX.checked_shr(prefix.len().into()).unwrap_or(0);
                    Ipv6Addr::from_bits(v6.to_bits() | wild & free).into()
                }
            };
            let ports = rule.local_ports[0];
            let local_port =
                if random.below(8) == 0 { 1 } else { [ports.first, ports.last][random.below(2)] };
            FlowKey {
                protocol: Protocol::Tcp,
                local: SocketAddr::new(table.locals[0].address(), local_port),
                remote: SocketAddr::new(remote, random.draw() as u16),
            }
        })
        .collect()
}

/// The first rule that matches, tried in turn, as a firewall without an index does.
#[must_use]
pub fn first_match(rules: &[RuleSpec], key: &FlowKey, direction: Direction) -> Option<usize> {
    rules.iter().position(|rule| {
        rule.direction.includes(direction)
            && rule.protocol.includes(key.protocol)
            && rule.local_ports.iter().any(|ports| ports.contains(key.local.port()))
            && rule.remotes.iter().any(|prefix| prefix.contains(key.remote.ip()))
            && rule.remote_ports.iter().any(|ports| ports.contains(key.remote.port()))
    })
}
