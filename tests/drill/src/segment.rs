//! TCP segments as bytes, read and written without the stack's own code: a judge from outside.

/// Control bits.
pub const FIN: u8 = 0x01;
/// Control bits.
pub const SYN: u8 = 0x02;
/// Control bits.
pub const RST: u8 = 0x04;
/// Control bits.
pub const PSH: u8 = 0x08;
/// Control bits.
pub const ACK: u8 = 0x10;
/// Control bits.
pub const URG: u8 = 0x20;
/// Control bits.
pub const ECE: u8 = 0x40;
/// Control bits.
pub const CWR: u8 = 0x80;

/// A segment, numbers as they are on the wire.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// From.
    pub src_port: u16,
    /// To.
    pub dst_port: u16,
    /// SEG.SEQ.
    pub seq: u32,
    /// SEG.ACK.
    pub ack: u32,
    /// Control bits.
    pub flags: u8,
    /// SEG.WND as it stands in the header.
    pub wnd: u16,
    /// The urgent pointer.
    pub urg: u16,
    /// Options in their order, padding left out.
    pub options: Vec<TcpOption>,
    /// Text.
    pub payload: Vec<u8>,
    /// The traffic class of the IP header; ECN is its two low bits.
    pub tos: u8,
    /// The time to live, or hop limit, of the IP header; zero for what is to be written: 64.
    pub hops: u8,
    /// Routers may cut the packet: DF is off. Not written.
    pub may_fragment: bool,
}

/// One option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TcpOption {
    /// Maximum segment size (RFC 9293 §3.7.1).
    Mss(u16),
    /// Window scale (RFC 7323 §2).
    WindowScale(u8),
    /// SACK permitted (RFC 2018 §2).
    SackPermitted,
    /// SACK (RFC 2018 §3).
    Sack(Vec<(u32, u32)>),
    /// Timestamps: value, echo (RFC 7323 §3).
    Timestamps(u32, u32),
    /// Fast Open cookie (RFC 7413 §4.1.1).
    FastOpen(Vec<u8>),
    /// Another kind.
    Other(u8, Vec<u8>),
    /// Octets as they are, whatever they mean.
    Raw(Vec<u8>),
}

impl Segment {
    /// Whether one of these control bits is set.
    #[must_use]
    pub fn has(&self, flags: u8) -> bool {
        self.flags & flags != 0
    }

    /// Octets of text.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.payload.len() as u32
    }

    /// Whether there is no text.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.payload.is_empty()
    }

    /// The timestamps: value, echo.
    #[must_use]
    pub fn ts(&self) -> Option<(u32, u32)> {
        self.options.iter().find_map(|o| match o {
            TcpOption::Timestamps(val, ecr) => Some((*val, *ecr)),
            _ => None,
        })
    }

    /// The maximum segment size that is offered.
    #[must_use]
    pub fn mss(&self) -> Option<u16> {
        self.options.iter().find_map(|o| match o {
            TcpOption::Mss(mss) => Some(*mss),
            _ => None,
        })
    }

    /// The window scale that is offered.
    #[must_use]
    pub fn wscale(&self) -> Option<u8> {
        self.options.iter().find_map(|o| match o {
            TcpOption::WindowScale(shift) => Some(*shift),
            _ => None,
        })
    }

    /// Whether SACK is offered.
    #[must_use]
    pub fn sack_ok(&self) -> bool {
        self.options.contains(&TcpOption::SackPermitted)
    }

    /// Header and text; the checksum is left zero.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut options = Vec::new();
        for option in &self.options {
            option.write(&mut options);
        }
        while options.len() % 4 != 0 {
            options.push(1);
        }
        let words = 5 + options.len() / 4;
        assert!(words <= 15, "too many options for one header: {:?}", self.options);
        let mut bytes = Vec::with_capacity(words * 4 + self.payload.len());
        bytes.extend(self.src_port.to_be_bytes());
        bytes.extend(self.dst_port.to_be_bytes());
        bytes.extend(self.seq.to_be_bytes());
        bytes.extend(self.ack.to_be_bytes());
        bytes.extend([(words as u8) << 4, self.flags]);
        bytes.extend(self.wnd.to_be_bytes());
        bytes.extend([0, 0]);
        bytes.extend(self.urg.to_be_bytes());
        bytes.extend(options);
        bytes.extend(&self.payload);
        bytes
    }

    /// Reads a segment.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let word = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        let long = |at: usize| u32::from(word(at)) << 16 | u32::from(word(at + 2));
        let header = bytes.get(12).map_or(0, |b| usize::from(b >> 4) * 4);
        if header < 20 || bytes.len() < header {
            return Err(format!("{} octets with a header of {header}", bytes.len()));
        }
        if bytes[12] & 0x0f != 0 {
            return Err("reserved bits are set (RFC 9293 §3.1)".to_owned());
        }
        Ok(Self {
            src_port: word(0),
            dst_port: word(2),
            seq: long(4),
            ack: long(8),
            flags: bytes[13],
            wnd: word(14),
            urg: word(18),
            options: TcpOption::parse_all(&bytes[20..header])?,
            payload: bytes[header..].to_vec(),
            tos: 0,
            hops: 0,
            may_fragment: false,
        })
    }
}

