//! Lines on standard error. Never on the packet path, and never into a connection: where a server of inetd's kind has put
//! one there, its peer would take them for the program's own words.

use std::fmt;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{FileType, fstat};
use rustix::net::AddressFamily;
use rustix::net::sockopt::socket_domain;

/// Sets the level, unless the application logs by itself already.
pub fn init(level: tracing::Level) {
    // An application that has set its own subscriber keeps it.
    let _ = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(|| Lines)
        .with_target(false)
        .without_time()
        .try_init();
}

/// One line for who looks after the program.
pub fn tell(line: impl fmt::Display) {
    // Whoever has closed it does not want to hear.
    let _ = Lines.write_all(format!("ringroad: {line}\n").as_bytes());
}

/// Standard error, as it is when a line comes: a server that forks may put a connection there at any time.
struct Lines;

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match is_connection(io::stderr().as_fd(), io::stdin().as_fd()) {
            true => Ok(line.len()),
            false => io::stderr().write(line),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether what is written to `errors` goes to the program's peer. A Unix socket may as well be the way to the system's
/// log; where it is the input, too, it is a peer's.
fn is_connection(errors: BorrowedFd<'_>, input: BorrowedFd<'_>) -> bool {
    let same = || match (fstat(errors), fstat(input)) {
        (Ok(one), Ok(other)) => (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino),
        _ => false,
    };
    // Most often it is none: asked so that a program in a sandbox may be told, too.
    if !fstat(errors).is_ok_and(|file| FileType::from_raw_mode(file.st_mode) == FileType::Socket) {
        return false;
    }
    match socket_domain(errors) {
        Ok(AddressFamily::INET | AddressFamily::INET6) => true,
        Ok(_) => same(),
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::net::UdpSocket;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_connection_is_told_from_the_way_to_the_log() {
        let null = File::open("/dev/null").unwrap();
        let (one, other) = UnixStream::pair().unwrap();
        let internet = UdpSocket::bind("127.0.0.1:0").unwrap();
        assert!(is_connection(internet.as_fd(), null.as_fd()));
        assert!(is_connection(one.as_fd(), one.try_clone().unwrap().as_fd()));
        assert!(!is_connection(one.as_fd(), other.as_fd()), "as the journal has it");
        assert!(!is_connection(null.as_fd(), null.as_fd()), "as a terminal, or a file");
    }
}
