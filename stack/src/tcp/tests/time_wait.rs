//! TIME-WAIT: RFC 9293 §3.10.7.4, RFC 1337, RFC 6191.

use super::drill::Drill;
use crate::ip::Flow;
use crate::seq::Seq;
use crate::tcp::time_wait::Outcome;
use crate::tcp::{State, TimeWait};
use crate::types::Direction;
use crate::wire::tcp::{Flags, Segment, TimestampsOption};

fn waiting(options: &str) -> (Drill, TimeWait) {
    let mut d = Drill::accepted(options);
    let ts = if options.contains("TS") { "<TS 3 0>" } else { "" };
    d.close();
    d.expect("F. 1:1(0) ack 1");
    d.inject(&format!("F. 1:1(0) ack 2 {ts}"));
    d.expect_all(&[". 2:2(0) ack 2"]);
    assert_eq!(d.state(), State::TimeWait);
    let rest = TimeWait::of(d.host.tcb());
    (d, rest)
}

fn answer(d: &mut Drill, rest: &mut TimeWait, seg: Segment) -> Outcome {
    let mut flow = Flow::new(d.host.flow, Direction::In);
    rest.segment(&seg, &mut flow, &mut d.host.env())
}

#[test]
fn it_is_small() {
    assert!(size_of::<TimeWait>() <= 64, "{}", size_of::<TimeWait>());
}

#[test]
fn a_fin_that_is_seen_again_starts_the_wait_anew() {
    for compact in [false, true] {
        let (mut d, mut rest) = waiting("<mss 1000>");
        d.at(50_000);
        if compact {
            let fin = Segment {
                seq: d.host.tcb().rcv.nxt - 1,
                ack: d.host.tcb().snd.nxt,
                flags: Flags::FIN | Flags::ACK,
                ..Segment::default()
            };
            assert_eq!(answer(&mut d, &mut rest, fin), Outcome::Stay);
            assert_eq!(rest.deadline(), d.host.now + d.host.config.time_wait);
        } else {
            d.inject("F. 1:1(0) ack 2");
            d.at(60_000);
            assert_eq!(d.state(), State::TimeWait);
        }
        d.expect_all(&[". 2:2(0) ack 2"]);
    }
}

#[test]
fn a_reset_does_not_end_the_wait() {
    let (mut d, _) = waiting("<mss 1000>");
    d.inject("R 2:2(0)");
    d.inject("R. 2:2(0) ack 2");
    d.silent();
    assert_eq!(d.state(), State::TimeWait);
}

#[test]
fn old_text_is_acknowledged_and_plain_acks_are_not() {
    let (mut d, _) = waiting("<mss 1000>");
    d.inject("P. 1:11(10) ack 1");
    d.expect_all(&[". 2:2(0) ack 2"]);
    d.inject(". 2:2(0) ack 2");
    d.silent();
}

#[test]
fn a_newer_syn_takes_the_place() {
    let (mut d, mut rest) = waiting("<mss 1000>");
    let nxt = d.host.tcb().rcv.nxt;
    let syn = |seq: Seq| Segment { seq, flags: Flags::SYN, ..Segment::default() };
    assert_eq!(answer(&mut d, &mut rest, syn(nxt - 1)), Outcome::Stay);
    d.expect_all(&[". 2:2(0) ack 2"]);
    assert_eq!(answer(&mut d, &mut rest, syn(nxt + 1)), Outcome::Reuse);
    d.silent();
    assert!(!rest.may_reuse(d.host.now + core::time::Duration::from_secs(2)));
}

#[test]
fn a_later_timestamp_tells_too() {
    let (mut d, mut rest) = waiting("<mss 1000,TS 1 0>");
    let nxt = d.host.tcb().rcv.nxt;
    let syn = |val: u32| {
        let mut seg = Segment { seq: nxt - 100, flags: Flags::SYN, ..Segment::default() };
        seg.options.timestamps = Some(TimestampsOption { val, ecr: 0 });
        seg
    };
    assert_eq!(answer(&mut d, &mut rest, syn(2)), Outcome::Stay);
    d.expect_all(&[". 2:2(0) ack 2"]);
    assert_eq!(answer(&mut d, &mut rest, syn(4)), Outcome::Reuse);
    assert!(!rest.may_reuse(d.host.now));
    assert!(rest.may_reuse(d.host.now + core::time::Duration::from_secs(1)));
}
