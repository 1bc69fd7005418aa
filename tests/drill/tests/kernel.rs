//! Every drill against the Linux kernel, in real time, each in a network namespace of its own.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{PoisonError, RwLock};

use drill::differences::{DIFFERENCES, STACK_ONLY};
use drill::drills::Row;
use drill::{Family, On, drills, kernel};
use libtest_mimic::{Arguments, Failed, Trial};

/// A busy machine may spoil a drill in real time; it does not spoil it always.
const TRIES: usize = 3;
/// Drills share the machine; who fails among the others is tried again alone.
static COMPANY: RwLock<()> = RwLock::new(());
/// Most of the time of a drill is spent asleep.
const AT_ONCE: usize = 48;

thread_local! {
    /// What the thread's drill said when it failed, and where.
    static WORDS: RefCell<String> = const { RefCell::new(String::new()) };
}

fn main() {
    std::panic::set_hook(Box::new(|info| WORDS.set(info.to_string())));
    let mut args = Arguments::from_args();
    args.test_threads = args.test_threads.or(Some(AT_ONCE));
    let names: Vec<&str> = drills::all().map(|row| row.name).collect();
    let listed = DIFFERENCES.iter().map(|d| d.drill).chain(STACK_ONLY.iter().map(|s| s.drill));
    let mut trials: Vec<Trial> = listed
        .filter(|listed| !names.contains(listed))
        .map(|gone| Trial::test(format!("differences::{gone}"), || Err("there is no such drill".into())))
        .collect();
    for row in drills::all() {
        if STACK_ONLY.iter().any(|only| only.drill == row.name) {
            continue;
        }
        for (family, word) in [(Family::V4, "ipv4"), (Family::V6, "ipv6")] {
            trials.push(Trial::test(format!("{}::{word}", row.name), move || judge(row, family)));
        }
    }
    libtest_mimic::run(&args, trials).exit();
}

fn judge(row: Row, family: Family) -> Result<(), Failed> {
    let difference = DIFFERENCES.iter().find(|d| d.drill == row.name);
    let judged = || match (attempt(row, family), difference) {
        (Ok(()), None) | (Err(_), Some(_)) => Ok(()),
        (Ok(()), Some(d)) => Err(format!("listed as a difference, and passes: {}", d.reason)),
        (Err(words), None) => Err(words),
    };
    let among_others = || {
        let _others = COMPANY.read().unwrap_or_else(PoisonError::into_inner);
        judged()
    };
    if (0..TRIES).any(|_| among_others().is_ok()) {
        return Ok(());
    }
    let _alone = COMPANY.write().unwrap_or_else(PoisonError::into_inner);
    let mut last = judged();
    for _ in 1..TRIES {
        last = last.or_else(|_| judged());
    }
    last.map_err(Failed::from)
}

/// Runs a drill on a thread that has a namespace to itself.
fn attempt(row: Row, family: Family) -> Result<(), String> {
    let run = move || {
        kernel::isolate().map_err(|e| format!("a network namespace: {e}; the kernel's drills need root"))?;
        catch_unwind(AssertUnwindSafe(|| (row.run)(On::Kernel(family)))).map_err(|_| WORDS.take())
    };
    let thread = std::thread::Builder::new().name(row.name.to_owned()).spawn(run);
    thread.map_err(|e| e.to_string())?.join().unwrap_or_else(|_| Err("the drill's thread died".to_owned()))
}
