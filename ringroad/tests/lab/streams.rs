//! Streams between the API and the kernel.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use lab::{CLIENT, Lab, SERVER};
use ringroad::control::client::stacks;

use crate::programs::start;

const PATIENCE: Option<Duration> = Some(Duration::from_secs(60));

fn bytes(n: usize) -> Vec<u8> {
    (0..n as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

#[test]
fn ten_megabytes_are_echoed_and_the_kernel_sees_none_of_it() {
    let lab = Lab::new("echo");
    let (server, client) = lab.pair();
    let echo = start(&server, "echo", &format!("{SERVER}:7"));
    // As `ringroad stat` shows it; a cable of the laboratory has no zero-copy.
    let mode = if lab::Nics::are_given() { "zerocopy" } else { "copy" };
    let report = stacks(Some(echo.pid()));
    assert!(report.stacks[0].interfaces.iter().all(|queue| queue.mode == mode), "{report:?}");
    let before = server.counters();
    let stream = client.enter(|| TcpStream::connect((SERVER, 7)).unwrap());
    stream.set_read_timeout(PATIENCE).unwrap();
    let sent = bytes(10 << 20);
    let mut got = Vec::new();
    thread::scope(|scope| {
        scope.spawn(|| {
            (&stream).write_all(&sent).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
        });
        (&stream).read_to_end(&mut got).unwrap();
    });
    assert!(got == sent, "{} of {} bytes", got.len(), sent.len());
    for counter in ["TcpPassiveOpens", "TcpInSegs"] {
        assert_eq!(server.counters().since(&before, counter), 0, "{counter}");
    }
}

#[test]
fn a_client_of_the_stack_fetches_from_the_kernel() {
    let lab = Lab::new("fetch");
    let (host, peer) = lab.pair();
    let listener = peer.enter(|| TcpListener::bind((CLIENT, 9000)).unwrap());
    let sent = bytes(10 << 20);
    let sum = sent.iter().fold(0u64, |a, b| a.wrapping_mul(31).wrapping_add(u64::from(*b)));
    let mut fetch = start(&host, "fetch", &format!("{CLIENT}:9000"));
    let (mut stream, from) = listener.accept().unwrap();
    assert_eq!(from.ip().to_string(), SERVER);
    stream.write_all(&sent).unwrap();
    drop(stream);
    assert_eq!(fetch.ended(10), 0, "{}", fetch.said());
    assert!(fetch.said().contains(&format!("fetched {} {sum}", sent.len())), "{}", fetch.said());
}

#[test]
fn many_connections_wait_in_threads_of_their_own() {
    let lab = Lab::new("threads");
    let (server, client) = lab.pair();
    let _echo = start(&server, "echo", &format!("{SERVER}:7"));
    let streams: Vec<TcpStream> = client.enter(|| {
        (0..64)
            .map(|_| {
                TcpStream::connect_timeout(&format!("{SERVER}:7").parse().unwrap(), PATIENCE.unwrap())
                    .unwrap()
            })
            .collect()
    });
    for round in 0..20u8 {
        for (i, mut stream) in streams.iter().enumerate() {
            stream.set_read_timeout(PATIENCE).unwrap();
            stream.write_all(&[round, i as u8]).unwrap();
        }
        for (i, mut stream) in streams.iter().enumerate().rev() {
            let mut got = [0; 2];
            stream.read_exact(&mut got).unwrap();
            assert_eq!(got, [round, i as u8]);
        }
    }
}

/// The peer of a program that writes 200,000 bytes and ends, one way or another.
fn all_of_it_arrives(role: &str) {
    let lab = Lab::new(role);
    let (server, client) = lab.pair();
    let mut program = start(&server, role, &format!("{SERVER}:7"));
    let mut stream = client.enter(|| TcpStream::connect((SERVER, 7)).unwrap());
    stream.set_read_timeout(PATIENCE).unwrap();
    let mut got = Vec::new();
    stream.read_to_end(&mut got).unwrap();
    assert_eq!(got.len(), 200_000, "and a FIN, not a reset");
    assert_eq!(program.ended(10), 0, "{}", program.said());
}

#[test]
fn what_was_written_before_the_end_arrives() {
    all_of_it_arrives("farewell");
}

#[test]
fn so_it_does_on_a_socket_that_was_never_closed() {
    all_of_it_arrives("abandon");
}

#[test]
fn the_helper_serves_connections_while_the_program_computes() {
    let lab = Lab::new("compute");
    let (server, client) = lab.pair();
    let enough = lab.folder().join("enough");
    let mut program = start(&server, "compute", &format!("{SERVER}:7 {}", enough.display()));
    let mut stream = client.enter(|| TcpStream::connect((SERVER, 7)).unwrap());
    stream.set_read_timeout(PATIENCE).unwrap();
    let mut got = vec![0; 200_000];
    stream.read_exact(&mut got).unwrap();
    // It computes until now: nobody but the helper can have answered our ACKs.
    assert!(program.is_running(), "{}", program.said());
    std::fs::write(enough, "").unwrap();
    assert_eq!(program.ended(60), 0, "{}", program.said());
}
