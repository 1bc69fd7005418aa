//! RFC 8985: RACK-TLP. Ten segments are sent at 0 ms over a path of 100 ms, so the reordering window is 25 ms.

use super::drill::Drill;
use crate::ip::Unsent;
use crate::tcp::recovery::Phase;

const SACK: &str = "<mss 1000,sackOK>";

/// RFC 8985 §6.2, step 5: the segment that was overtaken is lost a round trip and a quarter after it was sent.
#[test]
fn what_was_overtaken_is_lost_when_the_reordering_window_ends() {
    let mut d = Drill::in_flight(SACK, 10);
    d.at(100);
    d.inject(". 1:1(0) ack 1 <sack 1001:2001>");
    d.at(124);
    d.silent();
    d.at(125);
    d.expect_all(&[". 1:1001(1000)"]);
    assert_eq!((d.host.stats.tcp_sack_recovery, d.host.stats.tcp_timeouts), (1, 0));
}

/// RFC 8985 §6.2, step 5: what comes within the reordering window was not lost.
#[test]
fn what_comes_late_within_the_window_is_not_sent_again() {
    let mut d = Drill::in_flight(SACK, 10);
    d.at(100);
    d.inject(". 1:1(0) ack 1 <sack 1001:2001>");
    d.at(120);
    d.inject(". 1:1(0) ack 2001");
    d.at(200);
    d.silent();
    assert_eq!(d.host.stats.tcp_sack_reorder, 1);
}

/// RFC 8985 §6.2, step 4: without reordering, three SACKed segments are as good as the time.
#[test]
fn three_sacked_segments_need_no_time() {
    let mut d = Drill::in_flight(SACK, 10);
    d.at(100);
    d.inject(". 1:1(0) ack 1 <sack 1001:2001>");
    d.inject(". 1:1(0) ack 1 <sack 1001:3001>");
    d.silent();
    d.inject(". 1:1(0) ack 1 <sack 1001:4001>");
    d.expect_all(&[". 1:1001(1000)"]);
    // In recovery, each further hole is lost as soon as it is overtaken.
    d.inject(". 1:1(0) ack 1 <sack 5001:6001 1001:4001>");
    d.expect_all(&[". 4001:5001(1000)"]);
}

/// RFC 8985 §6.2, step 4: once reordering was seen, only time counts, in a recovery too.
#[test]
fn a_path_that_reorders_is_given_time() {
    let mut d = Drill::in_flight(SACK, 10);
    d.at(100);
    d.inject(". 1:1(0) ack 1 <sack 2001:3001>");
    d.inject(". 1:1(0) ack 1 <sack 1001:3001>");
    d.inject(". 1:1(0) ack 1 <sack 1001:6001>");
    d.at(124);
    d.silent();
    d.at(125);
    d.expect_all(&[". 1:1001(1000)"]);
    d.inject(". 1:1(0) ack 1 <sack 7001:8001 1001:6001>");
    // 7001 took 125 ms; so 6001, sent with it, may take 25 ms more.
    d.at(149);
    d.silent();
    d.at(150);
    d.expect_all(&[". 6001:7001(1000)"]);
}

/// RFC 8985 §3.1 and §6.2: a retransmission that is lost is found without the timer.
#[test]
fn a_lost_retransmission_is_sent_again() {
    let mut d = Drill::in_flight(SACK, 10);
    d.write(10_001, 2000).unwrap();
    d.at(100);
    d.inject(". 1:1(0) ack 1 <sack 1001:4001>");
    d.expect_all(&[". 1:1001(1000)"]);
    d.at(105);
    d.inject(". 1:1(0) ack 1 <sack 1001:10001>");
    d.expect_all(&[". 10001:11001(1000)", "P. 11001:12001(1000)"]);
    d.at(205);
    d.inject(". 1:1(0) ack 1 <sack 1001:11001>");
    d.expect_all(&[". 1:1001(1000)"]);
    assert_eq!((d.host.stats.tcp_lost_retransmit, d.host.stats.tcp_timeouts), (1, 0));
    d.inject(". 1:1(0) ack 12001");
}

