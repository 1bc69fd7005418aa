//! RFC 9293 §3.5, §3.10.7.2, §3.10.7.3; RFC 7323 §2; RFC 6298 §5.7.

use super::drill::Drill;
use crate::error::SocketError;
use crate::ip::Unsent;
use crate::tcp::State;
use crate::types::Readiness;

fn connecting() -> Drill {
    let mut d = Drill::new();
    d.host.connect().unwrap();
    d.expect("S 0:0(0) <mss 1460,sackOK,wscale 3,TS>");
    d
}

#[test]
fn a_listener_answers_with_what_was_offered() {
    let mut d = Drill::new();
    d.inject("S 0:0(0) win 65535 <mss 1000,sackOK,wscale 7,TS 100 0>");
    d.expect("S. 0:0(0) ack 1 win 65535 <mss 1460,sackOK,wscale 3,TS>");
    assert_eq!(d.state(), State::SynReceived);
    assert_eq!(d.host.tcb().readiness(), Readiness::NONE);
    d.inject(". 1:1(0) ack 1 win 502 <TS 101 0>");
    assert_eq!(d.state(), State::Established);
    assert!(d.wakes().contains(Readiness::OUT));
    d.silent();
    let info = d.host.tcb().info();
    assert_eq!((info.snd_mss, info.snd_wnd, info.window_scale), (988, 502 << 7, Some((7, 3))));
    assert_eq!(d.host.stats.tcp_passive_opens, 1);
}

#[test]
fn what_was_not_offered_is_not_answered() {
    let mut d = Drill::new();
    d.inject("S 0:0(0) win 1000");
    let seg = d.expect("S. 0:0(0) ack 1 <mss 1460>");
    assert!(!seg.options.sack_permitted && seg.options.window_scale.is_none());
    assert!(seg.options.timestamps.is_none());
    d.inject(". 1:1(0) ack 1 win 1000");
    assert_eq!(d.host.tcb().info().snd_mss, 536);
}

#[test]
fn connect_is_answered_and_acknowledged() {
    let mut d = connecting();
    d.at(30);
    d.inject("S. 0:0(0) ack 1 win 65535 <mss 1460,sackOK,wscale 7,TS 9 0>");
    d.expect(". 1:1(0) ack 1 win 28672");
    assert_eq!(d.state(), State::Established);
    assert_eq!(d.host.tcb().info().srtt.unwrap().as_millis(), 30);
    assert_eq!(d.host.tcb().info().snd_wnd, 65535);
    assert!(d.wakes().contains(Readiness::OUT));
}

#[test]
fn data_on_the_syn_ack_is_taken() {
    let mut d = connecting();
    d.inject("S. 0:5(5) ack 1 win 1000 <mss 1460>");
    d.expect(". 1:1(0) ack 6");
    // The payload of a SYN begins one after its number.
    assert_eq!(d.host.tcb().recv_queue(), 5);
}

#[test]
fn a_syn_is_sent_again_with_doubled_patience_and_then_given_up() {
    let mut d = connecting();
    for at in [1000, 3000, 7000, 15000, 31000, 63000] {
        d.at(at - 1);
        d.silent();
        d.at(at);
        d.expect("S 0:0(0)");
    }
    d.at(126_999);
    assert_eq!(d.state(), State::SynSent);
    d.at(127_000);
    d.silent();
    assert_eq!(d.state(), State::Closed);
    assert_eq!(d.host.tcb().error, Some(SocketError::TimedOut));
    assert!(d.wakes().contains(Readiness::ERR | Readiness::HUP));
}

#[test]
fn a_syn_ack_is_sent_again_when_asked_and_by_itself() {
    let mut d = Drill::new();
    d.inject("S 0:0(0) win 1000 <mss 1000>");
    d.expect("S. 0:0(0) ack 1");
    d.inject("S 0:0(0) win 1000 <mss 1000>");
    d.expect_all(&["S. 0:0(0) ack 1"]);
    for at in [1000, 3000, 7000, 15000, 31000] {
        d.at(at);
        d.expect_all(&["S. 0:0(0) ack 1"]);
    }
    d.at(63_000);
    d.silent();
    assert_eq!(d.state(), State::Closed);
    assert_eq!(d.host.tcb().error, None);
}

