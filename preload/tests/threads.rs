//! Threads that share sockets: an echo server of four threads on one epoll set, under load.

use std::path::{Path, PathBuf};
use std::process::Command;

use lab::{IFACE, Lab, Running, eventually, product};

/// Seconds of load.
const SECONDS: &str = "3";

fn compile(lab: &Lab, name: &str) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stress").join(name);
    let program = lab.folder().join(name);
    let flags = ["-O1", "-w", "-pthread", "-o"];
    let source = source.join(format!("{name}.c"));
    let made = Command::new("cc").args(flags).arg(&program).arg(&source).status().unwrap();
    assert!(made.success(), "cc cannot compile {}", source.display());
    program
}

/// Runs server and client under the shim; answers the client's counts (right, wrong, refused) and the server.
fn load(lab: &Lab, arguments: &[&str]) -> ([u64; 3], Running) {
    let (server, client) = lab.pair();
    let (echo, load) = (compile(lab, "server"), compile(lab, "client"));
    let shim = [product(), "run", "--strict", "--iface", IFACE, "--"];
    let running = server.spawn(&[&shim, &[echo.to_str().unwrap()][..], arguments].concat());
    eventually("the server is up", 10, || running.said().contains("up"));
    let text = client.must(&[&shim, &[load.to_str().unwrap(), SECONDS][..]].concat());
    let counts: Vec<u64> = text.split_whitespace().map(|n| n.parse().unwrap()).collect();
    (counts.try_into().unwrap(), running)
}

#[test]
fn every_echo_is_right() {
    let lab = Lab::new("threads");
    let ([right, wrong, refused], mut server) = load(&lab, &["5"]);
    assert!(right > 100, "{right} echoes");
    assert_eq!((wrong, refused), (0, 0));
    assert_eq!(server.ended(20), 0, "{}", server.said());
}

#[test]
fn a_thread_that_closes_and_dups_the_others_descriptors_breaks_nothing_but_them() {
    let lab = Lab::new("vandal");
    let ([right, ..], mut server) = load(&lab, &["5", "vandal"]);
    assert!(right > 100, "{right} echoes");
    assert_eq!(server.ended(20), 0, "{}", server.said());
    assert!(server.said().contains("ended well"), "{}", server.said());
}