/// RFC 8985 §6.2, step 2: an arrival too soon after a retransmission is that of the original. It does not make the
/// copy the newest arrival, so what was sent before the copy is not lost by it.
#[test]
fn an_arrival_too_soon_to_be_the_copy_moves_nothing() {
    let mut d = Drill::in_flight(SACK, 4);
    d.at(100);
    d.inject(". 1:1(0) ack 1 <sack 1001:4001>");
    d.expect_all(&[". 1:1001(1000)"]);
    d.at(105);
    d.write(4001, 2000).unwrap();
    d.expect_all(&[". 4001:5001(1000)", "P. 5001:6001(1000)"]);
    d.at(110);
    d.inject(". 1:1(0) ack 4001");
    d.at(205);
    d.inject(". 1:1(0) ack 4001 <sack 5001:6001>");
    // One SACKed, no reordering: 25 ms. Had the copy counted as answered, its round trip of 10 ms had been RACK's.
    d.at(229);
    d.silent();
    d.at(230);
    d.expect_all(&[". 4001:5001(1000)"]);
}

/// RFC 8985 §6.2, step 4: a D-SACK doubles the reordering window.
#[test]
fn a_reported_duplicate_widens_the_window() {
    let mut d = Drill::in_flight(SACK, 10);
    d.at(100);
    d.inject(". 1:1(0) ack 1 <sack 1001:4001>");
    d.expect_all(&[". 1:1001(1000)"]);
    d.at(110);
    d.inject(". 1:1(0) ack 4001 <sack 1:1001>");
    assert_eq!((d.host.stats.tcp_dsack_recv, d.host.stats.tcp_dsack_undo), (1, 1));
    d.inject(". 1:1(0) ack 10001");
    d.write(10_001, 10_000).unwrap();
    d.host.wire.sent.clear();
    d.at(210);
    d.inject(". 1:1(0) ack 10001 <sack 11001:15001>");
    d.at(259);
    d.silent();
    d.at(260);
    d.expect_all(&[". 10001:11001(1000)"]);
}

/// RFC 8985 §6.3: a time-out leaves alone what was sent less than a round trip ago.
#[test]
fn a_time_out_spares_what_is_young() {
    let mut d = Drill::in_flight(SACK, 1);
    d.at(100);
    d.inject(". 1:1(0) ack 1001");
    d.write(1001, 1000).unwrap();
    d.expect("P. 1001:2001(1000)");
    // The probe, then the time-out.
    d.at(399);
    d.silent();
    let rto = d.host.tcb().info().rto.as_millis() as u64;
    let probe = 100 + rto;
    d.at(probe);
    d.expect_all(&["P. 1001:2001(1000)"]);
    d.at(probe + rto - 50);
    d.write(2001, 1000).unwrap();
    d.expect_all(&["P. 2001:3001(1000)"]);
    d.at(probe + rto);
    d.expect_all(&[". 1001:2001(1000)"]);
    assert_eq!((d.host.stats.tcp_timeouts, d.host.tcb().info().in_flight), (1, 2000));
    d.inject(". 1:1(0) ack 3001");
}

/// RFC 8985 §6.2 and RFC 5681 §4.3: a copy that a time-out sent and that is lost too is another loss, found without
/// another time-out.
#[test]
fn a_lost_copy_after_a_time_out_begins_a_recovery() {
    let mut d = Drill::in_flight(SACK, 10);
    d.at(202);
    d.expect_all(&["P. 9001:10001(1000)"]);
    d.at(502);
    d.expect_all(&[". 1:1001(1000)"]);
    d.at(602);
    d.inject(". 1:1(0) ack 1001");
    d.expect_all(&[". 1001:2001(1000)", ". 2001:3001(1000)"]);
    d.at(702);
    d.inject(". 1:1(0) ack 1001 <sack 2001:3001>");
    d.expect(". 1001:2001(1000)");
    assert_eq!((d.host.stats.tcp_lost_retransmit, d.host.stats.tcp_sack_recovery), (1, 1));
    assert_eq!((d.host.stats.tcp_timeouts, d.host.tcb().recovery.phase), (1, Phase::Fast));
    d.host.wire.sent.clear();
}

/// RFC 8985 §7.2, §7.3: after two round trips without an ACK the last segment is sent again, once.
#[test]
fn a_silent_tail_is_probed_once_before_the_time_out() {
    let mut d = Drill::in_flight(SACK, 10);
    d.at(201);
    d.silent();
    d.at(202);
    d.expect_all(&["P. 9001:10001(1000)"]);
    assert_eq!((d.host.stats.tcp_loss_probes, d.host.stats.tcp_timeouts), (1, 0));
    // RFC 8985 §7.3: the RTO counts from the probe.
    d.at(501);
    d.silent();
    d.at(502);
    d.expect_all(&[". 1:1001(1000)"]);
    assert_eq!((d.host.stats.tcp_loss_probes, d.host.stats.tcp_timeouts), (1, 1));
}

