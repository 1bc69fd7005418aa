//! RFC 3168: explicit congestion notification in TCP, §6.1.

use super::drill::Drill;
use crate::tcp::State;
use crate::types::Ecn;

const SACK: &str = "<mss 1000,sackOK>";

/// Ten segments in flight at 0 ms, ECN agreed.
fn in_flight(segments: u32) -> Drill {
    let mut d = Drill::with_ecn(SACK);
    d.write(1, segments * 1000).unwrap();
    assert_eq!(d.host.wire.ecn, Ecn::Ect0);
    d.host.wire.sent.clear();
    d
}

/// RFC 3168 §6.1.1: who is asked takes part; the SYN-ACK says so with ECE alone and is not ECN-capable itself.
#[test]
fn an_offer_is_accepted() {
    let mut d = Drill::new();
    d.inject("SEW 0:0(0) win 20000 <mss 1000>");
    d.expect("S.E 0:0(0) ack 1");
    assert_eq!(d.host.wire.ecn, Ecn::NotEct);
    // RFC 3168 §6.1.1: the SYN-ACK that is sent again says the same.
    d.at(1000);
    d.expect("S.E 0:0(0) ack 1");
    d.inject(". 1:1(0) ack 1");
    assert!(d.host.tcb().info().ecn);
}

/// RFC 3168 §6.1.1: only a SYN with both bits asks.
#[test]
fn what_is_no_offer() {
    for syn in ["S", "SE", "SW"] {
        let mut d = Drill::new();
        d.inject(&format!("{syn} 0:0(0) win 20000 <mss 1000>"));
        d.expect("S. 0:0(0) ack 1");
        d.inject(". 1:1(0) ack 1");
        d.write(1, 100).unwrap();
        d.expect("P. 1:101(100)");
        assert_eq!((d.host.wire.ecn, d.host.tcb().info().ecn), (Ecn::NotEct, false), "{syn}");
        d.inject_marked(Ecn::Ce, "P. 1:101(100) ack 101");
        d.at(100);
        d.expect_all(&[". 101:101(0) ack 101"]);
    }
}

/// RFC 3168 §6.1.1: no host sets ECT on a SYN; one that has it is not believed (as Linux; RFC 8311 §4.3 lets
/// experiments do so).
#[test]
fn an_offer_that_is_marked_is_refused() {
    let mut d = Drill::new();
    d.inject_marked(Ecn::Ect0, "SEW 0:0(0) win 20000 <mss 1000>");
    d.expect("S. 0:0(0) ack 1");
    d.inject(". 1:1(0) ack 1");
    assert!(!d.host.tcb().info().ecn);
}

/// RFC 3168 §6.1.1; net.ipv4.tcp_ecn = 0, 1 and 2.
#[test]
fn the_setting_decides_who_asks_and_who_answers() {
    for (mode, syn, syn_ack) in [(0, "S", "S."), (1, "SEW", "S.E"), (2, "S", "S.E")] {
        let mut d = Drill::new();
        d.host.config.ecn = mode;
        d.inject("SEW 0:0(0) win 20000 <mss 1000>");
        d.expect(&format!("{syn_ack} 0:0(0) ack 1"));
        let mut d = Drill::new();
        d.host.config.ecn = mode;
        d.host.connect().unwrap();
        d.expect(&format!("{syn} 0:0(0)"));
        assert_eq!(d.host.wire.ecn, Ecn::NotEct);
    }
}

/// RFC 3168 §6.1.1: a SYN-ACK with ECE alone agrees; with both bits it is a mirror, with none a refusal.
#[test]
fn what_a_syn_ack_says() {
    for (syn_ack, agreed) in [("S.E", true), ("S.EW", false), ("S.", false), ("S.W", false)] {
        let mut d = Drill::new();
        d.host.config.ecn = 1;
        d.host.connect().unwrap();
        d.expect("SEW 0:0(0)");
        d.inject(&format!("{syn_ack} 0:0(0) ack 1 <mss 1000>"));
        d.expect(". 1:1(0) ack 1");
        assert_eq!(d.host.wire.ecn, Ecn::NotEct);
        d.write(1, 100).unwrap();
        d.expect("P. 1:101(100)");
        assert_eq!(d.host.tcb().info().ecn, agreed, "{syn_ack}");
        assert_eq!(d.host.wire.ecn == Ecn::Ect0, agreed, "{syn_ack}");
    }
}

