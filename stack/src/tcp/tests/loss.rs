//! RFC 5681, RFC 6298, RFC 6582, RFC 6675, RFC 6937, RFC 3042.

use super::drill::Drill;
use crate::error::SocketError;
use crate::ip::Unsent;
use crate::tcp::State;

/// Ten segments of 1,000 octets in flight.
fn in_flight(options: &str) -> Drill {
    let mut d = Drill::accepted(options);
    d.write(1, 10_000).unwrap();
    assert_eq!(d.host.wire.sent.len(), 10);
    d.host.wire.sent.clear();
    d
}

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

#[test]
fn a_user_timeout_comes_first() {
    let mut d = Drill::new();
    d.host.options.user_timeout = 5000;
    d.accept("<mss 1000>");
    d.write(1, 100).unwrap();
    d.at(5_000);
    assert_eq!(d.state(), State::Established);
    d.at(7_000);
    assert_eq!(d.state(), State::Closed);
    d.host.wire.sent.clear();
}

#[test]
fn three_duplicate_acks_without_sack() {
    let mut d = in_flight("<mss 1000>");
    d.write(10_001, 5000).unwrap();
    d.silent();
    d.inject(". 1:1(0) ack 1");
    d.expect_all(&[". 10001:11001(1000)"]);
    d.inject(". 1:1(0) ack 1");
    d.expect_all(&[". 11001:12001(1000)"]);
    d.inject(". 1:1(0) ack 1");
    d.expect_all(&[". 1:1001(1000)"]);
    assert_eq!(d.host.stats.tcp_fast_recoveries, 1);
    // A partial ACK: the hole at its end goes out at once (RFC 6582 §3.2, step 3).
    d.inject(". 1:1(0) ack 3001");
    let seg = d.expect(". 3001:4001(1000)");
    assert_eq!(seg.len, 1000);
    d.host.wire.sent.clear();
    d.inject(". 1:1(0) ack 12001");
    assert_eq!(d.host.tcb().info().cwnd, d.host.tcb().info().ssthresh);
    d.host.wire.sent.clear();
}

#[test]
fn sack_tells_which_segments_are_lost() {
    let mut d = in_flight("<mss 1000,sackOK>");
    d.inject(". 1:1(0) ack 1 <sack 1001:2001>");
    d.inject(". 1:1(0) ack 1 <sack 1001:3001>");
    d.silent();
    // Three segments above the first, and a hole at 4001 that two are above.
    d.inject(". 1:1(0) ack 1 <sack 3001:4001 1001:3001>");
    d.expect_all(&[". 1:1001(1000)"]);
    d.inject(". 1:1(0) ack 1 <sack 5001:6001 1001:4001>");
    d.inject(". 1:1(0) ack 1 <sack 5001:7001 1001:4001>");
    d.silent();
    d.inject(". 1:1(0) ack 1 <sack 5001:8001 1001:4001>");
    d.expect_all(&[". 4001:5001(1000)"]);
    d.inject(". 1:1(0) ack 4001 <sack 5001:8001>");
    d.inject(". 1:1(0) ack 8001");
    d.silent();
    assert_eq!(d.host.stats.tcp_retransmits, 2);
    assert_eq!(d.host.stats.tcp_fast_recoveries, 1);
    d.inject(". 1:1(0) ack 10001");
    let info = d.host.tcb().info();
    assert_eq!((info.cwnd, info.in_flight), (7000, 0));
}

#[test]
fn in_recovery_the_rate_falls_in_proportion() {
    let mut d = in_flight("<mss 1000,sackOK>");
    d.write(10_001, 20_000).unwrap();
    d.silent();
    let mut sent = 0;
    for n in 1..10 {
        d.inject(&format!(". 1:1(0) ack 1 <sack 1001:{}>", n * 1000 + 1001));
        sent += d.host.wire.sent.len();
        d.host.wire.sent.clear();
    }
    // Two by limited transmit, then seven deliveries at 7 / 10, and the first hole at once.
    assert!((6..=8).contains(&sent), "{sent}");
}

#[test]
fn a_lost_retransmission_is_left_to_the_timer() {
    let mut d = in_flight("<mss 1000,sackOK>");
    d.inject(". 1:1(0) ack 1 <sack 1001:4001>");
    d.expect_all(&[". 1:1001(1000)"]);
    d.inject(". 1:1(0) ack 1 <sack 1001:10001>");
    d.silent();
    d.at(250);
    d.expect_all(&[". 1:1001(1000)"]);
    d.inject(". 1:1(0) ack 10001");
    assert_eq!(d.host.tcb().info().in_flight, 0);
    d.silent();
}

