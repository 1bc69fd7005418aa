//! What is told of flows: everything they carried, each packet once, over seconds and ends.

mod common;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use common::{Family, Host, Link, Net};
use ringroad_stack::config::Config;
use ringroad_stack::engine::Journals;
use ringroad_stack::journal::{FlowRecord, News, Traffic};
use ringroad_stack::policy::{Action, Mode, Policy, PolicySpec, TableSpec};
use ringroad_stack::socket::{OptName, Value};
use ringroad_stack::types::{Direction, FlowKey, Protocol, SocketId};

const A: usize = 0;
const B: usize = 1;

fn keep(host: &mut Host) {
    let journals = Journals::new(host.stack.flow_slots());
    host.stack.keep_journals(journals);
}

/// Looks at the flows that may be older than the journals, so many slots at a time.
fn survey(host: &mut Host, at_a_time: u32) {
    let mut from = Some(0);
    while let Some(slot) = from {
        from = host.stack.survey(slot, at_a_time);
    }
}

/// What there is to tell now.
fn told(net: &mut Net, host: usize) -> Vec<FlowRecord> {
    let (now, stack) = (net.now, &mut net.hosts[host].stack);
    let mut records = Vec::new();
    stack.turn_journals();
    while stack.tell_flows(now, 3, &mut records) {}
    records
}

/// A socket for datagrams.
fn datagrams(net: &mut Net, host: usize, port: u16) -> SocketId {
    let local = (net.hosts[host].address, port).into();
    let stack = &mut net.hosts[host].stack;
    let id = stack.udp_socket(1).unwrap();
    stack.bind(id, local).unwrap();
    id
}

/// A hundred octets from port 53 to port 53.
fn say_to(net: &mut Net, host: usize, from: SocketId, to: usize) {
    let (now, to) = (net.now, (net.hosts[to].address, 53).into());
    let fill = &mut |room: &mut [u8]| Ok(room.len());
    net.hosts[host].stack.send_to(now, from, Some(to), 100, fill).unwrap();
}

fn sum(records: &[FlowRecord]) -> HashMap<FlowKey, Traffic> {
    let mut all: HashMap<FlowKey, Traffic> = HashMap::new();
    for record in records {
        let (sum, carried) = (all.entry(record.key).or_default(), record.carried);
        sum.bytes_in += carried.bytes_in;
        sum.bytes_out += carried.bytes_out;
        sum.packets_in += carried.packets_in;
        sum.packets_out += carried.packets_out;
        sum.retransmits += carried.retransmits;
    }
    all
}

/// What the frames that left a host and arrived there come to, headers aside: packets and octets out.
fn left(host: &Host) -> (u32, u64) {
    let payload = |f: &Vec<u8>| {
        let ip = if f[12] == 8 { 20 } else { 40 };
        let total = if ip == 20 {
            u16::from_be_bytes([f[16], f[17]])
        } else {
            u16::from_be_bytes([f[18], f[19]]) + 40
        };
        let transport =
            if f[if ip == 20 { 23 } else { 20 }] == 6 { usize::from(f[14 + ip + 12] >> 4) * 4 } else { 8 };
        u64::from(total) - (ip + transport) as u64
    };
    (host.sent.len() as u32, host.sent.iter().map(payload).sum())
}

#[test]
fn every_packet_of_a_connection_is_told_of_once() {
    for family in Family::BOTH {
        let mut net = Net::ideal().over(family);
        for host in &mut net.hosts {
            host.capture = true;
            keep(host);
        }
        let (client, server, _) = net.connected();
        let mut records = [told(&mut net, A), told(&mut net, B)];
        for (data, from, to) in [(300, client, server), (200_000, client, server)] {
            net.transfer(A, from, to, &common::pattern(data, 1), Duration::from_secs(5));
            records[A].extend(told(&mut net, A));
            records[B].extend(told(&mut net, B));
        }
        net.transfer(B, server, client, &common::pattern(7000, 2), Duration::from_secs(5));
        net.close(A, client);
        net.close(B, server);
        net.run_ms(500);
        records[A].extend(told(&mut net, A));
        records[B].extend(told(&mut net, B));
        let frames = [left(&net.hosts[A]), left(&net.hosts[B])];
        for (host, direction) in [(A, Direction::Out), (B, Direction::In)] {
            let last = records[host].last().unwrap();
            assert!(last.over && records[host].iter().filter(|r| r.over).count() == 1, "{records:?}");
            assert!(records[host].iter().all(|r| r.direction == direction && r.srtt_us < 200));
            let sums = sum(&records[host]);
            assert_eq!(sums.len(), 1);
            let told = sums.values().next().unwrap();
            assert_eq!((told.packets_out, told.bytes_out), frames[host], "{host} {family:?}");
            // The last ACK of the side that waits finds nothing but TIME-WAIT there.
            let slack = frames[1 - host].0 - told.packets_in;
            assert!(slack <= u32::from(host == A), "{slack} packets of {host} were not told of");
            assert_eq!(told.bytes_in, frames[1 - host].1);
        }
        assert_eq!(records[A].last().map(|r| r.state), Some(6), "TIME-WAIT");
    }
}

