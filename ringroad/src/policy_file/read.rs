//! From TOML to a [`PolicySpec`], going on after each fault to find the next.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;

use stack::policy::{
    Action, Mode, Policy, PolicyError, PolicySpec, PortRange, Prefix, RuleDirection, RuleProtocol, RuleSpec,
    TableSpec,
};
use toml::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};

use super::fault::{Fault, Faults, Source};
use super::value::{self, Wrong, nearest, quote};

const ACTIONS: [(&str, Action); 2] = [("allow", Action::Allow), ("deny", Action::Deny)];
const MODES: [(&str, Mode); 2] = [("enforce", Mode::Enforce), ("monitor", Mode::Monitor)];
const DIRECTIONS: [(&str, RuleDirection); 3] =
    [("in", RuleDirection::In), ("out", RuleDirection::Out), ("both", RuleDirection::Both)];
const PROTOCOLS: [(&str, RuleProtocol); 3] =
    [("tcp", RuleProtocol::Tcp), ("udp", RuleProtocol::Udp), ("any", RuleProtocol::Any)];

/// The longest name of a rule, in characters.
const NAME: usize = 64;

type Value<'t> = Spanned<DeValue<'t>>;

pub(super) fn read(text: &str) -> Result<(PolicySpec, Arc<Policy>), Faults> {
    let (document, errors) = DeTable::parse_recoverable(text);
    let mut reader =
        Reader { source: Source::new(text), faults: Vec::new(), more: 0, places: HashMap::new() };
    let spec = reader.document(document.get_ref());
    reader.add_syntax(&errors);
    if let Some(faults) = Faults::collect(reader.faults, reader.more) {
        return Err(faults);
    }
    match Policy::compile(&spec) {
        Ok(policy) => Ok((spec, policy)),
        Err(error) => {
            let span = match &error {
                PolicyError::TooManyCells { local, rule } | PolicyError::SameName { local, rule } => {
                    reader.places.remove(&(*local, rule.clone())).unwrap_or_default()
                }
                PolicyError::TooManyRules | PolicyError::SameAddress(_) => 0..0,
            };
            Err(Faults::one(reader.source.fault(span, error.to_string())))
        }
    }
}

/// Faults kept at the most while reading; the rest is counted.
const KEPT: usize = 10_000;
/// How faults begin that may only follow from a syntax error.
const MISSING: &str = "missing";

struct Reader<'t> {
    source: Source<'t>,
    faults: Vec<Fault>,
    /// Faults that were not kept.
    more: usize,
    /// Where each rule's name is.
    places: HashMap<(IpAddr, String), Range<usize>>,
}

impl<'t> Reader<'t> {
    fn fault(&mut self, span: Range<usize>, what: impl Into<String>, suggestion: impl Into<String>) {
        if self.faults.len() < KEPT {
            self.faults.push(self.source.fault(span, what).suggest(suggestion));
        } else {
            self.more += 1;
        }
    }

    /// Adds syntax errors. They take the place of what was concluded from the same lines, of what is missing (it
    /// may be there and was not understood), and of what comes after a broken header (it is not known where
    /// that belongs).
    fn add_syntax(&mut self, errors: &[toml::de::Error]) {
        if errors.is_empty() {
            return;
        }
        let to_fault = |error: &toml::de::Error| {
            self.source.fault(error.span().unwrap_or_default(), format!("not TOML: {}", error.message()))
        };
        let syntax: Vec<Fault> = errors.iter().take(KEPT).map(to_fault).collect();
        let lines: HashSet<usize> = syntax.iter().map(|error| error.line).collect();
        let header = |line: &usize| self.source.text_of(*line).trim_start().starts_with('[');
        let reliable = lines.iter().copied().filter(header).min().unwrap_or(usize::MAX);
        self.faults.retain(|fault| {
            !fault.what.starts_with(MISSING) && !lines.contains(&fault.line) && fault.line < reliable
        });
        self.faults.extend(syntax);
        self.more += errors.len().saturating_sub(KEPT);
    }

    fn document(&mut self, document: &DeTable<'t>) -> PolicySpec {
        self.unknown(document, &["default", "table"], "of the file");
        let default = self.word(document, "default", &ACTIONS).unwrap_or(Action::Allow);
        let mut seen: HashMap<IpAddr, usize> = HashMap::new();
        let mut tables = Vec::new();
        for (table, span) in self.list_of_tables(document, "table", "[[table]]") {
            if let Some(spec) = self.table(table, span, &mut seen) {
                tables.push(spec);
            }
        }
        PolicySpec { default, tables }
    }

