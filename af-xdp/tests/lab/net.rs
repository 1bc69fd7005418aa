//! Two network namespaces and a veth between them: `near` is ours, `far` is the kernel's.

use std::fs::File;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::process::{self, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nic::{Arena, Burst, Nic, Pool, TxChecksum};
use ringroad_af_xdp::{Interface, Options, Port, Road};

pub(crate) const NEAR: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);
pub(crate) const FAR: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 2);
/// Nobody's; whoever tests sends and receives by hand here.
pub(crate) const ALIAS: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 3);

pub(crate) const UDP: u8 = 17;
pub(crate) const TCP: u8 = 6;

static COUNT: AtomicU32 = AtomicU32::new(0);

/// The two namespaces; gone with the value.
pub(crate) struct Lab {
    pub(crate) near: String,
    pub(crate) far: String,
    /// Our end's link address, then the kernel's.
    pub(crate) macs: ([u8; 6], [u8; 6]),
}

pub(crate) fn run(command: &str) {
    let status = Command::new("sh").args(["-ec", command]).status().unwrap();
    assert!(status.success(), "{command}: {status} (these tests run as root)");
}

impl Lab {
    pub(crate) fn new(queues: u32) -> Self {
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let id = format!("xdp{}-{n}", process::id());
        let (near, far) = (format!("{id}-n"), format!("{id}-f"));
        let shape = format!("numrxqueues {queues} numtxqueues {queues}");
        run(&format!(
            "ip netns add {near}; ip netns add {far}
             ip -n {near} link add near {shape} type veth peer name far netns {far} {shape}
             for n in {near}:near:{NEAR} {far}:far:{FAR}; do
                 IFS=: read ns dev addr <<E\n$n\nE\n
                 ip netns exec $ns sysctl -qw net.ipv6.conf.all.disable_ipv6=1
                 ip -n $ns addr add $addr/24 dev $dev; ip -n $ns link set lo up; ip -n $ns link set $dev up
             done"
        ));
        let mac = |ns: &str, name: &'static str| within(ns, move || Interface::find(name).unwrap().mac);
        let macs = (mac(&near, "near"), mac(&far, "far"));
        let lab = Self { near, far, macs };
        // Neither side needs to ask.
        let text = |m: [u8; 6]| m.map(|b| format!("{b:02x}")).join(":");
        run(&format!(
            "ip -n {} neigh replace {FAR} lladdr {} dev near
             ip -n {} neigh replace {NEAR} lladdr {} dev far
             ip -n {} neigh replace {ALIAS} lladdr {} dev far",
            lab.near,
            text(lab.macs.1),
            lab.far,
            text(lab.macs.0),
            lab.far,
            text(lab.macs.0)
        ));
        lab
    }

    /// Runs `body` on a thread in our namespace.
    pub(crate) fn near<T: Send>(&self, body: impl FnOnce() -> T + Send) -> T {
        within(&self.near, body)
    }

    /// Runs `body` on a thread in the kernel's namespace.
    pub(crate) fn far<T: Send>(&self, body: impl FnOnce() -> T + Send) -> T {
        within(&self.far, body)
    }

    /// Opens and adopts our end with a pool of `frames`.
    pub(crate) fn open(&self, frames: u32, options: &Options) -> Open {
        let mut pool = Pool::new(Arena::new(frames, 2048).unwrap());
        let port = self.near(|| Port::open(&mut pool, &["near"], options)).unwrap();
        assert_eq!(pool.census().free, frames, "probing gives its frame back");
        Open::adopt(port, pool)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.near]).status();
        let _ = Command::new("ip").args(["netns", "del", &self.far]).status();
    }
}

