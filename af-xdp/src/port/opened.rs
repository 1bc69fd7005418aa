//! One interface of a port, before a stack drives it.

use std::os::fd::OwnedFd;

use crate::driver::{Common, XskNic};
use crate::error::{At, SetupError, Step};
use crate::interface::Interface;
use crate::ledger::Slot;
use crate::outlet::Outlet;
use crate::packet::PacketSocket;
use crate::socket::{UmemMode, XskSocket};
use crate::steer::{Steering, XdpMode};
use crate::tap::Tap;

/// One interface, opened: the sockets of all stacks, or of one.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) interface: Interface,
    pub(super) xdp: XdpMode,
    pub(super) packet: Option<PacketSocket>,
    pub(super) sockets: Vec<(Slot, XskSocket)>,
    /// In their place, a queue for each stack.
    pub(super) taps: Vec<(Slot, OwnedFd)>,
    pub(super) steering: Option<Steering>,
}

impl Opened {
    /// What stack `slot` drives; `number`: that of the interface's first queue in the ledger.
    pub(super) fn nic(
        self,
        number: usize,
        mode: UmemMode,
        common: &Common,
    ) -> Result<(XskNic, Option<Steering>), SetupError> {
        let Self { interface, xdp, packet, sockets, taps, steering } = self;
        let lacks = |name: &str| {
            let advice = format!("there is no slot {}", common.slot);
            SetupError::found(Step::Inherit, libc::EINVAL, advice).on(name)
        };
        if matches!(xdp, XdpMode::Tc | XdpMode::Nowhere) {
            let tap = taps.into_iter().find(|(s, _)| *s == common.slot);
            let (_, tap) = tap.ok_or_else(|| lacks(&interface.name))?;
            let outlet = match (xdp, packet) {
                (XdpMode::Nowhere, _) => Outlet::tap(&tap).at(Step::Inherit)?,
                (_, Some(packet)) => Outlet::Packet(packet),
                (_, None) => return Err(lacks(&interface.name)),
            };
            let tap = Tap::new(tap, common.frame_size);
            return Ok((XskNic::behind((interface, xdp), mode, (tap, outlet), common), steering));
        }
        let sockets: Vec<_> =
            sockets.into_iter().filter(|(s, _)| *s == common.slot).map(|(_, socket)| socket).collect();
        if sockets.is_empty() {
            return Err(lacks(&interface.name));
        }
        let mut nic = XskNic::new((interface, number), xdp, mode, sockets, common);
        nic.offload(packet);
        Ok((nic, steering))
    }
}
