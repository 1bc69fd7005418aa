//! From TOML to a [`PolicySpec`], going on after each fault to find the next.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread;

use stack::policy::{Action, Mode, Policy, PolicySpec, Prefix, TableSpec};
use toml::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};

use super::Files;
use super::explain::by;
use super::fault::{Fault, Faults, Source};
use super::guard::Guarded;
use super::interfaces::Interfaces;
use super::places::{Names, Places};
use super::plain::{self, Rule, Rules, Run};
use super::sets::Sets;
use super::value::{self, Wrong, nearest, quote};
use super::warnings::warnings;

pub(super) const ACTIONS: [(&str, Action); 2] = [("allow", Action::Allow), ("deny", Action::Deny)];
const MODES: [(&str, Mode); 2] = [("enforce", Mode::Enforce), ("monitor", Mode::Monitor)];
const OFFLOADS: [(&str, bool); 2] = [("none", false), ("xdp", true)];

/// Up to so many rules of a table it takes no second thread to compile them in time.
const FEW: usize = 1_000;
/// The longest name, in characters.
pub(super) const NAME: usize = 64;

pub(super) type Value<'t> = Spanned<DeValue<'t>>;

/// What was understood, and what it was compiled to.
#[derive(Debug)]
pub(super) struct Understood {
    pub(super) spec: PolicySpec,
    pub(super) policy: Arc<Policy>,
    pub(super) guard: Option<Arc<Guarded>>,
    pub(super) warnings: Vec<Fault>,
    pub(super) interfaces: Interfaces,
}

/// Understands a policy. `warn`: looks for what is no fault and cannot be meant, too, which takes as long as much of the rest.
pub(super) fn read(text: &str, files: Files<'_>, warn: bool) -> Result<Understood, Faults> {
    quickly(text, files, warn).map_or_else(|| thoroughly(text, files, warn), Ok)
}

/// Finds every fault.
pub(super) fn thoroughly(text: &str, files: Files<'_>, warn: bool) -> Result<Understood, Faults> {
    let (document, errors) = DeTable::parse_recoverable(text);
    let mut reader = Reader::new(text, Vec::new());
    let (spec, sets) = reader.document(document.get_ref(), files);
    reader.add_syntax(&errors);
    reader.understood(spec, &sets, warn)
}

/// The same of a file whose rules are [plain] and that has no fault.
pub(super) fn quickly(text: &str, files: Files<'_>, warn: bool) -> Option<Understood> {
    let apart = plain::set_apart(text)?;
    let document = DeTable::parse(&apart.rest).ok()?;
    let mut reader = Reader { is_helped: warn, ..Reader::new(text, apart.runs) };
    let (spec, sets) = reader.document(document.get_ref(), files);
    let all_read = reader.runs.is_empty() && !reader.gave_up;
    all_read.then(|| reader.understood(spec, &sets, warn).ok())?
}

/// The addresses that have tables, by the interfaces as these name them, which is by none for all; and where.
type Seen = HashMap<String, HashMap<Prefix, usize>>;

/// Keys with their values.
pub(super) trait Keyed<'t> {
    fn get(&self, key: &str) -> Option<&Value<'t>>;
    /// The keys and where they are.
    fn keys(&self) -> impl Iterator<Item = (&str, Range<usize>)>;
}

impl<'t> Keyed<'t> for DeTable<'t> {
    fn get(&self, key: &str) -> Option<&Value<'t>> {
        self.get(key)
    }

    fn keys(&self) -> impl Iterator<Item = (&str, Range<usize>)> {
        self.keys().map(|key| (&**key.get_ref(), key.span()))
    }
}

/// Whether there are IPv4 and IPv6 prefixes.
pub(super) fn families(prefixes: &[Prefix]) -> (bool, bool) {
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
    pub(super) interfaces: Interfaces,
    text: &'t str,
    /// Plain rules that no table has taken yet, the last first.
    runs: Vec<Run>,
    /// Whether there were any: then nobody is told of faults, and whatever is one is found the long way.
    pub(super) is_quick: bool,
    /// It cannot be done quickly.
    gave_up: bool,
    /// A thread may read half of a long policy.
    is_helped: bool,
}

