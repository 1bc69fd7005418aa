//! The answering end: a Unix socket named after the process. A request is a line; `stat` is answered at once, what
//! concerns the policy by a thread of its own, since it may take long, and a capture by one as long as it takes.

use std::fs::{self, Permissions};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nic::Own;
use rustix::fs::{Mode, fchmod};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with};

use super::place::{self, Name};
use super::{apply, may_change};
use crate::capture;
use crate::port::aside;
use crate::runtime::Runtime;
use crate::wire::Timed;

/// How long a client may keep the helper from its other work: with its request in all, and with each piece of the answer.
const PATIENCE: Duration = Duration::from_millis(50);
/// Clients that wait.
const BACKLOG: i32 = 128;
/// The longest line of a request, in bytes.
const REQUEST: usize = 64;

/// The control socket of this process.
pub(crate) struct Server {
    listener: Own<UnixListener>,
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
        let path = dir.join(Name::of(std::process::id()).to_string());
        let listener = aside(listen_at(&path)?);
        Ok(Self { listener: Own::new(listener.into()), path })
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
            let client = Own::new(UnixStream::from(aside(client.into())));
            if let Err(error) = answer(client, runtime) {
                tracing::debug!(%error, "answering a control request");
            }
        }
    }
}

/// A socket for root and the user whose process this is, whatever the umask.
fn listen_at(path: &Path) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    // Before it has a name: the file gets the socket's mode.
    fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    // It gets the name by which it is found when it listens, whatever a dead process that had our number left there:
    // until then whoever comes would sweep it away as such.
    let draft = path.with_extension("new");
    let _ = fs::remove_file(&draft);
    bind(&socket, &SocketAddrUnix::new(&draft)?)?;
    let named = listen(&socket, BACKLOG).map_err(io::Error::from).and_then(|()| fs::rename(&draft, path));
    if named.is_err() {
        let _ = fs::remove_file(&draft);
    }
    named.map(|()| socket)
}

/// Makes the directory of the control sockets, open to every user when root makes it.
pub(crate) fn make_directory(dir: &Path) -> io::Result<()> {
    match fs::create_dir(dir) {
        Ok(()) => fs::set_permissions(dir, Permissions::from_mode(0o1777)),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(e) => Err(e),
    }
}

fn answer(mut client: Own<UnixStream>, runtime: &'static Runtime) -> io::Result<()> {
    client.set_nonblocking(false)?;
    client.set_write_timeout(Some(PATIENCE))?;
    let line = request(Timed::new(&*client, PATIENCE))?;
    let mut words = line.split(|b| *b == b' ').map(|word| std::str::from_utf8(word).unwrap_or_default());
    match (words.next(), words.next()) {
        (Some("stat"), None) => client.write_all(&serde_json::to_vec(&runtime.report(usize::MAX))?),
        (Some("dump"), None) => client.write_all(&serde_json::to_vec(&runtime.dump())?),
        (Some("alerts"), None) => client.write_all(&serde_json::to_vec(&runtime.alerts())?),
        (Some("metrics"), None) => client.write_all(&serde_json::to_vec(&runtime.report(0))?),
        (Some("flows"), None) if may_change(&client)? => runtime.listen_to_flows(client.into_inner()),
        (Some("flows"), None) => Err(io::ErrorKind::PermissionDenied.into()),
        (Some("policy"), None) => apply::begin(client, runtime, None),
        (Some("capture"), None) => capture::begin(client, runtime),
        (Some("adopt"), Some(files)) => apply::begin(client, runtime, Some(files.parse().unwrap_or(0))),
        _ => client.write_all(b"{\"error\":\"unknown request\"}"),
    }
}

/// A line, byte by byte: what comes after it is for whoever handles it.
fn request(mut from: impl Read) -> io::Result<Vec<u8>> {
    let mut line = Vec::with_capacity(REQUEST);
    let mut byte = [0];
    while line.len() < REQUEST && from.read(&mut byte)? == 1 && byte != [b'\n'] {
        line.push(byte[0]);
    }
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_a_line_and_what_follows_is_left() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(b"adopt 3\n{}\n").unwrap();
        assert_eq!(request(&ours).unwrap(), b"adopt 3");
        assert_eq!(request(&ours).unwrap(), b"{}");
        theirs.write_all(b"stat").unwrap();
        let late = request(Timed::new(&ours, Duration::from_millis(1))).unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);
        theirs.write_all(&[b'x'; 2 * REQUEST]).unwrap();
        assert_eq!(request(&ours).unwrap().len(), REQUEST);
    }

    #[test]
    fn the_socket_is_for_its_user() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        // What was left there is no hindrance.
        drop(UnixListener::bind(&path).unwrap());
        let _listener = listen_at(&path).unwrap();
        assert!(!path.with_extension("new").exists());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        UnixStream::connect(&path).unwrap();
    }
}
