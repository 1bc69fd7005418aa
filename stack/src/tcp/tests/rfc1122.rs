//! Acknowledgments that wait: RFC 1122 §4.2.3.2, RFC 9293 §3.8.6.3 (MUST-58, MUST-59), RFC 5681 §4.2; TCP_QUICKACK
//! as Linux has it; and what TCP_INFO counts (RFC 4898).

use super::drill::Drill;
use crate::tcp::call;

/// The eager acknowledgments of a stream that begins are used up.
fn settled() -> (Drill, u32) {
    let mut d = Drill::established();
    let mut at = 1;
    for _ in 0..20 {
        d.inject(&format!(". {at}:{}(1000) ack 1", at + 1000));
        at += 1000;
    }
    d.at(500);
    d.read(1, at - 1);
    d.host.wire.sent.clear();
    (d, at)
}

/// RFC 9293 MUST-59: under half a second; Linux: 40 ms.
#[test]
fn a_single_segment_waits_for_company_but_not_for_long() {
    let (mut d, at) = settled();
    d.inject(&format!(". {at}:{}(1000) ack 1", at + 1000));
    d.silent();
    d.at(539);
    d.silent();
    d.at(540);
    d.expect_all(&[&format!(". 1:1(0) ack {}", at + 1000)]);
}

/// RFC 9293 MUST-58: at least every second full segment.
#[test]
fn the_second_full_segment_is_acknowledged_at_once() {
    let (mut d, at) = settled();
    d.inject(&format!(". {at}:{}(1000) ack 1", at + 1000));
    d.silent();
    d.inject(&format!(". {}:{}(1000) ack 1", at + 1000, at + 2000));
    d.expect_all(&[&format!(". 1:1(0) ack {}", at + 2000)]);
}

/// RFC 1122 §4.2.3.2: an answer carries it.
#[test]
fn an_answer_carries_the_acknowledgment_and_the_timer_is_off() {
    let (mut d, at) = settled();
    d.inject(&format!("P. {at}:{}(100) ack 1", at + 100));
    d.silent();
    d.write(1, 50).unwrap();
    d.expect_all(&[&format!("P. 1:51(50) ack {}", at + 100)]);
    d.inject(&format!(". {}:{}(0) ack 51", at + 100, at + 100));
    d.at(2000);
    d.silent();
}

/// RFC 5681 §2, §4.2, RFC 2018 §4: an ACK with data is no duplicate, and beside a full segment there is no room for SACK blocks.
/// So what came from behind a hole is told by itself, even when data goes out at the same moment.
#[test]
fn data_that_goes_out_does_not_hide_a_hole() {
    for (options, blocks) in [("<mss 1000>", "<nothing>"), ("<mss 1000,sackOK>", "<sack 101:201>")] {
        let mut d = Drill::in_flight(options, 13);
        d.at(100);
        d.inject(". 101:201(100) ack 1001");
        d.expect(&format!(". 10001:10001(0) ack 1 {blocks}"));
        d.expect_all(&[". 10001:11001(1000) ack 1", ". 11001:12001(1000) ack 1"]);
        // What fills the hole is no news of one.
        d.inject(". 1:101(100) ack 2001");
        d.expect_all(&["P. 12001:13001(1000) ack 201"]);
    }
}

/// RFC 9293 §3.10.7.4: what is out of order, or fills a hole, is acknowledged at once (RFC 5681 §4.2).
#[test]
fn holes_are_told_of_at_once() {
    let (mut d, at) = settled();
    d.inject(&format!("P. {}:{}(100) ack 1", at + 100, at + 200));
    d.expect_all(&[&format!(". 1:1(0) ack {at}")]);
    d.inject(&format!("P. {at}:{}(100) ack 1", at + 100));
    d.expect_all(&[&format!(". 1:1(0) ack {}", at + 200)]);
}

#[test]
fn quickack_sends_what_waits_and_hurries_until_an_answer() {
    let (mut d, at) = settled();
    d.inject(&format!("P. {at}:{}(100) ack 1", at + 100));
    d.silent();
    d.host.with(|tcb, env| call::quick_ack(tcb, 1, env));
    d.expect_all(&[&format!(". 1:1(0) ack {}", at + 100)]);
    assert!(d.host.tcb().is_quick());
    d.inject(&format!("P. {}:{}(100) ack 1", at + 100, at + 200));
    d.expect_all(&[&format!(". 1:1(0) ack {}", at + 200)]);
    d.write(1, 10).unwrap();
    d.expect(&format!("P. 1:11(10) ack {}", at + 200));
    assert!(!d.host.tcb().is_quick());
    d.inject(&format!("P. {}:{}(100) ack 11", at + 200, at + 300));
    d.silent();
    d.host.wire.sent.clear();
}

