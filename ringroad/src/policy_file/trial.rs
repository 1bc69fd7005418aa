//! What a policy would do to a flow, and which rule says so.

use std::fmt::Write;
use std::net::SocketAddr;

use stack::policy::{Action, Judgement, Mode, TableSpec};
use stack::types::{Direction, FlowKey, Protocol};

use super::PolicyFile;
use super::explain::explain_rule;
use super::message::Message;
use super::value::quote;

/// Something that somebody asks about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trial {
    /// What is sent.
    pub what: Asked,
    /// By which interface of this host it goes; `None`: one that nothing names.
    pub interface: Option<String>,
}

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// A flow.
    Flow {
        /// Its transport.
        protocol: Protocol,
        /// Who begins.
        source: SocketAddr,
        /// With whom.
        destination: SocketAddr,
    },
    /// A message of ICMP.
    Icmp(Message),
}

/// What becomes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it passes.
    pub allowed: bool,
    /// Why, in words.
    pub words: String,
}

/// How a trial is written.
const FORM: &str = "like tcp 10.0.0.9:4000 -> 10.77.0.1:22, udp [2001:db8::9]:4000 -> [2001:db8::1]:53, or \
                    icmp echo-request 10.0.0.9 -> 10.77.0.1; then, if you like, iface eth1";

impl std::str::FromStr for Trial {
    type Err = String;

    /// From words like `tcp 10.0.0.9:4000 → 10.77.0.1:22 iface eth1`.
    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.replace("->", " ").replace('→', " ");
        let mut words: Vec<&str> = text.split_whitespace().collect();
        let interface = match words[..] {
            [.., "iface", name] => {
                words.truncate(words.len() - 2);
                Some(name.to_owned())
            }
            _ => None,
        };
        let what = match words[..] {
            ["tcp", source, destination] => flow(Protocol::Tcp, source, destination)?,
            ["udp", source, destination] => flow(Protocol::Udp, source, destination)?,
            [protocol @ ("icmp" | "icmpv6"), kind, source, destination] => {
                Asked::Icmp(Message::read(protocol, kind, (source, destination))?)
            }
            ["tcp" | "udp" | "icmp" | "icmpv6", ..] | [] => {
                return Err(format!("a flow is a protocol and two ends, {FORM}"));
            }
            [other, ..] => return Err(format!("{} is neither tcp, udp, icmp nor icmpv6", quote(other))),
        };
        Ok(Self { what, interface })
    }
}

fn flow(protocol: Protocol, source: &str, destination: &str) -> Result<Asked, String> {
    let end =
        |text: &str| text.parse().map_err(|_| format!("{} is no address with a port, {FORM}", quote(text)));
    let (source, destination): (SocketAddr, SocketAddr) = (end(source)?, end(destination)?);
    if source.ip().to_canonical().is_ipv4() != destination.ip().to_canonical().is_ipv4() {
        return Err("one end is IPv4, the other IPv6".to_owned());
    }
    Ok(Asked::Flow { protocol, source, destination })
}

impl PolicyFile {
    /// What this policy does to what is asked about. Of a flow each end that has a table must let it pass; where none has,
    /// the default decides.
    pub fn try_flow(&self, trial: &Trial) -> Verdict {
        let interface = trial.interface.as_deref();
        let mut verdict = match trial.what {
            Asked::Flow { protocol, source, destination } => {
                self.try_transport(protocol, (source, destination), interface)
            }
            Asked::Icmp(message) => self.try_message(&message, interface),
        };
        if interface.is_none() && self.policy.tells_interfaces_apart() {
            verdict.words +=
                "  what is for some interfaces was left out: name one, like iface eth1, to have it tried\n";
        }
        verdict
    }

    fn try_transport(
        &self,
        protocol: Protocol,
        (source, destination): (SocketAddr, SocketAddr),
        interface: Option<&str>,
    ) -> Verdict {
        let via = self.policy.via(interface);
        let come = FlowKey { protocol, local: destination, remote: source };
        let go = FlowKey { protocol, local: source, remote: destination };
        let judged = [(come, Direction::In), (go, Direction::Out)]
            .map(|(key, direction)| (self.policy.judge(&key, direction, via), direction));
        let ours: Vec<&(Judgement, Direction)> = judged.iter().filter(|(j, _)| j.table.is_some()).collect();
        let allowed = match ours.is_empty() {
            true => self.spec.default == Action::Allow,
            false => ours.iter().all(|(judgement, _)| judgement.allowed),
        };
        let protocol = if protocol == Protocol::Tcp { "tcp" } else { "udp" };
        let mut words = headline(allowed, &format!("{protocol} {source} → {destination}"), interface);
        if ours.is_empty() {
            let _ = writeln!(words, "  neither end has a table; the default is {}", self.spec.default.name());
        }
        for (judgement, direction) in ours {
            if let Some(table) = judgement.table {
                say(&mut words, &self.spec.tables[table], judgement.rule, *direction);
            }
        }
        Verdict { allowed, words }
    }
}

