//! The window to the octet, and times to the millisecond (RFC 9293 §3.8.6, RFC 7323 §2); the rest is drilled in
//! `tests/drill`, which holds for Linux, too.

use super::drill::Drill;

#[test]
fn an_unread_buffer_shuts_the_window_and_reading_opens_it() {
    let mut d = Drill::new();
    (d.host.options.recv_buffer, d.host.options.recv_locked) = (4000, true);
    d.host.options.quickack = true;
    d.accept("<mss 1000>");
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
fn a_scaled_window_is_read_and_offered_scaled() {
    let mut d = Drill::new();
    d.inject("S 0:0(0) win 20000 <mss 1000,wscale 4>");
    d.expect("S. 0:0(0) ack 1 win 65535 <wscale 3>");
    d.inject(". 1:1(0) ack 1 win 100");
    assert_eq!(d.host.tcb().info().snd_wnd, 1600);
    d.write(1, 5000).unwrap();
    d.expect_all(&[". 1:1001(1000) ack 1 win 28672"]);
}

#[test]
fn scarce_frames_make_small_promises() {
    let mut d = Drill::new();
    let mut held = Vec::new();
    while d.host.pool.available() > d.host.pool.frames() as usize / 8 + 20 {
        held.extend(d.host.pool.alloc());
    }
    d.inject("S 0:0(0) win 20000 <mss 1000>");
    let seg = d.expect("S. 0:0(0) ack 1");
    assert_eq!(seg.wnd, 20 * 512);
    held.into_iter().for_each(|pkt| d.host.pool.free(pkt));
}
