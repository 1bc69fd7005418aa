//! The window: RFC 9293 §3.8.6; silly windows §3.8.6.2; probes §3.8.6.1; acknowledgements §3.8.6.3.

use stack::error::SocketError;
use stack::socket::OptName;

use super::drills;
use crate::{Drill, Knob, On, State};

drills![
    an_ack_waits_a_while_for_company,
    every_second_full_segment_is_acknowledged,
    the_first_segments_are_acknowledged_at_once,
    an_answer_carries_the_acks_from_then_on,
    who_is_asked_first_acknowledges_the_answer_at_once,
    an_unread_buffer_shuts_the_window_and_reading_opens_it,
    what_reaches_over_the_window_is_cut,
    an_ack_counts_even_at_a_shut_window,
    a_shut_window_is_probed_ever_more_rarely,
    unanswered_probes_end_the_connection,
    a_silly_window_is_not_used_until_patience_ends,
    the_window_ends_what_is_sent,
    a_window_that_shrinks_takes_nothing_back,
    a_fin_needs_room_in_the_window_too,
];

/// RFC 9293 MUST-40, SHLD-18: under half a second
fn an_ack_waits_a_while_for_company(on: On) {
    let mut d = Drill::established(on);
    d.set(OptName::QuickAck, 0);
    d.inject("P. 1:101(100) ack 1");
    d.at(30);
    d.silent();
    d.at(60);
    d.expect_all(&[". 1:1(0) ack 101"]);
    d.read(1, 100);
}

/// RFC 9293 SHLD-19
fn every_second_full_segment_is_acknowledged(on: On) {
    let mut d = Drill::established(on);
    // In the beginning it may be every one.
    for n in 0..40 {
        d.inject(&format!(". {}:{}(1000) ack 1", n * 1000 + 1, n * 1000 + 1001));
        d.read(n * 1000 + 1, 1000);
    }
    d.sent();
    for n in 40..60 {
        d.inject(&format!(". {}:{}(1000) ack 1", n * 1000 + 1, n * 1000 + 1001));
        d.read(n * 1000 + 1, 1000);
        if n % 2 == 1 {
            assert!(!d.sent().is_empty(), "two full segments without an ACK");
        }
    }
}

/// As Linux has it: the peer is in slow start, or its next segment waits for this one's ACK
fn the_first_segments_are_acknowledged_at_once(on: On) {
    let mut d = Drill::established(on);
    for n in 0..16 {
        d.inject(&format!("P. {}:{}(10) ack 1", n * 10 + 1, n * 10 + 11));
        d.expect_all(&[&format!(". 1:1(0) ack {}", n * 10 + 11)]);
    }
    d.inject("P. 161:171(10) ack 1");
    d.wait(30);
    d.silent();
    d.wait(30);
    d.expect_all(&[". 1:1(0) ack 171"]);
    d.read(1, 170);
}

/// As Linux has it: requests and answers (pingpong)
fn an_answer_carries_the_acks_from_then_on(on: On) {
    let mut d = Drill::established(on);
    d.inject("P. 1:101(100) ack 1");
    d.expect_all(&[". 1:1(0) ack 101"]);
    d.read(1, 100);
    d.write(1, 50).unwrap();
    d.expect_all(&["P. 1:51(50) ack 101"]);
    d.inject("P. 101:201(100) ack 51");
    d.wait(30);
    d.silent();
    d.read(101, 100);
    d.write(51, 50).unwrap();
    d.expect_all(&["P. 51:101(50) ack 201"]);
    // An ACK that waited in vain ends it.
    d.inject("P. 201:301(100) ack 101");
    d.wait(60);
    d.expect_all(&[". 101:101(0) ack 301"]);
    d.inject("P. 301:401(100) ack 101");
    d.expect_all(&[". 101:101(0) ack 401"]);
}

/// As Linux has it: who begins with a question is not in a conversation yet
fn who_is_asked_first_acknowledges_the_answer_at_once(on: On) {
    let mut d = Drill::established(on);
    d.write(1, 50).unwrap();
    d.expect_all(&["P. 1:51(50) ack 1"]);
    d.inject("P. 1:101(100) ack 51");
    d.expect_all(&[". 51:51(0) ack 101"]);
}

fn small_buffer(on: On, octets: i32) -> Drill {
    let mut d = Drill::new(on);
    d.set(OptName::RecvBuffer, octets);
    d.accept("<mss 1000>");
    d
}

/// The peer fills the window; what it held.
fn fill(d: &mut Drill) -> u32 {
    let mut sent = 0;
    for _ in 0..200 {
        d.inject(&format!(". {}:{}(500) ack 1", sent + 1, sent + 501));
        sent += 500;
        let Some(last) = d.sent().pop() else { continue };
        let acked = last.ack.wrapping_sub(u32::MAX - 700).wrapping_sub(1);
        if last.wnd == 0 {
            return acked;
        }
        sent = acked;
    }
    panic!("a window without an end\n{d}");
}

/// RFC 9293 MAY-8, SHLD-14; RFC 9293 MUST-39, §3.8.6.2.2
fn an_unread_buffer_shuts_the_window_and_reading_opens_it(on: On) {
    let mut d = small_buffer(on, 4000);
    let held = fill(&mut d);
    // A probe with an octet is not taken, but answered (MUST-66).
    d.inject(&format!(". {}:{}(1) ack 1", held + 1, held + 2));
    d.expect_all(&[&format!(". 1:1(0) ack {} win 0", held + 1)]);
    d.recv(10).unwrap();
    d.silent();
    d.recv(1 << 20).unwrap();
    let update = d.expect(&format!(". 1:1(0) ack {}", held + 1));
    assert!(update.wnd >= 1000, "{update:?}");
}