/// RFC 3168 §6.1.1.1: a SYN that is not answered is sent again without the offer; then nothing is agreed.
#[test]
fn an_offer_that_is_not_answered_is_not_repeated() {
    let mut d = Drill::new();
    d.host.config.ecn = 1;
    d.host.connect().unwrap();
    d.expect("SEW 0:0(0)");
    d.at(1001);
    d.expect("S 0:0(0)");
    d.inject("S.E 0:0(0) ack 1 <mss 1000>");
    assert_eq!((d.state(), d.host.tcb().info().ecn), (State::Established, false));
    d.host.wire.sent.clear();
}

/// RFC 3168 §6.1.1: both ends open at once and both ask.
#[test]
fn a_simultaneous_offer() {
    let mut d = Drill::new();
    d.host.config.ecn = 1;
    d.host.connect().unwrap();
    d.expect("SEW 0:0(0)");
    d.inject("SEW 0:0(0) win 20000 <mss 1000>");
    d.expect("S.E 0:0(0) ack 1");
    d.inject(". 1:1(0) ack 1");
    assert!(d.host.tcb().info().ecn);
}

/// RFC 3168 §6.1.4, §6.1.5: data is ECN-capable; pure ACKs, retransmissions, probes and FINs alone are not.
#[test]
fn only_new_data_is_capable() {
    let mut d = in_flight(10);
    d.inject_marked(Ecn::Ect0, "P. 1:101(100) ack 1");
    d.at(40);
    d.expect_all(&[". 10001:10001(0) ack 101"]);
    assert_eq!(d.host.wire.ecn, Ecn::NotEct);
    d.at(100);
    d.inject(". 101:101(0) ack 1 <sack 1001:4001>");
    d.expect_all(&[". 1:1001(1000)"]);
    assert_eq!(d.host.wire.ecn, Ecn::NotEct);
    d.at(150);
    d.inject(". 101:101(0) ack 10001");
    d.shutdown();
    d.expect_all(&["F. 10001:10001(0)"]);
    assert_eq!(d.host.wire.ecn, Ecn::NotEct);
}

/// RFC 3168 §6.1.6: a probe of a shut window is not ECN-capable.
#[test]
fn a_window_probe_is_not_capable() {
    let mut d = Drill::with_ecn(SACK);
    d.write(1, 1000).unwrap();
    d.expect("P. 1:1001(1000)");
    d.inject(". 1:1(0) ack 1001 win 0");
    d.write(1001, 1000).unwrap();
    d.at(1000);
    d.expect(". 1000:1000(0)");
    assert_eq!(d.host.wire.ecn, Ecn::NotEct);
    d.host.wire.sent.clear();
}

/// RFC 3168 §6.1.3: a mark is echoed at once, and in every ACK until CWR comes.
#[test]
fn a_mark_is_echoed_until_cwr() {
    let mut d = Drill::with_ecn(SACK);
    d.inject_marked(Ecn::Ect0, "P. 1:101(100) ack 1");
    d.at(40);
    d.expect_all(&[". 1:1(0) ack 101"]);
    d.inject_marked(Ecn::Ce, "P. 101:201(100) ack 1");
    d.expect_all(&[".E 1:1(0) ack 201"]);
    d.inject_marked(Ecn::Ect0, "P. 201:301(100) ack 1");
    d.at(80);
    d.expect_all(&[".E 1:1(0) ack 301"]);
    // On data as well.
    d.write(1, 100).unwrap();
    d.expect_all(&["P.E 1:101(100) ack 301"]);
    d.inject_marked(Ecn::Ect0, "P.W 301:401(100) ack 101");
    d.expect_all(&[". 101:101(0) ack 401"]);
    assert_eq!((d.host.stats.tcp_ce_in, d.host.tcb().info().ecn_seen), (1, true));
}

