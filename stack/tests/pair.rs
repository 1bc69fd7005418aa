//! Two stacks talk TCP.

mod common;

use std::net::SocketAddr;
use std::time::Duration;

use common::{Family, IFACE, Link, Net, pattern};
use ringroad_stack::control::{ControlEvent, Request};
use ringroad_stack::error::SocketError;
use ringroad_stack::socket::{How, OptName, Value};
use ringroad_stack::types::{LocalKey, Protocol, Readiness};

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn echo_and_an_orderly_end() {
    Family::BOTH.into_iter().for_each(|family| echo(Net::ideal().over(family)));
}

fn echo(mut net: Net) {
    let (client, server, listener) = net.connected();
    assert_eq!(net.send(0, client, b"hello"), Ok(5));
    net.run_ms(1);
    assert!(net.b().readiness(server).contains(Readiness::IN));
    assert_eq!(net.recv(1, server, 100).unwrap(), b"hello");
    assert_eq!(net.recv(1, server, 100), Err(SocketError::WouldBlock));
    assert_eq!(net.send(1, server, b"world!"), Ok(6));
    net.run_ms(1);
    assert_eq!(net.recv(0, client, 3).unwrap(), b"wor");
    assert_eq!(net.recv(0, client, 100).unwrap(), b"ld!");

    net.close(0, client);
    net.run_ms(1);
    assert!(net.b().readiness(server).contains(Readiness::IN | Readiness::RDHUP));
    assert_eq!(net.recv(1, server, 100).unwrap(), b"");
    net.close(1, server);
    net.run_ms(100);
    let states: Vec<_> = net.a().sockets().map(|s| s.state).collect();
    assert_eq!(states, ["TIME-WAIT"]);
    assert_eq!((net.a().orphans(), net.b().orphans()), (0, 0));
    assert_eq!(net.b().sockets().count(), 1);

    net.run_for(MINUTE);
    assert_eq!(net.a().sockets().count(), 0);
    net.close(1, listener);
    assert_eq!(net.b().sockets().count(), 0);
    net.pump();
    net.assert_whole();
}

#[test]
fn a_megabyte_each_way() {
    for family in Family::BOTH {
        let mut net = Net::ideal().over(family);
        let (client, server, _) = net.connected();
        net.transfer(0, client, server, &pattern(1 << 20, 1), MINUTE);
        net.transfer(1, server, client, &pattern(1 << 20, 2), MINUTE);
        let stats = net.a().stats();
        assert_eq!((stats.tcp_retransmits, stats.drop_l4_checksum), (0, 0));
    }
}

#[test]
fn a_bad_link_changes_nothing_but_the_time() {
    for (seed, family) in (1..=6).flat_map(|seed| Family::BOTH.map(|family| (seed, family))) {
        let mut net = Net::new(Link::bad(), seed).over(family);
        let (client, server, listener) = net.connected();
        net.transfer(0, client, server, &pattern(300_000, seed), 20 * MINUTE);
        net.transfer(1, server, client, &pattern(300_000, seed + 100), 20 * MINUTE);
        net.close(1, server);
        net.close(0, client);
        net.close(1, listener);
        net.run_for(20 * MINUTE);
        assert_eq!(net.a().sockets().count() + net.b().sockets().count(), 0, "seed {seed}");
        net.assert_whole();
    }
}

#[test]
fn nobody_listens() {
    Family::BOTH.into_iter().for_each(|family| refused(Net::ideal().over(family)));
}

fn refused(mut net: Net) {
    let client = net.connecting(0, 81);
    net.run_ms(10);
    let ready = net.a().readiness(client);
    assert!(ready.contains(Readiness::ERR | Readiness::HUP), "{ready:?}");
    assert_eq!(net.a().take_error(client), Some(SocketError::ConnectionRefused));
    assert_eq!(net.a().take_error(client), None);
    assert_eq!(net.b().stats().drop_no_socket, 1);
    assert_eq!(net.b().stats().tcp_resets_out, 1);
}

