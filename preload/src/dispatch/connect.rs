//! Active opens: through the stack when the way out is an accelerated interface, else through the kernel.

use core::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};

use libc::{c_int, sockaddr, socklen_t};
use ringroad::Runtime;
use ringroad::config::Call;
use ringroad::runtime::Turn;
use stack::error::SocketError;
use stack::socket::{OptName, Value};
use stack::types::{IfaceId, Protocol, Readiness, SocketId, canonical, on_link, scope_id};

use super::wait::Patience;
use super::{attached, backing, held};
use crate::attach;
use crate::errno::{Leave, Outcome, check, fail};
use crate::fdtable::{Flag, Held, Kind};
use crate::reason::Reason;
use crate::user::{Named, read_sockaddr};
use crate::{epoll, kernel};

/// Ports that are tried when the stack has still use for those that the kernel thinks free.
const PORTS_TRIED: usize = 16;

const UNSPECIFIED: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0));

/// `connect`.
pub(crate) fn connect(fd: c_int, name: *const sockaddr, len: socklen_t) -> Outcome {
    let held = held(fd)?;
    let named = read_sockaddr(name.into(), len)?;
    match held.file.kind() {
        Kind::Stream => connect_stream(&held, named, false),
        Kind::Datagram => connect_datagram(&held, named, (name, len)),
        _ => Err(Reason::Plain.into()),
    }
}

/// The connect of a `sendto` with MSG_FASTOPEN: with a cookie nothing is sent yet, and the data that the caller
/// sends next go with the SYN (RFC 7413).
pub(super) fn connect_by_send(held: &Held, named: Named) -> Outcome {
    connect_stream(held, named, true)
}

fn connect_stream(held: &Held, named: Named, by_send: bool) -> Outcome {
    if held.file.is(Flag::Listening) || held.file.is(Flag::Kernels) {
        return Err(Reason::Plain.into());
    }
    let Named::Inet(remote) = named else { return Err(Reason::Plain.into()) };
    let remote = held.file.understood(remote).ok_or(Reason::Plain)?;
    if let Ok((runtime, id)) = attached(held)
        && !begins_anew(held, runtime, id)?
    {
        return go_on(held, runtime, id, remote);
    }
    if held.file.is(Flag::Inherited) {
        return Err(Reason::Inherited.into());
    }
    if held.file.is(Flag::Headers) {
        held.file.set(Flag::Kernels, true);
        return Err(Reason::Header.into());
    }
    // What never leaves the host is not worth starting a stack for.
    if attach::stays_in_kernel(remote.ip()) {
        return Err(Reason::Route.into());
    }
    let runtime = attach::runtime()?;
    let Some(source) = runtime.lock().stack().source_for(Protocol::Tcp, remote) else {
        held.file.set(Flag::Kernels, true);
        if let Some(id) = held.socket() {
            attach::abandon(&mut runtime.lock(), held, id);
        }
        return Err(Reason::Route.into());
    };
    let (mut local, ours_to_choose) = local_end(held, source, remote)?;
    for attempt in 0..PORTS_TRIED {
        let mut turn = runtime.lock();
        let id = socket_at(&mut turn, held, canonical(local))?;
        let now = turn.now();
        if by_send {
            turn.stack().set_option(now, id, OptName::FastOpenConnect, Value::Int(1))?;
        }
        let begun = turn.stack().connect(now, id, remote);
        if by_send {
            turn.stack().set_option(now, id, OptName::FastOpenConnect, Value::Int(0))?;
        }
        match begun {
            Ok(()) => {
                // It waits for the first send.
                epoll::attached(&mut turn, held);
                return Ok(0);
            }
            Err(SocketError::InProgress) => {
                epoll::attached(&mut turn, held);
                drop(turn);
                return finish(held, (runtime, id), remote, true);
            }
            Err(error) => {
                attach::abandon(&mut turn, held, id);
                let again = error == SocketError::AddressNotAvailable && ours_to_choose;
                if !again || attempt + 1 == PORTS_TRIED {
                    return Err(error.into());
                }
            }
        }
        // The kernel's port was free, but the stack still ends a connection that had it.
        drop(turn);
        local.set_port(0);
        local = backing::rebind(held, local)?;
    }
    Err(SocketError::AddressNotAvailable.into())
}

