//! What a running stack tells from outside: a Unix socket a process, JSON over it.

pub mod bypass;
pub mod client;
pub mod model;
mod place;

pub use bypass::register_bypass;
