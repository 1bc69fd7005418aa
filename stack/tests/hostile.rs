//! Frames that nobody honest sends: never a panic, never a lost frame, each drop counted.

mod common;

use std::net::{IpAddr, SocketAddr};

use common::{FRAMES, Family, Host, Net, Rng, mac, pattern};
use ringroad_stack::config::Config;
use ringroad_stack::error::SocketError;
use ringroad_stack::socket::{OptName, RecvFlags, Value};
use ringroad_stack::stats::Stats;
use ringroad_stack::time::Instant;
use ringroad_stack::types::{IfaceId, Readiness, SocketId};

fn drops(stats: &Stats) -> u64 {
    stats
        .rows()
        .filter(|(name, _)| name.starts_with("drop_") && *name != "drop_denied_out")
        .map(|(_, n)| n)
        .sum()
}

/// A host with something behind every door: a listener, UDP sockets, connections in many states.
struct Victim {
    net: Net,
    sockets: Vec<SocketId>,
    listener: SocketId,
    udp: SocketId,
    corpus: Vec<Vec<u8>>,
}

/// Valid frames towards host 1, gathered from a busy conversation.
fn victim(seed: u64) -> Victim {
    victim_over(Family::V4, seed)
}

fn victim_over(family: Family, seed: u64) -> Victim {
    let mut net = Net::new(common::Link::default(), seed).over(family);
    net.hosts[0].capture = true;
    let (client, server, listener) = net.connected();
    net.transfer(0, client, server, &pattern(20_000, seed), std::time::Duration::from_secs(60));
    net.transfer(1, server, client, &pattern(5_000, seed), std::time::Duration::from_secs(60));
    let (half, half_server) = open_another(&mut net, listener);
    let now = net.now;
    net.a().shutdown(now, half, ringroad_stack::socket::How::Write).unwrap();
    net.run_ms(5);
    net.close(1, half_server);
    let refused = net.connecting(0, 4444);
    net.run_ms(5);
    let udp = net.b().udp_socket(3).unwrap();
    net.b().bind(udp, SocketAddr::from((family.unspecified(), 53))).unwrap();
    let ask = net.a().udp_socket(3).unwrap();
    net.a().bind(ask, SocketAddr::from((family.unspecified(), 5353))).unwrap();
    for port in [53, 54] {
        let to = Some(SocketAddr::from((family.of(2), port)));
        net.a().send_to(now, ask, to, 32, &mut |room| Ok(room.len())).unwrap();
    }
    net.run_ms(5);
    let mut corpus = std::mem::take(&mut net.hosts[0].sent);
    net.hosts[0].capture = false;
    let errors = match family {
        Family::V4 => icmp_errors(&mut net),
        Family::V6 => icmpv6_errors(&mut net, client),
    };
    corpus.extend(errors);
    Victim { net, sockets: vec![client, server, half, refused, ask], listener, udp, corpus }
}

fn open_another(net: &mut Net, listener: SocketId) -> (SocketId, SocketId) {
    let client = net.connecting(0, 80);
    net.run_ms(5);
    let now = net.now;
    (client, net.b().accept(now, listener).unwrap().id)
}

/// Errors about what host 1 sent to host 0.
fn icmp_errors(net: &mut Net) -> Vec<Vec<u8>> {
    net.hosts[1].capture = true;
    let _ = net.b().sockets().count();
    let frames = net.hosts[1].sent.clone();
    let quoted = frames.last().map_or_else(|| vec![0x45; 48], |f| f[14..f.len().min(62)].to_vec());
    [(3u8, 1u8), (3, 3), (3, 4), (11, 0), (12, 0), (8, 0)]
        .into_iter()
        .map(|(kind, code)| {
            let mut message = vec![kind, code, 0, 0, 0, 0, 2, 64];
            message.extend(&quoted);
            let sum = checksum(&message);
            message[2..4].copy_from_slice(&sum.to_be_bytes());
            packet(1, [10, 0, 0, 1], [10, 0, 0, 2], &message)
        })
        .collect()
}

