//! What changes from one policy to another, in words.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::{Display, Write};

use stack::policy::{AddressSet, PolicySpec, Prefix, RuleSpec, TableSpec};

use super::explain::explain_rule;
use super::value::{quote, short};

/// Members of a list that are named.
const NAMED: usize = 8;

/// What is different in `new`; empty when nothing is.
pub fn diff(old: &PolicySpec, new: &PolicySpec) -> String {
    let mut out = String::new();
    if old.default != new.default {
        let _ = writeln!(out, "default: {} → {}", old.default.name(), new.default.name());
    }
    let marked = |spec: &PolicySpec| spec.shadow.iter().copied().collect();
    let shadow = came_and_went(&marked(old), &marked(new));
    if !shadow.is_empty() {
        let _ = writeln!(out, "shadow: {shadow}");
    }
    diff_sets(&mut out, &sets(old), &sets(new));
    let before: BTreeMap<&str, &TableSpec> = old.tables.iter().map(|t| (t.name.as_str(), t)).collect();
    let after: BTreeSet<&str> = new.tables.iter().map(|t| t.name.as_str()).collect();
    for gone in old.tables.iter().filter(|table| !after.contains(table.name.as_str())) {
        let _ = writeln!(out, "- table {} ({}, {})", gone.name, gone.mode.name(), rules(gone.rules.len()));
    }
    for table in &new.tables {
        match before.get(table.name.as_str()) {
            Some(old) => diff_table(&mut out, old, table),
            None => {
                let count = rules(table.rules.len());
                let _ = writeln!(out, "+ table {} ({}, {count})", table.name, table.mode.name());
                table.rules.iter().for_each(|rule| added(&mut out, '+', rule));
            }
        }
    }
    out
}

fn rules(count: usize) -> String {
    if count == 1 { "1 rule".to_owned() } else { format!("{count} rules") }
}

fn sets(spec: &PolicySpec) -> BTreeMap<&str, &AddressSet> {
    let rules = spec.tables.iter().flat_map(|table| &table.rules);
    rules.flat_map(|rule| &rule.remote_sets).map(|set| (set.name.as_str(), &**set)).collect()
}

fn diff_sets(out: &mut String, old: &BTreeMap<&str, &AddressSet>, new: &BTreeMap<&str, &AddressSet>) {
    for (name, set) in new {
        let members: BTreeSet<Prefix> = set.prefixes.iter().copied().collect();
        match old.get(name) {
            None => {
                let _ = writeln!(out, "+ set @{name} ({} members)", members.len());
            }
            Some(before) => {
                let before: BTreeSet<Prefix> = before.prefixes.iter().copied().collect();
                let words = came_and_went(&before, &members);
                if !words.is_empty() {
                    let _ = writeln!(out, "set @{name}: {words}");
                }
            }
        }
    }
    for name in old.keys().filter(|name| !new.contains_key(*name)) {
        let _ = writeln!(out, "- set @{name}");
    }
}

/// What is in only one of two lists; empty when nothing is.
fn came_and_went(old: &BTreeSet<Prefix>, new: &BTreeSet<Prefix>) -> String {
    let came = listed("+", new.difference(old).map(short));
    let went = listed("-", old.difference(new).map(short));
    [came, went].into_iter().filter(|words| !words.is_empty()).collect::<Vec<_>>().join("; ")
}

fn listed<T: Display>(sign: &str, all: impl Iterator<Item = T>) -> String {
    let all: Vec<String> = all.map(|one| format!("{sign} {one}")).collect();
    match all.len().checked_sub(NAMED) {
        Some(more) if more > 0 => format!("{}, {sign} {more} more", all[..NAMED].join(", ")),
        _ => all.join(", "),
    }
}

