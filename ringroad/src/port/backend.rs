//! By which backend a port is opened, and why.

use std::time::{Duration, Instant};

use af_xdp::{Limits, Options, Port, SetupError, Step, XdpMode};
use nic::Pool;

use crate::config::{Backend, Config};
use crate::error::StartError;
use crate::log;

use super::plan::Plan;

/// How long what is in use is tried again, and how often: the kernel ends the sockets of a keeper that goes one by one,
/// and waits for its readers each time.
const ENDING: Duration = Duration::from_secs(2);
const AGAIN: Duration = Duration::from_millis(5);

/// What is opened, and by what wishes.
pub(super) struct Opening<'a> {
    pub(super) config: &'a Config,
    pub(super) names: &'a [&'a str],
    pub(super) limits: &'a Limits,
}

impl Opening<'_> {
    /// Opens the interfaces by the backend that is asked for; says why it is that one.
    ///
    /// # Errors
    /// One line: the step, the reason, and which backend works instead, if one does.
    pub(super) fn open(&self, pool: &mut Pool) -> Result<(Port, String), StartError> {
        let failed = |e: &SetupError| StartError::new(self.step(), e);
        match self.config.backend {
            Backend::Auto => match self.attempt(pool, Backend::AfXdp) {
                Ok(port) => Ok((port, "auto: AF_XDP can be had".into())),
                Err(error) if !may_differ(&error) => Err(failed(&error)),
                Err(error) => {
                    let Ok(port) = self.attempt(pool, Backend::Packet) else { return Err(failed(&error)) };
                    let why = format!("auto: AF_XDP cannot be had: {error}");
                    log::tell(format_args!("{}: by the backend packet; {why}", self.step()));
                    Ok((port, why))
                }
            },
            wanted => match self.attempt(pool, wanted) {
                Ok(port) => Ok((port, "asked for".into())),
                Err(error) if !may_differ(&error) => Err(failed(&error)),
                Err(error) => {
                    let other = if wanted == Backend::Packet { Backend::AfXdp } else { Backend::Packet };
                    let works = self.attempt(pool, other).is_ok();
                    let remedy = format!("--backend {} works here", other.name());
                    Err(if works { failed(&error).remedy(remedy) } else { failed(&error) })
                }
            },
        }
    }

    fn step(&self) -> String {
        format!("opening {}", self.names.join(", "))
    }

    /// Opens by one backend. A process that ends, a keeper that was asked to go, holds the interfaces for a moment still.
    fn attempt(&self, pool: &mut Pool, backend: Backend) -> Result<Port, SetupError> {
        let behind = backend == Backend::Packet;
        let plan = if behind {
            Plan::new(self.names.len(), self.names.len() as u32, self.config.processes)
        } else {
            Plan::on(self.names, self.config.processes)?
        };
        let xdp = behind.then_some(XdpMode::Tc);
        let options = Options { xdp, offload: self.config.offload, ..plan.options() };
        let until = Instant::now() + ENDING;
        loop {
            match Port::open_within(pool, self.names, &options, self.limits) {
                Err(e) if e.source.raw_os_error() == Some(libc::EBUSY) && Instant::now() < until => {
                    std::thread::sleep(AGAIN);
                }
                result => return result,
            }
        }
    }
}

/// Whether another backend may have what this one has not: what is missing is neither the interface nor privilege, and
/// no other port has it.
fn may_differ(error: &SetupError) -> bool {
    if error.is_taken() {
        return false;
    }
    match (error.step, error.source.raw_os_error()) {
        (_, Some(libc::ENODEV | libc::ENETDOWN | libc::EPERM)) => false,
        (Step::Interface, errno) => errno == Some(libc::EOPNOTSUPP),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_a_missing_interface_nor_missing_privilege_is_mended_by_another_backend() {
        let differs = |step, errno| {
            let source = std::io::Error::from_raw_os_error(errno);
            may_differ(&SetupError { step, interface: None, source, advice: String::new() })
        };
        assert!(differs(Step::Socket, libc::EAFNOSUPPORT) && differs(Step::Attach, libc::EBUSY));
        assert!(differs(Step::Interface, libc::EOPNOTSUPP), "too many queues");
        assert!(!differs(Step::Interface, libc::ENODEV) && !differs(Step::Load, libc::EPERM));
        assert!(!differs(Step::Bind, libc::ENETDOWN) && !differs(Step::Interface, libc::EIO));
    }
}
