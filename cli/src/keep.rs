//! `ringroad keep`: the keeper of a port, which `ringroad run` starts and nobody else has to know.

use std::process::ExitCode;

use ringroad::{Config, keeper};

use crate::args::Keep;
use crate::complain;

/// The words that have this executable start a keeper.
pub(crate) const DETACH: [&str; 2] = ["keep", "--detach"];

/// Is the keeper, or starts it.
pub(crate) fn run(flags: &Keep) -> ExitCode {
    let (config, _) = Config::from_env();
    let done = if flags.detach { keeper::detach(&config, &DETACH[..1]) } else { keeper::keep(&config) };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}
