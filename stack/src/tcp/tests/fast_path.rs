//! Header prediction does what the full walk does, and the short way of a write what the long one does: two equal hosts,
//! one of them without these, see the same inputs; everything they say and know must be the same.

use proptest::prelude::*;

use super::drill::Drill;
use crate::error::Fault;
use crate::ip::Unsent;
use crate::tcp::{call, output};
use crate::types::Ecn;

#[derive(Clone, Debug)]
enum Event {
    /// In order, acknowledging what so many octets before SND.NXT end.
    Data {
        len: u32,
        unacked: u32,
        ts: i32,
    },
    /// Behind a hole, or before the window.
    Stray {
        at: i32,
        len: u32,
    },
    Ack {
        unacked: u32,
        win: u16,
    },
    /// With a SACK block, or a D-SACK when it lies before the ACK.
    Sack {
        unacked: u32,
        from: i32,
        len: u32,
    },
    /// ECN: an echo, or CWR on data.
    Echo {
        unacked: u32,
    },
    Reduced {
        len: u32,
    },
    /// The ECN field of what arrives from here on.
    Mark(u8),
    Fin,
    Write(u32),
    /// A write that is one segment, if it goes out.
    Short(u32),
    /// A write of which the application's memory has only so many octets.
    Cut(u32, u32),
    /// MSG_MORE.
    More(u32),
    Nodelay(bool),
    Cork(bool),
    /// From here on nothing goes out, for this reason; or everything.
    Refuse(Option<Unsent>),
    /// What the path takes from here on.
    Mtu(u16),
    /// Whether frames stay with the NIC.
    Slow(bool),
    Read(usize),
    Shutdown,
    Wait(u64),
    Burst(bool),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => (1..1400u32, 0..3000u32, -2..20i32).prop_map(|(len, unacked, ts)| Event::Data { len, unacked, ts }),
        2 => (-2000..4000i32, 0..1400u32).prop_map(|(at, len)| Event::Stray { at, len }),
        6 => (0..3000u32, any::<u16>()).prop_map(|(unacked, win)| Event::Ack { unacked, win }),
        4 => (0..6000u32, -2000..5000i32, 1..3000u32)
            .prop_map(|(unacked, from, len)| Event::Sack { unacked, from, len }),
        1 => (0..3000u32).prop_map(|unacked| Event::Echo { unacked }),
        1 => (1..1400u32).prop_map(|len| Event::Reduced { len }),
        2 => (0..4u8).prop_map(Event::Mark),
        1 => Just(Event::Fin),
        8 => (1..4000u32).prop_map(Event::Write),
        8 => (1..1001u32).prop_map(Event::Short),
        1 => (1..1001u32, 0..1001u32).prop_map(|(len, most)| Event::Cut(len, most)),
        2 => (1..1500u32).prop_map(Event::More),
        1 => any::<bool>().prop_map(Event::Nodelay),
        1 => any::<bool>().prop_map(Event::Cork),
        1 => prop_oneof![
            3 => Just(None),
            1 => prop::sample::select(vec![Unsent::NoFrames, Unsent::NoNeighbour, Unsent::Denied, Unsent::Unreachable])
                .prop_map(Some),
        ]
        .prop_map(Event::Refuse),
        1 => (600..1500u16).prop_map(Event::Mtu),
        1 => any::<bool>().prop_map(Event::Slow),
        4 => (1..6000usize).prop_map(Event::Read),
        1 => Just(Event::Shutdown),
        3 => (1..300u64).prop_map(Event::Wait),
        1 => any::<bool>().prop_map(Event::Burst),
    ]
}

/// What the peer has sent.
struct Peer {
    seq: u32,
    ts: i64,
    options: bool,
}

impl Peer {
    fn stamp(&mut self, step: i32) -> String {
        self.ts += i64::from(step);
        if self.options { format!("<TS {} 1>", self.ts) } else { String::new() }
    }
}

