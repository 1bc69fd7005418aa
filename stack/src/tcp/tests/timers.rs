//! Keepalive: RFC 9293 §3.8.4; idle restart: RFC 5681 §4.1; and timers that find nothing to do.

use super::drill::Drill;
use crate::error::SocketError;
use crate::tcp::{State, expiry};

fn kept_alive() -> Drill {
    let mut d = Drill::new();
    d.host.options.keepalive = true;
    d.host.options.keepalive_idle = 10;
    d.host.options.keepalive_interval = 2;
    d.host.options.keepalive_count = 3;
    d.accept("<mss 1000>");
    d
}

#[test]
fn a_silent_peer_is_asked_and_an_answer_is_enough() {
    let mut d = kept_alive();
    d.at(4_000);
    d.inject("P. 1:11(10) ack 1");
    d.at(13_999);
    d.expect(". 1:1(0) ack 11");
    d.silent();
    d.at(14_000);
    d.expect_all(&[". 0:0(0) ack 11"]);
    d.inject(". 11:11(0) ack 1");
    d.at(23_999);
    d.silent();
    d.at(24_000);
    d.expect_all(&[". 0:0(0) ack 11"]);
    d.read(1, 10);
}

#[test]
fn a_dead_peer_is_reset() {
    let mut d = kept_alive();
    for at in [10_000, 12_000, 14_000] {
        d.at(at);
        d.expect_all(&[". 0:0(0) ack 1"]);
    }
    d.at(16_000);
    d.expect_all(&["R. 1:1(0) ack 1"]);
    assert_eq!(d.host.recv(1), Err(SocketError::TimedOut));
    assert_eq!(d.state(), State::Closed);
}

#[test]
fn keepalive_leaves_a_waiting_retransmission_alone() {
    let mut d = kept_alive();
    d.write(1, 10).unwrap();
    d.at(60_000);
    assert_eq!(d.host.stats.tcp_keepalives, 0);
    d.host.wire.sent.clear();
}

#[test]
fn keepalive_can_be_turned_on_later() {
    let mut d = Drill::established();
    d.at(5_000);
    d.host.with(|tcb, env| {
        tcb.options.keepalive = true;
        tcb.options.keepalive_idle = 10;
        crate::tcp::output::push(tcb, env);
    });
    d.at(10_000);
    d.expect_all(&[". 0:0(0) ack 1"]);
}

#[test]
fn after_a_pause_the_window_is_small_again() {
    let mut d = Drill::accepted("<mss 1000>");
    let mut written = 1;
    for _ in 0..4 {
        d.inject(&format!(". 1:1(0) ack {written} win 60000"));
        d.write(written, 20_000).unwrap();
        let sent = d.host.wire.sent.len() as u32 * 1000;
        d.host.wire.sent.clear();
        written += 20_000;
        let _ = sent;
        while d.host.tcb().send_queue() > 0 {
            let una = written - d.host.tcb().send_queue() + d.host.tcb().info().in_flight;
            d.inject(&format!(". 1:1(0) ack {una} win 60000"));
            d.host.wire.sent.clear();
        }
    }
    assert!(d.host.tcb().info().cwnd > 20_000, "{:?}", d.host.tcb().info());
    d.at(60_000);
    d.write(written, 30_000).unwrap();
    assert_eq!(d.host.wire.sent.len(), 10);
    d.host.wire.sent.clear();
}

#[test]
fn an_early_call_does_nothing() {
    let mut d = Drill::established();
    d.write(1, 10).unwrap();
    d.expect("P. 1:11(10)");
    d.host.with(expiry::timers);
    d.at(100);
    d.host.with(expiry::timers);
    d.silent();
}