impl<'t> Reader<'t> {
    fn new(text: &'t str, mut runs: Vec<Run>) -> Self {
        runs.reverse();
        Self {
            source: Source::new(text),
            text,
            is_quick: !runs.is_empty(),
            runs,
            gave_up: false,
            is_helped: false,
            faults: Vec::new(),
            more: 0,
            places: Places::default(),
            interfaces: Interfaces::new(),
        }
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

    /// Compiles what was read, unless there are faults, and looks meanwhile for what is to be warned of.
    fn understood(self, spec: PolicySpec, sets: &Sets, warn: bool) -> Result<Understood, Faults> {
        let Self { source, places, interfaces, .. } = self;
        if let Some(faults) = Faults::collect(self.faults, self.more) {
            return Err(faults);
        }
        let find = || if warn { warnings(&source, &spec, sets, &places) } else { Vec::new() };
        let compile = || Policy::compile(&spec);
        let is_long = warn && spec.tables.iter().any(|table| table.rules.len() > FEW);
        let (policy, warnings) = thread::scope(|scope| {
            let beside = is_long.then(|| thread::Builder::new().spawn_scoped(scope, compile).ok()).flatten();
            let warnings = find();
            let join = |thread: thread::ScopedJoinHandle<'_, _>| {
                thread.join().unwrap_or_else(|panic| resume_unwind(panic))
            };
            (beside.map_or_else(compile, join), warnings)
        });
        let policy = policy.map_err(|error| {
            let span = places.of_error(&error, &spec).unwrap_or_default();
            Faults::one(source.fault(span, error.to_string()))
        })?;
        let guard = Guarded::of(&spec).map_err(|(table, what)| {
            let span = places.of_table(&table).unwrap_or_default();
            Faults::one(source.fault(span, what).suggest("leave `cloak` and `offload` out of it"))
        })?;
        Ok(Understood { spec, policy, guard: guard.map(Arc::new), warnings, interfaces })
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
        self.unknown(document, &["default", "sets", "shadow", "table"], "of the file");
        let default = self.word(document, "default", &ACTIONS).unwrap_or(Action::Allow);
        let mut sets = Sets::read(self, document.get("sets"), files);
        let mut seen = Seen::new();
        let mut tables = Vec::new();
        let mut all = self.list_of_tables(document, "table", "[[table]]").into_iter().peekable();
        while let Some((table, span)) = all.next() {
            let next = all.peek().map_or(self.text.len(), |(_, next)| next.start);
            if let Some(spec) = self.table(table, (span, next), &mut sets, &mut seen) {
                tables.push(spec);
            }
        }
        let shadow = self.marked(document, &mut sets);
        (PolicySpec { default, tables, shadow }, sets)
    }

    /// Whose flows are recorded in full.
    fn marked(&mut self, document: &DeTable<'t>, sets: &mut Sets) -> Vec<Prefix> {
        let Some(value) = document.get("shadow") else { return Vec::new() };
        let form = "an address, a network, a set like \"@suspects\", or a list of these";
        let found = self.list(value, "shadow", form, |value| {
            let text = value.as_str()?;
            Some(match text.strip_prefix('@') {
                Some(name) => sets.get(name).map(|set| set.prefixes.clone()),
                None => value::remote(text).map(|prefix| vec![prefix]),
            })
        });
        let mut marked: Vec<Prefix> = found.into_iter().flatten().collect();
        marked.sort_unstable();
        marked.dedup();
        marked
    }

