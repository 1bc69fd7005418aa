//! User calls: SEND, RECEIVE, CLOSE, ABORT (RFC 9293 §3.10).

use super::at_once;
use super::env::Env;
use super::output;
use super::reset;
use super::share;
use super::state::State;
use super::tcb::Tcb;
use super::urgent::Octet;
use crate::error::{Fault, SocketError};
use crate::ip::Egress;
use crate::types::Readiness;
use crate::wire::tcp::{Flags, HEADER_LEN, HEADER_MAX};

/// A share of the pool that must be free for a receive buffer to grow.
const AMPLE: usize = 4;
/// Octets that were read when a connection's receive buffer is first looked at.
const MUCH: u32 = 16 << 10;

/// Queues up to `want` octets that `source` copies, and sends what may be sent. `source` is given room and
/// says how many octets of it it filled; fewer than the room ends the call. `more`: the application
/// will go on at once (MSG_MORE), so a segment that is not full waits.
///
/// Returns the octets taken: at least one, unless `want` is zero.
///
/// # Errors
/// The pending error, taken; BrokenPipe after [`shutdown_send`]; NotConnected; WouldBlock when the buffer is
/// full or the connection not open yet; Fault when the first octets could not be read.
pub fn send<E: Egress>(
    tcb: &mut Tcb,
    env: &mut Env<'_, E>,
    want: usize,
    more: bool,
    source: impl FnMut(&mut [u8]) -> Result<usize, Fault>,
) -> Result<usize, SocketError> {
    write(tcb, env, want, Manner { more, urgent: false, short: true }, source)
}

/// As [`send`]; the last octet taken is urgent (RFC 6093, MSG_OOB).
///
/// # Errors
/// As [`send`].
pub fn send_urgent<E: Egress>(
    tcb: &mut Tcb,
    env: &mut Env<'_, E>,
    want: usize,
    more: bool,
    source: impl FnMut(&mut [u8]) -> Result<usize, Fault>,
) -> Result<usize, SocketError> {
    write(tcb, env, want, Manner { more, urgent: true, short: false }, source)
}

/// As [`send`], without the short way: what a test compares it with.
#[cfg(test)]
pub(super) fn send_slowly<E: Egress>(
    tcb: &mut Tcb,
    env: &mut Env<'_, E>,
    want: usize,
    more: bool,
    source: impl FnMut(&mut [u8]) -> Result<usize, Fault>,
) -> Result<usize, SocketError> {
    write(tcb, env, want, Manner { more, urgent: false, short: false }, source)
}

/// How octets are sent.
#[derive(Clone, Copy, Debug)]
struct Manner {
    more: bool,
    urgent: bool,
    /// What goes out at once may take the short way.
    short: bool,
}

fn write<E: Egress>(
    tcb: &mut Tcb,
    env: &mut Env<'_, E>,
    want: usize,
    manner: Manner,
    mut source: impl FnMut(&mut [u8]) -> Result<usize, Fault>,
) -> Result<usize, SocketError> {
    if let Some(error) = tcb.error.take() {
        return Err(error);
    }
    match tcb.state {
        State::SynSent | State::SynReceived if !tcb.is_open_early() => {
            return Err(SocketError::WouldBlock);
        }
        State::Established | State::CloseWait | State::SynReceived if !tcb.snd.shut => {}
        _ => return Err(SocketError::BrokenPipe),
    }
    if tcb.meter.is_some() {
        output::check_app_limited(tcb);
    }
    if tcb.snd.path_epoch != env.shared.paths.epoch() {
        // Segments are cut when they are queued.
        tcb.follow_path(env);
    }
    let heard = || tcb.rcv.nxt != tcb.rcv.irs + 1 && env.now.since(tcb.rcv.heard_at) < env.config.delayed_ack;
    if !tcb.owed.is_interactive() && heard() {
        // An answer: the next ones will carry the ACKs.
        tcb.owed.set_interactive(true);
    }
    tcb.role.held = manner.more;
    let short = manner.short && at_once::may(tcb, env, want);
    let mut taken = 0;
    loop {
        let some = match queue(tcb, env, want - taken, &mut source) {
            Err(error) if taken == 0 => return Err(error),
            some => some.unwrap_or(0),
        };
        taken += some;
        if manner.urgent && taken > 0 {
            tcb.urgent.mark(tcb.sent.end);
        }
        if short && taken == want {
            at_once::send(tcb, env);
            break;
        }
        output::push(tcb, env);
        // With TCP_NOTSENT_LOWAT what was sent just now makes room for more of the same call.
        if tcb.options.not_sent_low_water == 0 || some == 0 || taken == want {
            break;
        }
    }
    tcb.role.starved |= taken < want;
    let stays = tcb.options.send_locked || taken == want && tcb.is_writable();
    if tcb.buffers.is_none() && (!stays || tcb.role.searches) {
        tcb.buffers = Some(Box::default());
    }
    tcb.book(env.now);
    if taken == 0 && want > 0 {
        tcb.role.starved = true;
        if tcb.sent.octets == 0 {
            // No ACK will come to wake the application: the pool is empty, time has to.
            output::try_later(tcb, env);
        }
        return Err(SocketError::WouldBlock);
    }
    Ok(taken)
}