#[test]
fn after_a_time_out_only_what_is_missing_is_sent_again() {
    let mut d = in_flight("<mss 1000,sackOK>");
    d.inject(". 1:1(0) ack 1 <sack 3001:5001>");
    d.at(202);
    d.expect_all(&[". 1:1001(1000)"]);
    d.inject(". 1:1(0) ack 1001 <sack 3001:5001>");
    d.expect_all(&[". 1001:2001(1000)", ". 2001:3001(1000)"]);
    d.inject(". 1:1(0) ack 5001");
    d.expect(". 5001:6001(1000)");
    d.host.wire.sent.clear();
}

#[test]
fn a_receiver_that_reneges_gets_everything_again() {
    let mut d = in_flight("<mss 1000,sackOK>");
    d.inject(". 1:1(0) ack 1 <sack 1001:3001>");
    d.inject(". 1:1(0) ack 1001");
    // What it SACKed is at its left edge and it does not acknowledge it: it has thrown it away.
    d.at(202);
    d.expect_all(&[". 1001:2001(1000)"]);
    d.inject(". 1:1(0) ack 2001");
    d.expect(". 2001:3001(1000)");
    d.host.wire.sent.clear();
}

#[test]
fn lying_sack_blocks_change_nothing() {
    let mut d = in_flight("<mss 1000,sackOK>");
    for sack in ["1:1", "5001:4001", "9001:11001", "0:1001", "4294000000:1001", "1501:1801"] {
        for _ in 0..4 {
            d.inject(&format!("P. 1:1(0) ack 1 win {} <sack {sack}>", 20_000 - d.host.stats.tcp_segs_in));
        }
    }
    assert_eq!(d.host.tcb().info().in_flight, 10_000);
    d.silent();
}

#[test]
fn a_part_of_a_segment_can_be_acknowledged() {
    let mut d = in_flight("<mss 1000>");
    d.inject(". 1:1(0) ack 501");
    d.at(210);
    d.expect_all(&[". 501:1001(500)"]);
    d.inject(". 1:1(0) ack 10001");
}

#[test]
fn a_frame_that_the_nic_still_has_is_copied() {
    let mut d = Drill::new();
    d.host.wire.slow_nic = true;
    d.accept("<mss 1000>");
    d.write(1, 500).unwrap();
    d.expect("P. 1:501(500)");
    d.at(201);
    d.expect_all(&["P. 1:501(500)"]);
    // Acknowledged while still lent: the frame comes back when the NIC is done.
    d.inject(". 1:1(0) ack 501");
    d.host.complete();
    assert_eq!(d.host.pool.available(), d.host.pool.frames() as usize);
}

#[test]
fn a_refused_way_out_is_tried_again() {
    let mut d = Drill::established();
    for why in [Unsent::NoFrames, Unsent::NoNeighbour] {
        d.host.wire.refuse = Some(why);
        let from = d.host.tcb().info().send_queue + 1;
        d.write(from, 100).unwrap();
        d.silent();
        d.host.wire.refuse = None;
        let soon = d.host.now.as_millis() - 1_000_000 + 1;
        d.at(soon);
        assert_eq!(d.host.wire.sent.len(), 1, "{why:?}");
        d.host.wire.sent.clear();
        d.host.with(|tcb, _| tcb.options.nodelay = true);
    }
    d.host.wire.refuse = Some(Unsent::Denied);
    d.write(201, 100).unwrap();
    d.host.wire.refuse = None;
    // As good as lost: the retransmission timer sends it.
    d.at(210);
    d.expect(". 1:101(100)");
    d.host.wire.sent.clear();
}

#[test]
fn an_ack_that_found_no_frame_is_not_forgotten() {
    let mut d = Drill::established();
    d.host.wire.refuse = Some(Unsent::NoFrames);
    d.inject(". 101:201(100) ack 1");
    d.at(1);
    d.host.wire.refuse = None;
    d.at(3);
    d.expect_all(&[". 1:1(0) ack 1"]);
}

#[test]
fn a_narrower_path_cuts_what_is_queued() {
    let mut d = Drill::accepted("<mss 1460>");
    d.host.wire.mtu = 1500;
    d.write(1, 3000).unwrap();
    d.expect_all(&[". 1:1461(1460)", ". 1461:2921(1460)", "P. 2921:3001(80)"]);
    let una = d.host.tcb().snd.una;
    d.host.with(|tcb, env| {
        use crate::tcp::input::{PathError, unreachable};
        unreachable(tcb, PathError::TooBig { mtu: 1000 }, una - 1, env);
        unreachable(tcb, PathError::TooBig { mtu: 1000 }, una + 5000, env);
    });
    d.silent();
    d.host.with(|tcb, env| {
        use crate::tcp::input::{PathError, unreachable};
        unreachable(tcb, PathError::TooBig { mtu: 1000 }, una, env);
    });
    d.expect(". 1:961(960)");
    d.expect(". 961:1461(500)");
    d.expect(". 1461:2421(960)");
    d.expect(". 2421:2921(500)");
    d.host.wire.sent.clear();
    d.inject(". 1:1(0) ack 3001");
}

