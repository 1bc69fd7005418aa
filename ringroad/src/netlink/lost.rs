//! Driven interfaces that are gone. Those that can be opened again come back when somebody has done so.

use stack::control::ControlEvent;
use stack::types::IfaceId;

use super::Driven;
use super::mirror::Mirror;
use crate::log;

/// How often it is looked whether somebody has opened what is there again, before that is no longer expected.
const LOOKS: u32 = 200;

/// What whoever drives interfaces knows of them besides.
#[derive(Default)]
pub(crate) struct Reopening {
    /// Those that can be opened again, by the name that they had when the port was opened.
    pub(crate) names: Vec<(IfaceId, String)>,
    /// The interface on which the one of this name is open now.
    pub(crate) open_on: Option<OpenOn>,
}

/// Says on which interface the one of a name is open.
pub(crate) type OpenOn = Box<dyn Fn(&str) -> Option<u32> + Send>;

/// Them.
#[derive(Default)]
pub(super) struct Lost {
    reopening: Reopening,
    all: Vec<Missing>,
}

struct Missing {
    driven: Driven,
    /// None of one that does not come back.
    name: Option<String>,
    /// How often it is still to be looked, when something of its name is there.
    looks: u32,
}

impl Lost {
    pub(super) fn new(reopening: Reopening) -> Self {
        Self { reopening, all: Vec::new() }
    }

    /// Whether it can be opened again.
    pub(super) fn may_return(&self, iface: IfaceId) -> bool {
        self.reopening.names.iter().any(|(known, _)| *known == iface)
    }

    /// Takes those that are driven and that the kernel does not know away from the others: what has their number later is
    /// another interface.
    pub(super) fn gather(&mut self, driven: &mut Vec<Driven>, mirror: &Mirror) {
        let is_gone = |d: &Driven| d.vlan.is_none() && mirror.name_of(d.iface).is_none();
        for driven in driven.extract_if(.., |d| is_gone(d)) {
            let known = self.reopening.names.iter().find(|(iface, _)| *iface == driven.iface);
            let name = known.map(|(_, name)| name.clone());
            self.all.push(Missing { driven, name, looks: LOOKS });
        }
    }

    /// The first that is there again and was opened there is one of those that are driven. False when none is.
    pub(super) fn take_back(
        &mut self,
        driven: &mut Vec<Driven>,
        mirror: &Mirror,
        events: &mut Vec<ControlEvent>,
    ) -> bool {
        let Some(open_on) = &self.reopening.open_on else { return false };
        let mut back = None;
        for (at, missing) in self.all.iter_mut().enumerate() {
            let Some(name) = &missing.name else { continue };
            let Some(index) = mirror.index_of(name).filter(|_| missing.looks > 0) else { continue };
            if open_on(name) == Some(index) {
                back = Some((at, IfaceId(index)));
                break;
            }
            missing.looks -= 1;
            if missing.looks == 0 {
                log::tell(format_args!(
                    "{name} is back, but nobody could open it: it is the kernel's until a new start"
                ));
            }
        }
        let Some((at, now)) = back else { return false };
        let Missing { driven: one, name, .. } = self.all.swap_remove(at);
        let before = one.iface;
        self.reopening.names.iter_mut().filter(|(iface, _)| *iface == before).for_each(|known| known.0 = now);
        driven.push(Driven { iface: now, ..one });
        events.push(ControlEvent::IfaceBack { before, now });
        log::tell(format_args!("{} is back", name.unwrap_or_default()));
        true
    }

    /// Whether something is there that somebody should open.
    pub(super) fn awaits(&self, mirror: &Mirror) -> bool {
        self.all.iter().any(|missing| {
            let is_there = missing.name.as_ref().is_some_and(|name| mirror.index_of(name).is_some());
            is_there && missing.looks > 0
        })
    }

    /// Something changed: what nobody could open is looked at again when it is gone once more.
    pub(super) fn hope(&mut self, mirror: &Mirror) {
        for missing in &mut self.all {
            if missing.name.as_ref().is_some_and(|name| mirror.index_of(name).is_none()) {
                missing.looks = LOOKS;
            }
        }
    }
}
