//! Two stacks of one host: what one sends to an address of the host that the other hears goes there, past every
//! interface, and both judge it.

mod common;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::book::{Book, Reader, frame_of};
use common::{Family, Host, pattern};
use ringroad_stack::config::Config;
use ringroad_stack::engine::{Taker, ToMate};
use ringroad_stack::error::SocketError;
use ringroad_stack::policy::{Action, Mode, Policy, PolicySpec, Prefix, RuleDirection, RuleSpec, TableSpec};
use ringroad_stack::socket::{OptName, Value};
use ringroad_stack::time::Instant;
use ringroad_stack::types::{IfaceId, Protocol, Readiness, SocketId};

/// Two stacks with the same addresses, and the time.
struct Two {
    hosts: [Host; 2],
    book: Arc<Mutex<Book>>,
    now: Instant,
    family: Family,
    ports: u16,
    /// One in so many frames is lost between them.
    lose: Option<u64>,
    carried: u64,
}

impl Two {
    fn new(family: Family) -> Self {
        let book = Arc::new(Mutex::new(Book::default()));
        let config = || Config { steer_each: true, ..Config::default() };
        let mut hosts = [0u8, 1].map(|_| Host::new(1, config()));
        for (slot, host) in (0..).zip(&mut hosts) {
            host.address = family.of(1);
            host.stack.set_mates(Box::new(Reader(slot, Arc::clone(&book))));
        }
        Self { hosts, book, now: Instant::from_millis(1000), family, ports: 40_000, lose: None, carried: 0 }
    }

    fn at(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.family.of(1), port)
    }

    /// Carries out what stack `slot` asks, and brings its frames to the other.
    fn carry(&mut self, slot: usize) {
        let host = &mut self.hosts[slot];
        host.stack.push(self.now);
        assert_eq!(host.drain(), Vec::<Vec<u8>>::new(), "a frame left the host");
        self.book.lock().unwrap().follow(slot as u8, self.family.of(1), host.requests.drain(..));
        let mut frames: Vec<(IfaceId, Vec<u8>)> = Vec::new();
        let (pool, queue) = host.stack.to_mates();
        while let Some(ToMate { to, iface, frame }) = queue.pop_front() {
            assert_eq!(usize::from(to), 1 - slot);
            frames.push((iface, pool.lent_bytes(&frame).to_vec()));
            pool.take_back(frame);
        }
        for (iface, bytes) in frames {
            self.carried += 1;
            if self.lose.is_some_and(|n| self.carried.is_multiple_of(n)) {
                continue;
            }
            let other = &mut self.hosts[1 - slot];
            let pkt = frame_of(&mut other.stack, &bytes);
            other.stack.rx_from_mates(self.now, std::iter::once((iface, pkt)));
        }
    }

    fn run_until(&mut self, time: Duration, mut done: impl FnMut(&mut Self) -> bool) -> bool {
        let end = self.now + time;
        loop {
            let before = self.carried;
            [0, 1].into_iter().for_each(|slot| self.carry(slot));
            if done(self) {
                return true;
            }
            if self.carried != before {
                continue;
            }
            let next = self.hosts.iter().map(|host| host.stack.next_deadline()).min().unwrap();
            if next > end {
                self.now = end;
                return done(self);
            }
            self.now = self.now.max(next);
            self.hosts.iter_mut().for_each(|host| host.stack.expire(self.now));
        }
    }

    fn run_ms(&mut self, ms: u64) {
        self.run_until(Duration::from_millis(ms), |_| false);
    }

    fn listen(&mut self, slot: usize, port: u16) -> SocketId {
        let (stack, local) = (&mut self.hosts[slot].stack, SocketAddr::new(self.family.unspecified(), port));
        let id = stack.tcp_socket(1).unwrap();
        stack.bind(id, local).unwrap();
        stack.listen(id, 16).unwrap();
        self.carry(slot);
        id
    }

    fn connect(&mut self, slot: usize, port: u16) -> (SocketId, Result<(), SocketError>) {
        self.ports += 1;
        let (to, local) = (self.at(port), SocketAddr::new(self.family.unspecified(), self.ports));
        let stack = &mut self.hosts[slot].stack;
        let id = stack.tcp_socket(2).unwrap();
        stack.bind(id, local).unwrap();
        (id, stack.connect(self.now, id, to))
    }

    /// A client at stack 0, a server at stack 1.
    fn connected(&mut self, listener: SocketId) -> (SocketId, SocketId) {
        let (client, begun) = self.connect(0, 80);
        assert_eq!(begun, Err(SocketError::InProgress));
        let mut server = None;
        assert!(self.run_until(Duration::from_secs(60), |two| {
            server = server.or_else(|| two.hosts[1].stack.accept(two.now, listener).ok());
            server.is_some() && two.hosts[0].stack.readiness(client).contains(Readiness::OUT)
        }));
        (client, server.unwrap().id)
    }

    fn send(&mut self, slot: usize, id: SocketId, data: &[u8]) -> Result<usize, SocketError> {
        common::send(&mut self.hosts[slot].stack, self.now, id, data)
    }

    fn recv(&mut self, slot: usize, id: SocketId) -> Result<Vec<u8>, SocketError> {
        common::recv(&mut self.hosts[slot].stack, self.now, id, 1 << 20)
    }

    /// All of `data` from one end to the other.
    fn transfer(&mut self, (from, sender): (usize, SocketId), receiver: SocketId, data: &[u8]) {
        let (mut sent, mut got) = (0, Vec::new());
        assert!(self.run_until(Duration::from_secs(600), |two| {
            while sent < data.len()
                && let Ok(n) = two.send(from, sender, &data[sent..])
            {
                sent += n;
            }
            while let Ok(bytes) = two.recv(1 - from, receiver) {
                assert!(!bytes.is_empty(), "it ended after {} bytes", got.len());
                got.extend_from_slice(&bytes);
            }
            got.len() == data.len()
        }));
        assert!(got == data, "bytes are not what they were");
    }
}