/// RFC 3168 §6.1.3: with CWR and CE in one segment the mark is newer.
#[test]
fn a_mark_beside_cwr_is_echoed() {
    let mut d = Drill::with_ecn(SACK);
    d.inject_marked(Ecn::Ce, "P. 1:101(100) ack 1");
    d.expect_all(&[".E 1:1(0) ack 101"]);
    d.inject_marked(Ecn::Ce, "P.W 101:201(100) ack 1");
    d.expect_all(&[".E 1:1(0) ack 201"]);
}

/// RFC 3168 §6.1.5: a mark on data outside the window, or known already, is ignored: anybody could send it.
#[test]
fn a_mark_on_old_data_is_ignored() {
    let mut d = Drill::with_ecn(SACK);
    d.inject_marked(Ecn::Ect0, "P. 1:101(100) ack 1");
    d.at(40);
    d.host.wire.sent.clear();
    d.inject_marked(Ecn::Ce, "P. 1:101(100) ack 1");
    d.expect_all(&[". 1:1(0) ack 101"]);
    d.inject_marked(Ecn::Ce, "P. 900001:900101(100) ack 1");
    d.expect_all(&[". 1:1(0) ack 101"]);
}

/// RFC 3168 §6.1.3: what came out of order counts.
#[test]
fn a_mark_behind_a_hole_is_echoed() {
    let mut d = Drill::with_ecn(SACK);
    d.inject_marked(Ecn::Ce, "P. 101:201(100) ack 1");
    d.expect_all(&[".E 1:1(0) ack 1 <sack 101:201>"]);
}

/// RFC 3168 §6.1.2: an echo is a congestion signal, once a round trip; nothing is sent again, and the next new data
/// says CWR. RFC 8511 §3.1: CUBIC keeps 85 %.
#[test]
fn an_echo_reduces_the_window_once_a_round_trip() {
    let mut d = in_flight(30);
    d.at(100);
    d.inject(".E 1:1(0) ack 1001");
    assert_eq!((d.host.stats.tcp_ecn_reductions, d.host.stats.tcp_retransmits), (1, 0));
    let ssthresh = d.host.tcb().info().ssthresh;
    assert_eq!(ssthresh, 8500);
    d.inject(".E 1:1(0) ack 2001");
    d.expect(".W 10001:11001(1000)");
    assert_eq!(d.host.wire.ecn, Ecn::Ect0);
    for n in 3..=10 {
        d.inject(&format!(".E 1:1(0) ack {}", n * 1000 + 1));
    }
    let flags = |bytes: &Vec<u8>| crate::wire::tcp::Segment::parse(bytes).unwrap().flags;
    assert!(d.host.wire.sent.iter().all(|bytes| !flags(bytes).has(crate::wire::tcp::Flags::CWR)), "CWR once");
    d.host.wire.sent.clear();
    assert_eq!((d.host.stats.tcp_ecn_reductions, d.host.tcb().info().ssthresh), (1, ssthresh));
    // What was sent after the reduction is acknowledged: the next echo is another.
    d.at(200);
    let nxt = d.host.tcb().snd.nxt - d.host.tcb().snd.iss;
    d.inject(&format!(". 1:1(0) ack {}", 11_001));
    assert_eq!(d.host.tcb().info().cwnd, ssthresh);
    d.inject(&format!(".E 1:1(0) ack {nxt}"));
    assert_eq!(d.host.stats.tcp_ecn_reductions, 2);
    d.host.wire.sent.clear();
}

/// RFC 3168 §6.1.2, RFC 9937 §6: the flight shrinks in proportion to what arrives.
#[test]
fn a_reduction_is_spread_over_a_round_trip() {
    let mut d = in_flight(30);
    d.at(100);
    let mut sent = 0;
    for n in 1..=10 {
        d.inject(&format!(".E 1:1(0) ack {}", n * 1000 + 1));
        sent += d.host.wire.sent.len();
        assert!(d.host.tcb().info().in_flight >= 8000, "{n}");
        d.host.wire.sent.clear();
    }
    assert!((8..=9).contains(&sent), "{sent}");
}