fn checksum(bytes: &[u8]) -> u16 {
    let mut total = 0u32;
    for word in bytes.chunks(2) {
        total += u32::from(word[0]) << 8 | u32::from(*word.get(1).unwrap_or(&0));
    }
    while total > 0xffff {
        total = (total >> 16) + (total & 0xffff);
    }
    !(total as u16)
}

fn packet(protocol: u8, from: [u8; 4], to: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let mut ip = vec![0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, protocol, 0, 0];
    ip.extend(from);
    ip.extend(to);
    ip[2..4].copy_from_slice(&(20 + payload.len() as u16).to_be_bytes());
    let sum = checksum(&ip);
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    let mut frame = mac(2).to_vec();
    frame.extend(mac(1));
    frame.extend([8, 0]);
    frame.extend(ip);
    frame.extend(payload);
    frame
}

fn packet_v6(next: u8, from: u8, payload: &[u8]) -> Vec<u8> {
    let (IpAddr::V6(source), IpAddr::V6(destination)) = (Family::V6.of(from), Family::V6.of(2)) else {
        unreachable!("addresses of IPv6")
    };
    let mut frame = mac(2).to_vec();
    frame.extend(mac(1));
    frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
    frame.extend((payload.len() as u16).to_be_bytes());
    frame.extend([next, 64]);
    frame.extend(source.octets());
    frame.extend(destination.octets());
    frame.extend(payload);
    frame
}

/// Errors about what host 1 sent to host 0, as if it were in flight.
fn icmpv6_errors(net: &mut Net, client: SocketId) -> Vec<Vec<u8>> {
    let port = net.a().local(client).unwrap().unwrap().port();
    let tcp = [&80u16.to_be_bytes()[..], &port.to_be_bytes(), &[0; 16]].concat();
    // From host 1 to host 0.
    let mut quoted = packet_v6(6, 1, &tcp)[14..].to_vec();
    let (source, destination) = quoted[8..40].split_at_mut(16);
    source.swap_with_slice(destination);
    [(1u8, 0u8), (1, 1), (1, 4), (2, 0), (3, 0), (4, 1), (128, 0), (135, 0)]
        .into_iter()
        .map(|(kind, code)| {
            let mut frame = packet_v6(58, 1, &[&[kind, code, 0, 0, 0, 0, 5, 0][..], &quoted].concat());
            mend(&mut frame);
            frame
        })
        .collect()
}

/// Puts extension headers, well-formed and not, in front of what an IPv6 frame carries.
fn extend(rng: &mut Rng, frame: &mut Vec<u8>) {
    if frame.len() < 54 || frame[12..14] != [0x86, 0xdd] {
        return;
    }
    for _ in 0..rng.below(4) {
        let len = 8 + 8 * rng.below(3) as usize;
        let mut header = vec![0; len];
        header[0] = frame[20];
        header[1] = (len / 8 - 1) as u8;
        match rng.below(4) {
            // Padding that fits, options of all kinds, whatever.
            0 => header[2..4].copy_from_slice(&[1, (len - 4) as u8]),
            1 => header[2..].iter_mut().for_each(|b| *b = rng.next() as u8),
            2 => header[2..6].copy_from_slice(&[rng.next() as u8, 2, 0, 0]),
            _ => {}
        }
        frame[20] = [0, 43, 44, 60, 60, 60][rng.below(6) as usize];
        frame.splice(54..54, header);
        let payload = (frame.len() - 54) as u16;
        frame[18..20].copy_from_slice(&payload.to_be_bytes());
    }
}

