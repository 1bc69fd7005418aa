use proptest::prelude::*;

use super::*;
use crate::headers::{fold, link, words};

/// A segment with all that may differ from one to the next.
#[derive(Clone, Debug)]
struct Segment {
    v6: bool,
    /// The tag's number, if there is a tag.
    vlan: Option<u8>,
    port: u16,
    seq: u32,
    ack: u32,
    flags: u8,
    window: u16,
    stamp: u32,
    id: u16,
    tos: u8,
    payload: Vec<u8>,
}

impl Segment {
    fn new(seq: u32, len: usize) -> Self {
        let payload = (0..len).map(|n| (seq as usize + n) as u8).collect();
        let flags = ACK;
        let (v6, vlan) = (false, None);
        Self { v6, vlan, port: 80, seq, ack: 9, flags, window: 500, stamp: 7, id: 1, tos: 0, payload }
    }

    /// The frame, its checksum left to the NIC.
    fn frame(&self) -> Vec<u8> {
        let mut f = vec![2; 12];
        f.extend(self.vlan.iter().flat_map(|id| [0x81, 0, 0, *id]));
        let ip = f.len() + 2;
        let total = 32 + self.payload.len();
        if self.v6 {
            f.extend([0x86, 0xdd, 0x60, self.tos, 0, 7]);
            f.extend((total as u16).to_be_bytes());
            f.extend([6, 64]);
            f.extend([0xfd; 16]);
            f.extend([0xfe; 16]);
        } else {
            f.extend([8, 0, 0x45, self.tos, 0, 0]);
            f.extend(self.id.to_be_bytes());
            f.extend([0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
            set_ip_len(&mut f[ip..], 20 + total);
        }
        let tcp = f.len();
        f.extend(self.port.to_be_bytes());
        f.extend([0x12, 0x34]);
        f.extend(self.seq.to_be_bytes());
        f.extend(self.ack.to_be_bytes());
        f.extend([0x80, self.flags]);
        f.extend(self.window.to_be_bytes());
        f.extend([0, 0, 0, 0, 1, 1, 8, 10]);
        f.extend(self.stamp.to_be_bytes());
        f.extend([0, 0, 0, 2]);
        f.extend(&self.payload);
        let unfinished = pseudo(&f[ip..], total);
        f[tcp + 16..tcp + 18].copy_from_slice(&unfinished.to_be_bytes());
        f
    }
}

/// How many of the frames make one superframe from the first on, and that.
fn joined(frames: &[Vec<u8>]) -> (usize, Option<Superframe>) {
    let Some(mut superframe) = Superframe::begin(&frames[0]) else { return (1, None) };
    let more = frames[1..].iter().take_while(|next| superframe.join(&frames[0], next)).count();
    (1 + more, Some(superframe))
}

/// What a packet socket is given for `frames`, which make one superframe.
fn sent(superframe: &Superframe, frames: &[Vec<u8>]) -> Vec<u8> {
    let mut head = [0; HEAD];
    let len = superframe.head(&frames[0], &mut head);
    frames.iter().fold(head[..len].to_vec(), |mut all, frame| {
        all.extend(&frame[superframe.headers()..]);
        all
    })
}

/// Cuts what was given to a packet socket, as Linux does (`tcp_gso_segment`): the naive way.
fn cut(sent: &[u8]) -> Vec<Vec<u8>> {
    let (vnet, frame) = sent.split_at(VNET);
    let field = |at: usize| usize::from(u16::from_ne_bytes([vnet[at], vnet[at + 1]]));
    let (headers, segment, tcp) = (field(2), field(4), field(6));
    let ip = link(frame);
    let v6 = is_v6(&frame[ip..]);
    assert_eq!((vnet[0], vnet[1], field(8)), (NEEDS_CSUM, if v6 { GSO_TCPV6 } else { GSO_TCPV4 }, 16));
    let payload = &frame[headers..];
    assert_eq!(frame[tcp + 16..tcp + 18], pseudo(&frame[ip..], frame.len() - tcp).to_be_bytes());
    let pieces: Vec<&[u8]> = payload.chunks(segment).collect();
    let piece = |(n, piece): (usize, &&[u8])| {
        let mut f = [&frame[..headers], *piece].concat();
        let total = f.len() - ip;
        if !v6 {
            assert_eq!(fold(words(&f[ip..tcp])), 0xffff, "IP checksum");
            let id = u16::from_be_bytes([f[ip + 4], f[ip + 5]]).wrapping_add(n as u16);
            f[ip + 4..ip + 6].copy_from_slice(&id.to_be_bytes());
        }
        set_ip_len(&mut f[ip..tcp], total);
        let seq = seq_at(frame, tcp).wrapping_add((n * segment) as u32);
        f[tcp + 4..tcp + 8].copy_from_slice(&seq.to_be_bytes());
        if n + 1 < pieces.len() {
            f[tcp + 13] &= !(FIN | PSH);
        }
        let unfinished = pseudo(&f[ip..], total + ip - tcp);
        f[tcp + 16..tcp + 18].copy_from_slice(&unfinished.to_be_bytes());
        f
    };
    pieces.iter().enumerate().map(piece).collect()
}

/// The frame without PSH, and without the IPv4 identification and the checksum that covers it.
fn bare(frame: &[u8]) -> Vec<u8> {
    let mut f = frame.to_vec();
    let ip = link(&f);
    let tcp = ip + if is_v6(&f[ip..]) { 40 } else { 20 };
    f[tcp + 13] &= !PSH;
    if !is_v6(&f[ip..]) {
        f[ip + 4..ip + 6].fill(0);
        f[ip + 10..ip + 12].fill(0);
    }
    f
}

/// Joins and cuts, and says how many superframes and lone frames it took.
fn there_and_back(frames: &[Vec<u8>]) -> usize {
    let (mut at, mut runs) = (0, 0);
    while at < frames.len() {
        let (n, superframe) = joined(&frames[at..]);
        if let Some(superframe) = superframe.filter(|_| n > 1) {
            let all = sent(&superframe, &frames[at..at + n]);
            assert!(all.len() - VNET <= FRAME_MAX);
            let (were, back) = (&frames[at..at + n], cut(&all));
            assert!(were.iter().map(|f| bare(f)).eq(back.iter().map(|f| bare(f))));
            let pushed = |frames: &[Vec<u8>]| frames.iter().any(|f| f[superframe.tcp + 13] & PSH != 0);
            assert_eq!(pushed(&back[n - 1..]), pushed(were), "PSH of one is PSH of the last");
        }
        at += n;
        runs += 1;
    }
    runs
}

fn train(v6: bool, first: u32, lens: &[usize]) -> Vec<Segment> {
    let mut seq = first;
    let next = |len: &usize| {
        let segment = Segment { v6, ..Segment::new(seq, *len) };
        seq = seq.wrapping_add(*len as u32);
        segment
    };
    lens.iter().map(next).collect()
}

fn frames(segments: &[Segment]) -> Vec<Vec<u8>> {
    segments.iter().map(Segment::frame).collect()
}

#[test]
fn full_segments_and_a_short_one_become_one_across_the_end_of_sequence_numbers() {
    for (v6, vlan) in [(false, None), (true, None), (false, Some(10)), (true, Some(10))] {
        let mut segments = train(v6, u32::MAX - 2000, &[1448, 1448, 1448, 100]);
        segments.iter_mut().for_each(|segment| segment.vlan = vlan);
        segments[3].flags |= PSH | FIN;
        assert_eq!(there_and_back(&frames(&segments)), 1);
    }
}

#[test]
fn a_superframe_is_as_long_as_a_device_takes_and_no_longer() {
    let segments = frames(&train(false, 1, &[1448; 90]));
    let (n, superframe) = joined(&segments);
    assert_eq!(n, 45);
    assert_eq!(sent(&superframe.unwrap(), &segments[..n]).len() - VNET, 66 + 45 * 1448);
    assert_eq!(there_and_back(&segments), 2);
}

#[test]
fn what_differs_ends_the_superframe() {
    let changes: &[fn(&mut Segment)] = &[
        |s| s.port = 81,
        |s| s.seq += 1,
        |s| s.ack += 1,
        |s| s.window += 1,
        |s| s.stamp += 1,
        |s| s.tos = 4,
        |s| s.flags |= ECE,
        |s| s.flags |= CWR,
        |s| s.flags |= 0x20,
        |s| s.flags |= 0x02,
        |s| s.flags |= 0x04,
        |s| s.payload.push(0),
        |s| s.payload.clear(),
        |s| s.v6 = !s.v6,
        |s| s.vlan = Some(10),
    ];
    for (n, change) in changes.iter().enumerate() {
        let mut segments = train(n % 2 == 0, 1, &[1000, 1000]);
        change(&mut segments[1]);
        assert_eq!(joined(&frames(&segments)).0, 1, "change {n}");
    }
}

#[test]
fn nothing_follows_a_short_segment_or_one_with_fin() {
    assert_eq!(joined(&frames(&train(false, 1, &[1000, 999, 999]))).0, 2);
    let mut segments = train(true, 1, &[1000; 3]);
    segments[1].flags |= FIN;
    assert_eq!(joined(&frames(&segments)).0, 2);
    segments[0].flags |= FIN;
    assert_eq!(joined(&frames(&segments)).0, 1);
}

#[test]
fn psh_in_the_middle_is_said_at_the_end() {
    for at in 0..3 {
        let mut segments = train(false, 1, &[1000, 1000, 10]);
        segments[at].flags |= PSH;
        assert_eq!(there_and_back(&frames(&segments)), 1);
    }
}

#[test]
fn what_may_be_cut_by_a_router_or_is_no_segment_goes_alone() {
    let frame = Segment::new(1, 1000).frame();
    let broken = |at: usize, to: u8| {
        let mut f = frame.clone();
        f[at] = to;
        Superframe::begin(&f).is_none()
    };
    assert!(!broken(0, 1));
    assert!(broken(20, 0), "DF");
    assert!(broken(23, 17), "UDP");
    assert!(broken(46, 0x40), "data offset");
    assert!(broken(17, 0), "length");
    for n in 0..66 {
        assert!(Superframe::begin(&frame[..n]).is_none(), "{n} bytes");
    }
}

/// A segment after another: mostly the one that belongs there.
fn step() -> impl Strategy<Value = (u8, usize)> {
    (0..40u8, prop_oneof![6 => Just(1448), 1 => 0..1448usize])
}

proptest! {
    /// Whatever comes: what was joined is cut into the very same frames, in the same order.
    #[test]
    fn joined_and_cut_again_frames_are_the_same(
        v6: bool,
        vlan: Option<u8>,
        first: u32,
        steps in prop::collection::vec(step(), 1..100),
    ) {
        let mut next = Segment { v6, vlan, ..Segment::new(first, 0) };
        let mut segments = Vec::new();
        for (change, len) in steps {
            let seq = next.seq.wrapping_add(next.payload.len() as u32);
            next = Segment { payload: vec![change; len], seq, id: next.id.wrapping_mul(3), ..next };
            match change {
                0 => next.port ^= 1,
                1 => next.seq = next.seq.wrapping_sub(1448),
                2 => next.ack = next.ack.wrapping_add(1),
                3 => next.window ^= 1,
                4 => next.stamp += 1,
                5 => next.v6 = !next.v6,
                6 => next.tos ^= 4,
                11 => next.vlan = next.vlan.map(|id| id ^ 1),
                _ => {}
            }
            next.flags = ACK
                | match change {
                    7 => PSH,
                    8 => FIN,
                    9 => CWR,
                    10 => ECE,
                    _ => 0,
                };
            segments.push(next.clone());
        }
        let frames = frames(&segments);
        prop_assert!(there_and_back(&frames) <= frames.len());
    }
}