#[test]
fn the_interface_itself_may_become_narrower() {
    let mut d = Drill::accepted("<mss 1460>");
    d.write(1, 1460).unwrap();
    d.expect("P. 1:1461(1460)");
    d.host.wire.mtu = 1000;
    d.at(210);
    d.expect_all(&[". 1:961(960)", "P. 961:1461(500)"]);
}

#[test]
fn what_icmp_said_is_the_reason_when_time_runs_out() {
    let mut d = Drill::established();
    d.write(1, 100).unwrap();
    d.host.with(|tcb, env| {
        use crate::tcp::input::{PathError, unreachable};
        unreachable(tcb, PathError::Unreachable(SocketError::HostUnreachable), tcb.snd.una, env);
    });
    assert_eq!(d.state(), State::Established);
    d.at(3_000_000);
    assert_eq!(d.host.tcb().error, Some(SocketError::HostUnreachable));
    d.host.wire.sent.clear();
}

#[test]
fn icmp_ends_a_connect() {
    let mut d = Drill::new();
    d.host.connect().unwrap();
    d.expect("S 0:0(0)");
    d.host.with(|tcb, env| {
        use crate::tcp::input::{PathError, unreachable};
        unreachable(tcb, PathError::Unreachable(SocketError::ConnectionRefused), tcb.snd.iss + 9, env);
        assert_eq!(tcb.state, State::SynSent);
        unreachable(tcb, PathError::Unreachable(SocketError::ConnectionRefused), tcb.snd.iss, env);
    });
    assert_eq!(d.host.tcb().error, Some(SocketError::ConnectionRefused));
}

/// Ten segments in flight, the third to fifth overtook the first two.
fn overtaken(options: &str, ts: &str) -> (Drill, u32) {
    let mut d = Drill::accepted(options);
    d.at(10);
    d.write(1, 10_000).unwrap();
    let sent = d.host.wire.sent.len();
    assert_eq!(sent, 10);
    let val = d.expect(". 1:1001(1000)").options.timestamps.map_or(0, |ts| ts.val);
    d.host.wire.sent.clear();
    d.at(20);
    d.inject(&format!(". 1:1(0) ack 1 <sack 2001:5001{ts}>"));
    assert!(!d.host.wire.sent.is_empty());
    d.host.wire.sent.clear();
    assert!(d.host.tcb().info().cwnd < 10_000);
    (d, val)
}

#[test]
fn an_echo_of_the_original_undoes_the_recovery() {
    let (mut d, val) = overtaken("<mss 1012,sackOK,TS 1 0>", ",TS 3 1");
    d.at(25);
    // The copies were sent at 20 ms; this answers what was sent at 10 ms.
    d.inject(&format!(". 1:1(0) ack 5001 <TS 4 {val}>"));
    let info = d.host.tcb().info();
    assert_eq!((d.host.stats.tcp_spurious, info.ssthresh), (1, u32::MAX));
    assert!(info.cwnd >= 10_000, "{info:?}");
    assert_eq!(info.in_flight, 5000);
    // From now on more must overtake before it means a loss.
    d.inject(&format!(". 1:1(0) ack 5001 <TS 5 {val},sack 6001:9001>"));
    d.silent();
}

#[test]
fn an_echo_of_the_copy_does_not() {
    let (mut d, val) = overtaken("<mss 1012,sackOK,TS 1 0>", ",TS 3 1");
    d.at(25);
    d.inject(&format!(". 1:1(0) ack 5001 <TS 4 {}>", val.wrapping_add(10)));
    assert_eq!(d.host.stats.tcp_spurious, 0);
    assert!(d.host.tcb().info().ssthresh < 10_000);
}

#[test]
fn reported_duplicates_of_all_copies_undo_it_too() {
    let (mut d, _) = overtaken("<mss 1000,sackOK>", "");
    let copies = d.host.stats.tcp_retransmits as u32;
    d.inject(". 1:1(0) ack 10001");
    assert!(d.host.tcb().info().ssthresh < 10_000);
    d.write(10_001, 3000).unwrap();
    d.host.wire.sent.clear();
    for n in 0..copies {
        assert_eq!(d.host.stats.tcp_spurious, 0);
        d.inject(&format!(". 1:1(0) ack 10001 <sack {}:{}>", n * 1000 + 1, n * 1000 + 1001));
    }
    assert_eq!((d.host.stats.tcp_spurious, d.host.tcb().info().ssthresh), (1, u32::MAX));
    d.host.wire.sent.clear();
}
