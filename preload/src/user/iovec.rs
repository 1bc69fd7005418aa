//! Arrays of buffers: checked as the kernel checks them, walked piece by piece.

use libc::{c_int, iovec};

use super::{Fault, Place};
use crate::errno::Errno;

/// The most that one call moves, in bytes; longer lengths are cut to it (the kernel's `MAX_RW_COUNT`).
pub(crate) const MAX_RW_COUNT: usize = 0x7fff_f000;

const IOV_MAX: usize = 1024;
const INLINE: usize = 8;

/// A walk over the application's buffers, from the first byte to the last.
pub(crate) struct Cursor {
    few: [(Place, usize); INLINE],
    many: Vec<(Place, usize)>,
    count: usize,
    index: usize,
    within: usize,
    left: usize,
}

impl Cursor {
    /// One buffer.
    #[inline]
    pub(crate) fn one(place: impl Into<Place>, len: usize) -> Self {
        let len = len.min(MAX_RW_COUNT);
        let mut few = [(Place(0), 0); INLINE];
        few[0] = (place.into(), len);
        Self { few, many: Vec::new(), count: 1, index: 0, within: 0, left: len }
    }

    /// The `count` buffers of an iovec array (readv, writev).
    ///
    /// # Errors
    /// EINVAL for a count below zero or above 1024 or a length above `SSIZE_MAX`; EFAULT.
    pub(crate) fn array(place: Place, count: c_int) -> Result<Self, Errno> {
        let count = usize::try_from(count).ok().filter(|n| *n <= IOV_MAX).ok_or(Errno(libc::EINVAL))?;
        let mut cursor = Self::one(Place(0), 0);
        cursor.count = count;
        if count > INLINE {
            cursor.many.reserve_exact(count);
        }
        for i in 0..count {
            let entry: iovec = place.after(i * size_of::<iovec>()).read()?;
            if entry.iov_len > isize::MAX as usize {
                return Err(Errno(libc::EINVAL));
            }
            let len = entry.iov_len.min(MAX_RW_COUNT - cursor.left);
            cursor.left += len;
            let buffer = (Place::from(entry.iov_base), len);
            if count > INLINE {
                cursor.many.push(buffer);
            } else {
                cursor.few[i] = buffer;
            }
        }
        Ok(cursor)
    }

    /// Bytes from here to the end.
    #[inline]
    pub(crate) fn left(&self) -> usize {
        self.left
    }

    /// What is left of the buffers, for the kernel to fill.
    pub(crate) fn iovecs(&self) -> Vec<iovec> {
        let all = if self.many.is_empty() { &self.few[..self.count.min(INLINE)] } else { &self.many[..] };
        let buffer = |(at, (place, len)): (usize, &(Place, usize))| {
            let skipped = if at == 0 { self.within } else { 0 };
            iovec { iov_base: place.after(skipped).as_mut_ptr(), iov_len: len - skipped }
        };
        all.iter().skip(self.index).enumerate().map(buffer).collect()
    }

    /// Back to the first byte, from which there are `whole`.
    pub(crate) fn rewind(&mut self, whole: usize) {
        (self.index, self.within, self.left) = (0, 0, whole);
    }

    /// Moves on by `n` bytes.
    fn skip(&mut self, n: usize) {
        self.within += n;
        self.left -= n;
    }

    /// The next piece: where, and how long; none at the end.
    fn piece(&mut self) -> Option<(Place, usize)> {
        while self.index < self.count {
            let (place, len) =
                if self.many.is_empty() { self.few[self.index] } else { self.many[self.index] };
            if self.within < len {
                return Some((place.after(self.within), len - self.within));
            }
            self.index += 1;
            self.within = 0;
        }
        None
    }

    /// Writes all of `bytes` at the cursor and moves on; after a fault the cursor is where it was.
    ///
    /// # Errors
    /// A fault, or no room for them.
    pub(crate) fn put(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let at = (self.index, self.within, self.left);
        let mut rest = bytes;
        while !rest.is_empty() {
            let put = self.piece().ok_or(Fault).and_then(|(place, room)| {
                let n = room.min(rest.len());
                place.write_from(&rest[..n]).map(|()| n)
            });
            match put {
                Ok(n) => {
                    self.skip(n);
                    rest = &rest[n..];
                }
                Err(fault) => {
                    (self.index, self.within, self.left) = at;
                    return Err(fault);
                }
            }
        }
        Ok(())
    }

