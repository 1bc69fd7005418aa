//! The two sides of a job, test by test.

use std::thread;

use super::differences::reason;
use super::job::{Job, Ran, Side};
use super::read::{Verdict, Verdicts};

/// How often a test that failed is tried by itself.
const TRIES: usize = 2;

/// Tests that are tried by themselves, of those of one job: when more have failed it is none's bad luck.
const MOST_TRIED: usize = 12;

/// A job on both sides.
pub(super) struct Compared {
    title: String,
    kernel: Ran,
    road: Ran,
    /// What became of runs that did not end and were begun again.
    given_up: Vec<(&'static str, String)>,
    /// Tests that pass on the kernel and not on the road, for a reason that is known.
    deliberate: Vec<(String, &'static str)>,
    /// Those that did so once, and passed by themselves.
    unsteady: Vec<String>,
    /// All others.
    failed: Vec<String>,
}

/// Runs a job on both sides, and what differs again.
pub(super) fn run(job: Job) -> Compared {
    let (kernel, road) = match job.in_turns {
        true => (job.run(Side::Kernel), job.run(Side::Road)),
        false => thread::scope(|scope| {
            let kernel = scope.spawn(|| job.run(Side::Kernel));
            let road = job.run(Side::Road);
            (kernel.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), road)
        }),
    };
    let mut given_up = Vec::new();
    let mut again = |ran: Ran, side: Side| match &ran.trouble {
        Some(trouble) => {
            given_up.push((side.name(), trouble.clone()));
            job.run(side)
        }
        None => ran,
    };
    let (kernel, road) = (again(kernel, Side::Kernel), again(road, Side::Road));
    let differing = differing(&kernel.verdicts, &road.verdicts);
    let (known, unknown): (Vec<_>, Vec<_>) = differing
        .into_iter()
        .map(|test| (reason(job.suite, &test), test))
        .partition(|(why, _)| why.is_some());
    let deliberate = known.into_iter().filter_map(|(why, test)| Some((test, why?))).collect();
    let few = unknown.len() <= MOST_TRIED;
    let (unsteady, failed) =
        unknown.into_iter().map(|(_, test)| test).partition(|test| few && passes_alone(&job, test));
    Compared { title: job.title(), kernel, road, given_up, deliberate, unsteady, failed }
}

/// The tests that passed on the kernel and not on the road.
fn differing(kernel: &Verdicts, road: &Verdicts) -> Vec<String> {
    let passed = kernel.iter().filter(|(_, verdict)| **verdict == Verdict::Passed);
    passed.map(|(test, _)| test).filter(|test| road.get(*test) != Some(&Verdict::Passed)).cloned().collect()
}

/// Whether a test passes when it is run by itself on the road, or does not on the kernel either.
fn passes_alone(job: &Job, test: &str) -> bool {
    let alone = job.only(test);
    let passes = |side| alone.run(side).verdicts.get(test) == Some(&Verdict::Passed);
    (0..TRIES).any(|_| passes(Side::Road)) || !passes(Side::Kernel)
}

impl Compared {
    /// Whether what passes on the kernel passes on the road, or is known not to.
    pub(super) fn holds(&self) -> bool {
        self.failures() == 0
    }

    /// Tests that should have passed, and runs that did not end: what did not end on the kernel says nothing.
    pub(super) fn failures(&self) -> usize {
        let road = self.road.trouble.is_some() && self.failed.is_empty();
        self.failed.len() + usize::from(road) + usize::from(self.kernel.trouble.is_some())
    }

    /// Tests that passed on the road.
    pub(super) fn passed(&self) -> usize {
        count(&self.road)
    }

    /// One line of the table.
    pub(super) fn line(&self) -> String {
        let shares: Vec<String> =
            self.kernel.kernel.iter().zip(&self.road.kernel).map(|(all, rest)| share(*all, *rest)).collect();
        format!(
            "{:28} {:6} {:7} {:9} {:>8} {:>9} {:>6} {:>9} {:4} s",
            self.title,
            self.kernel.verdicts.len(),
            count(&self.kernel),
            self.passed(),
            shares[0],
            shares[1],
            shares[2],
            shares[3],
            self.kernel.seconds.max(self.road.seconds),
        )
    }
}

fn count(ran: &Ran) -> usize {
    ran.verdicts.values().filter(|verdict| **verdict == Verdict::Passed).count()
}

/// Which part of what the kernel does alone it did not do.
fn share(all: u64, rest: u64) -> String {
    match all {
        0 => "-".to_owned(),
        all => format!("{} %", 100 * all.saturating_sub(rest) / all),
    }
}

/// Prints all of it.
pub(super) fn table(all: &[Compared]) {
    println!("\n{:52} past the kernel: connections, datagrams", "");
    println!(
        "{:28} {:>6} {:>7} {:>9} {:>8} {:>9} {:>6} {:>9}",
        "", "tests", "kernel", "ringroad", "opened", "accepted", "sent", "received"
    );
    all.iter().for_each(|job| println!("{}", job.line()));
    for job in all {
        for (side, ran) in [(Side::Kernel, &job.kernel), (Side::Road, &job.road)] {
            if let Some(trouble) = &ran.trouble {
                println!("{} on {} {trouble}", job.title, side.name());
            }
        }
        for (side, trouble) in &job.given_up {
            println!("{} on {side} the first time {trouble}", job.title);
        }
        job.deliberate.iter().for_each(|(test, why)| println!("differs: {} {test}: {why}", job.title));
        job.unsteady.iter().for_each(|test| println!("failed once: {} {test}", job.title));
        job.failed.iter().for_each(|test| println!("FAILED: {} {test}", job.title));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passed_there_and_not_here_differs() {
        let verdicts = |all: &[(&str, Verdict)]| all.iter().map(|(n, v)| ((*n).to_owned(), *v)).collect();
        use Verdict::{Failed, Passed, Skipped};
        let kernel = verdicts(&[("a", Passed), ("b", Passed), ("c", Failed), ("d", Passed), ("e", Passed)]);
        let road = verdicts(&[("a", Passed), ("b", Failed), ("c", Failed), ("d", Skipped)]);
        assert_eq!(differing(&kernel, &road), ["b", "d", "e"]);
    }

    #[test]
    fn a_share_of_nothing_is_none() {
        assert_eq!([share(0, 0), share(200, 3), share(5, 9)], ["-", "98 %", "0 %"]);
    }
}
