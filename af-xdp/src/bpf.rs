//! The few `bpf` commands that work on descriptors alone, so that a process which merely inherited them can
//! go on: map updates, and the link that keeps the program on its interface.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use libc::c_int;

use crate::sys;

const BPF_MAP_LOOKUP_ELEM: c_int = 1;
const BPF_MAP_UPDATE_ELEM: c_int = 2;
const BPF_MAP_DELETE_ELEM: c_int = 3;
const BPF_MAP_GET_NEXT_KEY: c_int = 4;
const BPF_LINK_CREATE: c_int = 28;
const BPF_XDP: u32 = 37;

/// `union bpf_attr` of the map element commands.
#[repr(C)]
#[derive(Clone, Copy)]
struct MapElement {
    map: u32,
    pad: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// `union bpf_attr` of BPF_LINK_CREATE, without the parts that XDP does not use.
#[repr(C)]
#[derive(Clone, Copy)]
struct LinkCreate {
    program: u32,
    interface: u32,
    attach_type: u32,
    flags: u32,
}

fn element(map: BorrowedFd<'_>, key: &[u8], value: u64) -> MapElement {
    MapElement { map: map.as_raw_fd() as u32, pad: 0, key: key.as_ptr() as u64, value, flags: 0 }
}

/// Puts `value` at `key`; both must be as long as the map says.
pub(crate) fn update(map: BorrowedFd<'_>, key: &[u8], value: &[u8]) -> io::Result<()> {
    sys::bpf(BPF_MAP_UPDATE_ELEM, &mut element(map, key, value.as_ptr() as u64)).map(|_| ())
}

/// Takes `key` out. A key that is not there is no error.
pub(crate) fn delete(map: BorrowedFd<'_>, key: &[u8]) -> io::Result<()> {
    match sys::bpf(BPF_MAP_DELETE_ELEM, &mut element(map, key, 0)) {
        Err(e) if e.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        result => result.map(|_| ()),
    }
}

/// Takes every entry out of a map whose keys are `N` bytes long.
pub(crate) fn empty<const N: usize>(map: BorrowedFd<'_>) -> io::Result<()> {
    let mut key = [0u8; N];
    loop {
        // No key before it (a null pointer): the first one there is.
        let mut first = element(map, &[], key.as_mut_ptr() as u64);
        first.key = 0;
        match sys::bpf(BPF_MAP_GET_NEXT_KEY, &mut first) {
            Err(e) if e.raw_os_error() == Some(libc::ENOENT) => return Ok(()),
            result => result?,
        };
        delete(map, &key)?;
    }
}

/// Reads the value at `key` into `value`, which must be long enough for it (per-CPU maps: for all CPUs).
pub(crate) fn lookup(map: BorrowedFd<'_>, key: &[u8], value: &mut [u64]) -> io::Result<()> {
    sys::bpf(BPF_MAP_LOOKUP_ELEM, &mut element(map, key, value.as_mut_ptr() as u64)).map(|_| ())
}

/// Attaches an XDP program to an interface for as long as a descriptor of the link is open somewhere.
pub(crate) fn link_xdp(program: BorrowedFd<'_>, interface: u32, flags: u32) -> io::Result<OwnedFd> {
    let program = program.as_raw_fd() as u32;
    sys::bpf_fd(BPF_LINK_CREATE, &mut LinkCreate { program, interface, attach_type: BPF_XDP, flags })
}
