//! Text both ways: RFC 9293 §3.7.4, §3.8.6.3, §3.10.7.4 seventh; RFC 2018 §4; RFC 2883.

use super::drill::Drill;
use crate::error::{Fault, SocketError};
use crate::tcp::{call, output};
use crate::types::Readiness;

const SACK: &str = "<mss 1000,sackOK>";

#[test]
fn a_request_is_acknowledged_by_its_answer() {
    let mut d = Drill::established();
    d.inject("P. 1:101(100) ack 1");
    d.silent();
    assert_eq!(d.wakes(), Readiness::IN);
    d.read(1, 100);
    d.write(1, 300).unwrap();
    d.expect_all(&["P. 1:301(300) ack 101"]);
    d.at(1000);
    assert_eq!(d.host.wire.sent.len(), 2, "only retransmissions, no ACK: {:?}", d.host.stats);
    d.expect("P. 1:301(300) ack 101");
    d.expect("P. 1:301(300) ack 101");
}

#[test]
fn an_ack_waits_forty_milliseconds_for_company() {
    let mut d = Drill::established();
    d.inject("P. 1:101(100) ack 1");
    d.at(39);
    d.silent();
    d.at(40);
    d.expect_all(&[". 1:1(0) ack 101"]);
    assert_eq!(d.host.recv(9), Ok((1..10).map(super::drill::pattern).collect()));
}

#[test]
fn every_second_full_segment_is_acknowledged_and_in_the_beginning_every_one() {
    let mut d = Drill::new();
    d.host.options.quickack = true;
    d.accept("<mss 1000>");
    for n in 0..16 {
        d.inject(&format!(". {}:{}(1000) ack 1", n * 1000 + 1, n * 1000 + 1001));
        d.expect_all(&[&format!(". 1:1(0) ack {}", n * 1000 + 1001)]);
    }
    d.inject(". 16001:17001(1000) ack 1");
    d.silent();
    d.inject(". 17001:18001(1000) ack 1");
    d.expect_all(&[". 1:1(0) ack 18001"]);
    d.inject(". 18001:19001(1000) ack 1");
    d.at(40);
    d.expect_all(&[". 1:1(0) ack 19001"]);
    d.read(1, 19_000);
}

#[test]
fn in_a_burst_one_ack_speaks_for_all() {
    let mut d = Drill::established();
    d.host.burst = true;
    for n in 0..6 {
        d.inject(&format!(". {}:{}(1000) ack 1", n * 1000 + 1, n * 1000 + 1001));
    }
    d.silent();
    d.host.with(output::push);
    d.expect_all(&[". 1:1(0) ack 6001"]);
}

#[test]
fn holes_are_told_at_once_and_filled() {
    let mut d = Drill::accepted(SACK);
    d.inject(". 1:101(100) ack 1");
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
    assert_eq!(d.host.tcb().recv_queue(), 100);
    d.inject(". 101:201(100) ack 1");
    d.expect_all(&[". 1:1(0) ack 351 <sack 1001:1101 801:901 601:701>"]);
    d.inject(". 301:801(500) ack 1");
    // What came twice is reported first, once (RFC 2883 §4).
    d.expect_all(&[". 1:1(0) ack 901 <sack 301:351 1001:1101>"]);
    d.inject(". 901:1001(100) ack 1");
    d.expect_all(&[". 1:1(0) ack 1101 <nothing>"]);
    d.read(1, 1100);
}

#[test]
fn a_duplicate_is_acknowledged_and_reported() {
    let mut d = Drill::accepted(SACK);
    d.inject("P. 1:101(100) ack 1");
    d.read(1, 100);
    d.inject("P. 1:101(100) ack 1");
    d.expect_all(&[". 1:1(0) ack 101 <sack 1:101>"]);
    d.inject("P. 51:151(100) ack 1");
    d.expect_all(&[". 1:1(0) ack 151 <sack 51:101>"]);
    d.read(101, 50);
}

#[test]
fn many_small_segments_share_frames_in_order_or_not() {
    let mut d = Drill::established();
    let free = d.host.pool.available();
    for n in 0..1000 {
        d.inject(&format!("P. {}:{}(2) ack 1", n * 2 + 1, n * 2 + 3));
    }
    assert!(free - d.host.pool.available() <= 5, "{}", free - d.host.pool.available());
    for n in 1100..1500 {
        d.inject(&format!("P. {}:{}(2) ack 1", n * 2 + 1, n * 2 + 3));
    }
    assert!(free - d.host.pool.available() <= 6, "{}", free - d.host.pool.available());
    d.read(1, 2000);
    d.host.wire.sent.clear();
}

