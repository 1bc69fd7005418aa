//! NICs in the place of a cable: a machine that has two on one wire names them in `LAB_NICS`.

use std::path::Path;

use crate::namespace::ip;
use crate::program::Outcome;

/// The variable that names them, a space between.
const NICS: &str = "LAB_NICS";

/// The machine's two NICs, in two network namespaces until this is dropped.
#[derive(Debug)]
pub struct Nics {
    /// The NIC's own name; the namespace it is in, and its name there.
    lent: Vec<(String, String, String)>,
}

impl Nics {
    /// Whether this machine names some.
    #[must_use]
    pub fn are_given() -> bool {
        std::env::var_os(NICS).is_some()
    }

    /// Moves one NIC into each of two namespaces, where it gets the name that goes with it. `None` when this machine
    /// names none, and while they are lent already.
    ///
    /// # Panics
    /// When they cannot be moved.
    #[must_use]
    pub fn lend(ends: [(&str, &str); 2]) -> Option<Self> {
        let names = std::env::var(NICS).ok()?;
        let names: Vec<&str> = names.split_whitespace().collect();
        let here = |name: &&str| Path::new("/sys/class/net").join(name).exists();
        if names.len() != ends.len() || !names.iter().all(here) {
            return None;
        }
        let mut nics = Self { lent: Vec::new() };
        for (own, (namespace, name)) in names.into_iter().zip(ends) {
            ip(&["link", "set", own, "down"]);
            ip(&["link", "set", own, "netns", namespace]);
            nics.lent.push((own.to_owned(), namespace.to_owned(), name.to_owned()));
            ip(&["-n", namespace, "link", "set", own, "name", name]);
        }
        Some(nics)
    }
}

impl Drop for Nics {
    fn drop(&mut self) {
        for (own, namespace, name) in &self.lent {
            let within = |words: &[&str]| {
                let all = [&["-n", namespace, "link", "set"], words].concat();
                let _ = Outcome::of(std::process::Command::new("ip").args(all));
            };
            within(&[name, "down"]);
            within(&[name, "name", own]);
            // The namespace of the machine's first process.
            within(&[own, "netns", "1"]);
        }
    }
}
