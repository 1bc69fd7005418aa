//! lwIP.

use lwip::{Frame, Id, Site};

use super::{Engine, GATEWAY_MAC, MAC};
use crate::LOCAL;

/// lwIP.
#[derive(Debug)]
pub struct Lwip {
    lwip: lwip::Lwip,
    room: Vec<u8>,
}

impl Engine for Lwip {
    type Id = Id;
    type Frame = Frame;

    fn new(_: u32, _: usize) -> Self {
        let gateway = [10, 77, 0, 2].into();
        let site = Site { mac: MAC, address: LOCAL, gateway, gateway_mac: GATEWAY_MAC };
        let mut lwip = lwip::Lwip::open(site).unwrap_or_else(|absent| panic!("{absent}"));
        lwip.listen(80);
        Self { lwip, room: vec![0; 1 << 16] }
    }

    fn frame(&mut self, bytes: &[u8]) -> Frame {
        self.lwip.frame(bytes).expect("a buffer of lwIP's")
    }

    fn input(&mut self, _: u64, frames: Vec<Frame>) {
        frames.into_iter().for_each(|frame| self.lwip.input(frame));
    }

    fn output(&mut self, each: &mut dyn FnMut(&[u8])) {
        loop {
            let n = self.lwip.output(&mut self.room);
            if n == 0 {
                break;
            }
            each(&self.room[..n]);
        }
    }

    fn accept(&mut self, _: u64) -> Option<Id> {
        self.lwip.accept()
    }

    fn send(&mut self, _: u64, id: Id, bytes: &[u8]) -> usize {
        self.lwip.send(id, bytes)
    }

    fn recv(&mut self, _: u64, id: Id) -> usize {
        let mut all = 0;
        loop {
            let n = self.lwip.recv(id, &mut self.room);
            if n == 0 {
                return all;
            }
            all += n;
        }
    }

    fn close(&mut self, _: u64, id: Id) {
        self.lwip.forget(id);
    }

    fn time(&mut self, ms: u64) {
        self.lwip.time(ms as u32);
    }
}
