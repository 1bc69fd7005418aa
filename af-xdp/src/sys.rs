//! The system calls of AF_XDP sockets and descriptors, each wrapped once.

use std::ffi::{CStr, CString};
use std::io::{self, IoSlice};
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use libc::{c_int, c_void, socklen_t};
use nic::{Arena, Own};

/// `XDP_MAX_TX_SKB_BUDGET` (Linux 6.17): how many frames one `sendto` may move in copy mode.
pub(crate) const XDP_MAX_TX_SKB_BUDGET: c_int = 9;

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

/// Sends one message made of `parts`. Never blocks.
pub(crate) fn send_parts(fd: RawFd, parts: &[IoSlice<'_>]) -> io::Result<()> {
    // SAFETY: integers and pointers, for which zeroes are values.
    let mut message: libc::msghdr = unsafe { zeroed() };
    // An `IoSlice` is laid out as a `struct iovec`, and the kernel does not write these.
    message.msg_iov = parts.as_ptr().cast_mut().cast();
    message.msg_iovlen = parts.len() as _;
    // SAFETY: `message` names the live slices of `parts`, which are only read, and nothing else.
    let sent = unsafe { libc::sendmsg(fd, &raw const message, libc::MSG_DONTWAIT) };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
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
        // As in `send_parts`.
        header.msg_hdr.msg_iov = parts.as_ptr().cast_mut().cast();
        header.msg_hdr.msg_iovlen = parts.len() as _;
    }
    let first = headers.as_mut_ptr();
    // SAFETY: so many of `headers` name live slices of `messages`, which are only read, and nothing else.
    let sent = unsafe { libc::sendmmsg(fd, first, count as libc::c_uint, libc::MSG_DONTWAIT) };
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
    let got = unsafe { libc::readv(fd, parts.as_ptr(), 1 + frames.len() as c_int) };
    if got < 0 { Err(io::Error::last_os_error()) } else { Ok(got as usize) }
}

