//! Path MTU discovery without ICMP: RFC 8899 and RFC 4821.

use stack::socket::{OptName, Value};

use super::drills;
use crate::segment::Segment;
use crate::{Complaint, Drill, Family, Knob, On, State};

drills![
    a_black_hole_is_found_by_time_outs,
    what_is_short_already_is_not_cut,
    nothing_is_cut_unless_it_is_set,
    a_path_is_searched_from_the_base_on,
    a_probe_that_is_lost_costs_no_window,
    out_of_a_black_hole_the_path_is_searched,
    a_router_that_answers_a_probe_is_believed,
    what_has_to_be_searched_needs_more_to_send,
];

/// Sizes closer than this are one (Linux: tcp_probe_threshold).
const STEP: u32 = 8;

/// A path that takes packets of so many bytes.
struct Path {
    /// Its router says so; or says nothing.
    tells: bool,
    mtu: u32,
    headers: u32,
    /// Octets that arrived in order.
    arrived: u32,
    /// What arrived above a hole, in order.
    above: Vec<(u32, u32)>,
    written: u32,
    /// The longest packet that it took.
    longest: u32,
    dropped: Vec<Segment>,
}

impl Path {
    fn new(on: On, mtu: u32) -> Self {
        let headers = u32::from(on.ip_header()) + 20;
        Self {
            tells: false,
            mtu,
            headers,
            arrived: 0,
            above: vec![],
            written: 0,
            longest: 0,
            dropped: vec![],
        }
    }

    /// So many times 10 ms of a stream that never runs dry; each segment is acknowledged as it comes.
    fn carry(&mut self, d: &mut Drill, rounds: u32) {
        for _ in 0..rounds {
            while self.written - self.arrived < 40_000 {
                let Ok(n) = d.write(self.written + 1, 8_000) else { break };
                self.written += n as u32;
            }
            d.wait(10);
            for segment in d.sent() {
                self.take(d, segment);
            }
        }
    }

    fn take(&mut self, d: &mut Drill, segment: Segment) {
        let packet = segment.len() + self.headers;
        if packet > self.mtu {
            if self.tells {
                let mut quoted = segment.clone();
                (quoted.seq, quoted.ack) = (d.range(&segment).0, 1);
                d.complain_about_segment(Complaint::TooBig(self.mtu), &quoted);
            }
            return self.dropped.push(segment);
        }
        self.longest = self.longest.max(packet);
        self.above.push(d.range(&segment));
        self.above.sort_unstable();
        self.above.retain(|&(from, to)| {
            let next = from <= self.arrived + 1;
            self.arrived = if next { self.arrived.max(to - 1) } else { self.arrived };
            !next
        });
        let sack = match (self.above.first(), self.above.last()) {
            (Some(first), Some(last)) => format!("<sack {}:{}>", first.0, last.1),
            _ => String::new(),
        };
        d.inject(&format!(". 1:1(0) ack {} win 20000 {sack}", self.arrived + 1));
    }
}

fn with(on: On, mode: u8) -> Drill {
    let mut d = Drill::with(on, &[Knob::MtuProbing(mode)]);
    d.accept(&format!("<mss {}>", 1480 - on.ip_header()));
    d
}

/// RFC 4821 §7.7, RFC 8899 §4.3
fn a_black_hole_is_found_by_time_outs(on: On) {
    let mut d = with(on, 1);
    let full = u32::from(1480 - on.ip_header());
    d.write(1, full).unwrap();
    assert_eq!(d.expect("P. ack 1").len(), full);
    d.at(2500);
    assert!(d.sent().iter().all(|s| s.len() == full));
    d.at(9000);
    let safe = if on.family() == Family::V4 { 1024 } else { 1220 };
    let first = d.sent().last().expect("a retransmission").len();
    assert!(first <= safe, "{first} octets");
    // It comes through: the rest follows.
    d.inject(&format!(". 1:1(0) ack {}", first + 1));
    assert!(d.sent().iter().all(|s| s.len() <= safe));
    assert_eq!(d.state(), State::Established);
}

/// RFC 4821 §7.7: what a smaller MTU would not change is no sign of a black hole.
fn what_is_short_already_is_not_cut(on: On) {
    let mut d = with(on, 1);
    let full = u32::from(1480 - on.ip_header());
    d.write(1, 100).unwrap();
    d.expect("P. 1:101(100)");
    d.at(4000);
    assert!(d.sent().iter().all(|s| s.len() == 100));
    d.inject(". 1:1(0) ack 101");
    d.write(101, full).unwrap();
    assert_eq!(d.expect("P.").len(), full);
}

