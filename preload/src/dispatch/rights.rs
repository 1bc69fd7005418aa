//! Descriptors that go and come over a Unix socket (SCM_RIGHTS, unix(7)): a listener or a UDP socket is to this process as
//! if it had opened it; a connection goes to the keeper when its descriptor is sent, and from there to who first uses it
//! (`heirs`).

use core::ptr;

use libc::{c_int, c_long, c_uint, mmsghdr, msghdr};

use crate::errno::{self, Errno};
use crate::fdtable::{self, Flag, Kind};
use crate::user::{Message, Place, Reader};
use crate::{guard, heirs, heritage};

/// Messages that sendmmsg takes at the most (UIO_MAXIOV).
const MOST: c_uint = 1024;
/// Where a message's header is in one of several.
const MESSAGE: usize = core::mem::offset_of!(mmsghdr, msg_hdr);

/// libc is about to send a message of the application's.
pub(crate) fn sending(message: *const msghdr) {
    if fdtable::any() {
        look(|| each(message.into(), entrust));
    }
}

/// As [`sending`], of several messages.
pub(crate) fn sending_many(messages: *const mmsghdr, count: c_uint) {
    if !fdtable::any() {
        return;
    }
    let first = Place::from(messages);
    let mut headers = (0..count.min(MOST) as usize).map(|n| first.after(n * size_of::<mmsghdr>() + MESSAGE));
    look(|| headers.try_for_each(|message| each(message, entrust)));
}

/// As both, by the call's number.
pub(crate) fn sending_by_number(number: c_long, second: c_long, third: c_long) {
    match number {
        libc::SYS_sendmsg => sending(ptr::with_exposed_provenance(second as usize)),
        libc::SYS_sendmmsg => sending_many(ptr::with_exposed_provenance(second as usize), third as c_uint),
        _ => {}
    }
}

/// What cannot go along stays, and the kernel sends a socket that is not connected.
pub(crate) fn entrust(fd: c_int) {
    if let Some(held) = fdtable::get(fd)
        && held.file.kind() == Kind::Stream
        && !held.file.is(Flag::Listening)
        && let Err(reason) = heirs::entrust(&held)
    {
        reason.count();
    }
}

/// libc has received a message for the application.
pub(crate) fn received(message: *mut msghdr) {
    look(|| each(message.into(), heritage::take_arrived));
}

/// As [`received`], of the first `count` of several messages.
pub(crate) fn received_many(messages: *mut mmsghdr, count: c_int) {
    let first = Place::from(messages);
    let mut headers = (0..count as usize).map(|n| first.after(n * size_of::<mmsghdr>() + MESSAGE));
    look(|| headers.try_for_each(|message| each(message, heritage::take_arrived)));
}

/// As both, by the call's number: what it received is told by its second argument.
pub(crate) fn received_by_number(number: c_long, second: c_long, answer: c_long) {
    match number {
        libc::SYS_recvmsg => received(ptr::with_exposed_provenance_mut(second as usize)),
        libc::SYS_recvmmsg => {
            received_many(ptr::with_exposed_provenance_mut(second as usize), answer as c_int);
        }
        _ => {}
    }
}

/// Nothing that is done here shows in errno.
fn look(at: impl FnOnce() -> Result<(), Errno>) {
    let before = errno::get();
    if let Some(_inside) = guard::enter() {
        // What cannot be read here libc cannot either.
        let _ = at();
    }
    errno::set(before);
}

/// Calls `take` with each descriptor that a message brings.
fn each(message: Place, take: impl Fn(c_int)) -> Result<(), Errno> {
    let (at, len) = Message::read(message)?.control();
    // No message brings so many descriptors that they would not be among the first octets (SCM_MAX_FD).
    let mut reader = Reader::of_first(at, len);
    while let Some(Some(sent)) = reader.next()? {
        if (sent.level, sent.kind) == (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
            let (at, len) = sent.data;
            for place in (0..len / size_of::<c_int>()).map(|n| at.after(n * size_of::<c_int>())) {
                take(place.read()?);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::fd::AsRawFd;

    use super::*;
    use crate::dispatch::lifecycle;
    use crate::fdtable;
    use crate::user::Writer;

    /// A message with one control message, as libc received it.
    fn message(control: &mut [u64; 4], fds: &[c_int]) -> msghdr {
        let place = Place::from(control.as_mut_ptr());
        let mut writer = Writer::new(place, size_of_val(control));
        let data: Vec<u8> = fds.iter().flat_map(|fd| fd.to_ne_bytes()).collect();
        writer.put(libc::SOL_SOCKET, libc::SCM_RIGHTS, &data).unwrap();
        msghdr {
            msg_name: ptr::null_mut(),
            msg_namelen: 0,
            msg_iov: ptr::null_mut(),
            msg_iovlen: 0,
            msg_control: control.as_mut_ptr().cast(),
            msg_controllen: writer.used(),
            msg_flags: 0,
        }
    }

    #[test]
    fn a_long_control_buffer_hides_no_descriptors() {
        crate::signals::install_fault_handler();
        let mut room = [0; 4];
        let mut one = message(&mut room, &[77]);
        let mut long = vec![0_u64; 1024];
        long[..room.len()].copy_from_slice(&room);
        one.msg_control = long.as_mut_ptr().cast();
        one.msg_controllen = size_of_val(&long[..]);
        let seen = core::cell::RefCell::new(Vec::new());
        each((&raw const one).into(), |fd| seen.borrow_mut().push(fd)).unwrap();
        assert_eq!(seen.into_inner(), [77]);
    }

    #[test]
    fn listeners_are_taken_whichever_call_brings_them_and_errno_stays() {
        crate::signals::install_fault_handler();
        assert!(fdtable::start());
        guard::activate();
        let listeners = [(); 4].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let numbers = listeners.each_ref().map(AsRawFd::as_raw_fd);
        let no_socket = std::fs::File::open("/dev/null").unwrap();
        let mut rooms = [[0; 4]; 4];
        let mut several = [0, 1, 2, 3].map(|n| {
            let fds = [no_socket.as_raw_fd(), numbers[n]];
            mmsghdr { msg_hdr: message(&mut rooms[n], &fds), msg_len: 0 }
        });
        let is_taken = || numbers.map(|fd| fdtable::get(fd).is_some());
        errno::set(Errno(libc::ENOENT));
        received(&raw mut several[0].msg_hdr);
        assert_eq!((is_taken(), errno::get()), ([true, false, false, false], Errno(libc::ENOENT)));
        let second = (&raw mut several[1].msg_hdr).expose_provenance() as c_long;
        received_by_number(libc::SYS_recvmsg, second, 1);
        assert_eq!(is_taken(), [true, true, false, false]);
        received_many(&raw mut several[2], 1);
        assert_eq!(is_taken(), [true, true, true, false]);
        let third = several[2..].as_mut_ptr().expose_provenance() as c_long;
        received_by_number(libc::SYS_recvmmsg, third, 2);
        assert_eq!((is_taken(), errno::get()), ([true; 4], Errno(libc::ENOENT)));
        numbers.iter().filter_map(|fd| fdtable::get(*fd)).for_each(|held| lifecycle::forget(&held));
    }
}