/// The checksum of what stands at the end of an IPv6 frame, whatever stands between.
fn mend_v6(frame: &mut [u8]) {
    let (mut next, mut at) = (frame[20], 54);
    while matches!(next, 0 | 43 | 44 | 60) && at + 2 <= frame.len() {
        let len = if next == 44 { 8 } else { 8 + 8 * usize::from(frame[at + 1]) };
        (next, at) = (frame[at], at + len);
    }
    let end = 54 + usize::from(u16::from_be_bytes([frame[18], frame[19]]));
    let place = match next {
        6 => at + 16,
        17 => at + 6,
        58 => at + 2,
        _ => return,
    };
    if end > frame.len() || place + 2 > end {
        return;
    }
    frame[place..place + 2].fill(0);
    let mut summed = frame[22..54].to_vec();
    summed.extend(((end - at) as u32).to_be_bytes());
    summed.extend([0, 0, 0, next]);
    summed.extend(&frame[at..end]);
    let sum = checksum(&summed);
    frame[place..place + 2].copy_from_slice(&sum.to_be_bytes());
}

/// Makes the checksums of a frame right again where it still looks like a packet, so that the change gets
/// past them to the code behind.
fn mend(frame: &mut [u8]) {
    if frame.len() >= 54 && frame[14] >> 4 == 6 {
        return mend_v6(frame);
    }
    if frame.len() < 34 || frame[14] >> 4 != 4 {
        return;
    }
    let header = usize::from(frame[14] & 15) * 4;
    let total = usize::from(u16::from_be_bytes([frame[16], frame[17]]));
    if header < 20 || total < header || 14 + total > frame.len() {
        return;
    }
    frame[24..26].fill(0);
    let sum = checksum(&frame[14..14 + header]);
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
    let at = match frame[23] {
        6 => 16,
        17 => 6,
        1 => 2,
        _ => return,
    };
    let (start, len) = (14 + header, total - header);
    if len < at + 2 {
        return;
    }
    frame[start + at..start + at + 2].fill(0);
    let mut summed = Vec::new();
    if frame[23] != 1 {
        summed.extend(&frame[26..34]);
        summed.extend([0, frame[23]]);
        summed.extend((len as u16).to_be_bytes());
    }
    summed.extend(&frame[start..start + len]);
    let sum = checksum(&summed);
    frame[start + at..start + at + 2].copy_from_slice(&sum.to_be_bytes());
}

fn mutate(rng: &mut Rng, frame: &mut Vec<u8>) {
    for _ in 0..=rng.below(3) {
        if frame.is_empty() {
            return;
        }
        let len = frame.len() as u64;
        // Most of what is interesting is in the first bytes.
        let at = if rng.chance(800) { rng.below(len.min(80)) } else { rng.below(len) } as usize;
        match rng.below(6) {
            0 => frame[at] ^= 1 << rng.below(8),
            1 => frame[at] = rng.next() as u8,
            2 => frame[at] = [0, 1, 0x7f, 0x80, 0xff, 0x45, 0x4f][rng.below(7) as usize],
            3 => frame.truncate(at),
            4 => frame.extend((0..rng.below(40)).map(|n| n as u8)),
            _ => frame[at] = frame[at].wrapping_add(1),
        }
    }
    frame.truncate(1514);
}

impl Victim {
    /// Sends `count` frames that `make` makes; the application reads along.
    fn storm(&mut self, count: u64, rng: &mut Rng, mut make: impl FnMut(&mut Rng, &[Vec<u8>]) -> Vec<u8>) {
        let mut burst = nic::Burst::new();
        for n in 0..count {
            let bytes = make(rng, &self.corpus);
            let host = &mut self.net.hosts[1];
            let frame = host.frame(&bytes);
            if n % 1024 < 512 {
                host.stack.rx(self.net.now, common::IFACE, frame);
            } else {
                burst.push(frame);
            }
            if n % 64 == 0 {
                host.stack.rx_burst(self.net.now, common::IFACE, &mut burst);
                self.live();
            }
        }
        self.net.hosts[1].stack.rx_burst(self.net.now, common::IFACE, &mut burst);
        self.live();
    }

