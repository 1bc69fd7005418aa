//! Whose a process is: SO_PEERCRED, and what /proc says.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// Who is at the other end of a Unix socket; of a connection, who listened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    /// The process; 0 where our PID namespace does not have it, which no type of rustix can say.
    pub(crate) pid: u32,
    /// The user as whom it listened or connected.
    pub(crate) uid: u32,
    /// The group.
    pub(crate) gid: u32,
}

impl Peer {
    /// The other end of `socket`.
    ///
    /// # Errors
    /// As the system call.
    pub(crate) fn of(socket: &impl AsFd) -> io::Result<Self> {
        let fd = socket.as_fd().as_raw_fd();
        let mut peer = libc::ucred { pid: 0, uid: 0, gid: 0 };
        let mut len = size_of_val(&peer) as libc::socklen_t;
        let (level, name) = (libc::SOL_SOCKET, libc::SO_PEERCRED);
        // SAFETY: the kernel writes no more than `len` bytes to `peer`, which is so long and of integers only, and its
        // length to `len`; both outlive the call.
        let failed =
            unsafe { libc::syscall(libc::SYS_getsockopt, fd, level, name, &raw mut peer, &raw mut len) };
        if failed != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { pid: peer.pid as u32, uid: peer.uid, gid: peer.gid })
    }
}

/// The user as whom a process acts now; none: it does not live.
pub(crate) fn user_of(pid: u32) -> Option<u32> {
    // Real, effective, saved, and of files (proc_pid_status(5)).
    users_of(pid)?[1]
}

/// Whether a process has ended, or is about to: what it has open is closed before it is gone, and somebody may have to hear
/// of its end first.
pub(crate) fn has_ended(pid: u32) -> bool {
    /// PF_EXITING (linux/sched.h).
    const EXITING: u64 = 4;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok();
    // The command in parentheses may hold anything; the flags are the ninth field (proc_pid_stat(5)).
    let flags = stat.and_then(|stat| stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(6)?.parse().ok());
    flags.is_none_or(|flags: u64| flags & EXITING != 0)
}

fn users_of(pid: u32) -> Option<[Option<u32>; 4]> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    let mut all = line.split_whitespace().map(|uid| uid.parse().ok());
    Some(std::array::from_fn(|_| all.next().flatten()))
}

/// Whether a process lives and is of the user whose file it is said to have; that may have begun as root. The owner of the
/// process's directory would not do: that is root's where it has changed its user.
pub(crate) fn acts_as(pid: u32, owner: u32) -> bool {
    users_of(pid).is_some_and(|users| owner == 0 || users.contains(&Some(owner)))
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;
    use std::process::Command;

    use super::*;

    #[test]
    fn the_other_end_is_who_made_it() {
        let (one, _other) = UnixStream::pair().unwrap();
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let me = Peer { pid: std::process::id(), uid, gid };
        assert_eq!(Peer::of(&one).unwrap(), me);
        assert!(Peer::of(&std::fs::File::open("/dev/null").unwrap()).is_err());
        assert_eq!((user_of(me.pid), user_of(u32::MAX)), (Some(uid), None));
        assert!(acts_as(me.pid, uid) && !acts_as(u32::MAX, uid) && !acts_as(me.pid, u32::MAX));
    }

    #[test]
    fn a_process_has_ended_when_what_it_had_open_is_closed() {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let mut cat = Command::new("cat").stdin(OwnedFd::from(theirs)).spawn().unwrap();
        assert!(!has_ended(std::process::id()) && !has_ended(cat.id()) && has_ended(u32::MAX));
        cat.kill().unwrap();
        // Its end of the stream closes as it ends, and is all there was.
        assert_eq!(ours.read(&mut [0]).unwrap(), 0);
        assert!(has_ended(cat.id()));
        cat.wait().unwrap();
        assert!(has_ended(cat.id()));
    }
}
