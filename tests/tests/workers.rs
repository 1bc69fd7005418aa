//! A server of several processes on one interface: all serve, and one that dies takes nothing but its own with it.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use lab::{CLIENT, IFACE, Lab, Namespace, Running, SERVER, Site, eventually, stacks};
use ringroad_tests::replacing::{all_frames_are_accounted_for, descriptors};
use ringroad_tests::{assert_bypassed, fetched_sha256, on_road, ringroad, sha256, start_on};
use serde_json::Value;

const WORKERS: usize = 4;
const FILES: &[(&str, usize)] = &[("big.bin", 1 << 20)];

/// A connection to a worker that says who it is.
struct Call {
    stream: TcpStream,
    pid: u32,
}

impl Call {
    fn open() -> Self {
        let stream = TcpStream::connect((SERVER, 80)).expect("a connection");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a time limit");
        let mut call = Self { stream, pid: 0 };
        call.pid = call.ask();
        call
    }

    fn ask(&mut self) -> u32 {
        self.stream.write_all(b"GET /pid HTTP/1.1\r\nHost: x\r\n\r\n").expect("a request sent");
        let mut answer = Vec::new();
        loop {
            let mut bytes = [0; 1024];
            let n = self.stream.read(&mut bytes).expect("an answer");
            assert_ne!(n, 0, "the connection ended before its answer");
            answer.extend_from_slice(&bytes[..n]);
            let text = String::from_utf8_lossy(&answer).into_owned();
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let length = head.lines().find_map(|l| l.strip_prefix("Content-Length: ")).expect("a length");
            if body.len() == length.parse::<usize>().expect("a number") {
                return body.parse().expect("a process");
            }
        }
    }
}

/// Connections by the worker that has them, enough that every worker has some.
fn calls(client: &Namespace) -> BTreeMap<u32, Vec<Call>> {
    client.enter(|| {
        let mut by_pid = BTreeMap::<u32, Vec<Call>>::new();
        for _ in 0..16 * WORKERS {
            let call = Call::open();
            by_pid.entry(call.pid).or_default().push(call);
        }
        by_pid
    })
}

/// Waits until all workers have joined: each joins when it first waits for a connection.
fn all_serve(server: &Namespace, nginx: &Running, workers: usize) {
    eventually("a stack in every worker", 60, || {
        let children = nginx.children();
        let with = stacks(server).iter().filter(|s| is_one_of(s, &children)).count();
        children.len() == workers && with == workers
    });
}

fn is_one_of(stack: &Value, pids: &[u32]) -> bool {
    stack["pid"].as_u64().is_some_and(|pid| pids.contains(&(pid as u32)))
}

/// A server and a client on a cable with so many queues at either end, over which flows are spread.
fn pair_with_queues(lab: &Lab, queues: usize) -> (Namespace, Namespace) {
    let (server, client) = (lab.host("server"), lab.host("client"));
    let count = queues.to_string();
    let many = ["numrxqueues", &count, "numtxqueues", &count];
    let own = [&["ip", "link", "add", IFACE][..], &many, &["type", "veth", "peer", "name", IFACE]].concat();
    server.must(&[&own[..], &many, &["netns", client.name()]].concat());
    for (host, address) in [(&server, SERVER), (&client, CLIENT)] {
        host.must(&["ethtool", "-L", IFACE, "rx", &count, "tx", &count]);
        host.must(&["ip", "address", "add", &format!("{address}/24"), "dev", IFACE]);
        host.must(&["ip", "link", "set", IFACE, "up"]);
    }
    (server, client)
}

#[test]
fn every_worker_serves_and_the_kernel_sees_none_of_it() {
    let lab = Lab::new("workers");
    let hosts = lab.pair();
    all_of_them_serve(&lab, &hosts);
}

/// Whichever queue a frame comes by, it goes to the worker that has its connection.
#[test]
fn every_worker_serves_what_comes_by_any_queue() {
    for queues in [2, 4] {
        let lab = Lab::new("queues");
        let hosts = pair_with_queues(&lab, queues);
        all_of_them_serve(&lab, &hosts);
        let told = hosts.0.must(&["ethtool", "-S", IFACE]);
        let came = |queue: usize| {
            let name = format!("rx_queue_{queue}_xdp_packets: ");
            told.lines().filter_map(|line| line.trim().strip_prefix(&name)).any(|count| count != "0")
        };
        assert!((0..queues).all(came), "{told}");
    }
}

