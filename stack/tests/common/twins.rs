//! Two stacks of one host, of which one has the cable.

use ringroad_stack::config::Config;
use ringroad_stack::engine::Taker;
use ringroad_stack::types::SocketId;

use super::{Host, Link, Net};

/// A network whose second host has two stacks: the one that the cable leads to, and another.
pub struct Twins {
    pub net: Net,
    pub other: Host,
}

impl Twins {
    pub fn new(link: Link, seed: u64) -> Self {
        let mut other = Host::new(2, Config::default());
        other.knows(1);
        Self { net: Net::new(link, seed), other }
    }

    /// The other stack has the cable now.
    pub fn swap(&mut self) {
        std::mem::swap(&mut self.net.hosts[1], &mut self.other);
    }

    /// Moves a connection of the stack at the cable to the other one, which gets the cable.
    pub fn follow(&mut self, id: SocketId, taker: Taker) -> SocketId {
        let now = self.net.now;
        let mut bytes = Vec::new();
        self.net.b().export(now, id, &mut bytes).expect("it can travel");
        self.net.pump();
        self.swap();
        let mut from = &bytes[..];
        let arrived = self.net.b().import(now, &mut from, taker).expect("there is room");
        assert!(from.is_empty(), "{} bytes are left", from.len());
        self.net.pump();
        arrived.id
    }
}
