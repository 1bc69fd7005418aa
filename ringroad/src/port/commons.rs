//! What the gates of a port's processes know together: what they saw lately, who tells of it, and when each source may
//! begin its next flow. It lies in the port's file, between its description and its frames, all zero at first but for a key.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Claimed;
use stack::policy::LIMIT_WORDS;

use super::words::Words;
use crate::alerts::{LOG_WORDS, Me, SEATS_WORDS, Shared};

/// Words of the key.
const KEY: usize = 2;
const WORDS: usize = KEY + SEATS_WORDS + LOG_WORDS + LIMIT_WORDS;
/// Bytes of all.
pub(super) const BYTES: u64 = (WORDS * size_of::<u64>()) as u64;

/// The memory of all, for the life of the process.
pub(crate) struct Commons {
    words: &'static [AtomicU64],
}

/// Gives the commons of a port that is made their key.
pub(super) fn begin(file: &File, at: u64) -> io::Result<()> {
    let mut key = [0; KEY * size_of::<u64>()];
    rustix::rand::getrandom(&mut key, rustix::rand::GetRandomFlags::empty())?;
    file.write_all_at(&key, at)
}

impl Commons {
    /// What the processes tell of together.
    pub(crate) fn alerts(&self) -> Shared {
        let (seats, rest) = self.words[KEY..].split_at(SEATS_WORDS);
        Shared { log: &rest[..LOG_WORDS], seats }
    }

    /// What the sources of flows have begun lately, for rules with limits, and the key by which they are remembered.
    pub(crate) fn limits(&self) -> ([u8; 16], &'static [AtomicU64]) {
        let [low, high] = [0, 1].map(|word: usize| self.words[word].load(Ordering::Acquire));
        let key = u128::from(low) | u128::from(high) << 64;
        (key.to_ne_bytes(), &self.words[WORDS - LIMIT_WORDS..])
    }
}

impl Claimed {
    /// What the gates of the port know together.
    pub(crate) fn commons(&self) -> io::Result<Commons> {
        Ok(Commons { words: Words::map(&self.port.file, super::COMMONS, WORDS)?.leak() })
    }

    /// Who this process is among those of the port.
    pub(crate) fn me(&self) -> Me {
        let owner = self.port.header.owner(self.slot).load(Ordering::Acquire);
        Me { slot: self.slot, owner, keeps: self.keeps() }
    }
}
