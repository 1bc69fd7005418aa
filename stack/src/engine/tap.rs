//! Those who look on: each frame as it came, with what became of it, and each as it leaves. Nobody does as a rule, which
//! costs a test a burst and one a frame that is sent.

use core::fmt;

use nic::RxFrame;

use super::Stack;
use crate::ip::input::Reason;
use crate::policy::Gate;
use crate::time::Instant;
use crate::types::IfaceId;

/// Which way a frame goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From an interface to a socket.
    In,
    /// From a socket to an interface.
    Out,
    /// From one socket of the stack to another. It is seen once, where it arrives.
    Home,
}

/// What became of a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdict<'p> {
    /// Why it was dropped; `None`: it was not.
    pub dropped: Option<Reason>,
    /// The table of the policy that was asked, if one was.
    pub table: Option<&'p str>,
    /// The rule that decided; `None`: none matched.
    pub rule: Option<&'p str>,
    /// The table says no, even where it only monitors.
    pub refused: bool,
    /// Its rule says yes, but its source had begun too many flows.
    pub limited: bool,
}

/// A frame that arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival<'f> {
    /// The interface; that of the address, for a frame that stays at home.
    pub iface: IfaceId,
    /// [`Way::In`] or [`Way::Home`].
    pub way: Way,
    /// All of it, link header first.
    pub frame: &'f [u8],
    /// Whether its verdict may have names.
    pub judged: bool,
}

/// Somebody who looks on. Called on the packet path: it neither waits nor allocates.
pub trait Tap: fmt::Debug + Send {
    /// A frame arrives. What is sent because of it is seen before it is [settled](Tap::settles).
    fn arrives(&mut self, arrival: &Arrival<'_>);
    /// What became of it.
    fn settles(&mut self, verdict: &Verdict<'_>);
    /// A frame leaves by an interface.
    fn leaves(&mut self, iface: IfaceId, frame: &[u8], verdict: &Verdict<'_>);
}

/// A tap, to take it off again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TapId(u64);

/// Those who look on at a stack.
#[derive(Debug, Default)]
pub(super) struct Taps {
    list: Vec<(TapId, Box<dyn Tap>)>,
    next: u64,
    /// What became of the frame in hand.
    pub(super) dropped: Option<Reason>,
}

impl Taps {
    #[inline]
    pub(super) fn is_on(&self) -> bool {
        !self.list.is_empty()
    }

    pub(super) fn arrives(&mut self, arrival: &Arrival<'_>) {
        self.dropped = None;
        self.list.iter_mut().for_each(|(_, tap)| tap.arrives(arrival));
    }

    pub(super) fn settles(&mut self, gate: &Gate) {
        let verdict = Verdict { dropped: self.dropped.take(), ..Verdict::of(gate) };
        self.list.iter_mut().for_each(|(_, tap)| tap.settles(&verdict));
    }

    #[cold]
    pub(super) fn leaves(&mut self, iface: IfaceId, frame: &[u8], gate: &Gate) {
        let verdict = Verdict::of(gate);
        self.list.iter_mut().for_each(|(_, tap)| tap.leaves(iface, frame, &verdict));
    }
}

impl<'p> Verdict<'p> {
    /// As the gate judged last.
    fn of(gate: &'p Gate) -> Self {
        let last = gate.last_judged();
        Self {
            dropped: None,
            table: last.table,
            rule: last.rule,
            refused: last.refused,
            limited: last.limited,
        }
    }
}

impl Stack {
    /// Has somebody look on at all that comes and goes, until [`Stack::untap`].
    pub fn tap(&mut self, tap: Box<dyn Tap>) -> TapId {
        let taps = &mut self.core.out.taps;
        taps.next += 1;
        let id = TapId(taps.next);
        taps.list.push((id, tap));
        id
    }

    /// Takes a tap off.
    pub fn untap(&mut self, id: TapId) -> Option<Box<dyn Tap>> {
        let list = &mut self.core.out.taps.list;
        let at = list.iter().position(|(there, _)| *there == id)?;
        Some(list.remove(at).1)
    }

    /// As `receive`, while somebody looks on.
    #[cold]
    pub(super) fn receive_seen(&mut self, now: Instant, iface: IfaceId, frame: RxFrame, burst: bool) {
        let out = &mut self.core.out;
        out.gate.forget_judged();
        let bytes = self.core.pool.bytes(&frame.pkt);
        out.taps.arrives(&Arrival { iface, way: Way::In, frame: bytes, judged: !out.gate.is_open() });
        self.receive(now, iface, frame, burst);
        let out = &mut self.core.out;
        out.taps.settles(&out.gate);
    }
}
