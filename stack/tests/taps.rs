//! Those who look on see every frame that comes and goes, and what became of it.

mod common;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use common::{Family, Host, IFACE, Net, pattern};
use ringroad_stack::config::Config;
use ringroad_stack::engine::{Arrival, Tap, Verdict, Way};
use ringroad_stack::policy::{
    Action, Mode, Policy, PolicySpec, PortRange, RuleDirection, RuleSpec, TableSpec,
};
use ringroad_stack::time::Instant;
use ringroad_stack::types::IfaceId;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    way: Way,
    frame: Vec<u8>,
    /// Dropped by this counter, judged by this table and rule; and what else is said of it.
    told: String,
}

#[derive(Clone, Debug, Default)]
struct Witness {
    seen: Arc<Mutex<Vec<Seen>>>,
    in_hand: Option<usize>,
}

fn words(verdict: &Verdict<'_>) -> String {
    let dropped = verdict.dropped.map_or("passed", |reason| reason.counter());
    let names = [verdict.table.unwrap_or("-"), verdict.rule.unwrap_or("-")].join("/");
    let more = [(verdict.refused, " refused"), (verdict.limited, " limited")];
    let more: String = more.into_iter().filter(|(is, _)| *is).map(|(_, word)| word).collect();
    format!("{dropped} {names}{more}")
}

impl Tap for Witness {
    fn arrives(&mut self, arrival: &Arrival<'_>) {
        assert_eq!((arrival.iface, self.in_hand), (IFACE, None));
        let mut seen = self.seen.lock().unwrap();
        self.in_hand = Some(seen.len());
        seen.push(Seen { way: arrival.way, frame: arrival.frame.to_vec(), told: String::new() });
    }

    fn settles(&mut self, verdict: &Verdict<'_>) {
        let at = self.in_hand.take().expect("a frame in hand");
        self.seen.lock().unwrap()[at].told = words(verdict);
    }

    fn leaves(&mut self, iface: IfaceId, frame: &[u8], verdict: &Verdict<'_>) {
        assert_eq!(iface, IFACE);
        self.seen.lock().unwrap().push(Seen { way: Way::Out, frame: frame.to_vec(), told: words(verdict) });
    }
}

impl Witness {
    fn at(net: &mut Net, host: usize) -> Self {
        let witness = Self::default();
        net.hosts[host].stack.tap(Box::new(witness.clone()));
        witness
    }

    fn frames(&self, way: Way) -> Vec<Vec<u8>> {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter(|s| s.way == way).map(|s| s.frame.clone()).collect()
    }

    fn told(&self) -> Vec<(Way, String)> {
        self.seen.lock().unwrap().iter().map(|s| (s.way, s.told.clone())).collect()
    }
}

fn guard(host: &mut Host, mode: Mode, rules: Vec<RuleSpec>) {
    let table = TableSpec::of_host(host.address, mode, rules);
    let spec = PolicySpec { default: Action::Allow, tables: vec![table], shadow: Vec::new() };
    host.stack.set_policy(Policy::compile(&spec).unwrap());
}

#[test]
fn every_frame_of_a_transfer_is_seen_at_both_ends() {
    for family in Family::BOTH {
        let mut net = Net::ideal().over(family);
        net.hosts.iter_mut().for_each(|host| host.capture = true);
        let (a, b) = (Witness::at(&mut net, 0), Witness::at(&mut net, 1));
        let (client, server, _) = net.connected();
        net.transfer(0, client, server, &pattern(100_000, 3), std::time::Duration::from_secs(5));
        net.run_ms(100);
        assert_eq!(a.frames(Way::Out), net.hosts[0].sent);
        assert_eq!(b.frames(Way::Out), net.hosts[1].sent);
        assert_eq!(a.frames(Way::In), net.hosts[1].sent);
        assert_eq!(b.frames(Way::In), net.hosts[0].sent);
        assert!(b.frames(Way::In).len() > 70);
        assert!(b.told().iter().all(|(_, told)| told == "passed -/-"), "{:?}", b.told());
    }
}

#[test]
fn what_is_dropped_is_seen_with_the_reason_and_the_rule() {
    let mut net = Net::ideal();
    let mut web = RuleSpec::any("web", Action::Allow);
    (web.direction, web.local_ports) = (RuleDirection::In, vec![PortRange::one(80)]);
    web.limit = Some(1);
    let mut never = RuleSpec::any("never", Action::Deny);
    (never.direction, never.local_ports) = (RuleDirection::In, vec![PortRange::one(81)]);
    guard(&mut net.hosts[1], Mode::Enforce, vec![web, never]);
    net.listen(1, 80, 5);
    let b = Witness::at(&mut net, 1);
    for port in [80, 80, 81, 82] {
        net.connecting(0, port);
        net.run_ms(1);
    }
    let incoming: Vec<String> =
        b.told().into_iter().filter(|(way, _)| *way == Way::In).map(|(_, told)| told).collect();
    assert_eq!(
        incoming,
        [
            "passed 10.0.0.2/web",
            "passed 10.0.0.2/web",
            "drop_denied_in 10.0.0.2/web limited",
            "drop_denied_in 10.0.0.2/never refused",
            "drop_denied_in 10.0.0.2/- refused",
        ]
    );
    let mut broken = b.frames(Way::In)[0].clone();
    broken[50] ^= 1;
    let now = net.now;
    net.hosts[1].receive(now, &broken);
    assert_eq!(b.told().last().unwrap(), &(Way::In, "drop_l4_checksum -/-".to_owned()));
}

#[test]
fn where_a_table_only_monitors_what_it_would_refuse_passes() {
    let mut net = Net::ideal();
    guard(&mut net.hosts[1], Mode::Monitor, vec![]);
    net.listen(1, 80, 5);
    let b = Witness::at(&mut net, 1);
    net.connecting(0, 80);
    net.run_ms(1);
    assert!(b.told().iter().all(|(_, told)| told == "passed 10.0.0.2/- refused"), "{:?}", b.told());
    assert_eq!(b.told().len(), 3);
}

#[test]
fn what_stays_at_home_is_seen_once_and_not_after_the_tap_is_off() {
    let mut host = Host::new(1, Config::default());
    let witness = Witness::default();
    let id = host.stack.tap(Box::new(witness.clone()));
    let now = Instant::from_millis(1);
    let [from, to] = [1000, 2000].map(|port| {
        let socket = host.stack.udp_socket(0).unwrap();
        host.stack.bind(socket, SocketAddr::new(host.address, port)).unwrap();
        socket
    });
    host.stack.connect(now, from, SocketAddr::new(host.address, 2000)).unwrap();
    let say = |host: &mut Host, word: &[u8]| {
        common::send(&mut host.stack, now, from, word).unwrap();
        host.stack.deliver_home(now);
    };
    say(&mut host, b"once");
    assert_eq!(witness.told(), [(Way::Home, "passed -/-".to_owned())]);
    assert!(witness.frames(Way::Home)[0].ends_with(b"once"));
    assert!(host.stack.untap(id).is_some() && host.stack.untap(id).is_none());
    say(&mut host, b"twice");
    assert_eq!((witness.told().len(), host.drain().len()), (1, 0));
    host.stack.close(now, to).unwrap();
}
