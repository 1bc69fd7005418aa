//! What becomes of a message of ICMP, and which rule says so.

use std::fmt::Write;
use std::net::IpAddr;

use stack::policy::{Action, Mode, PortRange, RuleProtocol, RuleSpec, TableSpec};
use stack::types::Direction;

use super::PolicyFile;
use super::icmp;
use super::trial::{Verdict, headline, say};
use super::value::quote;

/// A message of ICMP or ICMPv6 to this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// Which of the two.
    protocol: RuleProtocol,
    /// Type and code, the type in the upper byte.
    number: u16,
    source: IpAddr,
    destination: IpAddr,
}

impl Message {
    /// From the words of a trial. A type without a code has the code 0.
    pub(super) fn read(protocol: &str, kind: &str, ends: (&str, &str)) -> Result<Self, String> {
        let protocol = if protocol == "icmp" { RuleProtocol::Icmp } else { RuleProtocol::Icmpv6 };
        let range = icmp::by_text(protocol, kind).map_err(|(what, hint)| format!("{what}; {hint}"))?;
        let end = |text: &str| text.parse().map_err(|_| format!("{} is no address", quote(text)));
        let (source, destination): (IpAddr, IpAddr) = (end(ends.0)?, end(ends.1)?);
        if [source, destination].iter().any(|end| end.is_ipv4() != (protocol == RuleProtocol::Icmp)) {
            return Err("ICMP is between IPv4 addresses, ICMPv6 between those of IPv6".to_owned());
        }
        Ok(Self { protocol, number: range.first, source, destination })
    }

    fn is_meant_by(&self, rule: &RuleSpec, interface: Option<&str>) -> bool {
        let mut sets = rule.remote_sets.iter().flat_map(|set| &set.prefixes);
        rule.protocol == self.protocol
            && rule.direction.includes(Direction::In)
            && rule.holds_by(interface)
            && rule.icmp_types.iter().any(|range| range.contains(self.number))
            && (rule.remotes.iter().any(|prefix| prefix.contains(self.source))
                || sets.any(|prefix| prefix.contains(self.source)))
    }

    fn shown(&self) -> String {
        let protocol = if self.protocol == RuleProtocol::Icmp { "icmp" } else { "icmpv6" };
        let number = PortRange::one(self.number);
        let whole = PortRange { first: self.number, last: self.number | 0xff };
        let kind = icmp::shown(self.protocol, &[if self.number & 0xff == 0 { whole } else { number }]);
        format!("{protocol} {kind} {} → {}", self.source, self.destination)
    }
}

impl PolicyFile {
    /// As the steering program judges it, where the policy has it do so.
    pub(super) fn try_message(&self, message: &Message, interface: Option<&str>) -> Verdict {
        let via = self.policy.via(interface);
        let table = self.policy.table_of(message.destination, via).map(|at| &self.spec.tables[at]);
        let (allowed, why) = match table {
            None => (true, format!("no table answers for {}: the kernel does", message.destination)),
            Some(_) if !icmp::asks(message.protocol, message.number) => {
                (true, "it asks for nothing, and such messages always come in".to_owned())
            }
            Some(table) if !table.cloak => {
                (true, format!("table {} has no `cloak = true`: the kernel answers everybody", table.name))
            }
            Some(table) => return self.by_rule(table, message, interface),
        };
        let mut words = headline(allowed, &message.shown(), interface);
        let _ = writeln!(words, "  {why}");
        Verdict { allowed, words }
    }

    fn by_rule(&self, table: &TableSpec, message: &Message, interface: Option<&str>) -> Verdict {
        let rule = table.rules.iter().position(|rule| message.is_meant_by(rule, interface));
        let permits = rule.is_some_and(|rule| table.rules[rule].action == Action::Allow);
        let allowed = permits || table.mode == Mode::Monitor;
        let mut words = headline(allowed, &message.shown(), interface);
        say(&mut words, table, rule, Direction::In);
        Verdict { allowed, words }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str = "sets.staff = ['10.0.0.8/29']\n[[table]]\nlocal = ['10.77.0.1', '2001:db8::1']\ncloak = true\nrule = [\n\
        { name = 'no', direction = 'in', protocol = 'icmp', icmp_type = '13/1', action = 'deny' },\n\
        { name = 'ping', direction = 'in', protocol = 'icmp', icmp_type = ['echo-request', 13], remote = '@staff', action = 'allow' },\n\
        { name = 'lan', direction = 'in', protocol = 'icmpv6', interface = 'eth1', action = 'allow' },\n]\n\
        [[table]]\nlocal = '10.77.0.2'\n[[table]]\nlocal = '10.77.0.3'\ncloak = true\nmode = 'monitor'\n";

    fn verdict(message: &str) -> (bool, String) {
        let verdict = PolicyFile::parse(POLICY).unwrap().try_flow(&message.parse().unwrap());
        (verdict.allowed, verdict.words)
    }

    #[test]
    fn the_rule_that_says_so_is_named() {
        let (allowed, words) = verdict("icmp echo-request 10.0.0.9 → 10.77.0.1 iface eth0");
        assert!(allowed);
        assert_eq!(
            words,
            "allowed: icmp echo-request 10.0.0.9 → 10.77.0.1, by eth0\n  \
               table 10.77.0.1 and 1 more, inbound: rule 2 \"ping\", line 7: \
             allow ICMP from @staff (1): echo-request, timestamp-request\n"
        );
        let (allowed, words) = verdict("icmp 13/1 10.0.0.9 -> 10.77.0.1");
        assert!(!allowed && words.contains("icmp timestamp-request with code 1 10.0.0.9 →"), "{words}");
        let (allowed, words) = verdict("icmp 8 10.0.0.1 -> 10.77.0.1");
        assert!(!allowed && words.contains("no rule matches, so it is denied"), "{words}");
        assert!(verdict("icmpv6 echo-request 2001:db8::9 -> 2001:db8::1 iface eth1").0);
        assert!(!verdict("icmpv6 echo-request 2001:db8::9 -> 2001:db8::1 iface eth0").0);
    }

    #[test]
    fn what_no_rule_is_asked_about_comes_in() {
        for (message, why) in [
            ("icmp echo-reply 10.0.0.1 10.77.0.1", "it asks for nothing"),
            ("icmpv6 nd-neighbor-solicit fe80::9 2001:db8::1", "it asks for nothing"),
            ("icmp echo-request 10.0.0.1 10.77.0.2", "has no `cloak = true`"),
            ("icmp echo-request 10.0.0.1 10.77.0.9", "no table answers for 10.77.0.9"),
            ("icmp echo-request 10.0.0.1 10.77.0.3", "the table only monitors"),
        ] {
            let (allowed, words) = verdict(message);
            assert!(allowed && words.contains(why), "{words}");
        }
    }

    #[test]
    fn what_is_no_message_is_told() {
        let error = |text: &str| text.parse::<super::super::Trial>().unwrap_err();
        let near = error("icmp echo-requst 10.0.0.9 10.0.0.1");
        assert_eq!(near, "\"echo-requst\" is no type of ICMP; did you mean \"echo-request\"?");
        assert_eq!(error("icmp 8 10.0.0.9:1 10.0.0.1"), "\"10.0.0.9:1\" is no address");
        assert!(error("icmp 8 ::1 ::2").starts_with("ICMP is between IPv4 addresses"));
        assert!(error("icmp 10.0.0.9 10.0.0.1").starts_with("a flow is a protocol and two ends"));
    }
}
