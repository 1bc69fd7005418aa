//! Where stacks are to be asked. Everybody may put a socket into the directories and call it after any process: its name is
//! only a file's, and who listens there is the process that the kernel names.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::place::{self, Name};
use crate::peer::{Peer, acts_as, user_of};
use crate::wire::dial;

/// A process that may run a stack, to be asked at once: it does not wait long for a question.
#[derive(Debug)]
pub(crate) struct Contact {
    /// The process; 0: it is not known, as where it is in a PID namespace that ours does not see.
    pub(crate) pid: u32,
    /// The user whose file the socket is, and who listens there; root may act as another by now.
    owner: u32,
    place: Place,
    line: io::Result<UnixStream>,
    name: Name,
    path: PathBuf,
}

/// A process to be asked later.
pub(super) struct Address {
    pub(super) pid: u32,
    place: Place,
    name: Name,
    path: PathBuf,
}

impl Address {
    /// Connects to it.
    ///
    /// # Errors
    /// `NotFound` when it is no longer there; as connecting does.
    pub(super) fn contact(self) -> io::Result<Contact> {
        let is_it = |contact: &Contact| contact.pid == self.pid && contact.place == self.place;
        Contact::at(self.name, &self.path, &[]).filter(is_it).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// A socket's file, which is not the same again where another process has put one of that name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    device: u64,
    inode: u64,
    /// A number is given out again.
    changed: (i64, i64),
}

impl Place {
    fn of(file: &fs::Metadata) -> Self {
        Self { device: file.dev(), inode: file.ino(), changed: (file.ctime(), file.ctime_nsec()) }
    }
}

impl Contact {
    /// Every process of the host that listens, or only `pid`, each connected to when it is come to. What dead processes
    /// left is removed on the way.
    pub(super) fn everywhere(pid: Option<u32>) -> impl Iterator<Item = Self> {
        Self::elsewhere(&[]).filter(move |contact| pid.is_none_or(|pid| pid == contact.pid))
    }

    /// Those that are at none of the places: nobody is disturbed twice.
    pub(super) fn elsewhere(places: &[Place]) -> impl Iterator<Item = Self> + use<> {
        let configured = crate::Config::from_env().0.control_dir;
        Self::within(&place::directories(configured.as_deref()), places)
    }

    /// Where it listens.
    pub(super) fn place(&self) -> Place {
        self.place
    }

    /// Those of our network namespace.
    pub(crate) fn here(pid: Option<u32>) -> impl Iterator<Item = Self> {
        Self::everywhere(pid).filter(Self::is_here)
    }

    /// Whether it is known to be of our network namespace.
    pub(super) fn is_here(&self) -> bool {
        network_of(&self.pid.to_string()) == network_of("self")
    }

    pub(super) fn within(directories: &[PathBuf], but: &[Place]) -> impl Iterator<Item = Self> + use<> {
        let entries = directories.iter().filter_map(|dir| fs::read_dir(dir).ok()).flatten();
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let mut named: Vec<(Name, PathBuf)> =
            paths.filter_map(|path| Some((Name::read(&path)?, path))).collect();
        named.sort();
        let (mut seen, but) = (HashSet::new(), but.to_vec());
        let contacts = named.into_iter().filter_map(move |(name, path)| Self::at(name, &path, &but));
        contacts.filter(move |contact| contact.pid == 0 || seen.insert(contact.pid))
    }

    /// Who listens at `path`, if it is the file's owner, and the place is another than those.
    fn at(name: Name, path: &Path, but: &[Place]) -> Option<Self> {
        let file = fs::symlink_metadata(path).ok()?;
        let place = Place::of(&file);
        if !file.file_type().is_socket() || but.contains(&place) {
            return None;
        }
        let made = |pid, owner, line| Self { pid, owner, place, line, name, path: path.to_owned() };
        match dial(path) {
            Ok(line) => {
                let listener = Peer::of(&line).ok().filter(|listener| listener.uid == file.uid())?;
                // A child may have inherited what nobody answers any more; the number may be another user's process's by now.
                let is_theirs = listener.pid == 0 || acts_as(listener.pid, listener.uid);
                is_theirs.then(|| made(listener.pid, listener.uid, Ok(line)))
            }
            Err(error) => match Errno::from_io_error(&error) {
                Some(Errno::CONNREFUSED) => {
                    sweep(path, name, place);
                    None
                }
                Some(Errno::NOENT) => None,
                // Somebody listens, and has no time or nothing to say to us. The name is all there is, if it can be true.
                _ => {
                    let is_true = name.is_of_ours() && acts_as(name.pid, file.uid());
                    Some(made(if is_true { name.pid } else { 0 }, file.uid(), Err(error)))
                }
            },
        }
    }

    /// The user to whom it belongs now.
    pub(super) fn user(&self) -> u32 {
        // Who has begun as root may have left that.
        if self.owner == 0 && self.pid != 0 { user_of(self.pid).unwrap_or(0) } else { self.owner }
    }

    /// It is asked later: nobody is kept waiting until then.
    pub(super) fn later(self) -> Address {
        Address { pid: self.pid, place: self.place, name: self.name, path: self.path }
    }

