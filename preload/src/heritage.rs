//! Listeners that were open when the program began: a server's that executed its successor (nginx's binary upgrade), or
//! those of a supervisor (socket activation); and those that another process sends, UDP sockets among them. To the library
//! they are as if the program had opened them. Connections that have a name (`label`) are the keeper's until they are used.

use libc::c_int;

use crate::dispatch::lifecycle;
use crate::fdtable::{self, Flag, Held, Kind};
use crate::{heirs, kernel, label, options, state};

/// The backlog that Linux gives at the most (net.core.somaxconn).
const BACKLOG_MOST: c_int = 4096;

/// Takes every TCP listener that is open already, and every connection that was sent to this process before it became this
/// program.
pub(crate) fn take_open() {
    let Ok(open) = std::fs::read_dir("/proc/self/fd") else { return };
    let numbers = open.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<c_int>().ok());
    numbers.collect::<Vec<_>>().into_iter().for_each(|fd| _ = take_stream(fd));
}

/// Takes a descriptor that came from another process, if it is a listener, a connection or a UDP socket.
pub(crate) fn take_arrived(fd: c_int) {
    if !take_stream(fd) && sort(fd).is_some_and(|sort| sort.protocol == libc::IPPROTO_UDP) {
        take(fd, Kind::Datagram, None);
    }
}

/// Takes a descriptor if it is a TCP listener, or a connection that has a name.
fn take_stream(fd: c_int) -> bool {
    let Some(sort) = sort(fd).filter(|sort| sort.protocol == libc::IPPROTO_TCP) else { return false };
    if sort.listens {
        if let Some(held) = take(fd, Kind::Stream, None) {
            held.file.set_backlog(backlog(fd));
            held.file.set(Flag::Listening, true);
        }
    } else if let Some(name) = label::read(fd)
        && let Some(held) = take(fd, Kind::Stream, Some(name))
    {
        held.file.set(Flag::Offered, true);
        heirs::arrived(&held, name);
    }
    true
}

/// What a socket of IP is.
struct Sort {
    protocol: c_int,
    listens: bool,
}

/// What is behind a descriptor; none for what is the library's own, or no socket of IP.
fn sort(fd: c_int) -> Option<Sort> {
    if fdtable::is_protected(fd) {
        return None;
    }
    family(fd).filter(|family| matches!(*family, libc::AF_INET | libc::AF_INET6))?;
    Some(Sort { protocol: option(fd, libc::SO_PROTOCOL)?, listens: option(fd, libc::SO_ACCEPTCONN)? == 1 })
}

fn family(fd: c_int) -> Option<c_int> {
    option(fd, libc::SO_DOMAIN)
}

fn option(fd: c_int, name: c_int) -> Option<c_int> {
    let mut value = [0; 4];
    kernel::option(fd, libc::SOL_SOCKET, name, &mut value).map(|_| c_int::from_ne_bytes(value))
}

/// A file for a descriptor, unless its socket is here already: then it is another name of that.
fn take(fd: c_int, kind: Kind, name: Option<u64>) -> Option<Held> {
    lifecycle::forget_stale(fd);
    if let Some(same) = already_here(fd, kind, name) {
        state::lock().registry.alias(fd, &same);
        return None;
    }
    let bound = match kind {
        Kind::Datagram => kernel::local(fd).is_some_and(|local| local.port() != 0),
        _ => kernel::local(fd).is_some(),
    };
    let nonblocking = kernel::fcntl(fd, libc::F_GETFL, 0).is_ok_and(|flags| flags & libc::O_NONBLOCK != 0);
    lifecycle::remember(fd, kind, |held| {
        held.file.set(Flag::NonBlocking, nonblocking);
        held.file.set(Flag::V6, family(fd) == Some(libc::AF_INET6));
        held.file.set(Flag::Bound, bound);
        options::note_v6_only(held);
        options::note_inherited(held);
        options::note_timeouts(held);
    })
}

/// The file of the same socket that this process has already, by another descriptor.
fn already_here(fd: c_int, kind: Kind, name: Option<u64>) -> Option<Held> {
    let cookie = cookie(fd)?;
    let state = state::lock();
    // A socket has one name: what bears another needs no question.
    let may_be = |held: &Held| heirs::name(&state.heirs, held.word).is_none_or(|other| Some(other) == name);
    let mut all = state.registry.in_range(0, c_int::MAX);
    all.retain(may_be);
    drop(state);
    let is_own = |held: &Held| held.file.kind() == kind && !held.file.is(Flag::SharedBacking);
    all.into_iter().find(|held| held.fd != fd && is_own(held) && self::cookie(held.fd) == Some(cookie))
}

/// The kernel's own name of a socket.
fn cookie(fd: c_int) -> Option<u64> {
    let mut value = [0; 8];
    kernel::option(fd, libc::SOL_SOCKET, libc::SO_COOKIE, &mut value)?;
    Some(u64::from_ne_bytes(value))
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
        let listens = |fd| sort(fd).map(|sort| (sort.protocol, sort.listens));
        assert_eq!(listens(listener.as_raw_fd()), Some((libc::IPPROTO_TCP, true)));
        assert_eq!(kernel::listen(listener.as_raw_fd(), 77), 0);
        assert_eq!(backlog(listener.as_raw_fd()), 77);
        let other = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        assert_eq!(listens(other.as_raw_fd()), Some((libc::IPPROTO_UDP, false)));
        assert_eq!(listens(-1), None);
    }

    #[test]
    fn a_listener_that_comes_twice_is_one_file() {
        assert!(fdtable::start());
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let again = listener.try_clone().unwrap();
        let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let words = [&listener, &again, &other].map(|listener| {
            take_arrived(listener.as_raw_fd());
            fdtable::get(listener.as_raw_fd()).unwrap()
        });
        assert_eq!(words[0].word, words[1].word);
        assert_ne!(words[0].word, words[2].word);
        take_arrived(listener.as_raw_fd());
        assert_eq!(fdtable::get(listener.as_raw_fd()).unwrap().word, words[0].word);
        words.iter().for_each(lifecycle::forget);
    }
}
