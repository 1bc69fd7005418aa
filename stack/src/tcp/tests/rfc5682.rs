//! RFC 5682: F-RTO, in the SACK-enhanced form of §3.1, which Linux uses without SACK too.

use super::drill::Drill;

const PLAIN: &str = "<mss 1000>";
const SACK: &str = "<mss 1000,sackOK>";

/// Ten segments in flight at 0 ms and four more to send; the RTO has come.
fn timed_out(options: &str) -> Drill {
    let mut d = Drill::in_flight(options, 14);
    d.at(502);
    d.host.wire.sent.clear();
    assert!(d.host.stats.tcp_timeouts >= 1);
    d
}

/// RFC 5682 §3.1, steps 2b and 3b: new data goes out first; an original that is acknowledged then was only late.
#[test]
fn a_late_original_makes_the_time_out_spurious() {
    let mut d = timed_out(PLAIN);
    assert_eq!(d.host.tcb().info().cwnd, 1000);
    d.inject(". 1:1(0) ack 1001");
    d.expect_all(&[". 10001:11001(1000)", ". 11001:12001(1000)"]);
    d.inject(". 1:1(0) ack 2001");
    let info = d.host.tcb().info();
    assert_eq!((d.host.stats.tcp_spurious_rtos, d.host.stats.tcp_loss_undo), (1, 1));
    assert_eq!((info.ssthresh, info.in_flight), (u32::MAX, info.cwnd));
    assert!(info.cwnd >= 10_000);
    // Nothing but the first segment was ever sent again; RFC 4015 §3: and nothing will be.
    d.inject(". 1:1(0) ack 10001");
    assert_eq!(d.host.stats.tcp_retransmits, d.host.stats.tcp_timeouts);
    d.host.wire.sent.clear();
}

/// RFC 5682 §3.1, step 3b: SACK tells of it too.
#[test]
fn a_sacked_original_makes_the_time_out_spurious() {
    let mut d = timed_out(SACK);
    d.inject(". 1:1(0) ack 1001");
    d.expect_all(&[". 11001:12001(1000)", ". 12001:13001(1000)"]);
    d.inject(". 1:1(0) ack 1001 <sack 2001:3001>");
    assert_eq!(d.host.stats.tcp_spurious_rtos, 1);
    assert_eq!(d.host.tcb().info().ssthresh, u32::MAX);
    d.host.wire.sent.clear();
}

/// RFC 5682 §3.1, step 3b: the first ACK may cover originals already.
#[test]
fn the_first_ack_may_tell_already() {
    let mut d = timed_out(PLAIN);
    d.inject(". 1:1(0) ack 3001");
    assert_eq!(d.host.stats.tcp_spurious_rtos, 1);
    d.host.wire.sent.clear();
}

/// RFC 5682 §3.1, step 3a: the new data made duplicates, so the old is missing.
#[test]
fn a_duplicate_after_new_data_makes_the_loss_real() {
    for (options, dup) in [(PLAIN, ". 1:1(0) ack 1001"), (SACK, ". 1:1(0) ack 1001 <sack 11001:12001>")] {
        let mut d = timed_out(options);
        d.inject(". 1:1(0) ack 1001");
        assert_eq!(d.host.wire.sent.len(), 2);
        d.host.wire.sent.clear();
        d.inject(dup);
        d.expect(". 1001:2001(1000)");
        assert_eq!((d.host.stats.tcp_spurious_rtos, d.host.stats.spurious()), (0, 0));
        assert!(d.host.tcb().info().ssthresh < 10_000);
        d.host.wire.sent.clear();
    }
}

/// RFC 5682 §3.1, step 2a: an ACK of nothing new, or of all, is for the conventional recovery.
#[test]
fn a_duplicate_first_is_conventional() {
    let mut d = timed_out(PLAIN);
    d.inject(". 1:1(0) ack 1");
    d.silent();
    d.inject(". 1:1(0) ack 1001");
    d.expect_all(&[". 10001:11001(1000)", ". 11001:12001(1000)"]);
}

/// RFC 5682 §3.1, step 2b: without new data the missing is sent.
#[test]
fn with_nothing_new_to_send_recovery_goes_on() {
    let mut d = Drill::in_flight(PLAIN, 10);
    d.at(300);
    d.expect_all(&[". 1:1001(1000)"]);
    d.inject(". 1:1(0) ack 1001");
    d.expect_all(&[". 1001:2001(1000)", ". 2001:3001(1000)"]);
}

/// RFC 5682 §3.1, step 2b: nor when the peer's window takes no more.
#[test]
fn with_no_window_recovery_goes_on() {
    let mut d = timed_out(PLAIN);
    d.inject(". 1:1(0) ack 1001 win 9000");
    d.expect_all(&[". 1001:2001(1000)", ". 2001:3001(1000)"]);
}

/// RFC 5682 §3.1, step 1: not when a fast recovery was under way, whose copies would be taken for originals.
#[test]
fn not_after_a_fast_recovery() {
    let mut d = Drill::in_flight(PLAIN, 14);
    d.at(100);
    for _ in 0..3 {
        d.inject(". 1:1(0) ack 1");
    }
    d.host.wire.sent.clear();
    d.at(400);
    d.expect_all(&[". 1:1001(1000)"]);
    d.inject(". 1:1(0) ack 1001");
    d.expect(". 1001:2001(1000)");
    d.host.wire.sent.clear();
    d.inject(". 1:1(0) ack 3001");
    assert_eq!(d.host.stats.tcp_spurious_rtos, 0);
    d.host.wire.sent.clear();
}

/// RFC 5682 §3.1: application data that comes between is new data too; what is missing waits for the ACK.
#[test]
fn data_written_meanwhile_is_new_too() {
    let mut d = timed_out(PLAIN);
    d.inject(". 1:1(0) ack 1001");
    d.host.wire.sent.clear();
    d.write(14_001, 1000).unwrap();
    d.silent();
    d.inject(". 1:1(0) ack 2001");
    assert_eq!(d.host.stats.tcp_spurious_rtos, 1);
    d.host.wire.sent.clear();
}
