//! What the gate refuses is told: who, what, how often; and scans for what they are, while the permitted are served.

use lab::{CLIENT, IFACE, Lab, Namespace, SERVER, Site, eventually_some, product};
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

fn alerts(server: &Namespace) -> Vec<Value> {
    let text = server.must(&[product(), "alerts", "--json"]);
    text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

/// The first alert that is new and of this kind.
fn alert(server: &Namespace, kind: &str) -> Value {
    eventually_some(&format!("an alert: {kind}"), 10, || {
        alerts(server).into_iter().find(|a| a["kind"] == kind)
    })
}

fn curl(client: &Namespace, from: &str) -> i32 {
    let url = format!("http://{SERVER}:8000/small.bin");
    client.run(&["curl", "-sS", "--interface", from, "--max-time", "3", "-o", "/dev/null", &url]).code
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

#[test]
fn scans_see_nothing_and_are_told_by_kind_and_source() {
    for (flag, kind) in [("-sS", "syn scan"), ("-sF", "fin scan"), ("-sN", "null scan"), ("-sX", "xmas scan")]
    {
        let lab = Lab::new("scan");
        let (server, client) = hosts(&lab);
        let file = lab.file("policy.toml", policy());
        let more: String =
            PORTS.skip(1).map(|port| format!("  server {{ listen {port}; return 204; }}\n")).collect();
        let site = Site::with(&lab, 8000, FILES, &more);
        let _nginx = on_road(&server, &["--policy", &file.to_string_lossy()], &site.nginx(), 8000);
        let ports = format!("{}-{}", PORTS.start(), PORTS.end());
        let scan = [
            "nmap",
            "-n",
            "-Pn",
            "-T4",
            "--max-retries",
            "0",
            flag,
            "-S",
            STRANGER,
            "-e",
            IFACE,
            "-p",
            &ports,
        ];
        let scan = client.run_for(120, &[&scan[..], &[SERVER]].concat()).must();
        for word in [" open ", " closed ", "closed tcp ports"] {
            assert!(!scan.contains(word), "{flag}: {word} in\n{scan}");
        }
        assert_eq!(curl(&client, CLIENT), 0, "{flag}: the permitted client is served");
        let told = alert(&server, kind);
        assert_eq!(told["remote"], STRANGER, "{told}");
        let scans = alerts(&server)
            .iter()
            .filter(|a| a["kind"].as_str().is_some_and(|k| k.ends_with("scan")))
            .count();
        assert_eq!(scans, 1, "{flag}: one scan, one alert");
    }
}
