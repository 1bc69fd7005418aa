//! The answering end: a Unix socket named after the process.

use std::fs::{self, Permissions};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::place;
use crate::port::aside;
use crate::runtime::Runtime;

/// How long a client may keep the helper from its other work.
const PATIENCE: Duration = Duration::from_millis(50);
/// The longest request, in bytes.
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
    pub(crate) fn serve(&mut self, runtime: &Runtime) {
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

fn answer(mut client: UnixStream, runtime: &Runtime) -> io::Result<()> {
    client.set_nonblocking(false)?;
    client.set_read_timeout(Some(PATIENCE))?;
    client.set_write_timeout(Some(PATIENCE))?;
    let mut request = [0; REQUEST];
    let mut len = 0;
    while len < REQUEST && !request[..len].contains(&b'\n') {
        match client.read(&mut request[len..])? {
            0 => break,
            n => len += n,
        }
    }
    let line = request[..len].split(|b| *b == b'\n').next().unwrap_or_default();
    match line {
        b"stat" => client.write_all(&serde_json::to_vec(&runtime.report())?),
        _ => client.write_all(b"{\"error\":\"unknown request\"}"),
    }
}
