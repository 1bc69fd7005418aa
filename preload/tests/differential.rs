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

use lab::{CLIENT, IFACE, Lab, Namespace, Outcome, SERVER, product, tell_unsteady};

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

/// The cases, and the other end.
struct Programs {
    cases: PathBuf,
    peer: PathBuf,
}

impl Programs {
    /// Compiled into the folder of a laboratory.
    fn new(lab: &Lab) -> Self {
        Self { cases: compile(lab, "cases"), peer: compile(lab, "peer") }
    }

    /// Every case there is.
    fn list(&self) -> Vec<Case> {
        let listed = Outcome::of(&mut Command::new(&self.cases)).must();
        let named = listed.lines().enumerate();
        named.map(|(at, name)| Case { at, name: name.to_owned() }).collect()
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

/// Two hosts of a laboratory, for cases of one side.
struct Bench<'a> {
    side: Side,
    programs: &'a Programs,
    server: Namespace,
    client: Namespace,
    /// Last: it goes when the hosts have.
    _lab: Lab,
}

impl<'a> Bench<'a> {
    fn new(side: Side, programs: &'a Programs) -> Self {
        let lab = Lab::new(if side == Side::Shim { "shim" } else { "kernel" });
        let (server, client) = lab.dual_pair();
        // Cases follow each other faster than Linux sends errors to one host, itself among them.
        for host in [&server, &client] {
            host.must(&["sysctl", "-qw", "net.ipv4.icmp_ratelimit=0", "net.ipv6.icmp.ratelimit=0"]);
        }
        // Neighbours that are not there are given up sooner.
        let sooner = format!("net.ipv4.neigh.{IFACE}.retrans_time_ms=100");
        server.must(&["sysctl", "-qw", &sooner]);
        Self { side, programs, server, client, _lab: lab }
    }

    /// Runs a case; answers all it printed and how it ended.
    fn run(&self, case: &Case) -> String {
        let number = case.at.to_string();
        let (cases, peer) = (self.programs.cases.to_str().unwrap(), self.programs.peer.to_str().unwrap());
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

/// Runs every case, in so many laboratories; answers what each printed.
fn run_all(side: Side, programs: &Programs, cases: &[Case]) -> Vec<String> {
    let lane = &|lane: usize| -> Vec<(usize, String)> {
        let bench = Bench::new(side, programs);
        let mine = cases.iter().skip(lane).step_by(LANES);
        mine.map(|case| (case.at, bench.run(case))).collect()
    };
    let mut all: Vec<_> = thread::scope(|scope| {
        let lanes: Vec<_> = (0..LANES).map(|number| scope.spawn(move || lane(number))).collect();
        lanes.into_iter().flat_map(|lane| lane.join().unwrap()).collect()
    });
    all.sort_unstable_by_key(|(at, _)| *at);
    all.into_iter().map(|(_, said)| said).collect()
}

/// What the two sides said, when they did not say the same.
fn difference(case: &Case, kernel: &str, shim: &str) -> Option<String> {
    let name = &case.name;
    (kernel != shim).then(|| format!("--- {name}: the kernel\n{kernel}--- {name}: the shim\n{shim}"))
}

/// Runs a case once more, with nothing beside it; how the sides differ.
fn differs_alone(case: &Case, programs: &Programs) -> Option<String> {
    let [kernel, shim] = [Side::Kernel, Side::Shim].map(|side| Bench::new(side, programs).run(case));
    difference(case, &kernel, &shim)
}

#[test]
fn a_case_prints_the_same_on_the_kernel_and_under_the_shim() {
    product();
    let lab = Lab::new("programs");
    let programs = Programs::new(&lab);
    let cases = programs.list();
    assert!(cases.len() >= 340, "{} cases", cases.len());
    let [kernel, shim] = thread::scope(|scope| {
        let (programs, cases) = (&programs, &*cases);
        let sides =
            [Side::Kernel, Side::Shim].map(|side| scope.spawn(move || run_all(side, programs, cases)));
        sides.map(|side| side.join().unwrap())
    });
    let differing: Vec<(&Case, String)> = cases
        .iter()
        .zip(kernel.iter().zip(&shim))
        .filter_map(|(case, (kernel, shim))| Some((case, difference(case, kernel, shim)?)))
        .collect();
    let accident = differing.len() <= MOST;
    let mut failed = Vec::new();
    for (case, found) in differing {
        if !accident {
            failed.push(found);
        } else if let Some(again) = (0..AGAIN).find_map(|_| differs_alone(case, &programs)) {
            failed.push(format!("{found}and again, alone:\n{again}"));
        } else {
            tell_unsteady(&format!("case {} of the differential test", case.name), &found);
        }
    }
    assert!(failed.is_empty(), "{} of {} cases differ:\n{}", failed.len(), cases.len(), failed.join("\n"));
}
