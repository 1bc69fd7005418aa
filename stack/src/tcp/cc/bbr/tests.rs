//! The model and the states, against a path in a few lines: a rate, a delay, a queue.

use std::collections::VecDeque;

use super::*;
use crate::seq::Seq;
use crate::tcp::pacing::Pacer;
use crate::tcp::rate::{Arrival, Rate, Stamp};

const MSS: u32 = 1000;

/// A sender that always has data, over one bottleneck.
struct Path {
    bbr: Bbr,
    rate: Rate,
    pacer: Pacer,
    now: Instant,
    /// Octets a second.
    bandwidth: u64,
    delay: Duration,
    /// Octets that the queue takes.
    queue: u64,
    /// One in so many is lost on the way; 0: none.
    loss: u32,
    /// When the bottleneck is free.
    free: Instant,
    /// (acknowledged at, stamp, lost).
    flying: VecDeque<(Instant, Stamp, bool)>,
    in_flight: u32,
    sent: u32,
    delivered: u64,
    longest: Duration,
    /// Seconds waited, by how many segments.
    waited: (f64, u32),
    states: Vec<State>,
}

impl Path {
    fn new(bandwidth: u64, delay_ms: u64, queue: u64) -> Self {
        let now = Instant::from_millis(1000);
        Self {
            bbr: Bbr::new(MSS, initial_window(MSS), None, 7, now),
            rate: Rate::new(Seq(0), now),
            pacer: Pacer::default(),
            now,
            bandwidth,
            delay: Duration::from_millis(delay_ms),
            queue,
            loss: 0,
            free: now,
            flying: VecDeque::new(),
            in_flight: 0,
            sent: 0,
            delivered: 0,
            longest: Duration::ZERO,
            waited: (0.0, 0),
            states: vec![State::Startup],
        }
    }

    fn send(&mut self) {
        self.pacer.set_rate(self.bbr.pacing_rate());
        while self.in_flight + MSS <= self.bbr.cwnd() && self.pacer.allows(MSS, self.now) {
            let stamp = self.rate.on_sent(self.in_flight, MSS, self.now);
            self.pacer.on_sent(MSS, self.now);
            self.in_flight += MSS;
            self.sent += 1;
            let waits = self.free.max(self.now).since(self.now);
            let queued = (waits.as_secs_f64() * self.bandwidth as f64) as u64;
            let random = self.loss > 0 && self.sent.is_multiple_of(self.loss);
            if queued + u64::from(MSS) > self.queue || random {
                // Found out a round trip later, by what arrives behind it.
                self.flying.push_back((self.now + waits + self.delay, stamp, true));
                continue;
            }
            self.longest = self.longest.max(waits);
            self.waited = (self.waited.0 + waits.as_secs_f64(), self.waited.1 + 1);
            self.free = self.free.max(self.now)
                + Duration::from_nanos(1_000_000_000 * u64::from(MSS) / self.bandwidth);
            self.flying.push_back((self.free + self.delay, stamp, false));
        }
    }

    fn acks(&mut self) {
        while self.flying.front().is_some_and(|f| f.0 <= self.now) {
            let Some((_, stamp, lost)) = self.flying.pop_front() else { break };
            self.in_flight -= MSS;
            let (acked, lost) = if lost { (0, MSS) } else { (MSS, 0) };
            self.delivered += u64::from(acked);
            let arrival = Arrival {
                newest: (acked > 0).then_some((stamp, Seq(0))),
                acked,
                lost,
                min_rtt: self.bbr.min_rtt(),
            };
            let sample = self.rate.on_ack(&arrival, self.now);
            let cwnd_limited = self.in_flight + 2 * MSS > self.bbr.cwnd();
            let rtt = (acked > 0).then(|| self.now.since(stamp.sent_at(self.now)));
            self.bbr.on_ack(&Delivery {
                sample,
                delivered: self.rate.delivered(),
                in_flight: self.in_flight,
                cwnd_limited,
                rtt,
                now: self.now,
            });
            if self.bbr.is_holding_back() {
                self.rate.on_app_limited(self.in_flight);
            }
            if *self.states.last().unwrap() != self.bbr.state {
                self.states.push(self.bbr.state);
            }
        }
    }

