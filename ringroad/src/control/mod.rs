//! What a running stack tells from outside: a Unix socket a process, JSON over it.

mod apply;
pub mod bypass;
pub mod client;
mod contact;
pub mod model;
mod place;
pub mod policy;
pub(crate) mod server;
mod strangers;

pub(crate) use apply::{forked, may_change};
pub use bypass::register_bypass;
pub(crate) use contact::Contact;
pub(crate) use place::RUN_DIR;