    /// The connection to it.
    ///
    /// # Errors
    /// As connecting does; `WouldBlock` when too many wait there.
    pub(crate) fn dial(self) -> io::Result<UnixStream> {
        self.line
    }
}

/// Removes a socket at which nobody listens, unless the process whose name it has lives. That is not known of one of another
/// PID namespace; but at this file nobody will listen again, and if there is another by now it stays.
fn sweep(path: &Path, name: Name, place: Place) {
    let is_left = match name.is_of_ours() {
        true => !exists(name.pid),
        false => fs::symlink_metadata(path).is_ok_and(|now| Place::of(&now) == place),
    };
    if is_left {
        let _ = fs::remove_file(path);
    }
}

fn exists(pid: u32) -> bool {
    Path::new("/proc").join(pid.to_string()).exists()
}

/// The network namespace of a process, when that is to be known.
fn network_of(process: &str) -> Option<(u64, u64)> {
    let namespace = fs::metadata(Path::new("/proc").join(process).join("ns/net")).ok()?;
    Some((namespace.dev(), namespace.ino()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use super::*;

    fn pids(directories: &[&Path]) -> Vec<u32> {
        let all: Vec<PathBuf> = directories.iter().copied().map(Path::to_owned).collect();
        Contact::within(&all, &[]).map(|contact| contact.pid).collect()
    }

    #[test]
    fn a_process_is_the_one_that_the_kernel_names_once_whatever_the_file_is_called() {
        let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let [first, second] = folders.each_ref().map(|folder| folder.path().to_owned());
        let me = std::process::id();
        assert!(pids(&[&first, &second]).is_empty());
        for name in ["12", "x.sock", "7.sock.old"] {
            UnixListener::bind(first.join(name)).unwrap();
        }
        fs::write(first.join("12.sock"), "").unwrap();
        symlink(second.join("1.sock"), first.join("2.sock")).unwrap();
        assert!(pids(&[&first, &second]).is_empty());
        // As one of another PID namespace, in which it has this number.
        let _one = UnixListener::bind(second.join("1.sock")).unwrap();
        let _other = UnixListener::bind(second.join(format!("{}.sock", u32::MAX))).unwrap();
        assert_eq!(pids(&[&first, &second]), [me]);
        let contact = Contact::within(std::slice::from_ref(&second), &[]).next().unwrap();
        assert!(contact.is_here());
        // Who was told is not disturbed again; whoever takes the place is.
        let told = [contact.place()];
        let (later, again) = (contact.later(), Contact::within(std::slice::from_ref(&second), &[]).next());
        assert!(later.contact().unwrap().dial().is_ok());
        let again = again.unwrap().later();
        let others = |told: &[Place]| Contact::within(std::slice::from_ref(&second), told).count();
        assert_eq!(others(&told), 1, "there is another file");
        fs::remove_file(second.join("1.sock")).unwrap();
        fs::remove_file(second.join(format!("{}.sock", u32::MAX))).unwrap();
        let _later = UnixListener::bind(second.join("1.sock")).unwrap();
        assert_eq!(others(&told), 1);
        // Who was to be asked later is not who has taken the place.
        assert_eq!(again.contact().unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn only_what_the_dead_left_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path();
        let at = |pid: u32| dir.join(Name::of(pid).to_string());
        let (living, dead, elsewhere) = (std::process::id(), u32::MAX, u32::MAX - 1);
        drop(UnixListener::bind(at(living)).unwrap());
        drop(UnixListener::bind(at(dead)).unwrap());
        // Nobody has this number, and yet somebody listens.
        let _listens = UnixListener::bind(at(elsewhere)).unwrap();
        assert_eq!(pids(&[dir]), [living]);
        assert_eq!([living, dead, elsewhere].map(|pid| at(pid).exists()), [true, false, true]);
        // Of a namespace that is not ours: whoever had our number there is dead, too.
        let (gone, there) = (dir.join(format!("{living}-1.sock")), dir.join(format!("{living}-2.sock")));
        drop(UnixListener::bind(&gone).unwrap());
        let _other = UnixListener::bind(&there).unwrap();
        assert_eq!(pids(&[dir]), [living]);
        assert_eq!([&at(living), &gone, &there].map(|path| path.exists()), [true, false, true]);
    }

    #[test]
    fn who_has_no_time_is_known_by_a_name_that_can_be_true_and_stays() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().to_owned();
        let me = std::process::id();
        let paths = [me, u32::MAX].map(|pid| dir.join(Name::of(pid).to_string()));
        let full = paths.each_ref().map(|path| {
            let listener = UnixListener::bind(path).unwrap();
            rustix::net::listen(&listener, 0).unwrap();
            (listener, UnixStream::connect(path).unwrap())
        });
        assert_eq!(pids(&[&dir]), [me, 0]);
        let late = Contact::within(std::slice::from_ref(&dir), &[]).next().unwrap().dial();
        assert_eq!(late.unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert!(paths.iter().all(|path| path.exists()));
        drop(full);
    }
}
