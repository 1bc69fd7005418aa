//! An independent peer: smoltcp, as client and as server, over good and bad links.

mod common;

use std::collections::VecDeque;
use std::time::Duration;

use common::{Host, Rng, mac};
use ringroad_stack::config::Config;
use ringroad_stack::error::SocketError;
use ringroad_stack::time::Instant;
use ringroad_stack::types::SocketId;
use smoltcp::iface::{Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp;
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpAddress, IpCidr};

#[derive(Default)]
struct Wire {
    to_peer: VecDeque<Vec<u8>>,
    from_peer: VecDeque<Vec<u8>>,
}

struct Rx(Vec<u8>);
struct Tx<'a>(&'a mut VecDeque<Vec<u8>>);

impl RxToken for Rx {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

impl TxToken for Tx<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut frame = vec![0; len];
        let result = f(&mut frame);
        self.0.push_back(frame);
        result
    }
}

impl Device for Wire {
    type RxToken<'a> = Rx;
    type TxToken<'a> = Tx<'a>;

    fn receive(&mut self, _: smoltcp::time::Instant) -> Option<(Rx, Tx<'_>)> {
        let frame = self.to_peer.pop_front()?;
        Some((Rx(frame), Tx(&mut self.from_peer)))
    }

    fn transmit(&mut self, _: smoltcp::time::Instant) -> Option<Tx<'_>> {
        Some(Tx(&mut self.from_peer))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut caps = DeviceCapabilities::default();
        caps.medium = Medium::Ethernet;
        caps.max_transmission_unit = 1514;
        caps
    }
}

/// A host of ours, 10.0.0.1, and smoltcp, 10.0.0.2.
struct World {
    host: Host,
    peer: Interface,
    sockets: SocketSet<'static>,
    wire: Wire,
    now: Instant,
    rng: Rng,
    /// Frames lost in a thousand.
    loss: u64,
}

impl World {
    fn new(seed: u64, loss: u64) -> Self {
        let mut host = Host::new(1, Config::default());
        host.knows(2);
        let mut wire = Wire::default();
        let config = smoltcp::iface::Config::new(HardwareAddress::Ethernet(EthernetAddress(mac(2))));
        let mut peer = Interface::new(config, &mut wire, smoltcp::time::Instant::ZERO);
        peer.update_ip_addrs(|a| a.push(IpCidr::new(IpAddress::v4(10, 0, 0, 2), 24)).unwrap());
        let now = Instant::from_millis(1000);
        Self { host, peer, sockets: SocketSet::new(vec![]), wire, now, rng: Rng::new(seed), loss }
    }

    fn peer_socket(&mut self) -> SocketHandle {
        let buffer = || tcp::SocketBuffer::new(vec![0; 64 * 1024]);
        self.sockets.add(tcp::Socket::new(buffer(), buffer()))
    }

    /// Half a millisecond passes.
    fn step(&mut self) {
        self.now += Duration::from_micros(500);
        if self.host.stack.next_deadline() <= self.now {
            self.host.stack.expire(self.now);
        }
        for frame in self.host.drain() {
            if !self.rng.chance(self.loss) {
                self.wire.to_peer.push_back(frame);
            }
        }
        let now = smoltcp::time::Instant::from_micros((self.now.as_nanos() / 1000) as i64);
        self.peer.poll(now, &mut self.wire, &mut self.sockets);
        while let Some(frame) = self.wire.from_peer.pop_front() {
            if frame[12..14] == [8, 6] {
                self.answer_arp(&frame);
            } else if !self.rng.chance(self.loss) {
                self.host.receive(self.now, &frame);
            }
        }
    }

    /// ARP is the kernel's; here the test is the kernel.
    fn answer_arp(&mut self, request: &[u8]) {
        if request[20..22] != [0, 1] || request[38..42] != [10, 0, 0, 1] {
            return;
        }
        let mut reply = mac(2).to_vec();
        reply.extend(mac(1));
        reply.extend(&request[12..20]);
        reply.extend([0, 2]);
        reply.extend(mac(1));
        reply.extend([10, 0, 0, 1]);
        reply.extend(&request[22..32]);
        self.wire.to_peer.push_back(reply);
    }

