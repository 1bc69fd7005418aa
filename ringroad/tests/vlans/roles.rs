//! What the programs under test do.

use std::io::Read;
use std::thread;

use ringroad::{TcpListener, TcpStream};

use crate::programs::{self, ARGUMENT, ROLE};

/// Not a test: the entry of the programs. Started by itself it has no role, and nothing to do.
#[test]
fn program() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let argument = std::env::var(ARGUMENT).unwrap_or_default();
    match role.as_str() {
        "echo" => echo(&argument),
        "fetch" => fetch(&argument),
        "who" => {
            println!("accelerated {}", TcpListener::bind(argument).unwrap().is_accelerated());
            println!("ready");
            thread::park();
        }
        other => panic!("no role {other}"),
    }
    std::process::exit(0);
}

/// Echoes at all these addresses, one thread a connection.
fn echo(addresses: &str) {
    let listeners: Vec<TcpListener> =
        addresses.split(',').map(|address| TcpListener::bind(address).unwrap()).collect();
    assert!(listeners.iter().all(TcpListener::is_accelerated));
    println!("ready");
    thread::scope(|scope| {
        for listener in &listeners {
            scope.spawn(|| listener.incoming().for_each(|connection| programs::echo(connection.unwrap())));
        }
    });
}

/// Connects, reads to the end, and says how much it was and whether it is what the tests send.
fn fetch(address: &str) {
    println!("ready");
    let mut stream = TcpStream::connect(address).unwrap();
    assert!(stream.is_accelerated());
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    println!("fetched {} {}", bytes.len(), bytes == crate::bytes());
}
