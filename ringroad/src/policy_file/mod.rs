//! The policy file: TOML in, a [`PolicySpec`] and its compiled [`Policy`] out, or every fault with its place.
//!
//! ```toml
//! default = "allow"                 # addresses that have no table: allow | deny
//! shadow  = ["10.0.0.9", "@office"] # whose flows are recorded in full
//! [sets]
//! office   = ["192.0.2.0/24", "2001:db8::/32"]
//! partners = { file = "partners.txt" }
//! [[table]]
//! local = "10.77.0.1"               # addresses, networks, "@set"
//! interface = "eth*"                # by which it is for these; names, or how they begin
//! mode  = "enforce"                 # enforce | monitor (judge and count, let pass)
//! cloak = true                      # nobody gets an answer whom no rule permits
//! offload = "xdp"                   # none | xdp: denied before any stack sees it
//! [[table.rule]]
//! name = "web"
//! direction = "in"                  # in | out | both: which way the flow begins
//! protocol  = "tcp"                 # tcp | udp | any (both of these) | icmp | icmpv6
//! interface = "eth1"                # by which whoever begins the flow is heard
//! local_port = [80, 443, "8000-8099"]
//! remote = ["10.77.0.0/24", "@office"]
//! remote_port = "any"
//! action = "allow"                  # allow | deny; first match wins; no match: denied
//! limit = 100                       # flows a second that may begin from one source
//! log = true                        # what it permits is told of, too
//! counter = "customers"             # a counter that rules share
//! comment = "ask Jo before closing"
//! ```
//!
//! `local`, `name`, `direction` and `action` must be there; what else is left out means `default = "allow"`,
//! `mode = "enforce"`, and `"any"` for the rest. A key that nobody knows is a fault.

mod bundle;
mod compiled;
mod diff;
mod explain;
mod fault;
mod guard;
mod icmp;
mod interfaces;
mod message;
mod places;
mod plain;
mod read;
mod rules;
mod sets;
mod shadow;
mod suggest;
#[cfg(test)]
mod tests;
mod trial;
mod value;
mod warnings;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fmt, fs, io};

use stack::policy::{Policy, PolicySpec};

pub use bundle::Bundle;
pub(crate) use compiled::{Compiled, Sealed, image_of};
pub use diff::diff;
pub use explain::{explain, explain_rule};
use fault::Source;
pub use fault::{Fault, Faults};
pub(crate) use guard::{Guarded, Tallied};
use interfaces::Interfaces;
pub use message::Message;
use read::Understood;
pub use sets::MAX_SET;
pub use suggest::Suggestion;
pub use trial::{Asked, Trial, Verdict};

/// The longest policy file, and the longest file of addresses, in bytes.
pub const MAX_BYTES: usize = 32 << 20;

/// Where the files that a policy names come from; the error says why one cannot be had.
type Files<'f> = &'f dyn Fn(&str) -> Result<String, String>;

/// A policy file that was understood.
#[derive(Clone, Debug)]
pub struct PolicyFile {
    /// What it says.
    pub spec: PolicySpec,
    /// The same, compiled.
    pub policy: Arc<Policy>,
    /// What the steering program carries out of it by itself.
    pub(crate) guard: Option<Arc<Guarded>>,
    /// What is no fault and cannot be meant.
    pub warnings: Vec<Fault>,
    /// The interfaces that tables and rules name, and where first.
    interfaces: Interfaces,
    /// What it was made of.
    pub bundle: Bundle,
}

impl PolicyFile {
    /// Understands the text of a policy file that names no others.
    ///
    /// # Errors
    /// Every fault in it, in the order of the text.
    pub fn parse(text: &str) -> Result<Self, Faults> {
        Self::from_bundle(Bundle { text: text.to_owned(), files: BTreeMap::new() })
    }

    /// Understands the text of a policy file with the files it names.
    ///
    /// # Errors
    /// Every fault in it, in the order of the text.
    pub fn from_bundle(bundle: Bundle) -> Result<Self, Faults> {
        Self::understand(bundle, true)
    }

    /// The same for who has nobody to warn.
    ///
    /// # Errors
    /// As [`PolicyFile::from_bundle`].
    pub(crate) fn without_warnings(bundle: Bundle) -> Result<Self, Faults> {
        Self::understand(bundle, false)
    }

    fn understand(bundle: Bundle, warn: bool) -> Result<Self, Faults> {
        let file = |name: &str| bundle.files.get(name).cloned().ok_or_else(|| "it is not there".to_owned());
        let understood = read::read(&bundle.text, &file, warn)?;
        Ok(Self::of(understood, bundle))
    }

    /// Reads the file at `path` and those it names, which are sought beside it, and understands them.
    ///
    /// # Errors
    /// They cannot be read, or have faults.
    pub fn load(path: &Path) -> Result<Self, LoadError> {
        let (understood, bundle) = load(path)?;
        Ok(Self::of(understood, bundle))
    }

    /// What a stack needs of it.
    pub(crate) fn compiled(&self) -> Compiled {
        Compiled { policy: Arc::clone(&self.policy), guard: self.guard.clone() }
    }

    fn of(understood: Understood, bundle: Bundle) -> Self {
        let Understood { spec, policy, guard, warnings, interfaces } = understood;
        Self { spec, policy, guard, warnings, interfaces, bundle }
    }

    /// Warns of the interfaces that tables and rules name and that are not `there`.
    pub fn warn_of_interfaces(&mut self, there: &[String]) {
        self.warnings.extend(interfaces::missing(&self.bundle.text, &self.interfaces, there));
        self.warnings.sort_by_key(|warning| (warning.line, warning.column));
    }

    /// The warnings for people, as [`Faults::render`] renders faults; empty when there are none.
    pub fn render_warnings(&self, name: &str) -> String {
        let warnings = Faults::collect(self.warnings.clone(), 0);
        warnings.map_or_else(String::new, |all| all.render(name, &self.bundle.text))
    }
}

/// Reads the file at `path` and those it names, understands them, and compiles what they say.
fn load(path: &Path) -> Result<(Understood, Bundle), LoadError> {
    let error = |cause| LoadError { path: path.to_owned(), cause };
    let bytes = read_bounded(path).map_err(|e| error(Cause::Read(e)))?;
    let faulty = |text: &str, faults| error(Cause::Faults { text: text.to_owned(), faults });
    let text = match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(e) => {
            let (valid, rest) = e.as_bytes().split_at(e.utf8_error().valid_up_to());
            let text = std::str::from_utf8(valid).unwrap_or_default();
            let what = format!("not UTF-8: byte {:#04x}", rest.first().copied().unwrap_or_default());
            let fault = Source::new(text).fault(text.len()..text.len(), what);
            return Err(faulty(text, Faults::one(fault)));
        }
    };
    let files = RefCell::new(BTreeMap::new());
    let beside = path.parent().unwrap_or(Path::new(""));
    let file = |name: &str| -> Result<String, String> {
        if let Some(known) = files.borrow().get(name) {
            return Ok(String::clone(known));
        }
        let bytes = read_bounded(&beside.join(name)).map_err(|e| e.to_string())?;
        let text = String::from_utf8(bytes).map_err(|e| e.to_string())?;
        files.borrow_mut().insert(name.to_owned(), text.clone());
        Ok(text)
    };
    match read::read(&text, &file, true) {
        Ok(understood) => Ok((understood, Bundle { text, files: files.into_inner() })),
        Err(faults) => Err(faulty(&text, faults)),
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
