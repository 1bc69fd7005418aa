//! Selective acknowledgements, received and sent: RFC 2018, RFC 2883.

use super::drills;
use crate::{Drill, On};

drills![
    holes_are_told_latest_first,
    without_the_offer_nothing_is_told,
    a_duplicate_is_reported_once,
    a_duplicate_out_of_order_is_reported_with_its_block,
    what_was_reported_is_not_sent_again,
    after_a_time_out_reports_are_not_trusted,
    lying_blocks_change_nothing,
];

/// RFC 2018 §4
fn holes_are_told_latest_first(on: On) {
    let mut d = Drill::accepted(on, "<mss 1000,sackOK>");
    d.inject(". 1:101(100) ack 1");
    d.sent();
    d.inject(". 201:301(100) ack 1");
    d.expect_all(&[". 1:1(0) ack 101 <sack 201:301>"]);
    d.inject(". 401:501(100) ack 1");
    d.expect_all(&[". 1:1(0) ack 101 <sack 401:501 201:301>"]);
    d.inject(". 301:351(50) ack 1");
    d.expect_all(&[". 1:1(0) ack 101 <sack 201:351 401:501>"]);
    d.inject(". 601:701(100) ack 1");
    d.inject(". 801:901(100) ack 1");
    d.inject(". 1001:1101(100) ack 1");
    d.expect(". 1:1(0) ack 101 <sack 601:701 201:351 401:501>");
    d.expect(". 1:1(0) ack 101 <sack 801:901 601:701 201:351 401:501>");
    d.expect(". 1:1(0) ack 101 <sack 1001:1101 801:901 601:701 201:351>");
    d.inject(". 101:201(100) ack 1");
    d.expect_all(&[". 1:1(0) ack 351 <sack>"]);
    d.inject(". 351:801(450) ack 1");
    d.sent();
    d.inject(". 901:1001(100) ack 1");
    d.expect_all(&[". 1:1(0) ack 1101 <nothing>"]);
    d.read(1, 1100);
}

/// RFC 2018 §2
fn without_the_offer_nothing_is_told(on: On) {
    let mut d = Drill::accepted(on, "<mss 1000>");
    d.inject(". 201:301(100) ack 1");
    d.expect_all(&[". 1:1(0) ack 1 <nothing>"]);
}

/// RFC 2883 §4.1
fn a_duplicate_is_reported_once(on: On) {
    let mut d = Drill::accepted(on, "<mss 1000,sackOK>");
    d.inject("P. 1:101(100) ack 1");
    d.read(1, 100);
    d.sent();
    d.inject("P. 1:101(100) ack 1");
    d.expect_all(&[". 1:1(0) ack 101 <sack 1:101>"]);
    d.inject("P. 101:201(100) ack 1");
    d.wait(300);
    d.expect_all(&[". 1:1(0) ack 201 <nothing>"]);
}

/// RFC 2883 §4.2
fn a_duplicate_out_of_order_is_reported_with_its_block(on: On) {
    let mut d = Drill::accepted(on, "<mss 1000,sackOK>");
    d.inject(". 501:1001(500) ack 1");
    d.expect_all(&[". 1:1(0) ack 1 <sack 501:1001>"]);
    d.inject(". 601:701(100) ack 1");
    d.expect_all(&[". 1:1(0) ack 1 <sack 601:701 501:1001>"]);
}

/// RFC 5681 §4.3; RFC 2018 §5; RFC 6675 §3, §4, §5
fn what_was_reported_is_not_sent_again(on: On) {
    let mut d = Drill::accepted_far(on, "<mss 1000,sackOK>", 50);
    d.write(1, 10_000).unwrap();
    assert_eq!(d.sent().len(), 10);
    d.wait(50);
    d.inject(". 1:1(0) ack 1 <sack 1001:5001>");
    d.expect(".p 1:1001(1000)");
    d.sent();
    d.inject(". 1:1(0) ack 5001 <sack 6001:10001>");
    let again = d.sent();
    assert!(again.iter().all(|seg| d.range(seg) == (5001, 6001)), "{again:?}");
}

/// RFC 2018 §5.1; RFC 6675 §5.1
fn after_a_time_out_reports_are_not_trusted(on: On) {
    let mut d = Drill::accepted(on, "<mss 1000,sackOK>");
    d.write(1, 10_000).unwrap();
    assert_eq!(d.sent().len(), 10);
    d.inject(". 1:1(0) ack 1 <sack 1001:3001>");
    d.inject(". 1:1(0) ack 1001");
    // What was reported is at the left edge and not acknowledged: the peer has thrown it away.
    d.wait(700);
    let again = d.sent();
    assert!(again.iter().any(|seg| d.range(seg).0 == 1001), "{again:?}");
}

/// RFC 2018 §3: blocks that cannot be are left out
fn lying_blocks_change_nothing(on: On) {
    let mut d = Drill::accepted(on, "<mss 1000,sackOK>");
    d.write(1, 10_000).unwrap();
    assert_eq!(d.sent().len(), 10);
    for sack in ["5001:4001", "9001:11001", "20001:21001"] {
        d.inject(&format!(". 1:1(0) ack 1 win 20000 <sack {sack}>"));
    }
    assert_eq!(d.info().sacked, 0);
    assert_eq!(d.info().unacked, 10);
}
