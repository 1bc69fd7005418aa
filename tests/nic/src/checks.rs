//! The checks of a wire that is up; those of one that goes are in `closing.rs`.

use nic::{Doorbell, RxChecksum, TxChecksum};

use crate::closing;
use crate::end::{End, Wire, ping, stream, within};
use crate::frame::{CHECKSUM, SHORTEST, Sum, UDP, frame, sum};
use crate::sys::readable;

/// A check: it panics when it does not hold.
type Check = fn(&mut dyn Wire);

/// All checks, by name.
pub const CHECKS: &[(&str, Check)] = &[
    ("frames come in order while rings wrap", frames_come_in_order_while_rings_wrap),
    ("a full ring gives the frame back", a_full_ring_gives_the_frame_back),
    ("a receiver that does not read loses frames of the wire alone", a_receiver_that_does_not_read),
    ("a lent frame comes back and can be sent again", a_lent_frame_comes_back),
    ("a burst takes no more than was asked", a_burst_takes_no_more_than_was_asked),
    ("a pool without frames starves a ring and no more", a_pool_without_frames),
    ("what is said of a checksum is true", what_is_said_of_a_checksum_is_true),
    ("the longest frame passes and a longer one harms nobody", the_longest_frame_passes),
    ("a doorbell is quiet when there is nothing to send", a_doorbell_is_quiet),
    ("a sleeper is woken by a frame", a_sleeper_is_woken),
    ("an end is closed in every state and opened again", closing::an_end_is_closed_in_every_state),
];

/// Enough to wrap rings of 64 slots a dozen times.
const MANY: u32 = 1000;

fn frames_come_in_order_while_rings_wrap(wire: &mut dyn Wire) {
    let [a, b] = wire.ends();
    let longest = a.nic.caps().max_frame.min(b.nic.caps().max_frame);
    let len = |number: u32| SHORTEST + (number as usize * 97) % (longest - SHORTEST + 1);
    stream(a, b, 0..MANY, len);
    stream(b, a, 0..MANY / 4, len);
    a.whole();
    b.whole();
}

fn a_full_ring_gives_the_frame_back(wire: &mut dyn Wire) {
    let hands_over = wire.hands_over();
    let [a, b] = wire.ends();
    let mut taken = 0;
    let refused = loop {
        let bytes = frame(a.address, b.address, taken, SHORTEST, Sum::Finished);
        match a.offer(&bytes, TxChecksum::Complete) {
            Ok(()) => taken += 1,
            Err(loan) => break loan,
        }
        assert!(taken < a.pool.frames() / 2, "a ring that takes them all has no end");
    };
    let census = a.pool.census();
    let given = if hands_over { 1 } else { taken + 1 };
    assert_eq!(census.given, given, "every frame but the refused one is in the ring: {census:?}");
    let bytes = frame(a.address, b.address, taken, SHORTEST, Sum::Finished);
    assert!(a.pool.lent_bytes(&refused) == bytes, "the refused frame is as it was");
    let (mut left, mut seen) = (Some(refused), 0);
    within("all frames", || {
        a.nic.kick(&mut a.pool);
        left = left.take().and_then(|loan| a.nic.tx(&mut a.pool, loan).err());
        b.receive(64, |number, _, _| {
            assert_eq!(number, seen, "frames come each once and in order");
            seen += 1;
        });
        seen == taken + 1
    });
    a.settle();
    a.whole();
    b.whole();
}

fn a_receiver_that_does_not_read(wire: &mut dyn Wire) {
    let [a, b] = wire.ends();
    for number in 0..400 {
        a.send(&frame(a.address, b.address, number, SHORTEST, Sum::Finished), TxChecksum::Complete);
    }
    a.settle();
    a.whole();
    let mut seen = Vec::new();
    within("some of the frames", || {
        b.receive(64, |number, _, _| seen.push(number));
        seen.len() >= 32
    });
    // What comes behind them.
    let mut next = 1000;
    within("a frame after the flood", || {
        let came = seen.last() >= Some(&1000);
        if !came {
            a.send(&frame(a.address, b.address, next, SHORTEST, Sum::Finished), TxChecksum::Complete);
            next += 1;
        }
        b.receive(64, |number, _, _| seen.push(number));
        came
    });
    if !seen.contains(&(next - 1)) {
        seen.extend(b.until(next - 1));
    }
    assert!(seen.is_sorted_by(|one, other| one < other), "what comes is in order, each once: {seen:?}");
    a.settle();
    a.whole();
    b.whole();
}

fn a_lent_frame_comes_back(wire: &mut dyn Wire) {
    let hands_over = wire.hands_over();
    let [a, b] = wire.ends();
    let mut pkt = a.packet(&frame(a.address, b.address, 1, SHORTEST, Sum::Finished)).expect("a free frame");
    for number in [1, 2] {
        let bytes = frame(a.address, b.address, number, SHORTEST, Sum::Finished);
        a.pool.bytes_mut(&mut pkt).expect("nobody has it on loan").copy_from_slice(&bytes);
        lend(a, &pkt);
        assert_eq!(a.pool.bytes_mut(&mut pkt).is_some(), hands_over, "its bytes are on loan");
        within("the end of the loan", || {
            a.nic.kick(&mut a.pool);
            a.nic.reap(&mut a.pool);
            !a.pool.is_lent(&pkt)
        });
        assert_eq!(b.until(number), [number]);
    }
    lend(a, &pkt);
    a.pool.free(pkt);
    a.settle();
    b.until(2);
    a.whole();
    b.whole();
}

fn lend(end: &mut End, pkt: &nic::Pkt) {
    let loan = end.pool.lend(pkt, 0, TxChecksum::Complete).expect("a loan");
    assert!(end.nic.tx(&mut end.pool, loan).is_ok(), "an empty ring has room");
}

