//! Two network namespaces and a veth between them, or this machine's NICs if it names some: `near` is ours, `far` is the
//! kernel's.

use std::fs::File;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, RawFd};
use std::process::{self, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nic::{Arena, Burst, Nic, Pool, TxChecksum, TxPkt};
use ringroad_af_xdp::{
    BindMode, Interface, Limits, Options, Port, PortParts, Road, SetupError, Steering, SteeringFds, XskNic,
};

pub(crate) const NEAR: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);
pub(crate) const FAR: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 2);

pub(crate) const UDP: u8 = 17;
pub(crate) const TCP: u8 = 6;

static COUNT: AtomicU32 = AtomicU32::new(0);

/// The two namespaces; gone with the value.
pub(crate) struct Lab {
    pub(crate) near: String,
    pub(crate) far: String,
    /// Our end's link address, then the kernel's.
    pub(crate) macs: ([u8; 6], [u8; 6]),
    nics: Option<lab::Nics>,
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
        run(&format!("ip netns add {near}; ip netns add {far}"));
        let nics = lab::Nics::lend([(&near, "near"), (&far, "far")]);
        let shape = format!("numrxqueues {queues} numtxqueues {queues}");
        run(&match nics {
            None => format!("ip -n {near} link add near {shape} type veth peer name far netns {far} {shape}"),
            // All that they have.
            Some(_) => String::new(),
        });
        run(&format!(
            "for n in {near}:near:{NEAR} {far}:far:{FAR}; do
                 IFS=: read ns dev addr <<E\n$n\nE\n
                 ip netns exec $ns sysctl -qw net.ipv6.conf.all.disable_ipv6=1
                 ip -n $ns addr add $addr/24 dev $dev; ip -n $ns link set lo up; ip -n $ns link set $dev up
             done"
        ));
        let mac = |ns: &str, name: &'static str| within(ns, move || Interface::find(name).unwrap().mac);
        let macs = (mac(&near, "near"), mac(&far, "far"));
        let lab = Self { near, far, macs, nics };
        // Neither side needs to ask.
        let text = |m: [u8; 6]| m.map(|b| format!("{b:02x}")).join(":");
        run(&format!(
            "ip -n {} neigh replace {FAR} lladdr {} dev near
             ip -n {} neigh replace {NEAR} lladdr {} dev far",
            lab.near,
            text(lab.macs.1),
            lab.far,
            text(lab.macs.0)
        ));
        lab
    }

    /// How a port binds here when nobody wishes otherwise.
    pub(crate) fn bind_mode(&self) -> BindMode {
        if self.nics.is_some() { BindMode::ZeroCopy } else { BindMode::Copy }
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
        self.try_open(frames, options).unwrap()
    }

    /// As [`Lab::open`], for attempts that fail.
    pub(crate) fn try_open(&self, frames: u32, options: &Options) -> Result<Open, SetupError> {
        self.near(|| Open::new("near", frames, options))
    }

    /// Opens our end for somebody who may steer no more than `limits` says.
    pub(crate) fn open_within(&self, frames: u32, limits: &Limits) -> Open {
        self.near(|| {
            let mut pool = Pool::new(Arena::new(frames, 2048).unwrap());
            Open::adopt(Port::open_within(&mut pool, &["near"], &Options::default(), limits).unwrap(), pool)
        })
    }

    /// Opens the other end.
    pub(crate) fn open_far(&self, frames: u32, options: &Options) -> Open {
        self.far(|| Open::new("far", frames, options)).unwrap()
    }

    /// Our end and the kernel's, with these ports.
    pub(crate) fn ends(&self, near: u16, far: u16) -> (End, End) {
        (End { mac: self.macs.0, ip: NEAR, port: near }, End { mac: self.macs.1, ip: FAR, port: far })
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        drop(self.nics.take());
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

/// A road with a steering program.
#[derive(Debug)]
pub(crate) struct Steered {
    pub(crate) nic: XskNic,
    pub(crate) steering: Steering,
}

/// One road and its pool.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) pool: Pool,
    pub(crate) road: Steered,
    pub(crate) burst: Burst,
    pub(crate) found: ringroad_af_xdp::TakeOver,
}

impl Open {
    fn new(interface: &str, frames: u32, options: &Options) -> Result<Self, SetupError> {
        let mut pool = Pool::new(Arena::new(frames, 2048).unwrap());
        let port = Port::open(&mut pool, &[interface], options)?;
        assert_eq!(pool.census().nic, frames, "the port has them all, the one that was tried with too");
        Ok(Self::adopt(port, pool))
    }

    pub(crate) fn adopt(port: Port, pool: Pool) -> Self {
        Self::adopt_slot(port, 0, pool)
    }

