//! How many SYNs a stack gets, and which.

use std::net::{Ipv6Addr, SocketAddr};

use nic::TxChecksum;
use ringroad_af_xdp::{Options, SteeringCounters};

use crate::net::{Lab, NEAR, Open, TCP, ethernet, ipv4, within_deadline};

const SYN: u8 = 2;
const ACK: u8 = 0x10;
/// What a stack is ready for at once, and the quarter of it that is kept for those that come again.
const CREDIT: u32 = 800;
const KEPT: u32 = CREDIT / 4;
/// Frames sent at a time: fewer than a cable's queue or a ring takes.
const BATCH: usize = 64;

/// A peer that sends segments of any flags from any number of ports.
struct Peer {
    lab: Lab,
    near: Open,
    far: Open,
    local: [SocketAddr; 2],
}

impl Peer {
    fn new() -> Self {
        let lab = Lab::new(1);
        let (near, far) = (lab.open(256, &Options::default()), lab.open_far(256, &Options::default()));
        let six = Ipv6Addr::new(0xfd00, 99, 0, 0, 0, 0, 0, 1);
        let local = [SocketAddr::from((NEAR, 80)), SocketAddr::from((six, 80))];
        local.iter().for_each(|local| near.road.steering.add_port(TCP, *local, 0).unwrap());
        Self { lab, near, far, local }
    }

    /// A segment to port 80; `n` makes its port and its sequence number.
    fn segment(&self, n: u32, flags: u8, six: bool) -> Vec<u8> {
        let (near, far) = self.lab.ends(80, 1024 + n as u16 % 60_000);
        let ports = [far.port.to_be_bytes(), near.port.to_be_bytes()].concat();
        let tcp = [&ports[..], &n.to_be_bytes(), &[0; 4], &[0x50, flags, 255, 255, 0, 0, 0, 0]].concat();
        if !six {
            return [ethernet(far, near, 0x0800), ipv4(far, near, TCP, 0x4000, &tcp)].concat();
        }
        let SocketAddr::V6(to) = self.local[1] else { unreachable!() };
        let from = Ipv6Addr::new(0xfd00, 99, 0, 0, 0, 0, 0, 2);
        let head = [0x60, 0, 0, 0, 0, tcp.len() as u8, TCP, 64];
        [&ethernet(far, near, 0x86dd)[..], &head, &from.octets(), &to.ip().octets(), &tcp].concat()
    }

    fn counters(&self) -> SteeringCounters {
        self.near.road.steering.counters().unwrap()
    }

    /// Sends frames; how many of them the stack gets.
    fn pass(&mut self, frames: &[Vec<u8>]) -> u32 {
        let mut got = 0;
        for batch in frames.chunks(BATCH) {
            let seen = |c: SteeringCounters| c.port + c.flow + c.shed_syn;
            let before = seen(self.counters());
            batch.iter().for_each(|frame| self.far.send(frame, TxChecksum::Complete));
            self.far.flush();
            within_deadline("the program's counters", || {
                seen(self.counters()) >= before + batch.len() as u64
            });
            self.near.drain(|_| got += 1);
        }
        got
    }

    fn syns(&self, numbers: std::ops::Range<u32>) -> Vec<Vec<u8>> {
        numbers.map(|n| self.segment(n, SYN, n % 2 == 1)).collect()
    }
}

#[test]
fn a_stack_that_counts_gets_no_more_syns_than_it_is_ready_for() {
    let mut peer = Peer::new();
    assert_eq!(peer.pass(&peer.syns(0..200)), 200, "who does not count gets all");
    let granted = peer.near.road.steering.begin_credit(0, CREDIT);
    let open = CREDIT - KEPT;
    assert_eq!(peer.pass(&peer.syns(0..open + 500)), open, "the rest is for those that come again");
    assert_eq!((peer.near.road.steering.shed(0), peer.counters().shed_syn), (500, 500));
    // Whatever is no SYN passes as ever, in both families, and so does the answer to one.
    let others: Vec<_> =
        (0..100).map(|n| peer.segment(n, if n < 50 { ACK } else { SYN | ACK }, n % 2 == 0)).collect();
    assert_eq!(peer.pass(&others), 100);
    peer.near.road.steering.grant(0, granted + 8);
    assert_eq!(peer.pass(&peer.syns(10_000..10_100)), 8);
    // Credit that nobody used does not grow without end.
    peer.near.road.steering.grant(0, granted + 1_000_000);
    assert_eq!(peer.pass(&peer.syns(20_000..20_000 + open + 500)), open);
    peer.near.road.steering.release(0, None, &|_| false, |_| {}).unwrap();
    peer.local.iter().for_each(|local| peer.near.road.steering.add_port(TCP, *local, 0).unwrap());
    assert_eq!(peer.pass(&peer.syns(30_000..30_200)), 200, "nor does what comes next in the slot");
    peer.near.assert_whole();
}

#[test]
fn a_syn_that_comes_again_goes_before_those_that_do_not() {
    let mut peer = Peer::new();
    peer.near.road.steering.begin_credit(0, CREDIT);
    let mut next = CREDIT - KEPT;
    assert_eq!(peer.pass(&peer.syns(0..next)), next);
    for six in [false, true] {
        let patient = [peer.segment(7_000_000, SYN, six)];
        assert_eq!(peer.pass(&patient), 0);
        // Its peer waits some time and sends it again, while others come and are dropped.
        within_deadline("a second try", || {
            next += 20;
            assert_eq!(peer.pass(&peer.syns(next - 20..next)), 0);
            peer.pass(&patient) == 1
        });
    }
}
