//! The kernel's side of our sockets: libc's functions with values in place of pointers.

use core::ffi::CStr;
use core::net::{IpAddr, SocketAddr};
use core::ptr;

use libc::{c_char, c_int, c_ulong, c_void, socklen_t};
use stack::types::IfaceId;

use crate::errno::{Errno, check};
use crate::real;
use crate::signals::Action;
use crate::spawn::Told;
use crate::user::{Place, address_bytes, from_c};

/// Descriptors of the library are placed from here on, out of the application's way.
const HIGH: c_int = 512;

/// The hard limit of descriptor numbers.
pub(crate) fn descriptor_limit() -> usize {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: a valid place for the answer.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    usize::try_from(limit.rlim_max).unwrap_or(usize::MAX)
}

/// `socket`.
pub(crate) fn socket(domain: c_int, kind: c_int, protocol: c_int) -> Result<c_int, Errno> {
    // SAFETY: integers only.
    check(unsafe { real::socket(domain, kind, protocol) } as isize).map(|fd| fd as c_int)
}

/// `prctl`.
pub(crate) fn prctl(option: c_int, [a, b, c, d]: [c_ulong; 4]) -> Result<isize, Errno> {
    // SAFETY: what the options that are asked for here take are numbers.
    check(unsafe { real::prctl(option, a, b, c, d) } as isize)
}

/// `capset` of the calling thread, in a version of the call.
pub(crate) fn capset(version: u32, sets: [u32; 6]) -> Result<isize, Errno> {
    let mut header = [version, 0];
    // SAFETY: both are as long as any version has it.
    check(unsafe { real::capset(header.as_mut_ptr().cast(), sets.as_ptr().cast()) } as isize)
}

/// The number of the calling thread.
pub(crate) fn thread() -> c_int {
    // SAFETY: it has no arguments and cannot fail.
    unsafe { libc::gettid() }
}

/// `close`.
pub(crate) fn close(fd: c_int) -> Result<isize, Errno> {
    // SAFETY: the caller owns the descriptor, or the application asked for it.
    check(unsafe { real::close(fd) } as isize)
}

/// A dup at the lowest free number.
pub(crate) fn dup(fd: c_int, cloexec: bool) -> Result<c_int, Errno> {
    dup_from(fd, 0, cloexec)
}

fn dup_from(fd: c_int, least: c_int, cloexec: bool) -> Result<c_int, Errno> {
    let command = if cloexec { libc::F_DUPFD_CLOEXEC } else { libc::F_DUPFD };
    // SAFETY: integers only.
    check(unsafe { real::fcntl(fd, command, least as usize) } as isize).map(|fd| fd as c_int)
}

/// Moves a descriptor of the library out of the application's way, as far as the limit allows.
pub(crate) fn move_high(fd: c_int) -> c_int {
    match dup_from(fd, HIGH, true) {
        Ok(high) => {
            let _ = close(fd);
            high
        }
        Err(_) => fd,
    }
}

/// Lets a socket be bound to an address that the kernel has not (IP_FREEBIND; takes no privilege). One of IPv6 takes the option
/// of IPv4, too, which is for both.
pub(crate) fn free_bind(fd: c_int) {
    let on: c_int = 1;
    let len = size_of::<c_int>() as socklen_t;
    // SAFETY: a live integer of this length.
    unsafe { real::setsockopt(fd, libc::IPPROTO_IP, libc::IP_FREEBIND, (&raw const on).cast(), len) };
}

/// `bind` to an address, which is written as the socket's family wants it.
pub(crate) fn bind(fd: c_int, address: SocketAddr) -> Result<isize, Errno> {
    let (name, len) = address_bytes(address);
    // SAFETY: bytes of this length.
    check(unsafe { real::bind(fd, name.as_ptr().cast(), len as socklen_t) } as isize)
}

/// The address a socket is bound to, IPv4-mapped ones as such; none when it is another family's.
pub(crate) fn local(fd: c_int) -> Option<SocketAddr> {
    let mut name = [0u8; 28];
    let mut len = name.len() as socklen_t;
    // SAFETY: room for an address of the length that is said.
    let result = unsafe { real::getsockname(fd, name.as_mut_ptr().cast(), &raw mut len) };
    if result == 0 { from_c(name.get(..len as usize)?) } else { None }
}