/// Queues for the SYN what fits it (RFC 7413 §4.1.3): as much as the MSS that the server announced last time
/// leaves beside all options.
pub(super) fn queue_for_syn<E: Egress>(
    tcb: &mut Tcb,
    env: &mut Env<'_, E>,
    want: usize,
    mut source: impl FnMut(&mut [u8]) -> Result<usize, Fault>,
) -> Result<usize, SocketError> {
    let room = usize::from(tcb.snd.mss).saturating_sub(HEADER_MAX - HEADER_LEN);
    match fresh(tcb, env, want.min(room), &mut source) {
        Some((_, filled)) => Ok(filled?),
        None => Ok(0),
    }
}

/// Copies from `source` into frames: first behind what waits unsent, then into new ones.
fn queue<E: Egress>(
    tcb: &mut Tcb,
    env: &mut Env<'_, E>,
    want: usize,
    mut source: impl FnMut(&mut [u8]) -> Result<usize, Fault>,
) -> Result<usize, SocketError> {
    let mut taken = 0;
    loop {
        let free = tcb.send_buffer().saturating_sub(tcb.sent.octets) as usize;
        let mark = tcb.options.not_sent_low_water;
        // TCP_NOTSENT_LOWAT: enough waits; else a segment may, and it is looked at again.
        let free = match tcb.unsent() {
            _ if mark == 0 => free,
            unsent if unsent >= mark => 0,
            _ => free.min(usize::from(tcb.snd.mss)),
        };
        let len = free.min(want - taken);
        if len == 0 {
            return Ok(taken);
        }
        let (room, filled) = match append(tcb, env, len, &mut source) {
            Some(appended) => appended,
            None => match fresh(tcb, env, len, &mut source) {
                Some(appended) => appended,
                None => {
                    // Cut short like by a full buffer: the next ACK wakes.
                    tcb.role.starved = true;
                    return Ok(taken);
                }
            },
        };
        match filled {
            Ok(n) => {
                taken += n;
                if n < room || taken == want {
                    return Ok(taken);
                }
            }
            Err(_) if taken > 0 => return Ok(taken),
            Err(fault) => return Err(fault.into()),
        }
    }
}

/// What a copy offered, and what was filled of it.
type Appended = (usize, Result<usize, Fault>);

/// Fills up the last segment, if it was not sent and is not full.
fn append<E: Egress>(
    tcb: &mut Tcb,
    env: &mut Env<'_, E>,
    len: usize,
    source: &mut impl FnMut(&mut [u8]) -> Result<usize, Fault>,
) -> Option<Appended> {
    let at = tcb.sent.open_tail()?;
    let pkt = env.segs.slot_mut(at).pkt_mut();
    let room = usize::from(tcb.snd.mss).saturating_sub(pkt.len()).min(env.pool.tailroom(pkt)).min(len);
    if room == 0 {
        return None;
    }
    let filled = env.pool.append_with(pkt, room, source)?;
    if let Ok(n) = filled {
        tcb.sent.grew(n as u32);
    }
    Some((room, filled))
}

/// Begins another segment, if a frame can be had.
fn fresh<E: Egress>(
    tcb: &mut Tcb,
    env: &mut Env<'_, E>,
    len: usize,
    source: &mut impl FnMut(&mut [u8]) -> Result<usize, Fault>,
) -> Option<Appended> {
    if !share::may_send(env.pool, tcb.sent.frames(), tcb.unsent() == 0) {
        return None;
    }
    let mut pkt = env.pool.alloc()?;
    let room = usize::from(tcb.snd.mss).min(len);
    let filled = env.pool.append_with(&mut pkt, room, source)?;
    match filled {
        Ok(n) if n > 0 => tcb.sent.push(env.segs, pkt),
        _ => env.pool.free(pkt),
    }
    Some((room, filled))
}