    fn table(
        &mut self,
        table: &DeTable<'t>,
        span: Range<usize>,
        seen: &mut HashMap<IpAddr, usize>,
    ) -> Option<TableSpec> {
        self.unknown(table, &["local", "mode", "rule"], "of a table");
        let mode = self.word(table, "mode", &MODES).unwrap_or(Mode::Enforce);
        let local = self.required(table, "local", &span, "[[table]]").and_then(|found| {
            let text = self.string(found, "local")?;
            let address = self.checked(found.span(), value::local_address(text))?;
            if let Some(&first) = seen.get(&address) {
                let first = self.first_at(first);
                self.fault(found.span(), format!("{} has a table already", quote(text)), first);
                return None;
            }
            seen.insert(address, found.span().start);
            Some(address)
        });
        let mut names = HashMap::new();
        let mut rules = Vec::new();
        for (rule, span) in self.list_of_tables(table, "rule", "[[table.rule]]") {
            if let Some(spec) = self.rule(rule, span, local, &mut names) {
                rules.push(spec);
            }
        }
        Some(TableSpec { local: local?, mode, rules })
    }

    fn rule(
        &mut self,
        rule: &DeTable<'t>,
        span: Range<usize>,
        local: Option<IpAddr>,
        names: &mut HashMap<String, usize>,
    ) -> Option<RuleSpec> {
        const KEYS: [&str; 7] =
            ["name", "direction", "protocol", "local_port", "remote", "remote_port", "action"];
        self.unknown(rule, &KEYS, "of a rule");
        let name = self.required(rule, "name", &span, "[[table.rule]]").and_then(|v| self.name(v, names));
        if let (Some(local), Some(name), Some(value)) = (local, &name, rule.get("name")) {
            self.places.insert((local, name.clone()), value.span());
        }
        self.required(rule, "direction", &span, "[[table.rule]]");
        let direction = self.word(rule, "direction", &DIRECTIONS);
        let protocol = self.word(rule, "protocol", &PROTOCOLS).unwrap_or(RuleProtocol::Any);
        let local_ports = self.ports(rule, "local_port");
        let remotes = self.remotes(rule, local);
        let remote_ports = self.ports(rule, "remote_port");
        self.required(rule, "action", &span, "[[table.rule]]");
        let action = self.word(rule, "action", &ACTIONS);
        Some(RuleSpec {
            name: name?,
            direction: direction?,
            protocol,
            local_ports,
            remotes,
            remote_ports,
            action: action?,
        })
    }

    fn name(&mut self, value: &Value<'t>, names: &mut HashMap<String, usize>) -> Option<String> {
        let name = self.string(value, "name")?;
        if name.trim().is_empty() || name.chars().count() > NAME || name.chars().any(char::is_control) {
            let what = format!("{} is no name for a rule", quote(name));
            self.fault(value.span(), what, format!("1 to {NAME} printable characters"));
            return None;
        }
        if let Some(&first) = names.get(name) {
            let what = format!("this table has a rule {} already", quote(name));
            self.fault(value.span(), what, self.first_at(first));
            return None;
        }
        names.insert(name.to_owned(), value.span().start);
        Some(name.to_owned())
    }

    fn ports(&mut self, rule: &DeTable<'t>, key: &str) -> Vec<PortRange> {
        let any = vec![PortRange::ANY];
        let Some(value) = rule.get(key) else { return any };
        if matches!(value.get_ref().as_str(), Some("any")) {
            return any;
        }
        let form = "a port, a range like \"8000-8099\", a list of these, or \"any\"";
        self.list(value, key, form, |value| match value {
            DeValue::Integer(number) => Some(value::port(integer(number))),
            DeValue::String(text) => Some(value::port_range(text)),
            _ => None,
        })
    }

    fn remotes(&mut self, rule: &DeTable<'t>, local: Option<IpAddr>) -> Vec<Prefix> {
        let any = match local {
            Some(IpAddr::V6(_)) => vec![Prefix::ANY_V6],
            _ => vec![Prefix::ANY_V4],
        };
        let Some(value) = rule.get("remote") else { return any };
        if matches!(value.get_ref().as_str(), Some("any")) {
            return any;
        }
        let form = "a network like \"10.77.0.0/24\", an address, a list of these, or \"any\"";
        self.list(value, "remote", form, |value| {
            let text = value.as_str()?;
            Some(value::remote(text).and_then(|prefix| match local {
                Some(local) if local.is_ipv4() != prefix.address().is_ipv4() => Err((
                    format!("{} never meets {local}", quote(text)),
                    "a table and its remotes are either IPv4 or IPv6".to_owned(),
                )),
                _ => Ok(prefix),
            }))
        })
    }

