//! How fast the network delivers (draft-cheng-iccrg-delivery-rate-estimation): each segment is stamped, when it is
//! sent, with what had been delivered by then; when it is delivered itself, the difference over the time between
//! is a rate. Kept only by connections that use it: by those under BBR, and those that were asked for TCP_INFO.

use core::time::Duration;

use super::pacing::Pacer;
use crate::seq::Seq;
use crate::time::Instant;

/// What a segment carries from its sending to its delivery. Times in microseconds, wrapping: no segment is under
/// way for an hour. Octets wrap too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Stamp {
    delivered: u32,
    delivered_at: u32,
    first_sent_at: u32,
    sent_at: u32,
    lost: u32,
    /// Octets in flight, this segment's included.
    in_flight: u32,
    app_limited: bool,
}

#[cfg(test)]
impl Stamp {
    /// Octets that were lost when it was sent.
    pub(super) fn lost(&self) -> u32 {
        self.lost
    }

    /// When the segment was sent, seen from `now`.
    pub(super) fn sent_at(&self, now: Instant) -> Instant {
        now - Duration::from_micros(micros(now).wrapping_sub(self.sent_at).into())
    }
}

/// What an ACK tells of the rate. Octets, octets a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Delivered over the sample's time; zero: the sample is none.
    pub rate: u64,
    /// Delivered between the newest delivered segment's sending and now.
    pub delivered: u32,
    /// What had been delivered when it was sent.
    pub prior_delivered: u32,
    /// Lost in the same time.
    pub lost: u32,
    /// In flight when it was sent.
    pub tx_in_flight: u32,
    /// The application sent too little while it was in flight: the rate says nothing of the network.
    pub app_limited: bool,
    /// Delivered by this ACK.
    pub newly_acked: u32,
    /// Found to be lost with this ACK.
    pub newly_lost: u32,
}

/// What an ACK brought.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    /// The stamp of the newest of the delivered segments, with its sequence number.
    pub(super) newest: Option<(Stamp, Seq)>,
    /// Octets that it delivered.
    pub(super) acked: u32,
    /// Octets that it showed to be lost.
    pub(super) lost: u32,
    /// The least round trip known.
    pub(super) min_rtt: Duration,
}

/// What a connection has that measures or paces.
#[derive(Clone, Debug)]
pub(super) struct Meter {
    pub(super) rate: Rate,
    pub(super) pacer: Pacer,
}

/// Delivery, measured.
#[derive(Clone, Debug)]
pub(super) struct Rate {
    delivered: u32,
    delivered_at: u32,
    first_sent_at: u32,
    lost: u32,
    /// Samples are app-limited until so much is delivered.
    app_limited: Option<u32>,
    /// Segments before this one were sent before the meter was there.
    from: Option<Seq>,
    /// The last good sample, for TCP_INFO.
    last: (u64, bool),
}

fn micros(now: Instant) -> u32 {
    (now.as_nanos() / 1000) as u32
}

impl Rate {
    /// A meter for what is sent from `nxt` on.
    pub(super) fn new(nxt: Seq, now: Instant) -> Self {
        Self {
            delivered: 0,
            delivered_at: micros(now),
            first_sent_at: micros(now),
            lost: 0,
            app_limited: None,
            from: Some(nxt),
            last: (0, false),
        }
    }

    /// A segment of `len` octets goes out while `in_flight` octets are under way.
    pub(super) fn on_sent(&mut self, in_flight: u32, len: u32, now: Instant) -> Stamp {
        let now = micros(now);
        if in_flight == 0 {
            self.first_sent_at = now;
            self.delivered_at = now;
        }
        Stamp {
            delivered: self.delivered,
            delivered_at: self.delivered_at,
            first_sent_at: self.first_sent_at,
            sent_at: now,
            lost: self.lost,
            in_flight: in_flight.saturating_add(len),
            app_limited: self.app_limited.is_some(),
        }
    }

    /// An ACK came: the sample it gives.
    pub(super) fn on_ack(&mut self, arrival: &Arrival, now: Instant) -> Sample {
        let Arrival { newest, acked, lost, min_rtt } = *arrival;
        self.lost = self.lost.wrapping_add(lost);
        let mut sample = Sample { newly_acked: acked, newly_lost: lost, ..Sample::default() };
        if acked > 0 {
            self.delivered = self.delivered.wrapping_add(acked);
            self.delivered_at = micros(now);
        }
        if self.app_limited.is_some_and(|until| (self.delivered.wrapping_sub(until) as i32) > 0) {
            self.app_limited = None;
        }
        let Some((stamp, seq)) = newest.filter(|_| acked > 0) else { return sample };
        if self.from.is_some_and(|from| seq.before(from)) {
            return sample;
        }
        self.from = None;
        let send_elapsed = stamp.sent_at.wrapping_sub(stamp.first_sent_at);
        let ack_elapsed = self.delivered_at.wrapping_sub(stamp.delivered_at);
        self.first_sent_at = stamp.sent_at;
        sample.prior_delivered = stamp.delivered;
        sample.delivered = self.delivered.wrapping_sub(stamp.delivered);
        sample.lost = self.lost.wrapping_sub(stamp.lost);
        sample.tx_in_flight = stamp.in_flight;
        sample.app_limited = stamp.app_limited;
        // The slower of the two: ACKs may come compressed, sending may be bursty.
        let interval = send_elapsed.max(ack_elapsed);
        if interval > 0 && Duration::from_micros(interval.into()) >= min_rtt {
            sample.rate = u64::from(sample.delivered) * 1_000_000 / u64::from(interval);
            if !sample.app_limited || sample.rate >= self.last.0 {
                self.last = (sample.rate, sample.app_limited);
            }
        }
        sample
    }