/// Whether a connect has failed on this socket before, or was put off: what the application has not bound is chosen
/// anew then, as Linux does.
fn begins_anew(held: &Held, runtime: &Runtime, id: SocketId) -> Result<bool, Leave> {
    let mut turn = runtime.lock();
    let unbound = held.file.is(Flag::OurAddress) || held.file.is(Flag::OurPort);
    if !unbound || !turn.stack().is_fresh(id) {
        return Ok(false);
    }
    turn.stack().unbind(id)?;
    if held.file.is(Flag::OurPort) {
        backing::unbind(held)?;
    }
    Ok(true)
}

/// The stack's socket at this end: the one that there is, whose connect has failed, or a new one.
fn socket_at(turn: &mut Turn<'_>, held: &Held, local: SocketAddr) -> Result<SocketId, Reason> {
    let Some(id) = held.socket() else { return attach::open(turn, held, local) };
    if turn.stack().bind(id, local).is_err() {
        attach::abandon(turn, held, id);
        return Err(Reason::Refused);
    }
    Ok(id)
}

/// The local end, in the form of the socket's family. Its port is the kernel's socket's, which keeps others from it; where
/// the application has bound none, that is bound here, to the address as well. Answers also whether it was.
fn local_end(held: &Held, source: IpAddr, remote: SocketAddr) -> Result<(SocketAddr, bool), Leave> {
    let bound = || kernel::local(held.fd).ok_or(Leave::Bypass(Reason::Plain));
    let mut local = bound()?;
    let ours_to_choose = local.port() == 0;
    // A link-local address says nothing without its link, which is that of the other end.
    let source = on_link(SocketAddr::new(source, 0), IfaceId(scope_id(&remote)));
    held.file.set(Flag::OurAddress, local.ip().to_canonical().is_unspecified());
    held.file.set(Flag::OurPort, ours_to_choose || held.file.is(Flag::OurPort));
    if ours_to_choose {
        let address = if local.ip().to_canonical().is_unspecified() { held.file.told(source) } else { local };
        if attach::bind(held.fd, address, || kernel::bind(held.fd, address)).is_err() {
            return Err(Reason::NoPort.into());
        }
        local = bound()?;
    }
    if local.ip().to_canonical().is_unspecified() {
        let port = local.port();
        local = held.file.told(source);
        local.set_port(port);
    }
    Ok((local, ours_to_choose))
}

/// A connect on a socket that has begun one.
fn go_on(held: &Held, runtime: &'static Runtime, id: SocketId, remote: SocketAddr) -> Outcome {
    let mut turn = runtime.lock();
    // Whoever asks again instead of waiting is to hear of what has come.
    turn.poll();
    let now = turn.now();
    match turn.stack().connect(now, id, remote) {
        Ok(()) => Ok(0),
        Err(SocketError::AlreadyConnecting) => {
            drop(turn);
            finish(held, (runtime, id), remote, false)
        }
        Err(SocketError::InProgress) => {
            drop(turn);
            finish(held, (runtime, id), remote, true)
        }
        Err(error) => Err(error.into()),
    }
}

