//! RFC 4898: what TCP_INFO counts of a connection that meets losses. What it counts of one that does not is compared in
//! `preload/tests/cases/info.c`.

use crate::drill::{Drill, On};

super::drills!(
    segments_that_overtook_others_are_counted,
    time_outs_are_counted_with_what_they_cost,
    segments_out_of_order_are_counted,
    reported_duplicates_are_counted,
    data_and_its_copies_are_counted,
);

/// RFC 4898 tcpEStatsPathReorderings (tcpi_reord_seen)
fn segments_that_overtook_others_are_counted(on: On) {
    let mut d = Drill::accepted(on, "<mss 1000,sackOK>");
    d.write(1, 10_000).unwrap();
    assert_eq!(d.sent().len(), 10);
    d.inject(". 1:1(0) ack 1 <sack 2001:3001>");
    assert_eq!(d.info().reord_seen, 0);
    d.inject(". 1:1(0) ack 3001");
    assert_eq!(d.info().reord_seen, 1);
}

/// RFC 4898 tcpEStatsStackTimeouts (tcpi_total_rto, tcpi_total_rto_recoveries, tcpi_total_rto_time)
fn time_outs_are_counted_with_what_they_cost(on: On) {
    let mut d = Drill::accepted(on, "<mss 1000>");
    d.write(1, 1000).unwrap();
    d.expect(".p 1:1001(1000)");
    assert_eq!(d.info().total_rto, (0, 0));
    d.wait(900);
    assert_eq!(d.sent().len(), 2, "after about 200 and 600 ms");
    assert_eq!(d.info().total_rto, (2, 1));
    d.inject(". 1:1(0) ack 1001");
    let info = d.info();
    assert_eq!(info.total_rto, (2, 1));
    assert!((500..=900).contains(&info.total_rto_time), "{info:?}");
    assert_eq!((info.bytes_sent, info.bytes_retrans, info.bytes_acked), (3000, 2000, 1000));
    assert_eq!((info.total_retrans, info.delivered), (2, 2));
}

/// RFC 4898 tcpEStatsStackDupAcksOut's cause (tcpi_rcv_ooopack)
fn segments_out_of_order_are_counted(on: On) {
    let mut d = Drill::accepted(on, "<mss 1000,sackOK>");
    assert_eq!(d.info().rcv_ooopack, 0);
    d.inject(". 501:1001(500) ack 1");
    d.inject(". 1501:2001(500) ack 1");
    d.inject(". 1:501(500) ack 1");
    let info = d.info();
    assert_eq!((info.rcv_ooopack, info.segs_in, info.data_segs_in), (2, 5, 3));
    assert_eq!(info.bytes_received, 1000);
}

/// RFC 4898 tcpEStatsStackDSACKDups (tcpi_dsack_dups)
fn reported_duplicates_are_counted(on: On) {
    let mut d = Drill::accepted(on, "<mss 1000,sackOK>");
    d.write(1, 1000).unwrap();
    d.expect(".p 1:1001(1000)");
    assert_eq!(d.info().dsack_dups, 0);
    d.wait(900);
    assert!(!d.sent().is_empty(), "a probe, or what a time-out sends");
    d.inject(". 1:1(0) ack 1001 <sack 1:1001>");
    assert_eq!(d.info().dsack_dups, 1);
}

/// RFC 4898 tcpEStatsPerfSegsRetrans, tcpEStatsPerfDataSegsOut, tcpEStatsPerfHCDataOctetsOut
fn data_and_its_copies_are_counted(on: On) {
    let mut d = Drill::accepted(on, "<mss 1000,sackOK>");
    d.write(1, 5000).unwrap();
    assert_eq!(d.sent().len(), 5);
    d.inject(". 1:1(0) ack 1 <sack 1001:5001>");
    assert_eq!(d.sent().len(), 1);
    let info = d.info();
    assert_eq!((info.unacked, info.sacked, info.lost, info.retrans), (5, 4, 1, 1));
    assert_eq!((info.data_segs_out, info.bytes_sent, info.bytes_retrans), (6, 6000, 1000));
    d.inject(". 1:1(0) ack 5001");
    let info = d.info();
    assert_eq!((info.unacked, info.bytes_acked, info.delivered), (0, 5000, 6));
}
