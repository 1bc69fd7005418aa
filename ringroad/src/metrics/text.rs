//! Reports as metrics: OpenMetrics text. A report may be anybody's who runs in the network namespace: what it says is in the
//! labels and values of its own process, whatever it says.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashSet};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::control::model::{Count, PolicyReport, StackReport, TableReport};

/// The longest name of a counter.
const LONGEST: usize = 64;
/// Counters of a stack, at the most.
const MOST: usize = 512;
/// Ends of names that mean something in OpenMetrics.
const ENDS: [&str; 6] = ["_total", "_created", "_bucket", "_count", "_sum", "_info"];

/// Labels of a metric.
type Labels = Vec<(&'static str, Cow<'static, str>)>;

/// What the stacks count, as text.
pub(super) fn exposition(stacks: &[StackReport]) -> String {
    let mut registry = Registry::with_prefix("ringroad");
    registry.register_collector(Box::new(Stacks(stacks.to_vec())));
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = encode(&mut text, &registry);
    text
}

/// The one metric that is no counter.
const GENERATION: &str = "policy_generation";

/// Of the steering programs there is one for all processes of a port.
const KEPT_OUT_BY_RULE: &str =
    "Of the packets that the steering program kept from its table, those that a rule decided";
const KEPT_OUT_BY_COUNTER: &str =
    "Of the packets that the steering program kept out, those by a named counter";
const KEPT_OUT: &str = "Packets that the steering program kept from a table, or would have, the same number from each process of a port";

/// A metric's name, what it is, and where it is told.
type Row<T> = (&'static str, &'static str, fn(&T) -> u64);

#[derive(Debug)]
struct Stacks(Vec<StackReport>);

/// One metric of all stacks.
struct Family {
    name: String,
    help: &'static str,
    values: Vec<(Labels, u64)>,
}

impl Collector for Stacks {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        for family in self.counters() {
            write(&mut encoder, &family, ConstCounter::new)?;
        }
        let generation = |stack: &StackReport| vec![(of(stack), stack.policy.generation)];
        let policies = self.family(GENERATION, "Policies that were in force so far", generation);
        write(&mut encoder, &policies, |n| ConstGauge::new(i64::try_from(n).unwrap_or(i64::MAX)))
    }
}

impl Stacks {
    fn family(
        &self,
        name: &str,
        help: &'static str,
        values: impl Fn(&StackReport) -> Vec<(Labels, u64)>,
    ) -> Family {
        let mut values: Vec<(Labels, u64)> = self.0.iter().flat_map(values).collect();
        // The whole text is refused where the same is told twice.
        let mut told = HashSet::new();
        values.retain(|(labels, _)| told.insert(labels.clone()));
        Family { name: name.to_owned(), help, values }
    }

