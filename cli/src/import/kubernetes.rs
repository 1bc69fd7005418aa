//! NetworkPolicy of Kubernetes, for the pod whose address the table is for. What selects pods or namespaces by labels
//! cannot be said in addresses, and is left out.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::Deserialize;
use serde_json::Value;

use super::draft::{Draft, Rule, Way};

/// Reads YAML (or JSON): one policy, several, or a list of them.
pub(super) fn read(text: &str) -> Result<Draft, String> {
    let mut draft = Draft::default();
    let (mut closed, mut found) = ([false; 2], false);
    for document in serde_yaml_ng::Deserializer::from_str(text) {
        let document = Value::deserialize(document).map_err(|e| e.to_string())?;
        let one = std::slice::from_ref(&document);
        for policy in document["items"].as_array().map_or(one, Vec::as_slice) {
            if policy.is_null() {
                continue;
            }
            if policy["kind"].as_str() != Some("NetworkPolicy") {
                draft.leave_out(&policy.to_string(), "not a NetworkPolicy");
                continue;
            }
            found = true;
            read_policy(&mut draft, policy, &mut closed);
        }
    }
    if !found {
        return Err("there is no NetworkPolicy in it".to_owned());
    }
    // A direction that no policy is for is free.
    for (direction, closed) in [Way::In, Way::Out].into_iter().zip(closed) {
        if !closed {
            let comment = "no policy is for this direction".to_owned();
            draft.rule(Rule { direction, allow: true, comment, ..Rule::default() });
        }
    }
    Ok(draft)
}

fn read_policy(draft: &mut Draft, policy: &Value, closed: &mut [bool; 2]) {
    let (name, spec) = (policy["metadata"]["name"].as_str().unwrap_or("nameless"), &policy["spec"]);
    draft.note(&format!("NetworkPolicy {name}, for the pods {}", spec["podSelector"]));
    let types: Vec<&str> = list(&spec["policyTypes"]).iter().filter_map(Value::as_str).collect();
    let sides = [(Way::In, "Ingress", "ingress", "from"), (Way::Out, "Egress", "egress", "to")];
    for ((way, kind, key, peers), closed) in sides.into_iter().zip(closed) {
        // Without policyTypes it is for ingress, and for egress where it has such rules.
        let meant = match types.is_empty() {
            true => way == Way::In || !spec[key].is_null(),
            false => types.contains(&kind),
        };
        if !meant {
            continue;
        }
        *closed = true;
        for rule in list(&spec[key]) {
            read_rule(draft, name, way, rule, peers);
        }
    }
}

fn read_rule(draft: &mut Draft, name: &str, way: Way, rule: &Value, peers: &str) {
    let base =
        Rule { direction: way, allow: true, comment: format!("NetworkPolicy {name}"), ..Rule::default() };
    let mut remotes = vec![Vec::new()];
    if !list(&rule[peers]).is_empty() {
        remotes.clear();
        for peer in list(&rule[peers]) {
            match blocks(peer) {
                Ok(blocks) if blocks.is_empty() => {}
                Ok(blocks) => remotes.push(blocks),
                Err(why) => draft.leave_out(&format!("{name}: {peers} {peer}"), &why),
            }
        }
    }
    let mut ports = vec![(String::new(), Vec::new())];
    if !list(&rule["ports"]).is_empty() {
        ports.clear();
        for port in list(&rule["ports"]) {
            match read_port(port) {
                Ok(port) => ports.push(port),
                Err(why) => draft.leave_out(&format!("{name}: port {port}"), &why),
            }
        }
    }
    for remotes in &remotes {
        for (protocol, ports) in &ports {
            let mut rule = Rule { remotes: remotes.clone(), protocol: protocol.clone(), ..base.clone() };
            match way {
                Way::In => rule.local_ports.clone_from(ports),
                Way::Out => rule.remote_ports.clone_from(ports),
            }
            draft.rule(rule);
        }
    }
}

/// The networks of a peer.
fn blocks(peer: &Value) -> Result<Vec<String>, String> {
    let block = &peer["ipBlock"];
    let cidr = block["cidr"].as_str().ok_or("pods are selected by labels, not by addresses")?;
    let mut left = vec![Block::parse(cidr)?];
    for hole in list(&block["except"]) {
        let hole = Block::parse(hole.as_str().unwrap_or_default())?;
        left = left.into_iter().flat_map(|block| block.without(hole)).collect();
    }
    Ok(left.into_iter().map(Block::text).collect())
}

/// A network: its address in the highest bits, and its length.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Block {
    bits: u128,
    len: u32,
    v4: bool,
}