/// The address a socket is connected to, likewise.
pub(crate) fn peer(fd: c_int) -> Option<SocketAddr> {
    let mut name = [0u8; 28];
    let mut len = name.len() as socklen_t;
    // SAFETY: room for an address of the length that is said.
    let result = unsafe { real::getpeername(fd, name.as_mut_ptr().cast(), &raw mut len) };
    if result == 0 { from_c(name.get(..len as usize)?) } else { None }
}

/// `getsockopt` into `value`; answers the length.
pub(crate) fn option(fd: c_int, level: c_int, name: c_int, value: &mut [u8]) -> Option<usize> {
    let mut len = value.len() as socklen_t;
    // SAFETY: room for a value of the length that is said.
    let result = unsafe { real::getsockopt(fd, level, name, value.as_mut_ptr().cast(), &raw mut len) };
    (result == 0).then_some(len as usize)
}

/// `fcntl` with an integer.
pub(crate) fn fcntl(fd: c_int, command: c_int, argument: usize) -> Result<c_int, Errno> {
    // SAFETY: the application's own argument.
    check(unsafe { real::fcntl(fd, command, argument) } as isize).map(|v| v as c_int)
}

/// `epoll_create`.
pub(crate) fn epoll_create(size: c_int) -> Result<c_int, Errno> {
    // SAFETY: integers only.
    check(unsafe { real::epoll_create(size) } as isize).map(|fd| fd as c_int)
}

/// `epoll_create1`.
pub(crate) fn epoll_create1(flags: c_int) -> Result<c_int, Errno> {
    // SAFETY: integers only.
    check(unsafe { real::epoll_create1(flags) } as isize).map(|fd| fd as c_int)
}

/// `epoll_ctl`.
pub(crate) fn epoll_ctl(
    set: c_int,
    operation: c_int,
    fd: c_int,
    events: u32,
    data: u64,
) -> Result<(), Errno> {
    let mut event = libc::epoll_event { events, u64: data };
    // SAFETY: a valid event; the kernel checks the descriptors.
    check(unsafe { real::epoll_ctl(set, operation, fd, &raw mut event) } as isize).map(|_| ())
}

/// A datagram of the kernel's.
pub(crate) struct Arrival {
    /// Bytes, as the call counts them.
    pub(crate) bytes: usize,
    /// `msg_flags`.
    pub(crate) flags: c_int,
    /// Who sent it.
    pub(crate) remote: Option<SocketAddr>,
    /// Where it was sent to, when the kernel says so.
    pub(crate) destination: Option<IpAddr>,
    /// By which interface it came, when the kernel says so.
    pub(crate) iface: Option<IfaceId>,
    control: [u64; CONTROL_WORDS],
    control_len: usize,
}

/// Room for all the control messages that a datagram can have.
const CONTROL_WORDS: usize = 64;

impl Arrival {
    /// Its control messages: level, kind, data.
    pub(crate) fn messages(&self) -> impl Iterator<Item = (c_int, c_int, &[u8])> {
        let mut at = 0;
        core::iter::from_fn(move || {
            let words = self.control.get(at..self.control_len.div_ceil(8).min(CONTROL_WORDS))?;
            let (len, meta) = (*words.first()? as usize, *words.get(1)?);
            if len < 16 || len > words.len() * 8 {
                return None;
            }
            at += len.div_ceil(8);
            Some((meta as c_int, (meta >> 32) as c_int, &as_bytes(&words[2..])[..len - 16]))
        })
    }
}

fn as_bytes(words: &[u64]) -> &[u8] {
    // SAFETY: the bytes of initialised words, for as long as these are borrowed.
    unsafe { core::slice::from_raw_parts(words.as_ptr().cast(), size_of_val(words)) }
}

