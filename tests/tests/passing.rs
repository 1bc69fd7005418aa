//! Connections that one process sends to another over a Unix socket (SCM_RIGHTS): they go with their descriptor, and end
//! with the last one.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use lab::{Lab, Namespace, SERVER, eventually, stacks};
use ringroad_tests::{assert_bypassed, bounded, on_road};

const SIZE: usize = 300_000;

fn connected(client: &Namespace) -> TcpStream {
    bounded(client.enter(|| TcpStream::connect((SERVER, 80)).expect("a connection")))
}

/// Sends bytes that tell their place, and hears all there is.
fn asked(client: &Namespace, seed: usize) -> Vec<u8> {
    let mut stream = connected(client);
    let mut writer = stream.try_clone().expect("a second descriptor");
    let mut heard = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            writer.write_all(&octets(seed)).expect("all is taken");
            writer.shutdown(Shutdown::Write).expect("an end");
        });
        stream.read_to_end(&mut heard).expect("an answer, and its end");
    });
    heard
}

fn octets(seed: usize) -> Vec<u8> {
    (0..SIZE).map(|n| (n / 251 + n * seed) as u8).collect()
}

/// A pool of two processes that were there before their connections: the parent accepts, they serve. A process does with
/// a connection what it is told: serves it, or sends it on to the second.
const POOL: &str = "
import os, socket
def echo(peer):
    while data := peer.recv(65536): peer.sendall(data)
def work(line, onward):
    while True:
        word, fds, _, _ = socket.recv_fds(line, 8, 1)
        if not word: os._exit(0)
        peer = socket.socket(fileno=fds[0])
        if word == b'serve': echo(peer)
        else: socket.send_fds(onward, [b'serve'], [peer.fileno()])
        peer.close()
lines = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(2)]
for ours, its in lines:
    if os.fork() == 0: work(its, lines[1][0])
listener = socket.create_server(('0.0.0.0', 80), backlog=64)
n = 0
while True:
    peer, _ = listener.accept()
    n += 1
    word = b'onward' if n % 6 == 2 else b'serve'
    socket.send_fds(lines[n % 2][0], [word], [peer.fileno()])
    # It may be with who serves it already.
    if n % 3 == 1: assert peer.getpeername()[0] == '10.77.0.2'
    peer.close()
";

#[test]
fn a_pool_serves_what_another_process_accepts() {
    let lab = Lab::new("pass-pool");
    let (server, client) = lab.pair();
    let program = on_road(&server, &["--strict"], &["python3", "-c", POOL], 80);
    assert!(asked(&client, 1) == octets(1), "other bytes");
    let before = server.counters();
    for seed in 0..12 {
        assert!(asked(&client, seed) == octets(seed), "other bytes for {seed}");
    }
    std::thread::scope(|scope| {
        for seed in 0..8 {
            let client = &client;
            scope.spawn(move || assert!(asked(client, seed) == octets(seed), "other bytes for {seed}"));
        }
    });
    assert_bypassed(&server, &before);
    eventually("the one that accepts holds nothing but its listener", 20, || {
        let all = stacks(&server);
        let stack = all.iter().find(|stack| stack["pid"] == program.pid()).expect("its stack");
        let sockets = stack["sockets"].as_array().expect("its sockets");
        sockets.iter().all(|socket| socket["state"] == "LISTEN")
    });
}

/// The receiver puts each connection on the standard streams of a handler.
const HANDS_ON: &str = "
import os, signal, socket, sys
ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
if os.fork() == 0:
    ours.close()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        word, fds, _, _ = socket.recv_fds(its, 8, 1)
        if not word: os._exit(0)
        if os.fork() == 0:
            for fd in range(3): os.dup2(fds[0], fd)
            os.execvp(sys.argv[1], sys.argv[1:])
        os.close(fds[0])
listener = socket.create_server(('0.0.0.0', 80), backlog=8)
while True:
    peer, _ = listener.accept()
    socket.send_fds(ours, [b'x'], [peer.fileno()])
    peer.close()
";

/// sed reads and writes by the streams of C.
#[test]
fn a_connection_that_came_goes_along_to_a_program_that_is_executed() {
    let lab = Lab::new("pass-exec");
    let (server, client) = lab.pair();
    let words = ["python3", "-c", HANDS_ON, "sed", "-u", "s/^/heard /"];
    let _program = on_road(&server, &["--strict"], &words, 80);
    let before = server.counters();
    for _ in 0..3 {
        let mut stream = connected(&client);
        stream.write_all(b"one\ntwo\n").expect("two lines");
        stream.shutdown(Shutdown::Write).expect("an end");
        let mut heard = String::new();
        stream.read_to_string(&mut heard).expect("an answer, and its end");
        assert_eq!(heard, "heard one\nheard two\n");
    }
    assert_bypassed(&server, &before);
}

/// Sends a connection to whoever hears at a path, and closes it.
const SENDS_AWAY: &str = "
import socket, sys
listener = socket.create_server(('0.0.0.0', 80), backlog=8)
while True:
    peer, _ = listener.accept()
    away = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    away.connect(sys.argv[1])
    socket.send_fds(away, [b'x'], [peer.fileno()])
    peer.close()
";

