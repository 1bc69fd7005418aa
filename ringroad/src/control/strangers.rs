//! Processes of all users are asked side by side, so that whoever is slow on purpose keeps nobody's time but that of who
//! runs it. When it is too late for all is known to whoever asks.

use std::collections::BTreeMap;
use std::iter::from_fn;
use std::sync::{Mutex, PoisonError};
use std::thread::{Builder, scope};

/// Processes of one user that are asked at a time.
const SIDE_BY_SIDE: usize = 16;
/// Processes that are asked at a time: of so many users one at least.
const CROWD: usize = 256;

/// What comes of `ask` for each, by user, in no order.
pub(super) fn ask_each<T: Send, R: Send>(
    by_user: BTreeMap<u32, Vec<T>>,
    ask: impl Fn(T) -> R + Sync,
) -> Vec<R> {
    ask_on(Builder::new, by_user, ask)
}

/// On such threads, as many as there may be.
fn ask_on<T: Send, R: Send>(
    thread: impl Fn() -> Builder,
    by_user: BTreeMap<u32, Vec<T>>,
    ask: impl Fn(T) -> R + Sync,
) -> Vec<R> {
    let each = (CROWD / by_user.len().max(1)).clamp(1, SIDE_BY_SIDE);
    let all: Vec<(usize, Mutex<Vec<T>>)> =
        by_user.into_values().map(|of| (each.min(of.len()), Mutex::new(of))).collect();
    let next = |of: &Mutex<Vec<T>>| of.lock().unwrap_or_else(PoisonError::into_inner).pop();
    let ask_all = |of: &Mutex<Vec<T>>| from_fn(|| Some(ask(next(of)?))).collect::<Vec<R>>();
    let (ask_all, mut told) = (&ask_all, Vec::new());
    for some in all.chunks(CROWD) {
        // The first of each user before the second of any.
        let wanted: Vec<_> =
            (0..each).flat_map(|n| some.iter().filter(move |of| n < of.0)).map(|of| &of.1).collect();
        scope(|scope| {
            let begin = |of| thread().spawn_scoped(scope, move || ask_all(of)).ok();
            let threads: Vec<_> = wanted.iter().map_while(|of| begin(of)).collect();
            if threads.len() < wanted.len() {
                // Nobody is left out for want of threads.
                told.extend(wanted.iter().flat_map(|of| ask_all(of)));
            }
            told.extend(threads.into_iter().filter_map(|thread| thread.join().ok()).flatten());
        });
    }
    told
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    /// So many users with so many processes each, which have numbers.
    fn crowd(users: usize, processes: usize) -> BTreeMap<u32, Vec<usize>> {
        (0..users).map(|user| (user as u32, (0..processes).map(|n| user * processes + n).collect())).collect()
    }

    /// Asks processes of whom each waits for so many others: nobody would come if fewer were asked at a time.
    fn asked_together(users: usize, processes: usize, together: usize) {
        let there = Barrier::new(together);
        let mut told = ask_each(crowd(users, processes), |number| {
            there.wait();
            number
        });
        told.sort_unstable();
        assert_eq!(told, (0..users * processes).collect::<Vec<_>>());
    }

    #[test]
    fn those_of_one_user_do_not_wait_for_those_of_another_nor_all_for_one() {
        asked_together(2, SIDE_BY_SIDE, 2 * SIDE_BY_SIDE);
        asked_together(1, 4 * SIDE_BY_SIDE, SIDE_BY_SIDE);
    }

    #[test]
    fn of_many_users_none_waits_for_sixteen_others() {
        asked_together(SIDE_BY_SIDE + 3, 1, SIDE_BY_SIDE + 3);
        asked_together(CROWD, 2, CROWD);
        asked_together(2 * CROWD, 1, CROWD);
    }

    #[test]
    fn where_no_thread_may_be_begun_all_are_asked_all_the_same() {
        let none = || Builder::new().stack_size(1 << 60);
        let mut told = ask_on(none, crowd(3, 40), |number| number);
        told.sort_unstable();
        assert_eq!(told, (0..120).collect::<Vec<_>>());
        assert_eq!(ask_each(BTreeMap::<u32, Vec<()>>::new(), |()| ()), []);
    }
}
