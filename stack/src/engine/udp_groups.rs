//! Groups: who has joined what, what is steered here for it, and one datagram for many sockets.

use core::net::{IpAddr, SocketAddr};

use super::Stack;
use super::datagram::Datagram;
use super::entry::{Body, Entry};
use super::family::{ANY_V4, ANY_V6};
use crate::error::SocketError;
use crate::ip::input::Reason;
use crate::socket::Result;
use crate::types::{IfaceId, LocalKey, Protocol, SocketId, scope_id};
use crate::udp::{Change, Waiting};

/// Sockets that get a copy of one datagram at the most, and sockets that are looked at for them.
pub(super) const HEARERS: usize = 64;
const LOOKED_AT: usize = 256;

impl Stack {
    /// The kernel's socket has joined or left a group on `iface`, or changed whom it hears there: the stack does as
    /// it did.
    ///
    /// # Errors
    /// `BadSocket`; `Invalid` for a stream; `NoBuffers` when this mirror has no room for it: the group is the
    /// kernel's then.
    pub fn change_group(
        &mut self,
        id: SocketId,
        group: IpAddr,
        iface: IfaceId,
        change: Change,
    ) -> Result<()> {
        let Body::Datagram(datagram) = &mut self.owned_mut(id)?.body else {
            return Err(SocketError::Invalid);
        };
        let groups = &mut datagram.extra().groups;
        let before = groups.contains(group);
        let taken = groups.apply(group, iface, change);
        let after = groups.contains(group);
        let end = datagram.bound.and_then(|bound| group_end(bound.ip(), bound.port(), group));
        match end {
            Some(end) if !before && after => self.steer_port(id, end),
            Some(end) if before && !after => self.unsteer_port(id, end),
            _ => {}
        }
        if taken { Ok(()) } else { Err(SocketError::NoBuffers) }
    }

    /// Whether the stack drives this interface.
    pub fn drives(&self, iface: IfaceId) -> bool {
        self.core.out.control.port(iface).is_some()
    }

    /// The interface of the stack's that has this address.
    pub fn iface_with(&self, address: IpAddr) -> Option<IfaceId> {
        let control = &self.core.out.control;
        control.ifaces().iter().map(|i| i.id).find(|id| control.has_address(*id, address))
    }

    /// The interface of the stack's that packets to `remote` leave by; none when it is another's.
    pub fn iface_towards(&self, remote: SocketAddr) -> Option<IfaceId> {
        let control = &self.core.out.control;
        let hop = control.route(remote.ip(), scope_id(&remote)).filter(|hop| !hop.home)?;
        Some(control.ifaces()[usize::from(hop.port)].id)
    }

    /// IP_MULTICAST_IF: the interface that datagrams to groups leave by.
    ///
    /// # Errors
    /// `BadSocket`; `Invalid` for a stream.
    pub fn set_group_iface(&mut self, id: SocketId, iface: Option<IfaceId>) -> Result<()> {
        let Body::Datagram(datagram) = &mut self.owned_mut(id)?.body else {
            return Err(SocketError::Invalid);
        };
        if iface.is_some() || datagram.extra.is_some() {
            datagram.extra().group_iface = iface;
        }
        Ok(())
    }

    /// Steers (or no longer) the groups of a socket, at the port it is bound to.
    pub(super) fn steer_groups(&mut self, id: SocketId, on: bool) {
        let Some(Entry { body: Body::Datagram(datagram), .. }) = self.table.get(id) else { return };
        let (Some(bound), Some(extra)) = (datagram.bound, &datagram.extra) else { return };
        let mut groups: Vec<IpAddr> = extra.groups.iter().collect();
        groups.sort_unstable();
        groups.dedup();
        for end in groups.into_iter().filter_map(|g| group_end(bound.ip(), bound.port(), g)) {
            if on {
                self.steer_port(id, end);
            } else {
                self.unsteer_port(id, end);
            }
        }
    }

    /// A datagram to a group: a copy for every socket that hears it, within bounds. False when there is none.
    pub(super) fn deliver_to_group(&mut self, waiting: Waiting) -> Option<Waiting> {
        let mut hearers = core::mem::take(&mut self.hearers);
        self.find_hearers(&waiting, &mut hearers);
        let mut rest = Some(waiting);
        while let Some(id) = hearers.pop() {
            let Some(waiting) = rest.take() else { break };
            if hearers.is_empty() {
                self.deliver_datagram(id, waiting);
                break;
            }
            let copy = if self.core.is_exhausted() { None } else { waiting.twin(&mut self.core.pool) };
            match copy {
                Some(copy) => self.deliver_datagram(id, copy),
                None => self.count_drop(Reason::NoFrames),
            }
            rest = Some(waiting);
        }
        self.hearers = hearers;
        rest
    }

    fn find_hearers(&self, waiting: &Waiting, hearers: &mut Vec<SocketId>) {
        hearers.clear();
        let (address, port) = (waiting.local.ip(), waiting.local.port());
        // IPv6 sockets hear IPv4 too, unless they chose not to.
        let ends = match address {
            IpAddr::V4(_) => [Some(address), Some(ANY_V4), Some(ANY_V6)],
            IpAddr::V6(_) => [Some(address), Some(ANY_V6), None],
        };
        for address in ends.into_iter().flatten() {
            let end = LocalKey { protocol: Protocol::Udp, address, port };
            for id in self.crowds.all(&end).iter().take(LOOKED_AT) {
                let Some(entry) = self.table.get(*id) else { continue };
                if hears(entry, waiting) && entry.speaks(waiting.remote).is_ok() && hearers.len() < HEARERS {
                    hearers.push(*id);
                }
            }
        }
    }
}

/// The end at which a socket bound to `address` and `port` hears `group`; none when it does not.
fn group_end(address: IpAddr, port: u16, group: IpAddr) -> Option<LocalKey> {
    let hears = address.is_unspecified() || address == group;
    hears.then_some(LocalKey { protocol: Protocol::Udp, address: group, port })
}

/// Whether a socket hears a datagram to a group (Linux: `__udp_is_mcast_sock`).
fn hears(entry: &Entry, waiting: &Waiting) -> bool {
    let Body::Datagram(datagram) = &entry.body else { return false };
    let Datagram { bound, remote, settings, extra, .. } = datagram;
    // One that was narrowed to an address by `connect` hears that address only.
    let open = *bound == entry.local() && remote.is_none_or(|r| r == waiting.remote);
    let (group, source) = (waiting.local.ip(), waiting.remote.ip());
    let all = if group.is_ipv4() { settings.group_all } else { settings.group_all6 };
    open && (!group.is_multicast()
        || match extra {
            Some(extra) => extra.groups.hears(group, waiting.iface, source, all),
            None => all,
        })
}
