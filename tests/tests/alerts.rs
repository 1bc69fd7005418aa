//! What the gate refuses is told: who, what, how often; and scans for what they are, while the permitted are served. The
//! processes of a port tell together.

use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use lab::{CLIENT, IFACE, Lab, Namespace, SERVER, Site, eventually, eventually_some, stacks};
use ringroad_tests::scans::{Scan, alerts, are_told_once};
use ringroad_tests::{on_road, ringroad, start_on};
use serde_json::Value;

const FILES: &[(&str, usize)] = &[("small.bin", 612)];
/// A second address of the client, which the policy does not know.
const STRANGER: &str = "10.77.0.3";
/// Ports that the server listens on; all are scanned.
const PORTS: std::ops::RangeInclusive<u16> = 8000..=8011;

fn policy() -> String {
    format!(
        "default = \"allow\"\n[[table]]\nlocal = \"{SERVER}\"\n[[table.rule]]\nname = \"web\"\ndirection = \"in\"\n\
         protocol = \"tcp\"\nremote = \"{CLIENT}\"\naction = \"allow\"\n"
    )
}

fn hosts(lab: &Lab) -> (Namespace, Namespace) {
    let (server, client) = lab.pair();
    client.must(&["ip", "address", "add", &format!("{STRANGER}/24"), "dev", IFACE]);
    (server, client)
}

/// The first alert that is new and of this kind.
fn alert(server: &Namespace, kind: &str) -> Value {
    eventually_some(&format!("an alert: {kind}"), 10, || {
        alerts(server).into_iter().find(|a| a["kind"] == kind)
    })
}

fn curl(client: &Namespace, from: &str) -> i32 {
    let url = format!("http://{SERVER}:8000/small.bin");
    // Who is served is so when the machine has time for it.
    let wait = if from == CLIENT { "20" } else { "3" };
    client.run(&["curl", "-sS", "--interface", from, "--max-time", wait, "-o", "/dev/null", &url]).code
}

#[test]
fn a_refused_client_is_named() {
    let lab = Lab::new("alerts");
    let (server, client) = hosts(&lab);
    let file = lab.file("policy.toml", policy());
    let file = file.to_string_lossy();
    let site = Site::new(&lab, 8000, FILES);
    let _nginx = on_road(&server, &["--policy", &file], &site.nginx(), 8000);
    assert_eq!((curl(&client, CLIENT), curl(&client, STRANGER)), (0, 28));
    let told = alert(&server, "denied");
    assert_eq!(
        (&told["remote"], &told["local"]),
        (&STRANGER.into(), &format!("{SERVER}:8000").into()),
        "{told}"
    );
    assert_eq!(
        (&told["direction"], &told["table"], &told["dropped"]),
        (&"in".into(), &SERVER.into(), &true.into())
    );
    assert!(told["count"].as_u64() >= Some(1) && told["command"] == "nginx", "{told}");
}

/// A program that ends at once has its last words written.
#[test]
fn a_refused_destination_is_named() {
    let lab = Lab::new("outward");
    let (server, _client) = hosts(&lab);
    let file = lab.file("policy.toml", policy());
    let file = file.to_string_lossy();
    let log = lab.folder().join("alerts.json");
    let words = ["env", &format!("RINGROAD_ALERTS=file:{}", log.display())].map(str::to_owned);
    let fetch = ["curl", "-sS", "--max-time", "3", &format!("http://{CLIENT}:9/")].map(str::to_owned);
    let fetch: Vec<&str> = fetch.iter().map(String::as_str).collect();
    let command = ringroad(&["--policy", &file], &fetch);
    let command: Vec<&str> = words.iter().map(String::as_str).chain(command).collect();
    assert_eq!(server.run(&command).code, 7);
    let line = std::fs::read_to_string(&log).expect("what was written");
    let told: Value = serde_json::from_str(line.lines().next().unwrap_or_default()).expect("a line of JSON");
    assert_eq!((&told["direction"], &told["command"]), (&"out".into(), &"curl".into()), "{told}");
    assert_eq!(told["remote"], format!("{CLIENT}:9"), "{told}");
}