/// `recvmsg` into the application's own buffers.
pub(crate) fn recv_message(fd: c_int, buffers: &[libc::iovec], flags: c_int) -> Result<Arrival, Errno> {
    let mut control = [0u64; CONTROL_WORDS];
    let mut name = [0u64; size_of::<libc::sockaddr_storage>() / 8];
    // SAFETY: zeroes are a value of a C struct of integers and pointers.
    let mut message: libc::msghdr = unsafe { core::mem::zeroed() };
    message.msg_name = name.as_mut_ptr().cast();
    message.msg_namelen = size_of_val(&name) as socklen_t;
    message.msg_iov = buffers.as_ptr().cast_mut();
    message.msg_iovlen = buffers.len() as _;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control) as _;
    // SAFETY: name and control are writable for the lengths that are said; the buffers are the application's own,
    // which the kernel checks.
    let bytes = check(unsafe { real::recvmsg(fd, &raw mut message, flags) })? as usize;
    let remote = from_c(&as_bytes(&name)[..(message.msg_namelen as usize).min(size_of_val(&name))]);
    let (flags, control_len) = (message.msg_flags, message.msg_controllen as usize);
    let mut arrival = Arrival { bytes, flags, remote, destination: None, iface: None, control, control_len };
    (arrival.destination, arrival.iface) = packet_info(&arrival).unzip();
    Ok(arrival)
}

/// `sendmsg` of the application's own buffers and control messages, to `name` or the connected peer.
pub(crate) fn send_message(
    fd: c_int,
    buffers: &[libc::iovec],
    (name, control): (Option<SocketAddr>, (Place, usize)),
    flags: c_int,
) -> Result<isize, Errno> {
    // SAFETY: zeroes are a value of a C struct of integers and pointers.
    let mut message: libc::msghdr = unsafe { core::mem::zeroed() };
    let mut bytes = name.map(address_bytes);
    if let Some((bytes, len)) = &mut bytes {
        message.msg_name = bytes.as_mut_ptr().cast();
        message.msg_namelen = *len as socklen_t;
    }
    message.msg_iov = buffers.as_ptr().cast_mut();
    message.msg_iovlen = buffers.len() as _;
    message.msg_control = control.0.as_mut_ptr();
    message.msg_controllen = control.1 as _;
    // SAFETY: the name is readable for its length; buffers and control messages are the application's own, which the
    // kernel checks.
    check(unsafe { real::sendmsg(fd, &raw const message, flags) })
}

/// `struct in_pktinfo`, or `struct in6_pktinfo`: where it was sent to, and by which interface it came.
fn packet_info(arrival: &Arrival) -> Option<(IpAddr, IfaceId)> {
    let index = |info: &[u8], at: usize| Some(IfaceId(u32::from_ne_bytes(*info.get(at..)?.first_chunk()?)));
    arrival.messages().find_map(|(level, kind, info)| match (level, kind) {
        (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
            let octets: [u8; 4] = info.get(8..12)?.try_into().ok()?;
            Some((IpAddr::from(octets), index(info, 0)?))
        }
        (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
            let octets: [u8; 16] = info.get(..16)?.try_into().ok()?;
            Some((IpAddr::from(octets).to_canonical(), index(info, 16)?))
        }
        _ => None,
    })
}

/// `setsockopt` with an integer.
pub(crate) fn set_option(fd: c_int, level: c_int, name: c_int, value: c_int) -> bool {
    let len = size_of::<c_int>() as socklen_t;
    // SAFETY: a readable int of the length that is said.
    unsafe { real::setsockopt(fd, level, name, (&raw const value).cast(), len) == 0 }
}

/// CLOCK_REALTIME.
pub(crate) fn wall_clock() -> core::time::Duration {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a valid place for the answer.
    unsafe { libc::clock_gettime(libc::CLOCK_REALTIME, &raw mut now) };
    core::time::Duration::new(now.tv_sec.max(0) as u64, now.tv_nsec as u32)
}

/// `epoll_wait` into the application's own place.
pub(crate) fn epoll_wait(set: c_int, events: Place, max: c_int, timeout: c_int) -> c_int {
    // SAFETY: the application's own arguments, which the kernel checks.
    unsafe { real::epoll_wait(set, events.as_mut_ptr(), max, timeout) }
}

/// `epoll_pwait` into the application's own place.
pub(crate) fn epoll_pwait(
    set: c_int,
    events: Place,
    max: c_int,
    (timeout, mask): (c_int, *const libc::sigset_t),
) -> c_int {
    // SAFETY: the application's own arguments, which the kernel checks.
    unsafe { real::epoll_pwait(set, events.as_mut_ptr(), max, timeout, mask) }
}

/// `epoll_pwait2` into the application's own place.
pub(crate) fn epoll_pwait2(
    set: c_int,
    events: Place,
    max: c_int,
    (timeout, mask): (*const libc::timespec, *const libc::sigset_t),
) -> c_int {
    // SAFETY: the application's own arguments, which the kernel checks.
    unsafe { real::epoll_pwait2(set, events.as_mut_ptr(), max, timeout, mask) }
}

