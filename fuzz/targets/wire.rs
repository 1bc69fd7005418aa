//! Every parser of bytes from the network: none panics, and what was read and can be written is read again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ringroad_fuzz::Input;
use stack::wire::tcp::{HEADER_MAX, Header, Segment};
use stack::wire::{icmp, icmpv6, ipv4, ipv6, ipv6_ext, udp};

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let which = input.below(7);
    let bytes = bytes.get(1..).unwrap_or_default();
    match which {
        0 => tcp(bytes),
        1 => _ = ipv4::parse(bytes),
        2 => _ = ipv6::parse(bytes),
        3 => {
            let (next, packet) = (input.byte(), bytes.get(1..).unwrap_or_default());
            if let Ok(found) = ipv6_ext::walk(packet, next) {
                let _ = format!("{found:?}");
            }
        }
        4 => _ = icmp::parse_error(bytes),
        5 => _ = icmpv6::parse_error(bytes),
        _ => _ = udp::parse(bytes),
    }
});

fn tcp(bytes: &[u8]) {
    let Ok(seg) = Segment::parse(bytes) else { return };
    assert!(
        usize::from(seg.header_len) + seg.len as usize == bytes.len(),
        "{seg:?} of {} octets",
        bytes.len()
    );
    // A SYN has a cookie and no blocks, any other segment the other way round: all together fit no header.
    let mut options = seg.options;
    if !options.sack.is_empty() {
        options.fast_open = None;
    }
    let header = Header {
        src_port: seg.src_port,
        dst_port: seg.dst_port,
        seq: seg.seq,
        ack: seg.ack,
        flags: seg.flags,
        wnd: seg.wnd,
        options,
        ..Header::default()
    };
    // Only as many SACK blocks as fit beside the rest are written.
    let mut written = [0; HEADER_MAX];
    let len = header.emit(&mut written);
    let again = Segment::parse(&written[..len]).expect("what we write can be read");
    assert_eq!((again.seq, again.ack, again.flags, again.wnd), (seg.seq, seg.ack, seg.flags, seg.wnd));
    assert_eq!(
        (
            again.options.mss,
            again.options.window_scale,
            again.options.sack_permitted,
            again.options.timestamps
        ),
        (seg.options.mss, seg.options.window_scale, seg.options.sack_permitted, seg.options.timestamps)
    );
}