/// Hands up to `want` queued octets to `sink`, piece by piece, and frees them unless `peek`. A window update
/// goes out when it is worth it (RFC 9293 §3.8.6.2.2).
///
/// Returns the octets given; zero at the end of the stream (or when `want` is zero).
///
/// # Errors
/// WouldBlock when nothing is queued; the pending error, taken; NotConnected; Fault when the first piece could
/// not be written (nothing is lost: what was not written stays queued).
pub fn recv<E: Egress>(
    tcb: &mut Tcb,
    env: &mut Env<'_, E>,
    want: usize,
    peek: bool,
    sink: impl FnMut(&[u8]) -> Result<(), Fault>,
) -> Result<usize, SocketError> {
    let (skip, want) = if tcb.urgent.is_quiet() { (0, want) } else { round_the_mark(tcb, want) };
    if peek && want > 0 && tcb.inbox.octets > skip {
        let skip = skip as usize;
        return Ok(tcb.inbox.peek(env.segs, env.pool, skip..skip + want, sink)?);
    }
    if skip > 0 && want > 0 && !peek {
        // Passed for good, even if nothing is behind it yet (Linux).
        let _ = tcb.inbox.read(env.segs, env.pool, 1, |_| Ok(()));
        tcb.urgent.passed(tcb.copied());
    }
    if peek || want == 0 || tcb.inbox.octets == 0 {
        return nothing_to_read(tcb, want);
    }
    let read = tcb.inbox.read(env.segs, env.pool, want, sink)?;
    tcb.urgent.passed(tcb.copied());
    fit_recv_buffer(tcb, env);
    if tcb.state.may_receive() && tcb.rcv.update_is_due(tcb.room(env.pool), tcb.recv_buffer()) {
        output::ack_now(tcb, env);
    }
    Ok(read)
}

/// The receive buffer follows what is read, once that is much, and as long as frames are no question.
fn fit_recv_buffer<E: Egress>(tcb: &mut Tcb, env: &Env<'_, E>) {
    let (copied, queued, most) = (tcb.copied(), tcb.inbox.octets, env.config.recv_buffer_max);
    let locked = tcb.options.recv_locked || tcb.options.recv_buffer as usize >= most;
    match &mut tcb.buffers {
        _ if locked => {}
        Some(buffers) if env.pool.available() > env.pool.frames() as usize / AMPLE => {
            buffers.on_read(env.now, copied, queued, most);
        }
        None if copied - tcb.rcv.irs >= MUCH => tcb.buffers = Some(Box::default()),
        _ => {}
    }
}

/// Reading stops at the mark of urgent data. From there it goes on behind the urgent octet, or with it when it
/// belongs in line. Answers the octets to leave out, and how many of the `want` to read then.
fn round_the_mark(tcb: &Tcb, want: usize) -> (u32, usize) {
    match tcb.urgent.ahead(tcb.copied()) {
        Some(ahead) => (0, want.min(ahead as usize)),
        None => (u32::from(tcb.at_mark() && !tcb.options.urgent_inline && tcb.inbox.octets > 0), want),
    }
}

/// The urgent octet, out of the stream (MSG_OOB); it stays readable if `peek`. None: no more will come.
///
/// # Errors
/// Invalid when there is none, or it is read in line; WouldBlock before it has arrived; NotConnected.
pub fn recv_urgent(tcb: &mut Tcb, peek: bool) -> Result<Option<u8>, SocketError> {
    let ended = tcb.rcv.finished || tcb.rcv.shut;
    match tcb.urgent.octet {
        Octet::None | Octet::Read => Err(SocketError::Invalid),
        _ if tcb.options.urgent_inline => Err(SocketError::Invalid),
        _ if tcb.state == State::Closed && !tcb.rcv.finished => Err(SocketError::NotConnected),
        Octet::Here(octet) => {
            if !peek {
                tcb.urgent.octet = Octet::Read;
            }
            Ok(Some(octet))
        }
        Octet::Awaited if ended => Ok(None),
        Octet::Awaited => Err(SocketError::WouldBlock),
    }
}

