//! Rules that have but the keys that most rules have, read straight into what they say. Whatever else a rule has, and whatever
//! is wrong with it, has it read by its pairs of keys and values.

use std::iter;
use std::ops::Range;

use stack::policy::{PortRange, Prefix, RuleProtocol, RuleSpec};

use super::super::read::{ACTIONS, NAME};
use super::super::rules::{DIRECTIONS, PROTOCOLS};
use super::super::value;
use super::{DIGITS, HEADER, Lines, Rules, is_key, is_shown};

/// A rule, and where its name is.
pub(super) type Short = (RuleSpec, Range<usize>);

impl Rules<'_> {
    /// Reads short rules as far as they go.
    pub(in super::super) fn read_ahead(mut self, families: (bool, bool)) -> Self {
        let ahead: Vec<Short> = iter::from_fn(|| self.next_short(families)).collect();
        Self { ahead: ahead.into_iter(), ..self }
    }

    /// The next rule, if it is short; else it is still to come. `families`: whether the table has addresses of IPv4 and of
    /// IPv6.
    pub(in super::super) fn next_short(&mut self, families: (bool, bool)) -> Option<Short> {
        if let Some(rule) = self.ahead.next() {
            return Some(rule);
        }
        let (at, line) = (self.lines.at, self.lines.line);
        let rule = self.lines.short_rule(families);
        if rule.is_none() {
            (self.lines.at, self.lines.line) = (at, line);
        }
        rule
    }
}

/// Puts what a key says where it belongs, unless it was said before.
fn once<T>(place: &mut Option<T>, value: T) -> Option<()> {
    place.replace(value).is_none().then_some(())
}

impl<'t> Lines<'t> {
    fn short_rule(&mut self, families: (bool, bool)) -> Option<Short> {
        let line = self.line as u32;
        self.at += self.rest().starts_with(HEADER).then_some(HEADER.len())?;
        self.end_of_line()?;
        let (mut name, mut direction, mut protocol, mut action) = (None, None, None, None);
        let (mut local_ports, mut remotes, mut remote_ports) = (None, None, None);
        while !self.is_over() && self.peek() != Some(b'[') {
            self.blanks();
            let key = self.take(is_key);
            if key.is_empty() {
                self.end_of_line()?;
                continue;
            }
            self.blanks();
            self.byte(b'=')?;
            self.blanks();
            match key {
                "name" => once(&mut name, self.name()?)?,
                "direction" => once(&mut direction, self.word(&DIRECTIONS)?)?,
                "protocol" => once(&mut protocol, self.word(&PROTOCOLS)?)?,
                "local_port" => once(&mut local_ports, self.ports()?)?,
                "remote" => once(&mut remotes, self.remotes(families)?)?,
                "remote_port" => once(&mut remote_ports, self.ports()?)?,
                "action" => once(&mut action, self.word(&ACTIONS)?)?,
                _ => return None,
            }
            self.end_of_line()?;
        }
        let (name, place): (&str, _) = name?;
        let protocol = protocol.unwrap_or(RuleProtocol::Any);
        if protocol.is_icmp() {
            return None;
        }
        let any = || vec![PortRange::ANY];
        let rule = RuleSpec {
            name: name.to_owned(),
            direction: direction?,
            protocol,
            local_ports: local_ports.unwrap_or_else(any),
            remotes: remotes.unwrap_or_else(|| all_of(families)),
            remote_ports: remote_ports.unwrap_or_else(any),
            action: action?,
            remote_sets: Vec::new(),
            icmp_types: any(),
            interfaces: Vec::new(),
            limit: None,
            log: false,
            counter: None,
            comment: String::new(),
            line,
        };
        Some((rule, place))
    }

    fn name(&mut self) -> Option<(&'t str, Range<usize>)> {
        let start = self.at;
        let name = self.string()?;
        let is_short = name.len() <= NAME && !name.trim().is_empty() && !name.chars().any(char::is_control);
        is_short.then_some((name, start..self.at))
    }

    fn string(&mut self) -> Option<&'t str> {
        let quote = self.peek().filter(|byte| matches!(byte, b'"' | b'\''))?;
        self.at += 1;
        let text = self.take(|byte| is_shown(byte) && byte != quote && byte != b'\\' && byte != b'\t');
        self.byte(quote)?;
        Some(text)
    }

    fn word<T: Copy>(&mut self, choices: &[(&str, T)]) -> Option<T> {
        let word = self.string()?;
        choices.iter().find(|(name, _)| *name == word).map(|(_, value)| *value)
    }

    /// A member, or a list of such, which is not empty.
    fn members<T>(&mut self, mut member: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let mut members = Vec::with_capacity(1);
        if self.byte(b'[').is_none() {
            members.push(member(self)?);
            return Some(members);
        }
        self.blanks();
        while self.byte(b']').is_none() {
            members.push(member(self)?);
            self.blanks();
            if self.peek() != Some(b']') {
                self.byte(b',')?;
                self.blanks();
            }
        }
        (!members.is_empty()).then_some(members)
    }

    fn ports(&mut self) -> Option<Vec<PortRange>> {
        if let b'"' | b'\'' = self.peek()? {
            let text = self.string()?;
            return Some(vec![if text == "any" { PortRange::ANY } else { value::port_range(text).ok()? }]);
        }
        self.members(|lines| match lines.peek()? {
            b'1'..=b'9' => {
                let digits = lines.take(|byte| byte.is_ascii_digit());
                value::port(digits.parse().ok().filter(|_| digits.len() <= DIGITS)?).ok()
            }
            _ => value::port_range(lines.string()?).ok(),
        })
    }

    fn remotes(&mut self, families: (bool, bool)) -> Option<Vec<Prefix>> {
        let start = self.at;
        if let Some("any") = self.string() {
            return Some(all_of(families));
        }
        self.at = start;
        self.members(|lines| {
            let prefix = value::remote(lines.string()?).ok()?;
            (if prefix.address().is_ipv4() { families.0 } else { families.1 }).then_some(prefix)
        })
    }
}

/// Every address of some families.
pub(in super::super) fn all_of((v4, v6): (bool, bool)) -> Vec<Prefix> {
    let both = [(v4, Prefix::ANY_V4), (v6, Prefix::ANY_V6)];
    both.into_iter().filter(|(meant, _)| *meant).map(|(_, any)| any).collect()
}