#[test]
fn after_a_lost_syn_the_first_time_out_is_three_seconds() {
    let mut d = connecting();
    d.at(1000);
    d.expect("S 0:0(0)");
    d.inject("S. 0:0(0) ack 1 win 1000 <mss 1000>");
    d.expect(". 1:1(0) ack 1");
    assert_eq!(d.host.tcb().info().rto.as_millis(), 3000);
}

#[test]
fn a_refused_connect_says_so() {
    let mut d = connecting();
    d.inject("R. 0:0(0) ack 1 win 0");
    assert_eq!(d.state(), State::Closed);
    assert_eq!(d.host.recv(1), Err(SocketError::ConnectionRefused));
    assert_eq!(d.host.recv(1), Ok(vec![]));
    assert_eq!(d.host.send(b"x"), Err(SocketError::BrokenPipe));
    d.silent();
}

#[test]
fn in_syn_sent_only_our_own_syn_can_be_acknowledged() {
    let mut d = connecting();
    d.inject("R. 0:0(0) ack 2 win 0");
    d.inject("R 0:0(0) win 0");
    d.inject(". 0:0(0) ack 1");
    assert_eq!(d.state(), State::SynSent);
    d.silent();
    d.inject(". 0:0(0) ack 0");
    d.expect("R 0:0(0)");
    d.inject("S. 0:0(0) ack 7 win 0");
    d.expect("R 7:7(0)");
    assert_eq!(d.state(), State::SynSent);
}

#[test]
fn both_ends_may_open_at_once() {
    let mut d = connecting();
    d.inject("S 0:0(0) win 5000 <mss 1000>");
    d.expect("S. 0:0(0) ack 1");
    assert_eq!(d.state(), State::SynReceived);
    d.inject("S. 0:0(0) ack 1 win 5000 <mss 1000>");
    assert_eq!(d.state(), State::SynReceived);
    d.expect(". 1:1(0) ack 1");
    d.inject(". 1:1(0) ack 1 win 5000");
    assert_eq!(d.state(), State::Established);
    d.silent();
}

#[test]
fn a_reset_ends_a_listeners_attempt_without_a_word() {
    let mut d = Drill::new();
    d.inject("S 0:0(0) win 1000");
    d.expect("S. 0:0(0) ack 1");
    d.inject("R 1:1(0)");
    assert_eq!((d.state(), d.host.tcb().error), (State::Closed, None));
}

#[test]
fn an_ack_of_something_else_is_reset_in_syn_received() {
    let mut d = Drill::new();
    d.inject("S 0:0(0) win 1000");
    d.expect("S. 0:0(0) ack 1");
    d.inject(". 1:1(0) ack 9");
    d.expect("R 9:9(0)");
    assert_eq!(d.state(), State::SynReceived);
}

#[test]
fn a_syn_without_a_way_out_waits_and_one_that_is_forbidden_fails() {
    let mut d = Drill::new();
    d.host.wire.refuse = Some(Unsent::NoNeighbour);
    d.host.connect().unwrap();
    d.at(2);
    d.silent();
    d.host.wire.refuse = None;
    d.at(3);
    d.expect_all(&["S 0:0(0)"]);
    d.host.tcb = None;
    d.host.wire.refuse = Some(Unsent::NoNeighbour);
    d.host.connect().unwrap();
    d.host.wire.refuse = Some(Unsent::NeighbourFailed);
    d.at(10);
    assert_eq!(d.host.tcb().error, Some(SocketError::HostUnreachable));
    for (why, error) in [
        (Unsent::Denied, SocketError::NotPermitted),
        (Unsent::Unreachable, SocketError::NetworkUnreachable),
        (Unsent::NeighbourFailed, SocketError::HostUnreachable),
    ] {
        d.host.wire.refuse = Some(why);
        assert_eq!(d.host.connect(), Err(error));
    }
}
