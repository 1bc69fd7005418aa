//! The gate judges datagrams in both directions.

use std::net::SocketAddr;
use std::time::Duration;

use ringroad_stack::config::Config;
use ringroad_stack::engine::Taker;
use ringroad_stack::error::SocketError;
use ringroad_stack::policy::{Action, Mode, PortRange, RuleDirection, RuleSpec};
use ringroad_stack::types::Readiness;

use crate::common::{Host, Link, Net};
use crate::{address, guard, recv_from, rule, send_to, udp};

#[test]
fn the_gate_lets_answers_in_and_strangers_out() {
    let mut net = Net::ideal();
    guard(&mut net, 0, Mode::Enforce, vec![rule("ask", RuleDirection::Out, PortRange::ANY, Action::Allow)]);
    let (a, b) = (udp(&mut net, 0, 1000), udp(&mut net, 1, 53));
    // Nobody asked: silence.
    send_to(&mut net, 1, b, Some(address(0, 1000)), b"unasked").unwrap();
    net.run_ms(1);
    assert_eq!(recv_from(&mut net, 0, a, 100).unwrap_err(), SocketError::WouldBlock);
    assert_eq!(net.a().stats().drop_denied_in, 1);
    // The same tuple, once we have begun.
    send_to(&mut net, 0, a, Some(address(1, 53)), b"question").unwrap();
    net.run_ms(1);
    send_to(&mut net, 1, b, Some(address(0, 1000)), b"answer").unwrap();
    net.run_ms(1);
    assert_eq!(recv_from(&mut net, 0, a, 100).unwrap().0, b"answer");
    let told = net.a().policy();
    assert_eq!(told.tables[0].rules[0].count.packets, 2);
    assert_eq!(told.tables[0].denied.packets, 1);
}

/// From the SYN to the end of TIME-WAIT a connection is one flow, whoever began it and whoever closes it; also where
/// cookies are given, and nothing is kept between the SYN and the ACK.
#[test]
fn a_connection_is_told_of_once() {
    for (closes, log, cookies) in
        [(0, true, 0), (1, true, 0), (0, false, 0), (1, false, 0), (0, true, 2), (1, false, 2)]
    {
        let mut config = Config::default();
        config.tcp.syn_cookies = cookies;
        let mut net = Net::with_config(config, Link::default(), 1);
        for host in 0..2 {
            let action = if log { Action::Allow } else { Action::Deny };
            let rule = RuleSpec { log, ..RuleSpec::any("all", action) };
            guard(&mut net, host, Mode::Monitor, vec![rule]);
            net.hosts[host].capture = true;
        }
        let (client, server, _) = net.connected();
        net.transfer(0, client, server, &[7; 3000], Duration::from_secs(1));
        let ids = [client, server];
        net.close(closes, ids[closes]);
        net.run_ms(10);
        net.close(1 - closes, ids[1 - closes]);
        net.run_ms(10);
        // The peer's FIN once more is answered by who waits.
        let last = net.hosts[1 - closes].sent.iter().rfind(|frame| frame[47] & 1 != 0).unwrap().clone();
        let (now, before) = (net.now, net.hosts[closes].sent.len());
        net.hosts[closes].receive(now, &last);
        net.pump();
        assert_eq!(net.hosts[closes].sent.len(), before + 1);
        for (host, flags) in [(0, None), (1, Some(2))] {
            let mut told = Vec::new();
            assert_eq!(net.hosts[host].stack.take_refusals(&mut told), 0);
            let told: Vec<_> = told.iter().map(|r| (r.flags, r.permitted)).collect();
            assert_eq!(told, [(flags, log)], "host {host}, {closes} closes, log: {log}, cookies: {cookies}");
        }
    }
}

/// What moves to another stack of the host was told of where it came from.
#[test]
fn a_connection_that_moves_is_not_told_of_again() {
    let mut net = Net::ideal();
    let mut other = Host::new(1, Config::default());
    other.knows(2);
    let (client, _, _) = net.connected();
    let (mut bytes, now) = (Vec::new(), net.now);
    net.a().export(now, client, &mut bytes).unwrap();
    std::mem::swap(&mut net.hosts[0], &mut other);
    guard(&mut net, 0, Mode::Monitor, vec![RuleSpec { log: true, ..RuleSpec::any("all", Action::Allow) }]);
    let client = net.a().import(now, &mut &bytes[..], Taker::Application(1)).unwrap().id;
    net.send(0, client, b"x").unwrap();
    net.run_ms(10);
    assert_eq!(net.a().policy().tables[0].rules[0].count.packets, 2);
    assert!(!net.a().has_refusals());
}

#[test]
fn an_outbound_flow_that_no_rule_permits() {
    let mut net = Net::ideal();
    guard(&mut net, 0, Mode::Enforce, vec![]);
    let a = udp(&mut net, 0, 1000);
    assert_eq!(send_to(&mut net, 0, a, Some(address(1, 53)), b"x"), Err(SocketError::NotPermitted));
    let now = net.now;
    let tcp = net.a().tcp_socket(0).unwrap();
    net.a().bind(tcp, SocketAddr::from(([0, 0, 0, 0], 2000))).unwrap();
    assert_eq!(net.a().connect(now, tcp, address(1, 80)), Err(SocketError::NotPermitted));
    net.run_ms(1000);
    assert_eq!(net.b().stats().rx_frames, 0);
    net.assert_whole();
}

#[test]
fn denied_inbound_is_silence_and_monitored_is_served() {
    for (mode, served) in [(Mode::Enforce, false), (Mode::Monitor, true)] {
        let mut net = Net::ideal();
        guard(&mut net, 1, mode, vec![rule("no", RuleDirection::In, PortRange::one(80), Action::Deny)]);
        net.listen(1, 80, 5);
        let client = net.connecting(0, 80);
        // Nobody listens there, and the gate does not even say that.
        net.connecting(0, 81);
        net.run_ms(100);
        assert_eq!(net.a().readiness(client).contains(Readiness::OUT), served);
        assert_eq!(net.a().stats().rx_frames > 0, served);
        let told = net.b().policy();
        assert!(told.tables[0].denied.packets >= 2);
        assert!(told.tables[0].rules[0].count.packets >= 1);
    }
}

#[test]
fn a_new_policy_judges_old_flows_anew() {
    let mut net = Net::ideal();
    let (a, b) = (udp(&mut net, 0, 1000), udp(&mut net, 1, 53));
    send_to(&mut net, 0, a, Some(address(1, 53)), b"1").unwrap();
    net.run_ms(1);
    guard(&mut net, 1, Mode::Enforce, vec![]);
    send_to(&mut net, 0, a, Some(address(1, 53)), b"2").unwrap();
    net.run_ms(1);
    assert_eq!(recv_from(&mut net, 1, b, 10).unwrap().0, b"1");
    assert_eq!(recv_from(&mut net, 1, b, 10).unwrap_err(), SocketError::WouldBlock);
    assert_eq!(net.b().stats().drop_denied_in, 1);
}
