//! What waits in a listener and is accepted by another stack of the host: since the listener leaves, or since nobody accepts there.

mod common;

use std::time::Duration;

use common::twins::Twins;
use common::{Link, Net, Rng};
use ringroad_stack::error::SocketError;
use ringroad_stack::socket::{OptName, Value};
use ringroad_stack::types::Readiness;

/// A listener of the stack at the cable leaves, and the other stack, which listens at the same end, gets the cable.
/// What waited is accepted there; what was under way to the old one is not refused.
#[test]
fn what_waits_in_a_listener_that_leaves_is_accepted_elsewhere() {
    let mut twins = Twins::new(Link { delay: Duration::from_millis(10), ..Link::default() }, 1);
    let old = twins.net.listen(1, 80, 16);
    twins.swap();
    let new = twins.net.listen(1, 80, 16);
    twins.swap();
    // One is established and has said something, one has its SYN-ACK under way, one its SYN.
    let first = twins.net.connecting(0, 80);
    twins.net.run_ms(100);
    twins.net.send(0, first, b"hello").unwrap();
    twins.net.run_ms(25);
    let second = twins.net.connecting(0, 80);
    twins.net.run_ms(15);
    let third = twins.net.connecting(0, 80);
    twins.net.run_ms(2);
    let now = twins.net.now;
    twins.net.b().leave(now, old).unwrap();
    assert_eq!(twins.net.b().close(now, old), Err(SocketError::BadSocket), "it is nobody's");
    assert_eq!(twins.net.b().waiting(old), 2);
    // The third's SYN still arrives at the old one, which answers.
    twins.net.run_ms(9);
    assert_eq!(twins.net.b().waiting(old), 3);
    let now = twins.net.now;
    assert!(twins.net.b().hand_over(now, |_| None).is_empty(), "nobody to give it to");
    let letters = twins.net.b().hand_over(now, |_| Some(7));
    assert_eq!(twins.net.b().waiting(old), 0);
    twins.net.pump();
    twins.swap();
    let mut letter = &letters[&7][..];
    while !letter.is_empty() {
        twins.net.b().take_over(now, &mut letter).unwrap();
    }
    twins.net.run_ms(3000);
    let now = twins.net.now;
    let mut accepted = Vec::new();
    while let Ok(a) = twins.net.b().accept(now, new) {
        accepted.push(a.id);
    }
    assert_eq!(accepted.len(), 3);
    assert_eq!(twins.net.recv(1, accepted[0], 100).unwrap(), b"hello");
    for client in [first, second, third] {
        assert!(twins.net.a().readiness(client).contains(Readiness::OUT));
        assert!(!twins.net.a().readiness(client).contains(Readiness::HUP));
    }
    // The old one ends by itself.
    twins.swap();
    twins.net.run_ms(3000);
    assert!(!twins.net.b().has_leavers());
}

#[test]
fn what_nobody_takes_is_reset_in_the_end_and_a_new_listener_has_it_before() {
    for again in [false, true] {
        let mut twins = Twins::new(Link::default(), 1);
        let old = twins.net.listen(1, 80, 16);
        let client = twins.net.connecting(0, 80);
        twins.net.run_ms(50);
        let now = twins.net.now;
        twins.net.b().leave(now, old).unwrap();
        let new = again.then(|| twins.net.listen(1, 80, 16));
        twins.net.run_ms(5000);
        let now = twins.net.now;
        match new {
            Some(new) => assert!(twins.net.b().accept(now, new).is_ok()),
            None => assert_eq!(twins.net.recv(0, client, 1), Err(SocketError::ConnectionReset)),
        }
        assert!(!twins.net.b().has_leavers());
    }
}

impl Twins {
    /// How many milliseconds pass until the stack at the cable offers what waits.
    fn offered_after(&mut self) -> u32 {
        let passes = |_: &u32| {
            let offers = self.net.b().has_offers();
            self.net.run_ms(u64::from(!offers));
            !offers
        };
        (0..5000).take_while(passes).count() as u32
    }
}

