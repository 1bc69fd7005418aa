//! `cargo xtask suites`: other projects' own tests, on the kernel and under `ringroad run --iface lo`, test by test.
//!
//! A test that passes on the kernel and not under the shim is a failure, unless `differences` has a reason for it. Where a
//! test failed it is run again by itself: it may have been the load of the machine.

mod compare;
mod cpython;
mod differences;
mod fetch;
mod job;
mod libevent;
mod libuv;
mod read;

use std::path::PathBuf;
use std::sync::Mutex;
use std::thread;

use clap::ValueEnum;

use compare::Compared;
use job::Job;

use crate::packages::{self, Packages};
use crate::run;

/// Jobs that run at the same time, each in namespaces of its own: tests wait more than they compute.
const LANES: usize = 3;

/// Whose tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Suite {
    /// Sockets, selectors, asyncio, TLS and the protocols of Python's standard library
    Cpython,
    /// The event loop of node
    Libuv,
    /// The event loop of memcached and tmux, by epoll, poll and select
    Libevent,
}

impl Suite {
    const ALL: [Self; 3] = [Self::Cpython, Self::Libuv, Self::Libevent];

    fn name(self) -> &'static str {
        match self {
            Self::Cpython => "cpython",
            Self::Libuv => "libuv",
            Self::Libevent => "libevent",
        }
    }

    /// Fetches and builds it, if need be; its version.
    fn prepare(self) -> Result<String, String> {
        match self {
            Self::Cpython => cpython::prepare(),
            Self::Libuv => libuv::prepare(),
            Self::Libevent => libevent::prepare(),
        }
    }

    fn jobs(self) -> Vec<Job> {
        match self {
            Self::Cpython => cpython::jobs(),
            Self::Libuv => libuv::jobs(),
            Self::Libevent => libevent::jobs(),
        }
    }
}

/// Where a suite lies.
fn folder(suite: Suite) -> PathBuf {
    crate::root().join("target/suites").join(suite.name())
}

/// What the suites need to be built.
const PACKAGES: &Packages = &[("cmake", "cmake"), ("make", "make")];

/// Runs these suites, or all; whether every test that passes on the kernel passes under the shim.
pub(crate) fn run(suites: &[Suite]) -> bool {
    let suites = if suites.is_empty() { &Suite::ALL } else { suites };
    let needed = packages::install().and_then(|()| packages::install_all(PACKAGES));
    if let Err(missing) = needed {
        println!("{missing}");
        return false;
    }
    if !run::is_root() {
        println!("this needs root (network namespaces, AF_XDP)");
        return false;
    }
    let mut jobs = Vec::new();
    for suite in suites {
        match suite.prepare() {
            Ok(version) => println!("{}: {version}", suite.name()),
            Err(why) => {
                println!("{}: {why}", suite.name());
                return false;
            }
        }
        jobs.extend(suite.jobs());
    }
    let all = run_all(jobs);
    compare::table(&all);
    all.iter().all(Compared::holds)
}

/// The part that `cargo xtask test` runs; a line `test result: …` for `each`. Why it does not run here is no failure.
pub(crate) fn short(each: &mut dyn FnMut(&str)) -> Result<bool, String> {
    if !run::is_root() {
        return Err("not run, it needs root (network namespaces, AF_XDP)".to_owned());
    }
    println!("{}", Suite::Cpython.prepare()?);
    let all = run_all(cpython::short());
    compare::table(&all);
    let failed: usize = all.iter().map(Compared::failures).sum();
    let passed: usize = all.iter().map(Compared::passed).sum();
    each(&format!("test result: suites. {passed} passed; {failed} failed"));
    Ok(all.iter().all(Compared::holds))
}

/// Runs jobs, several at a time; what became of them, in their order.
fn run_all(jobs: Vec<Job>) -> Vec<Compared> {
    lab::product();
    let count = jobs.len();
    let waiting = Mutex::new(jobs.into_iter().enumerate().collect::<Vec<_>>());
    let done = Mutex::new(Vec::new());
    let next = || {
        let mut waiting = waiting.lock().unwrap_or_else(|e| e.into_inner());
        (!waiting.is_empty()).then(|| waiting.remove(0))
    };
    let lane = || {
        while let Some((at, job)) = next() {
            let compared = compare::run(job);
            println!("{}", compared.line());
            done.lock().unwrap_or_else(|e| e.into_inner()).push((at, compared));
        }
    };
    thread::scope(|scope| (0..LANES.min(count)).for_each(|_| drop(scope.spawn(lane))));
    let mut done = done.into_inner().unwrap_or_else(|e| e.into_inner());
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, compared)| compared).collect()
}
