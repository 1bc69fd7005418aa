//! RFC 4015, with the detection of RFC 3522 (Eifel) and RFC 3708 (D-SACK): recoveries that were not needed are
//! undone.

use super::drill::Drill;

/// Ten segments in flight; the third to fifth overtook the first two, which are sent again.
fn overtaken(options: &str, ts: &str) -> (Drill, u32) {
    let mut d = Drill::on_a_path(options);
    d.write(1, 10_000).unwrap();
    assert_eq!(d.host.wire.sent.len(), 10);
    let val = d.expect(". 1:1001(1000)").options.timestamps.map_or(0, |ts| ts.val);
    d.host.wire.sent.clear();
    d.at(100);
    d.inject(&format!(". 1:1(0) ack 1 <sack 2001:5001{ts}>"));
    d.expect_all(&[". 1:1001(1000)", ". 1001:2001(1000)"]);
    assert!(d.host.tcb().info().cwnd < 10_000);
    (d, val)
}

/// RFC 3522 §3.2, RFC 4015 §3.2.
#[test]
fn an_echo_of_the_original_undoes_the_recovery() {
    let (mut d, val) = overtaken("<mss 1012,sackOK,TS 1 0>", ",TS 3 1");
    d.at(105);
    // The copies were sent at 100 ms; this answers what was sent at 0 ms.
    d.inject(&format!(". 1:1(0) ack 5001 <TS 4 {val}>"));
    let info = d.host.tcb().info();
    assert_eq!((d.host.stats.tcp_partial_undo, d.host.stats.spurious()), (1, 1));
    assert_eq!((info.ssthresh, info.in_flight), (u32::MAX, 5000));
    assert!(info.cwnd >= 10_000, "{info:?}");
    // RFC 4015 §3.3, RFC 8985 §6.2: from now on what is overtaken is given time.
    d.inject(&format!(". 1:1(0) ack 5001 <TS 5 {val},sack 6001:9001>"));
    d.silent();
}

/// RFC 3522 §3.2, step 5: when the recovery is over by then, that is undone.
#[test]
fn an_ack_of_all_that_echoes_an_original_undoes_it_too() {
    let (mut d, val) = overtaken("<mss 1012,sackOK,TS 1 0>", ",TS 3 1");
    d.at(105);
    d.inject(&format!(". 1:1(0) ack 10001 <TS 4 {val}>"));
    assert_eq!((d.host.stats.tcp_full_undo, d.host.tcb().info().ssthresh), (1, u32::MAX));
}

/// RFC 3522 §3.2, step 5.
#[test]
fn an_echo_of_the_copy_does_not() {
    let (mut d, val) = overtaken("<mss 1012,sackOK,TS 1 0>", ",TS 3 1");
    d.at(105);
    d.inject(&format!(". 1:1(0) ack 5001 <TS 4 {}>", val.wrapping_add(100)));
    assert_eq!(d.host.stats.spurious(), 0);
    assert!(d.host.tcb().info().ssthresh < 10_000);
}

/// RFC 3522 §3.2, RFC 4015 §3.1: after a time-out.
#[test]
fn an_echo_of_the_original_undoes_a_time_out() {
    let mut d = Drill::on_a_path("<mss 1012,TS 1 0>");
    d.write(1, 1000).unwrap();
    let val = d.expect("P. 1:1001(1000)").options.timestamps.unwrap().val;
    d.at(300);
    d.expect_all(&["P. 1:1001(1000)"]);
    d.at(310);
    d.inject(&format!(". 1:1(0) ack 1001 <TS 4 {val}>"));
    let info = d.host.tcb().info();
    assert_eq!((d.host.stats.tcp_loss_undo, d.host.stats.tcp_spurious_rtos), (1, 0));
    assert_eq!((info.ssthresh, info.backoff), (u32::MAX, 0));
    assert!(info.cwnd >= 10_000, "{info:?}");
}

/// RFC 3708 §3: when every copy is reported as a duplicate, none was needed.
#[test]
fn reported_duplicates_of_all_copies_undo_it_too() {
    let (mut d, _) = overtaken("<mss 1000,sackOK>", "");
    d.inject(". 1:1(0) ack 10001");
    assert!(d.host.tcb().info().ssthresh < 10_000);
    d.write(10_001, 3000).unwrap();
    d.host.wire.sent.clear();
    for n in 0..2 {
        assert_eq!(d.host.stats.spurious(), 0);
        d.inject(&format!(". 1:1(0) ack 10001 <sack {}:{}>", n * 1000 + 1, n * 1000 + 1001));
    }
    assert_eq!((d.host.stats.tcp_dsack_undo, d.host.tcb().info().ssthresh), (1, u32::MAX));
    d.host.wire.sent.clear();
}

/// RFC 3708 §3: a probe is a copy as well, whose report must not be taken for another's.
#[test]
fn the_copy_of_a_probe_has_its_own_report() {
    let mut d = Drill::in_flight("<mss 1000,sackOK>", 10);
    d.at(202);
    d.expect_all(&["P. 9001:10001(1000)"]);
    d.at(300);
    d.inject(". 1:1(0) ack 1 <sack 1001:9001>");
    d.expect_all(&[". 1:1001(1000)"]);
    d.at(310);
    d.inject(". 1:1(0) ack 1 <sack 9001:10001 1001:10001>");
    assert_eq!(d.host.stats.spurious(), 0, "the first segment may be lost all the same");
    d.at(400);
    d.inject(". 1:1(0) ack 10001");
    d.inject(". 1:1(0) ack 10001 <sack 1:1001>");
    assert_eq!(d.host.stats.tcp_dsack_undo, 1);
}