/// Linux's default: tcp_mtu_probing = 0
fn nothing_is_cut_unless_it_is_set(on: On) {
    let mut d = with(on, 0);
    let full = u32::from(1480 - on.ip_header());
    d.write(1, full).unwrap();
    d.expect("P. ack 1");
    d.at(4000);
    assert!(d.sent().iter().all(|s| s.len() == full));
}

/// A connection whose window nothing but a loss takes, for packets of up to 1500 bytes.
fn searching(on: On, mode: u8) -> Drill {
    let mut d = Drill::with(on, &[Knob::MtuProbing(mode)]);
    // Linux begins with the base when it connects, and with full segments when it is connected to.
    d.connect().expect_err("a handshake under way");
    d.expect("S 0:0(0)");
    d.inject(&format!("S. 0:0(0) ack 1 win 20000 <mss {},sackOK>", 1480 - on.ip_header()));
    d.expect(". 1:1(0) ack 1");
    let mut reno = [0; 16];
    reno[..4].copy_from_slice(b"reno");
    d.try_set(OptName::Congestion, Value::Name(reno)).expect("TCP_CONGESTION");
    d
}

/// RFC 8899 §5.2 (BASE, SEARCH), §5.3; RFC 4821 §7.3; Linux: tcp_mtu_probing = 2
fn a_path_is_searched_from_the_base_on(on: On) {
    let mut d = searching(on, 2);
    let mut path = Path::new(on, 1500);
    path.written = d.write(1, 5000).unwrap() as u32;
    // Linux counts the timestamps that the peer has not agreed to.
    let base = if on.family() == Family::V4 { 1036 } else { 1220 };
    let sent = d.sent();
    assert!(sent.iter().all(|segment| segment.len() <= base), "{d}");
    sent.into_iter().for_each(|segment| path.take(&mut d, segment));
    path.carry(&mut d, 60);
    assert!(path.longest + STEP > 1500, "{} bytes\n{d}", path.longest);
    assert_eq!(d.info().total_retrans, 0);
    // It is the path's: what follows has that length.
    path.longest = 0;
    path.carry(&mut d, 3);
    assert!(path.longest + STEP > 1500, "{} bytes", path.longest);
}

/// RFC 8899 §3, 7, §4.3; RFC 4821 §7.6: the loss of a probe is not congestion
fn a_probe_that_is_lost_costs_no_window(on: On) {
    let mut d = searching(on, 2);
    let mut path = Path::new(on, 1350);
    path.carry(&mut d, 100);
    assert!(!path.dropped.is_empty());
    assert!(path.longest <= 1350 && path.longest + STEP > 1350, "{} bytes {:?}\n{d}", path.longest, d.info());
    let info = d.info();
    assert!(info.total_retrans as usize >= path.dropped.len(), "{info:?}");
    assert_eq!(info.snd_ssthresh, i32::MAX as u32, "{d}");
    assert_eq!(d.state(), State::Established);
}

/// RFC 8899 §4.3, §5.2: the search begins below the black hole
fn out_of_a_black_hole_the_path_is_searched(on: On) {
    let mut d = searching(on, 1);
    let mut path = Path::new(on, 1350);
    // 200, 400, 800 and 1600 ms.
    path.carry(&mut d, 350);
    assert!(path.arrived > 0, "nothing arrived");
    path.carry(&mut d, 400);
    assert!(path.longest <= 1350 && path.longest + STEP > 1350, "{} bytes {:?}\n{d}", path.longest, d.info());
}

/// RFC 8899 §4.6.2: PL_PTB_SIZE between what is known and what was tried
fn a_router_that_answers_a_probe_is_believed(on: On) {
    let mut d = searching(on, 2);
    let mut path = Path { tells: true, ..Path::new(on, 1300) };
    path.carry(&mut d, 60);
    // Linux finds some of it out by itself over IPv6.
    assert!((1..=4).contains(&path.dropped.len()), "{d}");
    assert!(path.longest + STEP > 1300, "{} bytes", path.longest);
    assert_eq!(d.info().snd_ssthresh, i32::MAX as u32, "{d}");
}

/// RFC 4821 §7.4: a probe alone would need a time-out to be found lost
fn what_has_to_be_searched_needs_more_to_send(on: On) {
    let mut d = searching(on, 2);
    for n in 0..30 {
        let from = n * 2000 + 1;
        d.write(from, 2000).unwrap();
        d.wait(2);
        let sent = d.sent();
        assert!(sent.iter().all(|segment| segment.len() <= 1220), "{d}");
        d.inject(&format!(". 1:1(0) ack {}", from + 2000));
    }
}
