//! What is no fault and yet cannot be meant.

use stack::policy::{PolicySpec, RuleProtocol, RuleSpec, TableSpec};

use super::fault::{Fault, Source};
use super::interfaces;
use super::places::Places;
use super::read::families;
use super::sets::Sets;
use super::shadow::shadows;
use super::value::{self, quote};

/// Rules that never match, sets that nobody names.
pub(super) fn warnings(source: &Source<'_>, spec: &PolicySpec, sets: &Sets, places: &Places) -> Vec<Fault> {
    let mut warnings = Vec::new();
    for (at, table) in spec.tables.iter().enumerate() {
        for (number, (rule, earlier)) in table.rules.iter().zip(shadows(&table.rules)).enumerate() {
            let what = match earlier {
                Some(earlier) => {
                    let earlier = &table.rules[earlier];
                    format!(
                        "warning: rule {} can never match: {}, in line {}, matches all that it would",
                        quote(&rule.name),
                        quote(&earlier.name),
                        earlier.line
                    )
                }
                None if !meets(table, rule) => {
                    format!(
                        "warning: rule {} can never match: it is for nothing of the family of {}",
                        quote(&rule.name),
                        quote(&table.name)
                    )
                }
                None if !interfaces::meet(&table.interfaces, &rule.interfaces) => format!(
                    "warning: rule {} can never match: {} is for other interfaces",
                    quote(&rule.name),
                    quote(&table.name)
                ),
                None if rule.protocol.is_icmp() && !table.cloak => format!(
                    "warning: rule {} is of no effect: ICMP is judged only for tables with `cloak = true`",
                    quote(&rule.name)
                ),
                None => continue,
            };
            let span = places.of_rule(at, number).unwrap_or_default();
            warnings.push(source.fault(span, what));
        }
    }
    for (table, local) in interfaces::open_elsewhere(spec) {
        let local = value::short(&local);
        let what =
            format!("warning: by other interfaces {} has no table, and everything is allowed", quote(&local));
        let span = places.of_table(&table.name).unwrap_or_default();
        warnings.push(
            source.fault(span, what).suggest("say `default = \"deny\"`, or add one without `interface`"),
        );
    }
    for (name, span) in sets.unused() {
        warnings.push(source.fault(span, format!("warning: no rule names the set {}", quote(name))));
    }
    warnings.sort_by_key(|warning| (warning.line, warning.column));
    warnings
}

/// Whether a rule has a remote of one of its table's families.
fn meets(table: &TableSpec, rule: &RuleSpec) -> bool {
    let mut remotes = rule.remotes.iter().chain(rule.remote_sets.iter().flat_map(|set| &set.prefixes));
    let (v4, v6) = families(&table.locals);
    let (v4, v6) = (v4 && rule.protocol != RuleProtocol::Icmpv6, v6 && rule.protocol != RuleProtocol::Icmp);
    remotes.any(|remote| if remote.address().is_ipv4() { v4 } else { v6 })
}
