//! Programs under test: this executable, started again.

use lab::{IFACE, Namespace, Running, eventually};

/// Names the role; see `roles`.
pub(crate) const ROLE: &str = "LAB_ROLE";
/// The role's argument.
pub(crate) const ARGUMENT: &str = "LAB_ARGUMENT";

/// Starts a program on the accelerated interface and waits for its first line of output.
pub(crate) fn start(host: &Namespace, role: &str, argument: &str) -> Running {
    start_with(host, role, argument, &[])
}

/// As [`start`], with more environment.
pub(crate) fn start_with(host: &Namespace, role: &str, argument: &str, env: &[(&str, &str)]) -> Running {
    let executable = std::env::current_exe().expect("this executable");
    let executable = executable.to_str().expect("a path in UTF-8");
    let mut all = vec![
        (ROLE, role),
        (ARGUMENT, argument),
        ("RINGROAD_IFACE", IFACE),
        ("RINGROAD_STRICT", "1"),
        ("RINGROAD_LOG", "info"),
    ];
    all.extend(env);
    let running = host.spawn_with(&[executable, "--exact", "roles::program", "--nocapture"], &all);
    eventually(&format!("{role} runs"), 10, || running.said().contains("ready"));
    running
}

/// Processor time that a process has used, in clock ticks.
pub(crate) fn ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("a live process");
    let fields: Vec<&str> = stat.rsplit_once(')').expect("a command").1.split_ascii_whitespace().collect();
    fields[11].parse::<u64>().expect("utime") + fields[12].parse::<u64>().expect("stime")
}

/// Context switches of all threads of a process that it asked for itself: how often it went to sleep.
pub(crate) fn sleeps(pid: u32) -> u64 {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("a live process");
    let of = |status: String| {
        let line = status.lines().find_map(|l| l.strip_prefix("voluntary_ctxt_switches:"));
        line.and_then(|n| n.trim().parse::<u64>().ok()).unwrap_or(0)
    };
    tasks.flatten().filter_map(|t| std::fs::read_to_string(t.path().join("status")).ok()).map(of).sum()
}
