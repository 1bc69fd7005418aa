//! The TCP header (RFC 9293 §3.1) with the options of RFC 9293 §3.2, RFC 7323 and RFC 2018.

use core::fmt;
use core::ops::BitOr;

use crate::seq::Seq;
use crate::types::Ecn;

/// Octets of a header without options.
pub const HEADER_LEN: usize = 20;
/// Octets of the longest header.
pub const HEADER_MAX: usize = 60;
/// Where the checksum field is in a header.
pub const CHECKSUM_AT: usize = 16;
/// Most SACK blocks that fit a header (RFC 2018 §3).
pub const SACK_BLOCKS: usize = 4;
/// Octets that timestamps take in every header, padding included.
pub const TIMESTAMPS_LEN: usize = 12;

const KIND_END: u8 = 0;
const KIND_NOP: u8 = 1;
const KIND_MSS: u8 = 2;
const KIND_WINDOW_SCALE: u8 = 3;
const KIND_SACK_PERMITTED: u8 = 4;
const KIND_SACK: u8 = 5;
const KIND_TIMESTAMPS: u8 = 8;
const KIND_FAST_OPEN: u8 = 34;
/// RFC 7323 §2.3: a larger shift is read as this one.
const WINDOW_SCALE_MAX: u8 = 14;

/// Whether a segment, headers unchecked, asks for a connection: a SYN that acknowledges nothing.
pub fn begins(segment: &[u8]) -> bool {
    segment.get(13).is_some_and(|flags| flags & (Flags::SYN.0 | Flags::ACK.0) == Flags::SYN.0)
}

/// The control bits.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Flags(pub u8);

impl Flags {
    /// No more data from the sender.
    pub const FIN: Flags = Flags(0x01);
    /// Synchronise sequence numbers.
    pub const SYN: Flags = Flags(0x02);
    /// Reset the connection.
    pub const RST: Flags = Flags(0x04);
    /// Push.
    pub const PSH: Flags = Flags(0x08);
    /// The acknowledgment field counts.
    pub const ACK: Flags = Flags(0x10);
    /// The urgent pointer counts.
    pub const URG: Flags = Flags(0x20);
    /// ECN echo (RFC 3168).
    pub const ECE: Flags = Flags(0x40);
    /// Congestion window reduced (RFC 3168).
    pub const CWR: Flags = Flags(0x80);

    /// Whether any bit of `other` is set.
    #[inline]
    pub const fn has(self, other: Flags) -> bool {
        self.0 & other.0 != 0
    }

    /// These bits without those of `other`.
    #[inline]
    pub const fn without(self, other: Flags) -> Flags {
        Flags(self.0 & !other.0)
    }
}

impl BitOr for Flags {
    type Output = Flags;
    fn bitor(self, rhs: Flags) -> Flags {
        Flags(self.0 | rhs.0)
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (bit, letter) in "FSRP.UEW".chars().enumerate() {
            if self.0 & (1 << bit) != 0 {
                write!(f, "{letter}")?;
            }
        }
        Ok(())
    }
}

/// A range of octets that arrived out of order: `[left, right)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SackBlock {
    /// First octet.
    pub left: Seq,
    /// One past the last.
    pub right: Seq,
}

/// SACK blocks in the order in which the header has them.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct SackBlocks {
    blocks: [SackBlock; SACK_BLOCKS],
    count: u8,
}

impl SackBlocks {
    /// The blocks.
    #[inline]
    pub fn as_slice(&self) -> &[SackBlock] {
        &self.blocks[..usize::from(self.count).min(SACK_BLOCKS)]
    }

    /// Whether there are none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The first block, if beside `ack` it reports octets that arrived twice (RFC 2883 §4).
    pub fn duplicate(&self, ack: Seq) -> Option<SackBlock> {
        let told = match *self.as_slice() {
            [first, ..] if first.left.before(ack) => true,
            [first, second, ..] => {
                second.left.at_or_before(first.left) && first.right.at_or_before(second.right)
            }
            _ => false,
        };
        told.then(|| self.blocks[0]).filter(|block| block.left.before(block.right))
    }

