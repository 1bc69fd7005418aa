//! Those who look on at the stack of this process.

use stack::engine::{Tap, TapId};
use stack::types::IfaceId;

use super::Runtime;

impl Runtime {
    /// The interfaces that the stack drives, with their names.
    pub(crate) fn roads(&self) -> Vec<(IfaceId, String)> {
        let ids: Vec<IfaceId> = self.lock_quietly().core().links.iter().map(|link| link.iface).collect();
        // A row a queue; each has a first one.
        let names = self.interfaces.iter().filter(|row| row.queue == 0).map(|row| row.name.clone());
        ids.into_iter().zip(names).collect()
    }

    /// Has somebody look on.
    pub(crate) fn tap(&self, tap: Box<dyn Tap>) -> TapId {
        self.lock_quietly().stack().tap(tap)
    }

    /// No longer. Drop what comes back where time matters less.
    pub(crate) fn untap(&self, id: TapId) -> Option<Box<dyn Tap>> {
        self.lock_quietly().stack().untap(id)
    }
}
