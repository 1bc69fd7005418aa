//! The kernel goes on beside the road, and takes over when the road is gone.

use lab::{Lab, SERVER, Site, eventually};
use ringroad_tests::{assert_bypassed, fetched_sha256, on_kernel, on_road, ringroad, sha256, stack_of};

const FILES: &[(&str, usize)] = &[("small.bin", 612), ("big.bin", 1 << 20)];

#[test]
fn a_kernel_service_on_another_port_goes_on_beside_it() {
    let lab = Lab::new("beside");
    let (server, client) = lab.pair();
    let (road, kernel) = (Site::new(&lab, 80, FILES), Site::new(&lab, 8080, FILES));
    let fetch = |port: u16| fetched_sha256(&client, &format!("http://{SERVER}:{port}/big.bin"));
    let expected = sha256(&server, &road.path("big.bin"));
    let _kernel = on_kernel(&server, &kernel.nginx(), 8080);
    assert_eq!(fetch(8080), expected);
    let _road = on_road(&server, &[], &road.nginx(), 80);
    for _ in 0..3 {
        let before = server.counters();
        assert_eq!(fetch(80), expected);
        assert_bypassed(&server, &before);
        assert_eq!(fetch(8080), expected);
        assert_eq!(server.counters().since(&before, "TcpPassiveOpens"), 1);
    }
}

#[test]
fn a_second_nginx_on_the_same_port_is_told_that_it_is_in_use() {
    let lab = Lab::new("second");
    let (server, client) = lab.pair();
    let site = Site::new(&lab, 80, FILES);
    let first = on_road(&server, &[], &site.nginx(), 80);
    for second in [site.nginx(), ringroad(&[], &site.nginx())] {
        let outcome = server.run_for(20, &second);
        assert_ne!(outcome.code, 0);
        assert!(outcome.said().contains("98: Address already in use"), "{}", outcome.said());
    }
    let expected = sha256(&server, &site.path("small.bin"));
    assert_eq!(fetched_sha256(&client, &format!("http://{SERVER}/small.bin")), expected);
    assert!(stack_of(&server, &first).is_some());
}

/// Answers each connection with what it says; the first before it waits for a second.
const LATE: &str = "
import os, socket, sys, time
listener = socket.create_server(('0.0.0.0', 80), backlog=8)
while not os.path.exists(sys.argv[1]): time.sleep(0.01)
while True:
    peer, _ = listener.accept()
    peer.sendall(peer.recv(100).upper())
    peer.close()
";
/// Connects twice before anybody accepts, and speaks when told to.
const EARLY: &str = "
import os, socket, sys, time
early = [socket.create_connection((sys.argv[1], 80), timeout=20) for _ in range(2)]
open(sys.argv[2], 'w').close()
while not os.path.exists(sys.argv[3]): time.sleep(0.01)
for one in early:
    one.sendall(b'early')
    print(one.recv(100).decode(), one.recv(100))
";

#[test]
fn who_connected_before_the_program_waited_stays_with_the_kernel() {
    let lab = Lab::new("early");
    let (server, client) = lab.pair();
    let file = |name: &str| lab.folder().join(name).to_str().expect("a path").to_owned();
    let (begin, speak) = (file("begin"), file("speak"));
    let program = server.spawn(&ringroad(&[], &["python3", "-c", LATE, &begin]));
    eventually("the kernel listens", 20, || server.listens(80));
    let mut early = client.spawn(&["python3", "-c", EARLY, SERVER, &begin, &speak]);
    let listens = |stack: &serde_json::Value| stack["sockets"].as_array().is_some_and(|s| !s.is_empty());
    eventually("the program listens on the road", 20, || {
        stack_of(&server, &program).is_some_and(|stack| listens(&stack))
    });
    std::fs::write(&speak, "").expect("a file");
    assert_eq!((early.ended(20), early.said()), (0, "EARLY b''\nEARLY b''\n".to_owned()));
}

#[test]
fn after_kill_the_kernel_serves_at_once() {
    let lab = Lab::new("kill");
    let (server, client) = lab.pair();
    let site = Site::new(&lab, 80, FILES);
    let expected = sha256(&server, &site.path("big.bin"));
    let url = format!("http://{SERVER}/big.bin");
    for _ in 0..3 {
        let mut road = on_road(&server, &[], &site.nginx(), 80);
        let before = server.counters();
        assert_eq!(fetched_sha256(&client, &url), expected);
        assert_bypassed(&server, &before);
        road.kill();
        let before = server.counters();
        let mut kernel = on_kernel(&server, &site.nginx(), 80);
        assert_eq!(fetched_sha256(&client, &url), expected);
        assert_eq!(server.counters().since(&before, "TcpPassiveOpens"), 1);
        kernel.kill();
    }
    let xdp = || server.must(&["ip", "-details", "link", "show", lab::IFACE]);
    eventually("no XDP program is left on the interface", 5, || !xdp().contains("xdp"));
}

#[test]
fn after_kill_in_the_middle_of_a_transfer_the_road_opens_again() {
    let lab = Lab::new("reopen");
    let (server, client) = lab.pair();
    let site = Site::new(&lab, 80, &[("big.bin", 1 << 20), ("huge.bin", 200 << 20)]);
    let expected = sha256(&server, &site.path("big.bin"));
    for _ in 0..3 {
        let mut road = on_road(&server, &[], &site.nginx(), 80);
        let before = server.counters();
        let mut transfer = client.spawn(&[
            "curl",
            "-s",
            "--limit-rate",
            "20M",
            "-o",
            "/dev/null",
            &format!("http://{SERVER}/huge.bin"),
        ]);
        eventually("the transfer is on its way", 5, || client.counters().get("TcpInSegs") > 100);
        assert_eq!(fetched_sha256(&client, &format!("http://{SERVER}/big.bin")), expected);
        assert_bypassed(&server, &before);
        road.kill();
        transfer.kill();
    }
}
