//! The library, opened at run time. The only file of `src` that holds `unsafe`.

use std::ffi::CStr;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::Ciul;

/// The version of the library that the bindings were made for. `None` when none was there to ask.
pub const VERSION: Option<&str> = option_env!("EF_VI_BUILT_FOR_VERSION");

/// A stand-in that says another version than its headers are for: to be refused.
#[cfg(stand_in)]
pub const OTHER: &str = env!("EF_VI_STAND_IN_OTHER");

/// Where that library was.
const PLACE: Option<&str> = option_env!("EF_VI_BUILT_FOR_LIBRARY");

/// By what name the loader is asked for it, if it is not there any more.
const NAME: &str = "libciul.so.1";

/// Why the library cannot be used.
#[derive(Debug)]
pub enum LibraryError {
    /// It cannot be loaded, or lacks a call.
    Load {
        /// What was tried.
        path: PathBuf,
        /// The loader's reason.
        source: libloading::Error,
    },
    /// It is of another release than the headers.
    Version {
        /// What was loaded.
        path: PathBuf,
        /// What it says.
        found: String,
    },
}

impl fmt::Display for LibraryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Load { path, source } => write!(f, "{}: {source}", path.display()),
            Self::Version { path, found } => match VERSION {
                Some(built) => {
                    write!(f, "{} is version {found}, and this was built for {built}", path.display())
                }
                None => write!(
                    f,
                    "{} is version {found}, and when this was built there was no library to say for which",
                    path.display()
                ),
            },
        }
    }
}

impl std::error::Error for LibraryError {}

/// Opens the library: at `path`, else where it was when this was built, else wherever the loader finds it.
///
/// # Errors
/// When it cannot be loaded, lacks a call, or is of another release than the headers that this was built with.
pub fn open(path: Option<&Path>) -> Result<Ciul, LibraryError> {
    let there = || PLACE.map(Path::new).filter(|place| place.is_file());
    let path = path.or_else(there).unwrap_or(Path::new(NAME)).to_owned();
    // SAFETY: whoever names another library than the installed one answers for its initialisers.
    let ciul = match unsafe { Ciul::new(&path) } {
        Ok(ciul) => ciul,
        Err(source) => return Err(LibraryError::Load { path, source }),
    };
    // SAFETY: this call has been the same in every release: no arguments, a string for good.
    let words = unsafe { ciul.ef_vi_version_str() };
    // SAFETY: as above; the library is open.
    let found = unsafe { CStr::from_ptr(words) }.to_string_lossy().into_owned();
    if VERSION == Some(found.as_str()) { Ok(ciul) } else { Err(LibraryError::Version { path, found }) }
}
