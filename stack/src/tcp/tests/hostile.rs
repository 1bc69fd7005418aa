//! Segments that nobody would send, in every state, between the calls of an application: no panic, no octet out
//! of order, no frame lost.

use proptest::prelude::*;

use super::drill::Drill;
use crate::seq::Seq;
use crate::tcp::{State, call};
use crate::wire::tcp::{Flags, HEADER_MAX, Header, Options, SackBlock, SackBlocks, TimestampsOption};

/// A number near one that matters, or anywhere.
#[derive(Clone, Copy, Debug)]
enum Near {
    Edge(i32),
    Anywhere(u32),
}

impl Near {
    fn of(self, base: Seq) -> Seq {
        match self {
            Near::Edge(offset) => base + offset as u32,
            Near::Anywhere(n) => Seq(n),
        }
    }
}

#[derive(Clone, Debug)]
enum Event {
    Segment { flags: u8, seq: Near, ack: Near, win: u16, len: u16, options: Wild },
    Send(usize),
    Recv(usize),
    Shutdown,
    Close,
    Abort,
    Wait(u64),
    Complete,
}

#[derive(Clone, Debug)]
struct Wild {
    mss: Option<u16>,
    scale: Option<u8>,
    ts: Option<(i32, u32)>,
    sack: Vec<(Near, Near)>,
}

fn near() -> impl Strategy<Value = Near> {
    prop_oneof![
        6 => (-3..4i32).prop_map(Near::Edge),
        4 => (-70_000..300_000i32).prop_map(Near::Edge),
        1 => any::<u32>().prop_map(Near::Anywhere),
    ]
}

fn wild() -> impl Strategy<Value = Wild> {
    let sack = prop::collection::vec((near(), near()), 0..4);
    (any::<Option<u16>>(), any::<Option<u8>>(), any::<Option<(i32, u32)>>(), sack)
        .prop_map(|(mss, scale, ts, sack)| Wild { mss, scale, ts, sack })
}

fn flags() -> impl Strategy<Value = u8> {
    prop_oneof![6 => Just(0x10u8), 3 => Just(0x18), 2 => Just(0x11), 1 => Just(0x04), 2 => any::<u8>()]
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        20 => (flags(), near(), near(), any::<u16>(), 0..1500u16, wild()).prop_map(
            |(flags, seq, ack, win, len, options)| Event::Segment { flags, seq, ack, win, len, options }
        ),
        3 => (0..20_000usize).prop_map(Event::Send),
        3 => (0..20_000usize).prop_map(Event::Recv),
        1 => Just(Event::Shutdown),
        1 => Just(Event::Close),
        1 => Just(Event::Abort),
        3 => (0..90_000u64).prop_map(Event::Wait),
        2 => Just(Event::Complete),
    ]
}

fn apply(d: &mut Drill, event: &Event) {
    match event {
        Event::Segment { flags, seq, ack, win, len, options } => {
            let tcb = d.host.tcb();
            let (rcv, snd, una) = (tcb.rcv.nxt, tcb.snd.nxt, tcb.snd.una);
            let mut sack = SackBlocks::default();
            for (left, right) in &options.sack {
                sack.push(SackBlock { left: left.of(una), right: right.of(snd) });
            }
            let recent = tcb.ts.recent;
            let header = Header {
                src_port: 40000,
                dst_port: 80,
                seq: seq.of(rcv),
                ack: ack.of(snd),
                flags: Flags(*flags),
                wnd: *win,
                urgent: 0,
                options: Options {
                    mss: options.mss,
                    window_scale: options.scale,
                    sack_permitted: options.mss.is_some(),
                    timestamps: options
                        .ts
                        .map(|(step, ecr)| TimestampsOption { val: recent.wrapping_add(step as u32), ecr }),
                    sack: if options.mss.is_some() { SackBlocks::default() } else { sack },
                    fast_open: None,
                },
            };
            let mut bytes = [0; HEADER_MAX];
            let header_len = header.emit(&mut bytes);
            let mut bytes = bytes[..header_len].to_vec();
            bytes.resize(header_len + usize::from(*len), 0xa5);
            d.host.receive(&bytes);
        }
        Event::Send(n) => drop(d.host.send(&vec![9; *n])),
        Event::Recv(n) => drop(d.host.recv(*n)),
        Event::Shutdown => drop(d.host.with(call::shutdown_send)),
        Event::Close => d.host.with(call::close),
        Event::Abort => d.host.with(call::abort),
        Event::Wait(ms) => {
            let now = d.host.now + core::time::Duration::from_millis(*ms);
            d.host.run_to(now);
        }
        Event::Complete => d.host.complete(),
    }
}

/// What must hold at every moment.
fn judge(d: &Drill) {
    let tcb = d.host.tcb();
    let (snd, rcv) = (&tcb.snd, &tcb.rcv);
    assert!(snd.una.at_or_before(snd.nxt));
    assert!(tcb.pipe() <= snd.outstanding() + u32::from(snd.mss), "{tcb:?}");
    assert!(rcv.nxt.at_or_before(rcv.edge) || tcb.state == State::SynSent, "{tcb:?}");
    assert!(tcb.inbox.octets <= tcb.options.recv_buffer + 1500, "{tcb:?}");
    assert!(tcb.send_queue() <= tcb.options.send_buffer);
    let sending = tcb.state.may_transmit() && (snd.outstanding() > 0 || tcb.sent.next_unsent().is_some());
    if sending {
        // Whoever has something to say has a timer running, or it is lost for ever.
        assert!(tcb.next_deadline() != crate::time::Instant::NEVER, "{tcb:?}");
    }
    if tcb.state == State::Closed {
        assert_eq!(tcb.next_deadline(), crate::time::Instant::NEVER);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn nothing_breaks(
        start in 0..4u8,
        slow_nic in any::<bool>(),
        events in prop::collection::vec(event(), 1..60),
    ) {
        let mut d = Drill::new();
        d.host.wire.slow_nic = slow_nic;
        match start {
            0 => d.host.connect().unwrap(),
            1 => {
                d.inject("S 0:0(0) win 9000 <mss 1000,sackOK>");
                d.expect("S. 0:0(0)");
            }
            2 => d.accept("<mss 1460,sackOK,wscale 7>"),
            _ => d.accept("<mss 1000,sackOK,TS 1 0>"),
        }
        for event in &events {
            apply(&mut d, event);
            judge(&d);
            d.host.wire.sent.clear();
        }
    }
}
