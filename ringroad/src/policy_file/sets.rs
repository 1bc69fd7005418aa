//! Named sets of addresses: written in the file, read from files of their own, or made of other sets.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;

use stack::policy::{AddressSet, MAX_PREFIXES, Prefix};
use toml::de::{DeTable, DeValue};

use super::Files;
use super::read::{Reader, Value, type_of};
use super::value::{self, Wrong, nearest, quote};

/// Addresses and networks in a set at the most.
pub const MAX_SET: usize = 100_000;
/// Sets in a file at the most.
const MAX_SETS: usize = 1_000;
/// Faults told of each file of addresses.
const TOLD: usize = 10;

/// A set as the rules share it.
pub(super) type Members = Arc<AddressSet>;

/// The sets of a policy.
#[derive(Default)]
pub(super) struct Sets {
    sets: BTreeMap<String, Set>,
}

struct Set {
    members: Members,
    at: Range<usize>,
    used: Cell<bool>,
}

/// A set as it is written.
struct Written {
    prefixes: Vec<Prefix>,
    /// Sets that it holds, with their places.
    others: Vec<(String, Range<usize>)>,
    at: Range<usize>,
}

impl Sets {
    /// Reads the table `sets` of the file.
    pub(super) fn read<'t>(reader: &mut Reader<'t>, value: Option<&Value<'t>>, files: Files<'_>) -> Self {
        let Some(value) = value else { return Self::default() };
        let DeValue::Table(table) = value.get_ref() else {
            let what = format!("`sets` cannot be {}", type_of(value.get_ref()));
            reader.fault(
                value.span(),
                what,
                "begin them with [sets], then a line for each: name = [\"10.0.0.0/8\"]",
            );
            return Self::default();
        };
        if table.len() > MAX_SETS {
            let what = format!("{} sets", table.len());
            reader.fault(value.span(), what, format!("at most {MAX_SETS}"));
            return Self::default();
        }
        let mut written = BTreeMap::new();
        for (key, value) in table.iter() {
            let name = key.get_ref();
            if !is_name(name) {
                let what = format!("{} is no name for a set", quote(name));
                reader.fault(key.span(), what, "letters, digits, - and _, at most 64");
                continue;
            }
            let (prefixes, others) = members(reader, value, files);
            written.insert(name.to_string(), Written { prefixes, others, at: key.span() });
        }
        Self::resolve(reader, written)
    }

    /// Puts sets into the sets that hold them, innermost first. What is left then goes round in circles.
    fn resolve(reader: &mut Reader<'_>, mut written: BTreeMap<String, Written>) -> Self {
        let mut sets: BTreeMap<String, Set> = BTreeMap::new();
        let mut room = MAX_PREFIXES;
        for set in written.values_mut() {
            set.others.dedup_by(|a, b| a.0 == b.0);
        }
        refuse_unknown(reader, &mut written);
        loop {
            let is_ready = |set: &Written| set.others.iter().all(|(name, _)| sets.contains_key(name));
            let ready: Vec<String> =
                written.iter().filter(|(_, set)| is_ready(set)).map(|(name, _)| name.clone()).collect();
            if ready.is_empty() {
                break;
            }
            for name in ready {
                let Some(Written { mut prefixes, others, at }) = written.remove(&name) else { continue };
                for (other, _) in others {
                    prefixes.extend_from_slice(&sets[&other].members.prefixes);
                    sets[&other].used.set(true);
                }
                prefixes.sort_unstable();
                prefixes.dedup();
                if prefixes.len() > MAX_SET {
                    let what = format!("the set {} has {} members", quote(&name), prefixes.len());
                    reader.fault(
                        at.clone(),
                        what,
                        format!("at most {MAX_SET}: split it, and name the parts in rules"),
                    );
                    prefixes.clear();
                }
                if prefixes.len() > room {
                    let what = format!(
                        "with the set {} there are more than {MAX_PREFIXES} members in sets",
                        quote(&name)
                    );
                    reader.fault(at.clone(), what, "");
                    prefixes.clear();
                }
                room -= prefixes.len();
                let members = Arc::new(AddressSet { name: name.clone(), prefixes });
                sets.insert(name, Set { members, at, used: Cell::new(false) });
            }
        }
        refuse_circle(reader, &written);
        for (name, Written { at, .. }) in written {
            let members = Arc::new(AddressSet { name: name.clone(), prefixes: Vec::new() });
            sets.insert(name, Set { members, at, used: Cell::new(true) });
        }
        Self { sets }
    }

    /// The set of this name.
    pub(super) fn get(&self, name: &str) -> Result<Members, Wrong> {
        let set = self.sets.get(name).ok_or_else(|| unknown(name, self.sets.keys().map(String::as_str)))?;
        set.used.set(true);
        Ok(Arc::clone(&set.members))
    }

    /// Sets that nobody asked for, with their places.
    pub(super) fn unused(&self) -> impl Iterator<Item = (&str, Range<usize>)> {
        let unused = self.sets.iter().filter(|(_, set)| !set.used.get());
        unused.map(|(name, set)| (name.as_str(), set.at.clone()))
    }
}

fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

fn unknown<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> Wrong {
    let known: Vec<&str> = known.take(MAX_SETS).collect();
    let hint = match nearest(name, &known) {
        Some(hint) => hint.replacen('"', "\"@", 1),
        None if known.is_empty() => "sets are named in [sets]".to_owned(),
        None => {
            let shown: Vec<String> = known.iter().take(10).map(|name| format!("@{name}")).collect();
            format!("there are {}", shown.join(", "))
        }
    };
    (format!("no set is named {}", quote(&format!("@{name}"))), hint)
}

/// What a set is written to hold: prefixes, and other sets.
fn members<'t>(
    reader: &mut Reader<'t>,
    value: &Value<'t>,
    files: Files<'_>,
) -> (Vec<Prefix>, Vec<(String, Range<usize>)>) {
    if let DeValue::Table(table) = value.get_ref() {
        return (from_file(reader, value, table, files), Vec::new());
    }
    let form = "addresses, networks, sets like \"@office\", or { file = \"…\" }";
    let found = reader.list(value, "sets", form, |value| {
        let text = value.as_str()?;
        Some(match text.strip_prefix('@') {
            Some(name) => Ok(Err(name.to_owned())),
            None => value::remote(text).map(Ok),
        })
    });
    let (mut prefixes, mut others) = (Vec::new(), Vec::new());
    for member in found {
        match member {
            Ok(prefix) => prefixes.push(prefix),
            Err(name) => others.push((name, value.span())),
        }
    }
    (prefixes, others)
}

fn from_file<'t>(
    reader: &mut Reader<'t>,
    value: &Value<'t>,
    table: &DeTable<'t>,
    files: Files<'_>,
) -> Vec<Prefix> {
    reader.unknown(table, &["file"], "of a set");
    let Some(file) = table.get("file") else {
        reader.fault(value.span(), "a set in braces names a file", "{ file = \"addresses.txt\" }");
        return Vec::new();
    };
    let Some(name) = reader.string(file, "file") else { return Vec::new() };
    if name.is_empty() || name.chars().any(char::is_control) {
        reader.fault(file.span(), format!("{} is no name of a file", quote(name)), "");
        return Vec::new();
    }
    let text = match files(name) {
        Ok(text) => text,
        Err(error) => {
            reader.fault(file.span(), format!("{} cannot be read: {error}", quote(name)), "");
            return Vec::new();
        }
    };
    let (mut prefixes, mut faults) = (Vec::new(), 0);
    for (number, line) in (1..).zip(text.lines()) {
        let words = line.split('#').next().unwrap_or_default();
        let word = words.trim();
        if word.is_empty() {
            continue;
        }
        match value::remote(word) {
            Ok(prefix) => prefixes.push(prefix),
            Err((what, hint)) => {
                faults += 1;
                if faults <= TOLD {
                    let column = words.chars().take_while(|c| c.is_whitespace()).count() + 1;
                    reader.fault(file.span(), format!("{name}:{number}:{column}: {what}"), hint);
                }
            }
        }
        if prefixes.len() > MAX_SET {
            reader.fault(file.span(), format!("{} has more than {MAX_SET} lines", quote(name)), "split it");
            return Vec::new();
        }
    }
    if faults > TOLD {
        reader.fault(file.span(), format!("and {} more in {}", faults - TOLD, quote(name)), "");
    }
    prefixes
}

/// Sets that are named and are not there are told, and left out.
fn refuse_unknown(reader: &mut Reader<'_>, written: &mut BTreeMap<String, Written>) {
    let names: Vec<String> = written.keys().cloned().collect();
    for set in written.values_mut() {
        set.others.retain(|(name, at)| {
            let known = names.binary_search(name).is_ok();
            if !known {
                let (what, hint) = unknown(name, names.iter().map(String::as_str));
                reader.fault(at.clone(), what, hint);
            }
            known
        });
    }
}

/// Names one circle of sets, if there is one.
fn refuse_circle(reader: &mut Reader<'_>, left: &BTreeMap<String, Written>) {
    let Some(mut name) = left.keys().next() else { return };
    let mut path: Vec<&String> = Vec::new();
    let mut places: HashMap<&String, usize> = HashMap::new();
    // Each set that is left holds one that is left: to go on from set to set leads round some time.
    while let Some((next, _)) = left[name].others.iter().find(|(other, _)| left.contains_key(other)) {
        if let Some(&start) = places.get(name) {
            let mut circle: Vec<&str> = path[start..].iter().map(|name| name.as_str()).collect();
            circle.push(name);
            let what = format!("the set {} holds itself: @{}", quote(name), circle.join(" → @"));
            reader.fault(left[name].at.clone(), what, "take one of them out of another");
            return;
        }
        places.insert(name, path.len());
        path.push(name);
        name = next;
    }
}
