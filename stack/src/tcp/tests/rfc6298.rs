//! RFC 6298: the retransmission timer.

use super::drill::Drill;
use crate::error::SocketError;
use crate::tcp::State;

/// RFC 6298 §5.4, §5.5, §5.6, §3: the oldest is sent again, the time-out doubles, and only a sample ends that.
#[test]
fn a_time_out_sends_the_oldest_again_and_backs_off() {
    let mut d = Drill::established();
    d.write(1, 100).unwrap();
    d.expect("P. 1:101(100)");
    // The handshake took no time: RTO is the minimum, with the clock's grain.
    for (at, retries) in [(201, 1), (601, 2), (1401, 3)] {
        d.at(at - 5);
        d.silent();
        d.at(at);
        d.expect_all(&["P. 1:101(100) ack 1"]);
        assert_eq!(d.host.stats.tcp_timeouts, retries);
    }
    d.inject(". 1:1(0) ack 101");
    // Karn: no sample was taken, the patience stays until one is.
    assert_eq!(d.host.tcb().info().backoff, 3);
    d.write(101, 100).unwrap();
    d.expect("P. 101:201(100)");
    d.at(1500);
    d.inject(". 1:1(0) ack 201");
    assert_eq!(d.host.tcb().info().backoff, 0);
}

/// RFC 6298 §3: with timestamps a retransmission gives a sample.
#[test]
fn a_timestamp_tells_which_copy_arrived() {
    let mut d = Drill::accepted("<mss 1000,TS 1 0>");
    d.write(1, 100).unwrap();
    let first = d.expect("P. 1:101(100)").options.timestamps.unwrap().val;
    d.at(201);
    d.expect("P. 1:101(100)");
    d.inject(&format!(". 1:1(0) ack 101 <TS 3 {}>", first.wrapping_add(201)));
    assert_eq!(d.host.tcb().info().backoff, 0);
}

/// RFC 9293 §3.8.3 MUST-20: R2.
/// RFC 9293 SHLD-10, SHLD-11
#[test]
fn everything_is_given_up_after_fifteen_time_outs() {
    let mut d = Drill::established();
    d.write(1, 100).unwrap();
    d.at(3_000_000);
    assert_eq!(d.state(), State::Closed);
    assert_eq!(d.host.wire.sent.len(), 16);
    assert_eq!(d.host.recv(1), Err(SocketError::TimedOut));
    d.host.wire.sent.clear();
}

/// RFC 9293 §3.8.3 MUST-21, RFC 5482 §3.
#[test]
fn a_user_timeout_comes_first() {
    let mut d = Drill::new();
    d.host.options.user_timeout = 5000;
    d.accept("<mss 1000>");
    d.write(1, 100).unwrap();
    d.at(4_999);
    assert_eq!(d.state(), State::Established);
    // Not with the next time-out: when the user said.
    d.at(5_000);
    assert_eq!(d.state(), State::Closed);
    d.host.wire.sent.clear();
}

/// RFC 6298 §5.1: the timer starts with the first segment, and another does not move it.
#[test]
fn the_timer_starts_with_the_first_segment() {
    let mut d = Drill::in_flight("<mss 1000>", 1);
    d.at(200);
    d.write(1001, 1000).unwrap();
    d.expect("P. 1001:2001(1000)");
    d.at(299);
    d.silent();
    d.at(300);
    d.expect_all(&[". 1:1001(1000)"]);
}

/// RFC 6298 §5.3: an ACK of new data starts it anew; a duplicate does not.
#[test]
fn an_ack_of_new_data_starts_it_anew() {
    let mut d = Drill::in_flight("<mss 1000>", 5);
    d.at(100);
    d.inject(". 1:1(0) ack 1001");
    let rto = d.host.tcb().info().rto.as_millis() as u64 + 1;
    d.at(200);
    d.inject(". 1:1(0) ack 1001");
    d.at(100 + rto - 2);
    d.silent();
    d.at(100 + rto);
    d.expect_all(&[". 1001:2001(1000)"]);
}

/// RFC 6298 §5.2: when all is acknowledged it is off.
#[test]
fn when_all_is_acknowledged_it_is_off() {
    for options in ["<mss 1000>", "<mss 1000,sackOK>"] {
        let mut d = Drill::in_flight(options, 5);
        d.at(100);
        d.inject(". 1:1(0) ack 5001");
        d.at(100_000);
        d.silent();
        assert_eq!(d.host.tcb().next_deadline(), crate::time::Instant::NEVER);
    }
}

/// RFC 6298 §5.3, as RFC 7765 §4 means it: after a probe, or when reordering has had its time, the time-out counts
/// from when the oldest segment was sent, not from then.
#[test]
fn what_else_the_timer_was_for_does_not_put_the_time_out_off() {
    let mut d = Drill::in_flight("<mss 1000,sackOK>", 3);
    d.at(100);
    d.inject(". 1:1(0) ack 1 <sack 1001:2001>");
    d.at(120);
    d.inject(". 1:1(0) ack 1001 <sack 1001:1001>");
    let rto = d.host.tcb().info().rto;
    let deadline = d.host.tcb().next_deadline();
    assert!(deadline <= d.host.now + rto, "{rto:?}");
    d.host.wire.sent.clear();
}
