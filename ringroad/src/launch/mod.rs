//! Starts a program under Ringroad: opens what needs privilege, then becomes the program.

mod library;

use std::convert::Infallible;
use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use crate::config::Config;
use crate::control::server::make_directory;
use crate::error::StartError;
use crate::keeper;
use crate::log;
use crate::port::Sockets;
use crate::runtime;
use crate::seccomp;

/// Opens the interfaces, loads the policy, and replaces this process by `command` with the shim loaded. `keeper` are
/// the words that have this executable [`detach`](crate::keeper::detach) a keeper.
///
/// What fails is reported on standard error, one line each, and the program runs in the kernel; where the configuration
/// [insists](Config::insists) it does not run.
///
/// # Errors
/// The step that failed, where the configuration insists; and the program's own: not found, not executable.
pub fn run(config: &Config, command: &[OsString], keeper: &[&str]) -> Result<Infallible, StartError> {
    let [program, arguments @ ..] = command else {
        return Err(StartError::new("starting the program", "none is named"));
    };
    let mut child = Command::new(program);
    child.args(arguments);
    match prepare(config, keeper) {
        Ok(variables) => {
            child.envs(variables);
        }
        Err(error) if config.insists() => return Err(error),
        Err(error) => log::tell(format_args!("{error}; the program runs in the kernel")),
    }
    let error = child.exec();
    Err(StartError::new(format!("starting {}", program.to_string_lossy()), error))
}

/// Opens everything; answers the variables that the program needs.
fn prepare(config: &Config, keeper: &[&str]) -> Result<Vec<(&'static str, OsString)>, StartError> {
    let library = library::find()?;
    let kept = !dies_with_its_program();
    let mut port = runtime::open(config, if kept { Sockets::Later } else { Sockets::AtOnce })?;
    let line = port.take_line().filter(|_| kept && port.can_be_kept());
    let needs_keeper = port.needs_keeper();
    let fd = port.hand_over().map_err(|e| StartError::new("handing the port over", e))?;
    // A program that drops its privilege cannot make it; without it `stat` looks elsewhere.
    let _ = make_directory(Path::new(crate::control::RUN_DIR));
    for place in [&config.flows, &config.shadow].into_iter().flatten() {
        // Whoever writes there says why it cannot.
        let _ = place.directory.parent().map(std::fs::create_dir_all);
        let _ = make_directory(&place.directory);
    }
    let mut variables = vec![
        ("LD_PRELOAD", library::preload(&library, std::env::var_os("LD_PRELOAD").as_deref())),
        ("RINGROAD_PORT", fd.to_string().into()),
        ("RINGROAD_IFACE", config.interfaces.join(",").into()),
        ("RINGROAD_BACKEND", config.backend.name().into()),
        ("RINGROAD_PROFILE", config.profile.name().into()),
        ("RINGROAD_SPIN_CALLS", config.spin_calls.to_string().into()),
        ("RINGROAD_CONGESTION", config.congestion.name().into()),
        ("RINGROAD_LOG", config.log.as_str().to_ascii_lowercase().into()),
        ("RINGROAD_STRICT", u8::from(config.strict).to_string().into()),
        ("RINGROAD_FRAMES", config.frames.to_string().into()),
        ("RINGROAD_SHARE", u8::from(config.share).to_string().into()),
        ("RINGROAD_LINGER_MS", config.linger.as_millis().to_string().into()),
    ];
    if let Some(processes) = config.processes {
        variables.push(("RINGROAD_PROCESSES", processes.to_string().into()));
    }
    if !config.apart.is_empty() {
        variables.push(("RINGROAD_ADDRESS", config.apart.to_string().into()));
    }
    if let Some(filters) = seccomp::filters() {
        variables.push(("RINGROAD_FILTERS", filters.to_string().into()));
    }
    if let Some(mode) = config.ecn {
        variables.push(("RINGROAD_ECN", mode.to_string().into()));
    }
    if let Some(spin) = config.spin {
        variables.push(("RINGROAD_SPIN_US", spin.as_micros().to_string().into()));
    }
    variables.extend(config.places());
    if let Some(line) = line
        && let Err(error) = keeper::begin(line, &variables, keeper)
    {
        let lost = match needs_keeper {
            true => {
                "what the program leaves when it ends is not gone on with, and one process alone is on the road"
            }
            false => "what the program leaves when it ends is not gone on with",
        };
        log::tell(format_args!("no keeper: {error}; {lost}"));
    }
    Ok(variables)
}

/// The first process of a container takes all others with it when it ends: a keeper would be no use.
fn dies_with_its_program() -> bool {
    std::process::id() == 1
}

/// Whether this process was started with the shim.
pub(crate) fn shim_is_loaded() -> bool {
    std::env::var_os("LD_PRELOAD").is_some_and(|preload| library::names_shim(&preload))
}

/// The name of the shim.
const LIBRARY: &str = "libringroad_preload.so";

fn is_library(name: &OsStr) -> bool {
    Path::new(name).file_name() == Some(OsStr::new(LIBRARY))
}