/// Linux: the error queue has the ICMP error that ended a connect (tcp_v4_err), whatever IP_RECVERR says. A connection that
/// was open and dies of a host that is gone is told by SO_ERROR alone, also where nobody asked yet how its connect went.
#[test]
fn the_error_queue_has_what_ended_a_connect_and_nothing_else() {
    for open in [false, true] {
        let mut net = Net::ideal();
        let client = if open { net.connected().0 } else { net.connecting(0, 80) };
        let (now, address) = (net.now, net.hosts[1].address);
        net.a().control(now, ControlEvent::NeighbourGone { iface: IFACE, address, failed: true });
        net.link.loss = 1000;
        if open {
            net.send(0, client, b"x").unwrap();
        }
        let dead = |net: &mut Net| net.a().readiness(client).contains(Readiness::ERR);
        assert!(net.run_until(Duration::from_secs(7200), dead), "open: {open}");
        assert_eq!(net.a().readiness(client).contains(Readiness::REPORT), !open);
        let report = net.a().recv_error(client, 10, &mut |_| Ok(())).map(|report| (report.kind, report.code));
        assert_eq!(report, if open { Err(SocketError::WouldBlock) } else { Ok((3, 1)) });
        assert_eq!(net.a().take_error(client), Some(SocketError::HostUnreachable));
    }
}

#[test]
fn connect_says_what_linux_says() {
    let mut net = Net::ideal();
    let now = net.now;
    let listener = net.listen(1, 80, 16);
    let remote = SocketAddr::from(([10, 0, 0, 2], 80));
    let client = net.connecting(0, 80);
    assert_eq!(net.a().connect(now, client, remote), Err(SocketError::AlreadyConnecting));
    assert_eq!(net.a().peer(client), Err(SocketError::NotConnected));
    net.run_ms(10);
    let now = net.now;
    assert_eq!(net.a().connect(now, client, remote), Ok(()));
    assert_eq!(net.a().connect(now, client, remote), Err(SocketError::IsConnected));
    assert_eq!(net.a().peer(client), Ok(remote));
    assert_eq!(net.a().listen(client, 5), Err(SocketError::Invalid));
    assert_eq!(net.a().accept(now, client), Err(SocketError::Invalid));
    assert_eq!(net.b().connect(now, listener, remote), Err(SocketError::IsConnected));

    let fresh = net.a().tcp_socket(0).unwrap();
    assert_eq!(net.send(0, fresh, b"x"), Err(SocketError::BrokenPipe));
    assert_eq!(net.recv(0, fresh, 1), Err(SocketError::NotConnected));
    assert_eq!(net.a().connect(now, fresh, remote), Err(SocketError::Invalid));
    assert_eq!(net.a().listen(fresh, 1), Err(SocketError::Invalid));
    net.a().bind(fresh, SocketAddr::from(([0, 0, 0, 0], 999))).unwrap();
    assert_eq!(net.a().bind(fresh, SocketAddr::from(([0, 0, 0, 0], 998))), Err(SocketError::Invalid));
    let elsewhere = SocketAddr::from(([192, 0, 2, 1], 80));
    assert_eq!(net.a().connect(now, fresh, elsewhere), Err(SocketError::NetworkUnreachable));
    assert_eq!(net.a().shutdown(now, fresh, How::Both), Err(SocketError::NotConnected));
}

#[test]
fn half_close_leaves_the_other_half_open() {
    let mut net = Net::ideal();
    let (client, server, _) = net.connected();
    net.send(0, client, b"question").unwrap();
    let now = net.now;
    net.a().shutdown(now, client, How::Write).unwrap();
    assert_eq!(net.send(0, client, b"x"), Err(SocketError::BrokenPipe));
    net.run_ms(10);
    assert_eq!(net.recv(1, server, 100).unwrap(), b"question");
    assert_eq!(net.recv(1, server, 100).unwrap(), b"");
    net.send(1, server, b"answer").unwrap();
    net.run_ms(10);
    assert_eq!(net.recv(0, client, 100).unwrap(), b"answer");
    let now = net.now;
    net.b().shutdown(now, server, How::Write).unwrap();
    net.run_ms(10);
    assert_eq!(net.recv(0, client, 100).unwrap(), b"");
    assert!(net.a().readiness(client).contains(Readiness::HUP | Readiness::RDHUP));
}

#[test]
fn unread_data_is_answered_by_a_reset() {
    let mut net = Net::ideal();
    let (client, server, _) = net.connected();
    net.send(0, client, b"never read").unwrap();
    net.run_ms(10);
    net.close(1, server);
    net.run_ms(10);
    assert_eq!(net.recv(0, client, 1), Err(SocketError::ConnectionReset));
    assert_eq!(net.recv(0, client, 1).unwrap_or_default(), b"");
}

#[test]
fn linger_zero_resets() {
    let mut net = Net::ideal();
    let (client, server, _) = net.connected();
    let now = net.now;
    net.a().set_option(now, client, OptName::Linger, Value::Linger(Some(0))).unwrap();
    net.close(0, client);
    assert_eq!(net.a().sockets().count(), 0);
    net.run_ms(10);
    assert_eq!(net.b().take_error(server), Some(SocketError::ConnectionReset));
}