    pub(crate) fn adopt_slot(port: Port, slot: ringroad_af_xdp::Slot, mut pool: Pool) -> Self {
        let (mut roads, found) = port.adopt(slot, &mut pool, &|_| false).unwrap();
        let Road { nic, steering } = roads.pop().unwrap();
        let road = Steered { nic, steering: steering.unwrap() };
        Self { pool, road, burst: Burst::with_capacity(512), found }
    }

    /// A frame made of `bytes`, to be sent.
    pub(crate) fn loan(&mut self, bytes: &[u8]) -> TxPkt {
        let mut pkt = self.pool.alloc().expect("a free frame");
        let _ = self.pool.append_with(&mut pkt, bytes.len(), |b| {
            b.copy_from_slice(bytes);
            Ok::<_, ()>(b.len())
        });
        self.pool.give(pkt, 0, TxChecksum::Complete)
    }

    /// Queues one frame made of `bytes`.
    pub(crate) fn send(&mut self, bytes: &[u8], checksum: TxChecksum) {
        let mut loan = self.loan(bytes);
        loan.checksum = checksum;
        assert!(self.road.nic.tx(&mut self.pool, loan).is_ok());
    }

    /// Kicks until all is sent and back.
    pub(crate) fn flush(&mut self) {
        within_deadline("frames sent", || {
            self.road.nic.kick(&mut self.pool);
            self.pool.census().given == 0
        });
    }

    /// Gives every frame that waits to `each` and frees it.
    pub(crate) fn drain(&mut self, mut each: impl FnMut(&[u8])) {
        while self.road.nic.rx(&mut self.pool, &mut self.burst, 64) > 0 {
            for frame in self.burst.drain(..) {
                each(self.pool.bytes(&frame.pkt));
                self.pool.free(frame.pkt);
            }
        }
    }

    /// The next frame, as bytes.
    pub(crate) fn next(&mut self) -> Vec<u8> {
        within_deadline("a frame", || self.road.nic.rx(&mut self.pool, &mut self.burst, 1) == 1);
        let frame = self.burst.pop().unwrap();
        let bytes = self.pool.bytes(&frame.pkt).to_vec();
        self.pool.free(frame.pkt);
        bytes
    }

    /// Nothing is lost: every frame is free, in the depot, or with the kernel to receive into.
    pub(crate) fn assert_whole(&self) {
        let c = self.pool.census();
        assert_eq!((c.free + c.nic, c.owned, c.lent, c.given), (self.pool.frames(), 0, 0, 0), "{c:?}");
        let all = self.road.nic.frames();
        assert_eq!((all.stacks, all.sending), (c.free, 0), "{all:?}");
        assert_eq!(all.depot + all.stacks + all.receiving, self.pool.frames(), "{all:?}");
        let counters = self.road.nic.counters();
        assert_eq!((counters.bad_entries, counters.tx_rejected), (0, 0));
    }
}

/// Runs `step` until it says true; what must happen happens within a minute, also where others have the processors.
pub(crate) fn within_deadline(what: &str, mut step: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(60);
    while !step() {
        assert!(Instant::now() < until, "{what}: waited in vain");
        thread::yield_now();
    }
}

/// Whether poll(2) says that `fd` can be read.
pub(crate) fn readable(fd: RawFd) -> bool {
    let mut poll = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    // SAFETY: one live `pollfd`.
    let n = unsafe { libc::poll(&mut poll, 1, 0) };
    n == 1 && poll.revents & libc::POLLIN != 0
}

/// Has the kernel cut what the socket sends into datagrams of `size` (UDP_SEGMENT), as late as it can.
pub(crate) fn segment_udp(socket: &UdpSocket, size: libc::c_int) {
    let (fd, len) = (socket.as_raw_fd(), size_of::<libc::c_int>() as libc::socklen_t);
    // SAFETY: `size` is a live int of `len` bytes.
    let set =
        unsafe { libc::setsockopt(fd, libc::SOL_UDP, libc::UDP_SEGMENT, (&raw const size).cast(), len) };
    assert_eq!(set, 0);
}

/// A packet socket that hears all there is on this thread's host; `recv` is all that a `UdpSocket` adds to it.
pub(crate) fn hear_all() -> UdpSocket {
    let all = (libc::ETH_P_ALL as u16).to_be();
    // SAFETY: no pointers.
    let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, all.into()) };
    assert!(fd >= 0, "{}", std::io::Error::last_os_error());
    // SAFETY: the kernel has just made it, and nothing else knows of it.
    let socket = unsafe { UdpSocket::from_raw_fd(fd) };
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    socket
}

/// A copy of a packet socket.
pub(crate) fn borrowed_socket(fd: RawFd) -> UdpSocket {
    // SAFETY: the caller's port keeps it open.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    fd.try_clone_to_owned().unwrap().into()
}

/// Binds a packet socket to all protocols on all interfaces.
pub(crate) fn bind_to_all(socket: &UdpSocket) {
    // SAFETY: integers only.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
    let len = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: a live `sockaddr_ll` of `len` bytes.
    let bound = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), len) };
    assert_eq!(bound, 0);
}

