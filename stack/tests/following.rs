//! Segments that arrive for a connection while it moves between two stacks of a port: they follow it, and its peer has
//! nothing to send again.

mod common;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::book::{Book, Reader, frame_of};
use common::{Host, Link, Net, pattern};
use ringroad_stack::config::Config;
use ringroad_stack::control::Request;
use ringroad_stack::engine::{Taker, ToMate};
use ringroad_stack::error::SocketError;
use ringroad_stack::policy::{Action, Mode, Policy, PolicySpec, RuleDirection, RuleSpec, TableSpec};
use ringroad_stack::socket::{OptName, RecvFlags, Value};
use ringroad_stack::types::{FlowKey, Readiness, SocketId};

/// A peer, the stack that the cable leads to, and another stack of the same host. Frames between the two are carried;
/// what either wants steered is in the book.
struct Port {
    net: Net,
    other: Host,
    book: Arc<Mutex<Book>>,
}

impl Port {
    fn new(link: Link) -> Self {
        let book = Arc::new(Mutex::new(Book::default()));
        let config = || Config { steer_each: true, ..Config::default() };
        let mut net = Net::with_config(config(), link, 7);
        let mut other = Host::new(2, config());
        other.knows(1);
        for (slot, stack) in [(0, net.b()), (1, &mut other.stack)] {
            stack.set_mates(Box::new(Reader(slot, Arc::clone(&book))));
        }
        Self { net, other, book }
    }

    /// Writes down what a stack has asked for since.
    fn settle(&mut self) {
        for (slot, host) in [(0, &mut self.net.hosts[1]), (1, &mut self.other)] {
            while let Some(request) = host.stack.next_request() {
                host.requests.push(request);
            }
            self.book.lock().unwrap().follow(slot, host.address, host.requests.drain(..));
        }
    }

    /// Brings what the first stack has for the other one there; how many frames that were.
    fn carry(&mut self) -> usize {
        let (pool, queue) = self.net.b().to_mates();
        let mut frames = Vec::new();
        while let Some(ToMate { to, iface, frame }) = queue.pop_front() {
            assert_eq!(to, 1);
            frames.push((iface, pool.lent_bytes(&frame).to_vec()));
            pool.take_back(frame);
        }
        for (iface, bytes) in &frames {
            let pkt = frame_of(&mut self.other.stack, bytes);
            self.other.stack.rx_from_mates(self.net.now, std::iter::once((*iface, pkt)));
        }
        frames.len()
    }

    /// A connection that the peer opened: its end, and the one that has left the first stack, as bytes.
    fn under_way(&mut self) -> (SocketId, Vec<u8>, FlowKey) {
        let (a, b, _) = self.net.connected();
        self.settle();
        let (now, mut parcel) = (self.net.now, Vec::new());
        let key = self.net.b().export(now, b, &mut parcel).expect("it can travel");
        (a, parcel, key)
    }

    /// The other stack takes it, and says so.
    fn arrive(&mut self, parcel: &[u8]) -> SocketId {
        let now = self.net.now;
        let arrived = self.other.stack.import(now, &mut &parcel[..], Taker::Application(3)).expect("room");
        self.settle();
        arrived.id
    }

    /// The other stack listens where the first one did.
    fn heir(&mut self) -> SocketId {
        let heir = self.other.stack.tcp_socket(1).unwrap();
        self.other.stack.bind(heir, "0.0.0.0:80".parse().unwrap()).unwrap();
        self.other.stack.listen(heir, 16).unwrap();
        self.settle();
        heir
    }

    /// The cable leads to the other stack now.
    fn swap(&mut self) {
        std::mem::swap(&mut self.net.hosts[1], &mut self.other);
    }

    /// All that a stack has for a connection, without a word to its peer.
    fn heard_there(&mut self, id: SocketId) -> Vec<u8> {
        let (now, mut heard) = (self.net.now, Vec::new());
        let mut take = |bytes: &[u8]| {
            heard.extend_from_slice(bytes);
            Ok(())
        };
        let _ = self.other.stack.recv(now, id, 1 << 20, RecvFlags::default(), &mut take);
        heard
    }
}

