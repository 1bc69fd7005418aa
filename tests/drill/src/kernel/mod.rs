//! Linux as a subject: its own TCP at one end of a TUN interface, the drill at the other, in real time.

mod info;
mod sys;

use std::cell::Cell;
use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};
use rustix::io::Errno as Os;
use rustix::net::{self, AddressFamily, Shutdown, SocketFlags, SocketType};
use stack::socket::{How, Kind, OptName, RecvFlags, SendFlags, TcpInfo, Value};
use stack::types::Readiness;

use crate::drill::Family;
use crate::subject::{Answer, Errno, Fd, Knob, State, Subject};

/// What makes two kernels comparable: `net.ipv4` below `/proc/sys`.
const SYSCTLS: &[(&str, &str)] = &[
    // A drill must not remember another.
    ("tcp_no_metrics_save", "1"),
    // Linux's own defaults, which hosts may have changed.
    ("tcp_rmem", "4096 131072 6291456"),
    ("tcp_wmem", "4096 16384 4194304"),
    // One limit for the whole host, as ours, instead of another one for each connection besides.
    ("tcp_invalid_ratelimit", "0"),
    ("conf/all/rp_filter", "0"),
    ("icmp_ratelimit", "0"),
];
/// How long an expected segment may take on a busy machine.
const PATIENCE: Duration = Duration::from_millis(1500);
/// What work that the kernel has put off may take.
const GRACE: Duration = Duration::from_millis(2);

thread_local! {
    static DRILLS: Cell<u16> = const { Cell::new(0) };
}

/// Puts the calling thread into a network namespace of its own, for the drills that it will run.
///
/// # Errors
/// The operating system's: only root may.
pub fn isolate() -> std::io::Result<()> {
    sys::own_network()?;
    // Without it drills are only less exact.
    let _ = sys::run_first();
    Ok(())
}

/// Linux at the other end of a TUN interface.
pub struct OnKernel {
    tun: File,
    capture: sys::Capture,
    family: Family,
    number: u16,
    /// When the drill began, in nanoseconds of the wall clock; moved on when the machine was late, so that what
    /// follows keeps its distance.
    begun: u128,
    /// How far the drill has come.
    nominal: Duration,
    /// What was sent until here is an answer to what was done.
    mark: u128,
    sockets: Vec<Option<OwnedFd>>,
    epoll: OwnedFd,
    woken: Vec<(u64, Readiness)>,
    sent: VecDeque<(u128, Vec<u8>)>,
}

fn wall_clock() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos())
}