#[test]
fn an_idle_flow_is_not_told_of() {
    let mut net = Net::ideal();
    keep(&mut net.hosts[A]);
    let (client, server, _) = net.connected();
    assert_eq!(told(&mut net, A).len(), 1);
    net.run_ms(5000);
    // A timer has looked at it, in vain.
    assert_eq!(told(&mut net, A), []);
    net.run_ms(60_000);
    assert_eq!(net.a().news(), News::None);
    net.transfer(B, server, client, &[1; 10], Duration::from_secs(1));
    net.run_ms(100);
    let again = told(&mut net, A);
    assert_eq!(again.len(), 1);
    assert_eq!((again[0].carried.bytes_in, again[0].carried.packets_in), (10, 1));
    assert_eq!(told(&mut net, A), []);
}

#[test]
fn what_was_before_somebody_listened_is_not_told() {
    let mut net = Net::ideal();
    let (client, server, _) = net.connected();
    net.transfer(A, client, server, &common::pattern(5000, 1), Duration::from_secs(1));
    net.run_ms(100);
    keep(&mut net.hosts[A]);
    survey(&mut net.hosts[A], 7);
    assert_eq!(told(&mut net, A), []);
    // One that begins before the survey is over is told of whole.
    net.transfer(A, client, server, &[1; 10], Duration::from_secs(1));
    let records = told(&mut net, A);
    assert_eq!(
        records.iter().map(|r| (r.carried.bytes_out, r.carried.packets_out)).collect::<Vec<_>>(),
        [(10, 1)]
    );
    let _ = net.a().drop_journals();
    net.transfer(A, client, server, &[1; 10], Duration::from_secs(1));
    assert_eq!((net.a().news(), told(&mut net, A)), (News::None, vec![]));
}

#[test]
fn a_handshake_that_comes_to_nothing_is_a_flow() {
    let mut net = Net::ideal();
    keep(&mut net.hosts[B]);
    net.listen(B, 80, 16);
    let client = net.connecting(A, 80);
    net.pump();
    net.run_for(Duration::from_micros(60));
    // The peer is gone.
    net.close(A, client);
    net.link.loss = 1000;
    net.run_for(Duration::from_secs(200));
    let records = told(&mut net, B);
    assert_eq!(records.len(), 1, "{records:?}");
    assert!(records[0].over && records[0].state == 3 && records[0].carried.packets_in == 1);
}

/// Before the peer has chosen its numbers there is none of them to be told.
#[test]
fn a_connection_under_way_has_received_nothing() {
    let mut net = Net::ideal();
    keep(&mut net.hosts[A]);
    net.link.loss = 1000;
    let client = net.connecting(A, 80);
    net.run_ms(500);
    let records = told(&mut net, A);
    let carried = Traffic { packets_out: 1, ..Traffic::default() };
    assert_eq!(records.iter().map(|r| (r.state, r.carried)).collect::<Vec<_>>(), [(2, carried)]);
    let Ok(Value::Info(info)) = net.a().option(client, OptName::Info) else { panic!("no TCP_INFO") };
    assert_eq!((info.bytes_sent, info.bytes_received, info.bytes_acked), (0, 0, 0));
}

