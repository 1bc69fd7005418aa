//! Proportional rate reduction: how much is sent during a recovery (RFC 9937, RFC 6937), in octets.

/// The state of RFC 9937 §6.1.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Prr {
    /// prr_delivered.
    delivered: u32,
    /// prr_out.
    out: u32,
    /// RecoverFS.
    recover_fs: u32,
    cwnd: u32,
}

/// What an ACK means to the rate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ack {
    /// Octets that arrived: DeliveredData.
    pub(super) delivered: u32,
    /// Octets that are left in flight.
    pub(super) in_flight: u32,
    /// SafeACK: SND.UNA moved on and no loss was found.
    pub(super) safe: bool,
    /// A hole is known that must not wait (RFC 6582 §3.2, step 3).
    pub(super) forced: bool,
}

impl Prr {
    /// A recovery begins, with `recover_fs` octets in flight before the ACK that told of the loss.
    pub(super) fn new(recover_fs: u32) -> Self {
        Self { recover_fs: recover_fs.max(1), ..Self::default() }
    }

    /// An ACK of the recovery: sets [`cwnd`](Self::cwnd).
    pub(super) fn on_ack(&mut self, ack: Ack, ssthresh: u32, mss: u32) {
        self.delivered = self.delivered.saturating_add(ack.delivered);
        let send = if ack.in_flight > ssthresh {
            // Proportional rate reduction: sends are to deliveries as ssthresh to the flight.
            let due = u64::from(self.delivered) * u64::from(ssthresh);
            let due = due.div_ceil(u64::from(self.recover_fs)).min(u64::from(u32::MAX)) as u32;
            due.saturating_sub(self.out)
        } else {
            // Conservative reduction bound: what arrived may be replaced. While all goes well, slow start
            // reduction bound: one more, to catch up.
            let bound = self.delivered.saturating_sub(self.out).max(ack.delivered);
            let bound = bound.saturating_add(if ack.safe { mss } else { 0 });
            bound.min(ssthresh - ack.in_flight)
        };
        // The first retransmission is never held back.
        let floor = if self.out == 0 || ack.forced { mss } else { 0 };
        self.cwnd = ack.in_flight.saturating_add(send.max(floor));
    }

    /// `len` octets were sent.
    #[inline]
    pub(super) fn on_sent(&mut self, len: u32) {
        self.out = self.out.saturating_add(len);
    }

    #[inline]
    pub(super) fn cwnd(&self) -> u32 {
        self.cwnd
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MSS: u32 = 1000;

    /// Sends what the window allows, in whole segments, and says how much that was.
    fn send(prr: &mut Prr, in_flight: u32) -> u32 {
        let mut sent = 0;
        while in_flight + sent + MSS <= prr.cwnd() {
            prr.on_sent(MSS);
            sent += MSS;
        }
        sent
    }

    fn ack(delivered: u32, in_flight: u32, safe: bool) -> Ack {
        Ack { delivered, in_flight, safe, forced: false }
    }

    /// RFC 9937 §6.2, the proportional part: 20 segments in flight, one lost, ssthresh 10: one segment out for two
    /// in.
    #[test]
    fn the_rate_is_reduced_in_proportion() {
        let mut prr = Prr::new(20_000);
        let (mut in_flight, mut sent) = (19_000, Vec::new());
        for n in 0..19 {
            in_flight -= if n == 0 { 0 } else { 1000 };
            prr.on_ack(ack(1000, in_flight, false), 10_000, MSS);
            let out = send(&mut prr, in_flight);
            in_flight += out;
            sent.push(out / MSS);
        }
        assert_eq!(sent, [1, 0, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 0, 1]);
        assert_eq!(in_flight, 10_000);
    }

    /// RFC 9937 §6.2: below ssthresh, without a safe ACK, packets are conserved.
    #[test]
    fn after_heavy_losses_no_more_is_sent_than_arrives() {
        let mut prr = Prr::new(20_000);
        prr.on_ack(ack(1000, 3000, false), 10_000, MSS);
        assert_eq!(send(&mut prr, 3000), 1000);
        prr.on_ack(ack(2000, 2000, false), 10_000, MSS);
        assert_eq!(send(&mut prr, 2000), 2000);
        // What was not used before is not forgotten: four came in, three went out, two more come in.
        prr.on_ack(ack(1000, 3000, false), 10_000, 5000);
        assert_eq!(prr.cwnd(), 4000);
        prr.on_ack(ack(1000, 2000, false), 10_000, MSS);
        assert_eq!(prr.cwnd(), 4000);
    }

    /// RFC 9937 §6.2: a safe ACK adds a segment, up to ssthresh.
    #[test]
    fn safe_acks_catch_up_to_ssthresh() {
        let mut prr = Prr::new(20_000);
        prr.on_ack(ack(1000, 3000, true), 10_000, MSS);
        assert_eq!(send(&mut prr, 3000), 2000);
        prr.on_ack(ack(1000, 4000, true), 10_000, MSS);
        assert_eq!(send(&mut prr, 4000), 2000);
        prr.on_ack(ack(3000, 9500, true), 10_000, MSS);
        assert_eq!(prr.cwnd(), 10_000, "no further than ssthresh");
        prr.on_ack(ack(1000, 10_000, true), 10_000, MSS);
        assert_eq!(prr.cwnd(), 10_000);
    }

    /// RFC 9937 §6.2: the first retransmission is never held back; nor is the next hole of NewReno.
    #[test]
    fn something_is_sent_first() {
        let mut prr = Prr::new(20_000);
        prr.on_ack(ack(0, 19_000, false), 2000, MSS);
        assert_eq!(send(&mut prr, 19_000), 1000);
        prr.on_ack(ack(0, 19_000, false), 2000, MSS);
        assert_eq!(send(&mut prr, 19_000), 0);
        prr.on_ack(Ack { forced: true, ..ack(0, 19_000, false) }, 2000, MSS);
        assert_eq!(send(&mut prr, 19_000), 1000);
    }

    #[test]
    fn absurd_numbers_do_no_harm() {
        let mut prr = Prr::new(0);
        for _ in 0..3 {
            prr.on_ack(ack(u32::MAX, u32::MAX, true), u32::MAX - 1, u32::MAX);
            prr.on_ack(ack(u32::MAX, 0, true), u32::MAX, u32::MAX);
            prr.on_sent(u32::MAX);
        }
        assert_eq!(prr.cwnd(), u32::MAX);
    }
}
