//! More to send than there are frames: everyone's turn comes, by wake-ups alone, and who does not read holds
//! up nobody else.

use std::collections::HashMap;
use std::time::Duration;

use lab::Trouble;
use ringroad_tests::world::World;
use stack::config::{Config, TcpConfig};
use stack::error::SocketError;
use stack::types::{Readiness, SocketId};

const CONNECTIONS: u16 = 60;
const BYTES: usize = 1 << 20;

/// A server that goes on with a connection only when the stack says that it can, as edge-triggered epoll does,
/// and clients of which the first `readers` read.
fn serve(readers: usize, recv_buffer: usize) {
    let trouble = Trouble { seed: 1, delay: Duration::from_micros(50), ..Trouble::default() };
    let config = Config { tcp: TcpConfig { recv_buffer, ..TcpConfig::default() }, ..Config::default() };
    let mut world = World::new(trouble, 2048, &config);
    let listener = world.hosts[0].listen(80).expect("a listener");
    let remote = (world.hosts[0].address, 80).into();
    let now = world.now;
    let clients: Vec<SocketId> = (0..CONNECTIONS)
        .map(|n| world.hosts[1].connect(now, 40_000 + n, remote).expect("a connection"))
        .collect();
    let data = vec![9; BYTES];
    let mut sent: HashMap<SocketId, usize> = HashMap::new();
    let mut heard = vec![Vec::new(); clients.len()];
    world.until(Duration::from_secs(100), |world| {
        let now = world.now;
        let woken = std::mem::take(&mut world.hosts[0].woken);
        let writable = woken.iter().filter(|wake| wake.readiness.contains(Readiness::OUT));
        let mut ready: Vec<SocketId> = writable.map(|wake| wake.id).collect();
        while let Some(accepted) = world.hosts[0].accept(now, listener) {
            sent.insert(accepted.id, 0);
            ready.push(accepted.id);
        }
        for id in ready {
            let Some(sent) = sent.get_mut(&id) else { continue };
            while *sent < BYTES {
                match world.hosts[0].send(now, id, &data[*sent..]) {
                    Ok(n) => *sent += n,
                    Err(SocketError::WouldBlock) => break,
                    Err(error) => panic!("{error}"),
                }
            }
        }
        for (id, heard) in clients.iter().zip(&mut heard).take(readers) {
            while world.hosts[1].recv(now, *id, 1 << 20, heard).is_ok_and(|n| n > 0) {}
        }
        heard.iter().take(readers).all(|h| h.len() == BYTES)
    });
}

#[test]
fn senders_without_frames_are_woken() {
    serve(CONNECTIONS.into(), TcpConfig::default().recv_buffer);
}

#[test]
fn clients_that_do_not_read_hold_up_nobody() {
    serve(1, 32 * 1024);
}