/// Gets a connection, and says what comes of it.
const STRANGER: &str = "
import errno, os, socket, sys
listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
listener.bind(sys.argv[1] + '.new')
listener.listen()
os.rename(sys.argv[1] + '.new', sys.argv[1])
away, _ = listener.accept()
peer = socket.socket(socket.AF_INET, socket.SOCK_STREAM, fileno=socket.recv_fds(away, 1, 1)[1][0])
for call in [lambda: peer.recv(1), peer.getpeername]:
    try: call()
    except OSError as error: print(errno.errorcode[error.errno], flush=True)
";

/// As long as the stranger has the descriptor the connection is open, though nobody can use it.
#[test]
fn a_process_without_the_library_gets_a_socket_that_is_not_connected() {
    let lab = Lab::new("pass-stranger");
    let (server, client) = lab.pair();
    let path = lab.folder().join("away").to_string_lossy().into_owned();
    let mut stranger = server.spawn(&["python3", "-c", STRANGER, &path]);
    eventually("it listens", 20, || fs::exists(&path).is_ok_and(|there| there));
    let _program = on_road(&server, &["--strict"], &["python3", "-c", SENDS_AWAY, &path], 80);
    let mut stream = connected(&client);
    assert_eq!(stranger.ended(20), 0, "{}", stranger.said());
    assert_eq!(stranger.said(), "ENOTCONN\nENOTCONN\n");
    assert_eq!(stream.read(&mut [0; 8]).expect("its end"), 0);
}

/// Two processes have a connection and wait for it, each by a selector of its own, or in a read that blocks: who reads
/// answers, with its name. One that is told to leave closes its copy.
const BOTH_WAIT: &str = "
import os, selectors, signal, socket, sys
def wait(peer, name):
    selector = getattr(selectors, sys.argv[1])() if sys.argv[1] else None
    peer.setblocking(selector is None)
    if selector: selector.register(peer, selectors.EVENT_READ)
    while True:
        if selector: selector.select()
        try: data = peer.recv(100)
        except BlockingIOError: continue
        if not data: os._exit(0)
        peer.sendall(name + data)
        if data == b'leave': break
    if selector: selector.unregister(peer)
    peer.close()
    signal.pause()
ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
if os.fork() == 0:
    _, fds, _, _ = socket.recv_fds(its, 8, 1)
    wait(socket.socket(fileno=fds[0]), b'B')
listener = socket.create_server(('0.0.0.0', 80), backlog=8)
peer, _ = listener.accept()
socket.send_fds(ours, [b'x'], [peer.fileno()])
wait(peer, b'A')
";

/// Turns of all runtimes of a host so far.
fn turns(host: &Namespace) -> u64 {
    stacks(host).iter().map(|stack| stack["counters"]["runtime_turns"].as_u64().expect("a counter")).sum()
}

/// While nothing comes the connection stays with one of them, and both sleep.
#[test]
fn two_that_wait_for_one_connection_are_at_rest_and_either_answers() {
    /// Turns between two looks, of stacks that rest.
    const FEW: u64 = 100;
    for selector in ["EpollSelector", "PollSelector", "SelectSelector", ""] {
        let lab = Lab::new("pass-both");
        let (server, client) = lab.pair();
        let _program = on_road(&server, &["--strict"], &["python3", "-c", BOTH_WAIT, selector], 80);
        let mut stream = connected(&client);
        let mut ask = |text: &str| {
            stream.write_all(text.as_bytes()).expect("a question");
            let mut answer = vec![0; text.len() + 1];
            stream.read_exact(&mut answer).expect("an answer");
            assert_eq!(&answer[1..], text.as_bytes());
            answer[0]
        };
        for n in 0..20 {
            ask(&format!("{n}"));
            if n % 10 == 0 {
                eventually("both are at rest", 30, || {
                    let before = turns(&server);
                    std::thread::park_timeout(std::time::Duration::from_millis(300));
                    // A stack that is busy may not have answered.
                    turns(&server).checked_sub(before).is_some_and(|turns| turns <= FEW)
                });
            }
        }
        let who = ask("leave");
        let other = if who == b'A' { b'B' } else { b'A' };
        for _ in 0..3 {
            assert_eq!(ask("you"), other, "{selector}: the one that is left");
        }
    }
}

/// What comes while a connection is on its way follows it: nothing is thrown away by the stacks that it left.
#[test]
fn no_segment_is_lost_on_the_way_from_one_process_to_another() {
    let lab = Lab::new("pass-whole");
    let (server, client) = lab.pair();
    let _program = on_road(&server, &["--strict"], &["python3", "-c", POOL], 80);
    let before = client.counters();
    for seed in 0..40 {
        assert!(asked(&client, seed) == octets(seed), "other bytes for {seed}");
    }
    let sent_again = client.counters().since(&before, "TcpRetransSegs");
    let dropped: Vec<u64> = stacks(&server)
        .iter()
        .map(|stack| stack["counters"]["drop_moved"].as_u64().expect("a counter"))
        .collect();
    assert!(dropped.iter().all(|n| *n == 0), "segments dropped: {dropped:?}, sent again: {sent_again}");
    println!("the client's kernel has sent {sent_again} segments again");
}
