//! A policy in words, for `ringroad policy check`.

use std::fmt::{Display, Write};

use stack::policy::{Action, Mode, PolicySpec, PortRange, RuleDirection, RuleProtocol, RuleSpec, TableSpec};

use super::shadow::shadows;
use super::value::short;

/// Addresses of a table that are listed.
const LOCALS: usize = 8;

/// What the policy means, table by table and rule by rule.
pub fn explain(spec: &PolicySpec) -> String {
    let mut out = String::new();
    for table in &spec.tables {
        explain_table(&mut out, table);
    }
    let default = match spec.default {
        Action::Allow => "allowed",
        Action::Deny => "denied, without an answer",
    };
    let others = if spec.tables.is_empty() { "Every local address" } else { "Every other local address" };
    let _ = writeln!(out, "{others}: {default}.");
    out
}

fn explain_table(out: &mut String, table: &TableSpec) {
    let mode = match table.mode {
        Mode::Enforce => "enforced",
        Mode::Monitor => "monitored: judged and counted, but nothing is dropped",
    };
    let _ = writeln!(out, "{} ({mode})", heading(table));
    for ((number, rule), shadow) in table.rules.iter().enumerate().zip(shadows(&table.rules)) {
        let _ = writeln!(out, "  {:>3}. {}: {}", number + 1, rule.name, explain_rule(rule));
        if !rule.comment.is_empty() {
            let _ = writeln!(out, "       # {}", rule.comment);
        }
        if let Some(earlier) = shadow {
            let name = &table.rules[earlier].name;
            let _ = writeln!(out, "       never reached: rule {} ({name}) matches all of it", earlier + 1);
        }
    }
    let rest = if table.rules.is_empty() { "everything" } else { "everything else" };
    let _ = writeln!(out, "       {rest}: denied, without an answer\n");
}

/// The name of a table, and the addresses it is for where the name does not say it.
fn heading(table: &TableSpec) -> String {
    let mut shown: Vec<String> = table.locals.iter().take(LOCALS).map(short).collect();
    if table.locals.len() > LOCALS {
        shown.push(format!("and {} more", table.locals.len() - LOCALS));
    }
    if shown.len() == 1 && shown[0] == table.name {
        table.name.clone()
    } else {
        format!("{}: {}", table.name, shown.join(", "))
    }
}

/// What a rule means, in one line.
pub fn explain_rule(rule: &RuleSpec) -> String {
    let action = rule.action.name();
    let protocol = match rule.protocol {
        RuleProtocol::Tcp => "TCP",
        RuleProtocol::Udp => "UDP",
        RuleProtocol::Any => "TCP and UDP",
    };
    let (here, there) = (ports(&rule.local_ports), ports(&rule.remote_ports));
    let peers = peers(rule);
    let mut words = match rule.direction {
        RuleDirection::In => format!("{action} {protocol} from {peers}, {there}, to our {here}"),
        RuleDirection::Out => format!("{action} {protocol} to {peers}, {there}, from our {here}"),
        RuleDirection::Both => {
            format!("{action} {protocol} with {peers}, {there}, at our {here}, whoever begins")
        }
    };
    if let Some(limit) = rule.limit {
        let _ = write!(words, "; at most {limit} new flows a second from one source");
    }
    if let Some(counter) = &rule.counter {
        let _ = write!(words, "; counted for {counter}");
    }
    words
}

fn ports(ranges: &[PortRange]) -> String {
    match ranges {
        [PortRange::ANY] => "any port".to_owned(),
        [one] if one.first == one.last => format!("port {one}"),
        _ => format!("ports {}", listed(ranges)),
    }
}

fn peers(rule: &RuleSpec) -> String {
    if rule.remotes.iter().any(|prefix| prefix.len() == 0)
        && rule.remotes.iter().all(|prefix| prefix.len() == 0)
    {
        return "anywhere".to_owned();
    }
    let sets = rule.remote_sets.iter().map(|set| format!("@{} ({})", set.name, set.prefixes.len()));
    rule.remotes.iter().map(short).chain(sets).collect::<Vec<_>>().join(", ")
}

fn listed<T: Display>(list: &[T]) -> String {
    list.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}
