//! The MSS: RFC 9293 §3.7.1, RFC 6691, TCP_MAXSEG.

use super::drill::Drill;

#[test]
fn segments_are_as_long_as_both_ends_and_the_path_allow() {
    for (mtu, offer, max_segment, len) in [
        (1500, "<mss 1460>", None, 1460),
        (1500, "<mss 1460,TS 1 0>", None, 1448),
        (1000, "<mss 1460>", None, 960),
        (1500, "<mss 500>", None, 500),
        (1500, "", None, 536),
        (9000, "<mss 8960>", None, 1856),
        (1500, "<mss 1460>", Some(700), 700),
        (1500, "<mss 1>", None, 48),
    ] {
        let mut d = Drill::new();
        d.host.wire.mtu = mtu;
        d.host.options.max_segment = max_segment.and_then(core::num::NonZeroU16::new);
        d.accept(offer);
        d.write(1, 4000).unwrap();
        let seg = d.expect(".");
        assert_eq!(seg.len, len, "{mtu} {offer} {max_segment:?}");
        d.host.wire.sent.clear();
    }
}

#[test]
fn blocks_ride_on_data_only_where_they_fit() {
    let mut d = Drill::accepted("<mss 1000,sackOK>");
    d.inject("P. 101:201(100) ack 1");
    d.expect_all(&[". 1:1(0) ack 1 <sack 101:201>"]);
    d.write(1, 1900).unwrap();
    d.expect_all(&[". 1:1001(1000) ack 1 <nothing>", "P. 1001:1901(900) ack 1 <sack 101:201>"]);
}

#[test]
fn a_connection_is_small() {
    assert!(size_of::<crate::tcp::Tcb>() <= 856, "{}", size_of::<crate::tcp::Tcb>());
}
