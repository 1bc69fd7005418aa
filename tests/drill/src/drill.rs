//! One connection, drilled: the peer's segments go in, ours are expected.

mod calls;
mod states;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use stack::error::SocketError;
use stack::socket::{OptName, Value};

use crate::kernel::OnKernel;
use crate::notation::{Bases, Text};
use crate::on_stack::OnStack;
use crate::packet::{self, Complaint, Ends};
use crate::segment::{SYN, Segment, TcpOption};
use crate::subject::{Answer, Fd, Knob, State, Subject};

/// The peer's first sequence number: the stream crosses the wrap early.
const IRS: u32 = u32::MAX - 700;
/// The subject's port.
const LOCAL_PORT: u16 = 80;
/// The peer's port.
const REMOTE_PORT: u16 = 40000;

/// The version of IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The subject's address.
    #[must_use]
    pub fn local(self) -> IpAddr {
        match self {
            Family::V4 => Ipv4Addr::new(192, 0, 2, 1).into(),
            Family::V6 => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(),
        }
    }

    /// The peer's address.
    #[must_use]
    pub fn remote(self) -> IpAddr {
        match self {
            Family::V4 => Ipv4Addr::new(192, 0, 2, 2).into(),
            Family::V6 => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2).into(),
        }
    }

    /// The network that both are in.
    #[must_use]
    pub fn network(self) -> IpAddr {
        match self {
            Family::V4 => Ipv4Addr::new(192, 0, 2, 0).into(),
            Family::V6 => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0).into(),
        }
    }
}

/// The TCP that a drill is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum On {
    /// Ours, in virtual time.
    Stack(Family),
    /// Linux's, in real time: in the network namespace that the thread is in.
    Kernel(Family),
}

impl On {
    /// The version of IP.
    #[must_use]
    pub fn family(self) -> Family {
        match self {
            On::Stack(family) | On::Kernel(family) => family,
        }
    }

    /// Octets of the IP header: what an MTU leaves is 20 octets of TCP less than that.
    #[must_use]
    pub fn ip_header(self) -> u16 {
        if self.family() == Family::V4 { 20 } else { 40 }
    }
}

/// A connection under drill.
pub struct Drill {
    subject: Box<dyn Subject>,
    on: On,
    local: SocketAddr,
    remote: SocketAddr,
    /// The subject's first sequence number, once seen.
    iss: Option<u32>,
    /// The latest timestamp that it sent.
    last_ts: u32,
    last_sent: Vec<u8>,
    listener: Option<Fd>,
    /// It has been told to connect.
    opens: bool,
    socket: Option<Fd>,
    trail: Vec<String>,
}

impl Drill {
    /// A subject with a socket that does nothing yet.
    #[must_use]
    pub fn new(on: On) -> Self {
        Self::with(on, &[])
    }

