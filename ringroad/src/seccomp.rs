//! Filters of system calls (seccomp(2)) that a program was put under before it began. Those of a container or of a service
//! are the launcher's, too, and it has opened the road under them; one that came between the two is for the program alone,
//! and may kill it for what a stack needs.

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::{read, retry_on_intr};

/// More than the kernel says of a process.
const STATUS: usize = 8192;

/// How many this process is under; none where the kernel does not tell. Makes no call that the dynamic loader does not make.
#[must_use]
pub fn filters() -> Option<u32> {
    let file = openat(CWD, "/proc/self/status", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let (mut text, mut len) = ([0; STATUS], 0);
    while let Ok(more @ 1..) = retry_on_intr(|| read(&file, &mut text[len..])) {
        len += more;
    }
    count(&text[..len])
}

fn count(status: &[u8]) -> Option<u32> {
    let line = status.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"Seccomp_filters:"))?;
    str::from_utf8(line).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_says_how_many_there_are() {
        assert_eq!(count(b"Seccomp:\t2\nSeccomp_filters:\t3\nCpus_allowed:\t3\n"), Some(3));
        assert_eq!(count(b"Seccomp:\t2\nSeccomp_filters:\tmany\n"), None);
        assert_eq!(count(b"Seccomp:\t0\n"), None);
        // Linux 5.9 and newer.
        assert!(filters().is_some());
    }
}
