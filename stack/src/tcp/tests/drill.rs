//! packetdrill's notation against one connection: sequence numbers are relative to each side's first.
//!
//! ```text
//! S. 0:0(0) ack 1 win 65535 <mss 1460,sackOK,wscale 7>
//! P. 1:101(100) ack 1
//! ```
//!
//! What an expectation does not mention may be anything.

use crate::error::SocketError;
use crate::seq::Seq;
use crate::tcp::State;
use crate::time::Instant;
use crate::types::{Ecn, Readiness};
use crate::wire::tcp::{Flags, HEADER_MAX, Header, SackBlock, Segment, TimestampsOption};

use super::host::Host;

/// The peer's first sequence number: the stream crosses the wrap early.
const IRS: Seq = Seq(u32::MAX - 700);

pub(super) struct Drill {
    pub(super) host: Host,
    /// Our first sequence number, once seen.
    iss: Seq,
    begun: Instant,
}

/// A segment in the notation.
#[derive(Clone, Debug, Default, PartialEq)]
struct Text {
    flags: String,
    seq: Option<(u32, u32)>,
    ack: Option<u32>,
    win: Option<u16>,
    urg: Option<u16>,
    options: Option<Vec<String>>,
}

impl Text {
    fn parse(text: &str) -> Self {
        let (head, options) = match text.split_once('<') {
            Some((head, rest)) => (head, Some(rest.trim_end().trim_end_matches('>'))),
            None => (text, None),
        };
        let mut out = Text {
            options: options.map(|o| o.split(',').map(|s| s.trim().to_owned()).collect()),
            ..Text::default()
        };
        let mut words = head.split_whitespace();
        out.flags = words.next().expect("flags").to_owned();
        while let Some(word) = words.next() {
            match word {
                "ack" => out.ack = Some(number(words.next().expect("a number"))),
                "win" => out.win = Some(number(words.next().expect("a number")) as u16),
                "urg" => out.urg = Some(number(words.next().expect("a number")) as u16),
                range => {
                    let (from, rest) = range.split_once(':').expect("from:to(len)");
                    let (to, len) = rest.split_once('(').expect("from:to(len)");
                    let (from, to, len) = (number(from), number(to), number(len.trim_end_matches(')')));
                    assert_eq!(to.wrapping_sub(from), len, "{text}");
                    out.seq = Some((from, len));
                }
            }
        }
        out
    }
}

fn number(text: &str) -> u32 {
    text.parse::<i64>().unwrap_or_else(|_| panic!("a number, not {text:?}")) as u32
}

impl Drill {
    pub(super) fn new() -> Self {
        let host = Host::new(512, 80, 40000);
        Self { begun: host.now, host, iss: Seq(0) }
    }

    /// A connection accepted by a listener: MSS 1000, no options, window 20,000.
    pub(super) fn established() -> Self {
        Self::accepted("<mss 1000>")
    }

    /// As [`Drill::established`], the peer's SYN with these options.
    pub(super) fn accepted(options: &str) -> Self {
        let mut d = Self::new();
        d.accept(options);
        d
    }

    /// As [`Drill::accepted`], over a path with a round trip of 100 ms. The time counts from then on; the RTO is
    /// 300 ms.
    pub(super) fn on_a_path(options: &str) -> Self {
        let mut d = Self::new();
        d.accept_after(100, "S", options);
        d.begun = d.host.now;
        d
    }

    /// As [`Drill::on_a_path`], with ECN agreed.
    pub(super) fn with_ecn(options: &str) -> Self {
        let mut d = Self::new();
        d.accept_after(100, "SEW", options);
        assert!(d.host.tcb().info().ecn);
        d.begun = d.host.now;
        d
    }

    /// A segment from the peer, whose packet has this ECN field.
    pub(super) fn inject_marked(&mut self, ecn: Ecn, text: &str) {
        self.host.ecn = ecn;
        self.inject(text);
        self.host.ecn = Ecn::NotEct;
    }

    /// As [`Drill::on_a_path`], with `segments` of 1,000 octets sent at 0 ms.
    pub(super) fn in_flight(options: &str, segments: u32) -> Self {
        let mut d = Self::on_a_path(options);
        d.write(1, segments * 1000).unwrap();
        assert_eq!(d.host.wire.sent.len(), segments.min(10) as usize);
        d.host.wire.sent.clear();
        d
    }

