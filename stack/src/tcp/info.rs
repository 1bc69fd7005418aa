//! What can be told of a connection (TCP_INFO, `ringroad stat`).

use core::time::Duration;

use super::cc::Told;
use super::recovery::Phase;
use super::state::State;
use super::tally::Limit;
use super::tcb::Tcb;
use crate::journal::Traffic;
use crate::time::Instant;

/// A snapshot of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Info {
    /// The state.
    pub state: State,
    /// Smoothed round-trip time; none before the first measurement.
    pub srtt: Option<Duration>,
    /// Its mean deviation.
    pub rttvar: Duration,
    /// The retransmission time-out as it stands.
    pub rto: Duration,
    /// Congestion window, in octets.
    pub cwnd: u32,
    /// Slow-start threshold, in octets.
    pub ssthresh: u32,
    /// Octets of payload in a full segment that we send.
    pub snd_mss: u32,
    /// The largest payload seen from the peer, in octets.
    pub rcv_mss: u32,
    /// Segments sent again, in all.
    pub retransmits: u32,
    /// Time-outs in a row without an answer.
    pub backoff: u8,
    /// Octets that the application has not read.
    pub recv_queue: u32,
    /// Octets that the peer has not acknowledged.
    pub send_queue: u32,
    /// Octets in flight.
    pub in_flight: u32,
    /// The peer's window, in octets.
    pub snd_wnd: u32,
    /// Our window, in octets.
    pub rcv_wnd: u32,
    /// The window-scale shifts (sent, received) of RFC 7323; none when not agreed.
    pub window_scale: Option<(u8, u8)>,
    /// Timestamps are agreed.
    pub timestamps: bool,
    /// SACK is agreed.
    pub sack: bool,
    /// ECN is agreed (RFC 3168).
    pub ecn: bool,
    /// The peer has sent an ECN-capable packet.
    pub ecn_seen: bool,
    /// The shortest round trip of the last minutes; zero: none yet.
    pub min_rtt: Duration,
    /// Segments sent and not acknowledged (tcpi_unacked).
    pub segments_in_flight: u32,
    /// Those of them that are SACKed (tcpi_sacked).
    pub segments_sacked: u32,
    /// Those held to be lost (tcpi_lost).
    pub segments_lost: u32,
    /// Those of the lost that are in flight again (tcpi_retrans).
    pub segments_resent: u32,
    /// The path has been seen to reorder.
    pub reordering_seen: bool,
    /// The data of our SYN was acknowledged with it (RFC 7413).
    pub syn_data: bool,
    /// Octets a second at which segments leave when they are paced; what Linux would pace at when they are not.
    pub pacing_rate: u64,
    /// SO_MAX_PACING_RATE, in octets a second; `u64::MAX` when none was set.
    pub max_pacing_rate: u64,
    /// The last measured rate of delivery, in octets a second. Zero until it is measured: under BBR from the
    /// beginning, otherwise from the first `measure` on.
    pub delivery_rate: u64,
    /// That rate was the application's doing.
    pub app_limited: bool,
    /// What BBR tells of itself, if it is in charge.
    pub bbr: Option<Told>,
}

/// What only TCP_INFO tells: counts since the connection began, and those of `Ledger` since
/// it was kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Linux's `tcp_ca_state`: open, disorder, (CWR), recovery, loss.
    pub ca_state: u8,
    /// Window or keepalive probes without an answer.
    pub probes: u8,
    /// Segments in flight that the peer has, above a hole.
    pub sacked: u32,
    /// Segments held to be lost.
    pub lost: u32,
    /// Copies in flight.
    pub retrans: u32,
    /// Segments that were sent and not acknowledged.
    pub unacked: u32,
    /// Time since data was sent last.
    pub since_sent: Duration,
    /// Time since something was received last.
    pub since_heard: Duration,
    /// The round trip as the receive buffer measures it.
    pub rcv_rtt: Duration,
    /// Octets that the application read in the busiest round trip.
    pub rcv_space: u32,
    /// The widest window to be offered.
    pub window_clamp: u32,
    /// The shortest round trip of late.
    pub min_rtt: Option<Duration>,
    /// Sequence numbers of ours that were acknowledged.
    pub bytes_acked: u64,
    /// Sequence numbers of the peer's that arrived in order.
    pub bytes_received: u64,
    /// Octets sent, copies included.
    pub bytes_sent: u64,
    /// Octets sent again.
    pub bytes_retrans: u64,
    /// Octets not sent yet.
    pub unsent: u32,
    /// Segments sent and received, and those with data.
    pub segs_out: u32,
    /// See `segs_out`.
    pub segs_in: u32,
    /// See `segs_out`.
    pub data_segs_out: u32,
    /// See `segs_out`.
    pub data_segs_in: u32,
    /// Segments that are known to have arrived.
    pub delivered: u32,
    /// Microseconds with something to send: in all, held by the peer's window, held by our buffer.
    pub times: [u64; 3],
    /// Segments that arrived out of order.
    pub out_of_order: u32,
    /// Duplicates that the peer reported.
    pub duplicates: u32,
    /// Times when segments overtook others.
    pub reorderings: u32,
    /// Of the delivered, those with which congestion was reported.
    pub delivered_ce: u32,
    /// Time-outs, and how many of them were the first in a row.
    pub timeouts: (u16, u16),
    /// Milliseconds that these cost.
    pub timed_out: u32,
}