/// Tries to take a socket's filter away.
pub(crate) fn detach_filter(fd: RawFd) -> Option<i32> {
    let none = 0 as libc::c_int;
    let len = size_of::<libc::c_int>() as libc::socklen_t;
    let (level, name) = (libc::SOL_SOCKET, libc::SO_DETACH_FILTER);
    // SAFETY: a live int of `len` bytes.
    let done = unsafe { libc::setsockopt(fd, level, name, (&raw const none).cast(), len) };
    if done == 0 { None } else { std::io::Error::last_os_error().raw_os_error() }
}

/// What is left to do to the checksum of a UDP datagram that is sent as it came: a kernel that sends it finishes it, or
/// leaves the pseudo-header's sum, which reads the same both ways.
pub(crate) fn left_of(f: &[u8]) -> TxChecksum {
    let begun = fold(&f[26..34], f.len() as u32 - 34 + u32::from(UDP));
    match f[40..42] == begun.to_be_bytes() {
        true => TxChecksum::Partial { start: 34, offset: 6 },
        false => TxChecksum::Complete,
    }
}

/// Exchanges the ends of a frame; its checksums stay right.
pub(crate) fn turn_round(f: &mut [u8]) {
    let (a, b) = f.split_at_mut(6);
    a.swap_with_slice(&mut b[..6]);
    let (a, b) = f[26..34].split_at_mut(4);
    a.swap_with_slice(b);
    f.swap(34, 36);
    f.swap(35, 37);
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

/// The checksum of an L4 payload that goes from one end to the other.
pub(crate) fn finish(from: End, to: End, protocol: u8, l4: &[u8]) -> u16 {
    !fold(l4, u32::from(pseudo(from, to, protocol, l4.len())))
}

fn pseudo(from: End, to: End, protocol: u8, len: usize) -> u16 {
    fold(&[from.ip.octets(), to.ip.octets()].concat(), u32::from(protocol) + len as u32)
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
pub(crate) fn udp(from: End, to: End, payload: &[u8], finished: bool) -> Vec<u8> {
    let mut u = Vec::new();
    u.extend(from.port.to_be_bytes());
    u.extend(to.port.to_be_bytes());
    u.extend((8 + payload.len() as u16).to_be_bytes());
    u.extend([0, 0]);
    u.extend(payload);
    let sum = if finished { finish(from, to, UDP, &u) } else { pseudo(from, to, UDP, u.len()) };
    u[6..8].copy_from_slice(&sum.to_be_bytes());
    u
}

/// The whole frame of a UDP datagram.
pub(crate) fn udp_frame(from: End, to: End, payload: &[u8], finished: bool) -> Vec<u8> {
    let mut f = ethernet(from, to, 0x0800);
    f.extend(ipv4(from, to, UDP, 0x4000, &udp(from, to, payload, finished)));
    f
}

/// Ends this process when the thread that started it ends.
pub(crate) fn die_with_parent() {
    // SAFETY: no pointers.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
}

/// Gives every privilege up for good.
pub(crate) fn become_nobody() {
    // SAFETY: an empty list.
    assert_eq!(unsafe { libc::setgroups(0, std::ptr::null()) }, 0);
    // SAFETY: no pointers.
    assert_eq!(unsafe { libc::setgid(65534) }, 0);
    // SAFETY: no pointers.
    assert_eq!(unsafe { libc::setuid(65534) }, 0);
}

/// Lets descriptors opened from now on have numbers below `limit` only, as programs do that know their need.
pub(crate) fn lower_descriptor_limit(limit: u64) {
    let limit = libc::rlimit { rlim_cur: limit, rlim_max: limit };
    // SAFETY: a valid limit.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }, 0);
}

/// A copy of `fd`, numbered from `min` on, that exec leaves open.
pub(crate) fn keep_open(fd: BorrowedFd<'_>, min: RawFd) -> RawFd {
    // SAFETY: no pointers; `fd` is open.
    let copy = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD, min) };
    assert!(copy >= min);
    copy
}

/// The file that was left open under the number `fd`.
pub(crate) fn inherited_file(fd: RawFd) -> File {
    // SAFETY: whoever started this process left the descriptor open for it and nobody else here uses it.
    unsafe { File::from_raw_fd(fd) }
}

/// Closes what [`Port::inheritable`] left open.
pub(crate) fn close_all(parts: &PortParts) {
    let mut fds = vec![parts.ledger];
    for part in &parts.interfaces {
        fds.extend(part.steering.iter().flat_map(SteeringFds::all));
        fds.extend(part.packet);
        fds.extend(part.sockets.iter().map(|x| x.fd));
    }
    fds.into_iter().for_each(|fd| drop(inherited_file(fd)));
}
