//! Messages: recvmsg, sendmsg and their many-at-once forms.

use core::time::Duration;

use libc::{c_int, c_uint, mmsghdr, msghdr, timespec};

use super::datagram_recv::{self, Call};
use super::datagram_send::{self, Call as Sending};
use super::error_queue;
use super::recv::{Received, receive};
use super::send::transmit;
use super::{attached, held, is_stream};
use crate::epoll::duration;
use crate::errno::{Leave, Outcome};
use crate::fdtable::Held;
use crate::kernel;
use crate::reason::Reason;
use crate::user::{Message, Place, Reader, Reply, Writer};

/// Messages that recvmmsg and sendmmsg take at the most (UIO_MAXIOV).
const MOST: c_uint = 1024;
/// recvmmsg: wait for the first only.
const WAIT_FOR_ONE: c_int = libc::MSG_WAITFORONE;

/// `recvmsg`.
pub(crate) fn recvmsg(fd: c_int, message: *mut msghdr, flags: c_int) -> Outcome {
    let held = held(fd)?;
    receive_one(&held, message.into(), flags)
}

fn receive_one(held: &Held, place: Place, flags: c_int) -> Outcome {
    let mut message = Message::read(place)?;
    let mut buffers = message.buffers()?;
    let (at, room) = message.control();
    let mut control = Writer::new(at, room);
    let Received { bytes, flags: told, remote } = if is_stream(held) && flags & libc::MSG_ERRQUEUE != 0 {
        let mut call = Call { held, cursor: &mut buffers, control: &mut control, flags };
        error_queue::receive(&mut call, attached(held)?)?
    } else if is_stream(held) {
        receive(held, &mut buffers, flags)?
    } else {
        datagram_recv::receive(&mut Call { held, cursor: &mut buffers, control: &mut control, flags })?
    };
    let flags = told | control.flags() | flags & libc::MSG_CMSG_CLOEXEC;
    message.write(&Reply { name: remote, flags, control: control.used() })?;
    Ok(bytes as isize)
}

/// `recvmmsg`.
pub(crate) fn recvmmsg(
    fd: c_int,
    messages: *mut mmsghdr,
    count: c_uint,
    flags: c_int,
    timeout: *mut timespec,
) -> Outcome {
    let held = held(fd)?;
    let place = Place::from(timeout);
    let time = if place.is_null() { None } else { Some(duration(place.read()?)?) };
    let begun = kernel::now();
    let left = || time.map(|t| t.saturating_sub(Duration::from_nanos(kernel::now() - begun)));
    let mut flags = flags;
    let waits_for_one = flags & WAIT_FOR_ONE != 0;
    flags &= !WAIT_FOR_ONE;
    let each = |place: Place| {
        let received = receive_one(&held, place, flags);
        if waits_for_one {
            flags |= libc::MSG_DONTWAIT;
        }
        received
    };
    // Linux looks at the time between datagrams only.
    let done = many(messages.into(), count, each, || left() == Some(Duration::ZERO))?;
    if let Some(left) = left().filter(|_| done > 0) {
        place.write(&timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() })?;
    }
    Ok(done)
}

/// `sendmsg`.
pub(crate) fn sendmsg(fd: c_int, message: *const msghdr, flags: c_int) -> Outcome {
    let held = held(fd)?;
    send_one(&held, message.into(), flags)
}

fn send_one(held: &Held, place: Place, flags: c_int) -> Outcome {
    let message = Message::read(place)?;
    let mut buffers = message.buffers()?;
    let to = message.name()?;
    // What control messages can ask of a stream (time stamps, zero copy) changes nothing that can be seen.
    if is_stream(held) {
        return transmit(held, &mut buffers, flags, to);
    }
    let written = message.control();
    let control = Reader::new(written.0, written.1).ok_or(Reason::Message)?;
    datagram_send::transmit(&mut Sending { held, cursor: &mut buffers, flags, to, control, written })
}

/// `sendmmsg`.
pub(crate) fn sendmmsg(fd: c_int, messages: *mut mmsghdr, count: c_uint, flags: c_int) -> Outcome {
    let held = held(fd)?;
    many(messages.into(), count, |place| send_one(&held, place, flags), || false)
}

/// One call a message, until one fails or it is enough; an error counts only if it is the first.
fn many(
    messages: Place,
    count: c_uint,
    mut each: impl FnMut(Place) -> Outcome,
    enough: impl Fn() -> bool,
) -> Outcome {
    let length = core::mem::offset_of!(mmsghdr, msg_len);
    let mut done = 0;
    for i in 0..count.min(MOST) as usize {
        let place = messages.after(i * size_of::<mmsghdr>());
        let one = each(place).and_then(|bytes| Ok(place.after(length).write(&(bytes as u32))?));
        match one {
            Ok(()) => {
                done += 1;
                if enough() {
                    break;
                }
            }
            Err(leave) if done == 0 => return Err(leave),
            Err(Leave::Errno(_) | Leave::Bypass(_)) => break,
        }
    }
    Ok(done)
}
