//! `ringroad agent`: listens, and has each request answered by a process of its own.

use std::process::ExitCode;

use ringroad::agent;

use crate::args::Agent;
use crate::complain;

/// Does not come back while all is well.
pub(crate) fn run(flags: &Agent) -> ExitCode {
    let done: Result<(), Box<dyn std::error::Error>> = if flags.answer {
        agent::answer(&flags.rules).map_err(Into::into)
    } else {
        let answerer = |command: &mut std::process::Command| {
            command.args(["agent", "--answer", "--rules"]).arg(&flags.rules);
        };
        agent::serve(&flags.socket, &flags.rules, answerer).map_err(Into::into)
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}