fn a_burst_takes_no_more_than_was_asked(wire: &mut dyn Wire) {
    let [a, b] = wire.ends();
    assert!(!b.nic.rx_pending());
    for number in 0..10 {
        a.send(&frame(a.address, b.address, number, SHORTEST, Sum::Finished), TxChecksum::Complete);
    }
    let (mut numbers, mut calls) = (Vec::new(), 0);
    within("ten frames", || {
        if !b.nic.rx_pending() {
            return false;
        }
        let before = b.burst.len();
        let got = b.nic.rx(&mut b.pool, &mut b.burst, 3);
        assert!((1..=3).contains(&got), "{got} frames where three were asked for and some were announced");
        assert_eq!(b.burst.len() - before, got, "what is told has come, behind what was there");
        calls += 1;
        b.burst.len() == 10
    });
    assert!(calls >= 4, "ten frames in threes: {calls} calls");
    for received in b.burst.drain(..) {
        numbers.extend(crate::frame::number(b.pool.bytes(&received.pkt)));
        b.pool.free(received.pkt);
    }
    assert_eq!(numbers, (0..10).collect::<Vec<u32>>());
    assert!(!b.nic.rx_pending());
    a.settle();
    b.whole();
}

fn a_pool_without_frames(wire: &mut dyn Wire) {
    let [a, b] = wire.ends();
    let mut held: Vec<nic::Pkt> = std::iter::from_fn(|| b.pool.alloc()).collect();
    for number in 10_000..10_200 {
        a.send(&frame(a.address, b.address, number, SHORTEST, Sum::Finished), TxChecksum::Complete);
        b.nic.rx(&mut b.pool, &mut b.burst, 64);
        held.extend(b.burst.drain(..).map(|received| received.pkt));
    }
    a.settle();
    held.into_iter().for_each(|pkt| b.pool.free(pkt));
    b.drain();
    ping(wire, 20_000);
}

fn what_is_said_of_a_checksum_is_true(wire: &mut dyn Wire) {
    let [a, b] = wire.ends();
    let mut sendings = vec![(Sum::Wrong, TxChecksum::Complete), (Sum::Finished, TxChecksum::Complete)];
    if a.nic.caps().tx_checksum {
        let partial = TxChecksum::Partial { start: UDP as u16, offset: CHECKSUM as u16 };
        sendings.push((Sum::Begun, partial));
    }
    // One that is right comes last: it tells that those before it have come, or never will.
    sendings.push((Sum::Finished, TxChecksum::Complete));
    let last = sendings.len() as u32 - 1;
    for (number, (state, checksum)) in (0..).zip(&sendings) {
        a.send(&frame(a.address, b.address, number, SHORTEST + 7, *state), *checksum);
    }
    let mut seen = Vec::new();
    within("the last of them", || {
        b.receive(64, |number, meta, bytes| {
            judge(sendings[number as usize].0, meta.checksum, sum(bytes));
            seen.push(number);
        });
        seen.contains(&last)
    });
    assert!((1..=last).all(|number| seen.contains(&number)), "only the wrong one may be missing: {seen:?}");
    a.settle();
    a.whole();
    b.whole();
}

fn judge(sent: Sum, said: RxChecksum, came: Sum) {
    match said {
        RxChecksum::Verified => assert_ne!(sent, Sum::Wrong, "a wrong checksum was called verified"),
        RxChecksum::Unknown => {
            assert_ne!(came, Sum::Begun, "a checksum is unfinished, and nobody says so");
        }
        RxChecksum::MayBeUnfinished => {}
    }
    assert_eq!(came == Sum::Wrong, sent == Sum::Wrong, "{came:?} came of {sent:?}");
}

fn the_longest_frame_passes(wire: &mut dyn Wire) {
    let [a, b] = wire.ends();
    let longest = a.nic.caps().max_frame;
    for (number, len) in [(0, longest), (1, longest + 1), (2, longest)] {
        let bytes = frame(a.address, b.address, number, len, Sum::Finished);
        assert!(a.offer(&bytes, TxChecksum::Complete).is_ok(), "a ring with room takes it");
    }
    a.nic.kick(&mut a.pool);
    let seen = b.until(2);
    assert_eq!(seen, [0, 2], "the one that is too long does not arrive, those around it do");
    a.settle();
    a.whole();
    b.whole();
}

fn a_doorbell_is_quiet(wire: &mut dyn Wire) {
    let [a, b] = wire.ends();
    a.settle();
    assert_eq!(a.nic.kick(&mut a.pool), Doorbell::Quiet, "there is nothing to send");
    let bytes = frame(a.address, b.address, 9, SHORTEST, Sum::Finished);
    assert!(a.offer(&bytes, TxChecksum::Complete).is_ok());
    within("a quiet doorbell", || a.nic.kick(&mut a.pool) == Doorbell::Quiet);
    // No further kick is due, and it arrives.
    assert_eq!(b.until(9), [9]);
    a.settle();
    a.whole();
}

fn a_sleeper_is_woken(wire: &mut dyn Wire) {
    let [a, b] = wire.ends();
    b.drain();
    // Whoever sleeps has asked for them before the frame came.
    let fds = b.nic.wait_fds().to_vec();
    assert!(!readable(&fds, 0), "nothing is there to read");
    a.send(&frame(a.address, b.address, 5, SHORTEST, Sum::Finished), TxChecksum::Complete);
    assert!(readable(&fds, 10_000), "a frame came and nobody was woken");
    assert!(b.nic.rx_pending());
    assert_eq!(b.until(5), [5]);
    assert!(!readable(b.nic.wait_fds(), 0), "nothing is left to read");
    a.settle();
}
