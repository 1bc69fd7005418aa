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
    fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| is_ending(&stat))
}

/// The same, of what /proc says.
fn is_ending(stat: &str) -> bool {
    /// PF_EXITING (linux/sched.h).
    const EXITING: u64 = 4;
    // The command in parentheses may hold anything; the flags are the ninth field (proc_pid_stat(5)).
    let flags =
        stat.rsplit_once(')').and_then(|(_, rest)| rest.split_ascii_whitespace().nth(6)?.parse().ok());
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
    use std::os::unix::net::UnixStream;
    use std::thread;

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

    /// A thread is a task as a process is. (A child would have what the tests beside this one have open until it
    /// executes: what they close would stay open.)
    #[test]
    fn a_task_has_ended_as_soon_as_its_end_is_heard_of() {
        let task = thread::scope(|scope| {
            let task = scope.spawn(|| {
                let task = rustix::thread::gettid().as_raw_nonzero().get().cast_unsigned();
                assert!(!has_ended(task));
                task
            });
            task.join().unwrap()
        });
        assert!(has_ended(task) && has_ended(u32::MAX) && !has_ended(std::process::id()));
    }

    #[test]
    fn who_is_about_to_end_has_ended() {
        let stat =
            |flags| format!("5318 (a) b) Z 5317 5318 5303 0 -1 {flags} 95 0 0 0 0 0 0 0 20 0 1 0 78521 0 0");
        assert!(is_ending(&stat("4228108")) && !is_ending(&stat("4194304")), "PF_EXITING");
        assert!(is_ending("5318 (cat) Z") && is_ending(""));
    }
}
