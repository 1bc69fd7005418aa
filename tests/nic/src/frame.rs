//! Frames that say which they are: UDP datagrams whose payload is a number and a pattern made of it.

use std::net::Ipv4Addr;

/// The UDP port of both ends.
pub const PORT: u16 = 5000;

const IP: usize = 14;
pub(crate) const UDP: usize = IP + 20;
const PAYLOAD: usize = UDP + 8;
/// The checksum's place in the UDP header.
pub(crate) const CHECKSUM: usize = 6;
/// The shortest frame of this kind.
pub(crate) const SHORTEST: usize = PAYLOAD + 4;
const UDP_PROTOCOL: u8 = 17;

/// Where frames come from and go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// The link address.
    pub mac: [u8; 6],
    /// The network's.
    pub ip: Ipv4Addr,
}

/// The state of a datagram's checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sum {
    /// Right.
    Finished,
    /// The pseudo-header's alone.
    Begun,
    /// Neither of the two.
    Wrong,
}

/// Frame `number`, `len` bytes long.
pub(crate) fn frame(from: Address, to: Address, number: u32, len: usize, sum: Sum) -> Vec<u8> {
    let mut f = Vec::with_capacity(len);
    f.extend(to.mac);
    f.extend(from.mac);
    f.extend([0x08, 0x00]);
    f.extend([0x45, 0]);
    f.extend(((len - IP) as u16).to_be_bytes());
    f.extend([0, 0, 0x40, 0, 64, UDP_PROTOCOL, 0, 0]);
    f.extend(from.ip.octets());
    f.extend(to.ip.octets());
    let header = !fold(&f[IP..UDP], 0);
    f[IP + 10..IP + 12].copy_from_slice(&header.to_be_bytes());
    f.extend(PORT.to_be_bytes());
    f.extend(PORT.to_be_bytes());
    f.extend(((len - UDP) as u16).to_be_bytes());
    f.extend([0, 0]);
    f.extend(number.to_be_bytes());
    f.extend((SHORTEST..len).map(|at| pattern(number, at)));
    let field = match sum {
        Sum::Finished => !fold(&f[UDP..], pseudo(&f)),
        Sum::Begun => pseudo(&f) as u16,
        Sum::Wrong => !fold(&f[UDP..], pseudo(&f)) ^ 0x5555,
    };
    f[UDP + CHECKSUM..UDP + CHECKSUM + 2].copy_from_slice(&field.to_be_bytes());
    f
}

/// The number of a frame. `None` for one that is not ours.
///
/// # Panics
/// When the frame is not, byte for byte, what was made of that number.
pub(crate) fn number(f: &[u8]) -> Option<u32> {
    let ours = f.len() >= SHORTEST && f[12..14] == [8, 0] && f[UDP + 2..UDP + 4] == PORT.to_be_bytes();
    if !ours {
        return None;
    }
    let len = IP + usize::from(u16::from_be_bytes([f[IP + 2], f[IP + 3]]));
    let number = u32::from_be_bytes(f[PAYLOAD..SHORTEST].try_into().unwrap_or_default());
    assert!(len <= f.len(), "frame {number} lost its end: {} of {len} bytes", f.len());
    let torn = (SHORTEST..len).find(|at| f[*at] != pattern(number, *at));
    assert!(torn.is_none(), "frame {number} is torn at byte {torn:?}");
    Some(number)
}

/// The state of the checksum of a frame of ours.
pub(crate) fn sum(f: &[u8]) -> Sum {
    let len = IP + usize::from(u16::from_be_bytes([f[IP + 2], f[IP + 3]]));
    let field = u16::from_be_bytes([f[UDP + CHECKSUM], f[UDP + CHECKSUM + 1]]);
    match () {
        () if fold(&f[UDP..len], pseudo(f)) == 0xffff => Sum::Finished,
        () if u32::from(field) == pseudo(f) => Sum::Begun,
        () => Sum::Wrong,
    }
}

fn pattern(number: u32, at: usize) -> u8 {
    number.wrapping_mul(31).wrapping_add(at as u32) as u8
}

/// The sum of the pseudo-header of a frame, as its headers have it.
fn pseudo(f: &[u8]) -> u32 {
    let len = u32::from(u16::from_be_bytes([f[UDP + 4], f[UDP + 5]]));
    u32::from(fold(&f[IP + 12..UDP], len + u32::from(UDP_PROTOCOL)))
}

/// RFC 1071, not complemented.
pub(crate) fn fold(bytes: &[u8], start: u32) -> u16 {
    let words = bytes.chunks(2).map(|w| u32::from(u16::from_be_bytes([w[0], *w.get(1).unwrap_or(&0)])));
    let mut sum = start + words.sum::<u32>();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}
