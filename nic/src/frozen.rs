//! Items that nobody changes any more: made by this process, or found in a file that several processes map.

use std::any::Any;
use std::fs::File;
use std::io::{self, Write};
use std::ops::Deref;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::Arc;
use std::{fmt, mem};

use memmap2::{Mmap, MmapOptions};
use zerocopy::{FromBytes, Immutable, KnownLayout};

/// What a file must be sealed against before it is mapped: with these nobody has changed it since, nor ever will.
const SEALS: libc::c_int = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_WRITE;

/// A slice that is never changed, with what keeps it. As quick to read as a vector; a copy is the same memory.
pub struct Frozen<T> {
    items: NonNull<[T]>,
    /// None: there are no items.
    owner: Option<Arc<dyn Any + Send + Sync>>,
}

// SAFETY: it is a shared reference to the items, with an owner that may be let go by any thread.
unsafe impl<T: Sync> Send for Frozen<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Frozen<T> {}

impl<T> Frozen<T> {
    fn new(items: &[T], owner: Arc<dyn Any + Send + Sync>) -> Self {
        Self { items: NonNull::from(items), owner: Some(owner) }
    }
}

impl<T> Deref for Frozen<T> {
    type Target = [T];

    #[inline(always)]
    fn deref(&self) -> &[T] {
        // SAFETY: without an owner there are no items. With one it is a vector or a mapping, which nobody can reach any more
        // to change or to move it; it has the items as long as `owner` lives.
        unsafe { self.items.as_ref() }
    }
}

impl<T> Default for Frozen<T> {
    fn default() -> Self {
        Self { items: NonNull::from(&mut []), owner: None }
    }
}

impl<T> Clone for Frozen<T> {
    fn clone(&self) -> Self {
        Self { items: self.items, owner: self.owner.clone() }
    }
}

impl<T: fmt::Debug> fmt::Debug for Frozen<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&**self).finish()
    }
}

impl<T: Send + Sync + 'static> From<Vec<T>> for Frozen<T> {
    fn from(items: Vec<T>) -> Self {
        if items.is_empty() {
            return Self::default();
        }
        let owner = Arc::new(items);
        Self::new(&owner.clone(), owner)
    }
}

impl Frozen<u8> {
    /// A copy of `bytes` that begins where any item may.
    pub fn copied(bytes: &[u8]) -> Self {
        const WORD: usize = mem::size_of::<u128>();
        let word = |part: &[u8]| {
            let mut word = [0; WORD];
            word[..part.len()].copy_from_slice(part);
            u128::from_ne_bytes(word)
        };
        let owner: Arc<Vec<u128>> = Arc::new(bytes.chunks(WORD).map(word).collect());
        let whole = zerocopy::IntoBytes::as_bytes(owner.as_slice());
        Self::new(&whole[..bytes.len()], owner.clone())
    }

    /// The bytes of a file that [`seal`] has made, or somebody else as well.
    ///
    /// # Errors
    /// The operating system's; `InvalidData` when the file may still be changed.
    pub fn map(file: &File) -> io::Result<Self> {
        // SAFETY: reads a number of an open file.
        let seals = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GET_SEALS) };
        if seals < 0 {
            return Err(io::Error::last_os_error());
        }
        if seals & SEALS != SEALS {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the file may still be changed"));
        }
        // It is mapped as if it was for us alone, which it is not, for nobody writes: until Linux 6.7 a file that is sealed
        // against writing and was opened for it is not mapped to be shared, not even to be read (EPERM).
        // SAFETY: by the seals, which cannot be taken off, nobody writes to the file or changes its length.
        let map = Arc::new(unsafe { MmapOptions::new().populate().map_copy_read_only(file) }?);
        Ok(Self::new(&map, Arc::<Mmap>::clone(&map)))
    }

    /// So many items from a byte on; `None` where they are not, or do not begin as such do.
    pub fn view<T>(&self, at: usize, count: usize) -> Option<Frozen<T>>
    where
        T: FromBytes + Immutable + KnownLayout,
    {
        let end = count.checked_mul(mem::size_of::<T>())?.checked_add(at)?;
        let items = <[T]>::ref_from_bytes_with_elems(self.get(at..end)?, count).ok()?;
        Some(Frozen { items: NonNull::from(items), owner: self.owner.clone() })
    }
}

