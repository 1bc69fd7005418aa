//! Connections that go along when a process executes another program: the handlers of inetd, a server that starts itself
//! anew; and the standard streams of C on a connection.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;

use lab::{CLIENT, IFACE, Lab, Namespace, SERVER, product};
use ringroad_tests::{accepted, assert_bypassed, bounded, on_road, ringroad, start_on};

fn connected(client: &Namespace) -> TcpStream {
    bounded(client.enter(|| TcpStream::connect((SERVER, 80)).expect("a connection")))
}

/// Says something, ends, and hears everything.
fn answer(client: &Namespace, said: &[u8]) -> Vec<u8> {
    let mut stream = connected(client);
    let mut writer = stream.try_clone().expect("a second descriptor");
    let mut heard = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            writer.write_all(said).expect("all is taken");
            writer.shutdown(Shutdown::Write).expect("an end");
        });
        stream.read_to_end(&mut heard).expect("an answer, and its end");
    });
    heard
}

/// As inetd does it: the connection is the handler's standard input, output and error.
const INETD: &str = "
import os, signal, socket, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
listener = socket.create_server(('0.0.0.0', 80), backlog=64)
while True:
    peer, _ = listener.accept()
    if os.fork() == 0:
        for fd in range(3): os.dup2(peer.fileno(), fd)
        os.execvp(sys.argv[1], sys.argv[1:])
    peer.close()
";

fn handles(name: &str, handler: &[&str], said: &[u8], answered: &[u8]) {
    let lab = Lab::new(name);
    let (server, client) = lab.pair();
    let words = [&["python3", "-c", INETD], handler].concat();
    let _inetd = on_road(&server, &[], &words, 80);
    let before = server.counters();
    for _ in 0..3 {
        let heard = answer(&client, said);
        assert!(
            heard == answered,
            "{} octets: {:?}",
            heard.len(),
            String::from_utf8_lossy(&heard[..heard.len().min(99)])
        );
    }
    assert_bypassed(&server, &before);
}

#[test]
fn a_handler_reads_and_writes_its_standard_streams() {
    let all: Vec<u8> = (0..300_000_u32).map(|n| (n / 251 + n) as u8).collect();
    handles("inetd-cat", &["cat"], &all, &all);
}

#[test]
fn a_shell_handles_a_connection_with_the_programs_that_it_starts() {
    let script = "read line; echo \"heard $line\"; tr a-z A-Z; echo trouble >&2";
    handles("inetd-sh", &["sh", "-c", script], b"one\ntwo\nthree\n", b"heard one\nTWO\nTHREE\ntrouble\n");
}

/// sed reads and writes by the streams of C.
#[test]
fn the_standard_streams_of_c_are_on_the_connection() {
    handles("inetd-sed", &["sed", "-u", "s/^/heard /"], b"one\ntwo\n", b"heard one\nheard two\n");
}

#[test]
fn socat_hands_connections_to_programs() {
    for address in ["EXEC:cat", "EXEC:cat,nofork"] {
        let lab = Lab::new("socat-exec");
        let (server, client) = lab.pair();
        let listen = "TCP4-LISTEN:80,fork,reuseaddr,backlog=64";
        let _socat = on_road(&server, &[], &["socat", "-t", "20", listen, address], 80);
        let before = server.counters();
        for seed in 0..3_usize {
            let all: Vec<u8> = (0..50_000).map(|n| (n * (seed + 3)) as u8).collect();
            assert!(answer(&client, &all) == all, "{address}");
        }
        assert_bypassed(&server, &before);
    }
}

/// Reads a little, tries to become what is not there, writes more than is taken at once, and becomes itself.
const ANEW: &str = "
import os, socket, sys
def serve(peer):
    while data := peer.recv(65536): peer.sendall(data)
    peer.close()
if len(sys.argv) > 2:
    serve(socket.socket(fileno=int(sys.argv[2])))
    sys.exit(0)
