//! Fences that only the kernel puts around a socket: the interface that it is bound to, what of its packets is dropped
//! before anybody reads it, who has to sign his segments. The stack carries none of them out, so such a socket is the
//! kernel's, counted as `fence`: it must never be open to whom its program has shut it.

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
const TCP_MD5SIG: c_int = 14;
const TCP_MD5SIG_EXT: c_int = 32;
const TCP_AO_ADD_KEY: c_int = 38;

/// Fences that are numbers, none when they are zero.
const NUMBERS: [(c_int, c_int); 5] = [
    (SOL_SOCKET, SO_BINDTOIFINDEX),
    (libc::IPPROTO_IP, IP_MINTTL),
    (libc::IPPROTO_IP, IP_UNICAST_IF),
    (libc::IPPROTO_IPV6, IPV6_MINHOPCOUNT),
    (libc::IPPROTO_IPV6, IPV6_UNICAST_IF),
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

/// A call that asks for one: the socket is the kernel's from here on. A stream that is the stack's already cannot be, and
/// is told that there is no such option, as by a kernel that was built without it.
pub(crate) fn set(held: &Held, set: impl FnOnce() -> isize) -> Outcome {
    match (held.file.kind(), held.socket()) {
        (Kind::Datagram, Some(id)) => {
            check(set())?;
            if let Some(runtime) = Runtime::current() {
                attach::abandon(&mut runtime.lock(), held, id);
            }
        }
        (_, Some(_)) => return Err(fail(libc::ENOPROTOOPT)),
        (_, None) => _ = check(set())?,
    }
    keep(held);
    Ok(0)
}

/// A socket that was opened elsewhere may have some.
pub(crate) fn note_inherited(held: &Held) {
    let number = |(level, name): (c_int, c_int)| {
        let mut bytes = [0; 4];
        kernel::option(held.fd, level, name, &mut bytes).is_some() && bytes != [0; 4]
    };
    let has_filter = || kernel::option(held.fd, SOL_SOCKET, SO_GET_FILTER, &mut []).is_some_and(|n| n > 0);
    if NUMBERS.into_iter().any(number) || has_filter() {
        keep(held);
    }
}

fn keep(held: &Held) {
    held.file.set(Flag::Kernels, true);
    Reason::Fence.count();
}
