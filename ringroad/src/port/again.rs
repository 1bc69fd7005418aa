//! Interfaces of the port that went away and are there again. The keeper opens them, for all; where there is none, whoever
//! drives the port and may.

use af_xdp::{InterfaceParts, XdpMode};

use super::{Port, claim, keeping};

impl Port {
    /// The names of the interfaces that can be opened again.
    pub(crate) fn can_be_opened_again(&self) -> Vec<String> {
        self.behind().into_iter().map(|part| part.interface.name).collect()
    }

    /// The interface on which the one of this name is open now.
    pub(crate) fn open_on(&self, name: &str) -> Option<u32> {
        self.behind().iter().find(|part| part.interface.name == name)?.open_on()
    }

    /// Opens those again that are there and are not open; of the others nothing is said.
    pub(crate) fn open_again(&self) {
        for part in self.behind() {
            match part.open_again() {
                Ok(index) => tracing::debug!(name = part.interface.name, index, "is open"),
                Err(error) => tracing::debug!(%error, "opening it again"),
            }
        }
    }

    /// As [`Port::open_on`]; it is opened before, where there is no keeper who does that.
    pub(crate) fn opened_on(&self, name: &str) -> Option<u32> {
        let stacks = self.parts().ok()?.stacks;
        let keeper = keeping::slot(stacks).and_then(|slot| claim::owner(self.header.owner(slot)));
        if !keeper.is_some_and(claim::Owner::lives) {
            self.open_again();
        }
        self.open_on(name)
    }

    fn behind(&self) -> Vec<InterfaceParts> {
        let parts = self.parts().map(|parts| parts.interfaces).unwrap_or_default();
        parts.into_iter().filter(|part| part.xdp == XdpMode::Tc).collect()
    }
}
