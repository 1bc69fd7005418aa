//! How a keeper comes to be. The launcher starts a process that leaves its session, starts the keeper and ends: so the
//! keeper is no child of the program that the launcher becomes, and no terminal, pipe or socket of it stays open.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::fd::{OwnedFd, RawFd};
use std::process::{Command, Stdio};

use rustix::io::{FdFlags, fcntl_setfd};

use crate::config::Config;
use crate::error::StartError;
use crate::port::{Port, borrow};

/// What the keeper says when it holds its slot.
const READY: u8 = b'r';

/// Starts the keeper of the port that `variables` name and comes back when it is there. `words` are those that have
/// this executable [`detach`]; `line` is its end of the port's line.
pub(crate) fn begin(line: OwnedFd, variables: &[(&str, OsString)], words: &[&str]) -> io::Result<()> {
    let said = Command::new(std::env::current_exe()?)
        .args(words)
        .env_clear()
        .envs(variables.iter().filter(|(name, _)| *name != "LD_PRELOAD").map(|(name, value)| (name, value)))
        .stdin(line)
        .stderr(Stdio::null())
        .output()?;
    match said.stdout.first() {
        Some(&READY) => Ok(()),
        _ => Err(io::Error::other("it did not begin")),
    }
}

/// Leaves the session, has `words` start this executable as the keeper, and says when that is ready.
///
/// # Errors
/// The step that failed.
pub fn detach(config: &Config, words: &[&str]) -> Result<(), StartError> {
    let failed = |e: io::Error| StartError::new("starting the keeper", e);
    // The leader of a group cannot; it has its session already.
    let _ = rustix::process::setsid();
    leave_behind(config).map_err(failed)?;
    let mut keeper = Command::new(std::env::current_exe().map_err(failed)?)
        .args(words)
        .current_dir("/")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(failed)?;
    let mut word = [0];
    let mut said = keeper.stdout.take().ok_or_else(|| failed(io::ErrorKind::BrokenPipe.into()))?;
    said.read_exact(&mut word).map_err(failed)?;
    io::stdout().write_all(&word).map_err(failed)
}

/// Says that the keeper is ready.
pub(super) fn ready() -> io::Result<()> {
    io::stdout().write_all(&[READY])?;
    io::stdout().flush()
}

/// The keeper gets the descriptors of the port, its own end of the line as its standard input, and no others.
fn leave_behind(config: &Config) -> io::Result<()> {
    let port = Port::inherited(config).ok_or(io::ErrorKind::NotFound)?.map_err(io::Error::from)?;
    let keeps: Vec<RawFd> = Port::held(config).into_iter().filter(|fd| *fd != port.line()).collect();
    let open = std::fs::read_dir("/proc/self/fd")?;
    let numbers: Vec<RawFd> =
        open.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    for number in numbers.into_iter().filter(|fd| *fd > 2 && !keeps.contains(fd)) {
        // The one that read the folder is closed already.
        let _ = borrow(number).map(|fd| fcntl_setfd(fd, FdFlags::CLOEXEC));
    }
    Ok(())
}
