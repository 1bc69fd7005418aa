//! What was seen is permitted, and the text is short.

use std::net::SocketAddr;

use proptest::prelude::*;
use stack::policy::Via;
use stack::types::{Direction, FlowKey, Protocol};

use super::*;
use crate::pages::examples;
use crate::policy_file::PolicyFile;

fn flow(direction: Direction, protocol: Protocol, local: SocketAddr, remote: SocketAddr) -> Flow {
    Flow {
        time: 1_795_726_032.0,
        host: "web1".into(),
        pid: 7,
        command: "nginx".into(),
        direction,
        protocol,
        local,
        remote,
        verdict: Verdict::Allowed,
        table: String::new(),
        rule: String::new(),
        state: "ESTABLISHED",
        packets_in: 10,
        packets_out: 10,
        bytes_in: 1000,
        bytes_out: 3000,
        retransmits: 0,
        srtt_us: 100,
        over: true,
    }
}

fn inward(local: &str, remote: &str) -> Flow {
    flow(Direction::In, Protocol::Tcp, local.parse().unwrap(), remote.parse().unwrap())
}

fn suggest(flows: &[Flow]) -> String {
    let mut suggestion = Suggestion::default();
    flows.iter().for_each(|flow| suggestion.see(flow));
    suggestion.policy()
}

/// Understands a suggestion; it is to be without a fault or a warning.
fn understood(text: &str) -> PolicyFile {
    let file = PolicyFile::parse(text).unwrap_or_else(|faults| panic!("{faults} in\n{text}"));
    assert_eq!(file.warnings, [], "{text}");
    file
}

fn permits(file: &PolicyFile, flow: &Flow) -> bool {
    let key = FlowKey { protocol: flow.protocol, local: flow.local, remote: flow.remote };
    let told = file.policy.tell(&key, flow.direction, Via::OTHER);
    // Without a table it would be the default that permits it.
    told.table.is_some() && !told.refused
}

fn end() -> impl Strategy<Value = SocketAddr> {
    // Few networks, so that some fill up.
    let v4 = (0u8..3, 0u8..3, any::<u8>()).prop_map(|(a, b, c)| IpAddr::from([10, a, b, c]));
    let v6 = (0u16..3, 0u16..3, any::<u16>())
        .prop_map(|(a, b, c)| IpAddr::from([0x2001, 0xdb8, a, b, 0, 0, 0, c]));
    let port = prop_oneof![1u16..=10, 1u16..=u16::MAX];
    (prop_oneof![v4, v6, any::<[u8; 4]>().prop_map(IpAddr::from)], port).prop_map(SocketAddr::from)
}

proptest! {
    #[test]
    fn what_was_seen_is_permitted(
        seen in prop::collection::vec((any::<bool>(), any::<bool>(), end(), end()), 1..300),
        // Ranges of ports that one other asks for: what they are called is long.
        ranges in prop::collection::vec((any::<bool>(), 10_000u16..60_000, 1u16..4), 0..80),
    ) {
        let (ours, theirs) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let ranges = ranges.into_iter().flat_map(|(inward, first, len)| (first..first + len).map(move |port| {
            let (local, remote) = if inward { (port, 4000) } else { (4000, port) };
            (inward, true, (ours, local).into(), (theirs, remote).into())
        }));
        let flows: Vec<Flow> = seen
            .into_iter()
            .chain(ranges)
            .filter(|(_, _, local, remote): &(bool, bool, SocketAddr, SocketAddr)| local.is_ipv4() == remote.is_ipv4())
            .map(|(inward, tcp, local, remote)| {
                let direction = if inward { Direction::In } else { Direction::Out };
                flow(direction, if tcp { Protocol::Tcp } else { Protocol::Udp }, local, remote)
            })
            .filter(|flow| !flow.local.ip().is_unspecified() && flow.local.ip() != IpAddr::from([255; 4]))
            .collect();
        let text = suggest(&flows);
        let file = understood(&text);
        for flow in &flows {
            prop_assert!(permits(&file, flow), "{flow:?} is not permitted by\n{text}");
        }
    }
}

#[test]
fn a_suggestion_reads_like_this() {
    let mut flows = Vec::new();
    for client in 1..=200 {
        flows.push(inward("10.77.0.1:80", &format!("192.0.2.{client}:4000")));
        flows.push(inward("10.77.0.1:443", &format!("192.0.2.{client}:4001")));
    }
    flows.push(inward("10.77.0.1:22", "10.77.0.9:4000"));
    let (ours, theirs) = ("10.77.0.1:40000".parse().unwrap(), "10.77.0.53:53".parse().unwrap());
    flows.push(flow(Direction::Out, Protocol::Udp, ours, theirs));
    flows.push(Flow { verdict: Verdict::Denied, ..inward("10.77.0.1:23", "198.51.100.1:4000") });
    let text = suggest(&flows);
    let shown = examples(include_str!("../../../../docs/flows.md"), "toml");
    assert_eq!(shown, [text.as_str()]);
    let file = understood(&text);
    assert!(flows.iter().all(|flow| permits(&file, flow) == (flow.verdict != Verdict::Denied)));
}

#[test]
fn addresses_with_the_same_services_share_a_table() {
    let flows: Vec<Flow> = (1..=4)
        .flat_map(|n| [80, 81, 82, 90].map(|port| inward(&format!("10.77.0.{n}:{port}"), "10.77.0.9:4000")))
        .collect();
    let text = suggest(&flows);
    assert_eq!((text.matches("[[table]]").count(), text.matches("[[table.rule]]").count()), (1, 1), "{text}");
    assert!(text.contains("local_port = [\"80-82\", 90]"), "{text}");
    assert!(text.contains("local = [\"10.77.0.1\", \"10.77.0.2\", \"10.77.0.3\", \"10.77.0.4\"]"), "{text}");
    understood(&text);
}

#[test]
fn many_ranges_of_ports_have_names_that_a_policy_takes() {
    let asks = |port: u16| {
        let (ours, theirs) = (IpAddr::from([10, 77, 0, 1]), IpAddr::from([10, 77, 0, 2]));
        flow(Direction::Out, Protocol::Tcp, (ours, 4000).into(), (theirs, port).into())
    };
    let flows: Vec<Flow> = (0..20u16).flat_map(|n| [10_000 + n * 100, 10_001 + n * 100]).map(asks).collect();
    let text = suggest(&flows);
    assert!(text.contains("name = \"out tcp 10000-10001, 10100-10101, 10200-10201 and 17 more\""), "{text}");
    let file = understood(&text);
    assert!(flows.iter().all(|flow| permits(&file, flow)));
}

#[test]
fn a_public_service_is_for_everybody() {
    let flows: Vec<Flow> = (0..100_000u32)
        .map(|n| {
            let address = IpAddr::from(n.wrapping_mul(2_654_435_761).to_be_bytes());
            flow(Direction::In, Protocol::Tcp, "10.77.0.1:443".parse().unwrap(), (address, 4000).into())
        })
        .collect();
    let text = suggest(&flows);
    assert!(text.contains("remote = \"any\"") && text.contains("# at least 65536 flows"), "{text}");
    let file = understood(&text);
    assert!(flows.iter().all(|flow| permits(&file, flow)));
}

#[test]
fn nothing_seen_is_nothing_said() {
    assert!(Suggestion::default().is_empty());
    let mut suggestion = Suggestion::default();
    suggestion.see(&inward("255.255.255.255:67", "10.77.0.9:68"));
    assert!(suggestion.is_empty() && suggestion.policy().contains("a broadcast: 1 of the records"));
}
