//! What a running stack tells from outside: a Unix socket a process, JSON over it.

mod apply;
pub mod bypass;
pub mod client;
pub mod model;
mod place;
pub mod policy;
pub(crate) mod server;

pub use bypass::register_bypass;
pub(crate) use place::RUN_DIR;
