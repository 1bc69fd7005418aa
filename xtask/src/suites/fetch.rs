//! Debian's packages and sources of a suite, in `target/suites`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::apt::Apt;
use crate::run;

const SOURCES: &str = "deb http://deb.debian.org/debian bookworm main\n\
                       deb-src http://deb.debian.org/debian bookworm main\n";

/// Fetches binary packages into `folder` and unpacks them into `folder/root`.
pub(super) fn packages(folder: &Path, packages: &[&str]) -> Result<(), String> {
    Apt::new(folder, SOURCES)?.get(&[&["download"], packages].concat())?;
    // What there is was unpacked to the end.
    let (root, new) = (folder.join("root"), folder.join("root.new"));
    for before in [&root, &new] {
        if before.exists() {
            fs::remove_dir_all(before).map_err(|e| format!("{}: {e}", before.display()))?;
        }
    }
    for archive in files(folder, ".deb") {
        let mut unpack = Command::new("dpkg-deb");
        unpack.arg("-x").arg(&archive).arg(&new);
        must(&mut unpack)?;
    }
    fs::rename(&new, &root).map_err(|e| format!("{}: {e}", root.display()))
}

/// Fetches a source package into `folder` and unpacks it, with Debian's patches, into `folder/source`.
pub(super) fn source(folder: &Path, package: &str) -> Result<(), String> {
    Apt::new(folder, SOURCES)?.get(&["source", "--download-only", package])?;
    let source = folder.join("source");
    fs::create_dir_all(&source).map_err(|e| format!("{}: {e}", source.display()))?;
    for (end, strip) in [(".orig.tar.gz", 1), (".debian.tar.xz", 0)] {
        let archive = files(folder, end).pop().ok_or(format!("apt-get fetched no {end} of {package}"))?;
        let mut tar = Command::new("tar");
        tar.arg("-C").arg(&source).arg(format!("--strip-components={strip}")).arg("-xf").arg(archive);
        must(&mut tar)?;
    }
    let series = fs::read_to_string(source.join("debian/patches/series")).unwrap_or_default();
    for name in series.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let mut patch = Command::new("patch");
        patch.current_dir(&source).args(["-s", "-p1", "-i"]).arg(source.join("debian/patches").join(name));
        must(&mut patch)?;
    }
    Ok(())
}

/// Builds `folder/source` with cmake in `folder/build`.
pub(super) fn cmake(folder: &Path, options: &[&str], targets: &[&str]) -> Result<(), String> {
    let build = folder.join("build");
    let mut configure = Command::new("cmake");
    configure.arg("-S").arg(folder.join("source")).arg("-B").arg(&build);
    must(configure.arg("-DCMAKE_BUILD_TYPE=Release").args(options))?;
    let mut make = Command::new("cmake");
    must(make.arg("--build").arg(&build).args(["--parallel", "2", "--target"]).args(targets))
}

/// The version of what lies in `folder`, from the name of a file that begins so: `NAME_VERSION_…` or `NAME_VERSION.dsc`.
pub(super) fn version(folder: &Path, name: &str) -> String {
    let all = [files(folder, ".deb"), files(folder, ".dsc")].concat();
    let names = all.iter().filter_map(|path| path.file_name()?.to_str());
    let mut versions = names.filter_map(|file| file.strip_prefix(name)?.strip_prefix('_'));
    let version = versions.next().map(|rest| rest.trim_end_matches(".dsc").split('_').next().unwrap_or(rest));
    format!("{name} {}", version.unwrap_or("of an unknown version"))
}

/// The files in `folder` whose names end so.
fn files(folder: &Path, end: &str) -> Vec<PathBuf> {
    let all = fs::read_dir(folder).into_iter().flatten().flatten().map(|file| file.path());
    all.filter(|path| path.to_string_lossy().ends_with(end)).collect()
}

fn must(command: &mut Command) -> Result<(), String> {
    match run::quietly(command) {
        true => Ok(()),
        false => Err(format!("does not work: {command:?}")),
    }
}
