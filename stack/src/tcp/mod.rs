//! TCP. RFC 9293 and what has grown round it: one file, one idea, one RFC.
//!
//! A [`Tcb`] is data. The parts take plain arguments and never a `Tcb`; the conductors see it whole:
//! [`connect`], [`listen`], [`input`], [`output`], [`call`] and [`expiry`]. After each call of a conductor the
//! owner of the `Tcb` asks it for its [`state`](Tcb::state), [`take_wakes`](Tcb::take_wakes) and
//! [`next_deadline`](Tcb::next_deadline), and calls [`Tcb::release`] before dropping it.

mod ack;
mod at_once;
mod buffers;
mod build;
pub mod call;
pub mod cc;
pub mod challenge;
pub mod connect;
mod crumbs;
mod detect;
mod doubt;
mod ecn;
pub mod env;
pub mod expiry;
pub mod fast_open;
mod frto;
mod inbox;
pub mod info;
pub mod input;
pub mod isn;
pub mod listen;
mod min_rtt;
pub mod options;
pub mod output;
mod pacing;
pub mod parcel;
mod plpmtud;
mod prr;
mod rack;
mod rate;
mod rcv;
mod reassembly;
mod recovery;
mod request;
pub mod reset;
pub mod rto;
mod scoreboard;
pub mod segs;
mod sent;
mod share;
mod snd;
pub mod state;
mod syn_cookies;
mod tally;
pub mod tcb;
#[cfg(test)]
mod tests;
pub mod time_wait;
mod timers;
mod timestamps;
mod tlp;
mod urgent;
mod user_timeout;

pub use env::{Env, Shared};
pub use info::{Account, Info};
pub use options::TcpOptions;
pub use request::Request;
pub use segs::SegTable;
pub use state::State;
pub use tcb::Tcb;
pub use time_wait::{Predecessor, TimeWait};