impl Block {
    fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("the network {text}");
        let (address, len) = text.split_once('/').ok_or_else(wrong)?;
        let (address, len): (IpAddr, u32) =
            (address.parse().map_err(|_| wrong())?, len.parse().map_err(|_| wrong())?);
        let (bits, v4) = match address {
            IpAddr::V4(v4) => (u128::from(v4.to_bits()) << 96, true),
            IpAddr::V6(v6) => (v6.to_bits(), false),
        };
        let widest = if v4 { 32 } else { 128 };
        if len > widest { Err(wrong()) } else { Ok(Self { bits: bits & mask(len), len, v4 }) }
    }

    fn text(self) -> String {
        let address: IpAddr = match self.v4 {
            true => Ipv4Addr::from_bits((self.bits >> 96) as u32).into(),
            false => Ipv6Addr::from_bits(self.bits).into(),
        };
        format!("{address}/{}", self.len)
    }

    fn holds(self, other: Self) -> bool {
        self.v4 == other.v4 && self.len <= other.len && other.bits & mask(self.len) == self.bits
    }

    /// What is left without `hole`.
    fn without(self, hole: Self) -> Vec<Self> {
        if hole.holds(self) {
            return Vec::new();
        }
        if !self.holds(hole) {
            return vec![self];
        }
        // At each length down to the hole's, the half that the hole is not in.
        let other_half = |len: u32| {
            let bits = (hole.bits & mask(len)) ^ 1_u128 << (128 - len);
            Self { bits, len, v4: self.v4 }
        };
        (self.len + 1..=hole.len).map(other_half).collect()
    }
}

/// The highest `len` bits.
fn mask(len: u32) -> u128 {
    u128::MAX.checked_shl(128 - len).unwrap_or(0)
}

fn read_port(port: &Value) -> Result<(String, Vec<String>), String> {
    let protocol = match port["protocol"].as_str().unwrap_or("TCP") {
        "TCP" => "tcp",
        "UDP" => "udp",
        other => return Err(format!("the protocol {other}")),
    };
    let number = |value: &Value| value.as_u64().filter(|port| (1..=65535).contains(port));
    let ports = match (&port["port"], &port["endPort"]) {
        (Value::Null, _) => Vec::new(),
        (first, Value::Null) => vec![number(first).ok_or("a port by its name")?.to_string()],
        (first, last) => match (number(first), number(last)) {
            (Some(first), Some(last)) => vec![format!("{first}-{last}")],
            _ => return Err("a port by its name".to_owned()),
        },
    };
    Ok((protocol.to_owned(), ports))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringroad::policy_file::{PolicyFile, explain};

    const POLICY: &str = "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: db }
spec:
  podSelector: { matchLabels: { role: db } }
  policyTypes: [Ingress, Egress]
  ingress:
    - from:
        - ipBlock: { cidr: 172.17.0.0/16, except: [172.17.0.0/17, 172.17.192.0/18] }
        - podSelector: { matchLabels: { role: frontend } }
      ports:
        - { protocol: TCP, port: 6379 }
        - { protocol: UDP, port: 32000, endPort: 32768 }
        - { protocol: TCP, port: http }
  egress:
    - to: [{ ipBlock: { cidr: 10.0.0.0/24 } }]
---
kind: Service
";

    fn rules(draft: &Draft) -> Vec<String> {
        let file = PolicyFile::parse(&draft.policy(&["10.77.0.1".parse().unwrap()])).unwrap();
        let told = explain(&file.spec);
        told.lines().map(str::trim).filter(|l| l.contains(": allow ")).map(str::to_owned).collect()
    }

    #[test]
    fn what_can_be_said_is_said_and_the_rest_is_listed() {
        let draft = read(POLICY).unwrap();
        assert_eq!(
            rules(&draft),
            [
                "1. 1: allow TCP from 172.17.128.0/18, any port, to our port 6379",
                "2. 2: allow UDP from 172.17.128.0/18, any port, to our ports 32000-32768",
                "3. 3: allow TCP and UDP to 10.0.0.0/24, any port, from our any port",
            ]
        );
        let left: Vec<&str> = draft.left_out().collect();
        assert_eq!(left.len(), 3, "{left:?}");
        assert!(left[0].contains("pods are selected by labels"), "{left:?}");
        assert!(left[1].contains("a port by its name"), "{left:?}");
        assert!(left[2].contains("not a NetworkPolicy"), "{left:?}");
    }

    #[test]
    fn exceptions_leave_what_is_round_them() {
        let block = |text| Block::parse(text).unwrap();
        let left =
            |text, hole| block(text).without(block(hole)).into_iter().map(Block::text).collect::<Vec<_>>();
        assert_eq!(left("10.0.0.0/8", "10.0.0.0/10"), ["10.128.0.0/9", "10.64.0.0/10"]);
        assert_eq!(left("10.0.0.0/8", "10.0.0.0/8"), [""; 0]);
        assert_eq!(left("10.0.0.0/8", "11.0.0.0/9"), ["10.0.0.0/8"]);
        assert_eq!(left("2001:db8::/126", "2001:db8::2/128"), ["2001:db8::/127", "2001:db8::3/128"]);
        assert_eq!(left("0.0.0.0/0", "0.0.0.0/1"), ["128.0.0.0/1"]);
    }

    #[test]
    fn directions_are_free_until_a_policy_is_for_them() {
        let policy = |spec: &str| read(&format!("kind: NetworkPolicy\nspec: {spec}\n")).unwrap();
        let free = ["1. 1: allow TCP and UDP to anywhere, any port, from our any port"];
        assert_eq!(rules(&policy("{ podSelector: {} }")), free, "nothing comes in");
        assert_eq!(rules(&policy("{ policyTypes: [Ingress, Egress] }")), [""; 0]);
        assert_eq!(rules(&policy("{ ingress: [{}], policyTypes: [Ingress] }")).len(), 2);
    }

    #[test]
    fn what_is_no_policy_is_refused() {
        assert!(read("kind: Pod").unwrap_err().contains("no NetworkPolicy"));
        assert!(read("a: [").is_err());
    }
}
