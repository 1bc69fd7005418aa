//! RFC 6582: NewReno, for peers without SACK.

use super::drill::Drill;

/// RFC 6582 §3.2, steps 2 and 3; RFC 3042 §2; RFC 5681 §3.2.
#[test]
fn three_duplicate_acks_without_sack() {
    let mut d = Drill::in_flight("<mss 1000>", 10);
    d.write(10_001, 5000).unwrap();
    d.silent();
    d.inject(". 1:1(0) ack 1");
    d.expect_all(&[". 10001:11001(1000)"]);
    d.inject(". 1:1(0) ack 1");
    d.expect_all(&[". 11001:12001(1000)"]);
    d.inject(". 1:1(0) ack 1");
    d.expect_all(&[". 1:1001(1000)"]);
    assert_eq!(d.host.stats.tcp_reno_recovery, 1);
    // A partial ACK: the hole at its end goes out at once (RFC 6582 §3.2, step 3).
    d.inject(". 1:1(0) ack 3001");
    let seg = d.expect(". 3001:4001(1000)");
    assert_eq!(seg.len, 1000);
    d.host.wire.sent.clear();
    d.inject(". 1:1(0) ack 12001");
    assert_eq!(d.host.tcb().info().cwnd, d.host.tcb().info().ssthresh);
    d.host.wire.sent.clear();
}

/// RFC 6582 §3.2, step 3: each partial ACK names the next hole; the full one ends the recovery at ssthresh.
/// RFC 6582 §4
#[test]
fn one_hole_a_round_trip() {
    let mut d = Drill::in_flight("<mss 1000>", 10);
    d.at(100);
    for _ in 0..3 {
        d.inject(". 1:1(0) ack 1");
    }
    d.expect_all(&[". 1:1001(1000)"]);
    for hole in [3001, 5001, 7001] {
        d.inject(&format!(". 1:1(0) ack {hole}"));
        d.expect_all(&[&format!(". {hole}:{}(1000)", hole + 1000)]);
    }
    d.inject(". 1:1(0) ack 10001");
    let info = d.host.tcb().info();
    assert_eq!((info.cwnd, info.ssthresh, d.host.stats.tcp_reno_recovery), (7000, 7000, 1));
}

/// RFC 6582 §3.2, step 1: duplicates that a time-out's retransmissions cause begin no recovery.
/// RFC 6582 §4.1
#[test]
fn echoes_of_a_time_out_begin_nothing() {
    let mut d = Drill::in_flight("<mss 1000>", 10);
    d.at(300);
    d.expect_all(&[". 1:1001(1000)"]);
    d.inject(". 1:1(0) ack 2001");
    d.host.wire.sent.clear();
    for _ in 0..4 {
        d.inject(". 1:1(0) ack 2001");
    }
    assert_eq!(d.host.stats.tcp_reno_recovery, 0);
    d.host.wire.sent.clear();
}

/// RFC 6582 §3.2, RFC 5681 §2: an ACK with data, or with another window, is not a duplicate.
#[test]
fn what_is_no_duplicate() {
    let mut d = Drill::in_flight("<mss 1000>", 10);
    for n in 0..5 {
        d.inject(&format!(". {}:{}(100) ack 1", n * 100 + 1, n * 100 + 101));
        d.inject(&format!(". {0}:{0}(0) ack 1 win {1}", n * 100 + 101, 19_000 - n));
    }
    assert_eq!((d.host.stats.tcp_retransmits, d.host.stats.tcp_reno_recovery), (0, 0));
    d.host.wire.sent.clear();
}
