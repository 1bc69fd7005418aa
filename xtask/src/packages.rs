//! The Debian packages that tests, demo and benchmarks need, installed when missing.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::run;

/// Packages, and what each gives: a program, or a file when it begins with `/`, whose name may have `*` for one folder.
pub(crate) type Packages = [(&'static str, &'static str)];

/// What tests, demo and benchmarks need.
const PACKAGES: &Packages = &[
    ("iproute2", "ip"),
    ("iputils-ping", "ping"),
    ("ethtool", "ethtool"),
    ("nftables", "nft"),
    ("procps", "ps"),
    ("util-linux", "taskset"),
    ("curl", "curl"),
    ("nginx-light", "nginx"),
    ("libnginx-mod-stream", "/usr/lib/nginx/modules/ngx_stream_module.so"),
    ("apache2-bin", "apache2"),
    ("haproxy", "haproxy"),
    ("memcached", "memcached"),
    ("nghttp2-client", "h2load"),
    ("postgresql", "/usr/lib/postgresql/*/bin/initdb"),
    ("nodejs", "node"),
    ("default-jdk-headless", "javac"),
    ("openssl", "openssl"),
    ("openssh-server", "/usr/sbin/sshd"),
    ("openssh-client", "scp"),
    ("wrk", "wrk"),
    ("redis-server", "redis-server"),
    ("redis-tools", "redis-benchmark"),
    ("dnsmasq-base", "dnsmasq"),
    ("bind9-dnsutils", "dig"),
    ("rsync", "rsync"),
    ("vsftpd", "/usr/sbin/vsftpd"),
    ("socat", "socat"),
    ("iperf3", "iperf3"),
    ("sockperf", "sockperf"),
    ("nmap", "nmap"),
    ("tshark", "tshark"),
    ("python3", "python3"),
    ("gcc", "cc"),
    ("clang", "clang"),
    ("llvm", "llvm-objcopy"),
    ("valgrind", "valgrind"),
    ("libbpf-dev", "/usr/include/bpf/bpf_helpers.h"),
];

/// What a machine in software needs besides.
pub(crate) const GUEST: &Packages = &[
    ("qemu-system-x86", "qemu-system-x86_64"),
    ("busybox-static", "busybox"),
    ("xz-utils", "xz"),
    ("zstd", "zstd"),
];

/// Debian's way to say "start no services while installing".
const NO_SERVICES: &str = "/usr/sbin/policy-rc.d";

/// Those that are missing here.
fn missing(packages: &Packages) -> Vec<&'static str> {
    let here = |gives: &str| if gives.starts_with('/') { exists(gives) } else { run::found(gives) };
    packages.iter().filter(|(_, gives)| !here(gives)).map(|(package, _)| *package).collect()
}

/// Whether there is such a file, in whatever folder where the path has `*`.
fn exists(path: &str) -> bool {
    match path.split_once("/*/") {
        Some((above, below)) => fs::read_dir(above)
            .is_ok_and(|mut all| all.any(|one| one.is_ok_and(|o| o.path().join(below).exists()))),
        None => Path::new(path).exists(),
    }
}

/// Installs what tests, demo and benchmarks need; what could not be had, as one line.
pub(crate) fn install() -> Result<(), String> {
    install_all(PACKAGES)
}

/// Installs those that are missing; what could not be had, as one line.
pub(crate) fn install_all(packages: &Packages) -> Result<(), String> {
    let wanted = missing(packages);
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
    match missing(packages) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_found_in_whatever_folder() {
        let here = env!("CARGO_MANIFEST_DIR");
        assert!(exists(&format!("{here}/Cargo.toml")));
        assert!(exists(&format!("{here}/*/packages.rs")));
        assert!(!exists(&format!("{here}/*/initdb")));
        assert!(!exists(&format!("{here}/none/*/packages.rs")));
    }
}
