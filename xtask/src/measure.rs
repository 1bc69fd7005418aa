//! Measuring servers side by side: one core for the server, one for the client, a cable between them.

use std::path::Path;

use lab::{CLIENT, IFACE, Lab, Namespace, Running, SERVER, Site, Where, ringroad, start};

/// The files that are measured, with their sizes.
pub(crate) const FILES: &[(&str, usize)] = &[("612B", 612), ("16KiB", 16 << 10), ("1MiB", 1 << 20)];

/// The network of the cable.
const NETWORK: &str = "10.77.0.0/24";
/// The core of the server, and that of the client.
const CORES: [&str; 2] = ["0", "1"];

/// One way to serve: a cable of its own, so that nothing is attached where the kernel serves.
pub(crate) struct Side {
    /// What it is called in tables.
    pub(crate) name: &'static str,
    pub(crate) place: Where,
    /// The backend that is asked for.
    backend: Option<&'static str>,
    pub(crate) server: Namespace,
    pub(crate) client: Namespace,
    lab: Lab,
}

impl Side {
    /// Programs on the kernel, the cable as Linux makes it.
    pub(crate) fn kernel() -> Self {
        Self::new("kernel", Where::Kernel)
    }

    /// Programs on the kernel, segments of the MTU's size on the cable: what a NIC puts on a wire.
    pub(crate) fn kernel_without_segmentation() -> Self {
        let side = Self::new("kernel-mtu", Where::Kernel);
        for host in [&side.server, &side.client] {
            host.must(&["ethtool", "-K", IFACE, "tso", "off", "gso", "off", "gro", "off"]);
        }
        side
    }

    /// Programs on the road.
    pub(crate) fn road() -> Self {
        Self::new("ringroad", Where::Road)
    }

    /// The same by one of the backends.
    pub(crate) fn road_by(backend: &'static str) -> Self {
        Self { backend: Some(backend), ..Self::new(backend, Where::Road) }
    }

    fn new(name: &'static str, place: Where) -> Self {
        let lab = Lab::new(name);
        let (server, client) = lab.pair();
        // By the route: the sysctl refuses what the host does not allow everybody.
        for (host, address) in [(&server, SERVER), (&client, CLIENT)] {
            let words = ["ip", "route", "replace", NETWORK, "dev", IFACE, "proto", "kernel", "scope", "link"];
            host.must(&[&words[..], &["src", address, "congctl", "cubic"]].concat());
        }
        // A client that closes first keeps the port in TIME-WAIT: let it have enough of them.
        client.must(&["sysctl", "-qw", "net.ipv4.tcp_tw_reuse=1", "net.ipv4.ip_local_port_range=1024 65535"]);
        Self { name, place, backend: None, server, client, lab }
    }

    /// Where its files are.
    pub(crate) fn folder(&self) -> &Path {
        self.lab.folder()
    }

    /// Starts a server on the server's core.
    pub(crate) fn serve(&self, flags: &[&str], program: &[&str], port: u16) -> Running {
        self.serve_by(&["taskset", "-c", CORES[0]], flags, program, port)
    }

    /// Starts a server by way of `words`, which begin its command.
    pub(crate) fn serve_by(&self, words: &[&str], flags: &[&str], program: &[&str], port: u16) -> Running {
        let command = match self.place {
            Where::Kernel => program.to_vec(),
            Where::Road => {
                let backend = self.backend.map(|name| ["--backend", name]);
                ringroad(&[backend.iter().flatten().copied().collect(), flags.to_vec()].concat(), program)
            }
        };
        start(&self.server, &[words, &command[..]].concat(), port, self.place)
    }

    /// Runs a client on the client's core; what it printed.
    pub(crate) fn ask(&self, program: &[&str]) -> String {
        self.client.run_for(120, &[&["taskset", "-c", CORES[1]], program].concat()).must()
    }

    /// Requests a second that wrk gets answered.
    pub(crate) fn wrk(&self, load: &Load, seconds: u32) -> f64 {
        let (connections, duration) = (format!("-c{}", load.connections), format!("-d{seconds}s"));
        let url = format!("http://{SERVER}/{}", load.file);
        let mut words = vec!["wrk", "-t1", &connections, &duration];
        if load.close {
            words.extend(["-H", "Connection: close"]);
        }
        words.push(&url);
        let said = self.ask(&words);
        if said.contains("Socket errors") || said.contains("Non-2xx") {
            println!("  {}: wrk met errors:\n{said}", self.name);
        }
        number_behind(&said, "Requests/sec:")
    }

    /// Milliseconds for which `core` was busy while wrk got a GB of the load: whoever was, the kernel's softirqs included.
    pub(crate) fn cost(&self, load: &Load, core: usize, seconds: u32) -> f64 {
        let size = FILES.iter().find(|(name, _)| *name == load.file).map_or(0, |(_, size)| *size);
        let before = busy_seconds(core);
        let got = self.wrk(load, seconds) * f64::from(seconds) * size as f64;
        (busy_seconds(core) - before) * 1e3 / (got / 1e9)
    }

