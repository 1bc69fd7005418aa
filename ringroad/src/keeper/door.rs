//! Where a program that is started later asks the keeper for its port: an abstract Unix socket for each interface, so
//! that what has one name in two network namespaces are two doors. Who asks, and who answers, is told by the kernel.
//!
//! Anybody can listen at such a name. So a port is taken from the same user or root only, and nobody is waited for
//! longer than [`PATIENCE`]. To *go* any keeper may be asked, and it obeys its own user and root: who may open an
//! interface, root or the agent for somebody whom its file permits, does not stand behind what a program left that
//! has ended, whosever it was.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use serde::{Deserialize, Serialize};

use crate::config::{Backend, Config};
use crate::error::StartError;
use crate::peer::Peer;
use crate::port::Port;
use crate::wire::{Timed, hear, receive, say, send};

/// How long either may keep the other waiting.
const PATIENCE: Duration = Duration::from_secs(2);

/// The longest line.
const LINE: usize = 1 << 14;

/// What somebody wants at the door.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Wish {
    /// The port, if it is of these interfaces, has so many frames, is for so many processes, and by this
    /// backend; of a program that shares it with others, or does not.
    Port { interfaces: Vec<String>, frames: u32, processes: Option<u8>, backend: Backend, share: bool },
    /// That the keeper ends, whatever it has left to do.
    Go,
}

/// What the keeper answers.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Answer {
    /// So many descriptors follow. Programs of the same user use the port, if it says so: theirs is the policy.
    Port { count: usize, used: bool },
    /// The port is another one.
    Another,
    /// Programs use it that are another user's or of another PID namespace, or either shares nothing, or it is another
    /// one: this process, if any has a stack already.
    Used(Option<u32>),
    /// It goes: the connection ends when it has.
    Going,
}

/// What a program says that got a port for itself: its policy is in force there.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct InForce;

/// The doors of a keeper.
pub(super) struct Doors(Vec<UnixListener>);

impl Doors {
    /// Opens one for each interface; one that is taken stays closed.
    pub(super) fn open(interfaces: &[String]) -> Self {
        let open = |name: &String| {
            let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(door_of(name))?)?;
            listener.set_nonblocking(true)?;
            Ok(listener)
        };
        let warn = |error: &io::Error| tracing::warn!(%error, "a keeper without a door");
        Self(interfaces.iter().filter_map(|name| open(name).inspect_err(warn).ok()).collect())
    }

    /// Readable when somebody is there.
    pub(super) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.0.iter().map(AsFd::as_fd)
    }

    /// Who is there next and may ask: the same user, or root.
    pub(super) fn next(&self) -> Option<(UnixStream, Wish)> {
        let accept = |door: &UnixListener| -> io::Result<_> {
            let (stream, _) = door.accept()?;
            patient(&stream)?;
            let wish =
                if is_trusted(&stream)? { Some(hear(Timed::new(&stream, PATIENCE), LINE)?) } else { None };
            Ok(wish.map(|wish| (stream, wish)))
        };
        self.0.iter().find_map(|door| accept(door).ok().flatten())
    }
}

/// Says `answer`, and sends what it promises.
pub(super) fn answer(to: &UnixStream, answer: &Answer, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    say(to, answer)?;
    send(to, descriptors)
}

/// Waits until whoever got the port for itself has put its policy in force: the next one that asks is to find that one.
///
/// # Errors
/// It went without the port, or takes too long.
pub(super) fn settled(stream: &UnixStream) -> io::Result<()> {
    hear(Timed::new(stream, PATIENCE), LINE).map(|InForce| ())
}

/// The port that a keeper has for the configured interfaces, with `policy` in it: programs of this user may use it already.
/// A keeper whose port is another one is asked to go.
///
/// # Errors
/// Programs use it under another policy.
pub(crate) fn share(config: &Config, policy: &str) -> Result<Option<Port>, StartError> {
    for name in &config.interfaces {
        let wish = Wish::Port {
            interfaces: config.interfaces.clone(),
            frames: config.frames,
            processes: config.processes,
            backend: config.backend,
            share: config.share,
        };
        let Ok((stream, answer)) = ask(name, &wish) else { continue };
        match answer {
            Answer::Port { count, used } => {
                match receive(&stream, count).and_then(|all| Port::joined(all, policy, used)) {
                    Ok(port) => {
                        if !used {
                            // A keeper that does not hear it waits no longer.
                            let _ = say(Timed::new(&stream, PATIENCE), &InForce);
                        }
                        return Ok(Some(port));
                    }
                    Err(error) if used => return Err(beside(name, &error)),
                    Err(error) => {
                        tracing::info!(%error, "the port of a program that ended is not for this one")
                    }
                }
            }
            Answer::Another => {}
            Answer::Used(_) | Answer::Going => continue,
        }
        drop(stream);
        send_away(name);
    }
    Ok(None)
}

