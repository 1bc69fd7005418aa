//! What a program needs in its environment to begin with this library. A server that executes its successor may give it
//! an environment of its own making (nginx does): what is missing there is added. Who names the port and not the library
//! means it so.

use core::ptr;
use std::ffi::{CStr, CString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::sync::OnceLock;

use libc::c_char;

use crate::user::{Fault, Place};

/// The loader's variable.
const LOADER: &[u8] = b"LD_PRELOAD";
/// The library's own begin with this.
const OURS: &[u8] = b"RINGROAD_";
/// What no environment of ours is without.
const PORT: &[u8] = b"RINGROAD_PORT";
/// A name of ours is not longer than this.
const NAME_MOST: usize = 48;
/// More entries than the kernel would take.
const ENTRIES_MOST: usize = 1 << 20;

/// `NAME=value`, as they were when the library was loaded.
static KEPT: OnceLock<Vec<CString>> = OnceLock::new();

/// Keeps what this process was given. Without a port there is nothing that a successor could use.
pub(crate) fn keep() {
    if std::env::var_os("RINGROAD_PORT").is_none() {
        return;
    }
    let ours = |name: &[u8]| name == LOADER || name.starts_with(OURS);
    let entry = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        let mut entry = name.into_vec();
        entry.push(b'=');
        entry.extend_from_slice(value.as_bytes());
        CString::new(entry).ok()
    };
    let _ =
        KEPT.set(std::env::vars_os().filter(|(name, _)| ours(name.as_bytes())).filter_map(entry).collect());
}

/// The environment `given`, with what is missing; none when nothing is.
///
/// # Errors
/// Fault, when it is not there to be read.
pub(crate) fn furnished(given: *const *const c_char) -> Result<Option<Vec<*const c_char>>, Fault> {
    let kept = KEPT.get().map_or(&[][..], Vec::as_slice);
    let (mut entries, mut names) = (Vec::new(), Vec::new());
    let table = Place::from(given);
    // Linux takes no table for an empty one.
    while !table.is_null() && !kept.is_empty() && entries.len() < ENTRIES_MOST {
        let entry = table.after(entries.len() * size_of::<usize>()).read::<usize>()?;
        if entry == 0 {
            break;
        }
        let entry = ptr::with_exposed_provenance::<c_char>(entry);
        names.push(name_of(entry.into())?);
        entries.push(entry);
    }
    if names.iter().any(|name| name == PORT) {
        return Ok(None);
    }
    let missing = kept.iter().filter(|k| !names.iter().any(|name| name == name_in(k)));
    let before = entries.len();
    entries.extend(missing.map(|entry| entry.as_ptr()));
    if entries.len() == before {
        return Ok(None);
    }
    entries.push(ptr::null());
    Ok(Some(entries))
}

fn name_in(entry: &CStr) -> &[u8] {
    entry.to_bytes().split(|byte| *byte == b'=').next().unwrap_or_default()
}

/// The name in the application's entry, as far as it could be one of ours.
fn name_of(entry: Place) -> Result<Vec<u8>, Fault> {
    let mut name = Vec::new();
    while name.len() < NAME_MOST {
        match entry.after(name.len()).read::<u8>()? {
            0 | b'=' => break,
            byte => name.push(byte),
        }
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_added_and_what_is_there_stays() {
        let kept = [c"LD_PRELOAD=/x.so", c"RINGROAD_PORT=900"].map(CStr::to_owned);
        KEPT.set(kept.to_vec()).unwrap();
        let text = |entries: &[*const c_char]| -> Vec<String> {
            let entries = entries.iter().filter(|entry| !entry.is_null());
            let read = |entry: &*const c_char| {
                let mut at = Place::from(*entry);
                let mut text = Vec::new();
                while let Ok(byte @ 1..) = at.read::<u8>() {
                    text.push(byte);
                    at = at.after(1);
                }
                String::from_utf8(text).unwrap()
            };
            entries.map(read).collect()
        };
        let own = [c"TZ=UTC".as_ptr(), c"LD_PRELOAD=/y.so".as_ptr(), ptr::null()];
        let made = furnished(own.as_ptr()).unwrap().unwrap();
        assert_eq!(text(&made), ["TZ=UTC", "LD_PRELOAD=/y.so", "RINGROAD_PORT=900"]);
        assert!(made.last().unwrap().is_null());
        let made = furnished(ptr::null()).unwrap().unwrap();
        assert_eq!(text(&made), ["LD_PRELOAD=/x.so", "RINGROAD_PORT=900"]);
        let meant = [c"TZ=UTC".as_ptr(), c"RINGROAD_PORT=7".as_ptr(), ptr::null()];
        assert_eq!(furnished(meant.as_ptr()).unwrap(), None, "without the library, and that on purpose");
    }
}
