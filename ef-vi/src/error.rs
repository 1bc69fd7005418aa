//! Why an adapter cannot be driven: the step, the reason, and what to do.

use std::fmt;
use std::io;

/// What was being done when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Building Ringroad with ef_vi.
    Build,
    /// Opening the library.
    Library,
    /// Opening the driver.
    Driver,
    /// Finding the adapter of the interface: a protection domain.
    Domain,
    /// Allocating event queue and rings: a virtual interface.
    Vi,
    /// Registering the frames.
    Memory,
    /// Adding or removing a filter.
    Filter,
    /// Making what wakes a sleeper.
    Bell,
}

impl Step {
    fn words(self) -> &'static str {
        match self {
            Self::Build => "looking for ef_vi",
            Self::Library => "opening the library of ef_vi",
            Self::Driver => "opening the driver of ef_vi",
            Self::Domain => "looking for the adapter",
            Self::Vi => "allocating a virtual interface",
            Self::Memory => "registering the frames",
            Self::Filter => "setting a filter",
            Self::Bell => "making an event descriptor",
        }
    }

    fn advice(self, errno: i32) -> &'static str {
        match (self, errno) {
            (Self::Driver, libc::ENOENT | libc::ENODEV | libc::ENXIO) => {
                "the driver's modules are not loaded: onload_tool reload"
            }
            (Self::Driver | Self::Domain | Self::Vi, libc::EPERM | libc::EACCES) => {
                "run as root, or as one whom the driver lets (/dev/sfc_char)"
            }
            (Self::Domain, libc::ENODEV | libc::ENOENT) => {
                "there is no such interface here, or it is not one of an adapter that ef_vi drives"
            }
            (Self::Vi, libc::EINVAL) => "the adapter may not have rings of that size: leave it to its choice",
            (Self::Vi, libc::EBUSY | libc::ENOSPC) => "all virtual interfaces of the adapter are taken",
            (Self::Memory, libc::ENOMEM | libc::ENOSPC) => "fewer frames, or a higher limit: ulimit -l",
            (Self::Filter, libc::EBUSY | libc::ENOSPC | libc::EEXIST) => {
                "the adapter has no room for it, or another application has the same"
            }
            (Self::Filter, libc::EPROTONOSUPPORT) => {
                "the adapter filters TCP and UDP by address and port only"
            }
            _ => "",
        }
    }
}

/// Setting up failed. `Display` is one line: interface, step, reason, advice.
#[derive(Debug)]
pub struct Error {
    /// What was being done.
    pub step: Step,
    /// The interface, when one was concerned.
    pub interface: Option<String>,
    /// Why it failed.
    pub source: io::Error,
    /// What to do about it; empty when the reason says it all.
    pub advice: String,
}

impl Error {
    pub(crate) fn new(step: Step, source: io::Error) -> Self {
        let advice = step.advice(source.raw_os_error().unwrap_or(0)).to_owned();
        Self { step, interface: None, source, advice }
    }

    /// A reason of our own finding.
    pub(crate) fn found(step: Step, reason: impl Into<String>, advice: &str) -> Self {
        let source = io::Error::other(reason.into());
        Self { step, interface: None, source, advice: advice.to_owned() }
    }

    /// This was built without the headers of ef_vi.
    #[cfg(any(not(ef_vi), test))]
    pub(crate) fn absent(interface: &str) -> Self {
        let advice =
            "install the vendor's development package (etherfabric/ef_vi.h) and build again, or take af-xdp";
        Self::found(Step::Build, "this was built without it", advice).on(interface)
    }

    pub(crate) fn on(mut self, interface: &str) -> Self {
        self.interface = Some(interface.to_owned());
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(interface) = &self.interface {
            write!(f, "{interface}: ")?;
        }
        write!(f, "{}: {}", self.step.words(), self.source)?;
        if !self.advice.is_empty() {
            write!(f, ": {}", self.advice)?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_says_so_in_one_line() {
        let error = Error::absent("eth0").to_string();
        assert!(error.starts_with("eth0: looking for ef_vi: this was built without it: install"), "{error}");
    }

    #[test]
    fn an_error_is_one_line_with_step_and_advice() {
        let error = Error::new(Step::Domain, io::Error::from_raw_os_error(libc::ENODEV)).on("eth7");
        assert_eq!(
            error.to_string(),
            "eth7: looking for the adapter: No such device (os error 19): there is no such interface here, or it \
             is not one of an adapter that ef_vi drives"
        );
    }
}
