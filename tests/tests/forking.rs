//! Servers that give each connection a process of its own: it goes with the child, whatever the parent closes.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use lab::{Lab, Namespace, SERVER, eventually, stacks};
use ringroad_tests::{assert_bypassed, on_road};
use serde_json::Value;

const SIZE: usize = 300_000;

/// Sends bytes that tell their place, and wants them back.
fn echo(client: &Namespace, seed: usize) {
    client.enter(|| {
        let mut stream = TcpStream::connect((SERVER, 80)).expect("a connection");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a time limit");
        let data: Vec<u8> = (0..SIZE).map(|n| (n / 251 + n * seed) as u8).collect();
        let mut writer = stream.try_clone().expect("a second descriptor");
        let mut heard = Vec::new();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                writer.write_all(&data).expect("all is taken");
                writer.shutdown(Shutdown::Write).expect("an end");
            });
            stream.read_to_end(&mut heard).expect("the echo, and its end");
        });
        assert_eq!(heard.len(), SIZE);
        assert!(heard == data, "other bytes");
    });
}

const PYTHON: &str = "
import socketserver
class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        while data := self.request.recv(65536):
            self.request.sendall(data)
class Server(socketserver.ForkingTCPServer):
    allow_reuse_address = True
    request_queue_size = 64
    max_children = 8
Server(('0.0.0.0', 80), Echo).serve_forever()
";

/// A process for each connection; its parent closes its copy at once.
fn serves(name: &str, words: &[&str]) {
    let lab = Lab::new(name);
    let (server, client) = lab.pair();
    let program = on_road(&server, &[], words, 80);
    echo(&client, 1);
    let before = server.counters();
    for seed in 0..4 {
        echo(&client, seed);
    }
    std::thread::scope(|scope| {
        for seed in 0..6 {
            let client = &client;
            scope.spawn(move || echo(client, seed));
        }
    });
    assert_bypassed(&server, &before);
    eventually("the parent holds nothing but its listener", 20, || {
        let sockets = |stack: &Value| stack["sockets"].as_array().cloned().unwrap_or_default();
        let own = |stack: &Value| stack["pid"].as_u64() == Some(u64::from(program.pid()));
        let stack = stacks(&server).into_iter().find(own).expect("the parent's stack");
        sockets(&stack).iter().all(|s| matches!(s["state"].as_str(), Some("LISTEN" | "TIME-WAIT")))
    });
}

#[test]
fn a_connection_goes_with_the_child_of_socat() {
    // Blocks that a pipe takes whole: one process is at both ends of it.
    serves("fork-socat", &["socat", "-b4096", "TCP4-LISTEN:80,fork,reuseaddr,backlog=64", "PIPE"]);
}

#[test]
fn a_connection_goes_with_the_child_of_a_forking_server() {
    serves("fork-python", &["python3", "-c", PYTHON]);
}