impl Tcb {
    /// What is due next by itself, and when.
    pub fn due(&self) -> Option<(&'static str, Instant)> {
        self.timers.first(self.awaits)
    }

    /// What the connection carried so far. Our answer to a peer's SYN was before its time: what of it was sent again is not
    /// known any more.
    pub fn traffic(&self) -> Traffic {
        let tally = &self.tally;
        let acked = tally.bytes_acked(self.snd.iss.0, self.snd.una.0);
        let octets = acked.wrapping_add(self.snd.outstanding().into());
        // SYN and FIN take a number each (RFC 9293 §3.4).
        let numbers = 1 + u64::from(self.snd.fin_sent);
        let answered = u32::from(self.role.passive && !self.role.fast_open);
        Traffic {
            bytes_in: self.numbers_received().saturating_sub(self.rcv.finished.into()),
            bytes_out: octets.saturating_sub(numbers),
            packets_in: tally.segs_in,
            packets_out: tally.segs_out.wrapping_add(answered),
            retransmits: self.counts.retransmits,
        }
    }

    /// Sequence numbers of the peer's that arrived in order, its SYN's not counted. (Before that came RCV.NXT is one past
    /// IRS as well.)
    fn numbers_received(&self) -> u64 {
        self.tally.bytes_received((self.rcv.irs + 1).0, self.rcv.nxt.0)
    }

    /// The smoothed round-trip time, once one was measured.
    pub fn srtt(&self) -> Option<Duration> {
        self.rto.srtt()
    }

    /// What TCP_INFO tells besides [`info`](Tcb::info).
    pub fn account(&self, now: Instant) -> Account {
        let (sent, tally) = (&self.sent, &self.tally);
        let first = self.snd.iss.0.wrapping_add(u32::from(self.role.passive));
        let bytes_acked = tally.bytes_acked(first, self.snd.una.0);
        let retrans = u64::from(tally.retrans);
        let ledger = self.buffers.as_ref().map(|b| b.ledger).unwrap_or_default();
        let copies = self.counts.retransmits;
        let answered = u32::from(self.snd.una != self.snd.iss);
        let data_acked = tally.bytes_acked(self.snd.iss.0.wrapping_add(1), self.snd.una.0);
        let outstanding = u64::from(self.snd.outstanding()).wrapping_sub(self.snd.fin_sent.into());
        Account {
            ca_state: match self.recovery.phase {
                Phase::Open => u8::from(sent.sacked.segments > 0),
                Phase::Cwr => 2,
                Phase::Fast => 3,
                Phase::Loss => 4,
            },
            probes: self.counts.probes.max(self.counts.keepalives),
            sacked: sent.sacked.segments,
            lost: sent.lost.segments,
            retrans: sent.resent.segments,
            unacked: sent.segments + u32::from(self.snd.fin_sent && !self.fin_acked()),
            since_sent: now.since(self.snd.sent_at),
            since_heard: now.since(self.rcv.heard_at),
            rcv_rtt: self.buffers.as_ref().map_or(Duration::ZERO, |b| b.round_trip()),
            rcv_space: self.buffers.as_ref().map_or(0, |b| b.recv / 2),
            window_clamp: self.window_clamp(),
            min_rtt: self.rto.srtt().map(|_| self.rack.min_rtt.get()),
            bytes_acked,
            bytes_received: self.numbers_received(),
            // Of a SYN and a FIN Linux counts the acknowledgement, not the sending.
            bytes_sent: data_acked.wrapping_add(outstanding).wrapping_add(retrans),
            bytes_retrans: retrans,
            unsent: self.unsent(),
            segs_out: tally.segs_out,
            segs_in: tally.segs_in,
            data_segs_out: tally.data_segs_out,
            data_segs_in: tally.data_segs_in,
            delivered: (tally.data_segs_out + answered + sent.sacked.segments)
                .saturating_sub(copies + sent.segments),
            times: ledger.times(now),
            out_of_order: ledger.out_of_order,
            duplicates: ledger.duplicates,
            reorderings: tally.reorderings.into(),
            delivered_ce: ledger.delivered_ce,
            timeouts: (tally.timeouts, tally.stalls),
            timed_out: tally.millis_timed_out(now),
        }
    }

    /// Keeps account of what few ask for from now on, if it is not kept yet.
    pub fn keep_account(&mut self) {
        self.buffers.get_or_insert_default();
    }

    /// Books the time since the last step on what held the connection.
    #[inline]
    pub(super) fn book(&mut self, now: Instant) {
        if self.buffers.is_some() {
            let limit = self.limit();
            if let Some(buffers) = &mut self.buffers {
                buffers.ledger.turn(limit, now);
            }
        }
    }

    fn limit(&self) -> Limit {
        let unsent = self.unsent();
        let usable = self.snd.wnd_end().since(self.snd.nxt);
        if unsent > 0 && usable < unsent.min(u32::from(self.snd.mss)) {
            Limit::Window
        } else if unsent == 0 && self.role.starved && self.snd.outstanding() > 0 {
            Limit::Buffer
        } else if unsent > 0 || self.snd.outstanding() > 0 {
            Limit::Busy
        } else {
            Limit::Idle
        }
    }
}
