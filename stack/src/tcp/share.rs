//! What a connection may hold of the frames when they are not enough for all.
//!
//! A queue may grow while it holds less than what is left over, as in a switch that many ports share (Choudhury and
//! Hahne's dynamic thresholds): the more is taken, the less each may have. But those who came first and never let go
//! (a shut window, data that is never acknowledged, a hole that is never filled) keep what they have. So a part of the
//! pool is for connections that hold nothing: each gets a first frame from it, and a second when the first went out.
//! When that too is used up, whoever has made no progress for some time is given up at its next timer (RFC 6429).

use nic::Pool;

/// The part of the pool that is left to connections which hold next to nothing.
const KEPT: usize = 4;
/// The part of it that second frames leave to first ones.
const KEPT_FOR_FIRST: usize = 8;
/// The part of it from which windows promise nothing: they shrink before frames run out.
const KEPT_TO_RECEIVE: usize = 8;
/// The part of it that nobody sends data from: there must be frames to receive into, and to answer with.
const RESERVE: usize = 32;
/// For each frame that is left a window promises no more than so many octets.
const OCTETS_A_FRAME: usize = 512;
/// Time-outs or probes in a row of a connection that makes no progress.
const PATIENCE: u8 = 3;

fn left_beyond(pool: &Pool, part: usize) -> usize {
    pool.available().saturating_sub(pool.frames() as usize / part)
}

/// Whether a queue that holds `held` frames may take another, for what can be had again: a peer sends it once more.
#[inline]
pub(super) fn may_grow(pool: &Pool, held: u32) -> bool {
    (held as usize) < left_beyond(pool, KEPT)
}

/// Whether a connection that holds `held` frames to send may take another. `gone`: all of them are under way.
#[inline]
pub(super) fn may_send(pool: &Pool, held: u32, gone: bool) -> bool {
    match held {
        0 => !is_used_up(pool),
        1 if gone && left_beyond(pool, KEPT_FOR_FIRST) > 0 => true,
        _ => may_grow(pool, held),
    }
}

/// Whether there is nothing left even for those who hold nothing.
#[inline]
pub(super) fn is_used_up(pool: &Pool) -> bool {
    left_beyond(pool, RESERVE) == 0
}

/// Octets that a window may promise, as far as frames are concerned. Who has nothing queued may always send two
/// segments of `mss`: when it was read, somebody will say that there is room again.
#[inline]
pub(super) fn affordable(pool: &Pool, queued: u32, mss: u16) -> u32 {
    let octets = left_beyond(pool, KEPT_TO_RECEIVE).saturating_mul(OCTETS_A_FRAME);
    let least = if queued == 0 { 2 * u32::from(mss) } else { 0 };
    u32::try_from(octets).unwrap_or(u32::MAX).max(least)
}

/// Whether a connection that was tried `times` in vain has to make room.
#[inline]
pub(super) fn must_yield(pool: &Pool, times: u8) -> bool {
    times >= PATIENCE && is_used_up(pool)
}

#[cfg(test)]
mod tests {
    use nic::{Arena, Pkt};

    use super::*;

    fn pool(left: u32) -> (Pool, Vec<Pkt>) {
        let mut pool = Pool::new(Arena::new(64, 2048).unwrap());
        let held = (left..64).map(|_| pool.alloc().unwrap()).collect();
        (pool, held)
    }

    fn release((mut pool, held): (Pool, Vec<Pkt>)) {
        held.into_iter().for_each(|pkt| pool.free(pkt));
    }

    #[test]
    fn the_less_is_left_the_less_each_may_hold() {
        for (left, share) in [(64, 48), (40, 24), (17, 1)] {
            let p = pool(left);
            assert!(may_send(&p.0, share - 1, false) && !may_send(&p.0, share.max(2), false), "{left} left");
            assert!(may_grow(&p.0, share - 1) && !may_grow(&p.0, share));
            release(p);
        }
    }

    #[test]
    fn who_holds_nothing_gets_a_frame_and_another_when_that_is_gone() {
        for (left, first, second) in [(16, true, true), (9, true, true), (8, true, false), (2, false, false)]
        {
            let p = pool(left);
            let (one, two) = (may_send(&p.0, 0, true), may_send(&p.0, 1, true));
            assert_eq!((one, two, may_send(&p.0, 1, false)), (first, second, false), "{left} left");
            assert_eq!((must_yield(&p.0, 3), must_yield(&p.0, 2)), (!first, false));
            release(p);
        }
    }

    #[test]
    fn windows_shrink_before_frames_run_out() {
        for (left, octets) in [(64, 56 * 512), (10, 1024), (8, 0), (0, 0)] {
            let p = pool(left);
            assert_eq!(affordable(&p.0, 1, 1000), octets);
            assert_eq!(affordable(&p.0, 0, 1000), octets.max(2000));
            release(p);
        }
    }
}
