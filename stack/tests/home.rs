//! Sockets of one stack talk to each other at an address of the host: no frame leaves.

mod common;

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use common::{Family, Host, IFACE, pattern};
use ringroad_stack::config::Config;
use ringroad_stack::control::ControlEvent;
use ringroad_stack::error::SocketError;
use ringroad_stack::policy::{Action, Mode, Policy, PolicySpec, Prefix, RuleDirection, RuleSpec, TableSpec};
use ringroad_stack::socket::{Datagram, OptName, RecvFlags, Value};
use ringroad_stack::time::Instant;
use ringroad_stack::types::{IfaceId, Protocol, Readiness, SocketId};
use ringroad_stack::wire::checksum;

const MINUTE: Duration = Duration::from_secs(60);

/// One host, and the time.
struct Alone {
    host: Host,
    now: Instant,
    family: Family,
    ports: u16,
}

impl Alone {
    fn new(family: Family) -> Self {
        let mut host = Host::new(1, Config::default());
        host.address = family.of(1);
        Self { host, now: Instant::from_millis(1000), family, ports: 40_000 }
    }

    fn at(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.host.address, port)
    }

    /// Does what is due, and lets time pass until `done`, at most `time` of it.
    fn run_until(&mut self, time: Duration, mut done: impl FnMut(&mut Self) -> bool) -> bool {
        let end = self.now + time;
        loop {
            self.host.stack.push(self.now);
            assert_eq!(self.host.drain(), Vec::<Vec<u8>>::new(), "a frame left the host");
            if done(self) {
                return true;
            }
            let next = self.host.stack.next_deadline();
            if next > end {
                self.now = end;
                return done(self);
            }
            self.now = self.now.max(next);
            self.host.stack.expire(self.now);
        }
    }

    fn run_ms(&mut self, ms: u64) {
        self.run_until(Duration::from_millis(ms), |_| false);
    }

    fn any(&mut self) -> SocketAddr {
        self.ports += 1;
        SocketAddr::new(self.family.unspecified(), self.ports)
    }

    fn listen(&mut self, port: u16) -> SocketId {
        let (stack, local) = (&mut self.host.stack, SocketAddr::new(self.family.unspecified(), port));
        let id = stack.tcp_socket(1).unwrap();
        stack.bind(id, local).unwrap();
        stack.listen(id, 16).unwrap();
        id
    }

    fn connect(&mut self, to: SocketAddr) -> (SocketId, Result<(), SocketError>) {
        let local = self.any();
        let id = self.host.stack.tcp_socket(2).unwrap();
        self.host.stack.bind(id, local).unwrap();
        (id, self.host.stack.connect(self.now, id, to))
    }

    /// Both ends of a connection to port 80: the client's, the server's.
    fn connected(&mut self, listener: SocketId) -> (SocketId, SocketId) {
        let to = self.at(80);
        let (client, begun) = self.connect(to);
        assert_eq!(begun, Err(SocketError::InProgress));
        let mut server = None;
        assert!(self.run_until(MINUTE, |alone| {
            server = server.or_else(|| alone.host.stack.accept(alone.now, listener).ok());
            server.is_some() && alone.host.stack.readiness(client).contains(Readiness::OUT)
        }));
        let accepted = server.unwrap();
        assert_eq!((accepted.local, accepted.remote), (to, SocketAddr::new(to.ip(), self.ports)));
        (client, accepted.id)
    }

    fn send(&mut self, id: SocketId, data: &[u8]) -> Result<usize, SocketError> {
        common::send(&mut self.host.stack, self.now, id, data)
    }

    fn recv(&mut self, id: SocketId) -> Result<Vec<u8>, SocketError> {
        common::recv(&mut self.host.stack, self.now, id, 1 << 20)
    }

    fn udp(&mut self, port: u16) -> SocketId {
        let local = SocketAddr::new(self.family.unspecified(), port);
        let id = self.host.stack.udp_socket(3).unwrap();
        self.host.stack.bind(id, local).unwrap();
        id
    }

    fn send_to(&mut self, id: SocketId, to: SocketAddr, data: &[u8]) -> Result<usize, SocketError> {
        self.host.stack.send_to(self.now, id, Some(to), data.len(), &mut |room| {
            room.copy_from_slice(data);
            Ok(room.len())
        })
    }

    fn recv_from(&mut self, id: SocketId) -> Result<(Vec<u8>, Datagram), SocketError> {
        let mut got = Vec::new();
        let told = self.host.stack.recv_from(self.now, id, 1 << 16, RecvFlags::default(), &mut |bytes| {
            got.extend_from_slice(bytes);
            Ok(())
        })?;
        Ok((got, told))
    }

    /// The gate lets nothing pass that goes in this direction.
    fn deny(&mut self, direction: RuleDirection) {
        let other = if direction == RuleDirection::In { RuleDirection::Out } else { RuleDirection::In };
        let rule = |name: &str, direction, action| RuleSpec {
            direction,
            remotes: vec![Prefix::new(self.host.address, self.family.prefix()).unwrap()],
            ..RuleSpec::any(name, action)
        };
        let rules = vec![rule("no", direction, Action::Deny), rule("yes", other, Action::Allow)];
        let table = TableSpec::of_host(self.host.address, Mode::Enforce, rules);
        let spec = PolicySpec { default: Action::Allow, tables: vec![table], shadow: Vec::new() };
        self.host.stack.set_policy(Policy::compile(&spec).unwrap());
    }
}