fn apply(d: &mut Drill, peer: &mut Peer, event: &Event) {
    let sent = {
        let snd = &d.host.tcb().snd;
        snd.nxt - snd.iss
    };
    match *event {
        Event::Data { len, unacked, ts } => {
            let ts = peer.stamp(ts);
            let (from, to) = (peer.seq, peer.seq + len);
            d.inject(&format!("P. {from}:{to}({len}) ack {} {ts}", sent.saturating_sub(unacked).max(1)));
            peer.seq = to;
        }
        Event::Stray { at, len } => {
            let ts = peer.stamp(0);
            let from = i64::from(peer.seq) + i64::from(at);
            d.inject(&format!("P. {from}:{}({len}) ack {sent} {ts}", from + i64::from(len)));
        }
        Event::Ack { unacked, win } => {
            let ts = peer.stamp(1);
            let (seq, ack) = (peer.seq, sent.saturating_sub(unacked).max(1));
            d.inject(&format!(". {seq}:{seq}(0) ack {ack} win {win} {ts}"));
        }
        Event::Sack { unacked, from, len } => {
            let ts = peer.stamp(1).replace('<', "").replace('>', ",");
            let (seq, ack) = (peer.seq, sent.saturating_sub(unacked).max(1));
            let left = i64::from(ack) + i64::from(from);
            let block = format!("<{ts}sack {left}:{}>", left + i64::from(len));
            d.inject(&format!(". {seq}:{seq}(0) ack {ack} {block}"));
        }
        Event::Echo { unacked } => {
            let ts = peer.stamp(1);
            let (seq, ack) = (peer.seq, sent.saturating_sub(unacked).max(1));
            d.inject(&format!(".E {seq}:{seq}(0) ack {ack} {ts}"));
        }
        Event::Reduced { len } => {
            let ts = peer.stamp(1);
            d.inject(&format!(".W {}:{}({len}) ack {sent} {ts}", peer.seq, peer.seq + len));
            peer.seq += len;
        }
        Event::Mark(bits) => d.host.ecn = Ecn::of_tos(bits),
        Event::Fin => {
            let ts = peer.stamp(1);
            d.inject(&format!("F. {0}:{0}(0) ack {sent} {ts}", peer.seq));
        }
        Event::Write(n) | Event::Short(n) => {
            let _ = d.host.send(&vec![7; n as usize]);
        }
        Event::Cut(n, most) => {
            let _ = d.host.write(n as usize, false, |room| match room.len().min(most as usize) {
                0 => Err(Fault),
                len => Ok(len),
            });
        }
        Event::More(n) => {
            let _ = d.host.write(n as usize, true, |room| {
                room.fill(7);
                Ok(room.len())
            });
        }
        Event::Nodelay(on) | Event::Cork(on) => {
            let mut options = d.host.tcb().options;
            match *event {
                Event::Nodelay(_) => options.nodelay = on,
                _ => options.cork = on,
            }
            d.host.with(|tcb, env| tcb.set_options(options, env.segs, env.now));
        }
        Event::Refuse(why) => d.host.wire.refuse = why,
        Event::Mtu(mtu) => d.host.wire.mtu = mtu,
        Event::Slow(slow) => {
            d.host.wire.slow_nic = slow;
            d.host.complete();
        }
        Event::Read(n) => {
            let _ = d.host.recv(n);
        }
        Event::Shutdown => {
            let _ = d.host.with(call::shutdown_send);
        }
        Event::Wait(ms) => {
            let now = d.host.now + core::time::Duration::from_millis(ms);
            d.host.run_to(now);
        }
        Event::Burst(burst) => {
            d.host.burst = burst;
            d.host.with(output::push);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn fast_is_slow(events in prop::collection::vec(event(), 1..80), options in any::<bool>()) {
        let open = || match options {
            true => Drill::with_ecn("<mss 1000,sackOK,TS 1 0>"),
            false => Drill::accepted("<mss 1000>"),
        };
        let (mut fast, mut slow) = (open(), open());
        slow.host.slowly = true;
        let mut peers = [0, 1].map(|_| Peer { seq: 1, ts: 2, options });
        for event in &events {
            apply(&mut fast, &mut peers[0], event);
            apply(&mut slow, &mut peers[1], event);
            prop_assert_eq!(&fast.host.wire.sent, &slow.host.wire.sent, "{:?}", event);
            fast.host.wire.sent.clear();
            slow.host.wire.sent.clear();
            let (a, b) = (format!("{:?}", fast.host.tcb()), format!("{:?}", slow.host.tcb()));
            prop_assert_eq!(a, b, "{:?}", event);
            prop_assert_eq!(fast.host.wire.ecn, slow.host.wire.ecn, "{:?}", event);
        }
        prop_assert_eq!(slow.host.stats.tcp_fast_path, 0);
    }
}

#[test]
fn a_plain_transfer_is_predicted() {
    let mut d = Drill::accepted("<mss 1000,sackOK,TS 1 0>");
    for n in 0..50 {
        let (from, to) = (n * 100 + 1, n * 100 + 101);
        d.inject(&format!("P. {from}:{to}(100) ack {} <TS 3 1>", n * 50 + 1));
        d.host.recv(1000).unwrap();
        d.host.send(&[1; 50]).unwrap();
    }
    assert_eq!(d.host.stats.tcp_fast_path, 50);
    d.host.wire.sent.clear();
}
