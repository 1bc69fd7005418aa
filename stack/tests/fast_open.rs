//! Fast Open between two stacks (RFC 7413): cookies, data in the SYN, and every way in which it falls back.

mod common;

use std::time::Duration;

use common::{Link, Net, pattern, recv, send};
use ringroad_stack::Stack;
use ringroad_stack::config::Config;
use ringroad_stack::error::SocketError;
use ringroad_stack::socket::{OptName, Value};
use ringroad_stack::types::{Readiness, SocketId};

const MINUTE: Duration = Duration::from_secs(60);

fn net() -> Net {
    let mut config = Config::default();
    config.tcp.fast_open = 3;
    Net::with_config(config, Link::default(), 1)
}

/// A listener on host 1 that lets `pending` connections be open before their handshake is over.
fn server(net: &mut Net, pending: i32) -> SocketId {
    let listener = net.listen(1, 80, 16);
    let now = net.now;
    net.b().set_option(now, listener, OptName::FastOpen, Value::Int(pending)).unwrap();
    listener
}

/// A client's socket, bound.
fn client(net: &mut Net, port: u16) -> SocketId {
    let stack = net.a();
    let id = stack.tcp_socket(2).unwrap();
    stack.bind(id, ([0, 0, 0, 0], port).into()).unwrap();
    id
}

/// sendto with MSG_FASTOPEN.
fn send_opening(net: &mut Net, id: SocketId, data: &[u8]) -> Result<usize, SocketError> {
    let (now, remote) = (net.now, ([10, 0, 0, 2], 80).into());
    let mut at = 0;
    net.a().send_opening(now, id, remote, data.len(), &mut |room| {
        let n = room.len().min(data.len() - at);
        room[..n].copy_from_slice(&data[at..at + n]);
        at += n;
        Ok(n)
    })
}

fn stat(stack: &Stack, name: &str) -> u64 {
    stack.stats().rows().find(|(row, _)| *row == name).unwrap().1
}

/// The first connection brings the cookie.
fn with_cookie(pending: i32) -> (Net, SocketId) {
    let mut net = net();
    let listener = server(&mut net, pending);
    let first = client(&mut net, 5000);
    assert_eq!(send_opening(&mut net, first, b"lost on nobody"), Err(SocketError::InProgress));
    net.run_ms(10);
    assert!(net.a().readiness(first).contains(Readiness::OUT));
    assert_eq!(net.send(0, first, b"hello"), Ok(5));
    net.run_ms(10);
    let now = net.now;
    let accepted = net.b().accept(now, listener).unwrap().id;
    assert_eq!(net.recv(1, accepted, 100).unwrap(), b"hello");
    assert_eq!(stat(net.b(), "tcp_fastopen_cookie_reqd"), 1);
    (net, listener)
}

/// RFC 7413 §3.1, §4.2: the server's application has the data, and answers, before the handshake is over.
/// RFC 7413 §4.2.2
#[test]
fn data_in_the_syn_is_answered_within_one_round_trip() {
    let (mut net, listener) = with_cookie(4);
    net.link.delay = Duration::from_millis(50);
    let started = net.now;
    let fast = client(&mut net, 5001);
    assert_eq!(send_opening(&mut net, fast, b"question"), Ok(8));
    let mut accepted = None;
    assert!(net.run_until(MINUTE, |net| {
        let now = net.now;
        accepted = accepted.or_else(|| net.b().accept(now, listener).ok().map(|a| a.id));
        accepted.is_some()
    }));
    let server = accepted.unwrap();
    assert_eq!(net.now.since(started), Duration::from_millis(50));
    assert!(net.b().readiness(server).contains(Readiness::IN | Readiness::OUT));
    assert_eq!(net.recv(1, server, 100).unwrap(), b"question");
    assert_eq!(net.send(1, server, b"answer"), Ok(6));
    let mut got = Vec::new();
    assert!(net.run_until(MINUTE, |net| {
        got.extend(net.recv(0, fast, 100).unwrap_or_default());
        !got.is_empty()
    }));
    assert_eq!((got.as_slice(), net.now.since(started)), (&b"answer"[..], Duration::from_millis(100)));
    net.run_ms(1000);
    assert_eq!(stat(net.a(), "tcp_fastopen_active"), 1);
    assert_eq!(stat(net.b(), "tcp_fastopen_passive"), 1);
    assert_eq!(stat(net.a(), "tcp_retransmits") + stat(net.b(), "tcp_retransmits"), 0);
    let Ok(Value::Info(info)) = net.a().option(fast, OptName::Info) else { panic!("no info") };
    assert_eq!(info.options & 32, 32, "TCPI_OPT_SYN_DATA");
    net.transfer(0, fast, server, &pattern(200_000, 1), MINUTE);
    net.transfer(1, server, fast, &pattern(200_000, 2), MINUTE);
    for (host, id) in [(0, fast), (1, server)] {
        net.close(host, id);
    }
    net.run_for(Duration::from_secs(200));
}