    /// Time passes, the application takes what there is, and what host 1 sent is thrown away.
    fn live(&mut self) {
        self.net.now += std::time::Duration::from_millis(3);
        let now = self.net.now;
        let stack = self.net.b();
        if stack.next_deadline() <= now {
            stack.expire(now);
        }
        while let Ok(accepted) = stack.accept(now, self.listener) {
            if self.sockets.len() < 64 {
                self.sockets.push(accepted.id);
            } else {
                stack.close(now, accepted.id).unwrap();
            }
        }
        for id in [self.sockets[1], self.udp].into_iter().chain(self.sockets[5..].iter().copied()) {
            let mut got = 0;
            while stack.recv(now, id, 4096, RecvFlags::default(), &mut |_| Ok(())).is_ok_and(|n| n > 0) {
                got += 1;
                assert!(got < 10_000, "a queue without an end");
            }
        }
        self.net.hosts[1].drain();
    }

    fn end(mut self) {
        let now = self.net.now;
        self.net.b().reset_all(now);
        self.net.hosts[1].drain();
        // What waits for a neighbour that nobody is waits three seconds; pieces wait half a minute for the others.
        self.net.b().expire(now + std::time::Duration::from_secs(31));
        self.net.hosts[1].drain();
        self.net.hosts[1].assert_whole();
    }
}

#[test]
fn random_bytes() {
    let mut victim = victim(1);
    let before = victim.net.b().stats();
    let mut rng = Rng::new(11);
    victim.storm(200_000, &mut rng, |rng, _| {
        let len = rng.below(200) as usize;
        (0..len).map(|_| rng.next() as u8).collect()
    });
    // None of them is a packet, and every one is counted.
    let after = victim.net.b().stats();
    assert_eq!(drops(&after) - drops(&before), 200_000);
    victim.end();
}

#[test]
fn mutated_frames() {
    let mut victim = victim(2);
    let mut rng = Rng::new(22);
    victim.storm(300_000, &mut rng, |rng, corpus| {
        let mut frame = corpus[rng.below(corpus.len() as u64) as usize].clone();
        mutate(rng, &mut frame);
        frame
    });
    victim.end();
}

#[test]
fn mutated_frames_with_right_checksums() {
    for seed in 3..6 {
        let mut victim = victim(seed);
        let mut rng = Rng::new(seed * 11);
        victim.storm(200_000, &mut rng, |rng, corpus| {
            let mut frame = corpus[rng.below(corpus.len() as u64) as usize].clone();
            mutate(rng, &mut frame);
            mend(&mut frame);
            frame
        });
        victim.end();
    }
}

/// RFC 8200 §4: extension headers in front of all that.
#[test]
fn mutated_frames_of_ipv6() {
    const MET: [&str; 5] =
        ["drop_unrecognised", "drop_fragment", "drop_bad_header", "icmp_errors_in", "udp_in"];
    let mut met = [0; MET.len()];
    for seed in 8..11 {
        let mut victim = victim_over(Family::V6, seed);
        let mut rng = Rng::new(seed * 11);
        victim.storm(200_000, &mut rng, |rng, corpus| {
            let mut frame = corpus[rng.below(corpus.len() as u64) as usize].clone();
            if rng.chance(300) {
                extend(rng, &mut frame);
            }
            if rng.chance(800) {
                mutate(rng, &mut frame);
            }
            if rng.chance(700) {
                mend(&mut frame);
            }
            frame.truncate(1514);
            frame
        });
        let stats = victim.net.b().stats();
        for (met, name) in met.iter_mut().zip(MET) {
            *met += stats.rows().find(|(n, _)| *n == name).expect("a counter of that name").1;
        }
        assert!(stats.icmp_errors_out > 0);
        victim.end();
    }
    assert!(met.iter().all(|&count| count > 10), "{MET:?}: {met:?}");
}

