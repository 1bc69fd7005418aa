//! Makes bindings from the ef_vi headers that are installed; without them, an empty crate.
//!
//! The structures of ef_vi change between releases of the vendor's package while the library's version stays
//! the same, so bindings that were made elsewhere would be wrong in silence. What is macro or `static inline`
//! there is compiled into functions (`shim/`). The library is not linked: it is opened at run time, and must say
//! the version that it says here. libclang is loaded only when there are headers to read.

use std::env;
use std::ffi::CStr;
use std::fs;
use std::panic;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where to look for headers, besides `EF_VI_INCLUDE_DIR`.
const USUAL_PLACES: &[&str] = &["/usr/include", "/usr/local/include"];
/// Where to look for the library, besides `EF_VI_LIBRARY`.
const LIBRARIES: &[&str] = &[
    "/usr/lib/x86_64-linux-gnu/libciul.so.1",
    "/usr/lib/aarch64-linux-gnu/libciul.so.1",
    "/usr/lib64/libciul.so.1",
    "/usr/lib/libciul.so.1",
    "/usr/local/lib/libciul.so.1",
];

/// What the shim and its callers need; the last of them says that the release is new enough.
const HEADERS: &[&str] =
    &["base.h", "ef_vi.h", "vi.h", "pd.h", "memreg.h", "capabilities.h", "pio.h", "efct_vi.h"];

/// The library's functions that are called; those for times and link addresses by the stand-in's tests alone.
const CALLS: &[&str] = &[
    "ef_vi_version_str",
    "ef_driver_open",
    "ef_driver_close",
    "ef_pd_alloc_by_name",
    "ef_pd_interface_name",
    "ef_pd_free",
    "ef_memreg_alloc",
    "ef_memreg_free",
    "ef_vi_capabilities_get",
    "ef_vi_alloc_from_pd",
    "ef_vi_free",
    "ef_vi_mtu",
    "ef_vi_get_mac",
    "ef_vi_prime",
    "ef_filter_spec_init",
    "ef_filter_spec_set_ip4_local",
    "ef_filter_spec_set_ip4_full",
    "ef_filter_spec_set_ip6_local",
    "ef_filter_spec_set_ip6_full",
    "ef_filter_spec_set_eth_local",
    "ef_vi_filter_add",
    "ef_vi_filter_del",
    "ef_vi_receive_get_timestamp_with_sync_flags",
    "ef_vi_transmit_init",
    "ef_vi_transmit_unbundle",
    "ef_pio_alloc",
    "ef_pio_free",
    "ef_pio_link_vi",
    "ef_pio_unlink_vi",
    "efct_vi_rxpkt_get",
    "efct_vi_rxpkt_release",
];

/// Constants and types that no function of those brings.
const CONSTANTS: &[&str] = &["EF_EVENT_RX_DISCARD_.*", "EF_VI_DISCARD_RX_.*", "EF_VI_TRANSMIT_BATCH"];

fn main() {
    println!("cargo::rustc-check-cfg=cfg(ef_vi)");
    println!("cargo::rustc-check-cfg=cfg(stand_in)");
    for name in ["EF_VI_INCLUDE_DIR", "EF_VI_LIBRARY", "EF_VI_VERSION"] {
        println!("cargo::rerun-if-env-changed={name}");
    }
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=shim");
    let stand_in = env::var_os("CARGO_FEATURE_STAND_IN").is_some();
    let named = env::var_os("EF_VI_INCLUDE_DIR").is_some();
    let found = if stand_in { Some(PathBuf::from("stand-in")) } else { include_folder() };
    let Some(folder) = found else { return };
    for header in HEADERS {
        let path = folder.join("etherfabric").join(header);
        println!("cargo::rerun-if-changed={}", path.display());
        if !path.is_file() {
            return without(named, &format!("{} is not there: Onload 8 or newer has it", path.display()));
        }
    }
    // bindgen panics where it finds none.
    if panic::catch_unwind(bindgen::clang_version).is_err() {
        assert!(!stand_in, "tests need libclang (Debian: libclang1, or clang)");
        return without(
            named,
            "libclang is not installed (Debian: libclang1), so its headers cannot be read",
        );
    }
    compile(&folder);
    bind(&folder);
    let library = if stand_in { Some(build_stand_in()) } else { library() };
    if let Some(library) = library {
        println!("cargo::rustc-env=EF_VI_BUILT_FOR_LIBRARY={}", library.display());
        if !stand_in {
            println!("cargo::rerun-if-changed={}", library.display());
        }
        if let Some(version) = version_of(&library) {
            println!("cargo::rustc-env=EF_VI_BUILT_FOR_VERSION={version}");
        }
    }
    if !stand_in && let Ok(version) = env::var("EF_VI_VERSION") {
        println!("cargo::rustc-env=EF_VI_BUILT_FOR_VERSION={version}");
    }
    println!("cargo::rustc-cfg=ef_vi");
    println!("cargo::metadata=available=1");
}