    /// Adds a block at the end; a fifth is dropped.
    pub fn push(&mut self, block: SackBlock) {
        if let Some(slot) = self.blocks.get_mut(usize::from(self.count)) {
            *slot = block;
            self.count += 1;
        }
    }

    /// Keeps the first `n`.
    pub fn truncate(&mut self, n: usize) {
        self.count = self.count.min(n.min(SACK_BLOCKS) as u8);
    }
}

impl fmt::Debug for SackBlocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.as_slice()).finish()
    }
}

/// RFC 7323 §3: TSval and TSecr.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimestampsOption {
    /// The sender's clock.
    pub val: u32,
    /// The clock of the other side, as the sender saw it last.
    pub ecr: u32,
}

/// The cookie of Fast Open (RFC 7413 §4.1.1); one without octets asks for a cookie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FastOpenCookie {
    octets: [u8; FAST_OPEN_MAX],
    len: u8,
}

/// Octets of the longest cookie.
const FAST_OPEN_MAX: usize = 16;

impl FastOpenCookie {
    /// Asks for a cookie.
    pub const REQUEST: FastOpenCookie = FastOpenCookie { octets: [0; FAST_OPEN_MAX], len: 0 };

    /// A cookie of these octets: 4 to 16 of them, an even number, or none at all.
    pub fn new(octets: &[u8]) -> Option<Self> {
        let len = octets.len();
        if !(len == 0 || (4..=FAST_OPEN_MAX).contains(&len) && len.is_multiple_of(2)) {
            return None;
        }
        let mut cookie = Self { len: len as u8, ..Self::REQUEST };
        cookie.octets[..len].copy_from_slice(octets);
        Some(cookie)
    }

    /// The octets.
    pub fn as_slice(&self) -> &[u8] {
        &self.octets[..usize::from(self.len).min(FAST_OPEN_MAX)]
    }

    /// Whether it asks for one.
    pub fn is_request(&self) -> bool {
        self.len == 0
    }
}

/// The options that mean something to us.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Maximum segment size (RFC 9293 §3.7.1), in octets.
    pub mss: Option<u16>,
    /// Window scale shift (RFC 7323 §2), at most 14.
    pub window_scale: Option<u8>,
    /// SACK permitted (RFC 2018 §2).
    pub sack_permitted: bool,
    /// Timestamps (RFC 7323 §3).
    pub timestamps: Option<TimestampsOption>,
    /// SACK blocks (RFC 2018 §3).
    pub sack: SackBlocks,
    /// Fast Open (RFC 7413); of SYNs only.
    pub fast_open: Option<FastOpenCookie>,
}

/// A segment as it arrived: the SEG variables of RFC 9293 §3.3.1. The payload is elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// The sender's port.
    pub src_port: u16,
    /// The receiver's port.
    pub dst_port: u16,
    /// SEG.SEQ.
    pub seq: Seq,
    /// SEG.ACK; means nothing without [`Flags::ACK`].
    pub ack: Seq,
    /// The control bits.
    pub flags: Flags,
    /// SEG.WND as on the wire, not scaled.
    pub wnd: u16,
    /// The urgent pointer as on the wire.
    pub urgent: u16,
    /// Octets of payload (SYN and FIN not counted).
    pub len: u32,
    /// Octets of header.
    pub header_len: u8,
    /// The ECN field of the packet that brought it (RFC 3168); whoever reads the packet fills it in.
    pub ecn: Ecn,
    /// Options.
    pub options: Options,
}

