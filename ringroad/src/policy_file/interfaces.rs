//! Interfaces that tables and rules name.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;

use stack::policy::{Action, PolicySpec, Prefix, TableSpec, closeness};
use toml::de::DeValue;

use super::fault::{Fault, Source};
use super::read::{Keyed, Reader};
use super::value::{Wrong, nearest, quote};

/// The longest name (IFNAMSIZ, without the byte that ends it).
const LONGEST: usize = 15;

/// Where each interface or pattern is named first.
pub(super) type Interfaces = BTreeMap<String, Range<usize>>;

impl<'t> Reader<'t> {
    /// The interfaces of a table or a rule; none: whichever it is.
    pub(super) fn interfaces(&mut self, of: &impl Keyed<'t>) -> Vec<String> {
        let Some(value) = of.get("interface") else { return Vec::new() };
        if value.get_ref().as_str() == Some("any") {
            return Vec::new();
        }
        let form = "a name like \"eth1\", a pattern like \"eth*\", a list of these, or \"any\"";
        let mut names = self.list(value, "interface", form, |value| match value {
            DeValue::String(text) => Some(name(text)),
            _ => None,
        });
        names.sort_unstable();
        names.dedup();
        for name in &names {
            self.interfaces.entry(name.clone()).or_insert(value.span());
        }
        names
    }
}

/// What the kernel takes for the name of an interface (dev_valid_name), or the beginning of one and a `*`.
fn name(text: &str) -> Result<String, Wrong> {
    let stem = text.strip_suffix('*').unwrap_or(text);
    let valid = (1..=LONGEST).contains(&stem.len())
        && !matches!(text, "." | "..")
        && !stem.contains(|c: char| matches!(c, '/' | ':' | '*') || c.is_whitespace() || c.is_control());
    let hint = || match stem {
        "" if stem != text => "interface = \"any\", or leave it out".to_owned(),
        _ => {
            format!("1 to {LONGEST} characters, as `ip link` shows it, like \"eth1\", or with a * at the end")
        }
    };
    if valid { Ok(text.to_owned()) } else { Err((format!("{} is no interface", quote(text)), hint())) }
}

/// A warning for each interface that is not `there`, and each pattern that means none that is.
pub(super) fn missing(text: &str, named: &Interfaces, there: &[String]) -> Vec<Fault> {
    let source = Source::new(text);
    let known: Vec<&str> = there.iter().map(String::as_str).collect();
    let is_there = |entry: &str| known.iter().any(|name| closeness(entry, name) > 0);
    named
        .iter()
        .filter(|(entry, _)| !is_there(entry))
        .map(|(entry, span)| {
            let like = if entry.ends_with('*') { " like" } else { "" };
            let what = format!("warning: this host has no interface{like} {}", quote(entry));
            let all = || format!("it has {}", known.join(", "));
            source.fault(span.clone(), what).suggest(meant(entry, &known).unwrap_or_else(all))
        })
        .collect()
}

/// What may have been meant: a pattern as iptables writes it, or one of the names that there are.
fn meant(entry: &str, known: &[&str]) -> Option<String> {
    let pattern = entry.strip_suffix('+').map(|stem| format!("{stem}*"));
    let pattern = pattern.filter(|pattern| known.iter().any(|name| closeness(pattern, name) > 0));
    pattern
        .map_or_else(|| nearest(entry, known), |pattern| Some(format!("did you mean {}?", quote(&pattern))))
}

/// Whether any interface may be meant by both of two lists.
pub(super) fn meet(one: &[String], other: &[String]) -> bool {
    let both = |a: &String, b: &String| closeness(a, b) > 0 || closeness(b, a) > 0;
    one.is_empty() || other.is_empty() || one.iter().any(|a| other.iter().any(|b| both(a, b)))
}

