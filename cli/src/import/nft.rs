//! What `nft list ruleset` prints, as JSON or as text, and files of such text: chains at the hooks input and output, and
//! sets of addresses.

use std::collections::HashMap;

use serde_json::Value;

use ringroad::policy_file::PolicyFile;

use super::draft::{Draft, Rule, Way, interface, set_name};
use super::nft_text;

/// A chain at a hook.
#[derive(Clone, Copy)]
struct Chain {
    way: Way,
    accepts: bool,
}

/// Reads it.
pub(super) fn read(text: &str) -> Result<Draft, String> {
    if !text.trim_start().starts_with('{') {
        return Ok(draft(&nft_text::read(text)?));
    }
    let all: Value =
        serde_json::from_str(text).map_err(|e| format!("not what `nft -j list ruleset` prints: {e}"))?;
    let objects =
        all["nftables"].as_array().ok_or("not what `nft -j list ruleset` prints: no \"nftables\" in it")?;
    Ok(draft(objects))
}

/// Something as it stands in the text, with its line, or as JSON.
fn told(object: &Value, part: &str) -> String {
    match (object["line"].as_u64(), object["text"].as_str()) {
        (Some(line), Some(text)) => format!("line {line}: {text}"),
        _ => object.get(part).unwrap_or(object).to_string(),
    }
}

/// From the objects of a ruleset; those of text say where and what they were.
fn draft(objects: &[Value]) -> Draft {
    let mut draft = Draft::default();
    let mut chains: HashMap<String, Chain> = HashMap::new();
    for object in objects {
        if let Some(set) = object.get("set") {
            read_set(&mut draft, set);
        } else if let Some(chain) = object.get("chain") {
            read_chain(&mut draft, &mut chains, chain);
        }
    }
    for object in objects {
        let Some(rule) = object.get("rule") else {
            if let Some((kind, what)) = object.as_object().and_then(|o| o.iter().next())
                && !matches!(kind.as_str(), "metainfo" | "table" | "chain" | "set")
            {
                let article = if kind.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
                draft.leave_out(&told(what, ""), &format!("{article} {kind}"));
            }
            continue;
        };
        let Some(chain) = chains.get(&place(rule, "chain")) else {
            draft.leave_out(&told(rule, ""), "its chain is at no hook for what comes in or goes out");
            continue;
        };
        match read_rule(&draft, rule, chain.way) {
            Ok(Some(said)) => draft.rule(said),
            Ok(None) => draft.note(&format!("holds anyhow, or only counts: {}", told(rule, "expr"))),
            Err(why) => draft.leave_out(&told(rule, "expr"), &why),
        }
    }
    let mut ends: Vec<Chain> = chains.into_values().filter(|chain| chain.accepts).collect();
    ends.sort_by_key(|chain| chain.way == Way::Out);
    for Chain { way, .. } in ends {
        draft.rule(Rule {
            direction: way,
            allow: true,
            comment: "the chain's policy".into(),
            ..Rule::default()
        });
    }
    draft
}

/// The family, table and name that something belongs to.
fn place(object: &Value, name: &str) -> String {
    let word = |key: &str| object[key].as_str().unwrap_or_default();
    format!("{} {} {}", word("family"), word("table"), word(name))
}

fn read_chain(draft: &mut Draft, chains: &mut HashMap<String, Chain>, chain: &Value) {
    let way = match chain["hook"].as_str() {
        Some("input") => Way::In,
        Some("output") => Way::Out,
        Some(hook) => return draft.leave_out(&told(chain, ""), &format!("the hook {hook}")),
        None => return,
    };
    if chain["type"].as_str() != Some("filter") {
        return draft.leave_out(&told(chain, ""), "not a chain that filters");
    }
    if chains.values().any(|other| other.way == way) {
        return draft.leave_out(&told(chain, ""), "a second chain at this hook: import its rules apart");
    }
    chains.insert(place(chain, "name"), Chain { way, accepts: chain["policy"].as_str() != Some("drop") });
}

