//! Data communication and the retransmission time-out as an onlooker sees them: RFC 9293 §3.8.1, §3.8.3.

use stack::error::SocketError;
use stack::socket::OptName;
use stack::types::Readiness;

use super::drills;
use crate::{Drill, Knob, On, State};

drills![
    what_is_written_is_sent_and_what_is_received_is_read,
    an_answer_carries_the_ack,
    a_full_buffer_blocks_and_wakes_when_there_is_room,
    peeking_takes_nothing,
    a_part_of_a_segment_can_be_acknowledged,
    everything_is_given_up_after_some_time_outs,
    a_user_timeout_comes_first,
];

/// RFC 9293 §3.8
fn what_is_written_is_sent_and_what_is_received_is_read(on: On) {
    let mut d = Drill::established(on);
    d.write(1, 2500).unwrap();
    d.expect_all(&[". 1:1001(1000) ack 1", ". 1001:2001(1000) ack 1", "P. 2001:2501(500) ack 1"]);
    d.inject(". 1:1(0) ack 2501");
    d.inject("P. 1:701(700) ack 2501");
    d.read(1, 700);
    d.sent();
    assert_eq!(d.recv(1), Err(SocketError::WouldBlock.into()));
}

/// RFC 9293 §3.8.6.3: an ACK rides on data
fn an_answer_carries_the_ack(on: On) {
    let mut d = Drill::established(on);
    d.set(OptName::QuickAck, 0);
    d.inject("P. 1:101(100) ack 1");
    d.silent();
    assert!(d.wakes().contains(Readiness::IN));
    d.read(1, 100);
    d.write(1, 300).unwrap();
    d.expect_all(&["P. 1:301(300) ack 101"]);
    d.at(150);
    d.silent();
}

/// SO_SNDBUF, EPOLLOUT as Linux has them
fn a_full_buffer_blocks_and_wakes_when_there_is_room(on: On) {
    let mut d = Drill::new(on);
    d.set(OptName::SendBuffer, 10_000);
    d.accept("<mss 1000>");
    let mut written = 1;
    while let Ok(n) = d.write(written, 1000) {
        written += n as u32;
        assert!(written < 1_000_000, "a buffer without an end");
    }
    assert_eq!(d.write(written, 1), Err(SocketError::WouldBlock.into()));
    assert!(!d.ready().contains(Readiness::OUT));
    d.wakes();
    let mut acked = 1;
    while acked < written {
        let sent = d.sent();
        acked = sent.last().map(|last| d.range(last).1).expect("what was written is sent");
        d.inject(&format!(". 1:1(0) ack {acked}"));
    }
    assert!(d.ready().contains(Readiness::OUT));
    assert!(d.wakes().contains(Readiness::OUT));
}

/// MSG_PEEK
fn peeking_takes_nothing(on: On) {
    let mut d = Drill::established(on);
    d.inject("P. 1:11(10) ack 1");
    let peek = stack::socket::RecvFlags { peek: true, ..Default::default() };
    for _ in 0..2 {
        assert_eq!(d.recv_with(4, peek).map(|b| b.len()), Ok(4));
    }
    d.read(1, 10);
}

/// RFC 9293 §3.8.1
fn a_part_of_a_segment_can_be_acknowledged(on: On) {
    let mut d = Drill::established(on);
    d.write(1, 1000).unwrap();
    d.expect("P. 1:1001(1000)");
    d.inject(". 1:1(0) ack 501");
    d.at(210);
    d.expect_all(&["P. 501:1001(500)"]);
    d.inject(". 1:1(0) ack 1001");
    d.silent();
}

/// RFC 9293 MUST-20, §3.8.3; RFC 1122 §4.2.3.5
fn everything_is_given_up_after_some_time_outs(on: On) {
    let mut d = Drill::with(on, &[Knob::Retries(3)]);
    d.accept("<mss 1000>");
    d.write(1, 100).unwrap();
    d.expect("P. 1:101(100)");
    d.at(12_000);
    assert_eq!(d.state(), State::Closed);
    let again = d.sent();
    assert!((3..=4).contains(&again.len()), "{}", again.len());
    assert_eq!(d.recv(1), Err(SocketError::TimedOut.into()));
}

/// RFC 9293 MUST-21; RFC 5482 §3; TCP_USER_TIMEOUT
fn a_user_timeout_comes_first(on: On) {
    let mut d = Drill::new(on);
    d.set(OptName::UserTimeout, 2000);
    d.accept("<mss 1000>");
    d.write(1, 100).unwrap();
    d.at(1_300);
    assert_eq!(d.state(), State::Established);
    d.at(4_000);
    assert_eq!(d.state(), State::Closed);
    d.sent();
    assert_eq!(d.recv(1), Err(SocketError::TimedOut.into()));
}
