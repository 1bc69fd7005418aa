//! Headers that only the kernel writes: extension headers and IPv4 options that a socket has for all its packets, flow
//! labels that the application names. Such a socket sends and connects by the kernel, counted as `header`.

use libc::c_int;

use crate::fdtable::{Flag, Held};
use crate::kernel;

const IPV6_2292PKTOPTIONS: c_int = 6;
const IPV6_FLOWINFO_SEND: c_int = 33;
const IPV6_HOPOPTS: c_int = 54;
const IPV6_RTHDRDSTOPTS: c_int = 55;
const IPV6_RTHDR: c_int = 57;
const IPV6_DSTOPTS: c_int = 59;

/// Options that are headers, none of it when they are empty.
const STICKY: [(c_int, c_int); 5] = [
    (libc::IPPROTO_IP, libc::IP_OPTIONS),
    (libc::IPPROTO_IPV6, IPV6_HOPOPTS),
    (libc::IPPROTO_IPV6, IPV6_RTHDRDSTOPTS),
    (libc::IPPROTO_IPV6, IPV6_RTHDR),
    (libc::IPPROTO_IPV6, IPV6_DSTOPTS),
];

/// Whether an option is about such headers.
pub(crate) fn concerns(level: c_int, name: c_int) -> bool {
    STICKY.contains(&(level, name))
        || (level == libc::IPPROTO_IPV6 && matches!(name, IPV6_2292PKTOPTIONS | IPV6_FLOWINFO_SEND))
}

/// The kernel has taken such an option: notes whether the socket has any of these headers now.
pub(crate) fn note(held: &Held) {
    let mut room = [0; 256];
    let mut said = |(level, name)| kernel::option(held.fd, level, name, &mut room).unwrap_or(0);
    let sticky = STICKY.iter().any(|option| said(*option) > 0);
    let mut flag = [0; 4];
    let labels = held.file.is(Flag::V6)
        && kernel::option(held.fd, libc::IPPROTO_IPV6, IPV6_FLOWINFO_SEND, &mut flag) == Some(4)
        && flag != [0; 4];
    held.file.set(Flag::Headers, sticky || labels);
}