#[test]
fn a_connection_from_beginning_to_end() {
    for family in Family::BOTH {
        let mut alone = Alone::new(family);
        let listener = alone.listen(80);
        let (client, server) = alone.connected(listener);
        assert_eq!(alone.send(client, b"hello"), Ok(5));
        alone.run_ms(1);
        assert_eq!(alone.recv(server).unwrap(), b"hello");
        assert_eq!(alone.send(server, b"world"), Ok(5));
        alone.run_ms(1);
        assert_eq!(alone.recv(client).unwrap(), b"world");
        alone.host.stack.close(alone.now, client).unwrap();
        alone.run_ms(1);
        assert_eq!(alone.recv(server).unwrap(), b"");
        alone.host.stack.close(alone.now, server).unwrap();
        alone.run_ms(100);
        let mut states: Vec<_> = alone.host.stack.sockets().map(|s| s.state).collect();
        states.sort_unstable();
        assert_eq!(states, ["LISTEN", "TIME-WAIT"]);
        alone.host.stack.close(alone.now, listener).unwrap();
        alone.run_until(2 * MINUTE, |_| false);
        assert_eq!(alone.host.stack.sockets().count(), 0);
        let stats = alone.host.stack.stats();
        assert_eq!((stats.rx_frames, stats.tx_frames, stats.tcp_retransmits), (0, 0, 0));
        // Handshake, data, both FINs.
        assert!(stats.home_frames >= 7, "{}", stats.home_frames);
        alone.host.assert_whole();
    }
}

#[test]
fn a_hundred_megabytes_without_a_loss() {
    const CHUNK: usize = 1 << 20;
    for family in Family::BOTH {
        let mut alone = Alone::new(family);
        let listener = alone.listen(80);
        let (client, server) = alone.connected(listener);
        let data = pattern(CHUNK, 5);
        let (mut sent, mut got) = (0, 0);
        let all = 100 * CHUNK;
        assert!(alone.run_until(10 * MINUTE, |alone| {
            while sent < all {
                match alone.send(client, &data[sent % CHUNK..]) {
                    Ok(n) => sent += n,
                    Err(SocketError::WouldBlock) => break,
                    Err(e) => panic!("send after {sent} bytes: {e}"),
                }
            }
            loop {
                match alone.recv(server) {
                    Ok(bytes) => {
                        for piece in bytes.chunks(4096) {
                            let at = got % CHUNK;
                            let n = piece.len().min(CHUNK - at);
                            assert!(piece[..n] == data[at..at + n] && piece[n..] == data[..piece.len() - n]);
                            got += piece.len();
                        }
                    }
                    Err(SocketError::WouldBlock) => break,
                    Err(e) => panic!("recv after {got} bytes: {e}"),
                }
            }
            got == all
        }));
        let stats = alone.host.stack.stats();
        assert_eq!((stats.tcp_retransmits, stats.drop_no_frames, stats.tx_no_frames), (0, 0, 0));
    }
}

