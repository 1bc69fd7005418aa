//! Captures that Wireshark and tcpdump can read.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::Duration;

/// Nanosecond timestamps, our byte order.
const MAGIC: u32 = 0xa1b2_3c4d;
const ETHERNET: u32 = 1;
const SNAPLEN: u32 = 65536;

/// A capture that is being written.
#[derive(Debug)]
pub struct Pcap<W: Write = BufWriter<File>> {
    out: W,
}

impl Pcap {
    /// Begins a capture in a file.
    ///
    /// # Errors
    /// The operating system's, when the file cannot be written.
    pub fn create(path: &Path) -> io::Result<Self> {
        Self::new(BufWriter::new(File::create(path)?))
    }
}

impl<W: Write> Pcap<W> {
    /// Begins a capture.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn new(mut out: W) -> io::Result<Self> {
        out.write_all(&MAGIC.to_ne_bytes())?;
        out.write_all(&2u16.to_ne_bytes())?;
        out.write_all(&4u16.to_ne_bytes())?;
        for word in [0, 0, SNAPLEN, ETHERNET] {
            out.write_all(&word.to_ne_bytes())?;
        }
        Ok(Self { out })
    }

    /// Adds a frame seen at `time`, counted from the epoch of your choice.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn frame(&mut self, time: Duration, bytes: &[u8]) -> io::Result<()> {
        let kept = &bytes[..bytes.len().min(SNAPLEN as usize)];
        for word in [time.as_secs() as u32, time.subsec_nanos(), kept.len() as u32, bytes.len() as u32] {
            self.out.write_all(&word.to_ne_bytes())?;
        }
        self.out.write_all(kept)
    }

    /// Writes out what is still in memory.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_is_that_of_pcap() {
        let mut bytes = Vec::new();
        let mut pcap = Pcap::new(&mut bytes).unwrap();
        pcap.frame(Duration::new(3, 5), b"frame").unwrap();
        assert_eq!(bytes.len(), 24 + 16 + 5);
        assert_eq!(bytes[..4], MAGIC.to_ne_bytes());
        let word = |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap());
        assert_eq!([word(20), word(24), word(28), word(32), word(36)], [1, 3, 5, 5, 5]);
        assert_eq!(&bytes[40..], b"frame");
    }
}
