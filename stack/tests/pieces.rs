//! TCP over a path that cuts packets: RFC 791 §3.2, RFC 8200 §4.5, RFC 1122 §3.3.2.

mod common;

use std::time::Duration;

use common::{Family, Link, Net, cut, pattern};
use ringroad_stack::policy::{Action, Policy, PolicySpec};

const MINUTE: Duration = Duration::from_secs(60);

fn through(most: usize) -> Link {
    Link { cut: Some(most), ..Link::default() }
}

#[test]
fn segments_that_are_cut_on_the_way_arrive_whole() {
    for family in Family::BOTH {
        let mut net = Net::new(through(600), 1).over(family);
        let (client, server, _) = net.connected();
        net.transfer(0, client, server, &pattern(300_000, 1), MINUTE);
        net.transfer(1, server, client, &pattern(300_000, 2), MINUTE);
        let stats = net.b().stats();
        assert!(stats.ip_reassembled > 200, "{family:?}: {}", stats.ip_reassembled);
        assert!(stats.ip_pieces_in >= 2 * stats.ip_reassembled);
        assert_eq!((stats.tcp_retransmits, stats.drop_fragment, stats.drop_l4_checksum), (0, 0, 0));
        net.close(0, client);
        net.close(1, server);
        net.run_for(2 * MINUTE);
        net.assert_whole();
    }
}

#[test]
fn over_a_bad_link_too_and_what_never_comes_is_given_up() {
    for (seed, family) in (1..=4).flat_map(|seed| Family::BOTH.map(|family| (seed, family))) {
        let mut net = Net::new(Link { cut: Some(900), ..Link::bad() }, seed).over(family);
        let (client, server, _) = net.connected();
        net.transfer(0, client, server, &pattern(200_000, seed), 20 * MINUTE);
        net.close(0, client);
        net.close(1, server);
        net.run_for(10 * MINUTE);
        let stats = net.b().stats();
        assert!(stats.ip_reassembled > 50, "seed {seed}, {family:?}");
        assert!(stats.ip_reassembly_timeouts > 0, "seed {seed}, {family:?}: pieces were lost");
        net.assert_whole();
    }
}

/// A first piece without the rest: after thirty seconds its sender is told, unless a policy says that strangers get
/// no answer.
#[test]
fn the_sender_of_a_packet_that_stays_in_pieces_is_told() {
    for (family, guarded) in Family::BOTH.into_iter().flat_map(|family| [false, true].map(|g| (family, g))) {
        let mut net = Net::ideal().over(family);
        if guarded {
            let spec = PolicySpec { default: Action::Deny, tables: vec![], shadow: Vec::new() };
            net.b().set_policy(Policy::compile(&spec).unwrap());
        }
        net.hosts[0].capture = true;
        net.connecting(0, 80);
        net.pump();
        let mut long = net.hosts[0].sent[0].clone();
        long.resize(1000, 7);
        let first = cut(&long, 600, 9).swap_remove(0);
        let now = net.now;
        net.hosts[1].capture = true;
        net.hosts[1].receive(now, &first);
        net.run_for(Duration::from_secs(29));
        let told = |net: &Net| {
            let kind = if family == Family::V4 { (23, 1, 34, 11) } else { (20, 58, 54, 3) };
            let (at, protocol, icmp, time_exceeded) = kind;
            net.hosts[1].sent.iter().any(|f| f[at] == protocol && f[icmp..icmp + 2] == [time_exceeded, 1])
        };
        assert!(!told(&net));
        net.run_for(Duration::from_secs(2));
        assert_eq!(told(&net), !guarded, "{family:?}");
        assert_eq!(net.b().stats().ip_reassembly_timeouts, 1);
    }
}