fn nothing_to_read(tcb: &mut Tcb, want: usize) -> Result<usize, SocketError> {
    // The peer's end was heard before whatever went wrong since, and is what a reader is told (as Linux does); the
    // error waits for SO_ERROR or a write.
    if tcb.rcv.finished {
        return Ok(0);
    }
    if let Some(error) = tcb.error.take() {
        return Err(error);
    }
    let ended = tcb.rcv.finished || tcb.rcv.shut || tcb.state == State::Closed;
    if ended || want == 0 { Ok(0) } else { Err(SocketError::WouldBlock) }
}

/// SHUT_WR: a FIN follows the queued data.
///
/// # Errors
/// NotConnected.
pub fn shutdown_send<E: Egress>(tcb: &mut Tcb, env: &mut Env<'_, E>) -> Result<(), SocketError> {
    match tcb.state {
        State::Closed | State::SynSent => return Err(SocketError::NotConnected),
        State::TimeWait => return Ok(()),
        _ => {}
    }
    finish(tcb, env);
    tcb.wakes |= tcb.readiness() & (Readiness::OUT | Readiness::HUP);
    Ok(())
}

/// CLOSE (§3.10.4) as far as the wire goes: the FIN takes its place behind the queue.
fn finish<E: Egress>(tcb: &mut Tcb, env: &mut Env<'_, E>) {
    tcb.snd.shut = true;
    tcb.role.held = false;
    match tcb.state {
        State::Established => tcb.state = State::FinWait1,
        State::CloseWait => tcb.state = State::LastAck,
        // From SYN-RECEIVED it follows the ACK of our SYN.
        _ => return,
    }
    output::push(tcb, env);
}

/// SHUT_RD: `recv` finds the end of the stream after what is queued. Nothing is said on the wire.
///
/// # Errors
/// NotConnected.
pub fn shutdown_recv<E: Egress>(tcb: &mut Tcb, _env: &mut Env<'_, E>) -> Result<(), SocketError> {
    if matches!(tcb.state, State::Closed | State::SynSent) {
        return Err(SocketError::NotConnected);
    }
    tcb.rcv.shut = true;
    tcb.wakes |= tcb.readiness() & (Readiness::IN | Readiness::RDHUP | Readiness::HUP);
    Ok(())
}

/// The application is done with the connection. Queued data and a FIN still go out, the `Tcb` lives on as an
/// orphan; with unread data in the queue the connection is reset instead (RFC 2525 §2.17).
pub fn close<E: Egress>(tcb: &mut Tcb, env: &mut Env<'_, E>) {
    tcb.role.orphan = true;
    match tcb.state {
        State::Closed | State::SynSent => tcb.end(None, env.pool, env.segs),
        _ if tcb.inbox.octets > 0 => abort(tcb, env),
        State::FinWait2 => match tcb.fin_wait(env.config.fin_timeout) {
            Some(patience) => tcb.timers.state = env.now + patience,
            None => abort(tcb, env),
        },
        _ if !tcb.snd.shut => finish(tcb, env),
        _ => {}
    }
}

/// TCP_QUICKACK: an act that does not last. Zero: answers will carry the ACKs. Else an ACK that waits goes out now,
/// and so do the next; with an even value only this one.
pub fn quick_ack<E: Egress>(tcb: &mut Tcb, value: i32, env: &mut Env<'_, E>) {
    if value == 0 {
        return tcb.owed.set_interactive(true);
    }
    tcb.owed.hurry();
    if matches!(tcb.state, State::Established | State::CloseWait) && tcb.owed.is_owed() {
        output::ack_now(tcb, env);
        tcb.owed.set_interactive(value & 1 == 0);
    }
}

/// Resets the connection, now.
pub fn abort<E: Egress>(tcb: &mut Tcb, env: &mut Env<'_, E>) {
    let told = match tcb.state {
        State::SynReceived | State::Established | State::FinWait1 | State::FinWait2 | State::CloseWait => {
            true
        }
        // The peer has our FIN or will ask for it; nothing is lost by silence.
        State::Closing | State::LastAck | State::TimeWait | State::SynSent | State::Closed => false,
    };
    if told {
        let (seq, ack) = (tcb.snd.nxt, tcb.rcv.nxt);
        reset::send(&mut tcb.flow, seq, ack, Flags::RST | Flags::ACK, env);
    }
    tcb.end(None, env.pool, env.segs);
}