    /// Lets `ms` milliseconds pass; octets delivered in them.
    fn run(&mut self, ms: u64) -> u64 {
        let (end, before) = (self.now + Duration::from_millis(ms), self.delivered);
        (self.longest, self.waited) = (Duration::ZERO, (0.0, 0));
        while self.now < end {
            self.acks();
            self.send();
            let ack = self.flying.front().map_or(end, |f| f.0);
            let pace = if self.pacer.timer > self.now { self.pacer.timer } else { end };
            self.now = ack.min(pace).min(end).max(self.now + Duration::from_nanos(1));
        }
        self.delivered - before
    }
}

/// draft-ietf-ccwg-bbr §5.3.1, §5.3.2: STARTUP finds the bandwidth in some round trips, DRAIN empties the queue.
#[test]
fn startup_finds_the_bandwidth_and_drain_the_empty_path() {
    let mut path = Path::new(1_250_000, 40, 1 << 30);
    path.run(1_500);
    let bw = path.bbr.bw();
    assert!((1_150_000..1_350_000).contains(&bw), "{bw}");
    assert_eq!(path.states[..2], [State::Startup, State::Drain]);
    assert!(path.states[2].is_in_probe_bw());
    assert_eq!(path.bbr.min_rtt.get().unwrap().as_millis(), 40);
}

/// draft-ietf-ccwg-bbr §5.3.3: the bandwidth is used, and the queue is small however deep it could be.
#[test]
fn the_bandwidth_is_used_and_the_queue_stays_small() {
    let mut path = Path::new(1_250_000, 40, 1 << 30);
    path.run(2_000);
    let delivered = path.run(20_000);
    assert!(delivered > 20 * 1_250_000 * 93 / 100, "{delivered}");
    // A probe goes on for three round trips at a quarter more, and then the queue is emptied.
    assert!(path.longest < Duration::from_millis(60), "{:?}", path.longest);
    let mean = path.waited.0 / f64::from(path.waited.1);
    assert!(mean < 0.008, "{mean} s");
    for state in [State::Cruise, State::Refill, State::Up, State::Down, State::ProbeRtt] {
        assert!(path.states.contains(&state), "{state:?} in {:?}", path.states);
    }
}

/// draft-ietf-ccwg-bbr §5.3.4.3: PROBE_RTT comes after five seconds without a shorter round trip, and lasts 200 ms.
#[test]
fn the_round_trip_is_looked_for() {
    let mut path = Path::new(1_250_000, 40, 1 << 30);
    let mut seen = 0;
    for _ in 0..120 {
        path.run(100);
        if path.bbr.state == State::ProbeRtt {
            seen += 1;
        }
    }
    // Every five seconds, some 200 ms and a round trip each time.
    assert!((4..=9).contains(&seen), "{seen} tenths of 12 s");
}

/// draft-ietf-ccwg-bbr §2.4: random loss under two in a hundred does not slow it down.
#[test]
fn one_in_a_hundred_lost_is_no_congestion() {
    let mut path = Path::new(1_250_000, 40, 1 << 30);
    path.loss = 101;
    path.run(2_000);
    let delivered = path.run(20_000);
    assert!(delivered > 20 * 1_250_000 * 80 / 100, "{delivered}");
}

/// draft-ietf-ccwg-bbr §5.5.10: a shallow queue is found out, and what is in flight bounded.
#[test]
fn a_shallow_queue_bounds_what_is_in_flight() {
    let mut path = Path::new(1_250_000, 40, 10_000);
    path.run(5_000);
    assert!(path.bbr.bounds.inflight_hi < 100_000, "{}", path.bbr.bounds.inflight_hi);
    let sent = path.sent;
    let delivered = path.run(20_000);
    let lost = u64::from(path.sent - sent) * 1000 - delivered.min(u64::from(path.sent - sent) * 1000);
    assert!(delivered > 20 * 1_250_000 * 80 / 100, "{delivered}");
    assert!(lost * 100 < delivered * 3, "{lost} of {delivered} lost");
}

#[test]
fn more_bandwidth_is_found_and_less_is_obeyed() {
    let mut path = Path::new(1_250_000, 40, 1 << 30);
    path.run(5_000);
    path.bandwidth = 2_500_000;
    path.run(10_000);
    let bw = path.bbr.bw();
    assert!(bw > 2_200_000, "{bw}");
    path.bandwidth = 625_000;
    path.run(25_000);
    let bw = path.bbr.bw();
    assert!(bw < 800_000, "{bw}");
}

