//! The keeper: a small process of ours beside the programs of a port, which goes on with what they leave when they end.
//!
//! `ringroad run` starts it before it becomes the program. It holds a slot of the port and none of the program's
//! descriptors, in a session of its own, and has no stack until it needs one: until a process leaves it connections that
//! are nobody's, or dies and nobody else is there to tell its peers. It ends when nobody can use the port any more and
//! nothing is left to do; until then whoever runs a program on the same interfaces gets the port from it.
//!
//! ```text
//! begin   how it comes to be: two processes, so that it is no child of the program
//! door    where later programs ask for the port
//! watch   what it waits for
//! ```

mod begin;
mod door;
mod signals;
mod watch;

pub(crate) use begin::begin;
pub use begin::detach;
pub(crate) use door::{make_way, share};
pub use watch::keep;
