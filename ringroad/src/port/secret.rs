//! The host's key for initial sequence numbers and timestamps.
//!
//! Programs that run one after the other on one address must count on where the last one stopped: a peer that
//! still has a connection in TIME-WAIT takes a new SYN for it only if its sequence number or its timestamp is
//! above the old ones (RFC 6191). Linux has one key for all; ours is in a file that only root can read.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// The folder is root's alone, and empty after a boot.
const FILE: &str = "/run/ringroad.key";

/// A key in two words.
pub(super) type Key = [u64; 2];

/// The host's key, made now if there is none. Where it cannot be kept, a fresh one serves this port.
pub(super) fn of_host() -> io::Result<Key> {
    match read(Path::new(FILE)) {
        Ok(key) => Ok(key),
        Err(_) => make(Path::new(FILE)),
    }
}

fn read(path: &Path) -> io::Result<Key> {
    let mut file = File::open(path)?;
    let about = file.metadata()?;
    if about.uid() != rustix::process::geteuid().as_raw() || about.mode() & 0o077 != 0 {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "the key is not ours alone"));
    }
    let mut bytes = [0; 16];
    file.read_exact(&mut bytes)?;
    Ok(words(bytes))
}

/// A fresh key, put into the file if nobody has done so meanwhile; whose key is there is everybody's.
fn make(path: &Path) -> io::Result<Key> {
    let mut bytes = [0; 16];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    let draft = path.with_extension(format!("key.{}", std::process::id()));
    let kept =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft).and_then(|mut file| {
            file.write_all(&bytes)?;
            // Whole or not at all, and never over another's.
            fs::hard_link(&draft, path)
        });
    let _ = fs::remove_file(&draft);
    match kept {
        Ok(()) => Ok(words(bytes)),
        Err(_) => Ok(read(path).unwrap_or(words(bytes))),
    }
}

fn words(bytes: [u8; 16]) -> Key {
    let (low, high) = bytes.split_at(8);
    [low, high].map(|half| u64::from_ne_bytes(half.try_into().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_makes_the_key_and_the_next_find_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let key = make(&path).unwrap();
        assert_eq!(read(&path).unwrap(), key);
        assert_eq!(make(&path).unwrap(), key, "one that comes second takes what is there");
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        assert!(read(&path).is_err(), "a key that others can read is none");
    }
}
