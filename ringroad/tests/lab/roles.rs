//! What the programs under test do.

use std::io::{Read, Write};
use std::thread;

use ringroad::{TcpListener, TcpStream, UdpSocket};

use crate::programs::{self, ARGUMENT, ROLE};

/// Not a test: the entry of the programs. Started by itself it has no role, and nothing to do.
#[test]
fn program() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let argument = std::env::var(ARGUMENT).unwrap_or_default();
    match role.as_str() {
        "echo" => echo(&argument),
        "fetch" => fetch(&argument),
        "farewell" => drop(farewell(&argument)),
        "abandon" => std::mem::forget(farewell(&argument)),
        "compute" => compute(&argument),
        other => panic!("no role {other}"),
    }
    // The test harness would catch the end of `main`; the exit handlers are what is under test.
    std::process::exit(0);
}

/// Echoes TCP, one thread a connection, and UDP.
fn echo(address: &str) {
    let listener = TcpListener::bind(address).unwrap();
    let datagrams = UdpSocket::bind(address).unwrap();
    assert!(listener.is_accelerated() && datagrams.is_accelerated());
    assert_eq!(listener.set_congestion("nosuch").unwrap_err().kind(), std::io::ErrorKind::NotFound);
    listener.set_congestion("bbr").unwrap();
    println!("ready");
    thread::spawn(move || {
        let mut buffer = [0; 65536];
        loop {
            let (n, from) = datagrams.recv_from(&mut buffer).unwrap();
            datagrams.send_to(&buffer[..n], from).unwrap();
        }
    });
    for connection in listener.incoming() {
        let connection = connection.unwrap();
        assert_eq!(connection.congestion().unwrap(), "bbr");
        connection.set_congestion("reno").unwrap();
        assert_eq!(connection.congestion().unwrap(), "reno");
        programs::echo(connection);
    }
}

/// Connects, reads to the end, and says how much it was and its sum.
fn fetch(address: &str) {
    println!("ready");
    let mut stream = TcpStream::connect(address).unwrap();
    assert!(stream.is_accelerated());
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let sum = bytes.iter().fold(0u64, |a, b| a.wrapping_mul(31).wrapping_add(u64::from(*b)));
    println!("fetched {} {sum}", bytes.len());
}

/// Accepts one connection, writes as many bytes as fit and ends at once.
fn farewell(address: &str) -> TcpStream {
    let listener = TcpListener::bind(address).unwrap();
    println!("ready");
    let (mut stream, _) = listener.accept().unwrap();
    stream.write_all(&vec![7; 200_000]).unwrap();
    stream
}

/// Accepts one connection, writes more than the send buffer takes in one go, and then computes until a file is there,
/// without ever waiting or calling.
fn compute(argument: &str) {
    let (address, enough) = argument.split_once(' ').unwrap();
    let listener = TcpListener::bind(address).unwrap();
    println!("ready");
    let (mut stream, _) = listener.accept().unwrap();
    stream.write_all(&vec![7; 200_000]).unwrap();
    let mut n = 0u64;
    while !std::fs::exists(enough).unwrap() {
        n = std::hint::black_box((0..100_000).fold(n, |n: u64, more| n.wrapping_mul(31) + more));
    }
}