impl OnKernel {
    /// A TUN interface in the thread's namespace.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn new(family: Family, knobs: &[Knob]) -> Self {
        let number = DRILLS.get() + 1;
        DRILLS.set(number);
        let name = format!("drill{number}");
        let mut mtu = 1500;
        for &(file, value) in SYSCTLS {
            sysctl(file, value);
        }
        for knob in knobs {
            match *knob {
                Knob::ChallengeAcks(n) => sysctl("tcp_challenge_ack_limit", &n.to_string()),
                Knob::SynRetries(n) => sysctl("tcp_syn_retries", &n.to_string()),
                Knob::SynAckRetries(n) => sysctl("tcp_synack_retries", &n.to_string()),
                Knob::Retries(n) => sysctl("tcp_retries2", &n.to_string()),
                Knob::FinTimeout(s) => sysctl("tcp_fin_timeout", &s.to_string()),
                Knob::FastOpen(n) => sysctl("tcp_fastopen", &n.to_string()),
                Knob::Ecn(n) => sysctl("tcp_ecn", &n.to_string()),
                Knob::SynCookies(n) => sysctl("tcp_syncookies", &n.to_string()),
                Knob::MtuProbing(n) => sysctl("tcp_mtu_probing", &n.to_string()),
                Knob::Mtu(n) => mtu = n,
                Knob::AnyAddress => {}
                Knob::KernelOnly(file, value) => sysctl(file, value),
            }
        }
        // No duplicate address detection, no solicitations: nobody else is on the wire.
        for (file, value) in [("disable_ipv6", "0"), ("accept_dad", "0"), ("router_solicitations", "0")] {
            let _ = fs::write(format!("/proc/sys/net/ipv6/conf/default/{file}"), value);
        }
        let tun = sys::open_tun(&name).unwrap_or_else(|e| panic!("a TUN interface: {e}"));
        sys::bring_up(&name, mtu).unwrap_or_else(|e| panic!("{name} up: {e}"));
        sys::add_address(&name, family.local()).unwrap_or_else(|e| panic!("an address for {name}: {e}"));
        await_address(family.local());
        let capture = sys::index(&name).and_then(sys::Capture::open);
        let now = wall_clock();
        Self {
            tun,
            capture: capture.unwrap_or_else(|e| panic!("{name}, seen: {e}")),
            family,
            number,
            begun: now,
            nominal: Duration::ZERO,
            mark: now,
            sockets: vec![],
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC).expect("an epoll"),
            woken: vec![],
            sent: VecDeque::new(),
        }
    }

    /// Which drill of its namespace this is.
    #[must_use]
    pub fn number(&self) -> u16 {
        self.number
    }

    fn fd(&self, fd: Fd) -> Answer<&OwnedFd> {
        self.sockets.get(fd).and_then(Option::as_ref).ok_or(Errno(libc::EBADF))
    }

    fn add(&mut self, socket: OwnedFd) -> Fd {
        let number = self.sockets.len();
        let all = epoll::EventFlags::IN
            | epoll::EventFlags::OUT
            | epoll::EventFlags::RDHUP
            | epoll::EventFlags::PRI
            | epoll::EventFlags::ET;
        let data = epoll::EventData::new_u64(number as u64);
        epoll::add(&self.epoll, &socket, data, all).expect("a socket to wait for");
        self.sockets.push(Some(socket));
        number
    }

    /// Something was done, and took as long as it took.
    fn done(&mut self) {
        self.mark = self.mark.max(wall_clock());
        self.catch_up(self.mark);
    }

    /// It is `now` already: if the drill is not that far, what follows comes later by as much.
    fn catch_up(&mut self, now: u128) {
        let due = self.begun + self.nominal.as_nanos();
        self.begun += now.saturating_sub(due);
    }

    /// Takes what was sent, and empties the wire.
    fn collect(&mut self) {
        let mut bytes = [0u8; 4096];
        while self.tun.read(&mut bytes).is_ok_and(|n| n > 0) {}
        while let Some(sent) = self.capture.next() {
            self.sent.push_back(sent);
        }
    }

    /// Waits until something is sent, so long at the most.
    fn wait(&mut self, at_most: Duration) {
        if let Ok(time) = Timespec::try_from(at_most) {
            let mut fds = [PollFd::new(&self.capture, PollFlags::IN)];
            let _ = poll(&mut fds, Some(&time));
        }
        self.collect();
    }

    fn sleep_until(&mut self, wall: u128) {
        loop {
            let left = wall.saturating_sub(wall_clock());
            if left == 0 {
                return;
            }
            let left = Duration::from_nanos(left as u64);
            // The wire has a short queue: somebody has to empty it.
            std::thread::sleep(left.min(Duration::from_millis(100)));
            self.collect();
        }
    }

    fn bytes(name: OptName, value: Value) -> Vec<u8> {
        let ints = |ints: &[i32]| ints.iter().flat_map(|i| i.to_ne_bytes()).collect();
        match value {
            Value::Int(value) => ints(&[value]),
            Value::Linger(linger) => ints(&[linger.is_some().into(), linger.unwrap_or(0) as i32]),
            Value::Name(name) => name.iter().copied().take_while(|&b| b != 0).collect(),
            other => panic!("{name:?} cannot be set to {other:?}"),
        }
    }
}