/// RFC 8985 §7.3: new data goes first, whatever congestion control says.
#[test]
fn a_probe_is_new_data_if_there_is() {
    let mut d = Drill::in_flight(SACK, 12);
    d.at(202);
    d.expect_all(&[". 10001:11001(1000)"]);
    d.at(302);
    // Nothing was retransmitted, so nothing has to be found out; the ACK ends the episode.
    let cwnd = d.host.tcb().info().cwnd;
    d.inject(". 1:1(0) ack 11001");
    assert!(d.host.tcb().info().cwnd > cwnd);
    d.expect("P. 11001:12001(1000)");
    d.at(504);
    d.host.wire.sent.clear();
    assert_eq!(d.host.stats.tcp_loss_probe_recovery, 0);
}

/// RFC 8985 §7.2: one segment alone may meet a delayed ACK; the RTO bounds the wait.
#[test]
fn a_single_segment_is_probed_when_the_rto_would_come() {
    let mut d = Drill::in_flight(SACK, 1);
    d.at(299);
    d.silent();
    d.at(300);
    d.expect_all(&["P. 1:1001(1000)"]);
    assert_eq!((d.host.stats.tcp_loss_probes, d.host.stats.tcp_timeouts), (1, 0));
}

/// RFC 8985 §7.2: the time counts from the last transmission.
#[test]
fn each_transmission_puts_the_probe_off() {
    let mut d = Drill::in_flight(SACK, 2);
    d.at(50);
    d.write(2001, 1000).unwrap();
    d.expect("P. 2001:3001(1000)");
    d.at(251);
    d.silent();
    d.at(252);
    d.expect_all(&["P. 2001:3001(1000)"]);
}

/// RFC 8985 §7.2: not without SACK, and not while holes are known: RACK has more to go by.
#[test]
fn no_probe_without_sack_nor_beside_holes() {
    let mut d = Drill::in_flight("<mss 1000>", 10);
    d.at(299);
    d.silent();
    d.at(300);
    d.expect_all(&[". 1:1001(1000)"]);
    let mut d = Drill::in_flight(SACK, 10);
    d.at(100);
    d.inject(". 1:1(0) ack 1 <sack 1001:4001>");
    d.expect(". 1:1001(1000)");
    d.at(399);
    d.silent();
    assert_eq!(d.host.stats.tcp_loss_probes, 0);
}

/// RFC 8985 §7.1, §7.4: a lost tail is repaired without a time-out.
#[test]
fn a_lost_tail_needs_no_time_out() {
    let mut d = Drill::in_flight(SACK, 10);
    d.at(100);
    d.inject(". 1:1(0) ack 7001");
    d.at(302);
    d.expect_all(&["P. 9001:10001(1000)"]);
    d.at(402);
    d.inject(". 1:1(0) ack 7001 <sack 9001:10001>");
    // RFC 9937: as much as arrived.
    d.expect_all(&[". 7001:8001(1000)"]);
    d.at(502);
    d.inject(". 1:1(0) ack 8001 <sack 9001:10001>");
    d.expect_all(&[". 8001:9001(1000)"]);
    d.at(602);
    d.inject(". 1:1(0) ack 10001");
    assert_eq!((d.host.stats.tcp_timeouts, d.host.stats.tcp_sack_recovery), (0, 1));
    let info = d.host.tcb().info();
    assert_eq!((info.cwnd, info.ssthresh), (11_900, 11_900));
}

/// RFC 8985 §6.2, step 2: an ACK whose timestamp echoes the original does not make the copy the newest arrival.
#[test]
fn an_echo_of_the_original_moves_nothing() {
    let mut d = Drill::on_a_path("<mss 1012,sackOK,TS 1 0>");
    d.write(1, 4000).unwrap();
    let val = d.expect(". 1:1001(1000)").options.timestamps.unwrap().val;
    d.host.wire.sent.clear();
    d.at(50);
    d.write(4001, 2000).unwrap();
    d.host.wire.sent.clear();
    d.at(100);
    d.inject(&format!(". 1:1(0) ack 1 <TS 3 {val},sack 1001:4001>"));
    d.expect_all(&[". 1:1001(1000)"]);
    // Late enough for the copy; what was sent at 50 ms would be lost by it.
    d.at(205);
    d.inject(&format!(". 1:1(0) ack 4001 <TS 4 {val}>"));
    d.silent();
    d.inject(&format!(". 1:1(0) ack 6001 <TS 5 {}>", val.wrapping_add(50)));
}

