//! What the kernel's own TCP/IP has counted: the proof that something did, or did not, pass through it.

use std::collections::HashMap;
use std::fs;

use crate::namespace::Namespace;

/// `/proc/net/snmp`, `/proc/net/netstat` and `/proc/net/snmp6` of a host at one moment.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    values: HashMap<String, u64>,
}

impl Counters {
    pub(crate) fn read(host: &Namespace) -> Self {
        let text = host.enter(|| {
            let read = |file| fs::read_to_string(format!("/proc/thread-self/net/{file}")).unwrap_or_default();
            (read("snmp") + &read("netstat"), read("snmp6"))
        });
        let mut counters = Self::parse(&text.0);
        counters.values.extend(single(&text.1));
        counters
    }

    /// Reads the kernel's pairs of lines: names, then values, each behind the protocol's name.
    fn parse(text: &str) -> Self {
        let lines: Vec<&str> = text.lines().collect();
        let mut values = HashMap::new();
        for pair in lines.chunks_exact(2) {
            let (Some((protocol, names)), Some((_, numbers))) =
                (pair[0].split_once(':'), pair[1].split_once(':'))
            else {
                continue;
            };
            for (name, number) in names.split_whitespace().zip(numbers.split_whitespace()) {
                let protocol = if protocol == "TcpExt" { "Tcp" } else { protocol };
                values.insert(format!("{protocol}{name}"), number.parse().unwrap_or(0));
            }
        }
        Self { values }
    }

    /// A counter by the name `nstat` gives it, such as `TcpInSegs`; 0 for one the kernel does not have.
    #[must_use]
    pub fn get(&self, name: &str) -> u64 {
        self.values.get(name).copied().unwrap_or(0)
    }

    /// By how much a counter has grown since `before`.
    #[must_use]
    pub fn since(&self, before: &Self, name: &str) -> u64 {
        self.get(name).saturating_sub(before.get(name))
    }
}

/// Reads lines of a name and a value, which IPv6's are.
fn single(text: &str) -> impl Iterator<Item = (String, u64)> + '_ {
    text.lines().filter_map(|line| {
        let (name, number) = line.split_once(char::is_whitespace)?;
        Some((name.to_owned(), number.trim().parse().ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_of_lines_are_read() {
        let c = Counters::parse("Tcp: RtoMin InSegs\nTcp: 200 42\nTcpExt: TW\nTcpExt: 7\n");
        assert_eq!((c.get("TcpInSegs"), c.get("TcpTW"), c.get("TcpNone")), (42, 7, 0));
        assert_eq!(c.since(&Counters::default(), "TcpInSegs"), 42);
        let six: Vec<_> = single("Ip6InReceives    \t7\nIp6InHdrErrors 0\n").collect();
        assert_eq!(six, [("Ip6InReceives".to_owned(), 7), ("Ip6InHdrErrors".to_owned(), 0)]);
    }
}