    /// Octets that the timer, not an ACK, holds to be lost.
    pub(super) fn on_loss(&mut self, octets: u32) {
        self.lost = self.lost.wrapping_add(octets);
    }

    /// The application has left room unused, with `in_flight` octets under way.
    pub(super) fn on_app_limited(&mut self, in_flight: u32) {
        self.app_limited = Some(self.delivered.wrapping_add(in_flight.max(1)));
    }

    /// Whether samples now would be app-limited.
    pub(super) fn is_app_limited(&self) -> bool {
        self.app_limited.is_some()
    }

    /// Octets delivered in all, wrapping.
    pub(super) fn delivered(&self) -> u32 {
        self.delivered
    }

    /// The last rate, in octets a second, and whether it was app-limited.
    pub(super) fn last(&self) -> (u64, bool) {
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(us: u64) -> Instant {
        Instant::from_nanos(us * 1000)
    }

    fn arrival(stamp: Stamp, seq: u32, acked: u32) -> Arrival {
        Arrival { newest: Some((stamp, Seq(seq))), acked, lost: 0, min_rtt: Duration::ZERO }
    }

    /// draft-cheng-iccrg-delivery-rate-estimation §3.3: the longer of the sending and the acknowledging time.
    #[test]
    fn the_rate_is_what_was_delivered_over_the_longer_of_both_times() {
        let mut rate = Rate::new(Seq(0), at(0));
        // Ten segments, one a millisecond; each comes back after 20 ms.
        let stamps: Vec<Stamp> =
            (0..10).map(|n| rate.on_sent(n * 1000, 1000, at(u64::from(n) * 1000))).collect();
        assert_eq!(stamps[9].in_flight, 10_000);
        let mut last = Sample::default();
        for (n, stamp) in stamps.into_iter().enumerate() {
            last = rate.on_ack(&arrival(stamp, n as u32 * 1000, 1000), at(20_000 + n as u64 * 1000));
        }
        // 10,000 octets in the 29 ms since the first was sent.
        assert_eq!((last.delivered, last.rate), (10_000, 10_000 * 1000 / 29));
        // In steady state the rate is that of the sending.
        let mut flying = std::collections::VecDeque::new();
        for ms in 30..130 {
            flying.push_back(rate.on_sent(20_000, 1000, at(ms * 1000)));
            if flying.len() > 20 {
                let stamp = flying.pop_front().unwrap();
                last = rate.on_ack(&arrival(stamp, ms as u32 * 1000, 1000), at(ms * 1000));
            }
        }
        assert_eq!(last.rate, 1_000_000, "{last:?}");
        assert_eq!(rate.last(), (last.rate, false));
    }

    #[test]
    fn compressed_acks_do_not_look_like_speed() {
        let mut rate = Rate::new(Seq(0), at(0));
        let stamps: Vec<Stamp> =
            (0..10).map(|n| rate.on_sent(n * 1000, 1000, at(u64::from(n) * 1000))).collect();
        // All acknowledged at once, 1 ms after the last was sent.
        let sample = rate.on_ack(&arrival(stamps[9], 9000, 10_000), at(10_000));
        assert_eq!(sample.rate, 10_000 * 1000 / 10);
    }

    #[test]
    fn a_time_shorter_than_the_round_trip_is_no_sample() {
        let mut rate = Rate::new(Seq(0), at(0));
        let stamp = rate.on_sent(0, 1000, at(0));
        let mut early = arrival(stamp, 0, 1000);
        early.min_rtt = Duration::from_micros(500);
        assert_eq!(rate.on_ack(&early, at(499)).rate, 0);
    }

    #[test]
    fn what_the_application_did_not_send_is_marked_until_it_is_delivered() {
        let mut rate = Rate::new(Seq(0), at(0));
        let first = rate.on_sent(0, 1000, at(0));
        rate.on_app_limited(1000);
        let second = rate.on_sent(1000, 1000, at(1000));
        assert!(!first.app_limited && second.app_limited);
        assert!(!rate.on_ack(&arrival(first, 0, 1000), at(10_000)).app_limited);
        assert!(rate.is_app_limited());
        assert!(rate.on_ack(&arrival(second, 1000, 1000), at(11_000)).app_limited);
        assert!(!rate.is_app_limited());
    }

    #[test]
    fn what_was_sent_before_the_meter_was_there_is_no_sample() {
        let mut rate = Rate::new(Seq(5000), at(0));
        assert_eq!(rate.on_ack(&arrival(Stamp::default(), 4000, 1000), at(10)).rate, 0);
        assert_eq!(rate.delivered(), 1000);
    }

    #[test]
    fn losses_are_counted_from_the_sending_of_the_delivered_one() {
        let mut rate = Rate::new(Seq(0), at(0));
        rate.on_loss(500);
        let stamp = rate.on_sent(9000, 1000, at(0));
        let mut lossy = arrival(stamp, 0, 1000);
        lossy.lost = 2000;
        let sample = rate.on_ack(&lossy, at(10));
        assert_eq!((sample.lost, sample.newly_lost, sample.tx_in_flight), (2000, 2000, 10_000));
    }
}
