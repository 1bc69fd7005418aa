//! Giving the kernel the steering program, and attaching it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use aya::programs::{Program, SchedClassifier, SocketFilter, Xdp, loaded_programs};
use aya::{Ebpf, EbpfLoader};

use super::XdpMode;
use crate::error::{ANOTHER, At, SetupError, Step};
use crate::interface::{Interface, xdp_program};
use crate::sys::{self, BpfMap};
use crate::tap;

/// Gives the kernel the maps of one of the two objects; its programs are not loaded yet.
pub(super) fn load(object: &[u8]) -> Result<Ebpf, SetupError> {
    // The program reads nothing of the kernel's own types: to parse those would be most of the time that opening takes.
    EbpfLoader::new().btf(None).load(object).map_err(|e| SetupError::new(Step::Load, system_error(&e)))
}

/// Verifies one of the two variants; the descriptor keeps it, and it keeps the maps.
pub(super) fn program(object: &mut Ebpf, multi_buffer: bool) -> Result<OwnedFd, SetupError> {
    let name = if multi_buffer { "steer_frags" } else { "steer_linear" };
    let program: &mut Xdp = named(object, name)?.try_into().map_err(|e| failed(&e))?;
    program.load().map_err(|e| failed(&e))?;
    program.fd().map_err(|e| failed(&e))?.as_fd().try_clone_to_owned().at(Step::Load)
}

/// Verifies the program for tc ingress.
pub(super) fn classifier(object: &mut Ebpf) -> Result<OwnedFd, SetupError> {
    let program: &mut SchedClassifier = named(object, "steer_tc")?.try_into().map_err(|e| failed(&e))?;
    program.load().map_err(|e| failed(&e))?;
    program.fd().map_err(|e| failed(&e))?.as_fd().try_clone_to_owned().at(Step::Load)
}

/// Verifies one of the programs for the device that hears what is led there.
pub(super) fn filter(object: &mut Ebpf, name: &str) -> Result<OwnedFd, SetupError> {
    let program: &mut SocketFilter = named(object, name)?.try_into().map_err(|e| failed(&e))?;
    program.load().map_err(|e| failed(&e))?;
    program.fd().map_err(|e| failed(&e))?.as_fd().try_clone_to_owned().at(Step::Load)
}

fn named<'a>(object: &'a mut Ebpf, name: &str) -> Result<&'a mut Program, SetupError> {
    let lacks = || SetupError::found(Step::Load, libc::ENOENT, "the object lacks the program");
    object.program_mut(name).ok_or_else(lacks)
}

fn failed(e: &(dyn std::error::Error + 'static)) -> SetupError {
    SetupError::new(Step::Load, system_error(e))
}

pub(super) fn map(object: &Ebpf, name: &str, shape: (usize, usize)) -> Result<BpfMap, SetupError> {
    use aya::maps::Map;
    let lacks = || SetupError::found(Step::Load, libc::ENOENT, format!("the object lacks the map {name}"));
    let data = match object.map(name).ok_or_else(lacks)? {
        Map::HashMap(m) | Map::Array(m) | Map::PerCpuArray(m) | Map::LpmTrie(m) | Map::XskMap(m) => m,
        _ => return Err(lacks()),
    };
    shaped(data.fd().as_fd().try_clone_to_owned().at(Step::Load)?, shape, Step::Load)
}

/// The map behind `fd`, if its keys and values are as long as `shape` says.
pub(super) fn shaped(fd: OwnedFd, shape: (usize, usize), step: Step) -> Result<BpfMap, SetupError> {
    let map = BpfMap::new(fd).at(step)?;
    if map.shape() != shape {
        let advice = format!("a map of shape {:?} where {shape:?} is expected", map.shape());
        return Err(SetupError::found(step, libc::EINVAL, advice));
    }
    Ok(map)
}

/// The operating system's error at the bottom of one of aya's.
fn system_error(error: &(dyn std::error::Error + 'static)) -> io::Error {
    let mut cause = Some(error);
    while let Some(e) = cause {
        if let Some(errno) = e.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) {
            return io::Error::from_raw_os_error(errno);
        }
        cause = e.source();
    }
    io::Error::other(error.to_string())
}

pub(super) fn attach_any(program: BorrowedFd<'_>, at: &Interface) -> Result<(OwnedFd, XdpMode), SetupError> {
    match attach(program, at, XdpMode::Native) {
        Ok(link) => Ok((link, XdpMode::Native)),
        // What native XDP cannot do here, generic may; what is forbidden stays forbidden.
        Err(e) if matches!(e.errno(), libc::EPERM | libc::EBUSY | libc::EEXIST | libc::ENODEV) => Err(e),
        Err(_) => Ok((attach(program, at, XdpMode::Generic)?, XdpMode::Generic)),
    }
}

pub(super) fn attach(program: BorrowedFd<'_>, at: &Interface, mode: XdpMode) -> Result<OwnedFd, SetupError> {
    sys::link_xdp(program, at.index, mode.flags()).map_err(|e| {
        let busy = matches!(e.raw_os_error(), Some(libc::EBUSY | libc::EEXIST));
        match xdp_program(at.index).filter(|id| busy && *id != 0) {
            Some(id) => occupied(id),
            None => SetupError::new(Step::Attach, e),
        }
    })
}

/// The name of a program that is loaded.
fn name_of(id: u32) -> String {
    let program = loaded_programs().filter_map(Result::ok).find(|program| program.id() == id);
    program.and_then(|p| p.name_as_str().map(str::to_owned)).unwrap_or_else(|| "unnamed".to_owned())
}

/// Whether a program's name is that of one of ours for XDP.
fn is_ours(name: &str) -> bool {
    name == "steer_frags" || name == "steer_linear"
}

/// That no port is open on the interface: two would steer for each other.
pub(super) fn is_vacant(interface: &Interface) -> Result<(), SetupError> {
    let by_tap = sys::interface_index(&tap::name(interface.index)).is_ok();
    let by_xdp = || xdp_program(interface.index).is_some_and(|id| id != 0 && is_ours(&name_of(id)));
    if by_tap || by_xdp() {
        return Err(SetupError::found(Step::Attach, libc::EBUSY, ANOTHER));
    }
    Ok(())
}

/// The interface has a program of someone else: say which.
pub(super) fn occupied(id: u32) -> SetupError {
    let name = name_of(id);
    let ours = if is_ours(&name) { ANOTHER } else { "ip link set dev ... xdp off, if it is not needed" };
    SetupError::found(
        Step::Attach,
        libc::EBUSY,
        format!("the XDP program \"{name}\" (id {id}) is on it already; {ours}"),
    )
}