/// RFC 3168 §6.1.2: a loss in the same window is not another reduction, nor an echo in a recovery.
#[test]
fn a_loss_and_a_mark_in_one_window_are_one_reduction() {
    let mut d = in_flight(10);
    d.at(100);
    d.inject(".E 1:1(0) ack 1001");
    let ssthresh = d.host.tcb().info().ssthresh;
    d.inject(".E 1:1(0) ack 1001 <sack 2001:5001>");
    d.expect(". 1001:2001(1000)");
    assert_eq!((d.host.stats.tcp_sack_recovery, d.host.tcb().info().ssthresh), (1, ssthresh));
    let mut d = in_flight(10);
    d.at(100);
    d.inject(".E 1:1(0) ack 1 <sack 1001:4001>");
    d.expect(". 1:1001(1000)");
    d.inject(".E 1:1(0) ack 1 <sack 1001:5001>");
    assert_eq!((d.host.stats.tcp_ecn_reductions, d.host.tcb().info().ssthresh), (0, 7000));
    d.host.wire.sent.clear();
}

/// RFC 3168 §6.1.2: "the sender sets the CWR flag in the first new data packet sent after the window reduction", for
/// whatever reason the window was reduced.
#[test]
fn a_loss_is_told_by_cwr_too() {
    let mut d = in_flight(12);
    d.at(100);
    d.inject(". 1:1(0) ack 1 <sack 1001:4001>");
    d.expect_all(&[". 1:1001(1000)"]);
    d.at(200);
    d.inject(". 1:1(0) ack 10001");
    d.expect_all(&[".W 10001:11001(1000)", "P. 11001:12001(1000)"]);
}

/// RFC 3168 §6.1.2, RFC 4015: a reduction for a mark is not undone by what shows that a retransmission was needless.
#[test]
fn a_mark_is_never_spurious() {
    let mut d = in_flight(10);
    d.at(100);
    d.inject(".E 1:1(0) ack 1001");
    d.inject(". 1:1(0) ack 1001 <sack 2001:5001>");
    d.expect(". 1001:2001(1000)");
    d.at(110);
    d.inject(". 1:1(0) ack 5001 <sack 1001:2001>");
    assert_eq!((d.host.stats.tcp_dsack_undo, d.host.tcb().info().ssthresh), (1, 8500));
    d.host.wire.sent.clear();
}

/// RFC 3168 §6.1.2: an echo when no new data is in flight, and one that is not agreed on, change nothing.
#[test]
fn an_echo_without_agreement_is_nothing() {
    let mut d = Drill::in_flight(SACK, 10);
    d.at(100);
    d.inject(".E 1:1(0) ack 1001");
    assert_eq!((d.host.stats.tcp_ecn_reductions, d.host.tcb().info().ssthresh), (0, u32::MAX));
}

/// RFC 9937 §6: a loss found while the window is reduced for a mark goes on with that reduction: what it let out
/// already is not let out again.
#[test]
fn a_loss_goes_on_with_the_reduction_for_a_mark() {
    let mut d = in_flight(30);
    d.at(100);
    let mut sent = 0;
    for n in 1..=4 {
        d.inject(&format!(".E 1:1(0) ack {}", n * 1000 + 1));
        sent += d.host.wire.sent.len();
        d.host.wire.sent.clear();
    }
    assert_eq!(sent, 2);
    // 5001 is lost and three more arrived: eight in all since the mark, so six may go out beside these two; by 8.5
    // in flight five may.
    d.inject(".E 1:1(0) ack 5001 <sack 6001:9001>");
    d.expect(". 5001:6001(1000)");
    sent += 1 + d.host.wire.sent.len();
    d.host.wire.sent.clear();
    assert_eq!(sent, 7);
}
