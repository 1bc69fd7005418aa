//! The rings between two stacks of one port: memory that both share. The port's interface is idle.

use std::cell::RefCell;
use std::fs::File;
use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use af_xdp::{Crossed, Crossing, FrameCensus, Options, Port, PortParts, RingSizes, Slot, Steering, XskNic};
use lab::{IFACE, Lab, Namespace, Signal, eventually};
use nic::{Arena, Burst, Caps, Doorbell, Nic, Pool, RxFrame, RxMeta, TxChecksum, TxPkt};

use crate::end::{End, Wire, within};
use crate::frame::{Address, SHORTEST, Sum, frame};

/// Each stack keeps an eighth of them: more than a ring between two has places.
const FRAMES: u32 = 1 << 16;
const FRAME_SIZE: u32 = 2048;
const LONGEST: usize = 1514;
/// Where numbers of descriptors begin that others inherit.
const INHERITED: RawFd = 100;

/// Tells the driver that will be killed the port, as it is written down, and its memory.
const PARTS: &str = "NIC_SUITE_PARTS";
const MEMORY: &str = "NIC_SUITE_MEMORY";

/// Rings when something is sent to a stack that sleeps.
type Bell = Arc<(UnixStream, UnixStream)>;

fn ring(bell: &Bell) {
    let _ = (&bell.0).write(&[1]);
}

fn quiet(bell: &Bell) {
    while matches!((&bell.1).read(&mut [0; 64]), Ok(1..)) {}
}

/// A stack's ends of the rings, as a NIC.
#[derive(Debug)]
struct CrossingNic {
    to: Slot,
    /// To sleep is to say so, also where that is only looked at.
    crossing: RefCell<Crossing>,
    /// What the stack has besides: it keeps the pool in stock.
    road: XskNic,
    _steering: Steering,
    came: Vec<Crossed>,
    mine: Bell,
    theirs: Bell,
    fds: [RawFd; 1],
}

impl CrossingNic {
    /// The stack of slot `slot`, and the pool that it is driven with.
    fn new(port: &PortParts, memory: &File, slot: Slot, bells: &[Bell; 2]) -> (Self, Pool) {
        let memory = memory.try_clone().expect("a descriptor");
        let mut pool = Pool::new(Arena::from_file(memory, 0, FRAMES, FRAME_SIZE).expect("an arena"));
        let port = Port::from_parts(port, slot).unwrap_or_else(|e| panic!("{e}"));
        let crossing = RefCell::new(port.crossing(slot));
        let (mut roads, _) = port.adopt(slot, &mut pool, &|_| false).unwrap_or_else(|e| panic!("{e}"));
        let road = roads.pop().expect("a road");
        let [mine, theirs] = [slot, 1 - slot].map(|slot| Arc::clone(&bells[usize::from(slot)]));
        let fds = [mine.1.as_raw_fd()];
        let (road, _steering, came) = (road.nic, road.steering.expect("a steering program"), Vec::new());
        (Self { to: 1 - slot, crossing, road, _steering, came, mine, theirs, fds }, pool)
    }

    /// The part of a turn that has nothing to do with what comes and goes.
    fn turn(&mut self, pool: &mut Pool) {
        self.road.reap(pool);
        self.road.rx(pool, &mut Burst::new(), 0);
    }
}

impl Nic for CrossingNic {
    fn caps(&self) -> Caps {
        Caps { tx_checksum: false, max_frame: LONGEST }
    }

    fn rx(&mut self, pool: &mut Pool, burst: &mut Burst, max: usize) -> usize {
        let crossing = self.crossing.get_mut();
        crossing.rise();
        crossing.receive(pool, &mut self.came, max);
        let got = self.came.len();
        burst
            .extend(self.came.drain(..).map(|crossed| RxFrame { pkt: crossed.pkt, meta: RxMeta::default() }));
        self.turn(pool);
        got
    }

    fn tx(&mut self, pool: &mut Pool, frame: TxPkt) -> Result<(), TxPkt> {
        if frame.len() > LONGEST {
            pool.take_back(frame);
            return Ok(());
        }
        self.crossing.get_mut().send(pool, self.to, 0, frame)
    }

    fn kick(&mut self, pool: &mut Pool) -> Doorbell {
        if !self.crossing.get_mut().publish().is_empty() {
            ring(&self.theirs);
        }
        self.turn(pool);
        Doorbell::Quiet
    }

    fn reap(&mut self, _: &mut Pool) {}

    fn wait_fds(&self) -> &[RawFd] {
        if self.crossing.borrow_mut().attend(true, || quiet(&self.mine)) {
            ring(&self.mine);
        }
        &self.fds
    }

    fn rx_pending(&self) -> bool {
        self.crossing.borrow().is_pending()
    }
}

/// Two stacks of one port.
#[derive(Debug)]
pub struct CrossingWire {
    ends: [End; 2],
    bells: [Bell; 2],
    port: PortParts,
    memory: File,
    host: Namespace,
    _lab: Lab,
}

impl CrossingWire {
    /// Two stacks of a port on the laboratory's first cable.
    ///
    /// # Panics
    /// When it cannot be opened.
    #[must_use]
    pub fn new(what: &str) -> Self {
        let lab = Lab::new(what);
        let (host, _peer) = lab.pair();
        let mut pool = Pool::new(Arena::new(FRAMES, FRAME_SIZE).expect("an arena"));
        let rings = RingSizes { fill: 64, completion: 64, rx: 64, tx: 64 };
        let options = Options { rings, stacks: 2, ..Options::default() };
        let port = host.enter(|| Port::open(&mut pool, &[IFACE], &options)).unwrap_or_else(|e| panic!("{e}"));
        let port = port.inheritable(INHERITED).expect("descriptors");
        let memory = File::from(pool.arena().file().0.try_clone_to_owned().expect("a descriptor"));
        let bells = [0, 1].map(|_| {
            let (to, from) = UnixStream::pair().expect("a pair of sockets");
            for end in [&to, &from] {
                end.set_nonblocking(true).expect("a socket that does not block");
            }
            Arc::new((to, from))
        });
        let ends = [0, 1].map(|slot| open(&port, &memory, slot, &bells));
        Self { ends, bells, port, memory, host, _lab: lab }
    }

