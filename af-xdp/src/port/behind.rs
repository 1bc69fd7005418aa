//! Ports without AF_XDP: on the kernel's receive path, and behind a TAP device.

use std::io;
use std::sync::Arc;

use nic::Pool;

use super::{Opened, Options, Port, find};
use crate::error::{At, SetupError, Step};
use crate::interface::Interface;
use crate::ledger::Ledger;
use crate::packet::PacketSocket;
use crate::socket::{BindMode, UmemMode};
use crate::steer::{Limits, Steering, XdpMode};
use crate::tap;

/// Of what comes by a TAP: the kernel copies, and frames are as long as they are.
const WHOLE: UmemMode = UmemMode { bind: BindMode::Copy, multi_buffer: true, tx_metadata: false };

impl Port {
    /// The same on the kernel's receive path.
    pub(super) fn open_behind(
        pool: &mut Pool,
        interfaces: Vec<Interface>,
        options: &Options,
        limits: &Limits,
    ) -> Result<Self, SetupError> {
        let ledger = Arc::new(Ledger::new(pool.frames(), 0).at(Step::Umem)?);
        let stacks = options.stacks_on(&interfaces);
        let mut opened = Vec::new();
        for interface in interfaces {
            let packet = PacketSocket::open(interface.index, false).at(Step::Packet);
            let packet = Some(packet.map_err(|e| e.on(&interface.name))?);
            let (steering, taps) = Steering::open_behind(&interface, stacks, limits)?;
            let taps = (0..).zip(taps).collect();
            let (xdp, sockets, steering) = (XdpMode::Tc, Vec::new(), Some(steering));
            opened.push(Opened { interface, xdp, packet, sockets, taps, steering });
        }
        Self::of(opened, pool, ledger, (stacks, WHOLE))
    }

    /// Opens a TAP device for one stack, which stands behind it as a neighbour of this host: what the kernel sends there
    /// is for the stack, and what that sends the kernel receives. One that is not there is made, which takes privilege, and
    /// goes when nobody holds the port any more; one that is there has to be the caller's (`ip tuntap add … user …`).
    /// `ready` gives it what it needs then: whether it was made here is said.
    ///
    /// # Errors
    /// As [`Port::open`].
    pub fn open_tap(
        pool: &mut Pool,
        name: &str,
        ready: impl FnOnce(bool) -> io::Result<()>,
    ) -> Result<Self, SetupError> {
        let attempt = || {
            let (tap, is_new) = tap::join(name).at(Step::Join)?;
            ready(is_new).at(Step::Join)?;
            let options = Options { xdp: Some(XdpMode::Nowhere), ..Options::default() };
            let [interface] = <[_; 1]>::try_from(find(pool, &[name], &options)?)
                .map_err(|_| SetupError::found(Step::Interface, libc::EINVAL, "one is what it takes"))?;
            let ledger = Arc::new(Ledger::new(pool.frames(), 0).at(Step::Umem)?);
            let (xdp, taps) = (XdpMode::Nowhere, vec![(0, tap)]);
            let opened =
                vec![Opened { interface, xdp, packet: None, sockets: Vec::new(), taps, steering: None }];
            Self::of(opened, pool, ledger, (1, WHOLE))
        };
        attempt().map_err(|e| e.on(name))
    }
}