/// Who listens again is told of what is new, by whatever flow, and however early in the survey it comes.
#[test]
fn what_was_between_two_who_listened_is_not_told() {
    let mut net = Net::ideal();
    let mut ends = vec![];
    for _ in 0..4 {
        ends.push(net.connected());
        net.close(B, ends.last().unwrap().2);
    }
    let (a, b) = (datagrams(&mut net, A, 53), datagrams(&mut net, B, 53));
    let say = |net: &mut Net, data: &[u8]| {
        for &(client, server, _) in &ends {
            net.transfer(A, client, server, data, Duration::from_secs(1));
        }
        say_to(net, A, a, B);
        net.run_ms(100);
    };
    keep(&mut net.hosts[A]);
    survey(&mut net.hosts[A], 64);
    say(&mut net, &[1; 1000]);
    assert_eq!(told(&mut net, A).len(), 5);
    drop(net.a().drop_journals());
    // Two of them go on while nobody listens.
    for &(client, server, _) in &ends[..2] {
        net.transfer(A, client, server, &[1; 500], Duration::from_secs(1));
    }
    net.run_ms(100);
    keep(&mut net.hosts[A]);
    // One that went on and one that did not carry something, and another ends, before they are surveyed.
    for &(client, server, _) in &ends[1..3] {
        net.transfer(A, client, server, &[1; 70], Duration::from_secs(1));
    }
    let now = net.now;
    net.a().set_option(now, ends[3].0, OptName::Linger, Value::Linger(Some(0))).unwrap();
    net.close(A, ends[3].0);
    say_to(&mut net, A, a, B);
    survey(&mut net.hosts[A], 1);
    let early: Vec<_> = told(&mut net, A).iter().map(|r| (r.key.protocol, r.over, r.carried)).collect();
    // The segment by which a connection is noted first is in what it begins with; a datagram is not.
    let datagram = Traffic { bytes_out: 100, packets_out: 1, ..Traffic::default() };
    let tcp = |over| (Protocol::Tcp, over, Traffic::default());
    assert_eq!(early, [tcp(true), (Protocol::Udp, false, datagram)]);
    for &(client, server, _) in &ends[..3] {
        net.transfer(A, client, server, &[1; 10], Duration::from_secs(1));
    }
    say_to(&mut net, A, a, B);
    net.run_ms(100);
    let mut late: Vec<_> = told(&mut net, A).iter().map(|r| (r.key.protocol, r.carried.bytes_out)).collect();
    late.sort_by_key(|(protocol, _)| *protocol as u8);
    let tcp = (Protocol::Tcp, 10);
    assert_eq!(late, [tcp, tcp, tcp, (Protocol::Udp, 100)]);
    let _ = b;
}

#[test]
fn lost_segments_are_told_of_with_the_flow() {
    let mut net = Net::new(Link { loss: 50, ..Link::default() }, 3);
    keep(&mut net.hosts[A]);
    let (client, server, _) = net.connected();
    net.transfer(A, client, server, &common::pattern(300_000, 1), Duration::from_secs(60));
    let carried = sum(&told(&mut net, A)).into_values().next().unwrap();
    let sent_again = net.a().stats().tcp_retransmits;
    assert!(sent_again > 0 && u64::from(carried.retransmits) == sent_again, "{carried:?} {sent_again}");
    assert_eq!(carried.bytes_out, 300_000);
}

/// What the gate keeps out was not carried.
#[test]
fn datagrams_that_are_denied_are_not_carried() {
    let mut net = Net::ideal();
    let (a, b) = (datagrams(&mut net, A, 53), datagrams(&mut net, B, 53));
    say_to(&mut net, A, a, B);
    net.run_ms(1);
    keep(&mut net.hosts[B]);
    survey(&mut net.hosts[B], 64);
    let tables = vec![TableSpec::of_host(net.hosts[B].address, Mode::Enforce, vec![])];
    net.b().set_policy(
        Policy::compile(&PolicySpec { default: Action::Allow, tables, ..PolicySpec::open() }).unwrap(),
    );
    say_to(&mut net, A, a, B);
    net.run_ms(1);
    let (now, ends) = (net.now, [B, A].map(|host| SocketAddr::from((net.hosts[host].address, 53))));
    assert!(!net.b().judge_recv(now, (ends[0], ends[1]), None, 100));
    assert_eq!(net.b().stats().drop_denied_in, 2);
    assert_eq!(told(&mut net, B), []);
    let _ = b;
}

#[test]
fn datagrams_are_counted_both_ways_and_forgotten_flows_told_of() {
    for family in Family::BOTH {
        let config = Config { max_udp_flows: 2, ..Config::default() };
        let mut net = Net::with_config(config, Link::default(), 1).over(family);
        keep(&mut net.hosts[A]);
        let local = (net.hosts[A].address, 53).into();
        let peer = net.hosts[B].address;
        let now = net.now;
        let a = net.a().udp_socket(1).unwrap();
        net.a().bind(a, local).unwrap();
        for port in 1000..1003 {
            let b = net.b().udp_socket(1).unwrap();
            net.b().bind(b, (peer, port).into()).unwrap();
            net.b().send_to(now, b, Some(local), 30, &mut |room| Ok(room.len().min(30))).unwrap();
            net.pump();
            net.run_ms(1);
            let now = net.now;
            let to = Some((peer, port).into());
            for _ in 0..2 {
                net.a().send_to(now, a, to, 100, &mut |room| Ok(room.len().min(100))).unwrap();
            }
        }
        let records = told(&mut net, A);
        let sums = sum(&records);
        assert_eq!(sums.len(), 3);
        for (key, carried) in sums {
            assert_eq!((key.protocol, key.local), (Protocol::Udp, local));
            let told = (carried.packets_in, carried.bytes_in, carried.packets_out, carried.bytes_out);
            assert_eq!(told, (1, 30, 2, 200));
        }
        assert_eq!(records.iter().filter(|r| r.over).count(), 1);
    }
}
