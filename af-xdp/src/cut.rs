//! Frames longer than a chunk, cut back into segments.
//!
//! A local kernel hands its TCP superframes (TSO) over uncut. With multi-buffer XDP such a frame arrives as
//! several descriptors: headers and payload in the first, payload alone in the others. The segmentation that
//! the sender left to its NIC is done here instead, in place: the headers go into the room in front of each
//! further part. Nothing is copied but headers.

use crate::headers::{CWR, FIN, HEADERS_MAX, PSH, is_v6, network, pseudo, set_ip_len};

/// A superframe of which the first part has been seen.
#[derive(Debug)]
pub(crate) struct Cut {
    headers: [u8; HEADERS_MAX],
    /// Bytes of headers in use.
    len: usize,
    /// Where the IP header begins: there may be a VLAN tag.
    ip: usize,
    /// Where the TCP header begins.
    tcp: usize,
    /// FIN and PSH as the superframe had them: they belong to its last segment.
    last_flags: u8,
    /// SEG.SEQ of the next segment.
    seq: u32,
    /// IP identification of the next segment (IPv4).
    id: u16,
    /// Payload bytes that are still to come.
    left: usize,
}

impl Cut {
    /// Makes a segment of the first part of a superframe, in place. `None` when it is no TCP superframe, or its
    /// checksum is not the unfinished one of a local sender: only such a sender makes superframes.
    pub(crate) fn begin(first: &mut [u8]) -> Option<Self> {
        let (ip, ip_len, total) = network(first)?;
        let tcp = ip + ip_len;
        let len = tcp + usize::from(first[tcp + 12] >> 4) * 4;
        if len < tcp + 20 || len > first.len() || total + ip <= first.len() {
            return None;
        }
        if first[tcp + 16..tcp + 18] != pseudo(&first[ip..], total - ip_len).to_be_bytes() {
            return None;
        }
        let mut cut = Self {
            headers: [0; HEADERS_MAX],
            len,
            ip,
            tcp,
            last_flags: first[tcp + 13] & (FIN | PSH),
            seq: u32::from_be_bytes([first[tcp + 4], first[tcp + 5], first[tcp + 6], first[tcp + 7]]),
            id: u16::from_be_bytes([first[ip + 4], first[ip + 5]]),
            left: total + ip - len,
        };
        cut.headers[..len].copy_from_slice(&first[..len]);
        cut.headers[tcp + 13] &= !(FIN | PSH);
        let payload = first.len() - len;
        cut.segment(payload, false, &mut first[..len]);
        // RFC 3168 6.1.2: CWR is said once, by the first segment.
        cut.headers[tcp + 13] &= !CWR;
        Some(cut)
    }

    /// The same of a superframe that a NIC has joined and verified: what its checksum field holds is of no use.
    pub(crate) fn begin_verified(first: &mut [u8]) -> Option<Self> {
        let (ip, ip_len, total) = network(first)?;
        let unfinished = pseudo(&first[ip..], total.checked_sub(ip_len)?);
        first[ip + ip_len + 16..][..2].copy_from_slice(&unfinished.to_be_bytes());
        Self::begin(first)
    }

    /// Bytes of headers in front of every segment.
    pub(crate) fn headers(&self) -> usize {
        self.len
    }

    /// Writes the headers of the next segment, whose payload is `payload` bytes, into `room`, which is
    /// [`Cut::headers`] long. Returns how many of the payload bytes belong to the superframe.
    pub(crate) fn next(&mut self, payload: usize, last: bool, room: &mut [u8]) -> usize {
        let payload = payload.min(self.left);
        self.segment(payload, last, room);
        payload
    }

