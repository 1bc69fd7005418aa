//! Active open (RFC 9293 §3.10.1).

use super::call;
use super::env::Env;
use super::options::TcpOptions;
use super::output;
use super::state::State;
use super::tcb::Tcb;
use super::time_wait::Predecessor;
use crate::error::{Fault, SocketError};
use crate::ip::{Egress, Flow, Unsent};

/// Sends a SYN. The connection is in SYN-SENT, also when the SYN has to wait for a neighbour or a frame.
///
/// # Errors
/// What the way out says that no waiting can change: NotPermitted, NetworkUnreachable, HostUnreachable.
pub fn open<E: Egress>(flow: Flow, options: TcpOptions, env: &mut Env<'_, E>) -> Result<Tcb, SocketError> {
    let tcb = fresh(flow, options, None, env);
    open_with(tcb, env)
}

/// As [`open_with`], with Fast Open (RFC 7413 §4.1.3): the SYN asks for a cookie, or brings the one that is kept,
/// and with it up to `want` octets of `source`: none unless there is a cookie, or the other side is known to do
/// without. How many it took is told beside the connection.
///
/// # Errors
/// As [`open`]; Fault when nothing could be read.
pub fn open_fast<E: Egress>(
    mut tcb: Tcb,
    want: usize,
    source: impl FnMut(&mut [u8]) -> Result<usize, Fault>,
    env: &mut Env<'_, E>,
) -> Result<(Tcb, usize), SocketError> {
    env.shared.fast_open.make_room();
    tcb.role.fast_open = true;
    let mut taken = 0;
    if want > 0 {
        if let Some(kept) = env.shared.fast_open.of(tcb.flow.remote()) {
            tcb.snd.peer_mss = kept.mss;
        }
        tcb.refresh_mss(env);
        taken = call::queue_for_syn(&mut tcb, env, want, source)?;
    }
    match send(&mut tcb, env) {
        Ok(()) => Ok((tcb, taken)),
        Err(error) => {
            tcb.release(env.pool, env.segs);
            Err(error)
        }
    }
}

/// A connection that has still to send its SYN. `old`: another on the tuple was in TIME-WAIT until now (RFC 6191 §2).
pub fn fresh<E: Egress>(
    flow: Flow,
    options: TcpOptions,
    old: Option<Predecessor>,
    env: &mut Env<'_, E>,
) -> Tcb {
    let mut tcb = Tcb::new(flow, options, State::SynSent, old.map(|old| old.iss), env);
    tcb.set_options(options, env.segs, env.now);
    tcb
}

/// Sends the SYN of a connection.
///
/// # Errors
/// As [`open`].
pub fn open_with<E: Egress>(mut tcb: Tcb, env: &mut Env<'_, E>) -> Result<Tcb, SocketError> {
    send(&mut tcb, env).map(|()| tcb)
}

fn send<E: Egress>(tcb: &mut Tcb, env: &mut Env<'_, E>) -> Result<(), SocketError> {
    match output::send_syn(tcb, env) {
        Err(unsent @ (Unsent::Denied | Unsent::Unreachable | Unsent::NeighbourFailed)) => Err(unsent.into()),
        _ => {
            env.stats.tcp_active_opens += 1;
            Ok(())
        }
    }
}
