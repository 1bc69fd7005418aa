//! How many connection requests each stack is ready for: the program drops SYNs beyond that, so that a flood of them
//! takes a share of a stack's time and of its rings, and not all (`bpf/credit.h`).
//!
//! Both sides count upwards in words of their own, the stack what it grants, the program what it lets pass: no store
//! of one can undo one of the other.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};

use super::keys::{CREDIT_WORDS, SLOTS};
use crate::ledger::Slot;
use crate::mapped::Words;

/// In `struct steer_credit`.
const GRANTED: usize = 0;
const MOST: usize = 1;
const PASSED: usize = 8;
const SHED: usize = 9;

/// The credit of all stacks, mapped.
#[derive(Debug)]
pub(super) struct Credits {
    words: Words,
}

impl Credits {
    pub(super) fn map(fd: OwnedFd) -> io::Result<Self> {
        let bytes = SLOTS as usize * CREDIT_WORDS * size_of::<u64>();
        Ok(Self { words: Words::of_map(fd, bytes)? })
    }

    pub(super) fn fd(&self) -> &OwnedFd {
        self.words.fd()
    }

    fn word(&self, slot: Slot, word: usize) -> &AtomicU64 {
        self.words.long(usize::from(slot) * CREDIT_WORDS + word)
    }

    pub(super) fn grant(&self, slot: Slot, granted: u64) {
        self.word(slot, GRANTED).store(granted, Ordering::Relaxed);
    }

    /// All of `most`, from here on; says what is granted with it.
    pub(super) fn begin(&self, slot: Slot, most: u32) -> u64 {
        let granted = self.word(slot, PASSED).load(Ordering::Relaxed) + u64::from(most);
        self.word(slot, MOST).store(most.into(), Ordering::Relaxed);
        self.grant(slot, granted);
        granted
    }

    pub(super) fn shed(&self, slot: Slot) -> u64 {
        self.word(slot, SHED).load(Ordering::Relaxed)
    }
}