    /// As [`Drill::new`], with things set about the whole subject.
    ///
    /// # Panics
    /// When the subject cannot be made.
    #[must_use]
    pub fn with(on: On, knobs: &[Knob]) -> Self {
        let (subject, number): (Box<dyn Subject>, u16) = match on {
            On::Stack(family) => (Box::new(OnStack::new(family, knobs)), 0),
            On::Kernel(family) => {
                let kernel = OnKernel::new(family, knobs);
                let number = kernel.number();
                (Box::new(kernel), number)
            }
        };
        let family = on.family();
        let mut drill = Self {
            subject,
            on,
            // Each drill of a namespace has ports of its own: the kernel remembers earlier ones.
            local: SocketAddr::new(family.local(), LOCAL_PORT + number),
            remote: SocketAddr::new(family.remote(), REMOTE_PORT),
            iss: None,
            last_ts: 0,
            last_sent: Vec::new(),
            listener: None,
            opens: false,
            socket: None,
            trail: Vec::new(),
        };
        let fd = drill.subject.socket().expect("a socket");
        let any =
            if family == Family::V4 { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let address = if knobs.contains(&Knob::AnyAddress) { any } else { family.local() };
        drill.subject.bind(fd, SocketAddr::new(address, drill.local.port())).expect("a local address");
        drill.socket = Some(fd);
        drill
    }

    /// A connection accepted by a listener: MSS 1000, no options, window 20,000.
    #[must_use]
    pub fn established(on: On) -> Self {
        Self::accepted(on, "<mss 1000>")
    }

    /// As [`Drill::established`], the peer's SYN with these options.
    #[must_use]
    pub fn accepted(on: On, options: &str) -> Self {
        let mut d = Self::new(on);
        d.accept(options);
        d
    }

    /// As [`Drill::accepted`], by a peer that is so many milliseconds away.
    ///
    /// # Panics
    /// When the handshake goes otherwise.
    #[must_use]
    pub fn accepted_far(on: On, options: &str, ms: u64) -> Self {
        let mut d = Self::listening(on);
        d.inject(&format!("S 0:0(0) win 20000 {options}"));
        d.expect("S. 0:0(0) ack 1");
        d.wait(ms);
        let ts = if options.contains("TS") { "<TS 2 last>" } else { "" };
        d.inject(&format!(". 1:1(0) ack 1 win 20000 {ts}"));
        assert_eq!(d.take(), Ok(()), "{d}");
        d
    }

    /// A socket that listens.
    #[must_use]
    pub fn listening(on: On) -> Self {
        let mut d = Self::new(on);
        d.listen();
        d
    }

    /// A handshake that the peer begins, with these options in its SYN, up to accept(2).
    pub fn accept(&mut self, options: &str) {
        self.accept_window(options, 20_000);
    }

    /// As [`Drill::accept`], and the peer offers this window.
    ///
    /// # Panics
    /// When the handshake goes otherwise.
    pub fn accept_window(&mut self, options: &str, win: u16) {
        self.inject(&format!("S 0:0(0) win {win} {options}"));
        self.expect("S. 0:0(0) ack 1");
        let ts = if options.contains("TS") { "<TS 2 last>" } else { "" };
        self.inject(&format!(". 1:1(0) ack 1 win {win} {ts}"));
        assert_eq!(self.state(), State::Established, "{self}");
        self.silent();
        self.wakes();
    }

    /// The socket listens.
    pub fn listen(&mut self) {
        let fd = self.socket.take().expect("a socket");
        self.subject.listen(fd, 16).expect("a listener");
        self.listener = Some(fd);
    }

    /// Begins to connect to the peer.
    pub fn connect(&mut self) -> Answer<()> {
        let (fd, remote) = (self.fd(), self.remote);
        self.note("connect");
        self.opens = true;
        self.subject.connect(fd, remote)
    }

    /// Begins to connect to the peer's port at another address.
    pub fn connect_to(&mut self, address: IpAddr) -> Answer<()> {
        let (fd, port) = (self.fd(), self.remote.port());
        self.opens = true;
        self.subject.connect(fd, SocketAddr::new(address, port))
    }

    /// sendto(2) with MSG_FASTOPEN: connects to the peer and sends the first `n` octets of the stream.
    pub fn write_opening(&mut self, n: u32) -> Answer<usize> {
        let bytes: Vec<u8> = (1..1 + n).map(pattern).collect();
        self.opens = true;
        let (fd, remote) = (self.fd(), self.remote);
        self.note(&format!("sendto {n}, MSG_FASTOPEN"));
        self.subject.send_opening(fd, remote, &bytes)
    }

    /// Another socket takes the place of the one that calls are for, bound to the same address and port.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn another(&mut self) {
        let fd = self.subject.socket().expect("a socket");
        self.subject.set(fd, OptName::ReuseAddr, Value::Int(1)).expect("SO_REUSEADDR");
        self.subject.bind(fd, self.local).expect("the local address");
        self.socket = Some(fd);
    }

    /// accept(2): the connection that the listener has.
    pub fn take(&mut self) -> Answer<()> {
        let listener = self.listener.ok_or(SocketError::BadSocket)?;
        self.note("accept");
        self.socket = Some(self.subject.accept(listener)?);
        Ok(())
    }

    /// The socket that calls are for: the one that connects, or the one that can be accepted by now.
    fn fd(&mut self) -> Fd {
        if self.socket.is_none() && self.listener.is_some() {
            let taken = self.take();
            assert!(taken.is_ok(), "accept: {taken:?}\n{self}");
        }
        self.socket.unwrap_or_else(|| panic!("a socket\n{self}"))
    }

    /// The maximum segment size that an MTU of 1500 allows.
    #[must_use]
    pub fn mss(&self) -> u16 {
        1500 - 20 - self.on.ip_header()
    }

    /// Which TCP it is for.
    #[must_use]
    pub fn on(&self) -> On {
        self.on
    }

    /// A segment from the peer. A socket that has not been told to connect listens.
    pub fn inject(&mut self, text: &str) {
        if self.listener.is_none() && !self.opens {
            self.listen();
        }
        let ends = self.ends().reversed();
        self.inject_between(ends, text, |_| ());
    }

