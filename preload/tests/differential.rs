//! Each case of `cases/`, a small C program, on the kernel's sockets and under the shim: what it prints must
//! be the same. The other end (`peer/`) runs on the kernel's sockets in another network namespace.
//!
//! Cases show sockets as an application sees them: return values, errno, events. The numbers they print are
//! those that do not depend on timing.
//!
//! All cases are one test, and among so many one that was met by a busy machine must not hide the others. One that
//! differs runs again, alone: if it agrees then it is told as unsteady, and is to be mended next.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use lab::{CLIENT, IFACE, Lab, Namespace, SERVER, product, tell_unsteady};

/// Laboratories that work at the same time: cases wait more than they compute.
const LANES: usize = 4;
/// Cases more than that which differ are no accident.
const MOST: usize = 3;
/// How often one that differed has to agree, alone.
const AGAIN: usize = 2;

/// Whose sockets a case has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Kernel,
    Shim,
}

/// A case and its place among all: it has ports of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Case {
    at: usize,
    name: String,
}

/// Two hosts of a laboratory, and the programs for them.
struct Bench {
    side: Side,
    server: Namespace,
    client: Namespace,
    cases: PathBuf,
    peer: PathBuf,
    /// Last: its folder goes when the hosts have.
    _lab: Lab,
}

impl Bench {
    fn new(side: Side) -> Self {
        let lab = Lab::new(if side == Side::Shim { "shim" } else { "kernel" });
        let (server, client) = lab.dual_pair();
        // Cases follow each other faster than Linux sends errors to one host, itself among them.
        for host in [&server, &client] {
            host.must(&["sysctl", "-qw", "net.ipv4.icmp_ratelimit=0", "net.ipv6.icmp.ratelimit=0"]);
        }
        // Neighbours that are not there are given up sooner.
        let sooner = format!("net.ipv4.neigh.{IFACE}.retrans_time_ms=100");
        server.must(&["sysctl", "-qw", &sooner]);
        let (cases, peer) = (compile(&lab, "cases"), compile(&lab, "peer"));
        Self { side, server, client, cases, peer, _lab: lab }
    }

    /// Every case there is.
    fn list(&self) -> Vec<Case> {
        let listed = self.server.must(&[self.cases.to_str().unwrap()]);
        let named = listed.lines().enumerate();
        named.map(|(at, name)| Case { at, name: name.to_owned() }).collect()
    }

    /// Runs a case; answers all it printed and how it ended.
    fn run(&self, case: &Case) -> String {
        let number = case.at.to_string();
        let (cases, peer) = (self.cases.to_str().unwrap(), self.peer.to_str().unwrap());
        let mut words = Vec::new();
        if self.side == Side::Shim {
            words.extend([product(), "run", "--strict", "--iface", IFACE, "--"]);
        }
        let other = ["ip", "netns", "exec", self.client.name(), peer, CLIENT, SERVER];
        words.extend([cases, &case.name, &number].into_iter().chain(other));
        let outcome = self.server.run(&words);
        format!("{}ended with {}\n", outcome.said(), outcome.code)
    }
}

/// Compiles every `.c` file of `folder` into one program.
fn compile(lab: &Lab, folder: &str) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder);
    let files = std::fs::read_dir(&source).unwrap().map(|e| e.unwrap().path());
    let mut files: Vec<PathBuf> = files.filter(|p| p.extension().is_some_and(|e| e == "c")).collect();
    files.sort();
    let program = lab.folder().join(folder);
    // Cases pass bad pointers and lengths on purpose: the compiler's warnings of it are off.
    let flags = ["-O1", "-w", "-pthread", "-o"];
    let made = Command::new("cc").args(flags).arg(&program).args(files).status().unwrap();
    assert!(made.success(), "cc cannot compile {}", source.display());
    program
}

/// Runs every case, in so many laboratories; answers what each printed.
fn run_all(side: Side) -> Vec<(Case, String)> {
    let lane = |lane: usize| -> Vec<_> {
        let bench = Bench::new(side);
        let mine = bench.list().into_iter().filter(|case| case.at % LANES == lane);
        mine.map(|case| (bench.run(&case), case)).map(|(said, case)| (case, said)).collect()
    };
    let mut all: Vec<_> = thread::scope(|scope| {
        let lanes: Vec<_> = (0..LANES).map(|number| scope.spawn(move || lane(number))).collect();
        lanes.into_iter().flat_map(|lane| lane.join().unwrap()).collect()
    });
    all.sort_by_key(|(case, _)| case.at);
    all
}

/// What the two sides said, when they did not say the same.
fn difference(case: &Case, kernel: &str, shim: &str) -> Option<String> {
    let name = &case.name;
    (kernel != shim).then(|| format!("--- {name}: the kernel\n{kernel}--- {name}: the shim\n{shim}"))
}

/// Runs a case once more, with nothing beside it; how the sides differ.
fn differs_alone(case: &Case) -> Option<String> {
    let [kernel, shim] = [Side::Kernel, Side::Shim].map(|side| Bench::new(side).run(case));
    difference(case, &kernel, &shim)
}

#[test]
fn a_case_prints_the_same_on_the_kernel_and_under_the_shim() {
    product();
    let (kernel, shim) = thread::scope(|scope| {
        let kernel = scope.spawn(|| run_all(Side::Kernel));
        let shim = run_all(Side::Shim);
        (kernel.join().unwrap(), shim)
    });
    let count = shim.len();
    assert!(count >= 340 && count == kernel.len(), "{count} cases");
    let differing: Vec<(Case, String)> = kernel
        .into_iter()
        .zip(shim)
        .filter_map(|((case, kernel), (_, shim))| Some((difference(&case, &kernel, &shim)?, case)))
        .map(|(found, case)| (case, found))
        .collect();
    let mut failed = Vec::new();
    let no_accident = differing.len() > MOST;
    for (case, found) in differing {
        if no_accident {
            failed.push(found);
        } else if let Some(again) = (0..AGAIN).find_map(|_| differs_alone(&case)) {
            failed.push(format!("{found}and again, alone:\n{again}"));
        } else {
            tell_unsteady(&format!("case {} of the differential test", case.name), &found);
        }
    }
    assert!(failed.is_empty(), "{} of {count} cases differ:\n{}", failed.len(), failed.join("\n"));
}
