//! The system calls that neither `std` nor `rustix` has words for. The only file of the crate with `unsafe`.

use std::fs::{File, OpenOptions};
use std::io;
use std::mem::{size_of, zeroed};
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

fn check(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Moves the calling thread into a network namespace of its own, which goes with its last user.
pub(super) fn own_network() -> io::Result<()> {
    // SAFETY: unshare takes a plain number and changes only the calling thread's namespace.
    check(unsafe { libc::unshare(libc::CLONE_NEWNET) }).map(drop)
}

/// The calling thread runs before others from here on, so that a busy machine does not delay it.
pub(super) fn run_first() -> io::Result<()> {
    let param = libc::sched_param { sched_priority: 1 };
    // SAFETY: `param` lives through the call; 0 is the calling thread.
    check(unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const param) }).map(drop)
}

fn request(name: &str) -> libc::ifreq {
    // SAFETY: ifreq is plain numbers, for which all zeroes is a value.
    let mut request: libc::ifreq = unsafe { zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    request
}

fn ioctl<T>(fd: BorrowedFd<'_>, number: libc::c_ulong, request: &mut T) -> io::Result<()> {
    // SAFETY: every request below is given the structure that its number takes, alive and ours alone.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), number as _, std::ptr::from_mut(request)) }).map(drop)
}

/// A new TUN interface: whoever holds the file is the other end of its wire.
pub(super) fn open_tun(name: &str) -> io::Result<File> {
    let flags = libc::O_NONBLOCK | libc::O_CLOEXEC;
    let file = OpenOptions::new().read(true).write(true).custom_flags(flags).open("/dev/net/tun")?;
    let mut request = request(name);
    request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as i16;
    ioctl(file.as_fd(), libc::TUNSETIFF as libc::c_ulong, &mut request)?;
    Ok(file)
}

/// The index of an interface of the thread's namespace.
pub(super) fn index(name: &str) -> io::Result<i32> {
    let name = std::ffi::CString::new(name)?;
    // SAFETY: the name is NUL-terminated and lives through the call.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => Err(io::Error::last_os_error()),
        index => Ok(index as i32),
    }
}

/// Sets the MTU and brings the interface up.
pub(super) fn bring_up(name: &str, mtu: u16) -> io::Result<()> {
    let fd = open(libc::AF_INET, libc::SOCK_DGRAM, 0)?;
    let mut about = request(name);
    about.ifr_ifru.ifru_mtu = mtu.into();
    ioctl(fd.as_fd(), libc::SIOCSIFMTU, &mut about)?;
    let mut about = request(name);
    about.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as i16;
    ioctl(fd.as_fd(), libc::SIOCSIFFLAGS, &mut about)
}

#[repr(C)]
struct In6Ifreq {
    address: [u8; 16],
    prefix: u32,
    index: i32,
}

/// Gives the interface an address: /24 or /64.
pub(super) fn add_address(name: &str, address: IpAddr) -> io::Result<()> {
    match address {
        IpAddr::V4(address) => {
            let fd = open(libc::AF_INET, libc::SOCK_DGRAM, 0)?;
            for (number, octets) in
                [(libc::SIOCSIFADDR, address.octets()), (libc::SIOCSIFNETMASK, [255, 255, 255, 0])]
            {
                let mut about = request(name);
                let mut data = [0 as libc::c_char; 14];
                for (to, from) in data[2..6].iter_mut().zip(octets) {
                    *to = from as libc::c_char;
                }
                about.ifr_ifru.ifru_addr = libc::sockaddr { sa_family: libc::AF_INET as u16, sa_data: data };
                ioctl(fd.as_fd(), number, &mut about)?;
            }
            Ok(())
        }
        IpAddr::V6(address) => {
            let fd = open(libc::AF_INET6, libc::SOCK_DGRAM, 0)?;
            let mut about = In6Ifreq { address: address.octets(), prefix: 64, index: index(name)? };
            ioctl(fd.as_fd(), libc::SIOCSIFADDR, &mut about)
        }
    }
}

