//! Listeners that were open when the program began: a server's that executed its successor (nginx's binary upgrade), or
//! those of a supervisor (socket activation). To the library they are as if the program had opened them.

use libc::c_int;
use stack::types::canonical;

use crate::dispatch::lifecycle;
use crate::fdtable::{self, Flag, Kind};
use crate::{kernel, options};

/// The backlog that Linux gives at the most (net.core.somaxconn).
const BACKLOG_MOST: c_int = 4096;

/// Takes every TCP listener that is open already.
pub(crate) fn take_listeners() {
    let Ok(open) = std::fs::read_dir("/proc/self/fd") else { return };
    let numbers = open.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<c_int>().ok());
    for fd in numbers.collect::<Vec<_>>() {
        if fdtable::is_protected(fd) {
            continue;
        }
        if let Some(family) = listener_family(fd) {
            take(fd, family);
        }
    }
}

/// AF_INET or AF_INET6, of a listening TCP socket.
fn listener_family(fd: c_int) -> Option<c_int> {
    let option = |name| {
        let mut value = [0; 4];
        kernel::option(fd, libc::SOL_SOCKET, name, &mut value).map(|_| c_int::from_ne_bytes(value))
    };
    let listens = option(libc::SO_ACCEPTCONN)? == 1 && option(libc::SO_PROTOCOL)? == libc::IPPROTO_TCP;
    option(libc::SO_DOMAIN).filter(|family| listens && matches!(*family, libc::AF_INET | libc::AF_INET6))
}

fn take(fd: c_int, family: c_int) {
    let local = kernel::local(fd).map(canonical);
    let nonblocking = kernel::fcntl(fd, libc::F_GETFL, 0).is_ok_and(|flags| flags & libc::O_NONBLOCK != 0);
    lifecycle::remember(fd, Kind::Stream, |held| {
        held.file.set(Flag::NonBlocking, nonblocking);
        held.file.set(Flag::V6, family == libc::AF_INET6);
        held.file.set(Flag::Bound, local.is_some());
        held.file.set(Flag::Listening, true);
        held.file.set_backlog(backlog(fd));
        options::note_v6_only(held);
        options::note_inherited(held);
    });
}

/// What `listen` was told: TCP_INFO has it, of a listener, as tcpi_sacked.
fn backlog(fd: c_int) -> c_int {
    /// Octets in front of tcpi_sacked: eight of small fields, then rto, ato, snd_mss, rcv_mss, unacked.
    const SACKED_AT: usize = 8 + 5 * 4;
    let mut info = [0; SACKED_AT + 4];
    match kernel::option(fd, libc::IPPROTO_TCP, libc::TCP_INFO, &mut info) {
        Some(len) if len == info.len() => c_int::from_ne_bytes([
            info[SACKED_AT],
            info[SACKED_AT + 1],
            info[SACKED_AT + 2],
            info[SACKED_AT + 3],
        ]),
        _ => BACKLOG_MOST,
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn a_listener_is_known_and_so_is_its_backlog() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        assert_eq!(listener_family(listener.as_raw_fd()), Some(libc::AF_INET));
        assert_eq!(kernel::listen(listener.as_raw_fd(), 77), 0);
        assert_eq!(backlog(listener.as_raw_fd()), 77);
        let other = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        assert_eq!(listener_family(other.as_raw_fd()), None);
        assert_eq!(listener_family(-1), None);
    }
}
