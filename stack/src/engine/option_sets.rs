//! Sets of socket options. Most sockets of a program choose alike, so equal sets are kept once: a connection
//! costs a pointer to its set, not the set.

use std::sync::Arc;

use crate::config::Config;
use crate::socket::Result;
use crate::socket::stored::Stored;

/// Sets made lately that a new one is compared with. A program has few kinds of sockets.
const RECENT: usize = 8;

/// The sets that new ones are compared with.
#[derive(Debug)]
pub(super) struct OptionSets {
    defaults: Arc<Stored>,
    recent: [Arc<Stored>; RECENT],
    /// The place that the next new set takes.
    next: usize,
}

impl OptionSets {
    pub(super) fn new(config: &Config) -> Self {
        let defaults = Arc::new(Stored::new(config));
        Self { recent: core::array::from_fn(|_| Arc::clone(&defaults)), defaults, next: 0 }
    }

    /// What a socket begins with.
    pub(super) fn defaults(&self) -> Arc<Stored> {
        Arc::clone(&self.defaults)
    }

    /// Changes the set of one socket; others that share it keep theirs.
    ///
    /// # Errors
    /// Those of `change`; nothing is changed then.
    pub(super) fn change(
        &mut self,
        set: &mut Arc<Stored>,
        change: impl FnOnce(&mut Stored) -> Result<()>,
    ) -> Result<()> {
        let mut changed = Stored::clone(set);
        change(&mut changed)?;
        if changed != **set {
            *set = self.shared(changed);
        }
        Ok(())
    }

    /// The set that is equal to one that came from elsewhere.
    pub(super) fn same_as(&mut self, set: &Stored) -> Arc<Stored> {
        self.shared(set.clone())
    }

    fn shared(&mut self, set: Stored) -> Arc<Stored> {
        let known = self.recent.iter().chain([&self.defaults]).find(|known| ***known == set);
        if let Some(known) = known {
            return Arc::clone(known);
        }
        let new = Arc::new(set);
        self.recent[self.next] = Arc::clone(&new);
        self.next = (self.next + 1) % RECENT;
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::SocketError;

    fn nodelay(sets: &mut OptionSets, set: &mut Arc<Stored>, on: bool) {
        sets.change(set, |options| {
            options.tcp.nodelay = on;
            Ok(())
        })
        .unwrap();
    }

    #[test]
    fn sockets_that_choose_alike_share_a_set_and_others_do_not() {
        let mut sets = OptionSets::new(&Config::default());
        let (mut a, mut b, c) = (sets.defaults(), sets.defaults(), sets.defaults());
        nodelay(&mut sets, &mut a, true);
        nodelay(&mut sets, &mut b, true);
        assert!(Arc::ptr_eq(&a, &b));
        assert!(a.tcp.nodelay && !c.tcp.nodelay);
        nodelay(&mut sets, &mut a, false);
        assert!(Arc::ptr_eq(&a, &c));
        assert!(b.tcp.nodelay);
    }

    #[test]
    fn a_refused_change_changes_nothing() {
        let mut sets = OptionSets::new(&Config::default());
        let mut set = sets.defaults();
        let refused = sets.change(&mut set, |options| {
            options.ttl = 1;
            Err(SocketError::Invalid)
        });
        assert_eq!((refused, set.ttl), (Err(SocketError::Invalid), 64));
    }
}
