//! Cancellation: `pthread_cancel` ends a thread that waits in this library too.
//!
//! libc ends a thread inside its own blocking calls. Ours wait elsewhere, with locks and destructors on the stack,
//! and libc does not even wake them. So a wait asks whether its thread is wanted, and leaves with EINTR; the
//! exported function, which has nothing left to drop, then calls libc's cancellation point. So it does before it begins, as
//! libc's own functions do: what would be taken from a socket then stays there. Inside, libc ends no thread (`guard`).

use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use libc::pthread_t;
use ringroad::Runtime;

use crate::errno::Outcome;
use crate::{guard, kernel};

/// Beside a thread's number: libc does not know yet. Such a number is the address of a structure.
const TELLING: u64 = 1;
/// How often a thread lets others run until libc knows; whoever told it may have been ended by that.
const TRIES: u32 = 1000;

/// Threads that may be wanted at a time. One that ends by itself leaves its place to later ones.
const PLACES: usize = 32;

static ANY: AtomicBool = AtomicBool::new(false);
static NEXT: AtomicUsize = AtomicUsize::new(0);
static WANTED: [AtomicU64; PLACES] = [const { AtomicU64::new(0) }; PLACES];

/// The functions that are cancellation points (POSIX.1-2017 §2.9.5.2, and their relatives of Linux).
const POINTS: &str = " accept accept4 close connect epoll_pwait epoll_pwait2 epoll_wait poll ppoll preadv2 \
    preadv64v2 pselect pwritev2 pwritev64v2 read readv recv recvfrom recvmmsg recvmsg select send sendmmsg sendmsg \
    sendto splice write writev __close __connect __poll __poll_chk __ppoll_chk __read __read_chk __recv_chk \
    __recvfrom_chk __select __send __write ";

/// Whether the function of this name is a cancellation point.
pub(crate) const fn is_point(name: &str) -> bool {
    let (all, name) = (POINTS.as_bytes(), name.as_bytes());
    let mut at = 0;
    while at + name.len() + 1 < all.len() {
        let mut same = 0;
        while same < name.len() && all[at + 1 + same] == name[same] {
            same += 1;
        }
        if all[at] == b' ' && same == name.len() && all[at + 1 + same] == b' ' {
            return true;
        }
        at += 1;
    }
    false
}

/// Whether a thread may end when that function has done what it was asked: what `accept` has made would be lost with it.
pub(crate) const fn ends_at(name: &str) -> bool {
    is_point(name) && !matches!(name.as_bytes(), b"accept" | b"accept4")
}

/// `pthread_cancel`.
pub(crate) fn pthread_cancel(thread: pthread_t) -> Outcome {
    // Noted first: once libc knows, the thread may be gone.
    let place = &WANTED[NEXT.fetch_add(1, Ordering::Relaxed) % PLACES];
    place.store(thread | TELLING, Ordering::Release);
    ANY.store(true, Ordering::Release);
    let error = kernel::cancel(thread);
    let told = if error == 0 { thread } else { 0 };
    // The place may be another's already.
    let _ = place.compare_exchange(thread | TELLING, told, Ordering::AcqRel, Ordering::Relaxed);
    if error == 0
        && let Some(runtime) = Runtime::current()
    {
        runtime.lock().sleepers().notify_all();
    }
    Ok(error as isize)
}

/// Whether a thread of this process was ever cancelled.
#[inline]
pub(crate) fn is_used() -> bool {
    ANY.load(Ordering::Relaxed)
}

/// Whether the calling thread is to end at its next cancellation point.
#[inline]
pub(crate) fn pending() -> bool {
    is_used() && is_wanted()
}

#[cold]
fn is_wanted() -> bool {
    let this = kernel::this_thread();
    WANTED.iter().any(|place| place.load(Ordering::Acquire) & !TELLING == this)
        && (guard::shields() || kernel::cancel_is_enabled())
}

/// As [`pending`], and forgets it: libc is asked now, and knows.
#[inline]
pub(crate) fn take() -> bool {
    let pending = pending();
    if pending {
        let this = kernel::this_thread();
        // Other threads' places stay.
        WANTED.iter().for_each(|place| forget(place, this));
    }
    pending
}

#[cold]
fn forget(place: &AtomicU64, this: pthread_t) {
    for _ in 0..TRIES {
        if place.load(Ordering::Acquire) != this | TELLING {
            break;
        }
        std::thread::yield_now();
    }
    for noted in [this | TELLING, this] {
        let _ = place.compare_exchange(noted, 0, Ordering::AcqRel, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_accepted_is_not_lost() {
        assert!(is_point("accept4") && !ends_at("accept4") && !ends_at("accept"));
        assert!(ends_at("recv") && !ends_at("socket"));
    }

    #[test]
    fn points_are_known_by_their_whole_name() {
        for name in ["accept", "recv", "recvfrom", "write", "__write", "epoll_wait"] {
            assert!(is_point(name), "{name}");
        }
        for name in ["rec", "ecv", "socket", "dup2", "shutdown", "", "epoll"] {
            assert!(!is_point(name), "{name}");
        }
    }
}
