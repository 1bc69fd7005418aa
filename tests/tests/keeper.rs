//! What a program leaves when it ends goes on without it: its data arrives, its connections end as they should, and the
//! next program finds the road free.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use lab::{
    CLIENT, IFACE, Lab, Namespace, SERVER, Shape, Signal, Site, Trouble, eventually, eventually_some, stacks,
};
use ringroad_tests::{
    accepted, assert_bypassed, bounded, fetched_sha256, fifo, on_kernel, on_road, ringroad, sha256, stack_of,
    start_on,
};

/// Octets that tell their place.
fn octets(size: usize) -> Vec<u8> {
    (0..size).map(|n| (n / 251 + n) as u8).collect()
}

/// Writes what the socket takes, so many octets at the most, says how many that is, and ends.
const WRITES: &str = "
import socket, sys
size, patient = int(sys.argv[1]), sys.argv[2] == 'all'
peer = socket.create_connection(('10.77.0.2', 9000))
peer.setblocking(patient)
data, sent = bytes((n // 251 + n) & 255 for n in range(size)), 0
try:
    while sent < size: sent += peer.send(data[sent:])
except BlockingIOError: pass
print(sent, flush=True)
";

/// A peer that accepts one connection.
fn listener(client: &Namespace) -> TcpListener {
    client.enter(|| TcpListener::bind((CLIENT, 9000)).expect("a listener"))
}

/// A program that has written to a peer, and ended: the peer's connection, and how many octets it sent.
fn left_by(hosts: (&Namespace, &Namespace), flags: &[&str], what: [&str; 2]) -> (TcpStream, usize) {
    let peer = listener(hosts.1);
    let words = [&["python3", "-c", WRITES][..], &what].concat();
    let mut program = hosts.0.spawn(&ringroad(flags, &words));
    let stream = accepted(&peer);
    assert_eq!(program.ended(20), 0, "{}", program.said());
    (stream, program.said().trim().parse().expect("a number"))
}

/// The keepers that run on a host.
fn keepers(host: &Namespace) -> Vec<u32> {
    let pids = host.must(&["ip", "netns", "pids", host.name()]);
    let is_keeper = |pid: &u32| {
        let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        words.ends_with(b"ringroad\0keep\0")
    };
    pids.split_whitespace().filter_map(|pid| pid.parse().ok()).filter(is_keeper).collect()
}

fn has_program(host: &Namespace) -> bool {
    host.must(&["ip", "-details", "link", "show", IFACE]).contains("xdp")
}

/// The peer reads nothing before the program has ended: whatever arrives then, the keeper has sent.
#[test]
fn a_program_that_ends_does_not_wait_for_its_peer() {
    let lab = Lab::new("ends");
    let (server, client) = lab.pair();
    let (mut stream, sent) = left_by((&server, &client), &[], ["4000000", "some"]);
    let mut all = Vec::new();
    stream.read_to_end(&mut all).expect("all of it, and its end");
    assert!(sent > 50_000 && all == octets(sent), "{} of {sent} octets", all.len());
    // The peer closes last: the keeper remembers the connection, and lets the road go when it may forget.
    drop(stream);
    assert_eq!(keepers(&server).len(), 1, "TIME-WAIT is kept");
    // Nothing of a program is kept open: who reads its output sees the end of it.
    let told = server.run_for(20, &ringroad(&[], &["echo", "all"]));
    assert_eq!((told.said().as_str(), keepers(&server).len()), ("all\n", 1));
}

#[test]
fn what_was_written_arrives_over_a_slow_and_lossy_cable() {
    const SIZE: usize = 10 << 20;
    let lab = Lab::new("slow");
    let trouble = Trouble { shape: Some(Shape::new(50_000_000, 200_000)), ..Trouble::one_percent(5) };
    let (server, client, _relay) = lab.pair_through(trouble);
    let peer = listener(&client);
    let mut program = server.spawn(&ringroad(&[], &["python3", "-c", WRITES, &SIZE.to_string(), "all"]));
    let mut stream = accepted(&peer);
    let mut all = Vec::new();
    stream.read_to_end(&mut all).expect("all of it, and its end");
    assert_eq!(program.ended(20), 0, "{}", program.said());
    assert!(all == octets(SIZE), "{} octets", all.len());
}

/// Where things are in a frame of TCP over IPv4 without options of IP.
const ADDRESSES: usize = 14 + 12;
const TCP: usize = 14 + 20;
const FLAGS: usize = TCP + 13;
const FIN: u8 = 1;
const ACK: u8 = 0x10;

/// The FIN that a frame of the other end's acknowledges, as it was sent: where offloads are on, with the sum of the
/// pseudo-header for a checksum.
fn fin_before(answer: &[u8]) -> Vec<u8> {
    let mut fin = answer.to_vec();
    let mut swap = |one: usize, other: usize, len: usize| {
        (one..one + len).zip(other..).for_each(|(one, other)| fin.swap(one, other));
    };
    swap(0, 6, 6);
    swap(ADDRESSES, ADDRESSES + 4, 4);
    swap(TCP, TCP + 2, 2);
    swap(TCP + 4, TCP + 8, 4);
    // Behind two that do nothing: the timestamps.
    swap(TCP + 24, TCP + 28, 4);
    let seq = u32::from_be_bytes(fin[TCP + 4..TCP + 8].try_into().expect("four")).wrapping_sub(1);
    fin[TCP + 4..TCP + 8].copy_from_slice(&seq.to_be_bytes());
    fin[FLAGS] = FIN | ACK;
    let pairs = fin[ADDRESSES..TCP].chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
    let sum: u32 = pairs.sum::<u32>() + 6 + (fin.len() - TCP) as u32;
    let folded = (sum & 0xffff) + (sum >> 16);
    fin[TCP + 16..TCP + 18].copy_from_slice(&(((folded & 0xffff) + (folded >> 16)) as u16).to_be_bytes());
    fin
}

/// RFC 9293 §3.6 MUST-13, §3.10.7.4: a FIN that comes again is acknowledged while TIME-WAIT lasts.
#[test]
fn a_fin_that_comes_again_after_the_program_is_answered() {
    let lab = Lab::new("fin");
    let (server, client) = lab.pair();
    let wire = client.frames(IFACE);
    let (mut stream, _) = left_by((&server, &client), &[], ["1000", "all"]);
    let mut all = Vec::new();
    stream.read_to_end(&mut all).expect("its end");
    assert_eq!(all.len(), 1000);
    let next = || {
        let mut frame = vec![0; 2000];
        let len = wire.recv(&mut frame)?;
        frame.truncate(len);
        Some(frame).filter(|f| f.len() > FLAGS && f[ADDRESSES..ADDRESSES + 4] == [10, 77, 0, 1])
    };
    eventually("the program's FIN", 20, || next().is_some_and(|f| f[FLAGS] & FIN != 0));
    drop(stream);
    let end = eventually_some("its answer to the peer's", 20, next);
    wire.send(&fin_before(&end)).expect("a frame sent");
    let again = eventually_some("the same answer", 20, next);
    assert_eq!(again[FLAGS], ACK);
    assert_eq!(again[TCP..TCP + 12], end[TCP..TCP + 12], "ports and numbers");
}

const SERVES: &str = "
import socket, signal
listener = socket.create_server(('0.0.0.0', 80))
peers = []
while True:
    peer, _ = listener.accept()
    peer.sendall(b'hello')
    peers.append(peer)
";

#[test]
fn the_peers_of_the_only_process_are_reset_when_it_is_killed() {
    let lab = Lab::new("only");
    let (server, client) = lab.pair();
    for _ in 0..3 {
        let mut program = on_road(&server, &[], &["python3", "-c", SERVES], 80);
        let mut calls: Vec<TcpStream> = client
            .enter(|| (0..20).map(|_| TcpStream::connect((SERVER, 80)).expect("a connection")).collect());
        for call in &mut calls {
            call.set_read_timeout(Some(Duration::from_secs(60))).expect("a time limit");
            call.read_exact(&mut [0; 5]).expect("a greeting");
        }
        program.kill();
        for call in &mut calls {
            let end = call.read(&mut [0; 8]).expect_err("no answer from the dead");
            assert_eq!(end.kind(), ErrorKind::ConnectionReset);
        }
    }
    eventually("the road is free", 20, || keepers(&server).is_empty() && !has_program(&server));
}

/// Calls twice from the same port: hears that the first server has died, and is told when there is another.
const CALLS: &str = "
import socket, sys
def call():
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(('10.77.0.2', 7777))
    s.settimeout(60)
    s.connect(('10.77.0.1', 80))
    print(s.recv(5).decode(), flush=True)
    return s
first = call()
try: first.recv(1)
except ConnectionResetError: print('reset', flush=True)
open(sys.argv[1]).readline()
call()
";

#[test]
fn a_peer_that_was_reset_can_call_the_kernel_from_the_same_port_at_once() {
    let lab = Lab::new("same-port");
    let (server, client) = lab.pair();
    let (fifo, mut go) = fifo(&lab, &client);
    let mut program = on_road(&server, &[], &["python3", "-c", SERVES], 80);
    let mut calls = client.spawn(&["python3", "-c", CALLS, &fifo]);
    eventually("a greeting", 20, || calls.said() == "hello\n");
    program.kill();
    eventually("the peer is reset", 20, || calls.said() == "hello\nreset\n");
    let _kernels = on_kernel(&server, &["python3", "-c", SERVES], 80);
    // If the keeper is there still, what answers this has seen what the peer said before.
    (0..2).for_each(|_| drop(stacks(&server)));
    go.write_all(b"go\n").expect("a word");
    assert_eq!((calls.ended(20), calls.said().as_str()), (0, "hello\nreset\nhello\n"));
}

/// More peers than a ring of the finder has room for: what each answers is read all the same.
#[test]
fn all_of_many_peers_are_reset() {
    const PEERS: usize = 1500;
    // Their other ends are this process's. The soft limit alone.
    const FILES: &str = "--nofile=4096:";
    let lab = Lab::new("many");
    let (server, client) = lab.pair();
    server.must(&["prlimit", "--pid", &std::process::id().to_string(), FILES]);
    let words = [&["prlimit", FILES][..], &ringroad(&["--strict"], &["python3", "-c", SERVES])];
    let mut program = start_on(&server, &words.concat(), 80);
    let mut calls: Vec<TcpStream> = client
        .enter(|| (0..PEERS).map(|_| TcpStream::connect((SERVER, 80)).expect("a connection")).collect());
    for call in &mut calls {
        call.set_read_timeout(Some(Duration::from_secs(60))).expect("a time limit");
        call.read_exact(&mut [0; 5]).expect("a greeting");
    }
    program.kill();
    for call in &mut calls {
        let end = call.read(&mut [0; 8]).expect_err("no answer from the dead");
        assert_eq!(end.kind(), ErrorKind::ConnectionReset);
    }
}

/// Whoever comes while the keeper is busy gets its port; one that wants another port sends it away.
#[test]
fn the_next_program_is_on_the_road_at_once() {
    let lab = Lab::new("next");
    let (server, client) = lab.pair();
    let site = Site::new(&lab, 80, &[("big.bin", 1 << 20)]);
    let expected = sha256(&server, &site.path("big.bin"));
    let (mut slow, sent) = left_by((&server, &client), &["--strict"], ["400000", "some"]);
    let keeper = keepers(&server);
    assert_eq!(keeper.len(), 1, "it delivers what was left");
    for _ in 0..3 {
        let mut nginx = on_road(&server, &["--strict"], &site.nginx(), 80);
        assert_eq!(keepers(&server), keeper, "it has the keeper's port");
        let before = server.counters();
        assert_eq!(fetched_sha256(&client, &format!("http://{SERVER}/big.bin")), expected);
        assert_bypassed(&server, &before);
        nginx.signal(Signal::Quit);
        assert_eq!(nginx.ended(20), 0);
    }
    // What was left before is delivered still.
    assert!(sent > 50_000, "{sent} octets");
    let mut all = vec![0; sent / 2];
    slow.read_exact(&mut all).expect("half of it");
    assert!(all == octets(sent / 2));
    let other = server.spawn_with(&ringroad(&["--strict"], &site.nginx()), &[("RINGROAD_FRAMES", "8192")]);
    eventually("it listens", 20, || stack_of(&server, &other).is_some());
    assert_eq!(fetched_sha256(&client, &format!("http://{SERVER}/big.bin")), expected);
    assert_ne!(keepers(&server), keeper, "a keeper of its own");
}

/// Before its first socket a program drives nothing, and the port is its own all the same: shared with those that may
/// join it, taken from it by nobody.
#[test]
fn the_port_of_a_program_without_a_socket_is_taken_by_nobody() {
    let lab = Lab::new("no-socket");
    let (server, client) = lab.pair();
    let peer = listener(&client);
    let (fifo, mut go) = fifo(&lab, &server);
    let script = format!("read word < {fifo}; exec python3 -c \"$0\" 1000 all");
    let mut first = server.spawn(&ringroad(&["--strict"], &["sh", "-c", &script, WRITES]));
    let keeper = eventually_some("its keeper", 20, || Some(keepers(&server)).filter(|all| all.len() == 1));
    let policy = lab.file("other.toml", "default = \"deny\"\n");
    let other_policy = format!("RINGROAD_POLICY={}", policy.display());
    for (setting, joins) in [
        ("RINGROAD_FRAMES=16384", true),
        ("RINGROAD_FRAMES=8192", false),
        ("RINGROAD_SHARE=0", false),
        (&other_policy, false),
    ] {
        let second = [&["env", setting][..], &ringroad(&["--strict"], &["true"])].concat();
        assert_eq!(server.run(&second).code == 0, joins, "{setting}");
        assert_eq!(keepers(&server), keeper, "it stays with its program");
    }
    let before = server.counters();
    go.write_all(b"go\n").expect("a word");
    let mut all = Vec::new();
    accepted(&peer).read_to_end(&mut all).expect("all of it, and its end");
    assert_eq!((first.ended(20), all.len()), (0, 1000), "{}", first.said());
    assert_bypassed(&server, &before);
}

#[test]
fn a_keeper_that_is_killed_takes_nothing_with_it() {
    let lab = Lab::new("no-keeper");
    let (server, client) = lab.pair();
    let site = Site::new(&lab, 80, &[("big.bin", 1 << 20)]);
    let expected = sha256(&server, &site.path("big.bin"));
    let mut nginx = on_road(&server, &[], &site.nginx(), 80);
    let mut open = bounded(client.enter(|| TcpStream::connect((SERVER, 80)).expect("a connection")));
    let killed = keepers(&server);
    assert_eq!(killed.len(), 1);
    server.must(&["kill", "-9", &killed[0].to_string()]);
    eventually("it is dead", 10, || keepers(&server).is_empty());
    let before = server.counters();
    for _ in 0..3 {
        assert_eq!(fetched_sha256(&client, &format!("http://{SERVER}/big.bin")), expected);
    }
    // What is asked on a connection from before is delivered though the server ends.
    open.write_all(b"GET /big.bin HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("a request");
    let mut head = [0; 12];
    open.read_exact(&mut head).expect("an answer");
    nginx.signal(Signal::Quit);
    let mut rest = Vec::new();
    open.read_to_end(&mut rest).expect("all of it");
    assert!(head.starts_with(b"HTTP/1.1 200") && rest.len() > 1 << 20);
    assert_eq!(nginx.ended(20), 0);
    assert_bypassed(&server, &before);
}
