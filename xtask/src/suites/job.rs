//! One run of a suite's tests, or of a part of them, on one side.

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use lab::{Counters, Lab, Namespace, product};

use super::read::Verdicts;
use super::{Suite, folder};

/// What a run that is ended for its time has more, in seconds.
const GRACE: u64 = 30;

/// The lines of a run's words that are shown when it did not end.
const LAST_LINES: usize = 8;

/// Where the tests run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Kernel,
    Road,
}

impl Side {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Kernel => "the kernel",
            Self::Road => "ringroad",
        }
    }
}

/// Tests that one command runs.
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub(super) suite: Suite,
    /// Its name within the suite.
    pub(super) name: &'static str,
    /// The command and its arguments.
    pub(super) command: Vec<String>,
    /// What chooses its tests, behind them; nothing for all.
    pub(super) chosen: Vec<String>,
    /// Its environment.
    pub(super) env: Vec<(&'static str, String)>,
    /// Where it has to run, when it may not be any folder.
    pub(super) folder: Option<PathBuf>,
    /// How a test is chosen.
    pub(super) choose: fn(&str) -> Vec<String>,
    /// Reads what it wrote into its folder or else what it said.
    pub(super) read: fn(&str) -> Verdicts,
    /// The file that it writes, if not what it says is to be read.
    pub(super) file: Option<&'static str>,
    /// Its tests use names in the file system: the sides take turns.
    pub(super) in_turns: bool,
    /// Seconds that it may take.
    pub(super) limit: u64,
}

/// What became of a run.
pub(super) struct Ran {
    pub(super) verdicts: Verdicts,
    /// Why there is more to say: it did not end.
    pub(super) trouble: Option<String>,
    /// What the kernel's TCP and UDP did for it.
    pub(super) kernel: [u64; 4],
    pub(super) seconds: u64,
}

/// Connections opened and accepted, datagrams sent and received, as `nstat` calls them, of both families.
const COUNTED: [&[&str]; 4] = [
    &["TcpActiveOpens"],
    &["TcpPassiveOpens"],
    &["UdpOutDatagrams", "Udp6OutDatagrams"],
    &["UdpInDatagrams", "Udp6InDatagrams"],
];

impl Job {
    /// Its full name.
    pub(super) fn title(&self) -> String {
        format!("{} {}", self.suite.name(), self.name)
    }

    /// The same, of one test.
    pub(super) fn only(&self, test: &str) -> Self {
        let mut job = self.clone();
        job.chosen = (self.choose)(test);
        job
    }

    /// Runs it on a host of its own.
    pub(super) fn run(&self, side: Side) -> Ran {
        let lab = Lab::new("suite");
        let host = host(&lab);
        let folder = self.folder.clone().unwrap_or_else(|| lab.folder().to_owned());
        let before = host.counters();
        let begun = Instant::now();
        let words = self.words(side, &folder.to_string_lossy());
        let mut running = host.spawn(&words.iter().map(String::as_str).collect::<Vec<_>>());
        let code = running.ended(self.limit + GRACE);
        let said = running.said();
        self.keep(side, &said);
        let written = self.file.map(|file| fs::read_to_string(folder.join(file)).unwrap_or_default());
        let verdicts = (self.read)(written.as_ref().unwrap_or(&said));
        let trouble = (code == 124 || code == 137 || verdicts.is_empty()).then(|| {
            let lines: Vec<&str> = said.lines().collect();
            let last = lines[lines.len().saturating_sub(LAST_LINES)..].join("\n    ");
            format!("ended with {code} after {} s; its last words:\n    {last}", begun.elapsed().as_secs())
        });
        let kernel = COUNTED.map(|names| grown(&host.counters(), &before, names));
        Ran { verdicts, trouble, kernel, seconds: begun.elapsed().as_secs() }
    }

    fn words(&self, side: Side, folder: &str) -> Vec<String> {
        let limit = self.limit.to_string();
        let mut words =
            ["timeout", "--kill-after=10", &limit, "env", "-C", folder].map(str::to_owned).to_vec();
        words.extend(self.env.iter().map(|(name, value)| format!("{name}={value}")));
        if side == Side::Road {
            words.extend([product(), "run", "--iface", "lo", "--strict", "--"].map(str::to_owned));
        }
        words.extend(self.command.iter().chain(&self.chosen).cloned());
        words
    }

    /// Keeps what it said in `target/suites`, for whoever wants to know more.
    fn keep(&self, side: Side, said: &str) {
        let name = format!("{}-{}.log", self.name, if side == Side::Road { "ringroad" } else { "kernel" });
        // Without it nothing is lost but words.
        let _ = fs::write(folder(self.suite).join(name), said);
    }
}

/// A host whose kernel takes frames of ours on its loopback device.
fn host(lab: &Lab) -> Namespace {
    let host = lab.host("alone");
    host.must(&["sysctl", "-qw", "net.ipv4.conf.lo.route_localnet=1", "net.ipv4.conf.lo.accept_local=1"]);
    host.must(&["sysctl", "-qw", "net.ipv6.conf.lo.disable_ipv6=0"]);
    host
}

fn grown(now: &Counters, before: &Counters, names: &[&str]) -> u64 {
    names.iter().map(|name| now.since(before, name)).sum()
}
