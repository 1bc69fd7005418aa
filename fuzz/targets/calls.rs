//! Sequences of socket calls on two hosts against a model of what each may answer: errors are the right ones, every
//! octet arrives once and in order, an end of stream comes after all of it and not before.

#![no_main]

use std::net::SocketAddr;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use ringroad_fuzz::Input;
use ringroad_fuzz::net::{Net, address};
use stack::error::SocketError;
use stack::socket::How;
use stack::types::{Readiness, SocketId};

/// What the model knows of a socket.
#[derive(Clone, Debug, PartialEq)]
enum Kind {
    Fresh,
    Bound(u16),
    Listening(u16),
    /// The connection that the model knows by this number; which end of it.
    Connected(usize, usize),
    Closed,
}

#[derive(Clone, Debug)]
struct Socket {
    id: SocketId,
    kind: Kind,
}

/// A connection: for each end what it has sent, what it has received, and whether it has said its end.
#[derive(Clone, Debug, Default)]
struct Connection {
    sent: [u64; 2],
    received: [u64; 2],
    shut: [bool; 2],
    /// One end may have been reset: nothing is promised any more.
    broken: bool,
    /// Where it began: the port of the end that connected.
    port: u16,
}

#[derive(Default)]
struct World {
    net: Net,
    sockets: [Vec<Socket>; 2],
    connections: Vec<Connection>,
    port: u16,
}

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let mut world = World { port: 40_000, ..World::default() };
    let mut steps = 0;
    while !input.is_empty() && steps < 100 {
        steps += 1;
        world.step(&mut input);
    }
    world.net.end();
});

impl World {
    fn step(&mut self, input: &mut Input) {
        let host = usize::from(input.below(2));
        let which = input.below(12);
        if which == 0 || self.sockets[host].is_empty() {
            if let Ok(id) = self.net.stacks[host].tcp_socket(0) {
                self.sockets[host].push(Socket { id, kind: Kind::Fresh });
            }
            return;
        }
        let n = usize::from(input.byte()) % self.sockets[host].len();
        match which {
            1 => self.bind(host, n, 10 + u16::from(input.below(3))),
            2 => self.listen(host, n),
            3 => self.connect(host, n, 10 + u16::from(input.below(3))),
            4 => self.accept(host, n),
            5 | 6 => self.send(host, n, usize::from(input.word() % 20_000)),
            7 | 8 => self.recv(host, n, 1 + usize::from(input.word() % 30_000)),
            9 => self.shutdown(host, n),
            10 => self.close(host, n),
            _ => self.net.wait(Duration::from_millis(input.word().into())),
        }
        self.net.carry();
    }

    fn bind(&mut self, host: usize, n: usize, port: u16) {
        let Socket { id, kind } = self.sockets[host][n].clone();
        let answer = self.net.bind(host, id, port);
        match kind {
            Kind::Fresh => {
                assert_eq!(answer, Ok(()));
                self.sockets[host][n].kind = Kind::Bound(port);
            }
            Kind::Closed => assert_eq!(answer, Err(SocketError::BadSocket)),
            _ => assert_eq!(answer, Err(SocketError::Invalid), "{kind:?}"),
        }
    }

    fn listen(&mut self, host: usize, n: usize) {
        let Socket { id, kind } = self.sockets[host][n].clone();
        let answer = self.net.stacks[host].listen(id, 8);
        let taken = |port: u16| self.sockets[host].iter().any(|s| s.kind == Kind::Listening(port));
        match kind {
            Kind::Bound(port) if taken(port) => assert_eq!(answer, Err(SocketError::AddressInUse)),
            Kind::Bound(port) => {
                assert_eq!(answer, Ok(()));
                self.sockets[host][n].kind = Kind::Listening(port);
            }
            Kind::Listening(_) => assert_eq!(answer, Ok(())),
            Kind::Closed => assert_eq!(answer, Err(SocketError::BadSocket)),
            Kind::Fresh | Kind::Connected(..) => assert_eq!(answer, Err(SocketError::Invalid)),
        }
    }

    fn connect(&mut self, host: usize, n: usize, to: u16) {
        let Socket { id, kind } = self.sockets[host][n].clone();
        let remote = SocketAddr::new(address(1 - host), to);
        if kind == Kind::Fresh {
            self.port += 1;
            assert_eq!(self.net.bind(host, id, self.port), Ok(()));
            let now = self.net.now;
            let answer = self.net.stacks[host].connect(now, id, remote);
            assert_eq!(answer, Err(SocketError::InProgress));
            let connection = Connection { port: self.port, ..Connection::default() };
            self.connections.push(connection);
            self.sockets[host][n].kind = Kind::Connected(self.connections.len() - 1, 0);
            return;
        }
        let Kind::Listening(_) = kind else { return };
        let now = self.net.now;
        assert_eq!(self.net.stacks[host].connect(now, id, remote), Err(SocketError::IsConnected));
    }

