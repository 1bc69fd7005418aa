//! The desk in virtual time.

mod office;
mod sinks;

use std::net::SocketAddr;
use std::time::Duration;

use stack::time::Instant;
use stack::types::Direction;

use super::board::Board;
use super::desk::Desk;
use super::scan::Carrier;
use super::*;
use crate::control::model::Alert;

const SYN: Option<u8> = Some(2);

fn seen(remote: &str, local: &str, flags: Option<u8>) -> Seen {
    let (table, rule) = ("10.77.0.1".to_owned(), "no ssh".to_owned());
    Seen {
        process: Process { pid: 7, command: "web".into() },
        carrier: if flags.is_some() { Carrier::Tcp(flags) } else { Carrier::Udp },
        local: local.parse().unwrap(),
        remote: SocketAddr::new(remote.parse().unwrap(), 4000),
        direction: Direction::In,
        permitted: false,
        limited: false,
        dropped: true,
        table,
        rule,
    }
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
        desk.take(ms(n), &seen("10.0.0.9", "10.77.0.1:22", SYN), 1);
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
        desk.take(ms(6_000 + n), &seen("10.0.0.9", "10.77.0.1:22", SYN), 1);
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
            desk.take(ms(port), &seen("10.0.0.9", &format!("10.77.0.1:{port}"), flags), 1);
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
        desk.take(ms(host), &seen("10.0.0.9", &format!("10.77.0.{host}:22"), SYN), 1);
    }
    let alerts = told(&mut desk, 100, 30);
    assert_eq!(alerts.iter().map(|a| a.kind.as_str()).collect::<Vec<_>>(), ["syn sweep"]);
}

/// As nmap looks for hosts, a second apart: by echoes, SYNs and ACKs. Another sweep, later, is another matter.
#[test]
fn a_sweep_in_several_ways_is_one_alert() {
    let mut desk = desk();
    let sweep = |desk: &mut Desk, at: u64, carrier: Carrier, port: u16| {
        for host in 1..=20 {
            let one = seen("10.0.0.9", &format!("10.77.0.{host}:{port}"), SYN);
            desk.take(ms(at + host), &Seen { carrier, ..one }, 1);
        }
        told(desk, at + 20, 1).into_iter().map(|alert| alert.kind).collect::<Vec<_>>()
    };
    let ways = [(Carrier::Icmp, 0), (Carrier::Tcp(SYN), 443), (Carrier::Tcp(Some(0x10)), 80)];
    let kinds: Vec<_> =
        ways.iter().zip(0..).flat_map(|(&(how, port), n)| sweep(&mut desk, n * 1100, how, port)).collect();
    assert_eq!(kinds, ["ping sweep"]);
    assert_eq!(sweep(&mut desk, 60_000, Carrier::Udp, 53), ["udp sweep"]);
    // All at once: told by its echoes.
    let mut desk = self::desk();
    for host in 1..=20 {
        for (carrier, port) in ways {
            let one = seen("10.0.0.9", &format!("10.77.0.{host}:{port}"), SYN);
            desk.take(ms(host), &Seen { carrier, ..one }, 1);
        }
    }
    assert_eq!(
        told(&mut desk, 20, 5).into_iter().map(|alert| alert.kind).collect::<Vec<_>>(),
        ["ping sweep"]
    );
    // What it does with what it found is another matter.
    (1..=100).for_each(|n| desk.take(ms(6000 + n), &seen("10.0.0.9", &format!("10.77.0.1:{n}"), SYN), 1));
    let alerts = told(&mut desk, 6100, 30);
    assert_eq!(alerts.iter().map(|alert| alert.kind.as_str()).collect::<Vec<_>>(), ["syn scan"]);
}

/// Within a second of the try that makes it one, whatever its pace (nmap's T5 to T0) and whatever else is told of.
#[test]
fn a_scan_is_told_within_a_second() {
    for pace in [1, 10, 100, 400, 15_000, 300_000] {
        for phase in (0..1000).step_by(50) {
            let mut desk = desk();
            desk.take(ms(1), &seen("10.0.0.8", "10.77.0.1:22", SYN), 1);
            let mut tries = (0..12).map(|n| (1000 + phase + n * pace, 100 + n)).peekable();
            let eighth = 1000 + phase + 7 * pace;
            // The helper looks ten times a second at the most.
            let alert = (0..).map(|n| n * 100).find_map(|now| {
                while let Some((_, port)) = tries.next_if(|(at, _)| *at <= now) {
                    desk.take(ms(now), &seen("10.0.0.9", &format!("10.77.0.1:{port}"), SYN), 1);
                }
                assert!(now <= eighth + 1000, "pace {pace}, phase {phase}: not told");
                desk.tell(ms(now)).into_iter().find(|alert| alert.kind == "syn scan")
            });
            assert!(alert.is_some_and(|alert| alert.last - 1000.0 >= eighth as f64 / 1000.0));
        }
    }
}

