//! Makes bindings from the ef_vi headers that are installed; without them, an empty crate.
//!
//! The structures of ef_vi change between releases of the vendor's package while the library's version stays
//! the same, so bindings that were made elsewhere would be wrong in silence. libclang is loaded only when
//! there are headers to read.

use std::env;
use std::path::{Path, PathBuf};

/// Where to look, besides `EF_VI_INCLUDE_DIR`.
const USUAL_PLACES: &[&str] = &["/usr/include", "/usr/local/include"];

/// The headers, in the order the vendor's examples include them; those a release does not have are left out.
const HEADERS: &[&str] =
    &["base.h", "ef_vi.h", "vi.h", "pd.h", "memreg.h", "capabilities.h", "pio.h", "checksum.h", "efct_vi.h"];

fn main() {
    println!("cargo::rustc-check-cfg=cfg(ef_vi)");
    println!("cargo::rerun-if-env-changed=EF_VI_INCLUDE_DIR");
    println!("cargo::rerun-if-changed=build.rs");
    let Some(folder) = include_folder() else { return };
    for header in headers(&folder) {
        println!("cargo::rerun-if-changed={}", folder.join(header).display());
    }
    bind(&folder);
    println!("cargo::rustc-cfg=ef_vi");
    println!("cargo::rustc-link-lib=dylib=ciul");
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

fn headers(folder: &Path) -> Vec<String> {
    let paths = HEADERS.iter().map(|name| format!("etherfabric/{name}"));
    paths.filter(|path| folder.join(path).is_file()).collect()
}

fn bind(folder: &Path) {
    let includes: String = headers(folder).iter().map(|path| format!("#include <{path}>\n")).collect();
    let bindings = bindgen::Builder::default()
        .header_contents("ringroad_ef_vi.h", &includes)
        .clang_arg(format!("-I{}", folder.display()))
        .allowlist_function("ef_.*")
        .allowlist_type("ef_.*")
        .allowlist_var("EF_.*")
        .derive_default(true)
        .generate()
        .expect("bindings of the ef_vi headers (is libclang installed?)");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("bindings.rs");
    bindings.write_to_file(out).expect("a file in OUT_DIR");
}
