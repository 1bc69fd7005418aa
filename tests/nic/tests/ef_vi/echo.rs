//! Two stacks, each on an adapter: one echoes what the other sends. What they hear is what they had led to them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant as Clock};

use ef_vi::{EfVi, EfViCounters, Filter, Options};
use nic::{Arena, Burst, Nic, Pool};
use stack::Stack;
use stack::config::{Config, Secrets};
use stack::control::{ControlEvent, Request, Route};
use stack::error::SocketError;
use stack::socket::{How, RecvFlags, SendFlags};
use stack::time::Instant;
use stack::types::{IfaceId, Protocol, SocketId};

const IFACE: IfaceId = IfaceId(1);
const FRAMES: u32 = 1024;
const PORT: u16 = 7;
/// Far more than it takes, on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) struct Host {
    stack: Stack,
    pub(crate) nic: EfVi,
    pub(crate) address: Ipv4Addr,
    burst: Burst,
    filters: usize,
}

impl Host {
    pub(crate) fn new(name: &str, n: u8) -> Self {
        let mut pool = Pool::new(Arena::new(FRAMES, 4096).unwrap());
        let nic = EfVi::open(name, &mut pool, &Options::default()).unwrap_or_else(|error| panic!("{error}"));
        let mut stack = Stack::new(Config::default(), pool, Secrets([n; 32]));
        let address = Ipv4Addr::new(10, 88, 0, n);
        let network = IpAddr::V4(Ipv4Addr::new(10, 88, 0, 0));
        let route = Route { network, prefix: 24, gateway: None, iface: IFACE, source: None, mtu: None };
        for event in [
            ControlEvent::Iface { iface: IFACE, mac: nic.mac(), mtu: 1500, up: true, tx_checksum: false },
            ControlEvent::Address { iface: IFACE, address: address.into(), prefix: 24, deprecated: false },
            ControlEvent::Routes(vec![route]),
        ] {
            stack.control(Instant::ZERO, event);
        }
        Self { stack, nic, address, burst: Burst::with_capacity(64), filters: 0 }
    }

    /// A listener whose port is led here.
    fn listen(&mut self, now: Instant) -> SocketId {
        let id = self.stack.tcp_socket(0).unwrap();
        self.stack.bind(id, (self.address, PORT).into()).unwrap();
        self.stack.listen(id, 16).unwrap();
        self.turn(now);
        id
    }

    /// Closes everything; its last words leave, and what is under way comes back.
    fn close(mut self, now: impl Fn() -> Instant) -> EfViCounters {
        self.stack.close_all(now());
        let until = Clock::now() + PATIENCE;
        loop {
            self.turn(now());
            let census = self.stack.pool().census();
            if census.lent + census.given == 0 {
                return self.nic.counters();
            }
            assert!(Clock::now() < until, "frames do not come back: {census:?}");
        }
    }

    pub(crate) fn knows(&mut self, address: Ipv4Addr, mac: [u8; 6]) {
        let event = ControlEvent::Neighbour { iface: IFACE, address: address.into(), mac };
        self.stack.control(Instant::ZERO, event);
    }

    /// One turn: what came, what is due, what is to go.
    fn turn(&mut self, now: Instant) {
        self.nic.rx(self.stack.pool_mut(), &mut self.burst, 64);
        self.stack.rx_burst(now, IFACE, &mut self.burst);
        if self.stack.next_deadline() <= now {
            self.stack.expire(now);
        }
        self.stack.push(now);
        while let Some(request) = self.stack.next_request() {
            self.steer(request);
        }
        while self.stack.next_wake().is_some() {}
        let (pool, queue) = self.stack.tx_queue(IFACE).unwrap();
        while let Some(frame) = queue.pop_front() {
            if let Err(frame) = self.nic.tx(pool, frame) {
                queue.push_front(frame);
                break;
            }
        }
        self.nic.kick(pool);
    }

    fn steer(&mut self, request: Request) {
        let tcp = |local, remote| {
            let protocol = 6;
            Filter { protocol, local, remote }
        };
        let done = match request {
            Request::SteerPort(key) if key.protocol == Protocol::Tcp => {
                self.filters += 1;
                self.nic.add_filter(tcp((key.address, key.port).into(), None))
            }
            Request::UnsteerPort(key) => self.nic.remove_filter(tcp((key.address, key.port).into(), None)),
            Request::SteerFlow(key) | Request::SteerNewFlow(key) => {
                self.filters += 1;
                self.nic.add_filter(tcp(key.local, Some(key.remote)))
            }
            Request::UnsteerFlow(key) => self.nic.remove_filter(tcp(key.local, Some(key.remote))),
            other => panic!("{other:?}"),
        };
        done.unwrap_or_else(|error| panic!("{error}"));
    }

