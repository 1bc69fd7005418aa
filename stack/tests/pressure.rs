//! Fewer frames than everybody would take: who does not let go of them keeps nobody else from being served.

mod common;

use std::time::Duration;

use common::{Host, Link, Net, pattern};
use ringroad_stack::config::Config;
use ringroad_stack::error::SocketError;
use ringroad_stack::socket::{OptName, Value};
use ringroad_stack::types::SocketId;

/// Frames of the server.
const FRAMES: u32 = 512;

/// A server with few frames, and a client that has enough.
fn scarce(seed: u64) -> Net {
    let mut net = Net::with_frames(Config::default(), Link::default(), seed, FRAMES);
    net.hosts[0] = Host::with_frames(1, Config::default(), 16_384);
    net.hosts[0].knows(2);
    net
}

fn held(net: &Net) -> u32 {
    FRAMES - net.hosts[1].stack.pool().census().free
}

/// A connection, the client's end first; with a receive buffer of so many octets, if that is to be small.
fn connection(net: &mut Net, listener: SocketId, buffer: Option<i32>) -> (SocketId, SocketId) {
    let client = net.connecting(0, 80);
    if let Some(octets) = buffer {
        let now = net.now;
        net.a().set_option(now, client, OptName::RecvBuffer, Value::Int(octets)).unwrap();
    }
    net.run_ms(2);
    let now = net.now;
    let server = net.b().accept(now, listener).expect("a newcomer is let in").id;
    (client, server)
}

/// Peers that ask for much and then shut their window (sockstress), as many as there are.
fn idlers(net: &mut Net, listener: SocketId, count: usize) -> Vec<SocketId> {
    let much = pattern(1 << 20, 1);
    let idlers = (0..count).map(|_| {
        let (_, server) = connection(net, listener, Some(1));
        let _ = net.send(1, server, &much);
        net.run_ms(1);
        server
    });
    idlers.collect()
}

#[test]
fn idlers_leave_frames_for_newcomers() {
    for count in [50, 200, 400] {
        let mut net = scarce(1);
        let listener = net.listen(1, 80, 64);
        let idlers = idlers(&mut net, listener, count);
        // They try again and again, as an application does that is told that there is room.
        for _ in 0..20 {
            for &idler in &idlers {
                let _ = net.send(1, idler, &[7; 65_536]);
            }
            net.run_ms(100);
        }
        println!("{count} idlers hold {} of {FRAMES} frames", held(&net));
        for n in 0..20 {
            let (client, server) = connection(&mut net, listener, None);
            let data = pattern(100_000, n);
            net.transfer(1, server, client, &data, Duration::from_secs(10));
            net.transfer(0, client, server, &data, Duration::from_secs(10));
            net.close(0, client);
            net.close(1, server);
        }
    }
}

/// Many at once, each with its share, none for ever behind the others.
#[test]
fn newcomers_at_once_all_get_their_turn() {
    let mut net = scarce(2);
    let listener = net.listen(1, 80, 64);
    idlers(&mut net, listener, 200);
    let pairs: Vec<_> = (0..40).map(|_| connection(&mut net, listener, None)).collect();
    let data = pattern(60_000, 3);
    let (mut sent, mut got) = (vec![0; pairs.len()], vec![Vec::new(); pairs.len()]);
    let done = net.run_until(Duration::from_secs(20), |net| {
        // As an edge-triggered program: it tries when it is told to, and after what it has just been allowed.
        let wakes = std::mem::take(&mut net.hosts[1].wakes);
        for (n, (_, server)) in pairs.iter().enumerate() {
            let told = wakes.iter().any(|wake| wake.id == *server) || sent[n] == 0;
            while told && sent[n] < data.len() {
                match net.send(1, *server, &data[sent[n]..]) {
                    Ok(some) => sent[n] += some,
                    Err(SocketError::WouldBlock) => break,
                    Err(error) => panic!("{error}"),
                }
            }
        }
        for (n, (client, _)) in pairs.iter().enumerate() {
            got[n].extend(net.recv(0, *client, 65_536).unwrap_or_default());
        }
        got.iter().all(|got| got.len() == data.len())
    });
    let behind: Vec<_> = got.iter().map(Vec::len).filter(|n| *n < data.len()).collect();
    assert!(done, "{} of {} have {behind:?} only", behind.len(), pairs.len());
    assert!(got.iter().all(|got| *got == data));
}
