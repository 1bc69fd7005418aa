//! The rules of a table: what each key of one may be.

use std::ops::Range;

use stack::policy::{Action, PortRange, Prefix, RuleDirection, RuleProtocol, RuleSpec};
use toml::de::DeValue;

use super::icmp;
use super::places::Names;
use super::plain::all_of;
use super::read::{ACTIONS, Keyed, Reader, Value, families, integer, type_of};
use super::sets::{Members, Sets};
use super::value::{self, quote};

pub(super) const DIRECTIONS: [(&str, RuleDirection); 3] =
    [("in", RuleDirection::In), ("out", RuleDirection::Out), ("both", RuleDirection::Both)];
pub(super) const PROTOCOLS: [(&str, RuleProtocol); 5] = [
    ("tcp", RuleProtocol::Tcp),
    ("udp", RuleProtocol::Udp),
    ("any", RuleProtocol::Any),
    ("icmp", RuleProtocol::Icmp),
    ("icmpv6", RuleProtocol::Icmpv6),
];

/// The longest comment, in characters.
const COMMENT: usize = 256;
/// The highest limit of a rule.
const LIMIT: u32 = 1_000_000;

/// One of the remotes of a rule.
enum Remote {
    One(Prefix),
    Set(Members),
}

impl<'t> Reader<'t> {
    pub(super) fn rule(
        &mut self,
        rule: &impl Keyed<'t>,
        (span, line): (Range<usize>, usize),
        locals: Option<&[Prefix]>,
        sets: &mut Sets,
        names: &mut Names,
    ) -> Option<RuleSpec> {
        const KEYS: [&str; 13] = [
            "name",
            "direction",
            "protocol",
            "interface",
            "local_port",
            "remote",
            "remote_port",
            "icmp_type",
            "action",
            "limit",
            "log",
            "counter",
            "comment",
        ];
        self.unknown(rule, &KEYS, "of a rule");
        let name =
            self.required(rule, "name", &span, "[[table.rule]]").and_then(|v| self.rule_name(v, names));
        self.required(rule, "direction", &span, "[[table.rule]]");
        let direction = self.word(rule, "direction", &DIRECTIONS);
        let protocol = self.word(rule, "protocol", &PROTOCOLS).unwrap_or(RuleProtocol::Any);
        let interfaces = self.interfaces(rule);
        let local_ports = self.ports(rule, "local_port");
        let (remotes, remote_sets) = self.remotes(rule, locals, sets);
        let remote_ports = self.ports(rule, "remote_port");
        self.required(rule, "action", &span, "[[table.rule]]");
        let action = self.word(rule, "action", &ACTIONS);
        let limit = self.limit(rule, direction, action);
        let log = self.truth(rule, "log");
        let icmp_types = self.icmp_types(rule, protocol);
        if protocol.is_icmp() {
            self.icmp_alone(rule, direction, log && action == Some(Action::Allow));
        }
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
            icmp_types,
            interfaces,
            action: action?,
            limit,
            log,
            counter,
            comment,
            line: line as u32,
        })
    }

    fn limit(
        &mut self,
        rule: &impl Keyed<'t>,
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

    fn rule_name(&mut self, value: &Value<'t>, names: &mut Names) -> Option<String> {
        let name = self.name(value, "rule")?;
        if let Some(first) = names.first(&name) {
            let what = format!("this table has a rule {} already", quote(&name));
            self.fault(value.span(), what, self.first_at(first));
            return None;
        }
        // Who is quick has the names compared when all is compiled.
        names.add(&name, value.span(), !self.is_quick);
        Some(name)
    }

    /// What a rule for ICMP cannot have.
    fn icmp_alone(&mut self, rule: &impl Keyed<'t>, direction: Option<RuleDirection>, logged: bool) {
        for key in ["local_port", "remote_port", "limit"] {
            if let Some(value) = rule.get(key) {
                let what = format!("a rule for ICMP has no `{key}`");
                self.fault(value.span(), what, "`icmp_type` says which messages are meant");
            }
        }
        if let (Some(RuleDirection::Out), Some(value)) = (direction, rule.get("direction")) {
            let what = "the kernel's own ICMP is not judged";
            self.fault(value.span(), what, "direction = \"in\": what others may ask");
        }
        if let (true, Some(value)) = (logged, rule.get("log")) {
            let what = "what is permitted of ICMP is the kernel's to answer, and nobody is told of it";
            self.fault(value.span(), what, "leave `log` out of this rule");
        }
    }

    fn icmp_types(&mut self, rule: &impl Keyed<'t>, protocol: RuleProtocol) -> Vec<PortRange> {
        let any = vec![PortRange::ANY];
        let Some(value) = rule.get("icmp_type") else { return any };
        if !protocol.is_icmp() {
            let what = "`icmp_type` in a rule that is not for ICMP";
            self.fault(value.span(), what, "protocol = \"icmp\", or \"icmpv6\"");
            return any;
        }
        if matches!(value.get_ref().as_str(), Some("any")) {
            return any;
        }
        let form = "a name like \"echo-request\", a type like 8, a type and a code like \"3/4\", a list of these, or \"any\"";
        self.list(value, "icmp_type", form, |value| match value {
            DeValue::Integer(number) => Some(icmp::by_number(integer(number))),
            DeValue::String(text) => Some(icmp::by_text(protocol, text)),
            _ => None,
        })
    }

    fn ports(&mut self, rule: &impl Keyed<'t>, key: &str) -> Vec<PortRange> {
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
        rule: &impl Keyed<'t>,
        locals: Option<&[Prefix]>,
        sets: &mut Sets,
    ) -> (Vec<Prefix>, Vec<Members>) {
        let (v4, v6) = locals.map_or((true, true), families);
        let any = || (all_of((v4, v6)), Vec::new());
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
}
