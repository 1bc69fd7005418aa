//! Of which frames a receive event says that their checksums are right.

use nic::RxChecksum;

/// Link and shortest IPv4 header.
const V4: usize = 14 + 20;
/// Link and IPv6 header.
const V6: usize = 14 + 40;
const TCP: u8 = 6;
const UDP: u8 = 17;

/// What is known of a frame that came without complaint, from its first bytes. Adapters verify TCP and UDP right behind
/// the IP header, and of what they do not recognise they verify nothing and do not complain either: so only what every
/// one of them recognises counts as verified.
pub(crate) fn verified(frame: &[u8]) -> RxChecksum {
    let known = match frame {
        // A header without options; no fragment; not UDP without a checksum.
        [_, _, _, _, _, _, _, _, _, _, _, _, 0x08, 0x00, 0x45, ..] if frame.len() >= V4 + 8 => {
            let whole = frame[20] & 0x3f == 0 && frame[21] == 0;
            let summed = frame[23] == TCP || frame[23] == UDP && frame[V4 + 6..V4 + 8] != [0, 0];
            whole && summed
        }
        [_, _, _, _, _, _, _, _, _, _, _, _, 0x86, 0xdd, version, ..] if frame.len() >= V6 + 8 => {
            version >> 4 == 6 && (frame[20] == TCP || frame[20] == UDP)
        }
        _ => false,
    };
    if known { RxChecksum::Verified } else { RxChecksum::Unknown }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(protocol: u8) -> Vec<u8> {
        let mut frame = vec![0; 60];
        frame[12..15].copy_from_slice(&[8, 0, 0x45]);
        frame[23] = protocol;
        frame[V4 + 6] = 1;
        frame
    }

    #[test]
    fn only_whole_segments_and_datagrams_count() {
        assert_eq!(verified(&v4(TCP)), RxChecksum::Verified);
        assert_eq!(verified(&v4(UDP)), RxChecksum::Verified);
        assert_eq!(verified(&v4(1)), RxChecksum::Unknown, "ICMP");
        for (at, value, what) in
            [(20, 0x20, "a first piece"), (21, 1, "a later piece"), (14, 0x46, "options")]
        {
            let mut frame = v4(TCP);
            frame[at] = value;
            assert_eq!(verified(&frame), RxChecksum::Unknown, "{what}");
        }
        let mut frame = v4(UDP);
        frame[V4 + 6] = 0;
        assert_eq!(verified(&frame), RxChecksum::Unknown, "UDP without a checksum");
        assert_eq!(verified(&v4(TCP)[..30]), RxChecksum::Unknown, "cut short");
        let mut frame = vec![0; 70];
        frame[12..15].copy_from_slice(&[0x86, 0xdd, 0x60]);
        frame[20] = TCP;
        assert_eq!(verified(&frame), RxChecksum::Verified);
        frame[20] = 44;
        assert_eq!(verified(&frame), RxChecksum::Unknown, "an extension header");
    }
}