    fn table(
        &mut self,
        table: &DeTable<'t>,
        (span, next): (Range<usize>, usize),
        sets: &mut Sets,
        seen: &mut Seen,
    ) -> Option<TableSpec> {
        let keys = ["local", "interface", "name", "mode", "cloak", "offload", "rule"];
        self.unknown(table, &keys, "of a table");
        let interfaces = self.interfaces(table);
        let mode = self.word(table, "mode", &MODES).unwrap_or(Mode::Enforce);
        let cloak = self.truth(table, "cloak");
        let offload = self.word(table, "offload", &OFFLOADS).unwrap_or(false);
        let local = self
            .required(table, "local", &span, "[[table]]")
            .and_then(|v| self.locals(v, &interfaces, sets, seen));
        let name = match table.get("name") {
            Some(value) => self.name(value, "table"),
            None => local.as_ref().map(|(_, name)| name.clone()),
        };
        let mut number = None;
        if let Some(name) = &name {
            let at = table.get("name").or(table.get("local")).map_or(span.clone(), Spanned::span);
            match self.places.of_table(name) {
                Some(first) if local.is_some() => {
                    let first = self.first_at(first.start);
                    self.fault(at, format!("there is a table {} already", quote(name)), first);
                }
                _ => number = Some(self.places.add(name, at)),
            }
        }
        let locals = local.map(|(locals, _)| locals);
        let (mut names, mut rules) = (Names::default(), Vec::new());
        for (rule, span) in self.list_of_tables(table, "rule", "[[table.rule]]") {
            let line = self.source.line(span.start);
            rules.extend(self.rule(rule, (span, line), locals.as_deref(), sets, &mut names));
        }
        // Where they are not known there is a fault, and all is read the long way.
        let families = locals.as_deref().map_or((false, false), families);
        self.plain_rules(table, span.start..next, families, |reader, plain, rule| {
            if let Some((short, name)) = plain.next_short(families) {
                names.add(&short.name, name, false);
                rules.push(short);
                return Some(true);
            }
            let is_there = plain.next(rule)?;
            if is_there {
                let header = (rule.header.clone(), rule.line);
                rules.extend(reader.rule(rule, header, locals.as_deref(), sets, &mut names));
            }
            Some(is_there)
        });
        if let (true, Some(value)) = (offload, table.get("offload")) {
            for rule in rules.iter().filter(|rule| rule.limit.is_some()) {
                let what =
                    format!("rule {} has a limit, which the steering program cannot keep", quote(&rule.name));
                self.fault(value.span(), what, "leave out `offload`, or that limit");
            }
        }
        if let Some(number) = number {
            self.places.put_rules(number, names.places);
        }
        Some(TableSpec { name: name?, locals: locals?, interfaces, mode, cloak, offload, rules })
    }

    /// Has the plain rules of a table, which stands there with them, taken one by one: whether there was one; `None`: it is not
    /// plain. They are all of its rules, or it is not done quickly.
    fn plain_rules(
        &mut self,
        table: &DeTable<'t>,
        at: Range<usize>,
        families: (bool, bool),
        mut next: impl FnMut(&mut Self, &mut Rules<'t>, &mut Rule<'t>) -> Option<bool>,
    ) {
        let text = self.text;
        while let Some(run) = self.runs.pop_if(|run| at.contains(&run.at.start)) {
            self.gave_up |= table.contains_key("rule") || !text[at.start..].starts_with("[[");
            let (first, second) = if self.is_helped { run.halves(text) } else { (run, None) };
            thread::scope(|scope| {
                let second = second.map(|half| {
                    let read = {
                        let half = half.clone();
                        move || Rules::of(text, &half).read_ahead(families)
                    };
                    (half, thread::Builder::new().spawn_scoped(scope, read))
                });
                self.take_all(Rules::of(text, &first), &mut next);
                if let Some((half, beside)) = second {
                    let read = beside.ok().and_then(|thread| thread.join().ok());
                    self.take_all(read.unwrap_or_else(|| Rules::of(text, &half)), &mut next);
                }
            });
        }
    }

