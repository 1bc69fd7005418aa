//! The `bpf` system call: maps, and links of programs.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::ptr;

use libc::c_int;
use nic::Own;

use super::{check, own};

/// The `bpf` system call with `attr` as its attributes.
///
/// # Safety
/// Every pointer that `attr` holds must lead to as many live bytes as the command reads or writes there.
unsafe fn bpf<T: Copy>(command: c_int, attr: &mut T) -> io::Result<c_int> {
    let size = size_of::<T>();
    // SAFETY: `attr` is a live object of `size` bytes; the caller answers for the pointers in it.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, ptr::from_mut(attr), size) };
    check(result as c_int)
}

/// The first four words of what the kernel tells of an object of bpf.
fn information(fd: &OwnedFd) -> io::Result<[u32; 4]> {
    /// `union bpf_attr` of BPF_OBJ_GET_INFO_BY_FD.
    #[repr(C)]
    #[derive(Clone, Copy)]
    struct GetInfo {
        fd: u32,
        len: u32,
        info: u64,
    }
    let mut head = [0; 4];
    let info = ptr::from_mut(&mut head) as u64;
    let mut attr = GetInfo { fd: fd.as_raw_fd() as u32, len: size_of_val(&head) as u32, info };
    // SAFETY: `info` leads to `len` bytes of `head`.
    unsafe { bpf(BPF_OBJ_GET_INFO_BY_FD, &mut attr) }?;
    Ok(head)
}

const BPF_MAP_LOOKUP_ELEM: c_int = 1;
const BPF_MAP_UPDATE_ELEM: c_int = 2;
const BPF_MAP_DELETE_ELEM: c_int = 3;
const BPF_MAP_GET_NEXT_KEY: c_int = 4;
const BPF_OBJ_GET_INFO_BY_FD: c_int = 15;
const BPF_LINK_CREATE: c_int = 28;
const BPF_MAP_FREEZE: c_int = 22;
const BPF_XDP: u32 = 37;
const BPF_TCX_INGRESS: u32 = 46;

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

/// A bpf map with the sizes of its keys and values as the kernel says they are.
#[derive(Debug)]
pub(crate) struct BpfMap {
    fd: Own,
    key: usize,
    value: usize,
}

impl BpfMap {
    /// The map behind a descriptor; `EINVAL` when there is none.
    pub(crate) fn new(fd: OwnedFd) -> io::Result<Self> {
        // `struct bpf_map_info`: type, id, key size, value size.
        let [_, _, key, value] = information(&fd)?;
        Ok(Self { fd: Own::new(fd), key: key as usize, value: value as usize })
    }

    /// The descriptor alone.
    pub(crate) fn into_fd(self) -> OwnedFd {
        self.fd.into_inner()
    }

    /// The descriptor.
    pub(crate) fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    /// Bytes in a key and in a value.
    pub(crate) fn shape(&self) -> (usize, usize) {
        (self.key, self.value)
    }

