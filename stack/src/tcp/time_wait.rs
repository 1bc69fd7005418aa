//! TIME-WAIT without a `Tcb` (RFC 9293 §3.3.2, RFC 1337, RFC 6191).

use core::time::Duration;

use nic::Pool;

use super::env::Env;
use super::segs::SegTable;
use super::tcb::Tcb;
use crate::ip::{Egress, Flow, Outgoing, Payload};
use crate::plain::plain;
use crate::seq::Seq;
use crate::time::Instant;
use crate::types::Ecn;
use crate::wire::tcp::{CHECKSUM_AT, Flags, HEADER_MAX, Header, Options, Segment, TimestampsOption};

/// How far the first sequence number of a connection is above all that an earlier one used on the tuple, where
/// the clock would not say so (Linux: 65,535 + 2).
const ABOVE_THE_OLD: u32 = 65_537;
/// The clock of timestamps must have moved on so far before an active open may reuse a tuple (Linux:
/// tcp_tw_reuse_delay).
const REUSE_DELAY: Duration = Duration::from_secs(1);

/// What has to be remembered of a connection that is over. The offset of its timestamps is not: it is the flow's
/// (RFC 7323 §5.4).
#[derive(Clone, Copy, Debug, Default)]
pub struct TimeWait {
    deadline: Instant,
    snd_nxt: Seq,
    rcv_nxt: Seq,
    /// TS.Recent; none when timestamps were not agreed.
    ts_recent: Option<u32>,
    /// When TS.Recent was taken, in milliseconds of the clock.
    ts_recent_ms: u32,
    wnd_field: u16,
    shift: u8,
}

plain!(TimeWait { deadline, snd_nxt, rcv_nxt, ts_recent, ts_recent_ms, wnd_field, shift });

/// What became of a segment that arrived in TIME-WAIT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Dealt with.
    Stay,
    /// A new connection may take the tuple over (RFC 6191): forget the old one and give the segment to the
    /// listener, if there is one.
    Reuse,
}

/// What a new connection on the tuple must know of the old one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Predecessor {
    /// The first sequence number to use: above all that the old one used (RFC 9293 §3.4.3, MAY-1).
    pub iss: Seq,
}

impl TimeWait {
    /// The essence of a `Tcb` in TIME-WAIT.
    pub fn of(tcb: &Tcb) -> Self {
        let shift = tcb.rcv.shift;
        Self {
            deadline: tcb.timers.state,
            snd_nxt: tcb.snd.nxt,
            rcv_nxt: tcb.rcv.nxt,
            ts_recent: tcb.ts.on.then_some(tcb.ts.recent),
            // Not before TS.Recent was taken.
            ts_recent_ms: tcb.rcv.heard_at.as_millis() as u32,
            wnd_field: (tcb.rcv.wnd() >> shift).min(u32::from(u16::MAX)) as u16,
            shift,
        }
    }

    /// As [`TimeWait::of`]; the `Tcb` itself is closed.
    pub fn take_over(tcb: &mut Tcb, pool: &mut Pool, segs: &mut SegTable) -> Self {
        let rest = Self::of(tcb);
        tcb.end(None, pool, segs);
        rest
    }

    /// One that came as bytes from another stack, to be forgotten between these two moments; none when it makes no
    /// sense (RFC 7323 §2.3: a shift above 14).
    pub(crate) fn arrived(self, (earliest, latest): (Instant, Instant)) -> Option<Self> {
        (self.shift <= 14).then_some(Self { deadline: self.deadline.max(earliest).min(latest), ..self })
    }

    /// When it can be forgotten.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// For a new connection on the same tuple.
    pub fn predecessor(&self) -> Predecessor {
        Predecessor { iss: self.snd_nxt + ABOVE_THE_OLD }
    }

    /// A segment for the old connection; `flow` is its five-tuple. An ACK is sent if one is called for.
    pub fn segment<E: Egress>(&mut self, seg: &Segment, flow: &mut Flow, env: &mut Env<'_, E>) -> Outcome {
        env.stats.tcp_segs_in += 1;
        self.answer(seg, flow, env)
    }