/// A TCP header that contradicts itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl Segment {
    /// Reads a segment: header and payload, as the IP packet holds it. The checksum is not looked at.
    ///
    /// # Errors
    /// [`Malformed`] when the header is cut off, its length field is impossible, or an option runs over its
    /// end or has a length that its kind cannot have (RFC 9293 §3.1, MUST-7).
    #[inline]
    pub fn parse(bytes: &[u8]) -> Result<Segment, Malformed> {
        let mut seg = Segment::default();
        seg.read(bytes)?;
        Ok(seg)
    }

    /// As [`Segment::parse`], into a segment that says nothing yet: it is long, and need not move.
    ///
    /// # Errors
    /// As [`Segment::parse`].
    #[inline]
    pub fn read(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        let Some(fixed) = bytes.first_chunk::<HEADER_LEN>() else { return Err(Malformed) };
        let header_len = usize::from(fixed[12] >> 4) * 4;
        if header_len < HEADER_LEN || header_len > bytes.len() {
            return Err(Malformed);
        }
        self.src_port = u16::from_be_bytes([fixed[0], fixed[1]]);
        self.dst_port = u16::from_be_bytes([fixed[2], fixed[3]]);
        self.seq = Seq(be32(fixed, 4));
        self.ack = Seq(be32(fixed, 8));
        self.flags = Flags(fixed[13]);
        self.wnd = u16::from_be_bytes([fixed[14], fixed[15]]);
        self.urgent = u16::from_be_bytes([fixed[18], fixed[19]]);
        self.len = (bytes.len() - header_len) as u32;
        self.header_len = header_len as u8;
        match header_len {
            HEADER_LEN => Ok(()),
            _ => parse_options(&bytes[HEADER_LEN..header_len], &mut self.options),
        }
    }

    /// SEG.LEN: octets of sequence space, SYN and FIN included.
    #[inline]
    pub fn space(&self) -> u32 {
        self.len + u32::from(self.flags.has(Flags::SYN)) + u32::from(self.flags.has(Flags::FIN))
    }

    /// One past the last sequence number the segment occupies.
    #[inline]
    pub fn end(&self) -> Seq {
        self.seq + self.space()
    }
}

#[inline]
fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[inline]
fn parse_options(bytes: &[u8], options: &mut Options) -> Result<(), Malformed> {
    // RFC 7323 appendix A: what nearly every segment of an established connection has, and mostly alone.
    let mut rest = bytes;
    if let Some((head, behind)) = bytes.split_first_chunk::<TIMESTAMPS_LEN>()
        && head[..4] == [KIND_NOP, KIND_NOP, KIND_TIMESTAMPS, 10]
    {
        options.timestamps = Some(TimestampsOption { val: be32(head, 4), ecr: be32(head, 8) });
        rest = behind;
    }
    if rest.is_empty() { Ok(()) } else { parse_more_options(rest, options) }
}

/// The options of a segment that has more than timestamps: mostly a SACK block.
#[inline(never)]
fn parse_more_options(bytes: &[u8], options: &mut Options) -> Result<(), Malformed> {
    if let Ok(one) = <&[u8; 12]>::try_from(bytes)
        && one[..4] == [KIND_NOP, KIND_NOP, KIND_SACK, 10]
    {
        options.sack.push(SackBlock { left: Seq(be32(one, 4)), right: Seq(be32(one, 8)) });
        return Ok(());
    }
    parse_all_options(bytes, options)
}

fn parse_all_options(bytes: &[u8], options: &mut Options) -> Result<(), Malformed> {
    let mut rest = bytes;
    while let Some((&kind, after)) = rest.split_first() {
        match kind {
            KIND_END => break,
            KIND_NOP => rest = after,
            _ => {
                let len = usize::from(*after.first().ok_or(Malformed)?);
                if len < 2 || len > rest.len() {
                    return Err(Malformed);
                }
                parse_option(kind, &rest[2..len], options)?;
                rest = &rest[len..];
            }
        }
    }
    Ok(())
}