    /// Fills `room` from the cursor, as far as there are bytes, and moves on. Answers how many.
    ///
    /// # Errors
    /// A fault before the first byte; a later one ends the walk early.
    pub(crate) fn take(&mut self, room: &mut [u8]) -> Result<usize, Fault> {
        let mut taken = 0;
        while taken < room.len() {
            let Some((place, len)) = self.piece() else { break };
            let n = len.min(room.len() - taken);
            match place.read_into(&mut room[taken..taken + n]) {
                Ok(()) => self.skip(n),
                Err(fault) if taken == 0 => return Err(fault),
                Err(_) => break,
            }
            taken += n;
        }
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::Edge;
    use super::*;

    fn entries(buffers: &mut [Vec<u8>]) -> Vec<iovec> {
        buffers.iter_mut().map(|b| iovec { iov_base: b.as_mut_ptr().cast(), iov_len: b.len() }).collect()
    }

    #[test]
    fn bytes_are_spread_over_the_buffers_and_gathered_again() {
        for sizes in [&[3usize, 0, 5, 1][..], &[1; 20][..], &[10]] {
            let mut buffers: Vec<Vec<u8>> = sizes.iter().map(|n| vec![0; *n]).collect();
            let array = entries(&mut buffers);
            let total: usize = sizes.iter().sum();
            let bytes: Vec<u8> = (1..=total as u8).collect();
            let mut cursor = Cursor::array(Place::from(array.as_ptr()), array.len() as c_int).unwrap();
            assert_eq!(cursor.left(), total);
            for part in bytes.chunks(4) {
                cursor.put(part).unwrap();
            }
            assert_eq!(cursor.left(), 0);
            assert_eq!(buffers.concat(), bytes);
            let mut cursor = Cursor::array(Place::from(array.as_ptr()), array.len() as c_int).unwrap();
            let mut back = vec![0; total + 3];
            assert_eq!(cursor.take(&mut back), Ok(total));
            assert_eq!(&back[..total], bytes);
            assert_eq!(cursor.take(&mut back), Ok(0));
        }
    }

    #[test]
    fn arrays_are_refused_as_the_kernel_refuses_them() {
        let mut buffers = vec![vec![0; 4]; 1025];
        let mut array = entries(&mut buffers);
        let place = Place::from(array.as_ptr());
        let refused = |place, count| Cursor::array(place, count).err().map(|e| e.0);
        assert_eq!(refused(place, -1), Some(libc::EINVAL));
        assert_eq!(refused(place, 1025), Some(libc::EINVAL));
        assert_eq!(refused(place, 1024), None);
        assert_eq!(refused(place, 0), None);
        assert_eq!(refused(Place(8), 1), Some(libc::EFAULT));
        array[1].iov_len = usize::MAX;
        assert_eq!(refused(Place::from(array.as_ptr()), 2), Some(libc::EINVAL));
        array[0].iov_len = isize::MAX as usize;
        assert_eq!(Cursor::array(Place::from(array.as_ptr()), 1).unwrap().left(), MAX_RW_COUNT);
    }

    #[test]
    fn a_fault_loses_nothing() {
        let edge = Edge::new();
        let mut cursor = Cursor::one(edge.before(6), 10);
        assert_eq!(cursor.put(b"abcd"), Ok(()));
        assert_eq!(cursor.put(b"efgh"), Err(Fault));
        assert_eq!(cursor.left(), 6);
        assert_eq!(cursor.put(b"ef"), Ok(()));
        let mut room = [0; 4];
        let mut cursor = Cursor::one(edge.before(6), 10);
        assert_eq!(cursor.take(&mut room), Ok(4));
        assert_eq!(cursor.take(&mut room), Err(Fault));
    }
}
