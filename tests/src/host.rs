//! A stack on one interface, driven by hand: frames go in and come out as bytes, time is what you say.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use nic::{Arena, Pool, RxFrame, RxMeta, TxPkt};
use stack::config::{Config, Secrets};
use stack::control::{ControlEvent, MacAddr, Request, Route};
use stack::engine::Stack;
use stack::socket::{Accepted, RecvFlags, Result, SendFlags, Wake};
use stack::time::Instant;
use stack::types::{IfaceId, SocketId};

/// The interface of every host.
const IFACE: IfaceId = IfaceId(1);

/// What goes over the cable at most, in bytes of an IP packet.
const MTU: u16 = 1500;

/// A stack, its address, and the frames that its imaginary NIC has not sent yet.
pub struct Host {
    /// The stack.
    pub stack: Stack,
    /// Its address, 10.77.0.N.
    pub address: Ipv4Addr,
    mac: MacAddr,
    lent: Vec<TxPkt>,
    /// What it asked of the control plane, oldest first.
    pub requests: Vec<Request>,
    /// Its wake-ups of the last [`Host::output`], oldest first.
    pub woken: Vec<Wake>,
}

impl Host {
    /// Its one interface.
    pub const IFACE: IfaceId = IFACE;

    /// Host `n`, with so many frames, up and with a route to its network.
    ///
    /// # Panics
    /// When there is no memory for the frames.
    #[must_use]
    pub fn new(n: u8, frames: u32, config: Config) -> Self {
        let pool = Pool::new(Arena::new(frames, 4096).expect("memory for the frames"));
        let stack = Stack::new(config, pool, Secrets([n; 32]));
        let (address, mac) = (Ipv4Addr::new(10, 77, 0, n), [2, 0, 0, 0, 0, n]);
        let mut host =
            Self { stack, address, mac, lent: Vec::new(), requests: Vec::new(), woken: Vec::new() };
        let network = IpAddr::V4(Ipv4Addr::new(10, 77, 0, 0));
        for event in [
            ControlEvent::Iface { iface: IFACE, mac, mtu: MTU, up: true, tx_checksum: false },
            ControlEvent::Address { iface: IFACE, address: address.into(), prefix: 24, deprecated: false },
            ControlEvent::Routes(vec![Route {
                network,
                prefix: 24,
                gateway: None,
                iface: IFACE,
                source: None,
                mtu: None,
            }]),
        ] {
            host.stack.control(Instant::ZERO, event);
        }
        host
    }

    /// Two hosts, 10.77.0.1 and 10.77.0.2, that know each other's link address.
    #[must_use]
    pub fn pair(frames: u32, config: &Config) -> [Self; 2] {
        let mut hosts = [1, 2].map(|n| Self::new(n, frames, config.clone()));
        let known = [1, 0].map(|other: usize| (hosts[other].address, hosts[other].mac));
        for (host, (address, mac)) in hosts.iter_mut().zip(known) {
            let event = ControlEvent::Neighbour { iface: IFACE, address: address.into(), mac };
            host.stack.control(Instant::ZERO, event);
        }
        hosts
    }

    /// The control plane has news.
    pub fn control(&mut self, event: ControlEvent) {
        self.stack.control(Instant::ZERO, event);
    }

    /// Its link address.
    #[must_use]
    pub fn mac(&self) -> MacAddr {
        self.mac
    }

    /// A frame arrives. False when the pool had no frame for it: a NIC would have dropped it.
    pub fn input(&mut self, now: Instant, bytes: &[u8]) -> bool {
        let pool = self.stack.pool_mut();
        let Some(mut pkt) = pool.alloc() else { return false };
        let _ = pool.append_with(&mut pkt, bytes.len(), |room| {
            room.copy_from_slice(&bytes[..room.len()]);
            Ok::<_, ()>(room.len())
        });
        self.stack.rx(now, IFACE, RxFrame { pkt, meta: RxMeta::default() });
        true
    }

    /// Hands every frame that waits to `each`. The stack gets its loans back when they are asked for again.
    pub fn output(&mut self, mut each: impl FnMut(&[u8])) {
        self.requests.extend(std::iter::from_fn(|| self.stack.next_request()));
        let Some((pool, queue)) = self.stack.tx_queue(IFACE) else { return };
        while let Some(frame) = queue.pop_front() {
            each(pool.lent_bytes(&frame));
            self.lent.push(frame);
        }
        self.woken.clear();
        self.woken.extend(std::iter::from_fn(|| self.stack.next_wake()));
    }

    /// The NIC has sent what it was lent, but for the last `keep` frames.
    pub fn sent(&mut self, keep: usize) {
        let done = self.lent.len().saturating_sub(keep);
        let pool = self.stack.pool_mut();
        self.lent.drain(..done).for_each(|frame| pool.take_back(frame));
    }

    /// Whether every frame is free again.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.stack.pool().census().free == self.stack.pool().frames()
    }

    /// A listener on `port`.
    ///
    /// # Errors
    /// Those of the calls.
    pub fn listen(&mut self, port: u16) -> Result<SocketId> {
        let id = self.stack.tcp_socket(0)?;
        self.stack.bind(id, (self.address, port).into())?;
        self.stack.listen(id, 128)?;
        Ok(id)
    }

    /// The next connection of a listener, if there is one.
    pub fn accept(&mut self, now: Instant, listener: SocketId) -> Option<Accepted> {
        self.stack.accept(now, listener).ok()
    }

    /// A connection on its way.
    ///
    /// # Errors
    /// Those of the calls; that it is in progress is none.
    pub fn connect(&mut self, now: Instant, port: u16, remote: SocketAddr) -> Result<SocketId> {
        let id = self.stack.tcp_socket(0)?;
        self.stack.bind(id, (self.address, port).into())?;
        match self.stack.connect(now, id, remote) {
            Ok(()) | Err(stack::error::SocketError::InProgress) => Ok(id),
            Err(error) => Err(error),
        }
    }

    /// Sends what the socket takes of `bytes`.
    ///
    /// # Errors
    /// Those of [`Stack::send`].
    pub fn send(&mut self, now: Instant, id: SocketId, bytes: &[u8]) -> Result<usize> {
        let mut rest = bytes;
        self.stack.send(now, id, bytes.len(), SendFlags::default(), &mut |room| {
            let n = room.len().min(rest.len());
            room[..n].copy_from_slice(&rest[..n]);
            rest = &rest[n..];
            Ok(n)
        })
    }

    /// Appends at most `want` bytes of what has come to `bytes`.
    ///
    /// # Errors
    /// Those of [`Stack::recv`].
    pub fn recv(&mut self, now: Instant, id: SocketId, want: usize, bytes: &mut Vec<u8>) -> Result<usize> {
        self.stack.recv(now, id, want, RecvFlags::default(), &mut |piece| {
            bytes.extend_from_slice(piece);
            Ok(())
        })
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.sent(0);
        if !std::thread::panicking() {
            return;
        }
        // A failed test drops the stack with frames in its queues; that is not what failed.
        if let Some((pool, queue)) = self.stack.tx_queue(IFACE) {
            queue.drain(..).for_each(|frame| pool.take_back(frame));
        }
    }
}