#[test]
fn what_arrives_while_a_connection_moves_follows_it() {
    let mut port = Port::new(Link::default());
    let (a, parcel, _) = port.under_way();
    let data = pattern(9_000, 5);
    assert_eq!(port.net.send(0, a, &data), Ok(data.len()));
    // Less than the peer's probe takes, and more than one look.
    port.net.run_for(Duration::from_millis(1));
    assert_eq!(port.carry(), 0, "it is known where to");
    let b = port.arrive(&parcel);
    port.net.run_for(Duration::from_millis(1));
    assert!(port.carry() >= 7, "segments of 1,448 octets");
    assert!(port.heard_there(b) == data);
    port.swap();
    port.net.run_ms(2_000);
    let peer = port.net.a().stats();
    assert_eq!((peer.tcp_retransmits, peer.tcp_loss_probes, peer.tcp_resets_in), (0, 0, 0));
    assert_eq!(port.other.stack.stats().drop_moved, 0);
    port.other.assert_whole();
}

/// The steering program had led a frame to the old stack before it was told otherwise.
#[test]
fn what_arrives_late_follows_at_once_and_behind_what_waits() {
    let mut port = Port::new(Link::default());
    let (a, parcel, _) = port.under_way();
    let now = port.net.now;
    port.net.a().set_option(now, a, OptName::NoDelay, Value::Int(1)).unwrap();
    port.net.send(0, a, b"first, ").unwrap();
    port.net.run_for(Duration::from_micros(100));
    let b = port.arrive(&parcel);
    port.net.send(0, a, b"second").unwrap();
    port.net.run_for(Duration::from_micros(90));
    assert_eq!(port.carry(), 2);
    assert_eq!(port.heard_there(b), b"first, second");
}

#[test]
fn what_waits_is_heard_here_when_the_connection_comes_back() {
    let mut port = Port::new(Link::default());
    let (a, parcel, _) = port.under_way();
    port.net.send(0, a, b"wherever it is").unwrap();
    port.net.run_for(Duration::from_millis(1));
    let now = port.net.now;
    let b = port.net.b().import(now, &mut &parcel[..], Taker::Application(1)).unwrap().id;
    port.settle();
    port.net.run_for(Duration::from_millis(20));
    assert_eq!(port.net.recv(1, b, 100).unwrap(), b"wherever it is");
    assert_eq!(port.net.a().stats().tcp_retransmits, 0);
}

/// The process that let it go ends before the other has it: a third stack is silent about it in its place.
#[test]
fn what_is_on_its_way_when_its_stack_ends_is_led_to_another_one() {
    let mut port = Port::new(Link::default());
    let (a, parcel, key) = port.under_way();
    let mut letter = Vec::new();
    assert!(port.net.b().bequeath_departed(|_| false, &mut letter).is_empty(), "none is to be led");
    assert_eq!(port.net.b().bequeath_departed(|_| true, &mut letter), [key]);
    // It is the other stack that gets the cable here, and then the connection.
    port.swap();
    port.book.lock().unwrap().flows.insert(key, 1);
    let now = port.net.now;
    port.net.b().inherit(now, &mut &letter[..]).unwrap();
    port.net.send(0, a, b"in between").unwrap();
    port.net.run_for(Duration::from_millis(1));
    let now = port.net.now;
    let b = port.net.b().import(now, &mut &parcel[..], Taker::Application(1)).unwrap().id;
    port.net.run_for(Duration::from_millis(20));
    assert_eq!(port.net.recv(1, b, 100).unwrap(), b"in between");
    let mut rest = &letter[..];
    assert_eq!(
        (port.net.b().inherit(now, &mut rest), rest.len()),
        (Ok(()), 0),
        "it is here: nothing changes"
    );
    port.net.send(0, a, b"after").unwrap();
    port.net.run_for(Duration::from_millis(20));
    assert_eq!(port.net.recv(1, b, 100).unwrap(), b"after");
    assert_eq!((port.net.a().stats().tcp_retransmits, port.net.a().stats().tcp_resets_in), (0, 0));
    let bad = port.net.b().inherit(now, &mut &letter[..3]);
    assert_eq!(bad, Err(SocketError::Invalid));
}

/// Whoever should have taken it is gone, and nobody noticed.
#[test]
fn the_peer_of_a_connection_that_nobody_takes_is_told() {
    let mut port = Port::new(Link::default());
    let (a, _, key) = port.under_way();
    port.net.send(0, a, b"anybody?").unwrap();
    port.net.run_ms(2_900);
    assert_eq!(port.net.recv(0, a, 1), Err(SocketError::WouldBlock), "nothing was said");
    port.net.run_ms(200);
    assert_eq!(port.net.recv(0, a, 1), Err(SocketError::ConnectionReset));
    assert!(port.net.hosts[1].requests.contains(&Request::UnsteerFlow(key)));
    port.net.hosts[1].assert_whole();
}

