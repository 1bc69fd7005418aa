//! The policy of a port, for whoever comes to drive it: the one in force, and the one before.
//!
//! A memfd of its own, since it grows with what is put there while the port lives. It begins with where the two
//! texts are; a new one is written where neither the one in force nor the head is. Whoever reads or writes holds a
//! lock of the kernel's, which goes with a process that dies.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, MemfdFlags, fcntl_lock, memfd_create};

/// Bytes in front of the texts: four words.
const HEAD: usize = 32;
/// Bytes that are compared at a time.
const PIECE: usize = 1 << 14;
/// How long a lock is waited for in all, and how long between two attempts: stacks that are told of a policy at the same
/// time hold it for a moment each, whoever reads a long one for longer.
const PATIENCE: Duration = Duration::from_secs(1);
const PAUSES: [Duration; 2] = [Duration::from_micros(50), Duration::from_millis(5)];

/// The texts of a port's policies; empty where there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Texts {
    pub(crate) current: String,
    /// What was in force before that.
    pub(crate) previous: String,
}

/// Where a text is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Span {
    at: u64,
    len: u64,
}

impl Span {
    const fn end(self) -> u64 {
        self.at + self.len
    }

    const fn meets(self, other: Self) -> bool {
        self.at < other.end() && other.at < self.end()
    }
}

/// Makes the file, with `text` in force.
pub(super) fn create(text: &str) -> io::Result<File> {
    let file = File::from(memfd_create("ringroad-policy", MemfdFlags::CLOEXEC)?);
    let current = Span { at: HEAD as u64, len: text.len() as u64 };
    file.write_all_at(text.as_bytes(), current.at)?;
    write_head(&file, current, Span { at: current.end(), len: 0 })?;
    Ok(file)
}

/// What the file says.
pub(super) fn read(file: &File) -> io::Result<Texts> {
    locked(file, FlockOperation::NonBlockingLockShared, || {
        let (current, previous) = read_head(file)?;
        Ok(Texts { current: text(file, current)?, previous: text(file, previous)? })
    })
}

/// Calls `act` with what puts `new` in force, unless it is (several processes are told to do so), for whoever has more to
/// change along with it; nobody else changes anything meanwhile.
pub(super) fn succeed(
    file: &File,
    new: &str,
    act: impl FnOnce(&dyn Fn() -> io::Result<()>) -> io::Result<()>,
) -> io::Result<()> {
    locked(file, FlockOperation::NonBlockingLockExclusive, || act(&|| write(file, new)))
}

fn write(file: &File, new: &str) -> io::Result<()> {
    let (current, _) = read_head(file)?;
    if is(file, current, new)? {
        return Ok(());
    }
    let len = new.len() as u64;
    let first = Span { at: HEAD as u64, len };
    let place = if first.meets(current) { Span { at: current.end(), len } } else { first };
    file.write_all_at(new.as_bytes(), place.at)?;
    write_head(file, place, current)
}

/// Calls `act` with the text in force, which nobody replaces meanwhile.
pub(super) fn alone<T>(file: &File, act: impl FnOnce(String) -> io::Result<T>) -> io::Result<T> {
    locked(file, FlockOperation::NonBlockingLockExclusive, || {
        let (current, _) = read_head(file)?;
        act(text(file, current)?)
    })
}

/// Calls `act` if `text` is in force, which nobody replaces meanwhile.
pub(super) fn while_in_force(
    file: &File,
    text: &str,
    act: impl FnOnce() -> io::Result<()>,
) -> io::Result<()> {
    locked(file, FlockOperation::NonBlockingLockExclusive, || match is(file, read_head(file)?.0, text)? {
        true => act(),
        false => Ok(()),
    })
}

/// Whether `text` is there. Piece by piece: what a long one took the program's allocator would keep.
fn is(file: &File, place: Span, text: &str) -> io::Result<bool> {
    if place.len != text.len() as u64 {
        return Ok(false);
    }
    let mut piece = [0; PIECE];
    for (at, part) in (place.at..).step_by(PIECE).zip(text.as_bytes().chunks(PIECE)) {
        let piece = &mut piece[..part.len()];
        file.read_exact_at(piece, at)?;
        if piece != part {
            return Ok(false);
        }
    }
    Ok(true)
}