fn within<T: Send>(namespace: &str, body: impl FnOnce() -> T + Send) -> T {
    let file = File::open(format!("/run/netns/{namespace}")).unwrap();
    thread::scope(|s| {
        let inside = s.spawn(|| {
            // SAFETY: no pointers; it changes this thread alone, which ends with `body`.
            let entered = unsafe { libc::setns(file.as_raw_fd(), libc::CLONE_NEWNET) };
            assert_eq!(entered, 0, "setns: {}", std::io::Error::last_os_error());
            body()
        });
        match inside.join() {
            Ok(value) => value,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// One road and its pool.
pub(crate) struct Open {
    pub(crate) pool: Pool,
    pub(crate) road: Road,
    pub(crate) burst: Burst,
    pub(crate) found: ringroad_af_xdp::TakeOver,
}

impl Open {
    pub(crate) fn adopt(port: Port, mut pool: Pool) -> Self {
        let (mut roads, found) = port.adopt(&mut pool).unwrap();
        Self { pool, road: roads.pop().unwrap(), burst: Burst::with_capacity(512), found }
    }

    /// Sends one frame made of `bytes`.
    pub(crate) fn send(&mut self, bytes: &[u8], checksum: TxChecksum) {
        let mut pkt = self.pool.alloc().expect("a free frame");
        let _ = self.pool.append_with(&mut pkt, bytes.len(), |b| {
            b.copy_from_slice(bytes);
            Ok::<_, ()>(b.len())
        });
        let mut loan = self.pool.give(pkt, 0, checksum);
        while let Err(back) = self.road.nic.tx(&mut self.pool, loan) {
            self.flush();
            loan = back;
        }
    }

    /// Kicks until all is sent and back.
    pub(crate) fn flush(&mut self) {
        let until = deadline();
        loop {
            self.road.nic.kick(&mut self.pool);
            if self.pool.census().given == 0 {
                return;
            }
            assert!(Instant::now() < until, "frames are not sent: {:?}", self.road.nic.counters());
            thread::yield_now();
        }
    }

    /// Receives frames until `enough` says so; each is given to `each` and freed.
    pub(crate) fn receive(&mut self, mut enough: impl FnMut() -> bool, mut each: impl FnMut(&[u8])) {
        let until = deadline();
        loop {
            self.road.nic.rx(&mut self.pool, &mut self.burst, 64);
            for frame in self.burst.drain(..) {
                each(self.pool.bytes(&frame.pkt));
                self.pool.free(frame.pkt);
            }
            if enough() {
                return;
            }
            assert!(Instant::now() < until, "frames do not come: {:?}", self.road.nic.counters());
            thread::yield_now();
        }
    }

    /// The next frame, as bytes.
    pub(crate) fn next(&mut self) -> Vec<u8> {
        let got = std::cell::RefCell::new(Vec::new());
        self.receive(|| !got.borrow().is_empty(), |b| got.borrow_mut().push(b.to_vec()));
        let mut got = got.into_inner();
        assert_eq!(got.len(), 1);
        got.remove(0)
    }

    /// Nothing is lost: every frame is free or with the kernel, to receive into.
    pub(crate) fn assert_whole(&self) {
        let c = self.pool.census();
        assert_eq!((c.free + c.nic, c.owned, c.lent, c.given), (self.pool.frames(), 0, 0, 0), "{c:?}");
        let counters = self.road.nic.counters();
        assert_eq!((counters.bad_entries, counters.tx_rejected), (0, 0));
    }
}

/// A test waits this long for what must happen.
pub(crate) fn deadline() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

pub(crate) fn fold(bytes: &[u8], start: u32) -> u16 {
    let words = bytes.chunks(2).map(|w| u32::from(u16::from_be_bytes([w[0], *w.get(1).unwrap_or(&0)])));
    let mut sum = start + words.sum::<u32>();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// An end of a flow, for frames made by hand.
#[derive(Clone, Copy)]
pub(crate) struct End {
    pub(crate) mac: [u8; 6],
    pub(crate) ip: Ipv4Addr,
    pub(crate) port: u16,
}

pub(crate) fn ethernet(from: End, to: End, kind: u16) -> Vec<u8> {
    let mut f = Vec::new();
    f.extend(to.mac);
    f.extend(from.mac);
    f.extend(kind.to_be_bytes());
    f
}

pub(crate) fn ipv4(from: End, to: End, protocol: u8, fragment: u16, payload: &[u8]) -> Vec<u8> {
    let mut p = vec![0x45, 0];
    p.extend((20 + payload.len() as u16).to_be_bytes());
    p.extend([0, 9]);
    p.extend(fragment.to_be_bytes());
    p.extend([64, protocol, 0, 0]);
    p.extend(from.ip.octets());
    p.extend(to.ip.octets());
    let sum = !fold(&p, 0);
    p[10..12].copy_from_slice(&sum.to_be_bytes());
    p.extend(payload);
    p
}

/// A UDP datagram with its checksum finished, or only begun.
pub(crate) fn udp(from: End, to: End, payload: &[u8], finish: bool) -> Vec<u8> {
    let mut u = Vec::new();
    u.extend(from.port.to_be_bytes());
    u.extend(to.port.to_be_bytes());
    u.extend((8 + payload.len() as u16).to_be_bytes());
    u.extend([0, 0]);
    u.extend(payload);
    let len = u32::from(UDP) + u.len() as u32;
    let addresses = [from.ip.octets(), to.ip.octets()].concat();
    let pseudo = fold(&addresses, len);
    let sum = if finish { !fold(&u, u32::from(pseudo)) } else { pseudo };
    u[6..8].copy_from_slice(&sum.to_be_bytes());
    u
}

/// The whole frame of a UDP datagram.
pub(crate) fn udp_frame(from: End, to: End, payload: &[u8], finish: bool) -> Vec<u8> {
    let mut f = ethernet(from, to, 0x0800);
    f.extend(ipv4(from, to, UDP, 0x4000, &udp(from, to, payload, finish)));
    f
}