    pub(super) fn accept(&mut self, options: &str) {
        self.accept_after(0, "S", options);
    }

    fn accept_after(&mut self, rtt: u64, syn: &str, options: &str) {
        self.inject(&format!("{syn} 0:0(0) win 20000 {options}"));
        self.expect(if syn == "SEW" { "S.E 0:0(0) ack 1" } else { "S. 0:0(0) ack 1" });
        self.at(rtt);
        let ts = if options.contains("TS") { "<TS 2 0>" } else { "" };
        self.inject(&format!(". 1:1(0) ack 1 win 20000 {ts}"));
        assert_eq!(self.state(), State::Established);
        self.host.with(|tcb, _| tcb.take_wakes());
        self.silent();
    }

    /// A segment from the peer.
    pub(super) fn inject(&mut self, text: &str) {
        let bytes = self.bytes(text);
        self.host.receive(&bytes);
    }

    fn bytes(&mut self, text: &str) -> Vec<u8> {
        let t = Text::parse(text);
        let mut flags = Flags::default();
        for letter in t.flags.chars() {
            flags = flags
                | match letter {
                    'S' => Flags::SYN,
                    'F' => Flags::FIN,
                    'R' => Flags::RST,
                    'P' => Flags::PSH,
                    'U' => Flags::URG,
                    '.' => Flags::ACK,
                    'E' => Flags::ECE,
                    'W' => Flags::CWR,
                    '-' => Flags::default(),
                    other => panic!("no flag {other:?}"),
                };
        }
        let (from, len) = t.seq.unwrap_or((0, 0));
        let mut header = Header {
            src_port: self.host.flow.remote.port(),
            dst_port: self.host.flow.local.port(),
            seq: IRS + from,
            ack: t.ack.map_or(Seq(0), |ack| self.iss + ack),
            flags,
            wnd: t.win.unwrap_or(20_000),
            urgent: t.urg.unwrap_or(0),
            ..Header::default()
        };
        for option in t.options.unwrap_or_default() {
            self.option(&option, &mut header);
        }
        let mut bytes = [0; HEADER_MAX];
        let header_len = header.emit(&mut bytes);
        let mut bytes = bytes[..header_len].to_vec();
        bytes.extend((0..len).map(|n| pattern(from.wrapping_add(n))));
        bytes
    }

    fn option(&self, text: &str, header: &mut Header) {
        let words: Vec<&str> = text.split_whitespace().collect();
        match words[..] {
            ["mss", n] => header.options.mss = Some(number(n) as u16),
            ["wscale", n] => header.options.window_scale = Some(number(n) as u8),
            ["sackOK"] => header.options.sack_permitted = true,
            ["TS", val, ecr] => {
                header.options.timestamps = Some(TimestampsOption { val: number(val), ecr: number(ecr) });
            }
            ["sack", ..] => {
                for range in &words[1..] {
                    let (left, right) = range.split_once(':').expect("left:right");
                    let (left, right) = (self.iss + number(left), self.iss + number(right));
                    header.options.sack.push(SackBlock { left, right });
                }
            }
            _ => panic!("no option {text:?}"),
        }
    }

    /// The next segment we sent must be this.
    pub(super) fn expect(&mut self, text: &str) -> Segment {
        let Some(bytes) = self.host.wire.sent.pop_front() else {
            panic!("{text:?} expected at {} ms, nothing sent", self.elapsed());
        };
        let seg = Segment::parse(&bytes).unwrap();
        if seg.flags.has(Flags::SYN) {
            self.iss = seg.seq;
        }
        let got = self.text_of(&seg);
        let want = Text::parse(text);
        let same = want.flags == got.flags
            && want.seq.is_none_or(|seq| Some(seq) == got.seq)
            && want.ack.is_none_or(|ack| Some(ack) == got.ack)
            && want.win.is_none_or(|win| Some(win) == got.win)
            && want.urg.is_none_or(|urg| Some(urg) == got.urg)
            && want.options.as_ref().is_none_or(|o| {
                let got = got.options.as_ref().unwrap();
                o.iter().all(|option| {
                    got.contains(option)
                        || (option == "nothing" && got.is_empty())
                        || (option == "TS" && got.iter().any(|g| g.starts_with("TS ")))
                })
            });
        assert!(same, "at {} ms\nexpected {want:?}\n     got {got:?}", self.elapsed());
        let payload = &bytes[usize::from(seg.header_len)..];
        let from = seg.seq - self.iss;
        assert!(
            payload.iter().enumerate().all(|(n, &b)| b == pattern(from.wrapping_add(n as u32))),
            "the payload of {got:?} is not the stream's"
        );
        seg
    }

