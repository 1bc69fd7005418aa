//! RFC 2883: a receiver reports what came twice (D-SACK).

use super::drill::Drill;

fn open() -> Drill {
    Drill::accepted("<mss 1000,sackOK>")
}

/// RFC 2883 §4.1.1: a segment that was acknowledged already.
#[test]
fn a_full_segment_again() {
    let mut d = open();
    d.inject(". 1:501(500) ack 1");
    d.at(40);
    d.host.wire.sent.clear();
    d.inject(". 1:501(500) ack 1");
    let seg = d.expect(". 1:1(0) ack 501");
    assert_eq!(d.blocks(&seg), ["1:501"]);
    // RFC 2883 §4, (1): told in one ACK only.
    d.inject(". 701:801(100) ack 1");
    let seg = d.expect(". 1:1(0) ack 501");
    assert_eq!(d.blocks(&seg), ["701:801"]);
}

/// RFC 2883 §4.1.1, second example: with holes, the duplicate is first, then the blocks.
#[test]
fn a_duplicate_beside_holes() {
    let mut d = open();
    d.inject(". 1:501(500) ack 1");
    d.inject(". 1001:1501(500) ack 1");
    d.host.wire.sent.clear();
    d.inject(". 1:501(500) ack 1");
    let seg = d.expect(". 1:1(0) ack 501");
    assert_eq!(d.blocks(&seg), ["1:501", "1001:1501"]);
}

/// RFC 2883 §4.1.2: above a hole, the duplicate is followed by the block that holds it.
#[test]
fn a_duplicate_out_of_order() {
    let mut d = open();
    d.inject(". 501:1001(500) ack 1");
    d.inject(". 1001:1501(500) ack 1");
    d.host.wire.sent.clear();
    d.inject(". 501:1001(500) ack 1");
    let seg = d.expect(". 1:1(0) ack 1");
    assert_eq!(d.blocks(&seg), ["501:1001", "501:1501"]);
}

/// RFC 2883 §4.2.1: of a segment that came in part before, that part is reported.
#[test]
fn a_partial_duplicate() {
    let mut d = open();
    d.inject(". 1:501(500) ack 1");
    d.at(40);
    d.host.wire.sent.clear();
    d.inject(". 1:1001(1000) ack 1");
    let seg = d.expect(". 1:1(0) ack 1001");
    assert_eq!(d.blocks(&seg), ["1:501"]);
}

/// RFC 2883 §4.2.2, §4.2.3: out of order, that part is reported before the block.
#[test]
fn a_partial_duplicate_out_of_order() {
    let mut d = open();
    d.inject(". 501:1001(500) ack 1");
    d.host.wire.sent.clear();
    d.inject(". 501:1501(1000) ack 1");
    let seg = d.expect(". 1:1(0) ack 1");
    assert_eq!(d.blocks(&seg), ["501:1001", "501:1501"]);
    // From the left.
    d.inject(". 301:801(500) ack 1");
    let seg = d.expect(". 1:1(0) ack 1");
    assert_eq!(d.blocks(&seg), ["501:801", "301:1501"]);
}

/// RFC 2883 §4.2.3: of two duplicate parts one is reported: the first.
#[test]
fn a_segment_over_two_blocks() {
    let mut d = open();
    d.inject(". 501:601(100) ack 1");
    d.inject(". 801:901(100) ack 1");
    d.host.wire.sent.clear();
    d.inject(". 401:1001(600) ack 1");
    let seg = d.expect(". 1:1(0) ack 1");
    assert_eq!(d.blocks(&seg), ["501:601", "401:1001"]);
}

/// RFC 2883 §4, RFC 2018 §2: only where SACK is agreed.
#[test]
fn not_without_sack() {
    let mut d = Drill::accepted("<mss 1000>");
    d.inject(". 1:501(500) ack 1");
    d.inject(". 1:501(500) ack 1");
    let seg = d.expect(". 1:1(0) ack 501");
    assert!(seg.options.sack.is_empty());
    d.host.wire.sent.clear();
}
