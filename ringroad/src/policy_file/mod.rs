//! The policy file: TOML in, a [`PolicySpec`] and its compiled [`Policy`] out, or every fault with its place.
//!
//! ```toml
//! default = "allow"                 # addresses that have no table: allow | deny
//! [[table]]
//! local = "10.77.0.1"
//! mode  = "enforce"                 # enforce | monitor (judge and count, let pass)
//! [[table.rule]]
//! name = "web"
//! direction = "in"                  # in | out | both: which way the flow begins
//! protocol  = "tcp"                 # tcp | udp | any
//! local_port = [80, 443, "8000-8099"]
//! remote = ["10.77.0.0/24"]
//! remote_port = "any"
//! action = "allow"                  # allow | deny; first match wins; no match: denied
//! ```
//!
//! `local`, `name`, `direction` and `action` must be there; what else is left out means `default = "allow"`,
//! `mode = "enforce"`, and `"any"` for the rest. A key that nobody knows is a fault.

mod explain;
mod fault;
mod read;
mod shadow;
#[cfg(test)]
mod tests;
mod value;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fmt, fs, io};

use stack::policy::{Policy, PolicySpec};

pub use explain::explain;
use fault::Source;
pub use fault::{Fault, Faults};

/// The longest policy file, in bytes.
pub const MAX_BYTES: usize = 8 << 20;

/// A policy file that was understood.
#[derive(Clone, Debug)]
pub struct PolicyFile {
    /// What it says.
    pub spec: PolicySpec,
    /// The same, compiled.
    pub policy: Arc<Policy>,
}

impl PolicyFile {
    /// Understands the text of a policy file.
    ///
    /// # Errors
    /// Every fault in it, in the order of the text.
    pub fn parse(text: &str) -> Result<Self, Faults> {
        let (spec, policy) = read::read(text)?;
        Ok(Self { spec, policy })
    }

    /// Reads the file at `path` and understands it.
    ///
    /// # Errors
    /// It cannot be read, or has faults.
    pub fn load(path: &Path) -> Result<Self, LoadError> {
        let error = |cause| LoadError { path: path.to_owned(), cause };
        let bytes = read_bounded(path).map_err(|e| error(Cause::Read(e)))?;
        let faulty = |text: &str, faults| error(Cause::Faults { text: text.to_owned(), faults });
        match std::str::from_utf8(&bytes) {
            Ok(text) => Self::parse(text).map_err(|faults| faulty(text, faults)),
            Err(e) => {
                let (valid, rest) = bytes.split_at(e.valid_up_to());
                let text = std::str::from_utf8(valid).unwrap_or_default();
                let what = format!("not UTF-8: byte {:#04x}", rest.first().copied().unwrap_or_default());
                Err(faulty(text, Faults::one(Source::new(text).fault(text.len()..text.len(), what))))
            }
        }
    }
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > MAX_BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("longer than {MAX_BYTES} bytes")));
    }
    Ok(bytes)
}

/// Why a policy file could not be loaded.
///
/// Displayed, it is one line when the file cannot be read, else two or three lines a fault: file, line, column
/// and what is wrong, then the line of the file with the place marked.
#[derive(Debug)]
pub struct LoadError {
    path: PathBuf,
    cause: Cause,
}

#[derive(Debug)]
enum Cause {
    Read(io::Error),
    Faults { text: String, faults: Faults },
}

impl LoadError {
    /// The faults, when the file could be read.
    pub fn faults(&self) -> Option<&Faults> {
        match &self.cause {
            Cause::Read(_) => None,
            Cause::Faults { faults, .. } => Some(faults),
        }
    }

    /// The first line of what is displayed: where the first fault is, and what.
    pub fn first_line(&self) -> String {
        self.to_string().lines().next().unwrap_or_default().to_owned()
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.cause {
            Cause::Read(e) => write!(f, "{path}: {e}"),
            Cause::Faults { text, faults } => f.write_str(faults.render(&path.to_string(), text).trim_end()),
        }
    }
}

impl std::error::Error for LoadError {}
