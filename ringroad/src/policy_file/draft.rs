//! A policy file on its way to those who carry it out: read, and not compiled.

use std::path::Path;

use super::read::Understood;
use super::{Bundle, LoadError, load, rendered};

/// A policy file that was read and not compiled. A stack that is asked to carry it out compiles it anyway, and says what only
/// that finds, as two rules of one name; to do it here, too, would be for nothing.
#[derive(Debug)]
pub struct Draft {
    /// What it was made of.
    pub bundle: Bundle,
    read: Understood<()>,
}

impl Draft {
    /// Reads the file at `path` and those it names, which are sought beside it. Calls `early` with what was read before it is
    /// understood, unless that may name files.
    ///
    /// # Errors
    /// They cannot be read, or have faults that are found without compiling.
    pub fn load_telling(path: &Path, early: impl FnOnce(&Bundle)) -> Result<Self, LoadError> {
        let (read, bundle) = load(path, early, |_| Ok(()))?;
        Ok(Self { bundle, read })
    }

    /// The warnings for people, as [`PolicyFile::render_warnings`](super::PolicyFile::render_warnings) renders them.
    pub fn render_warnings(&self, name: &str) -> String {
        rendered(&self.read.warnings, name, &self.bundle.text)
    }
}
