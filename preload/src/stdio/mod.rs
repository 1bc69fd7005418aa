//! stdio on sockets. A stream of libc's makes its system calls inside libc, where nobody sees them: one that is
//! opened on a socket of ours is given functions of ours for them (`fopencookie`).
//!
//! The standard streams are variables: when a connection comes to lie on one of the descriptors 0 to 2, the stream is
//! replaced by one of ours, for good: what its descriptor names later is the kernel's or ours as any.

#[cfg(target_arch = "x86_64")]
mod variadic;

use core::ptr;
use core::sync::atomic::{AtomicBool, Ordering};

use libc::{FILE, c_char, c_int, c_void, size_t, ssize_t};

use crate::dispatch::send::transmit;
use crate::errno::{self, Leave, Outcome, check, fail};
use crate::fdtable::{self, Held, Kind};
use crate::guard;
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

/// Standard streams that are ours.
static STANDARD: [AtomicBool; 3] = [const { AtomicBool::new(false) }; 3];

unsafe extern "C" {
    static mut stdin: *mut FILE;
    static mut stdout: *mut FILE;
    static mut stderr: *mut FILE;
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
    let stream = open(held.fd, mode).ok_or_else(errno::get)?;
    Ok(stream.expose_provenance() as isize)
}

/// A stream whose calls are ours.
fn open(fd: c_int, mode: *const c_char) -> Option<*mut FILE> {
    let cookie = ptr::without_provenance_mut(fd as usize);
    // SAFETY: the caller's own mode, which libc reads; the functions live as long as the process.
    let stream = unsafe { fopencookie(cookie, mode, Functions { read, write, seek, close }) };
    if stream.is_null() {
        return None;
    }
    let number = stream.wrapping_byte_add(FILENO).cast::<c_int>();
    // SAFETY: a FILE of glibc's begins with a `struct _IO_FILE`, in which an int lies there.
    unsafe { number.write(fd) };
    MADE.store(true, Ordering::Relaxed);
    Some(stream)
}

/// A connection lies on the descriptor: if that is a standard stream's, C is to find it there.
pub(crate) fn take_standard(fd: c_int) {
    let connection = |held: &Held| held.file.kind() == Kind::Stream;
    let Some(taken) = usize::try_from(fd).ok().and_then(|fd| STANDARD.get(fd)) else { return };
    if fdtable::get(fd).filter(connection).is_none() || taken.swap(true, Ordering::Relaxed) {
        return;
    }
    let mode = if fd == 0 { c"r" } else { c"w" };
    let Some(stream) = open(fd, mode.as_ptr()) else { return };
    if fd == 2 {
        // SAFETY: a stream that was just made; it needs no buffer for that.
        unsafe { libc::setvbuf(stream, ptr::null_mut(), libc::_IONBF, 0) };
    }
    let variable = match fd {
        0 => &raw mut stdin,
        1 => &raw mut stdout,
        _ => &raw mut stderr,
    };
    // SAFETY: libc's own variable, which programs may set (glibc's manual, "Standard Streams").
    unsafe { variable.write(stream) };
}

/// What the program before this one has put on the standard streams.
pub(crate) fn take_all_standard() {
    if fdtable::any()
        && let Some(_inside) = guard::enter()
    {
        (0..=2).for_each(take_standard);
    }
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
        // By inode: a test beside this one may have the number at once.
        let what = || std::fs::read_link(format!("/proc/self/fd/{fd}")).ok();
        let socket = what();
        assert!(socket.is_some());
        crate::dispatch::lifecycle::forget(&held);
        // SAFETY: as above, for the last time.
        assert_eq!(unsafe { libc::fclose(stream) }, 0);
        assert_ne!(what(), socket);
    }
}
