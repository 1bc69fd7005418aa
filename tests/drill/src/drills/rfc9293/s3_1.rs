//! The header and its options: RFC 9293 §3.1, §3.2, §3.4.

use stack::error::SocketError;

use super::drills;
use crate::{Drill, Knob, On, State};

drills![
    checksums_are_right,
    a_wrong_checksum_is_not_heard,
    a_header_that_is_cut_short_is_not_heard,
    the_window_is_unsigned,
    the_last_segment_of_a_write_is_pushed,
    options_may_come_in_any_segment_and_begin_anywhere,
    unknown_options_are_skipped,
    illegal_option_lengths_hurt_nobody,
    the_mss_is_in_syns_only,
    the_mss_that_is_offered_is_what_the_link_takes,
    numbers_go_round,
];

/// RFC 9293 MUST-2, MUST-69: the drill checks every segment that is sent, here of odd and even lengths
fn checksums_are_right(on: On) {
    let mut d = Drill::accepted(on, "<mss 1000,sackOK,TS 1 0>");
    let mut from = 1;
    for n in [1, 2, 3, 255, 256, 987] {
        d.write(from, n).unwrap();
        from += n;
        d.sent();
        d.inject(&format!(". 1:1(0) ack {from} <TS 3 last>"));
    }
    d.silent();
}

/// RFC 9293 MUST-3
fn a_wrong_checksum_is_not_heard(on: On) {
    let mut d = Drill::established(on);
    let ip = usize::from(on.ip_header());
    for octet in [ip + 4, ip + 16, ip + 20] {
        d.inject_spoilt("P. 1:101(100) ack 1", |packet| packet[octet] ^= 1);
    }
    d.silent();
    assert_eq!(d.recv(1), Err(SocketError::WouldBlock.into()));
    d.inject("P. 1:101(100) ack 1");
    d.read(1, 100);
}

/// RFC 9293 §3.1: the data offset is five at least, and no more than there is
fn a_header_that_is_cut_short_is_not_heard(on: On) {
    let mut d = Drill::established(on);
    let offset = usize::from(on.ip_header()) + 12;
    for words in [0, 4, 15] {
        // The checksum is made whole again: the offset is what is wrong.
        d.inject_spoilt("P. 1:11(10) ack 1", |packet| {
            let old = u32::from(packet[offset]);
            packet[offset] = words << 4;
            let at = offset + 4;
            let sum = u32::from(u16::from_be_bytes([packet[at], packet[at + 1]]));
            let sum = !sum as u16 as u32 + (!(old << 8) & 0xffff) + (u32::from(words) << 12);
            let sum = (sum & 0xffff) + (sum >> 16);
            let sum = (sum & 0xffff) + (sum >> 16);
            packet[at..at + 2].copy_from_slice(&(!sum as u16).to_be_bytes());
        });
    }
    d.silent();
    assert_eq!(d.recv(1), Err(SocketError::WouldBlock.into()));
    assert_eq!(d.state(), State::Established);
}

/// RFC 9293 MUST-1, REC-1
fn the_window_is_unsigned(on: On) {
    let mut d = Drill::new(on);
    d.accept_window("<mss 1000>", 65_535);
    d.write(1, 10_000).unwrap();
    assert_eq!(d.sent().len(), 10);
}

/// RFC 9293 MUST-60, MUST-61, SHLD-28
fn the_last_segment_of_a_write_is_pushed(on: On) {
    let mut d = Drill::established(on);
    d.write(1, 2500).unwrap();
    d.expect_all(&[".p 1:1001(1000)", ".p 1001:2001(1000)", "P. 2001:2501(500)"]);
}

/// RFC 9293 MUST-5, MUST-64, MUST-68
fn options_may_come_in_any_segment_and_begin_anywhere(on: On) {
    let mut d = Drill::accepted(on, "<mss 1000,TS 1 0>");
    // Three octets of padding, then timestamps: value 9, echo 0.
    d.inject("P. 1:11(10) ack 1 <raw 010101080a0000000900000000>");
    d.read(1, 10);
    d.sent();
    d.write(1, 10).unwrap();
    d.expect("P. 1:11(10) ack 11 <TS * 9>");
    d.inject("F. 11:11(0) ack 11 <raw 010108 , raw 0a0000000a00000000>");
    d.expect(". 11:11(0) ack 12 <TS * 10>");
}

/// RFC 9293 MUST-4, MUST-6
fn unknown_options_are_skipped(on: On) {
    let mut d = Drill::listening(on);
    d.inject("S 0:0(0) win 20000 <kind 253 0102,kind 254,mss 700,raw 0101>");
    d.expect("S. 0:0(0) ack 1 <mss>");
    d.inject(". 1:1(0) ack 1 <kind 77 0102030405>");
    d.inject("P. 1:11(10) ack 1 <raw 00>");
    d.read(1, 10);
    d.write(1, 1500).unwrap();
    assert!(d.sent().iter().any(|seg| seg.len() == 700));
}

/// RFC 9293 MUST-7
fn illegal_option_lengths_hurt_nobody(on: On) {
    let mut d = Drill::established(on);
    for raw in ["fe00", "fe01", "feff", "010101fe", "0205", "0800", "050a0000"] {
        d.inject(&format!(". 1:1(0) ack 1 <raw {raw}>"));
    }
    d.sent();
    assert_eq!(d.state(), State::Established);
    d.inject("P. 1:101(100) ack 1");
    d.read(1, 100);
}

/// RFC 9293 MUST-65, SHLD-5, MAY-3
fn the_mss_is_in_syns_only(on: On) {
    let mut d = Drill::listening(on);
    d.inject("S 0:0(0) <mss 1000>");
    d.expect("S. 0:0(0) ack 1 <mss>");
    d.inject(". 1:1(0) ack 1");
    d.write(1, 10).unwrap();
    d.expect("P. 1:11(10) <no mss>");
    d.close();
    d.expect("F. 11:11(0) <no mss>");
}

/// RFC 9293 MUST-67, MUST-14
fn the_mss_that_is_offered_is_what_the_link_takes(on: On) {
    for mtu in [1300, 1500] {
        let mut d = Drill::with(on, &[Knob::Mtu(mtu)]);
        let mss = mtu - 20 - on.ip_header();
        assert_eq!(d.connect(), Err(SocketError::InProgress.into()));
        d.expect(&format!("S 0:0(0) <mss {mss}>"));
    }
}

/// RFC 9293 §3.4: the peer's numbers wrap after 700 octets
fn numbers_go_round(on: On) {
    let mut d = Drill::established(on);
    d.inject(". 1:601(600) ack 1");
    d.inject(". 601:1601(1000) ack 1");
    d.inject("P. 1601:1701(100) ack 1");
    d.read(1, 1700);
    let last = d.sent().pop().map_or(0, |seg| seg.ack);
    assert!(last < 2000, "{last}");
}
