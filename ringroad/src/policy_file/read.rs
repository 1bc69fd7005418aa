//! From TOML to a [`PolicySpec`], going on after each fault to find the next.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use stack::policy::{
    Action, Mode, Policy, PolicyError, PolicySpec, PortRange, Prefix, RuleDirection, RuleProtocol, RuleSpec,
    TableSpec,
};
use toml::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};

use super::Files;
use super::fault::{Fault, Faults, Source};
use super::sets::{Members, Sets};
use super::shadow::shadows;
use super::value::{self, Wrong, nearest, quote};

const ACTIONS: [(&str, Action); 2] = [("allow", Action::Allow), ("deny", Action::Deny)];
const MODES: [(&str, Mode); 2] = [("enforce", Mode::Enforce), ("monitor", Mode::Monitor)];
const DIRECTIONS: [(&str, RuleDirection); 3] =
    [("in", RuleDirection::In), ("out", RuleDirection::Out), ("both", RuleDirection::Both)];
const PROTOCOLS: [(&str, RuleProtocol); 3] =
    [("tcp", RuleProtocol::Tcp), ("udp", RuleProtocol::Udp), ("any", RuleProtocol::Any)];

/// The longest name, in characters.
const NAME: usize = 64;
/// The longest comment, in characters.
const COMMENT: usize = 256;
/// The highest limit of a rule.
const LIMIT: u32 = 1_000_000;

pub(super) type Value<'t> = Spanned<DeValue<'t>>;

/// What was understood.
pub(super) struct Understood {
    pub(super) spec: PolicySpec,
    pub(super) policy: Arc<Policy>,
    pub(super) warnings: Vec<Fault>,
}

pub(super) fn read(text: &str, files: Files<'_>) -> Result<Understood, Faults> {
    let (document, errors) = DeTable::parse_recoverable(text);
    let mut reader = Reader::new(text);
    let (spec, sets) = reader.document(document.get_ref(), files);
    reader.add_syntax(&errors);
    if let Some(faults) = Faults::collect(reader.faults, reader.more) {
        return Err(faults);
    }
    match Policy::compile(&spec) {
        Ok(policy) => {
            let warnings = warnings(&reader.source, &spec, &sets, &reader.places);
            Ok(Understood { spec, policy, warnings })
        }
        Err(error) => {
            let (table, rule) = match &error {
                PolicyError::TooManyCells { table, rule } | PolicyError::SameName { table, rule } => {
                    (table.as_str(), Some(rule.as_str()))
                }
                PolicyError::TooManyPrefixes { table } | PolicyError::SameTable(table) => {
                    (table.as_str(), None)
                }
                PolicyError::TooManyRules | PolicyError::SameAddress(_) => ("", None),
            };
            let span = reader.places.get(table, rule).unwrap_or_default();
            Err(Faults::one(reader.source.fault(span, error.to_string())))
        }
    }
}

/// Where things are named, by their names.
type Named = HashMap<String, Range<usize>>;

/// Where tables and rules are named.
#[derive(Default)]
struct Places {
    tables: HashMap<String, (Range<usize>, Named)>,
}

impl Places {
    fn get(&self, table: &str, rule: Option<&str>) -> Option<Range<usize>> {
        let (own, rules) = self.tables.get(table)?;
        match rule {
            Some(rule) => rules.get(rule).cloned(),
            None => Some(own.clone()),
        }
    }
}

/// What is no fault and yet cannot be meant: rules that never match, sets that nobody names.
fn warnings(source: &Source<'_>, spec: &PolicySpec, sets: &Sets, places: &Places) -> Vec<Fault> {
    let mut warnings = Vec::new();
    for table in &spec.tables {
        for (rule, earlier) in table.rules.iter().zip(shadows(&table.rules)) {
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
                        "warning: rule {} can never match: its sets hold nothing of the family of {}",
                        quote(&rule.name),
                        quote(&table.name)
                    )
                }
                None => continue,
            };
            let span = places.get(&table.name, Some(&rule.name)).unwrap_or_default();
            warnings.push(source.fault(span, what));
        }
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
    remotes.any(|remote| if remote.address().is_ipv4() { v4 } else { v6 })
}