    /// One value or an array of values, each understood by `understand`; `None` from it means a wrong type.
    fn list<T>(
        &mut self,
        value: &Value<'t>,
        key: &str,
        form: &str,
        understand: impl Fn(&DeValue<'t>) -> Option<Result<T, Wrong>>,
    ) -> Vec<T> {
        let members: Vec<&Value<'t>> = match value.get_ref() {
            DeValue::Array(array) if array.is_empty() => {
                self.fault(value.span(), format!("`{key}` is an empty list, which matches nothing"), form);
                return Vec::new();
            }
            DeValue::Array(array) => array.iter().collect(),
            _ => vec![value],
        };
        let mut list = Vec::with_capacity(members.len());
        for member in &members {
            if members.len() > 1 && member.get_ref().as_str() == Some("any") {
                let what = format!("\"any\" in a list of `{key}`");
                self.fault(
                    member.span(),
                    what,
                    format!("write `{key} = \"any\"`, or leave it out of the list"),
                );
                continue;
            }
            match understand(member.get_ref()) {
                Some(result) => list.extend(self.checked(member.span(), result)),
                None => {
                    let what = format!("`{key}` cannot be {}", type_of(member.get_ref()));
                    self.fault(member.span(), what, form);
                }
            }
        }
        list
    }

    /// A key whose value is one of a few words; `None` when it is not there or wrong.
    fn word<T: Copy>(&mut self, table: &DeTable<'t>, key: &str, choices: &[(&str, T)]) -> Option<T> {
        let value = table.get(key)?;
        let word = self.string(value, key)?;
        self.checked(value.span(), value::choice(word, choices))
    }

    fn string<'v>(&mut self, value: &'v Value<'t>, key: &str) -> Option<&'v str> {
        let string = value.get_ref().as_str();
        if string.is_none() {
            let what = format!("`{key}` cannot be {}", type_of(value.get_ref()));
            self.fault(value.span(), what, "a string in quotes");
        }
        string
    }

    fn checked<T>(&mut self, span: Range<usize>, result: Result<T, Wrong>) -> Option<T> {
        result.map_err(|(what, suggestion)| self.fault(span, what, suggestion)).ok()
    }

    fn required<'v>(
        &mut self,
        table: &'v DeTable<'t>,
        key: &str,
        span: &Range<usize>,
        header: &str,
    ) -> Option<&'v Value<'t>> {
        let value = table.get(key);
        // A misspelt key is told of as such.
        let misspelt = || table.keys().any(|other| nearest(other.get_ref(), &[key]).is_some());
        if value.is_none() && !misspelt() {
            self.fault(span.clone(), format!("{MISSING} `{key}` in this {header}"), "");
        }
        value
    }

    fn first_at(&self, at: usize) -> String {
        format!("the first is in line {}", self.source.line(at))
    }

    fn list_of_tables<'v>(
        &mut self,
        table: &'v DeTable<'t>,
        key: &str,
        header: &str,
    ) -> Vec<(&'v DeTable<'t>, Range<usize>)> {
        let Some(value) = table.get(key) else { return Vec::new() };
        let form = format!("begin each with {header}");
        let DeValue::Array(array) = value.get_ref() else {
            self.fault(value.span(), format!("`{key}` cannot be {}", type_of(value.get_ref())), form);
            return Vec::new();
        };
        let mut tables = Vec::with_capacity(array.len());
        for member in array.iter() {
            match member.get_ref() {
                DeValue::Table(table) => tables.push((table, member.span())),
                other => {
                    self.fault(
                        member.span(),
                        format!("a `{key}` cannot be {}", type_of(other)),
                        form.clone(),
                    );
                }
            }
        }
        tables
    }

    fn unknown(&mut self, table: &DeTable<'t>, known: &[&str], whose: &str) {
        for key in table.keys().filter(|key| !known.contains(&key.get_ref().as_ref())) {
            let suggestion = nearest(key.get_ref(), known)
                .unwrap_or_else(|| format!("the keys {whose} are {}", known.join(", ")));
            self.fault(key.span(), format!("unknown key {}", quote(key.get_ref())), suggestion);
        }
    }
}

/// An integer as it stands; one too large for any type is too large for a port too.
fn integer(number: &DeInteger<'_>) -> i128 {
    i128::from_str_radix(number.as_str(), number.radix()).unwrap_or(i128::MAX)
}

fn type_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a floating-point number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
