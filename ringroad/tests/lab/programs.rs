//! Programs under test: this executable, started again.

use std::io::{Read, Write};
use std::thread;

use lab::{IFACE, Namespace, Running, eventually};
use ringroad::TcpStream;

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

/// Echoes what comes by a connection to its end, in a thread of its own.
pub(crate) fn echo(mut connection: TcpStream) {
    thread::spawn(move || {
        let mut buffer = vec![0; 65536];
        while let Ok(n @ 1..) = connection.read(&mut buffer) {
            connection.write_all(&buffer[..n]).unwrap();
        }
    });
}