fn diff_table(out: &mut String, old: &TableSpec, new: &TableSpec) {
    let mut words = String::new();
    if old.mode != new.mode {
        let _ = writeln!(words, "  mode: {} → {}", old.mode.name(), new.mode.name());
    }
    for (key, was, is) in [("cloak", old.cloak, new.cloak), ("offload", old.offload, new.offload)] {
        if was != is {
            let word = |on| if on { "on" } else { "off" };
            let _ = writeln!(words, "  {key}: {} → {}", word(was), word(is));
        }
    }
    if old.interfaces != new.interfaces {
        let shown = |table: &TableSpec| match table.interfaces.is_empty() {
            true => "any".to_owned(),
            false => table.interfaces.join(", "),
        };
        let _ = writeln!(words, "  interface: {} → {}", shown(old), shown(new));
    }
    let addresses = |table: &TableSpec| table.locals.iter().copied().collect();
    let changed = came_and_went(&addresses(old), &addresses(new));
    if !changed.is_empty() {
        let _ = writeln!(words, "  addresses: {changed}");
    }
    let after: BTreeSet<&str> = new.rules.iter().map(|rule| rule.name.as_str()).collect();
    old.rules
        .iter()
        .filter(|rule| !after.contains(rule.name.as_str()))
        .for_each(|r| added(&mut words, '-', r));
    let before: HashMap<&str, usize> = (0..).zip(&old.rules).map(|(n, r)| (r.name.as_str(), n)).collect();
    let places: Vec<Option<usize>> = new.rules.iter().map(|r| before.get(r.name.as_str()).copied()).collect();
    let moved = moved(&places);
    for ((number, rule), place) in (1..).zip(&new.rules).zip(places) {
        let Some(place) = place else {
            added(&mut words, '+', rule);
            continue;
        };
        let (was, is) = (said(&old.rules[place]), said(rule));
        if was != is {
            let _ = writeln!(words, "  ~ {}: {was}\n    → {is}", quote(&rule.name));
        }
        if moved.contains(&place) {
            let _ = writeln!(words, "  ~ {}: now rule {number}, was rule {}", quote(&rule.name), place + 1);
        }
    }
    if !words.is_empty() {
        let _ = write!(out, "table {}\n{words}", new.name);
    }
}

fn added(out: &mut String, sign: char, rule: &RuleSpec) {
    let _ = writeln!(out, "  {sign} {}: {}", quote(&rule.name), said(rule));
}

fn said(rule: &RuleSpec) -> String {
    let comment = if rule.comment.is_empty() { String::new() } else { format!("  # {}", rule.comment) };
    explain_rule(rule) + &comment
}

