//! Time-outs (RFC 9293 §3.10.8, RFC 6298 §5).

use super::env::Env;
use super::tcb::Tcb;
use crate::ip::Egress;

/// Does whatever is due at `env.now`. Harmless when nothing is.
pub fn timers<E: Egress>(tcb: &mut Tcb, env: &mut Env<'_, E>) {
    let _ = (tcb, env);
}
