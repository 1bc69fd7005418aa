//! Servers that give each connection a process of its own: it goes with the child, whatever the parent closes.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use lab::{Lab, Namespace, SERVER, eventually, stacks};
use ringroad_tests::{assert_bypassed, bounded, fifo, on_road, ringroad, start_on};

const SIZE: usize = 300_000;

/// Sends bytes that tell their place, and wants them back.
fn echo(client: &Namespace, seed: usize) {
    client.enter(|| {
        let mut stream = TcpStream::connect((SERVER, 80)).expect("a connection");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a time limit");
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
        let states = states(&server, program.pid()).expect("the parent's stack");
        states.iter().all(|state| matches!(&**state, "LISTEN" | "TIME-WAIT"))
    });
}

/// The states of the sockets in the stack of a process, if it has one.
fn states(host: &Namespace, pid: u32) -> Option<Vec<String>> {
    let stack = stacks(host).into_iter().find(|stack| stack["pid"].as_u64() == Some(u64::from(pid)))?;
    let sockets = stack["sockets"].as_array().expect("its sockets");
    Some(sockets.iter().map(|s| s["state"].as_str().expect("a state").to_owned()).collect())
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

/// A child writes what it has read so far, with options set and its peer named as servers do.
const CROWD: &str = "
import os, signal, socket
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
listener = socket.create_server(('0.0.0.0', 80), backlog=256)
while True:
    peer, _ = listener.accept()
    if os.fork() == 0:
        listener.close()
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        peer.sendall(peer.getpeername()[0].encode() + b' ')
        while data := peer.recv(65536): peer.sendall(data)
        os._exit(0)
    peer.close()
";

/// As many children at once have connections of their own, on a port that is set up so. How many sockets the parent has
/// meanwhile, for which it takes no more threads.
fn serves_a_crowd(name: &str, setting: &[&str], children: usize) -> usize {
    let lab = Lab::new(name);
    let (server, client) = lab.pair();
    let road = ringroad(&[], &["python3", "-c", CROWD]);
    let words = [&["prlimit", "--nofile=4096", "env"], setting, &road[..]].concat();
    let program = start_on(&server, &words, 80);
    let before = server.counters();
    let threads = || std::fs::read_dir(format!("/proc/{}/task", program.pid())).expect("its threads").count();
    let alone = threads();
    let call = || bounded(TcpStream::connect((SERVER, 80)).expect("a connection"));
    let mut calls: Vec<TcpStream> = client.enter(|| (0..children).map(|_| call()).collect());
    for (n, call) in calls.iter_mut().enumerate() {
        let name = call.local_addr().expect("an address").ip();
        call.write_all(format!("child {n}").as_bytes()).expect("it is taken");
        let expected = format!("{name} child {n}");
        let mut heard = vec![0; expected.len()];
        call.read_exact(&mut heard).expect("an answer while all others have their child");
        assert_eq!(String::from_utf8_lossy(&heard), expected);
    }
    let parents = states(&server, program.pid()).expect("the parent's stack").len();
    assert_eq!(threads(), alone, "threads while all are served");
    for call in &mut calls {
        call.write_all(&[b'x'; SIZE / 10]).expect("all is taken");
        call.shutdown(Shutdown::Write).expect("an end");
    }
    for call in &mut calls {
        let mut heard = Vec::new();
        call.read_to_end(&mut heard).expect("the echo, and its end");
        assert_eq!(heard.len(), SIZE / 10);
    }
    assert_bypassed(&server, &before);
    eventually("the parent holds nothing but its listener", 20, || {
        let states = states(&server, program.pid()).expect("the parent's stack");
        states.iter().all(|state| matches!(&**state, "LISTEN" | "TIME-WAIT"))
    });
    parents
}

/// What most children find no place for is in their parent's stack.
#[test]
fn children_that_are_more_than_the_port_has_places_have_their_connections_too() {
    let parents = serves_a_crowd("fork-crowd", &["RINGROAD_PROCESSES=3"], 40);
    assert!(parents >= 40 - 2, "{parents} sockets in the parent's stack");
}

/// More than a word has bits, each with a stack of its own, and nothing said of it.
#[test]
fn a_hundred_children_have_stacks_of_their_own() {
    let parents = serves_a_crowd("fork-hundred", &[], 100);
    assert_eq!(parents, 1, "its listener alone");
}

/// A child gets by a Unix socket what its parent opened after it was born: a listener, and a connection.
const SENDS: &str = "
import os, socket
ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
def serve(peer):
    while data := peer.recv(65536): peer.sendall(data)
    peer.close()
if os.fork() == 0:
    listener = socket.socket(fileno=socket.recv_fds(its, 1, 1)[1][0])
    serve(listener.accept()[0])
    listener.close()
    its.sendall(b'1')
    serve(socket.socket(fileno=socket.recv_fds(its, 1, 1)[1][0]))
    os._exit(0)
listener = socket.create_server(('0.0.0.0', 80), backlog=8)
socket.send_fds(ours, [b'x'], [listener.fileno()])
ours.recv(1)
peer, _ = listener.accept()
socket.send_fds(ours, [b'x'], [peer.fileno()])
peer.close()
os.wait()
";

/// The parent does not wait for its listener before the child has served: what comes until then is the child's.
#[test]
fn a_listener_that_is_sent_to_a_child_is_heard_there_and_a_connection_is_served() {
    let lab = Lab::new("fork-sends");
    let (server, client) = lab.pair();
    let mut program = on_road(&server, &["--strict"], &["python3", "-c", SENDS], 80);
    let before = server.counters();
    echo(&client, 1);
    // While neither listens, who connects is the kernel's.
    eventually("the parent listens", 20, || {
        states(&server, program.pid()).is_some_and(|states| states.iter().any(|state| state == "LISTEN"))
    });
    echo(&client, 2);
    assert_eq!((program.ended(20), program.said().as_str()), (0, ""));
    assert_bypassed(&server, &before);
}

/// The parent has a child for its one connection and ends at once, with its own copy closed or open. The child does
/// something with it when it is told, or nothing.
const ENDS: &str = "
import os, socket, sys
fifo, closes, uses = sys.argv[1], sys.argv[2] == 'closes', sys.argv[3] == 'uses'
listener = socket.create_server(('0.0.0.0', 80), backlog=8)
peer, _ = listener.accept()
if os.fork():
    if closes: peer.close()
    os._exit(0)
listener.close()
open(fifo).readline()
if uses:
    while data := peer.recv(65536): peer.sendall(data)
os._exit(0)
";

#[test]
fn a_connection_lives_as_long_as_a_child_of_a_parent_that_has_ended() {
    for how in [["closes", "uses"], ["stays", "uses"], ["closes", "leaves"], ["stays", "leaves"]] {
        let lab = Lab::new("fork-ends");
        let (server, client) = lab.pair();
        let (fifo, mut go) = fifo(&lab, &server);
        let words = [&["python3", "-c", ENDS, &fifo][..], &how].concat();
        let mut program = on_road(&server, &["--strict"], &words, 80);
        let before = server.counters();
        let mut stream = bounded(client.enter(|| TcpStream::connect((SERVER, 80)).expect("a connection")));
        assert_eq!(program.ended(20), 0, "{how:?}: {}", program.said());
        stream.write_all(b"hello").expect("a word");
        eventually("the keeper has it", 20, || {
            let all = stacks(&server);
            let sockets = all.iter().filter_map(|stack| stack["sockets"].as_array()).flatten();
            sockets.into_iter().any(|socket| socket["state"] == "ESTABLISHED")
        });
        stream.set_nonblocking(true).expect("set");
        let early = stream.read(&mut [0; 8]).expect_err("nothing was said, and there is no end");
        assert_eq!(early.kind(), ErrorKind::WouldBlock, "{how:?}");
        stream.set_nonblocking(false).expect("set");
        go.write_all(b"go\n").expect("a word");
        if how[1] == "uses" {
            stream.shutdown(Shutdown::Write).expect("an end");
        }
        let mut heard = Vec::new();
        let end = stream.read_to_end(&mut heard);
        match how[1] {
            "uses" => assert_eq!((end.ok(), &heard[..]), (Some(5), &b"hello"[..]), "{how:?}"),
            // As Linux ends a connection in which something was not read.
            _ => assert_eq!(end.expect_err("what it said was not read").kind(), ErrorKind::ConnectionReset),
        }
        assert_bypassed(&server, &before);
    }
}

/// Reads a request, answers, and ends by `exit` with its connection open.
const ANSWERS_AND_ENDS: &str = "
import os, signal, socket, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
listener = socket.create_server(('0.0.0.0', 80), backlog=64)
while True:
    peer, _ = listener.accept()
    if os.fork() == 0:
        got = 0
        while got < 1000: got += len(peer.recv(1000 - got))
        peer.sendall(bytes(60000))
        peer.detach()
        sys.exit()
    peer.close()
";

/// What its peer sends meanwhile, acknowledgements and a FIN, comes to the process, to nobody or to the keeper. As on the
/// kernel nothing is reset: all was read that the process had to read.
#[test]
fn a_process_ends_while_its_peer_goes_on() {
    const TIMES: usize = 200;
    const AT_A_TIME: usize = 4;
    let lab = Lab::new("ends");
    let (server, client) = lab.pair();
    let _program = on_road(&server, &["--strict"], &["python3", "-c", ANSWERS_AND_ENDS], 80);
    let before = server.counters();
    let once = |n: usize| {
        let mut stream = bounded(TcpStream::connect((SERVER, 80))?);
        stream.write_all(&[7; 1000])?;
        let mut answer = vec![0; 60_000];
        // The later it has heard some of it, the nearer is the end of who sends it.
        let part = n * 5_003 % answer.len();
        stream.read_exact(&mut answer[..part])?;
        stream.shutdown(Shutdown::Write)?;
        stream.read_exact(&mut answer[part..])?;
        stream.read_to_end(&mut answer)
    };
    let failed: Vec<String> = std::thread::scope(|scope| {
        let each = |at: usize| {
            let all = (at..TIMES).step_by(AT_A_TIME).map(|n| (n, once(n)));
            all.filter(|(_, said)| !matches!(said, Ok(0))).map(|(n, said)| format!("{n}: {said:?}")).collect()
        };
        let all: Vec<_> = (0..AT_A_TIME)
            .map(|at| {
                scope.spawn({
                    let client = &client;
                    move || client.enter(|| each(at))
                })
            })
            .collect();
        all.into_iter().flat_map(|one| -> Vec<String> { one.join().expect("a client") }).collect()
    });
    assert!(failed.is_empty(), "{} of {TIMES}: {failed:?}", failed.len());
    assert_bypassed(&server, &before);
}