#[test]
fn data_goes_on_after_close() {
    let mut net = Net::ideal();
    let (client, server, _) = net.connected();
    let data = pattern(40_000, 7);
    assert_eq!(net.send(0, client, &data), Ok(data.len()));
    net.close(0, client);
    let now = net.now;
    assert_eq!(net.a().close(now, client), Err(SocketError::BadSocket));
    assert_eq!(net.a().orphans(), 1);
    assert!(net.a().busy());
    let mut got = Vec::new();
    assert!(net.run_until(MINUTE, |net| {
        while let Ok(bytes) = net.recv(1, server, 1 << 20) {
            if bytes.is_empty() {
                return true;
            }
            got.extend(bytes);
        }
        false
    }));
    assert!(got == data);
    net.close(1, server);
    net.run_ms(100);
    assert_eq!(net.a().orphans(), 0);
}

#[test]
fn the_backlog_is_linux_s() {
    let mut net = Net::ideal();
    let listener = net.listen(1, 80, 1);
    let clients: Vec<_> = (0..4).map(|_| net.connecting(0, 80)).collect();
    net.run_ms(200);
    // backlog + 1 wait for accept. The others believe that they are connected: their SYN was answered.
    let queued = |net: &mut Net| net.b().sockets().find(|s| s.state == "LISTEN").unwrap().recv_queue;
    assert_eq!(queued(&mut net), 2);
    assert!(net.b().stats().drop_backlog > 0);
    // Two were answered with a cookie: of them there is nothing here, their first data bring them back.
    assert_eq!(net.b().stats().tcp_syncookies_sent, 3);
    for &client in &clients {
        assert_eq!(net.send(0, client, b"hello"), Ok(5));
    }
    for _ in 0..4 {
        let mut got = false;
        assert!(net.run_until(MINUTE, |net| {
            let now = net.now;
            got |= net.b().accept(now, listener).is_ok();
            got
        }));
    }
    for client in clients {
        assert!(net.a().readiness(client).contains(Readiness::OUT));
    }
}

#[test]
fn a_listener_that_goes_leaves_its_connections() {
    let mut net = Net::ideal();
    let (client, server, listener) = net.connected();
    net.pump();
    let key = LocalKey { protocol: Protocol::Tcp, address: [10, 0, 0, 2].into(), port: 80 };
    assert_eq!(net.hosts[1].requests, [Request::SteerPort(key)]);
    net.hosts[1].requests.clear();
    net.close(1, listener);
    net.pump();
    let requests = net.hosts[1].requests.clone();
    assert!(matches!(requests[0], Request::SteerFlow(flow) if flow.local.port() == 80), "{requests:?}");
    assert_eq!(requests[1..], [Request::UnsteerPort(key)]);
    net.transfer(0, client, server, &pattern(10_000, 3), MINUTE);
    net.hosts[1].requests.clear();
    net.close(1, server);
    net.close(0, client);
    net.run_for(2 * MINUTE);
    assert!(matches!(net.hosts[1].requests[..], [Request::UnsteerFlow(_)]), "{:?}", net.hosts[1].requests);
    assert!(matches!(net.hosts[0].requests[..], [Request::SteerFlow(_), Request::UnsteerFlow(_)]));
    net.assert_whole();
}

#[test]
fn a_listener_that_goes_resets_what_nobody_accepted() {
    let mut net = Net::ideal();
    let listener = net.listen(1, 80, 16);
    let client = net.connecting(0, 80);
    net.run_ms(10);
    net.close(1, listener);
    net.run_ms(10);
    assert_eq!(net.a().take_error(client), Some(SocketError::ConnectionReset));
    assert_eq!(net.b().sockets().count(), 0);
    net.assert_whole();
}

#[test]
fn wakes_come_once_and_say_what_is_ready() {
    let mut net = Net::ideal();
    let (client, server, listener) = net.connected();
    net.pump();
    let woken: Vec<_> = net.hosts[1].wakes.iter().map(|w| (w.id, w.cookie)).collect();
    assert_eq!(woken, [(listener, 1)]);
    net.b().set_cookie(server, 77).unwrap();
    net.hosts[1].wakes.clear();
    for _ in 0..5 {
        net.send(0, client, &[1; 100]).unwrap();
    }
    net.run_ms(10);
    let wakes = net.hosts[1].wakes.clone();
    assert!(!wakes.is_empty());
    assert!(wakes.iter().all(|w| w.id == server && w.cookie == 77 && w.readiness.contains(Readiness::IN)));
}