#[test]
fn random_headers_at_every_door() {
    let mut victim = victim(7);
    let mut rng = Rng::new(77);
    let local = victim.net.a().local(victim.sockets[0]).unwrap().unwrap().port();
    victim.storm(300_000, &mut rng, |rng, _| {
        let protocol = [6, 6, 6, 17, 1, 47][rng.below(6) as usize];
        let mut body: Vec<u8> = (0..rng.below(80)).map(|_| rng.next() as u8).collect();
        if body.len() >= 14 && rng.chance(900) {
            let from = if rng.chance(500) { local } else { rng.next() as u16 };
            let to: u16 = [80, 80, 53, 4444][rng.below(4) as usize];
            body[..2].copy_from_slice(&from.to_be_bytes());
            body[2..4].copy_from_slice(&to.to_be_bytes());
            if protocol == 6 {
                body[12] = 0x50 + (rng.below(11) as u8) * 16;
            } else if protocol == 17 {
                let len = body.len() as u16;
                body[4..6].copy_from_slice(&len.to_be_bytes());
            }
        }
        let mut frame = packet(protocol, [10, 0, 0, rng.below(4) as u8], [10, 0, 0, 2], &body);
        mend(&mut frame);
        frame
    });
    victim.end();
}

#[test]
fn each_reason_has_its_counter() {
    let mut host = Host::new(2, Config::default());
    host.knows(1);
    let now = Instant::from_millis(5);
    let good = packet(17, [10, 0, 0, 1], [10, 0, 0, 2], &[0, 1, 0, 2, 0, 8, 0, 0]);
    let change = |at: usize, value: u8| {
        let mut frame = good.clone();
        frame[at] = value;
        mend(&mut frame);
        frame
    };
    let mut broken_ip = good.clone();
    broken_ip[24] ^= 1;
    let mut broken_udp = good.clone();
    broken_udp[40] = 1;
    let frames: [(&str, Vec<u8>); 11] = [
        ("drop_truncated", good[..13].to_vec()),
        ("drop_truncated", good[..40].to_vec()),
        ("drop_not_ip", change(12, 0x86)),
        ("drop_not_ours", change(5, 9)),
        ("drop_bad_header", change(14, 0x55)),
        ("drop_ip_checksum", broken_ip),
        ("drop_fragment", change(20, 0x20)),
        ("drop_not_ours", change(33, 9)),
        ("drop_martian", change(29, 2)),
        ("drop_l4_checksum", broken_udp),
        ("drop_no_socket", good.clone()),
    ];
    let mut wanted: Vec<(&str, u64)> = Vec::new();
    for (reason, frame) in &frames {
        host.receive(now, frame);
        match wanted.iter_mut().find(|(r, _)| r == reason) {
            Some((_, n)) => *n += 1,
            None => wanted.push((reason, 1)),
        }
    }
    let stats = host.stack.stats();
    for (reason, n) in wanted {
        assert_eq!(stats.rows().find(|(name, _)| *name == reason), Some((reason, n)));
    }
    assert_eq!(drops(&stats), 11);
    let frame = host.frame(&good);
    host.stack.rx(now, IfaceId(99), frame);
    assert_eq!(host.stack.stats().drop_not_ours, 3);
    assert_eq!(host.drain().len(), 1, "one port unreachable");
    host.assert_whole();
}