    fn segment(&mut self, payload: usize, last: bool, room: &mut [u8]) {
        room.copy_from_slice(&self.headers[..self.len]);
        let (ip, tcp) = room[self.ip..].split_at_mut(self.tcp - self.ip);
        let total = self.len - self.ip + payload;
        if !is_v6(ip) {
            ip[4..6].copy_from_slice(&self.id.to_be_bytes());
        }
        set_ip_len(ip, total);
        tcp[4..8].copy_from_slice(&self.seq.to_be_bytes());
        if last {
            tcp[13] |= self.last_flags;
        }
        let unfinished = pseudo(ip, total - ip.len());
        tcp[16..18].copy_from_slice(&unfinished.to_be_bytes());
        self.seq = self.seq.wrapping_add(payload as u32);
        self.id = self.id.wrapping_add(1);
        self.left -= payload;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::headers::{fold, words};

    const PAYLOAD: usize = 5000;

    /// A superframe of `PAYLOAD` bytes with timestamps, PSH, FIN and CWR, as a local kernel sends it.
    fn superframe() -> Vec<u8> {
        let mut f = vec![2; 12];
        f.extend([8, 0]);
        let total = 20 + 32 + PAYLOAD as u16;
        f.extend([0x45, 0]);
        f.extend(total.to_be_bytes());
        f.extend([0xff, 0xff, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 2, 10, 0, 0, 1]);
        f.extend([0x12, 0x34, 0, 80]);
        f.extend(0xffff_ff00u32.to_be_bytes());
        f.extend([0, 0, 0, 9, 0x80, 0x99, 1, 0, 0, 0, 0, 0, 1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2]);
        f.extend((0..PAYLOAD).map(|i| i as u8));
        let sum = pseudo(&f[14..], 32 + PAYLOAD);
        f[50..52].copy_from_slice(&sum.to_be_bytes());
        f
    }

    fn u16_at(f: &[u8], at: usize) -> u16 {
        u16::from_be_bytes([f[at], f[at + 1]])
    }

    #[test]
    fn segments_carry_the_payload_once_in_order_with_flags_where_they_belong() {
        let whole = superframe();
        let chunk = 1792;
        let mut first = whole[..chunk].to_vec();
        let mut cut = Cut::begin(&mut first).unwrap();
        assert_eq!(cut.headers(), 66);
        let mut segments = vec![first];
        let parts: Vec<&[u8]> = whole[chunk..].chunks(chunk).collect();
        for (i, part) in parts.iter().enumerate() {
            let mut frame = vec![0; 66];
            let n = cut.next(part.len(), i == parts.len() - 1, &mut frame);
            frame.extend(&part[..n]);
            segments.push(frame);
        }
        let mut seq = 0xffff_ff00u32;
        let mut payload: Vec<u8> = Vec::new();
        for (i, s) in segments.iter().enumerate() {
            assert_eq!(usize::from(u16_at(s, 16)), s.len() - 14, "total length");
            assert_eq!(u16_at(s, 18), 0xffffu16.wrapping_add(i as u16), "identification");
            assert_eq!(fold(words(&s[14..34])), 0xffff, "IP checksum");
            assert_eq!(u16_at(s, 50), pseudo(&s[14..], s.len() - 34), "unfinished checksum");
            assert_eq!(s[38..42], seq.to_be_bytes());
            let flags = [0x90, 0x10, 0x19][if i == 0 { 0 } else { 1 + usize::from(i == 2) }];
            assert_eq!(s[47], flags, "segment {i}");
            seq = seq.wrapping_add(s.len() as u32 - 66);
            payload.extend(&s[66..]);
        }
        assert_eq!(segments.len(), 3);
        assert_eq!(payload, whole[66..]);
        assert_eq!(cut.left, 0);
    }

    /// The same over IPv6, without options.
    fn superframe_v6() -> Vec<u8> {
        let mut f = vec![2; 12];
        f.extend([0x86, 0xdd, 0x60, 0, 0, 7]);
        f.extend((20 + PAYLOAD as u16).to_be_bytes());
        f.extend([6, 64]);
        f.extend([0xfd; 16]);
        f.extend([0xfe; 16]);
        f.extend([0x12, 0x34, 0, 80, 0, 0, 0, 1, 0, 0, 0, 9, 0x50, 0x18, 1, 0, 0, 0, 0, 0]);
        f.extend((0..PAYLOAD).map(|i| i as u8));
        let sum = pseudo(&f[14..], 20 + PAYLOAD);
        f[70..72].copy_from_slice(&sum.to_be_bytes());
        f
    }

    #[test]
    fn a_superframe_of_ipv6_is_cut_the_same_way() {
        let whole = superframe_v6();
        let mut first = whole[..3000].to_vec();
        let mut cut = Cut::begin(&mut first).unwrap();
        assert_eq!(cut.headers(), 74);
        let mut last = vec![0; 74];
        assert_eq!(cut.next(2500, true, &mut last), PAYLOAD + 74 - 3000);
        last.extend(&whole[3000..]);
        for (segment, seq, flags) in [(&first, 1, 0x10), (&last, 1 + 3000 - 74, 0x18)] {
            assert_eq!(usize::from(u16_at(segment, 18)), segment.len() - 54, "payload length");
            assert_eq!(segment[58..62], u32::to_be_bytes(seq));
            assert_eq!(segment[67], flags);
            assert_eq!(u16_at(segment, 70), pseudo(&segment[14..], segment.len() - 54));
            assert_eq!(segment[14..18], whole[14..18], "class and label");
            assert_eq!(segment[20..54], whole[20..54]);
        }
        let mut extended = whole[..3000].to_vec();
        extended[20] = 60;
        assert!(Cut::begin(&mut extended).is_none(), "an extension header");
    }

    #[test]
    fn of_what_a_nic_has_verified_the_checksum_is_made_unfinished() {
        let whole = superframe();
        let (mut expected, mut joined) = (whole[..1792].to_vec(), whole[..1792].to_vec());
        joined[50..52].copy_from_slice(&[0xab, 0xcd]);
        assert!(Cut::begin(&mut joined.clone()).is_none());
        assert!(Cut::begin_verified(&mut joined).is_some() && Cut::begin(&mut expected).is_some());
        assert_eq!(joined, expected);
        assert!(Cut::begin_verified(&mut whole[..40].to_vec()).is_none());
    }

    #[test]
    fn bytes_beyond_the_superframe_are_left_out() {
        let whole = superframe();
        let mut cut = Cut::begin(&mut whole[..4000].to_vec()).unwrap();
        assert_eq!(cut.next(2000, true, &mut [0; 66]), PAYLOAD + 66 - 4000);
        assert_eq!(cut.next(2000, true, &mut [0; 66]), 0);
    }

    #[test]
    fn what_is_no_superframe_of_a_local_sender_is_refused() {
        let whole = superframe();
        let broken = |at: usize, to: u8| {
            let mut f = whole[..1792].to_vec();
            f[at] = to;
            Cut::begin(&mut f).is_none()
        };
        assert!(broken(12, 0x86), "not IPv4");
        assert!(broken(14, 0x44), "header length");
        assert!(broken(20, 0x20), "a fragment");
        assert!(broken(23, 17), "UDP");
        assert!(broken(46, 0x40), "data offset below 20");
        assert!(broken(51, whole[51] ^ 1), "another checksum");
        assert!(broken(16, 0), "no longer than its first part");
        for n in 0..66 {
            assert!(Cut::begin(&mut whole[..n].to_vec()).is_none(), "{n} bytes");
        }
    }
}
