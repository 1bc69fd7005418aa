//! Listeners as Linux has them: several at one end (SO_REUSEPORT), and one that hears of a connection with its first
//! data (TCP_DEFER_ACCEPT).

mod common;

use std::time::Duration;

use common::Net;
use ringroad_stack::error::SocketError;
use ringroad_stack::socket::{OptName, Value};
use ringroad_stack::types::{Readiness, SocketId};

fn waiting(net: &mut Net, listener: SocketId) -> usize {
    let mut count = 0;
    let now = net.now;
    while net.b().accept(now, listener).is_ok() {
        count += 1;
    }
    count
}

/// A listener at port 80 that sets `option` first.
fn listener(net: &mut Net, option: OptName, value: i32) -> Result<SocketId, SocketError> {
    let now = net.now;
    let address = (net.hosts[1].address, 80).into();
    let id = net.b().tcp_socket(0)?;
    net.b().set_option(now, id, option, Value::Int(value))?;
    net.b().bind(id, address)?;
    let listened = net.b().listen(id, 128);
    if listened.is_err() {
        net.close(1, id);
    }
    listened.map(|()| id)
}

#[test]
fn those_who_share_a_port_get_a_share_of_the_connections() {
    let mut net = Net::ideal();
    let listeners: Vec<SocketId> =
        (0..4).map(|_| listener(&mut net, OptName::ReusePort, 1).unwrap()).collect();
    assert_eq!(listener(&mut net, OptName::ReuseAddr, 1), Err(SocketError::AddressInUse));
    for _ in 0..200 {
        net.connecting(0, 80);
    }
    net.run_ms(100);
    let shares: Vec<usize> = listeners.iter().map(|id| waiting(&mut net, *id)).collect();
    assert_eq!(shares.iter().sum::<usize>(), 200);
    assert!(shares.iter().all(|share| (20..=90).contains(share)), "{shares:?}");
    // One leaves; the others go on.
    net.close(1, listeners[3]);
    net.close(1, listeners[0]);
    for _ in 0..50 {
        net.connecting(0, 80);
    }
    net.run_ms(100);
    assert_eq!(waiting(&mut net, listeners[1]) + waiting(&mut net, listeners[2]), 50);
    net.close(1, listeners[1]);
    net.close(1, listeners[2]);
    let refused = net.connecting(0, 80);
    net.run_ms(10);
    assert_eq!(net.a().take_error(refused), Some(SocketError::ConnectionRefused));
}

#[test]
fn a_flow_always_meets_the_same_of_those_who_share() {
    let mut net = Net::ideal();
    let pair = [(); 2].map(|()| listener(&mut net, OptName::ReusePort, 1).unwrap());
    let client = net.connecting(0, 80);
    net.run_ms(10);
    let shares = pair.map(|id| waiting(&mut net, id));
    assert_eq!(shares.iter().sum::<usize>(), 1);
    assert!(net.a().readiness(client).contains(Readiness::OUT));
}

#[test]
fn a_deferred_connection_is_heard_of_with_its_first_data() {
    let mut net = Net::ideal();
    let listener = listener(&mut net, OptName::DeferAccept, 5).unwrap();
    let client = net.connecting(0, 80);
    net.run_ms(100);
    assert!(net.a().readiness(client).contains(Readiness::OUT), "the client knows nothing of it");
    assert!(net.b().readiness(listener).is_empty());
    net.send(0, client, b"hello").unwrap();
    net.run_ms(10);
    let now = net.now;
    let server = net.b().accept(now, listener).unwrap().id;
    assert_eq!(net.recv(1, server, 100).unwrap(), b"hello");
}

#[test]
fn a_deferred_connection_without_data_comes_when_its_time_is_up() {
    let mut net = Net::ideal();
    let listener = listener(&mut net, OptName::DeferAccept, 3).unwrap();
    let client = net.connecting(0, 80);
    net.run_for(Duration::from_millis(2500));
    assert!(net.b().readiness(listener).is_empty());
    net.run_for(Duration::from_millis(1500));
    assert!(net.b().readiness(listener).contains(Readiness::IN));
    net.close(0, client);
    net.run_ms(10);
    let now = net.now;
    let server = net.b().accept(now, listener).unwrap().id;
    assert_eq!(net.recv(1, server, 100).unwrap(), b"");
}