#[test]
fn scattered_octets_pin_only_a_bounded_number_of_frames() {
    let mut d = Drill::established();
    let free = d.host.pool.available();
    for n in 0..1000 {
        d.inject(&format!("P. {}:{}(1) ack 1", n * 2 + 2, n * 2 + 3));
    }
    // As many as are left beyond the quarter that is kept for others.
    let limit = free * 3 / 8;
    assert!(limit < d.host.options.recv_buffer as usize / 1024 + 16, "else that is the limit");
    assert_eq!(free - d.host.pool.available(), limit);
    assert_eq!(d.host.stats.drop_buffer_full, 1000 - limit as u64);
    d.host.wire.sent.clear();
}

#[test]
fn a_full_buffer_blocks_and_wakes_when_a_third_is_free() {
    let mut d = Drill::new();
    (d.host.options.send_buffer, d.host.options.send_locked) = (6000, true);
    d.accept("<mss 1000>");
    assert_eq!(d.write(1, 10_000), Ok(6000));
    assert_eq!(d.write(6001, 1), Err(SocketError::WouldBlock));
    assert!(!d.host.tcb().readiness().contains(Readiness::OUT));
    d.inject(". 1:1(0) ack 1001");
    assert_eq!(d.wakes(), Readiness::NONE);
    d.inject(". 1:1(0) ack 2001");
    assert_eq!(d.wakes(), Readiness::OUT);
    assert!(d.host.tcb().readiness().contains(Readiness::OUT));
    d.host.wire.sent.clear();
}

#[test]
fn a_sender_cut_short_for_want_of_frames_is_woken_by_an_ack() {
    let mut d = Drill::established();
    let mut held = Vec::new();
    // What is left is for those who have none: one is anybody's even then.
    while d.host.pool.available() > d.host.pool.frames() as usize / 16 {
        held.extend(d.host.pool.alloc());
    }
    assert_eq!(d.write(1, 10_000), Ok(1000));
    d.host.wire.sent.clear();
    assert_eq!(d.wakes(), Readiness::NONE);
    d.inject(". 1:1(0) ack 1001");
    assert_eq!(d.wakes(), Readiness::OUT);
    held.into_iter().for_each(|pkt| d.host.pool.free(pkt));
}

#[test]
fn a_fault_of_the_applications_memory_loses_nothing() {
    let mut d = Drill::established();
    let mut calls = 0;
    let sent = d.host.with(|tcb, env| {
        call::send(tcb, env, 5000, false, |room| {
            calls += 1;
            if calls > 2 {
                return Err(Fault);
            }
            let from = (calls - 1) * 1000 + 1;
            for (n, byte) in room.iter_mut().enumerate() {
                *byte = super::drill::pattern(from + n as u32);
            }
            Ok(room.len())
        })
    });
    assert_eq!(sent, Ok(2000));
    d.expect_all(&[". 1:1001(1000)", "P. 1001:2001(1000)"]);
    let none = d.host.with(|tcb, env| call::send(tcb, env, 50, false, |_| Err(Fault)));
    assert_eq!(none, Err(SocketError::Fault));
    d.inject("P. 1:11(10) ack 2001");
    let none = d.host.with(|tcb, env| call::recv(tcb, env, 50, false, |_| Err(Fault)));
    assert_eq!(none, Err(SocketError::Fault));
    d.read(1, 10);
}

#[test]
fn peeking_takes_nothing() {
    let mut d = Drill::established();
    d.inject("P. 1:11(10) ack 1");
    for _ in 0..2 {
        let mut seen = 0;
        let n = d.host.with(|tcb, env| {
            call::recv(tcb, env, 4, true, |piece| {
                seen += piece.len();
                Ok(())
            })
        });
        assert_eq!((n, seen), (Ok(4), 4));
    }
    d.read(1, 10);
}

#[test]
fn a_short_source_ends_the_call() {
    let mut d = Drill::established();
    let sent = d.host.with(|tcb, env| {
        call::send(tcb, env, 3000, false, |room| {
            room[..7].copy_from_slice(&(1..8).map(super::drill::pattern).collect::<Vec<_>>());
            Ok(7)
        })
    });
    assert_eq!(sent, Ok(7));
    d.expect_all(&["P. 1:8(7) ack 1"]);
}

#[test]
fn one_sender_leaves_frames_to_the_others() {
    let mut d = Drill::new();
    d.host.options.send_buffer = 10 << 20;
    d.accept("<mss 1000>");
    let n = d.write(1, 1 << 20).unwrap();
    let (held, left) = (n / 1000, d.host.pool.available());
    assert_eq!((held, left), (512 * 3 / 8, 512 * 5 / 8), "a half of all but a quarter");
    d.host.wire.sent.clear();
}
