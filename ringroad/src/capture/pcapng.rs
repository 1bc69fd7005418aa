//! Files in the pcapng format (draft-ietf-opsawg-pcapng), as much of it as we write: a section, an interface block for
//! each interface, a block for each packet with comments and flags, and what each interface counted.

use std::io::{self, Write};

use super::Totals;

/// LINKTYPE_ETHERNET.
const ETHERNET: u16 = 1;
/// Times are in units of 10^-9 s.
const NANOSECONDS: u8 = 9;

/// Types of blocks (§4).
const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const STATISTICS: u32 = 5;
const PACKET: u32 = 6;

/// Codes of options (§3.5, §4).
const COMMENT: u16 = 1;
const SHB_USERAPPL: u16 = 4;
const IF_NAME: u16 = 2;
const IF_DESCRIPTION: u16 = 3;
const IF_TSRESOL: u16 = 9;
const IF_FILTER: u16 = 11;
const EPB_FLAGS: u16 = 2;
const ISB_IFRECV: u16 = 4;
const ISB_FILTERACCEPT: u16 = 6;
const ISB_OSDROP: u16 = 7;
const ISB_USRDELIV: u16 = 8;

/// The flags' direction (§4.3.1).
pub const UNKNOWN: u32 = 0;
/// Inbound.
pub const INBOUND: u32 = 1;
/// Outbound.
pub const OUTBOUND: u32 = 2;

/// A file that is written.
#[derive(Debug)]
pub struct Pcapng<W> {
    to: W,
    block: Vec<u8>,
    interfaces: u32,
    written: u64,
}

/// A packet to be written.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'f> {
    /// The number of its interface.
    pub interface: u32,
    /// Nanoseconds since 1970.
    pub nanos: u64,
    /// Its length.
    pub wire_len: u32,
    /// Which way it went: [`INBOUND`] or [`OUTBOUND`].
    pub flags: u32,
    /// What is said of it.
    pub comment: &'f str,
    /// As much of it as there is.
    pub bytes: &'f [u8],
}

impl Frame<'_> {
    /// Bytes that it takes in a file at the most: with the block's own, three options, and what fills each up to words.
    pub(crate) fn most(&self) -> u64 {
        (self.bytes.len() + self.comment.len() + 64) as u64
    }
}

impl<W: Write> Pcapng<W> {
    /// Begins a file.
    ///
    /// # Errors
    /// As writing.
    pub fn new(to: W, program: &str) -> io::Result<Self> {
        let mut file = Self { to, block: Vec::with_capacity(4096), interfaces: 0, written: 0 };
        file.begin(SECTION);
        file.words(&[0x1a2b_3c4d]);
        file.block.extend([1u16, 0].map(u16::to_le_bytes).concat());
        // The section's length is not said.
        file.words(&[u32::MAX, u32::MAX]);
        file.option(SHB_USERAPPL, program.as_bytes());
        file.end()?;
        Ok(file)
    }

    /// One more interface of Ethernet; its number.
    ///
    /// # Errors
    /// As writing.
    pub fn interface(&mut self, name: &str, about: &str, snaplen: u32, filter: &str) -> io::Result<u32> {
        self.begin(INTERFACE);
        self.words(&[ETHERNET.into(), snaplen]);
        self.option(IF_NAME, name.as_bytes());
        if !about.is_empty() {
            self.option(IF_DESCRIPTION, about.as_bytes());
        }
        self.option(IF_TSRESOL, &[NANOSECONDS]);
        if !filter.is_empty() {
            // A zero says that a string follows.
            self.option(IF_FILTER, &[b"\0", filter.as_bytes()].concat());
        }
        self.end()?;
        self.interfaces += 1;
        Ok(self.interfaces - 1)
    }

