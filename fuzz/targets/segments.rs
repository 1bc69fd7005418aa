//! Segments, ICMP errors, calls and the time, in every state of a connection: nothing panics, everything that is
//! sent is well-formed (the drill checks headers and checksums), no frame and no socket is left over.

#![no_main]

use drill::segment::{Segment, TcpOption};
use drill::{Complaint, Drill, Family, Knob, On, State};
use libfuzzer_sys::fuzz_target;
use ringroad_fuzz::Input;
use stack::socket::{How, OptName, RecvFlags, SendFlags};

const STATES: [State; 11] = [
    State::Established,
    State::Listen,
    State::SynSent,
    State::SynReceived,
    State::Closed,
    State::FinWait1,
    State::FinWait2,
    State::CloseWait,
    State::Closing,
    State::LastAck,
    State::TimeWait,
];
const OPTIONS: [&str; 4] =
    ["<mss 1000>", "<mss 1460,sackOK,TS 1 0,wscale 7>", "<mss 536,sackOK>", "<mss 1000,TS 1 0>"];
const SETTABLE: [OptName; 10] = [
    OptName::NoDelay,
    OptName::Cork,
    OptName::QuickAck,
    OptName::KeepAlive,
    OptName::KeepIdle,
    OptName::UserTimeout,
    OptName::RecvBuffer,
    OptName::SendBuffer,
    OptName::RecvLowWater,
    OptName::OobInline,
];

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let family = if input.below(2) == 0 { Family::V4 } else { Family::V6 };
    let state = STATES[usize::from(input.below(11))];
    let options = OPTIONS[usize::from(input.below(4))];
    let (mut d, seq, ack) =
        Drill::in_state_with(On::Stack(family), state, options, &[Knob::KernelOnly("", "")]);
    // Where an honest peer would go on: the subject's own words tell.
    let mut peer = Peer { seq, ack, ts: 3 };
    let mut steps = 0;
    while !input.is_empty() && steps < 64 {
        steps += 1;
        peer.step(&mut d, &mut input);
        peer.listen(&mut d);
    }
});

struct Peer {
    seq: u32,
    ack: u32,
    ts: u32,
}

impl Peer {
    fn step(&mut self, d: &mut Drill, input: &mut Input) {
        match input.below(16) {
            0..=7 => self.segment(d, input),
            8 => self.complain(d, input),
            9 => d.wait(u64::from(input.word())),
            10 => d.wait(u64::from(input.below(250))),
            other => self.call(d, input, other),
        }
    }

    fn segment(&mut self, d: &mut Drill, input: &mut Input) {
        let flags = match input.below(8) {
            0 | 1 => 0x10,
            2 | 3 => 0x18,
            4 => 0x11,
            5 => 0x02,
            6 => 0x04,
            _ => input.byte(),
        };
        let len = match input.below(4) {
            0 => 0,
            1 => usize::from(input.byte()),
            2 => 1000,
            _ => usize::from(input.word() % 1461),
        };
        let seq = self.seq.wrapping_add(input.offset());
        let ack = self.ack.wrapping_add(input.offset());
        let mut segment = Segment {
            seq,
            ack,
            flags,
            wnd: if input.below(4) == 0 { input.word() } else { 20_000 },
            urg: if flags & 0x20 != 0 { input.word() } else { 0 },
            tos: input.below(4),
            payload: vec![0x5a; len],
            ..Segment::default()
        };
        self.options(&mut segment, input);
        d.inject_segment(segment);
    }

    fn options(&mut self, segment: &mut Segment, input: &mut Input) {
        let which = input.byte();
        if which & 1 != 0 {
            self.ts = self.ts.wrapping_add(input.offset());
            segment.options.push(TcpOption::Timestamps(self.ts, input.offset()));
        }
        if which & 2 != 0 {
            let blocks = (0..1 + input.below(3)).map(|_| {
                let left = self.ack.wrapping_add(input.offset());
                (left, left.wrapping_add(input.offset()))
            });
            segment.options.push(TcpOption::Sack(blocks.collect()));
        } else if which & 4 != 0 {
            segment.options.push(TcpOption::Mss(input.word()));
            segment.options.push(TcpOption::WindowScale(input.byte()));
        } else if which & 8 != 0 {
            segment.options.push(TcpOption::FastOpen(input.take(16).to_vec()));
        } else if which & 16 != 0 {
            segment.options.push(TcpOption::Raw(input.take(20).to_vec()));
        }
    }

    fn complain(&mut self, d: &mut Drill, input: &mut Input) {
        let what = match input.below(6) {
            0 => Complaint::Network,
            1 => Complaint::Host,
            2 => Complaint::Port,
            3 => Complaint::Protocol,
            4 => Complaint::Expired,
            _ => Complaint::TooBig(u32::from(input.word())),
        };
        let seq = self.ack.wrapping_add(input.offset());
        d.complain_about_segment(what, &Segment { seq, flags: 0x10, ..Segment::default() });
    }

    fn call(&mut self, d: &mut Drill, input: &mut Input, which: u8) {
        let n = input.word();
        if !d.has_socket() {
            _ = d.take();
            return;
        }
        match which {
            11 => {
                _ = d.write_with(
                    1,
                    n.into(),
                    SendFlags { more: n & 1 != 0, oob: n & 6 == 6, ..SendFlags::default() },
                )
            }
            12 => {
                _ = d.recv_with(
                    n.into(),
                    RecvFlags { peek: n & 3 == 3, oob: n & 12 == 12, ..RecvFlags::default() },
                )
            }
            13 => _ = d.shutdown_with([How::Read, How::Write, How::Both][usize::from(n % 3)]),
            14 if n % 4 == 0 => d.abort(),
            14 if n % 4 == 1 => d.close(),
            _ => {
                let name = SETTABLE[usize::from(n) % SETTABLE.len()];
                _ = d.try_set(name, stack::socket::Value::Int(i32::from(input.word())));
            }
        }
    }

    /// What the subject sent tells what it expects.
    fn listen(&mut self, d: &mut Drill) {
        for segment in d.sent() {
            let (_, to) = d.range(&segment);
            self.ack = to.wrapping_add(u32::from(segment.has(0x03)));
            if segment.has(0x10) {
                self.seq = d.acknowledged(&segment);
            }
        }
    }
}
