//! Connections that move between stacks of one host: nothing is lost, nothing comes twice, both ends end closed.

mod common;

use std::time::Duration;

use common::twins::Twins;
use common::{Family, Host, Link, Net, Rng, pattern, recv, send};
use ringroad_stack::config::Config;
use ringroad_stack::control::Request;
use ringroad_stack::engine::Taker;
use ringroad_stack::error::SocketError;
use ringroad_stack::socket::{Completed, How, OptName, RecvFlags, Value};
use ringroad_stack::types::{Readiness, SocketId};

/// What both ends of a connection say and hear.
struct Talk {
    data: [Vec<u8>; 2],
    said: [usize; 2],
    heard: [Vec<u8>; 2],
    shut: [bool; 2],
    ended: [bool; 2],
}

impl Talk {
    fn new(rng: &mut Rng) -> Self {
        let data = [0, 1].map(|n| pattern(rng.below(150_000) as usize, 77 + n));
        Self { data, said: [0; 2], heard: [vec![], vec![]], shut: [false; 2], ended: [false; 2] }
    }

    fn step(&mut self, net: &mut Net, rng: &mut Rng, ids: [SocketId; 2]) {
        for (h, id) in ids.into_iter().enumerate() {
            let rest = &self.data[h][self.said[h]..];
            if rest.is_empty() && !self.shut[h] && rng.chance(500) {
                let now = net.now;
                net.hosts[h].stack.shutdown(now, id, How::Write).expect("a shutdown");
                self.shut[h] = true;
            }
            let some = rest.len().min(1 + rng.below(20_000) as usize);
            match net.send(h, id, &rest[..some]) {
                _ if rest.is_empty() => {}
                Ok(n) => self.said[h] += n,
                Err(SocketError::WouldBlock) => {}
                Err(e) => panic!("send: {e}"),
            }
            match net.recv(h, id, 1 + rng.below(20_000) as usize) {
                _ if self.ended[h] => {}
                Ok(bytes) if bytes.is_empty() => self.ended[h] = true,
                Ok(bytes) => self.heard[h].extend(bytes),
                Err(SocketError::WouldBlock) => {}
                Err(e) => panic!("recv: {e}"),
            }
        }
        net.pump();
    }
}

/// A connection that the second host opens to the first: both ends and the listener.
fn opened_there(net: &mut Net) -> (SocketId, SocketId, SocketId) {
    let listener = net.listen(0, 80, 16);
    let client = net.connecting(1, 80);
    let mut server = None;
    assert!(net.run_until(Duration::from_secs(60), |net| {
        let now = net.now;
        server = server.or_else(|| net.a().accept(now, listener).ok().map(|a| a.id));
        server.is_some() && net.b().readiness(client).contains(Readiness::OUT)
    }));
    (server.expect("it was accepted"), client, listener)
}

/// What was sent with MSG_ZEROCOPY and not told yet goes with the connection; the numbers go on.
#[test]
fn completions_of_sends_go_with_a_connection() {
    let mut twins = Twins::new(Link::default(), 1);
    let (_, b, _) = twins.net.connected();
    let now = twins.net.now;
    twins.net.b().complete(b).unwrap();
    assert_eq!(twins.net.b().take_completed(b), Ok(None), "SO_ZEROCOPY is off");
    twins.net.b().set_option(now, b, OptName::ZeroCopy, Value::Int(1)).unwrap();
    for _ in 0..3 {
        twins.net.b().complete(b).unwrap();
    }
    assert!(twins.net.b().readiness(b).contains(Readiness::REPORT));
    let b = twins.follow(b, Taker::Application(0));
    assert!(twins.net.b().readiness(b).contains(Readiness::REPORT));
    assert_eq!(twins.net.b().take_completed(b), Ok(Some(Completed { first: 0, last: 2 })));
    assert!(!twins.net.b().readiness(b).contains(Readiness::REPORT));
    twins.net.b().complete(b).unwrap();
    assert_eq!(twins.net.b().take_completed(b), Ok(Some(Completed { first: 3, last: 3 })));
}

