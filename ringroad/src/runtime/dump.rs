//! What `ringroad dump` shows of this process. Nothing takes longer than so many rows.

use std::collections::BTreeMap;

use stack::control::Route;
use stack::control::table::Control;
use stack::time::Instant;
use stack::types::{IfaceId, LocalKey, Protocol};

use super::{Runtime, now};
use crate::control::model::DumpReport;

/// Sockets that are told of.
const SOCKETS: usize = 10_000;
/// Rows of every other table.
const ROWS: usize = 2000;

impl Runtime {
    /// Everything that can be told of the stack, within bounds.
    pub(crate) fn dump(&self) -> DumpReport {
        let stack = self.report(SOCKETS);
        let mut turn = self.lock_quietly();
        let mut dump = turn.stack().dump();
        dump.tables.extend(turn.core().wards.census());
        let known = Known::of(turn.stack().control_plane());
        let mut port_frames = BTreeMap::new();
        // All roads of a port share its memory.
        if let Some(link) = turn.core().links.first() {
            link.nic.census(&mut |name, n| _ = port_frames.insert(name.to_owned(), n));
        }
        drop(turn);
        let all: usize = dump.tables.iter().take(1).map(|(_, n)| *n).sum();
        let census = dump.frames;
        let frames = [
            ("free", census.free),
            ("elsewhere", census.nic),
            ("held", census.owned),
            ("held and being sent", census.lent),
            ("being sent", census.given),
        ];
        let due = (dump.due != Instant::NEVER).then(|| dump.due.since(now()).as_millis() as u64);
        DumpReport {
            sockets_left_out: all.saturating_sub(stack.sockets.len()) as u64,
            stack,
            frames: frames.into_iter().map(|(name, n)| (name.to_owned(), n.into())).collect(),
            port_frames,
            tables: dump.tables.into_iter().map(|(name, n)| (name.to_owned(), n as u64)).collect(),
            steered: dump.steered.iter().take(ROWS).map(|(end, n)| (local_end(end), (*n).into())).collect(),
            addresses: known.addresses.into_iter().map(address).collect(),
            routes: known.routes.iter().map(route).collect(),
            neighbours: known.neighbours.into_iter().map(neighbour).collect(),
            due_ms: due,
        }
    }
}

type Address = (IfaceId, std::net::IpAddr, u8);
type Neighbour = (IfaceId, std::net::IpAddr, Option<[u8; 6]>, &'static str);

/// What the control plane told, copied out under the lock.
struct Known {
    addresses: Vec<Address>,
    routes: Vec<Route>,
    neighbours: Vec<Neighbour>,
}

impl Known {
    fn of(control: &Control) -> Self {
        Self {
            addresses: control.addresses().take(ROWS).collect(),
            routes: control.routes().take(ROWS).cloned().collect(),
            neighbours: control.neighbours().take(ROWS).collect(),
        }
    }
}

fn local_end(end: &LocalKey) -> String {
    let protocol = match end.protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    };
    format!("{protocol} {}", std::net::SocketAddr::new(end.address, end.port))
}

fn address((iface, address, prefix): Address) -> String {
    format!("{address}/{prefix} dev {}", iface.0)
}

fn route(route: &Route) -> String {
    let mut text = format!("{}/{} dev {}", route.network, route.prefix, route.iface.0);
    let more = [route.gateway.map(|a| ("via", a)), route.source.map(|a| ("src", a))];
    for (word, address) in more.into_iter().flatten() {
        text += &format!(" {word} {address}");
    }
    text
}

fn neighbour((iface, address, mac, state): Neighbour) -> String {
    let mac = mac.map(|mac| mac.map(|octet| format!("{octet:02x}")).join(":"));
    format!("{address} dev {} {} {state}", iface.0, mac.as_deref().unwrap_or("-"))
}