/// RFC 8985 §7.4.2: after a time-out a probe from before it is no congestion signal of its own.
#[test]
fn a_time_out_ends_the_episode_of_a_probe() {
    let mut d = Drill::in_flight(SACK, 10);
    d.at(202);
    d.expect_all(&["P. 9001:10001(1000)"]);
    d.at(502);
    d.expect_all(&[". 1:1001(1000)"]);
    d.at(602);
    d.inject(". 1:1(0) ack 10001");
    d.write(10_001, 1000).unwrap();
    d.expect("P. 10001:11001(1000)");
    d.at(702);
    d.inject(". 1:1(0) ack 11001");
    assert_eq!(d.host.stats.tcp_loss_probe_recovery, 0);
}

/// RFC 8985 §6.2, step 2, and RFC 7323 §4.3: the timestamp that comes with a SACK block echoes what came in order before
/// it, and says nothing against the copy that the block tells of.
#[test]
fn a_sacked_probe_counts_whatever_the_timestamp_echoes() {
    let mut d = Drill::on_a_path("<mss 1012,sackOK,TS 1 0>");
    d.write(1, 10_000).unwrap();
    let val = d.expect(". 1:1001(1000)").options.timestamps.unwrap().val;
    d.host.wire.sent.clear();
    d.at(100);
    d.inject(&format!(". 1:1(0) ack 7001 <TS 3 {val}>"));
    d.at(302);
    d.expect_all(&["P. 9001:10001(1000)"]);
    d.at(402);
    d.inject(&format!(". 1:1(0) ack 7001 <TS 4 {val},sack 9001:10001>"));
    d.expect_all(&[". 7001:8001(1000)"]);
    assert_eq!(d.host.stats.tcp_timeouts, 0);
    d.inject(&format!(". 1:1(0) ack 10001 <TS 5 {}>", val.wrapping_add(402)));
}

/// RFC 8985 §7.4.2: when the probe was the loss's repair, congestion control hears of it.
#[test]
fn a_probe_that_repaired_a_loss_is_a_congestion_signal() {
    let mut d = Drill::in_flight(SACK, 10);
    d.at(100);
    d.inject(". 1:1(0) ack 9001");
    d.at(300);
    let probes = d.host.wire.sent.len();
    d.at(400);
    assert_eq!((probes, d.host.stats.tcp_loss_probes), (0, 1));
    d.expect_all(&["P. 9001:10001(1000)"]);
    d.at(500);
    d.inject(". 1:1(0) ack 10001");
    let before = d.host.tcb().info();
    d.write(10_001, 1000).unwrap();
    d.expect("P. 10001:11001(1000)");
    d.at(600);
    d.inject(". 1:1(0) ack 11001");
    let after = d.host.tcb().info();
    assert_eq!(d.host.stats.tcp_loss_probe_recovery, 1);
    assert!(after.cwnd < before.cwnd && after.ssthresh == after.cwnd, "{before:?} {after:?}");
}

/// RFC 8985 §7.4.2: D-SACK, or a second ACK, tells that the probe came on top of the original.
#[test]
fn a_probe_that_was_not_needed_changes_nothing() {
    for answer in [". 1:1(0) ack 10001 <sack 9001:10001>", ". 1:1(0) ack 10001"] {
        let mut d = Drill::in_flight(SACK, 10);
        d.at(202);
        d.expect_all(&["P. 9001:10001(1000)"]);
        d.at(210);
        d.inject(". 1:1(0) ack 10001");
        d.at(302);
        d.inject(answer);
        d.write(10_001, 1000).unwrap();
        d.expect("P. 10001:11001(1000)");
        d.at(402);
        d.inject(". 1:1(0) ack 11001");
        let info = d.host.tcb().info();
        assert_eq!((d.host.stats.tcp_loss_probe_recovery, info.ssthresh), (0, u32::MAX), "{answer}");
        assert!(!d.host.tcb().rack.reordering_seen);
    }
}

/// RFC 8985 §7.3: a FIN is a tail too.
#[test]
fn a_lost_fin_is_probed() {
    let mut d = Drill::on_a_path(SACK);
    d.shutdown();
    d.expect_all(&["F. 1:1(0) ack 1"]);
    d.at(299);
    d.silent();
    d.at(300);
    d.expect_all(&["F. 1:1(0) ack 1"]);
    assert_eq!((d.host.stats.tcp_loss_probes, d.host.stats.tcp_timeouts), (1, 0));
}

