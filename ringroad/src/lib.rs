//! The runtime and the Rust API: opens the interfaces, follows the kernel's control plane, runs the poll
//! loop, waits, and owns the lock.
//!
//! - [`config`]: what can be set, from the environment.
//! - [`runtime`]: one stack a process, one lock, and the one place that waits.
//! - [`TcpListener`], [`TcpStream`], [`UdpSocket`]: sockets like those of `std::net`.
//! - [`launch`]: starts another program under Ringroad.
//! - [`policy_file`]: the policy file, read and explained.
//! - [`control`]: what `ringroad stat` shows.
//! - [`agent`]: opens interfaces for users without privilege.

pub mod agent;
mod alerts;
mod api;
pub mod config;
pub mod control;
pub mod error;
pub mod launch;
pub mod link;
pub mod log;
mod netlink;
pub mod policy_file;
mod port;
pub mod runtime;

pub use alerts::Sink as AlertSink;
pub use api::{Incoming, Meta, TcpListener, TcpStream, UdpSocket};
pub use config::{Config, Profile};
pub use error::StartError;
pub use runtime::Runtime;
