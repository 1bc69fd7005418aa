//! What is known of a connection's file, as it goes along: its descriptors, flags and settings.

use libc::c_int;
use stack::plain::Plain;

use crate::dispatch::lifecycle;
use crate::fdtable::{Flag, Held, Kind};
use crate::{kernel, options, state};

/// Flags that go along.
const FLAGS: [Flag; 5] = [Flag::NonBlocking, Flag::V6, Flag::Bound, Flag::SharedBacking, Flag::OurAddress];
/// More names than one connection has.
const NAMES_MOST: u32 = 4096;

/// Writes it, as `fds` are its names from then on.
pub(super) fn put(held: &Held, fds: &[c_int], to: &mut Vec<u8>) {
    let file = held.file;
    let fds = &fds[..fds.len().min(NAMES_MOST as usize)];
    (fds.len() as u32).put(to);
    fds.iter().for_each(|fd| (*fd as u32).put(to));
    FLAGS.iter().for_each(|flag| file.is(*flag).put(to));
    (file.timeout(true), file.timeout(false)).put(to);
    file.owner().put(to);
}

/// A file as the program before had it, under its descriptors; none when they are closed.
pub(super) fn take(from: &mut &[u8]) -> Option<Option<Held>> {
    let count = u32::take(from).filter(|count| *count <= NAMES_MOST)?;
    let fds = (0..count).map(|_| u32::take(from).map(|fd| fd as c_int)).collect::<Option<Vec<_>>>()?;
    let mut flags = [false; FLAGS.len()];
    for flag in &mut flags {
        *flag = bool::take(from)?;
    }
    let (receiving, sending) = <(u64, u64)>::take(from)?;
    let owner = u64::take(from)?;
    let mut file: Option<Held> = None;
    for fd in fds.into_iter().filter(|fd| kernel::is_open(*fd)) {
        if let Some(held) = &file {
            state::lock().registry.alias(fd, held);
            continue;
        }
        file = lifecycle::remember(fd, Kind::Stream, |held| {
            FLAGS.into_iter().zip(flags).for_each(|(flag, on)| held.file.set(flag, on));
            held.file.set(Flag::Inherited, true);
            held.file.set(Flag::Offered, true);
            held.file.set_timeout(true, receiving);
            held.file.set_timeout(false, sending);
            held.file.set_owner(owner);
            options::note_inherited(held);
        });
    }
    Some(file)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn no_more_names_are_written_than_are_read() {
        assert!(crate::fdtable::start());
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let held = lifecycle::remember(socket.as_raw_fd(), Kind::Stream, |_| {}).unwrap();
        let mut text = Vec::new();
        // None of them is open.
        put(&held, &[-1; NAMES_MOST as usize + 1], &mut text);
        assert!(take(&mut &text[..]).is_some_and(|file| file.is_none()));
        lifecycle::forget(&held);
    }
}
