//! Datagrams between the API and the kernel.

use std::net::UdpSocket;
use std::thread;
use std::time::Duration;

use lab::{CLIENT, IFACE, Lab, SERVER, eventually};

use crate::programs::start;

const PATIENCE: Option<Duration> = Some(Duration::from_secs(60));
/// How long one of several tries waits.
const TRY: Option<Duration> = Some(Duration::from_secs(1));

#[test]
fn datagrams_are_echoed() {
    let lab = Lab::new("udp");
    let (server, client) = lab.pair();
    let _echo = start(&server, "echo", &format!("{SERVER}:7"));
    let before = server.counters();
    let socket = client.enter(|| UdpSocket::bind((CLIENT, 0)).unwrap());
    socket.set_read_timeout(PATIENCE).unwrap();
    for len in [1, 100, 1472] {
        let sent = vec![7; len];
        let mut got = [0; 2048];
        socket.send_to(&sent, (SERVER, 7)).unwrap();
        let (n, from) = socket.recv_from(&mut got).unwrap();
        assert_eq!((&got[..n], from.to_string()), (&sent[..], format!("{SERVER}:7")));
    }
    assert_eq!(server.counters().since(&before, "UdpInDatagrams"), 0, "the kernel saw none of it");
}

#[test]
fn changes_of_the_kernels_tables_are_followed() {
    let lab = Lab::new("netlink");
    let (server, client) = lab.pair();
    let _echo = start(&server, "echo", "0.0.0.0:7");
    let socket = client.enter(|| UdpSocket::bind((CLIENT, 0)).unwrap());
    socket.set_read_timeout(TRY).unwrap();
    let echoes = |to: &str| {
        socket.send_to(b"hello", to).unwrap();
        // A socket bound to every address answers from the interface's first one, as in the kernel.
        socket.recv_from(&mut [0; 16]).is_ok_and(|(n, from)| n == 5 && from.port() == 7)
    };
    eventually("the first address is served", 10, || echoes(&format!("{SERVER}:7")));
    // An address that comes later is served too, by the stack.
    let before = server.counters();
    server.must(&["ip", "addr", "add", "10.77.0.9/24", "dev", IFACE]);
    eventually("the new address is served by the stack", 10, || {
        echoes("10.77.0.9:7") && {
            let before = server.counters();
            echoes("10.77.0.9:7") && server.counters().since(&before, "UdpInDatagrams") == 0
        }
    });
    assert!(server.counters().since(&before, "UdpInDatagrams") < 100);
    // The peer gets another link address: the kernel learns it, and we from the kernel.
    client.must(&["ip", "link", "set", IFACE, "address", "02:00:00:00:00:77"]);
    client.must(&["ip", "neigh", "flush", "dev", IFACE]);
    eventually("the new link address is used", 10, || echoes(&format!("{SERVER}:7")));
}

#[test]
fn an_idle_program_sleeps() {
    let lab = Lab::new("idle");
    let (server, client) = lab.pair();
    let echo = start(&server, "echo", &format!("{SERVER}:7"));
    let socket = client.enter(|| UdpSocket::bind((CLIENT, 0)).unwrap());
    socket.set_read_timeout(PATIENCE).unwrap();
    socket.send_to(b"hello", (SERVER, 7)).unwrap();
    assert_eq!(socket.recv(&mut [0; 16]).unwrap(), 5);
    eventually("it comes to rest", 10, || {
        let before = (sleeps(echo.pid()), ticks(echo.pid()));
        thread::sleep(Duration::from_secs(1));
        let used = (sleeps(echo.pid()) - before.0, ticks(echo.pid()) - before.1);
        println!("in a second: {} sleeps, {} ticks", used.0, used.1);
        used.0 <= 3 && used.1 == 0
    });
}

/// Processor time that a process has used, in clock ticks.
fn ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("a live process");
    let fields: Vec<&str> = stat.rsplit_once(')').expect("a command").1.split_ascii_whitespace().collect();
    fields[11].parse::<u64>().expect("utime") + fields[12].parse::<u64>().expect("stime")
}

/// Context switches of all threads of a process that it asked for itself: how often it went to sleep.
fn sleeps(pid: u32) -> u64 {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("a live process");
    let of = |status: String| {
        let line = status.lines().find_map(|l| l.strip_prefix("voluntary_ctxt_switches:"));
        line.and_then(|n| n.trim().parse::<u64>().ok()).unwrap_or(0)
    };
    tasks.flatten().filter_map(|t| std::fs::read_to_string(t.path().join("status")).ok()).map(of).sum()
}