listener = socket.create_server(('0.0.0.0', 80), backlog=8)
while True:
    peer, _ = listener.accept()
    assert peer.recv(5, socket.MSG_WAITALL) == b'begin'
    try: os.execv('/not/there', ['x'])
    except FileNotFoundError: pass
    peer.sendall(b'still here')
    peer.setblocking(False)
    n = peer.send(b'x' * 100000)
    peer.setblocking(True)
    peer.sendall(b'y')
    os.set_inheritable(peer.fileno(), True)
    os.execv('/usr/bin/python3', ['python3', sys.argv[1], sys.argv[1], str(peer.fileno())])
";

#[test]
fn a_connection_goes_with_a_program_that_becomes_another() {
    let lab = Lab::new("anew");
    let (server, client) = lab.pair();
    let script = lab.file("anew.py", ANEW);
    let script = script.to_str().expect("a path");
    let mut program = on_road(&server, &[], &["python3", script, script], 80);
    let before = server.counters();
    let mut stream = connected(&client);
    stream.write_all(b"begin").expect("a word");
    let mut word = [0; 10];
    stream.read_exact(&mut word).expect("an answer");
    assert_eq!(&word, b"still here");
    // Some of it arrives before the change, some during it.
    stream.write_all(&[b'z'; 200_000]).expect("all is taken");
    stream.shutdown(Shutdown::Write).expect("an end");
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).expect("all of it");
    let count = |what: u8| rest.iter().filter(|octet| **octet == what).count();
    assert_eq!((count(b'y'), count(b'z')), (1, 200_000));
    assert!(rest.iter().skip_while(|o| **o == b'x').skip(1).all(|o| *o == b'z'), "in their order");
    assert_eq!(program.ended(20), 0, "{}", program.said());
    assert_bypassed(&server, &before);
}

/// A child serves a connection that its parent holds, too, and becomes a program that does not have it.
const LENDS: &str = "
import os, socket, sys
listener = socket.create_server(('0.0.0.0', 80), backlog=8)
peer, _ = listener.accept()
if os.fork() == 0:
    peer.sendall(peer.recv(5, socket.MSG_WAITALL))
    os.execv('/bin/true', ['true'])
print(os.wait()[1], flush=True)
peer.sendall(peer.recv(6, socket.MSG_WAITALL))
peer.close()
";

#[test]
fn what_a_child_does_not_take_along_is_its_parents_again() {
    let lab = Lab::new("gives-back");
    let (server, client) = lab.pair();
    let mut program = on_road(&server, &[], &["python3", "-c", LENDS], 80);
    let before = server.counters();
    let mut stream = connected(&client);
    stream.write_all(b"child").expect("a word");
    let mut word = [0; 5];
    stream.read_exact(&mut word).expect("the child's answer");
    stream.write_all(b"parent").expect("a word");
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).expect("the parent's answer, and its end");
    assert_eq!((&word, &rest[..]), (b"child", &b"parent"[..]));
    assert_eq!((program.ended(20), program.said().as_str()), (0, "0\n"));
    assert_bypassed(&server, &before);
}

/// A server whose child may ask for three connections: one that it has taken and the server holds, too, one that only the
/// child holds, and one that neither has used. Then the server becomes another program.
const PARENT: &str = "
import os, socket, sys
def word(peer): return peer.recv(4, socket.MSG_WAITALL)
if len(sys.argv) > 1:
    go, lent, both = (int(n) for n in sys.argv[2:])
    os.write(go, b'2')
    os.wait()
    lent, both = socket.socket(fileno=lent), socket.socket(fileno=both)
    for peer in (lent, both): peer.sendall(word(peer) + b' of the new program'); peer.close()
    sys.exit(0)
listener = socket.create_server(('0.0.0.0', 80), backlog=8)
lent, parked, both = (listener.accept()[0] for _ in range(3))
taken, go = os.pipe(), os.pipe()
if os.fork() == 0:
    os.close(go[1])
    lent.sendall(word(lent) + b' of the child')
    os.write(taken[1], b'1')
    os.read(go[0], 1)
    parked.sendall(word(parked) + b' of the child')
    both.sendall(word(both) + b' of the child')
    os._exit(0)