    fn send(&mut self, now: Instant, id: SocketId, bytes: &[u8]) -> usize {
        if bytes.is_empty() {
            return 0;
        }
        let mut rest = bytes;
        let sent = self.stack.send(now, id, bytes.len(), SendFlags::default(), &mut |room| {
            let n = room.len().min(rest.len());
            room[..n].copy_from_slice(&rest[..n]);
            rest = &rest[n..];
            Ok(n)
        });
        match sent {
            Ok(n) => n,
            Err(SocketError::WouldBlock | SocketError::NotConnected) => 0,
            Err(error) => panic!("{error:?}"),
        }
    }

    /// Appends what has come. True at the end of the stream.
    fn recv(&mut self, now: Instant, id: SocketId, into: &mut Vec<u8>) -> bool {
        let got = self.stack.recv(now, id, 1 << 16, RecvFlags::default(), &mut |piece| {
            into.extend_from_slice(piece);
            Ok(())
        });
        match got {
            Ok(n) => n == 0,
            Err(SocketError::WouldBlock | SocketError::NotConnected) => false,
            Err(error) => panic!("{error:?}"),
        }
    }
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

/// The end that sends all and reads it back.
struct Client<'a> {
    host: Host,
    id: SocketId,
    rest: &'a [u8],
    got: Vec<u8>,
    shut: bool,
    ended: bool,
}

impl Client<'_> {
    fn turn(&mut self, now: Instant) {
        let gone = self.host.send(now, self.id, self.rest);
        self.rest = &self.rest[gone..];
        if self.rest.is_empty() && !self.shut {
            self.shut = true;
            self.host.stack.shutdown(now, self.id, How::Write).unwrap();
        }
        self.ended |= self.host.recv(now, self.id, &mut self.got);
        self.host.turn(now);
    }
}

/// The end that sends back what comes.
struct Server {
    host: Host,
    listener: SocketId,
    id: Option<SocketId>,
    held: Vec<u8>,
    heard_all: bool,
    shut: bool,
}

impl Server {
    fn turn(&mut self, now: Instant) {
        let Self { host, id, held, .. } = self;
        *id = id.or_else(|| host.stack.accept(now, self.listener).ok().map(|accepted| accepted.id));
        if let Some(id) = *id {
            if held.is_empty() && !self.heard_all {
                self.heard_all = host.recv(now, id, held);
            }
            let gone = host.send(now, id, held);
            held.drain(..gone);
            if self.heard_all && held.is_empty() && !self.shut {
                self.shut = true;
                host.stack.shutdown(now, id, How::Write).unwrap();
            }
        }
        host.turn(now);
    }
}

/// Echoes what comes to the port, until `done` says so.
pub(crate) fn serve(mut host: Host, done: impl Fn() -> bool) -> EfViCounters {
    let started = Clock::now();
    let now = || Instant::from_nanos(1_000_000_000 + started.elapsed().as_nanos() as u64);
    let listener = host.listen(now());
    let mut server = Server { host, listener, id: None, held: Vec::new(), heard_all: false, shut: false };
    while !done() {
        assert!(started.elapsed() < PATIENCE, "the other end has not done");
        server.turn(now());
    }
    server.host.close(now)
}

/// Two ends of a wire and so many bytes; what each of them counted.
pub(crate) fn echo(names: [&str; 2], bytes: usize) -> [EfViCounters; 2] {
    join([Host::new(names[0], 1), Host::new(names[1], 2)], bytes)
}

/// Two hosts whose adapters are joined.
pub(crate) fn join([mut client, mut server]: [Host; 2], bytes: usize) -> [EfViCounters; 2] {
    client.knows(server.address, server.nic.mac());
    server.knows(client.address, client.nic.mac());
    let started = Clock::now();
    let now = || Instant::from_nanos(1_000_000_000 + started.elapsed().as_nanos() as u64);

    let listener = server.listen(now());
    let id = client.stack.tcp_socket(0).unwrap();
    client.stack.bind(id, (client.address, 40_000).into()).unwrap();
    let remote = SocketAddr::from((server.address, PORT));
    assert_eq!(client.stack.connect(now(), id, remote), Err(SocketError::InProgress));

    let sent = pattern(bytes);
    let mut client = Client { host: client, id, rest: &sent, got: Vec::new(), shut: false, ended: false };
    let mut server =
        Server { host: server, listener, id: None, held: Vec::new(), heard_all: false, shut: false };
    while !client.ended {
        assert!(started.elapsed() < PATIENCE, "{} of {bytes} bytes came back", client.got.len());
        client.turn(now());
        server.turn(now());
    }
    assert!(client.got == sent, "{} bytes came back of {bytes}, and not the same", client.got.len());
    println!("{bytes} bytes and back in {:?}", started.elapsed());
    assert_eq!([client.host.filters, server.host.filters], [1, 1], "a flow there, and a port here");
    [client.host, server.host].map(|host| host.close(now))
}