/// The first line of a verdict.
pub(super) fn headline(allowed: bool, what: &str, interface: Option<&str>) -> String {
    let verdict = if allowed { "allowed" } else { "denied" };
    let by = interface.map(|name| format!(", by {name}")).unwrap_or_default();
    format!("{verdict}: {what}{by}\n")
}

/// Says which rule of a table decides.
pub(super) fn say(words: &mut String, table: &TableSpec, rule: Option<usize>, direction: Direction) {
    let way = match direction {
        Direction::In => "inbound",
        Direction::Out => "outbound",
    };
    let _ = write!(words, "  table {}, {way}: ", table.name);
    let action = match rule.map(|rule| (rule, &table.rules[rule])) {
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
    fn the_interface_counts() {
        let policy = PolicyFile::parse(
            "[[table]]\nlocal = '10.77.0.1'\nrule = [\n\
             { name = 'lan', direction = 'in', interface = ['eth1', 'eth2'], action = 'allow' },\n]\n",
        )
        .unwrap();
        let verdict =
            |by: &str| policy.try_flow(&format!("tcp 10.0.0.9:4000 -> 10.77.0.1:22{by}").parse().unwrap());
        assert_eq!(
            verdict(" iface eth1").words,
            "allowed: tcp 10.0.0.9:4000 → 10.77.0.1:22, by eth1\n  \
               table 10.77.0.1, inbound: rule 1 \"lan\", line 4: \
             allow TCP and UDP from anywhere, any port, to our any port, by eth1 or eth2\n"
        );
        assert!(!verdict(" iface eth0").allowed && verdict(" iface eth2").allowed);
        let Verdict { allowed, words } = verdict("");
        assert!(!allowed && words.contains("what is for some interfaces was left out: name one"), "{words}");
    }

    #[test]
    fn the_table_is_that_for_the_interface() {
        let policy = PolicyFile::parse(
            "default = 'deny'\n[[table]]\nlocal = '10.77.0.1'\ninterface = 'eth*'\nrule = [\n\
             { name = 'web', direction = 'in', local_port = 80, action = 'allow' },\n]\n\
             [[table]]\nlocal = '10.77.0.1'\ninterface = 'eth1'\ncloak = true\nrule = [\n\
             { name = 'ping', direction = 'in', protocol = 'icmp', action = 'allow' },\n]\n",
        )
        .unwrap();
        let verdict = |asked: &str| policy.try_flow(&asked.parse().unwrap());
        let web = |by: &str| verdict(&format!("tcp 10.0.0.9:4000 -> 10.77.0.1:80{by}"));
        let first = web(" iface eth0");
        assert!(first.allowed && first.words.contains("table 10.77.0.1 by eth*, inbound: rule 1 \"web\""));
        let second = web(" iface eth1");
        assert!(
            !second.allowed && second.words.contains("table 10.77.0.1 by eth1, inbound: no rule matches")
        );
        for by in [" iface wlan0", ""] {
            let none = web(by);
            assert!(
                !none.allowed && none.words.contains("neither end has a table; the default is deny"),
                "{by}"
            );
        }
        assert!(web("").words.contains("what is for some interfaces was left out: name one"));
        let ping = |by: &str| verdict(&format!("icmp 8 10.0.0.9 -> 10.77.0.1 iface {by}")).words;
        assert!(ping("eth0").contains("table 10.77.0.1 by eth* has no `cloak = true`"), "{}", ping("eth0"));
        assert!(
            ping("eth1").contains("table 10.77.0.1 by eth1, inbound: rule 1 \"ping\""),
            "{}",
            ping("eth1")
        );
        assert!(ping("wlan0").contains("no table answers for 10.77.0.1"), "{}", ping("wlan0"));
    }

    #[test]
    fn what_is_no_flow_is_told() {
        let error = |text: &str| text.parse::<Trial>().unwrap_err();
        assert!(error("tcp 10.0.0.9:4000").starts_with("a flow is a protocol and two ends"));
        assert_eq!(error("sctp 10.0.0.9:1 10.0.0.1:2"), "\"sctp\" is neither tcp, udp, icmp nor icmpv6");
        assert!(error("tcp 10.0.0.9 10.0.0.1:2").starts_with("\"10.0.0.9\" is no address with a port"));
        assert_eq!(error("tcp 10.0.0.9:1 [::1]:2"), "one end is IPv4, the other IPv6");
    }
}