/// The old places of rules that stand otherwise among those that stayed: as few as explain the new order.
fn moved(places: &[Option<usize>]) -> BTreeSet<usize> {
    // The longest series of rules that are still in order (patience sorting) has not moved.
    let stayed: Vec<usize> = places.iter().copied().flatten().collect();
    let mut ends: Vec<usize> = Vec::new();
    let mut before: Vec<Option<usize>> = Vec::with_capacity(stayed.len());
    for (at, &place) in stayed.iter().enumerate() {
        let pile = ends.partition_point(|&end| stayed[end] < place);
        before.push(pile.checked_sub(1).map(|pile| ends[pile]));
        match ends.get_mut(pile) {
            Some(end) => *end = at,
            None => ends.push(at),
        }
    }
    let series = std::iter::successors(ends.last().copied(), |&at| before[at]);
    let in_order: BTreeSet<usize> = series.map(|at| stayed[at]).collect();
    stayed.into_iter().filter(|place| !in_order.contains(place)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::PolicyFile;
    use super::*;

    const OLD: &str = "[sets]\na = ['10.1.0.0/16', '10.2.0.0/16']\n[[table]]\nlocal = '10.0.0.1'\nrule = [\n\
        { name = 'one', direction = 'in', action = 'allow', remote = '@a' },\n\
        { name = 'two', direction = 'in', action = 'allow', local_port = 80 },\n\
        { name = 'three', direction = 'in', action = 'allow', local_port = 81 },\n\
        { name = 'four', direction = 'in', action = 'deny' },\n]\n[[table]]\nlocal = '10.0.0.2'\n";

    fn changes(old: &str, new: &str) -> String {
        let spec = |text| PolicyFile::parse(text).unwrap().spec;
        diff(&spec(old), &spec(new))
    }

    #[test]
    fn the_same_policy_has_no_difference() {
        assert_eq!(changes(OLD, OLD), "");
        assert_eq!(changes(OLD, &OLD.replace("rule = [\n", "rule = [ # the rules\n")), "");
    }

    #[test]
    fn every_kind_of_change_is_told() {
        let new = "default = 'deny'\n[sets]\na = ['10.1.0.0/16', '10.3.0.0/16']\n\
            [[table]]\nlocal = '10.0.0.1'\nmode = 'monitor'\nrule = [\n\
            { name = 'three', direction = 'in', action = 'allow', local_port = 81 },\n\
            { name = 'one', direction = 'in', action = 'allow', remote = '@a' },\n\
            { name = 'two', direction = 'in', action = 'allow', local_port = 8080, comment = 'moved' },\n\
            { name = 'five', direction = 'out', action = 'allow' },\n]\n[[table]]\nlocal = '10.0.0.3'\n";
        assert_eq!(
            changes(OLD, new),
            "default: allow → deny\n\
             set @a: + 10.3.0.0/16; - 10.2.0.0/16\n\
             - table 10.0.0.2 (enforce, 0 rules)\n\
             table 10.0.0.1\n  \
               mode: enforce → monitor\n  \
               - \"four\": deny TCP and UDP from anywhere, any port, to our any port\n  \
               ~ \"three\": now rule 1, was rule 3\n  \
               ~ \"two\": allow TCP and UDP from anywhere, any port, to our port 80\n    \
                 → allow TCP and UDP from anywhere, any port, to our port 8080  # moved\n  \
               + \"five\": allow TCP and UDP to anywhere, any port, from our any port\n\
             + table 10.0.0.3 (enforce, 0 rules)\n"
        );
    }

    #[test]
    fn another_interface_is_a_change() {
        let new = OLD.replace("local_port = 80 }", "local_port = 80, interface = 'eth1' }");
        assert_eq!(
            changes(OLD, &new),
            "table 10.0.0.1\n  \
               ~ \"two\": allow TCP and UDP from anywhere, any port, to our port 80\n    \
                 → allow TCP and UDP from anywhere, any port, to our port 80, by eth1\n"
        );
    }

    #[test]
    fn other_interfaces_of_a_table_are_a_change() {
        let named = OLD.replace("local = '10.0.0.1'", "local = '10.0.0.1'\nname = 'front'");
        let new = named.replace("name = 'front'", "name = 'front'\ninterface = ['eth1', 'wlan*']");
        assert_eq!(changes(&named, &new), "table front\n  interface: any → eth1, wlan*\n");
        assert_eq!(changes(&new, &named), "table front\n  interface: eth1, wlan* → any\n");
    }

    #[test]
    fn who_is_recorded_is_told() {
        let marking = |who: &str| format!("shadow = {who}\n{OLD}");
        assert_eq!(changes(OLD, &marking("'10.1.0.9'")), "shadow: + 10.1.0.9\n");
        assert_eq!(
            changes(&marking("['10.1.0.9', '10.3.0.0/16']"), &marking("['2001:db8::/32', '10.1.0.9']")),
            "shadow: + 2001:db8::/32; - 10.3.0.0/16\n"
        );
    }

    #[test]
    fn long_lists_are_cut_short() {
        let with = |n: u8| {
            let members: Vec<String> = (1..=n).map(|n| format!("'10.0.1.{n}'")).collect();
            format!(
                "[sets]\na = [{}]\n[[table]]\nlocal = '10.0.0.1'\nrule = [{{ name = 'r', direction = 'in', action = 'deny', remote = '@a' }}]",
                members.join(",")
            )
        };
        let told = changes(&with(1), &with(20));
        let first = told.lines().next().unwrap_or_default();
        assert!(first.ends_with(", + 10.0.1.9, + 11 more"), "{told}");
        assert!(
            told.contains("from @a (1), any port") && told.contains("→ deny TCP and UDP from @a (20)"),
            "{told}"
        );
    }
}
