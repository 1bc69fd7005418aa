//! Whether there are bindings to drive: `ef-vi-sys` says so.

fn main() {
    println!("cargo::rustc-check-cfg=cfg(ef_vi)");
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var_os("DEP_CIUL_AVAILABLE").is_some() {
        println!("cargo::rustc-cfg=ef_vi");
    }
}