/// RFC 4987 §3.6: under attack a SYN costs an answer and no memory; who means it gets through.
#[test]
fn a_flood_of_syns_is_answered_with_cookies() {
    let mut net = Net::ideal();
    let listener = net.listen(1, 80, 4);
    net.hosts[0].capture = true;
    net.connecting(0, 80);
    net.pump();
    let syn = net.hosts[0].sent[0].clone();
    let now = net.now;
    for n in 0..10_000u32 {
        let mut frame = syn.clone();
        frame[34..36].copy_from_slice(&(1024 + n as u16).to_be_bytes());
        mend(&mut frame);
        net.hosts[1].receive(now, &frame);
        net.hosts[1].drain();
    }
    let half_open = net.b().sockets().filter(|s| s.state == "SYN-RECEIVED").count();
    assert_eq!(half_open, 4);
    assert_eq!(net.b().stats().tcp_syncookies_sent, 10_000 - 4);
    assert_eq!(net.b().stats().drop_backlog, 0);
    net.run_ms(100);
    let now = net.now;
    let (_, first) = (net.b().accept(now, listener).unwrap(), net.b().stats().tcp_syncookies_recv);
    let client = net.connecting(0, 80);
    net.run_ms(100);
    assert!(net.a().readiness(client).contains(Readiness::OUT));
    assert_eq!(net.b().stats().tcp_syncookies_recv, first + 1);
    let now = net.now;
    let server = net.b().accept(now, listener).unwrap().id;
    // What the SYN offered has come back: scale and SACK by way of the timestamp.
    let Ok(Value::Info(info)) = net.b().option(server, OptName::Info) else { panic!("no info") };
    assert_eq!((info.options & 7, info.wscale), (7, (9, 9)));
    net.transfer(0, client, server, &pattern(300_000, 3), std::time::Duration::from_secs(60));
    net.run_for(std::time::Duration::from_secs(300));
    assert_eq!(net.b().sockets().filter(|s| s.state == "SYN-RECEIVED").count(), 0);
    // Later an ACK from nowhere is not even tried as a cookie.
    let failed = net.b().stats().tcp_syncookies_failed;
    let mut ack = syn;
    ack[47] = 0x10;
    mend(&mut ack);
    let now = net.now;
    net.hosts[1].receive(now, &ack);
    assert_eq!(net.b().stats().tcp_syncookies_failed, failed);
}

/// RFC 1122 §3.2.2
#[test]
fn resets_for_strays_are_limited() {
    let mut host = Host::new(2, Config::default());
    host.knows(1);
    let mut answers = 0;
    for port in 1..=5000u16 {
        let mut segment = vec![0; 20];
        segment[..2].copy_from_slice(&port.to_be_bytes());
        segment[2..4].copy_from_slice(&80u16.to_be_bytes());
        (segment[12], segment[13]) = (0x50, 0x10);
        let mut frame = packet(6, [10, 0, 0, 1], [10, 0, 0, 2], &segment);
        mend(&mut frame);
        host.receive(Instant::from_millis(10), &frame);
        answers += host.drain().len();
    }
    assert_eq!(answers, 1000);
    assert_eq!(host.stack.stats().answers_limited, 4000);
    host.assert_whole();
}

#[test]
fn readers_that_sleep_do_not_starve_the_nic() {
    let mut net = Net::ideal();
    let pairs: Vec<_> = {
        let listener = net.listen(1, 80, 64);
        let clients: Vec<_> = (0..32).map(|_| net.connecting(0, 80)).collect();
        net.run_ms(50);
        let now = net.now;
        clients.into_iter().map(|c| (c, net.b().accept(now, listener).unwrap().id)).collect()
    };
    // Everybody sends as much as it can, nobody reads.
    let data = pattern(64 * 1024, 1);
    for _ in 0..20 {
        for (client, _) in &pairs {
            match net.send(0, *client, &data) {
                Ok(_) | Err(SocketError::WouldBlock) => {}
                Err(e) => panic!("{e}"),
            }
        }
        net.run_ms(50);
    }
    for host in &net.hosts {
        let free = host.stack.pool().available();
        assert!(free >= FRAMES as usize / 16, "{free} frames are left to receive into");
    }
    // And when they read at last, everything comes.
    let mut got = vec![0usize; pairs.len()];
    let ok = net.run_until(std::time::Duration::from_secs(600), |net| {
        for (n, (_, server)) in pairs.iter().enumerate() {
            while let Ok(bytes) = net.recv(1, *server, 65_536) {
                got[n] += bytes.len();
            }
        }
        net.a().sockets().all(|s| s.send_queue == 0)
    });
    assert!(ok, "something never came");
}
