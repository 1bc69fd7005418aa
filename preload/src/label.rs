//! A name on a kernel's socket, which whoever gets the socket can read: a filter for packets (socket(7),
//! SO_ATTACH_FILTER) that lets nothing pass and has the name for operands. It stands on sockets behind connections of the
//! stack, to which no packets come.

use libc::{c_int, c_void, socklen_t};

use crate::errno::{Outcome, check};
use crate::kernel;

/// SO_GET_FILTER: it tells and is told lengths in instructions.
const GET_FILTER: c_int = libc::SO_ATTACH_FILTER;
/// No filter has more instructions (BPF_MAXINSNS).
const LONGEST: usize = 4096;
/// What no other filter begins with.
const MARK: [u32; 2] = [0x5249_4e47, 0x524f_4144];
const INSTRUCTIONS: usize = MARK.len() + 3;

/// `ld #k` and `ret #k` of the classic BPF.
const LOAD: u16 = (libc::BPF_LD | libc::BPF_IMM) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

/// `struct sock_filter`, as bytes.
const INSTRUCTION: usize = 8;

/// `struct sock_fprog`.
#[repr(C)]
struct Program {
    len: u16,
    instructions: *const u8,
}

fn program(name: u64) -> [u8; INSTRUCTIONS * INSTRUCTION] {
    let operands = [MARK[0], MARK[1], name as u32, (name >> 32) as u32, 0];
    let mut bytes = [0; INSTRUCTIONS * INSTRUCTION];
    for (at, (to, operand)) in bytes.chunks_exact_mut(INSTRUCTION).zip(operands).enumerate() {
        let code = if at + 1 == INSTRUCTIONS { RETURN } else { LOAD };
        to[..2].copy_from_slice(&code.to_ne_bytes());
        to[4..].copy_from_slice(&operand.to_ne_bytes());
    }
    bytes
}

/// Puts a name on a socket, in place of the one before.
///
/// # Errors
/// The kernel's.
pub(crate) fn put(fd: c_int, name: u64) -> Outcome {
    let bytes = program(name);
    let program = Program { len: INSTRUCTIONS as u16, instructions: bytes.as_ptr() };
    let value = (&raw const program).cast::<c_void>();
    let len = size_of::<Program>() as socklen_t;
    Ok(check(kernel::set_option_raw(fd, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, value, len) as isize)?)
}

/// Takes the name off a socket.
pub(crate) fn remove(fd: c_int) {
    // Without one there is nothing to do.
    let _ = kernel::set_option(fd, libc::SOL_SOCKET, libc::SO_DETACH_FILTER, 0);
}

/// The name on a socket, if there is one.
pub(crate) fn read(fd: c_int) -> Option<u64> {
    let length = kernel::option(fd, libc::SOL_SOCKET, GET_FILTER, &mut [])?;
    if length != INSTRUCTIONS {
        return None;
    }
    // As long as any can be: it may be another one by now.
    let mut bytes = vec![0; LONGEST * INSTRUCTION];
    let length = kernel::option(fd, libc::SOL_SOCKET, GET_FILTER, &mut bytes)?;
    let bytes = bytes.get(..length.checked_mul(INSTRUCTION)?)?;
    let operand = |at: usize| Some(u32::from_ne_bytes(*bytes.get(at * INSTRUCTION + 4..)?.first_chunk()?));
    let name = u64::from(operand(2)?) | u64::from(operand(3)?) << 32;
    (bytes == program(name)).then_some(name)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn a_name_is_read_by_whoever_has_the_socket() {
        let socket = kernel::socket(libc::AF_INET, libc::SOCK_STREAM, 0).unwrap();
        assert_eq!(read(socket), None);
        let name = 0x0123_4567_89ab_cdef;
        put(socket, name).unwrap();
        let other = kernel::dup(socket, true).unwrap();
        assert_eq!((read(socket), read(other)), (Some(name), Some(name)));
        remove(other);
        assert_eq!(read(socket), None);
        [socket, other].into_iter().for_each(|fd| _ = kernel::close(fd));
    }

    #[test]
    fn other_filters_and_files_have_none() {
        let socket = kernel::socket(libc::AF_INET, libc::SOCK_STREAM, 0).unwrap();
        let mut bytes = program(7);
        bytes[4] ^= 1;
        let program = Program { len: INSTRUCTIONS as u16, instructions: bytes.as_ptr() };
        let len = size_of::<Program>() as socklen_t;
        let value = (&raw const program).cast::<c_void>();
        assert_eq!(kernel::set_option_raw(socket, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, value, len), 0);
        assert_eq!(read(socket), None);
        let _ = kernel::close(socket);
        assert_eq!((read(std::fs::File::open("/dev/null").unwrap().as_raw_fd()), read(-1)), (None, None));
    }
}
