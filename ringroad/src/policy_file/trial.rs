//! What a policy would do to a flow, and which rule says so.

use std::fmt::Write;
use std::net::SocketAddr;

use stack::policy::{Action, Judgement, Mode, TableSpec};
use stack::types::{Direction, FlowKey, Protocol};

use super::PolicyFile;
use super::explain::explain_rule;
use super::value::quote;

/// A flow that somebody asks about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trial {
    /// Its transport.
    pub protocol: Protocol,
    /// Who begins.
    pub source: SocketAddr,
    /// With whom.
    pub destination: SocketAddr,
}

/// What becomes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it passes.
    pub allowed: bool,
    /// Why, in words.
    pub words: String,
}

impl std::str::FromStr for Trial {
    type Err = String;

    /// From words like `tcp 10.0.0.9:4000 → 10.77.0.1:22`.
    fn from_str(text: &str) -> Result<Self, String> {
        let form = "like tcp 10.0.0.9:4000 -> 10.77.0.1:22, or udp [2001:db8::9]:4000 -> [2001:db8::1]:53";
        let text = text.replace("->", " ").replace('→', " ");
        let words: Vec<&str> = text.split_whitespace().collect();
        let [protocol, source, destination] = words[..] else {
            return Err(format!("a flow is a protocol and two ends, {form}"));
        };
        let protocol = match protocol {
            "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            other => return Err(format!("{} is neither tcp nor udp", quote(other))),
        };
        let end = |text: &str| {
            text.parse().map_err(|_| format!("{} is no address with a port, {form}", quote(text)))
        };
        let (source, destination): (SocketAddr, SocketAddr) = (end(source)?, end(destination)?);
        if source.ip().to_canonical().is_ipv4() != destination.ip().to_canonical().is_ipv4() {
            return Err("one end is IPv4, the other IPv6".to_owned());
        }
        Ok(Self { protocol, source, destination })
    }
}

impl PolicyFile {
    /// What this policy does to a flow: each end that has a table must let it pass; where none has, the default decides.
    pub fn try_flow(&self, trial: &Trial) -> Verdict {
        let Trial { protocol, source, destination } = *trial;
        let come = FlowKey { protocol, local: destination, remote: source };
        let go = FlowKey { protocol, local: source, remote: destination };
        let judged = [(come, Direction::In), (go, Direction::Out)]
            .map(|(key, direction)| (self.policy.judge(&key, direction), direction));
        let ours: Vec<&(Judgement, Direction)> = judged.iter().filter(|(j, _)| j.table.is_some()).collect();
        let allowed = match ours.is_empty() {
            true => self.spec.default == Action::Allow,
            false => ours.iter().all(|(judgement, _)| judgement.allowed),
        };
        let protocol = if protocol == Protocol::Tcp { "tcp" } else { "udp" };
        let mut words = if allowed { "allowed" } else { "denied" }.to_owned();
        let _ = writeln!(words, ": {protocol} {source} → {destination}");
        if ours.is_empty() {
            let _ = writeln!(words, "  neither end has a table; the default is {}", self.spec.default.name());
        }
        for (judgement, direction) in ours {
            if let Some(table) = judgement.table {
                self.say(&mut words, &self.spec.tables[table], judgement, *direction);
            }
        }
        Verdict { allowed, words }
    }

    fn say(&self, words: &mut String, table: &TableSpec, judgement: &Judgement, direction: Direction) {
        let way = match direction {
            Direction::In => "inbound",
            Direction::Out => "outbound",
        };
        let _ = write!(words, "  table {}, {way}: ", table.name);
        let action = match judgement.rule.map(|rule| (rule, &table.rules[rule])) {
            Some((number, rule)) => {
                let _ = write!(words, "rule {} {}", number + 1, quote(&rule.name));
                if rule.line > 0 {
                    let _ = write!(words, ", line {}", rule.line);
                }
                let _ = writeln!(words, ": {}", explain_rule(rule));
                if !rule.comment.is_empty() {
                    let _ = writeln!(words, "    # {}", rule.comment);
                }
                rule.action
            }
            None => {
                let _ = writeln!(words, "no rule matches, so it is denied");
                Action::Deny
            }
        };
        if table.mode == Mode::Monitor && action == Action::Deny {
            let _ = writeln!(words, "    the table only monitors: it is counted as denied, and passes");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str = "default = 'deny'\n[[table]]\nlocal = '10.77.0.1'\nrule = [\n\
        { name = 'web', direction = 'in', protocol = 'tcp', local_port = 80, action = 'allow', limit = 5 },\n\
        { name = 'ssh', direction = 'in', protocol = 'tcp', local_port = 22, action = 'deny', comment = 'ask Jo' },\n]\n\
        [[table]]\nlocal = '10.77.0.2'\nmode = 'monitor'\n";

    fn verdict(flow: &str) -> (bool, String) {
        let verdict = PolicyFile::parse(POLICY).unwrap().try_flow(&flow.parse().unwrap());
        (verdict.allowed, verdict.words)
    }

    #[test]
    fn the_rule_that_says_so_is_named() {
        let (allowed, words) = verdict("tcp 10.0.0.9:4000 → 10.77.0.1:22");
        assert!(!allowed);
        assert_eq!(
            words,
            "denied: tcp 10.0.0.9:4000 → 10.77.0.1:22\n  \
               table 10.77.0.1, inbound: rule 2 \"ssh\", line 6: deny TCP from anywhere, any port, to our port 22\n    \
                 # ask Jo\n"
        );
        let (allowed, words) = verdict("tcp 10.0.0.9:4000 -> 10.77.0.1:80");
        assert!(allowed && words.contains("rule 1 \"web\", line 5"), "{words}");
        let (allowed, words) = verdict("udp 10.0.0.9:4000 10.77.0.1:80");
        assert!(!allowed && words.contains("no rule matches, so it is denied"), "{words}");
    }

    #[test]
    fn both_ends_may_have_a_say_or_none() {
        let (allowed, words) = verdict("tcp 10.77.0.2:4000->10.77.0.1:80");
        assert!(allowed, "{words}");
        assert!(
            words.contains("table 10.77.0.1, inbound") && words.contains("table 10.77.0.2, outbound"),
            "{words}"
        );
        assert!(words.contains("only monitors"), "{words}");
        let (allowed, words) = verdict("tcp 10.77.0.1:4000->10.77.0.2:80");
        assert!(!allowed && words.contains("table 10.77.0.1, outbound: no rule matches"), "{words}");
        let (allowed, words) = verdict("udp [2001:db8::1]:1 -> [2001:db8::2]:2");
        assert!(!allowed && words.contains("the default is deny"), "{words}");
    }

    #[test]
    fn what_is_no_flow_is_told() {
        let error = |text: &str| text.parse::<Trial>().unwrap_err();
        assert!(error("tcp 10.0.0.9:4000").starts_with("a flow is a protocol and two ends"));
        assert_eq!(error("sctp 10.0.0.9:1 10.0.0.1:2"), "\"sctp\" is neither tcp nor udp");
        assert!(error("tcp 10.0.0.9 10.0.0.1:2").starts_with("\"10.0.0.9\" is no address with a port"));
        assert_eq!(error("tcp 10.0.0.9:1 [::1]:2"), "one end is IPv4, the other IPv6");
    }
}
