//! The headers of a TCP segment in an Ethernet frame: all that this room knows of TCP, for cutting superframes
//! and for joining frames to them.

/// Ethernet, IP and TCP headers at their longest; IPv6 without extension headers is 40 bytes.
pub(crate) const HEADERS_MAX: usize = ETH + TAG + 60 + 60;
pub(crate) const ETH: usize = 14;
/// Bytes of a VLAN tag (IEEE 802.1Q), which makes the link header longer.
pub(crate) const TAG: usize = 4;
/// The EtherType of a frame with a tag.
const VLAN: [u8; 2] = [0x81, 0x00];
/// Bytes of an IPv6 header.
const V6: usize = 40;

pub(crate) const FIN: u8 = 0x01;
pub(crate) const PSH: u8 = 0x08;
pub(crate) const ACK: u8 = 0x10;
pub(crate) const ECE: u8 = 0x40;
pub(crate) const CWR: u8 = 0x80;

/// Whether a frame has a VLAN tag.
pub(crate) fn is_tagged(frame: &[u8]) -> bool {
    frame.get(12..14) == Some(&VLAN)
}

/// Bytes of a frame's link header.
pub(crate) fn link(frame: &[u8]) -> usize {
    if is_tagged(frame) { ETH + TAG } else { ETH }
}

/// Of a frame that carries TCP right behind its network header, unfragmented: the bytes of the link header, of the
/// network header, and of the whole packet. `None` for others.
pub(crate) fn network(frame: &[u8]) -> Option<(usize, usize, usize)> {
    let link = link(frame);
    let ip = frame.get(link..)?;
    let tcp = libc::IPPROTO_TCP as u8;
    if ip.len() < 40 {
        return None;
    }
    let (len, total) = match (&frame[link - 2..link], ip[0] >> 4) {
        ([0x08, 0x00], 4) => {
            let fragment = u16::from_be_bytes([ip[6], ip[7]]) & 0x3fff;
            let len = usize::from(ip[0] & 15) * 4;
            if len < 20 || fragment != 0 || ip[9] != tcp {
                return None;
            }
            (len, usize::from(u16::from_be_bytes([ip[2], ip[3]])))
        }
        ([0x86, 0xdd], 6) if ip[6] == tcp => (V6, V6 + usize::from(u16::from_be_bytes([ip[4], ip[5]]))),
        _ => return None,
    };
    (ip.len() >= len + 20).then_some((link, len, total))
}

pub(crate) fn is_v6(ip: &[u8]) -> bool {
    ip[0] >> 4 == 6
}

/// The sum of 16-bit words, not folded.
pub(crate) fn words(bytes: &[u8]) -> u32 {
    bytes.chunks(2).map(|w| u32::from(u16::from_be_bytes([w[0], w.get(1).copied().unwrap_or(0)]))).sum()
}

pub(crate) fn fold(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// What a sender leaves in the field for its NIC to finish: the folded pseudo-header sum of `len` bytes of TCP
/// (RFC 9293 3.1).
pub(crate) fn pseudo(ip: &[u8], len: usize) -> u16 {
    let addresses = if is_v6(ip) { &ip[8..V6] } else { &ip[12..20] };
    fold(words(addresses) + libc::IPPROTO_TCP as u32 + len as u32)
}

/// Says in a network header that the packet has `total` bytes.
pub(crate) fn set_ip_len(ip: &mut [u8], total: usize) {
    if is_v6(ip) {
        ip[4..6].copy_from_slice(&((total - V6) as u16).to_be_bytes());
    } else {
        ip[2..4].copy_from_slice(&(total as u16).to_be_bytes());
        ip[10..12].fill(0);
        let sum = !fold(words(ip));
        ip[10..12].copy_from_slice(&sum.to_be_bytes());
    }
}
