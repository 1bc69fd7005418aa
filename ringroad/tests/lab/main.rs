//! The runtime and the Rust API against the kernel, in network namespaces, over AF_XDP on veth. As root.
//!
//! A process has one runtime, so each program under test is this executable again with a role.

mod datagrams;
mod programs;
mod roles;
mod streams;
