//! lwIP's sources, which tests and benchmarks compile: fetched from Debian, kept in `target/lwip`.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::apt::Apt;
use crate::run;

/// Where Debian's source packages are; the host's own lists are left as they are.
const SOURCES: &str = "deb-src http://deb.debian.org/debian bookworm main\n";
/// A file that is there when all are.
const PROOF: &str = "src/core/tcp.c";

/// Fetches them when they are missing; why not, as one line.
pub(crate) fn fetch() -> Result<(), String> {
    let folder = crate::root().join("target/lwip");
    if folder.join(PROOF).is_file() {
        return Ok(());
    }
    println!("fetching lwIP's sources");
    let apt = Apt::new(&folder, SOURCES)?;
    apt.get(&["source", "--download-only", "lwip"])?;
    unpack(&folder)?;
    match folder.join(PROOF).is_file() {
        true => Ok(()),
        false => Err("lwIP's source package has no core/tcp.c".to_owned()),
    }
}

fn unpack(folder: &Path) -> Result<(), String> {
    let files = fs::read_dir(folder).map_err(|e| e.to_string())?;
    let archive =
        files.flatten().map(|file| file.path()).find(|path| path.to_string_lossy().contains(".orig.tar"));
    let archive = archive.ok_or("apt-get fetched no archive of lwIP's")?;
    let mut tar = Command::new("tar");
    tar.current_dir(folder).args(["--strip-components=1", "-xf"]).arg(archive);
    match run::quietly(&mut tar) {
        true => Ok(()),
        false => Err("lwIP's archive cannot be unpacked".to_owned()),
    }
}