fn read_set(draft: &mut Draft, set: &Value) {
    let name = set["name"].as_str().unwrap_or_default();
    if !matches!(set["type"].as_str(), Some("ipv4_addr" | "ipv6_addr")) {
        return draft.leave_out(&told(set, ""), "not a set of addresses");
    }
    let members = set["elem"].as_array().map(Vec::as_slice).unwrap_or_default();
    match members.iter().map(address).collect::<Result<Vec<String>, String>>() {
        Ok(members) => draft.set(name, members),
        Err(why) => draft.leave_out(&told(set, ""), &why),
    }
}

/// `None`: it holds anyhow, or decides nothing.
fn read_rule(draft: &Draft, rule: &Value, way: Way) -> Result<Option<Rule>, String> {
    let mut said = Rule {
        direction: way,
        comment: rule["comment"].as_str().unwrap_or_default().into(),
        ..Rule::default()
    };
    let (mut decided, mut replies, mut looped) = (false, false, false);
    for expression in rule["expr"].as_array().map(Vec::as_slice).unwrap_or_default() {
        let Some((kind, value)) = expression.as_object().and_then(|o| o.iter().next()) else {
            return Err("not understood".into());
        };
        match kind.as_str() {
            "counter" => {}
            "log" => said.log = true,
            "unknown" => return Err(value.as_str().unwrap_or("not understood").into()),
            "accept" => (decided, said.allow) = (true, true),
            "drop" | "reject" => decided = true,
            "match" => match read_match(draft, &mut said, value)? {
                Matched::Rule => {}
                Matched::Replies => replies = true,
                Matched::Looped => looped = true,
            },
            other => return Err(format!("the statement {other}")),
        }
    }
    if replies && decided && !said.allow {
        return Err("replies that are refused".into());
    }
    if !said.icmp_types.is_empty() && way == Way::Out {
        return Err("the kernel's own ICMP is not judged".into());
    }
    if !said.icmp_types.is_empty() && said.log && said.allow {
        return Err("what is permitted of ICMP is not told of".into());
    }
    if said.protocol.is_empty() && !(said.local_ports.is_empty() && said.remote_ports.is_empty()) {
        return Err("ports of both protocols".into());
    }
    Ok(if replies || looped || !decided { None } else { Some(said) })
}

/// What a match is about.
enum Matched {
    /// A part of the rule.
    Rule,
    /// Packets of flows that are established.
    Replies,
    /// The loopback interface.
    Looped,
}

fn read_match(draft: &Draft, said: &mut Rule, value: &Value) -> Result<Matched, String> {
    let (left, right) = (&value["left"], &value["right"]);
    let op = value["op"].as_str().unwrap_or_default();
    if !matches!(op, "==" | "in") {
        return Err(format!("the comparison {op}"));
    }
    if left["ct"]["key"].as_str() == Some("state") {
        let states: Vec<&str> = items(right).into_iter().filter_map(Value::as_str).collect();
        return match states.iter().all(|state| matches!(*state, "established" | "related")) {
            true if !states.is_empty() => Ok(Matched::Replies),
            _ if states.contains(&"new") => Ok(Matched::Rule),
            _ => Err(format!("the states {right}")),
        };
    }
    if let Some(key) = left["meta"]["key"].as_str() {
        return match (key, right.as_str()) {
            ("l4proto", Some(protocol @ ("tcp" | "udp"))) => {
                said.protocol = protocol.into();
                Ok(Matched::Rule)
            }
            ("nfproto", Some("ipv4")) => family(said, "0.0.0.0/0"),
            ("nfproto", Some("ipv6")) => family(said, "::/0"),
            ("iif" | "iifname" | "oif" | "oifname", Some("lo")) => Ok(Matched::Looped),
            ("iif" | "iifname", _) => interfaces(said, Way::In, right),
            ("oif" | "oifname", _) => interfaces(said, Way::Out, right),
            _ => Err(format!("the match of {key} with {right}")),
        };
    }
    let payload = &left["payload"];
    let (protocol, field) =
        (payload["protocol"].as_str().unwrap_or_default(), payload["field"].as_str().unwrap_or_default());
    match (protocol, field) {
        ("tcp" | "udp", "dport" | "sport") => {
            said.protocol = protocol.into();
            let ports = items(right).into_iter().map(port).collect::<Result<Vec<_>, _>>()?;
            let local = (field == "dport") == (said.direction == Way::In);
            if local { said.local_ports = ports } else { said.remote_ports = ports }
        }
        ("ip" | "ip6", "saddr" | "daddr") => {
            if (field == "saddr") != (said.direction == Way::In) {
                return Err(
                    "our own address: give it to --local, and import the rules for each address apart".into(),
                );
            }
            said.remotes =
                items(right).into_iter().map(|item| member(draft, item)).collect::<Result<Vec<_>, _>>()?;
        }
        ("icmp" | "icmpv6", "type") => {
            said.protocol = protocol.into();
            said.icmp_types =
                items(right).into_iter().map(|item| icmp_type(protocol, item)).collect::<Result<_, _>>()?;
        }
        ("ip", "protocol") | ("ip6", "nexthdr") => match right.as_str() {
            Some(protocol @ ("tcp" | "udp")) => said.protocol = protocol.into(),
            _ => return Err(format!("the protocol {right}")),
        },
        _ => return Err(format!("the match of {left}")),
    }
    Ok(Matched::Rule)
}