    fn take_all(
        &mut self,
        mut rules: Rules<'t>,
        mut next: impl FnMut(&mut Self, &mut Rules<'t>, &mut Rule<'t>) -> Option<bool>,
    ) {
        let mut rule = Rule::default();
        while !self.gave_up {
            match next(self, &mut rules, &mut rule) {
                Some(true) => {}
                Some(false) => break,
                None => self.gave_up = true,
            }
            self.gave_up |= !self.faults.is_empty();
        }
    }

    /// The addresses of a table, and what it is called unless it has a name.
    fn locals(
        &mut self,
        value: &Value<'t>,
        interfaces: &[String],
        sets: &mut Sets,
        seen: &mut Seen,
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
        } + &by(interfaces);
        let mut locals: Vec<Prefix> = found.into_iter().flat_map(|(prefixes, _)| prefixes).collect();
        locals.sort_unstable();
        locals.dedup();
        if locals.is_empty() {
            self.fault(value.span(), "this table is for no address: the set is empty", "");
            return None;
        }
        let any = [String::new()];
        let entries = if interfaces.is_empty() { &any } else { interfaces };
        for entry in entries {
            let seen = seen.entry(entry.clone()).or_default();
            if let Some((prefix, first)) = locals.iter().find_map(|prefix| Some((prefix, *seen.get(prefix)?)))
            {
                let by = by(if entry.is_empty() { &[] } else { std::slice::from_ref(entry) });
                let what = format!("\"{}\" has a table{by} already", value::short(prefix));
                self.fault(value.span(), what, self.first_at(first));
                return None;
            }
            seen.extend(locals.iter().map(|prefix| (*prefix, value.span().start)));
        }
        Some((locals, name))
    }

    /// The name of a `what`.
    pub(super) fn name(&mut self, value: &Value<'t>, what: &str) -> Option<String> {
        let name = self.string(value, if what == "counter" { what } else { "name" })?;
        if name.trim().is_empty() || name.chars().count() > NAME || name.chars().any(char::is_control) {
            let wrong = format!("{} is no name for a {what}", quote(name));
            self.fault(value.span(), wrong, format!("1 to {NAME} printable characters"));
            return None;
        }
        Some(name.to_owned())
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
    pub(super) fn word<T: Copy>(
        &mut self,
        table: &impl Keyed<'t>,
        key: &str,
        choices: &[(&str, T)],
    ) -> Option<T> {
        let value = table.get(key)?;
        let word = self.string(value, key)?;
        self.checked(value.span(), value::choice(word, choices))
    }

    /// A key that is true or false, and false where it is not there.
    pub(super) fn truth(&mut self, table: &impl Keyed<'t>, key: &str) -> bool {
        let Some(value) = table.get(key) else { return false };
        let DeValue::Boolean(truth) = value.get_ref() else {
            let what = format!("`{key}` cannot be {}", type_of(value.get_ref()));
            self.fault(value.span(), what, "true or false, without quotes");
            return false;
        };
        *truth
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

    pub(super) fn required<'v>(
        &mut self,
        table: &'v impl Keyed<'t>,
        key: &str,
        span: &Range<usize>,
        header: &str,
    ) -> Option<&'v Value<'t>> {
        let value = table.get(key);
        // A misspelt key is told of as such.
        let misspelt = || table.keys().any(|(other, _)| nearest(other, &[key]).is_some());
        if value.is_none() && !misspelt() {
            self.fault(span.clone(), format!("{MISSING} `{key}` in this {header}"), "");
        }
        value
    }

    pub(super) fn first_at(&self, at: usize) -> String {
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

    pub(super) fn unknown(&mut self, table: &impl Keyed<'t>, known: &[&str], whose: &str) {
        for (key, span) in table.keys().filter(|(key, _)| !known.contains(key)) {
            let suggestion =
                nearest(key, known).unwrap_or_else(|| format!("the keys {whose} are {}", known.join(", ")));
            self.fault(span, format!("unknown key {}", quote(key)), suggestion);
        }
    }
}

/// An integer as it stands; one too large for any type is too large for a port too.
pub(super) fn integer(number: &DeInteger<'_>) -> i128 {
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
