//! What a port is to be: how many stacks it is for, and how many descriptors that takes.

use af_xdp::{Interface, Options, Port, PortParts, RingSizes, SetupError, Slot};

/// Processes of a port whose sockets are all made with it, and of one whose keeper makes them, unless the user says.
pub(crate) const PROCESSES: u8 = 16;
const PROCESSES_LATER: u8 = 250;
/// Sockets of a port at the most, so that numbers are left for the application where its limit is 1024.
const SOCKETS: u32 = 112;
/// The same for who wants more than [`FEW`] processes, and has a higher limit.
const MANY_SOCKETS: u32 = 4096;
const FEW: u8 = 60;
/// Slots in the rx ring of each, when there are several: one that does not read holds so many frames at the most.
const RX_RING: u32 = 1024;
/// Descriptors of an interface beside its queues': the steering program's link and maps, and a packet socket.
const INTERFACE: u64 = 16;
/// Stacks that live at a time, for which numbers are kept: others watch each by a descriptor. Where there are more, those
/// get such numbers as there are.
const WATCHED: u64 = 60;
/// The port's file, its ledger and the copy of a process, the same of the rings between stacks, its policies and what they were
/// compiled to, its eventfd, its line, its desk and the keeper's box; and what a process opens for itself: netlink, epoll,
/// bells, its box, the control socket.
const OTHERS: u64 = 35;

/// How large a port is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    interfaces: u64,
    queues: u32,
    /// One for each process and one for the keeper, while there are descriptors for them.
    pub(super) stacks: Slot,
    /// Those whose sockets are made with it.
    at_once: Slot,
}

/// When the sockets of a slot are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sockets {
    /// With the port.
    AtOnce,
    /// By the keeper, when a process takes the slot; those of the first one with the port.
    Later,
}

impl Plan {
    /// Of a port for so many processes.
    pub(super) fn new(interfaces: usize, queues: u32, processes: Option<u8>, sockets: Sockets) -> Self {
        let interfaces = interfaces as u64;
        if sockets == Sockets::Later {
            let stacks = Slot::from(processes.unwrap_or(PROCESSES_LATER)) + 1;
            return Self { interfaces, queues, stacks, at_once: 1 };
        }
        let processes = processes.unwrap_or(PROCESSES);
        let most = Slot::from(processes) + 1;
        let sockets = if processes > FEW { MANY_SOCKETS } else { SOCKETS };
        let stacks = Slot::try_from(sockets / queues.max(1)).unwrap_or(most).clamp(1, most);
        Self { interfaces, queues, stacks, at_once: stacks }
    }

    /// Of a port on these interfaces, before it is opened: that may bring queues.
    pub(super) fn on(names: &[&str], processes: Option<u8>, sockets: Sockets) -> Result<Self, SetupError> {
        let queues =
            names.iter().map(|name| Ok(Interface::find(name)?.queues)).sum::<Result<_, SetupError>>()?;
        Ok(Self::new(names.len(), queues, processes, sockets))
    }

    /// Of one that was opened.
    pub(super) fn opened(interfaces: usize, port: &Port) -> Self {
        let (stacks, at_once) = (port.stacks(), port.opened());
        Self { interfaces: interfaces as u64, queues: port.queues(), stacks, at_once }
    }

    /// Of one that is there.
    pub(super) fn of(parts: &PortParts) -> Self {
        let queues = parts.interfaces.iter().map(|part| part.interface.queues).sum();
        let at_once = if Self::sockets_of(parts) == Sockets::Later { 1 } else { parts.stacks };
        Self { interfaces: parts.interfaces.len() as u64, queues, stacks: parts.stacks, at_once }
    }

    /// When the sockets of a port that is there are made.
    pub(super) fn sockets_of(parts: &PortParts) -> Sockets {
        if parts.has_slot(parts.stacks - 1) { Sockets::AtOnce } else { Sockets::Later }
    }

    /// How to open it.
    pub(super) fn options(&self) -> Options {
        let rx = if self.stacks > 1 { RX_RING } else { RingSizes::default().rx };
        let rings = RingSizes { rx, ..RingSizes::default() };
        let sockets = if self.stacks > Slot::from(FEW) + 1 { MANY_SOCKETS } else { SOCKETS };
        Options { stacks: self.stacks, at_once: self.at_once, sockets, rings, ..Options::default() }
    }

    /// Descriptors of the port, and those of a process that drives it: copies of the interfaces' and of its own sockets,
    /// which it may have been given, the same of a slot that it buries meanwhile, and its own.
    pub(super) fn descriptors(&self) -> u64 {
        let (stacks, queues) = (u64::from(self.stacks), u64::from(self.queues));
        let made = u64::from(self.at_once) * queues;
        3 * INTERFACE * self.interfaces + stacks.min(WATCHED) + made + 4 * queues + OTHERS
    }

    /// What helps where there are fewer.
    pub(super) fn remedy(&self) -> String {
        let (most, processes) = (self.descriptors(), self.stacks.saturating_sub(1).max(1));
        format!(
            "{most} descriptors are kept for {processes} processes: raise `ulimit -n`, or lower RINGROAD_PROCESSES"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stacks(queues: u32, processes: u8) -> Slot {
        Plan::new(1, queues, Some(processes), Sockets::AtOnce).stacks
    }

    #[test]
    fn stacks_for_the_processes_and_the_keeper_while_there_are_descriptors() {
        assert_eq!([stacks(1, 16), stacks(4, 16), stacks(1, 60)], [17, 17, 61]);
        assert_eq!([stacks(1, 250), stacks(16, 250), stacks(32, 250)], [251, 251, 128]);
        assert_eq!([stacks(16, 16), stacks(64, 16), stacks(200, 16), stacks(0, 1)], [7, 1, 1, 2]);
    }

    /// Queues do not count where sockets are made later.
    #[test]
    fn stacks_whose_sockets_are_made_later_are_as_many_as_were_asked_for() {
        let plan = |queues, processes| Plan::new(1, queues, processes, Sockets::Later);
        assert_eq!([plan(1, Some(250)), plan(64, Some(250))].map(|plan| plan.stacks), [251, 251]);
        assert_eq!((plan(1, Some(1)).stacks, plan(1, None).stacks), (2, Slot::from(PROCESSES_LATER) + 1));
        assert_eq!(
            (plan(4, None).options().at_once, plan(4, None).options().stacks),
            (1, plan(4, None).stacks)
        );
    }

    /// The port's own, those of the slot that is driven, those of a slot that is buried.
    #[test]
    fn a_process_that_buries_has_three_sets_of_the_interfaces() {
        let plan = Plan { interfaces: 2, queues: 3, stacks: 5, at_once: 5 };
        assert_eq!(plan.descriptors(), 3 * 2 * INTERFACE + (5 + 2 + 2) * 3 + 5 + OTHERS);
    }

    /// Most programs may open 1024 files.
    #[test]
    fn whatever_is_asked_for_leaves_numbers_for_the_application() {
        for interfaces in [1, 2, 4] {
            let most = (interfaces..=64)
                .flat_map(|queues| {
                    [(Some(60), Sockets::AtOnce), (None, Sockets::AtOnce), (None, Sockets::Later)].map(
                        |(processes, sockets)| {
                            Plan::new(interfaces as usize, queues, processes, sockets).descriptors()
                        },
                    )
                })
                .max();
            assert!(most < Some(620), "{interfaces} interfaces: {most:?}");
        }
        let of = |processes| Plan::new(1, 1, Some(processes), Sockets::AtOnce).descriptors();
        assert!(of(60) > of(16));
    }
}