/// One life of a connection that moves at random moments.
fn live(seed: u64) {
    let mut rng = Rng::new(seed);
    let link = if seed.is_multiple_of(2) { Link::bad() } else { Link::default() };
    let mut twins = Twins::new(link, seed);
    let (a, mut b, listener) =
        if rng.chance(500) { twins.net.connected() } else { opened_there(&mut twins.net) };
    let mut talk = Talk::new(&mut rng);
    let mut moves = 0;
    while talk.ended != [true; 2] {
        talk.step(&mut twins.net, &mut rng, [a, b]);
        twins.net.run_for(Duration::from_micros(rng.below(30_000)));
        assert!(twins.net.now.as_millis() < 3_600_000, "seed {seed}: it does not end, {moves} moves");
        // One that is over stays where it is.
        if rng.chance(150) && twins.net.b().may_travel(b) {
            b = twins.follow(b, Taker::Application(5));
            moves += 1;
        }
    }
    assert!(talk.heard[0] == talk.data[1] && talk.heard[1] == talk.data[0], "seed {seed}, {moves} moves");
    twins.net.close(0, a);
    twins.net.close(1, b);
    let now = twins.net.now;
    let [first, second] = &mut twins.net.hosts;
    for host in [first, second, &mut twins.other] {
        let _ = host.stack.close(now, listener);
    }
    twins.net.run_for(Duration::from_secs(300));
    twins.net.assert_whole();
    twins.other.assert_whole();
}

#[test]
fn a_connection_that_moves_loses_and_repeats_no_octet() {
    (0..60).for_each(live);
}

#[test]
fn what_was_received_and_what_was_not_acknowledged_goes_along() {
    let mut twins = Twins::new(Link::default(), 1);
    let (a, b, _) = twins.net.connected();
    twins.net.send(0, a, b"a question").unwrap();
    twins.net.run_ms(50);
    // The answer is lost with the stack that sent it: it is not pumped.
    twins.net.send(1, b, b"an answer").unwrap();
    twins.net.hosts[1].drain();
    let now = twins.net.now;
    let mut bytes = Vec::new();
    twins.net.b().export(now, b, &mut bytes).unwrap();
    assert_eq!(twins.net.recv(1, b, 100), Err(SocketError::BadSocket), "it is gone there");
    twins.swap();
    let b = twins.net.b().import(now, &mut &bytes[..], Taker::Application(9)).unwrap().id;
    assert_eq!(twins.net.recv(1, b, 100).unwrap(), b"a question");
    twins.net.run_ms(2000);
    assert_eq!(twins.net.recv(0, a, 100).unwrap(), b"an answer");
    assert!(
        twins.net.hosts[1].requests.iter().any(|r| matches!(r, Request::SteerFlow(_))),
        "it is steered here"
    );
}

#[test]
fn who_let_a_connection_go_is_silent_for_a_while_and_then_says_that_nobody_has_it() {
    let mut twins = Twins::new(Link::default(), 1);
    let (a, b, _) = twins.net.connected();
    let now = twins.net.now;
    twins.net.b().export(now, b, &mut Vec::new()).unwrap();
    twins.net.send(0, a, b"anybody?").unwrap();
    twins.net.run_ms(2000);
    let stats = twins.net.b().stats();
    assert!(stats.drop_moved > 0, "segments came and were dropped");
    assert_eq!(twins.net.recv(0, a, 1), Err(SocketError::WouldBlock), "nothing was said");
    twins.net.run_ms(5000);
    assert_eq!(twins.net.recv(0, a, 1), Err(SocketError::ConnectionReset));
    let unsteered = |r: &Request| matches!(r, Request::UnsteerFlow(_));
    assert!(twins.net.hosts[1].requests.iter().any(unsteered));
}

