//! The guest's files, an initramfs: cpio's `newc` form (Documentation/driver-api/early-userspace/buffer-format.rst).

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

const FOLDER: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;

/// Files and folders, in the order in which they were added.
pub(super) struct Image {
    bytes: Vec<u8>,
    there: BTreeSet<String>,
}

impl Image {
    pub(super) fn new() -> Self {
        Self { bytes: Vec::new(), there: BTreeSet::new() }
    }

    /// A folder and those above it.
    pub(super) fn folder(&mut self, path: &str) {
        let path = path.trim_matches('/');
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
        for end in ends.filter(|end| *end > 0) {
            self.add(&path[..end], FOLDER, &[]);
        }
    }

    /// A file that can be run.
    pub(super) fn file(&mut self, path: &str, content: &[u8]) {
        let path = path.trim_start_matches('/');
        if let Some((folder, _)) = path.rsplit_once('/') {
            self.folder(folder);
        }
        self.add(path, PROGRAM, content);
    }

    /// A program of this host under another path, and the libraries that it is linked with under their own.
    pub(super) fn program(&mut self, path: &str, from: &Path) -> Result<(), String> {
        let read = |file: &Path| fs::read(file).map_err(|e| format!("{}: {e}", file.display()));
        self.file(path, &read(from)?);
        for library in libraries(from).map_err(|e| format!("ldd: {e}"))? {
            if !self.there.contains(library.trim_start_matches('/')) {
                self.file(&library, &read(Path::new(&library))?);
            }
        }
        Ok(())
    }

    /// The archive.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.add("TRAILER!!!", 0, &[]);
        self.bytes
    }

    fn add(&mut self, path: &str, mode: u32, content: &[u8]) {
        if !self.there.insert(path.to_owned()) {
            return;
        }
        let (number, len) = (self.there.len(), content.len());
        // Magic; inode, mode, uid, gid, links, mtime, size, four device numbers, length of the name, no checksum.
        let header = format!(
            "070701{number:08x}{mode:08x}{0:08x}{0:08x}{1:08x}{0:08x}{len:08x}{0:08x}{0:08x}{0:08x}{0:08x}{2:08x}{0:08x}",
            0,
            1,
            path.len() + 1
        );
        self.bytes.extend(header.as_bytes());
        self.bytes.extend(path.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

/// The libraries of a program, its loader among them; none of a static one.
fn libraries(program: &Path) -> io::Result<Vec<String>> {
    let output = Command::new("ldd").arg(program).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let path = |line: &str| line.split_whitespace().find(|word| word.starts_with('/')).map(str::to_owned);
    Ok(text.lines().filter_map(path).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_comes_behind_its_folders_and_everything_once() {
        let mut image = Image::new();
        image.file("/a/b/c", b"12345");
        image.file("a/b/c", b"again");
        let bytes = image.finish();
        assert_eq!(bytes.len() % 4, 0);
        let text = String::from_utf8_lossy(&bytes);
        let places: Vec<_> = ["a\0", "a/b\0", "a/b/c\0", "12345\0\0\0", "TRAILER!!!\0"]
            .iter()
            .map(|part| text.find(part).unwrap_or_else(|| panic!("{part:?} is missing")))
            .collect();
        assert!(places.is_sorted(), "{places:?}");
        assert!(!text.contains("again"));
        assert_eq!(text.matches("070701").count(), 4);
        assert_eq!(&bytes[..14], b"07070100000001");
    }
}