    fn peer_of(&mut self, handle: SocketHandle) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(handle)
    }

    /// Moves `data` both ways at once and compares.
    fn exchange(&mut self, ours: SocketId, theirs: SocketHandle, data: &[u8]) {
        let (mut sent, mut peer_sent) = (0, 0);
        let (mut got, mut peer_got) = (Vec::new(), Vec::new());
        for _ in 0..4_000_000 {
            if got.len() == data.len() && peer_got.len() == data.len() {
                break;
            }
            if sent < data.len() {
                match common::send(&mut self.host.stack, self.now, ours, &data[sent..]) {
                    Ok(n) => sent += n,
                    Err(SocketError::WouldBlock) => {}
                    Err(e) => panic!("send: {e}"),
                }
            }
            match common::recv(&mut self.host.stack, self.now, ours, 65_536) {
                Ok(bytes) => got.extend(bytes),
                Err(SocketError::WouldBlock) => {}
                Err(e) => panic!("recv: {e}"),
            }
            let peer = self.sockets.get_mut::<tcp::Socket>(theirs);
            if peer_sent < data.len() && peer.can_send() {
                peer_sent += peer.send_slice(&data[peer_sent..]).unwrap();
            }
            while peer.can_recv() {
                peer.recv(|bytes| {
                    peer_got.extend_from_slice(bytes);
                    (bytes.len(), ())
                })
                .unwrap();
            }
            self.step();
        }
        assert!(got == data && peer_got == data, "{} and {} of {}", got.len(), peer_got.len(), data.len());
    }

    /// Both ends say that they are done; nothing may be left but TIME-WAIT.
    fn part(&mut self, ours: SocketId, theirs: SocketHandle) {
        self.host.stack.close(self.now, ours).unwrap();
        self.peer_of(theirs).close();
        for _ in 0..400_000 {
            self.step();
        }
        assert!(!self.peer_of(theirs).is_open() || self.peer_of(theirs).state() == tcp::State::TimeWait);
        let left: Vec<_> = self.host.stack.sockets().filter(|s| s.state != "LISTEN").collect();
        assert!(left.is_empty(), "{left:?}");
        let now = self.now;
        self.host.stack.reset_all(now);
        self.host.drain();
        self.host.assert_whole();
    }
}

fn we_connect(seed: u64, loss: u64, bytes: usize) {
    let mut world = World::new(seed, loss);
    let theirs = world.peer_socket();
    world.peer_of(theirs).listen(80).unwrap();
    let stack = &mut world.host.stack;
    let ours = stack.tcp_socket(0).unwrap();
    stack.bind(ours, ([0, 0, 0, 0], 40_000).into()).unwrap();
    let begun = stack.connect(world.now, ours, ([10, 0, 0, 2], 80).into());
    assert_eq!(begun, Err(SocketError::InProgress));
    for _ in 0..100_000 {
        if world.peer_of(theirs).may_send() {
            break;
        }
        world.step();
    }
    world.exchange(ours, theirs, &common::pattern(bytes, seed));
    world.part(ours, theirs);
}

fn they_connect(seed: u64, loss: u64, bytes: usize) {
    let mut world = World::new(seed, loss);
    let stack = &mut world.host.stack;
    let listener = stack.tcp_socket(0).unwrap();
    stack.bind(listener, ([10, 0, 0, 1], 80).into()).unwrap();
    stack.listen(listener, 4).unwrap();
    let theirs = world.peer_socket();
    let (peer, sockets) = (&mut world.peer, &mut world.sockets);
    let remote = (IpAddress::v4(10, 0, 0, 1), 80);
    sockets.get_mut::<tcp::Socket>(theirs).connect(peer.context(), remote, 50_000).unwrap();
    let mut accepted = None;
    for _ in 0..100_000 {
        let now = world.now;
        accepted = accepted.or_else(|| world.host.stack.accept(now, listener).ok());
        if accepted.is_some() {
            break;
        }
        world.step();
    }
    let ours = accepted.expect("a connection within 50 seconds").id;
    world.exchange(ours, theirs, &common::pattern(bytes, seed));
    world.part(ours, theirs);
}

#[test]
fn we_connect_to_smoltcp() {
    we_connect(1, 0, 500_000);
}

#[test]
fn smoltcp_connects_to_us() {
    they_connect(2, 0, 500_000);
}

#[test]
fn we_connect_to_smoltcp_over_a_bad_link() {
    for seed in 10..14 {
        we_connect(seed, 20, 100_000);
    }
}

#[test]
fn smoltcp_connects_to_us_over_a_bad_link() {
    for seed in 20..24 {
        they_connect(seed, 20, 100_000);
    }
}
