//! The runtime and the Rust API: opens the interfaces, follows the kernel's control plane, runs the poll
//! loop, waits, and owns the lock.
//!
//! - [`config`]: what can be set, from the environment.
//! - [`runtime`]: one stack a process, one lock, and the one place that waits.
//! - [`TcpListener`], [`TcpStream`], [`UdpSocket`]: sockets like those of `std::net`.
//! - [`launch`]: starts another program under Ringroad.
//! - [`policy_file`]: the policy file, read and explained.
//! - [`control`]: what `ringroad stat` shows.
//! - [`flows`]: what flows carry, second by second.
//! - [`capture`]: what passes a stack, as `ringroad capture` writes it.
//! - [`metrics`]: what is counted, for Prometheus.
//! - [`agent`]: opens interfaces for users without privilege.
//! - [`keeper`]: goes on with what programs leave when they end.

pub mod agent;
mod alerts;
mod api;
pub mod capture;
pub mod config;
pub mod control;
pub mod errand;
pub mod error;
pub mod flows;
pub mod keeper;
pub mod launch;
pub mod link;
pub mod log;
pub mod metrics;
mod netlink;
#[cfg(test)]
mod pages;
mod peer;
pub mod policy_file;
mod port;
pub mod pump;
pub mod question;
pub mod runtime;
pub mod seccomp;
mod shadow;
mod wire;

pub use alerts::Sink as AlertSink;
pub use api::{Incoming, Meta, TcpListener, TcpStream, UdpSocket};
pub use config::{Config, Profile};
pub use error::StartError;
pub use netlink::interface_names;
pub use runtime::Runtime;
