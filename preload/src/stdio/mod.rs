//! stdio on sockets. A stream of libc's makes its system calls inside libc, where nobody sees them: one that is
//! opened on a socket of ours is given functions of ours for them (`fopencookie`).
//!
//! The standard streams are libc's own: a connection that is put on the descriptors 0 to 2 is not seen by them.

#[cfg(target_arch = "x86_64")]
mod variadic;

use core::ptr;
use core::sync::atomic::{AtomicBool, Ordering};

use libc::{FILE, c_char, c_int, c_void, size_t, ssize_t};

use crate::dispatch::send::transmit;
use crate::errno::{self, Leave, Outcome, check, fail};
use crate::fdtable::{self, Held, Kind};
use crate::intercept;
use crate::reason::Reason;
use crate::user::Cursor;

/// Where `_fileno` lies in `struct _IO_FILE`, which is part of glibc's ABI: eleven pointers and `_flags` before
/// `_markers`, `_chain`.
const FILENO: usize = 8 + 13 * size_of::<usize>();

/// Whether there is a stream of ours.
static MADE: AtomicBool = AtomicBool::new(false);

/// glibc's `cookie_io_functions_t`.
#[repr(C)]
struct Functions {
    read: extern "C" fn(*mut c_void, *mut c_char, size_t) -> ssize_t,
    write: extern "C" fn(*mut c_void, *const c_char, size_t) -> ssize_t,
    seek: extern "C" fn(*mut c_void, *mut i64, c_int) -> c_int,
    close: extern "C" fn(*mut c_void) -> c_int,
}

unsafe extern "C" {
    fn fopencookie(cookie: *mut c_void, mode: *const c_char, functions: Functions) -> *mut FILE;
    fn vasprintf(text: *mut *mut c_char, format: *const c_char, args: *mut c_void) -> c_int;
    fn __vasprintf_chk(
        text: *mut *mut c_char,
        level: c_int,
        format: *const c_char,
        args: *mut c_void,
    ) -> c_int;
}

/// The cookie is the descriptor's number.
fn fd_of(cookie: *mut c_void) -> c_int {
    cookie.addr() as c_int
}

extern "C" fn read(cookie: *mut c_void, to: *mut c_char, len: size_t) -> ssize_t {
    // SAFETY: the stream's own buffer.
    unsafe { intercept::read(fd_of(cookie), to.cast(), len) }
}

/// All of it, as libc's own streams write; less is an error.
extern "C" fn write(cookie: *mut c_void, from: *const c_char, len: size_t) -> ssize_t {
    let mut done = 0;
    while done < len {
        // SAFETY: the stream's own buffer, of which `done` bytes have gone.
        let n = unsafe { intercept::write(fd_of(cookie), from.wrapping_add(done).cast(), len - done) };
        match usize::try_from(n) {
            Ok(n) => done += n,
            Err(_) => break,
        }
    }
    done as ssize_t
}

extern "C" fn seek(_: *mut c_void, _: *mut i64, _: c_int) -> c_int {
    errno::set(errno::Errno(libc::ESPIPE));
    -1
}

extern "C" fn close(cookie: *mut c_void) -> c_int {
    // SAFETY: the stream owned the descriptor.
    unsafe { intercept::close(fd_of(cookie)) }
}

/// `fdopen`.
pub(crate) fn fdopen(fd: c_int, mode: *const c_char) -> Outcome {
    let is_socket = |held: &Held| matches!(held.file.kind(), Kind::Stream | Kind::Datagram);
    let held = fdtable::get(fd).filter(is_socket).ok_or(Reason::Plain)?;
    let cookie = ptr::without_provenance_mut(held.fd as usize);
    // SAFETY: the caller's own mode, which libc reads; the functions live as long as the process.
    let stream = unsafe { fopencookie(cookie, mode, Functions { read, write, seek, close }) };
    if stream.is_null() {
        return Err(errno::get().into());
    }
    let number = stream.wrapping_byte_add(FILENO).cast::<c_int>();
    // SAFETY: a FILE of glibc's begins with a `struct _IO_FILE`, in which an int lies there.
    unsafe { number.write(fd) };
    MADE.store(true, Ordering::Relaxed);
    Ok(stream.expose_provenance() as isize)
}

/// `vdprintf`.
pub(crate) fn vdprintf(fd: c_int, format: *const c_char, args: *mut c_void) -> Outcome {
    // SAFETY: the caller's own format and arguments.
    print(fd, |text| unsafe { vasprintf(text, format, args) })
}

/// `__vdprintf_chk`.
pub(crate) fn vdprintf_chk(fd: c_int, level: c_int, format: *const c_char, args: *mut c_void) -> Outcome {
    // SAFETY: the caller's own format and arguments.
    print(fd, |text| unsafe { __vasprintf_chk(text, level, format, args) })
}

fn print(fd: c_int, format: impl FnOnce(&mut *mut c_char) -> c_int) -> Outcome {
    let held = fdtable::get(fd).filter(|held| held.socket().is_some()).ok_or(Reason::Plain)?;
    let mut text = ptr::null_mut();
    let len = check(format(&mut text) as isize)? as usize;
    let sent = send_all(&held, text, len);
    // SAFETY: what vasprintf has made, once.
    unsafe { libc::free(text.cast()) };
    sent.map(|()| len as isize)
}

fn send_all(held: &Held, text: *const c_char, len: usize) -> Result<(), Leave> {
    let mut done = 0;
    while done < len {
        let n = transmit(held, &mut Cursor::one(text.wrapping_add(done), len - done), 0, None)?;
        if n <= 0 {
            return Err(fail(libc::EIO));
        }
        done += n as usize;
    }
    Ok(())
}

/// At `exit`, while connections still live: libc empties its streams only after everybody's handlers.
pub(crate) fn flush() {
    if MADE.load(Ordering::Relaxed) {
        // SAFETY: null is all streams.
        unsafe { libc::fflush(ptr::null_mut()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel;

    #[test]
    fn the_place_of_the_number_is_where_glibc_has_it() {
        assert!(fdtable::start());
        let fd = kernel::socket(libc::AF_INET, libc::SOCK_STREAM, 0).unwrap();
        let held = crate::dispatch::lifecycle::remember(fd, Kind::Stream, |_| ()).unwrap();
        let stream: *mut FILE =
            ptr::with_exposed_provenance_mut(fdopen(fd, c"r+".as_ptr()).unwrap() as usize);
        // SAFETY: a stream that was just made.
        assert_eq!(unsafe { libc::fileno(stream) }, fd);
        crate::dispatch::lifecycle::forget(&held);
        // SAFETY: as above, for the last time.
        assert_eq!(unsafe { libc::fclose(stream) }, 0);
        assert!(!kernel::is_open(fd));
    }
}