    /// As [`Drill::inject`], with something done to the packet when its checksums were complete already.
    pub fn inject_spoilt(&mut self, text: &str, spoil: impl FnOnce(&mut Vec<u8>)) {
        let ends = self.ends().reversed();
        self.inject_between(ends, text, spoil);
    }

    /// As [`Drill::inject`], between other addresses.
    pub fn inject_addressed(&mut self, from: IpAddr, to: IpAddr, text: &str) {
        let from = SocketAddr::new(from, self.remote.port());
        let to = SocketAddr::new(to, self.local.port());
        self.inject_between(Ends { from, to }, text, |_| ());
    }

    fn inject_between(&mut self, ends: Ends, text: &str, spoil: impl FnOnce(&mut Vec<u8>)) {
        self.note(&format!("< {text}"));
        let bases = Bases { seq: IRS, ack: self.iss() };
        let (mut segment, from, len) = Text::parse(text).segment(bases, self.last_ts);
        segment.src_port = ends.from.port();
        segment.dst_port = ends.to.port();
        // The text of a SYN begins one after its number.
        let first = from.wrapping_add(u32::from(segment.has(SYN)));
        segment.payload = (0..len).map(|n| pattern(first.wrapping_add(n))).collect();
        let mut packet = packet::wrap(ends, &segment);
        spoil(&mut packet);
        self.subject.inject(&packet);
    }

    /// A segment from the peer whose numbers are relative to the first of each side, SACK blocks included.
    pub fn inject_segment(&mut self, mut segment: Segment) {
        let ends = self.ends().reversed();
        self.rebase(&mut segment, ends, IRS, self.iss());
        let text = Text::of(&segment, Bases { seq: IRS, ack: self.iss() });
        self.note(&format!("< {text}"));
        let packet = packet::wrap(ends, &segment);
        self.subject.inject(&packet);
    }

    fn rebase(&self, segment: &mut Segment, ends: Ends, seq: u32, ack: u32) {
        (segment.src_port, segment.dst_port) = (ends.from.port(), ends.to.port());
        segment.seq = segment.seq.wrapping_add(seq);
        segment.ack = segment.ack.wrapping_add(ack);
        for option in &mut segment.options {
            if let TcpOption::Sack(blocks) = option {
                blocks.iter_mut().for_each(|b| *b = (b.0.wrapping_add(ack), b.1.wrapping_add(ack)));
            }
        }
    }

    /// An ICMP error about a segment that might have been sent, its numbers relative.
    pub fn complain_about_segment(&mut self, complaint: Complaint, segment: &Segment) {
        let (ends, mut segment) = (self.ends(), segment.clone());
        self.rebase(&mut segment, ends, self.iss(), IRS);
        let quoted = packet::wrap(ends, &segment);
        self.complain_of(complaint, &quoted);
    }

    /// What a segment acknowledges, relative to the peer's first number.
    #[must_use]
    pub fn acknowledged(&self, segment: &Segment) -> u32 {
        segment.ack.wrapping_sub(IRS)
    }

    /// Whether calls have a socket: one that connects, or was accepted.
    #[must_use]
    pub fn has_socket(&self) -> bool {
        self.socket.is_some()
    }

    /// An ICMP error from the peer's address about the segment that was sent last.
    pub fn complain(&mut self, complaint: Complaint) {
        let quoted = self.last_sent.clone();
        self.complain_of(complaint, &quoted);
    }

    /// An ICMP error about a segment that might have been sent, in the notation.
    pub fn complain_about(&mut self, complaint: Complaint, text: &str) {
        let bases = Bases { seq: self.iss(), ack: IRS };
        let (mut segment, ..) = Text::parse(text).segment(bases, 0);
        (segment.src_port, segment.dst_port) = (self.local.port(), self.remote.port());
        let quoted = packet::wrap(self.ends(), &segment);
        self.complain_of(complaint, &quoted);
    }

    fn complain_of(&mut self, complaint: Complaint, quoted: &[u8]) {
        self.note(&format!("< {complaint:?}"));
        let packet = packet::complain(self.ends().reversed(), complaint, quoted);
        self.subject.inject(&packet);
    }

    fn iss(&self) -> u32 {
        self.iss.unwrap_or(0)
    }

    fn ends(&self) -> Ends {
        Ends { from: self.local, to: self.remote }
    }

