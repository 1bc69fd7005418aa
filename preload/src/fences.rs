//! Fences that only the kernel puts around a socket: the interface that it is bound to, what of its packets is dropped
//! before anybody reads it, who has to sign his segments, what is in them (UDP_ENCAP). The stack carries none of them out,
//! so such a socket is the kernel's, counted as `fence`: it must never be open to whom its program has shut it.

use libc::{SOL_SOCKET, c_int, socklen_t};
use ringroad::Runtime;

use crate::errno::{Outcome, check, fail};
use crate::fdtable::{Flag, Held, Kind};
use crate::reason::Reason;
use crate::user::Place;
use crate::{attach, kernel};

const IP_IPSEC_POLICY: c_int = 16;
const IP_XFRM_POLICY: c_int = 17;
const IPV6_IPSEC_POLICY: c_int = 34;
const IPV6_XFRM_POLICY: c_int = 35;
const IP_MINTTL: c_int = 21;
const IPV6_MINHOPCOUNT: c_int = 73;
const IP_UNICAST_IF: c_int = 50;
const IPV6_UNICAST_IF: c_int = 76;
const SO_BINDTOIFINDEX: c_int = 62;
const SO_GET_FILTER: c_int = libc::SO_ATTACH_FILTER;
const SOL_UDP: c_int = 17;
const UDP_ENCAP: c_int = 100;
const TCP_MD5SIG: c_int = 14;
const TCP_MD5SIG_EXT: c_int = 32;
const TCP_AO_ADD_KEY: c_int = 38;

/// Fences that are numbers, none when they are zero.
const NUMBERS: [(c_int, c_int); 6] = [
    (SOL_SOCKET, SO_BINDTOIFINDEX),
    (libc::IPPROTO_IP, IP_MINTTL),
    (libc::IPPROTO_IP, IP_UNICAST_IF),
    (libc::IPPROTO_IPV6, IPV6_MINHOPCOUNT),
    (libc::IPPROTO_IPV6, IPV6_UNICAST_IF),
    (SOL_UDP, UDP_ENCAP),
];

/// Those of another shape.
const SHAPES: [(c_int, c_int); 11] = [
    (SOL_SOCKET, libc::SO_ATTACH_FILTER),
    (SOL_SOCKET, libc::SO_ATTACH_BPF),
    (SOL_SOCKET, libc::SO_ATTACH_REUSEPORT_CBPF),
    (SOL_SOCKET, libc::SO_ATTACH_REUSEPORT_EBPF),
    (libc::IPPROTO_IP, IP_IPSEC_POLICY),
    (libc::IPPROTO_IP, IP_XFRM_POLICY),
    (libc::IPPROTO_IPV6, IPV6_IPSEC_POLICY),
    (libc::IPPROTO_IPV6, IPV6_XFRM_POLICY),
    (libc::IPPROTO_TCP, TCP_MD5SIG),
    (libc::IPPROTO_TCP, TCP_MD5SIG_EXT),
    (libc::IPPROTO_TCP, TCP_AO_ADD_KEY),
];

/// Whether a call asks for such a fence, rather than to take one away.
pub(crate) fn asks((level, name): (c_int, c_int), value: Place, len: socklen_t) -> bool {
    if (level, name) == (SOL_SOCKET, libc::SO_BINDTODEVICE) {
        let mut first = [0];
        return len > 0 && value.read_into(&mut first).is_ok() && first != [0];
    }
    if NUMBERS.contains(&(level, name)) {
        let mut number = [0; 4];
        let room = &mut number[..(len as usize).min(4)];
        return value.read_into(room).is_ok() && number != [0; 4];
    }
    SHAPES.contains(&(level, name))
}

/// A call that asks for one: the socket is the kernel's from here on. A connection that is a stack's already, this one's or
/// another's, cannot be, and is told that there is no such option, as by a kernel that was built without it.
pub(crate) fn set(held: &Held, set: impl FnOnce() -> isize) -> Outcome {
    let is_elsewhere = held.file.is(Flag::Inherited) || held.file.is(Flag::Pumped);
    if held.file.kind() == Kind::Stream && (is_elsewhere || held.socket().is_some()) {
        return Err(fail(libc::ENOPROTOOPT));
    }
    check(set())?;
    // First, so that no other thread attaches it again.
    keep(held);
    if let (Some(id), Some(runtime)) = (held.socket(), Runtime::current()) {
        attach::abandon(&mut runtime.lock(), held, id);
    }
    Ok(0)
}

/// A socket that was opened elsewhere may have some.
pub(crate) fn note_inherited(held: &Held) {
    let number = |(level, name): (c_int, c_int)| {
        let mut bytes = [0; 4];
        kernel::option(held.fd, level, name, &mut bytes).is_some() && bytes != [0; 4]
    };
    let has_filter = || {
        let length = kernel::option(held.fd, SOL_SOCKET, SO_GET_FILTER, &mut []);
        length.is_some_and(|n| n > 0)
    };
    if NUMBERS.into_iter().any(number) || has_filter() {
        keep(held);
    }
}

fn keep(held: &Held) {
    held.file.set(Flag::Kernels, true);
    Reason::Fence.count();
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::fd::AsRawFd;

    use super::*;
    use crate::dispatch::lifecycle;
    use crate::errno::{Errno, Leave};
    use crate::{fdtable, label};

    fn stream() -> (TcpListener, Held) {
        assert!(fdtable::start());
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let held = lifecycle::remember(socket.as_raw_fd(), Kind::Stream, |_| {}).unwrap();
        (socket, held)
    }

    #[test]
    fn what_takes_a_fence_away_asks_for_none() {
        let asks = |option, value: c_int| asks(option, Place::from(&raw const value), 4);
        for option in NUMBERS {
            assert!(asks(option, 2) && !asks(option, 0), "{option:?}");
        }
    }

    #[test]
    fn a_socket_that_was_sent_has_a_name_and_no_fence() {
        let (_socket, held) = stream();
        assert!(label::put(held.fd, 7).is_ok());
        note_inherited(&held);
        assert!(!held.file.is(Flag::Kernels));
        label::remove(held.fd);
        kernel::set_option(held.fd, libc::IPPROTO_IP, IP_MINTTL, 255);
        note_inherited(&held);
        assert!(held.file.is(Flag::Kernels));
        lifecycle::forget(&held);
    }

    #[test]
    fn a_connection_that_another_process_has_takes_none() {
        let (_socket, held) = stream();
        held.file.set(Flag::Inherited, true);
        let refused = set(&held, || unreachable!("its kernel's socket bears its name"));
        assert!(matches!(refused, Err(Leave::Errno(Errno(libc::ENOPROTOOPT)))));
        assert!(!held.file.is(Flag::Kernels));
        lifecycle::forget(&held);
    }
}