    /// GB a second over so many connections of iperf3: to the server, or from there (`-R`).
    pub(crate) fn iperf3(&self, streams: &str, direction: Option<&str>, seconds: u32) -> f64 {
        let seconds = seconds.to_string();
        let mut words = vec!["iperf3", "-c", SERVER, "-P", streams, "-t", &seconds, "-J"];
        words.extend(direction);
        let said: serde_json::Value = serde_json::from_str(&self.ask(&words)).unwrap_or_default();
        said["end"]["sum_received"]["bits_per_second"].as_f64().unwrap_or(0.0) / 8e9
    }

    /// Segmentation and checksum offloads of the server's interface that are on.
    pub(crate) fn offloads(&self) -> String {
        let all = self.server.must(&["ethtool", "-k", IFACE]);
        let names = [
            "tx-checksumming",
            "tcp-segmentation-offload",
            "generic-segmentation-offload",
            "generic-receive-offload",
        ];
        let on = names.iter().filter(|n| all.contains(&format!("{n}: on")));
        let list: Vec<&str> = on.copied().collect();
        if list.is_empty() { "none".to_owned() } else { list.join(", ") }
    }
}

/// What wrk asks for.
pub(crate) struct Load {
    pub(crate) file: &'static str,
    pub(crate) connections: u32,
    /// A connection for every request.
    pub(crate) close: bool,
}

/// The web site that is measured, in a laboratory that lives as long as the site has to.
pub(crate) fn site(lab: &Lab) -> Site {
    Site::new(lab, 80, FILES)
}

/// The number behind a label in a program's words; 0 when it is not there.
pub(crate) fn number_behind(text: &str, label: &str) -> f64 {
    let rest = text.split(label).nth(1).unwrap_or_default();
    rest.split_whitespace().next().and_then(|w| w.parse().ok()).unwrap_or(0.0)
}

/// The middle one of some measurements.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// How often the second goes into the first, as it is written in tables.
pub(crate) fn ratio(ours: f64, theirs: f64) -> String {
    if theirs > 0.0 { format!("{:.2}x", ours / theirs) } else { "-".to_owned() }
}

/// Processor seconds that a process and all its children have used.
pub(crate) fn cpu_seconds(program: &Running) -> f64 {
    let mut pids = program.children();
    pids.push(program.pid());
    let ticks: u64 = pids.iter().map(|pid| ticks(*pid)).sum();
    ticks as f64 / 100.0
}

/// Seconds for which a core had something to do since the machine started.
fn busy_seconds(core: usize) -> f64 {
    busy_ticks(&std::fs::read_to_string("/proc/stat").unwrap_or_default(), core) as f64 / 100.0
}

/// All of a core's line in proc_stat(5) but `idle`, `iowait`, what the host took (`steal`), and guests, whose time is in
/// `user` already.
fn busy_ticks(stat: &str, core: usize) -> u64 {
    let name = format!("cpu{core} ");
    let line = stat.lines().find_map(|line| line.strip_prefix(&name)).unwrap_or_default();
    let ticks = line.split_whitespace().take(7).map(|n| n.parse().unwrap_or(0));
    ticks.enumerate().filter(|(at, _)| !matches!(at, 3 | 4)).map(|(_, n): (_, u64)| n).sum()
}

/// utime + stime of a process, in the kernel's ticks of 10 ms (proc_pid_stat(5), fields 14 and 15).
fn ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let behind_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    behind_name.split_whitespace().skip(11).take(2).filter_map(|n| n.parse::<u64>().ok()).sum()
}

/// What came of one run.
pub(crate) struct Served {
    /// Requests a second.
    pub(crate) rate: f64,
    /// Microseconds of the server's processor for each: what else the machine does changes it little.
    pub(crate) processor: f64,
}

impl Served {
    pub(crate) fn by(side: &Side, server: &Running, load: &Load, seconds: u32) -> Self {
        let before = cpu_seconds(server);
        let rate = side.wrk(load, seconds);
        let took = cpu_seconds(server) - before;
        Self { rate, processor: took * 1e6 / (rate * f64::from(seconds)) }
    }
}

/// The medians of both sides, and of the ratios of the pairs.
pub(crate) fn pair_row(name: &str, pairs: &[[Served; 2]], value: impl Fn(&Served) -> f64) {
    let of = |each: &dyn Fn(&[Served; 2]) -> f64| median(pairs.iter().map(each).collect());
    let [with, without] = [0, 1].map(|at| of(&|pair| value(&pair[at])));
    let middle = of(&|pair| value(&pair[0]) / value(&pair[1]));
    let each: Vec<String> = pairs.iter().map(|pair| ratio(value(&pair[0]), value(&pair[1]))).collect();
    println!("{name:38} {with:12.1} {without:12.1} {middle:6.3}x   {}", each.join(" "));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_and_the_middle_is_the_middle() {
        assert_eq!(number_behind("a\nRequests/sec:  123.45\nb", "Requests/sec:"), 123.45);
        assert_eq!(number_behind("", "Requests/sec:"), 0.0);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        let stat = "cpu  9 9 9 9 9 9 9 9 9 9\ncpu0 1 2 4 8 16 32 64 128 1 0\ncpu10 7 0 0 0 0 0 0 0 0 0\n";
        assert_eq!([0, 1, 10].map(|core| busy_ticks(stat, core)), [1 + 2 + 4 + 32 + 64, 0, 7]);
        assert_eq!((ratio(3.0, 2.0), ratio(1.0, 0.0)), ("1.50x".to_owned(), "-".to_owned()));
    }
}
