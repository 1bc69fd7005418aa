//! What the gate refuses is told: who, what, how often; and scans for what they are, while the permitted are served.

use std::net::Ipv4Addr;

use lab::{CLIENT, IFACE, Lab, Namespace, SERVER, Site, eventually_some};
use ringroad_tests::scans::{Scan, alerts, are_told_once};
use ringroad_tests::{on_road, ringroad};
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