#[test]
fn a_connection_between_two_stacks_from_beginning_to_end() {
    for family in Family::BOTH {
        let mut two = Two::new(family);
        let listener = two.listen(1, 80);
        let (client, server) = two.connected(listener);
        let data = pattern(4 << 20, 3);
        two.transfer((0, client), server, &data);
        two.transfer((1, server), client, &data);
        for (slot, id) in [(0, client), (1, server)] {
            two.hosts[slot].stack.close(two.now, id).unwrap();
            two.run_ms(1);
        }
        two.hosts[1].stack.close(two.now, listener).unwrap();
        two.run_until(Duration::from_secs(300), |_| false);
        for host in &two.hosts {
            assert_eq!(host.stack.sockets().count(), 0);
            let stats = host.stack.stats();
            assert_eq!((stats.rx_frames, stats.tx_frames, stats.tcp_retransmits), (0, 0, 0));
            assert!(stats.home_frames > 1000, "{}", stats.home_frames);
            host.assert_whole();
        }
        assert!(two.book.lock().unwrap().flows.is_empty(), "flows are steered still");
    }
}

/// A ring that is full loses frames; they are sent again.
#[test]
fn what_is_lost_between_them_is_sent_again() {
    let mut two = Two::new(Family::V4);
    let listener = two.listen(1, 80);
    let (client, server) = two.connected(listener);
    two.lose = Some(50);
    two.transfer((0, client), server, &pattern(2 << 20, 9));
    assert!(two.hosts[0].stack.stats().tcp_retransmits > 0);
}

#[test]
fn what_neither_hears_is_the_kernel_s_and_what_one_has_closed_is_refused() {
    let mut two = Two::new(Family::V4);
    let to = two.at(80);
    assert_eq!(two.hosts[0].stack.source_for(Protocol::Tcp, to), None);
    assert_eq!(two.connect(0, 80).1, Err(SocketError::NetworkUnreachable));
    let listener = two.listen(1, 80);
    assert_eq!(two.hosts[0].stack.source_for(Protocol::Tcp, to), Some(to.ip()));
    let (client, begun) = two.connect(0, 80);
    assert_eq!(begun, Err(SocketError::InProgress));
    // It is still in the book when the SYN is on its way.
    two.hosts[1].stack.close(two.now, listener).unwrap();
    two.run_ms(10);
    assert_eq!(two.recv(0, client), Err(SocketError::ConnectionRefused));
    assert_eq!(two.hosts[0].stack.source_for(Protocol::Tcp, to), None);
}