/// RFC 9293 §3.10.7.4 first: text outside the window is left out
fn what_reaches_over_the_window_is_cut(on: On) {
    let mut d = small_buffer(on, 4000);
    let held = fill(&mut d);
    d.inject(&format!("F. {}:{}(10) ack 1", held + 1, held + 11));
    d.expect(&format!(". 1:1(0) ack {} win 0", held + 1));
    assert_eq!(d.state(), State::Established);
}

/// RFC 9293 MUST-66
fn an_ack_counts_even_at_a_shut_window(on: On) {
    let mut d = small_buffer(on, 4000);
    let held = fill(&mut d);
    d.write(1, 10).unwrap();
    d.expect(&format!("P. 1:11(10) ack {} win 0", held + 1));
    d.inject(&format!("P. {}:{}(100) ack 11", held + 1, held + 101));
    d.expect_all(&[&format!(". 11:11(0) ack {} win 0", held + 1)]);
    d.at(700);
    // It is not sent again, so it was acknowledged.
    d.silent();
    d.inject(&format!("R {0}:{0}(0)", held + 1));
    assert_eq!(d.state(), State::Closed);
}

/// RFC 9293 MUST-35, MUST-36, MUST-37, SHLD-29, SHLD-30
fn a_shut_window_is_probed_ever_more_rarely(on: On) {
    let mut d = Drill::established(on);
    d.inject(". 1:1(0) ack 1 win 0");
    d.write(1, 500).unwrap();
    d.silent();
    let (mut last, mut gaps) = (0, Vec::new());
    for _ in 0..4 {
        d.wait(if gaps.is_empty() { 150 } else { 320 * (1 << (gaps.len() - 1)) });
        d.silent();
        for _ in 0..300 {
            d.wait(10);
            if let Some(probe) = d.sent().pop() {
                assert!(probe.len() <= 1, "{probe:?}");
                break;
            }
        }
        gaps.push(d.elapsed_ms() - last);
        last = d.elapsed_ms();
        // Each answer proves that the peer lives.
        d.inject(". 1:1(0) ack 1 win 0");
    }
    assert!(gaps.windows(2).all(|pair| pair[1] > pair[0] * 3 / 2), "{gaps:?}");
    d.inject(". 1:1(0) ack 1 win 5000");
    d.expect_all(&["P. 1:501(500) ack 1"]);
}

/// RFC 9293 §3.8.6.1; Linux: tcp_retries2 for probes that nobody answers
fn unanswered_probes_end_the_connection(on: On) {
    let mut d = Drill::with(on, &[Knob::Retries(3)]);
    d.accept("<mss 1000>");
    d.inject(". 1:1(0) ack 1 win 0");
    d.write(1, 500).unwrap();
    d.at(12_000);
    assert_eq!(d.state(), State::Closed);
    assert!((3..=4).contains(&d.sent().len()));
    assert_eq!(d.recv(1), Err(SocketError::TimedOut.into()));
}

/// RFC 9293 MUST-38
fn a_silly_window_is_not_used_until_patience_ends(on: On) {
    let mut d = Drill::established(on);
    d.write(1, 1000).unwrap();
    d.expect("P. 1:1001(1000) ack 1");
    d.inject(". 1:1(0) ack 1001 win 400");
    d.write(1001, 1000).unwrap();
    d.silent();
    d.at(240);
    d.expect_all(&[".p 1001:1401(400) ack 1"]);
}

/// RFC 9293 §3.8.6
fn the_window_ends_what_is_sent(on: On) {
    let mut d = Drill::new(on);
    d.accept_window("<mss 1000>", 2500);
    d.write(1, 10_000).unwrap();
    d.expect_all(&[". 1:1001(1000)", ".p 1001:2001(1000)"]);
    d.inject(". 1:1(0) ack 2001 win 2500");
    let sent = d.sent();
    let ends: Vec<u32> = sent.iter().map(|seg| d.range(seg).1).collect();
    assert!(ends.starts_with(&[3001, 4001]) && ends.iter().all(|&end| end <= 4501), "{ends:?}");
}

/// RFC 9293 MAY-7; RFC 9293 MUST-34, SHLD-15 … SHLD-17; RFC 7323 §2.4
fn a_window_that_shrinks_takes_nothing_back(on: On) {
    let mut d = Drill::established(on);
    d.write(1, 4000).unwrap();
    assert_eq!(d.sent().len(), 4);
    d.inject(". 1:1(0) ack 2001 win 100");
    d.at(230);
    let again = d.sent();
    assert!(!again.is_empty());
    d.inject(". 1:1(0) ack 4001 win 100");
    d.write(4001, 50).unwrap();
    d.expect("P. 4001:4051(50)");
}

/// RFC 9293 §3.10.4, MUST-35: a FIN takes room, too
fn a_fin_needs_room_in_the_window_too(on: On) {
    let mut d = Drill::established(on);
    d.inject(". 1:1(0) ack 1 win 0");
    d.close();
    d.silent();
    d.at(230);
    d.expect_all(&[". 0:0(0) ack 1"]);
    d.inject(". 1:1(0) ack 1 win 1");
    d.expect_all(&["F. 1:1(0) ack 1"]);
}