fn all_of_them_serve(lab: &Lab, (server, client): &(Namespace, Namespace)) {
    let site = Site::with_workers(lab, 80, FILES, WORKERS);
    let nginx = on_road(server, &[], &site.nginx(), 80);
    all_serve(server, &nginx, WORKERS);
    let before = server.counters();
    let mut by_pid = calls(client);
    assert_eq!(by_pid.len(), WORKERS, "{:?}", by_pid.keys());
    for (pid, calls) in &mut by_pid {
        assert!(calls.iter_mut().all(|call| call.ask() == *pid), "a connection stays with its worker");
    }
    let expected = sha256(server, &site.path("big.bin"));
    for _ in 0..8 {
        assert_eq!(fetched_sha256(client, &format!("http://{SERVER}/big.bin")), expected);
    }
    assert_bypassed(server, &before);
}

/// A port for so many has more descriptors than are kept for it otherwise.
#[test]
fn sixty_processes_find_numbers_where_a_thousand_files_may_be_open() {
    let lab = Lab::new("sixty");
    let (server, client) = lab.pair();
    let site = Site::with_workers(&lab, 80, FILES, WORKERS);
    let road = ringroad(&["--strict"], &site.nginx());
    let words = [&["prlimit", "--nofile=1024", "env", "RINGROAD_PROCESSES=60"], &road[..]].concat();
    let _nginx = start_on(&server, &words, 80);
    let before = server.counters();
    let expected = sha256(&server, &site.path("big.bin"));
    assert_eq!(fetched_sha256(&client, &format!("http://{SERVER}/big.bin")), expected);
    assert_bypassed(&server, &before);
}

/// Workers that are killed; RINGROAD_DEATHS=1000 makes it a soak.
fn deaths() -> usize {
    const DEATHS: usize = 12;
    std::env::var("RINGROAD_DEATHS").ok().and_then(|n| n.parse().ok()).unwrap_or(DEATHS)
}

/// The peers of a killed worker are reset at once, those of the others notice nothing, new connections are served,
/// and the next worker takes the place; again and again, and nothing is used up.
#[test]
fn a_killed_worker_takes_only_its_own_connections_with_it() {
    let lab = Lab::new("killed-worker");
    let (server, client) = lab.pair();
    let site = Site::with_workers(&lab, 80, FILES, WORKERS);
    let nginx = on_road(&server, &[], &site.nginx(), 80);
    all_serve(&server, &nginx, WORKERS);
    let (master, opened) = (nginx.pid(), descriptors(nginx.pid()));
    for _ in 0..deaths() {
        all_serve(&server, &nginx, WORKERS);
        let before = server.counters();
        let mut by_pid = calls(&client);
        let (victim, lost) = by_pid.pop_first().expect("a worker");
        server.must(&["kill", "-9", &victim.to_string()]);
        for mut call in lost {
            let end = call.stream.read(&mut [0; 64]).expect_err("no answer from the dead");
            assert_eq!(end.kind(), ErrorKind::ConnectionReset);
        }
        for (pid, calls) in &mut by_pid {
            assert!(calls.iter_mut().all(|call| call.ask() == *pid), "the others go on");
        }
        client.enter(|| (0..50).for_each(|_| assert_ne!(Call::open().pid, victim)));
        assert_bypassed(&server, &before);
    }
    all_serve(&server, &nginx, WORKERS);
    assert_eq!(descriptors(master), opened, "descriptors of the master");
    eventually("frames that only stacks that live have", 10, || all_frames_are_accounted_for(&server));
}

/// There is nobody among them who could bury the others: the keeper does, and their places are others' again.
#[test]
fn many_workers_that_are_killed_at_once_leave_nothing_behind() {
    const MANY: usize = 40;
    let lab = Lab::new("killed-many");
    let (server, client) = lab.pair();
    let site = Site::with_workers(&lab, 80, FILES, MANY);
    let nginx = on_road(&server, &[], &site.nginx(), 80);
    all_serve(&server, &nginx, MANY);
    let opened = descriptors(nginx.pid());
    for _ in 0..3 {
        let pids: Vec<String> = nginx.children().iter().map(u32::to_string).collect();
        let words: Vec<&str> = ["kill", "-9"].into_iter().chain(pids.iter().map(String::as_str)).collect();
        server.must(&words);
        all_serve(&server, &nginx, MANY);
    }
    let (before, expected) = (server.counters(), sha256(&server, &site.path("big.bin")));
    for _ in 0..8 {
        assert_eq!(fetched_sha256(&client, &format!("http://{SERVER}/big.bin")), expected);
    }
    assert_bypassed(&server, &before);
    assert_eq!(descriptors(nginx.pid()), opened, "descriptors of the master");
    eventually("frames that only stacks that live have", 60, || all_frames_are_accounted_for(&server));
}
