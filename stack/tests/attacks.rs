//! Attacks on a stack in virtual time. Everywhere the same is asked: an honest connection goes on, memory does not
//! grow, and what an attacker sends earns no more than it cost.

mod common;

use std::time::Duration;

use common::{FRAMES, Link, Net, Rng, pattern};
use ringroad_stack::config::Config;
use ringroad_stack::error::SocketError;
use ringroad_stack::socket::{OptName, Value};
use ringroad_stack::types::{Readiness, SocketId};

const MINUTE: Duration = Duration::from_secs(60);

fn sum(bytes: &[u8], from: u32) -> u32 {
    bytes
        .chunks(2)
        .fold(from, |sum, pair| sum + (u32::from(pair[0]) << 8) + pair.get(1).map_or(0, |b| u32::from(*b)))
}

fn finish(mut sum: u32) -> [u8; 2] {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!(sum as u16)).to_be_bytes()
}

/// A segment from anywhere to 10.0.0.2.
#[derive(Clone)]
struct Forged {
    from: [u8; 4],
    ports: (u16, u16),
    seq: u32,
    ack: u32,
    flags: u8,
    wnd: u16,
    options: Vec<u8>,
    text: Vec<u8>,
}

const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;

impl Forged {
    fn new(from: [u8; 4], ports: (u16, u16), flags: u8) -> Self {
        Self { from, ports, seq: 0, ack: 0, flags, wnd: 1000, options: vec![], text: vec![] }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut tcp = [self.ports.0.to_be_bytes(), self.ports.1.to_be_bytes()].concat();
        tcp.extend(self.seq.to_be_bytes());
        tcp.extend(self.ack.to_be_bytes());
        tcp.extend([((20 + self.options.len()) as u8 / 4) << 4, self.flags]);
        tcp.extend(self.wnd.to_be_bytes());
        tcp.extend([0; 4]);
        tcp.extend(&self.options);
        tcp.extend(&self.text);
        let (to, len) = ([10, 0, 0, 2], tcp.len() as u32);
        let pseudo = sum(&self.from, sum(&to, 6 + len));
        let field = finish(sum(&tcp, pseudo));
        tcp[16..18].copy_from_slice(&field);
        let mut ip = vec![0x45, 0];
        ip.extend((20 + len as u16).to_be_bytes());
        ip.extend([0, 0, 0x40, 0, 64, 6, 0, 0]);
        ip.extend(self.from);
        ip.extend(to);
        let field = finish(sum(&ip, 0));
        ip[10..12].copy_from_slice(&field);
        [&common::mac(2)[..], &common::mac(1), &[8, 0], &ip, &tcp].concat()
    }
}

/// A connection between the hosts and what an outsider does not know of it: both ports, and the numbers.
fn victim(net: &mut Net) -> (SocketId, SocketId, (u16, u16)) {
    let (client, server, _) = net.connected();
    let local = net.a().local(client).unwrap().unwrap();
    (client, server, (local.port(), 80))
}

fn frames_held(net: &Net) -> u32 {
    FRAMES - net.hosts[1].stack.pool().census().free
}

/// Sends `n` forged segments to host 1, then lets a millisecond pass, in turns with an honest transfer of `data`.
fn transfer_under(
    net: &mut Net,
    (from, to): (SocketId, SocketId),
    data: &[u8],
    mut attack: impl FnMut(u64) -> Vec<u8>,
) -> u64 {
    let (mut sent, mut got, mut shots, mut answers) = (0, Vec::new(), 0u64, 0u64);
    let end = net.now + MINUTE;
    while got.len() < data.len() {
        assert!(net.now < end, "{} of {} octets came through", got.len(), data.len());
        for _ in 0..20 {
            let (now, shot) = (net.now, attack(shots));
            let before = net.hosts[1].stack.stats().tx_frames;
            net.hosts[1].receive(now, &shot);
            answers += net.hosts[1].stack.stats().tx_frames - before;
            shots += 1;
        }
        if sent < data.len() {
            // Eight kibibytes a millisecond: so that the transfer lasts.
            let most = data.len().min(sent + 8192);
            sent += net.send(0, from, &data[sent..most]).unwrap_or(0);
        }
        net.run_ms(1);
        if let Ok(bytes) = net.recv(1, to, 1 << 20) {
            got.extend(bytes);
        }
    }
    assert!(got == data, "the octets differ");
    assert!(shots > 1000, "{shots} shots are no attack");
    answers
}

