//! What a port is to be: how many stacks it is for, and how many descriptors that takes.

use af_xdp::{Interface, Options, Port, PortParts, RingSizes, SetupError, Slot};

/// Sockets of a port at the most, so that numbers are left for the application where its limit is 1024.
const SOCKETS: u32 = 112;
/// The same for who wants more than [`FEW`] processes, and has a higher limit.
const MANY_SOCKETS: u32 = 4096;
const FEW: u8 = 60;
/// Slots in the rx ring of each, when there are several: one that does not read holds so many frames at the most.
const RX_RING: u32 = 1024;
/// Descriptors of an interface beside its queues': the steering program's link and maps, and a packet socket.
const INTERFACE: u64 = 15;
/// For each stack, beside its sockets: the ends of its box for letters, its bell, and what others watch it by.
const STACK: u64 = 4;
/// The port's file, its ledger and the copy of a process, the same of the rings between stacks, its policies, its eventfd
/// and its line; and what a process opens for itself: netlink, epoll, bells, the control socket.
const OTHERS: u64 = 29;

/// How large a port is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    interfaces: u64,
    queues: u32,
    /// One for each process and one for the keeper, while there are descriptors for them.
    pub(super) stacks: Slot,
}

impl Plan {
    /// Of a port for so many processes.
    pub(super) fn new(interfaces: usize, queues: u32, processes: u8) -> Self {
        let most = Slot::from(processes) + 1;
        let sockets = if processes > FEW { MANY_SOCKETS } else { SOCKETS };
        let stacks = Slot::try_from(sockets / queues.max(1)).unwrap_or(most).clamp(1, most);
        Self { interfaces: interfaces as u64, queues, stacks }
    }

    /// Of a port on these interfaces, before it is opened: that may bring queues.
    pub(super) fn on(names: &[&str], processes: u8) -> Result<Self, SetupError> {
        let queues =
            names.iter().map(|name| Ok(Interface::find(name)?.queues)).sum::<Result<_, SetupError>>()?;
        Ok(Self::new(names.len(), queues, processes))
    }

    /// Of one that was opened.
    pub(super) fn opened(interfaces: usize, port: &Port) -> Self {
        Self { interfaces: interfaces as u64, queues: port.queues(), stacks: port.stacks() }
    }

    /// Of one that is there.
    pub(super) fn of(parts: &PortParts) -> Self {
        let queues = parts.interfaces.iter().map(|part| part.interface.queues).sum();
        Self { interfaces: parts.interfaces.len() as u64, queues, stacks: parts.stacks() }
    }

    /// How to open it.
    pub(super) fn options(&self) -> Options {
        let rx = if self.stacks > 1 { RX_RING } else { RingSizes::default().rx };
        let rings = RingSizes { rx, ..RingSizes::default() };
        let sockets = if self.stacks > Slot::from(FEW) + 1 { MANY_SOCKETS } else { SOCKETS };
        Options { stacks: self.stacks, sockets, rings, ..Options::default() }
    }

    /// Descriptors of the port, and those of a process that drives it: copies of the interfaces' and of its own sockets,
    /// the same of a slot that it buries meanwhile, and its own.
    pub(super) fn descriptors(&self) -> u64 {
        let (stacks, queues) = (u64::from(self.stacks), u64::from(self.queues));
        3 * INTERFACE * self.interfaces + stacks * (queues + STACK) + 2 * queues + OTHERS
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
        Plan::new(1, queues, processes).stacks
    }

    #[test]
    fn stacks_for_the_processes_and_the_keeper_while_there_are_descriptors() {
        assert_eq!([stacks(1, 16), stacks(4, 16), stacks(1, 60)], [17, 17, 61]);
        assert_eq!([stacks(1, 250), stacks(16, 250), stacks(32, 250)], [251, 251, 128]);
        assert_eq!([stacks(16, 16), stacks(64, 16), stacks(200, 16), stacks(0, 1)], [7, 1, 1, 2]);
    }

    /// The port's own, those of the slot that is driven, those of a slot that is buried.
    #[test]
    fn a_process_that_buries_has_three_sets_of_the_interfaces() {
        let plan = Plan { interfaces: 2, queues: 3, stacks: 5 };
        assert_eq!(plan.descriptors(), 3 * 2 * INTERFACE + (5 + 1 + 1) * 3 + 5 * STACK + OTHERS);
    }

    /// Most programs may open 1024 files.
    #[test]
    fn whatever_is_asked_for_leaves_numbers_for_the_application() {
        for interfaces in [1, 2, 4] {
            let most = (interfaces..=64)
                .map(|queues| Plan::new(interfaces as usize, queues, 60).descriptors())
                .max();
            assert!(most < Some(500), "{interfaces} interfaces: {most:?}");
        }
        assert!(Plan::new(1, 1, 60).descriptors() > Plan::new(1, 1, 16).descriptors());
    }
}