#[test]
fn a_recovery_conserves_packets_and_gives_the_window_back() {
    let mut path = Path::new(1_250_000, 40, 1 << 30);
    path.run(3_000);
    let before = path.bbr.cwnd();
    path.bbr.on_congestion();
    assert!(path.bbr.cwnd() <= path.in_flight.max(4 * MSS) + MSS);
    path.bbr.on_recovery_exit();
    assert_eq!(path.bbr.cwnd(), before);
    path.bbr.on_timeout();
    assert_eq!(path.bbr.cwnd(), MSS);
    path.bbr.undo();
    assert_eq!(path.bbr.cwnd(), before);
}

mod properties {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Event {
        Ack { acked: u32, lost: u32, since: u32, tx_in_flight: u32, rate: u64, us: u64, facts: u8 },
        Congestion,
        Echo,
        Timeout,
        Exit,
        Undo,
        Restart,
        Mss(u32),
    }

    fn event() -> impl Strategy<Value = Event> {
        let number = || prop_oneof![3 => 0..200_000u32, 1 => any::<u32>()];
        let ack = (number(), number(), number(), number(), any::<u64>(), 0..20_000_000u64, any::<u8>())
            .prop_map(|(acked, lost, since, tx_in_flight, rate, us, facts)| Event::Ack {
                acked,
                lost: if facts & 8 == 0 { 0 } else { lost },
                since,
                tx_in_flight,
                rate: if facts & 16 == 0 { rate % 10_000_000 } else { rate },
                us,
                facts,
            });
        prop_oneof![
            12 => ack,
            1 => Just(Event::Congestion),
            1 => Just(Event::Echo),
            1 => Just(Event::Timeout),
            1 => Just(Event::Exit),
            1 => Just(Event::Undo),
            1 => Just(Event::Restart),
            1 => (1..65_000u32).prop_map(Event::Mss),
        ]
    }

    proptest! {
        /// Whatever the network makes an ACK say, the window keeps its floor (RFC 5681 §3.1: a segment, after a
        /// time-out) and its bound, there is a pace, and nothing overflows.
        #[test]
        fn no_delivery_breaks_the_window(events in proptest::collection::vec(event(), 1..400)) {
            let mut now = Instant::from_millis(1000);
            let mut bbr = Bbr::new(MSS, initial_window(MSS), None, 3, now);
            let (mut delivered, mut mss) = (0u32, MSS);
            for event in events {
                match event {
                    Event::Ack { acked, lost, since, tx_in_flight, rate, us, facts } => {
                        now += Duration::from_micros(us);
                        let prior_delivered = delivered;
                        delivered = delivered.wrapping_add(acked);
                        let sample = Sample {
                            rate,
                            delivered: since,
                            prior_delivered,
                            lost,
                            tx_in_flight,
                            app_limited: facts & 1 != 0,
                            newly_acked: acked,
                            newly_lost: lost,
                        };
                        bbr.on_ack(&Delivery {
                            sample,
                            delivered,
                            in_flight: tx_in_flight,
                            cwnd_limited: facts & 2 != 0,
                            rtt: (facts & 4 != 0).then(|| Duration::from_micros(us)),
                            now,
                        });
                        prop_assert!(bbr.cwnd() >= MIN_PIPE * mss);
                    }
                    Event::Congestion => bbr.on_congestion(),
                    Event::Echo => bbr.on_echo(),
                    Event::Timeout => {
                        bbr.on_timeout();
                        prop_assert_eq!(bbr.cwnd(), mss);
                    }
                    Event::Exit => bbr.on_recovery_exit(),
                    Event::Undo => bbr.undo(),
                    Event::Restart => bbr.on_restart(now),
                    Event::Mss(n) => {
                        mss = n;
                        bbr.set_mss(n);
                    }
                }
                prop_assert!(bbr.cwnd() >= mss && bbr.cwnd() <= MAX_WINDOW, "{}", bbr.cwnd());
                prop_assert!(bbr.pacing_rate() > 0);
                let _ = bbr.told();
            }
        }
    }
}