/// A new IPv6 address can be used after a moment only.
fn await_address(address: IpAddr) {
    let begun = std::time::Instant::now();
    while UdpSocket::bind((address, 0)).is_err() {
        assert!(begun.elapsed() < Duration::from_secs(5), "{address} does not become usable");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn sysctl(file: &str, value: &str) {
    let path = format!("/proc/sys/net/ipv4/{file}");
    fs::write(&path, value).unwrap_or_else(|e| panic!("{path}: {e}"));
}

fn answer<T>(result: Result<T, Os>) -> Answer<T> {
    result.map_err(|e| Errno(e.raw_os_error()))
}

fn of_io<T>(result: std::io::Result<T>) -> Answer<T> {
    result.map_err(|e| Errno(e.raw_os_error().unwrap_or(0)))
}

impl Subject for OnKernel {
    fn elapsed(&self) -> Duration {
        let real = wall_clock().saturating_sub(self.begun);
        self.nominal.max(Duration::from_nanos(real as u64))
    }

    fn run_to(&mut self, at: Duration) {
        self.nominal = self.nominal.max(at);
        self.mark = self.mark.max(self.begun + self.nominal.as_nanos());
        self.sleep_until(self.mark);
    }

    fn inject(&mut self, packet: &[u8]) {
        let wrote = self.tun.write(packet);
        assert!(wrote.as_ref().is_ok_and(|&n| n == packet.len()), "a packet to the TUN interface: {wrote:?}");
        self.done();
    }

    fn next_sent(&mut self) -> Option<Vec<u8>> {
        let end = wall_clock().max(self.mark) + PATIENCE.as_nanos();
        self.collect();
        while self.sent.is_empty() {
            let left = end.saturating_sub(wall_clock());
            if left == 0 {
                return None;
            }
            self.wait(Duration::from_nanos(left as u64));
        }
        let (at, packet) = self.sent.pop_front()?;
        self.mark = self.mark.max(at);
        self.catch_up(at);
        Some(packet)
    }

    fn sent_by_now(&mut self) -> Option<Vec<u8>> {
        self.collect();
        if self.sent.is_empty() {
            self.wait(GRACE);
        }
        let (at, _) = self.sent.front()?;
        if *at > self.mark {
            return None;
        }
        self.sent.pop_front().map(|(_, packet)| packet)
    }

    fn socket(&mut self) -> Answer<Fd> {
        let family = if self.family == Family::V4 { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = answer(net::socket_with(family, SocketType::STREAM, flags, None))?;
        // The congestion control that is our default; a host may have set another, and refuse the sysctl.
        of_io(sys::set_option(socket.as_fd(), libc::IPPROTO_TCP, libc::TCP_CONGESTION, b"cubic"))?;
        Ok(self.add(socket))
    }

    fn bind(&mut self, fd: Fd, local: SocketAddr) -> Answer<()> {
        answer(net::bind(self.fd(fd)?, &local))
    }

    fn listen(&mut self, fd: Fd, backlog: u32) -> Answer<()> {
        answer(net::listen(self.fd(fd)?, backlog as i32))
    }

    fn connect(&mut self, fd: Fd, remote: SocketAddr) -> Answer<()> {
        let result = answer(net::connect(self.fd(fd)?, &remote));
        self.done();
        result
    }

    fn send_opening(&mut self, fd: Fd, remote: SocketAddr, bytes: &[u8]) -> Answer<usize> {
        let words = net::SendFlags::NOSIGNAL | net::SendFlags::from_bits_retain(libc::MSG_FASTOPEN as u32);
        let result = answer(net::sendto(self.fd(fd)?, bytes, words, &remote));
        self.done();
        result
    }

    fn accept(&mut self, fd: Fd) -> Answer<Fd> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let accepted = answer(net::accept_with(self.fd(fd)?, flags))?;
        Ok(self.add(accepted))
    }

    fn send(&mut self, fd: Fd, bytes: &[u8], flags: SendFlags) -> Answer<usize> {
        let mut words = net::SendFlags::NOSIGNAL;
        words.set(net::SendFlags::MORE, flags.more);
        words.set(net::SendFlags::OOB, flags.oob);
        let result = answer(net::send(self.fd(fd)?, bytes, words));
        self.done();
        result
    }

    fn recv(&mut self, fd: Fd, want: usize, flags: RecvFlags) -> Answer<Vec<u8>> {
        let mut words = net::RecvFlags::empty();
        words.set(net::RecvFlags::PEEK, flags.peek);
        words.set(net::RecvFlags::TRUNC, flags.trunc);
        words.set(net::RecvFlags::OOB, flags.oob);
        let mut bytes = vec![0; want];
        let result = answer(net::recv(self.fd(fd)?, &mut bytes[..], words));
        self.done();
        let (n, _) = result?;
        bytes.truncate(if flags.trunc { 0 } else { n });
        Ok(bytes)
    }

    fn shutdown(&mut self, fd: Fd, how: How) -> Answer<()> {
        let how = match how {
            How::Read => Shutdown::Read,
            How::Write => Shutdown::Write,
            How::Both => Shutdown::Both,
        };
        let result = answer(net::shutdown(self.fd(fd)?, how));
        self.done();
        result
    }

    fn close(&mut self, fd: Fd) {
        if let Some(socket) = self.sockets.get_mut(fd) {
            *socket = None;
        }
        self.done();
    }

    fn set(&mut self, fd: Fd, name: OptName, value: Value) -> Answer<()> {
        let (level, number) = name.raw();
        let result = of_io(sys::set_option(self.fd(fd)?.as_fd(), level, number, &Self::bytes(name, value)));
        self.done();
        result
    }

    fn get(&mut self, fd: Fd, name: OptName) -> Answer<Value> {
        let (level, number) = name.raw();
        let bytes = of_io(sys::option(self.fd(fd)?.as_fd(), level, number))?;
        if name.kind() == Kind::Name {
            return Ok(Value::Name(std::array::from_fn(|i| bytes.get(i).copied().unwrap_or(0))));
        }
        let int = bytes.first_chunk().map(|b| i32::from_ne_bytes(*b));
        Ok(Value::Int(int.unwrap_or_else(|| panic!("{name:?} is no integer: {bytes:?}"))))
    }

    fn info(&mut self, fd: Fd) -> TcpInfo {
        let socket = self.fd(fd).expect("an open socket");
        let bytes = sys::option(socket.as_fd(), libc::IPPROTO_TCP, libc::TCP_INFO);
        info::read(&bytes.expect("TCP_INFO"))
    }

    fn readiness(&mut self, fd: Fd) -> Readiness {
        let Ok(socket) = self.fd(fd) else { return Readiness::NONE };
        let asked = PollFlags::IN | PollFlags::OUT | PollFlags::RDHUP | PollFlags::PRI;
        let mut fds = [PollFd::new(socket, asked)];
        let _ = poll(&mut fds, Some(&Timespec::default()));
        let got = fds[0].revents();
        readiness(u32::from(got.bits()))
    }

    fn wakes(&mut self, fd: Fd) -> Readiness {
        let mut events: Vec<epoll::Event> = Vec::with_capacity(64);
        let _ =
            epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&Timespec::default()));
        self.woken.extend(events.iter().map(|e| {
            let flags = e.flags;
            (e.data.u64(), readiness(flags.bits()))
        }));
        let last = self.woken.iter().rev().find(|(woken, _)| *woken == fd as u64).map(|(_, ready)| *ready);
        self.woken.retain(|(woken, _)| *woken != fd as u64);
        last.unwrap_or(Readiness::NONE)
    }

    fn state(&mut self, local: SocketAddr, remote: SocketAddr) -> State {
        let file = if local.is_ipv4() { "tcp" } else { "tcp6" };
        let table = fs::read_to_string(format!("/proc/thread-self/net/{file}")).unwrap_or_default();
        let (local, remote) = (proc_address(local), proc_address(remote));
        let line = table
            .lines()
            .map(|l| l.split_whitespace().collect::<Vec<_>>())
            .find(|words| words.get(1) == Some(&local.as_str()) && words.get(2) == Some(&remote.as_str()));
        match line.and_then(|words| u8::from_str_radix(words.get(3)?, 16).ok()) {
            Some(1) => State::Established,
            Some(2) => State::SynSent,
            Some(3) => State::SynReceived,
            Some(4) => State::FinWait1,
            Some(5) => State::FinWait2,
            Some(6) => State::TimeWait,
            Some(8) => State::CloseWait,
            Some(9) => State::LastAck,
            Some(11) => State::Closing,
            _ => State::Closed,
        }
    }
}

/// As `/proc/net/tcp` writes it: words of four octets in the host's order.
fn proc_address(address: SocketAddr) -> String {
    let octets = match address.ip() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let words = octets.chunks_exact(4).map(|w| u32::from_ne_bytes([w[0], w[1], w[2], w[3]]));
    let ip: String = words.map(|w| format!("{w:08X}")).collect();
    format!("{ip}:{:04X}", address.port())
}

fn readiness(bits: u32) -> Readiness {
    let table = [
        (libc::POLLIN, Readiness::IN),
        (libc::POLLOUT, Readiness::OUT),
        (libc::POLLERR, Readiness::ERR),
        (libc::POLLHUP, Readiness::HUP),
        (libc::POLLRDHUP, Readiness::RDHUP),
        (libc::POLLPRI, Readiness::PRI),
    ];
    let set = table.iter().filter(|(bit, _)| bits & *bit as u32 != 0);
    set.fold(Readiness::NONE, |all, (_, ready)| all | *ready)
}
