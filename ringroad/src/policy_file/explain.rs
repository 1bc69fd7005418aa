//! A policy in words, for `ringroad policy check`.

use std::fmt::{Display, Write};

use stack::policy::{
    Action, Mode, PolicySpec, PortRange, Prefix, RuleDirection, RuleProtocol, RuleSpec, TableSpec,
};

use super::icmp;
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
    if !spec.shadow.is_empty() {
        let _ = writeln!(out, "Recorded in full: flows with {}.", some(&spec.shadow));
    }
    out
}

fn explain_table(out: &mut String, table: &TableSpec) {
    let mode = match table.mode {
        Mode::Enforce => "enforced",
        Mode::Monitor => "monitored: judged and counted, but nothing is dropped",
    };
    let _ = writeln!(out, "{} ({mode}{})", heading(table), extras(table));
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

/// What becomes of those whom no rule permits, besides.
pub(super) fn extras(table: &TableSpec) -> String {
    let cloak = if table.cloak { "; cloaked: the kernel answers nobody whom no rule permits" } else { "" };
    let offload = if table.offload { "; by the steering program, before any socket hears of it" } else { "" };
    format!("{cloak}{offload}")
}

/// By which interfaces something holds; nothing, where it is by all.
pub(super) fn by(interfaces: &[String]) -> String {
    if interfaces.is_empty() { String::new() } else { format!(" by {}", interfaces.join(" or ")) }
}

/// The name of a table, and the addresses and interfaces it is for where the name does not say it.
fn heading(table: &TableSpec) -> String {
    let shown = some(&table.locals) + &by(&table.interfaces);
    if shown == table.name { shown } else { format!("{}: {shown}", table.name) }
}

/// The first few of many.
fn some(prefixes: &[Prefix]) -> String {
    let mut shown: Vec<String> = prefixes.iter().take(LOCALS).map(short).collect();
    if prefixes.len() > LOCALS {
        shown.push(format!("and {} more", prefixes.len() - LOCALS));
    }
    shown.join(", ")
}

/// What a rule means, in one line.
pub fn explain_rule(rule: &RuleSpec) -> String {
    let action = rule.action.name();
    let protocol = match rule.protocol {
        RuleProtocol::Tcp => "TCP",
        RuleProtocol::Udp => "UDP",
        RuleProtocol::Any => "TCP and UDP",
        RuleProtocol::Icmp => "ICMP",
        RuleProtocol::Icmpv6 => "ICMPv6",
    };
    let (here, there) = (ports(&rule.local_ports), ports(&rule.remote_ports));
    let peers = peers(rule);
    let mut words = match rule.direction {
        _ if rule.protocol.is_icmp() => {
            format!("{action} {protocol} from {peers}: {}", icmp::shown(rule.protocol, &rule.icmp_types))
        }
        RuleDirection::In => format!("{action} {protocol} from {peers}, {there}, to our {here}"),
        RuleDirection::Out => format!("{action} {protocol} to {peers}, {there}, from our {here}"),
        RuleDirection::Both => {
            format!("{action} {protocol} with {peers}, {there}, at our {here}, whoever begins")
        }
    };
    if !rule.interfaces.is_empty() {
        let _ = write!(words, ",{}", by(&rule.interfaces));
    }
    if let Some(limit) = rule.limit {
        let _ = write!(words, "; at most {limit} new flows a second from one source");
    }
    if rule.log {
        words += "; told of";
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
