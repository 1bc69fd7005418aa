//! From rules to what the steering program reads: of each address, port and type of message the rules that match, as
//! bits, so that the program finds the first that matches everything by a few lookups, however many there are.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use af_xdp::{CLASSES, GUARD_RULES, GUARD_TABLES, GUARD_WORDS, Guard, GuardTable, Place, PlaceKind, TALLIES};
use stack::policy::{
    Action, Mode, PolicySpec, PortRange, Prefix, RuleProtocol, RuleSpec, TableSpec, closest,
};
use stack::types::{Direction, Protocol};

/// Places of a guard at the most: two of them and the host's addresses fit the program's map.
const PLACES: usize = 250_000;

/// Rules of a table, a bit each.
type Rules = [u64; GUARD_WORDS];

/// The tables of a policy that steering programs carry out by themselves.
#[derive(Debug)]
pub(crate) struct Guarded {
    /// For interfaces that neither these tables nor their rules name.
    others: Part,
    named: BTreeMap<String, Part>,
}

/// What the program of one interface carries out: the rules that hold by it.
#[derive(Debug)]
pub(crate) struct Part {
    /// What it reads.
    pub(crate) guard: Guard,
    tables: Vec<Origin>,
}

/// Where a table of a guard comes from.
#[derive(Debug)]
struct Origin {
    /// Its place in the policy.
    table: usize,
    /// The rule of each bit.
    rules: Vec<Bearer>,
}

/// The rule behind a bit.
#[derive(Debug)]
struct Bearer {
    /// Its place in the policy's table.
    rule: usize,
    /// The counter that it shares with others.
    counter: Option<String>,
}

/// A rule of a table that has a count of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tallied<'p> {
    /// Its place in the policy's table.
    pub(crate) rule: usize,
    /// The counter that it shares with others.
    pub(crate) counter: Option<&'p str>,
    /// The place of its count.
    pub(crate) at: u32,
}

/// Whether the steering program carries a table out.
fn is_meant(table: &TableSpec) -> bool {
    table.cloak || table.offload
}

impl Guarded {
    /// The tables of `spec` that are cloaked, or carried out by the program; none are.
    ///
    /// # Errors
    /// The name of a table for which there is no room, and what there is too much of.
    pub(super) fn of(spec: &PolicySpec) -> Result<Option<Self>, (String, String)> {
        if !spec.tables.iter().any(is_meant) {
            return Ok(None);
        }
        let meant: Vec<&TableSpec> = spec.tables.iter().filter(|table| is_meant(table)).collect();
        let of_rules = meant.iter().flat_map(|table| &table.rules).flat_map(|rule| &rule.interfaces);
        let of_tables = meant.iter().flat_map(|table| &table.interfaces);
        let names: BTreeSet<&String> = of_tables.chain(of_rules).collect();
        let named = |name: &String| Ok((name.clone(), Part::of(spec, Some(name))?));
        let named = names.into_iter().map(named).collect::<Result<_, (String, String)>>()?;
        Ok(Some(Self { others: Part::of(spec, None)?, named }))
    }

    /// What the program of an interface carries out.
    pub(crate) fn part(&self, interface: &str) -> &Part {
        let at = closest(self.named.keys().map(String::as_str), interface);
        at.and_then(|at| self.named.values().nth(at)).unwrap_or(&self.others)
    }
}

impl Part {
    fn of(spec: &PolicySpec, interface: Option<&str>) -> Result<Self, (String, String)> {
        let (mut draft, mut tables) = (Draft::default(), Vec::new());
        let here = |table: &TableSpec| is_meant(table) && table.holds_by(interface);
        for (number, table) in spec.tables.iter().enumerate().filter(|(_, table)| here(table)) {
            let rules = draft.table(table, interface).map_err(|what| (table.name.clone(), what))?;
            tables.push(Origin { table: number, rules });
        }
        Ok(Self { guard: draft.guard, tables })
    }

    /// The number that a table of the policy has in the guard.
    pub(crate) fn number_of(&self, table: usize) -> Option<u8> {
        self.tables.iter().position(|origin| origin.table == table).map(|number| number as u8)
    }

    /// The places of a table of the guard, and of the rule of a bit, in the policy.
    pub(crate) fn origin(&self, table: u16, rule: Option<u32>) -> Option<(usize, Option<usize>)> {
        let origin = self.tables.get(usize::from(table))?;
        Some((origin.table, rule.and_then(|bit| Some(origin.rules.get(bit as usize)?.rule))))
    }

