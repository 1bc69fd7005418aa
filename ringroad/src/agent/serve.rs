//! The agent's end.

use std::fs::{self, Permissions};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use std::{env, io};

use super::rules::Rules;
use super::users::Asker;
use super::wire::{Answer, LINE, Wish};
use crate::config::{Backend, Config};
use crate::control::server::make_directory;
use crate::error::StartError;
use crate::keeper;
use crate::port::{Port, Sockets};
use crate::wire::{Timed, hear, say, send};

/// Requests that are answered at a time.
const AT_ONCE: usize = 8;
/// How long a user may keep one of them waiting with each of what is to be said.
const PATIENCE: Duration = Duration::from_secs(5);

/// Listens at `socket` and has each request answered by a process that `answerer` makes of this command: it gets the
/// connection as its standard input. Does not come back while all is well.
///
/// # Errors
/// The file has faults, or the socket cannot be made.
pub fn serve(socket: &Path, rules: &Path, answerer: impl Fn(&mut Command)) -> Result<(), StartError> {
    let step = "starting the agent";
    let failed = |e: io::Error| StartError::new(step, e);
    // Faults are told now; who asks later hears of later ones.
    Rules::load(rules).map_err(|e| StartError::new(step, e))?;
    // Programs without privilege put their control sockets there.
    let _ = make_directory(Path::new(crate::control::RUN_DIR));
    // One that ended left it.
    let _ = fs::remove_file(socket);
    let listener = UnixListener::bind(socket).map_err(failed)?;
    fs::set_permissions(socket, Permissions::from_mode(0o666)).map_err(failed)?;
    let mut running: Vec<Child> = Vec::new();
    for stream in listener.incoming() {
        let stream: OwnedFd = stream.map_err(failed)?.into();
        running.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
        if running.len() >= AT_ONCE {
            let _ = running.remove(0).wait();
        }
        let mut command = Command::new(env::current_exe().map_err(failed)?);
        answerer(&mut command);
        command.stdin(Stdio::from(stream)).stdout(Stdio::null());
        match command.spawn() {
            Ok(child) => running.push(child),
            Err(error) => tracing::warn!(%error, "answering a request"),
        }
    }
    Ok(())
}

/// Answers the request on standard input.
///
/// # Errors
/// The user has gone, or said nothing that can be understood.
pub fn answer(rules: &Path) -> io::Result<()> {
    let stream: UnixStream = rustix::io::dup(io::stdin())?.into();
    stream.set_write_timeout(Some(PATIENCE))?;
    let asker = Asker::at(&stream)?;
    let wish: Wish = hear(Timed::new(&stream, PATIENCE), LINE)?;
    match open(rules, &asker, wish) {
        Ok(port) => {
            let descriptors = port.departing()?;
            say(&stream, &Answer::Port(descriptors.len()))?;
            send(&stream, &descriptors)
        }
        Err(why) => say(&stream, &Answer::Refused(why)),
    }
}

fn open(rules: &Path, asker: &Asker, wish: Wish) -> Result<Port, String> {
    let (limits, offload) = Rules::load(rules)?.judge(asker, &wish)?;
    // Whoever holds a TAP device may hand the kernel frames by it: that is not given away.
    let backend = Backend::AfXdp;
    let Wish { interfaces, frames, processes } = wish;
    let processes = Some(processes);
    let config = Config { interfaces, frames, processes, offload, backend, ..Config::default() };
    keeper::make_way(&config.interfaces);
    Port::open(&config, "", &limits, Sockets::AtOnce).map_err(|e| e.to_string())
}
