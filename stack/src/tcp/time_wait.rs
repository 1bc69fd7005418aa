//! TIME-WAIT without a `Tcb` (RFC 9293 §3.3.2, RFC 1337, RFC 6191).

use super::env::Env;
use super::tcb::Tcb;
use super::timestamps::Timestamps;
use crate::ip::{Egress, Flow, Outgoing, Payload};
use crate::seq::Seq;
use crate::time::Instant;
use crate::types::Ecn;
use crate::wire::tcp::{CHECKSUM_AT, Flags, HEADER_MAX, Header, Options, Segment, TimestampsOption};

/// What has to be remembered of a connection that is over.
#[derive(Clone, Copy, Debug)]
pub struct TimeWait {
    snd_nxt: Seq,
    rcv_nxt: Seq,
    rcv_wnd: u32,
    ts: Timestamps,
    deadline: Instant,
    wnd_field: u16,
}

/// What became of a segment that arrived in TIME-WAIT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Dealt with.
    Stay,
    /// A new connection may take the tuple over (RFC 6191): forget the old one and give the segment to the
    /// listener, if there is one.
    Reuse,
}

impl TimeWait {
    /// The essence of a `Tcb` in TIME-WAIT.
    pub fn of(tcb: &Tcb) -> Self {
        let wnd = tcb.rcv.wnd();
        Self {
            snd_nxt: tcb.snd.nxt,
            rcv_nxt: tcb.rcv.nxt,
            rcv_wnd: wnd,
            ts: tcb.ts,
            deadline: tcb.timers.state,
            wnd_field: (wnd >> tcb.rcv.shift).min(u32::from(u16::MAX)) as u16,
        }
    }

    /// When it can be forgotten.
    pub fn deadline(&self) -> Instant {
        self.deadline
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
        let old = self.ts.on && seg.options.timestamps.is_some_and(|ts| self.ts.is_old(ts.val, env.now));
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
        let pure_ack = seg.space() == 0 && seg.seq.within(self.rcv_nxt, self.rcv_wnd.max(1)) && !old;
        let may = seg.space() > 0 || env.shared.challenge.take(env.now, env.config.challenge_acks_per_second);
        if !pure_ack && may {
            self.acknowledge(flow, env);
        }
        Outcome::Stay
    }

    /// RFC 6191 §2: a SYN of a new connection shows itself by a later timestamp, or by a sequence number above
    /// all of the old ones.
    fn is_newer(&self, seg: &Segment) -> bool {
        let later = match (self.ts.on, seg.options.timestamps) {
            (true, Some(ts)) => (ts.val.wrapping_sub(self.ts.recent) as i32) > 0,
            _ => false,
        };
        later || seg.seq.after(self.rcv_nxt)
    }

    fn acknowledge<E: Egress>(&self, flow: &mut Flow, env: &mut Env<'_, E>) {
        let timestamps = TimestampsOption { val: self.ts.val(env.now), ecr: self.ts.recent };
        let header = Header {
            src_port: flow.key.local.port(),
            dst_port: flow.key.remote.port(),
            seq: self.snd_nxt,
            ack: self.rcv_nxt,
            flags: Flags::ACK,
            wnd: self.wnd_field,
            options: Options { timestamps: self.ts.on.then_some(timestamps), ..Options::default() },
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
        let second = core::time::Duration::from_secs(1);
        now >= self.deadline || (self.ts.on && now.since(self.ts.recent_at) >= second)
    }
}