#[test]
fn quickack_with_an_even_value_is_for_once_and_zero_waits_for_answers() {
    let (mut d, at) = settled();
    d.host.with(|tcb, env| call::quick_ack(tcb, 0, env));
    assert!(!d.host.tcb().is_quick());
    d.inject(&format!("P. {at}:{}(100) ack 1", at + 100));
    d.silent();
    d.host.with(|tcb, env| call::quick_ack(tcb, 2, env));
    d.expect_all(&[&format!(". 1:1(0) ack {}", at + 100)]);
    assert!(!d.host.tcb().is_quick());
    d.host.with(|tcb, env| call::quick_ack(tcb, 2, env));
    assert!(d.host.tcb().is_quick(), "nothing waited: it is as with one");
}

/// TCP_LINGER2: an orphan in FIN-WAIT-2 goes after that time, or at once.
#[test]
fn an_orphan_waits_for_the_peer_s_fin_as_long_as_was_said() {
    for (seconds, gone_at) in [(7, 7_000), (0, 60_000)] {
        let mut d = Drill::new();
        d.host.options.linger2 = seconds;
        d.accept("<mss 1000>");
        d.close();
        d.expect("F. 1:1(0) ack 1");
        d.inject(". 1:1(0) ack 2");
        d.at(gone_at - 1);
        assert_eq!(d.state(), crate::tcp::State::FinWait2, "{seconds}");
        d.at(gone_at + 1);
        assert_eq!(d.state(), crate::tcp::State::Closed, "{seconds}");
        d.silent();
    }
    let mut d = Drill::new();
    d.host.options.linger2 = -1;
    d.accept("<mss 1000>");
    d.close();
    d.expect("F. 1:1(0) ack 1");
    d.inject(". 1:1(0) ack 2");
    d.expect_all(&["R. 2:2(0) ack 1"]);
    assert_eq!(d.state(), crate::tcp::State::Closed);
}

/// TCP_NOTSENT_LOWAT: no more is taken than can nearly be sent.
#[test]
fn little_is_left_unsent_when_that_was_asked() {
    let mut d = Drill::new();
    d.host.options.not_sent_low_water = 2000;
    d.accept("<mss 1000>");
    let taken = d.write(1, 100_000).unwrap() as u32;
    let sent = d.host.wire.sent.len() as u32 * 1000;
    assert_eq!(taken, sent + 2000, "the initial window and the mark");
    assert!(!d.host.tcb().readiness().contains(crate::types::Readiness::OUT));
    d.host.wire.sent.clear();
    d.inject(&format!(". 1:1(0) ack {}", sent + 1));
    assert!(d.wakes().contains(crate::types::Readiness::OUT));
    assert!(d.host.tcb().unsent() < 1000);
    d.host.wire.sent.clear();
}

/// RFC 4898: counts of one connection.
#[test]
fn what_tcp_info_counts() {
    let mut d = Drill::established();
    d.host.with(|tcb, _| tcb.keep_account());
    d.write(1, 2500).unwrap();
    d.host.wire.sent.clear();
    d.inject(". 1:1001(1000) ack 1001");
    d.inject(". 2001:3001(1000) ack 1001");
    let now = d.host.now;
    let told = d.host.tcb().account(now);
    assert_eq!((told.bytes_acked, told.bytes_received, told.unsent), (1000, 1000, 0));
    assert_eq!((told.bytes_sent, told.bytes_retrans), (2500, 0));
    assert_eq!((told.data_segs_out, told.data_segs_in, told.out_of_order), (3, 2, 1));
    assert_eq!((told.unacked, told.delivered), (2, 2));
    d.at(1500);
    let again = d.host.tcb().account(d.host.now);
    assert!(again.bytes_retrans >= 1000 && again.bytes_sent == 2500 + again.bytes_retrans);
    assert!(again.times[0] >= 1_400_000, "busy for {} µs", again.times[0]);
    assert_eq!(again.times[1], 0);
    d.host.wire.sent.clear();
    d.inject(". 3001:3001(0) ack 2501 win 0");
    d.write(2501, 500).unwrap();
    d.at(2500);
    let shut = d.host.tcb().account(d.host.now);
    assert!(shut.times[1] >= 900_000, "held by the peer's window for {} µs", shut.times[1]);
    d.host.wire.sent.clear();
}