#[test]
fn a_reset_arrives() {
    for family in Family::BOTH {
        let mut alone = Alone::new(family);
        let listener = alone.listen(80);
        let (client, server) = alone.connected(listener);
        alone.host.stack.set_option(alone.now, client, OptName::Linger, Value::Linger(Some(0))).unwrap();
        alone.host.stack.close(alone.now, client).unwrap();
        alone.run_ms(1);
        assert_eq!(alone.recv(server), Err(SocketError::ConnectionReset));
    }
}

/// What nobody here hears may be for a socket of the kernel's.
#[test]
fn what_nobody_hears_is_the_kernel_s() {
    for family in Family::BOTH {
        let mut alone = Alone::new(family);
        let to = alone.at(80);
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            assert_eq!(alone.host.stack.source_for(protocol, to), None);
        }
        assert_eq!(alone.connect(to).1, Err(SocketError::NetworkUnreachable));
        let sender = alone.udp(5000);
        assert_eq!(alone.send_to(sender, to, b"x"), Err(SocketError::NetworkUnreachable));
        let listener = alone.listen(80);
        assert_eq!(alone.host.stack.source_for(Protocol::Tcp, to), Some(to.ip()));
        assert_eq!(alone.host.stack.source_for(Protocol::Udp, to), None);
        alone.host.stack.close(alone.now, listener).unwrap();
        assert_eq!(alone.host.stack.source_for(Protocol::Tcp, to), None);
    }
}

#[test]
fn datagrams_go_both_ways_and_say_where_they_came_by() {
    for family in Family::BOTH {
        let mut alone = Alone::new(family);
        let (a, b) = (alone.udp(5000), alone.udp(6000));
        let (to_a, to_b) = (alone.at(5000), alone.at(6000));
        assert_eq!(alone.host.stack.source_for(Protocol::Udp, to_b), Some(to_b.ip()));
        assert_eq!(alone.send_to(a, to_b, b"there"), Ok(5));
        alone.run_ms(1);
        let (bytes, told) = alone.recv_from(b).unwrap();
        assert_eq!((&bytes[..], told.remote, told.local), (&b"there"[..], to_a, to_b));
        // As in Linux: the address's interface, not the loopback device.
        assert_eq!(told.iface, Some(IFACE));
        assert_eq!(alone.send_to(b, told.remote, b"and back"), Ok(8));
        // To itself, too.
        assert_eq!(alone.send_to(a, to_a, b"note"), Ok(4));
        alone.run_ms(1);
        assert_eq!(alone.recv_from(a).unwrap().0, b"and back");
        assert_eq!(alone.recv_from(a).unwrap().0, b"note");
        // What would have to be cut is the kernel's: its loopback device takes 64 KB in one piece.
        assert_eq!(alone.send_to(a, to_b, &[7; 8000]), Err(SocketError::NetworkUnreachable));
        let stats = alone.host.stack.stats();
        assert_eq!((stats.home_frames, stats.tx_frames, stats.udp_in), (3, 0, 3));
        alone.host.stack.close(alone.now, b).unwrap();
        assert_eq!(alone.send_to(a, to_b, b"gone"), Err(SocketError::NetworkUnreachable));
        alone.host.stack.close(alone.now, a).unwrap();
        alone.host.assert_whole();
    }
}

