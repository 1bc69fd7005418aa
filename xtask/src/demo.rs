//! `cargo xtask demo`: nginx on the kernel and on the road side by side, behind a policy.

use std::fs;

use lab::{CLIENT, IFACE, Lab, Namespace, SERVER, product};

use crate::measure::{Load, Side, median, ratio, site};
use crate::{packages, run};

const ROUNDS: usize = 2;
const SECONDS: u32 = 3;
/// A second address of the client, which no rule permits.
const STRANGER: &str = "10.77.0.3";

/// Shows it; whether all of it could be shown.
pub(crate) fn run() -> bool {
    let missing = missing();
    if !missing.is_empty() {
        missing.iter().for_each(|m| println!("missing: {m}"));
        println!("what still runs here: cargo build, cargo xtask tidy, and cargo xtask test without the lab");
        return false;
    }
    println!("building");
    let command = product();
    println!("built {command}");
    show(command);
    true
}

/// What the demo needs and this machine does not have, one line each.
fn missing() -> Vec<String> {
    let mut missing = Vec::new();
    if !run::is_root() {
        missing.push("root: network namespaces and AF_XDP need it".to_owned());
    }
    let protocols = fs::read_to_string("/proc/net/protocols").unwrap_or_default();
    if !protocols.lines().any(|line| line.starts_with("XDP ")) {
        missing.push("AF_XDP: this kernel was built without CONFIG_XDP_SOCKETS".to_owned());
    }
    if let Err(what) = packages::install() {
        missing.push(what);
    }
    missing
}

fn show(command: &str) {
    let lab = Lab::new("demo");
    let site = site(&lab);
    let policy = lab.file("policy.toml", POLICY);
    let policy = policy.to_string_lossy();
    let sides = [Side::kernel(), Side::road()];
    println!(
        "\nthe policy, as `ringroad policy check` reads it:\n{}",
        sides[1].server.must(&[command, "policy", "check", &policy])
    );

    let servers: Vec<_> =
        sides.iter().map(|side| side.serve(&["--policy", &policy], &site.nginx(), 80)).collect();
    println!(
        "nginx listens twice: on the kernel, and by `ringroad run --iface {IFACE} --policy … -- nginx`\n"
    );
    clients(&sides[1].client);
    table(&sides);

    let pids = servers[1].children();
    let pid = pids.first().map_or_else(String::new, u32::to_string);
    println!("\n`ringroad stat` says of it:\n{}", sides[1].server.must(&[command, "stat", &pid]));
    let seen = sides.iter().map(|side| side.server.counters().get("TcpPassiveOpens"));
    for (side, opens) in sides.iter().zip(seen) {
        println!("connections that the kernel's TCP accepted, {:9} {opens}", format!("{}:", side.name));
    }
}

/// A client that a rule permits, and one that none does.
fn clients(client: &Namespace) {
    client.must(&["ip", "address", "add", &format!("{STRANGER}/24"), "dev", IFACE]);
    for (address, what) in [(CLIENT, "a permitted client"), (STRANGER, "a client that no rule permits")] {
        let url = format!("http://{SERVER}/612B");
        let words = [
            "curl",
            "-sS",
            "--interface",
            address,
            "--max-time",
            "2",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
            &url,
        ];
        let outcome = client.run(&words);
        let answer = if outcome.code == 0 { format!("HTTP {}", outcome.stdout) } else { outcome.stderr };
        println!("{what:30} {address}: {}", answer.trim());
    }
}

fn table(sides: &[Side; 2]) {
    println!("\n{:32} {:>10} {:>10} {:>7}", "612 B, requests/s", "kernel", "ringroad", "ratio");
    for connections in [1, 32, 128] {
        let load = Load { file: "612B", connections, close: false };
        let [kernel, road] =
            [0, 1].map(|n| median((0..ROUNDS).map(|_| sides[n].wrk(&load, SECONDS)).collect()));
        let name = format!("keep-alive, {connections} connections");
        println!("{name:32} {kernel:10.0} {road:10.0} {:>7}", ratio(road, kernel));
    }
}

const POLICY: &str = r#"default = "deny"

[[table]]
local = "10.77.0.1"
mode  = "enforce"

[[table.rule]]
name       = "web"
direction  = "in"
protocol   = "tcp"
local_port = [80]
remote     = ["10.77.0.2/32"]
action     = "allow"
"#;