    /// Writes a packet.
    ///
    /// # Errors
    /// As writing.
    pub fn packet(&mut self, frame: &Frame<'_>) -> io::Result<()> {
        self.begin(PACKET);
        let (high, low) = ((frame.nanos >> 32) as u32, frame.nanos as u32);
        self.words(&[frame.interface, high, low, frame.bytes.len() as u32, frame.wire_len]);
        self.block.extend_from_slice(frame.bytes);
        self.pad();
        if !frame.comment.is_empty() {
            self.option(COMMENT, frame.comment.as_bytes());
        }
        self.option(EPB_FLAGS, &frame.flags.to_le_bytes());
        self.end()
    }

    /// Writes what was counted of an interface until `nanos`; `delivered` of its packets are in the file.
    ///
    /// # Errors
    /// As writing.
    pub fn statistics(
        &mut self,
        interface: u32,
        nanos: u64,
        totals: &Totals,
        delivered: u64,
    ) -> io::Result<()> {
        self.begin(STATISTICS);
        self.words(&[interface, (nanos >> 32) as u32, nanos as u32]);
        for (code, n) in [
            (ISB_IFRECV, totals.seen),
            (ISB_FILTERACCEPT, totals.wanted),
            (ISB_OSDROP, totals.lost),
            (ISB_USRDELIV, delivered),
        ] {
            self.option(code, &n.to_le_bytes());
        }
        self.end()
    }

    /// Bytes so far.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Hands on what is kept back.
    ///
    /// # Errors
    /// As writing.
    pub fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }

    fn begin(&mut self, kind: u32) {
        self.block.clear();
        self.words(&[kind, 0]);
    }

    fn words(&mut self, words: &[u32]) {
        words.iter().for_each(|word| self.block.extend(word.to_le_bytes()));
    }

    fn pad(&mut self) {
        self.block.resize(self.block.len().next_multiple_of(4), 0);
    }

    fn option(&mut self, code: u16, value: &[u8]) {
        let len = value.len().min(u16::MAX.into());
        self.block.extend([code, len as u16].map(u16::to_le_bytes).concat());
        self.block.extend_from_slice(&value[..len]);
        self.pad();
    }

    fn end(&mut self) -> io::Result<()> {
        // opt_endofopt
        self.words(&[0]);
        let len = self.block.len() as u32 + 4;
        self.words(&[len]);
        self.block[4..8].copy_from_slice(&len.to_le_bytes());
        self.written += u64::from(len);
        self.to.write_all(&self.block)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_as_the_draft_says() {
        let mut file = Pcapng::new(Vec::new(), "us").unwrap();
        assert_eq!(file.interface("road0", "", 0x4_0000, "tcp").unwrap(), 0);
        let frame = Frame {
            interface: 0,
            nanos: 0x0102_0304_0506_0708,
            wire_len: 99,
            flags: INBOUND,
            comment: "passed",
            bytes: b"bytes",
        };
        file.packet(&frame).unwrap();
        file.statistics(0, 1, &Totals { seen: 3, wanted: 2, lost: 1 }, 1).unwrap();
        let bytes = file.to;
        assert_eq!(bytes.len() as u64, file.written);
        let mut at = 0;
        let mut kinds = Vec::new();
        while at < bytes.len() {
            let word = |n: usize| u32::from_le_bytes(bytes[at + n..at + n + 4].try_into().unwrap());
            let len = word(4) as usize;
            assert_eq!((len % 4, word(len - 4) as usize), (0, len));
            kinds.push((word(0), len));
            at += len;
        }
        assert_eq!(kinds, [(SECTION, 40), (INTERFACE, 52), (PACKET, 64), (STATISTICS, 76)]);
        let packet = &bytes[92..156];
        assert_eq!(packet[12..28], [4, 3, 2, 1, 8, 7, 6, 5, 5, 0, 0, 0, 99, 0, 0, 0]);
        assert!((packet.len() as u64..packet.len() as u64 + 32).contains(&frame.most()));
        assert_eq!(&packet[28..48], b"bytes\0\0\0\x01\0\x06\0passed\0\0");
        assert_eq!(packet[48..60], [2, 0, 4, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    }
}