    /// §3.10.7.4 as far as it concerns TIME-WAIT.
    pub(super) fn answer<E: Egress>(
        &mut self,
        seg: &Segment,
        flow: &mut Flow,
        env: &mut Env<'_, E>,
    ) -> Outcome {
        // Second, the RST bit: ignored, or an old duplicate could end the wait that protects us from old
        // duplicates (RFC 1337 §3).
        if seg.flags.has(Flags::RST) {
            return Outcome::Stay;
        }
        let old = self.is_old(seg);
        env.stats.tcp_paws += u64::from(old);
        // Fourth, the SYN bit.
        if seg.flags.has(Flags::SYN) && !seg.flags.has(Flags::ACK) && !old && self.is_newer(seg) {
            return Outcome::Reuse;
        }
        // First, the sequence number, and eighth, the FIN bit: both are answered with an ACK; a FIN that is
        // seen again starts the wait anew.
        let again = seg.flags.has(Flags::FIN) && seg.end() == self.rcv_nxt;
        if again && !old {
            self.deadline = env.now + env.config.time_wait;
        }
        let wnd = u32::from(self.wnd_field) << self.shift;
        let pure_ack = seg.space() == 0 && seg.seq.within(self.rcv_nxt, wnd.max(1)) && !old;
        let may = seg.space() > 0 || env.shared.challenge.take(env.now, env.config.challenge_acks_per_second);
        if !pure_ack && may {
            self.acknowledge(flow, env);
        }
        Outcome::Stay
    }

    /// PAWS (RFC 7323 §5.3). TS.Recent cannot have become outdated: the wait is shorter than 24 days.
    fn is_old(&self, seg: &Segment) -> bool {
        match (self.ts_recent, seg.options.timestamps) {
            (Some(recent), Some(ts)) => (ts.val.wrapping_sub(recent) as i32) < 0,
            _ => false,
        }
    }

    /// RFC 6191 §2: a SYN of a new connection shows itself by a later timestamp, or by a sequence number above
    /// all of the old ones.
    fn is_newer(&self, seg: &Segment) -> bool {
        let later = match (self.ts_recent, seg.options.timestamps) {
            (Some(recent), Some(ts)) => (ts.val.wrapping_sub(recent) as i32) > 0,
            _ => false,
        };
        later || seg.seq.after(self.rcv_nxt)
    }

    /// Tells a peer who begins anew that there was an old connection here, which is forgotten by now: an ACK that its SYN did
    /// not ask for. Linux sends another SYN within two ticks of its clock, others as if it had been lost.
    pub fn let_go<E: Egress>(&self, flow: &mut Flow, env: &mut Env<'_, E>) {
        // One for each connection that was: nothing to be limited.
        self.acknowledge(flow, env);
    }

    fn acknowledge<E: Egress>(&self, flow: &mut Flow, env: &mut Env<'_, E>) {
        let offset = env.shared.isn.timestamp_offset(&flow.key);
        let val = (env.now.as_millis() as u32).wrapping_add(offset);
        let header = Header {
            src_port: flow.key.local.port(),
            dst_port: flow.key.remote.port(),
            seq: self.snd_nxt,
            ack: self.rcv_nxt,
            flags: Flags::ACK,
            wnd: self.wnd_field,
            urgent: 0,
            options: Options {
                timestamps: self.ts_recent.map(|ecr| TimestampsOption { val, ecr }),
                ..Options::default()
            },
        };
        let mut bytes = [0; HEADER_MAX];
        let len = header.emit(&mut bytes);
        let out = Outgoing {
            header: &bytes[..len],
            checksum_at: CHECKSUM_AT,
            ecn: Ecn::NotEct,
            payload: Payload::None,
        };
        // One that cannot be sent is not waited for: the peer will ask again.
        if env.egress.send(env.pool, flow, out, env.now).is_ok() {
            env.stats.tcp_segs_out += 1;
        }
    }

    /// Whether an active open may take the tuple over now: timestamps tell the connections apart once the clock
    /// has moved on (RFC 6191 §2, and what Linux's tcp_tw_reuse asks for: a second).
    pub fn may_reuse(&self, now: Instant) -> bool {
        let passed = (now.as_millis() as u32).wrapping_sub(self.ts_recent_ms);
        now >= self.deadline || (self.ts_recent.is_some() && u128::from(passed) >= REUSE_DELAY.as_millis())
    }
}

#[cfg(test)]
impl TimeWait {
    /// One that only waits.
    pub(crate) fn until(deadline: Instant) -> Self {
        Self { deadline, ..Self::default() }
    }
}
