//! Where control sockets are, and what they are called: by the process's number, and by its PID namespace, since the
//! directory may be that of several, in which others have the same number.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The directory that the launcher makes as root, open for every user's sockets (mode 1777).
pub(crate) const RUN_DIR: &str = "/run/ringroad";

/// The host's first PID namespace, whose processes are called by their numbers alone (PROC_PID_INIT_INO).
const FIRST: u64 = 0xEFFF_FFFC;

/// The directories in which a stack may have put its socket, best first.
pub(crate) fn directories(configured: Option<&Path>) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = configured.into_iter().map(Path::to_path_buf).collect();
    all.push(RUN_DIR.into());
    all.push(std::env::temp_dir().join("ringroad"));
    all
}

/// A process as its socket is called: `PID.sock` in the host's first PID namespace, `PID-NAMESPACE.sock` in another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name {
    /// Its number in its namespace.
    pub(super) pid: u32,
    /// The inode of that; none: it is the first, or was not known.
    namespace: Option<u64>,
}

impl Name {
    /// That of a process of our own PID namespace.
    pub(super) fn of(pid: u32) -> Self {
        // Whose /proc it is does not matter: `self` is always us.
        let own = fs::metadata("/proc/self/ns/pid").map(|namespace| namespace.ino()).ok();
        Self { pid, namespace: own.filter(|inode| *inode != FIRST) }
    }

    /// Whose socket `path` is, if it is one.
    pub(super) fn read(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?.strip_suffix(".sock")?;
        Some(match name.split_once('-') {
            Some((pid, namespace)) => {
                Self { pid: pid.parse().ok()?, namespace: Some(namespace.parse().ok()?) }
            }
            None => Self { pid: name.parse().ok()?, namespace: None },
        })
    }

    /// Whether its number is one of our own PID namespace.
    pub(super) fn is_of_ours(&self) -> bool {
        *self == Self::of(self.pid)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.namespace {
            Some(namespace) => write!(f, "{}-{namespace}.sock", self.pid),
            None => write!(f, "{}.sock", self.pid),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_namespaces_apart_and_are_read_as_they_are_written() {
        let read = |name: &str| Name::read(&Path::new("/run").join(name));
        let (first, other) = (read("7.sock").unwrap(), read("7-4026532201.sock").unwrap());
        assert_eq!((first.pid, other.pid), (7, 7));
        assert_ne!(first, other);
        for name in [first, other, Name::of(7)] {
            assert_eq!(read(&name.to_string()), Some(name));
        }
        assert!(Name::of(7).is_of_ours() && !other.is_of_ours());
        for none in ["7", "7.new", "x.sock", "7-x.sock", "7-.sock", "-7.sock", ".sock", "7-1-2.sock"] {
            assert_eq!(read(none), None, "{none}");
        }
    }
}
