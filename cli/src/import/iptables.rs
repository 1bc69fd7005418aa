//! What `iptables-save` and `ip6tables-save` print: the chains INPUT and OUTPUT of the table `filter`.

use super::draft::{Draft, Rule, Way, interface};

/// Reads it. What it does not understand is left out, line by line.
pub(super) fn read(text: &str) -> Draft {
    let mut draft = Draft::default();
    let mut filter = false;
    let mut ends = Vec::new();
    for line in text.lines().map(str::trim) {
        if let Some(table) = line.strip_prefix('*') {
            filter = table == "filter";
        } else if line.is_empty() || line.starts_with('#') || line == "COMMIT" {
            continue;
        } else if let Some(chain) = line.strip_prefix(':') {
            let mut words = chain.split_whitespace();
            if let (true, Some(way), Some("ACCEPT")) = (filter, words.next().and_then(way), words.next()) {
                ends.push(way);
            }
        } else if !filter {
            draft.leave_out(line, "not of the table filter");
        } else {
            match rule(line) {
                Ok(Said::Rule(rule)) => draft.rule(rule),
                Ok(Said::Implied(why)) => draft.note(&format!("{line}: {why}")),
                Err(why) => draft.leave_out(line, &why),
            }
        }
    }
    for direction in ends {
        draft.rule(Rule {
            direction,
            allow: true,
            comment: "the chain's policy".to_owned(),
            ..Rule::default()
        });
    }
    draft
}

/// Why a rule for the loopback device is none.
const LOOPBACK: &str =
    "127.0.0.1 is the kernel's; what a program sends to itself at another address needs a rule";

/// What a line says.
enum Said {
    Rule(Rule),
    /// What holds anyhow.
    Implied(&'static str),
}

fn way(chain: &str) -> Option<Way> {
    match chain {
        "INPUT" => Some(Way::In),
        "OUTPUT" => Some(Way::Out),
        _ => None,
    }
}

/// The words of a line; those in quotes are one.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted, mut any) = (Vec::new(), String::new(), false, false);
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' if quoted => word.extend(chars.next()),
            '"' => (quoted, any) = (!quoted, true),
            c if c.is_whitespace() && !quoted => {
                if any || !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                any = false;
            }
            c => word.push(c),
        }
    }
    if any || !word.is_empty() {
        words.push(word);
    }
    words
}

fn rule(line: &str) -> Result<Said, String> {
    let words = words(line);
    let mut words = words.iter().map(String::as_str);
    let (Some("-A"), Some(chain)) = (words.next(), words.next()) else {
        return Err("not understood".to_owned());
    };
    let direction = way(chain).ok_or_else(|| format!("the chain {chain}"))?;
    let mut rule = Rule { direction, ..Rule::default() };
    let (mut states, mut target) = (None, None);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} without a value"));
        match word {
            "!" => return Err("an exception (!)".to_owned()),
            "-p" => rule.protocol = protocol(value()?)?,
            "-s" | "-d" => end(&mut rule, word == "-s", value()?)?,
            "--sport" | "--sports" | "--dport" | "--dports" => {
                let ports: Vec<String> = value()?.split(',').map(|port| port.replace(':', "-")).collect();
                let local = word.starts_with("--d") == (direction == Way::In);
                if local { rule.local_ports = ports } else { rule.remote_ports = ports }
            }
            "-m" => match value()? {
                "tcp" | "udp" | "multiport" | "comment" | "conntrack" | "state" => {}
                other => return Err(format!("the match {other}")),
            },
            "--comment" => rule.comment = value()?.to_owned(),
            "--ctstate" | "--state" => states = Some(value()?.to_owned()),
            "-i" | "-o" => match value()? {
                "lo" => return Ok(Said::Implied(LOOPBACK)),
                name => {
                    let of = if word == "-i" { Way::In } else { Way::Out };
                    let pattern = name.strip_suffix('+').map(|stem| format!("{stem}*"));
                    rule.interfaces = vec![interface(direction, of, pattern.as_deref().unwrap_or(name))?];
                }
            },
            "--reject-with" => _ = value()?,
            "-j" => target = Some(value()?.to_owned()),
            other => return Err(format!("the option {other}")),
        }
    }
    if rule.protocol.is_empty() && !(rule.local_ports.is_empty() && rule.remote_ports.is_empty()) {
        return Err("ports without a protocol".to_owned());
    }
    finish(rule, states.as_deref(), target.as_deref())
}

fn protocol(name: &str) -> Result<String, String> {
    match name {
        "tcp" | "udp" => Ok(name.to_owned()),
        "all" => Ok(String::new()),
        other => Err(format!("the protocol {other}")),
    }
}

/// An address: that of the other end is the rule's, our own is the table's.
fn end(rule: &mut Rule, source: bool, value: &str) -> Result<(), String> {
    if source != (rule.direction == Way::In) {
        return Err(
            "our own address: give it to --local, and import the rules for each address apart".to_owned()
        );
    }
    rule.remotes = value.split(',').map(str::to_owned).collect();
    Ok(())
}

