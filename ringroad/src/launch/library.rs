//! Where the shim is, and how the loader is told.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::{LIBRARY, is_library};
use crate::error::StartError;

/// The shim beside this executable, else in `../lib/ringroad/`.
pub(super) fn find() -> Result<PathBuf, StartError> {
    let step = "looking for the shim";
    let executable = std::env::current_exe().map_err(|e| StartError::new(step, e))?;
    let places = places(&executable);
    places.iter().find(|p| p.is_file()).cloned().ok_or_else(|| {
        let words: Vec<_> = places.iter().map(|p| p.display().to_string()).collect();
        StartError::new(step, format!("{LIBRARY} is not there"))
            .remedy(format!("looked at {}", words.join(", ")))
    })
}

fn places(executable: &Path) -> Vec<PathBuf> {
    let dir = executable.parent().unwrap_or(Path::new("/"));
    vec![dir.join(LIBRARY), dir.join("../lib/ringroad").join(LIBRARY)]
}

/// The value of LD_PRELOAD: the shim first, then what was there.
pub(super) fn preload(library: &Path, before: Option<&OsStr>) -> OsString {
    let mut value = library.as_os_str().to_owned();
    for other in names(before.unwrap_or_default()).filter(|name| !is_library(name)) {
        value.push(":");
        value.push(other);
    }
    value
}

/// Whether an LD_PRELOAD names the shim.
pub(super) fn names_shim(preload: &OsStr) -> bool {
    names(preload).any(is_library)
}

/// The libraries of an LD_PRELOAD: ld.so(8) separates them by colons or spaces.
fn names(preload: &OsStr) -> impl Iterator<Item = &OsStr> {
    let separator = |b: &u8| matches!(b, b':' | b' ');
    preload.as_bytes().split(separator).filter(|name| !name.is_empty()).map(OsStr::from_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_looked_for_beside_the_executable_then_in_lib() {
        assert_eq!(
            places(Path::new("/usr/bin/ringroad")),
            [
                Path::new("/usr/bin/libringroad_preload.so"),
                Path::new("/usr/bin/../lib/ringroad/libringroad_preload.so")
            ]
        );
    }

    #[test]
    fn what_was_preloaded_stays_and_the_shim_comes_once() {
        let library = Path::new("/x/libringroad_preload.so");
        let value = |before: &str| preload(library, Some(OsStr::new(before)));
        assert_eq!(preload(library, None), "/x/libringroad_preload.so");
        assert_eq!(value("/a.so b.so"), "/x/libringroad_preload.so:/a.so:b.so");
        assert_eq!(value("/old/libringroad_preload.so:/a.so"), "/x/libringroad_preload.so:/a.so");
        assert!(names_shim(&value("/a.so")) && !names_shim(OsStr::new("/a.so:libringroad.so")));
    }
}