#[test]
fn the_gate_judges_who_sends() {
    for family in Family::BOTH {
        let mut alone = Alone::new(family);
        let (_, receiver, sender) = (alone.listen(80), alone.udp(80), alone.udp(5000));
        alone.deny(RuleDirection::Out);
        let to = alone.at(80);
        assert_eq!(alone.connect(to).1, Err(SocketError::NotPermitted));
        assert_eq!(alone.send_to(sender, to, b"x"), Err(SocketError::NotPermitted));
        alone.run_ms(1);
        assert_eq!(alone.recv_from(receiver).err(), Some(SocketError::WouldBlock));
        assert_eq!(alone.host.stack.stats().home_frames, 0);
    }
}

#[test]
fn the_gate_judges_who_receives() {
    for family in Family::BOTH {
        let mut alone = Alone::new(family);
        let (_, receiver, sender) = (alone.listen(80), alone.udp(80), alone.udp(5000));
        alone.deny(RuleDirection::In);
        let to = alone.at(80);
        let (client, begun) = alone.connect(to);
        assert_eq!(begun, Err(SocketError::InProgress));
        assert_eq!(alone.send_to(sender, to, b"x"), Ok(1));
        assert_eq!(alone.send_to(receiver, to, b"to itself"), Ok(9));
        alone.run_ms(500);
        assert_eq!(alone.recv_from(receiver).err(), Some(SocketError::WouldBlock));
        assert!(!alone.host.stack.readiness(client).contains(Readiness::OUT));
        assert_eq!(alone.host.stack.stats().drop_denied_in, 3);
    }
}

/// A receiver that does not read costs the sender its window, not a segment.
#[test]
fn who_does_not_read_is_waited_for() {
    let mut alone = Alone::new(Family::V4);
    let listener = alone.listen(80);
    let (client, server) = alone.connected(listener);
    let data = pattern(4 << 20, 9);
    let mut sent = 0;
    alone.run_until(MINUTE, |alone| {
        sent += alone.send(client, &data[sent..]).unwrap_or(0);
        false
    });
    assert!(sent < data.len());
    let mut got = Vec::new();
    assert!(alone.run_until(10 * MINUTE, |alone| {
        if sent < data.len() {
            sent += alone.send(client, &data[sent..]).unwrap_or(0);
        }
        got.extend(alone.recv(server).unwrap_or_default());
        got.len() == data.len()
    }));
    assert!(got == data);
}

/// From the wire nobody may come with our address (RFC 1122 §3.2.1.3).
#[test]
fn our_own_address_on_the_wire_is_still_a_martian() {
    for family in Family::BOTH {
        let mut net = common::Net::ideal().over(family);
        let (receiver, sender) = (net.b().udp_socket(1).unwrap(), net.a().udp_socket(1).unwrap());
        net.b().bind(receiver, SocketAddr::new(family.unspecified(), 80)).unwrap();
        net.a().bind(sender, SocketAddr::new(family.unspecified(), 5000)).unwrap();
        let address = family.of(2);
        let now = net.now;
        net.hosts[0].capture = true;
        net.a()
            .send_to(now, sender, Some(SocketAddr::new(address, 80)), 1, &mut |room| Ok(room.len()))
            .unwrap();
        net.pump();
        let mut frame = net.hosts[0].sent[0].clone();
        let (source, destination, len) = if family == Family::V4 { (26, 30, 4) } else { (22, 38, 16) };
        frame.copy_within(destination..destination + len, source);
        if family == Family::V4 {
            frame[24..26].fill(0);
            let sum = checksum::finish(checksum::sum(&frame[14..34]));
            frame[24..26].copy_from_slice(&sum.to_be_bytes());
        }
        net.hosts[1].receive(now, &frame);
        assert_eq!(net.b().stats().drop_martian, 1);
    }
}

const LO: IfaceId = IfaceId(9);

