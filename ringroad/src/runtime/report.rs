//! What `ringroad stat` shows of this process.

use stack::policy::{GateSnapshot, RuleSnapshot, TableSnapshot};
use stack::socket::SocketInfo;
use stack::types::Protocol;

use super::Runtime;
use crate::control::bypass::bypass_rows;
use crate::control::model::{
    Count, InterfaceReport, PolicyReport, RuleReport, SocketReport, StackReport, TableReport,
};

impl Runtime {
    /// Everything that `ringroad stat` shows of this process.
    pub fn report(&self) -> StackReport {
        let mut turn = self.lock_quietly();
        let core = turn.core();
        let stack = &core.stack;
        let sockets = stack.sockets().map(socket).collect();
        let ours = [("xdp_syns_shed", core.steer.shed()), ("runtime_turns", core.turns)];
        let counters = stack.stats().rows().chain(ours).map(|(name, n)| (name.to_owned(), n)).collect();
        let policy = policy(stack.policy());
        drop(turn);
        StackReport {
            pid: std::process::id(),
            command: command(),
            interfaces: self.interfaces.clone(),
            sockets,
            counters,
            bypass: bypass_rows().into_iter().map(|(name, n)| (name.to_owned(), n)).collect(),
            policy,
        }
    }
}

fn socket(info: SocketInfo) -> SocketReport {
    let text = |a: Option<std::net::SocketAddr>| a.map(|a| a.to_string()).unwrap_or_default();
    SocketReport {
        protocol: match info.protocol {
            Protocol::Tcp => "tcp".into(),
            Protocol::Udp => "udp".into(),
        },
        local: text(info.local),
        remote: text(info.remote),
        state: info.state.into(),
        recv_queue: info.recv_queue,
        send_queue: info.send_queue,
        retransmits: info.retransmits,
        srtt_us: info.srtt_us,
    }
}

fn policy(snapshot: GateSnapshot) -> PolicyReport {
    let count = |c: stack::policy::Count| Count { packets: c.packets, bytes: c.bytes };
    let rule = |r: &RuleSnapshot| RuleReport {
        name: r.name.to_string(),
        packets: r.count.packets,
        bytes: r.count.bytes,
        limited: r.limited,
    };
    let table = |t: &TableSnapshot| TableReport {
        local: t.name.to_string(),
        mode: t.mode.name().into(),
        rules: t.rules.iter().map(rule).collect(),
        denied: count(t.denied),
    };
    PolicyReport {
        generation: snapshot.generation.into(),
        tables: snapshot.tables.iter().map(table).collect(),
        counters: snapshot.counters.iter().map(|c| (c.name.to_string(), count(c.count))).collect(),
    }
}

/// The command line, arguments separated by spaces.
fn command() -> String {
    let line = std::fs::read("/proc/self/cmdline").unwrap_or_default();
    let words = line.split(|b| *b == 0).filter(|w| !w.is_empty());
    words.map(String::from_utf8_lossy).collect::<Vec<_>>().join(" ")
}

/// One row a queue.
pub(super) fn interfaces(road: &af_xdp::Road) -> impl Iterator<Item = InterfaceReport> + '_ {
    let nic = &road.nic;
    (0..nic.interface().queues).map(|queue| InterfaceReport {
        name: nic.interface().name.clone(),
        queue,
        xdp: nic.xdp_mode().name().into(),
        mode: nic.umem_mode().bind.name().into(),
    })
}
