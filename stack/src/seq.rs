//! Sequence numbers: points on a circle of 2³², compared by the shorter way round (RFC 9293 §3.4).

use core::fmt;
use core::ops::{Add, AddAssign, Sub};

/// A sequence number. There is no `Ord`: on a circle `a < b < c < a` can hold.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Seq(pub u32);

impl Seq {
    /// `self < other`.
    #[inline]
    pub const fn before(self, other: Seq) -> bool {
        (self.0.wrapping_sub(other.0) as i32) < 0
    }

    /// `self > other`.
    #[inline]
    pub const fn after(self, other: Seq) -> bool {
        other.before(self)
    }

    /// `self <= other`.
    #[inline]
    pub const fn at_or_before(self, other: Seq) -> bool {
        !other.before(self)
    }

    /// `self >= other`.
    #[inline]
    pub const fn at_or_after(self, other: Seq) -> bool {
        !self.before(other)
    }

    /// `low <= self < low + len`.
    #[inline]
    pub const fn within(self, low: Seq, len: u32) -> bool {
        self.0.wrapping_sub(low.0) < len
    }

    /// The later of the two.
    #[inline]
    pub const fn max(self, other: Seq) -> Seq {
        if self.before(other) { other } else { self }
    }

    /// The earlier of the two.
    #[inline]
    pub const fn min(self, other: Seq) -> Seq {
        if self.before(other) { self } else { other }
    }

    /// Octets from `earlier` to `self`; zero when `earlier` is later.
    #[inline]
    pub const fn since(self, earlier: Seq) -> u32 {
        if self.before(earlier) { 0 } else { self.0.wrapping_sub(earlier.0) }
    }
}

impl Add<u32> for Seq {
    type Output = Seq;
    #[inline]
    fn add(self, n: u32) -> Seq {
        Seq(self.0.wrapping_add(n))
    }
}

impl AddAssign<u32> for Seq {
    #[inline]
    fn add_assign(&mut self, n: u32) {
        *self = *self + n;
    }
}

impl Sub<u32> for Seq {
    type Output = Seq;
    #[inline]
    fn sub(self, n: u32) -> Seq {
        Seq(self.0.wrapping_sub(n))
    }
}

impl Sub for Seq {
    type Output = u32;
    /// The distance forward from `rhs` to `self`, modulo 2³².
    #[inline]
    fn sub(self, rhs: Seq) -> u32 {
        self.0.wrapping_sub(rhs.0)
    }
}

impl fmt::Debug for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_holds_across_the_wrap() {
        let (a, b) = (Seq(u32::MAX - 1), Seq(3));
        assert!(a.before(b) && b.after(a) && !b.before(a));
        assert!(a.at_or_before(a) && a.at_or_after(a));
        assert_eq!(b - a, 5);
        assert_eq!(b.since(a), 5);
        assert_eq!(a.since(b), 0);
        assert_eq!(a + 5, b);
        assert_eq!(b - 5, a);
        assert_eq!((a.max(b), a.min(b)), (b, a));
    }

    #[test]
    fn a_window_is_half_open() {
        let low = Seq(u32::MAX);
        assert!(low.within(low, 1) && Seq(0).within(low, 2));
        assert!(!low.within(low, 0) && !Seq(1).within(low, 2) && !Seq(u32::MAX - 1).within(low, 2));
    }
}