/// Whether there are IPv4 and IPv6 prefixes.
fn families(prefixes: &[Prefix]) -> (bool, bool) {
    let v4 = prefixes.iter().any(|prefix| prefix.address().is_ipv4());
    (v4, prefixes.iter().any(|prefix| !prefix.address().is_ipv4()))
}

/// Faults kept at the most while reading; the rest is counted.
const KEPT: usize = 10_000;
/// How faults begin that may only follow from a syntax error.
const MISSING: &str = "missing";

pub(super) struct Reader<'t> {
    pub(super) source: Source<'t>,
    faults: Vec<Fault>,
    /// Faults that were not kept.
    more: usize,
    places: Places,
}

impl<'t> Reader<'t> {
    fn new(text: &'t str) -> Self {
        Self { source: Source::new(text), faults: Vec::new(), more: 0, places: Places::default() }
    }

    pub(super) fn fault(
        &mut self,
        span: Range<usize>,
        what: impl Into<String>,
        suggestion: impl Into<String>,
    ) {
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

    fn document(&mut self, document: &DeTable<'t>, files: Files<'_>) -> (PolicySpec, Sets) {
        self.unknown(document, &["default", "sets", "table"], "of the file");
        let default = self.word(document, "default", &ACTIONS).unwrap_or(Action::Allow);
        let mut sets = Sets::read(self, document.get("sets"), files);
        let mut seen = HashMap::new();
        let mut tables = Vec::new();
        for (table, span) in self.list_of_tables(document, "table", "[[table]]") {
            if let Some(spec) = self.table(table, span, &mut sets, &mut seen) {
                tables.push(spec);
            }
        }
        (PolicySpec { default, tables }, sets)
    }

    fn table(
        &mut self,
        table: &DeTable<'t>,
        span: Range<usize>,
        sets: &mut Sets,
        seen: &mut HashMap<Prefix, usize>,
    ) -> Option<TableSpec> {
        self.unknown(table, &["local", "name", "mode", "rule"], "of a table");
        let mode = self.word(table, "mode", &MODES).unwrap_or(Mode::Enforce);
        let local =
            self.required(table, "local", &span, "[[table]]").and_then(|v| self.locals(v, sets, seen));
        let name = match table.get("name") {
            Some(value) => self.name(value, "table"),
            None => local.as_ref().map(|(_, name)| name.clone()),
        };
        if let Some(name) = &name {
            let at = table.get("name").or(table.get("local")).map_or(span.clone(), Spanned::span);
            match self.places.tables.get(name) {
                Some((first, _)) if local.is_some() => {
                    let first = self.first_at(first.start);
                    self.fault(at, format!("there is a table {} already", quote(name)), first);
                }
                _ => _ = self.places.tables.insert(name.clone(), (at, HashMap::new())),
            }
        }
        let locals = local.map(|(locals, _)| locals);
        let (mut names, mut rules) = (HashMap::new(), Vec::new());
        for (rule, span) in self.list_of_tables(table, "rule", "[[table.rule]]") {
            if let Some(spec) = self.rule(rule, span, locals.as_deref(), sets, &mut names) {
                rules.push(spec);
            }
        }
        let name = name?;
        if let Some((_, places)) = self.places.tables.get_mut(&name) {
            *places = names;
        }
        Some(TableSpec { name, locals: locals?, mode, rules })
    }

    /// The addresses of a table, and what it is called unless it has a name.
    fn locals(
        &mut self,
        value: &Value<'t>,
        sets: &mut Sets,
        seen: &mut HashMap<Prefix, usize>,
    ) -> Option<(Vec<Prefix>, String)> {
        let form = "an address, a network, a set like \"@frontends\", or a list of these";
        let found = self.list(value, "local", form, |value| {
            let text = value.as_str()?;
            Some(match text.strip_prefix('@') {
                Some(name) => sets.get(name).map(|set| (set.prefixes.clone(), text.to_owned())),
                None => value::local(text).map(|prefix| (vec![prefix], value::short(&prefix))),
            })
        });
        let first = found.first()?.1.clone();
        let name = match found.len() {
            1 => first,
            n => format!("{first} and {} more", n - 1),
        };
        let mut locals: Vec<Prefix> = found.into_iter().flat_map(|(prefixes, _)| prefixes).collect();
        locals.sort_unstable();
        locals.dedup();
        if locals.is_empty() {
            self.fault(value.span(), "this table is for no address: the set is empty", "");
            return None;
        }
        for prefix in &locals {
            if let Some(&first) = seen.get(prefix) {
                let first = self.first_at(first);
                let what = format!("\"{}\" has a table already", value::short(prefix));
                self.fault(value.span(), what, first);
                return None;
            }
        }
        seen.extend(locals.iter().map(|prefix| (*prefix, value.span().start)));
        Some((locals, name))
    }

    fn rule(
        &mut self,
        rule: &DeTable<'t>,
        span: Range<usize>,
        locals: Option<&[Prefix]>,
        sets: &mut Sets,
        names: &mut Named,
    ) -> Option<RuleSpec> {
        const KEYS: [&str; 10] = [
            "name",
            "direction",
            "protocol",
            "local_port",
            "remote",
            "remote_port",
            "action",
            "limit",
            "counter",
            "comment",
        ];
        self.unknown(rule, &KEYS, "of a rule");
        let line = self.source.line(span.start) as u32;
        let name =
            self.required(rule, "name", &span, "[[table.rule]]").and_then(|v| self.rule_name(v, names));
        self.required(rule, "direction", &span, "[[table.rule]]");
        let direction = self.word(rule, "direction", &DIRECTIONS);
        let protocol = self.word(rule, "protocol", &PROTOCOLS).unwrap_or(RuleProtocol::Any);
        let local_ports = self.ports(rule, "local_port");
        let (remotes, remote_sets) = self.remotes(rule, locals, sets);
        let remote_ports = self.ports(rule, "remote_port");
        self.required(rule, "action", &span, "[[table.rule]]");
        let action = self.word(rule, "action", &ACTIONS);
        let limit = self.limit(rule, direction, action);
        let counter = rule.get("counter").and_then(|value| self.name(value, "counter"));
        let comment = rule.get("comment").and_then(|value| self.comment(value)).unwrap_or_default();
        Some(RuleSpec {
            name: name?,
            direction: direction?,
            protocol,
            local_ports,
            remotes,
            remote_sets,
            remote_ports,
            action: action?,
            limit,
            counter,
            comment,
            line,
        })
    }

    fn limit(
        &mut self,
        rule: &DeTable<'t>,
        direction: Option<RuleDirection>,
        action: Option<Action>,
    ) -> Option<u32> {
        let value = rule.get("limit")?;
        let DeValue::Integer(number) = value.get_ref() else {
            let what = format!("`limit` cannot be {}", type_of(value.get_ref()));
            self.fault(value.span(), what, "how many flows a second may begin from one source, like 100");
            return None;
        };
        if direction == Some(RuleDirection::Out) || action == Some(Action::Deny) {
            let what = "a limit is for flows that come in and are allowed";
            self.fault(value.span(), what, "leave it out, or change the direction or action of this rule");
            return None;
        }
        let limit = u32::try_from(integer(number)).ok().filter(|limit| (1..=LIMIT).contains(limit));
        if limit.is_none() {
            let what = format!("{} flows a second is no limit", integer(number));
            self.fault(value.span(), what, format!("a number from 1 to {LIMIT}"));
        }
        limit
    }

    fn comment(&mut self, value: &Value<'t>) -> Option<String> {
        let comment = self.string(value, "comment")?;
        if comment.chars().count() > COMMENT || comment.chars().any(char::is_control) {
            let what = format!("{} is no comment", quote(comment));
            self.fault(value.span(), what, format!("at most {COMMENT} printable characters, in one line"));
            return None;
        }
        Some(comment.to_owned())
    }

    fn rule_name(&mut self, value: &Value<'t>, names: &mut Named) -> Option<String> {
        let name = self.name(value, "rule")?;
        if let Some(first) = names.get(&name) {
            let what = format!("this table has a rule {} already", quote(&name));
            self.fault(value.span(), what, self.first_at(first.start));
            return None;
        }
        names.insert(name.clone(), value.span());
        Some(name)
    }

    /// The name of a `what`.
    fn name(&mut self, value: &Value<'t>, what: &str) -> Option<String> {
        let name = self.string(value, if what == "counter" { what } else { "name" })?;
        if name.trim().is_empty() || name.chars().count() > NAME || name.chars().any(char::is_control) {
            let wrong = format!("{} is no name for a {what}", quote(name));
            self.fault(value.span(), wrong, format!("1 to {NAME} printable characters"));
            return None;
        }
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

    fn remotes(
        &mut self,
        rule: &DeTable<'t>,
        locals: Option<&[Prefix]>,
        sets: &mut Sets,
    ) -> (Vec<Prefix>, Vec<Members>) {
        let (v4, v6) = locals.map_or((true, true), families);
        let any = || {
            let both = [(v4, Prefix::ANY_V4), (v6, Prefix::ANY_V6)];
            (both.into_iter().filter(|(meant, _)| *meant).map(|(_, any)| any).collect(), Vec::new())
        };
        let Some(value) = rule.get("remote") else { return any() };
        if matches!(value.get_ref().as_str(), Some("any")) {
            return any();
        }
        let form = "a network like \"10.77.0.0/24\", an address, a set like \"@office\", a list of these, or \"any\"";
        let found = self.list(value, "remote", form, |value| {
            let text = value.as_str()?;
            if let Some(name) = text.strip_prefix('@') {
                return Some(sets.get(name).map(Remote::Set));
            }
            Some(value::remote(text).and_then(|prefix| match locals {
                Some(locals) if !(if prefix.address().is_ipv4() { v4 } else { v6 }) => Err((
                    format!("{} never meets {}", quote(text), value::short(&locals[0])),
                    "a table's addresses and the remotes of its rules are both IPv4, or both IPv6".to_owned(),
                )),
                _ => Ok(Remote::One(prefix)),
            }))
        });
        let (mut remotes, mut named) = (Vec::new(), Vec::new());
        for remote in found {
            match remote {
                Remote::One(prefix) => remotes.push(prefix),
                Remote::Set(set) => named.push(set),
            }
        }
        (remotes, named)
    }

    /// One value or an array of values, each understood by `understand`; `None` from it means a wrong type.
    pub(super) fn list<T>(
        &mut self,
        value: &Value<'t>,
        key: &str,
        form: &str,
        mut understand: impl FnMut(&DeValue<'t>) -> Option<Result<T, Wrong>>,
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

    pub(super) fn string<'v>(&mut self, value: &'v Value<'t>, key: &str) -> Option<&'v str> {
        let string = value.get_ref().as_str();
        if string.is_none() {
            let what = format!("`{key}` cannot be {}", type_of(value.get_ref()));
            self.fault(value.span(), what, "a string in quotes");
        }
        string
    }

    pub(super) fn checked<T>(&mut self, span: Range<usize>, result: Result<T, Wrong>) -> Option<T> {
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

    pub(super) fn unknown(&mut self, table: &DeTable<'t>, known: &[&str], whose: &str) {
        for key in table.keys().filter(|key| !known.contains(&key.get_ref().as_ref())) {
            let suggestion = nearest(key.get_ref(), known)
                .unwrap_or_else(|| format!("the keys {whose} are {}", known.join(", ")));
            self.fault(key.span(), format!("unknown key {}", quote(key.get_ref())), suggestion);
        }
    }
}

/// One of the remotes of a rule.
enum Remote {
    One(Prefix),
    Set(Members),
}

/// An integer as it stands; one too large for any type is too large for a port too.
fn integer(number: &DeInteger<'_>) -> i128 {
    i128::from_str_radix(number.as_str(), number.radix()).unwrap_or(i128::MAX)
}

pub(super) fn type_of(value: &DeValue<'_>) -> &'static str {
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