    /// The rules of a table of the guard that have counts of their own.
    pub(crate) fn tallied(&self, number: u8) -> impl Iterator<Item = Tallied<'_>> {
        let first = self.guard.tables.get(usize::from(number)).and_then(|table| table.tallies);
        let rules = first.and_then(|_| self.tables.get(usize::from(number))).map_or(&[][..], |t| &t.rules);
        (first.unwrap_or_default()..).zip(rules).map(|(at, of)| Tallied {
            rule: of.rule,
            counter: of.counter.as_deref(),
            at,
        })
    }
}

/// A guard in the making.
struct Draft {
    guard: Guard,
    known: HashMap<Rules, u32>,
    /// Rules that have a count of their own.
    tallied: usize,
}

impl Default for Draft {
    fn default() -> Self {
        let empty = [0; GUARD_WORDS];
        let guard = Guard { classes: vec![empty], ..Guard::default() };
        Self { guard, known: HashMap::from([(empty, 0)]), tallied: 0 }
    }
}

/// A bit and what its rule says.
type Bit<'s> = (usize, &'s RuleSpec);

impl Draft {
    /// Adds a table as it is for packets by `interface`; the rule of each bit.
    fn table(&mut self, spec: &TableSpec, interface: Option<&str>) -> Result<Vec<Bearer>, String> {
        let inbound: Vec<(usize, &RuleSpec)> = spec
            .rules
            .iter()
            .enumerate()
            .filter(|(_, rule)| rule.direction.includes(Direction::In) && rule.holds_by(interface))
            .collect();
        if inbound.len() > GUARD_RULES {
            let n = inbound.len();
            return Err(format!(
                "{n} rules for what comes in: the steering program can carry out {GUARD_RULES} a table"
            ));
        }
        let number = u8::try_from(self.guard.tables.len())
            .map_err(|_| format!("the steering program can carry out {GUARD_TABLES} tables"))?;
        let bits: Vec<Bit<'_>> = inbound.iter().map(|(_, rule)| *rule).enumerate().collect();
        for v4 in [true, false] {
            self.remotes(number, v4, &bits)?;
        }
        let transport = |rule: &RuleSpec| !rule.protocol.is_icmp();
        let own = |rule: &RuleSpec| if transport(rule) { rule.local_ports.clone() } else { Vec::new() };
        self.numbers(number, PlaceKind::LocalPort, &bits, own)?;
        let other = |rule: &RuleSpec| if transport(rule) { rule.remote_ports.clone() } else { Vec::new() };
        self.numbers(number, PlaceKind::RemotePort, &bits, other)?;
        let types = |rule: &RuleSpec| if transport(rule) { Vec::new() } else { rule.icmp_types.clone() };
        self.numbers(number, PlaceKind::IcmpType, &bits, types)?;
        let tallies = self.tallies(inbound.len());
        let mut class = |meant: &dyn Fn(&RuleSpec) -> bool| {
            let rules = bits.iter().filter(|(_, rule)| meant(rule)).map(|(bit, _)| *bit);
            self.class(set_of(rules))
        };
        let table = GuardTable {
            cloak: spec.cloak,
            offload: spec.offload,
            monitor: spec.mode == Mode::Monitor,
            tallies,
            udp_out: spec.rules.iter().any(|rule| {
                rule.action == Action::Allow
                    && rule.direction.includes(Direction::Out)
                    && rule.protocol.includes(Protocol::Udp)
            }),
            allow: class(&|rule| rule.action == Action::Allow)?,
            protocol: [
                class(&|rule| rule.protocol.includes(Protocol::Tcp))?,
                class(&|rule| rule.protocol.includes(Protocol::Udp))?,
                class(&|rule| rule.protocol == RuleProtocol::Icmp)?,
                class(&|rule| rule.protocol == RuleProtocol::Icmpv6)?,
            ],
        };
        self.guard.tables.push(table);
        let bearer = |(rule, spec): (usize, &RuleSpec)| Bearer { rule, counter: spec.counter.clone() };
        Ok(inbound.into_iter().map(bearer).collect())
    }

    /// Where the counts of so many rules begin; there is no room for them.
    fn tallies(&mut self, rules: usize) -> Option<u32> {
        let (first, end) = (self.tallied, self.tallied + rules);
        let fits = end <= TALLIES;
        if fits {
            self.tallied = end;
        }
        fits.then_some(first as u32)
    }

