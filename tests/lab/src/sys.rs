//! The system calls that `std` has no words for. The only file of the laboratory that holds `unsafe`.

use std::fs::File;
use std::io;
use std::mem;
use std::net::TcpStream;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

/// Moves the calling thread into the network namespace that `file` stands for.
pub(crate) fn enter(file: &File) -> io::Result<()> {
    // SAFETY: the descriptor is open; setns reads nothing else.
    check(unsafe { libc::setns(file.as_raw_fd(), libc::CLONE_NEWNET) }).map(drop)
}

/// Sends a signal to a process, or with a negative number to a process group.
pub(crate) fn kill(pid: i32, signal: i32) -> io::Result<()> {
    // SAFETY: kill takes plain numbers.
    check(unsafe { libc::kill(pid, signal) }).map(drop)
}

/// Lets the calling thread run before all ordinary ones: what it does is timed, and takes little.
pub(crate) fn hurry() {
    let param = libc::sched_param { sched_priority: 1 };
    // SAFETY: `param` lives through the call; 0 is the calling thread. Where it is refused, times are less exact.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const param) };
}

/// Chooses the congestion control of a connection.
///
/// # Errors
/// The operating system's: ENOENT when there is none of that name.
pub(crate) fn set_congestion(stream: &TcpStream, name: &str) -> io::Result<()> {
    set_option(stream, libc::IPPROTO_TCP, libc::TCP_CONGESTION, name.as_bytes())
}

/// Asks for a send buffer of so many bytes.
///
/// # Errors
/// The operating system's.
pub(crate) fn set_send_buffer(stream: &TcpStream, bytes: i32) -> io::Result<()> {
    set_option(stream, libc::SOL_SOCKET, libc::SO_SNDBUF, &bytes.to_ne_bytes())
}

fn set_option(stream: &TcpStream, level: i32, option: i32, value: &[u8]) -> io::Result<()> {
    let (at, len) = (value.as_ptr().cast(), value.len() as libc::socklen_t);
    // SAFETY: `at` points to `len` bytes that live through the call.
    check(unsafe { libc::setsockopt(stream.as_raw_fd(), level, option, at, len) }).map(drop)
}

/// `struct tcp_info` of a connection, as bytes: as many as are told.
///
/// # Errors
/// The operating system's.
pub(crate) fn tcp_info(stream: &TcpStream) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0_u8; 256];
    let mut len = bytes.len() as libc::socklen_t;
    let (at, lives) = (bytes.as_mut_ptr().cast(), &raw mut len);
    // SAFETY: `at` points to `len` bytes that are ours alone to write, and so is `len`.
    check(unsafe { libc::getsockopt(stream.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_INFO, at, lives) })?;
    bytes.truncate(len as usize);
    Ok(bytes)
}

/// Whether the process runs as root.
pub(crate) fn is_root() -> bool {
    // SAFETY: geteuid has no preconditions.
    unsafe { libc::geteuid() == 0 }
}

/// Whole Ethernet frames of one interface, both ways; does not block.
#[derive(Debug)]
pub struct PacketSocket {
    fd: OwnedFd,
}

impl PacketSocket {
    /// Opens the interface `name` of the calling thread's network namespace.
    pub(crate) fn open(name: &str) -> io::Result<Self> {
        let all = i32::from((libc::ETH_P_ALL as u16).to_be());
        let kind = libc::SOCK_RAW | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        // SAFETY: socket takes plain numbers; the result is checked.
        let fd = check(unsafe { libc::socket(libc::AF_PACKET, kind, all) })?;
        // SAFETY: `fd` was just created and nothing else owns it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let name = std::ffi::CString::new(name)?;
        // SAFETY: the name is NUL-terminated and lives through the call.
        let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
        if index == 0 {
            return Err(io::Error::last_os_error());
        }
        let socket = Self { fd };
        socket.set(libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, 1)?;
        socket.set(libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, 64 << 20)?;
        socket.set(libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, 64 << 20)?;
        // SAFETY: sockaddr_ll is plain numbers, for which all zeroes is a value.
        let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
        address.sll_ifindex = index as i32;
        let (at, len) = ((&raw const address).cast(), mem::size_of_val(&address) as u32);
        // SAFETY: `at` points to `len` bytes of a live sockaddr_ll.
        check(unsafe { libc::bind(socket.fd.as_raw_fd(), at, len) })?;
        Ok(socket)
    }

    fn set(&self, level: i32, option: i32, value: i32) -> io::Result<()> {
        let (at, len) = ((&raw const value).cast(), mem::size_of_val(&value) as u32);
        // SAFETY: `at` points to `len` bytes of a live i32.
        check(unsafe { libc::setsockopt(self.fd.as_raw_fd(), level, option, at, len) }).map(drop)
    }

    /// The next frame, written to the front of `buffer`; `None` when none waits.
    pub fn recv(&self, buffer: &mut [u8]) -> Option<usize> {
        let (at, len) = (buffer.as_mut_ptr().cast(), buffer.len());
        // SAFETY: `at` points to `len` bytes that are ours alone to write.
        let n = unsafe { libc::recv(self.fd.as_raw_fd(), at, len, 0) };
        usize::try_from(n).ok()
    }

    /// Sends a frame.
    ///
    /// # Errors
    /// The operating system's: `ENOBUFS` when the other end is slow, `EMSGSIZE` for a frame over the MTU.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        let (at, len) = (frame.as_ptr().cast(), frame.len());
        // SAFETY: `at` points to `len` bytes that live through the call.
        check(unsafe { libc::send(self.fd.as_raw_fd(), at, len, 0) } as i32).map(drop)
    }
}

/// Waits until one of the two has a frame, at most so long.
pub(crate) fn wait(sockets: [&PacketSocket; 2], at_most: Duration) {
    let mut fds = sockets.map(|s| libc::pollfd { fd: s.fd.as_raw_fd(), events: libc::POLLIN, revents: 0 });
    let time =
        libc::timespec { tv_sec: at_most.as_secs() as i64, tv_nsec: i64::from(at_most.subsec_nanos()) };
    // SAFETY: `fds` and `time` are live, and the number is the length of `fds`; no signal mask is given.
    unsafe { libc::ppoll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, &raw const time, std::ptr::null()) };
}

fn check(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