/// A nonblocking eventfd with this count.
pub(crate) fn eventfd(count: u32) -> Result<c_int, Errno> {
    // SAFETY: integers only.
    check(unsafe { libc::eventfd(count, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) } as isize)
        .map(|fd| fd as c_int)
}

/// `epoll_wait` without waiting.
pub(crate) fn epoll_look(set: c_int, events: &mut [libc::epoll_event]) -> Result<usize, Errno> {
    let max = events.len().min(c_int::MAX as usize) as c_int;
    // SAFETY: room for as many events as are said.
    check(unsafe { real::epoll_wait(set, events.as_mut_ptr(), max, 0) } as isize).map(|n| n as usize)
}

/// `pread`.
pub(crate) fn pread(fd: c_int, to: &mut [u8], at: i64) -> Result<usize, Errno> {
    // SAFETY: room for as many bytes as are said.
    check(unsafe { libc::pread(fd, to.as_mut_ptr().cast(), to.len(), at) }).map(|n| n as usize)
}

/// `read`.
pub(crate) fn read(fd: c_int, to: &mut [u8]) -> Result<usize, Errno> {
    // SAFETY: room for as many bytes as are said.
    check(unsafe { real::read(fd, to.as_mut_ptr().cast(), to.len()) }).map(|n| n as usize)
}

/// Writes what a pipe takes now, whatever its O_NONBLOCK says.
pub(crate) fn write_now(pipe: c_int, bytes: &[u8]) -> Result<usize, Errno> {
    let entry = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: one entry, readable for the length that it says.
    let written = unsafe { real::pwritev2(pipe, &raw const entry, 1, -1, libc::RWF_NOWAIT) };
    match check(written) {
        Ok(n) => Ok(n as usize),
        // Before Linux 6.4: a pipe that has room has room for PIPE_BUF bytes (pipe(7)).
        Err(error) if error.0 == libc::EOPNOTSUPP => {
            if poll_one(pipe, libc::POLLOUT, 0)? & (libc::POLLOUT | libc::POLLERR) == 0 {
                return Err(Errno(libc::EAGAIN));
            }
            let n = bytes.len().min(libc::PIPE_BUF);
            // SAFETY: bytes of this length.
            check(unsafe { real::write(pipe, bytes.as_ptr().cast(), n) }).map(|n| n as usize)
        }
        Err(error) => Err(error),
    }
}

/// `poll` for one descriptor: its `revents`.
pub(crate) fn poll_one(fd: c_int, events: i16, timeout: c_int) -> Result<i16, Errno> {
    let mut entry = libc::pollfd { fd, events, revents: 0 };
    // SAFETY: one entry.
    check(unsafe { real::poll(&raw mut entry, 1, timeout) } as isize)?;
    Ok(entry.revents)
}

/// FIONREAD: bytes that can be read.
pub(crate) fn queued(fd: c_int) -> Result<usize, Errno> {
    let mut queued: c_int = 0;
    // SAFETY: a valid place for the answer.
    check(unsafe { real::ioctl(fd, libc::FIONREAD, (&raw mut queued).expose_provenance()) } as isize)?;
    Ok(queued.max(0) as usize)
}

/// Whether the descriptor is a pipe's.
pub(crate) fn is_pipe(fd: c_int) -> bool {
    let mut about = core::mem::MaybeUninit::<libc::stat>::uninit();
    // SAFETY: a valid place for the answer.
    if unsafe { libc::fstat(fd, about.as_mut_ptr()) } != 0 {
        return false;
    }
    // SAFETY: fstat has filled it.
    unsafe { about.assume_init() }.st_mode & libc::S_IFMT == libc::S_IFIFO
}

/// libc's `pthread_cancel`: zero, or an error.
pub(crate) fn cancel(thread: libc::pthread_t) -> c_int {
    // SAFETY: the application asked for it; libc asks for a thread that has not been joined.
    unsafe { real::pthread_cancel(thread) }
}

/// `pthread_self`.
pub(crate) fn this_thread() -> libc::pthread_t {
    // SAFETY: no arguments.
    unsafe { libc::pthread_self() }
}

unsafe extern "C" {
    fn pthread_setcancelstate(state: c_int, before: *mut c_int) -> c_int;
}
const ENABLE: c_int = 0;
const DISABLE: c_int = 1;

