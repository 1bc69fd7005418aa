//! Words that the processes of a port share: memory of its file, touched with atomic operations only.

use std::fs::File;
use std::io;
use std::mem::ManuallyDrop;
use std::sync::atomic::AtomicU64;

use memmap2::{MmapOptions, MmapRaw};

/// A part of the file, mapped.
#[derive(Debug)]
pub(super) struct Words {
    map: MmapRaw,
    len: usize,
}

impl Words {
    /// Maps `len` words from the byte `at` on, which begins a page, of a file that is long enough for them.
    pub(super) fn map(file: &File, at: u64, len: usize) -> io::Result<Self> {
        let bytes = len * size_of::<u64>();
        if file.metadata()?.len() < at + bytes as u64 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is too short"));
        }
        Ok(Self { map: MmapOptions::new().offset(at).len(bytes).map_raw(file)?, len })
    }

    /// All of them.
    pub(super) fn all(&self) -> &[AtomicU64] {
        let first: *const AtomicU64 = self.map.as_ptr().cast();
        // SAFETY: the mapping is page-aligned, `len` words long, and lives as long as `self`; every process touches it with
        // atomic operations only, and any bytes are a word.
        unsafe { std::slice::from_raw_parts(first, self.len) }
    }

    /// All of them for the life of the process.
    pub(super) fn leak(self) -> &'static [AtomicU64] {
        let this: &'static ManuallyDrop<Self> = Box::leak(Box::new(ManuallyDrop::new(self)));
        this.all()
    }
}
