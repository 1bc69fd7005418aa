//! Urgent data: RFC 6093, RFC 9293 §3.8.5 (MUST-30 to MUST-33, MUST-62), as Linux reads it: the pointer is one
//! past the urgent octet, one octet is urgent, a newer one makes an older one plain.

use super::drill::{Drill, pattern};
use crate::error::SocketError;
use crate::tcp::call;
use crate::types::Readiness;

fn urgent(d: &mut Drill, peek: bool) -> Result<Option<u8>, SocketError> {
    d.host.with(|tcb, _| call::recv_urgent(tcb, peek))
}

fn send_urgent(d: &mut Drill, from: u32, n: u32) -> usize {
    let bytes: Vec<u8> = (from..from + n).map(pattern).collect();
    let mut rest = &bytes[..];
    let source = |room: &mut [u8]| {
        room.copy_from_slice(&rest[..room.len()]);
        rest = &rest[room.len()..];
        Ok(room.len())
    };
    d.host.with(|tcb, env| call::send_urgent(tcb, env, n as usize, false, source)).unwrap()
}

fn inline() -> Drill {
    let mut d = Drill::new();
    d.host.options.urgent_inline = true;
    d.accept("<mss 1000>");
    d
}

/// RFC 9293 MUST-62, RFC 6093 §3.1.
/// RFC 6093 §4
#[test]
fn the_pointer_names_the_octet_behind_the_urgent_one() {
    let mut d = Drill::established();
    assert_eq!(send_urgent(&mut d, 1, 3), 3);
    d.expect_all(&["P.U 1:4(3) ack 1 urg 3"]);
    d.inject(". 1:1(0) ack 4");
    d.write(4, 2).unwrap();
    d.expect_all(&["P. 4:6(2) ack 1 urg 0"]);
}

/// RFC 9293 MUST-31: urgent data of any length; every segment before its end points to it.
#[test]
fn all_segments_before_the_end_carry_the_pointer_and_it_is_sent_again() {
    let mut d = Drill::established();
    assert_eq!(send_urgent(&mut d, 1, 2500), 2500);
    d.expect_all(&[".U 1:1001(1000) urg 2500", ".U 1001:2001(1000) urg 1500", "P.U 2001:2501(500) urg 500"]);
    d.inject(". 1:1(0) ack 1001");
    d.at(250);
    d.expect_all(&[".U 1001:2001(1000) urg 1500"]);
    d.host.wire.sent.clear();
}

/// RFC 9293 §3.8.5: urgency does not wait for Nagle, nor for the window.
#[test]
fn urgent_data_is_not_held_and_is_announced_through_a_shut_window() {
    let mut d = Drill::established();
    d.write(1, 10).unwrap();
    d.expect_all(&["P. 1:11(10)"]);
    d.write(11, 10).unwrap();
    d.silent();
    assert_eq!(send_urgent(&mut d, 21, 1), 1);
    d.expect_all(&["P.U 11:22(11) urg 11"]);
    d.inject(". 1:1(0) ack 22 win 0");
    assert_eq!(send_urgent(&mut d, 22, 5), 5);
    d.silent();
    d.at(1000);
    d.expect(".U 22:22(0) ack 1 urg 5");
    d.host.wire.sent.clear();
    d.inject(". 1:1(0) ack 22 win 2000");
    d.expect_all(&["P.U 22:27(5) ack 1 urg 5"]);
    d.inject(". 1:1(0) ack 27 win 0");
    d.write(27, 5).unwrap();
    d.at(2000);
    d.expect(". 26:26(0) ack 1 urg 0");
    d.host.wire.sent.clear();
}

/// RFC 9293 MUST-32, MUST-33: the application is told, and how far it is.
#[test]
fn the_urgent_octet_is_read_out_of_the_stream() {
    let mut d = Drill::established();
    d.inject("P.U 1:11(10) ack 1 urg 5");
    let wakes = d.wakes();
    assert!(wakes.contains(Readiness::URG | Readiness::PRI | Readiness::IN), "{wakes:?}");
    assert_eq!((d.host.tcb().recv_ahead(), d.host.tcb().at_mark()), (4, false));
    assert!(d.host.tcb().readiness().contains(Readiness::PRI));
    assert_eq!(urgent(&mut d, true), Ok(Some(pattern(5))));
    assert_eq!(urgent(&mut d, false), Ok(Some(pattern(5))));
    assert_eq!(urgent(&mut d, false), Err(SocketError::Invalid));
    assert!(!d.host.tcb().readiness().contains(Readiness::PRI));
    d.read(1, 4);
    assert!(d.host.tcb().at_mark());
    d.read(6, 5);
    assert!(!d.host.tcb().at_mark());
    d.host.wire.sent.clear();
}

