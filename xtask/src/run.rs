//! Running other programs.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// Whether a program of this name can be found, the folders of system programs included.
pub(crate) fn found(program: &str) -> bool {
    path(program).is_some()
}

/// Where a program of this name is.
pub(crate) fn path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from);
    let mut places = std::env::split_paths(&path).chain(system).map(|folder| folder.join(program));
    places.find(|place| place.is_file())
}

/// Whether this process runs as root.
pub(crate) fn is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let uid = status.lines().find_map(|l| l.strip_prefix("Uid:"));
    uid.is_some_and(|l| l.split_whitespace().nth(1) == Some("0"))
}

/// The cargo that runs us.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(crate::root());
    command
}

/// The same command, ended after `seconds` if it has not ended by itself.
pub(crate) fn limited(command: &Command, seconds: u32) -> Command {
    let mut timed = Command::new("timeout");
    timed.args(["--kill-after=10", &seconds.to_string()]).arg(command.get_program()).args(command.get_args());
    if let Some(folder) = command.get_current_dir() {
        timed.current_dir(folder);
    }
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => timed.env(name, value),
            None => timed.env_remove(name),
        };
    }
    timed
}

/// Runs a command, shows every line of its output and gives it to `each`; whether it went well.
pub(crate) fn stream(command: &mut Command, each: impl FnMut(&str)) -> bool {
    let Some(mut child) = started(command.stdout(Stdio::piped())) else { return false };
    if let Some(out) = child.stdout.take() {
        show(out, each);
    }
    child.wait().is_ok_and(|status| status.success())
}

/// The same, with its standard error among the lines, in the order in which they were written.
pub(crate) fn stream_all(mut command: Command, each: impl FnMut(&str)) -> bool {
    let child = std::io::pipe().and_then(|(out, end)| {
        command.stdout(end.try_clone()?).stderr(end);
        Ok((started(&mut command), out))
    });
    // It has ends of the pipe that would stay open.
    drop(command);
    let Ok((Some(mut child), out)) = child else { return false };
    show(out, each);
    child.wait().is_ok_and(|status| status.success())
}

fn started(command: &mut Command) -> Option<Child> {
    let child = command.spawn();
    child.inspect_err(|e| eprintln!("{}: {e}", command.get_program().to_string_lossy())).ok()
}

fn show(out: impl Read, mut each: impl FnMut(&str)) {
    for line in BufReader::new(out).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line).into_owned();
        println!("{line}");
        each(&line);
    }
}

/// Runs a command without a word; whether it went well.
pub(crate) fn quietly(command: &mut Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|s| s.success())
}