os.read(taken[0], 1)
parked.close()
for fd in (lent.fileno(), both.fileno(), go[1]): os.set_inheritable(fd, True)
numbers = [str(fd) for fd in (go[1], lent.fileno(), both.fileno())]
os.execv('/usr/bin/python3', ['python3', sys.argv[0], 'again', *numbers])
";

#[test]
fn children_find_their_parent_when_it_has_become_another_program() {
    let lab = Lab::new("parent-anew");
    let (server, client) = lab.pair();
    let script = lab.file("parent.py", PARENT);
    let mut program = on_road(&server, &[], &["python3", &script.to_string_lossy()], 80);
    let before = server.counters();
    let mut streams = [(); 3].map(|()| connected(&client));
    // The child leaves nothing unread of the one that ends with it: that would reset it.
    for (stream, words) in streams.iter_mut().zip(["wordmore", "word", "wordmore"]) {
        stream.write_all(words.as_bytes()).expect("words");
    }
    let heard = streams.map(|mut stream| {
        let mut heard = String::new();
        stream.read_to_string(&mut heard).expect("an answer, and its end");
        heard
    });
    assert_eq!(heard[0], "word of the childmore of the new program", "lent");
    assert_eq!(heard[1], "word of the child", "parked");
    assert_eq!(heard[2], "word of the childmore of the new program", "both");
    assert_eq!(program.ended(20), 0, "{}", program.said());
    assert_bypassed(&server, &before);
}

/// With the library and an interface in its environment, and no port, it executes itself with an environment of its own.
const EMPTIED: &str = "
import os, socket, sys
listener = socket.create_server(('0.0.0.0', 80), backlog=8)
peer, _ = listener.accept()
peer.sendall(b'first ')
os.set_inheritable(peer.fileno(), True)
last = 'import os, socket; os.write(%d, os.environ[\"OWN\"].encode())' % peer.fileno()
os.execve('/usr/bin/python3', ['python3', '-c', last], {'OWN': 'own'})
";

#[test]
fn an_environment_of_its_own_keeps_a_program_on_the_road_without_a_port() {
    let lab = Lab::new("emptied");
    let (server, client) = lab.pair();
    let library = Path::new(product()).with_file_name("libringroad_preload.so");
    let (library, iface) = (format!("LD_PRELOAD={}", library.display()), format!("RINGROAD_IFACE={IFACE}"));
    let words = ["env", &library, &iface, "python3", "-c", EMPTIED];
    let mut program = start_on(&server, &words, 80);
    let before = server.counters();
    let mut heard = String::new();
    connected(&client).read_to_string(&mut heard).expect("an answer, and its end");
    assert_eq!((heard.as_str(), program.ended(20)), ("first own", 0), "{}", program.said());
    assert_bypassed(&server, &before);
}

/// bash puts the connection on descriptor 1 while it runs `echo`.
#[test]
fn bash_speaks_over_dev_tcp() {
    let lab = Lab::new("dev-tcp");
    let (server, client) = lab.pair();
    let peer = client.enter(|| TcpListener::bind((CLIENT, 9000)).expect("a listener"));
    let script =
        "exec 3<>/dev/tcp/10.77.0.2/9000; echo hello >&3; read -u 3 line; echo \"got $line\"; cat <&3";
    let before = server.counters();
    let mut bash = server.spawn(&ringroad(&[], &["bash", "-c", script]));
    let mut stream = accepted(&peer);
    let mut word = [0; 6];
    stream.read_exact(&mut word).expect("a word");
    assert_eq!(&word, b"hello\n");
    stream.write_all(b"you\nand more\n").expect("an answer");
    drop(stream);
    assert_eq!((bash.ended(20), bash.said().as_str()), (0, "got you\nand more\n"));
    assert_bypassed(&server, &before);
}