fn parse_option(kind: u8, body: &[u8], options: &mut Options) -> Result<(), Malformed> {
    match (kind, body.len()) {
        (KIND_MSS, 2) => options.mss = Some(u16::from_be_bytes([body[0], body[1]])),
        (KIND_WINDOW_SCALE, 1) => options.window_scale = Some(body[0].min(WINDOW_SCALE_MAX)),
        (KIND_SACK_PERMITTED, 0) => options.sack_permitted = true,
        (KIND_TIMESTAMPS, 8) => {
            options.timestamps = Some(TimestampsOption { val: be32(body, 0), ecr: be32(body, 4) });
        }
        // RFC 7413 §4.1.1: one that makes no sense is no cookie, and no fault.
        (KIND_FAST_OPEN, _) => options.fast_open = FastOpenCookie::new(body),
        (KIND_SACK, n) if n > 0 && n % 8 == 0 => {
            for block in body.chunks_exact(8) {
                options.sack.push(SackBlock { left: Seq(be32(block, 0)), right: Seq(be32(block, 4)) });
            }
        }
        (KIND_MSS | KIND_WINDOW_SCALE | KIND_SACK_PERMITTED | KIND_TIMESTAMPS | KIND_SACK, _) => {
            return Err(Malformed);
        }
        _ => {}
    }
    Ok(())
}

/// A header to be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// Our port.
    pub src_port: u16,
    /// Their port.
    pub dst_port: u16,
    /// SEG.SEQ.
    pub seq: Seq,
    /// SEG.ACK.
    pub ack: Seq,
    /// The control bits.
    pub flags: Flags,
    /// SEG.WND, scaled already.
    pub wnd: u16,
    /// The urgent pointer; means nothing without [`Flags::URG`].
    pub urgent: u16,
    /// Options. As many SACK blocks are written as fit.
    pub options: Options,
}

impl Header {
    /// Writes the header with a zero checksum and returns its length, a multiple of four.
    #[inline]
    pub fn emit(&self, out: &mut [u8; HEADER_MAX]) -> usize {
        let len = HEADER_LEN + self.options.emit(out);
        self.emit_fixed(out, len);
        len
    }

    /// As [`Header::emit`], of a header that has no options but these: nearly every one.
    #[inline]
    pub fn emit_plain(&self, timestamps: Option<TimestampsOption>, out: &mut [u8; HEADER_MAX]) -> usize {
        let Some(ts) = timestamps else {
            self.emit_fixed(out, HEADER_LEN);
            return HEADER_LEN;
        };
        let len = HEADER_LEN + TIMESTAMPS_LEN;
        out[20..24].copy_from_slice(&[KIND_NOP, KIND_NOP, KIND_TIMESTAMPS, 10]);
        out[24..28].copy_from_slice(&ts.val.to_be_bytes());
        out[28..32].copy_from_slice(&ts.ecr.to_be_bytes());
        self.emit_fixed(out, len);
        len
    }

    #[inline]
    fn emit_fixed(&self, out: &mut [u8; HEADER_MAX], len: usize) {
        out[0..2].copy_from_slice(&self.src_port.to_be_bytes());
        out[2..4].copy_from_slice(&self.dst_port.to_be_bytes());
        out[4..8].copy_from_slice(&self.seq.0.to_be_bytes());
        out[8..12].copy_from_slice(&self.ack.0.to_be_bytes());
        out[13] = self.flags.0;
        out[14..16].copy_from_slice(&self.wnd.to_be_bytes());
        out[16..18].fill(0);
        out[18..20].copy_from_slice(&self.urgent.to_be_bytes());
        out[12] = (len as u8 / 4) << 4;
    }
}

