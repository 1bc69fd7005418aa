//! Servers, on the road or on the kernel, and how to tell that they are ready.

use serde_json::Value;

use crate::lab::IFACE;
use crate::namespace::Namespace;
use crate::product::{product, stacks};
use crate::program::Running;
use crate::wait::{eventually, eventually_some};

/// Whose TCP a server listens with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Where {
    /// The kernel's.
    Kernel,
    /// Its own, by `ringroad run`.
    Road,
}

/// The command line that puts a program on the road, with more flags for `ringroad run`.
#[must_use]
pub fn ringroad<'a>(flags: &[&'a str], program: &[&'a str]) -> Vec<&'a str> {
    [&[product(), "run", "--iface", IFACE], flags, &["--"], program].concat()
}

/// Starts a server by its whole command line and waits until it listens where it should.
///
/// # Panics
/// When it ends, or does not listen within twenty seconds.
#[track_caller]
#[must_use]
pub fn start(host: &Namespace, command: &[&str], port: u16, place: Where) -> Running {
    let mut server = host.spawn(command);
    eventually(&format!("{} listens on port {port}", command.join(" ")), 20, || {
        assert!(server.is_running(), "{} has ended:\n{}", command.join(" "), server.said());
        match place {
            Where::Kernel => host.listens(port),
            Where::Road => stack_of(host, &server).is_some_and(|stack| listens(&stack, port)),
        }
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
