//! Why something could not be set up.

use std::fmt;
use std::io;

/// A step of the set-up that failed: which, why, and what to do about it. One line when displayed.
#[derive(Debug)]
pub struct StartError {
    /// What was being done, in words: "opening veth0".
    pub step: String,
    /// Why it failed.
    pub reason: String,
    /// What the user can do; empty when there is nothing to say.
    pub remedy: String,
    /// The process that drives the port already, when that is the reason.
    pub driven_by: Option<u32>,
}

impl StartError {
    /// A failed step with its reason.
    pub fn new(step: impl Into<String>, reason: impl fmt::Display) -> Self {
        Self { step: step.into(), reason: reason.to_string(), remedy: String::new(), driven_by: None }
    }

    /// Other live processes drive the port, one of them `pid`, and there is no place for more.
    pub(crate) fn busy(pid: u32) -> Self {
        let reason = format!("process {pid} and as many as may drive it already");
        let error = Self::new("joining the port", reason).remedy("RINGROAD_PROCESSES sets how many");
        Self { driven_by: Some(pid), ..error }
    }

    /// The same, and what to do.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = remedy.into();
        self
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.step, self.reason)?;
        if !self.remedy.is_empty() {
            write!(f, " ({})", self.remedy)?;
        }
        Ok(())
    }
}

impl std::error::Error for StartError {}

impl From<StartError> for io::Error {
    fn from(e: StartError) -> Self {
        io::Error::other(e)
    }
}