/// As [`Alone::new`]; the stack drives the loopback device, too.
fn with_loopback(family: Family) -> Alone {
    let mut alone = Alone::new(family);
    let stack = &mut alone.host.stack;
    let lo = ControlEvent::Iface { iface: LO, mac: [0; 6], mtu: 65_535, up: true, tx_checksum: false };
    stack.control(alone.now, lo);
    let address = if family == Family::V4 { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
    let prefix = if family == Family::V4 { 8 } else { 128 };
    stack.control(alone.now, ControlEvent::Address { iface: LO, address, prefix, deprecated: false });
    alone.host.address = address;
    alone
}

/// What leaves by the loopback device.
fn by_loopback(alone: &mut Alone) -> Vec<Vec<u8>> {
    alone.host.stack.push(alone.now);
    let (pool, queue) = alone.host.stack.tx_queue(LO).unwrap();
    let frames = queue.drain(..).map(|frame| {
        let bytes = pool.lent_bytes(&frame).to_vec();
        pool.take_back(frame);
        bytes
    });
    frames.collect()
}

/// A frame that another stack, or the kernel, sent by the loopback device.
fn receive_on_loopback(alone: &mut Alone, frame: &[u8]) {
    let frame = alone.host.frame(frame);
    alone.host.stack.rx(alone.now, LO, frame);
}

#[test]
fn between_sockets_of_the_stack_the_loopback_device_sees_nothing() {
    for family in Family::BOTH {
        let mut alone = with_loopback(family);
        let listener = alone.listen(80);
        let (client, server) = alone.connected(listener);
        assert_eq!(alone.send(client, b"hello"), Ok(5));
        assert_eq!(by_loopback(&mut alone), Vec::<Vec<u8>>::new());
        assert_eq!(alone.recv(server).unwrap(), b"hello");
    }
}

/// A socket of the kernel's, or of another stack's: to it and from it by the loopback device.
#[test]
fn what_nobody_hears_leaves_by_the_loopback_device() {
    for family in Family::BOTH {
        let mut alone = with_loopback(family);
        let (sender, to) = (alone.udp(5000), alone.at(6000));
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            assert_eq!(alone.host.stack.source_for(protocol, to), Some(to.ip()));
        }
        assert_eq!(alone.send_to(sender, to, b"out"), Ok(3));
        let [frame] = &by_loopback(&mut alone)[..] else { panic!("one frame leaves") };
        assert_eq!(frame[..12], [0; 12]);
        // Another stack gets it as it is; its address is ours, and that is well here.
        let mut other = with_loopback(family);
        let receiver = other.udp(6000);
        receive_on_loopback(&mut other, frame);
        let (bytes, told) = other.recv_from(receiver).unwrap();
        assert_eq!((&bytes[..], told.remote), (&b"out"[..], alone.at(5000)));
        // A whole handshake, over there and back.
        let listener = other.listen(80);
        let (client, begun) = alone.connect(other.at(80));
        assert_eq!(begun, Err(SocketError::InProgress));
        for _ in 0..3 {
            by_loopback(&mut alone).iter().for_each(|frame| receive_on_loopback(&mut other, frame));
            by_loopback(&mut other).iter().for_each(|frame| receive_on_loopback(&mut alone, frame));
        }
        assert!(other.host.stack.accept(other.now, listener).is_ok());
        assert!(alone.host.stack.readiness(client).contains(Readiness::OUT));
        let stats = [alone.host.stack.stats(), other.host.stack.stats()];
        assert!(stats.iter().all(|s| s.drop_martian + s.drop_l4_checksum + s.home_frames == 0));
    }
}

/// RFC 1122 §3.2.1.3 (g): all of network 127 is this host.
#[test]
fn the_whole_loopback_network_is_home() {
    let mut alone = with_loopback(Family::V4);
    let to = SocketAddr::from(([127, 9, 8, 7], 80));
    assert!(alone.host.stack.serves(to.ip()));
    assert_eq!(alone.host.stack.source_for(Protocol::Tcp, to), Some(Ipv4Addr::LOCALHOST.into()));
    let (receiver, sender) = (alone.udp(80), alone.udp(5000));
    assert_eq!(alone.send_to(sender, to, b"x"), Ok(1));
    alone.run_ms(1);
    let (_, told) = alone.recv_from(receiver).unwrap();
    assert_eq!((told.local, told.remote), (to, SocketAddr::from(([127, 0, 0, 1], 5000))));
}