    /// The next segment that was sent must be this.
    ///
    /// # Panics
    /// When it is not.
    #[track_caller]
    pub fn expect(&mut self, text: &str) -> Segment {
        let Some((packet, segment)) = self.next(true) else {
            panic!("{text:?} expected, nothing sent\n{self}");
        };
        let (want, got) = (Text::parse(text), self.text_of(&segment));
        assert!(want.matches(&got), "expected {want}\n     got {got}\n{self}");
        let from = segment.seq.wrapping_sub(self.iss()).wrapping_add(u32::from(segment.has(SYN)));
        let right = |(n, &byte): (usize, &u8)| byte == pattern(from.wrapping_add(n as u32));
        assert!(
            segment.payload.iter().enumerate().all(right),
            "the text of {got} is not the stream's\n{self}"
        );
        self.last_sent = packet;
        segment
    }

    /// The next segment that was sent must be one of these.
    ///
    /// # Panics
    /// When it is none of them.
    #[track_caller]
    pub fn expect_one_of(&mut self, texts: &[&str]) -> Segment {
        let Some((packet, segment)) = self.next(true) else {
            panic!("one of {texts:?} expected, nothing sent\n{self}");
        };
        let got = self.text_of(&segment);
        assert!(
            texts.iter().any(|t| Text::parse(t).matches(&got)),
            "expected one of {texts:?}\n     got {got}\n{self}"
        );
        self.last_sent = packet;
        segment
    }

    /// The place of a segment's first octet in the stream, and the place after its last.
    #[must_use]
    pub fn range(&self, segment: &Segment) -> (u32, u32) {
        let from = segment.seq.wrapping_sub(self.iss()).wrapping_add(u32::from(segment.has(SYN)));
        (from, from.wrapping_add(segment.len()))
    }

    /// All of these, in this order, and no more.
    #[track_caller]
    pub fn expect_all(&mut self, texts: &[&str]) {
        for text in texts {
            self.expect(text);
        }
        self.silent();
    }

    /// Nothing more was sent.
    ///
    /// # Panics
    /// When something was.
    #[track_caller]
    pub fn silent(&mut self) {
        if let Some((_, segment)) = self.next(false) {
            panic!("unexpected: {}\n{self}", self.text_of(&segment));
        }
    }

    /// Everything that was sent by now, whatever it is.
    pub fn sent(&mut self) -> Vec<Segment> {
        let mut all = Vec::new();
        while let Some((packet, segment)) = self.next(false) {
            self.last_sent = packet;
            all.push(segment);
        }
        all
    }

    fn next(&mut self, wait: bool) -> Option<(Vec<u8>, Segment)> {
        loop {
            let packet = if wait { self.subject.next_sent() } else { self.subject.sent_by_now() }?;
            let Some((ends, segment)) = packet::unwrap(&packet) else { continue };
            if ends != self.ends() {
                continue;
            }
            if segment.has(SYN) {
                self.iss = Some(segment.seq);
            }
            if let Some((val, _)) = segment.ts() {
                self.last_ts = val;
            }
            let text = self.text_of(&segment);
            self.note(&format!("> {text}"));
            return Some((packet, segment));
        }
    }

    fn text_of(&self, segment: &Segment) -> Text {
        Text::of(segment, Bases { seq: self.iss(), ack: IRS })
    }

    /// The time moves on to `ms` after the beginning; timers run.
    pub fn at(&mut self, ms: u64) {
        self.subject.run_to(Duration::from_millis(ms));
        self.note("wait");
    }

    /// The time moves on by `ms`.
    pub fn wait(&mut self, ms: u64) {
        let at = self.subject.elapsed() + Duration::from_millis(ms);
        self.subject.run_to(at);
        self.note("wait");
    }

    /// Milliseconds since the beginning.
    #[must_use]
    pub fn elapsed_ms(&self) -> u64 {
        self.subject.elapsed().as_millis() as u64
    }

    fn note(&mut self, text: &str) {
        let ms = self.subject.elapsed().as_secs_f64() * 1e3;
        self.trail.push(format!("{ms:10.3} {text}"));
    }
}

impl fmt::Display for Drill {
    /// What has happened so far.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:?}, so far (milliseconds):", self.on)?;
        self.trail.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

impl Drop for Drill {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.subject.finish();
        }
    }
}

/// Octet number `n` of every stream.
#[must_use]
pub fn pattern(n: u32) -> u8 {
    (n.wrapping_mul(2_654_435_761) >> 24) as u8
}
