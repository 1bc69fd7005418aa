//! Who drives a slot of a port: one process at a time, named by pid and start time, so that a dead one is known.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicU64, Ordering};

/// A process: its pid, and the low half of its start time in clock ticks since boot, which tells it from
/// another that got the same pid later. Zero is nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) pid: u32,
    start: u32,
}

impl Owner {
    /// This process.
    pub(crate) fn this() -> Self {
        let pid = std::process::id();
        Self { pid, start: look(pid).map_or(0, |(start, _)| start) }
    }

    fn from_word(word: u64) -> Option<Self> {
        (word != 0).then_some(Self { pid: (word >> 32) as u32, start: word as u32 })
    }

    /// In one word.
    pub(super) fn word(self) -> u64 {
        u64::from(self.pid) << 32 | u64::from(self.start)
    }

    /// Whether the process still runs. Without /proc (a chroot) the pid alone must do.
    pub(super) fn lives(self) -> bool {
        self.state().is_some_and(|state| state != State::Dead)
    }

    /// Whether it does and nobody has stopped it.
    pub(super) fn is_at_work(self) -> bool {
        self.state() == Some(State::Runs)
    }

    /// What it is at; none when there is no such process any more.
    fn state(self) -> Option<State> {
        let pid = rustix::process::Pid::from_raw(self.pid as i32)?;
        if rustix::process::test_kill_process(pid) == Err(rustix::io::Errno::SRCH) {
            return None;
        }
        match look(self.pid) {
            Some((start, state)) => (start == self.start || self.start == 0).then_some(state),
            None => Some(State::Runs),
        }
    }
}

/// What a process is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It runs, or waits for something.
    Runs,
    /// By a signal, or a debugger.
    Stopped,
    /// Not yet reaped.
    Dead,
}

/// This process's PID namespace, by its inode: its number is one there. Zero without /proc.
pub(super) fn home() -> u64 {
    // Whose /proc it is does not matter: `self` is always us.
    fs::metadata("/proc/self/ns/pid").map_or(0, |namespace| namespace.ino())
}

/// Makes this process the owner.
///
/// # Errors
/// The live process that is.
pub(super) fn claim(word: &AtomicU64) -> Result<(), Owner> {
    claim_for(word, Owner::this(), Owner::lives)
}

/// Makes this process the owner, if there is none, not even a dead one.
pub(super) fn claim_free(word: &AtomicU64) -> bool {
    word.compare_exchange(0, Owner::this().word(), Ordering::AcqRel, Ordering::Acquire).is_ok()
}

/// The process that the word names, dead or alive.
pub(super) fn owner(word: &AtomicU64) -> Option<Owner> {
    Owner::from_word(word.load(Ordering::Acquire))
}

fn claim_for(word: &AtomicU64, this: Owner, lives: impl Fn(Owner) -> bool) -> Result<(), Owner> {
    let mut seen = word.load(Ordering::Acquire);
    loop {
        if let Some(owner) = Owner::from_word(seen)
            && owner != this
            && lives(owner)
        {
            return Err(owner);
        }
        match word.compare_exchange(seen, this.word(), Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => return Ok(()),
            Err(other) => seen = other,
        }
    }
}

/// Gives the slot up, if this process has it.
pub(super) fn release(word: &AtomicU64) {
    let this = Owner::this().word();
    // Somebody else's claim stays.
    let _ = word.compare_exchange(this, 0, Ordering::AcqRel, Ordering::Relaxed);
}

/// Has the slot named after a dead process again, whose things this process has not settled.
pub(super) fn give_back(word: &AtomicU64, dead: Owner) {
    let _ = word.compare_exchange(Owner::this().word(), dead.word(), Ordering::AcqRel, Ordering::Relaxed);
}

/// When a process began, and what it is at.
fn look(pid: u32) -> Option<(u32, State)> {
    // A program may call itself by what is no text.
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    parse_stat(&String::from_utf8_lossy(&stat))
}

/// proc_pid_stat(5): the command in parentheses may hold anything; the state comes behind the last one, the
/// start time is the 22nd field.
fn parse_stat(stat: &str) -> Option<(u32, State)> {
    let (_, behind) = stat.rsplit_once(')')?;
    let mut fields = behind.split_ascii_whitespace();
    let state = fields.next()?;
    let start: u64 = fields.nth(18)?.parse().ok()?;
    let state = match state {
        "Z" | "X" => State::Dead,
        "T" | "t" => State::Stopped,
        _ => State::Runs,
    };
    Some((start as u32, state))
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Owner = Owner { pid: 100, start: 7 };
    const B: Owner = Owner { pid: 200, start: 8 };

    #[test]
    fn one_process_owns_until_it_dies() {
        let word = AtomicU64::new(0);
        assert_eq!(claim_for(&word, A, |_| true), Ok(()));
        assert_eq!(claim_for(&word, A, |_| true), Ok(()), "again: it has it");
        assert_eq!(claim_for(&word, B, |_| true), Err(A));
        assert_eq!(claim_for(&word, B, |_| false), Ok(()), "a dead owner is taken over");
        assert_eq!(Owner::from_word(word.load(Ordering::Relaxed)), Some(B));
    }

    #[test]
    fn the_same_pid_later_is_another_process() {
        assert!(Owner::this().lives() && Owner::this().is_at_work());
        let earlier = Owner { start: Owner::this().start.wrapping_add(1), ..Owner::this() };
        assert!(!earlier.lives() && !earlier.is_at_work());
        assert!(!Owner { pid: i32::MAX as u32, start: 1 }.lives());
    }

    #[test]
    fn a_release_leaves_the_claim_of_others() {
        let word = AtomicU64::new(A.word());
        release(&word);
        assert_eq!(word.load(Ordering::Relaxed), A.word());
        word.store(Owner::this().word(), Ordering::Relaxed);
        release(&word);
        assert_eq!(word.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn what_was_not_settled_is_the_dead_ones_again() {
        let word = AtomicU64::new(Owner::this().word());
        give_back(&word, A);
        assert_eq!(owner(&word), Some(A));
        give_back(&word, B);
        assert_eq!(owner(&word), Some(A), "somebody else's claim stays");
    }

    #[test]
    fn a_command_may_hold_parentheses_and_spaces() {
        let stat = |state| format!("12 (a) b) {state} 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4242 20");
        let states = [("Z", State::Dead), ("t", State::Stopped), ("T", State::Stopped), ("D", State::Runs)];
        for (letter, state) in states {
            assert_eq!(parse_stat(&stat(letter)), Some((4242, state)));
        }
        assert_eq!(parse_stat("12 (x) R 1"), None);
    }
}
