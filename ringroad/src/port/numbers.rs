//! The numbers of descriptors that the application should not run into: those just below its limit, as many as a port
//! and a process that drives it need.

use std::io;
use std::os::fd::{AsFd, IntoRawFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::process::{Resource, getrlimit};

use super::plan::Plan;

/// Kept in any case.
const LEAST: u64 = 200;
/// A higher limit changes nothing: tables of descriptors are as large as the highest one.
const HIGHEST: u64 = 4096;

/// How many numbers are kept.
static KEPT: AtomicU64 = AtomicU64::new(LEAST);

/// Keeps as many as a port of this plan needs.
pub(super) fn keep_for(plan: &Plan) {
    KEPT.fetch_max(plan.descriptors(), Ordering::Relaxed);
}

/// The lowest of them.
pub(super) fn lowest() -> RawFd {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(HIGHEST);
    limit.min(HIGHEST).saturating_sub(KEPT.load(Ordering::Relaxed)).max(3) as RawFd
}

/// A duplicate at a high number that an `exec` leaves open.
pub(super) fn high(fd: impl AsFd) -> io::Result<RawFd> {
    let high = rustix::io::fcntl_dupfd_cloexec(fd, lowest())?;
    rustix::io::fcntl_setfd(&high, rustix::io::FdFlags::empty())?;
    Ok(high.into_raw_fd())
}
