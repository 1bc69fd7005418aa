//! Every kind of scan at every pace, against a cloaked address that serves: none finds a port or a host, each is told once.

use std::net::{IpAddr, Ipv4Addr};
use std::thread;

use lab::{CLIENT, IFACE, Lab, Namespace, SERVER, Site};
use ringroad_tests::scans::{Scan, are_told_once};
use ringroad_tests::{meanwhile, on_road};

const FILES: &[(&str, usize)] = &[("small.bin", 612)];
/// Among those that are scanned.
const PORT: u16 = 8000;
const PORTS: &str = "7994-8005";

const fn scan(flags: &'static [&'static str], kind: &'static str) -> Scan {
    Scan { flags, ports: PORTS, kind }
}

/// A row a pace; connect() scans go by the route, so one at a time.
const MATRIX: [[Scan; 6]; 4] = [
    [
        scan(&["-sS", "-T2"], "syn scan"),
        scan(&["-sU", "-T2"], "udp scan"),
        scan(&["-sF", "-T2"], "fin scan"),
        scan(&["-sN", "-T2"], "null scan"),
        scan(&["-sX", "-T2"], "xmas scan"),
        scan(&["-sT", "-T2"], "syn scan"),
    ],
    [
        scan(&["-sS", "-T3"], "syn scan"),
        scan(&["-sU", "-T3"], "udp scan"),
        scan(&["-sF", "-T3"], "fin scan"),
        scan(&["-sN", "-T3"], "null scan"),
        scan(&["-A", "-T3"], "syn scan"),
        scan(&["-sT", "-T3"], "syn scan"),
    ],
    [
        scan(&["-sS", "-T4"], "syn scan"),
        scan(&["-sU", "-T4"], "udp scan"),
        scan(&["-sF", "-T4"], "fin scan"),
        scan(&["-sX", "-T4"], "xmas scan"),
        scan(&["-A", "-T4"], "syn scan"),
        scan(&["-sT", "-T4"], "syn scan"),
    ],
    [
        scan(&["-sS", "-T5"], "syn scan"),
        scan(&["-sU", "-T5"], "udp scan"),
        scan(&["-sN", "-T5"], "null scan"),
        scan(&["-sX", "-T5"], "xmas scan"),
        scan(&["-A", "-T5"], "syn scan"),
        scan(&["-sT", "-T5"], "syn scan"),
    ],
];

fn policy() -> String {
    format!(
        "[[table]]\nlocal = \"{SERVER}\"\ncloak = true\n[[table.rule]]\nname = \"web\"\ndirection = \"in\"\n\
         protocol = \"tcp\"\nlocal_port = {PORT}\nremote = \"{CLIENT}\"\naction = \"allow\"\n"
    )
}

fn serve(client: &Namespace) {
    let url = format!("http://{SERVER}:{PORT}/small.bin");
    client.must(&[
        "curl",
        "-sS",
        "--fail",
        "--interface",
        CLIENT,
        "--max-time",
        "20",
        "-o",
        "/dev/null",
        &url,
    ]);
}

#[test]
fn every_scan_at_every_pace_finds_nothing_and_is_told_once() {
    let lab = Lab::new("matrix");
    let (server, client) = lab.pair();
    let file = lab.file("policy.toml", policy());
    let site = Site::new(&lab, PORT, FILES);
    let _nginx = on_road(&server, &["--policy", &file.to_string_lossy()], &site.nginx(), PORT);
    let to: IpAddr = SERVER.parse().expect("an address");
    let sources: Vec<IpAddr> = (20..).map(|n| Ipv4Addr::new(10, 77, 0, n).into()).take(24).collect();
    for from in &sources {
        client.must(&["ip", "address", "add", &format!("{from}/24"), "dev", IFACE]);
    }
    let (client, server) = (&client, &server);
    meanwhile(
        || serve(client),
        || {
            for (row, from) in MATRIX.iter().zip(sources.chunks(6)) {
                thread::scope(|scope| {
                    for (scan, from) in row.iter().zip(from) {
                        scope.spawn(move || {
                            scan.finds_nothing(client, *from, to);
                            scan.is_told_once(server, *from);
                        });
                    }
                });
            }
        },
    );
    are_told_once(server, &sources);
}
