//! nginx under ringroad serves files whole, and the kernel's TCP does not see them.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use lab::{IFACE, Lab, Namespace, SERVER, Site};
use ringroad_tests::{
    assert_bypassed, fetch_at_once, fetched_sha256, must_have_stack, on_kernel, on_road, sha256,
};

const FILES: &[(&str, usize)] = &[("small.bin", 612), ("big.bin", 1 << 20), ("huge.bin", 200 << 20)];

#[test]
fn files_arrive_whole_and_the_kernel_sees_none_of_it() {
    let lab = Lab::new("files");
    let (server, client) = lab.pair();
    let site = Site::new(&lab, 80, FILES);
    let nginx = on_road(&server, &[], &site.nginx(), 80);
    let before = server.counters();
    for (file, _) in FILES {
        let fetched = fetched_sha256(&client, &format!("http://{SERVER}/{file}"));
        assert_eq!(fetched, sha256(&server, &site.path(file)), "{file}");
    }
    assert_bypassed(&server, &before);
    let stack = must_have_stack(&server, &nginx);
    assert_eq!(stack["interfaces"][0]["name"], IFACE);
    assert!(stack["counters"]["tcp_passive_opens"].as_u64() >= Some(3), "{stack}");
}

#[test]
fn five_hundred_at_once_arrive_whole() {
    let lab = Lab::new("five-hundred");
    let (server, client) = lab.pair();
    let site = Site::new(&lab, 80, FILES);
    let _nginx = on_road(&server, &[], &site.nginx(), 80);
    let before = server.counters();
    for (file, _) in &FILES[..2] {
        fetch_at_once(&client, &format!("http://{SERVER}/{file}"), 500, &sha256(&server, &site.path(file)));
    }
    assert_bypassed(&server, &before);
}

/// All five hundred are connected before the first one asks.
fn five_hundred_open_connections(client: &Namespace, expected: &[u8]) {
    client.enter(|| {
        let mut streams: Vec<TcpStream> =
            (0..500).map(|_| TcpStream::connect((SERVER, 80)).expect("a connection")).collect();
        for stream in &mut streams {
            stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a time limit");
            stream.write_all(b"GET /big.bin HTTP/1.0\r\n\r\n").expect("a request sent");
        }
        for (n, stream) in streams.iter_mut().enumerate() {
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).unwrap_or_else(|e| panic!("connection {n}: {e}"));
            assert!(answer.starts_with(b"HTTP/1.1 200"), "connection {n}");
            assert!(answer.ends_with(expected), "connection {n}: {} bytes", answer.len());
        }
    });
}

#[test]
fn five_hundred_connections_are_open_at_the_same_time() {
    let lab = Lab::new("open");
    let (server, client) = lab.pair();
    let site = Site::new(&lab, 80, &FILES[..2]);
    let expected = std::fs::read(site.path("big.bin")).unwrap();
    let nginx = on_road(&server, &[], &site.nginx(), 80);
    let before = server.counters();
    five_hundred_open_connections(&client, &expected);
    assert_bypassed(&server, &before);
    let opened = must_have_stack(&server, &nginx)["counters"]["tcp_passive_opens"].as_u64();
    assert_eq!(opened, Some(500));
}

#[test]
fn the_same_on_the_kernel_is_seen_by_its_counters() {
    let lab = Lab::new("control");
    let (server, client) = lab.pair();
    let site = Site::new(&lab, 80, &FILES[..2]);
    let expected = std::fs::read(site.path("big.bin")).unwrap();
    let _nginx = on_kernel(&server, &site.nginx(), 80);
    let before = server.counters();
    five_hundred_open_connections(&client, &expected);
    fetch_at_once(&client, &format!("http://{SERVER}/big.bin"), 500, &sha256(&server, &site.path("big.bin")));
    assert_eq!(server.counters().since(&before, "TcpPassiveOpens"), 1000);
}
