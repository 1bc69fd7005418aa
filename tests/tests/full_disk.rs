//! A disk without room, and readers that do not read: whoever is served goes on being served, what was lost is counted and
//! told, and what is on the disk can be read.

use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use lab::{CLIENT, Lab, Namespace, Running, SERVER, Signal, Site, eventually, must_have_stack, product};
use ringroad_tests::{bounded, ringroad, start_on};
use serde_json::Value;

const FILES: &[(&str, usize)] = &[("small.bin", 612)];
const PORT: u16 = 8000;

fn policy() -> String {
    format!(
        "shadow = [\"{CLIENT}\"]\n[[table]]\nlocal = \"{SERVER}\"\ncloak = true\n[[table.rule]]\nname = \"web\"\ndirection = \"in\"\n\
         protocol = \"tcp\"\nremote = \"{CLIENT}\"\naction = \"allow\"\n"
    )
}

/// A small disk of its own, gone with the test.
struct Disk(PathBuf);

impl Disk {
    fn new(lab: &Lab) -> Self {
        let path = lab.folder().join("disk");
        fs::create_dir(&path).expect("a directory");
        // Workers are nobody's.
        let words = ["mount", "-t", "tmpfs", "-o", "size=2m,mode=1777", "none"];
        let status = Command::new(words[0]).args(&words[1..]).arg(&path).status().expect("mount");
        assert!(status.success(), "{words:?}");
        Self(path)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes until nothing more fits.
    fn fill(&self) {
        let open = fs::File::options().create(true).append(true).open(self.at("filler"));
        let mut filler = open.expect("a file");
        let block = [0; 4096];
        while filler.write_all(&block).is_ok() {}
        // What is open may have a page of its own left; nothing has two.
        assert!(filler.metadata().expect("its size").len() > 1 << 20);
    }

    fn make_room(&self) {
        fs::remove_file(self.at("filler")).expect("the filler");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn start(lab: &Lab, server: &Namespace, settings: &[String]) -> Running {
    let file = lab.file("policy.toml", policy()).to_string_lossy().into_owned();
    let site = Site::new(lab, PORT, FILES);
    let program = ringroad(&["--policy", &file], &site.nginx()).into_iter().map(str::to_owned);
    let command: Vec<String> =
        ["env".to_owned()].into_iter().chain(settings.iter().cloned()).chain(program).collect();
    start_on(server, &command.iter().map(String::as_str).collect::<Vec<_>>(), PORT)
}

/// Requests of who is permitted, one connection each; none may fail.
fn serve(client: &Namespace, requests: usize) {
    let url = format!("http://{SERVER}:{PORT}/small.bin");
    let count = requests.to_string();
    let words = ["ab", "-q", "-s", "20", "-B", CLIENT, "-n", &count, "-c", "4", &url];
    let said = client.run_for(60, &words).must();
    assert!(said.contains(&format!("Complete requests:      {requests}\n")), "{said}");
    assert!(said.contains("Failed requests:        0\n"), "{said}");
}

/// So many strangers knock, of whom each is an alert of its own. Their addresses are nobody's: no answer is due.
fn knock(client: &Namespace, network: u8, strangers: u8) {
    let all: Vec<String> = (1..=strangers).map(|n| format!("10.{network}.0.{n}")).collect();
    let words =
        ["nmap", "-n", "-Pn", "-sS", "-T4", "--max-retries", "0", "-p", "22", "-D", &all.join(","), SERVER];
    client.run_for(60, &words).must();
}

fn counter(server: &Namespace, nginx: &Running, name: &str) -> u64 {
    must_have_stack(server, nginx)["counters"][name].as_u64().unwrap_or_default()
}

/// The alerts in a file; each line is one.
fn written(file: &Path) -> Vec<Value> {
    let text = fs::read_to_string(file).unwrap_or_default();
    // The last may be under way.
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect()
}

/// How many files of this kind there are, each of which `reader` finds no fault in.
fn readable(server: &Namespace, dir: &Path, kind: &str, reader: &[&str]) -> usize {
    let entries = fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry").path());
    let files: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|e| e == kind)).collect();
    for file in &files {
        let said = server.run_for(60, &[reader, &[&file.to_string_lossy()]].concat());
        let faults: Vec<&str> = said.stderr.lines().filter(|l| !l.starts_with("Running as user")).collect();
        assert!(said.code == 0 && faults.is_empty(), "{}: {faults:?}", file.display());
    }
    files.len()
}

#[test]
fn a_full_disk_costs_what_would_be_on_it_and_is_told() {
    let lab = Lab::new("disk");
    let (server, client) = lab.pair();
    let disk = Disk::new(&lab);
    let (log, flows, shadow) = (disk.at("alerts.json"), disk.at("flows"), disk.at("shadow"));
    fs::write(&log, "").expect("a file");
    fs::set_permissions(&log, fs::Permissions::from_mode(0o666)).expect("a file all can write");
    let settings = [
        format!("RINGROAD_ALERTS=file:{}", log.display()),
        format!("RINGROAD_FLOWS={},1M", flows.display()),
        format!("RINGROAD_SHADOW={},2M", shadow.display()),
    ];
    let mut nginx = start(&lab, &server, &settings);
    knock(&client, 80, 2);
    serve(&client, 20);
    eventually("there is room", 60, || written(&log).len() >= 2);

    disk.fill();
    eventually("both are out of room", 60, || {
        serve(&client, 200);
        ["flows_untold", "shadow_lost"].iter().all(|name| counter(&server, &nginx, name) > 0)
    });
    let said = nginx.said();
    for what in ["flows are not kept in", "marked flows are not recorded in"] {
        assert!(said.contains(what), "{said}");
    }
    knock(&client, 81, 100);
    eventually("alerts find no room", 60, || {
        // What the others give back when they fail is taken.
        disk.fill();
        nginx.said().contains("ringroad: an alert was not written")
    });
    let capture = disk.at("all.pcapng");
    let mut capturing = server.spawn(&[product(), "capture", "-w", &capture.to_string_lossy()]);
    eventually("the capture ends", 60, || {
        serve(&client, 200);
        !capturing.is_running()
    });
    assert_ne!(capturing.ended(1), 0, "{}", capturing.said());
    assert!(capturing.said().contains("No space left"), "{}", capturing.said());
    serve(&client, 200);

    disk.make_room();
    let mut network = 82;
    eventually("what was left out is told", 60, || {
        knock(&client, network, 1);
        network = network.saturating_add(1);
        written(&log).iter().any(|alert| alert["left_out"].as_u64() > Some(0))
    });
    // Whoever has found no room looks again after ten seconds.
    let kept = |dir: &Path| -> u64 {
        let entries = fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry"));
        entries.map(|entry| entry.metadata().map_or(0, |about| about.len())).sum()
    };
    let before = [&flows, &shadow].map(|dir| kept(dir));
    eventually("both go on", 60, || {
        serve(&client, 20);
        kept(&flows) > before[0] && kept(&shadow) > before[1]
    });
    nginx.signal(Signal::Term);
    assert_eq!(nginx.ended(20), 0, "{}", nginx.said());
    let read_flows = [product(), "flows", "--json", "--from"];
    assert!(readable(&server, &flows, "ipfix", &read_flows) > 0);
    assert!(readable(&server, &shadow, "ipfix", &read_flows) > 0);
    assert!(readable(&server, &shadow, "pcapng", &["tshark", "-n", "-r"]) > 0);
}

/// Those who listen and never read, and those who ask and never say what.
#[test]
fn readers_that_do_not_read_hold_nobody_up() {
    let lab = Lab::new("deaf");
    let (server, client) = lab.pair();
    let (log, full) = (lab.file("alerts.json", ""), lab.folder().join("full"));
    fs::set_permissions(&log, fs::Permissions::from_mode(0o666)).expect("a file all can write");
    let _never = UnixDatagram::bind(&full).expect("a socket");
    fs::set_permissions(&full, fs::Permissions::from_mode(0o666)).expect("a socket all can write to");
    let settings = [
        format!("RINGROAD_ALERTS=unix:{},file:{}", full.display(), log.display()),
        format!("RINGROAD_METRICS={SERVER}:9100"),
    ];
    let nginx = start(&lab, &server, &settings);
    let stack = must_have_stack(&server, &nginx);
    let socket = format!("/run/ringroad/{}.sock", stack["pid"]);
    let ask = |words: &[u8]| {
        let mut asker = UnixStream::connect(&socket).expect("the control socket");
        asker.write_all(words).expect("a request");
        asker
    };
    // None of them is read from before the end; some have not said what they want.
    let mut deaf: Vec<UnixStream> = Vec::new();
    for words in [
        &b""[..],
        b"",
        b"fl",
        b"flows\n",
        b"flows\n",
        b"stat\n",
        b"dump\n",
        b"alerts\n",
        b"capture\n",
        b"capture\n{",
        b"apply 1000000\nx",
    ] {
        deaf.push(ask(words));
    }
    let scrapers: Vec<TcpStream> = (0..8)
        .map(|n| {
            let end = format!("{SERVER}:9100");
            let mut stream = bounded(client.enter(|| TcpStream::connect(&end).expect("the metrics")));
            let words: &[u8] =
                if n % 2 == 0 { b"GET /metrics HTTP/1.1\r\n" } else { b"GET /metrics HTTP/1.1\r\n\r\n" };
            stream.write_all(words).expect("a request");
            stream
        })
        .collect();
    let capture = lab.folder().join("all.pcapng");
    let capturing = server.spawn(&[product(), "capture", "-w", &capture.to_string_lossy()]);
    eventually("the capture begins", 20, || fs::metadata(&capture).is_ok_and(|about| about.len() > 0));
    let listening = server.spawn(&[product(), "flows", "--json"]);
    serve(&client, 10);
    capturing.signal(Signal::Stop);
    listening.signal(Signal::Stop);

    for round in 0..4 {
        serve(&client, 1000);
        knock(&client, 80 + round, 50);
    }
    eventually("alerts are written for who takes them", 60, || written(&log).len() >= 150);
    assert!(must_have_stack(&server, &nginx)["counters"]["rx_frames"].as_u64() > Some(4000));
    eventually("metrics are answered", 60, || {
        let url = format!("http://{SERVER}:9100/metrics");
        let got = client.run(&["curl", "-sS", "--fail", "--max-time", "5", &url]);
        got.code == 0 && got.stdout.ends_with("# EOF\n")
    });
    drop((deaf, scrapers));
    listening.signal(Signal::Cont);
    eventually("who listens again hears of what is now", 60, || {
        serve(&client, 4);
        listening.said().lines().count() > 10
    });
    capturing.signal(Signal::Cont);
}
