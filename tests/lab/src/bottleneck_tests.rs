//! A bottleneck by hand.

use crate::bottleneck::{Bottleneck, Shape, mark};

const IP: usize = 14;

#[test]
fn frames_leave_at_the_rate_and_what_finds_no_room_is_lost() {
    // 1000 bytes take a millisecond.
    let mut thin = Bottleneck::new(Shape::new(8_000_000, 3000));
    let mut frame = [0; 1000];
    let ms = 1_000_000;
    assert_eq!(thin.pass(0, &mut frame), Some(ms));
    assert_eq!(thin.pass(0, &mut frame), Some(2 * ms));
    assert_eq!(thin.pass(ms / 2, &mut frame), Some(3 * ms));
    assert_eq!(thin.pass(ms / 2, &mut frame), None);
    assert_eq!(thin.queued(ms), 2000);
    assert_eq!(thin.pass(ms, &mut frame), Some(4 * ms));
    assert_eq!(thin.pass(100 * ms, &mut frame), Some(101 * ms));
    let mut few = Bottleneck::new(Shape { frames: 1, ..Shape::new(8_000_000, 3000) });
    assert!(few.pass(0, &mut frame).is_some() && few.pass(0, &mut frame).is_none());
}

#[test]
fn a_mark_keeps_the_checksum_right() {
    let header = [0x45, 0x02, 0, 40, 1, 2, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
    let sum = |header: &[u8]| {
        let words = header.chunks(2).map(|w| u32::from(u16::from_be_bytes([w[0], w[1]])));
        let sum: u32 = words.sum();
        (sum & 0xffff) + (sum >> 16)
    };
    let mut frame = vec![0; 12];
    frame.extend([0x08, 0x00]);
    frame.extend(header);
    let right = !(sum(&frame[IP..]) as u16);
    frame[IP + 10..IP + 12].copy_from_slice(&right.to_be_bytes());
    assert!(mark(&mut frame));
    assert_eq!(frame[IP + 1], 3);
    assert_eq!(sum(&frame[IP..]), 0xffff);
    frame[IP + 1] = 0;
    assert!(!mark(&mut frame), "who does not understand is not marked");
    let mut six = vec![0; IP + 40];
    six[12..16].copy_from_slice(&[0x86, 0xdd, 0x60, 0x20]);
    assert!(mark(&mut six));
    assert_eq!(six[IP + 1], 0x30);
}
