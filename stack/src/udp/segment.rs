//! UDP_SEGMENT and UDP_GRO: one call, many datagrams of one length (the last may be shorter).

use crate::error::SocketError;

/// Datagrams that one send may be cut into (Linux: UDP_MAX_SEGMENTS).
pub const MOST: usize = 128;

/// How a send is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    len: usize,
    size: usize,
}

impl Cut {
    /// One datagram of `len` bytes.
    pub fn whole(len: usize) -> Self {
        Self { len, size: len.max(1) }
    }

    /// `len` bytes in datagrams of `size`, none of which may be longer than `room`.
    ///
    /// # Errors
    /// As Linux: `MessageSize` when a datagram would need fragments, `Invalid` for too many of them.
    pub fn segments(len: usize, size: u16, room: usize) -> Result<Self, SocketError> {
        let size = usize::from(size).max(1);
        if size.min(len) > room {
            return Err(SocketError::MessageSize);
        }
        if len > size * MOST {
            return Err(SocketError::Invalid);
        }
        Ok(Self { len, size })
    }

    /// How many datagrams; an empty one counts.
    pub fn count(&self) -> usize {
        self.len.div_ceil(self.size).max(1)
    }

    /// The bytes of the `at`th.
    pub fn len_of(&self, at: usize) -> usize {
        self.size.min(self.len - at * self.size)
    }
}

/// A train of received datagrams on its way to one `recv`: which further datagram may join it.
#[derive(Clone, Copy, Debug)]
pub struct Train {
    size: usize,
    total: usize,
    room: usize,
    closed: bool,
}

impl Train {
    /// Bytes in a train at the most, as a packet of Linux's GRO can have.
    const MOST_BYTES: usize = 65_507;

    /// Begins with a datagram of `len` bytes in a buffer of `room`.
    pub fn begin(len: usize, room: usize) -> Self {
        Self { size: len, total: len, room: room.min(Self::MOST_BYTES), closed: len == 0 || len > room }
    }

    /// Whether a datagram of `len` bytes joins it. A shorter one is the last.
    pub fn join(&mut self, len: usize) -> bool {
        let fits = !self.closed
            && (1..=self.size).contains(&len)
            && self.total + len <= self.room
            && self.total / self.size < MOST;
        if fits {
            self.total += len;
            self.closed = len < self.size;
        }
        fits
    }

    /// The length of its datagrams, when there are several.
    pub fn segment(&self) -> Option<u16> {
        (self.total > self.size).then_some(self.size as u16)
    }

    /// All its bytes.
    pub fn total(&self) -> usize {
        self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_cut_once_and_in_order() {
        for (len, size, count, last) in [(3000, 1000, 3, 1000), (3001, 1000, 4, 1), (10, 1000, 1, 10)] {
            let cut = Cut::segments(len, size, 1472).unwrap();
            assert_eq!((cut.count(), cut.len_of(count - 1)), (count, last));
            assert_eq!((0..cut.count()).map(|at| cut.len_of(at)).sum::<usize>(), len);
        }
        assert_eq!((Cut::whole(0).count(), Cut::whole(0).len_of(0)), (1, 0));
        assert_eq!((Cut::whole(9).count(), Cut::whole(9).len_of(0)), (1, 9));
        assert_eq!(Cut::segments(0, 100, 1472).unwrap().count(), 1);
    }

    #[test]
    fn limits_are_those_of_linux() {
        assert_eq!(Cut::segments(5000, 1473, 1472), Err(SocketError::MessageSize));
        assert!(Cut::segments(1472, 2000, 1472).is_ok());
        assert!(Cut::segments(MOST * 10, 10, 1472).is_ok());
        assert_eq!(Cut::segments(MOST * 10 + 1, 10, 1472), Err(SocketError::Invalid));
    }

    #[test]
    fn a_train_ends_with_a_shorter_datagram_or_a_full_buffer() {
        let mut train = Train::begin(100, 1000);
        assert_eq!(train.segment(), None);
        assert!(train.join(100) && !train.join(101) && !train.join(0) && train.join(40));
        assert!(!train.join(100) && !train.join(40));
        assert_eq!((train.segment(), train.total()), (Some(100), 240));
        let mut short = Train::begin(100, 150);
        assert!(!short.join(100) && short.join(50));
        assert!(!Train::begin(0, 100).join(0));
        assert!(!Train::begin(200, 100).join(1));
    }
}
