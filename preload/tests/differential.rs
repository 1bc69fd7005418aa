//! Each case of `cases/`, a small C program, on the kernel's sockets and under the shim: what it prints must
//! be the same. The other end (`peer/`) runs on the kernel's sockets in another network namespace.
//!
//! Cases show sockets as an application sees them: return values, errno, events. The numbers they print are
//! those that do not depend on timing.

use std::path::{Path, PathBuf};
use std::process::Command;

use lab::{CLIENT, IFACE, Lab, Namespace, SERVER, product};

struct Programs {
    cases: PathBuf,
    peer: PathBuf,
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

/// Runs a case; answers all it printed and how it ended.
fn run(host: &Namespace, other: &Namespace, programs: &Programs, case: (&str, usize), shim: bool) -> String {
    let number = case.1.to_string();
    let (cases, peer) = (programs.cases.to_str().unwrap(), programs.peer.to_str().unwrap());
    let mut words = Vec::new();
    if shim {
        words.extend([product(), "run", "--strict", "--iface", IFACE, "--"]);
    }
    words.extend([cases, case.0, &number, "ip", "netns", "exec", other.name(), peer, CLIENT, SERVER]);
    let outcome = host.run(&words);
    format!("{}ended with {}\n", outcome.said(), outcome.code)
}

/// Laboratories that work at the same time: cases wait more than they compute.
const LANES: usize = 4;

/// Runs one case of so many, beginning with `lane`, in a laboratory of its own; answers what each printed, and its
/// place among all.
fn run_lane(shim: bool, lane: usize) -> Vec<(usize, (String, String))> {
    let lab = Lab::new(if shim { "shim" } else { "kernel" });
    let (server, client) = lab.dual_pair();
    // Cases follow each other faster than Linux sends errors to one host, itself among them.
    for host in [&server, &client] {
        host.must(&["sysctl", "-qw", "net.ipv4.icmp_ratelimit=0", "net.ipv6.icmp.ratelimit=0"]);
    }
    // Neighbours that are not there are given up sooner.
    let sooner = format!("net.ipv4.neigh.{IFACE}.retrans_time_ms=100");
    server.must(&["sysctl", "-qw", &sooner]);
    let programs = Programs { cases: compile(&lab, "cases"), peer: compile(&lab, "peer") };
    let listed = server.must(&[programs.cases.to_str().unwrap()]);
    let mine = listed.lines().enumerate().filter(|(at, _)| at % LANES == lane);
    mine.map(|(at, name)| (at, (name.to_owned(), run(&server, &client, &programs, (name, at), shim))))
        .collect()
}

/// Runs every case; answers what each printed.
fn run_all(shim: bool) -> Vec<(String, String)> {
    let mut all: Vec<_> = std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..LANES).map(|lane| scope.spawn(move || run_lane(shim, lane))).collect();
        lanes.into_iter().flat_map(|lane| lane.join().unwrap()).collect()
    });
    all.sort_by_key(|(at, _)| *at);
    all.into_iter().map(|(_, case)| case).collect()
}

#[test]
fn a_case_prints_the_same_on_the_kernel_and_under_the_shim() {
    product();
    let (shim, kernel) = std::thread::scope(|scope| {
        let kernel = scope.spawn(|| run_all(false));
        (run_all(true), kernel.join().unwrap())
    });
    assert!(shim.len() >= 340 && shim.len() == kernel.len(), "{} cases", shim.len());
    let mut differing = Vec::new();
    for ((name, shim), (_, kernel)) in shim.iter().zip(&kernel) {
        if kernel != shim {
            differing.push(format!("--- {name}: the kernel\n{kernel}--- {name}: the shim\n{shim}"));
        }
    }
    let found = differing.join("\n");
    assert!(differing.is_empty(), "{} of {} cases differ:\n{found}", differing.len(), shim.len());
}