/// RFC 4987: a flood of SYNs from everywhere. Established connections and new ones do not notice.
#[test]
fn a_syn_flood_stops_nobody_and_takes_no_memory() {
    let mut net = Net::new(Link::default(), 3);
    let (client, server, _) = victim(&mut net);
    let mut rng = Rng::new(1);
    let data = pattern(2_000_000, 5);
    let sockets = net.b().sockets().count();
    transfer_under(&mut net, (client, server), &data, |_| {
        let from = [10, 9, rng.next() as u8, rng.next() as u8];
        let mut syn = Forged::new(from, (rng.next() as u16 | 1, 80), SYN);
        syn.seq = rng.next() as u32;
        syn.bytes()
    });
    let stats = net.b().stats();
    assert!(stats.tcp_syncookies_sent > 1000, "{} cookies", stats.tcp_syncookies_sent);
    // As many handshakes as the backlog, and not one more.
    assert!(net.b().sockets().count() <= sockets + 16);
    // Somebody new.
    let other = net.connecting(0, 80);
    net.run_ms(50);
    assert!(net.a().readiness(other).contains(Readiness::OUT));
    net.run_for(Duration::from_secs(200));
    assert_eq!(net.b().sockets().filter(|s| s.state == "SYN-RECEIVED").count(), 0);
    assert_eq!(frames_held(&net), 0);
}

/// RFC 5961 §3, §4, §5: resets, SYNs and data by one who knows both addresses and ports and nothing else.
#[test]
fn blind_segments_neither_end_nor_spoil_a_connection() {
    for (flags, text) in
        [(RST, 0), (SYN, 0), (SYN | ACK, 0), (ACK, 1000), (RST | ACK, 0), (ACK | 1, 0), (ACK, 0)]
    {
        let mut net = Net::new(Link::default(), 4);
        let (client, server, ports) = victim(&mut net);
        let mut rng = Rng::new(u64::from(flags) + text);
        let data = pattern(1_000_000, 6);
        let answers = transfer_under(&mut net, (client, server), &data, |_| {
            let mut shot = Forged::new([10, 0, 0, 1], ports, flags);
            (shot.seq, shot.ack) = (rng.next() as u32, rng.next() as u32);
            shot.text = vec![0xbd; text as usize];
            shot.bytes()
        });
        let secs = net.now.as_millis() / 1000 + 1;
        assert!(text > 0 || answers <= secs * 1000, "{answers} answers in {secs} s");
        assert_eq!(net.b().stats().tcp_resets_in, 0);
    }
}

/// RFC 5961 §7, §10: two hosts that disagree, or an attacker between them, cannot make a storm of ACKs.
#[test]
fn there_is_no_ack_storm() {
    let mut net = Net::new(Link::default(), 5);
    let (_, server, ports) = victim(&mut net);
    let mut shot = Forged::new([10, 0, 0, 1], ports, ACK);
    (shot.seq, shot.ack) = (0x1234_5678, 0x8765_4321);
    let bytes = shot.bytes();
    let before = net.b().stats().tx_frames;
    for _ in 0..50_000 {
        let now = net.now;
        net.hosts[1].receive(now, &bytes);
        net.hosts[1].drain();
    }
    let answers = net.b().stats().tx_frames - before;
    assert!(answers <= 1000, "{answers} answers to 50,000 segments");
    assert!(net.b().readiness(server).contains(Readiness::OUT));
}

/// A peer whose window is one octet wide, for ever: it gets its octets, and no more than a frame or two at a time.
#[test]
fn a_tiny_window_costs_little() {
    let mut net = Net::new(Link::default(), 6);
    let listener = net.listen(1, 80, 16);
    let client = net.connecting(0, 80);
    let now = net.now;
    net.a().set_option(now, client, OptName::RecvBuffer, Value::Int(1)).unwrap();
    net.run_ms(10);
    let now = net.now;
    let server = net.b().accept(now, listener).unwrap().id;
    let data = pattern(200_000, 7);
    let taken = net.send(1, server, &data).unwrap();
    assert!(taken > 10_000);
    let before = net.b().stats().tcp_segs_out;
    net.run_for(MINUTE);
    let segments = net.b().stats().tcp_segs_out - before;
    assert!(segments < 200, "{segments} segments in a minute to one who does not read");
    let mut got = Vec::new();
    assert!(net.run_until(MINUTE * 10, |net| {
        got.extend(net.recv(0, client, 65_536).unwrap_or_default());
        got.len() >= taken
    }));
    assert!(got[..taken] == data[..taken]);
}

