//! The desk in virtual time.

use std::net::SocketAddr;

use stack::time::Instant;
use stack::types::{Direction, FlowKey, Protocol};

use super::*;
use crate::control::model::Alert;

const SYN: Option<u8> = Some(2);

fn seen(remote: &str, local: &str, flags: Option<u8>) -> Seen {
    let key = FlowKey {
        protocol: if flags.is_some() { Protocol::Tcp } else { Protocol::Udp },
        local: local.parse().unwrap(),
        remote: SocketAddr::new(remote.parse().unwrap(), 4000),
    };
    let (table, rule) = ("10.77.0.1".to_owned(), "no ssh".to_owned());
    Seen { key, direction: Direction::In, flags, limited: false, dropped: true, table, rule }
}

const fn ms(n: u64) -> Instant {
    Instant::from_millis(n)
}

fn desk() -> Desk {
    Desk::new(1000.0, Process { pid: 7, command: "web".into() })
}

/// Everything that is told in the next seconds.
fn told(desk: &mut Desk, from: u64, seconds: u64) -> Vec<Alert> {
    (0..seconds * 10).flat_map(|n| desk.tell(ms(from + n * 100))).collect()
}

#[test]
fn a_flood_is_one_alert_with_a_number() {
    let mut desk = desk();
    for n in 0..500 {
        desk.take(ms(n), &seen("10.0.0.9", "10.77.0.1:22", SYN));
    }
    let alerts = told(&mut desk, 500, 5);
    assert_eq!(alerts.len(), 1, "{alerts:?}");
    let alert = &alerts[0];
    assert_eq!((alert.kind.as_str(), alert.count, alert.pid), ("denied", 500, 7));
    assert_eq!((alert.local.as_str(), alert.remote.as_str()), ("10.77.0.1:22", "10.0.0.9"));
    assert_eq!((alert.rule.as_str(), alert.direction.as_str(), alert.dropped), ("no ssh", "in", true));
    assert_eq!((alert.first, alert.last), (1000.0, 1000.499));
    // It goes on: told again after a while, with the sum.
    for n in 0..500 {
        desk.take(ms(6_000 + n), &seen("10.0.0.9", "10.77.0.1:22", SYN));
    }
    let alerts = told(&mut desk, 6_500, 10);
    assert_eq!(alerts.iter().map(|alert| alert.count).collect::<Vec<_>>(), [1000]);
    assert_eq!(told(&mut desk, 17_000, 100), []);
    assert_eq!(desk.due(), Instant::NEVER);
}

#[test]
fn each_scan_is_one_alert_of_its_kind() {
    let kinds = [
        (SYN, "syn scan"),
        (Some(1), "fin scan"),
        (Some(0), "null scan"),
        (Some(0x29), "xmas scan"),
        (Some(0x10), "ack scan"),
        (None, "udp scan"),
    ];
    for (flags, kind) in kinds {
        let mut desk = desk();
        for port in 1..=100 {
            desk.take(ms(port), &seen("10.0.0.9", &format!("10.77.0.1:{port}"), flags));
        }
        let alerts = told(&mut desk, 100, 30);
        let told: Vec<_> = alerts.iter().map(|a| (a.kind.as_str(), a.remote.as_str(), a.count)).collect();
        assert_eq!(told, [(kind, "10.0.0.9", 100)]);
    }
}

#[test]
fn one_port_of_many_hosts_is_a_sweep() {
    let mut desk = desk();
    for host in 1..=50 {
        desk.take(ms(host), &seen("10.0.0.9", &format!("10.77.0.{host}:22"), SYN));
    }
    let alerts = told(&mut desk, 100, 30);
    assert_eq!(alerts.iter().map(|a| a.kind.as_str()).collect::<Vec<_>>(), ["syn sweep"]);
}

