//! Black holes on the path: routers that drop what is too long and do not say so (RFC 4821 §7.7, RFC 8899 §4.3).
//!
//! As Linux does with tcp_mtu_probing=1: when time-outs follow each other the MTU of the path is taken for a safe
//! one, and after more of them for less. It is believed as if a router had said so: by all connections to that
//! address, and for ten minutes, after which full segments are tried again (RFC 8899's PMTU_RAISE_TIMER).

/// Time-outs in a row that make a black hole likely (Linux: tcp_retries1).
pub(super) const TIMEOUTS: u8 = 3;
/// A segment that nearly every path takes (Linux: tcp_base_mss; RFC 8899 §5.1.2 has a packet of 1,200 octets).
const BASE_MSS: u16 = 1024;

/// The MTU to fall to from `path_mtu`, when headers take `headers` octets of it; no less than `least`.
pub(super) fn fall_from(path_mtu: u16, headers: u16, least: u16) -> u16 {
    let mss = path_mtu.saturating_sub(headers);
    let fallen = if mss > BASE_MSS { BASE_MSS } else { mss / 2 };
    (fallen + headers).clamp(least.min(path_mtu), path_mtu)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_falls_to_the_base_and_then_by_halves() {
        assert_eq!(fall_from(9000, 40, 552), 1064);
        assert_eq!(fall_from(1500, 40, 552), 1064);
        assert_eq!(fall_from(1064, 40, 552), 552);
        assert_eq!(fall_from(552, 40, 552), 552);
        assert_eq!(fall_from(1500, 60, 1280), 1280);
        assert_eq!(fall_from(1280, 60, 1280), 1280);
        assert_eq!(fall_from(300, 40, 552), 300);
    }
}
