//! From a kernel socket to a socket of the stack.
//!
//! A TCP or UDP socket begins as a kernel socket that is remembered. It is attached to the stack
//! when that is decided: a connection when it is opened towards an accelerated interface, a listener or a
//! bound UDP socket when the process first waits for it. The second rule is what keeps a master process,
//! which only binds, listens and forks, from ever taking a connection.

use core::net::{IpAddr, SocketAddr};
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use libc::c_int;
use ringroad::errand::with_room;
use ringroad::runtime::{Runtime, Sleepers, Turn, WakeObserver, port_descriptors};
use ringroad::{Config, StartError, log};
use stack::types::{Readiness, SocketId, canonical};

use crate::dispatch::owner;
use crate::errno::Errno;
use crate::fdtable::{self, Flag, Held, Kind, Word};
use crate::reason::Reason;
use crate::{carry, datagram_options, epoll, exit, guard, heirs, kernel, options, sandbox, state};

/// How long to leave it at that when the stack could not be had, in nanoseconds.
const TRY_AGAIN: u64 = 100_000_000;

/// The loopback device's name.
const LOOPBACK: &str = "lo";

static CONFIG: OnceLock<Config> = OnceLock::new();
static TRIED: AtomicU64 = AtomicU64::new(0);
/// The thread that starts the runtime, or zero.
static STARTER: AtomicI32 = AtomicI32::new(0);
static REPORTED: AtomicBool = AtomicBool::new(false);
/// Why there is no stack, until that is said.
static WHY: Mutex<Option<StartError>> = Mutex::new(None);

/// Keeps the configuration, which is read when the library is loaded.
pub(crate) fn configure(config: Config) {
    let _ = CONFIG.set(config);
}

/// Whether what is sent to an address never leaves the host by a way that the stack could take. The unspecified
/// address is taken for the host's own.
pub(crate) fn stays_in_kernel(address: IpAddr) -> bool {
    let accelerated = || CONFIG.get().is_some_and(|c| c.interfaces.iter().any(|name| name == LOOPBACK));
    address.is_unspecified() || (address.is_loopback() && !accelerated())
}

/// Whether this program is a neighbour of its host, with addresses of its own (the backend `tap`).
pub(crate) fn stands_apart() -> bool {
    CONFIG.get().is_some_and(|config| !config.apart.is_empty())
}

/// Has the kernel's socket bound by `bind`; an address that is this program's and not the host's nobody else has.
pub(crate) fn bind(
    fd: c_int,
    address: SocketAddr,
    bind: impl Fn() -> Result<isize, Errno>,
) -> Result<isize, Errno> {
    let is_ours = || CONFIG.get().is_some_and(|config| config.apart.has(address.ip().to_canonical()));
    match bind() {
        Err(Errno(libc::EADDRNOTAVAIL)) if is_ours() => {
            kernel::free_bind(fd);
            bind()
        }
        result => result,
    }
}

/// Lets the next attempt be made at once (a child after fork).
pub(crate) fn forget_attempts() {
    TRIED.store(0, Ordering::Relaxed);
    STARTER.store(0, Ordering::Relaxed);
}

/// Whether enough time has passed since the stack could not be had.
pub(crate) fn may_try() -> bool {
    let tried = TRIED.load(Ordering::Relaxed);
    tried == 0 || kernel::now() - tried >= TRY_AGAIN
}

/// Nobody starts a runtime meanwhile; none when it is this thread, whose handler forks, that starts one.
pub(crate) fn hold_start() -> Option<MutexGuard<'static, ()>> {
    (!is_starting_here()).then(Runtime::hold_start)
}

/// Whether this thread is starting the runtime, and is in a handler of a signal now.
pub(crate) fn is_starting_here() -> bool {
    STARTER.load(Ordering::Relaxed) == kernel::thread()
}

/// The runtime of this process, started if need be. Why there is none is said, once.
pub(crate) fn runtime() -> Result<&'static Runtime, Reason> {
    runtime_or_silence().inspect_err(|_| tell_why())
}

/// The same for who may have another way.
pub(crate) fn runtime_or_silence() -> Result<&'static Runtime, Reason> {
    if let Some(runtime) = Runtime::current() {
        return Ok(runtime);
    }
    // A handler that came while its own thread starts the runtime must not wait for that.
    if !may_try() || is_starting_here() {
        return Err(Reason::NoStack);
    }
    let thread = kernel::thread();
    if sandbox::is_entered() {
        return Err(Reason::Sandbox);
    }
    let config = CONFIG.get().ok_or(Reason::NoStack)?;
    let free = STARTER.compare_exchange(0, thread, Ordering::Relaxed, Ordering::Relaxed).is_ok();
    // Of several threads one starts it, the others wait: what they are about is decided for good now.
    guard::shield();
    let started = Runtime::start_by(config, |set_up| {
        with_room(|| {
            let _inside = guard::enter();
            set_up()
        })
    });
    if free {
        STARTER.store(0, Ordering::Relaxed);
    }
    match started {
        Ok(runtime) => {
            runtime.observe(Box::new(Observer));
            runtime.have_helper_do(guard::stay_inside);
            if !carry::is_under_way() {
                runtime.bury_former();
            }
            Ok(runtime)
        }
        // It opens the interfaces itself, and would go on unguarded: the launcher would not have begun it.
        Err(error) if config.insists() && port_descriptors(config).is_empty() => exit::refuse(error),
        Err(error) => {
            TRIED.store(kernel::now(), Ordering::Relaxed);
            *WHY.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            Err(Reason::NoStack)
        }
    }
}