/// Waits for the handshake, if the socket blocks.
fn finish(
    held: &Held,
    (runtime, id): (&'static Runtime, SocketId),
    remote: SocketAddr,
    begun_here: bool,
) -> Outcome {
    let patience = Patience::of(runtime, held, Call::Connect, 0);
    let not_yet = fail(if begun_here { libc::EINPROGRESS } else { libc::EALREADY });
    if !patience.blocks() {
        runtime.lock().flush();
        return Err(not_yet);
    }
    match patience.wait(held, id, Readiness::OUT | Readiness::IN, &mut []) {
        Ok(_) => {}
        // SO_SNDTIMEO ran out: the handshake goes on by itself.
        Err(Leave::Errno(e)) if e.0 == libc::EAGAIN => return Err(not_yet),
        Err(other) => return Err(other),
    }
    // Asked once more, the stack tells how it ended.
    let mut turn = runtime.lock();
    let now = turn.now();
    match turn.stack().connect(now, id, remote) {
        Ok(()) | Err(SocketError::IsConnected) => Ok(0),
        Err(error) => Err(error.into()),
    }
}

/// UDP: the kernel's socket is connected too, which chooses the local end and catches what we leave to it.
fn connect_datagram(held: &Held, named: Named, (name, len): (*const sockaddr, socklen_t)) -> Outcome {
    let apart = bound_apart(held, named)?;
    if !apart {
        check(kernel::connect_raw(held.fd, name, len) as isize)?;
    }
    held.file.set(Flag::Bound, true);
    let source_for = |runtime: &Runtime, to| runtime.lock().stack().source_for(Protocol::Udp, to);
    let understood = match named {
        Named::Inet(remote) => held.file.understood(remote).map(Named::Inet),
        _ => None,
    };
    let remote = match understood.unwrap_or(named) {
        Named::Inet(remote) if !attach::stays_in_kernel(remote.ip()) => {
            let runtime = match attach::runtime() {
                Ok(runtime) => runtime,
                Err(reason) => return left_to_kernel(held, reason),
            };
            if !remote.ip().is_multicast() && source_for(runtime, remote).is_none() {
                return left_to_kernel(held, Reason::Route);
            }
            remote
        }
        Named::Unspecified if held.socket().is_some() => UNSPECIFIED,
        Named::Unspecified => return Ok(0),
        _ => return left_to_kernel(held, Reason::Route),
    };
    // A socket that was unbound before this call now has the local end that the kernel chose.
    let (runtime, id) = match attach::attach(held) {
        Ok(attached) => attached,
        Err(reason) => return left_to_kernel(held, reason),
    };
    let connected = {
        let mut turn = runtime.lock();
        let now = turn.now();
        turn.stack().connect(now, id, remote)
    };
    let to_many = remote.ip().is_multicast() || runtime.lock().stack().is_broadcast(remote.ip());
    held.file.set(Flag::GroupPeer, to_many);
    match connected {
        Ok(()) => {
            if apart && kernel::local(held.fd).is_some_and(|local| local.ip().to_canonical().is_unspecified())
            {
                // It is to hear of nobody else by the host's addresses. (One at our own address must not be connected: the
                // kernel would know what it is to pass on for its own, `udp_v6_early_demux`, and `ip6_forward` drops that.)
                let _ = kernel::connect_raw(held.fd, name, len);
            }
            Ok(0)
        }
        // The kernel has found a way: another interface than ours.
        Err(SocketError::NetworkUnreachable) => {
            held.file.set(Flag::Kernels, true);
            left_to_kernel(held, Reason::Route)
        }
        Err(error) => Err(error.into()),
    }
}

/// The same of a program that stands apart from its host: the kernel knows no way from its addresses, so its socket is bound
/// to the one that is sent from, which keeps the port and hears nothing, and is not connected. False where all is the kernel's.
fn bound_apart(held: &Held, named: Named) -> Result<bool, Leave> {
    if !attach::stands_apart() {
        return Ok(false);
    }
    let remote = match named {
        Named::Inet(remote) => held.file.understood(remote).filter(|to| !attach::stays_in_kernel(to.ip())),
        _ => None,
    };
    let (Some(remote), Ok(runtime)) = (remote, attach::runtime()) else { return Ok(false) };
    let Some(source) = runtime.lock().stack().source_for(Protocol::Udp, remote) else { return Ok(false) };
    if kernel::local(held.fd).is_some_and(|local| local.port() == 0) {
        let local = held.file.told(SocketAddr::new(source, 0));
        attach::bind(held.fd, local, || kernel::bind(held.fd, local))?;
    }
    Ok(true)
}

fn left_to_kernel(held: &Held, reason: Reason) -> Outcome {
    reason.count();
    if let Ok((runtime, id)) = attached(held) {
        attach::abandon(&mut runtime.lock(), held, id);
    }
    Ok(0)
}
