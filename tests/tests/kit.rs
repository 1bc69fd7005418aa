//! The laboratory itself, checked with the kernel alone.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use lab::{CLIENT, Lab, SERVER, Site, Trouble, eventually};
use ringroad_tests::{fetched_sha256, on_kernel, sha256};

#[test]
fn a_server_on_the_kernel_is_seen_by_its_counters() {
    let lab = Lab::new("kit");
    let (server, client) = lab.pair();
    let site = Site::new(&lab, 80, &[("small.bin", 612), ("big.bin", 1 << 20)]);
    let _nginx = on_kernel(&server, &site.nginx(), 80);
    let before = server.counters();
    for file in ["small.bin", "big.bin"] {
        let expected = sha256(&server, &site.path(file));
        assert_eq!(fetched_sha256(&client, &format!("http://{SERVER}/{file}")), expected);
    }
    assert_eq!(server.counters().since(&before, "TcpPassiveOpens"), 2);
    assert!(server.counters().since(&before, "TcpInSegs") > 20);
}

#[test]
fn the_bad_cable_does_what_it_was_told() {
    let lab = Lab::new("cable");
    let trouble = Trouble { corrupt: 2_000, ..Trouble::one_percent(7) };
    let (server, client, relay) = lab.pair_through(trouble);
    let listener = server.enter(|| TcpListener::bind((SERVER, 9000)).unwrap());
    let sent: Vec<u8> = (0u32..4 << 20).map(|n| (n.wrapping_mul(n) >> 7) as u8).collect();
    let received = std::thread::scope(|scope| {
        let source = scope.spawn(|| {
            let mut stream = client.enter(|| TcpStream::connect((SERVER, 9000)).unwrap());
            assert_eq!(stream.local_addr().unwrap().ip().to_string(), CLIENT);
            stream.write_all(&sent).unwrap();
        });
        let mut received = Vec::new();
        listener.accept().unwrap().0.read_to_end(&mut received).unwrap();
        source.join().unwrap();
        received
    });
    assert!(received == sent);
    let segments = relay.seen();
    assert!(segments > 2900, "{segments} frames for 4 MiB");
    let told = [relay.lost(), relay.duplicated(), relay.reordered(), relay.corrupted()];
    assert!(told.iter().all(|n| *n > 0 && *n < segments / 20), "{told:?} of {segments}");
    assert!(client.counters().get("TcpRetransSegs") > 0);
    assert!(server.counters().get("TcpInCsumErrors") > 0);
}

#[test]
fn everything_is_gone_after_a_panic() {
    let (mut host, mut folder, mut pid) = (String::new(), PathBuf::new(), 0);
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let lab = Lab::new("panic");
        let (server, _client) = lab.pair();
        let sleeper = server.spawn(&["sleep", "1000"]);
        (host, folder, pid) = (server.name().to_owned(), lab.folder().to_owned(), sleeper.pid());
        assert!(PathBuf::from("/run/netns").join(&host).exists());
        panic!("on purpose");
    }));
    assert!(panic.is_err());
    assert!(!PathBuf::from("/run/netns").join(&host).exists());
    assert!(folder.exists(), "the files of a failed test stay, to be looked at");
    std::fs::remove_dir_all(&folder).unwrap();
    eventually("the program has ended", 5, || !PathBuf::from(format!("/proc/{pid}")).exists());
}

#[test]
fn a_program_that_does_not_end_is_ended() {
    let lab = Lab::new("limit");
    let host = lab.host("only");
    assert_eq!(host.run_for(1, &["sleep", "60"]).code, 124);
    assert_eq!(host.run(&["sh", "-c", "echo out; echo err >&2; exit 3"]).code, 3);
    let slow =
        host.enter(|| TcpStream::connect_timeout(&"10.99.0.1:1".parse().unwrap(), Duration::from_secs(1)));
    assert!(slow.is_err(), "a host without a cable reaches nobody");
}