/// One line, once a process: which step failed and what to do. The application goes on in the kernel.
pub(crate) fn tell_why() {
    let why = WHY.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(error) = why
        && !REPORTED.swap(true, Ordering::Relaxed)
    {
        log::tell(format_args!("{error}; this process stays in the kernel"));
    }
}

/// Carries wake-ups of the stack to the epoll sets and to those who wait for the socket itself.
struct Observer;

impl WakeObserver for Observer {
    fn woken(&mut self, _: SocketId, cookie: u64, readiness: Readiness, sleepers: &mut Sleepers) {
        let Some(word) = Word::of_cookie(cookie) else { return };
        sleepers.notify(cookie);
        if readiness.contains(Readiness::URG)
            && let Some(file) = fdtable::file_at(word.index())
        {
            owner::announce(file);
        }
        let bits = epoll::bits(readiness);
        let mut state = state::lock();
        heirs::woken(&state.heirs, word, readiness);
        state.interests.wake(word.index(), bits, &mut |set| sleepers.notify(epoll::key(set)));
    }
}

/// Whether a socket is attached when the process waits for it, and not before.
pub(crate) fn is_due(held: &Held) -> bool {
    let due = match held.file.kind() {
        Kind::Stream => held.file.is(Flag::Listening),
        Kind::Datagram => held.file.is(Flag::Bound),
        _ => false,
    };
    due && !held.file.is(Flag::Kernels)
}

/// The stack's socket behind a descriptor, attached now if it is time for it.
pub(crate) fn attach(held: &Held) -> Result<(&'static Runtime, SocketId), Reason> {
    if let Some(id) = held.socket() {
        return Runtime::current().map(|runtime| (runtime, id)).ok_or(Reason::NoStack);
    }
    if held.file.is(Flag::Inherited) {
        return heirs::claim(held);
    }
    if !is_due(held) {
        return Err(Reason::Plain);
    }
    if held.file.is(Flag::Headers) && held.file.kind() == Kind::Stream {
        held.file.set(Flag::Kernels, true);
        return Err(Reason::Header);
    }
    let runtime = runtime()?;
    let local = canonical(kernel::local(held.fd).ok_or(Reason::Plain)?);
    let mut turn = runtime.lock();
    if let Some(id) = held.socket() {
        return Ok((runtime, id));
    }
    if held.file.is(Flag::Kernels) {
        // Meanwhile, by another thread (a fence).
        return Err(Reason::Plain);
    }
    if !turn.stack().serves(local.ip()) {
        held.file.set(Flag::Kernels, true);
        return Err(Reason::LocalAddress);
    }
    let id = open(&mut turn, held, local)?;
    if held.file.kind() == Kind::Datagram
        && let Some(peer) = kernel::peer(held.fd).map(canonical)
    {
        // The kernel's socket knows of it, this stack does not: it came over fork, or from another process.
        let now = turn.now();
        let _ = turn.stack().connect(now, id, peer);
    }
    if held.file.is(Flag::Listening) {
        let backlog = u32::try_from(held.file.backlog()).unwrap_or(u32::MAX);
        if turn.stack().listen(id, backlog).is_err() {
            abandon(&mut turn, held, id);
            return Err(Reason::Refused);
        }
    }
    epoll::attached(&mut turn, held);
    Ok((runtime, id))
}

/// Makes the stack's socket of a file, bound to `local`, with the options that the application has set.
pub(crate) fn open(turn: &mut Turn<'_>, held: &Held, local: SocketAddr) -> Result<SocketId, Reason> {
    let cookie = held.word.cookie();
    let made = match held.file.kind() {
        Kind::Stream => turn.stack().tcp_socket(cookie),
        _ => turn.stack().udp_socket(cookie),
    };
    let id = made.map_err(|_| Reason::NoRoom)?;
    options::carry_over(turn, held, id);
    if turn.stack().bind(id, local).is_err() {
        abandon(turn, held, id);
        return Err(Reason::Refused);
    }
    held.file.set_socket(Some(id));
    if held.file.kind() == Kind::Datagram {
        datagram_options::attached(turn, held, id);
    }
    Ok(id)
}

/// Gives the stack's socket back: the file is the kernel's again.
pub(crate) fn abandon(turn: &mut Turn<'_>, held: &Held, id: SocketId) {
    let now = turn.now();
    if held.file.kind() == Kind::Datagram {
        datagram_options::abandoned(turn, held, id);
    }
    held.file.set_socket(None);
    let _ = turn.stack().close(now, id);
}
