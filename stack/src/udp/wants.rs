//! What a socket was told to tell of each datagram (IP_RECVTTL and its kin): a set of bits.

/// A set of the things that `recvmsg` tells beside the bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wants {
    bits: u16,
    /// SOF_TIMESTAMPING_*: what SO_TIMESTAMPING asks for.
    pub timestamping: u32,
}

impl Wants {
    /// IP_PKTINFO.
    pub const PACKET_INFO: u16 = 1;
    /// IP_RECVTTL.
    pub const TTL: u16 = 1 << 1;
    /// IP_RECVTOS.
    pub const TOS: u16 = 1 << 2;
    /// IP_RECVORIGDSTADDR.
    pub const ORIGINAL_DESTINATION: u16 = 1 << 3;
    /// IPV6_RECVPKTINFO.
    pub const PACKET_INFO_6: u16 = 1 << 4;
    /// IPV6_RECVHOPLIMIT.
    pub const HOP_LIMIT: u16 = 1 << 5;
    /// IPV6_RECVTCLASS.
    pub const TRAFFIC_CLASS: u16 = 1 << 6;
    /// IPV6_RECVORIGDSTADDR.
    pub const ORIGINAL_DESTINATION_6: u16 = 1 << 7;
    /// SO_RXQ_OVFL.
    pub const DROPS: u16 = 1 << 8;
    /// SO_TIMESTAMP or SO_TIMESTAMPNS: the time.
    pub const TIME: u16 = 1 << 9;
    /// SO_TIMESTAMPNS: in nanoseconds.
    pub const TIME_NS: u16 = 1 << 10;
    /// The time in the form that has 64 bits everywhere (`_NEW`).
    pub const TIME_NEW: u16 = 1 << 11;
    /// SO_TIMESTAMPING in that form.
    pub const TIMESTAMPING_NEW: u16 = 1 << 12;

    /// Whether it is wanted.
    #[inline]
    pub const fn has(self, bit: u16) -> bool {
        self.bits & bit != 0
    }

    /// Whether anything is.
    #[inline]
    pub const fn any(self) -> bool {
        self.bits != 0 || self.timestamping != 0
    }

    /// Wants it or not.
    pub fn set(&mut self, bit: u16, on: bool) {
        if on {
            self.bits |= bit;
        } else {
            self.bits &= !bit;
        }
    }

    /// SO_TIMESTAMP and SO_TIMESTAMPNS, which exclude one another as in Linux: the last one set counts.
    pub fn time(&mut self, form: u16, on: bool) {
        self.set(Self::TIME | Self::TIME_NS | Self::TIME_NEW, false);
        self.set(Self::TIME | form, on);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_of_the_time_that_was_set_last_counts() {
        let mut wants = Wants::default();
        wants.time(Wants::TIME_NS, true);
        assert!(wants.has(Wants::TIME) && wants.has(Wants::TIME_NS) && wants.any());
        wants.time(0, true);
        assert!(wants.has(Wants::TIME) && !wants.has(Wants::TIME_NS));
        wants.time(Wants::TIME_NEW, false);
        assert!(!wants.any());
    }
}