/// Whoever had it died with it at once: its peer is told, as that of any other that died.
#[test]
fn who_let_a_connection_go_answers_for_it_when_its_taker_has_died() {
    let mut twins = Twins::new(Link::default(), 1);
    let (a, b, _) = twins.net.connected();
    let now = twins.net.now;
    let key = twins.net.b().export(now, b, &mut Vec::new()).unwrap();
    twins.net.run_ms(100);
    let now = twins.net.now;
    twins.net.b().provoke(now, key);
    twins.net.pump();
    twins.net.run_ms(500);
    assert_eq!(twins.net.recv(0, a, 1), Err(SocketError::ConnectionReset));
    let unsteered = |r: &&Request| **r == Request::UnsteerFlow(key);
    let requests = &twins.net.hosts[1].requests;
    assert_eq!(requests.iter().filter(unsteered).count(), 1, "it knows: its port is free for others");
}

#[test]
fn a_listener_accepts_what_arrives_for_it_and_gives_its_options() {
    let mut twins = Twins::new(Link::default(), 1);
    let (a, b, _) = twins.net.connected();
    twins.net.send(0, a, b"early").unwrap();
    twins.net.run_ms(50);
    twins.swap();
    let listener = twins.net.listen(1, 80, 8);
    twins.swap();
    let id = twins.follow(b, Taker::Listener(listener, 0));
    let now = twins.net.now;
    let accepted = twins.net.b().accept(now, listener).unwrap();
    assert_eq!(accepted.id, id);
    assert_eq!(twins.net.recv(1, id, 100).unwrap(), b"early");
}

#[test]
fn an_orphan_delivers_what_it_has_where_it_arrives() {
    let mut twins = Twins::new(Link::default(), 1);
    let (a, b, _) = twins.net.connected();
    let now = twins.net.now;
    let data = pattern(30_000, 3);
    assert_eq!(send(twins.net.b(), now, b, &data), Ok(data.len()));
    twins.net.b().close(now, b).unwrap();
    // Nothing of it has left yet.
    twins.net.hosts[1].drain();
    let orphans = twins.net.b().orphaned();
    twins.follow(orphans[0], Taker::Nobody);
    let mut heard = Vec::new();
    assert!(twins.net.run_until(Duration::from_secs(60), |net| {
        let now = net.now;
        match recv(net.a(), now, a, 100_000) {
            Ok(bytes) if bytes.is_empty() => true,
            Ok(bytes) => {
                heard.extend(bytes);
                false
            }
            Err(_) => false,
        }
    }));
    assert_eq!(heard, data);
    twins.net.close(0, a);
    twins.net.run_for(Duration::from_secs(300));
    assert_eq!(twins.net.b().orphans(), 0);
}

#[test]
fn bytes_that_are_no_connection_or_a_strange_one_are_refused_and_harm_nothing() {
    let mut twins = Twins::new(Link::default(), 1);
    let (a, b, _) = twins.net.connected();
    twins.net.send(0, a, b"octets").unwrap();
    twins.net.run_ms(50);
    let now = twins.net.now;
    let mut good = Vec::new();
    twins.net.b().export(now, b, &mut good).unwrap();
    let mut rng = Rng::new(9);
    for len in 0..good.len() {
        let refused = twins.other.stack.import(now, &mut &good[..len], Taker::Nobody);
        assert_eq!(refused, Err(SocketError::Invalid), "{len} bytes");
    }
    for _ in 0..20_000 {
        let mut bad = good.clone();
        for _ in 0..=rng.below(3) {
            let at = rng.below(bad.len() as u64) as usize;
            bad[at] = rng.next() as u8;
        }
        if let Ok(arrived) = twins.other.stack.import(now, &mut &bad[..], Taker::Application(1)) {
            let far = now + Duration::from_secs(600);
            let _ = twins.other.stack.recv(now, arrived.id, 100, RecvFlags::default(), &mut |_| Ok(()));
            let _ = send(&mut twins.other.stack, now, arrived.id, b"more");
            twins.other.drain();
            twins.other.stack.expire(far);
            twins.other.drain();
            let _ = twins.other.stack.close(far, arrived.id);
            twins.other.stack.reset_all(far);
            twins.other.drain();
        }
    }
    // What waited for the answers of neighbours that there are not.
    twins.other.stack.expire(now + Duration::from_secs(1200));
    twins.other.assert_whole();
    let arrived = twins.other.stack.import(now, &mut &good[..], Taker::Application(1));
    assert!(arrived.is_ok(), "and the good one still goes: {arrived:?}");
    let again = twins.other.stack.import(now, &mut &good[..], Taker::Application(1));
    assert_eq!(again.unwrap_err(), SocketError::AddressInUse, "once");
}