const fn scan(flags: &'static [&'static str], kind: &'static str) -> Scan {
    Scan { flags, ports: "8000-8011", kind }
}

const SCANS: &[Scan] = &[
    scan(&["-sS", "-T3"], "syn scan"),
    scan(&["-sS", "-T4"], "syn scan"),
    scan(&["-sS", "-T5"], "syn scan"),
    // 400 ms from one to the next.
    scan(&["-sS", "-T2"], "syn scan"),
    scan(&["-sT", "-T4"], "syn scan"),
    scan(&["-sF", "-T4"], "fin scan"),
    scan(&["-sN", "-T4"], "null scan"),
    scan(&["-sX", "-T4"], "xmas scan"),
];

#[test]
fn scans_see_nothing_and_are_told_by_kind_and_source() {
    let lab = Lab::new("scan");
    let (server, client) = hosts(&lab);
    let file = lab.file("policy.toml", policy());
    let more: String =
        PORTS.skip(1).map(|port| format!("  server {{ listen {port}; return 204; }}\n")).collect();
    let site = Site::with(&lab, 8000, FILES, &more);
    let _nginx = on_road(&server, &["--policy", &file.to_string_lossy()], &site.nginx(), 8000);
    let mut told = Vec::new();
    for (scan, n) in SCANS.iter().zip(20..) {
        let from = Ipv4Addr::new(10, 77, 0, n);
        client.must(&["ip", "address", "add", &format!("{from}/24"), "dev", IFACE]);
        scan.finds_nothing(&client, from.into(), SERVER.parse().expect("an address"));
        assert_eq!(curl(&client, CLIENT), 0, "{:?}: the permitted client is served", scan.flags);
        scan.is_told_once(&server, from.into());
        told.push(from.into());
    }
    are_told_once(&server, &told);
}

const WORKERS: usize = 4;

/// nginx with several workers, each of which hears all the ports.
fn workers(lab: &Lab) -> Site {
    let more: String =
        PORTS.skip(1).map(|port| format!("  server {{ listen {port}; return 204; }}\n")).collect();
    Site::served_by(lab, 8000, FILES, &more, WORKERS)
}

/// The processes that have a stack, when all workers have one, and none of `former` any more. The keeper may have one, too.
fn all_workers(server: &Namespace, former: &BTreeSet<u64>) -> BTreeSet<u64> {
    eventually_some("every worker", 60, || {
        let pids: BTreeSet<u64> = stacks(server).iter().filter_map(|stack| stack["pid"].as_u64()).collect();
        (pids.len() >= WORKERS && pids.is_disjoint(former)).then_some(pids)
    })
}

fn syn_scan(client: &Namespace, ports: &str) {
    let words = ["nmap", "-n", "-Pn", "-sS", "-T4", "--max-retries", "0", "-S", STRANGER, "-e", IFACE];
    client.run_for(110, &[&words[..], &["-p", ports, SERVER]].concat()).must();
}

/// Each worker sees some of it.
#[test]
fn a_scan_of_several_workers_is_one_alert() {
    let lab = Lab::new("scanned");
    let (server, client) = hosts(&lab);
    let file = lab.file("policy.toml", policy());
    let site = workers(&lab);
    let _nginx = on_road(&server, &["--policy", &file.to_string_lossy()], &site.nginx(), 8000);
    all_workers(&server, &BTreeSet::new());
    let scan = scan(&["-sS", "-T4"], "syn scan");
    let from = STRANGER.parse().expect("an address");
    scan.finds_nothing(&client, from, SERVER.parse().expect("an address"));
    scan.is_told_once(&server, from);
    assert_eq!(curl(&client, CLIENT), 0);
    are_told_once(&server, &[from]);
}

