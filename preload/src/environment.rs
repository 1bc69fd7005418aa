//! What a program needs in its environment to begin with this library. A server that executes its successor may give it
//! an environment of its own making (nginx does): what is missing there is added. Who names the port, or without one the
//! interface, and not the library means it so, unless connections go along: those would be lost, and who has swept the loader's
//! variables away (inetd does) did not mean that.

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
/// One of them no environment of ours is without: the first that this process was given.
const MARKS: [&[u8]; 2] = [b"RINGROAD_PORT", b"RINGROAD_IFACE"];
/// What one program carries to the next, and no further.
pub(crate) const CARRIED: &CStr = c"RINGROAD_CARRIED";
/// A name of ours is not longer than this.
const NAME_MOST: usize = 48;
/// More entries than the kernel would take.
const ENTRIES_MOST: usize = 1 << 20;

/// `NAME=value`, as they were when the library was loaded.
static KEPT: OnceLock<Vec<CString>> = OnceLock::new();

/// Keeps what this process was given.
pub(crate) fn keep() {
    let ours = |name: &[u8]| name == LOADER || name.starts_with(OURS) && name != CARRIED.to_bytes();
    let entry = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        let mut entry = name.into_vec();
        entry.push(b'=');
        entry.extend_from_slice(value.as_bytes());
        CString::new(entry).ok()
    };
    let _ =
        KEPT.set(std::env::vars_os().filter(|(name, _)| ours(name.as_bytes())).filter_map(entry).collect());
}

/// The environment `given`, with what is missing and with `more`; none when it is as it should be.
///
/// # Errors
/// Fault, when it is not there to be read.
pub(crate) fn furnished(
    given: *const *const c_char,
    more: Option<&CStr>,
) -> Result<Option<Vec<*const c_char>>, Fault> {
    furnished_from(KEPT.get().map_or(&[][..], Vec::as_slice), given, more)
}

fn furnished_from(
    kept: &[CString],
    given: *const *const c_char,
    more: Option<&CStr>,
) -> Result<Option<Vec<*const c_char>>, Fault> {
    let (mut entries, mut names) = (Vec::new(), Vec::new());
    let table = Place::from(given);
    // Linux takes no table for an empty one.
    while !table.is_null() && names.len() < ENTRIES_MOST {
        let entry = table.after(names.len() * size_of::<usize>()).read::<usize>()?;
        if entry == 0 {
            break;
        }
        let entry = ptr::with_exposed_provenance::<c_char>(entry);
        let name = name_of(entry.into())?;
        entries.push(entry);
        if more.is_some() && name == CARRIED.to_bytes() {
            entries.pop();
        }
        names.push(name);
    }
    let before = entries.len();
    let mark = MARKS.into_iter().find(|mark| kept.iter().any(|entry| name_in(entry) == *mark));
    let means_it = mark.is_none_or(|mark| names.iter().any(|name| name == mark));
    let is_wanted = |name: &[u8]| !means_it || more.is_some() && name == LOADER;
    let missing =
        kept.iter().filter(|k| !names.iter().any(|name| name == name_in(k)) && is_wanted(name_in(k)));
    entries.extend(missing.map(|entry| entry.as_ptr()));
    entries.extend(more.map(CStr::as_ptr));
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

    fn text(entries: &[*const c_char]) -> Vec<String> {
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
    }

    /// What becomes of an environment; none when it stays as it is.
    fn made(kept: &[&CStr], given: &[&CStr], more: Option<&CStr>) -> Option<Vec<String>> {
        let kept: Vec<CString> = kept.iter().map(|entry| (*entry).to_owned()).collect();
        let table: Vec<_> = given.iter().map(|entry| entry.as_ptr()).chain([ptr::null()]).collect();
        let made = furnished_from(&kept, table.as_ptr(), more).unwrap()?;
        assert!(made.last().unwrap().is_null());
        Some(text(&made))
    }

    #[test]
    fn what_is_missing_is_added_and_what_is_there_stays() {
        let kept = [c"LD_PRELOAD=/x.so", c"RINGROAD_PORT=900", c"RINGROAD_IFACE=veth0"];
        let whole = made(&kept, &[c"TZ=UTC", c"LD_PRELOAD=/y.so"], None).unwrap();
        assert_eq!(whole, ["TZ=UTC", "LD_PRELOAD=/y.so", "RINGROAD_PORT=900", "RINGROAD_IFACE=veth0"]);
        let kept = kept.map(CStr::to_owned);
        let whole = furnished_from(&kept, ptr::null(), None).unwrap().unwrap();
        assert_eq!(text(&whole), ["LD_PRELOAD=/x.so", "RINGROAD_PORT=900", "RINGROAD_IFACE=veth0"]);
    }

    #[test]
    fn who_names_the_port_and_not_the_library_means_it_so() {
        let kept = [c"LD_PRELOAD=/x.so", c"RINGROAD_PORT=900"];
        assert_eq!(made(&kept, &[c"TZ=UTC", c"RINGROAD_PORT=7"], None), None);
        let stale = [c"RINGROAD_PORT=7", c"RINGROAD_CARRIED=8"];
        let whole = made(&kept, &stale, Some(c"RINGROAD_CARRIED=9")).unwrap();
        let and_the_library = ["RINGROAD_PORT=7", "LD_PRELOAD=/x.so", "RINGROAD_CARRIED=9"];
        assert_eq!(whole, and_the_library, "what goes along would be lost without it");
    }

    #[test]
    fn a_process_without_a_port_has_its_interface_go_along() {
        let kept = [c"LD_PRELOAD=/x.so", c"RINGROAD_IFACE=veth0"];
        let whole = made(&kept, &[c"TZ=UTC"], Some(c"RINGROAD_CARRIED=9")).unwrap();
        assert_eq!(whole, ["TZ=UTC", "LD_PRELOAD=/x.so", "RINGROAD_IFACE=veth0", "RINGROAD_CARRIED=9"]);
        assert_eq!(made(&kept, &[c"RINGROAD_IFACE=veth1"], None), None);
        let whole = made(&[], &[c"TZ=UTC"], Some(c"RINGROAD_CARRIED=9")).unwrap();
        assert_eq!(whole, ["TZ=UTC", "RINGROAD_CARRIED=9"], "its own stays in any case");
    }
}