#[test]
fn a_reset_arrives() {
    let mut two = Two::new(Family::V6);
    let listener = two.listen(1, 80);
    let (client, server) = two.connected(listener);
    two.hosts[0].stack.set_option(two.now, client, OptName::Linger, Value::Linger(Some(0))).unwrap();
    two.hosts[0].stack.close(two.now, client).unwrap();
    two.run_ms(1);
    assert_eq!(two.recv(1, server), Err(SocketError::ConnectionReset));
}

#[test]
fn both_ends_are_judged() {
    for (slot, direction) in [(0, RuleDirection::Out), (1, RuleDirection::In)] {
        let mut two = Two::new(Family::V4);
        two.listen(1, 80);
        let remotes = vec![Prefix::new(two.at(80).ip(), 24).unwrap()];
        let rule = RuleSpec { direction, remotes, ..RuleSpec::any("no", Action::Deny) };
        let table = TableSpec::of_host(two.at(80).ip(), Mode::Enforce, vec![rule]);
        let spec = PolicySpec { default: Action::Allow, tables: vec![table], shadow: Vec::new() };
        two.hosts[slot].stack.set_policy(Policy::compile(&spec).unwrap());
        let (_, begun) = two.connect(0, 80);
        two.run_ms(10);
        let expected = if slot == 0 { Err(SocketError::NotPermitted) } else { Err(SocketError::InProgress) };
        assert_eq!(begun, expected);
        let stats = [0, 1].map(|n| two.hosts[n].stack.stats());
        assert_eq!((stats[0].drop_denied_out > 0, stats[1].drop_denied_in > 0), (slot == 0, slot == 1));
    }
}

/// A connection whose ends are in one stack moves to the other, as over a fork, and goes on.
#[test]
fn a_connection_moves_and_the_other_end_finds_it() {
    let mut two = Two::new(Family::V4);
    let listener = two.listen(0, 80);
    let (client, begun) = two.connect(0, 80);
    assert_eq!(begun, Err(SocketError::InProgress));
    let mut server = None;
    assert!(two.run_until(Duration::from_secs(60), |two| {
        server = server.or_else(|| two.hosts[0].stack.accept(two.now, listener).ok());
        server.is_some()
    }));
    let mut parcel = Vec::new();
    two.hosts[0].stack.export(two.now, server.unwrap().id, &mut parcel).unwrap();
    let arrived = two.hosts[1].stack.import(two.now, &mut parcel.as_slice(), Taker::Application(5)).unwrap();
    two.run_ms(1);
    two.transfer((0, client), arrived.id, &pattern(100_000, 4));
    two.transfer((1, arrived.id), client, &pattern(100_000, 5));
}

#[test]
fn datagrams_go_both_ways() {
    let mut two = Two::new(Family::V4);
    let ids = [(0, 5000), (1, 6000)].map(|(slot, port)| {
        let local = SocketAddr::new(two.family.unspecified(), port);
        let stack = &mut two.hosts[slot].stack;
        let id = stack.udp_socket(3).unwrap();
        stack.bind(id, local).unwrap();
        two.carry(slot);
        id
    });
    for (slot, port, text) in [(0, 6000, b"there"), (1, 5000, b"again")] {
        let to = two.at(port);
        let sent = two.hosts[slot].stack.send_to(two.now, ids[slot], Some(to), text.len(), &mut |room| {
            room.copy_from_slice(text);
            Ok(room.len())
        });
        assert_eq!(sent, Ok(5));
        two.run_ms(1);
        let mut got = Vec::new();
        let other = &mut two.hosts[1 - slot].stack;
        let told = other.recv_from(two.now, ids[1 - slot], 99, Default::default(), &mut |bytes| {
            got.extend_from_slice(bytes);
            Ok(())
        });
        assert_eq!((told.unwrap().remote.port(), &got[..]), ([5000, 6000][slot], &text[..]));
    }
    for host in &two.hosts {
        host.assert_whole();
    }
}