impl TcpOption {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            TcpOption::Mss(mss) => {
                out.extend([2, 4]);
                out.extend(mss.to_be_bytes());
            }
            TcpOption::WindowScale(shift) => out.extend([1, 3, 3, *shift]),
            TcpOption::SackPermitted => out.extend([1, 1, 4, 2]),
            TcpOption::Sack(blocks) => {
                out.extend([1, 1, 5, 2 + 8 * blocks.len() as u8]);
                for (left, right) in blocks {
                    out.extend(left.to_be_bytes());
                    out.extend(right.to_be_bytes());
                }
            }
            TcpOption::Timestamps(val, ecr) => {
                out.extend([1, 1, 8, 10]);
                out.extend(val.to_be_bytes());
                out.extend(ecr.to_be_bytes());
            }
            TcpOption::FastOpen(cookie) => {
                out.extend([34, 2 + cookie.len() as u8]);
                out.extend(cookie);
            }
            TcpOption::Raw(data) => out.extend(data),
            TcpOption::Other(kind, data) => {
                out.extend([*kind, 2 + data.len() as u8]);
                out.extend(data);
            }
        }
    }

    fn parse_all(mut bytes: &[u8]) -> Result<Vec<Self>, String> {
        let mut options = Vec::new();
        while let Some(&kind) = bytes.first() {
            match kind {
                // RFC 9293 MUST-69
                0 if bytes.iter().any(|&b| b != 0) => return Err("padding that is not zero".to_owned()),
                0 => break,
                1 => bytes = &bytes[1..],
                _ => {
                    let len = bytes.get(1).map_or(0, |&n| usize::from(n));
                    if len < 2 || bytes.len() < len {
                        return Err(format!("option {kind} has length {len}"));
                    }
                    options.push(Self::parse(kind, &bytes[2..len])?);
                    bytes = &bytes[len..];
                }
            }
        }
        Ok(options)
    }

    fn parse(kind: u8, data: &[u8]) -> Result<Self, String> {
        let long = |at: usize| u32::from_be_bytes([data[at], data[at + 1], data[at + 2], data[at + 3]]);
        Ok(match (kind, data.len()) {
            (2, 2) => TcpOption::Mss(u16::from_be_bytes([data[0], data[1]])),
            (3, 1) => TcpOption::WindowScale(data[0]),
            (4, 0) => TcpOption::SackPermitted,
            (5, n) if n > 0 && n % 8 == 0 => {
                TcpOption::Sack((0..n / 8).map(|b| (long(b * 8), long(b * 8 + 4))).collect())
            }
            (8, 8) => TcpOption::Timestamps(long(0), long(4)),
            (34, _) => TcpOption::FastOpen(data.to_vec()),
            (2 | 3 | 4 | 5 | 8, n) => return Err(format!("option {kind} has {n} octets of data")),
            _ => TcpOption::Other(kind, data.to_vec()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let segment = Segment {
            src_port: 1,
            dst_port: 2,
            seq: 3,
            ack: 4,
            flags: SYN | ACK,
            wnd: 5,
            urg: 6,
            options: vec![
                TcpOption::Mss(1460),
                TcpOption::SackPermitted,
                TcpOption::Timestamps(7, 8),
                TcpOption::WindowScale(9),
                TcpOption::FastOpen(vec![1, 2, 3, 4]),
            ],
            payload: vec![1, 2, 3],
            ..Segment::default()
        };
        assert_eq!(Segment::parse(&segment.to_bytes()), Ok(segment));
    }
}
