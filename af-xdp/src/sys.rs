//! The system calls of AF_XDP sockets and descriptors, each wrapped once. What a turn of a stack calls goes past the C library:
//! its functions of these names are cancellation points, and would end a thread of the application's while it has the lock.

mod bpf;

use std::ffi::{CStr, CString};
use std::io::{self, IoSlice};
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use libc::{c_int, c_void, socklen_t};
use nic::Arena;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, recv, send, sendmsg};

pub(crate) use bpf::{BpfMap, CPUS_MAX, link_tcx, link_xdp, program_of_link};

/// `XDP_MAX_TX_SKB_BUDGET` (Linux 6.17): how many frames one `sendto` may move in copy mode.
pub(crate) const XDP_MAX_TX_SKB_BUDGET: c_int = 9;

/// A descriptor for the length of a call.
fn borrow<'a>(fd: RawFd) -> BorrowedFd<'a> {
    // SAFETY: its owner has it open as long as the sockets and devices that are called by it.
    unsafe { BorrowedFd::borrow_raw(fd) }
}

fn check(result: c_int) -> io::Result<c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn own(fd: c_int) -> io::Result<OwnedFd> {
    let fd = check(fd)?;
    // SAFETY: the kernel has just made this descriptor for us, and nothing else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A socket of the given kind, close-on-exec.
pub(crate) fn socket(domain: c_int, kind: c_int, protocol: c_int) -> io::Result<OwnedFd> {
    // SAFETY: no pointers; the result is checked.
    own(unsafe { libc::socket(domain, kind | libc::SOCK_CLOEXEC, protocol) })
}

/// Sets an option of level `SOL_XDP`.
pub(crate) fn set_xdp_option<T: Copy>(fd: RawFd, name: c_int, value: &T) -> io::Result<()> {
    set_option(fd, libc::SOL_XDP, name, value)
}

/// Sets a socket option.
pub(crate) fn set_option<T: Copy>(fd: RawFd, level: c_int, name: c_int, value: &T) -> io::Result<()> {
    let len = size_of::<T>() as socklen_t;
    // SAFETY: `value` is a live object of `len` bytes, which the kernel only reads.
    check(unsafe { libc::setsockopt(fd, level, name, ptr::from_ref(value).cast(), len) })?;
    Ok(())
}

/// Attaches a filter that lets nothing pass.
pub(crate) fn drop_all(fd: RawFd) -> io::Result<()> {
    let mut nothing = libc::sock_filter { code: (libc::BPF_RET | libc::BPF_K) as u16, jt: 0, jf: 0, k: 0 };
    let program = libc::sock_fprog { len: 1, filter: &raw mut nothing };
    // The pointer in it leads to one live instruction, as it says.
    set_option(fd, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)
}

/// Binds a packet socket to an interface and to no protocol.
pub(crate) fn bind_packet(fd: RawFd, interface: u32) -> io::Result<()> {
    // SAFETY: integers only, for which zeroes are values.
    let mut address: libc::sockaddr_ll = unsafe { zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_ifindex = interface as c_int;
    let len = size_of::<libc::sockaddr_ll>() as socklen_t;
    // SAFETY: `address` is a live `sockaddr_ll` of `len` bytes.
    check(unsafe { libc::bind(fd, ptr::from_ref(&address).cast(), len) })?;
    Ok(())
}

/// The interface that a packet socket is bound to; none when that is gone.
pub(crate) fn packet_interface(fd: &OwnedFd) -> io::Result<Option<u32>> {
    // SAFETY: integers only, for which zeroes are values.
    let mut address: libc::sockaddr_ll = unsafe { zeroed() };
    let mut len = size_of::<libc::sockaddr_ll>() as socklen_t;
    // SAFETY: `address` is a live object of `len` bytes, and the kernel writes no more.
    check(unsafe { libc::getsockname(fd.as_raw_fd(), ptr::from_mut(&mut address).cast(), &raw mut len) })?;
    if c_int::from(address.sll_family) != libc::AF_PACKET {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    // It is -1 when the interface is gone.
    Ok(u32::try_from(address.sll_ifindex).ok().filter(|index| *index != 0))
}

/// Takes the error that waits at a socket, so that no call tells of it any more.
pub(crate) fn take_error(fd: &OwnedFd) -> io::Result<()> {
    let (mut error, mut len): (c_int, _) = (0, size_of::<c_int>() as socklen_t);
    let value = ptr::from_mut(&mut error).cast();
    // SAFETY: `value` leads to `len` live bytes, and the kernel writes no more.
    check(unsafe {
        libc::getsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, libc::SO_ERROR, value, &raw mut len)
    })?;
    Ok(())
}

/// Sends one message made of `parts`. Never blocks.
pub(crate) fn send_parts(fd: RawFd, parts: &[IoSlice<'_>]) -> io::Result<()> {
    sendmsg(borrow(fd), parts, &mut SendAncillaryBuffer::default(), SendFlags::DONTWAIT)?;
    Ok(())
}

/// Messages that one call sends, at the most.
pub(crate) const TOGETHER: usize = 32;

/// Sends messages, each made of two parts, up to [`TOGETHER`] of them. Says how many were sent: at least one, unless there
/// are none. Never blocks.
pub(crate) fn send_each(fd: RawFd, messages: &[[IoSlice<'_>; 2]]) -> io::Result<usize> {
    // SAFETY: integers and pointers, for which zeroes are values.
    let mut headers: [libc::mmsghdr; TOGETHER] = unsafe { zeroed() };
    let count = messages.len().min(TOGETHER);
    for (header, parts) in headers.iter_mut().zip(messages) {
        // An `IoSlice` is laid out as a `struct iovec`, and the kernel does not write these.
        header.msg_hdr.msg_iov = parts.as_ptr().cast_mut().cast();
        header.msg_hdr.msg_iovlen = parts.len() as _;
    }
    let first = headers.as_mut_ptr();
    // SAFETY: so many of `headers` name live slices of `messages`, which are only read, and nothing else.
    let sent = unsafe { libc::syscall(libc::SYS_sendmmsg, fd, first, count, libc::MSG_DONTWAIT) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// Frames of an arena that one frame of a device may be read into, at the most.
pub(crate) const PARTS_MAX: usize = 40;

/// Reads one frame of a TAP: what the kernel says of it to `head`, its bytes to `frames` of an arena, which are the
/// caller's to have written, one after the other, each from byte `offset` on. Says how many bytes came in all.
pub(crate) fn read_frame(
    fd: RawFd,
    head: &mut [u8],
    arena: &Arena,
    frames: &[u32],
    offset: usize,
) -> io::Result<usize> {
    let size = arena.frame_size() as usize;
    if frames.len() > PARTS_MAX || offset > size || frames.iter().any(|frame| *frame >= arena.frames()) {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    let mut parts = [libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 }; 1 + PARTS_MAX];
    parts[0] = libc::iovec { iov_base: head.as_mut_ptr().cast(), iov_len: head.len() };
    for (part, frame) in parts[1..].iter_mut().zip(frames) {
        let at = *frame as usize * size + offset;
        *part = libc::iovec { iov_base: arena.as_mut_ptr().wrapping_add(at).cast(), iov_len: size - offset };
    }
    // SAFETY: the first part is a live slice; the others lie inside the arena's mapping, in frames that a NIC has, of
    // which nobody holds a slice.
    let got = unsafe { libc::syscall(libc::SYS_readv, fd, parts.as_ptr(), 1 + frames.len()) };
    if got < 0 { Err(io::Error::last_os_error()) } else { Ok(got as usize) }
}

/// Whether a read would bring something.
pub(crate) fn is_readable(fd: RawFd) -> bool {
    let fd = borrow(fd);
    let mut one = [PollFd::new(&fd, PollFlags::IN)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut one, Some(&now)).is_ok() && one[0].revents().contains(PollFlags::IN)
}

/// Hands a number to a device.
pub(crate) fn tell(fd: BorrowedFd<'_>, request: libc::Ioctl, number: c_int) -> io::Result<()> {
    // SAFETY: `number` is a live integer, which is all that the requests of a TAP read that come here by reference.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), request, &raw const number) }).map(|_| ())
}

/// Hands a device a number that it takes by value.
pub(crate) fn tell_value(fd: BorrowedFd<'_>, request: libc::Ioctl, number: libc::c_ulong) -> io::Result<()> {
    // SAFETY: no pointers.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), request, number) }).map(|_| ())
}

/// Has a descriptor stand for something that never happens. Past the C library, whose functions may be the application's
/// way to a stack that is locked now.
pub(crate) fn silence(fd: &OwnedFd) {
    // SAFETY: no pointers.
    let nothing = unsafe { libc::syscall(libc::SYS_eventfd2, 0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) };
    if nothing < 0 {
        return;
    }
    // SAFETY: no pointers; whoever has the descriptor goes on to own what it stands for.
    unsafe { libc::syscall(libc::SYS_dup3, nothing, fd.as_raw_fd(), libc::O_CLOEXEC) };
    // SAFETY: no pointers; nobody else knows of this one.
    unsafe { libc::syscall(libc::SYS_close, nothing) };
}

/// The user that this thread acts for.
pub(crate) fn effective_user() -> libc::uid_t {
    // SAFETY: no arguments; it always succeeds.
    unsafe { libc::geteuid() }
}

/// Plain C structs of integers that the kernel may fill in part.
///
/// # Safety
/// All zeroes, and any other bytes, must be a valid value.
pub(crate) unsafe trait Plain: Copy {}

// SAFETY: integers only.
unsafe impl Plain for libc::xdp_mmap_offsets {}
// SAFETY: integers only.
unsafe impl Plain for libc::xdp_statistics {}
// SAFETY: integers only.
unsafe impl Plain for libc::xdp_options {}

/// Reads an option of level `SOL_XDP`; what an older kernel does not know stays zero.
pub(crate) fn xdp_option<T: Plain>(fd: RawFd, name: c_int) -> io::Result<(T, usize)> {
    // SAFETY: `Plain` promises that zeroes are a value.
    let mut value: T = unsafe { zeroed() };
    let mut len = size_of::<T>() as socklen_t;
    // SAFETY: `value` is a live object of `len` bytes, and any bytes the kernel writes make a value.
    check(unsafe { libc::getsockopt(fd, libc::SOL_XDP, name, ptr::from_mut(&mut value).cast(), &mut len) })?;
    Ok((value, len as usize))
}

/// Binds an AF_XDP socket.
pub(crate) fn bind_xdp(fd: RawFd, address: &libc::sockaddr_xdp) -> io::Result<()> {
    let len = size_of::<libc::sockaddr_xdp>() as socklen_t;
    // SAFETY: `address` is a live `sockaddr_xdp` of `len` bytes.
    check(unsafe { libc::bind(fd, ptr::from_ref(address).cast(), len) })?;
    Ok(())
}

/// Asks the kernel to send what is in the tx ring. Never blocks.
pub(crate) fn kick_tx(fd: RawFd) -> io::Result<()> {
    send(borrow(fd), &[], SendFlags::DONTWAIT)?;
    Ok(())
}

/// Asks the kernel to look at the fill ring. Never blocks.
pub(crate) fn kick_rx(fd: RawFd) {
    let _ = recv(borrow(fd), &mut [0; 0][..], RecvFlags::DONTWAIT);
}

/// A copy of `fd` with a number of at least `min`: close-on-exec, or to be inherited.
pub(crate) fn dup(fd: BorrowedFd<'_>, min: RawFd, cloexec: bool) -> io::Result<OwnedFd> {
    let command = if cloexec { libc::F_DUPFD_CLOEXEC } else { libc::F_DUPFD };
    // SAFETY: no pointers; `fd` is open for the whole call.
    own(unsafe { libc::fcntl(fd.as_raw_fd(), command, min) })
}

/// A copy of a descriptor that this process inherited under the number `fd`: about as high, or as high as the
/// limit allows when the program has lowered it since (EINVAL says so).
pub(crate) fn dup_inherited(fd: RawFd) -> io::Result<OwnedFd> {
    if fd < 0 {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    let mut least = fd;
    loop {
        // SAFETY: no pointers; a number that is not open gives EBADF.
        match own(unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, least) }) {
            Err(e) if e.raw_os_error() == Some(libc::EINVAL) && least > 0 => least /= 2,
            copied => return copied,
        }
    }
}

/// Puts a copy of `fd` in the place of a descriptor that this process inherited under the number `number`, and that stays
/// open as long as it lives; whoever inherits that, inherits the copy.
pub(crate) fn replace(fd: &OwnedFd, number: RawFd) -> io::Result<()> {
    // SAFETY: no pointers; a number that is not open gives EBADF.
    let flags = check(unsafe { libc::fcntl(number, libc::F_GETFD) })?;
    let flags = if flags & libc::FD_CLOEXEC != 0 { libc::O_CLOEXEC } else { 0 };
    // SAFETY: no pointers; what was there is the port's, whose descriptors this is to renew.
    check(unsafe { libc::dup3(fd.as_raw_fd(), number, flags) })?;
    Ok(())
}

/// An anonymous file of `len` zero bytes, close-on-exec.
pub(crate) fn memfd(name: &CStr, len: u64) -> io::Result<OwnedFd> {
    // SAFETY: `name` is NUL-terminated.
    let fd = own(unsafe { libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC) })?;
    // SAFETY: no pointers; `fd` is open.
    check(unsafe { libc::ftruncate(fd.as_raw_fd(), len as libc::off_t) })?;
    Ok(fd)
}

/// The index of interface `name` in this network namespace.
pub(crate) fn interface_index(name: &str) -> io::Result<u32> {
    let name = CString::new(name).map_err(|_| io::Error::from_raw_os_error(libc::ENODEV))?;
    // SAFETY: `name` is NUL-terminated.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => Err(io::Error::last_os_error()),
        index => Ok(index),
    }
}

/// An interface request that carries `N` bytes in its union, laid out as `struct ifreq`.
#[repr(C)]
pub(crate) struct IfRequest {
    name: [u8; libc::IFNAMSIZ],
    /// The union: 24 bytes on 64-bit systems.
    pub(crate) data: IfData,
}

/// The parts of `struct ifreq`'s union that are used here.
#[repr(C)]
pub(crate) union IfData {
    pub(crate) pointer: *mut c_void,
    bytes: [u8; 24],
}

impl IfRequest {
    /// A request about `name`, its union zero.
    pub(crate) fn new(name: &str) -> io::Result<Self> {
        let mut field = [0; libc::IFNAMSIZ];
        if name.len() >= field.len() {
            return Err(io::Error::from_raw_os_error(libc::ENODEV));
        }
        field[..name.len()].copy_from_slice(name.as_bytes());
        Ok(Self { name: field, data: IfData { bytes: [0; 24] } })
    }

    /// The same with flags in the union.
    pub(crate) fn with_flags(name: &str, flags: u16) -> io::Result<Self> {
        let mut request = Self::new(name)?;
        let [low, high] = flags.to_ne_bytes();
        let mut bytes = [0; 24];
        (bytes[0], bytes[1]) = (low, high);
        request.data = IfData { bytes };
        Ok(request)
    }

    /// A request that device `name` be called `other`.
    pub(crate) fn to_rename(name: &str, other: &str) -> io::Result<Self> {
        let other = Self::new(other)?.name;
        let mut request = Self::new(name)?;
        let mut bytes = [0; 24];
        bytes[..other.len()].copy_from_slice(&other);
        request.data = IfData { bytes };
        Ok(request)
    }

    /// The name as the kernel left it.
    pub(crate) fn name(&self) -> String {
        let name = self.name.split(|byte| *byte == 0).next().unwrap_or_default();
        String::from_utf8_lossy(name).into_owned()
    }

    /// The union as the kernel left it.
    pub(crate) fn bytes(&self) -> [u8; 24] {
        // SAFETY: all 24 bytes were initialised by `new`, and any bytes are a valid array.
        unsafe { self.data.bytes }
    }

    /// Asks for a fixed-size answer in the union itself, or says what is in it (SIOCGIFMTU, TUNSETIFF and their like).
    pub(crate) fn get(&mut self, fd: BorrowedFd<'_>, request: libc::Ioctl) -> io::Result<()> {
        // SAFETY: `self` is laid out as `struct ifreq`, which is all these requests read and write.
        check(unsafe { libc::ioctl(fd.as_raw_fd(), request, ptr::from_mut(self)) })?;
        Ok(())
    }

    /// Asks for an ethtool answer in `answer`, whose first word is the command.
    pub(crate) fn ethtool<const N: usize>(
        &mut self,
        fd: BorrowedFd<'_>,
        answer: &mut [u32; N],
    ) -> io::Result<()> {
        self.data.pointer = answer.as_mut_ptr().cast();
        // SAFETY: the pointer leads to a buffer at least as long as the command's struct (callers size it so).
        let result = check(unsafe { libc::ioctl(fd.as_raw_fd(), SIOCETHTOOL, ptr::from_mut(self)) });
        self.data.pointer = ptr::null_mut();
        result.map(|_| ())
    }
}

const SIOCETHTOOL: libc::Ioctl = 0x8946;

/// The limit on locked memory: (soft, hard) in bytes.
pub(crate) fn memlock() -> io::Result<libc::rlimit> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a live `rlimit`.
    check(unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &mut limit) })?;
    Ok(limit)
}

/// Sets the limit on locked memory.
pub(crate) fn set_memlock(limit: &libc::rlimit) -> io::Result<()> {
    // SAFETY: `limit` is a live `rlimit`, which the kernel only reads.
    check(unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, limit) })?;
    Ok(())
}

/// Sends one netlink request and reads one answer into `answer`.
pub(crate) fn netlink(fd: BorrowedFd<'_>, request: &[u8], answer: &mut [u8]) -> io::Result<usize> {
    let number = fd.as_raw_fd();
    // SAFETY: `request` is a live slice.
    let sent = unsafe { libc::send(number, request.as_ptr().cast(), request.len(), 0) };
    if sent < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `answer` is a live slice that nobody else holds.
    let got = unsafe { libc::recv(number, answer.as_mut_ptr().cast(), answer.len(), 0) };
    if got < 0 { Err(io::Error::last_os_error()) } else { Ok(got as usize) }
}
