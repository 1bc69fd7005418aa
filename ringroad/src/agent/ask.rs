//! The user's end.

use std::os::unix::net::UnixStream;
use std::path::Path;

use super::wire::{Answer, Wish, hear, receive, say};
use crate::config::Config;
use crate::error::StartError;
use crate::port::Port;

/// Has the agent at `socket` open the configured interfaces. The policy stays here: the gate is the user's own.
///
/// # Errors
/// What the agent says, or that it does not answer.
pub(crate) fn ask(socket: &Path, config: &Config, policy: &str) -> Result<Port, StartError> {
    let step = || format!("asking the agent for {}", config.interfaces.join(", "));
    let failed = |e: std::io::Error| StartError::new(step(), e);
    let stream = UnixStream::connect(socket).map_err(|e| {
        StartError::new(step(), e).remedy(format!("is `ringroad agent` running at {}?", socket.display()))
    })?;
    let wish = Wish { interfaces: config.interfaces.clone(), frames: config.frames };
    say(&stream, &wish).map_err(failed)?;
    match hear(&stream).map_err(failed)? {
        Answer::Port(count) => {
            receive(&stream, count).and_then(|all| Port::arrived(all, policy)).map_err(failed)
        }
        Answer::Refused(why) => Err(StartError::new(step(), why)),
    }
}
