//! Answers to segments that belong to no connection (RFC 9293 §3.10.7.1).

use super::env::Env;
use crate::ip::{Egress, Flow, Outgoing, Payload};
use crate::seq::Seq;
use crate::types::Ecn;
use crate::wire::tcp::{CHECKSUM_AT, Flags, HEADER_MAX, Header, Options, Segment, TimestampsOption};

/// Sends a reset for `seg`, unless that is a reset itself. `flow` is the segment's five-tuple seen from here.
pub fn answer<E: Egress>(seg: &Segment, flow: &mut Flow, env: &mut Env<'_, E>) {
    if seg.flags.has(Flags::RST) {
        return;
    }
    let (seq, ack, flags) = if seg.flags.has(Flags::ACK) {
        (seg.ack, Seq(0), Flags::RST)
    } else {
        (Seq(0), seg.end(), Flags::RST | Flags::ACK)
    };
    send(flow, seq, ack, flags, env);
}

/// Draws an answer from a peer whose connection died with another stack: a segment that no window holds, which
/// must be answered with an ACK (RFC 9293 §3.10.7.4); that belongs to no connection here and gets a reset which
/// the peer believes (RFC 5961 §3.2). With timestamps, for who has agreed on them may drop what has none without a
/// word (RFC 7323 §3.2); whatever they say, the answer is an ACK.
pub fn provoke<E: Egress>(flow: &mut Flow, env: &mut Env<'_, E>) {
    let seq = Seq(env.shared.isn.sequence(&flow.key, env.now));
    let timestamps = Some(TimestampsOption { val: 0, ecr: 0 });
    emit(flow, (seq, Seq(0)), Flags::ACK, Options { timestamps, ..Options::default() }, env);
}

/// Sends a bare reset.
pub(super) fn send<E: Egress>(flow: &mut Flow, seq: Seq, ack: Seq, flags: Flags, env: &mut Env<'_, E>) {
    if emit(flow, (seq, ack), flags, Options::default(), env) {
        env.stats.tcp_resets_out += 1;
    }
}

/// A segment without text. False when it cannot be sent: it is not waited for, the peer's next segment earns
/// another.
fn emit<E: Egress>(
    flow: &mut Flow,
    (seq, ack): (Seq, Seq),
    flags: Flags,
    options: Options,
    env: &mut Env<'_, E>,
) -> bool {
    let header = Header {
        src_port: flow.key.local.port(),
        dst_port: flow.key.remote.port(),
        seq,
        ack,
        flags,
        options,
        ..Header::default()
    };
    let mut bytes = [0; HEADER_MAX];
    let len = header.emit(&mut bytes);
    let out = Outgoing {
        header: &bytes[..len],
        checksum_at: CHECKSUM_AT,
        ecn: Ecn::NotEct,
        payload: Payload::None,
    };
    let sent = env.egress.send(env.pool, flow, out, env.now).is_ok();
    env.stats.tcp_segs_out += u64::from(sent);
    sent
}