#[test]
fn reset_all_says_goodbye_to_everybody() {
    let mut net = Net::ideal();
    let (client, _server, _) = net.connected();
    let now = net.now;
    net.b().reset_all(now);
    assert_eq!(net.b().sockets().count(), 0);
    net.run_ms(10);
    assert_eq!(net.a().take_error(client), Some(SocketError::ConnectionReset));
    net.close(0, client);
    net.pump();
    net.assert_whole();
}

#[test]
fn a_new_connection_takes_over_a_tuple_in_time_wait() {
    let mut net = Net::ideal();
    let (client, server, listener) = net.connected();
    // The server closes first and keeps the tuple.
    net.close(1, server);
    net.run_ms(10);
    let local = net.a().local(client).unwrap().unwrap();
    net.close(0, client);
    net.run_ms(10);
    assert!(net.b().sockets().any(|s| s.state == "TIME-WAIT"));
    let now = net.now;
    let again = net.a().tcp_socket(0).unwrap();
    net.a().bind(again, local).unwrap();
    let remote = SocketAddr::from(([10, 0, 0, 2], 80));
    assert_eq!(net.a().connect(now, again, remote), Err(SocketError::InProgress));
    net.run_ms(100);
    let now = net.now;
    assert!(net.b().accept(now, listener).is_ok());
    assert!(!net.b().sockets().any(|s| s.state == "TIME-WAIT"));
}

#[test]
fn small_writes_that_are_gathered_share_a_segment() {
    for gather in [false, true] {
        let mut net = Net::ideal();
        let (client, server, _) = net.connected();
        let now = net.now;
        net.a().set_option(now, client, OptName::NoDelay, Value::Int(1)).unwrap();
        net.a().set_gather(gather);
        let before = net.a().stats().tcp_segs_out;
        net.send(0, client, b"header ").unwrap();
        net.send(0, client, &pattern(2000, 3)).unwrap();
        net.send(0, client, b"trailer").unwrap();
        assert_eq!(net.a().gathered(), usize::from(gather));
        net.a().push(now);
        // 2014 bytes: one full segment and the rest, or as many as there were writes, the long one cut.
        assert_eq!(net.a().stats().tcp_segs_out - before, if gather { 2 } else { 4 });
        assert_eq!(net.a().gathered(), 0);
        net.run_ms(10);
        assert_eq!(net.recv(1, server, 9000).unwrap().len(), 2014);
    }
}

#[test]
fn what_was_gathered_goes_out_before_the_fin() {
    let mut net = Net::ideal();
    let (client, server, _) = net.connected();
    net.a().set_gather(true);
    net.send(0, client, b"farewell").unwrap();
    net.close(0, client);
    net.run_ms(10);
    assert_eq!(net.recv(1, server, 100).unwrap(), b"farewell");
    assert_eq!(net.recv(1, server, 100).unwrap(), b"");
}

#[test]
fn a_sender_that_found_no_frame_is_woken_when_there_are_some() {
    let mut net = Net::ideal();
    let listener = net.listen(1, 80, 64);
    let clients: Vec<_> = (0..8).map(|_| net.connecting(0, 80)).collect();
    net.run_ms(50);
    let servers: Vec<_> = clients
        .iter()
        .map(|_| {
            let now = net.now;
            net.b().accept(now, listener).unwrap().id
        })
        .collect();
    // Nothing is sent while the application fills its buffers: the link takes its time.
    let data = pattern(200_000, 1);
    let hungry = clients.iter().copied().find(|id| {
        let _ = net.send(0, *id, &data);
        !net.a().readiness(*id).contains(Readiness::OUT)
    });
    let hungry = hungry.expect("1024 frames are not enough for 8 × 200,000 bytes");
    // One eighth is left alone.
    assert!(net.a().pool().available() >= 1024 / 8, "{}", net.a().pool().available());
    net.hosts[0].wakes.clear();
    let fed = net.run_until(MINUTE, |net| {
        for server in &servers {
            while net.recv(1, *server, 1 << 20).is_ok_and(|bytes| !bytes.is_empty()) {}
        }
        net.hosts[0].wakes.iter().any(|w| w.id == hungry && w.readiness.contains(Readiness::OUT))
    });
    assert!(fed);
    assert!(net.send(0, hungry, &data).is_ok());
}

