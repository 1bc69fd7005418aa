//! Calls in any order, by two applications that know no manners, over a link that loses: never a panic, never
//! a lost frame, and what the stack says of itself stays true.

mod common;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use common::{Link, Net, Rng, pattern};
use ringroad_stack::config::Config;
use ringroad_stack::control::{ControlEvent, Request};
use ringroad_stack::error::Fault;
use ringroad_stack::socket::{How, OptName, RecvFlags, SendFlags, Value};
use ringroad_stack::types::{Readiness, SocketId};

struct World {
    net: Net,
    rng: Rng,
    sockets: [Vec<SocketId>; 2],
    /// Ids that were closed: they must stay void.
    void: [VecDeque<SocketId>; 2],
    data: Vec<u8>,
    port: u16,
}

impl World {
    fn new(seed: u64) -> Self {
        let link = Link { loss: 30, duplicate: 10, corrupt: 10, ..Link::default() };
        let config = Config { max_sockets: 200, max_udp_flows: 16, ..Config::default() };
        Self {
            net: Net::with_config(config, link, seed),
            rng: Rng::new(seed),
            sockets: [vec![], vec![]],
            void: [VecDeque::new(), VecDeque::new()],
            data: pattern(20_000, seed),
            port: 1000,
        }
    }

    fn any(&mut self, h: usize) -> Option<SocketId> {
        let n = self.sockets[h].len() as u64;
        (n > 0).then(|| self.sockets[h][self.rng.below(n) as usize])
    }

    fn address(&mut self, h: usize) -> SocketAddr {
        let host = match self.rng.below(8) {
            0 => [0, 0, 0, 0],
            1 => [10, 0, 0, 255],
            2 => [10, 0, 0, 77],
            3 => [192, 0, 2, 1],
            _ => [10, 0, 0, 1 + h as u8],
        };
        SocketAddr::from((host, self.rng.below(6) as u16 * 10))
    }

    /// What a sane application does: a listener, or a connection to where one may be.
    fn sane(&mut self, h: usize) {
        let (now, well_known) = (self.net.now, 10 * (1 + self.rng.below(2) as u16));
        self.port += 1;
        let serve = self.rng.chance(300);
        let port = if serve { well_known } else { self.port };
        let stack = &mut self.net.hosts[h].stack;
        let Ok(id) = stack.tcp_socket(9) else { return };
        self.sockets[h].push(id);
        stack.bind(id, SocketAddr::from(([0, 0, 0, 0], port))).expect("a free name");
        if serve {
            let _ = stack.listen(id, 8);
        } else {
            let remote = SocketAddr::from(([10, 0, 0, 2 - h as u8], well_known));
            let _ = stack.connect(now, id, remote);
        }
    }

    /// Accepts all there is.
    fn serve(&mut self, h: usize) {
        let now = self.net.now;
        for id in self.sockets[h].clone() {
            while let Ok(accepted) = self.net.hosts[h].stack.accept(now, id) {
                self.sockets[h].push(accepted.id);
            }
        }
    }

    fn make(&mut self, h: usize) {
        let stack = &mut self.net.hosts[h].stack;
        let made = if self.rng.chance(700) { stack.tcp_socket(7) } else { stack.udp_socket(8) };
        if let Ok(id) = made {
            self.sockets[h].push(id);
        }
    }

    fn io(&mut self, h: usize, id: SocketId) {
        let (now, n) = (self.net.now, self.rng.below(self.data.len() as u64) as usize);
        let (faulty, to, call) = (self.rng.chance(50), self.rng.chance(500), self.rng.below(4));
        let remote = to.then(|| self.address(1 - h));
        let (data, mut at) = (&self.data, 0);
        let mut source = |room: &mut [u8]| {
            if faulty && at > 0 {
                return Err(Fault);
            }
            let n = room.len().min(data.len() - at);
            room[..n].copy_from_slice(&data[at..at + n]);
            at += n;
            Ok(n)
        };
        let flags = RecvFlags { peek: self.rng.chance(100), trunc: self.rng.chance(50), oob: false };
        let mut sink = |_: &[u8]| if faulty { Err(Fault) } else { Ok(()) };
        let stack = &mut self.net.hosts[h].stack;
        match call {
            0 => {
                let _ = stack.send(now, id, n, SendFlags { more: faulty, oob: false }, &mut source);
            }
            1 => {
                let _ = stack.send_to(now, id, remote, n.min(1500), &mut source);
            }
            2 => {
                let _ = stack.recv_from(now, id, n, flags, &mut sink);
            }
            _ => {
                let _ = stack.recv(now, id, n, flags, &mut sink);
            }
        }
    }

    fn set(&mut self, h: usize, id: SocketId) {
        let names = OptName::ALL;
        let name = names[self.rng.below(names.len() as u64) as usize];
        let value = match self.rng.below(4) {
            0 => Value::Linger(self.rng.chance(500).then_some(0)),
            1 => Value::Int(self.rng.next() as i32),
            _ => Value::Int(self.rng.below(2) as i32),
        };
        let now = self.net.now;
        let stack = &mut self.net.hosts[h].stack;
        let _ = stack.set_option(now, id, name, value);
        let _ = stack.option(id, name);
    }

    fn close(&mut self, h: usize, id: SocketId) {
        let now = self.net.now;
        self.net.hosts[h].stack.close(now, id).expect("a socket that is ours");
        self.sockets[h].retain(|s| *s != id);
        self.void[h].push_back(id);
        self.void[h].truncate(50);
    }