/// RFC 8985 §8: an application that sends while reordering is waited for does not put the verdict off.
#[test]
fn sending_leaves_the_reordering_timer_alone() {
    let mut d = Drill::in_flight(SACK, 5);
    d.at(100);
    d.inject(". 1:1(0) ack 1 <sack 1001:2001>");
    d.at(110);
    d.write(5001, 1000).unwrap();
    d.expect_all(&["P. 5001:6001(1000)"]);
    d.at(125);
    d.expect_all(&[". 1:1001(1000)"]);
}

/// RFC 8985 §9.3 and §6.2: a thousand segments in flight, every tenth lost: each is sent again once, and found from
/// the order of transmission.
#[test]
fn a_large_window_is_recovered_hole_by_hole() {
    let mut d = Drill::new();
    d.host = super::host::Host::new(8192, 80, 40000);
    d.host.options.send_buffer = 4 << 20;
    d.accept("<mss 1000,sackOK,wscale 8>");
    // Slow start up to a thousand segments; there is always more to send.
    let (mut acked, mut now) = (0, 0);
    while d.host.tcb().info().cwnd < 1_050_000 {
        let room = 3_000_000 - d.host.tcb().info().send_queue;
        d.host.send(&vec![0; room as usize]).unwrap();
        let sent = d.host.tcb().snd.nxt - d.host.tcb().snd.iss - 1;
        d.host.wire.sent.clear();
        now += 10;
        d.at(now);
        for ack in (acked..sent).step_by(8000).skip(1).chain([sent]) {
            d.inject(&format!(". 1:1(0) ack {} win 20000", ack + 1));
        }
        acked = sent;
    }
    assert!(d.host.tcb().snd.outstanding() >= 1_000_000);
    let first = acked + 1;
    d.host.wire.sent.clear();
    now += 10;
    d.at(now);
    let point = d.host.tcb().snd.nxt;
    let mut again = std::collections::BTreeSet::new();
    let mut look = |d: &mut Drill| {
        while let Some(bytes) = d.host.wire.sent.pop_front() {
            let seq = crate::wire::tcp::Segment::parse(&bytes).unwrap().seq;
            assert!(seq.at_or_after(point) || again.insert(seq.0), "sent twice");
        }
    };
    for hole in 0..100 {
        let (left, right) = (first + hole * 10_000 + 1000, first + (hole + 1) * 10_000);
        d.inject(&format!(". 1:1(0) ack {first} win 20000 <sack {left}:{right}>"));
        look(&mut d);
    }
    let end = point - d.host.tcb().snd.iss;
    d.inject(&format!(". 1:1(0) ack {first} win 20000 <sack {}:{end}>", first + 1_000_000));
    look(&mut d);
    now += 10;
    d.at(now);
    for hole in 1..=100 {
        d.inject(&format!(". 1:1(0) ack {} win 20000", first + hole * 10_000));
        look(&mut d);
    }
    assert_eq!((again.len(), d.host.stats.tcp_retransmits), (100, 100));
    assert_eq!((d.host.stats.tcp_sack_recovery, d.host.stats.tcp_timeouts), (1, 0));
}

/// RFC 8985 §7.3: a probe that finds no way out leaves the retransmission timer to run.
#[test]
fn a_probe_without_a_way_out_does_not_put_the_time_out_off() {
    let mut d = Drill::in_flight(SACK, 10);
    d.host.wire.refuse = Some(Unsent::NoNeighbour);
    d.at(250);
    d.host.wire.refuse = None;
    d.at(299);
    d.silent();
    d.at(301);
    d.expect_all(&[". 1:1001(1000)"]);
    assert_eq!((d.host.stats.tcp_loss_probes, d.host.stats.tcp_timeouts), (0, 1));
    d.inject(". 1:1(0) ack 10001");
}

/// draft-ietf-ccwg-bbr §4.1.2.3: what a time-out holds to be lost is counted in the next sample, too.
#[test]
fn a_rate_sample_hears_of_what_a_time_out_found() {
    let mut d = Drill::on_a_path("<mss 1000>");
    d.host.with(|tcb, env| tcb.measure(env.segs));
    d.write(1, 10_000).unwrap();
    d.host.wire.sent.clear();
    d.at(301);
    let now = d.host.now;
    let meter = d.host.tcb.as_mut().and_then(|tcb| tcb.meter.as_mut()).expect("a meter");
    assert_eq!(meter.rate.on_sent(1, 0, now).lost(), 10_000);
    d.host.wire.sent.clear();
}