#[test]
fn an_urgent_octet_that_nobody_reads_is_gone_with_the_mark() {
    let mut d = Drill::established();
    d.inject("P.U 1:4(3) ack 1 urg 3");
    d.read(1, 2);
    assert!(d.host.tcb().at_mark() && !d.host.tcb().readiness().contains(Readiness::IN));
    assert_eq!(urgent(&mut d, true), Ok(Some(pattern(3))));
    assert_eq!(d.host.recv(10), Err(SocketError::WouldBlock));
    assert_eq!(urgent(&mut d, true), Err(SocketError::Invalid));
    d.inject("P. 4:6(2) ack 1");
    assert!(d.host.tcb().readiness().contains(Readiness::IN));
    d.read(4, 2);
    d.host.wire.sent.clear();
}

/// RFC 6093 §6
#[test]
fn in_line_it_is_read_in_its_place_and_only_the_mark_stops_a_read() {
    let mut d = inline();
    d.inject("P.U 1:11(10) ack 1 urg 5");
    assert_eq!(urgent(&mut d, false), Err(SocketError::Invalid));
    d.read(1, 4);
    assert!(d.host.tcb().at_mark());
    d.read(5, 6);
    assert_eq!(d.host.tcb().recv_ahead(), 0);
    d.host.wire.sent.clear();
}

/// RFC 6093 §3.2: pointers that come later win; the older octet is then plain data (or lost to it, as in Linux,
/// when reading stands before it).
#[test]
fn a_newer_pointer_makes_the_older_octet_plain() {
    let mut d = Drill::established();
    d.inject("P.U 1:4(3) ack 1 urg 2");
    d.inject("P.U 4:8(4) ack 1 urg 3");
    assert_eq!(urgent(&mut d, false), Ok(Some(pattern(6))));
    d.read(1, 5);
    d.read(7, 1);
    d.inject("P.U 8:9(1) ack 1 urg 1");
    d.inject("P.U 9:10(1) ack 1 urg 1");
    assert_eq!(urgent(&mut d, false), Ok(Some(pattern(9))));
    assert_eq!(d.host.tcb().recv_queue(), 1, "the octet before was taken out of the stream");
    d.host.wire.sent.clear();
}

#[test]
fn an_announced_octet_may_come_later_and_out_of_order() {
    let mut d = Drill::established();
    d.inject(".U 1:1(0) ack 1 urg 6");
    assert!(d.wakes().contains(Readiness::URG));
    assert_eq!(urgent(&mut d, false), Err(SocketError::WouldBlock));
    d.inject("P. 4:9(5) ack 1");
    assert!(d.wakes().contains(Readiness::PRI));
    assert_eq!(urgent(&mut d, false), Ok(Some(pattern(6))));
    d.inject(". 1:4(3) ack 1");
    d.read(1, 5);
    d.read(7, 2);
    d.host.wire.sent.clear();
}

/// A segment that repeats known octets counts its pointer from its own first octet.
#[test]
fn the_pointer_is_counted_from_the_segment_as_it_was_sent() {
    let mut d = Drill::established();
    d.inject("P. 1:6(5) ack 1");
    d.inject("P.U 1:11(10) ack 1 urg 8");
    assert_eq!(urgent(&mut d, false), Ok(Some(pattern(8))));
    d.host.wire.sent.clear();
}

#[test]
fn urgent_data_that_never_comes_ends_with_the_stream() {
    let mut d = Drill::established();
    d.inject("P.U 1:2(1) ack 1 urg 9");
    d.inject("F. 2:2(0) ack 1");
    assert_eq!(urgent(&mut d, false), Ok(None));
    d.read(1, 1);
    d.inject("R 3:3(0)");
    d.host.wire.sent.clear();
}

#[test]
fn peeking_leaves_out_the_urgent_octet_too() {
    let mut d = Drill::established();
    d.inject("P.U 1:4(3) ack 1 urg 1");
    let mut seen = Vec::new();
    let peeked = d.host.with(|tcb, env| {
        call::recv(tcb, env, 9, true, |piece| {
            seen.extend_from_slice(piece);
            Ok(())
        })
    });
    assert_eq!((peeked, &seen[..]), (Ok(2), &[pattern(2), pattern(3)][..]));
    d.read(2, 2);
    d.host.wire.sent.clear();
}
