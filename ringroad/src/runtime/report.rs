//! What `ringroad stat` shows of this process.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use af_xdp::{XdpMode, XskNic};
use stack::policy::{GateSnapshot, RuleSnapshot, TableSnapshot};
use stack::socket::SocketInfo;
use stack::time::Instant;
use stack::types::Protocol;

use super::Runtime;
use super::core::Link;
use super::guard::Guards;
use super::mates::Exchange;
use crate::config::Backend;
use crate::control::bypass::bypass_rows;
use crate::control::model::{
    Count, InterfaceReport, PolicyReport, RuleReport, SocketReport, StackReport, TableReport,
};
use crate::policy_file::Tallied;

impl Runtime {
    /// Everything that `ringroad stat` shows of this process; of its sockets, of which there may be very many, so many at the
    /// most.
    pub fn report(&self, most_sockets: usize) -> StackReport {
        let (untold, unrecorded) = (self.untold_flows(), self.unrecorded());
        let mut turn = self.lock_quietly();
        let core = turn.core();
        let stack = &core.stack;
        let now = super::now();
        let sockets: Vec<SocketInfo> = stack.sockets().take(most_sockets).collect();
        let ours = [
            ("xdp_syns_shed", core.steer.shed()),
            ("xdp_miss_vlan", core.steer.miss_vlan()),
            ("runtime_turns", core.turns),
            ("flows_untold", untold),
            ("shadow_lost", unrecorded),
        ];
        let roads = roads(&core.links);
        let mates = core.mates.as_ref().map(Exchange::counters);
        let stats = stack.stats();
        let mut policy = policy(stack.policy());
        drop(turn);
        let guards = self.guards.lock().unwrap_or_else(PoisonError::into_inner);
        let counters =
            stats.rows().chain(ours).chain(roads).chain(mates.into_iter().flatten()).chain(guards.counters());
        let counters = counters.map(|(name, n)| (name.to_owned(), n)).collect();
        kept_out(&guards, &mut policy);
        drop(guards);
        StackReport {
            pid: std::process::id(),
            command: command(),
            interfaces: self.interfaces.clone(),
            // What takes long is done without the lock.
            sockets: sockets.into_iter().map(|info| socket(info, now)).collect(),
            counters,
            bypass: bypass_rows().into_iter().map(|(name, n)| (name.to_owned(), n)).collect(),
            policy,
        }
    }
}

/// Says what the steering programs kept out, by table, rule and shared counter.
fn kept_out(guards: &Guards, policy: &mut PolicyReport) {
    let PolicyReport { tables, kept_out: shared, .. } = policy;
    for (at, table) in tables.iter_mut().enumerate() {
        let (packets, bytes) = guards.kept_out(at);
        table.kept_out = Count { packets, bytes };
        guards.kept_out_by_rule(at, |Tallied { rule, counter, .. }, (packets, bytes)| {
            let counter =
                counter.filter(|_| packets > 0).map(|name| shared.entry(name.to_owned()).or_default());
            let rule = table.rules.get_mut(rule).map(|rule| &mut rule.kept_out);
            for count in rule.into_iter().chain(counter) {
                count.packets += packets;
                count.bytes += bytes;
            }
        });
    }
}

/// What the interfaces count, all together.
fn roads(links: &[Link]) -> Vec<(&'static str, u64)> {
    let mut sums: Vec<(&'static str, u64)> = Vec::new();
    for link in links {
        link.nic.count(&mut |name, n| match sums.iter_mut().find(|row| row.0 == name) {
            Some(row) => row.1 += n,
            None => sums.push((name, n)),
        });
    }
    sums
}

fn socket(info: SocketInfo, now: Instant) -> SocketReport {
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
        bytes_in: info.bytes_in,
        bytes_out: info.bytes_out,
        cwnd: info.cwnd,
        timer: info.timer.map_or_else(String::new, |(name, _)| name.into()),
        timer_ms: info.timer.map_or(0, |(_, at)| at.since(now).as_millis() as u64),
    }
}

fn policy(snapshot: GateSnapshot) -> PolicyReport {
    let count = |c: stack::policy::Count| Count { packets: c.packets, bytes: c.bytes };
    let rule = |r: &RuleSnapshot| RuleReport {
        name: r.name.to_string(),
        packets: r.count.packets,
        bytes: r.count.bytes,
        limited: r.limited,
        kept_out: Count::default(),
    };
    let table = |t: &TableSnapshot| TableReport {
        local: t.name.to_string(),
        mode: t.mode.name().into(),
        rules: t.rules.iter().map(rule).collect(),
        denied: count(t.denied),
        kept_out: Count::default(),
    };
    PolicyReport {
        generation: snapshot.generation.into(),
        tables: snapshot.tables.iter().map(table).collect(),
        counters: snapshot.counters.iter().map(|c| (c.name.to_string(), count(c.count))).collect(),
        kept_out: BTreeMap::new(),
    }
}

/// The command line, arguments separated by spaces.
pub(crate) fn command() -> String {
    let line = std::fs::read("/proc/self/cmdline").unwrap_or_default();
    let words = line.split(|b| *b == 0).filter(|w| !w.is_empty());
    words.map(String::from_utf8_lossy).collect::<Vec<_>>().join(" ")
}

/// One row a queue.
pub(super) fn interfaces<'a>(
    nic: &'a XskNic,
    has_adapter: bool,
    why: &'a str,
) -> impl Iterator<Item = InterfaceReport> + 'a {
    let backend = match nic.xdp_mode() {
        _ if has_adapter => Backend::EfVi,
        XdpMode::Tc => Backend::Packet,
        XdpMode::Nowhere => Backend::Tap,
        XdpMode::Native | XdpMode::Generic => Backend::AfXdp,
    };
    (0..nic.interface().queues).map(move |queue| InterfaceReport {
        name: nic.interface().name.clone(),
        queue,
        xdp: nic.xdp_mode().name().into(),
        mode: nic.umem_mode().bind.name().into(),
        backend: backend.name().into(),
        why: why.into(),
    })
}