/// Refused by all workers, and told of as one, with the number of all.
#[test]
fn a_flood_of_several_workers_is_one_number() {
    let lab = Lab::new("flooded");
    let (server, client) = hosts(&lab);
    let file = lab.file("policy.toml", policy());
    let site = workers(&lab);
    let _nginx = on_road(&server, &["--policy", &file.to_string_lossy()], &site.nginx(), 8000);
    all_workers(&server, &BTreeSet::new());
    client.must(&["ip", "route", "add", &format!("{SERVER}/32"), "dev", IFACE, "src", STRANGER]);
    let to = format!("{SERVER}:8000").parse().expect("an end");
    client.enter(|| {
        let refused = (0..100).all(|_| TcpStream::connect_timeout(&to, Duration::from_millis(2)).is_err());
        assert!(refused, "somebody answered");
    });
    let denied = |stack: &Value| stack["policy"]["tables"][0]["denied"]["packets"].as_u64();
    // What goes on is told again every ten seconds, with the sum.
    let told = eventually_some("the whole number", 60, || {
        let by: Vec<u64> = stacks(&server).iter().filter_map(denied).filter(|packets| *packets > 0).collect();
        let told = alerts(&server);
        let whole = told.last().is_some_and(|a| a["count"] == by.iter().sum::<u64>());
        (whole && by.len() > 1).then_some(told)
    });
    let of_it = |a: &Value| a["kind"] == "denied" && a["first"] == told[0]["first"];
    assert!(told.iter().all(of_it), "one matter: {told:?}");
}

/// What was denied, by end and number, with how often each was told.
fn told_twice(log: &str) -> Option<&str> {
    let mut told = BTreeSet::new();
    log.lines().find(|line| {
        let alert: Value = serde_json::from_str(line).expect("a line of JSON");
        !told.insert([&alert["kind"], &alert["local"], &alert["count"]].map(Value::to_string))
    })
}

/// A slow one: half of it sees these workers, half of it those that come when all have been killed.
#[test]
fn a_scan_outlives_the_workers_that_see_it() {
    let lab = Lab::new("outlived");
    let (server, client) = hosts(&lab);
    let file = lab.file("policy.toml", policy());
    let log = lab.file("alerts.json", "");
    // The workers are nobody's.
    fs::set_permissions(&log, fs::Permissions::from_mode(0o666)).expect("a file all can write");
    let site = workers(&lab);
    let sink = format!("RINGROAD_ALERTS=file:{}", log.display());
    let file = file.to_string_lossy();
    let command = [
        vec!["env".to_owned(), sink],
        ringroad(&["--policy", &file], &site.nginx()).into_iter().map(str::to_owned).collect(),
    ]
    .concat();
    let command: Vec<&str> = command.iter().map(String::as_str).collect();
    let _nginx = start_on(&server, &command, 8000);
    let first = all_workers(&server, &BTreeSet::new());
    let denied = || {
        let of = |a: &Value| (a["kind"] == "denied").then(|| a["local"].to_string());
        alerts(&server).iter().filter_map(of).collect::<BTreeSet<_>>()
    };
    eventually("six are told of", 60, || {
        syn_scan(&client, "8000-8005");
        denied().len() == 6
    });
    let written = || fs::read_to_string(&log).expect("what was written");
    eventually("six are written", 60, || written().lines().count() >= 6);
    for pid in &first {
        server.must(&["kill", "-9", &pid.to_string()]);
    }
    all_workers(&server, &first);
    // Where one was killed while it wrote, what follows is read a second later.
    eventually("what was told is remembered", 60, || denied().len() == 6);
    let from = STRANGER.parse().expect("an address");
    eventually("the scan is told of", 60, || {
        syn_scan(&client, "8006-8011");
        alerts(&server).iter().any(|a| a["kind"] == "syn scan")
    });
    are_told_once(&server, &[from]);
    eventually("the scan is written", 60, || written().contains("syn scan"));
    let written = written();
    assert_eq!((written.matches("syn scan").count(), told_twice(&written)), (1, None), "{written}");
}