impl Options {
    /// Writes the options after the fixed header; each is padded in front to a multiple of four.
    #[inline]
    fn emit(&self, out: &mut [u8; HEADER_MAX]) -> usize {
        let mut at = HEADER_LEN;
        let mut put = |bytes: &[u8]| {
            out[at..at + bytes.len()].copy_from_slice(bytes);
            at += bytes.len();
        };
        if let Some(mss) = self.mss {
            put(&[KIND_MSS, 4]);
            put(&mss.to_be_bytes());
        }
        if let Some(shift) = self.window_scale {
            put(&[KIND_NOP, KIND_WINDOW_SCALE, 3, shift]);
        }
        if self.sack_permitted && self.timestamps.is_none() {
            put(&[KIND_NOP, KIND_NOP, KIND_SACK_PERMITTED, 2]);
        }
        if let Some(ts) = self.timestamps {
            // SACK-permitted takes the place of the padding.
            let front = if self.sack_permitted { [KIND_SACK_PERMITTED, 2] } else { [KIND_NOP, KIND_NOP] };
            put(&front);
            put(&[KIND_TIMESTAMPS, 10]);
            put(&ts.val.to_be_bytes());
            put(&ts.ecr.to_be_bytes());
        }
        if let Some(cookie) = self.fast_open {
            let octets = cookie.as_slice();
            if octets.len().is_multiple_of(4) {
                put(&[KIND_NOP, KIND_NOP]);
            }
            put(&[KIND_FAST_OPEN, 2 + octets.len() as u8]);
            put(octets);
        }
        if !self.sack.is_empty() {
            let fits = self.sack_room();
            let blocks = &self.sack.as_slice()[..self.sack.as_slice().len().min(fits)];
            put(&[KIND_NOP, KIND_NOP, KIND_SACK, 2 + 8 * blocks.len() as u8]);
            for block in blocks {
                put(&block.left.0.to_be_bytes());
                put(&block.right.0.to_be_bytes());
            }
        }
        at - HEADER_LEN
    }

