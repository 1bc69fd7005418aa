//! Files of one kind in a directory, each process its own, the oldest going as new ones come: never more than was said.

use std::collections::HashSet;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nic::Own;

use super::Place;
use crate::peer::acts_as;
use crate::port::aside;

/// How long what was written is kept, at the least while there is room.
const DAY: Duration = Duration::from_secs(24 * 3600);
/// A file that was begun so long ago is not continued.
const HOUR: Duration = Duration::from_secs(3600);
/// A file that is older than an hour and this is not written to, whichever of its writer's clock and ours is ahead.
const SLACK: Duration = Duration::from_secs(60);
/// A file takes so much of all at the most. As many processes as a port has can each write one beside what is kept.
pub(super) const PARTS: u64 = 64;
const KEPT: u64 = 48;

/// How the files of a kind are called: what their names begin with, and end with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind(pub(crate) &'static str, pub(crate) &'static str);

impl Kind {
    /// What stands between the two in a file's name.
    fn middle(self, path: &Path) -> Option<&str> {
        path.file_name()?.to_str()?.strip_prefix(self.0)?.strip_suffix(self.1)
    }

    /// When a file was begun, and by which process.
    fn begun(self, path: &Path) -> Option<(SystemTime, u32)> {
        let (nanos, pid) = self.middle(path)?.split_once('-')?;
        Some((UNIX_EPOCH.checked_add(Duration::from_nanos(nanos.parse().ok()?))?, pid.parse().ok()?))
    }
}

/// The files of a kind in a directory.
#[derive(Debug)]
pub(crate) struct Shelf {
    place: Place,
    kind: Kind,
}

impl Shelf {
    pub(crate) fn new(place: Place, kind: Kind) -> Self {
        Self { place, kind }
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.place.directory
    }

    /// Bytes that a file takes at the most.
    pub(crate) fn part(&self) -> u64 {
        self.place.size / PARTS
    }

    /// Whether a file that was begun at `since`, and holds so much, takes so much more.
    pub(crate) fn takes(&self, (written, more): (u64, u64), since: SystemTime, now: SystemTime) -> bool {
        written.saturating_add(more) <= self.part() && now.duration_since(since).is_ok_and(|age| age < HOUR)
    }

    /// Begins another file, named by the time and the process, with what `first` writes to it; there is room for all that
    /// it may become.
    ///
    /// # Errors
    /// As making and writing a file; others' files leave no room. Nothing is left of it.
    pub(crate) fn begin<T>(
        &self,
        now: SystemTime,
        first: impl FnOnce(Own<File>) -> io::Result<T>,
    ) -> io::Result<T> {
        let Kind(begin, end) = self.kind;
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let name = format!("{begin}{:019}-{}{end}", since.as_nanos(), std::process::id());
        let path = self.directory().join(name);
        // Who talks to whom is for the owner.
        let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(&path)?;
        let file = Own::new(File::from(aside(file.into())));
        // It is there before room is made: of two that begin at a time, one sees the other.
        let begun = self.make_room(&path, now).and_then(|()| first(file));
        if begun.is_err() {
            let _ = fs::remove_file(&path);
        }
        begun
    }

    /// Makes room for all that `own` may become, and lets go what is older than a day. What others write to stays, and has
    /// room to grow; others may do the same at the same time: a file that is gone is no error.
    fn make_room(&self, own: &Path, now: SystemTime) -> io::Result<()> {
        let me = rustix::process::geteuid();
        let (mut writers, mut taken) = (HashSet::new(), 0);
        let (mut absurd, mut others, mut ours) = (Vec::new(), Vec::new(), Vec::new());
        for path in files(self.directory(), self.kind)?.into_iter().rev() {
            let Ok(about) = fs::symlink_metadata(&path) else { continue };
            let begun = self.kind.begun(&path);
            let mine = about.uid() == me.as_raw();
            // Whoever may write there may put a file there and call it as it likes.
            let plausible =
                mine || about.len() <= 2 * self.part() && begun.is_none_or(|b| b.0 <= now + SLACK);
            let last = begun.filter(|(_, pid)| plausible && writers.insert((*pid, about.uid())));
            if path == own || last.is_some_and(|(since, pid)| grows((since, now), pid, about.uid())) {
                taken += about.len().max(self.part());
            } else if plausible {
                // What belongs to others stays as a rule, whatever we say.
                (if mine || me.is_root() { &mut ours } else { &mut others }).push((path, about));
            } else {
                absurd.push((path, about));
            }
        }
        let most =
            self.place.size.checked_sub(taken).ok_or_else(|| no_room("too many processes write there"))?;
        let most = most.min(self.part() * KEPT);
        let stay = thin(absurd, 0, now);
        let stay = stay + thin(others, most.saturating_sub(stay), now);
        // Where they leave no room nothing of ours goes for them.
        if stay > most || stay + thin(ours, most - stay, now) > most {
            return Err(no_room("other users' files fill it"));
        }
        Ok(())
    }
}

/// Removes, of files from the newest on, what there is no room for and what is older than a day; how much stays.
fn thin(files: Vec<(PathBuf, Metadata)>, room: u64, now: SystemTime) -> u64 {
    let (mut kept, mut full) = (0, false);
    for (path, about) in files {
        let age = about.modified().ok().and_then(|at| now.duration_since(at).ok()).unwrap_or_default();
        // What is older than what went goes, too, however short it is.
        full |= kept + about.len() > room;
        let stays = !full && age < DAY;
        if stays || fs::remove_file(&path).is_err_and(|e| e.kind() != io::ErrorKind::NotFound) {
            kept += about.len();
        }
    }
    kept
}

/// Whether a file that is written to has been removed: nobody would find what is written.
pub(crate) fn is_removed(file: &File) -> bool {
    file.metadata().is_ok_and(|about| about.nlink() == 0)
}

/// The files of a kind in a directory, oldest first.
///
/// # Errors
/// As reading a directory.
pub(crate) fn files(directory: &Path, kind: Kind) -> io::Result<Vec<PathBuf>> {
    // Others may write there: a pipe of theirs would keep who reads.
    let entries = fs::read_dir(directory)?.filter_map(Result::ok);
    let regular = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()));
    let mut files: Vec<PathBuf> =
        regular.map(|entry| entry.path()).filter(|path| kind.middle(path).is_some()).collect();
    files.sort();
    Ok(files)
}

/// Whether a process may write to its last file still, which is of this user.
fn grows((since, now): (SystemTime, SystemTime), pid: u32, owner: u32) -> bool {
    let young = match now.duration_since(since) {
        Ok(age) => age < HOUR + SLACK,
        Err(ahead) => ahead.duration() <= SLACK,
    };
    young && acts_as(pid, owner)
}

fn no_room(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::QuotaExceeded, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_grows_where_a_process_of_its_owner_may_write_to_it_now() {
        let (me, user) = (std::process::id(), rustix::process::geteuid().as_raw());
        let now = SystemTime::now();
        assert!(grows((now, now), me, user) && grows((now + SLACK, now), me, user));
        assert!(!grows((now + 2 * SLACK, now), me, user) && !grows((now - 2 * HOUR, now), me, user));
        assert!(!grows((now, now), me, user + 1) && !grows((now, now), u32::MAX, user));
    }
}
