//! Which packets the stack asks for: a count for each local endpoint, so that it is asked for once.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::collections::{HashMap, VecDeque};

use super::entry::{Connection, Entry};
use crate::control::Request;
use crate::slab::Slab;
use crate::types::{FlowKey, LocalKey, SocketId};

/// Local endpoints that are steered here, and how many sockets want each.
#[derive(Debug, Default)]
pub(super) struct Steering {
    ports: HashMap<LocalKey, u32>,
}

impl Steering {
    /// One more socket wants `key`.
    pub(super) fn hold(&mut self, key: LocalKey, requests: &mut VecDeque<Request>) {
        let count = self.ports.entry(key).or_insert(0);
        *count += 1;
        if *count == 1 {
            requests.push_back(Request::SteerPort(key));
        }
    }

    /// All of them.
    pub(super) fn all(&self) -> impl Iterator<Item = (LocalKey, u32)> + '_ {
        self.ports.iter().map(|(key, count)| (*key, *count))
    }

    /// One socket less wants `key`. True when it was the last: [`Steering::rescue`] is due.
    pub(super) fn release(&mut self, key: &LocalKey) -> bool {
        let Some(count) = self.ports.get_mut(key) else { return false };
        *count -= 1;
        let last = *count == 0;
        if last {
            self.ports.remove(key);
        }
        last
    }

    /// Ends the steering of an endpoint that nobody wants any more, after the connections that came by it got
    /// entries of their own. Linear in the connections: a listener closes seldom.
    pub(super) fn rescue(&self, key: &LocalKey, table: &mut Slab<Entry>, requests: &mut VecDeque<Request>) {
        let stranded: Vec<SocketId> = table
            .iter()
            .filter(|(_, entry)| entry.connection().is_some_and(|c| self.is_stranded(key, c)))
            .map(|(id, _)| id)
            .collect();
        for id in stranded {
            if let Some(connection) = table.get_mut(id).and_then(Entry::connection_mut) {
                connection.steered = true;
                requests.push_back(Request::SteerFlow(connection.tcb.flow.key));
            }
        }
        requests.push_back(Request::UnsteerPort(*key));
    }

    fn is_stranded(&self, key: &LocalKey, connection: &Connection) -> bool {
        let flow = &connection.tcb.flow.key;
        connection.attached
            && !connection.steered
            && flow.protocol == key.protocol
            && flow.local.port() == key.port
            && key.address.is_ipv4() == flow.local.is_ipv4()
            && (key.address.is_unspecified() || key.address == flow.local.ip())
            && !self.covers(flow)
    }

    /// Whether a flow's packets come by an endpoint that is steered.
    fn covers(&self, flow: &FlowKey) -> bool {
        let key = LocalKey { protocol: flow.protocol, address: flow.local.ip(), port: flow.local.port() };
        let any = match key.address {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        let any = LocalKey { address: any, ..key };
        self.ports.contains_key(&key) || self.ports.contains_key(&any)
    }
}