    fn weather(&mut self, h: usize) {
        let (now, iface, address) = (self.net.now, common::IFACE, [10, 0, 0, 2 - h as u8].into());
        let event = match self.rng.below(3) {
            0 => ControlEvent::NeighbourGone { iface, address, failed: self.rng.chance(500) },
            1 => ControlEvent::Iface {
                iface,
                mac: self.net.hosts[h].mac,
                mtu: 1500,
                up: self.rng.chance(500),
                tx_checksum: false,
            },
            _ => ControlEvent::Neighbour { iface, address, mac: common::mac(2 - h as u8) },
        };
        self.net.hosts[h].stack.control(now, event);
    }

    fn fair_weather(&mut self) {
        for h in 0..2 {
            let (now, iface) = (self.net.now, common::IFACE);
            let (mac, address) = (self.net.hosts[h].mac, [10, 0, 0, 2 - h as u8].into());
            let stack = &mut self.net.hosts[h].stack;
            stack.control(now, ControlEvent::Iface { iface, mac, mtu: 1500, up: true, tx_checksum: false });
            let mac = common::mac(2 - h as u8);
            stack.control(now, ControlEvent::Neighbour { iface, address, mac });
        }
    }

    fn step(&mut self) {
        let h = self.rng.below(2) as usize;
        let Some(id) = self.any(h) else { return self.make(h) };
        let now = self.net.now;
        let (local, remote) = (self.address(h), self.address(1 - h));
        match self.rng.below(100) {
            0..8 => self.make(h),
            8..18 => {
                let _ = self.net.hosts[h].stack.bind(id, local);
            }
            18..26 => {
                let _ = self.net.hosts[h].stack.listen(id, self.rng.below(4) as u32);
            }
            26..36 => {
                let _ = self.net.hosts[h].stack.connect(now, id, remote);
            }
            36..46 => {
                if let Ok(accepted) = self.net.hosts[h].stack.accept(now, id) {
                    self.sockets[h].push(accepted.id);
                }
            }
            46..76 => self.io(h, id),
            76..80 => {
                let how = [How::Read, How::Write, How::Both][self.rng.below(3) as usize];
                let _ = self.net.hosts[h].stack.shutdown(now, id, how);
            }
            80..86 => self.close(h, id),
            86..92 => self.set(h, id),
            92 if self.rng.chance(200) => self.weather(h),
            92..94 => self.fair_weather(),
            94..97 => {
                self.sane(h);
                self.net.run_for(Duration::from_micros(200));
                self.serve(0);
                self.serve(1);
            }
            _ => {
                let time = [1, 1, 50, 500][self.rng.below(4) as usize];
                self.net.run_for(Duration::from_millis(time));
            }
        }
        self.truths(h, id);
    }

    fn truths(&mut self, h: usize, id: SocketId) {
        let stack = &mut self.net.hosts[h].stack;
        for void in &self.void[h] {
            assert!(stack.cookie(*void).is_err(), "{void} is void");
            assert_eq!(stack.readiness(*void), Readiness::ERR | Readiness::HUP);
        }
        if self.sockets[h].contains(&id) {
            assert!(stack.cookie(id).is_ok());
            let waiting = stack.recv_queue(id).unwrap_or(0) as i32;
            let enough = stack.option(id, OptName::RecvLowWater).and_then(Value::int).unwrap_or(1);
            if waiting >= enough && stack.peer(id).is_ok() {
                assert!(stack.readiness(id).contains(Readiness::IN), "{id} has data and is not readable");
            }
        }
    }
}

/// Every endpoint that was asked for was given back, once.
fn assert_balanced(requests: &[Request]) {
    let (mut ports, mut flows) = (Vec::new(), Vec::new());
    for request in requests {
        match request {
            Request::SteerPort(key) => {
                assert!(!ports.contains(key), "{key:?} was asked for twice");
                ports.push(*key);
            }
            Request::UnsteerPort(key) => {
                let at = ports.iter().position(|p| p == key).expect("a port that was asked for");
                ports.swap_remove(at);
            }
            Request::SteerFlow(key) | Request::SteerNewFlow(key) => {
                assert!(!flows.contains(key), "{key:?} was asked for twice");
                flows.push(*key);
            }
            Request::UnsteerFlow(key) => {
                let at = flows.iter().position(|f| f == key).expect("a flow that was asked for");
                flows.swap_remove(at);
            }
            Request::Neighbour { .. } => {}
        }
    }
    assert!(ports.is_empty() && flows.is_empty(), "{ports:?} {flows:?} were never given back");
}

#[test]
fn no_order_of_calls_breaks_anything() {
    for seed in 1..=40 {
        let mut world = World::new(seed);
        for _ in 0..3000 {
            world.step();
        }
        world.fair_weather();
        // Half of the time the applications close what they have, else they just die.
        for h in 0..2 {
            if seed % 2 == 0 {
                while let Some(id) = world.sockets[h].pop() {
                    let now = world.net.now;
                    world.net.hosts[h].stack.close(now, id).unwrap();
                }
            }
        }
        world.net.run_for(Duration::from_secs(3600));
        for h in 0..2 {
            let now = world.net.now;
            let stack = &mut world.net.hosts[h].stack;
            if seed % 2 == 0 {
                let left: Vec<_> = stack.sockets().collect();
                assert!(left.is_empty(), "seed {seed}: {left:?}");
                assert_eq!(stack.orphans(), 0, "seed {seed}");
            }
            stack.reset_all(now);
            assert_eq!((stack.sockets().count(), stack.orphans()), (0, 0), "seed {seed}");
        }
        world.net.run_for(Duration::from_secs(10));
        world.net.assert_whole();
        for host in &world.net.hosts {
            assert_balanced(&host.requests);
        }
    }
}
