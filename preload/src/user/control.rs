//! Control messages (`struct cmsghdr`), out of the application's buffer and into it.

use libc::{c_int, cmsghdr};

use super::{Fault, Place};

const HEADER: usize = size_of::<cmsghdr>();
/// The longest control buffer that is read (Linux: net.core.optmem_max is 131,072 nowadays; what it says is long
/// is refused by the kernel itself).
const MOST: usize = 4096;

const fn aligned(len: usize) -> usize {
    (len + size_of::<usize>() - 1) & !(size_of::<usize>() - 1)
}

/// A control message that the application sends.
pub(crate) struct Sent {
    /// `cmsg_level`.
    pub(crate) level: c_int,
    /// `cmsg_type`.
    pub(crate) kind: c_int,
    /// Where its data is, and how long.
    pub(crate) data: (Place, usize),
}

/// A walk over the control messages of a sendmsg.
#[derive(Default)]
pub(crate) struct Reader {
    at: Place,
    left: usize,
}

impl Reader {
    /// Over `len` bytes at `place`. None when that is more than is ever looked at.
    pub(crate) fn new(place: Place, len: usize) -> Option<Self> {
        (len <= MOST).then(|| Self::of_first(place, len))
    }

    /// Over what is looked at of `len` bytes at `place`.
    pub(crate) fn of_first(place: Place, len: usize) -> Self {
        Self { at: place, left: if place.is_null() { 0 } else { len.min(MOST) } }
    }

    /// The next one; none at the end.
    ///
    /// # Errors
    /// A fault; `Ok(None)` inside: a header that makes no sense, which the kernel has words for.
    pub(crate) fn next(&mut self) -> Result<Option<Option<Sent>>, Fault> {
        if self.left < HEADER {
            return Ok(None);
        }
        let raw: cmsghdr = self.at.read()?;
        let len = raw.cmsg_len;
        if len < HEADER || len > self.left {
            return Ok(Some(None));
        }
        let data = (self.at.after(HEADER), len - HEADER);
        let step = aligned(len).min(self.left);
        self.at = self.at.after(step);
        self.left -= step;
        Ok(Some(Some(Sent { level: raw.cmsg_level, kind: raw.cmsg_type, data })))
    }
}

/// Control messages on their way to the application, as the kernel's `put_cmsg` lays them out.
pub(crate) struct Writer {
    at: Place,
    room: usize,
    used: usize,
    cut: bool,
}

impl Writer {
    /// Into `room` bytes at `place`.
    pub(crate) fn new(place: Place, room: usize) -> Self {
        Self { at: place, room, used: 0, cut: false }
    }

    /// For a call that takes none.
    pub(crate) fn none() -> Self {
        Self::new(Place(0), 0)
    }

    /// Writes one. What does not fit is cut, and said so by MSG_CTRUNC.
    ///
    /// # Errors
    /// A fault.
    pub(crate) fn put(&mut self, level: c_int, kind: c_int, data: &[u8]) -> Result<(), Fault> {
        let left = self.room - self.used;
        if self.at.is_null() || left < HEADER {
            self.cut = true;
            return Ok(());
        }
        let full = HEADER + data.len();
        let len = full.min(left);
        self.cut |= len < full;
        let place = self.at.after(self.used);
        place.write(&len)?;
        place.after(8).write(&level)?;
        place.after(12).write(&kind)?;
        place.after(HEADER).write_from(&data[..len - HEADER])?;
        self.used += aligned(full).min(left);
        Ok(())
    }

    /// Bytes that were written, for `msg_controllen`.
    pub(crate) fn used(&self) -> usize {
        self.used
    }

    /// MSG_CTRUNC, if something was cut.
    pub(crate) fn flags(&self) -> c_int {
        if self.cut { libc::MSG_CTRUNC } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(reader: &mut Reader) -> Vec<(c_int, c_int, usize)> {
        let mut found = Vec::new();
        while let Some(Some(sent)) = reader.next().unwrap() {
            found.push((sent.level, sent.kind, sent.data.1));
        }
        found
    }

    #[test]
    fn what_is_written_is_read_again() {
        crate::signals::install_fault_handler();
        let mut room = [0u64; 12];
        let place = Place::from(room.as_mut_ptr());
        let mut writer = Writer::new(place, 96);
        writer.put(0, 2, &7i32.to_ne_bytes()).unwrap();
        writer.put(0, 1, &[5]).unwrap();
        writer.put(17, 104, &[1, 2, 3, 4]).unwrap();
        assert_eq!((writer.used(), writer.flags()), (72, 0));
        let mut reader = Reader::new(place, 72).unwrap();
        assert_eq!(all(&mut reader), [(0, 2, 4), (0, 1, 1), (17, 104, 4)]);
        assert_eq!(room[2] as i32, 7);
    }

    #[test]
    fn what_does_not_fit_is_cut_as_the_kernel_cuts_it() {
        crate::signals::install_fault_handler();
        let mut room = [0u64; 5];
        let place = Place::from(room.as_mut_ptr());
        let mut writer = Writer::new(place, 18);
        writer.put(0, 2, &7i32.to_ne_bytes()).unwrap();
        assert_eq!((writer.used(), writer.flags(), room[0]), (18, libc::MSG_CTRUNC, 18));
        writer.put(0, 1, &[5]).unwrap();
        assert_eq!(writer.used(), 18);
        let mut none = Writer::none();
        none.put(0, 1, &[5]).unwrap();
        assert_eq!((none.used(), none.flags()), (0, libc::MSG_CTRUNC));
    }

    #[test]
    fn headers_that_lie_are_told_from_the_end() {
        crate::signals::install_fault_handler();
        let mut room = [0u64; 4];
        let place = Place::from(room.as_mut_ptr());
        for (said, lies) in [(8u64, true), (33, true), (16, false), (32, false)] {
            room[0] = said;
            let next = Reader::new(place, 32).unwrap().next().unwrap();
            assert_eq!(next.is_some_and(|n| n.is_none()), lies, "{said}");
        }
        assert!(Reader::new(place, 15).unwrap().next().unwrap().is_none());
        assert!(Reader::new(place, MOST + 1).is_none());
        assert!(Reader::new(Place(8), 64).unwrap().next().is_err());
    }
}
