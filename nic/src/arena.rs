//! The memory that frames live in. The only file of this room, but for `frozen` and `prefetch`, that holds
//! `unsafe`.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use memmap2::{Advice, MmapOptions, MmapRaw};

use crate::own::Own;

/// A run of equally sized frames in one shared mapping of a memfd.
///
/// The mapping is `MAP_SHARED`, so it is the same memory in every process that maps the file, whose descriptor children
/// inherit, as they do not the mapping: an AF_XDP UMEM registered by one process can be driven by another.
pub struct Arena {
    map: MmapRaw,
    file: Own<File>,
    base: usize,
    frame_size: u32,
    frames: u32,
}

impl Arena {
    /// Makes an arena of `frames` frames of `frame_size` bytes each in a memfd of its own.
    ///
    /// # Errors
    /// The operating system's error from `memfd_create`, `ftruncate` or `mmap`; `InvalidInput` when
    /// `frame_size` is not a power of two between 2048 and 65536 or `frames` is zero.
    pub fn new(frames: u32, frame_size: u32) -> io::Result<Self> {
        // SAFETY: the name is a NUL-terminated literal and the flags are valid; the result is checked.
        let fd = unsafe { libc::memfd_create(c"ringroad-frames".as_ptr(), libc::MFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `fd` was just created, is valid, and nothing else owns it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let file = File::from(fd);
        file.set_len(u64::from(frames) * u64::from(frame_size))?;
        Self::from_file(file, 0, frames, frame_size)
    }

    /// Maps an arena that already exists: `frames * frame_size` bytes of `file` from byte `base` on
    /// (`base` a multiple of the page size).
    ///
    /// # Errors
    /// As [`Arena::new`], and `InvalidInput` when the file is too short.
    pub fn from_file(file: File, base: u64, frames: u32, frame_size: u32) -> io::Result<Self> {
        let invalid = |what| Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        if !frame_size.is_power_of_two() || !(2048..=65536).contains(&frame_size) {
            return invalid("frame size must be a power of two from 2048 to 65536");
        }
        if frames == 0 {
            return invalid("an arena needs at least one frame");
        }
        let bytes = u64::from(frames) * u64::from(frame_size);
        if file.metadata()?.len() < base + bytes {
            return invalid("the file is shorter than the arena");
        }
        let map = MmapOptions::new().offset(base).len(bytes as usize).map_raw(&file)?;
        // A child drives no stack of its parent's, and its own maps the frames anew.
        map.advise(Advice::DontFork)?;
        Ok(Self { map, file: Own::new(file), base: base as usize, frame_size, frames })
    }

    /// Frames in the arena.
    pub fn frames(&self) -> u32 {
        self.frames
    }

    /// Bytes in a frame.
    pub fn frame_size(&self) -> u32 {
        self.frame_size
    }

    /// Bytes in the arena.
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// Never: an arena has at least one frame.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Where the arena begins in this process, for registration with a driver.
    pub fn as_mut_ptr(&self) -> *mut u8 {
        self.map.as_mut_ptr()
    }

    /// The file behind the mapping, and the byte at which the arena begins in it.
    pub fn file(&self) -> (BorrowedFd<'_>, usize) {
        (self.file.as_fd(), self.base)
    }

    /// `len` bytes of frame `frame` from byte `offset` of it.
    pub(crate) fn bytes(&self, frame: u32, offset: u16, len: u16) -> &[u8] {
        let at = self.place(frame, offset, len);
        // SAFETY: `place` checked that the range lies inside the mapping, which lives as long as `self`.
        let start = unsafe { self.map.as_mut_ptr().add(at) };
        // SAFETY: the range is inside one live mapping, and the pool hands out a frame's bytes only to the
        // holder of its one `Pkt`, so nobody writes them during the borrow.
        unsafe { std::slice::from_raw_parts(start, len as usize) }
    }

    /// As [`Arena::bytes`], for writing. The pool, which alone calls this, is borrowed mutably meanwhile.
    pub(crate) fn bytes_mut(&mut self, frame: u32, offset: u16, len: u16) -> &mut [u8] {
        let at = self.place(frame, offset, len);
        // SAFETY: `place` checked that the range lies inside the mapping, which lives as long as `self`.
        let start = unsafe { self.map.as_mut_ptr().add(at) };
        // SAFETY: the range is inside one live mapping; `&mut self` excludes every other borrow through
        // this arena, and the pool refuses frames that a NIC holds.
        unsafe { std::slice::from_raw_parts_mut(start, len as usize) }
    }

    /// Copies `len` bytes from byte `from.1` of frame `from.0` to byte `to.1` of frame `to.0`, another one. The
    /// pool, which alone calls this, is borrowed mutably meanwhile.
    pub(crate) fn copy(&mut self, from: (u32, u16), to: (u32, u16), len: u16) {
        assert!(from.0 != to.0, "frame {} onto itself", to.0);
        let (source, target) = (self.place(from.0, from.1, len), self.place(to.0, to.1, len));
        // SAFETY: `place` checked that the range lies inside the mapping, which lives as long as `self`.
        let source = unsafe { self.map.as_mut_ptr().add(source) };
        // SAFETY: as above.
        let target = unsafe { self.map.as_mut_ptr().add(target) };
        // SAFETY: both ranges are inside the mapping and in different frames, so they do not overlap; `&mut self`
        // excludes every borrow through this arena.
        unsafe { std::ptr::copy_nonoverlapping(source, target, len as usize) };
    }

    /// Asks the processor to fetch the cache line at byte `offset` of a frame: it will be read soon.
    #[inline]
    pub(crate) fn prefetch(&self, frame: u32, offset: u16) {
        let at = self.place(frame, offset, 0);
        crate::prefetch::line(self.map.as_mut_ptr().wrapping_add(at).cast_const());
    }

    fn place(&self, frame: u32, offset: u16, len: u16) -> usize {
        assert!(frame < self.frames, "frame {frame} is outside the arena");
        assert!(
            u32::from(offset) + u32::from(len) <= self.frame_size,
            "bytes {offset}+{len} are outside a frame of {}",
            self.frame_size
        );
        frame as usize * self.frame_size as usize + offset as usize
    }
}

impl std::fmt::Debug for Arena {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Arena")
            .field("fd", &self.file.as_raw_fd())
            .field("frames", &self.frames)
            .field("frame_size", &self.frame_size)
            .finish()
    }
}

// SAFETY: the arena is plain memory; every access goes through `&self` or `&mut self` under the rules above.
unsafe impl Send for Arena {}