/// A peer that sends one octet a segment: they do not pin a frame each.
#[test]
fn one_octet_segments_do_not_pin_the_pool() {
    let mut net = Net::new(Link::default(), 7);
    let (client, server, _) = victim(&mut net);
    let now = net.now;
    net.a().set_option(now, client, OptName::NoDelay, Value::Int(1)).unwrap();
    let data = pattern(20_000, 8);
    let mut sent = 0;
    while sent < data.len() {
        match net.send(0, client, &data[sent..=sent]) {
            Ok(n) => sent += n,
            Err(SocketError::WouldBlock) => {}
            Err(e) => panic!("{e}"),
        }
        net.run_for(Duration::from_micros(200));
    }
    net.run_ms(1000);
    // Nobody has read: all of it is here, in far fewer frames than octets.
    let held = frames_held(&net);
    assert!(held < FRAMES / 4, "{held} frames for {sent} octets");
    let mut got = Vec::new();
    assert!(net.run_until(MINUTE, |net| {
        got.extend(net.recv(1, server, 65_536).unwrap_or_default());
        got.len() >= sent
    }));
    assert!(got == data);
}

/// Sockstress: peers that open connections, ask for much, and shut their window for ever. Everybody else is served.
#[test]
fn idlers_with_shut_windows_do_not_starve_others() {
    let mut net = Net::with_config(Config::default(), Link::default(), 8);
    let listener = net.listen(1, 80, 64);
    let mut idlers = Vec::new();
    for _ in 0..16 {
        let client = net.connecting(0, 80);
        net.run_ms(2);
        let now = net.now;
        let server = net.b().accept(now, listener).unwrap().id;
        // The most that the server would ever queue for one.
        let _ = net.send(1, server, &pattern(1 << 20, 1));
        idlers.push((client, server));
    }
    net.run_for(Duration::from_secs(5));
    let held = frames_held(&net);
    assert!(held < FRAMES, "all {held} frames are pinned");
    let client = net.connecting(0, 80);
    net.run_ms(10);
    let now = net.now;
    let server = net.b().accept(now, listener).unwrap().id;
    net.transfer(1, server, client, &pattern(300_000, 9), MINUTE * 5);
    net.transfer(0, client, server, &pattern(300_000, 10), MINUTE * 5);
    // An application that gives up on them gets rid of them, whatever they do.
    for (_, server) in idlers {
        net.close(1, server);
    }
    net.run_for(Duration::from_secs(3600));
    assert_eq!(net.b().orphans(), 0);
}

/// RFC 7323 §5.3: an attacker's timestamps, however far they jump, do not stick.
#[test]
fn forged_timestamps_do_not_shut_the_honest_peer_out() {
    let mut net = Net::new(Link::default(), 9);
    let (client, server, ports) = victim(&mut net);
    let mut rng = Rng::new(3);
    let data = pattern(1_000_000, 11);
    transfer_under(&mut net, (client, server), &data, |_| {
        let mut shot = Forged::new([10, 0, 0, 1], ports, ACK);
        (shot.seq, shot.ack) = (rng.next() as u32, rng.next() as u32);
        shot.options = vec![1, 1, 8, 10];
        shot.options.extend((rng.next() as u32).to_be_bytes());
        shot.options.extend([0; 4]);
        shot.text = vec![0xbd; 10];
        shot.bytes()
    });
}

/// A client's socket at a port of ours, that has begun to connect; and its first sequence number.
fn connecting_from(net: &mut Net, port: u16) -> (SocketId, u32) {
    let now = net.now;
    let id = net.a().tcp_socket(1).unwrap();
    net.a().bind(id, ([0, 0, 0, 0], port).into()).unwrap();
    assert_eq!(net.a().connect(now, id, ([10, 0, 0, 2], 80).into()), Err(SocketError::InProgress));
    net.hosts[0].sent.clear();
    net.hosts[0].capture = true;
    net.pump();
    let syn = &net.hosts[0].sent[0];
    (id, u32::from_be_bytes([syn[38], syn[39], syn[40], syn[41]]))
}

/// RFC 9293 §3.4: a stream that goes round the end of the sequence space.
#[test]
fn a_stream_crosses_the_wrap_of_the_numbers() {
    let mut net = Net::new(Link::default(), 10);
    let listener = net.listen(1, 80, 16);
    let (first, iss) = connecting_from(&mut net, 5000);
    let now = net.now;
    net.a().close(now, first).unwrap();
    // The numbers of a tuple climb by one in 64 ns (RFC 6528): when the next begins is ours to choose.
    let to_go = 0u32.wrapping_sub(100_000).wrapping_sub(iss);
    net.run_for(Duration::from_nanos(u64::from(to_go) * 64));
    let (client, iss) = connecting_from(&mut net, 5000);
    assert!(iss > u32::MAX - 200_000 && iss < u32::MAX - 1000, "{iss}");
    net.run_ms(10);
    let now = net.now;
    let mut server = net.b().accept(now, listener).unwrap();
    while server.remote.port() != 5000 || !net.b().readiness(server.id).contains(Readiness::OUT) {
        server = net.b().accept(now, listener).unwrap();
    }
    net.transfer(0, client, server.id, &pattern(600_000, 12), MINUTE);
    assert_eq!(net.a().stats().tcp_retransmits, 0);
}