/// The tables for some interfaces with an address for which there is none by the others, where such addresses are open.
pub(super) fn open_elsewhere(spec: &PolicySpec) -> Vec<(&TableSpec, Prefix)> {
    let (by_some, by_all): (Vec<&TableSpec>, Vec<&TableSpec>) =
        spec.tables.iter().partition(|table| !table.interfaces.is_empty());
    let closed: HashSet<&Prefix> = by_all.iter().flat_map(|table| &table.locals).collect();
    let is_open = |local: &&Prefix| {
        let mut round = (0..=local.len()).filter_map(|len| Prefix::new(local.address(), len));
        spec.default == Action::Allow && !round.any(|prefix| closed.contains(&prefix))
    };
    let first = |table: &&'_ TableSpec| table.locals.iter().find(is_open).copied();
    by_some.into_iter().filter_map(|table| Some((table, first(&table)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::super::PolicyFile;

    fn policy(interface: &str) -> String {
        format!(
            "[[table]]\nlocal = '10.77.0.1'\nrule = [\n{{ name = 'lan', direction = 'in', action = 'allow', \
             interface = {interface} }},\n]\n"
        )
    }

    #[test]
    fn names_are_those_that_the_kernel_takes() {
        let fault = |interface: &str| PolicyFile::parse(&policy(interface)).unwrap_err().to_string();
        let hint = "1 to 15 characters, as `ip link` shows it, like \"eth1\", or with a * at the end";
        assert_eq!(fault("'a b'"), format!("4:65: \"a b\" is no interface; {hint}"));
        let long = "'a234567890123456*'";
        for wrong in
            ["''", "'..'", "'eth0/1'", "'a234567890123456'", long, "['eth0', 'eth0:1']", "'e*h'", "'e**'"]
        {
            assert!(fault(wrong).contains("is no interface"), "{wrong}");
        }
        assert_eq!(fault("'*'"), "4:65: \"*\" is no interface; interface = \"any\", or leave it out");
        assert!(fault("3").contains("`interface` cannot be an integer"), "{}", fault("3"));
        assert!(fault("[]").contains("is an empty list"));
        let spec = PolicyFile::parse(&policy("['eth1', 'br-lan.7', 'eth1']")).unwrap().spec;
        assert_eq!(spec.tables[0].rules[0].interfaces, ["br-lan.7", "eth1"]);
        assert!(PolicyFile::parse(&policy("'any'")).unwrap().spec.tables[0].rules[0].interfaces.is_empty());
    }

    #[test]
    fn one_that_is_not_there_is_warned_of() {
        let warnings = |interface: &str| {
            let mut file = PolicyFile::parse(&policy(interface)).unwrap();
            file.warn_of_interfaces(&["lo".to_owned(), "eth0".to_owned()]);
            file.warnings.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let what = "4:65: warning: this host has no interface";
        assert_eq!(warnings("'eth1'"), [format!("{what} \"eth1\"; did you mean \"eth0\"?")]);
        assert_eq!(warnings("'wlan0'"), [format!("{what} \"wlan0\"; it has lo, eth0")]);
        assert_eq!(warnings("'eth+'"), [format!("{what} \"eth+\"; did you mean \"eth*\"?")]);
        assert_eq!(warnings("'wlan*'"), [format!("{what} like \"wlan*\"; it has lo, eth0")]);
        assert!(warnings("['lo', 'eth0', 'eth*', 'e*']").is_empty());
    }

    #[test]
    fn a_rule_is_in_the_way_of_those_by_its_interfaces_only() {
        let text = "[[table]]\nlocal = '10.77.0.1'\nrule = [\n\
            { name = 'lan', direction = 'in', interface = ['eth1', 'eth2'], action = 'allow' },\n\
            { name = 'one', direction = 'in', interface = 'eth1', action = 'deny' },\n\
            { name = 'other', direction = 'in', interface = ['eth1', 'eth3'], action = 'deny' },\n\
            { name = 'all', direction = 'in', action = 'deny' },\n]\n";
        let warnings = |text: &str| {
            let all = PolicyFile::parse(text).unwrap().warnings;
            all.into_iter().map(|warning| warning.what).collect::<Vec<_>>()
        };
        assert_eq!(warnings(text).len(), 1, "{:?}", warnings(text));
        assert!(warnings(text)[0].contains("rule \"one\" can never match: \"lan\""));
        // A pattern is in the way of what lies in it, and of no more.
        let wide = text.replace("['eth1', 'eth2']", "'eth*'");
        assert_eq!(warnings(&wide).len(), 2, "{:?}", warnings(&wide));
        assert!(warnings(&wide.replace("'eth*'", "'eth1*'")).len() == 1);
    }

    const TWO: &str = "[[table]]\nlocal = '10.77.0.1'\ninterface = ['eth1', 'wlan*']\nrule = [\n\
        { name = 'a', direction = 'in', action = 'allow', interface = 'eth*' },\n\
        { name = 'b', direction = 'in', action = 'allow', interface = 'lo' },\n]\n\
        [[table]]\nlocal = '10.77.0.0/24'\ninterface = 'wlan0'\n";

    #[test]
    fn a_table_for_some_interfaces_leaves_the_others_to_the_default() {
        let told = |text: &str| {
            let all = PolicyFile::parse(text).unwrap().warnings;
            all.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let open = |at: &str, local: &str| {
            format!(
                "{at}: warning: by other interfaces \"{local}\" has no table, and everything is allowed; \
                 say `default = \"deny\"`, or add one without `interface`"
            )
        };
        let never = "6:10: warning: rule \"b\" can never match: \"10.77.0.1 by eth1 or wlan*\" is for other interfaces";
        assert_eq!(told(TWO), [open("2:9", "10.77.0.1"), never.to_owned(), open("9:9", "10.77.0.0/24")]);
        assert_eq!(told(&format!("default = 'deny'\n{TWO}")).len(), 1);
        assert_eq!(told(&format!("{TWO}[[table]]\nlocal = '10.0.0.0/8'\n")).len(), 1);
    }

    #[test]
    fn an_address_has_one_table_by_each_interface() {
        let spec = PolicyFile::parse(TWO).unwrap().spec;
        assert_eq!(spec.tables[0].interfaces, ["eth1", "wlan*"]);
        let names: Vec<&str> = spec.tables.iter().map(|table| table.name.as_str()).collect();
        assert_eq!(names, ["10.77.0.1 by eth1 or wlan*", "10.77.0.0/24 by wlan0"]);
        let words = crate::policy_file::explain(&spec);
        assert!(words.starts_with("10.77.0.1 by eth1 or wlan* (enforced)\n"), "{words}");

        let again = |interface: &str| {
            let more = format!("{TWO}[[table]]\nlocal = '10.77.0.1'\nname = 'again'\n{interface}\n");
            PolicyFile::parse(&more).map(drop).map_err(|faults| faults.to_string())
        };
        assert_eq!((again(""), again("interface = 'wlan0'")), (Ok(()), Ok(())));
        let taken =
            |by: &str| Err(format!("12:9: \"10.77.0.1\" has a table{by} already; the first is in line 2"));
        assert_eq!(again("interface = ['eth0', 'eth1']"), taken(" by eth1"));
        assert_eq!(again("interface = 'wlan*'"), taken(" by wlan*"));
        let word = again("interfaces = 'eth1'").unwrap_err();
        assert!(word.contains("did you mean \"interface\"?"), "{word}");
    }
}