/// A file in memory with `parts` in it, one behind the other, which nobody can change.
///
/// # Errors
/// The operating system's.
pub fn seal(name: &std::ffi::CStr, parts: &[&[u8]]) -> io::Result<File> {
    // SAFETY: the name ends with a NUL and the flags are valid; the result is checked.
    let fd = unsafe { libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `fd` was just created, is valid, and nothing else owns it.
    let mut file = File::from(unsafe { OwnedFd::from_raw_fd(fd) });
    parts.iter().try_for_each(|part| file.write_all(part))?;
    // SAFETY: sets flags of an open file.
    match unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, SEALS | libc::F_SEAL_SEAL) } {
        0 => Ok(file),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_kept_by_whoever_has_them() {
        let frozen = Frozen::from(vec![3_u32, 1, 2]);
        let other = frozen.clone();
        assert!(std::ptr::eq(&*frozen, &*other));
        drop(frozen);
        assert_eq!(*other, [3, 1, 2]);
        assert!(Frozen::from(Vec::<u128>::new()).is_empty() && Frozen::<u8>::default().is_empty());
    }

    #[test]
    fn what_is_sealed_is_mapped_and_cannot_be_changed() {
        let bytes: Vec<u8> = (0..100).collect();
        let mut file = seal(c"test", &[&bytes[..40], &bytes[40..]]).unwrap();
        let mapped = Frozen::map(&file).unwrap();
        assert!(file.write_all(b"x").is_err() && file.set_len(200).is_err() && file.set_len(1).is_err());
        drop(file);
        assert_eq!(*mapped, *bytes);
        assert!(is_private(mapped.as_ptr().addr()), "Linux before 6.7 shares no file that is sealed");
        let view = mapped.view::<u32>(8, 2).unwrap();
        drop(mapped);
        assert_eq!(*view, [u32::from_ne_bytes([8, 9, 10, 11]), u32::from_ne_bytes([12, 13, 14, 15])]);
    }

    #[test]
    fn what_may_be_changed_is_not_mapped() {
        let file = tempfile();
        assert_eq!(Frozen::map(&file).unwrap_err().kind(), io::ErrorKind::InvalidData);
        let mut unsealable = File::open("/proc/self/exe").unwrap();
        assert!(Frozen::map(&unsealable).is_err());
        assert!(unsealable.write_all(b"x").is_err());
    }

    /// Whether a mapping that begins there is of one that is not shared.
    fn is_private(at: usize) -> bool {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        maps.lines().any(|line| line.starts_with(&format!("{at:x}-")) && line.contains(" r--p "))
    }

    /// One without seals.
    fn tempfile() -> File {
        // SAFETY: the name ends with a NUL and the flags are valid; the result is checked.
        let fd = unsafe { libc::memfd_create(c"test".as_ptr(), libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING) };
        assert!(fd >= 0);
        // SAFETY: `fd` was just created, is valid, and nothing else owns it.
        File::from(unsafe { OwnedFd::from_raw_fd(fd) })
    }

    #[test]
    fn what_is_not_there_is_not_seen() {
        for len in [0_u8, 1, 15, 16, 17, 40] {
            let bytes: Vec<u8> = (0..len).collect();
            let copied = Frozen::copied(&bytes);
            assert_eq!(*copied, *bytes);
            let whole = bytes.len() / 16;
            assert_eq!(copied.view::<u128>(0, whole).map(|view| view.len()), Some(whole));
            assert!(copied.view::<u128>(0, whole + 1).is_none());
        }
        let copied = Frozen::copied(&[0; 64]);
        assert!(copied.view::<u128>(8, 1).is_none() && copied.view::<u16>(1, 1).is_none());
        assert!(copied.view::<u32>(64, 0).is_some_and(|none| none.is_empty()));
        assert!(copied.view::<u32>(68, 0).is_none());
        assert!(copied.view::<u128>(0, usize::MAX).is_none() && copied.view::<u8>(usize::MAX, 1).is_none());
    }
}
