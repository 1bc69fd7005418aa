//! The asking end: finds every stack of the host.

use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::model::{Alert, Report, StackReport};
use super::place;

/// How long a stack may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Every stack that runs in our network namespace, or only that of `pid`, with where it answers.
pub(super) fn answering(pid: Option<u32>) -> Vec<(u32, PathBuf)> {
    let configured = crate::Config::from_env().0.control_dir;
    let mut all = sockets(configured.as_deref());
    let here = network_of("self");
    all.retain(|(owner, _)| pid.is_none_or(|p| p == *owner) && network_of(&owner.to_string()) == here);
    all.sort();
    all.dedup_by_key(|(owner, _)| *owner);
    all
}

/// The network namespace of a process, when that is to be known.
fn network_of(process: &str) -> Option<(u64, u64)> {
    let namespace = std::fs::metadata(Path::new("/proc").join(process).join("ns/net")).ok()?;
    Some((namespace.dev(), namespace.ino()))
}

fn lives(pid: u32) -> bool {
    Path::new("/proc").join(pid.to_string()).exists()
}

/// Every stack that runs, or only that of `pid`. Sockets of dead processes are removed on the way; those that
/// do not answer are left out.
pub fn stacks(pid: Option<u32>) -> Report {
    let configured = crate::Config::from_env().0.control_dir;
    let mut stacks: Vec<StackReport> = sockets(configured.as_deref())
        .into_iter()
        .filter(|(owner, _)| pid.is_none_or(|p| p == *owner))
        .filter_map(|(owner, path)| match ask(&path, "stat") {
            Ok(text) => serde_json::from_str(&text).ok(),
            Err(_) => {
                if !lives(owner) {
                    let _ = std::fs::remove_file(&path);
                }
                None
            }
        })
        .collect();
    stacks.sort_by_key(|s| s.pid);
    stacks.dedup_by_key(|s| s.pid);
    Report { stacks }
}

/// What the stacks of our network namespace, or that of `pid`, told lately of what they refused; oldest first.
pub fn alerts(pid: Option<u32>) -> Vec<Alert> {
    let ask =
        |(_, path): (u32, PathBuf)| serde_json::from_str::<Vec<Alert>>(&ask(&path, "alerts").ok()?).ok();
    let mut all: Vec<Alert> = answering(pid).into_iter().filter_map(ask).flatten().collect();
    all.sort_by(|a, b| a.last.total_cmp(&b.last));
    all
}

/// Sends one line to a control socket and reads the whole answer.
///
/// # Errors
/// As connecting, writing and reading do; `TimedOut` when the stack does not answer.
pub fn ask(path: &Path, request: &str) -> io::Result<String> {
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(request.as_bytes())?;
    stream.write_all(b"\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn sockets(configured: Option<&Path>) -> Vec<(u32, PathBuf)> {
    place::directories(configured)
        .iter()
        .filter_map(|dir| std::fs::read_dir(dir).ok())
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter_map(|path| Some((place::pid_of(&path)?, path)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_found_by_their_names() {
        let dir = std::env::temp_dir().join(format!("ringroad-client-{}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        for name in ["12.sock", "x.sock", "12", "7.sock.old"] {
            std::fs::write(dir.join(name), "").unwrap();
        }
        let found: Vec<_> = sockets(Some(&dir)).into_iter().filter(|(_, p)| p.starts_with(&dir)).collect();
        assert_eq!(found, [(12, dir.join("12.sock"))]);
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