    /// SACK blocks that fit beside the other options.
    fn sack_room(&self) -> usize {
        let others = 4 * usize::from(self.mss.is_some())
            + 4 * usize::from(self.window_scale.is_some())
            + 4 * usize::from(self.sack_permitted && self.timestamps.is_none())
            + TIMESTAMPS_LEN * usize::from(self.timestamps.is_some());
        (HEADER_MAX - HEADER_LEN - others - 4) / 8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Header {
        let mut sack = SackBlocks::default();
        for n in 0..4 {
            sack.push(SackBlock { left: Seq(n * 100), right: Seq(n * 100 + 50) });
        }
        Header {
            src_port: 80,
            dst_port: 40000,
            seq: Seq(0xfffffff0),
            ack: Seq(7),
            flags: Flags::ACK | Flags::PSH,
            wnd: 502,
            urgent: 0,
            options: Options {
                timestamps: Some(TimestampsOption { val: 1, ecr: 2 }),
                sack,
                ..Options::default()
            },
        }
    }

    #[test]
    fn what_is_written_is_read_back_and_only_three_blocks_fit_beside_timestamps() {
        let mut out = [0xff; HEADER_MAX];
        let len = full().emit(&mut out);
        assert_eq!(len, 20 + 12 + 4 + 24);
        assert_eq!(out[CHECKSUM_AT..CHECKSUM_AT + 2], [0, 0]);
        let mut packet = out[..len].to_vec();
        packet.extend_from_slice(b"hello");
        let seg = Segment::parse(&packet).unwrap();
        assert_eq!((seg.src_port, seg.dst_port, seg.wnd), (80, 40000, 502));
        assert_eq!((seg.seq, seg.ack, seg.len), (Seq(0xfffffff0), Seq(7), 5));
        assert_eq!(seg.options.timestamps, Some(TimestampsOption { val: 1, ecr: 2 }));
        assert_eq!(seg.options.sack.as_slice(), &full().options.sack.as_slice()[..3]);
    }

    #[test]
    fn what_is_told_at_a_glance_is_what_option_after_option_says() {
        let stamps = [1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2];
        let block = |n| [1, 1, 5, 10, 0, 0, 0, n, 0, 0, 1, n];
        let wide = [1, 1, 5, 18, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4];
        let forms: [&[&[u8]]; 12] = [
            &[&stamps],
            &[&block(1)],
            &[&stamps, &block(2)],
            &[&block(2), &stamps],
            &[&stamps, &wide],
            &[&stamps, &stamps],
            &[&block(1), &block(2)],
            &[&stamps, &[0, 0, 0, 0]],
            &[&stamps, &[3, 3, 7, 1], &block(9)],
            &[&stamps[..4]],
            &[&stamps, &block(2)[..8]],
            &[&stamps, &[5, 3, 1, 1]],
        ];
        for form in forms {
            let bytes = form.concat();
            let (mut quick, mut slow) = (Options::default(), Options::default());
            let said = (parse_options(&bytes, &mut quick), parse_all_options(&bytes, &mut slow));
            assert_eq!((said.0, quick), (said.1, slow), "{bytes:?}");
        }
    }

    #[test]
    fn a_syn_carries_all_its_options_in_40_octets() {
        let header = Header {
            flags: Flags::SYN,
            options: Options {
                mss: Some(1460),
                window_scale: Some(7),
                sack_permitted: true,
                timestamps: Some(TimestampsOption::default()),
                sack: SackBlocks::default(),
                fast_open: None,
            },
            ..Header::default()
        };
        // The longest cookie of Fast Open just fits beside the others.
        for (octets, total) in
            [(None, 40), (Some(0), 44), (Some(4), 48), (Some(6), 48), (Some(8), 52), (Some(16), 60)]
        {
            let cookie = octets.and_then(|n| FastOpenCookie::new(&[7; 16][..n]));
            let options = Options { fast_open: cookie, ..header.options };
            let mut out = [0; HEADER_MAX];
            let len = Header { options, ..header }.emit(&mut out);
            assert_eq!(len, total);
            let seg = Segment::parse(&out[..len]).unwrap();
            assert_eq!(seg.options, options);
            assert_eq!(seg.space(), 1);
        }
        for octets in [2, 5, 18] {
            assert_eq!(FastOpenCookie::new(&[0; 18][..octets]), None);
        }
    }

    #[test]
    fn a_block_that_is_known_tells_of_a_duplicate() {
        let blocks = |ranges: &[(u32, u32)]| {
            let mut blocks = SackBlocks::default();
            ranges.iter().for_each(|&(l, r)| blocks.push(SackBlock { left: Seq(l), right: Seq(r) }));
            blocks
        };
        let ack = Seq(100);
        assert_eq!(blocks(&[(50, 60)]).duplicate(ack), Some(SackBlock { left: Seq(50), right: Seq(60) }));
        assert!(blocks(&[(60, 50)]).duplicate(ack).is_none());
        assert!(blocks(&[(200, 210), (200, 300)]).duplicate(ack).is_some());
        assert!(blocks(&[(200, 300), (400, 500)]).duplicate(ack).is_none());
        assert!(blocks(&[]).duplicate(ack).is_none());
    }

    /// RFC 9293 MUST-6
    #[test]
    fn unknown_options_are_skipped_and_an_end_hides_the_rest() {
        let mut packet = [0u8; 32];
        packet[12] = 8 << 4;
        packet[20..32].copy_from_slice(&[254, 4, 9, 9, 1, 2, 4, 5, 180, 0, 2, 99]);
        let seg = Segment::parse(&packet).unwrap();
        assert_eq!(seg.options.mss, Some(1460));
    }

    /// RFC 7323 §2.3
    #[test]
    fn a_shift_over_14_counts_as_14() {
        let mut packet = [0u8; 24];
        packet[12] = 6 << 4;
        packet[20..24].copy_from_slice(&[1, 3, 3, 99]);
        assert_eq!(Segment::parse(&packet).unwrap().options.window_scale, Some(14));
    }

    /// RFC 9293 MUST-7
    #[test]
    fn headers_that_contradict_themselves_are_refused() {
        assert_eq!(Segment::parse(&[0; 19]), Err(Malformed));
        let mut packet = [0u8; 24];
        for (offset, options) in [
            (4 << 4, [0, 0, 0, 0]),
            (7 << 4, [0, 0, 0, 0]),
            (6 << 4, [254, 0, 0, 0]),
            (6 << 4, [254, 1, 0, 0]),
            (6 << 4, [254, 5, 0, 0]),
            (6 << 4, [1, 1, 1, 254]),
            (6 << 4, [2, 3, 5, 0]),
            (6 << 4, [5, 2, 0, 0]),
        ] {
            packet[12] = offset;
            packet[20..24].copy_from_slice(&options);
            assert_eq!(Segment::parse(&packet), Err(Malformed), "{options:?}");
        }
    }
}
