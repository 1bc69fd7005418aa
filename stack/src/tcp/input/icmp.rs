//! ICMP errors about our segments (RFC 9293 §3.9.2.2, RFC 5927, RFC 1191).

use crate::error::SocketError;
use crate::ip::Egress;
use crate::ip::path_mtu::PathMtus;
use crate::seq::Seq;
use crate::tcp::env::Env;
use crate::tcp::output;
use crate::tcp::plpmtud;
use crate::tcp::state::State;
use crate::tcp::tcb::Tcb;

/// What an ICMP error says (RFC 5461, RFC 5927).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathError {
    /// The destination cannot be reached; the error that a socket would report.
    Unreachable(SocketError),
    /// A packet did not fit: the path's MTU, in octets.
    TooBig {
        /// The next hop's MTU.
        mtu: u16,
    },
}

/// An ICMP error about a segment of ours that began at `seq`.
pub fn unreachable<E: Egress>(tcb: &mut Tcb, what: PathError, seq: Seq, env: &mut Env<'_, E>) {
    // RFC 5927 §4.1: only what is in flight can have met an error; anything else is a guess.
    let in_flight = seq.at_or_after(tcb.snd.una) && seq.before(tcb.snd.nxt);
    if !in_flight || tcb.state == State::Closed {
        return;
    }
    match what {
        PathError::Unreachable(error) if tcb.state == State::SynSent => {
            env.stats.tcp_attempt_fails += 1;
            tcb.end(Some(error), env.pool, env.segs);
        }
        // An established connection may find another way: remembered, told when time runs out.
        PathError::Unreachable(error) => tcb.snd.soft_error = Some(error),
        PathError::TooBig { mtu } => narrower(tcb, mtu, env),
    }
}

/// The path takes shorter packets than were sent: what is too long is cut and sent again at once.
fn narrower<E: Egress>(tcb: &mut Tcb, mtu: u16, env: &mut Env<'_, E>) {
    let remote = tcb.flow.remote();
    if !tcb.options.path_mtu {
        return;
    }
    if let Some(mtu) = PathMtus::judge(remote, mtu, plpmtud::longest_sent(tcb)) {
        env.shared.paths.learn(remote, mtu, env.now);
        tcb.follow_path(env);
        plpmtud::answered(tcb, mtu, env);
        output::push(tcb, env);
    }
}
