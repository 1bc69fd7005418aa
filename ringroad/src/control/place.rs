//! Where control sockets are.

use std::path::{Path, PathBuf};

/// The directory that the launcher makes as root, open for every user's sockets (mode 1777).
pub(crate) const RUN_DIR: &str = "/run/ringroad";

/// The directories in which a stack may have put its socket, best first.
pub(crate) fn directories(configured: Option<&Path>) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = configured.into_iter().map(Path::to_path_buf).collect();
    all.push(RUN_DIR.into());
    all.push(std::env::temp_dir().join("ringroad"));
    all
}

/// The process whose socket `path` is, by its name `PID.sock`.
pub(crate) fn pid_of(path: &Path) -> Option<u32> {
    path.file_name()?.to_str()?.strip_suffix(".sock")?.parse().ok()
}