/// Keeps libc from ending the calling thread. Whether it might have until now.
pub(crate) fn forbid_cancel() -> bool {
    let mut before = DISABLE;
    // SAFETY: a valid place for the answer.
    unsafe { pthread_setcancelstate(DISABLE, &raw mut before) };
    before == ENABLE
}

/// Takes that back.
pub(crate) fn permit_cancel() {
    // SAFETY: null asks for no answer.
    unsafe { pthread_setcancelstate(ENABLE, ptr::null_mut()) };
}

/// Whether the calling thread can be cancelled: asked by a change that is taken back.
pub(crate) fn cancel_is_enabled() -> bool {
    forbid_cancel().then(permit_cancel).is_some()
}

/// `lseek`.
pub(crate) fn seek(fd: c_int, offset: i64, whence: c_int) -> Result<i64, Errno> {
    // SAFETY: integers only.
    check(unsafe { libc::lseek(fd, offset, whence) } as isize).map(|at| at as i64)
}

/// Whether the descriptor is open.
pub(crate) fn is_open(fd: c_int) -> bool {
    fcntl(fd, libc::F_GETFD, 0).is_ok()
}

/// libc's `sigaction`. Answers the action before.
pub(crate) fn sigaction(signal: c_int, new: Option<&Action>) -> Result<Action, Errno> {
    let mut old = Action::EMPTY;
    let new = new.map_or(ptr::null(), |n| ptr::from_ref(n).cast::<c_void>());
    // SAFETY: both are glibc's struct sigaction, or null.
    check(unsafe { real::sigaction(signal, new, (&raw mut old).cast()) } as isize)?;
    Ok(old)
}

/// Sends a signal to the calling thread.
pub(crate) fn raise(signal: c_int) {
    // SAFETY: integers only.
    unsafe { libc::raise(signal) };
}

/// Sends a signal to a process, or to a group by its negative number. False when it does not exist.
pub(crate) fn signal_process(number: libc::pid_t, signal: c_int) -> bool {
    // SAFETY: integers only.
    (unsafe { libc::kill(number, signal) }) == 0
}

/// Sends a signal to a thread of this process. False when it does not exist.
pub(crate) fn signal_thread(number: libc::pid_t, signal: c_int) -> bool {
    // SAFETY: integers only.
    let process = unsafe { libc::getpid() };
    // SAFETY: integers only.
    (unsafe { libc::syscall(libc::SYS_tgkill, process, number, signal) }) == 0
}

/// Blocks all signals in this thread. Answers the mask before, as the kernel's word.
pub(crate) fn block_all_signals() -> u64 {
    exchange_mask(u64::MAX)
}

/// Sets this thread's signal mask.
pub(crate) fn set_signal_mask(mask: u64) {
    exchange_mask(mask);
}

/// Blocks a signal in this thread, or lets it through. Whether it was blocked before.
pub(crate) fn block_signal(signal: c_int, block: bool) -> bool {
    let (how, bit) = (if block { libc::SIG_BLOCK } else { libc::SIG_UNBLOCK }, 1 << (signal - 1));
    change_mask(how, bit) & bit != 0
}

fn exchange_mask(mask: u64) -> u64 {
    change_mask(libc::SIG_SETMASK, mask)
}

fn change_mask(how: c_int, mask: u64) -> u64 {
    let mut new = [0u64; size_of::<libc::sigset_t>() / 8];
    new[0] = mask;
    let mut old = [0u64; size_of::<libc::sigset_t>() / 8];
    // SAFETY: both are as long as a sigset_t and made of the same words.
    unsafe { libc::pthread_sigmask(how, new.as_ptr().cast(), old.as_mut_ptr().cast()) };
    old[0]
}

/// Random bytes, for numbers that nobody should hit by chance.
pub(crate) fn random() -> u64 {
    let mut value = 0u64;
    // SAFETY: room for eight bytes.
    unsafe { libc::getrandom((&raw mut value).cast(), 8, libc::GRND_NONBLOCK) };
    value
}

/// CLOCK_MONOTONIC, in nanoseconds.
pub(crate) fn now() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a valid place for the answer.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// `dup3`.
pub(crate) fn dup3(old: c_int, new: c_int, flags: c_int) -> Result<isize, Errno> {
    // SAFETY: the application asked for it.
    check(unsafe { real::dup3(old, new, flags) } as isize)
}

