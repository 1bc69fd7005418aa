//! Programs: run to their end, or kept running.

use std::fs::{self, File};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::sys;
use crate::wait::eventually_some;

/// How a program ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The command line.
    pub what: String,
    /// Its exit code; 128 + N when signal N ended it.
    pub code: i32,
    /// What it printed.
    pub stdout: String,
    /// What it said of its troubles.
    pub stderr: String,
}

impl Outcome {
    /// Runs a command to its end.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn of(command: &mut Command) -> Self {
        let what = line(command);
        let output = command.stdin(Stdio::null()).output().unwrap_or_else(|e| panic!("{what}: {e}"));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { what, code: code(output.status), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }

    /// What it printed, of a program that had to succeed.
    ///
    /// # Panics
    /// With all it printed, when it failed.
    #[track_caller]
    pub fn must(self) -> String {
        assert!(self.code == 0, "{} ended with {}\n{}{}", self.what, self.code, self.stdout, self.stderr);
        self.stdout
    }

    /// All it printed, both ways.
    #[must_use]
    pub fn said(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

fn code(status: ExitStatus) -> i32 {
    status.code().or_else(|| status.signal().map(|s| 128 + s)).unwrap_or(-1)
}

fn line(command: &Command) -> String {
    let words = [command.get_program()].into_iter().chain(command.get_args());
    words.map(|w| w.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// The signals that tests send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Please end.
    Term,
    /// Finish your work and end.
    Quit,
    /// End, without being asked.
    Kill,
    /// Read your configuration again.
    Hup,
    /// Stand still.
    Stop,
    /// Go on.
    Cont,
}

impl Signal {
    fn number(self) -> i32 {
        match self {
            Self::Term => libc::SIGTERM,
            Self::Quit => libc::SIGQUIT,
            Self::Kill => libc::SIGKILL,
            Self::Hup => libc::SIGHUP,
            Self::Stop => libc::SIGSTOP,
            Self::Cont => libc::SIGCONT,
        }
    }
}

/// Lines of a program's words that are shown when a test fails.
const LAST_LINES: usize = 40;

static PROGRAMS: AtomicU32 = AtomicU32::new(0);

/// A program that runs, in a process group of its own. Dropped, the whole group is killed.
#[derive(Debug)]
pub struct Running {
    child: Child,
    what: String,
    log: PathBuf,
}

impl Running {
    /// Starts a command; what it prints goes to a file in `folder`.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(mut command: Command, folder: &Path) -> Self {
        let what = line(&command);
        let log = folder.join(format!("program-{}.log", PROGRAMS.fetch_add(1, Ordering::Relaxed)));
        let child = File::create(&log).and_then(|out| {
            let err = out.try_clone()?;
            command.stdin(Stdio::null()).stdout(out).stderr(err).process_group(0).spawn()
        });
        Self { child: child.unwrap_or_else(|e| panic!("{what}: {e}")), what, log }
    }

    /// Its process number.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The process numbers of its children.
    #[must_use]
    pub fn children(&self) -> Vec<u32> {
        let pid = self.pid();
        let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        list.split_whitespace().filter_map(|p| p.parse().ok()).collect()
    }

    /// What it has printed so far.
    #[must_use]
    pub fn said(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends it a signal; it alone, not its children.
    pub fn signal(&self, signal: Signal) {
        let _ = sys::kill(self.pid() as i32, signal.number());
    }

    /// Kills it and all its children, and waits until they are gone.
    pub fn kill(&mut self) {
        let children = self.children();
        let _ = sys::kill(-(self.pid() as i32), libc::SIGKILL);
        let _ = self.child.wait();
        // Not ours to wait for: they are gone when no thread of theirs runs, whoever reaps them.
        let end = Instant::now() + Duration::from_secs(5);
        while children.iter().any(|pid| runs(*pid)) && Instant::now() < end {
            thread::park_timeout(Duration::from_millis(1));
        }
    }

    /// Waits until it has ended; its exit code.
    ///
    /// # Panics
    /// With what it printed, when it does not end within `seconds`.
    #[track_caller]
    pub fn ended(&mut self, seconds: u64) -> i32 {
        let what = format!("the end of {}", self.what);
        code(eventually_some(&what, seconds, || self.child.try_wait().ok().flatten()))
    }
}

/// Whether a thread of a process is still there and no zombie (proc_pid_stat(5), field 3).
fn runs(pid: u32) -> bool {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let stats = tasks.filter_map(|task| fs::read_to_string(task.path().join("stat")).ok());
    let states = stats.filter_map(|stat| stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next()));
    states.into_iter().any(|state| !matches!(state, 'Z' | 'X'))
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let said = self.said();
            let lines: Vec<&str> = said.lines().collect();
            let last = &lines[lines.len().saturating_sub(LAST_LINES)..];
            eprintln!("--- {}\n{}\n---", self.what, last.join("\n"));
        }
    }
}