    fn accept(&mut self, host: usize, n: usize) {
        let Socket { id, kind } = self.sockets[host][n].clone();
        let now = self.net.now;
        match (self.net.stacks[host].accept(now, id), kind) {
            (Ok(accepted), Kind::Listening(port)) => {
                assert_eq!((accepted.local.port(), accepted.remote.ip()), (port, address(1 - host)));
                let from = accepted.remote.port();
                let connection = self.connections.iter().position(|c| c.port == from);
                let number = connection.expect("somebody has connected from there");
                self.sockets[host].push(Socket { id: accepted.id, kind: Kind::Connected(number, 1) });
            }
            (Err(SocketError::WouldBlock | SocketError::ConnectionAborted), Kind::Listening(_))
            | (Err(SocketError::BadSocket), Kind::Closed)
            | (Err(SocketError::Invalid), Kind::Fresh | Kind::Bound(_) | Kind::Connected(..)) => {}
            (answer, kind) => panic!("accept on {kind:?}: {answer:?}"),
        }
    }

    fn send(&mut self, host: usize, n: usize, len: usize) {
        let Socket { id, kind } = self.sockets[host][n].clone();
        let Kind::Connected(number, end) = kind else {
            let answer = self.net.send(host, id, 0, len);
            let right = if kind == Kind::Closed { SocketError::BadSocket } else { SocketError::BrokenPipe };
            assert_eq!(answer, Err(right), "{kind:?}");
            return;
        };
        let from = self.connections[number].sent[end];
        let answer = self.net.send(host, id, from, len);
        let connection = &mut self.connections[number];
        match answer {
            Ok(sent) => {
                assert!(sent <= len && !(connection.shut[end] && sent > 0), "{sent} sent after the end");
                connection.sent[end] += sent as u64;
            }
            Err(SocketError::WouldBlock | SocketError::NotConnected) => {}
            Err(SocketError::BrokenPipe) => connection.broken |= !connection.shut[end],
            Err(SocketError::ConnectionReset | SocketError::ConnectionRefused | SocketError::TimedOut) => {
                connection.broken = true;
            }
            Err(error) => panic!("send: {error}"),
        }
    }

    fn recv(&mut self, host: usize, n: usize, want: usize) {
        let Socket { id, kind } = self.sockets[host][n].clone();
        let Kind::Connected(number, end) = kind else {
            let answer = self.net.recv(host, id, 0, want);
            let right = if kind == Kind::Closed { SocketError::BadSocket } else { SocketError::NotConnected };
            assert_eq!(answer, Err(right), "{kind:?}");
            return;
        };
        let from = self.connections[number].received[end];
        let readable = self.net.stacks[host].readiness(id).contains(Readiness::IN);
        let answer = self.net.recv(host, id, from, want);
        let connection = &mut self.connections[number];
        match answer {
            Ok(0) => {
                let whole = connection.received[end] == connection.sent[1 - end] && connection.shut[1 - end];
                assert!(whole || connection.broken, "the end after {from} octets: {connection:?}");
            }
            Ok(got) => {
                connection.received[end] += got as u64;
                assert!(connection.received[end] <= connection.sent[1 - end], "{connection:?}");
                assert!(readable, "{got} octets from a socket that was not readable");
            }
            Err(SocketError::WouldBlock) => assert!(!readable, "readable, and would block"),
            Err(SocketError::NotConnected) => {}
            Err(SocketError::ConnectionReset | SocketError::ConnectionRefused | SocketError::TimedOut) => {
                connection.broken = true;
            }
            Err(error) => panic!("recv: {error}"),
        }
    }

    fn shutdown(&mut self, host: usize, n: usize) {
        let Socket { id, kind } = self.sockets[host][n].clone();
        let now = self.net.now;
        let answer = self.net.stacks[host].shutdown(now, id, How::Write);
        match kind {
            Kind::Connected(number, end) => match answer {
                Ok(()) => self.connections[number].shut[end] = true,
                Err(SocketError::NotConnected) => {}
                Err(error) => panic!("shutdown: {error}"),
            },
            Kind::Closed => assert_eq!(answer, Err(SocketError::BadSocket)),
            Kind::Listening(_) => assert_eq!(answer, Ok(())),
            Kind::Fresh | Kind::Bound(_) => assert_eq!(answer, Err(SocketError::NotConnected)),
        }
    }

    fn close(&mut self, host: usize, n: usize) {
        let Socket { id, kind } = self.sockets[host][n].clone();
        let now = self.net.now;
        let answer = self.net.stacks[host].close(now, id);
        match kind {
            Kind::Closed => return assert_eq!(answer, Err(SocketError::BadSocket)),
            Kind::Connected(number, end) => {
                // What the other end has under way, or sends from now on, is answered with a reset.
                let connection = &mut self.connections[number];
                connection.broken |=
                    connection.received[end] < connection.sent[1 - end] || !connection.shut[1 - end];
                connection.shut[end] = true;
            }
            Kind::Listening(_) => {
                // Connections that nobody had accepted are reset.
                for (number, connection) in self.connections.iter_mut().enumerate() {
                    let accepted = |s: &Socket| s.kind == Kind::Connected(number, 1);
                    connection.broken |= !self.sockets.iter().flatten().any(accepted);
                }
            }
            Kind::Fresh | Kind::Bound(_) => {}
        }
        assert_eq!(answer, Ok(()));
        self.sockets[host][n].kind = Kind::Closed;
    }
}