/// `close_range`.
pub(crate) fn close_range(first: libc::c_uint, last: libc::c_uint, flags: c_int) -> Result<isize, Errno> {
    // SAFETY: the application asked for it; descriptors of ours are not in the range.
    check(unsafe { real::close_range(first, last, flags) } as isize)
}

/// `bind` with the application's own address.
pub(crate) fn bind_raw(fd: c_int, name: *const libc::sockaddr, len: socklen_t) -> c_int {
    // SAFETY: the application's own arguments, which the kernel checks.
    unsafe { real::bind(fd, name, len) }
}

/// `connect` with the application's own address.
pub(crate) fn connect_raw(fd: c_int, name: *const libc::sockaddr, len: socklen_t) -> c_int {
    // SAFETY: the application's own arguments, which the kernel checks.
    unsafe { real::connect(fd, name, len) }
}

/// `listen`.
pub(crate) fn listen(fd: c_int, backlog: c_int) -> c_int {
    // SAFETY: integers only.
    unsafe { real::listen(fd, backlog) }
}

/// `accept4` into the application's own places.
pub(crate) fn accept4(fd: c_int, name: *mut libc::sockaddr, len: *mut socklen_t, flags: c_int) -> c_int {
    // SAFETY: the application's own arguments, which the kernel checks.
    unsafe { real::accept4(fd, name, len, flags) }
}

/// `setsockopt` with the application's own value.
pub(crate) fn set_option_raw(
    fd: c_int,
    level: c_int,
    name: c_int,
    value: *const c_void,
    len: socklen_t,
) -> c_int {
    // SAFETY: the application's own arguments, which the kernel checks.
    unsafe { real::setsockopt(fd, level, name, value, len) }
}

/// How a program to be executed is named.
#[derive(Clone, Copy)]
pub(crate) enum Program {
    /// By a path.
    Path(*const c_char),
    /// By a name to be looked for in PATH.
    Name(*const c_char),
    /// By a descriptor.
    Open(c_int),
    /// By a path from a folder, with flags.
    At(c_int, *const c_char, c_int),
}

/// `execve` and its relatives, with an environment of ours: comes back only when it fails.
pub(crate) fn exec(program: Program, args: *const *const c_char, env: &[*const c_char]) -> Errno {
    debug_assert!(env.last().is_some_and(|last| last.is_null()));
    let env = env.as_ptr();
    let failed = match program {
        // SAFETY: the application's own arguments, which the kernel checks; the table ends with null.
        Program::Path(path) => unsafe { real::execve(path, args, env) },
        // SAFETY: as above; libc reads the name, as the application asked.
        Program::Name(name) => unsafe { real::execvpe(name, args, env) },
        // SAFETY: as above.
        Program::Open(fd) => unsafe { real::fexecve(fd, args, env) },
        // SAFETY: as above.
        Program::At(folder, path, flags) => unsafe { real::execveat(folder, path, args, env, flags) },
    };
    check(failed as isize).err().unwrap_or(Errno(libc::ENOSYS))
}

/// `posix_spawn` and `posix_spawnp`, with an environment of ours.
pub(crate) fn spawn(program: Program, told: Told, env: &[*const c_char]) -> c_int {
    debug_assert!(env.last().is_some_and(|last| last.is_null()));
    let Told { pid, actions, attributes, args } = told;
    let env = env.as_ptr();
    match program {
        // SAFETY: the application's own arguments, which libc and the kernel check; the table ends with null.
        Program::Path(path) => unsafe { real::posix_spawn(pid, path, actions, attributes, args, env) },
        // SAFETY: as above.
        Program::Name(name) => unsafe { real::posix_spawnp(pid, name, actions, attributes, args, env) },
        Program::Open(_) | Program::At(..) => libc::EINVAL,
    }
}

/// Takes a variable out of the process's environment, before `main`.
pub(crate) fn forget_variable(name: &CStr) {
    // SAFETY: a C string; no other thread of the application runs yet.
    unsafe { libc::unsetenv(name.as_ptr()) };
}

/// The process's own environment, as libc keeps it.
pub(crate) fn environment() -> *const *const c_char {
    unsafe extern "C" {
        static environ: *const *const c_char;
    }
    // SAFETY: libc's own variable; what it points to is read as the application's memory is.
    unsafe { environ }
}
