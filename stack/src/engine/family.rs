//! Two families and one socket: an IPv6 socket without IPV6_V6ONLY speaks IPv4 too (RFC 3493 §5.3). Here its
//! IPv4 ends are IPv4 addresses; whoever shows them to an application maps them.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use super::Stack;
use super::entry::Entry;
use crate::error::SocketError;
use crate::socket::Result;
use crate::types::{FlowKey, IfaceId, LocalKey, Protocol, SocketId, scope_id, scope_of};

pub(super) const ANY_V4: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
pub(super) const ANY_V6: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

impl Stack {
    /// Who hears what is sent to an address and port: the socket with exactly that address, else one with the
    /// unspecified address of the family, else, for IPv4, one of IPv6 that speaks both.
    #[inline]
    pub(super) fn local_socket(&self, protocol: Protocol, address: IpAddr, port: u16) -> Option<SocketId> {
        self.locals.lookup(protocol, address, port).or_else(|| {
            let key = LocalKey { protocol, address: ANY_V6, port };
            self.locals.get(&key).filter(|&id| address.is_ipv4() && self.speaks_ipv4(id))
        })
    }

    fn speaks_ipv4(&self, id: SocketId) -> bool {
        self.table.get(id).is_some_and(|entry| !entry.options.v6.only)
    }

    /// What has to be steered here for a socket with this local end to hear all it should.
    pub(super) fn steered_ends(&self, id: SocketId, key: LocalKey) -> [Option<LocalKey>; 2] {
        let both = key.address == ANY_V6 && self.speaks_ipv4(id);
        [Some(key), both.then_some(LocalKey { address: ANY_V4, ..key })]
    }

    /// Both ends of a flow to `remote` from a socket whose local end is `local`.
    pub(super) fn flow_to(
        &self,
        protocol: Protocol,
        local: Option<SocketAddr>,
        remote: SocketAddr,
    ) -> Result<FlowKey> {
        let local = local.ok_or(SocketError::Invalid)?;
        let from = match (local.ip(), remote.ip()) {
            (ANY_V4, IpAddr::V4(_)) | (ANY_V6, _) => {
                let control = &self.core.out.control;
                let hop = control.route(remote.ip(), scope_id(&remote));
                let hop = hop.ok_or(SocketError::NetworkUnreachable)?;
                hop.source.ok_or(SocketError::AddressNotAvailable)?
            }
            (from, to) if from.is_ipv4() == to.is_ipv4() => from,
            _ => return Err(SocketError::FamilyNotSupported),
        };
        let local = match from {
            IpAddr::V4(from) => SocketAddr::new(from.into(), local.port()),
            IpAddr::V6(from) => {
                // A link-local end is on the link of the other one.
                let scope = scope_of(&from, IfaceId(scope_id(&remote).max(scope_id(&local))));
                SocketAddrV6::new(from, local.port(), 0, scope).into()
            }
        };
        Ok(FlowKey { protocol, local, remote })
    }
}

impl Entry {
    /// Whether it may speak to `remote`.
    ///
    /// # Errors
    /// `NetworkUnreachable` for IPv4 where IPV6_V6ONLY is set, as in Linux.
    pub(super) fn speaks(&self, remote: SocketAddr) -> Result<()> {
        let not = self.options.v6.only && remote.is_ipv4();
        if not { Err(SocketError::NetworkUnreachable) } else { Ok(()) }
    }
}