/// A late segment of a connection that is over, too, is nobody's.
#[test]
fn what_arrives_when_who_took_it_has_ended_it_is_dropped() {
    let mut port = Port::new(Link::default());
    let (a, _, key) = port.under_way();
    port.book.lock().unwrap().flows.remove(&key);
    port.net.send(0, a, b"too late").unwrap();
    port.net.run_for(Duration::from_millis(1));
    assert_eq!(port.carry(), 0);
    let stats = port.net.b().stats();
    assert_eq!((stats.drop_no_socket, stats.drop_moved, stats.tcp_resets_out), (1, 0, 0));
    port.net.hosts[1].assert_whole();
}

/// What was put together of pieces has no headers of its own to go on with: its peer sends it again.
#[test]
fn what_came_in_pieces_does_not_follow() {
    let mut port = Port::new(Link { cut: Some(576), ..Link::default() });
    let (a, parcel, _) = port.under_way();
    let data = pattern(1_000, 3);
    port.net.send(0, a, &data).unwrap();
    port.net.run_for(Duration::from_micros(500));
    let b = port.arrive(&parcel);
    port.net.run_for(Duration::from_micros(500));
    let stats = port.net.b().stats();
    assert_eq!((stats.ip_reassembled, stats.drop_moved, stats.home_frames), (1, 1, 0));
    assert_eq!(port.carry(), 0);
    port.swap();
    port.net.run_ms(1_000);
    assert_eq!(port.net.recv(1, b, 2_000).as_ref(), Ok(&data));
    port.other.assert_whole();
}

/// A rule that lets it out lets in what follows it: who has it judges that, and nobody is told that it was refused.
#[test]
fn what_follows_is_judged_where_it_goes() {
    let mut port = Port::new(Link::default());
    let rule = RuleSpec { direction: RuleDirection::Out, ..RuleSpec::any("out", Action::Allow) };
    let table = TableSpec::of_host(port.other.address, Mode::Enforce, vec![rule]);
    let spec = PolicySpec { default: Action::Allow, tables: vec![table], shadow: Vec::new() };
    for stack in [&mut port.net.hosts[1].stack, &mut port.other.stack] {
        stack.set_policy(Policy::compile(&spec).unwrap());
    }
    let listener = port.net.listen(0, 80, 16);
    let b = port.net.connecting(1, 80);
    port.net.run_ms(10);
    assert!(port.net.b().readiness(b).contains(Readiness::OUT));
    port.settle();
    let (now, mut parcel) = (port.net.now, Vec::new());
    let a = port.net.a().accept(now, listener).unwrap().id;
    port.net.b().export(now, b, &mut parcel).unwrap();
    port.net.send(0, a, b"an answer").unwrap();
    port.net.run_for(Duration::from_millis(1));
    let b = port.arrive(&parcel);
    port.net.run_for(Duration::from_millis(1));
    assert_eq!(port.carry(), 1);
    assert_eq!(port.heard_there(b), b"an answer");
    let denied = [port.net.b().stats().drop_denied_in, port.other.stack.stats().drop_denied_in];
    assert_eq!(denied, [0, 0]);
}

/// However much arrives, no more than so many frames wait.
#[test]
fn what_waits_is_bounded() {
    let mut port = Port::new(Link::default());
    let listener = port.net.listen(1, 80, 64);
    let clients: Vec<SocketId> = (0..40).map(|_| port.net.connecting(0, 80)).collect();
    port.net.run_ms(10);
    port.settle();
    let now = port.net.now;
    while let Ok(accepted) = port.net.b().accept(now, listener) {
        port.net.b().export(now, accepted.id, &mut Vec::new()).unwrap();
    }
    for id in clients {
        port.net.send(0, id, &pattern(14_000, 2)).unwrap();
    }
    port.net.run_for(Duration::from_millis(1));
    let stack = port.net.b();
    assert!(stack.stats().drop_moved > 0, "some were too many");
    assert!(stack.pool().available() > 512, "{:?}", stack.pool().census());
    port.net.run_ms(8_000);
    port.net.hosts[1].assert_whole();
}