#[test]
fn a_slow_scan_is_seen_within_its_window() {
    let mut desk = desk();
    let mut kinds = Vec::new();
    for port in 1..=10 {
        let at = port * 60_000;
        desk.take(ms(at), &seen("10.0.0.9", &format!("10.77.0.1:{port}"), SYN), 1);
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
        desk.take(ms(n), &seen("10.0.0.9", &format!("10.77.0.1:{}", 20 + n % 5), SYN), 1);
    }
    let alerts = told(&mut desk, 1000, 5);
    assert!(alerts.len() == 5 && alerts.iter().all(|alert| alert.kind == "denied"), "{alerts:?}");
}

#[test]
fn outbound_attempts_name_their_destination() {
    let mut desk = desk();
    let out = Seen { direction: Direction::Out, ..seen("198.51.100.7", "10.77.0.1:50000", SYN) };
    desk.take(ms(0), &out, 1);
    desk.take(ms(1), &Seen { limited: true, ..seen("10.0.0.9", "10.77.0.1:80", SYN) }, 1);
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

/// What a steering program keeps out is told like what the gate refuses; of ICMP there is no port.
#[test]
fn pings_of_many_hosts_are_a_sweep_and_of_one_are_denied() {
    let ping = |local: &str| Seen { carrier: Carrier::Icmp, ..seen("10.0.0.9", local, None) };
    let mut desk = desk();
    (0..50).for_each(|n| desk.take(ms(n), &ping("10.77.0.1:0"), 1));
    let alerts = told(&mut desk, 100, 5);
    let told_of = |a: &Alert| (a.kind.clone(), a.protocol.clone(), a.local.clone(), a.count);
    let denied = ("denied".to_owned(), "icmp".to_owned(), "10.77.0.1".to_owned(), 50);
    assert_eq!(alerts.iter().map(told_of).collect::<Vec<_>>(), [denied]);
    (2..=20).for_each(|n| desk.take(ms(6000 + n), &ping(&format!("10.77.0.{n}:0")), 1));
    let kinds: Vec<_> = told(&mut desk, 6000, 5).into_iter().map(|alert| alert.kind).collect();
    assert_eq!(kinds, ["ping sweep"]);
}

/// What a logged rule permits is told by its own name, and is never a scan.
#[test]
fn what_is_permitted_and_logged_is_told_as_that() {
    let mut desk = desk();
    for port in 1..=20 {
        let seen = seen("10.0.0.9", &format!("10.77.0.1:{port}"), SYN);
        desk.take(ms(port), &Seen { permitted: true, dropped: false, ..seen }, 1);
    }
    let alerts = told(&mut desk, 100, 5);
    assert_eq!(alerts.len(), 20);
    assert!(alerts.iter().all(|alert| alert.kind == "permitted" && !alert.dropped));
}

#[test]
fn very_many_sources_take_bounded_memory_and_are_counted() {
    let mut desk = desk();
    let mut count = 0;
    for n in 0..20_000_u32 {
        let source = std::net::Ipv4Addr::from_bits(0x0b00_0000 + n).to_string();
        desk.take(ms(u64::from(n / 100)), &seen(&source, "10.77.0.1:22", SYN), 1);
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
    let dir = tempfile::tempdir().unwrap();
    let (file, socket) = (dir.path().join("alerts.json"), dir.path().join("socket"));
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
    // The file has all but what was left out while the writer was behind; it makes the file anew while it writes.
    board.close_within(Duration::from_secs(60));
    let lines = std::fs::read_to_string(&file).unwrap();
    let written: Vec<Alert> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told = written.iter().map(|alert| 1 + alert.left_out).sum::<u64>();
    assert_eq!(written[0].number, 1);
    assert_eq!(told, written.last().unwrap().number, "each is written or counted");
    assert!(
        "syslog".parse::<Sink>().is_ok()
            && "mail:me".parse::<Sink>().is_err()
            && "file:".parse::<Sink>().is_err()
    );
}
