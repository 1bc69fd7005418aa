//! Debian's packages, fetched for us alone: lists and archives stay in a folder of ours, and the host's own lists and
//! installed packages are left as they are.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::run;

/// apt with a folder of its own.
pub(crate) struct Apt {
    folder: PathBuf,
}

impl Apt {
    /// apt in `folder`, which knows the packages of `sources` (lines of a sources.list) and no others.
    pub(crate) fn new(folder: &Path, sources: &str) -> Result<Self, String> {
        let fault = |e: std::io::Error| format!("{}: {e}", folder.display());
        for part in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(folder.join(part)).map_err(fault)?;
        }
        fs::write(folder.join("sources.list"), sources).map_err(fault)?;
        let apt = Self { folder: folder.to_owned() };
        apt.get(&["update"])?;
        Ok(apt)
    }

    /// `apt-get`; what it fetches stays in the folder.
    pub(crate) fn get(&self, args: &[&str]) -> Result<(), String> {
        match run::quietly(self.command("apt-get").arg("-qq").args(args)) {
            true => Ok(()),
            false => Err(format!("apt-get {} does not work", args.join(" "))),
        }
    }

    /// The packages that a package depends on directly.
    pub(crate) fn depends(&self, package: &str) -> Vec<String> {
        let output = self.command("apt-cache").args(["depends", package]).output();
        let text = output.map(|o| String::from_utf8_lossy(&o.stdout).into_owned()).unwrap_or_default();
        text.lines().filter_map(|l| l.trim().strip_prefix("Depends: ")).map(str::to_owned).collect()
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.folder).args(["-o=Dir::Etc::sourceparts=-", "-o=APT::Sandbox::User="]);
        // Without a network it is to say so soon.
        command.args(["-o=Acquire::http::Timeout=20", "-o=Acquire::Retries=1"]);
        for (option, place) in [
            ("Dir::Etc::sourcelist", "sources.list"),
            ("Dir::State::lists", "lists"),
            ("Dir::Cache", "cache"),
        ] {
            command.arg(format!("-o={option}={}", self.folder.join(place).display()));
        }
        command
    }
}
