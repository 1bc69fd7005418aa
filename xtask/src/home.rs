//! `cargo xtask bench --home`: two programs of one host, a core each, by the rings between their stacks, by the kernel's
//! loopback device, and by a Unix socket.

use std::path::Path;

use lab::{Lab, Namespace, Where, eventually, product, start};

use crate::measure::{median, number_behind, ratio};

/// Rounds of every measurement; the ways take turns in each.
const ROUNDS: usize = 3;
/// Round trips of a round.
const TRIPS: &str = "50000";
/// Octets of a round of bulk.
const BULK: &str = "2000000000";
const PORT: u16 = 7000;

/// A way from one program to another.
#[derive(Clone, Copy)]
enum Way {
    /// Both under `ringroad run --iface lo`, each started by itself.
    Rings,
    /// The kernel's TCP.
    Kernel,
    Unix,
}

/// What is measured: a way, and whether the programs spin on calls that do not block. Those on the road spin anyway.
const TRIPS_BY: &[(&str, Way, bool)] = &[
    ("ringroad", Way::Rings, false),
    ("kernel TCP", Way::Kernel, false),
    ("kernel TCP, spinning", Way::Kernel, true),
    ("Unix socket", Way::Unix, false),
    ("Unix socket, spinning", Way::Unix, true),
];
const BULK_BY: &[(&str, Way)] =
    &[("ringroad", Way::Rings), ("kernel TCP", Way::Kernel), ("Unix socket", Way::Unix)];

/// Measures and prints.
pub(crate) fn run() {
    let lab = Lab::new("home");
    let hosts = [lab.host("road"), lab.host("kernel")];
    let settings = ["net.ipv4.conf.lo.route_localnet=1", "net.ipv4.conf.lo.accept_local=1"];
    hosts[0].must(&[&["sysctl", "-qw"][..], &settings].concat());
    let bench = Bench { road: &hosts[0], kernel: &hosts[1], folder: lab.folder() };
    println!(
        "two programs, cores 0 and 1; {ROUNDS} rounds of {TRIPS}: the least, medians of the rounds' p10 and p50, ns"
    );
    for octets in ["1", "64"] {
        bench.trips(octets);
    }
    println!("\n{:36} {:>10}", "one stream, GB/s", "median");
    let mut rates = vec![Vec::new(); BULK_BY.len()];
    for _ in 0..ROUNDS {
        for ((_, way), rates) in BULK_BY.iter().zip(&mut rates) {
            rates.push(number_behind(&bench.talk(*way, &["drain"], &["fill"], &[BULK]), "rate") / 1e9);
        }
    }
    for ((name, _), rates) in BULK_BY.iter().zip(rates) {
        println!("{name:36} {:10.2}", median(rates));
    }
}

struct Bench<'a> {
    road: &'a Namespace,
    kernel: &'a Namespace,
    folder: &'a Path,
}

impl Bench<'_> {
    fn trips(&self, octets: &str) {
        let heading = format!("round trip, {octets} B");
        println!("\n{heading:36} {:>9} {:>9} {:>9} {:>9}", "min", "p10", "p50", "to ours");
        let mut all = vec![Vec::new(); TRIPS_BY.len()];
        for _ in 0..ROUNDS {
            for ((_, way, spin), said) in TRIPS_BY.iter().zip(&mut all) {
                let spins: &[&str] = if *spin { &["--spin"] } else { &[] };
                let words = [&[octets, TRIPS][..], spins].concat();
                said.push(self.talk(*way, &[&["echo"], spins].concat(), &["ask"], &words));
            }
        }
        let mut ours = 0.0;
        for ((name, ..), said) in TRIPS_BY.iter().zip(all) {
            let of = |label: &str| said.iter().map(|said| number_behind(said, label)).collect::<Vec<f64>>();
            let least = of("min").into_iter().fold(f64::INFINITY, f64::min);
            let (p10, p50) = (median(of("p10")), median(of("p50")));
            ours = if ours == 0.0 { p10 } else { ours };
            println!("{name:36} {least:9.0} {p10:9.0} {p50:9.0} {:>9}", ratio(p10, ours));
        }
    }

    /// Has one program talk to another; what the one that asks said.
    fn talk(&self, way: Way, server: &[&str], client: &[&str], words: &[&str]) -> String {
        let this = std::env::current_exe().expect("a path").to_string_lossy().into_owned();
        let path = self.folder.join("socket");
        let _ = std::fs::remove_file(&path);
        let place = match way {
            Way::Unix => format!("unix:{}", path.display()),
            Way::Rings | Way::Kernel => format!("127.0.0.1:{PORT}"),
        };
        let road = [product(), "run", "--iface", "lo", "--profile", "latency", "--strict", "--"];
        let command = |core: &'static str, talk: &[&str], rest: &[&str]| -> Vec<String> {
            let on_road: &[&str] = if matches!(way, Way::Rings) { &road } else { &[] };
            let (task, words) = (["taskset", "-c", core], [&this, "talk"]);
            let all = [&task[..], on_road, &words, &talk[..1], &[&place], rest, &talk[1..]].concat();
            all.into_iter().map(str::to_owned).collect()
        };
        let octets = if words.len() > 1 { &words[..1] } else { &[] };
        let (server, client) = (command("0", server, octets), command("1", client, words));
        let (server, client): (Vec<&str>, Vec<&str>) =
            (server.iter().map(String::as_str).collect(), client.iter().map(String::as_str).collect());
        let (host, running) = match way {
            Way::Rings => (self.road, start(self.road, &server, PORT, Where::Road)),
            Way::Kernel => (self.kernel, start(self.kernel, &server, PORT, Where::Kernel)),
            Way::Unix => {
                let running = self.kernel.spawn(&server);
                eventually("a Unix socket", 20, || path.exists());
                (self.kernel, running)
            }
        };
        let said = host.run_for(120, &client).must();
        drop(running);
        said
    }
}