/// RFC 7413 §4.2: no more is sent with the SYN than fits, the rest follows.
#[test]
fn what_does_not_fit_the_syn_follows() {
    let (mut net, listener) = with_cookie(4);
    let fast = client(&mut net, 5001);
    let data = pattern(10_000, 7);
    let taken = send_opening(&mut net, fast, &data).unwrap();
    assert_eq!(taken, 1460 - 40);
    let (mut sent, mut got, mut server) = (taken, Vec::new(), None);
    assert!(net.run_until(MINUTE, |net| {
        let now = net.now;
        if sent < data.len() {
            sent += send(net.a(), now, fast, &data[sent..]).unwrap_or(0);
        }
        server = server.or_else(|| net.b().accept(now, listener).ok().map(|a| a.id));
        if let Some(server) = server {
            got.extend(recv(net.b(), now, server, 65_536).unwrap_or_default());
        }
        got.len() == data.len()
    }));
    assert!(got == data);
}

/// TCP_FASTOPEN_CONNECT: connect answers at once, the first send is the SYN.
#[test]
fn a_connect_can_wait_for_the_first_send() {
    let (mut net, listener) = with_cookie(4);
    let fast = client(&mut net, 5001);
    let (now, remote) = (net.now, ([10, 0, 0, 2], 80).into());
    net.a().set_option(now, fast, OptName::FastOpenConnect, Value::Int(1)).unwrap();
    assert_eq!(net.a().option(fast, OptName::FastOpenConnect), Ok(Value::Int(1)));
    assert_eq!(net.a().connect(now, fast, remote), Ok(()));
    assert_eq!(net.a().connect(now, fast, remote), Err(SocketError::IsConnected));
    net.run_ms(100);
    assert_eq!(net.a().readiness(fast), Readiness::OUT);
    assert!(net.b().accept(now, listener).is_err(), "nothing was sent yet");
    assert_eq!(net.send(0, fast, b"first"), Ok(5));
    net.run_ms(10);
    let now = net.now;
    let server = net.b().accept(now, listener).unwrap().id;
    assert_eq!(net.recv(1, server, 100).unwrap(), b"first");
    assert_eq!(net.a().connect(now, fast, remote), Ok(()), "now it tells how it went");
    // Without a cookie it connects as usual, and asks for one.
    let mut other = net_without_cookie();
    let (plain, now) = (client(&mut other, 5001), other.now);
    other.a().set_option(now, plain, OptName::FastOpenConnect, Value::Int(1)).unwrap();
    assert_eq!(other.a().connect(now, plain, remote), Err(SocketError::InProgress));
    other.run_ms(10);
    assert_eq!(stat(other.b(), "tcp_fastopen_cookie_reqd"), 1);
}

fn net_without_cookie() -> Net {
    let mut net = net();
    server(&mut net, 4);
    net
}

/// RFC 7413 §4.1.2, §4.2.1: a cookie that is not good costs a round trip, and brings a good one.
/// RFC 7413 §4.2.2
#[test]
fn a_server_that_does_not_take_the_data_gets_it_again() {
    let (mut net, listener) = with_cookie(4);
    // The keys change twice in a day.
    net.run_for(Duration::from_secs(86_400));
    let fast = client(&mut net, 5001);
    assert_eq!(send_opening(&mut net, fast, b"question"), Ok(8));
    net.run_ms(100);
    let now = net.now;
    let server = net.b().accept(now, listener).unwrap().id;
    assert_eq!(net.recv(1, server, 100).unwrap(), b"question");
    assert_eq!(stat(net.a(), "tcp_fastopen_active_fail"), 1);
    assert_eq!(stat(net.b(), "tcp_fastopen_passive_fail"), 1);
    let again = client(&mut net, 5002);
    assert_eq!(send_opening(&mut net, again, b"question"), Ok(8));
    net.run_ms(100);
    assert_eq!(stat(net.a(), "tcp_fastopen_active"), 1);
}

