//! Interfaces: as a stack numbers them, and as a policy does that names some.

use std::sync::Arc;

use crate::types::Road;

/// How closely an entry of a policy, a name or a pattern like `eth*`, means an interface: its name does most of all, a
/// longer pattern more than a shorter one, zero is not at all. Patterns that mean one interface lie in one another, so the
/// entry that means it most closely says by which others it is meant, too: it stands for all interfaces of which that is so.
pub fn closeness(entry: &str, interface: &str) -> u8 {
    match entry.strip_suffix('*') {
        // Names have 15 bytes at the most (IFNAMSIZ).
        Some(stem) if interface.starts_with(stem) => 1 + stem.len().min(usize::from(u8::MAX) - 2) as u8,
        None if entry == interface => u8::MAX,
        _ => 0,
    }
}

/// The place of the entry that means an interface most closely; `None`: none means it.
pub fn closest<'e>(entries: impl IntoIterator<Item = &'e str>, interface: &str) -> Option<usize> {
    let near = entries.into_iter().map(|entry| closeness(entry, interface)).enumerate();
    near.filter(|(_, near)| *near > 0).max_by_key(|(_, near)| *near).map(|(at, _)| at)
}

/// An interface as a policy knows it: one that some rule or table names, or any other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Via(u8);

impl Via {
    /// One that nothing names.
    pub const OTHER: Via = Via(0);

    /// What a policy means by the entry at the place `at`, and by none that is closer.
    pub(super) const fn named(at: u8) -> Self {
        Self(at + 1)
    }

    /// Its place among all that the policy tells apart.
    pub(super) const fn index(self) -> usize {
        self.0 as usize
    }
}

/// What packets between sockets of the host travel by, whether the stack drives that interface or not.
const LOOPBACK: &str = "lo";

/// The names of a stack's interfaces, by their numbers.
#[derive(Clone, Debug, Default)]
pub struct Roads {
    names: Vec<Arc<str>>,
}

impl Roads {
    /// The name of an interface; `None`: nobody has said it.
    pub fn name(&self, road: Road) -> Option<&str> {
        if road == Road::HOME {
            return Some(LOOPBACK);
        }
        self.names.get(road.port()?).map(|name| &**name).filter(|name| !name.is_empty())
    }

    /// The interface with this number is called `name`. Whether that is news.
    pub(super) fn call(&mut self, port: usize, name: &str) -> bool {
        if self.names.get(port).is_some_and(|known| &**known == name) {
            return false;
        }
        if self.names.len() <= port {
            self.names.resize(port + 1, Arc::from(""));
        }
        self.names[port] = name.into();
        true
    }

    /// Interfaces that have numbers.
    pub(super) fn len(&self) -> usize {
        self.names.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closest_entry_is_the_name_or_the_longest_pattern() {
        let entries = ["eth*", "eth1", "eth1*", "lo", "e*"];
        let meant = |interface| closest(entries, interface).map(|at| entries[at]);
        assert_eq!(
            ["eth0", "eth1", "eth10", "lo", "eno1"].map(meant).map(Option::unwrap),
            ["eth*", "eth1", "eth1*", "lo", "e*"]
        );
        assert_eq!((meant("wlan0"), meant("lo0"), meant("")), (None, None, None));
        // An entry stands for what is meant by it and by nothing closer: by the patterns round it, and by no name.
        assert_eq!(entries.map(|entry| closeness(entry, "eth*") > 0), [true, false, false, false, true]);
    }

    #[test]
    fn names_are_known_by_number() {
        let mut roads = Roads::default();
        assert!(roads.call(1, "eth1") && !roads.call(1, "eth1") && roads.call(1, "lan"));
        assert_eq!(roads.name(Road::of_port(1)), Some("lan"));
        assert_eq!((roads.name(Road::of_port(0)), roads.name(Road::of_port(2))), (None, None));
        assert_eq!((roads.name(Road::UNKNOWN), roads.name(Road::HOME)), (None, Some("lo")));
    }
}