#[test]
fn two_that_call_each_other_at_once_get_one_connection() {
    let mut net = Net::ideal();
    let (a, b) = (SocketAddr::from(([10, 0, 0, 1], 700)), SocketAddr::from(([10, 0, 0, 2], 800)));
    let now = net.now;
    let ids = [(0, a, b), (1, b, a)].map(|(h, local, remote)| {
        let stack = &mut net.hosts[h].stack;
        let id = stack.tcp_socket(0).unwrap();
        stack.bind(id, local).unwrap();
        assert_eq!(stack.connect(now, id, remote), Err(SocketError::InProgress));
        id
    });
    net.run_ms(3000);
    assert_eq!(net.a().peer(ids[0]), Ok(b));
    net.transfer(0, ids[0], ids[1], &pattern(10_000, 1), MINUTE);
    net.transfer(1, ids[1], ids[0], &pattern(10_000, 2), MINUTE);
    assert_eq!(net.a().sockets().count() + net.b().sockets().count(), 2);
}

#[test]
fn a_listener_may_stop_and_begin_again() {
    let mut net = Net::ideal();
    let listener = net.listen(1, 80, 4);
    net.connecting(0, 80);
    net.run_ms(5);
    let now = net.now;
    net.b().shutdown(now, listener, How::Read).unwrap();
    assert_eq!(net.b().accept(now, listener), Err(SocketError::Invalid));
    let refused = net.connecting(0, 80);
    net.run_ms(5);
    assert_eq!(net.a().take_error(refused), Some(SocketError::ConnectionRefused));
    net.b().listen(listener, 4).unwrap();
    let other = net.b().tcp_socket(0).unwrap();
    net.b().bind(other, SocketAddr::from(([10, 0, 0, 2], 80))).unwrap();
    assert_eq!(net.b().listen(other, 4), Err(SocketError::AddressInUse));
    net.connecting(0, 80);
    net.run_ms(5);
    let now = net.now;
    assert!(net.b().accept(now, listener).is_ok());
}

#[test]
fn a_reset_in_the_handshake_leaves_nothing_behind() {
    let mut net = Net::ideal();
    let listener = net.listen(1, 80, 4);
    for _ in 0..10 {
        let client = net.connecting(0, 80);
        // The SYN-ACK is on its way when the client gives up.
        net.run_for(Duration::from_micros(75));
        net.close(0, client);
        net.run_ms(5);
    }
    assert_eq!(net.b().sockets().count(), 1);
    let now = net.now;
    assert_eq!(net.b().accept(now, listener), Err(SocketError::WouldBlock));
    net.pump();
    net.assert_whole();
}

#[test]
fn urgent_and_odd_flags_get_linux_s_answers() {
    let mut net = Net::ideal();
    let (client, server, _) = net.connected();
    let now = net.now;
    let oob = ringroad_stack::socket::RecvFlags { oob: true, ..Default::default() };
    let got = net.b().recv(now, server, 1, oob, &mut |_| Ok(()));
    assert_eq!(got, Err(SocketError::Invalid));
    // MSG_PEEK leaves, MSG_TRUNC throws away.
    net.send(0, client, b"abcdef").unwrap();
    net.run_ms(1);
    let now = net.now;
    let peek = ringroad_stack::socket::RecvFlags { peek: true, ..Default::default() };
    let mut seen = Vec::new();
    let got = net.b().recv(now, server, 4, peek, &mut |bytes| {
        seen.extend_from_slice(bytes);
        Ok(())
    });
    assert_eq!((got, seen.as_slice()), (Ok(4), &b"abcd"[..]));
    let trunc = ringroad_stack::socket::RecvFlags { trunc: true, ..Default::default() };
    assert_eq!(net.b().recv(now, server, 2, trunc, &mut |_| panic!("nothing is copied")), Ok(2));
    assert_eq!(net.b().recv_queue(server), Ok(4));
    assert_eq!(net.recv(1, server, 100).unwrap(), b"cdef");
}

#[test]
fn frames_for_an_interface_that_went_away_come_back() {
    let mut net = Net::ideal();
    let (client, server, listener) = net.connected();
    net.send(0, client, &pattern(5000, 1)).unwrap();
    let now = net.now;
    net.a().control(now, ControlEvent::IfaceGone(common::IFACE));
    assert!(net.hosts[0].drain().is_empty());
    // Back again: the stream goes on where it was.
    net.run_ms(300);
    let (iface, mac, now) = (common::IFACE, common::mac(1), net.now);
    net.a().control(now, ControlEvent::Iface { iface, mac, mtu: 1500, up: true, tx_checksum: false });
    net.hosts[0].knows(2);
    let mut got = Vec::new();
    assert!(net.run_until(MINUTE, |net| {
        got.extend(net.recv(1, server, 9000).unwrap_or_default());
        got.len() == 5000
    }));
    assert_eq!(got, pattern(5000, 1));
    net.close(0, client);
    net.close(1, server);
    net.close(1, listener);
    net.run_for(2 * MINUTE);
    net.assert_whole();
}
