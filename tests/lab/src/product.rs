//! The built product: where it is, and what it says of its running stacks.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;

use crate::lab::Lab;
use crate::namespace::Namespace;
use crate::program::Outcome;
use crate::wait::eventually_some;

/// The path of the `ringroad` command, built in release mode and up to date, its library beside it.
///
/// # Panics
/// With the compiler's words, when it cannot be built.
pub fn product() -> &'static str {
    static BUILT: OnceLock<String> = OnceLock::new();
    // The whole workspace, as the README has it: some packages alone have dependencies with fewer features, and all is
    // compiled once more for these.
    BUILT.get_or_init(|| build("release", &["--workspace"], "ringroad"))
}

/// The path of a copy of the `ringroad` command that every user of this machine can start, its library beside it, in a
/// folder of the laboratory that every user can read.
///
/// # Panics
/// When it cannot be copied.
#[must_use]
pub fn product_for_all(lab: &Lab) -> PathBuf {
    let folder = lab.folder().join("for-all");
    let copy = copied(Path::new(product()), &folder);
    for path in [lab.folder(), &folder] {
        fs::set_permissions(path, Permissions::from_mode(0o755)).expect("a folder for all");
    }
    copy
}

/// The path of a copy of the command in a folder, its library beside it.
fn copied(command: &Path, folder: &Path) -> PathBuf {
    fs::create_dir_all(folder).expect("a folder");
    for name in ["ringroad", "libringroad_preload.so"] {
        fs::copy(command.with_file_name(name), folder.join(name)).expect("a copy of the product");
    }
    folder.join("ringroad")
}

/// As [`product_for_all`], on the stand-in of ef_vi, and not optimised: the product is built with what is installed.
///
/// # Panics
/// With the compiler's words, when it cannot be built, and when it cannot be copied.
#[must_use]
pub fn product_on_stand_in(lab: &Lab) -> String {
    let packages = ["-p", "ringroad-cli", "-p", "ringroad-preload", "-p", "ef-vi-sys"];
    let features = ["--features", "ef-vi-sys/stand-in"];
    let built = build("debug", &[&packages[..], &features].concat(), "ringroad");
    let copy = copied(Path::new(&built), &lab.folder().join("on-stand-in"));
    copy.to_string_lossy().into_owned()
}

/// The path of one of the examples, not optimised, as the tests of the rooms have built it already.
///
/// # Panics
/// With the compiler's words, when it cannot be built.
#[must_use]
pub fn example(name: &str) -> String {
    let packages = ["--workspace", "--exclude=ringroad-tests", "--example", name];
    build("debug", &packages, &format!("examples/{name}"))
}

/// Builds in `release` mode, or `debug`.
fn build(mode: &str, what: &[&str], path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let root = root.canonicalize().expect("the root of the workspace");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(&root).arg("build").args((mode == "release").then_some("--release")).args(what);
    Outcome::of(&mut cargo).must();
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    root.join(target).join(mode).join(path).to_string_lossy().into_owned()
}

/// The stacks that run on a host, as `ringroad stat --json` tells of them: of those that it tells of besides, another test's
/// or what one has left, none.
///
/// # Panics
/// When the command fails or prints something else.
#[must_use]
pub fn stacks(host: &Namespace) -> Vec<Value> {
    let text = host.must(&[product(), "stat", "--json"]);
    let all: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e} in {text}"));
    let mut all = all["stacks"].as_array().cloned().unwrap_or_else(|| panic!("no stacks in {text}"));
    all.retain(|stack| stack["pid"].as_u64().is_some_and(|pid| host.has(pid)));
    all
}

/// What `ringroad dump --json` tells of each of them; of a process that ends meanwhile, nothing.
///
/// # Panics
/// When one that stays tells nothing within a minute, or something else.
#[must_use]
pub fn dumps(host: &Namespace) -> Vec<Value> {
    let of = |stack: Value| {
        let pid = stack["pid"].as_u64().expect("a process");
        eventually_some(&format!("{pid} tells of its stack, or is gone"), 60, || {
            let said = host.run(&[product(), "dump", &pid.to_string(), "--json"]);
            let told = (said.code == 0).then(|| serde_json::from_str(&said.stdout).expect("JSON"));
            (told.is_some() || !host.has(pid)).then_some(told)
        })
    };
    stacks(host).into_iter().filter_map(of).collect()
}
