//! The asking end of what concerns policies: shows what is in force, and puts another in its place everywhere. A policy
//! is about addresses: everywhere is every stack of our network namespace.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::client;
use super::model::{Applied, PolicyInForce};
use crate::policy_file::Bundle;

/// How long a stack may take to understand a policy.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why a policy is not in force everywhere.
#[derive(Debug)]
pub enum ApplyError {
    /// No stack runs.
    Nobody,
    /// This process refused it, or does not answer. Nothing was changed anywhere.
    Refused {
        /// The process.
        pid: u32,
        /// What it says.
        why: String,
    },
    /// This process had agreed and then failed; `done` have the new policy.
    Halfway {
        /// The process.
        pid: u32,
        /// What it says.
        why: String,
        /// Processes in which the policy is in force.
        done: Vec<u32>,
    },
}

impl fmt::Display for ApplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nobody => write!(f, "no stack runs on this host"),
            Self::Refused { pid, why } => write!(f, "nothing was changed: process {pid}: {why}"),
            Self::Halfway { pid, why, done } => {
                write!(f, "process {pid}: {why}; the new policy is in force in {done:?} and not there")
            }
        }
    }
}

impl std::error::Error for ApplyError {}

/// The policies of every stack that runs, or of that of `pid`; those that do not answer are left out.
pub fn in_force(pid: Option<u32>) -> Vec<PolicyInForce> {
    let ask = |(_, path): (u32, PathBuf)| serde_json::from_str(&client::ask(&path, "policy").ok()?).ok();
    client::answering(pid).into_iter().filter_map(ask).collect()
}

/// Puts `policy` in force in every stack that runs: all are asked first, and changed when none objects.
///
/// # Errors
/// [`ApplyError`].
pub fn apply(policy: &Bundle) -> Result<Vec<u32>, ApplyError> {
    each(|_| Some(policy.clone()))
}

/// Puts in force, in every stack that runs, what was in force there before.
///
/// # Errors
/// [`ApplyError`]; there must have been one everywhere.
pub fn roll_back() -> Result<Vec<u32>, ApplyError> {
    let before: BTreeMap<u32, Option<Bundle>> =
        in_force(None).into_iter().map(|told| (told.pid, told.previous)).collect();
    if let Some((&pid, _)) = before.iter().find(|(_, previous)| previous.is_none()) {
        return Err(ApplyError::Refused { pid, why: "there was no policy before this one".to_owned() });
    }
    each(|pid| before.get(&pid).cloned().flatten())
}

/// As [`apply`], with a policy for each process; a process for which there is none is left alone.
fn each(policy: impl Fn(u32) -> Option<Bundle>) -> Result<Vec<u32>, ApplyError> {
    let mut done: Vec<u32> = Vec::new();
    loop {
        // Who has come meanwhile may have read what was in force before.
        let mut ready = Vec::new();
        for (pid, path) in client::answering(None).into_iter().filter(|(pid, _)| !done.contains(pid)) {
            let Some(policy) = policy(pid) else { continue };
            match Asked::prepare(&path, &policy) {
                Ok(asked) => ready.push((pid, asked)),
                // It has ended.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                Err(error) if done.is_empty() => {
                    return Err(ApplyError::Refused { pid, why: error.to_string() });
                }
                Err(error) => return Err(ApplyError::Halfway { pid, why: error.to_string(), done }),
            }
        }
        if ready.is_empty() {
            return if done.is_empty() { Err(ApplyError::Nobody) } else { Ok(done) };
        }
        for (pid, asked) in ready {
            match asked.commit() {
                Ok(()) => done.push(pid),
                Err(error) => return Err(ApplyError::Halfway { pid, why: error.to_string(), done }),
            }
        }
    }
}

/// A stack that has understood a policy and waits.
struct Asked {
    stream: BufReader<UnixStream>,
}

impl Asked {
    fn prepare(path: &Path, policy: &Bundle) -> io::Result<Self> {
        let text = serde_json::to_string(policy)?;
        let mut stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        // A refusal may come before all is written: it is read all the same.
        let written = write!(stream, "apply {}\n{text}", text.len());
        let mut asked = Self { stream: BufReader::new(stream) };
        asked.answer().and(written)?;
        Ok(asked)
    }

    fn commit(mut self) -> io::Result<()> {
        self.stream.get_mut().write_all(b"commit\n")?;
        self.answer().map(drop)
    }

    fn answer(&mut self) -> io::Result<Applied> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let answer: Applied = serde_json::from_str(&line)?;
        match answer.error {
            Some(error) => Err(io::Error::other(error)),
            None => Ok(answer),
        }
    }
}