    /// Has another process drive the second stack, which is this executable again, its test `role`: stops it while it
    /// sends all it can, lets it go on, kills it, and opens the stack again.
    ///
    /// # Panics
    /// When its frames do not come in order, when a stack that stands still stops the other, or frames are lost.
    pub fn stop_and_kill_a_driver(&mut self, role: &str) {
        let whole = self.census();
        self.bury(1);
        let mut driver = self.driver(role);
        let mut last = None;
        self.hears(&mut last, &mut driver);
        driver.signal(Signal::Stop);
        // Nobody reads: the ring is full some time, and that is all.
        let bytes = |to, number| frame(address(0), to, number, SHORTEST, Sum::Finished);
        let end = &mut self.ends[0];
        within("a full ring", || match end.offer(&bytes(address(1), 0), TxChecksum::Complete) {
            Ok(()) => end.nic.kick(&mut end.pool) == Doorbell::Needed,
            Err(loan) => {
                end.pool.take_back(loan);
                true
            }
        });
        driver.signal(Signal::Cont);
        self.hears(&mut last, &mut driver);
        driver.signal(Signal::Kill);
        assert_eq!(driver.ended(10), 128 + 9, "{}", driver.said());
        self.reopen(1);
        self.ends[0].drain();
        self.ends[0].whole();
        assert_eq!(self.census(), whole, "frames of a dead stack");
    }

    /// Frames of a driver come, in order.
    fn hears(&mut self, last: &mut Option<u32>, driver: &mut lab::Running) {
        let mut came = 0;
        eventually("frames of a driver, or its end", 20, || {
            self.ends[0].receive(64, |number, _, _| {
                assert!(last.is_none_or(|last| number > last), "{number} came after {last:?}");
                *last = Some(number);
                came += 1;
            });
            came >= 5000 || !driver.is_running()
        });
        assert!(came >= 5000, "{came} frames came of a driver: {}", driver.said());
    }

    fn driver(&self, role: &str) -> lab::Running {
        let executable = std::env::current_exe().expect("this executable");
        let words = [executable.to_str().expect("a path in UTF-8"), "--exact", role, "--nocapture"];
        let memory = format!("/proc/{}/fd/{}", std::process::id(), self.memory.as_raw_fd());
        self.host.spawn_with(&words, &[(PARTS, &self.port.to_string()), (MEMORY, &memory)])
    }

    /// Returns what the stack of a slot that has ended left behind.
    fn bury(&self, slot: Slot) {
        let port = Port::from_parts(&self.port, slot).unwrap_or_else(|e| panic!("{e}"));
        port.settle(slot, 1 - slot, &|_| false, |_| ()).unwrap_or_else(|e| panic!("{e}"));
    }

    /// Frames that are somewhere: all that there are.
    fn census(&self) -> u32 {
        let FrameCensus { depot, stacks, receiving, sending } = self.census_of_port();
        depot + stacks + receiving + sending
    }

    fn census_of_port(&self) -> FrameCensus {
        let mut census = FrameCensus::default();
        self.ends[0].nic.census(&mut |name, n| {
            let n = n as u32;
            match name {
                "nobody's" => census.depot = n,
                "with stacks" => census.stacks = n,
                "to receive into" => census.receiving = n,
                _ => census.sending = n,
            }
        });
        census
    }
}

fn address(slot: Slot) -> Address {
    let number = slot + 1;
    Address { mac: [2, 0, 0, 0, 0, number], ip: Ipv4Addr::new(10, 0, 0, number) }
}

fn open(port: &PortParts, memory: &File, slot: Slot, bells: &[Bell; 2]) -> End {
    let (nic, pool) = CrossingNic::new(port, memory, slot, bells);
    End::new(Box::new(nic), pool, address(slot))
}

impl Wire for CrossingWire {
    fn ends(&mut self) -> [&mut End; 2] {
        self.ends.each_mut()
    }

    fn reopen(&mut self, side: usize) {
        let slot = side as Slot;
        self.bury(slot);
        self.ends[side] = open(&self.port, &self.memory, slot, &self.bells);
    }

    fn hands_over(&self) -> bool {
        true
    }
}

/// What [`CrossingWire::stop_and_kill_a_driver`] kills: drives the second stack, as long as it lives. In a process that was
/// not started for it, does nothing.
///
/// # Panics
/// When the stack cannot be driven.
pub fn cross_until_killed() {
    let Ok(parts) = std::env::var(PARTS) else { return };
    let port: PortParts = parts.parse().expect("a port");
    let path = std::env::var(MEMORY).expect("its memory");
    let memory = File::options().read(true).write(true).open(path).expect("its memory");
    let bells = [0, 1].map(|_| Arc::new(UnixStream::pair().expect("a pair of sockets")));
    let mut end = open(&port, &memory, 1, &bells);
    for number in 0.. {
        let bytes = frame(address(1), address(0), number, SHORTEST, Sum::Finished);
        end.send(&bytes, TxChecksum::Complete);
        end.drain();
    }
}