fn interfaces(said: &mut Rule, of: Way, names: &Value) -> Result<Matched, String> {
    let name = |item: &Value| {
        let name = item.as_str().ok_or_else(|| format!("the interface {item}"))?;
        interface(said.direction, of, name)
    };
    said.interfaces = items(names).into_iter().map(name).collect::<Result<_, _>>()?;
    Ok(Matched::Rule)
}

fn family(said: &mut Rule, all: &str) -> Result<Matched, String> {
    if said.remotes.is_empty() {
        said.remotes = vec![all.into()];
    }
    Ok(Matched::Rule)
}

/// The items of a set, or the one there is.
fn items(value: &Value) -> Vec<&Value> {
    match value.get("set").unwrap_or(value).as_array() {
        Some(all) => all.iter().collect(),
        None => vec![value],
    }
}

fn port(value: &Value) -> Result<String, String> {
    let number = |value: &Value| value.as_u64().filter(|port| (1..=65535).contains(port));
    if let Some([first, last]) = value["range"].as_array().map(Vec::as_slice) {
        let (Some(first), Some(last)) = (number(first), number(last)) else {
            return Err(format!("the ports {value}"));
        };
        return Ok(format!("{first}-{last}"));
    }
    number(value).map(|port| port.to_string()).ok_or_else(|| format!("the port {value}"))
}

/// A type of ICMP messages that policies know by the same name.
fn icmp_type(protocol: &str, value: &Value) -> Result<String, String> {
    let name = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let rule = format!(
        "[[table]]\nlocal = '::1'\nrule = [{{ name = 'r', direction = 'in', action = 'deny', protocol = '{protocol}', \
         icmp_type = '{name}' }}]"
    );
    if plain && PolicyFile::parse(&rule).is_ok() { Ok(name) } else { Err(format!("the type {name}")) }
}

/// One of the other end's addresses, or a set of them.
fn member(draft: &Draft, value: &Value) -> Result<String, String> {
    match value.as_str().and_then(|text| text.strip_prefix('@')) {
        Some(name) if draft.has_set(name) => Ok(format!("@{}", set_name(name))),
        Some(name) => Err(format!("the set {name}, which is empty or was left out")),
        None => address(value),
    }
}

