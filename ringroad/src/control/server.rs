//! The answering end: a Unix socket named after the process. A request is a line; `stat` is answered at once, what
//! concerns the policy by a thread of its own, since it may take long.

use std::fs::{self, Permissions};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{apply, place};
use crate::port::aside;
use crate::runtime::Runtime;

/// How long a client may keep the helper from its other work.
const PATIENCE: Duration = Duration::from_millis(50);
/// The longest line of a request, in bytes.
const REQUEST: usize = 64;

/// The control socket of this process.
pub(crate) struct Server {
    listener: UnixListener,
    path: PathBuf,
}

impl Server {
    /// Opens the socket in the first directory that lets us.
    pub(crate) fn open(configured: Option<&Path>) -> io::Result<Self> {
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for dir in place::directories(configured) {
            match Self::open_in(&dir) {
                Ok(server) => return Ok(server),
                Err(e) => last = e,
            }
        }
        Err(last)
    }

    fn open_in(dir: &Path) -> io::Result<Self> {
        make_directory(dir)?;
        let path = dir.join(format!("{}.sock", std::process::id()));
        // A dead process that had our number left it.
        let _ = fs::remove_file(&path);
        let listener: UnixListener = aside(UnixListener::bind(&path)?.into()).into();
        listener.set_nonblocking(true)?;
        Ok(Self { listener, path })
    }

    pub(crate) fn fd(&self) -> RawFd {
        self.listener.as_raw_fd()
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Answers everyone who waits.
    pub(crate) fn serve(&mut self, runtime: &'static Runtime) {
        while let Ok((client, _)) = self.listener.accept() {
            if let Err(error) = answer(client, runtime) {
                tracing::debug!(%error, "answering a control request");
            }
        }
    }
}

/// Makes the directory of the control sockets, open to every user when root makes it.
pub(crate) fn make_directory(dir: &Path) -> io::Result<()> {
    match fs::create_dir(dir) {
        Ok(()) => fs::set_permissions(dir, Permissions::from_mode(0o1777)),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(e) => Err(e),
    }
}

fn answer(mut client: UnixStream, runtime: &'static Runtime) -> io::Result<()> {
    client.set_nonblocking(false)?;
    client.set_read_timeout(Some(PATIENCE))?;
    client.set_write_timeout(Some(PATIENCE))?;
    // Byte by byte: what comes after the line is for whoever handles it.
    let mut line = Vec::with_capacity(REQUEST);
    let mut byte = [0];
    while line.len() < REQUEST && client.read(&mut byte)? == 1 && byte != [b'\n'] {
        line.push(byte[0]);
    }
    let mut words = line.split(|b| *b == b' ').map(|word| std::str::from_utf8(word).unwrap_or_default());
    match (words.next(), words.next()) {
        (Some("stat"), None) => client.write_all(&serde_json::to_vec(&runtime.report())?),
        (Some("alerts"), None) => client.write_all(&serde_json::to_vec(&runtime.alerts())?),
        (Some("policy"), None) => apply::begin(client, runtime, None),
        (Some("apply"), Some(len)) => apply::begin(client, runtime, Some(len.parse().unwrap_or(0))),
        _ => client.write_all(b"{\"error\":\"unknown request\"}"),
    }
}
