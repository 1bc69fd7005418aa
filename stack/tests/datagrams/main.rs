//! UDP, ICMP and the gate, between two stacks.

#[path = "../common/mod.rs"]
mod common;

mod basics;
mod errors;
mod gate;
mod groups;
mod info;
mod options;
mod paths;
mod segments;
mod sharing;

use std::net::{IpAddr, SocketAddr};

use common::Net;
use ringroad_stack::policy::{
    Action, Mode, Policy, PolicySpec, PortRange, Prefix, RuleDirection, RuleSpec, TableSpec,
};
use ringroad_stack::socket::{Datagram, OptName, Outbound, RecvFlags, Result, Value};
use ringroad_stack::types::SocketId;

pub(crate) fn address(host: usize, port: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1 + host as u8], port))
}

pub(crate) fn udp(net: &mut Net, h: usize, port: u16) -> SocketId {
    let id = net.hosts[h].stack.udp_socket(9).unwrap();
    net.hosts[h].stack.bind(id, SocketAddr::from(([0, 0, 0, 0], port))).unwrap();
    id
}

pub(crate) fn send_to(
    net: &mut Net,
    h: usize,
    id: SocketId,
    to: Option<SocketAddr>,
    data: &[u8],
) -> Result<usize> {
    send_msg(net, h, id, &Outbound::to(to), data)
}

pub(crate) fn recv_from(net: &mut Net, h: usize, id: SocketId, want: usize) -> Result<(Vec<u8>, Datagram)> {
    let (now, mut got) = (net.now, Vec::new());
    let flags = RecvFlags::default();
    let told = net.hosts[h].stack.recv_from(now, id, want, flags, &mut |bytes| {
        got.extend_from_slice(bytes);
        Ok(())
    })?;
    Ok((got, told))
}

pub(crate) fn rule(name: &str, direction: RuleDirection, port: PortRange, action: Action) -> RuleSpec {
    RuleSpec {
        direction,
        local_ports: vec![port],
        remotes: vec![Prefix::new(IpAddr::from([10, 0, 0, 0]), 24).unwrap()],
        ..RuleSpec::any(name, action)
    }
}

pub(crate) fn guard(net: &mut Net, h: usize, mode: Mode, rules: Vec<RuleSpec>) {
    let local = net.hosts[h].address;
    let spec = PolicySpec {
        default: Action::Allow,
        tables: vec![TableSpec::of_host(local, mode, rules)],
        shadow: Vec::new(),
    };
    net.hosts[h].stack.set_policy(Policy::compile(&spec).unwrap());
}

/// One send with all that can be asked for.
pub(crate) fn send_msg(net: &mut Net, h: usize, id: SocketId, out: &Outbound, data: &[u8]) -> Result<usize> {
    let (now, mut at) = (net.now, 0);
    net.hosts[h].stack.send_msg(now, id, out, data.len(), &mut |room| {
        room.copy_from_slice(&data[at..at + room.len()]);
        at += room.len();
        Ok(room.len())
    })
}

pub(crate) fn set(net: &mut Net, h: usize, id: SocketId, name: OptName, value: i32) {
    let now = net.now;
    net.hosts[h].stack.set_option(now, id, name, Value::Int(value)).unwrap();
}
