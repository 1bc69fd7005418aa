//! Ours over IPv6: the same frames, their addresses mapped into a network of IPv6 and back.

use std::net::{Ipv4Addr, Ipv6Addr};

use nic::RxFrame;
use stack::types::SocketId;
use stack::wire::checksum;

use super::{Engine, Ours};
use crate::LOCAL;

const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
const LINK: usize = 14;
const V4: usize = 20;
const V6: usize = 40;
const CHECKSUM: usize = 16;

/// Our stack, with peers that speak IPv6.
#[derive(Debug)]
pub struct Ours6(Ours);

/// fd00:64::/96 and the address.
fn wide(address: Ipv4Addr) -> Ipv6Addr {
    let [a, b, c, d] = address.octets();
    Ipv6Addr::from([0xfd, 0, 0, 0x64, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d])
}

fn address(frame: &[u8], at: usize) -> Ipv4Addr {
    Ipv4Addr::new(frame[at], frame[at + 1], frame[at + 2], frame[at + 3])
}

/// An IPv4 frame of a client as one of IPv6.
fn widen(frame: &[u8]) -> Vec<u8> {
    let total = usize::from(u16::from_be_bytes([frame[16], frame[17]]));
    let mut tcp = frame[LINK + V4..LINK + total].to_vec();
    let (source, destination) = (wide(address(frame, 26)), wide(address(frame, 30)));
    tcp[CHECKSUM..CHECKSUM + 2].fill(0);
    let pseudo = checksum::pseudo(source.into(), destination.into(), 6, tcp.len() as u16);
    let sum = checksum::finish(checksum::add(pseudo, checksum::sum(&tcp)));
    tcp[CHECKSUM..CHECKSUM + 2].copy_from_slice(&sum.to_be_bytes());
    let mut out = frame[..12].to_vec();
    out.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
    out.extend((tcp.len() as u16).to_be_bytes());
    out.extend([6, 64]);
    out.extend(source.octets());
    out.extend(destination.octets());
    out.extend(tcp);
    out
}

/// An IPv6 frame of ours as the clients know them.
fn narrow(frame: &[u8]) -> Vec<u8> {
    let payload = u16::from_be_bytes([frame[18], frame[19]]);
    let mut out = frame[..12].to_vec();
    out.extend([8, 0, 0x45, 0]);
    out.extend((payload + V4 as u16).to_be_bytes());
    out.extend([0, 0, 0, 0, 64, 6, 0, 0]);
    out.extend(&frame[LINK + 20..LINK + 24]);
    out.extend(&frame[LINK + 36..LINK + 40]);
    out.extend(&frame[LINK + V6..]);
    out
}

impl Engine for Ours6 {
    type Id = SocketId;
    type Frame = RxFrame;

    fn new(connections: u32, window: usize) -> Self {
        Self(Ours::at(wide(LOCAL).into(), wide(GATEWAY).into(), connections, window))
    }

    fn frame(&mut self, bytes: &[u8]) -> RxFrame {
        self.0.frame(&widen(bytes))
    }

    fn input(&mut self, ms: u64, frames: Vec<RxFrame>) {
        self.0.input(ms, frames);
    }

    fn output(&mut self, each: &mut dyn FnMut(&[u8])) {
        self.0.output(&mut |frame| each(&narrow(frame)));
    }

    fn accept(&mut self, ms: u64) -> Option<SocketId> {
        self.0.accept(ms)
    }

    fn send(&mut self, ms: u64, id: SocketId, bytes: &[u8]) -> usize {
        self.0.send(ms, id, bytes)
    }

    fn recv(&mut self, ms: u64, id: SocketId) -> usize {
        self.0.recv(ms, id)
    }

    fn close(&mut self, ms: u64, id: SocketId) {
        self.0.close(ms, id);
    }

    fn time(&mut self, ms: u64) {
        self.0.time(ms);
    }
}
