//! VLANs on driven interfaces: driven with them, where their tags can be seen.

use std::io;
use std::sync::Once;

use af_xdp::Interface;
use netlink_packet_route::RouteNetlinkMessage;
use stack::types::{IfaceId, MAX_IFACES};

use super::Driven;
use super::channel::{Dumps, Table};
use super::facts;
use super::mirror::Mirror;
use crate::log;

/// Takes a VLAN among those that are driven, when it is heard of first: its addresses are told after that. `mirror` knows
/// the interface that it is on. `places`: of interfaces that the stack has left, since it gives none twice.
pub(super) fn learn(
    message: &RouteNetlinkMessage,
    driven: &mut Vec<Driven>,
    mirror: &Mirror,
    places: &mut usize,
) {
    let RouteNetlinkMessage::NewLink(message) = message else { return };
    let link = facts::link(message);
    let Some((parent, id)) = link.vlan else { return };
    let iface = IfaceId(link.index);
    let Some(of) = driven.iter().find(|d| d.iface == parent && d.vlan.is_none()).copied() else { return };
    // One that was named has AF_XDP sockets of its own.
    let known = mirror.name_of(iface).is_some() || driven.iter().any(|d| d.iface == iface);
    if known || !of.sees_tags || mirror.name_of(parent).is_none_or(Interface::takes_tags) {
        return;
    }
    let Some(left) = places.checked_sub(1) else {
        // It is told of again at every change of the link.
        static TOLD: Once = Once::new();
        let name = &link.name;
        TOLD.call_once(|| {
            log::tell(format_args!(
                "{name} and VLANs after it stay with the kernel: a stack tells {MAX_IFACES} interfaces apart, in all its time"
            ));
        });
        return;
    };
    *places = left;
    driven.retain(|d| d.vlan != Some((parent, id)));
    driven.push(Driven { iface, vlan: Some((parent, id)), ..of });
}

/// Puts the interfaces that others are on in front, whatever their numbers.
pub(super) fn after_their_parents(links: &mut [RouteNetlinkMessage]) {
    links.sort_by_key(
        |message| matches!(message, RouteNetlinkMessage::NewLink(link) if facts::link(link).vlan.is_some()),
    );
}

/// The VLANs with addresses on the interfaces named that stay the kernel's, since their tags are taken off before they
/// could be seen: what to say of each. `behind`: the interfaces are driven behind their drivers, where no tag is seen.
///
/// # Errors
/// The operating system's, from netlink.
pub(crate) fn hidden(named: &[String], behind: bool) -> io::Result<Vec<String>> {
    let (mut dumps, mut mirror) = (Dumps::open()?, Mirror::default());
    for table in [Table::Links, Table::Addresses] {
        for message in dumps.all(table)? {
            mirror.apply(&message, &[], &mut Vec::new());
        }
    }
    let mut lines = Vec::new();
    for (link, addresses) in mirror.interfaces() {
        let Some(parent) = link.vlan.and_then(|(parent, _)| mirror.name_of(parent)) else { continue };
        let is_named = |name: &str| named.iter().any(|n| n == name);
        let vlan = link.name.as_str();
        if addresses.is_empty() || !is_named(parent) || is_named(vlan) {
            continue;
        }
        if behind {
            lines.push(format!(
                "{vlan} stays with the kernel: the backend packet sees no VLAN tags. Name {vlan} itself"
            ));
        } else if Interface::takes_tags(parent) {
            lines.push(format!(
                "{vlan} stays with the kernel: {parent} takes VLAN tags off frames before they are seen here. \
                 `ethtool -K {parent} rxvlan off` leaves them (on veth, with txvlan off at the other end); \
                 or name {vlan} itself"
            ));
        }
    }
    Ok(lines)
}
