//! Ends that go: in the middle of anything, and come again.

use nic::TxChecksum;

use crate::end::{End, Wire, ping, within};
use crate::frame::{SHORTEST, Sum, frame};

/// Brings the first end into a state; the other is its peer.
type Prepare = fn(&mut End, &mut End);

/// What an end may be in the middle of.
const STATES: &[(&str, Prepare)] = &[
    ("with nothing to do", |_, _| ()),
    ("with frames that nobody has read", unread),
    ("with frames of which the NIC was not told", |a, b| queue(a, b)),
    ("with frames that are being sent", |a, b| {
        queue(a, b);
        a.nic.kick(&mut a.pool);
    }),
    ("with a frame that was freed while on loan", freed_on_loan),
];

/// Frames in the middle of something.
const SOME: u32 = 40;

pub(crate) fn an_end_is_closed_in_every_state(wire: &mut dyn Wire) {
    for ((state, prepare), number) in STATES.iter().zip((100_000..).step_by(100)) {
        println!("    {state}");
        let [a, b] = wire.ends();
        prepare(a, b);
        wire.reopen(0);
        let [a, _] = wire.ends();
        a.whole();
        let stale = a.receive(64, |number, _, _| panic!("frame {number} of a former life"));
        assert_eq!(stale, 0, "a former life's frames");
        ping(wire, number);
    }
}

fn queue(a: &mut End, b: &mut End) {
    for number in 0..SOME {
        let bytes = frame(a.address, b.address, number, SHORTEST, Sum::Finished);
        assert!(a.offer(&bytes, TxChecksum::Complete).is_ok(), "an empty ring has room");
    }
}

fn unread(a: &mut End, b: &mut End) {
    queue(b, a);
    b.settle();
    within("frames to read", || a.nic.rx_pending());
}

fn freed_on_loan(a: &mut End, b: &mut End) {
    let pkt = a.packet(&frame(a.address, b.address, 0, SHORTEST, Sum::Finished)).expect("a free frame");
    let loan = a.pool.lend(&pkt, 0, TxChecksum::Complete).expect("a loan");
    assert!(a.nic.tx(&mut a.pool, loan).is_ok(), "an empty ring has room");
    a.pool.free(pkt);
}
