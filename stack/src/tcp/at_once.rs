//! The write that everybody expects: so little that it is one segment, on a connection on which nothing waits and nothing
//! is lost, and the windows take it. What is left of [`output::push`] then is little; a test holds it equal to the whole.

use nic::FrameIndex;

use super::build::transmit_last;
use super::detect;
use super::env::Env;
use super::output::{self, Attempt};
use super::recovery::Phase;
use super::snd::{Candidate, Decision};
use super::state::State;
use super::tcb::Tcb;
use crate::ip::{Egress, Unsent};
use crate::time::Instant;
use crate::wire::tcp::Flags;

/// Whether `want` octets, queued now, would be a segment that goes out at once and is all there is to do. The caller has
/// seen that the application may write, and that the path is what it was.
#[inline(always)]
pub(super) fn may<E: Egress>(tcb: &Tcb, env: &Env<'_, E>, want: usize) -> bool {
    let len = want as u32;
    let held = tcb.options.cork || tcb.role.held || env.burst;
    let candidate = Candidate { len, last: true, urgent: tcb.options.nodelay, held };
    tcb.state == State::Established
        && (1..=usize::from(tcb.snd.mss)).contains(&want)
        && tcb.sent.next_unsent().is_none()
        && !tcb.sent.has_lost()
        && tcb.recovery.phase == Phase::Open
        && tcb.meter.is_none()
        && !tcb.role.searches
        && !tcb.urgent.is_sending()
        && tcb.options.not_sent_low_water == 0
        && !(tcb.options.keepalive && tcb.timers.keepalive == Instant::NEVER)
        && tcb.snd.decide(candidate) == Decision::Send(len)
        && output::cwnd_allows(tcb, len)
}

/// Sends what was queued since [`may`] said so: all of it is one segment, and the only one that was not sent.
#[inline]
pub(super) fn send<E: Egress>(tcb: &mut Tcb, env: &mut Env<'_, E>) {
    let Some(at) = tcb.sent.next_unsent() else { return };
    output::restart_after_idle(tcb, env);
    let len = env.segs.slot(at).len();
    if let Err(unsent) = transmit_last(tcb, env, at) {
        return refused(tcb, env, at, unsent);
    }
    output::went(tcb, env, at, len, Flags::ACK);
    detect::start_timer(tcb, env);
}

/// It found no way out, for this reason: the rest is as for any other segment.
#[cold]
fn refused<E: Egress>(tcb: &mut Tcb, env: &mut Env<'_, E>, at: FrameIndex, unsent: Unsent) {
    match output::attempt(tcb, env, Err(unsent)) {
        Attempt::Blocked => return output::acknowledge(tcb, env),
        // It is cut and tried again.
        Attempt::Narrower => {}
        Attempt::Sent => {
            let len = env.segs.slot(at).len();
            output::went(tcb, env, at, len, Flags::ACK);
            detect::start_timer(tcb, env);
        }
    }
    output::push(tcb, env);
}