    fn counters(&self) -> Vec<Family> {
        let mut families = self.of_the_gate();
        families.push(self.family("bypass", "Sockets that stayed in the kernel, by reason", |stack| {
            let one = |(reason, n): (&String, &u64)| (with(of(stack), [("reason", reason)]), *n);
            stack.bypass.iter().map(one).collect()
        }));
        let taken = |name: &str| name == GENERATION || families.iter().any(|family| family.name == name);
        let of_stack = |stack: &'_ StackReport| -> Vec<String> {
            let names = stack.counters.keys().filter(|name| is_name(name) && !taken(name));
            names.take(MOST).cloned().collect()
        };
        let names: BTreeSet<String> = self.0.iter().flat_map(of_stack).collect();
        families.extend(names.iter().map(|name| {
            let value = |s: &StackReport| s.counters.get(name).map(|n| (of(s), *n)).into_iter().collect();
            self.family(name, "As ringroad stat has it", value)
        }));
        families
    }

    fn of_the_gate(&self) -> Vec<Family> {
        let mut families = Vec::new();
        let rules: [Row<Rule>; 5] = [
            ("rule_packets", "Packets that a rule decided", |rule| rule.packets),
            ("rule_bytes", "Their bytes", |rule| rule.bytes),
            ("rule_limited", "Flows of sources that had begun too many", |rule| rule.limited),
            ("rule_kept_out_packets", KEPT_OUT_BY_RULE, |rule| rule.kept_out.packets),
            ("rule_kept_out_bytes", "Their bytes", |rule| rule.kept_out.bytes),
        ];
        for (name, help, value) in rules {
            families.push(self.family(name, help, |stack| {
                let of_table = |table: &TableReport| -> Vec<(Labels, u64)> {
                    let labels = |rule: &str| with(of(stack), [("table", &table.local), ("rule", rule)]);
                    table.rules.iter().map(|rule| (labels(&rule.name), value(rule))).collect()
                };
                stack.policy.tables.iter().flat_map(of_table).collect()
            }));
        }
        let denied: [Row<TableReport>; 4] = [
            ("denied_packets", "Packets that no rule of a table lets pass", |table| table.denied.packets),
            ("denied_bytes", "Their bytes", |table| table.denied.bytes),
            ("kept_out_packets", KEPT_OUT, |table| table.kept_out.packets),
            ("kept_out_bytes", "Their bytes", |table| table.kept_out.bytes),
        ];
        for (name, help, value) in denied {
            families.push(self.family(name, help, |stack| {
                let labels = |t: &TableReport| with(of(stack), [("table", &t.local), ("mode", &t.mode)]);
                stack.policy.tables.iter().map(|table| (labels(table), value(table))).collect()
            }));
        }
        type Shared = fn(&PolicyReport) -> &BTreeMap<String, Count>;
        let (stacks, programs): (Shared, Shared) = (|policy| &policy.counters, |policy| &policy.kept_out);
        let shared: [(Shared, Row<Count>); 4] = [
            (stacks, ("counter_packets", "Packets that the rules of a named counter decided", |c| c.packets)),
            (stacks, ("counter_bytes", "Their bytes", |c| c.bytes)),
            (programs, ("counter_kept_out_packets", KEPT_OUT_BY_COUNTER, |c| c.packets)),
            (programs, ("counter_kept_out_bytes", "Their bytes", |c| c.bytes)),
        ];
        for (which, (name, help, value)) in shared {
            families.push(self.family(name, help, |stack| {
                let labels = |counter: &str| with(of(stack), [("counter", counter)]);
                which(&stack.policy).iter().map(|(name, count)| (labels(name), value(count))).collect()
            }));
        }
        families
    }
}

type Rule = crate::control::model::RuleReport;

/// Whether it is a name as our counters have: nothing else can be written behind `# TYPE`.
fn is_name(name: &str) -> bool {
    let signs = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    let begins = name.starts_with(|c: char| c.is_ascii_lowercase());
    signs && begins && name.len() <= LONGEST && !ENDS.iter().any(|end| name.ends_with(end))
}

/// The labels of a stack: its process, and the program that this is.
fn of(stack: &StackReport) -> Labels {
    let program = stack.command.split(' ').next().unwrap_or_default();
    let program = program.rsplit('/').next().unwrap_or_default().trim_end_matches(':');
    vec![("pid", stack.pid.to_string().into()), ("program", program.to_owned().into())]
}

