//! Interfaces whose frames are longer than those of a stack: TCP is told of what they take, and longer datagrams are the
//! kernel's.

use lab::{IFACE, Lab, Namespace, SERVER, Site, eventually};
use ringroad_tests::{assert_bypassed, fetched_sha256, must_have_stack, on_road, ringroad, sha256};

const FILES: &[(&str, usize)] = &[("small.bin", 612), ("huge.bin", 64 << 20)];
const BACKENDS: [&str; 2] = ["af-xdp", "packet"];

fn wide(lab: &Lab) -> (Namespace, Namespace) {
    let (server, client) = lab.pair();
    for host in [&server, &client] {
        host.must(&["ip", "link", "set", IFACE, "mtu", "9000"]);
    }
    (server, client)
}

fn segments(server: &Namespace, program: &lab::Running, counter: &str) -> u64 {
    let stack = must_have_stack(server, program);
    stack["counters"][counter].as_u64().expect("a counter")
}

#[test]
fn files_go_out_in_segments_that_a_frame_takes() {
    for backend in BACKENDS {
        let lab = Lab::new(&format!("jumbo-out-{backend}"));
        let (server, client) = wide(&lab);
        let site = Site::new(&lab, 80, FILES);
        let nginx = on_road(&server, &["--strict", "--backend", backend], &site.nginx(), 80);
        let before = server.counters();
        for (name, _) in FILES {
            let fetched = fetched_sha256(&client, &format!("http://{SERVER}/{name}"));
            assert_eq!(fetched, sha256(&server, &site.path(name)), "{backend}: {name}");
        }
        assert_bypassed(&server, &before);
        let sent = segments(&server, &nginx, "tcp_segs_out");
        assert!(sent < FILES[1].1 as u64 / 2000, "{backend}: {sent} segments");
    }
}

#[test]
fn a_peer_sends_segments_that_a_frame_takes() {
    for backend in BACKENDS {
        let lab = Lab::new(&format!("jumbo-in-{backend}"));
        let (server, client) = wide(&lab);
        let site = Site::new(&lab, 81, FILES);
        let sink = lab.folder().join("received").to_string_lossy().into_owned();
        let (listen, create) = (format!("TCP-LISTEN:80,bind={SERVER}"), format!("CREATE:{sink}"));
        let hears = ["socat", "-u", &listen, &create];
        let hearer = on_road(&server, &["--strict", "--backend", backend], &hears, 80);
        let before = server.counters();
        // It goes on to wait for more, so that the connection stays.
        let (file, to) = (format!("OPEN:{},ignoreeof", site.path("huge.bin")), format!("TCP:{SERVER}:80"));
        let _client = client.spawn(&["socat", "-u", &file, &to]);
        eventually("all of it is written", 60, || {
            std::fs::metadata(&sink).is_ok_and(|file| file.len() == FILES[1].1 as u64)
        });
        assert_eq!(sha256(&server, &sink), sha256(&server, &site.path("huge.bin")), "{backend}");
        assert_bypassed(&server, &before);
        let received = segments(&server, &hearer, "tcp_segs_in");
        assert!(received < FILES[1].1 as u64 / 2000, "{backend}: {received} segments");
    }
}

/// One socket hears both, and answers by whichever way is wide enough.
#[test]
fn datagrams_that_no_frame_takes_go_through_the_kernel() {
    let echoes = format!(
        "import socket\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\ns.bind(('{SERVER}', 7000))\n\
         print('bound', flush=True)\nwhile True: s.sendto(*s.recvfrom(65536))"
    );
    let asks = format!(
        "import socket, sys\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\ns.settimeout(60)\n\
         for n in map(int, sys.argv[1:]):\n data = bytes(i % 251 for i in range(n))\n \
         s.sendto(data, ('{SERVER}', 7000))\n assert s.recv(65536) == data, n"
    );
    for backend in BACKENDS {
        let lab = Lab::new(&format!("jumbo-udp-{backend}"));
        let (server, client) = wide(&lab);
        let command = ringroad(&["--strict", "--backend", backend], &["python3", "-c", &echoes]);
        let echo = server.spawn(&command);
        eventually("it hears", 60, || echo.said().contains("bound"));
        let before = server.counters();
        client.must(&["python3", "-c", &asks, "1", "1472", "3000"]);
        let by_kernel = || server.counters().since(&before, "UdpInDatagrams");
        assert_eq!(by_kernel(), 0, "{backend}");
        client.must(&["python3", "-c", &asks, "3794", "8000", "8972"]);
        assert_eq!(by_kernel(), 3, "{backend}");
        assert_eq!(segments(&server, &echo, "udp_in"), 3, "{backend}");
    }
}
