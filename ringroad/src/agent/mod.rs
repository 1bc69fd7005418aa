//! The agent: opens interfaces for users who have no privilege, as its file permits.
//!
//! It is the only part of Ringroad that needs privilege while programs run, and small: it reads who asks (SO_PEERCRED),
//! looks into its file, opens the AF_XDP sockets and the steering program, and sends their descriptors back
//! (SCM_RIGHTS). Each request is answered by a process of its own, which ends with it.
//!
//! ```toml
//! [[allow]]
//! user      = "www-data"          # or group = "web": a name, a number, or "*" for everyone
//! interface = ["eth0"]
//! address   = ["10.77.0.1"]       # local addresses; left out: all
//! port      = [80, "8000-8099"]   # local ports; left out: all
//! connect   = true                # the host's ephemeral ports as well, for connections; so it is when left out
//! frames    = 16384               # the most frames of 4096 bytes; so it is when left out
//! ```
//!
//! Addresses and ports are limits of the steering program: what is beyond them stays the kernel's, whatever the
//! program does with the descriptors it was given. What it *sends* nobody checks: who may use an interface can put any
//! frame on it, as with CAP_NET_RAW.
//!
//! Where only a keeper holds the interface, whoever's it is, it is sent away for who is permitted: what a program of
//! another user left when it ended bars nobody. A program that runs is not disturbed.

mod ask;
mod rules;
mod serve;
mod users;
mod wire;

pub(crate) use ask::ask;
pub use serve::{answer, serve};

/// Where the agent listens, unless told otherwise.
pub const SOCKET: &str = "/run/ringroad-agent.sock";

/// Where its file is, unless told otherwise.
pub const RULES: &str = "/etc/ringroad/agent.toml";
