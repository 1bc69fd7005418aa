//! Active open (RFC 9293 §3.10.1).

use super::env::Env;
use super::options::TcpOptions;
use super::output;
use super::state::State;
use super::tcb::Tcb;
use super::time_wait::Predecessor;
use crate::error::SocketError;
use crate::ip::{Egress, Flow, Unsent};

/// Sends a SYN. The connection is in SYN-SENT, also when the SYN has to wait for a neighbour or a frame.
///
/// # Errors
/// What the way out says that no waiting can change: NotPermitted, NetworkUnreachable, HostUnreachable.
pub fn open<E: Egress>(flow: Flow, options: TcpOptions, env: &mut Env<'_, E>) -> Result<Tcb, SocketError> {
    open_again(flow, options, None, env)
}

/// As [`open`], on a tuple whose last connection was in TIME-WAIT until now (RFC 6191 §2).
///
/// # Errors
/// As [`open`].
pub fn open_again<E: Egress>(
    flow: Flow,
    options: TcpOptions,
    old: Option<Predecessor>,
    env: &mut Env<'_, E>,
) -> Result<Tcb, SocketError> {
    let mut tcb = Tcb::new(flow, options, State::SynSent, env);
    if let Some(old) = old {
        tcb.begin_at(old.iss);
    }
    match output::send_syn(&mut tcb, env) {
        Err(unsent @ (Unsent::Denied | Unsent::Unreachable | Unsent::NeighbourFailed)) => Err(unsent.into()),
        _ => {
            env.stats.tcp_active_opens += 1;
            Ok(tcb)
        }
    }
}
