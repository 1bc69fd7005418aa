//! Adapters of the stand-in on a wire in memory, and datagrams to send.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]

use std::net::{Ipv4Addr, SocketAddr};

use ef_vi::{EfVi, Filter, Options};
use nic::{Arena, Burst, Nic, Pool, TxChecksum};

pub const UDP: u8 = 17;
pub const PORT: u16 = 5000;

/// An adapter, its pool, and its address, 10.0.0.SIDE.
pub struct End {
    pub nic: EfVi,
    pub pool: Pool,
    pub burst: Burst,
    pub ip: Ipv4Addr,
}

pub fn local(ip: Ipv4Addr, port: u16) -> Filter {
    Filter { protocol: UDP, local: SocketAddr::from((ip, port)), remote: None }
}

impl End {
    /// `kind`@memory:`wire`:`side`, that hears what comes to its port.
    pub fn new(kind: &str, wire: &str, side: u8) -> Self {
        Self::with_frames_of(2048, kind, wire, side)
    }

    pub fn with_frames_of(bytes: u32, kind: &str, wire: &str, side: u8) -> Self {
        let mut pool = Pool::new(Arena::new(512, bytes).unwrap());
        let name = format!("{kind}@memory:{wire}:{side}");
        let mut nic =
            EfVi::open(&name, &mut pool, &Options::default()).unwrap_or_else(|error| panic!("{error}"));
        let ip = Ipv4Addr::new(10, 0, 0, side);
        nic.add_filter(local(ip, PORT)).unwrap();
        Self { nic, pool, burst: Burst::with_capacity(64), ip }
    }

    pub fn pair(kind: &str, wire: &str) -> [Self; 2] {
        [0, 1].map(|side| Self::new(kind, wire, side))
    }

    /// Queues a datagram from a port to a port, with one byte in it.
    pub fn queue(&mut self, to: Ipv4Addr, ports: [u16; 2], byte: u8) {
        self.queue_long(to, ports, byte, 60);
    }

    /// The same, in a frame of `len` bytes, of which the datagram is the first.
    pub fn queue_long(&mut self, to: Ipv4Addr, ports: [u16; 2], byte: u8, len: usize) {
        let mut pkt = self.pool.alloc().expect("a free frame");
        let mut bytes = [0; 4096];
        let bytes = &mut bytes[..len];
        bytes[..60].copy_from_slice(&datagram(self.ip, to, ports, byte));
        let _ = self.pool.append_with(&mut pkt, bytes.len(), |room| {
            room.copy_from_slice(bytes);
            Ok::<_, ()>(room.len())
        });
        let loan = self.pool.give(pkt, 0, TxChecksum::Complete);
        assert!(self.nic.tx(&mut self.pool, loan).is_ok(), "there is room");
    }

    pub fn send(&mut self, to: Ipv4Addr, ports: [u16; 2], byte: u8) {
        self.queue(to, ports, byte);
        self.nic.kick(&mut self.pool);
    }

    /// What has come: the bytes of the datagrams.
    pub fn receive(&mut self, mut each: impl FnMut(u8)) {
        while self.nic.rx(&mut self.pool, &mut self.burst, 64) > 0 {
            for frame in self.burst.drain(..) {
                let bytes = self.pool.bytes(&frame.pkt);
                assert_eq!(bytes.len(), 60);
                each(bytes[42]);
                self.pool.free(frame.pkt);
            }
        }
    }

    pub fn received(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.receive(|byte| bytes.push(byte));
        bytes
    }
}

fn datagram(from: Ipv4Addr, to: Ipv4Addr, ports: [u16; 2], byte: u8) -> [u8; 60] {
    let mut f = [0; 60];
    f[12..16].copy_from_slice(&[8, 0, 0x45, 0]);
    f[16..18].copy_from_slice(&29u16.to_be_bytes());
    f[22..24].copy_from_slice(&[64, UDP]);
    f[26..30].copy_from_slice(&from.octets());
    f[30..34].copy_from_slice(&to.octets());
    let sum: u32 = f[14..34].chunks(2).map(|w| u32::from(w[0]) << 8 | u32::from(w[1])).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    f[24..26].copy_from_slice(&(!(folded as u16)).to_be_bytes());
    f[34..36].copy_from_slice(&ports[0].to_be_bytes());
    f[36..38].copy_from_slice(&ports[1].to_be_bytes());
    f[38..40].copy_from_slice(&9u16.to_be_bytes());
    f[42] = byte;
    f
}