/// Nobody accepts for a while: it is offered to the other, and by that one again, more slowly.
#[test]
fn what_nobody_accepts_is_offered_to_the_others() {
    let mut twins = Twins::new(Link::default(), 1);
    let new = {
        twins.swap();
        let id = twins.net.listen(1, 80, 16);
        twins.swap();
        id
    };
    let old = twins.net.listen(1, 80, 16);
    let client = twins.net.connecting(0, 80);
    while twins.net.b().waiting(old) == 0 || !twins.net.a().readiness(client).contains(Readiness::OUT) {
        twins.net.run_ms(1);
    }
    assert!(twins.offered_after() <= 2);
    let now = twins.net.now;
    assert!(twins.net.b().offer(now, |_| None).is_empty(), "nobody to give it to");
    assert!(!twins.net.b().has_offers() && twins.net.b().waiting(old) == 1);
    assert_eq!(twins.offered_after(), 4, "once more, and more slowly");
    let now = twins.net.now;
    assert!(twins.net.b().offer(now, |_| None).is_empty());
    assert_eq!(twins.offered_after(), 8);
    let now = twins.net.now;
    let letter = twins.net.b().offer(now, |_| Some(7)).remove(&7).unwrap();
    assert!(twins.net.b().waiting(old) == 0 && twins.net.b().next_deadline() > now);
    twins.net.pump();
    twins.swap();
    twins.net.b().take_over(now, &mut &letter[..]).unwrap();
    assert_eq!(twins.offered_after(), 16, "what came from another goes on more slowly, too");
    // It is taken here all the same, and serves.
    let now = twins.net.now;
    let id = twins.net.b().accept(now, new).unwrap().id;
    assert!(twins.net.b().offer(now, |_| Some(7)).is_empty());
    twins.net.send(0, client, b"hello").unwrap();
    twins.net.run_ms(50);
    assert_eq!(twins.net.recv(1, id, 100).unwrap(), b"hello");
    assert!(twins.net.a().readiness(client).contains(Readiness::OUT));
    // Who has accepted may be about to do so again.
    twins.net.connecting(0, 80);
    while twins.net.b().waiting(new) == 0 {
        twins.net.run_ms(1);
    }
    assert!((20..25).contains(&twins.offered_after()));
}

/// Who accepts what is over hears so, as from Linux: it stays where it is.
#[test]
fn what_is_over_is_not_offered() {
    let mut twins = Twins::new(Link::default(), 1);
    let listener = twins.net.listen(1, 80, 16);
    let client = twins.net.connecting(0, 80);
    twins.net.run_ms(15);
    let now = twins.net.now;
    twins.net.a().set_option(now, client, OptName::Linger, Value::Linger(Some(0))).unwrap();
    twins.net.a().close(now, client).unwrap();
    twins.net.run_ms(50);
    let now = twins.net.now;
    assert!(twins.net.b().has_offers());
    assert!(twins.net.b().offer(now, |_| Some(7)).is_empty());
    assert!(twins.net.b().accept(now, listener).is_ok());
}

/// A listener that takes the place of one that left has what waited there, and offers it as if it had come just now.
#[test]
fn what_a_successor_has_is_offered_too() {
    let mut twins = Twins::new(Link::default(), 1);
    let old = twins.net.listen(1, 80, 16);
    twins.net.connecting(0, 80);
    while twins.net.b().waiting(old) == 0 {
        twins.net.run_ms(1);
    }
    let now = twins.net.now;
    twins.net.b().leave(now, old).unwrap();
    let new = twins.net.listen(1, 80, 16);
    assert_eq!(twins.net.b().waiting(new), 1);
    assert!((2..=3).contains(&twins.offered_after()));
    let now = twins.net.now;
    assert_eq!(twins.net.b().offer(now, |_| Some(7)).len(), 1);
}

