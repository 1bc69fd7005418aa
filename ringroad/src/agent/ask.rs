//! The user's end.

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::wire::{Answer, LINE, Wish, processes};
use crate::config::{Backend, Config};
use crate::error::StartError;
use crate::port::Port;
use crate::wire::{Timed, hear, receive, say};

/// How long the agent may take: queues of real interfaces are stopped and started for it, and others may be before us.
const OPENING: Duration = Duration::from_secs(60);

/// Has the agent at `socket` open the configured interfaces. The policy stays here: the gate is the user's own.
///
/// # Errors
/// What the agent says, or that it does not answer.
pub(crate) fn ask(socket: &Path, config: &Config, policy: &str) -> Result<Port, StartError> {
    let step = || format!("asking the agent for {}", config.interfaces.join(", "));
    let failed = |e: std::io::Error| StartError::new(step(), e);
    let why = match config.backend {
        Backend::Auto | Backend::AfXdp => None,
        Backend::Packet => Some(
            "it opens AF_XDP only: by the backend packet the program could send to this host as any other",
        ),
        // Who asks for it opens it without an agent.
        Backend::Tap => Some("it opens AF_XDP only"),
        Backend::EfVi => {
            Some("it opens AF_XDP only: an adapter leads what it is told to, whatever the rules say")
        }
    };
    if let Some(why) = why {
        return Err(StartError::new(step(), why).remedy("--backend af-xdp, or root"));
    }
    let stream = UnixStream::connect(socket).map_err(|e| {
        StartError::new(step(), e).remedy(format!("is `ringroad agent` running at {}?", socket.display()))
    })?;
    let frames = config.frames;
    let processes = config.processes.unwrap_or_else(self::processes);
    let wish = Wish { interfaces: config.interfaces.clone(), frames, processes };
    say(&stream, &wish).map_err(failed)?;
    match hear(Timed::new(&stream, OPENING), LINE).map_err(failed)? {
        Answer::Port(count) => {
            receive(&stream, count).and_then(|all| Port::arrived(all, policy)).map_err(failed)
        }
        Answer::Refused(why) => Err(StartError::new(step(), why)),
    }
}
