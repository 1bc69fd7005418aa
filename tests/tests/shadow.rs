//! Whom the policy marks is recorded in full: packets and flows, and nobody else's.

use std::path::{Path, PathBuf};

use lab::{CLIENT, IFACE, Lab, Namespace, Running, SERVER, Signal, Site, eventually_some, product};
use ringroad_tests::{ringroad, sha256, start_on};
use serde_json::Value;

const FILES: &[(&str, usize)] = &[("small.bin", 612), ("large.bin", 3 << 20)];
/// A second address of the client.
const STRANGER: &str = "10.77.0.3";

fn policy(lab: &Lab, marked: &str) -> String {
    let text = format!("shadow = [\"@suspects\", \"192.0.2.0/24\"]\nsets.suspects = [\"{marked}\"]\n");
    lab.file(&format!("{marked}.toml"), text).to_string_lossy().into_owned()
}

fn fetch(client: &Namespace, from: &str, file: &str) {
    let url = format!("http://{SERVER}:8000/{file}");
    client.must(&["curl", "-sS", "--fail", "--interface", from, "--max-time", "20", "-o", "/dev/null", &url]);
}

/// nginx, with whom `policy` marks recorded in `dir`.
fn nginx(lab: &Lab, server: &Namespace, dir: &Path, policy: &str) -> Running {
    let site = Site::new(lab, 8000, FILES);
    let place = format!("RINGROAD_SHADOW={},1G", dir.display());
    let command = [&["env", place.as_str()], &ringroad(&["--policy", policy], &site.nginx())[..]].concat();
    start_on(server, &command, 8000)
}

/// The files of packets, the oldest first: when each was begun is in its name.
fn recordings(dir: &Path) -> Vec<PathBuf> {
    let paths = std::fs::read_dir(dir).expect("the directory").map(|entry| entry.expect("an entry").path());
    let mut all: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|e| e == "pcapng")).collect();
    all.sort();
    all
}

/// What tshark finds in a file: a line a packet.
fn tshark(host: &Namespace, file: &Path, filter: &str, field: &str) -> Vec<String> {
    let path = file.to_string_lossy();
    let said = host.run_for(60, &["tshark", "-n", "-r", &path, "-Y", filter, "-T", "fields", "-e", field]);
    let faults: Vec<&str> = said.stderr.lines().filter(|line| !line.starts_with("Running as user")).collect();
    assert!(said.code == 0 && faults.is_empty(), "{faults:?}");
    said.stdout.lines().map(str::to_owned).collect()
}

/// The records of flows that were kept, once `remote` is among them with this many bytes.
fn flows(server: &Namespace, dir: &Path, remote: &str, bytes: u64) -> Vec<Value> {
    eventually_some(&format!("{bytes} bytes to {remote}"), 10, || {
        let text = server.must(&[product(), "flows", "--json", "--from", &dir.to_string_lossy()]);
        let (whole, _) = text.rsplit_once('\n').unwrap_or_default();
        let flows: Vec<Value> =
            whole.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
        let of_it = flows.iter().filter(|flow| is_of(flow, remote));
        (of_it.filter_map(|flow| flow["bytes_out"].as_u64()).sum::<u64>() >= bytes).then_some(flows)
    })
}

fn is_of(flow: &Value, remote: &str) -> bool {
    flow["remote"].as_str().is_some_and(|end| end.starts_with(&format!("{remote}:")))
}

#[test]
fn a_marked_clients_transfer_is_kept_whole_and_nobody_elses() {
    let lab = Lab::new("shadow");
    let (server, client) = lab.pair();
    client.must(&["ip", "address", "add", &format!("{STRANGER}/24"), "dev", IFACE]);
    let dir = lab.folder().join("shadow");
    let mut nginx = nginx(&lab, &server, &dir, &policy(&lab, CLIENT));
    fetch(&client, STRANGER, "large.bin");
    fetch(&client, CLIENT, "large.bin");
    let kept = flows(&server, &dir, CLIENT, FILES[1].1 as u64);
    assert!(kept.iter().all(|flow| is_of(flow, CLIENT)), "{kept:?}");

    // From now on the other one, without a pause.
    server.must(&[product(), "policy", "apply", &policy(&lab, STRANGER)]);
    fetch(&client, CLIENT, "small.bin");
    fetch(&client, STRANGER, "small.bin");
    let kept = flows(&server, &dir, STRANGER, FILES[0].1 as u64);
    assert!(kept.iter().any(|flow| is_of(flow, CLIENT)), "what was kept stays");
    nginx.signal(Signal::Term);
    assert_eq!(nginx.ended(20), 0, "{}", nginx.said());

    let all = recordings(&dir);
    let [large, small] = &all[..] else { panic!("{all:?}") };
    for (file, who, other) in [(large, CLIENT, STRANGER), (small, STRANGER, CLIENT)] {
        assert_eq!(tshark(&server, file, &format!("ip.addr == {other}"), "ip.src"), [""; 0]);
        let gaps = "tcp.analysis.lost_segment or tcp.analysis.ack_lost_segment or _ws.malformed";
        assert_eq!(tshark(&server, file, gaps, "frame.number"), [""; 0]);
        let flags = tshark(&server, file, "tcp.flags.syn == 1 or tcp.flags.fin == 1", "ip.addr");
        assert!(flags.len() >= 4 && flags.iter().all(|ends| ends.contains(who)), "{flags:?}");
    }
    let (path, objects) = (large.to_string_lossy(), format!("http,{}", lab.folder().display()));
    server.must(&["tshark", "-n", "-Q", "-r", &path, "--export-objects", &objects]);
    let got = sha256(&server, &lab.folder().join("large.bin").to_string_lossy());
    let sent = lab.folder().join("site-8000/www/large.bin");
    assert_eq!(got, sha256(&server, &sent.to_string_lossy()), "the answer that was put together");
}