fn finish(mut rule: Rule, states: Option<&str>, target: Option<&str>) -> Result<Said, String> {
    rule.allow = match target {
        Some("ACCEPT") => true,
        Some("DROP" | "REJECT") => false,
        Some(other) => return Err(format!("the target {other}")),
        None => return Ok(Said::Implied("it only counts")),
    };
    match states {
        None => Ok(Said::Rule(rule)),
        Some(states) if states.split(',').any(|state| state == "NEW") => Ok(Said::Rule(rule)),
        Some(states)
            if states.split(',').all(|state| matches!(state, "RELATED" | "ESTABLISHED")) && rule.allow =>
        {
            Ok(Said::Implied("replies belong to the flow that was permitted"))
        }
        Some(states) if states == "INVALID" && !rule.allow => {
            Ok(Said::Implied("what fits no flow is dropped anyhow"))
        }
        Some(states) => Err(format!("the states {states}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringroad::policy_file::{PolicyFile, explain};

    const SAVED: &str = r#"# Generated by iptables-save
*nat
:PREROUTING ACCEPT [0:0]
-A PREROUTING -p tcp -j DNAT --to-destination 10.0.0.9
COMMIT
*filter
:INPUT DROP [12:3456]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:f2b - [0:0]
-A INPUT -i lo -j ACCEPT
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -s 198.51.100.0/24 -j DROP
-A INPUT -s 10.0.0.0/8 -p tcp -m tcp --dport 22 -m comment --comment "ssh from \"inside\"" -j ACCEPT
-A INPUT -p tcp -m multiport --dports 80,443,8000:8099 -m state --state NEW -j ACCEPT
-A INPUT -p icmp -j ACCEPT
-A INPUT -i eth1 -p tcp -m tcp --dport 25 -j ACCEPT
-A INPUT -i eth+ -j ACCEPT
-A OUTPUT -i eth1 -j ACCEPT
-A INPUT ! -s 10.0.0.0/8 -p tcp -j REJECT --reject-with icmp-port-unreachable
-A INPUT -p udp -m limit --limit 5/sec -j ACCEPT
-A OUTPUT -d 10.9.0.0/16 -p udp -m udp --dport 53 -j REJECT
-A FORWARD -j ACCEPT
COMMIT
"#;

    #[test]
    fn what_can_be_said_is_said_and_the_rest_is_listed() {
        let draft = read(SAVED);
        let left: Vec<&str> = draft.left_out().collect();
        assert_eq!(
            left,
            [
                "-A PREROUTING -p tcp -j DNAT --to-destination 10.0.0.9 (not of the table filter)",
                "-A INPUT -p icmp -j ACCEPT (the protocol icmp)",
                "-A OUTPUT -i eth1 -j ACCEPT (the interface eth1, which such packets do not have)",
                "-A INPUT ! -s 10.0.0.0/8 -p tcp -j REJECT --reject-with icmp-port-unreachable (an exception (!))",
                "-A INPUT -p udp -m limit --limit 5/sec -j ACCEPT (the match limit)",
                "-A FORWARD -j ACCEPT (the chain FORWARD)",
            ]
        );
        let text = draft.policy(&["10.77.0.1".parse().unwrap()]);
        assert!(left.iter().all(|line| text.contains(&format!("# left out: {line}"))), "{text}");
        let file = PolicyFile::parse(&text).unwrap();
        assert_eq!(
            explain(&file.spec),
            "imported: 10.77.0.1 (monitored: judged and counted, but nothing is dropped)\n    \
               1. 1: deny TCP and UDP from 198.51.100.0/24, any port, to our any port\n    \
               2. 2: allow TCP from 10.0.0.0/8, any port, to our port 22\n       \
                  # ssh from \"inside\"\n    \
               3. 3: allow TCP from anywhere, any port, to our ports 80, 443, 8000-8099\n    \
               4. 4: allow TCP from anywhere, any port, to our port 25, by eth1\n    \
               5. 5: allow TCP and UDP from anywhere, any port, to our any port, by eth*\n    \
               6. 6: deny UDP to 10.9.0.0/16, port 53, from our any port\n    \
               7. 7: allow TCP and UDP to anywhere, any port, from our any port\n       \
                  # the chain's policy\n       \
               everything else: denied, without an answer\n\n\
             Every other local address: allowed.\n"
        );
    }

    #[test]
    fn any_line_is_understood_or_listed() {
        for line in [
            "-A",
            "-A INPUT",
            "-A INPUT -p",
            "-A INPUT -j",
            "\"",
            "\\",
            "-A INPUT -m x",
            "-A INPUT --dport 5 -j ACCEPT",
        ] {
            let draft = read(&format!("*filter\n{line}\n"));
            let text = draft.policy(&[]);
            assert!(text.contains(line) && PolicyFile::parse(&text).is_ok(), "{text}");
        }
    }
}
