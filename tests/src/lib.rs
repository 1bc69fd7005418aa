//! What the tests that cross rooms share: programs on the road, programs on the kernel, and how to tell that
//! they are ready.
//!
//! The tests themselves are in `tests/`, one file a theme. They run as root, against the release build.

use lab::{IFACE, Namespace, Running, eventually, eventually_some, product, stacks};
use serde_json::Value;

/// The command line that puts a program on the road, with more flags for `ringroad run`.
#[must_use]
pub fn ringroad<'a>(flags: &[&'a str], program: &[&'a str]) -> Vec<&'a str> {
    [&[product(), "run", "--iface", IFACE], flags, &["--"], program].concat()
}

/// Starts a server on the road and waits until it listens there.
#[must_use]
pub fn on_road(host: &Namespace, flags: &[&str], program: &[&str], port: u16) -> Running {
    let mut server = host.spawn(&ringroad(flags, program));
    eventually(&format!("{} listens on port {port} on the road", program[0]), 20, || {
        assert!(server.is_running(), "{} has ended:\n{}", program[0], server.said());
        stack_of(host, &server).is_some_and(|stack| listens(&stack, port))
    });
    server
}

/// Starts a server on the kernel and waits until it listens there.
#[must_use]
pub fn on_kernel(host: &Namespace, program: &[&str], port: u16) -> Running {
    let mut server = host.spawn(program);
    eventually(&format!("{} listens on port {port}", program[0]), 20, || {
        assert!(server.is_running(), "{} has ended:\n{}", program[0], server.said());
        host.listens(port)
    });
    server
}

/// The stack of a program or of one of its children, as `ringroad stat` tells of it.
#[must_use]
pub fn stack_of(host: &Namespace, program: &Running) -> Option<Value> {
    let mut pids = program.children();
    pids.push(program.pid());
    stacks(host).into_iter().find(|s| s["pid"].as_u64().is_some_and(|p| pids.contains(&(p as u32))))
}

/// The stack of a program that must have one.
///
/// # Panics
/// When it has none within ten seconds.
#[track_caller]
#[must_use]
pub fn must_have_stack(host: &Namespace, program: &Running) -> Value {
    eventually_some("a stack of the program", 10, || stack_of(host, program))
}

fn listens(stack: &Value, port: u16) -> bool {
    let suffix = format!(":{port}");
    let sockets = stack["sockets"].as_array().map(Vec::as_slice).unwrap_or_default();
    sockets.iter().any(|s| {
        let is = |key: &str, what: &str| s[key].as_str().is_some_and(|v| v.eq_ignore_ascii_case(what));
        is("protocol", "tcp")
            && is("state", "listen")
            && s["local"].as_str().is_some_and(|l| l.ends_with(&suffix))
    })
}

/// The SHA-256 of a file on this machine, by `sha256sum`.
#[must_use]
pub fn sha256(host: &Namespace, path: &str) -> String {
    first_word(&host.must(&["sha256sum", path]))
}

/// The SHA-256 of what `curl` fetches.
///
/// # Panics
/// When it cannot fetch it within two minutes.
#[track_caller]
#[must_use]
pub fn fetched_sha256(client: &Namespace, url: &str) -> String {
    let fetch = format!("set -o pipefail; curl -sS --fail --max-time 120 '{url}' | sha256sum");
    first_word(&client.run_for(130, &["bash", "-c", &fetch]).must())
}

fn first_word(text: &str) -> String {
    text.split_whitespace().next().unwrap_or_default().to_owned()
}

/// That a host's own TCP has seen nothing since `before`: no segment, no connection either way.
///
/// # Panics
/// When it has.
#[track_caller]
pub fn assert_bypassed(host: &Namespace, before: &lab::Counters) {
    let now = host.counters();
    let seen = ["TcpPassiveOpens", "TcpActiveOpens", "TcpInSegs", "TcpOutSegs", "TcpOutRsts"]
        .map(|name| (name, now.since(before, name)));
    assert!(seen.iter().all(|(_, n)| *n == 0), "the kernel's TCP of {} has seen {seen:?}", host.name());
}
