//! Processes that forbid themselves system calls (seccomp): what they have accelerated goes on, by those that are allowed.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use lab::{Namespace, SERVER};
use ringroad_tests::bounded;
use ringroad_tests::matrix::same_on_both;

/// Whoever calls one of these by number is killed from then on: fcntl, sendto, recvfrom, sendmsg, recvmsg, socketpair, epoll,
/// ppoll, eventfd, threads, pidfd. Connections are read and written.
const FORBID: &str = "
import ctypes, os, socket, struct
def forbid(threads=(56, 435)):
    code = [(0x20, 0, 0, 0)]
    for number in (72, 44, 45, 46, 47, 53, 232, 281, 271, 290, 434, *threads):
        code += [(0x15, 0, 1, number), (0x06, 0, 0, 0x80000000)]
    code += [(0x06, 0, 0, 0x7fff0000)]
    text = ctypes.create_string_buffer(b''.join(struct.pack('HBBI', *one) for one in code))
    program = ctypes.create_string_buffer(struct.pack('HxxxxxxP', len(code), ctypes.addressof(text)))
    prctl = ctypes.CDLL(None).prctl
    prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4
    assert prctl(38, 1, 0, 0, 0) == 0 and prctl(22, 2, ctypes.addressof(program), 0, 0) == 0
# To ask whether there are filters forbids nothing.
assert ctypes.CDLL(None).prctl(22, 2, None, 0, 0) == -1
listener = socket.create_server(('0.0.0.0', 80))
peer, _ = listener.accept()
fd = peer.fileno()
";

fn connected(client: &Namespace) -> TcpStream {
    bounded(client.enter(|| TcpStream::connect((SERVER, 80)).expect("a connection")))
}

/// The process has a stack of its own, and ends with much that its peer has not read.
const OWN: &str = "
first = os.read(fd, 100)
forbid()
os.write(fd, b'heard ' + first)
while data := os.read(fd, 65536): os.write(fd, data)
os.write(fd, peer.getpeername()[0].encode())
os.write(fd, b'x' * 300000)
os._exit(7)
";

#[test]
fn a_process_goes_into_a_sandbox_with_its_connection() {
    same_on_both("sandbox-own", |stage| {
        let mut server = stage.serve(&["python3", "-c", &format!("{FORBID}{OWN}")], 80);
        let mut stream = connected(&stage.client);
        stream.write_all(b"one ").expect("it is taken");
        let mut heard = [0; 10];
        stream.read_exact(&mut heard).expect("an answer from the sandbox");
        stream.write_all(&vec![b'y'; 200_000]).expect("all is taken");
        stream.shutdown(Shutdown::Write).expect("an end");
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).expect("all, and the end");
        let (code, said) = (server.ended(20), server.said());
        stage.assert_served_past_the_kernel();
        let octets = |which| rest.iter().filter(|octet| **octet == which).count();
        let heard = String::from_utf8_lossy(&heard).into_owned();
        let name = String::from_utf8_lossy(&rest[200_000..200_009]).into_owned();
        format!("{heard}{name} {} {} {code} {said}", octets(b'y'), octets(b'x'))
    });
}

/// A child in a sandbox has read a part of what has come, when it ends; its parent reads what it has left.
const INHERITED: &str = "
os.read(fd, 3)
if os.fork() == 0:
    forbid()
    os.write(fd, b'child ' + os.read(fd, 5) + b' of ' + peer.getpeername()[0].encode() + b', ')
    os._exit(0)
print(os.waitstatus_to_exitcode(os.wait()[1]), flush=True)
os.write(fd, b'parent ' + os.read(fd, 100))
";

#[test]
fn what_a_child_in_a_sandbox_leaves_is_its_parents() {
    same_on_both("sandbox-heir", |stage| {
        let mut server = stage.serve(&["python3", "-c", &format!("{FORBID}{INHERITED}")], 80);
        let mut stream = connected(&stage.client);
        stream.write_all(b"abc1234567890").expect("it is taken");
        let mut heard = String::new();
        stream.read_to_string(&mut heard).expect("all, and the end");
        let (code, said) = (server.ended(20), server.said());
        stage.assert_served_past_the_kernel();
        format!("{heard} {code} {said}")
    });
}

/// Its filter lets it fork, and nothing more than the others.
const FORKS: &str = "
first = os.read(fd, 100)
forbid(threads=())
if os.fork() == 0: os._exit(3)
code = os.waitstatus_to_exitcode(os.wait()[1])
os.write(fd, b'%d, %s' % (code, first))
os._exit(7)
";

#[test]
fn a_process_forks_in_its_sandbox() {
    same_on_both("sandbox-forks", |stage| {
        let mut server = stage.serve(&["python3", "-c", &format!("{FORBID}{FORKS}")], 80);
        let mut stream = connected(&stage.client);
        stream.write_all(b"one").expect("it is taken");
        let mut heard = String::new();
        stream.read_to_string(&mut heard).expect("all, and the end");
        let (code, said) = (server.ended(20), server.said());
        stage.assert_served_past_the_kernel();
        format!("{heard} {code} {said}")
    });
}

/// A child that gives its descriptors up has its connection by way of a Unix socket. It sends an urgent octet there.
const URGENT: &str = "
import os, resource, socket
listener = socket.create_server(('0.0.0.0', 80))
peer, _ = listener.accept()
if os.fork() == 0:
    resource.setrlimit(resource.RLIMIT_NOFILE, (20, 20))
    peer.send(b'child')
    peer.send(b'!', socket.MSG_OOB)
    peer.send(b' goes on')
    os._exit(0)
code = os.waitstatus_to_exitcode(os.wait()[1])
peer.sendall(b', parent %d' % code)
";

/// Hears all, what is urgent in its place.
const INLINE: &str = "
import socket
stream = socket.create_connection(('10.77.0.1', 80), timeout=20)
stream.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
print(stream.makefile('rb').read())
";

#[test]
fn an_urgent_octet_of_a_child_without_a_stack_stops_nobody() {
    same_on_both("sandbox-urgent", |stage| {
        let mut server = stage.serve(&["python3", "-c", URGENT], 80);
        let heard = stage.client.must(&["python3", "-c", INLINE]);
        let (code, said) = (server.ended(20), server.said());
        stage.assert_served_past_the_kernel();
        format!("{heard} {code} {said}")
    });
}