fn address(value: &Value) -> Result<String, String> {
    if let Some(text) = value.as_str() {
        return match text.parse::<std::net::IpAddr>() {
            Ok(address) => Ok(address.to_string()),
            Err(_) => Err(format!("the address {text}")),
        };
    }
    let prefix = &value["prefix"];
    match (prefix["addr"].as_str(), prefix["len"].as_u64()) {
        (Some(address), Some(len)) => Ok(format!("{address}/{len}")),
        _ => Err(format!("the addresses {value}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringroad::policy_file::{PolicyFile, explain};

    const LISTED: &str = r#"{"nftables": [
        {"metainfo": {"version": "1.0.6", "json_schema_version": 1}},
        {"table": {"family": "inet", "name": "filter", "handle": 1}},
        {"set": {"family": "inet", "name": "bad guys", "table": "filter", "type": "ipv4_addr", "flags": ["interval"],
                 "elem": [{"prefix": {"addr": "198.51.100.0", "len": 24}}, "203.0.113.9"]}},
        {"set": {"family": "inet", "name": "ports", "table": "filter", "type": "inet_service", "elem": [22]}},
        {"chain": {"family": "inet", "table": "filter", "name": "in", "type": "filter", "hook": "input", "prio": 0, "policy": "drop"}},
        {"chain": {"family": "inet", "table": "filter", "name": "out", "type": "filter", "hook": "output", "prio": 0, "policy": "accept"}},
        {"chain": {"family": "inet", "table": "filter", "name": "helper"}},
        {"rule": {"family": "inet", "table": "filter", "chain": "in", "expr": [
            {"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": ["established", "related"]}}, {"accept": null}]}},
        {"rule": {"family": "inet", "table": "filter", "chain": "in", "expr": [
            {"match": {"op": "==", "left": {"payload": {"protocol": "ip", "field": "saddr"}}, "right": "@bad guys"}},
            {"counter": {"packets": 0, "bytes": 0}}, {"drop": null}]}},
        {"rule": {"family": "inet", "table": "filter", "chain": "in", "comment": "the shop", "expr": [
            {"match": {"op": "==", "left": {"payload": {"protocol": "tcp", "field": "dport"}},
                       "right": {"set": [80, 443, {"range": [8000, 8099]}]}}}, {"accept": null}]}},
        {"rule": {"family": "inet", "table": "filter", "chain": "in", "expr": [{"jump": {"target": "helper"}}]}},
        {"rule": {"family": "inet", "table": "filter", "chain": "in", "expr": [
            {"match": {"op": "==", "left": {"payload": {"protocol": "tcp", "field": "dport"}}, "right": "@ports"}}, {"accept": null}]}},
        {"rule": {"family": "inet", "table": "filter", "chain": "helper", "expr": [{"accept": null}]}},
        {"rule": {"family": "inet", "table": "filter", "chain": "out", "expr": [
            {"match": {"op": "==", "left": {"payload": {"protocol": "ip6", "field": "daddr"}},
                       "right": {"prefix": {"addr": "2001:db8::", "len": 32}}}},
            {"match": {"op": "==", "left": {"payload": {"protocol": "udp", "field": "dport"}}, "right": 53}}, {"reject": null}]}}
    ]}"#;

    #[test]
    fn what_can_be_said_is_said_and_the_rest_is_listed() {
        let draft = read(LISTED).unwrap();
        let why: Vec<&str> =
            draft.left_out().filter_map(|line| line.rsplit_once(" (").map(|(_, why)| why)).collect();
        assert_eq!(
            why,
            [
                "not a set of addresses)",
                "the statement jump)",
                "the port \"@ports\")",
                "its chain is at no hook for what comes in or goes out)",
            ]
        );
        let file = PolicyFile::parse(&draft.policy(&[])).unwrap();
        let told = explain(&file.spec);
        let rules: Vec<&str> = told.lines().skip(1).take(5).map(str::trim).collect();
        assert_eq!(
            rules,
            [
                "1. 1: deny TCP and UDP from @bad_guys (2), any port, to our any port",
                "2. 2: allow TCP from anywhere, any port, to our ports 80, 443, 8000-8099",
                "# the shop",
                "3. 3: deny UDP to 2001:db8::/32, port 53, from our any port",
                "4. 4: allow TCP and UDP to anywhere, any port, from our any port",
            ]
        );
    }

    #[test]
    fn what_is_no_ruleset_is_refused() {
        assert!(read("{\"nftables\"").unwrap_err().starts_with("not what `nft -j list ruleset` prints"));
        assert!(read("{}").unwrap_err().ends_with("no \"nftables\" in it"));
    }
}