/// RFC 7413 §4.1.3.1: a SYN with data that the network drops is followed by one without, and not tried again.
#[test]
fn a_network_that_drops_such_syns_is_remembered() {
    let (mut net, listener) = with_cookie(4);
    net.link.loss = 1000;
    let fast = client(&mut net, 5001);
    assert_eq!(send_opening(&mut net, fast, b"question"), Ok(8));
    net.run_ms(500);
    net.link.loss = 0;
    // A server that has forgotten all about it: what comes through has no option, and gets none.
    let now = net.now;
    net.b().set_option(now, listener, OptName::FastOpen, Value::Int(0)).unwrap();
    net.run_ms(1000);
    let now = net.now;
    let server = net.b().accept(now, listener).unwrap().id;
    assert_eq!(net.recv(1, server, 100).unwrap(), b"question");
    let next = client(&mut net, 5002);
    assert_eq!(send_opening(&mut net, next, b"question"), Err(SocketError::InProgress));
}

/// RFC 7413 §5.1: a listener has so many pending at the most, those that were reset included.
#[test]
fn a_flood_with_a_good_cookie_is_bounded() {
    let (mut net, _) = with_cookie(4);
    // SYN-ACKs are lost: every connection stays pending.
    for port in 6000..6010 {
        let fast = client(&mut net, port);
        assert_eq!(send_opening(&mut net, fast, b"x"), Ok(1));
        for bytes in net.hosts[0].drain() {
            let now = net.now;
            net.hosts[1].receive(now, &bytes);
        }
        net.hosts[1].drain();
    }
    assert_eq!(stat(net.b(), "tcp_fastopen_passive"), 4);
    assert_eq!(stat(net.b(), "tcp_fastopen_listen_overflow"), 6);
    // The SYN-ACKs that are sent again find nobody: four that are reset count for a minute yet.
    let now = net.now;
    net.a().reset_all(now);
    net.run_ms(1100);
    assert_eq!(net.b().sockets().filter(|s| s.state == "SYN-RECEIVED").count(), 0);
    let more = client(&mut net, 7000);
    let _ = send_opening(&mut net, more, b"x");
    net.run_ms(10);
    assert_eq!(stat(net.b(), "tcp_fastopen_passive"), 4);
    net.run_for(Duration::from_secs(61));
    let more = client(&mut net, 7001);
    assert_eq!(send_opening(&mut net, more, b"x"), Ok(1));
    net.run_ms(10);
    assert_eq!(stat(net.b(), "tcp_fastopen_passive"), 5);
}

/// Off by default: a server does nothing that was not set up, a client nothing that no socket asked for.
#[test]
fn nothing_happens_unasked() {
    let mut net = Net::ideal();
    let listener = server(&mut net, 4);
    let asks = client(&mut net, 5000);
    assert_eq!(send_opening(&mut net, asks, b"x"), Err(SocketError::InProgress));
    net.run_ms(10);
    assert_eq!(stat(net.b(), "tcp_fastopen_cookie_reqd"), 0);
    let now = net.now;
    assert!(net.b().accept(now, listener).is_ok());
    let mut config = Config::default();
    config.tcp.fast_open = 0;
    let mut off = Net::with_config(config, Link::default(), 1);
    let id = client(&mut off, 5000);
    assert_eq!(send_opening(&mut off, id, b"x"), Err(SocketError::NotSupported));
}

/// Losses, repetitions and reordering, with Fast Open throughout.
#[test]
fn a_bad_link_loses_nothing_of_it() {
    for seed in 0..30 {
        let mut config = Config::default();
        config.tcp.fast_open = 3;
        let mut net = Net::with_config(config, Link::bad(), seed);
        let listener = server(&mut net, 16);
        for round in 0..6u16 {
            let fast = client(&mut net, 5000 + round);
            let data = pattern(5000, seed + u64::from(round));
            let mut sent = match send_opening(&mut net, fast, &data) {
                Ok(n) => n,
                Err(SocketError::InProgress) => 0,
                Err(e) => panic!("{e}"),
            };
            let (mut got, mut server) = (Vec::new(), None);
            let done = net.run_until(MINUTE * 3, |net| {
                let now = net.now;
                if sent < data.len() {
                    sent += send(net.a(), now, fast, &data[sent..]).unwrap_or(0);
                }
                server = server.or_else(|| net.b().accept(now, listener).ok().map(|a| a.id));
                if let Some(server) = server {
                    got.extend(recv(net.b(), now, server, 65_536).unwrap_or_default());
                }
                got.len() >= data.len()
            });
            assert!(done && got == data, "seed {seed}, round {round}: {} octets", got.len());
            net.close(0, fast);
            net.close(1, server.unwrap());
        }
        net.run_for(Duration::from_secs(300));
        net.assert_whole();
    }
}
