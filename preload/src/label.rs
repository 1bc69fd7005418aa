//! A name on a kernel's socket, which whoever gets the socket can read: two numbers that any socket of TCP takes from anybody and
//! gives back as they are, and that mean something only to one which sends (socket(7), SO_MAX_PACING_RATE; tcp(7),
//! TCP_NOTSENT_LOWAT). They stand on sockets behind connections of the stack, which send nothing. (A packet filter's operands
//! would do as well, but there are kernels that take filters on TCP's sockets from the privileged alone.)

use libc::c_int;

use crate::errno::{Errno, check};
use crate::kernel;

/// What no application asks for: half of the mark that it is a name, "RR" twice.
const MARK: u32 = 0x5252_5252;
/// What a socket has that nobody asked.
const UNLIMITED: u64 = u64::MAX;

/// Puts a name on a socket, in place of the one before.
///
/// # Errors
/// The kernel's.
pub(crate) fn put(fd: c_int, name: u64) -> Result<(), Errno> {
    set(fd, MARK, name)
}

/// Takes the name off a socket.
pub(crate) fn remove(fd: c_int) {
    // What cannot be told is no socket of TCP, and has none.
    let _ = set(fd, 0, UNLIMITED);
}

fn set(fd: c_int, mark: u32, name: u64) -> Result<(), Errno> {
    let (name, mark) = (name.to_ne_bytes(), mark.to_ne_bytes());
    tell(fd, libc::SOL_SOCKET, libc::SO_MAX_PACING_RATE, &name)?;
    tell(fd, libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT, &mark)
}

fn tell(fd: c_int, level: c_int, option: c_int, value: &[u8]) -> Result<(), Errno> {
    let told =
        kernel::set_option_raw(fd, level, option, value.as_ptr().cast(), value.len() as libc::socklen_t);
    check(told as isize).map(|_| ())
}

/// The name on a socket, if there is one.
pub(crate) fn read(fd: c_int) -> Option<u64> {
    let mut mark = [0; size_of::<u32>()];
    kernel::option(fd, libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT, &mut mark)
        .filter(|length| *length == mark.len() && u32::from_ne_bytes(mark) == MARK)?;
    let mut name = [0; size_of::<u64>()];
    let length = kernel::option(fd, libc::SOL_SOCKET, libc::SO_MAX_PACING_RATE, &mut name)?;
    (length == name.len() && name != UNLIMITED.to_ne_bytes()).then(|| u64::from_ne_bytes(name))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn a_name_is_read_by_whoever_has_the_socket() {
        let socket = kernel::socket(libc::AF_INET, libc::SOCK_STREAM, 0).unwrap();
        assert_eq!(read(socket), None);
        let other = kernel::dup(socket, true).unwrap();
        for name in [0x0123_4567_89ab_cdef, 7, 0] {
            put(socket, name).unwrap();
            assert_eq!((read(socket), read(other)), (Some(name), Some(name)));
        }
        remove(other);
        assert_eq!(read(socket), None);
        [socket, other].into_iter().for_each(|fd| _ = kernel::close(fd));
    }

    #[test]
    fn other_sockets_and_files_have_none() {
        let socket = kernel::socket(libc::AF_INET, libc::SOCK_STREAM, 0).unwrap();
        tell(socket, libc::SOL_SOCKET, libc::SO_MAX_PACING_RATE, &7u64.to_ne_bytes()).unwrap();
        assert_eq!(read(socket), None);
        put(socket, 7).unwrap();
        tell(socket, libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT, &16384u32.to_ne_bytes()).unwrap();
        assert_eq!(read(socket), None);
        let _ = kernel::close(socket);
        assert_eq!((read(std::fs::File::open("/dev/null").unwrap().as_raw_fd()), read(-1)), (None, None));
        assert!(put(-1, 7).is_err());
    }
}
