//! How many frames are kept where: with the queues, in the pool of a stack, or in the depot for all stacks.

use nic::Pool;

use crate::driver::Shared;
use crate::ledger::{BATCH, Slot};

/// A stack takes no more than this part of the depot at a time.
const DEPOT_PART: usize = 4;

/// What a stack without much to do needs in any case, on a port that has many frames.
const LEAST: usize = 16;

/// How many frames are kept where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shares {
    /// Frames that each queue may hold to receive into, those that wait to be read included.
    pub(crate) fill: u32,
    /// Frames that stay out of the fill rings, for sending.
    pub(crate) reserve: usize,
    /// Free frames that the pool of a busy stack fetches; it keeps no more than twice as many.
    pub(crate) stock: usize,
    /// Those that are enough for a stack without much to do; it fetches more when it has less than half of them.
    pub(crate) least: usize,
    /// The depot is poor when it has fewer: then stacks that sleep keep no more than the least.
    pub(crate) poor: usize,
}

/// How many frames are kept where, on a port of `frames` frames, `queues` queues and `stacks` stacks. At most half
/// of all are with the queues. A stack leaves more than the reserve alone when it sends data, so a sender can
/// never starve the queue that its ACKs arrive by.
pub(crate) fn shares(frames: u32, queues: u32, stacks: Slot) -> Shares {
    let all = frames as usize;
    let fill = frames / 2 / queues.max(1);
    if stacks > 1 {
        // All together, asleep, leave three quarters of what is not with the queues, unless they are very many.
        let least = (all / 8 / usize::from(stacks)).max(LEAST.min(all / 64));
        Shares { fill, reserve: least / 2, stock: all / 8, least, poor: all * 3 / 8 }
    } else {
        // Alone, a stack has them all.
        Shares { fill, reserve: all / 64, stock: all, least: all, poor: 0 }
    }
}

/// Of so many stacks that may come, how many a stack in slot `slot` reckons with: who comes takes the lowest slot that is
/// free, so there are about as many as the number says, and half of all may come later.
pub(crate) fn expected(stacks: Slot, slot: Slot) -> Slot {
    const FEW: Slot = 17;
    stacks.min(slot.saturating_mul(2).saturating_add(1).max(FEW))
}

/// What is left of a queue's share for its fill ring, when the NIC has taken out of that what its own ring holds.
pub(crate) fn beside_the_nic(fill: u32, rx_ring: u32) -> u32 {
    fill.saturating_sub(rx_ring).max(BATCH as u32)
}

/// Whether the NICs' own rings, `rings` of them for each of so many queues, leave stacks the half of the frames.
pub(crate) fn leaves_half(frames: u32, rings: impl Iterator<Item = (u32, u32)>) -> bool {
    let held = rings.map(|(queues, rx_ring)| u64::from(queues) * (u64::from(rx_ring) + BATCH as u64));
    held.sum::<u64>() <= u64::from(frames / 2)
}

impl Shared {
    /// Keeps the pool in stock: from the depot when it runs low, to it when other stacks may need more.
    pub(crate) fn stock(&mut self, pool: &mut Pool) {
        let here = pool.in_stock();
        if here < self.shares.least / 2 {
            self.fetch(pool);
        } else if here > self.shares.stock * 2 {
            self.put(pool, here - self.shares.stock);
        }
        pool.set_depot(self.ledger.depot());
    }

    /// Takes a stock from the depot, but no more than a part of what it has: others come, too.
    pub(crate) fn fetch(&self, pool: &mut Pool) {
        let affordable = (self.ledger.depot() / DEPOT_PART).max(self.shares.least);
        let stock = self.shares.stock.min(affordable);
        self.draw(pool, stock.saturating_sub(pool.in_stock()));
    }

    /// Before a sleep, which may be long: while the depot is poor, the stack keeps only its least.
    pub(crate) fn rest(&mut self, pool: &mut Pool) {
        let (here, least) = (pool.in_stock(), self.shares.least);
        if here > least && self.ledger.depot() < self.shares.poor {
            self.put(pool, here - least);
            pool.set_depot(self.ledger.depot());
        }
    }

    /// Gives so many frames to the depot, unless another stack is at it.
    fn put(&self, pool: &mut Pool, mut surplus: usize) {
        self.ledger.put(self.slot, || {
            surplus = surplus.checked_sub(1)?;
            pool.to_nic()
        });
    }

    /// Takes up to `want` frames from the depot.
    pub(crate) fn draw(&self, pool: &mut Pool, want: usize) {
        if self.ledger.depot() > 0 {
            self.ledger.draw(self.slot, want, |frame| pool.unfilled(frame));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_nic_holds_is_part_of_its_queue_s_share() {
        assert_eq!(beside_the_nic(1024, 256), 768);
        assert_eq!(beside_the_nic(256, 256), 32, "it must be fed");
        assert!(leaves_half(4096, [(4, 256), (2, 256)].into_iter()));
        assert!(!leaves_half(4096, [(4, 512)].into_iter()), "32 more on each queue");
    }

    /// All that may come, asleep, leave a quarter of what is not with the queues.
    #[test]
    fn who_comes_early_does_not_make_do_with_little_for_those_who_may_never_come() {
        assert_eq!(
            [(251, 0), (251, 40), (251, 250), (4, 0)].map(|(of, slot)| expected(of, slot)),
            [17, 81, 251, 4]
        );
        let asleep = |slot| shares(16384, 1, expected(251, slot)).least;
        let most = (0..251).map(asleep).sum::<usize>();
        assert_eq!(asleep(0), shares(16384, 1, 17).least);
        assert!(most <= 16384 / 2 / 4 * 3, "{most}");
    }

    #[test]
    fn fill_rings_never_take_more_than_half_of_the_frames() {
        let alone = |all, fill, reserve| Shares { fill, reserve, stock: all, least: all, poor: 0 };
        assert_eq!(shares(4096, 1, 1), alone(4096, 2048, 64));
        assert_eq!(shares(64, 0, 1), alone(64, 32, 1));
        let among = Shares { fill: 512, reserve: 16, stock: 512, least: 32, poor: 1536 };
        assert_eq!(shares(4096, 4, 16), among);
    }
}