    fn class(&mut self, rules: Rules) -> Result<u32, String> {
        let next = self.guard.classes.len() as u32;
        let class = *self.known.entry(rules).or_insert(next);
        if class == next {
            self.guard.classes.push(rules);
        }
        if self.guard.classes.len() > CLASSES {
            return Err(format!(
                "its rules overlap in more than {CLASSES} ways: more than the steering program can carry out"
            ));
        }
        Ok(class)
    }

    fn place(&mut self, place: Place, rules: Rules) -> Result<(), String> {
        let class = self.class(rules)?;
        self.guard.places.push((place, class));
        if self.guard.places.len() > PLACES {
            return Err(format!(
                "more than {PLACES} prefixes and blocks of ports: more than the steering program can carry out"
            ));
        }
        Ok(())
    }

    /// The rules that match at each prefix: its own, and those of the prefixes round it.
    fn remotes(&mut self, table: u8, v4: bool, bits: &[Bit<'_>]) -> Result<(), String> {
        let mut own: BTreeMap<Prefix, Rules> = BTreeMap::new();
        for (bit, rule) in bits {
            let sets = rule.remote_sets.iter().flat_map(|set| &set.prefixes);
            let of_family = rule.remotes.iter().chain(sets).filter(|p| p.address().is_ipv4() == v4);
            of_family.for_each(|prefix| set(own.entry(*prefix).or_default(), *bit));
        }
        let kind = if v4 { PlaceKind::Remote4 } else { PlaceKind::Remote6 };
        // What lies round a prefix comes before it.
        let mut round: Vec<(Prefix, Rules)> = Vec::new();
        for (prefix, mut rules) in own {
            while round.pop_if(|(outer, _)| !outer.contains(prefix.address())).is_some() {}
            if let Some((_, outer)) = round.last() {
                rules.iter_mut().zip(outer).for_each(|(word, more)| *word |= more);
            }
            round.push((prefix, rules));
            let mut data = [0; 16];
            match prefix.address() {
                IpAddr::V4(v4) => data[..4].copy_from_slice(&v4.octets()),
                IpAddr::V6(v6) => data = v6.octets(),
            }
            self.place(Place { kind, table, data, len: prefix.len() }, rules)?;
        }
        Ok(())
    }

    /// The rules that match each number, in blocks of numbers that have the same.
    fn numbers(
        &mut self,
        table: u8,
        kind: PlaceKind,
        bits: &[Bit<'_>],
        ranges: impl Fn(&RuleSpec) -> Vec<PortRange>,
    ) -> Result<(), String> {
        let mut cuts: BTreeMap<u32, Vec<(usize, bool)>> = BTreeMap::new();
        for (bit, rule) in bits {
            for range in ranges(rule).into_iter().filter(|range| range.first <= range.last) {
                cuts.entry(range.first.into()).or_default().push((*bit, true));
                cuts.entry(u32::from(range.last) + 1).or_default().push((*bit, false));
            }
        }
        let mut open = vec![0_usize; bits.len()];
        let mut same: Option<(u32, Rules)> = None;
        for (at, changes) in cuts {
            for (bit, begins) in changes {
                open[bit] = if begins { open[bit] + 1 } else { open[bit] - 1 };
            }
            let rules = set_of((0..open.len()).filter(|bit| open[*bit] > 0));
            if same.is_some_and(|(_, before)| before == rules) {
                continue;
            }
            if let Some((first, rules)) = same.replace((at, rules)) {
                self.blocks(table, kind, PortRange { first: first as u16, last: (at - 1) as u16 }, rules)?;
            }
        }
        Ok(())
    }

    fn blocks(&mut self, table: u8, kind: PlaceKind, range: PortRange, rules: Rules) -> Result<(), String> {
        if rules == [0; GUARD_WORDS] {
            return Ok(());
        }
        range.blocks().try_for_each(|(first, len)| {
            let mut data = [0; 16];
            data[..2].copy_from_slice(&first.to_be_bytes());
            self.place(Place { kind, table, data, len }, rules)
        })
    }
}

fn set(rules: &mut Rules, bit: usize) {
    rules[bit / 64] |= 1 << (bit % 64);
}

fn set_of(bits: impl Iterator<Item = usize>) -> Rules {
    let mut rules = [0; GUARD_WORDS];
    bits.for_each(|bit| set(&mut rules, bit));
    rules
}

#[cfg(test)]
#[path = "tests/guard.rs"]
mod tests;
