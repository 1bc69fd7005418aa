//! The Debian packages that tests, demo and benchmarks need, installed when missing.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::run;

/// A package, and what it gives: a program, or a file when it begins with `/`.
const PACKAGES: &[(&str, &str)] = &[
    ("iproute2", "ip"),
    ("ethtool", "ethtool"),
    ("procps", "ps"),
    ("util-linux", "taskset"),
    ("curl", "curl"),
    ("nginx-light", "nginx"),
    ("libnginx-mod-stream", "/usr/lib/nginx/modules/ngx_stream_module.so"),
    ("apache2-bin", "apache2"),
    ("haproxy", "haproxy"),
    ("memcached", "memcached"),
    ("nghttp2-client", "h2load"),
    ("nodejs", "node"),
    ("openssl", "openssl"),
    ("wrk", "wrk"),
    ("redis-server", "redis-server"),
    ("redis-tools", "redis-benchmark"),
    ("dnsmasq-base", "dnsmasq"),
    ("bind9-dnsutils", "dig"),
    ("socat", "socat"),
    ("iperf3", "iperf3"),
    ("nmap", "nmap"),
    ("python3", "python3"),
    ("gcc", "cc"),
    ("clang", "clang"),
    ("llvm", "llvm-objcopy"),
    ("valgrind", "valgrind"),
    ("libbpf-dev", "/usr/include/bpf/bpf_helpers.h"),
];

/// Debian's way to say "start no services while installing".
const NO_SERVICES: &str = "/usr/sbin/policy-rc.d";

/// The packages that are missing here.
pub(crate) fn missing() -> Vec<&'static str> {
    let here =
        |gives: &str| if gives.starts_with('/') { Path::new(gives).exists() } else { run::found(gives) };
    PACKAGES.iter().filter(|(_, gives)| !here(gives)).map(|(package, _)| *package).collect()
}

/// Installs what is missing; what could not be had, as one line.
pub(crate) fn install() -> Result<(), String> {
    let wanted = missing();
    if wanted.is_empty() {
        return Ok(());
    }
    let list = wanted.join(" ");
    if !run::is_root() {
        return Err(format!("missing, and only root can install: {list}"));
    }
    if !run::found("apt-get") {
        return Err(format!("missing, and there is no apt-get to install: {list}"));
    }
    println!("installing {list}");
    let guard = NoServices::new();
    let apt = |args: &[&str]| {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive").args(["-qq", "-o=Dpkg::Use-Pty=0"]).args(args);
        run::quietly(&mut command)
    };
    let _ = apt(&["update"]);
    let mut args = vec!["install", "-y", "--no-install-recommends"];
    args.extend(&wanted);
    let _ = apt(&args);
    drop(guard);
    match missing() {
        still if still.is_empty() => Ok(()),
        still => Err(format!("apt-get could not install: {}", still.join(" "))),
    }
}

/// While it lives, installing a server does not start it.
struct NoServices {
    ours: bool,
}

impl NoServices {
    fn new() -> Self {
        let ours =
            !Path::new(NO_SERVICES).exists() && fs::write(NO_SERVICES, "#!/bin/sh\nexit 101\n").is_ok();
        if ours {
            let _ = run::quietly(Command::new("chmod").args(["755", NO_SERVICES]));
        }
        Self { ours }
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if self.ours {
            let _ = fs::remove_file(NO_SERVICES);
        }
    }
}