fn locked<T>(file: &File, kind: FlockOperation, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let (begun, [mut pause, longest]) = (Instant::now(), PAUSES);
    while let Err(error) = fcntl_lock(file, kind) {
        let busy = error == rustix::io::Errno::AGAIN || error == rustix::io::Errno::ACCESS;
        if !busy || begun.elapsed() > PATIENCE {
            return Err(error.into());
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(longest);
    }
    let done = act();
    let _ = fcntl_lock(file, FlockOperation::NonBlockingUnlock);
    done
}

fn read_head(file: &File) -> io::Result<(Span, Span)> {
    let mut head = [0; HEAD];
    file.read_exact_at(&mut head, 0)?;
    let word = |n: usize| u64::from_ne_bytes(std::array::from_fn(|i| head[n * 8 + i]));
    let size = file.metadata()?.len();
    let span = |n| {
        let span = Span { at: word(n), len: word(n + 1) };
        let fits = span.at.checked_add(span.len).is_some_and(|end| end <= size);
        fits.then_some(span)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "its head makes no sense"))
    };
    Ok((span(0)?, span(2)?))
}

fn write_head(file: &File, current: Span, previous: Span) -> io::Result<()> {
    let words = [current.at, current.len, previous.at, previous.len];
    let mut head = [0; HEAD];
    for (bytes, word) in head.chunks_exact_mut(8).zip(words) {
        bytes.copy_from_slice(&word.to_ne_bytes());
    }
    file.write_all_at(&head, 0)
}

fn text(file: &File, span: Span) -> io::Result<String> {
    let mut bytes = vec![0; usize::try_from(span.len).unwrap_or_default()];
    file.read_exact_at(&mut bytes, span.at)?;
    String::from_utf8(bytes).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replace(file: &File, new: &str) -> io::Result<()> {
        succeed(file, new, |put_in_force| put_in_force())
    }

    #[test]
    fn the_one_in_force_and_the_one_before() {
        let file = create("").unwrap();
        let told =
            |current: &str, previous: &str| Texts { current: current.into(), previous: previous.into() };
        assert_eq!(read(&file).unwrap(), Texts::default());
        for (new, previous) in
            [("one", ""), ("two, longer", "one"), ("3", "two, longer"), ("four, longest", "3")]
        {
            replace(&file, new).unwrap();
            assert_eq!(read(&file).unwrap(), told(new, previous));
            // The second process that is told does nothing.
            replace(&file, new).unwrap();
            assert_eq!(read(&file).unwrap(), told(new, previous));
        }
    }

    #[test]
    fn what_fails_before_leaves_the_one_in_force() {
        let file = create("old").unwrap();
        let failed = succeed(&file, "new", |_| Err(io::ErrorKind::StorageFull.into()));
        assert_eq!(failed.unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(read(&file).unwrap(), Texts { current: "old".into(), previous: String::new() });
        succeed(&file, "new", |put_in_force| put_in_force()).unwrap();
        assert_eq!(read(&file).unwrap(), Texts { current: "new".into(), previous: "old".into() });
    }

    #[test]
    fn many_changes_take_no_more_room_than_a_few() {
        let file = create("first").unwrap();
        let texts = ["a".repeat(10_000), "b".repeat(30_000), "c".repeat(20_000)];
        for n in 0..300 {
            replace(&file, &texts[n % 3]).unwrap();
            assert_eq!(read(&file).unwrap().current, texts[n % 3]);
        }
        assert!(file.metadata().unwrap().len() <= 90_000);
    }

    #[test]
    fn something_is_done_while_a_text_is_in_force_and_else_not() {
        let long = "ab".repeat(PIECE);
        let file = create(&long).unwrap();
        let is_in_force = |text: &str| {
            let mut done = false;
            let act = || {
                done = true;
                Ok(())
            };
            while_in_force(&file, text, act).unwrap();
            done
        };
        assert!(is_in_force(&long));
        let other = |at: usize| [&long[..at], "x", &long[at + 1..]].concat();
        assert!([0, PIECE - 1, PIECE, long.len() - 1].iter().all(|at| !is_in_force(&other(*at))));
        assert!(!is_in_force("") && !is_in_force(&long[1..]) && !is_in_force(&(long.clone() + "a")));
        replace(&file, "").unwrap();
        assert!(is_in_force("") && !is_in_force(&long));
    }

    #[test]
    fn a_head_that_makes_no_sense_is_refused() {
        let file = create("text").unwrap();
        write_head(&file, Span { at: 32, len: u64::MAX }, Span::default()).unwrap();
        assert!(read(&file).is_err());
    }
}
