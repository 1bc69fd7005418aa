//! Two stacks on a wire that loses nothing and takes no time.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use nic::{Arena, Census, Pool, RxChecksum, RxFrame, RxMeta};
use stack::Stack;
use stack::config::{Config, Secrets};
use stack::control::{ControlEvent, Route};
use stack::socket::{RecvFlags, Result, SendFlags};
use stack::time::Instant;
use stack::types::{IfaceId, SocketId};

const IFACE: IfaceId = IfaceId(1);

/// Both ends.
#[derive(Debug)]
pub struct Net {
    /// The hosts, 10.0.0.1 and 10.0.0.2.
    pub stacks: [Stack; 2],
    /// The time.
    pub now: Instant,
}

/// The address of a host.
#[must_use]
pub fn address(host: usize) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, 1 + host as u8).into()
}

fn mac(host: usize) -> [u8; 6] {
    [2, 0, 0, 0, 0, 1 + host as u8]
}

impl Default for Net {
    fn default() -> Self {
        let now = Instant::from_millis(1000);
        let stacks = [0, 1].map(|host| {
            let pool = Pool::new(Arena::new(512, 2048).expect("memory for the frames"));
            let config = Config { max_sockets: 64, max_udp_flows: 16, ..Config::default() };
            let mut stack = Stack::new(config, pool, Secrets([host as u8 + 1; 32]));
            let network = Ipv4Addr::new(10, 0, 0, 0).into();
            let route = Route { network, prefix: 24, gateway: None, iface: IFACE, source: None, mtu: None };
            for event in [
                ControlEvent::Iface { iface: IFACE, mac: mac(host), mtu: 1500, up: true, tx_checksum: false },
                ControlEvent::Address { iface: IFACE, address: address(host), prefix: 24, deprecated: false },
                ControlEvent::Routes(vec![route]),
                ControlEvent::Neighbour { iface: IFACE, address: address(1 - host), mac: mac(1 - host) },
            ] {
                stack.control(now, event);
            }
            stack
        });
        Self { stacks, now }
    }
}

impl Net {
    /// Carries what was sent until nothing more is.
    pub fn carry(&mut self) {
        for _ in 0..10_000 {
            let mut idle = true;
            for from in 0..2 {
                while self.stacks[from].next_request().is_some() {}
                while self.stacks[from].next_wake().is_some() {}
                let mut frames = Vec::new();
                if let Some((pool, queue)) = self.stacks[from].tx_queue(IFACE) {
                    while let Some(tx) = queue.pop_front() {
                        frames.push(pool.lent_bytes(&tx).to_vec());
                        pool.take_back(tx);
                    }
                }
                idle &= frames.is_empty();
                frames.iter().for_each(|frame| self.arrive(1 - from, frame));
            }
            if idle {
                return;
            }
        }
        panic!("two stacks that never fall silent");
    }

    fn arrive(&mut self, host: usize, bytes: &[u8]) {
        let pool = self.stacks[host].pool_mut();
        // Without a free frame it is lost, as on a NIC.
        let Some(mut pkt) = pool.alloc() else { return };
        let wrote = pool.append_with(&mut pkt, bytes.len(), |room| {
            room.copy_from_slice(&bytes[..room.len()]);
            Ok::<_, ()>(room.len())
        });
        assert_eq!(wrote, Some(Ok(bytes.len())));
        let meta = RxMeta { checksum: RxChecksum::Unknown };
        self.stacks[host].rx(self.now, IFACE, RxFrame { pkt, meta });
    }

    /// Lets time pass, timers run.
    pub fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        self.carry();
        loop {
            let next = self.stacks.iter().map(Stack::next_deadline).fold(end, Instant::min);
            self.now = self.now.max(next);
            self.stacks.iter_mut().for_each(|stack| stack.expire(next));
            self.carry();
            if next >= end {
                return;
            }
        }
    }

    /// A socket of host `host`, bound to this port.
    pub fn bind(&mut self, host: usize, id: SocketId, port: u16) -> Result<()> {
        self.stacks[host].bind(id, SocketAddr::new(address(host), port))
    }

    /// Sends the octets `from`, `from + 1` … of the one stream that everybody sends.
    pub fn send(&mut self, host: usize, id: SocketId, from: u64, len: usize) -> Result<usize> {
        let mut at = from;
        self.stacks[host].send(self.now, id, len, SendFlags::default(), &mut |room| {
            room.iter_mut().for_each(|octet| {
                *octet = pattern(at);
                at += 1;
            });
            Ok(room.len())
        })
    }

    /// Receives octets and compares them with those that come after `from`; how many they are.
    pub fn recv(&mut self, host: usize, id: SocketId, from: u64, want: usize) -> Result<usize> {
        let mut at = from;
        self.stacks[host].recv(self.now, id, want, RecvFlags::default(), &mut |piece| {
            for octet in piece {
                assert_eq!(*octet, pattern(at), "octet {at} of a stream");
                at += 1;
            }
            Ok(())
        })
    }

    /// Everything is over: no socket and no frame may be left.
    pub fn end(mut self) {
        for host in 0..2 {
            let now = self.now;
            self.stacks[host].reset_all(now);
        }
        self.wait(Duration::from_secs(300));
        for stack in &self.stacks {
            assert_eq!(stack.sockets().count(), 0, "sockets that are left");
            let frames = stack.pool().frames();
            assert_eq!(stack.pool().census(), Census { free: frames, ..Census::default() });
        }
    }
}

fn pattern(n: u64) -> u8 {
    ((n as u32).wrapping_mul(2_654_435_761) >> 24) as u8
}