/// The crate is to be empty, though there are headers: an error where they were named.
fn without(named: bool, why: &str) {
    assert!(!named, "EF_VI_INCLUDE_DIR is set, and {why}");
    println!("cargo::warning=without ef_vi: {why}");
}

/// The folder that holds `etherfabric/ef_vi.h`.
fn include_folder() -> Option<PathBuf> {
    let holds = |folder: &Path| folder.join("etherfabric/ef_vi.h").is_file();
    if let Some(named) = env::var_os("EF_VI_INCLUDE_DIR") {
        let folder = PathBuf::from(named);
        assert!(
            holds(&folder),
            "EF_VI_INCLUDE_DIR is {}: there is no etherfabric/ef_vi.h in it",
            folder.display()
        );
        return Some(folder);
    }
    USUAL_PLACES.iter().map(PathBuf::from).find(|folder| holds(folder))
}

fn library() -> Option<PathBuf> {
    let named = env::var_os("EF_VI_LIBRARY").map(PathBuf::from);
    named.or_else(|| LIBRARIES.iter().map(PathBuf::from).find(|path| path.is_file()))
}

/// What the library says: its headers do not say it.
fn version_of(library: &Path) -> Option<String> {
    // SAFETY: it is the vendor's library or ours, whose initialisers do nothing that this program would mind.
    let library = unsafe { libloading::Library::new(library) }.ok()?;
    // SAFETY: this is how its header declares the function.
    let call = unsafe { library.get::<unsafe extern "C" fn() -> *const i8>(b"ef_vi_version_str\0") }.ok()?;
    // SAFETY: the function takes nothing and returns a string for good.
    let words = unsafe { call() };
    // SAFETY: as above; the library is still open.
    let words = unsafe { CStr::from_ptr(words.cast()) };
    words.to_str().ok().map(str::to_owned)
}

fn out() -> PathBuf {
    PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"))
}

fn compile(folder: &Path) {
    let mut build = cc::Build::new();
    build.file("shim/shim.c").include(folder).opt_level(2).std("gnu11");
    let header = fs::read_to_string(folder.join("etherfabric/ef_vi.h")).expect("a header in UTF-8");
    if header.contains("EF_VI_ARCH_EF10CT") {
        build.define("RINGROAD_EF10CT", None);
    }
    build.compile("ringroad_ef_vi_shim");
}

/// Two files: the library's functions, loaded by name, and the shim's, linked.
fn bind(folder: &Path) {
    let builder = || {
        bindgen::Builder::default()
            .clang_arg(format!("-I{}", folder.display()))
            .clang_arg("-Ishim")
            .derive_default(true)
            .layout_tests(false)
            .wrap_unsafe_ops(true)
    };
    let includes: String = HEADERS.iter().map(|name| format!("#include <etherfabric/{name}>\n")).collect();
    let mut library = builder()
        .header_contents("ringroad_ef_vi.h", &includes)
        .dynamic_library_name("Ciul")
        .dynamic_link_require_all(true);
    for name in CALLS {
        library = library.allowlist_function(name);
    }
    for name in CONSTANTS {
        library = library.allowlist_var(name);
    }
    library = library.allowlist_type("ef_event").allowlist_type("ef_vi_rx_discard_err_flags");
    let shim = builder()
        .header("shim/shim.h")
        .allowlist_function("ringroad_.*")
        .allowlist_type("ringroad_.*")
        .allowlist_recursively(false)
        .raw_line("use super::bindings::*;");
    for (builder, name) in [(library, "bindings.rs"), (shim, "shim.rs")] {
        let bindings = builder.generate().expect("bindings of the ef_vi headers");
        bindings.write_to_file(out().join(name)).expect("a file in OUT_DIR");
    }
}

/// Builds the stand-in, and one more that says another version: that is refused, in a test.
fn build_stand_in() -> PathBuf {
    println!("cargo::rerun-if-changed=stand-in");
    println!("cargo::rustc-cfg=stand_in");
    let files = fs::read_dir("stand-in").expect("the stand-in's folder").flatten().map(|entry| entry.path());
    let files: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|e| e == "c")).collect();
    let other = link(&files, "other", &["-DSTAND_IN_VERSION=\"ringroad-stand-in-0\""]);
    println!("cargo::rustc-env=EF_VI_STAND_IN_OTHER={}", other.display());
    link(&files, "stand-in", &[])
}

fn link(files: &[PathBuf], folder: &str, words: &[&str]) -> PathBuf {
    let folder = out().join(folder);
    fs::create_dir_all(&folder).expect("a folder in OUT_DIR");
    let library = folder.join("libciul.so.1");
    let compiler = cc::Build::new().opt_level(2).warnings(false).get_compiler();
    let mut command = Command::new(compiler.path());
    command.args(["-shared", "-fPIC", "-O2", "-std=gnu11", "-Wall", "-Wextra", "-Istand-in"]);
    command.args(words).args(files).arg("-lpthread").arg("-o").arg(&library);
    assert!(
        command.status().expect("a C compiler").success(),
        "the stand-in cannot be compiled: {command:?}"
    );
    library
}
