//! The gate judges datagrams in both directions.

use std::net::SocketAddr;

use ringroad_stack::error::SocketError;
use ringroad_stack::policy::{Action, Mode, PortRange, RuleDirection};
use ringroad_stack::types::Readiness;

use crate::common::Net;
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
