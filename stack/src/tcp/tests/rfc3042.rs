//! RFC 3042: limited transmit.

use super::drill::Drill;

/// RFC 3042 §2: the first two duplicates let a new segment out each; the window itself stays.
#[test]
fn two_duplicates_let_two_segments_out() {
    for sack in [false, true] {
        let options = if sack { "<mss 1000,sackOK>" } else { "<mss 1000>" };
        let mut d = Drill::in_flight(options, 14);
        d.at(100);
        let block = |n: u32| if sack { format!("<sack 1001:{}>", n * 1000 + 2001) } else { String::new() };
        for n in 0..2 {
            d.inject(&format!(". 1:1(0) ack 1 {}", block(n)));
            d.expect_all(&[&format!(". {}:{}(1000)", n * 1000 + 10_001, n * 1000 + 11_001)]);
        }
        assert_eq!(d.host.tcb().info().cwnd, 10_000);
        d.inject(&format!(". 1:1(0) ack 1 {}", block(2)));
        d.expect(". 1:1001(1000)");
        d.host.wire.sent.clear();
    }
}

/// RFC 3042 §2: only within the peer's window.
#[test]
fn the_peers_window_is_kept() {
    let mut d = Drill::on_a_path("<mss 1000>");
    d.inject(". 1:1(0) ack 1 win 10000");
    d.write(1, 14_000).unwrap();
    assert_eq!(d.host.wire.sent.len(), 10);
    d.host.wire.sent.clear();
    d.at(100);
    d.inject(". 1:1(0) ack 1 win 10000");
    d.inject(". 1:1(0) ack 1 win 10000");
    d.silent();
}

/// RFC 3042 §2: what is sent so is no sign of an idle path, and no more follows until something is acknowledged.
#[test]
fn no_third_one() {
    let mut d = Drill::in_flight("<mss 1000,sackOK>", 14);
    d.at(100);
    d.inject(". 1:1(0) ack 1 <sack 1001:2001>");
    d.inject(". 1:1(0) ack 1 <sack 1001:2001>");
    d.expect_all(&[". 10001:11001(1000)"]);
}
