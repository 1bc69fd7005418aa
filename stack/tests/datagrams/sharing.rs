//! Several sockets at one end: SO_REUSEADDR, SO_REUSEPORT.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use ringroad_stack::error::SocketError;
use ringroad_stack::socket::{OptName, Value};
use ringroad_stack::types::SocketId;

use crate::common::Net;
use crate::{address, recv_from, send_to, udp};

fn sharing(net: &mut Net, h: usize, option: OptName) -> SocketId {
    let now = net.now;
    let stack = &mut net.hosts[h].stack;
    let id = stack.udp_socket(9).unwrap();
    stack.set_option(now, id, option, Value::Int(1)).unwrap();
    stack.bind(id, SocketAddr::from(([0, 0, 0, 0], 53))).unwrap();
    id
}

#[test]
fn an_end_is_shared_by_those_who_agree() {
    let mut net = Net::ideal();
    sharing(&mut net, 1, OptName::ReusePort);
    let other = net.b().udp_socket(0).unwrap();
    assert_eq!(net.b().bind(other, SocketAddr::from(([0, 0, 0, 0], 53))), Err(SocketError::AddressInUse));
}

#[test]
fn with_reuse_port_flows_are_spread_and_each_stays() {
    let mut net = Net::ideal();
    let servers: Vec<SocketId> = (0..4).map(|_| sharing(&mut net, 1, OptName::ReusePort)).collect();
    let clients: Vec<SocketId> = (0..64).map(|n| udp(&mut net, 0, 2000 + n)).collect();
    for _ in 0..3 {
        for client in &clients {
            send_to(&mut net, 0, *client, Some(address(1, 53)), b"x").unwrap();
        }
    }
    net.run_ms(1);
    let mut flows: BTreeMap<u16, BTreeMap<usize, usize>> = BTreeMap::new();
    for (at, server) in servers.iter().enumerate() {
        let mut count = 0;
        while let Ok((_, told)) = recv_from(&mut net, 1, *server, 10) {
            *flows.entry(told.remote.port()).or_default().entry(at).or_default() += 1;
            count += 1;
        }
        assert!((3 * 4..=3 * 32).contains(&count), "server {at} got {count} of 192");
    }
    assert!(flows.len() == 64 && flows.values().all(|f| f.len() == 1 && f.values().all(|n| *n == 3)));
    // One that goes leaves its share to the others.
    net.close(1, servers[0]);
    for client in &clients {
        send_to(&mut net, 0, *client, Some(address(1, 53)), b"x").unwrap();
    }
    net.run_ms(1);
    let got: usize = servers[1..]
        .iter()
        .map(|s| (0..64).take_while(|_| recv_from(&mut net, 1, *s, 9).is_ok()).count())
        .sum();
    assert_eq!(got, 64);
}

#[test]
fn with_reuse_address_the_last_one_hears() {
    let mut net = Net::ideal();
    let first = sharing(&mut net, 1, OptName::ReuseAddr);
    let second = sharing(&mut net, 1, OptName::ReuseAddr);
    let a = udp(&mut net, 0, 1000);
    send_to(&mut net, 0, a, Some(address(1, 53)), b"1").unwrap();
    net.run_ms(1);
    assert_eq!(recv_from(&mut net, 1, first, 9).unwrap_err(), SocketError::WouldBlock);
    assert_eq!(recv_from(&mut net, 1, second, 9).unwrap().0, b"1");
    // One with a peer leaves strangers to the other, until it has none again.
    let now = net.now;
    net.b().connect(now, second, address(0, 9999)).unwrap();
    send_to(&mut net, 0, a, Some(address(1, 53)), b"2").unwrap();
    net.run_ms(1);
    assert_eq!(recv_from(&mut net, 1, first, 9).unwrap().0, b"2");
    net.b().connect(now, second, SocketAddr::from(([0, 0, 0, 0], 0))).unwrap();
    net.close(1, first);
    send_to(&mut net, 0, a, Some(address(1, 53)), b"3").unwrap();
    net.run_ms(1);
    assert_eq!(recv_from(&mut net, 1, second, 9).unwrap().0, b"3");
    net.close(1, second);
    net.run_ms(1);
    let asked = net.hosts[1].requests.len();
    assert_eq!(asked, 2, "steered once, unsteered once: {:?}", net.hosts[1].requests);
}
