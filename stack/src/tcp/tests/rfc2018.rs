//! RFC 2018: selective acknowledgments, as the data sender reads them and the receiver writes them.

use super::drill::Drill;

const SACK: &str = "<mss 1000,sackOK>";

/// RFC 2018 §8: a receiver may throw away what it SACKed. Its left edge stands before that then: after half a round
/// trip everything is sent again.
#[test]
fn a_receiver_that_reneges_gets_everything_again() {
    let mut d = Drill::in_flight(SACK, 10);
    d.at(100);
    d.inject(". 1:1(0) ack 1 <sack 1001:3001>");
    d.inject(". 1:1(0) ack 1001");
    d.at(149);
    d.silent();
    d.at(150);
    d.expect_all(&[". 1001:2001(1000)"]);
    assert_eq!((d.host.stats.tcp_sack_reneging, d.host.stats.tcp_timeouts), (1, 1));
    d.at(250);
    d.inject(". 1:1(0) ack 2001");
    d.expect(". 2001:3001(1000)");
    d.host.wire.sent.clear();
}

/// RFC 2018 §8: one that only takes its time is not one that reneges.
#[test]
fn a_receiver_that_acknowledges_in_steps_is_not_reneging() {
    let mut d = Drill::in_flight(SACK, 10);
    d.at(100);
    d.inject(". 1:1(0) ack 1 <sack 1001:3001>");
    d.inject(". 1:1(0) ack 1001");
    d.inject(". 1:1(0) ack 3001");
    d.at(250);
    d.silent();
    assert_eq!((d.host.stats.tcp_sack_reneging, d.host.stats.tcp_timeouts), (0, 0));
}

/// RFC 2018 §5, §8: no block is believed of what was not sent, or is acknowledged; nor one that is no range.
#[test]
fn lying_sack_blocks_change_nothing() {
    let mut d = Drill::in_flight(SACK, 10);
    for sack in ["1:1", "5001:4001", "9001:11001", "0:1001", "4294000000:1001", "1501:1801"] {
        for _ in 0..4 {
            d.inject(&format!("P. 1:1(0) ack 1 win {} <sack {sack}>", 20_000 - d.host.stats.tcp_segs_in));
        }
    }
    assert_eq!(d.host.tcb().info().in_flight, 10_000);
    d.silent();
}

/// RFC 2018 §5: the sender turns off the bit of what a block does not cover whole.
#[test]
fn a_block_over_a_part_of_a_segment_does_not_count() {
    let mut d = Drill::in_flight(SACK, 3);
    d.at(100);
    d.inject(". 1:1(0) ack 1 <sack 1501:2501>");
    assert_eq!(d.host.tcb().info().in_flight, 3000);
    d.inject(". 1:1(0) ack 1 <sack 1501:3001>");
    assert_eq!(d.host.tcb().info().in_flight, 2000);
}

/// RFC 2018 §4: the block of the segment that just came is first, then those told last; three beside timestamps.
#[test]
fn the_receiver_tells_the_latest_first() {
    let mut d = Drill::accepted(SACK);
    for (at, want) in [
        (201, &["201:301"][..]),
        (601, &["601:701", "201:301"]),
        (401, &["401:501", "601:701", "201:301"]),
        (801, &["801:901", "401:501", "601:701", "201:301"]),
        (1001, &["1001:1101", "801:901", "401:501", "601:701"]),
        // It joins two, one of which four blocks had no room for.
        (301, &["201:501", "1001:1101", "801:901", "601:701"]),
        (1101, &["1001:1201", "201:501", "801:901", "601:701"]),
    ] {
        d.inject(&format!(". {at}:{}(100) ack 1", at + 100));
        let seg = d.expect(". 1:1(0) ack 1");
        assert_eq!(d.blocks(&seg), want);
        d.silent();
    }
}

/// RFC 2018 §4: with timestamps three blocks fit.
#[test]
fn three_blocks_fit_beside_timestamps() {
    let mut d = Drill::accepted("<mss 1000,sackOK,TS 1 0>");
    for at in [201, 401, 601, 801] {
        d.inject(&format!(". {at}:{}(100) ack 1 <TS 3 1>", at + 100));
    }
    for _ in 0..3 {
        d.expect(". 1:1(0) ack 1");
    }
    let seg = d.expect(". 1:1(0) ack 1");
    assert_eq!(d.blocks(&seg), ["801:901", "601:701", "401:501"]);
}

/// RFC 2018 §3: no block below the acknowledgment number is told, and none when all has come.
#[test]
fn what_is_acknowledged_is_told_no_more() {
    let mut d = Drill::accepted(SACK);
    d.inject(". 201:301(100) ack 1");
    d.expect(". 1:1(0) ack 1 <sack 201:301>");
    d.inject(". 1:201(200) ack 1");
    let seg = d.expect(". 1:1(0) ack 301");
    assert!(seg.options.sack.is_empty());
}

/// RFC 2018 §2: without SACK-permitted no block is ever sent.
#[test]
fn not_without_permission() {
    let mut d = Drill::accepted("<mss 1000>");
    d.inject(". 201:301(100) ack 1");
    let seg = d.expect(". 1:1(0) ack 1");
    assert!(seg.options.sack.is_empty());
}
