//! The engine: TCP, UDP and the gate, without input or output of its own.
//!
//! Packets, calls and the time go in; packets, wake-ups, requests and the next deadline come out. There is no
//! clock, no thread, no file and no system call in this room, so the same inputs in the same order give the
//! same outputs, byte for byte.
//!
//! The floors, each importing only those below it:
//!
//! ```text
//! 5  engine    Stack: burst in → gate → demux → socket; frames out; timers
//! 4  socket    BSD semantics: bind, listen, accept, connect, send, recv, options, readiness
//! 3  tcp  udp  icmp
//! 2  policy    demux    ip    control    journal
//! 1  wire      bytes ↔ headers, checksums
//! 0  time  seq  slab  wheel  hash  stats  config  error  types  plain
//! ```

#![forbid(unsafe_code)]

pub mod config;
pub mod error;
pub mod hash;
pub mod plain;
pub mod seq;
pub mod slab;
pub mod stats;
pub mod time;
pub mod types;
pub mod wheel;

pub mod wire;

pub mod control;
pub mod demux;
pub mod ip;
pub mod journal;
pub mod policy;

pub mod socket;
pub mod tcp;
pub mod udp;

pub mod engine;

pub use engine::Stack;
