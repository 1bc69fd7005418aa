//! Tail loss probes: when the last segments of a flight are lost there is nothing behind them that could tell. A
//! probe makes the peer talk long before the retransmission timer would (RFC 8985 §7).

use core::time::Duration;

use crate::seq::Seq;
use crate::time::micros;
use crate::wire::tcp::SackBlock;

/// The time-out before a round trip was measured.
const INITIAL: Duration = Duration::from_secs(1);
/// On top of two round trips: what a timer may be late (Linux: TCP_TIMEOUT_MIN).
const GRAIN: Duration = Duration::from_millis(2);

/// TLP.*
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tlp {
    /// TLP.end_seq: SND.NXT when the probe was sent.
    end_seq: Seq,
    is_out: bool,
    /// TLP.is_retrans: it was a retransmission.
    is_retrans: bool,
}

/// What became of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Not known yet, or there is none.
    Open,
    /// It was not needed, or a recovery will deal with it.
    Harmless,
    /// It repaired a loss: congestion control has to hear of it.
    Repaired,
}

/// TLP_calc_PTO in microseconds, without its bound by the RTO: `segments` are in flight. One alone may meet a delayed ACK, which
/// takes up to `max_ack_delay` microseconds.
#[inline]
pub(super) fn pto(srtt: Option<u32>, segments: u32, max_ack_delay: u32) -> u32 {
    let Some(srtt) = srtt else { return const { micros(INITIAL) } };
    srtt.saturating_mul(2).saturating_add(if segments <= 1 { max_ack_delay } else { const { micros(GRAIN) } })
}

impl Tlp {
    /// Whether a probe is out: there is one in a flight at the most.
    #[inline]
    pub(super) fn is_out(&self) -> bool {
        self.is_out
    }

    /// A copy was sent as a probe and nothing is known of it.
    pub(super) fn has_copy_out(&self) -> bool {
        self.is_out() && self.is_retrans
    }

    /// A probe was sent (§7.3, TLP_send_probe).
    pub(super) fn begin(&mut self, nxt: Seq, is_retrans: bool) {
        *self = Self { end_seq: nxt, is_out: true, is_retrans };
    }

    /// A recovery begins: it has more to go by.
    pub(super) fn end(&mut self) {
        self.is_out = false;
    }

    /// Whether `dsack` reports the probe as a duplicate: the original had arrived.
    pub(super) fn is_probe(&self, dsack: SackBlock) -> bool {
        self.has_copy_out() && self.end_seq == dsack.right
    }

    /// TLP_process_ack (§7.4.2). `dup`: the ACK tells nothing at all, neither of data nor of the window.
    pub(super) fn on_ack(&mut self, ack: Seq, dsack: Option<SackBlock>, dup: bool) -> Outcome {
        if !self.is_out || ack.before(self.end_seq) {
            return Outcome::Open;
        }
        let outcome = if !self.is_retrans || dsack.is_some_and(|block| self.is_probe(block)) {
            Outcome::Harmless
        } else if ack.after(self.end_seq) {
            Outcome::Repaired
        } else if dup {
            // Two ACKs for the same octets: both the original and the probe arrived.
            Outcome::Harmless
        } else {
            return Outcome::Open;
        };
        self.is_out = false;
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(is_retrans: bool) -> Tlp {
        let mut tlp = Tlp::default();
        tlp.begin(Seq(5000), is_retrans);
        tlp
    }

    fn block(left: u32, right: u32) -> Option<SackBlock> {
        Some(SackBlock { left: Seq(left), right: Seq(right) })
    }

    /// RFC 8985 §7.2.
    #[test]
    fn the_time_out_is_two_round_trips_and_waits_for_a_delayed_ack() {
        assert_eq!(pto(None, 5, 200_000), 1_000_000);
        assert_eq!(pto(Some(30_000), 2, 200_000), 62_000);
        assert_eq!(pto(Some(30_000), 1, 200_000), 260_000);
    }

    /// RFC 8985 §7.4.2.
    #[test]
    fn new_data_as_a_probe_tells_by_itself() {
        let mut tlp = probe(false);
        assert_eq!(tlp.on_ack(Seq(4999), None, false), Outcome::Open);
        assert_eq!(tlp.on_ack(Seq(5000), None, false), Outcome::Harmless);
        assert!(!tlp.is_out() && !tlp.has_copy_out());
        assert_eq!(tlp.on_ack(Seq(6000), None, false), Outcome::Open);
    }

    /// RFC 8985 §7.4.2: D-SACK, or a second ACK, says that both arrived.
    #[test]
    fn a_copy_that_was_not_needed() {
        let mut tlp = probe(true);
        assert!(tlp.has_copy_out());
        assert_eq!(tlp.on_ack(Seq(5000), None, false), Outcome::Open);
        assert_eq!(tlp.on_ack(Seq(5000), block(4000, 5000), false), Outcome::Harmless);
        let mut tlp = probe(true);
        assert_eq!(tlp.on_ack(Seq(5000), None, true), Outcome::Harmless);
        assert!(!tlp.is_out());
        let mut tlp = probe(true);
        assert_eq!(tlp.on_ack(Seq(4000), None, true), Outcome::Open);
    }

    /// RFC 8985 §7.4.2: the flight was acknowledged, and nothing came twice.
    #[test]
    fn a_copy_that_repaired_a_loss() {
        let mut tlp = probe(true);
        assert_eq!(tlp.on_ack(Seq(5000), None, false), Outcome::Open);
        assert_eq!(tlp.on_ack(Seq(5001), block(3000, 4000), false), Outcome::Repaired);
        assert!(!tlp.is_out());
    }
}