/// A server's old worker is starved: it reads what the steering program has led to it when its listener is gone.
#[test]
fn who_asks_where_nobody_listens_any_more_is_heard_where_somebody_does() {
    let mut port = Port::new(Link::default());
    let listener = port.net.listen(1, 80, 16);
    port.settle();
    let heir = port.heir();
    let a = port.net.connecting(0, 80);
    let now = port.net.now;
    port.net.b().close(now, listener).unwrap();
    port.settle();
    port.net.run_for(Duration::from_micros(200));
    assert_eq!(port.carry(), 1);
    port.settle();
    port.swap();
    port.net.run_for(Duration::from_millis(1));
    let accepted = port.net.b().accept(now, heir).expect("it was heard");
    assert_eq!(port.net.send(0, a, b"hello"), Ok(5));
    port.net.run_for(Duration::from_millis(1));
    assert_eq!(port.net.recv(1, accepted.id, 10).as_deref(), Ok(&b"hello"[..]));
    let peer = port.net.a().stats();
    assert_eq!((peer.tcp_retransmits, peer.tcp_resets_in), (0, 0));
    port.net.hosts[1].assert_whole();
    port.other.assert_whole();
}

/// A connection that is in TIME-WAIT at a stack which listens no longer: a keeper's, of a server that was replaced. The
/// next client has its port.
fn is_over(port: &mut Port) {
    let (a, b, listener) = port.net.connected();
    port.net.close(1, b);
    port.net.run_ms(10);
    port.net.close(0, a);
    port.net.run_ms(10);
    let now = port.net.now;
    port.net.b().close(now, listener).unwrap();
    port.net.ports -= 1;
    port.settle();
}

#[test]
fn who_comes_back_where_nobody_listens_any_more_is_heard_where_somebody_does() {
    let mut port = Port::new(Link::default());
    is_over(&mut port);
    let heir = port.heir();
    let a = port.net.connecting(0, 80);
    port.net.run_for(Duration::from_micros(200));
    port.settle();
    assert_eq!(port.carry(), 1);
    port.settle();
    port.swap();
    port.net.run_for(Duration::from_millis(1));
    let now = port.net.now;
    assert!(port.net.b().accept(now, heir).is_ok(), "it was heard");
    assert!(port.net.a().readiness(a).contains(Readiness::OUT));
    let peer = port.net.a().stats();
    assert_eq!((peer.tcp_retransmits, peer.tcp_resets_in), (0, 0));
    port.net.hosts[1].assert_whole();
    port.other.assert_whole();
}

/// The steering program may have an entry of a connection that nobody has any more: it is no reason to refuse the next one.
#[test]
fn who_is_led_to_what_is_no_longer_there_is_heard_where_somebody_listens() {
    let mut port = Port::new(Link::default());
    is_over(&mut port);
    let led: Vec<(FlowKey, u8)> = port.book.lock().unwrap().flows.iter().map(|(k, s)| (*k, *s)).collect();
    assert_eq!(led.len(), 1);
    port.net.run_ms(61_000);
    port.settle();
    port.book.lock().unwrap().flows.extend(led);
    port.heir();
    let a = port.net.connecting(0, 80);
    port.net.run_for(Duration::from_micros(200));
    port.settle();
    assert_eq!(port.carry(), 1);
    assert!(port.book.lock().unwrap().flows.is_empty(), "the next one is not led there");
    port.settle();
    port.swap();
    port.net.run_for(Duration::from_millis(1));
    assert!(port.net.a().readiness(a).contains(Readiness::OUT), "it was heard");
    port.net.hosts[1].assert_whole();
}

/// Who listens may be no mate, but a server in another port: the steering program leads the next SYN there.
#[test]
fn who_comes_back_where_no_mate_listens_asks_again_at_once() {
    let mut port = Port::new(Link::default());
    is_over(&mut port);
    let a = port.net.connecting(0, 80);
    port.net.run_for(Duration::from_micros(200));
    port.settle();
    assert_eq!(port.carry(), 0);
    let heir = port.net.listen(1, 80, 16);
    port.net.run_ms(10);
    let now = port.net.now;
    assert!(port.net.b().accept(now, heir).is_ok(), "within two ticks, not a second");
    assert!(port.net.a().readiness(a).contains(Readiness::OUT));
    assert_eq!(port.net.a().stats().tcp_retransmits, 1);
    port.net.hosts[1].assert_whole();
}

#[test]
fn who_asks_where_nobody_listens_at_all_is_refused() {
    let mut port = Port::new(Link::default());
    let a = port.net.connecting(0, 80);
    port.net.run_ms(10);
    assert_eq!(port.net.recv(0, a, 1), Err(SocketError::ConnectionRefused));
    port.net.hosts[1].assert_whole();
}