#[test]
fn a_slow_scan_is_seen_within_its_window() {
    let mut desk = desk();
    let mut kinds = Vec::new();
    for port in 1..=10 {
        let at = port * 60_000;
        desk.take(ms(at), &seen("10.0.0.9", &format!("10.77.0.1:{port}"), SYN));
        kinds.extend(told(&mut desk, at, 59).into_iter().map(|alert| alert.kind));
    }
    // Seven denials, a minute apart, then it is a scan.
    assert_eq!(kinds.iter().filter(|kind| *kind == "denied").count(), 7);
    assert_eq!(kinds.iter().filter(|kind| *kind == "syn scan").count(), 1);
    assert_eq!(kinds.len(), 8);
}

#[test]
fn somebody_who_is_merely_denied_is_no_scan() {
    let mut desk = desk();
    for n in 0..1000 {
        desk.take(ms(n), &seen("10.0.0.9", &format!("10.77.0.1:{}", 20 + n % 5), SYN));
    }
    let alerts = told(&mut desk, 1000, 5);
    assert!(alerts.len() == 5 && alerts.iter().all(|alert| alert.kind == "denied"), "{alerts:?}");
}

#[test]
fn outbound_attempts_name_their_destination() {
    let mut desk = desk();
    let out = Seen { direction: Direction::Out, ..seen("198.51.100.7", "10.77.0.1:50000", SYN) };
    desk.take(ms(0), &out);
    desk.take(ms(1), &Seen { limited: true, ..seen("10.0.0.9", "10.77.0.1:80", SYN) });
    let mut alerts = told(&mut desk, 0, 2);
    alerts.sort_by(|a, b| a.kind.cmp(&b.kind));
    let told: Vec<_> = alerts
        .iter()
        .map(|a| (a.kind.as_str(), a.direction.as_str(), a.local.as_str(), a.remote.as_str()))
        .collect();
    assert_eq!(
        told,
        [("denied", "out", "10.77.0.1", "198.51.100.7:4000"), ("limited", "in", "10.77.0.1:80", "10.0.0.9")]
    );
}

#[test]
fn very_many_sources_take_bounded_memory_and_are_counted() {
    let mut desk = desk();
    let mut count = 0;
    for n in 0..20_000_u32 {
        let source = std::net::Ipv4Addr::from_bits(0x0b00_0000 + n).to_string();
        desk.take(ms(u64::from(n / 100)), &seen(&source, "10.77.0.1:22", SYN));
    }
    desk.lost(ms(2000), 5);
    let alerts = told(&mut desk, 2000, 30);
    assert!(alerts.len() <= 257, "{} alerts", alerts.len());
    for alert in alerts {
        count += alert.count;
    }
    assert_eq!(count, 20_005);
}

#[test]
fn sinks_are_written_and_a_dead_one_is_no_harm() {
    let dir = std::env::temp_dir().join(format!("ringroad-alerts-{}", std::process::id()));
    std::fs::create_dir(&dir).unwrap();
    let (file, socket) = (dir.join("alerts.json"), dir.join("socket"));
    let reader = std::os::unix::net::UnixDatagram::bind(&socket).unwrap();
    let sinks: Vec<Sink> = [
        "file:/nonexistent/alerts".to_owned(),
        format!("unix:{}", socket.display()),
        format!("file:{}", file.display()),
    ]
    .iter()
    .map(|text| text.parse().unwrap())
    .collect();
    let mut board = Board::new(Sinks::open(&sinks));
    board.put(Alert { kind: "denied".into(), ..Alert::default() });
    let mut datagram = [0; 2048];
    let len = reader.recv(&mut datagram).unwrap();
    let alert: Alert = serde_json::from_slice(&datagram[..len]).unwrap();
    assert_eq!((alert.kind.as_str(), alert.number), ("denied", 1));
    // Nobody reads any more: the sender goes on.
    drop(reader);
    (0..5000).for_each(|_| board.put(Alert::default()));
    assert_eq!(board.alerts().count(), 256);
    std::fs::remove_dir_all(&dir).unwrap();
    assert!(
        "syslog".parse::<Sink>().is_ok()
            && "mail:me".parse::<Sink>().is_err()
            && "file:".parse::<Sink>().is_err()
    );
}