/// The keeper has it until then, whatever state it is in, and hands it on as who had it before would have.
#[test]
fn what_a_listener_had_waits_where_nobody_listens_yet() {
    for comes in [true, false] {
        let mut twins = Twins::new(Link { delay: Duration::from_millis(10), ..Link::default() }, 1);
        let old = twins.net.listen(1, 80, 16);
        let clients = [twins.net.connecting(0, 80), twins.net.connecting(0, 80)];
        twins.net.run_ms(100);
        let late = twins.net.connecting(0, 80);
        twins.net.run_ms(15);
        twins.net.send(0, clients[0], b"hello").unwrap();
        let now = twins.net.now;
        twins.net.b().leave(now, old).unwrap();
        let letter = twins.net.b().hand_over(now, |_| Some(1)).remove(&1).unwrap();
        twins.net.pump();
        twins.swap();
        let mut rest = &letter[..];
        while !rest.is_empty() {
            let mut item = rest;
            assert_eq!(twins.net.b().take_over(now, &mut rest), Err(SocketError::ConnectionRefused));
            item = &item[..item.len() - rest.len()];
            twins.net.b().take_in(now, &mut item).unwrap();
            assert!(item.is_empty());
        }
        twins.net.run_ms(1500);
        let leavers = twins.net.b().leavers();
        assert_eq!(leavers.len(), 1, "they wait together");
        assert_eq!(twins.net.b().waiting(leavers[0].0), 3);
        if comes {
            let new = twins.net.listen(1, 80, 16);
            let now = twins.net.now;
            let accepted: Vec<_> = (0..3).map(|_| twins.net.b().accept(now, new).unwrap().id).collect();
            let heard = accepted.iter().filter(|id| twins.net.b().recv_queue(**id) == Ok(5)).count();
            assert_eq!(heard, 1, "what was said meanwhile");
        }
        twins.net.run_ms(5000);
        assert!(!twins.net.b().has_leavers());
        for client in clients.into_iter().chain([late]) {
            let over = twins.net.a().readiness(client).contains(Readiness::HUP);
            assert_eq!(over, !comes, "nobody came, and they are reset");
        }
    }
}

#[test]
fn a_letter_that_makes_no_sense_is_refused() {
    let mut twins = Twins::new(Link::default(), 1);
    let old = twins.net.listen(1, 80, 16);
    twins.net.connecting(0, 80);
    twins.net.run_ms(50);
    let now = twins.net.now;
    twins.net.b().leave(now, old).unwrap();
    let letter = twins.net.b().hand_over(now, |_| Some(1)).remove(&1).unwrap();
    twins.swap();
    let refused = twins.net.b().take_over(now, &mut &letter[..]);
    assert_eq!(refused, Err(SocketError::ConnectionRefused), "nobody listens");
    twins.net.listen(1, 80, 16);
    let mut rng = Rng::new(3);
    for _ in 0..5000 {
        let mut bad = letter.clone();
        bad.truncate(rng.below(letter.len() as u64 + 1) as usize);
        if !bad.is_empty() {
            let at = rng.below(bad.len() as u64) as usize;
            bad[at] = rng.next() as u8;
        }
        let mut rest = &bad[..];
        while !rest.is_empty() {
            let before = rest.len();
            let _ = twins.net.b().take_over(now, &mut rest);
            assert!(rest.len() < before, "it goes on");
        }
    }
    twins.net.b().reset_all(now);
}

/// The headers of a SYN that a listener keeps go with what it had, be the handshake over or not.
#[test]
fn saved_syns_move_with_what_they_began() {
    for over in [false, true] {
        let mut twins = Twins::new(Link::default(), 1);
        let listen = |net: &mut Net| {
            let (id, now) = (net.listen(1, 80, 8), net.now);
            net.b().set_option(now, id, OptName::SaveSyn, Value::Int(1)).unwrap();
            id
        };
        let listener = listen(&mut twins.net);
        twins.net.hosts[0].capture = true;
        let client = twins.net.connecting(0, 80);
        twins.net.pump();
        let syn = twins.net.hosts[0].sent[0][14..].to_vec();
        twins.net.run_for(Duration::from_micros(if over { 500 } else { 60 }));
        let now = twins.net.now;
        twins.net.b().leave(now, listener).unwrap();
        let letters = twins.net.b().hand_over(now, |_| Some(1));
        assert_eq!(twins.net.b().saved_syns(), 0);
        twins.swap();
        let heir = listen(&mut twins.net);
        for (_, letter) in letters {
            let mut from = &letter[..];
            while !from.is_empty() {
                twins.net.b().take_over(now, &mut from).unwrap();
            }
        }
        twins.net.run_for(Duration::from_secs(5));
        assert!(twins.net.a().readiness(client).contains(Readiness::OUT));
        let now = twins.net.now;
        let id = twins.net.b().accept(now, heir).unwrap().id;
        assert_eq!(twins.net.b().saved_syn(id).unwrap(), syn, "over: {over}");
    }
}