    fn element(&self, key: &[u8], value: u64) -> io::Result<MapElement> {
        if key.len() != self.key {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        Ok(MapElement { map: self.fd.as_raw_fd() as u32, pad: 0, key: key.as_ptr() as u64, value, flags: 0 })
    }

    /// Puts `value` at `key`. `EINVAL` when one of them is not as long as the map's.
    pub(crate) fn update(&self, key: &[u8], value: &[u8]) -> io::Result<()> {
        if value.len() != self.value {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        let mut attr = self.element(key, value.as_ptr() as u64)?;
        // SAFETY: key and value are live slices, as long as the kernel reads.
        unsafe { bpf(BPF_MAP_UPDATE_ELEM, &mut attr) }.map(|_| ())
    }

    /// Nobody writes to it from here on, but for programs.
    pub(crate) fn freeze(&self) -> io::Result<()> {
        let mut fd = self.fd.as_raw_fd() as u32;
        // SAFETY: no pointers.
        unsafe { bpf(BPF_MAP_FREEZE, &mut fd) }.map(|_| ())
    }

    /// Takes `key` out. A key that is not there is no error.
    pub(crate) fn delete(&self, key: &[u8]) -> io::Result<()> {
        let mut attr = self.element(key, 0)?;
        // SAFETY: the key is a live slice, as long as the kernel reads.
        match unsafe { bpf(BPF_MAP_DELETE_ELEM, &mut attr) } {
            Err(e) if e.raw_os_error() == Some(libc::ENOENT) => Ok(()),
            result => result.map(|_| ()),
        }
    }

    /// Reads the value at `key`. False when there is none; `EINVAL` when `value` is not as long as the map's.
    pub(crate) fn lookup(&self, key: &[u8], value: &mut [u8]) -> io::Result<bool> {
        if value.len() != self.value {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        let mut attr = self.element(key, value.as_mut_ptr() as u64)?;
        // SAFETY: the key is as long as the kernel reads, the value as long as it writes.
        match unsafe { bpf(BPF_MAP_LOOKUP_ELEM, &mut attr) } {
            Err(e) if e.raw_os_error() == Some(libc::ENOENT) => Ok(false),
            result => result.map(|_| true),
        }
    }

    /// The key behind another in the map's order; without one the first. None behind the last.
    fn next_key(&self, after: Option<&[u8]>) -> io::Result<Option<Vec<u8>>> {
        let mut next = vec![0u8; self.key];
        // No key to begin after is a null pointer.
        let key = after.map_or(0, |key| key.as_ptr() as u64);
        let (map, value) = (self.fd.as_raw_fd() as u32, next.as_mut_ptr() as u64);
        let mut attr = MapElement { map, pad: 0, key, value, flags: 0 };
        // SAFETY: both lead to as many bytes as the map's keys have: `after` was answered here before.
        match unsafe { bpf(BPF_MAP_GET_NEXT_KEY, &mut attr) } {
            Err(e) if e.raw_os_error() == Some(libc::ENOENT) => Ok(None),
            result => result.map(|_| Some(next)),
        }
    }

    /// The first keys, as long as they are `wanted`. An entry that others add or remove meanwhile may be missed.
    pub(crate) fn keys_while(&self, wanted: impl Fn(&[u8]) -> bool) -> io::Result<Vec<Vec<u8>>> {
        let mut found: Vec<Vec<u8>> = Vec::new();
        while let Some(key) = self.next_key(found.last().map(Vec::as_slice))?.filter(|key| wanted(key)) {
            found.push(key);
        }
        Ok(found)
    }

    /// The keys that are `wanted` with their values, numbers of 32 bits. An entry that others add or remove meanwhile
    /// may be missed.
    pub(crate) fn keys_where(&self, wanted: impl Fn(&[u8], u32) -> bool) -> io::Result<Vec<Vec<u8>>> {
        let mut found = Vec::new();
        let mut key: Option<Vec<u8>> = None;
        while let Some(next) = self.next_key(key.as_deref())? {
            let mut value = [0; 4];
            if self.lookup(&next, &mut value)? && wanted(&next, u32::from_ne_bytes(value)) {
                found.push(next.clone());
            }
            key = Some(next);
        }
        Ok(found)
    }

    /// Reads the values at `key` of a per-CPU map: one after the other, as many as CPUs are possible. `EINVAL`
    /// when there is not room for [`CPUS_MAX`] of them.
    pub(crate) fn lookup_per_cpu(&self, key: &[u8], values: &mut [u64]) -> io::Result<()> {
        if size_of_val(values) < self.value.next_multiple_of(8) * CPUS_MAX {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        let mut attr = self.element(key, values.as_mut_ptr() as u64)?;
        // SAFETY: the key is as long as the kernel reads, and there is room for a value of every CPU.
        unsafe { bpf(BPF_MAP_LOOKUP_ELEM, &mut attr) }.map(|_| ())
    }
}

/// As many CPUs as a kernel can be built for.
pub(crate) const CPUS_MAX: usize = 8192;

/// Attaches an XDP program to an interface for as long as a descriptor of the link is open somewhere.
pub(crate) fn link_xdp(program: BorrowedFd<'_>, interface: u32, flags: u32) -> io::Result<OwnedFd> {
    link(program, interface, BPF_XDP, flags)
}

/// The same for a program at tc ingress (Linux 6.6), behind those that are there.
pub(crate) fn link_tcx(program: BorrowedFd<'_>, interface: u32) -> io::Result<OwnedFd> {
    link(program, interface, BPF_TCX_INGRESS, 0)
}

/// The number of the program that a link keeps, also when what it was attached to is gone.
pub(crate) fn program_of_link(link: &OwnedFd) -> io::Result<u32> {
    // `struct bpf_link_info`: type, id, the program's id.
    let [_, _, program, _] = information(link)?;
    Ok(program)
}

fn link(program: BorrowedFd<'_>, interface: u32, attach_type: u32, flags: u32) -> io::Result<OwnedFd> {
    /// `union bpf_attr` of BPF_LINK_CREATE, without the parts that are not used here.
    #[repr(C)]
    #[derive(Clone, Copy)]
    struct LinkCreate {
        program: u32,
        interface: u32,
        attach_type: u32,
        flags: u32,
    }
    let program = program.as_raw_fd() as u32;
    let mut attr = LinkCreate { program, interface, attach_type, flags };
    // SAFETY: no pointers. Descriptors that bpf makes are close-on-exec.
    own(unsafe { bpf(BPF_LINK_CREATE, &mut attr) }?)
}