/// Whether a read would bring something.
pub(crate) fn is_readable(fd: RawFd) -> bool {
    let mut one = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    // SAFETY: `one` is one live `pollfd`.
    unsafe { libc::poll(&raw mut one, 1, 0) > 0 && one.revents & libc::POLLIN != 0 }
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
    // SAFETY: a null buffer of length zero and no address are allowed.
    let sent = unsafe { libc::sendto(fd, ptr::null(), 0, libc::MSG_DONTWAIT, ptr::null(), 0) };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Asks the kernel to look at the fill ring. Never blocks.
pub(crate) fn kick_rx(fd: RawFd) {
    // SAFETY: a null buffer of length zero and no address are allowed.
    unsafe { libc::recvfrom(fd, ptr::null_mut(), 0, libc::MSG_DONTWAIT, ptr::null_mut(), ptr::null_mut()) };
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

/// The `bpf` system call with `attr` as its attributes.
///
/// # Safety
/// Every pointer that `attr` holds must lead to as many live bytes as the command reads or writes there.
unsafe fn bpf<T: Copy>(command: c_int, attr: &mut T) -> io::Result<c_int> {
    let size = size_of::<T>();
    // SAFETY: `attr` is a live object of `size` bytes; the caller answers for the pointers in it.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, ptr::from_mut(attr), size) };
    check(result as c_int)
}

const BPF_MAP_LOOKUP_ELEM: c_int = 1;
const BPF_MAP_UPDATE_ELEM: c_int = 2;
const BPF_MAP_DELETE_ELEM: c_int = 3;
const BPF_MAP_GET_NEXT_KEY: c_int = 4;
const BPF_OBJ_GET_INFO_BY_FD: c_int = 15;
const BPF_LINK_CREATE: c_int = 28;
const BPF_MAP_FREEZE: c_int = 22;
const BPF_XDP: u32 = 37;
const BPF_TCX_INGRESS: u32 = 46;

/// `union bpf_attr` of the map element commands.
#[repr(C)]
#[derive(Clone, Copy)]
struct MapElement {
    map: u32,
    pad: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// A bpf map with the sizes of its keys and values as the kernel says they are.
#[derive(Debug)]
pub(crate) struct BpfMap {
    fd: Own,
    key: usize,
    value: usize,
}

impl BpfMap {
    /// The map behind a descriptor; `EINVAL` when there is none.
    pub(crate) fn new(fd: OwnedFd) -> io::Result<Self> {
        /// The head of `struct bpf_map_info`: type, id, key size, value size.
        type Head = [u32; 4];
        /// `union bpf_attr` of BPF_OBJ_GET_INFO_BY_FD.
        #[repr(C)]
        #[derive(Clone, Copy)]
        struct GetInfo {
            fd: u32,
            len: u32,
            info: u64,
        }
        let mut head: Head = [0; 4];
        let info = ptr::from_mut(&mut head) as u64;
        let mut attr = GetInfo { fd: fd.as_raw_fd() as u32, len: size_of::<Head>() as u32, info };
        // SAFETY: `info` leads to `len` bytes of `head`.
        unsafe { bpf(BPF_OBJ_GET_INFO_BY_FD, &mut attr) }?;
        Ok(Self { fd: Own::new(fd), key: head[2] as usize, value: head[3] as usize })
    }

    /// The descriptor alone.
    pub(crate) fn into_fd(self) -> OwnedFd {
        self.fd.into_inner()
    }

    /// The descriptor.
    pub(crate) fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    /// Bytes in a key and in a value.
    pub(crate) fn shape(&self) -> (usize, usize) {
        (self.key, self.value)
    }

    fn element(&self, key: &[u8], value: u64) -> io::Result<MapElement> {
        if key.len() != self.key {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        Ok(MapElement { map: self.fd.as_raw_fd() as u32, pad: 0, key: key.as_ptr() as u64, value, flags: 0 })
    }

    /// Puts `value` at `key`. `EINVAL` when one of them is not as long as the map's.
    pub(crate) fn update(&self, key: &[u8], value: &[u8]) -> io::Result<()> {
        if value.len() != self.value {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        let mut attr = self.element(key, value.as_ptr() as u64)?;
        // SAFETY: key and value are live slices, as long as the kernel reads.
        unsafe { bpf(BPF_MAP_UPDATE_ELEM, &mut attr) }.map(|_| ())
    }

    /// Nobody writes to it from here on, but for programs.
    pub(crate) fn freeze(&self) -> io::Result<()> {
        let mut fd = self.fd.as_raw_fd() as u32;
        // SAFETY: no pointers.
        unsafe { bpf(BPF_MAP_FREEZE, &mut fd) }.map(|_| ())
    }

    /// Takes `key` out. A key that is not there is no error.
    pub(crate) fn delete(&self, key: &[u8]) -> io::Result<()> {
        let mut attr = self.element(key, 0)?;
        // SAFETY: the key is a live slice, as long as the kernel reads.
        match unsafe { bpf(BPF_MAP_DELETE_ELEM, &mut attr) } {
            Err(e) if e.raw_os_error() == Some(libc::ENOENT) => Ok(()),
            result => result.map(|_| ()),
        }
    }

    /// Reads the value at `key`. False when there is none; `EINVAL` when `value` is not as long as the map's.
    pub(crate) fn lookup(&self, key: &[u8], value: &mut [u8]) -> io::Result<bool> {
        if value.len() != self.value {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        let mut attr = self.element(key, value.as_mut_ptr() as u64)?;
        // SAFETY: the key is as long as the kernel reads, the value as long as it writes.
        match unsafe { bpf(BPF_MAP_LOOKUP_ELEM, &mut attr) } {
            Err(e) if e.raw_os_error() == Some(libc::ENOENT) => Ok(false),
            result => result.map(|_| true),
        }
    }

    /// The key behind another in the map's order; without one the first. None behind the last.
    fn next_key(&self, after: Option<&[u8]>) -> io::Result<Option<Vec<u8>>> {
        let mut next = vec![0u8; self.key];
        // No key to begin after is a null pointer.
        let key = after.map_or(0, |key| key.as_ptr() as u64);
        let (map, value) = (self.fd.as_raw_fd() as u32, next.as_mut_ptr() as u64);
        let mut attr = MapElement { map, pad: 0, key, value, flags: 0 };
        // SAFETY: both lead to as many bytes as the map's keys have: `after` was answered here before.
        match unsafe { bpf(BPF_MAP_GET_NEXT_KEY, &mut attr) } {
            Err(e) if e.raw_os_error() == Some(libc::ENOENT) => Ok(None),
            result => result.map(|_| Some(next)),
        }
    }

    /// The first keys, as long as they are `wanted`. An entry that others add or remove meanwhile may be missed.
    pub(crate) fn keys_while(&self, wanted: impl Fn(&[u8]) -> bool) -> io::Result<Vec<Vec<u8>>> {
        let mut found: Vec<Vec<u8>> = Vec::new();
        while let Some(key) = self.next_key(found.last().map(Vec::as_slice))?.filter(|key| wanted(key)) {
            found.push(key);
        }
        Ok(found)
    }

    /// The keys that are `wanted` with their values, numbers of 32 bits. An entry that others add or remove meanwhile
    /// may be missed.
    pub(crate) fn keys_where(&self, wanted: impl Fn(&[u8], u32) -> bool) -> io::Result<Vec<Vec<u8>>> {
        let mut found = Vec::new();
        let mut key: Option<Vec<u8>> = None;
        while let Some(next) = self.next_key(key.as_deref())? {
            let mut value = [0; 4];
            if self.lookup(&next, &mut value)? && wanted(&next, u32::from_ne_bytes(value)) {
                found.push(next.clone());
            }
            key = Some(next);
        }
        Ok(found)
    }

    /// Reads the values at `key` of a per-CPU map: one after the other, as many as CPUs are possible. `EINVAL`
    /// when there is not room for [`CPUS_MAX`] of them.
    pub(crate) fn lookup_per_cpu(&self, key: &[u8], values: &mut [u64]) -> io::Result<()> {
        if size_of_val(values) < self.value.next_multiple_of(8) * CPUS_MAX {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        let mut attr = self.element(key, values.as_mut_ptr() as u64)?;
        // SAFETY: the key is as long as the kernel reads, and there is room for a value of every CPU.
        unsafe { bpf(BPF_MAP_LOOKUP_ELEM, &mut attr) }.map(|_| ())
    }
}

/// As many CPUs as a kernel can be built for.
pub(crate) const CPUS_MAX: usize = 8192;

/// Attaches an XDP program to an interface for as long as a descriptor of the link is open somewhere.
pub(crate) fn link_xdp(program: BorrowedFd<'_>, interface: u32, flags: u32) -> io::Result<OwnedFd> {
    link(program, interface, BPF_XDP, flags)
}

/// The same for a program at tc ingress (Linux 6.6), behind those that are there.
pub(crate) fn link_tcx(program: BorrowedFd<'_>, interface: u32) -> io::Result<OwnedFd> {
    link(program, interface, BPF_TCX_INGRESS, 0)
}

fn link(program: BorrowedFd<'_>, interface: u32, attach_type: u32, flags: u32) -> io::Result<OwnedFd> {
    /// `union bpf_attr` of BPF_LINK_CREATE, without the parts that are not used here.
    #[repr(C)]
    #[derive(Clone, Copy)]
    struct LinkCreate {
        program: u32,
        interface: u32,
        attach_type: u32,
        flags: u32,
    }
    let program = program.as_raw_fd() as u32;
    let mut attr = LinkCreate { program, interface, attach_type, flags };
    // SAFETY: no pointers. Descriptors that bpf makes are close-on-exec.
    own(unsafe { bpf(BPF_LINK_CREATE, &mut attr) }?)
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
