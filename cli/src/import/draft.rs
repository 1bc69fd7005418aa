//! A policy in the making.

use std::fmt::Write;
use std::net::IpAddr;

/// Everything that was found, in order.
#[derive(Debug, Default)]
pub(super) struct Draft {
    sets: Vec<(String, Vec<String>)>,
    entries: Vec<Entry>,
}

#[derive(Debug)]
enum Entry {
    Rule(Rule),
    /// What cannot be said, and why.
    LeftOut(String),
    Note(String),
}

/// A rule as the file will have it; empty lists mean any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) direction: Way,
    /// Empty for any.
    pub(super) protocol: String,
    pub(super) interfaces: Vec<String>,
    pub(super) local_ports: Vec<String>,
    pub(super) remotes: Vec<String>,
    pub(super) remote_ports: Vec<String>,
    pub(super) icmp_types: Vec<String>,
    pub(super) allow: bool,
    pub(super) log: bool,
    pub(super) comment: String,
}

/// The direction in which flows begin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Way {
    #[default]
    In,
    Out,
}

impl Way {
    const fn word(self) -> &'static str {
        match self {
            Way::In => "in",
            Way::Out => "out",
        }
    }
}

impl Draft {
    pub(super) fn rule(&mut self, rule: Rule) {
        self.entries.push(Entry::Rule(rule));
    }

    pub(super) fn set(&mut self, name: &str, members: Vec<String>) {
        if !members.is_empty() {
            self.sets.push((set_name(name), members));
        }
    }

    /// Whether there is a set of this name, with members.
    pub(super) fn has_set(&self, name: &str) -> bool {
        let name = set_name(name);
        self.sets.iter().any(|(known, _)| *known == name)
    }

    pub(super) fn leave_out(&mut self, what: &str, why: &str) {
        self.entries.push(Entry::LeftOut(format!("{} ({why})", one_line(what))));
    }

    pub(super) fn note(&mut self, what: &str) {
        self.entries.push(Entry::Note(one_line(what)));
    }

    /// What could not be said.
    pub(super) fn left_out(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().filter_map(|entry| match entry {
            Entry::LeftOut(what) => Some(what.as_str()),
            _ => None,
        })
    }

    /// The policy file, with one table for `locals`, or for all addresses when none is named.
    pub(super) fn policy(&self, locals: &[IpAddr]) -> String {
        let mut text =
            String::from("# Imported: read it before you use it, and run it in monitor mode first.\n");
        if !self.sets.is_empty() {
            text += "\n[sets]\n";
            for (name, members) in &self.sets {
                let _ = writeln!(text, "{name} = {}", list(members));
            }
        }
        let all = || vec!["0.0.0.0/0".to_owned(), "::/0".to_owned()];
        let locals = if locals.is_empty() { all() } else { locals.iter().map(IpAddr::to_string).collect() };
        let _ =
            write!(text, "\n[[table]]\nname = \"imported\"\nlocal = {}\nmode = \"monitor\"\n", list(&locals));
        let mut number = 0;
        for entry in &self.entries {
            match entry {
                Entry::LeftOut(what) => _ = write!(text, "\n# left out: {what}\n"),
                Entry::Note(what) => _ = write!(text, "\n# {what}\n"),
                Entry::Rule(rule) => {
                    number += 1;
                    write_rule(&mut text, number, rule);
                }
            }
        }
        text
    }
}

fn write_rule(text: &mut String, number: usize, rule: &Rule) {
    let action = if rule.allow { "allow" } else { "deny" };
    let _ =
        write!(text, "\n[[table.rule]]\nname = \"{number}\"\ndirection = \"{}\"\n", rule.direction.word());
    if !rule.protocol.is_empty() {
        let _ = writeln!(text, "protocol = {}", quoted(&rule.protocol));
    }
    let lists = [
        ("interface", &rule.interfaces),
        ("local_port", &rule.local_ports),
        ("remote", &rule.remotes),
        ("remote_port", &rule.remote_ports),
        ("icmp_type", &rule.icmp_types),
    ];
    for (key, values) in lists {
        if !values.is_empty() {
            let _ = writeln!(text, "{key} = {}", list(values));
        }
    }
    let _ = writeln!(text, "action = \"{action}\"");
    // What is denied is told of anyhow.
    if rule.log && rule.allow {
        *text += "log = true\n";
    }
    if !rule.comment.is_empty() {
        let comment: String = one_line(&rule.comment).chars().take(256).collect();
        let _ = writeln!(text, "comment = {}", quoted(&comment));
    }
}

/// An interface of a rule, by name or by a pattern like `eth*`, that reads like one of `way`; those of others policies have
/// not.
pub(super) fn interface(way: Way, of: Way, name: &str) -> Result<String, String> {
    if way != of {
        return Err(format!("the interface {name}, which such packets do not have"));
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@');
    let stem = name.strip_suffix('*').unwrap_or(name);
    let valid = (1..=15).contains(&stem.len()) && stem.chars().all(plain);
    if valid { Ok(name.to_owned()) } else { Err(format!("the interfaces {name}")) }
}

/// A name as sets have it.
pub(super) fn set_name(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '_' };
    name.chars().take(64).map(plain).collect()
}

fn list(values: &[String]) -> String {
    format!("[{}]", values.iter().map(|value| quoted(value)).collect::<Vec<_>>().join(", "))
}

fn quoted(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Without what would end a comment, or move a terminal's cursor.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
