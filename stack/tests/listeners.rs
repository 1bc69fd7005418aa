//! Listeners as Linux has them: several at one end (SO_REUSEPORT), and one that hears of a connection with its first
//! data (TCP_DEFER_ACCEPT).

mod common;

use std::time::Duration;

use common::{Family, Net};
use ringroad_stack::error::SocketError;
use ringroad_stack::socket::{How, OptName, Value};
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

/// Linux: TCP_SAVE_SYN has the headers of SYNs kept, from the network's on, or (2) from the link's; they are told until they
/// were taken. What is over leaves nothing behind.
#[test]
fn the_headers_of_a_syn_are_kept_for_who_asked() {
    for (family, mode) in [(Family::V4, 0), (Family::V4, 1), (Family::V6, 1), (Family::V4, 2)] {
        let mut net = Net::ideal().over(family);
        let now = net.now;
        let listener = listener(&mut net, OptName::SaveSyn, mode).unwrap();
        assert_eq!(
            net.b().set_option(now, listener, OptName::SaveSyn, Value::Int(3)),
            Err(SocketError::Invalid)
        );
        net.hosts[0].capture = true;
        let client = net.connecting(0, 80);
        let gone = net.connecting(0, 80);
        net.pump();
        let frames = std::mem::take(&mut net.hosts[0].sent);
        net.run_ms(10);
        net.close(0, gone);
        net.run_ms(10);
        let now = net.now;
        let ids = [0, 1].map(|_| net.b().accept(now, listener).unwrap().id);
        let expected = match mode {
            0 => &[][..],
            1 => &frames[0][14..],
            _ => &frames[0],
        };
        assert_eq!(net.b().saved_syn(ids[0]).unwrap(), expected);
        assert_eq!(net.b().option(ids[0], OptName::SaveSyn), Ok(Value::Int(mode)));
        assert_eq!(net.b().saved_syn(listener).unwrap(), &[]);
        assert_eq!(net.a().saved_syn(client).unwrap(), &[]);
        net.b().forget_saved_syn(ids[0]);
        assert_eq!(net.b().saved_syn(ids[0]).unwrap(), &[]);
        assert_eq!(net.b().saved_syns(), usize::from(mode != 0), "the other one's");
        // One more comes to nothing.
        net.connecting(0, 80);
        net.pump();
        net.run_for(Duration::from_micros(60));
        assert_eq!(net.b().saved_syns(), if mode == 0 { 0 } else { 2 });
        net.link.loss = 1000;
        net.close(1, ids[1]);
        net.run_for(Duration::from_secs(3600));
        assert_eq!(net.b().saved_syns(), 0);
    }
}

/// A socket may be held for long after its connection; the next one from the same end has a SYN of its own.
#[test]
fn the_headers_of_a_syn_are_not_those_of_the_connection_before() {
    let mut net = Net::ideal();
    let listener = listener(&mut net, OptName::SaveSyn, 1).unwrap();
    let (local, remote) = ((net.hosts[0].address, 4000).into(), (net.hosts[1].address, 80).into());
    let connect = |net: &mut Net| {
        let now = net.now;
        let client = net.a().tcp_socket(0).unwrap();
        net.a().set_option(now, client, OptName::Linger, Value::Linger(Some(0))).unwrap();
        net.a().bind(client, local).unwrap();
        assert_eq!(net.a().connect(now, client, remote), Err(SocketError::InProgress));
        net.run_ms(10);
        let now = net.now;
        (client, net.b().accept(now, listener).unwrap().id)
    };
    let (client, old) = connect(&mut net);
    assert!(!net.b().saved_syn(old).unwrap().is_empty());
    // A reset ends it.
    net.close(0, client);
    net.run_ms(10);
    let (_, new) = connect(&mut net);
    assert_eq!(net.b().saved_syn(old).unwrap(), &[]);
    net.b().forget_saved_syn(old);
    assert!(!net.b().saved_syn(new).unwrap().is_empty());
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

/// One that leaves for others to take what waits in it gets nothing new where others of its own stack hear.
#[test]
fn who_leaves_those_who_share_gets_no_more() {
    let mut net = Net::ideal();
    let [stays, leaves] = [(); 2].map(|()| listener(&mut net, OptName::ReusePort, 16).unwrap());
    let now = net.now;
    net.b().leave(now, leaves).unwrap();
    for _ in 0..16 {
        net.connecting(0, 80);
    }
    net.run_ms(100);
    assert_eq!((waiting(&mut net, stays), net.b().waiting(leaves)), (16, 0));
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

/// A handshake that was under way when its listener stopped is not the next one's, though that is the same socket.
#[test]
fn who_listens_again_begins_with_no_handshakes() {
    let mut net = Net::ideal();
    let listener = listener(&mut net, OptName::ReuseAddr, 1).unwrap();
    let client = net.connecting(0, 80);
    net.pump();
    net.run_for(Duration::from_micros(60));
    let now = net.now;
    assert_eq!(net.b().waiting(listener), 1);
    net.b().shutdown(now, listener, How::Both).unwrap();
    assert_eq!(net.b().waiting(listener), 0);
    net.b().listen(listener, 128).unwrap();
    net.run_ms(10);
    assert_eq!(net.a().take_error(client), Some(SocketError::ConnectionReset));
    assert_eq!((net.b().waiting(listener), waiting(&mut net, listener)), (0, 0));
}
