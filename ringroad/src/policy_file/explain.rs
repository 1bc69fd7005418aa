//! A policy in words, for `ringroad policy check`.

use std::fmt::{Display, Write};

use stack::policy::{
    Action, Mode, PolicySpec, PortRange, Prefix, RuleDirection, RuleProtocol, RuleSpec, TableSpec,
};

use super::shadow::shadows;

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
    let _ = writeln!(out, "{} ({mode})", table.local);
    for ((number, rule), shadow) in table.rules.iter().enumerate().zip(shadows(&table.rules)) {
        let _ = writeln!(out, "  {:>3}. {}: {}", number + 1, rule.name, in_words(rule));
        if let Some(earlier) = shadow {
            let name = &table.rules[earlier].name;
            let _ = writeln!(out, "       never reached: rule {} ({name}) matches all of it", earlier + 1);
        }
    }
    let rest = if table.rules.is_empty() { "everything" } else { "everything else" };
    let _ = writeln!(out, "       {rest}: denied, without an answer\n");
}

fn in_words(rule: &RuleSpec) -> String {
    let action = match rule.action {
        Action::Allow => "allow",
        Action::Deny => "deny",
    };
    let protocol = match rule.protocol {
        RuleProtocol::Tcp => "TCP",
        RuleProtocol::Udp => "UDP",
        RuleProtocol::Any => "TCP and UDP",
    };
    let (here, there) = (ports(&rule.local_ports), ports(&rule.remote_ports));
    let peers = peers(&rule.remotes);
    match rule.direction {
        RuleDirection::In => format!("{action} {protocol} from {peers}, {there}, to our {here}"),
        RuleDirection::Out => format!("{action} {protocol} to {peers}, {there}, from our {here}"),
        RuleDirection::Both => {
            format!("{action} {protocol} with {peers}, {there}, at our {here}, whoever begins")
        }
    }
}

fn ports(ranges: &[PortRange]) -> String {
    match ranges {
        [PortRange::ANY] => "any port".to_owned(),
        [one] if one.first == one.last => format!("port {one}"),
        _ => format!("ports {}", listed(ranges)),
    }
}

fn peers(prefixes: &[Prefix]) -> String {
    match prefixes {
        [Prefix::ANY_V4] | [Prefix::ANY_V6] => "anywhere".to_owned(),
        _ => prefixes
            .iter()
            .map(|p| if *p == Prefix::host(p.address()) { p.address().to_string() } else { p.to_string() })
            .collect::<Vec<_>>()
            .join(", "),
    }
}

fn listed<T: Display>(list: &[T]) -> String {
    list.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}