    /// All of these, in this order, and no more.
    pub(super) fn expect_all(&mut self, texts: &[&str]) {
        for text in texts {
            self.expect(text);
        }
        self.silent();
    }

    fn text_of(&self, seg: &Segment) -> Text {
        let mut flags = String::new();
        for (bit, letter) in [
            (Flags::SYN, 'S'),
            (Flags::FIN, 'F'),
            (Flags::RST, 'R'),
            (Flags::PSH, 'P'),
            (Flags::ACK, '.'),
            (Flags::ECE, 'E'),
            (Flags::CWR, 'W'),
            (Flags::URG, 'U'),
        ] {
            if seg.flags.has(bit) {
                flags.push(letter);
            }
        }
        let o = &seg.options;
        let mut options = Vec::new();
        options.extend(o.mss.map(|mss| format!("mss {mss}")));
        options.extend(o.window_scale.map(|shift| format!("wscale {shift}")));
        options.extend(o.sack_permitted.then(|| "sackOK".to_owned()));
        options.extend(o.timestamps.map(|ts| format!("TS {} {}", ts.val, ts.ecr)));
        if !o.sack.is_empty() {
            let blocks = o.sack.as_slice().iter().map(|b| format!(" {}:{}", b.left - IRS, b.right - IRS));
            options.push(format!("sack{}", blocks.collect::<String>()));
        }
        Text {
            flags,
            seq: Some((seg.seq - self.iss, seg.len)),
            ack: seg.flags.has(Flags::ACK).then(|| seg.ack - IRS),
            win: Some(seg.wnd),
            urg: Some(seg.urgent),
            options: Some(options),
        }
    }

    /// The SACK blocks of a segment of ours.
    pub(super) fn blocks(&self, seg: &Segment) -> Vec<String> {
        seg.options.sack.as_slice().iter().map(|b| format!("{}:{}", b.left - IRS, b.right - IRS)).collect()
    }

    /// Nothing more was sent.
    pub(super) fn silent(&mut self) {
        if let Some(bytes) = self.host.wire.sent.front() {
            let seg = Segment::parse(bytes).unwrap();
            panic!("unexpected at {} ms: {:?}", self.elapsed(), self.text_of(&seg));
        }
    }

    /// The time moves on to `ms` after the beginning; timers run.
    pub(super) fn at(&mut self, ms: u64) {
        let now = self.begun + core::time::Duration::from_millis(ms);
        self.host.run_to(now);
    }

    fn elapsed(&self) -> u128 {
        self.host.now.since(self.begun).as_millis()
    }

    /// The application writes the next `n` octets of the stream, whose first is number `from`.
    pub(super) fn write(&mut self, from: u32, n: u32) -> Result<usize, SocketError> {
        let bytes: Vec<u8> = (from..from + n).map(pattern).collect();
        self.host.send(&bytes)
    }

    /// The application reads what there is: it must be the stream's octets `from` and on, `n` of them.
    pub(super) fn read(&mut self, from: u32, n: u32) {
        let got = self.host.recv(1 << 20).unwrap();
        let want: Vec<u8> = (from..from + n).map(pattern).collect();
        assert_eq!(got.len(), want.len());
        assert!(got == want, "the stream's octets {from}..{}", from + n);
    }

    pub(super) fn state(&self) -> State {
        self.host.tcb().state
    }

    pub(super) fn wakes(&mut self) -> Readiness {
        self.host.with(|tcb, _| tcb.take_wakes())
    }

    pub(super) fn close(&mut self) {
        self.host.with(crate::tcp::call::close);
    }

    pub(super) fn shutdown(&mut self) {
        self.host.with(crate::tcp::call::shutdown_send).unwrap();
    }
}

impl Drop for Drill {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.host.close_books();
        } else if let Some(mut tcb) = self.host.tcb.take() {
            tcb.release(&mut self.host.pool, &mut self.host.segs);
        }
    }
}

/// Octet number `n` of every stream.
pub(super) fn pattern(n: u32) -> u8 {
    (n.wrapping_mul(2_654_435_761) >> 24) as u8
}
