//! What two stacks of one port know of each other, as the steering programs' maps have it.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use nic::{HEADROOM, Pkt, TxChecksum};
use ringroad_stack::Stack;
use ringroad_stack::control::Request;
use ringroad_stack::engine::{Holder, Mates};
use ringroad_stack::types::{FlowKey, Protocol};

/// Who hears what, and who has which flow.
#[derive(Debug, Default)]
pub struct Book {
    pub ends: HashSet<(u8, Protocol, SocketAddr)>,
    pub flows: HashMap<FlowKey, u8>,
}

impl Book {
    /// Writes down what stack `slot`, at this address, has asked for.
    pub fn follow(&mut self, slot: u8, address: IpAddr, requests: impl Iterator<Item = Request>) {
        let end = |port| SocketAddr::new(address, port);
        for request in requests {
            match request {
                Request::SteerPort(k) => _ = self.ends.insert((slot, k.protocol, end(k.port))),
                Request::UnsteerPort(k) => _ = self.ends.remove(&(slot, k.protocol, end(k.port))),
                Request::SteerFlow(key) => _ = self.flows.insert(key, slot),
                Request::SteerNewFlow(key) => _ = self.flows.entry(key).or_insert(slot),
                Request::UnsteerFlow(key) if self.flows.get(&key) == Some(&slot) => {
                    self.flows.remove(&key);
                }
                _ => {}
            }
        }
    }
}

/// The book, as one of the stacks reads it.
#[derive(Debug)]
pub struct Reader(pub u8, pub Arc<Mutex<Book>>);

impl Mates for Reader {
    fn hear(&self, protocol: Protocol, end: SocketAddr) -> bool {
        self.1.lock().unwrap().ends.contains(&(1 - self.0, protocol, end))
    }

    fn holder(&self, key: &FlowKey) -> Option<Holder> {
        let slot = *self.1.lock().unwrap().flows.get(key)?;
        Some(if slot == self.0 { Holder::This } else { Holder::Mate(slot) })
    }

    fn hearer(&self, key: &FlowKey) -> Option<u8> {
        self.hear(key.protocol, key.local).then_some(1 - self.0)
    }
}

/// A frame of a stack's own with these bytes, which begin in the headroom as they do where they were written.
pub fn frame_of(stack: &mut Stack, bytes: &[u8]) -> Pkt {
    let pool = stack.pool_mut();
    let (head, rest) = bytes.split_at(bytes.len().min(HEADROOM / 2));
    let mut pkt = pool.alloc().expect("a frame to receive into");
    let write = |room: &mut [u8]| {
        room.copy_from_slice(rest);
        Ok::<_, ()>(room.len())
    };
    pool.append_with(&mut pkt, rest.len(), write).unwrap().unwrap();
    pool.headroom_mut(&mut pkt, head.len()).unwrap().copy_from_slice(head);
    let frame = pool.give(pkt, head.len(), TxChecksum::Complete);
    pool.loop_back(frame).unwrap()
}
