//! The user timeout (RFC 5482, RFC 9293 §3.9.1.8): how long an application lets its data wait.
//!
//! As in Linux it is a matter of this end alone: TCP_USER_TIMEOUT is not told to the peer, and the option that
//! would tell it (RFC 5482 §3.1) is not sent and ignored when it comes.

use core::time::Duration;

use crate::time::Instant;

/// Whether what began `since` has lasted long enough. None: no timeout of the user's.
pub(super) fn has_passed(patience: Option<Duration>, since: Instant, now: Instant) -> Option<bool> {
    patience.map(|patience| now.since(since) >= patience)
}

/// Who is out of patience already is told with the next tick (Linux: a jiffy), after one more try.
const TICK: Duration = Duration::from_millis(1);

/// When a timer that would come at `deadline` has to come so that the user's timeout is not overslept.
pub(super) fn clamp(patience: Option<Duration>, since: Instant, deadline: Instant, now: Instant) -> Instant {
    match patience {
        Some(patience) => deadline.min((since + patience).max(now + TICK)),
        None => deadline,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_timer_comes_later_than_the_user_s() {
        let (since, second) = (Instant::from_millis(1000), Some(Duration::from_secs(1)));
        assert_eq!(has_passed(None, since, Instant::NEVER), None);
        assert_eq!(has_passed(second, since, Instant::from_millis(1999)), Some(false));
        assert_eq!(has_passed(second, since, Instant::from_millis(2000)), Some(true));
        assert_eq!(clamp(second, since, Instant::from_millis(1500), since), Instant::from_millis(1500));
        assert_eq!(clamp(second, since, Instant::from_millis(9000), since), Instant::from_millis(2000));
        let late = Instant::from_millis(5000);
        assert_eq!(clamp(second, since, Instant::from_millis(9000), late), Instant::from_millis(5001));
        assert_eq!(clamp(None, since, Instant::NEVER, since), Instant::NEVER);
    }
}
