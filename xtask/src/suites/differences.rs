//! Tests of other projects that pass on the kernel and not under the shim, with the reason for each.

use super::Suite;

/// A suite, how the test's name ends, and why.
const DIFFERENCES: &[(Suite, &str, &str)] = &[
    (Suite::Cpython, ".test_above_fd_setsize", LIMIT),
    (Suite::Libuv, "watcher_cross_stop", LIMIT),
    (
        Suite::Libuv,
        "udp_send_unreachable",
        "the kernel's answer to a datagram on its loopback device is there before the call returns, so the next send tells \
         of it; here it comes as from any other host, and recv tells",
    ),
];

const LIMIT: &str = "it opens as many descriptors as it may: those of the road and of the library count";

/// Why a test may fail under the shim.
pub(super) fn reason(suite: Suite, test: &str) -> Option<&'static str> {
    let mut known = DIFFERENCES.iter().filter(|(of, end, _)| *of == suite && test.ends_with(end));
    known.next().map(|(_, _, why)| *why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_found_by_the_end_of_its_name() {
        assert_eq!(
            reason(Suite::Cpython, "test.test_selectors.PollSelector.test_above_fd_setsize"),
            Some(LIMIT)
        );
        assert_eq!(reason(Suite::Libevent, "watcher_cross_stop"), None);
    }
}