fn with<const N: usize>(mut labels: Labels, more: [(&'static str, &str); N]) -> Labels {
    labels.extend(more.map(|(name, value)| (name, value.to_owned().into())));
    labels
}

/// A metric that nobody has is left out.
fn write<M: EncodeMetric>(
    encoder: &mut DescriptorEncoder<'_>,
    family: &Family,
    metric: impl Fn(u64) -> M,
) -> Result<(), std::fmt::Error> {
    let Some((_, first)) = family.values.first() else { return Ok(()) };
    let kind = metric(*first).metric_type();
    let mut encoder = encoder.encode_descriptor(&family.name, family.help, None, kind)?;
    for (labels, value) in &family.values {
        metric(*value).encode(encoder.encode_family(labels)?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_there_with_its_labels() {
        let table = TableReport {
            local: "10.77.0.1".into(),
            mode: "enforce".into(),
            rules: vec![Rule {
                name: "the \"web\"".into(),
                packets: 12,
                bytes: 3456,
                limited: 0,
                kept_out: Count { packets: 3, bytes: 180 },
            }],
            denied: Count { packets: 2, bytes: 120 },
            kept_out: Count { packets: 5, bytes: 300 },
        };
        let counters = [("strangers".to_owned(), Count { packets: 7, bytes: 420 })].into();
        let kept_out = [("strangers".to_owned(), Count { packets: 2, bytes: 120 })].into();
        let stack = StackReport {
            pid: 42,
            command: "nginx: worker process".into(),
            counters: [("rx_frames".to_owned(), 14)].into(),
            bypass: [("no_route".to_owned(), 3)].into(),
            policy: PolicyReport { generation: 1, tables: vec![table], counters, kept_out },
            ..StackReport::default()
        };
        let other = StackReport { pid: 43, command: "/usr/bin/curl -s".into(), ..stack.clone() };
        let text = exposition(&[stack, other]);
        for line in [
            "# TYPE ringroad_rx_frames counter",
            "ringroad_rx_frames_total{pid=\"42\",program=\"nginx\"} 14",
            "ringroad_rx_frames_total{pid=\"43\",program=\"curl\"} 14",
            "ringroad_bypass_total{pid=\"42\",program=\"nginx\",reason=\"no_route\"} 3",
            "ringroad_rule_packets_total{pid=\"42\",program=\"nginx\",table=\"10.77.0.1\",rule=\"the \\\"web\\\"\"} 12",
            "ringroad_rule_kept_out_packets_total{pid=\"42\",program=\"nginx\",table=\"10.77.0.1\",rule=\"the \\\"web\\\"\"} 3",
            "ringroad_denied_bytes_total{pid=\"42\",program=\"nginx\",table=\"10.77.0.1\",mode=\"enforce\"} 120",
            "ringroad_kept_out_packets_total{pid=\"42\",program=\"nginx\",table=\"10.77.0.1\",mode=\"enforce\"} 5",
            "ringroad_counter_bytes_total{pid=\"42\",program=\"nginx\",counter=\"strangers\"} 420",
            "ringroad_counter_kept_out_packets_total{pid=\"42\",program=\"nginx\",counter=\"strangers\"} 2",
            "ringroad_policy_generation{pid=\"42\",program=\"nginx\"} 1",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
        assert_eq!(text.matches("# TYPE ringroad_rx_frames ").count(), 1);
        assert_eq!(exposition(&[]), "# EOF\n");
    }

    #[test]
    fn a_report_forges_nothing() {
        let honest = StackReport {
            pid: 42,
            command: "nginx".into(),
            counters: [("rx_frames".to_owned(), 14)].into(),
            bypass: [("no_route".to_owned(), 3)].into(),
            ..StackReport::default()
        };
        let forged = "x 1\nringroad_rx_frames_total{pid=\"42\"} 9\n# EOF\n";
        let long = "a".repeat(LONGEST + 1);
        let names = ["rx_frames", forged, "", "9x", "X", "bypass", "rx_frames_total", GENERATION, &long];
        let rule = Rule { name: forged.into(), packets: 1, ..Rule::default() };
        let table = TableReport {
            local: forged.into(),
            mode: forged.into(),
            rules: vec![rule.clone(), rule],
            ..TableReport::default()
        };
        let hostile = StackReport {
            pid: 43,
            command: forged.into(),
            counters: names.map(|name| (name.to_owned(), 7)).into(),
            bypass: [(forged.to_owned(), u64::MAX)].into(),
            policy: PolicyReport {
                generation: u64::MAX,
                tables: vec![table.clone(), table],
                counters: [(forged.to_owned(), Count { packets: 1, bytes: 0 })].into(),
                kept_out: [(forged.to_owned(), Count { packets: 1, bytes: 0 })].into(),
            },
            ..StackReport::default()
        };
        let text = exposition(&[honest.clone(), hostile]);
        let of = |pid: &str| -> Vec<&str> {
            text.lines().filter(|line| line.contains(&format!("{{pid=\"{pid}\","))).collect()
        };
        let alone = exposition(&[honest]);
        assert!(of("42").iter().all(|line| alone.lines().any(|l| l == *line)), "{text}");
        assert_eq!((of("42").len(), of("43").len()), (3, 16), "{text}");
        let comments = text.lines().filter(|line| line.starts_with('#')).count();
        assert_eq!(of("42").len() + of("43").len() + comments, text.lines().count(), "{text}");
        assert_eq!(text.matches("# TYPE ringroad_bypass ").count(), 1);
        let lines: HashSet<&str> = text.lines().collect();
        assert_eq!(lines.len(), text.lines().count(), "a line is there twice in {text}");
        assert!(text.contains("} 9223372036854775807\n") && text.ends_with("# EOF\n"));
    }
}
