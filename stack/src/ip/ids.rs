//! Identifications of IPv4 packets that routers may cut (RFC 6864 §4.2): none comes again before all the others have,
//! and none tells how many were sent.

use crate::hash::HashKey;

/// The numbers in an order that only the key's owner knows.
#[derive(Debug)]
pub struct Ids {
    rounds: [u8; 4],
    key: HashKey,
    next: u16,
}

impl Ids {
    /// The order of a key.
    pub fn new(key: HashKey) -> Self {
        let words = key.sip24(&[0]).to_le_bytes();
        let next = u16::from_le_bytes([words[4], words[5]]);
        Self { rounds: [words[0], words[1], words[2], words[3]], key, next }
    }

    /// The next number. A counter's bits go through four rounds of a Feistel network, which is a permutation.
    pub fn take(&mut self) -> u16 {
        let [mut left, mut right] = self.next.to_be_bytes();
        self.next = self.next.wrapping_add(1);
        for round in self.rounds {
            let mixed = self.key.sip13(&[u64::from(right) << 8 | u64::from(round)]) as u8;
            (left, right) = (right, left ^ mixed);
        }
        u16::from_be_bytes([left, right])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6864 §4.2: no number twice within the time that packets live.
    #[test]
    fn every_number_comes_once() {
        let mut ids = Ids::new(HashKey::new([7; 16]));
        let mut seen = vec![false; 1 << 16];
        let mut steps = 0;
        let mut last = ids.take();
        seen[usize::from(last)] = true;
        for _ in 1..1 << 16 {
            let id = ids.take();
            assert!(!core::mem::replace(&mut seen[usize::from(id)], true), "{id} again");
            steps += usize::from(id == last.wrapping_add(1));
            last = id;
        }
        assert!(steps < 20, "{steps} steps of one: the order can be guessed");
    }
}
