//! RFC 6675: the scoreboard and recovery with SACK. Losses are found by RFC 8985.

use super::drill::Drill;

const SACK: &str = "<mss 1000,sackOK>";

/// RFC 6675 §4 (SetPipe, NextSeg) and §5: each hole once, the lowest first, new data after that.
#[test]
fn holes_are_sent_again_lowest_first() {
    let mut d = Drill::in_flight(SACK, 12);
    d.at(100);
    d.inject(". 1:1(0) ack 1 <sack 6001:10001>");
    // Six lost, four arrived; RFC 9937: no more than arrived may go out.
    d.expect_all(&[". 1:1001(1000)", ". 1001:2001(1000)", ". 2001:3001(1000)", ". 3001:4001(1000)"]);
    assert_eq!(d.host.tcb().info().in_flight, 4000);
    d.at(200);
    d.inject(". 1:1(0) ack 1001 <sack 6001:10001>");
    d.expect_all(&[". 4001:5001(1000)", ". 5001:6001(1000)"]);
    d.inject(". 1:1(0) ack 2001 <sack 6001:10001>");
    d.expect_all(&[". 10001:11001(1000)", "P. 11001:12001(1000)"]);
    d.inject(". 1:1(0) ack 12001");
    assert_eq!((d.host.stats.tcp_retransmits, d.host.stats.tcp_sack_recovery), (6, 1));
}

/// RFC 6675 §5: the recovery ends when all that was sent before it is acknowledged, and not before.
#[test]
fn a_recovery_ends_at_its_point() {
    let mut d = Drill::in_flight(SACK, 12);
    d.at(100);
    d.inject(". 1:1(0) ack 1 <sack 1001:4001>");
    d.expect_all(&[". 1:1001(1000)"]);
    d.at(200);
    d.inject(". 1:1(0) ack 9001");
    assert_eq!(d.host.tcb().info().ssthresh, 7000);
    // Another loss in the same window is not another reduction.
    d.inject(". 1:1(0) ack 9001 <sack 10001:11001>");
    assert_eq!((d.host.stats.tcp_sack_recovery, d.host.tcb().info().ssthresh), (1, 7000));
    d.inject(". 1:1(0) ack 12001");
    assert_eq!(d.host.tcb().info().cwnd, 7000);
    d.host.wire.sent.clear();
}

/// RFC 6675 §2: a duplicate ACK is one that SACKs what was not SACKed before.
#[test]
fn a_repeated_block_is_no_news() {
    let mut d = Drill::in_flight(SACK, 10);
    d.at(100);
    for _ in 0..5 {
        d.inject(". 1:1(0) ack 1 <sack 1001:2001>");
    }
    d.silent();
    assert_eq!(d.host.tcb().info().in_flight, 9000);
}

/// RFC 6675 §5.1: after a time-out only what is missing is sent again.
#[test]
fn after_a_time_out_only_what_is_missing_is_sent_again() {
    let mut d = Drill::in_flight(SACK, 10);
    d.at(100);
    d.inject(". 1:1(0) ack 1 <sack 3001:5001>");
    d.at(125);
    d.expect_all(&[". 1:1001(1000)"]);
    d.at(425);
    d.expect_all(&[". 1:1001(1000)"]);
    assert_eq!(d.host.stats.tcp_timeouts, 1);
    d.at(525);
    d.inject(". 1:1(0) ack 1001 <sack 3001:5001>");
    d.expect_all(&[". 1001:2001(1000)", ". 2001:3001(1000)"]);
    d.at(625);
    d.inject(". 1:1(0) ack 5001");
    d.expect(". 5001:6001(1000)");
    d.host.wire.sent.clear();
}
