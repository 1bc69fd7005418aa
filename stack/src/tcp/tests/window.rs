//! The window: RFC 9293 §3.8.6; silly windows §3.8.6.2; probes §3.8.6.1; scaling RFC 7323 §2.

use super::drill::Drill;
use crate::error::SocketError;
use crate::tcp::State;

fn small_buffer(octets: u32) -> Drill {
    let mut d = Drill::new();
    (d.host.options.recv_buffer, d.host.options.recv_locked) = (octets, true);
    d.accept("<mss 1000>");
    d
}

#[test]
fn an_unread_buffer_shuts_the_window_and_reading_opens_it() {
    let mut d = small_buffer(4000);
    for n in 0..4 {
        d.inject(&format!(". {}:{}(1000) ack 1", n * 1000 + 1, n * 1000 + 1001));
        d.expect_all(&[&format!(". 1:1(0) ack {} win {}", n * 1000 + 1001, 3000 - n * 1000)]);
    }
    // A probe with an octet is not taken, but answered.
    d.inject(". 4001:4002(1) ack 1");
    d.expect_all(&[". 1:1(0) ack 4001 win 0"]);
    assert_eq!(d.host.recv(999).unwrap().len(), 999);
    d.silent();
    assert_eq!(d.host.recv(1).unwrap().len(), 1);
    d.expect_all(&[". 1:1(0) ack 4001 win 1000"]);
    assert_eq!(d.host.recv(9000).unwrap().len(), 3000);
    d.expect_all(&[". 1:1(0) ack 4001 win 4000"]);
}

#[test]
fn an_ack_counts_even_at_a_shut_window() {
    let mut d = small_buffer(1000);
    d.inject(". 1:1001(1000) ack 1");
    d.expect(". 1:1(0) ack 1001 win 0");
    d.write(1, 10).unwrap();
    d.expect("P. 1:11(10) ack 1001 win 0");
    d.inject("P. 1001:1101(100) ack 11");
    d.expect_all(&[". 11:11(0) ack 1001 win 0"]);
    assert_eq!(d.host.tcb().send_queue(), 0);
    d.inject("R 1001:1001(0)");
    assert_eq!(d.state(), State::Closed);
}

#[test]
fn what_reaches_over_the_window_is_cut() {
    let mut d = small_buffer(1000);
    d.inject("FP. 1:1501(1500) ack 1");
    d.expect_all(&[". 1:1(0) ack 1001 win 0"]);
    assert_eq!(d.state(), State::Established);
    d.read(1, 1000);
    d.expect_all(&[". 1:1(0) ack 1001 win 1000"]);
}

#[test]
fn a_shut_window_is_probed_ever_more_rarely() {
    let mut d = Drill::established();
    d.inject(". 1:1(0) ack 1 win 0");
    d.write(1, 500).unwrap();
    d.silent();
    for at in [201, 601, 1401, 3001] {
        d.at(at - 2);
        d.silent();
        d.at(at);
        d.expect_all(&[". 0:0(0) ack 1"]);
        d.inject(". 1:1(0) ack 1 win 0");
        // Each answer proves that the peer lives.
    }
    d.inject(". 1:1(0) ack 1 win 5000");
    d.expect_all(&["P. 1:501(500) ack 1"]);
    assert_eq!(d.host.stats.tcp_window_probes, 4);
}

#[test]
fn unanswered_probes_end_the_connection() {
    let mut d = Drill::established();
    d.inject(". 1:1(0) ack 1 win 0");
    d.write(1, 500).unwrap();
    d.at(4_000_000);
    assert_eq!(d.state(), State::Closed);
    assert_eq!(d.host.recv(1), Err(SocketError::TimedOut));
    assert_eq!(d.host.stats.tcp_window_probes, 15);
    d.host.wire.sent.clear();
}

#[test]
fn a_silly_window_is_not_used_until_patience_ends() {
    let mut d = Drill::established();
    d.inject(". 1:1(0) ack 1 win 400");
    d.write(1, 1000).unwrap();
    d.silent();
    d.at(201);
    d.expect_all(&[". 1:401(400) ack 1"]);
    d.inject(". 1:1(0) ack 401 win 0");
    d.silent();
    d.at(1000);
    d.host.wire.sent.clear();
    d.inject(". 1:1(0) ack 401 win 1000");
    d.expect_all(&["P. 401:1001(600) ack 1"]);
}

#[test]
fn the_window_ends_what_is_sent() {
    let mut d = Drill::established();
    d.inject(". 1:1(0) ack 1 win 2500");
    d.write(1, 10_000).unwrap();
    d.expect_all(&[". 1:1001(1000)", ". 1001:2001(1000)"]);
    d.inject(". 1:1(0) ack 2001 win 2500");
    d.expect_all(&[". 2001:3001(1000)", ". 3001:4001(1000)"]);
    // It shrinks: what is out stays out, what is lost is still sent again.
    d.inject(". 1:1(0) ack 2001 win 100");
    d.at(210);
    d.expect_all(&[". 2001:3001(1000)"]);
    d.host.wire.sent.clear();
}

#[test]
fn a_scaled_window_is_read_and_offered_scaled() {
    let mut d = Drill::new();
    d.inject("S 0:0(0) win 20000 <mss 1000,wscale 4>");
    d.expect("S. 0:0(0) ack 1 win 65535 <wscale 3>");
    d.inject(". 1:1(0) ack 1 win 100");
    assert_eq!(d.host.tcb().info().snd_wnd, 1600);
    d.write(1, 5000).unwrap();
    d.expect_all(&[". 1:1001(1000) ack 1 win 32768"]);
}

#[test]
fn a_fin_needs_room_in_the_window_too() {
    let mut d = Drill::established();
    d.inject(". 1:1(0) ack 1 win 0");
    d.close();
    d.silent();
    d.at(201);
    d.expect_all(&[". 0:0(0) ack 1"]);
    d.inject(". 1:1(0) ack 1 win 1");
    d.expect_all(&["F. 1:1(0) ack 1"]);
}

#[test]
fn scarce_frames_make_small_promises() {
    let mut d = Drill::new();
    let mut held = Vec::new();
    while d.host.pool.available() > 20 {
        held.extend(d.host.pool.alloc());
    }
    d.inject("S 0:0(0) win 20000 <mss 1000>");
    let seg = d.expect("S. 0:0(0) ack 1");
    assert_eq!(seg.wnd, 20 * 512);
    held.into_iter().for_each(|pkt| d.host.pool.free(pkt));
}