#[test]
fn a_connection_whose_end_is_elsewhere_is_refused() {
    let mut twins = Twins::new(Link::default(), 1);
    let (_, b, _) = twins.net.connected();
    let now = twins.net.now;
    let mut bytes = Vec::new();
    twins.net.b().export(now, b, &mut bytes).unwrap();
    let mut stranger = Host::new(7, Config::default());
    let refused = stranger.stack.import(now, &mut &bytes[..], Taker::Nobody);
    assert_eq!(refused.unwrap_err(), SocketError::AddressNotAvailable);
    assert_ne!(stranger.address, Family::V4.of(2));
}

impl Twins {
    /// What is nobody's in the stack at the cable goes to the other one, which gets the cable.
    fn bequeath(&mut self) -> usize {
        let now = self.net.now;
        let mut bytes = Vec::new();
        let flows = self.net.b().bequeath(now, &mut bytes);
        self.net.pump();
        assert!(self.net.b().is_over(), "something stayed");
        self.swap();
        let mut from = &bytes[..];
        while !from.is_empty() {
            self.net.b().inherit(now, &mut from).expect("there is room");
        }
        self.net.pump();
        flows.len()
    }
}

/// What is written before the end arrives, and so does the end; who asks once more is answered (RFC 9293 §3.6, MUST-13).
#[test]
fn what_a_process_leaves_is_delivered_and_ended_by_its_heir() {
    for seed in 0..20 {
        let mut twins = Twins::new(Link::bad(), seed);
        let (a, b, listener) = twins.net.connected();
        let data = pattern(60_000, seed);
        let sent = twins.net.send(1, b, &data).expect("room");
        twins.net.close(1, b);
        twins.net.close(1, listener);
        twins.net.run_for(Duration::from_millis(3 * seed));
        assert_eq!(twins.bequeath(), 1);
        let mut heard = Vec::new();
        assert!(twins.net.run_until(Duration::from_secs(600), |net| {
            while let Ok(bytes) = net.recv(0, a, 100_000) {
                if bytes.is_empty() {
                    return true;
                }
                heard.extend(bytes);
            }
            false
        }));
        assert!(heard == data[..sent], "seed {seed}: {} of {sent} octets", heard.len());
        twins.net.close(0, a);
        assert!(twins.net.run_until(Duration::from_secs(600), |net| net.b().is_empty()));
        assert!(!twins.net.b().is_over(), "TIME-WAIT is kept");
        // The heir ends, too.
        assert_eq!(twins.bequeath(), 1);
        twins.net.run_for(Duration::from_secs(30));
        assert!(!twins.net.b().is_over());
        twins.net.run_for(Duration::from_secs(120));
        assert!(twins.net.b().is_over());
        twins.net.assert_whole();
        twins.other.assert_whole();
    }
}

/// What comes is not trusted: every cut and every changed octet is refused, or is something that makes sense.
#[test]
fn an_estate_that_makes_no_sense_is_refused() {
    let mut twins = Twins::new(Link::default(), 1);
    let (_, b, _) = twins.net.connected();
    twins.net.send(1, b, &pattern(3000, 1)).expect("room");
    twins.net.close(1, b);
    let now = twins.net.now;
    let mut bytes = Vec::new();
    assert_eq!(twins.net.b().bequeath(now, &mut bytes).len(), 1);
    twins.swap();
    for at in 0..bytes.len() {
        assert!(twins.net.b().inherit(now, &mut &bytes[..at]).is_err(), "cut at {at}");
    }
    for at in 0..bytes.len().min(600) {
        let mut other = bytes.clone();
        other[at] ^= 0x55;
        let _ = twins.net.b().inherit(now, &mut &other[..]);
        twins.net.run_for(Duration::from_millis(1));
    }
}
