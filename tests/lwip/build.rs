//! Compiles lwIP from its sources, with our configuration and glue, when they are there. They are not ours and
//! not in the repository: `cargo xtask lwip` fetches them from Debian into `target/lwip`.

use std::env;
use std::path::{Path, PathBuf};

const CORE: &[&str] = &[
    "core/def.c",
    "core/inet_chksum.c",
    "core/init.c",
    "core/ip.c",
    "core/mem.c",
    "core/memp.c",
    "core/netif.c",
    "core/pbuf.c",
    "core/stats.c",
    "core/sys.c",
    "core/tcp.c",
    "core/tcp_in.c",
    "core/tcp_out.c",
    "core/timeouts.c",
    "core/ipv4/etharp.c",
    "core/ipv4/icmp.c",
    "core/ipv4/ip4.c",
    "core/ipv4/ip4_addr.c",
    "core/ipv4/ip4_frag.c",
    "netif/ethernet.c",
];

fn main() {
    println!("cargo::rustc-check-cfg=cfg(lwip)");
    println!("cargo::rerun-if-env-changed=RINGROAD_LWIP");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=glue");
    let folder = folder();
    println!("cargo::rerun-if-changed={}", folder.join("core/tcp.c").display());
    if !folder.join("core/tcp.c").is_file() {
        return;
    }
    cc::Build::new()
        .files(CORE.iter().map(|file| folder.join(file)))
        .file("glue/glue.c")
        .include("glue")
        .include(folder.join("include"))
        .opt_level(2)
        .force_frame_pointer(false)
        .define("NDEBUG", None)
        .warnings(false)
        .compile("ringroad_lwip");
    println!("cargo::rustc-cfg=lwip");
}

/// Where lwIP's `src` is.
fn folder() -> PathBuf {
    if let Some(named) = env::var_os("RINGROAD_LWIP") {
        return PathBuf::from(named);
    }
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(Path::new("/")).join("target/lwip/src")
}
