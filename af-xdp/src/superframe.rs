//! Segments of one flow joined to a superframe, which the kernel passes on uncut (GSO): what `cut.rs` does, backwards.
//!
//! Which segments may be joined is what software GRO asks: cut again they must be the very same, but for the IPv4
//! identification, which says nothing where fragments are forbidden (RFC 6864 §4.1), and for PSH, which the last
//! segment says for all: they arrive together.

use crate::headers::{ACK, CWR, ECE, FIN, HEADERS_MAX, PSH, is_v6, network, pseudo, set_ip_len};

/// `struct virtio_net_hdr`, which tells a packet socket what is left to be done to a frame.
pub(crate) const VNET: usize = 10;
/// A superframe's headers at their longest, that one included.
pub(crate) const HEAD: usize = VNET + HEADERS_MAX;
/// Segments in a superframe: 45 of an MTU of 1500 are all that an IP packet takes.
pub(crate) const SEGMENTS: usize = 64;

/// What Linux gives a device to cut, unless told otherwise, is shorter than 64 KiB, link header included
/// (GSO_LEGACY_MAX_SIZE).
const FRAME_MAX: usize = 65535;
const DONT_FRAGMENT: [u8; 2] = [0x40, 0];
/// The checksum's place in a TCP header.
const CHECKSUM: u16 = 16;

/// In it: the checksum is unfinished.
pub(crate) const NEEDS_CSUM: u8 = 1;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;

/// Segments that may go as one; the first of them is what the others are compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Superframe {
    /// Where the IP header begins: there may be a VLAN tag.
    ip: usize,
    /// Where the TCP header begins.
    tcp: usize,
    /// Where the payload begins.
    headers: usize,
    /// Bytes of payload in each segment but the last, which may be shorter.
    segment: usize,
    /// Bytes of payload in all.
    payload: usize,
    /// SEG.SEQ of the next segment.
    seq: u32,
    /// TCP flags: those of all segments together.
    flags: u8,
    /// No segment fits behind the last one.
    ended: bool,
}

impl Superframe {
    /// Begins with a segment that others may follow. `None` when none may.
    #[inline]
    pub(crate) fn begin(first: &[u8]) -> Option<Self> {
        let (link, ip_len, total) = network(first)?;
        let (ip, tcp) = (&first[link..], link + ip_len);
        let headers = tcp + usize::from(first[tcp + 12] >> 4) * 4;
        let flags = first[tcp + 13];
        let whole = total + link == first.len() && headers >= tcp + 20 && headers < first.len();
        let whole_only = is_v6(ip) || ip[6..8] == DONT_FRAGMENT;
        if !whole || !whole_only || flags & !(ECE | PSH) != ACK {
            return None;
        }
        let segment = first.len() - headers;
        let seq = seq_at(first, tcp).wrapping_add(segment as u32);
        Some(Self { ip: link, tcp, headers, segment, payload: segment, seq, flags, ended: false })
    }

    /// Lets `next` follow the segments so far, of which `first` is the first. False when it is not what comes next.
    #[inline]
    pub(crate) fn join(&mut self, first: &[u8], next: &[u8]) -> bool {
        let payload = next.len().saturating_sub(self.headers);
        let room = self.headers + self.payload + payload <= FRAME_MAX;
        if self.ended || !room || payload == 0 || payload > self.segment || !self.continues(first, next) {
            return false;
        }
        self.payload += payload;
        self.seq = self.seq.wrapping_add(payload as u32);
        self.flags |= next[self.tcp + 13];
        // Only the last segment of a superframe may be short, or have FIN.
        self.ended = payload < self.segment || self.flags & FIN != 0;
        true
    }

    /// Whether the headers are those of the segment behind the ones so far.
    fn continues(&self, first: &[u8], next: &[u8]) -> bool {
        let (ip, tcp, headers) = (self.ip, self.tcp, self.headers);
        let same = |from: usize, to: usize| first[from..to] == next[from..to];
        let network = if is_v6(&first[ip..]) {
            let len = next.len() - ip - 40;
            same(0, ip + 4) && next[ip + 4..ip + 6] == (len as u16).to_be_bytes() && same(ip + 6, tcp)
        } else {
            let len = next.len() - ip;
            same(0, ip + 2)
                && next[ip + 2..ip + 4] == (len as u16).to_be_bytes()
                && same(ip + 6, ip + 10)
                && same(ip + 12, tcp)
        };
        let flags = next[tcp + 13] & !(FIN | PSH) == first[tcp + 13] & !PSH;
        // Ports; acknowledgment and data offset; window; urgent pointer and options.
        network
            && seq_at(next, tcp) == self.seq
            && flags
            && same(tcp, tcp + 4)
            && same(tcp + 8, tcp + 13)
            && same(tcp + 14, tcp + 16)
            && same(tcp + 18, headers)
    }

    /// Bytes of headers in each of the segments.
    pub(crate) fn headers(&self) -> usize {
        self.headers
    }

    /// Writes what stands in front of the payloads: what the kernel has to do, and the headers, made of those of
    /// the first segment. Says how long that is.
    pub(crate) fn head(&self, first: &[u8], head: &mut [u8; HEAD]) -> usize {
        let (vnet, headers) = head.split_at_mut(VNET);
        let headers = &mut headers[..self.headers];
        headers.copy_from_slice(&first[..self.headers]);
        let (ip, tcp) = headers[self.ip..].split_at_mut(self.tcp - self.ip);
        let total = self.headers - self.ip + self.payload;
        set_ip_len(ip, total);
        tcp[13] = self.flags;
        let unfinished = pseudo(ip, total - ip.len());
        tcp[usize::from(CHECKSUM)..][..2].copy_from_slice(&unfinished.to_be_bytes());
        vnet.copy_from_slice(&left_to_kernel(self.tcp as u16, CHECKSUM));
        vnet[1] = if is_v6(ip) { GSO_TCPV6 } else { GSO_TCPV4 };
        vnet[2..4].copy_from_slice(&(self.headers as u16).to_ne_bytes());
        vnet[4..6].copy_from_slice(&(self.segment as u16).to_ne_bytes());
        debug_assert_ne!(tcp[13] & CWR, CWR, "said once, by a segment of its own (RFC 3168 §6.1.2)");
        VNET + self.headers
    }
}

/// Tells the kernel to finish the checksum at `start + offset` of a frame.
pub(crate) fn left_to_kernel(start: u16, offset: u16) -> [u8; VNET] {
    let mut vnet = [0; VNET];
    vnet[0] = NEEDS_CSUM;
    vnet[6..8].copy_from_slice(&start.to_ne_bytes());
    vnet[8..10].copy_from_slice(&offset.to_ne_bytes());
    vnet
}

fn seq_at(frame: &[u8], tcp: usize) -> u32 {
    u32::from_be_bytes([frame[tcp + 4], frame[tcp + 5], frame[tcp + 6], frame[tcp + 7]])
}

#[cfg(test)]
#[path = "superframe_tests.rs"]
mod tests;