fn beside(name: &str, error: &io::Error) -> StartError {
    let wrong = error.kind() == io::ErrorKind::PermissionDenied;
    let remedy = if wrong { "`ringroad policy apply` changes it for all of them" } else { "" };
    StartError::new(format!("joining the programs on {name}"), error).remedy(remedy)
}

/// Has the keepers of these interfaces end, where only they hold them.
pub(crate) fn make_way(interfaces: &[String]) {
    interfaces.iter().for_each(|name| send_away(name));
}

fn send_away(name: &str) {
    if let Ok((stream, Answer::Going)) = ask(name, &Wish::Go) {
        tracing::info!(name, "what a program that ended had left to deliver is given up for another one");
        // Its end is the end of the stream.
        let _ = hear::<Answer>(Timed::new(&stream, PATIENCE), LINE);
    }
}

fn ask(name: &str, wish: &Wish) -> io::Result<(UnixStream, Answer)> {
    let stream = knock(name, PATIENCE)?;
    if *wish != Wish::Go && !is_trusted(&stream)? {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    say(&stream, wish)?;
    let answer = hear(Timed::new(&stream, PATIENCE), LINE)?;
    Ok((stream, answer))
}

/// Connects. One that listens and never accepts has a queue that is full one day: then connecting waits, too.
fn knock(name: &str, patience: Duration) -> io::Result<UnixStream> {
    let fd = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    set_socket_timeout(&fd, Timeout::Send, Some(patience))?;
    connect(&fd, &SocketAddrUnix::new_abstract_name(door_of(name).as_bytes())?)?;
    let stream = fd.into();
    patient(&stream)?;
    Ok(stream)
}

fn patient(stream: &UnixStream) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_write_timeout(Some(PATIENCE))
}

/// Whether programs of ours and those of the other end may use a port together: they are the same user's, and know each
/// other by the same numbers.
pub(super) fn may_join(stream: &UnixStream) -> bool {
    let pids = |who: &str| std::fs::read_link(format!("/proc/{who}/ns/pid"));
    Peer::of(stream).is_ok_and(|peer| {
        let theirs = pids(&peer.pid.to_string()).ok();
        peer.uid == rustix::process::geteuid().as_raw() && theirs.is_some() && theirs == pids("self").ok()
    })
}

/// Whether the other end is the same user's, or root's.
fn is_trusted(stream: &UnixStream) -> io::Result<bool> {
    let other = Peer::of(stream)?.uid;
    Ok(other == 0 || other == rustix::process::geteuid().as_raw())
}

/// The abstract name of an interface's door.
fn door_of(interface: &str) -> String {
    format!("ringroad/keeper/{interface}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_knocks_is_heard_and_a_door_opens_once() {
        let name = format!("test-{}", std::process::id());
        let doors = Doors::open(&[name.clone(), name.clone()]);
        assert_eq!(doors.fds().count(), 1, "the second is taken");
        let client = std::thread::spawn(move || ask(&name, &Wish::Go).map(|(_, answer)| answer));
        let (stream, wish) = std::iter::repeat_with(|| doors.next()).flatten().next().unwrap();
        assert_eq!(wish, Wish::Go);
        assert!(may_join(&stream), "it is this process");
        answer(&stream, &Answer::Used(Some(7)), &[]).unwrap();
        assert_eq!(client.join().unwrap().unwrap(), Answer::Used(Some(7)));
    }

    #[test]
    fn whose_port_it_is_is_waited_for_until_it_has_its_policy_or_goes() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        say(&theirs, &InForce).unwrap();
        settled(&ours).unwrap();
        drop(theirs);
        assert_eq!(settled(&ours).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    /// Its queue is full: whoever connects waits for it to accept.
    #[test]
    fn who_never_opens_is_not_waited_for() {
        let name = format!("deaf-{}", std::process::id());
        let fd = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
        rustix::net::bind(&fd, &SocketAddrUnix::new_abstract_name(door_of(&name).as_bytes()).unwrap())
            .unwrap();
        rustix::net::listen(&fd, 0).unwrap();
        let soon = Duration::from_millis(1);
        let first = knock(&name, soon).unwrap();
        assert_eq!(knock(&name, soon).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(first);
    }

    #[test]
    fn where_nobody_keeps_anything_nobody_is_asked() {
        let config =
            Config { interfaces: vec![format!("nobody-{}", std::process::id())], ..Config::default() };
        assert!(share(&config, "").unwrap().is_none());
        make_way(&config.interfaces);
    }
}