fn open(family: i32, kind: i32, protocol: i32) -> io::Result<OwnedFd> {
    // SAFETY: socket takes plain numbers; the result is checked.
    let fd = check(unsafe { libc::socket(family, kind | libc::SOCK_CLOEXEC, protocol) })?;
    // SAFETY: `fd` was just created and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Sees what an interface sends, and when it was sent, however late one looks.
#[derive(Debug)]
pub(super) struct Capture(OwnedFd);

impl Capture {
    pub(super) fn open(index: i32) -> io::Result<Self> {
        let all = (libc::ETH_P_ALL as u16).to_be();
        let fd = open(libc::AF_PACKET, libc::SOCK_DGRAM | libc::SOCK_NONBLOCK, all.into())?;
        // SAFETY: sockaddr_ll is plain numbers, for which all zeroes is a value.
        let mut address: libc::sockaddr_ll = unsafe { zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = all;
        address.sll_ifindex = index;
        let (at, len) = ((&raw const address).cast(), size_of::<libc::sockaddr_ll>() as u32);
        // SAFETY: `at` points to `len` bytes of a live sockaddr_ll.
        check(unsafe { libc::bind(fd.as_raw_fd(), at, len) })?;
        let capture = Self(fd);
        // Asking for a stamp once turns stamps on.
        let _ = capture.stamp();
        Ok(capture)
    }

    fn stamp(&self) -> io::Result<libc::timespec> {
        const SIOCGSTAMPNS: libc::c_ulong = 0x8907;
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        ioctl(self.0.as_fd(), SIOCGSTAMPNS, &mut time)?;
        Ok(time)
    }

    /// The next packet that the interface sent, and when, in nanoseconds of the wall clock.
    pub(super) fn next(&self) -> Option<(u128, Vec<u8>)> {
        loop {
            let mut bytes = vec![0u8; 65_536];
            // SAFETY: sockaddr_ll is plain numbers, for which all zeroes is a value.
            let mut from: libc::sockaddr_ll = unsafe { zeroed() };
            let mut len = size_of::<libc::sockaddr_ll>() as u32;
            let (at, room) = (bytes.as_mut_ptr().cast(), bytes.len());
            let (who, who_len) = ((&raw mut from).cast(), &raw mut len);
            // SAFETY: `at` points to `room` bytes and `who` to `len` bytes that are ours alone to write.
            let n = unsafe { libc::recvfrom(self.0.as_raw_fd(), at, room, 0, who, who_len) };
            bytes.truncate(usize::try_from(n).ok()?);
            let time = self.stamp().ok()?;
            if from.sll_pkttype == 4 {
                return Some((time.tv_sec as u128 * 1_000_000_000 + time.tv_nsec as u128, bytes));
            }
        }
    }
}

impl AsFd for Capture {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// setsockopt(2).
pub(super) fn set_option(fd: BorrowedFd<'_>, level: i32, number: i32, value: &[u8]) -> io::Result<()> {
    let (at, len) = (value.as_ptr().cast(), value.len() as u32);
    // SAFETY: `at` points to `len` bytes that live through the call.
    check(unsafe { libc::setsockopt(fd.as_raw_fd(), level, number, at, len) }).map(drop)
}

/// getsockopt(2).
pub(super) fn option(fd: BorrowedFd<'_>, level: i32, number: i32) -> io::Result<Vec<u8>> {
    let mut value = vec![0u8; 512];
    let mut len = value.len() as u32;
    let (at, room) = (value.as_mut_ptr().cast(), &raw mut len);
    // SAFETY: `at` points to `len` bytes that are ours alone to write.
    check(unsafe { libc::getsockopt(fd.as_raw_fd(), level, number, at, room) })?;
    value.truncate(len as usize);
    Ok(value)
}
