//! A laboratory of network namespaces: hosts joined by veth pairs, programs that run in them, links that
//! misbehave from a seed, and the kernel's own counters to check by.
//!
//! ```no_run
//! use ringroad_lab::Lab;
//!
//! let lab = Lab::new("hello");
//! let (server, client) = lab.pair();
//! let before = server.counters();
//! let _nginx = server.spawn(&["nginx", "-g", "daemon off;"]);
//! client.run(&["curl", "-s", "http://10.77.0.1/"]);
//! assert_eq!(server.counters().since(&before, "TcpPassiveOpens"), 1);
//! ```
//!
//! Everything is named after the process that made it and goes when its owner is dropped, panics included.
//! What a killed process left behind is swept up by the next [`Lab`].

mod bottleneck;
#[cfg(test)]
mod bottleneck_tests;
mod counters;
mod lab;
mod namespace;
mod nics;
mod pcap;
mod product;
mod program;
mod pump;
mod relay;
mod server;
mod site;
mod sys;
mod unsteady;
mod wait;

pub use bottleneck::{Bottleneck, Shape, mark};
pub use counters::Counters;
pub use lab::{CLIENT, CLIENT6, IFACE, Lab, SERVER, SERVER6};
pub use namespace::Namespace;
pub use nics::Nics;
pub use pcap::Pcap;
pub use product::{dumps, example, product, product_for_all, product_on_stand_in, stacks};
pub use program::{Outcome, Running, Signal};
pub use pump::{Pump, Sample, receive, send};
pub use relay::{Relay, SplitMix, Trouble};
pub use server::{Where, must_have_stack, ringroad, stack_of, start};
pub use site::Site;
pub use sys::PacketSocket;
pub use unsteady::{UNSTEADY, tell_unsteady};
pub use wait::{eventually, eventually_some};
