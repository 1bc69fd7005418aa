//! What passes a stack is seen, all of it, with what became of it; and whoever looks holds nobody up.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use lab::{CLIENT, IFACE, Lab, Namespace, Running, SERVER, Signal, Site, eventually, product};
use ringroad_tests::{on_road, sha256};

const FILES: &[(&str, usize)] = &[("small.bin", 612), ("large.bin", 8 << 20)];
/// Small files that are asked for while the large one is under way.
const REQUESTS: usize = 2000;
/// A second address of the client.
const STRANGER: &str = "10.77.0.3";

/// A capture that runs, and its file.
struct Capturing {
    program: Running,
    file: PathBuf,
}

impl Capturing {
    /// Begins, and waits until it sees.
    fn begin(lab: &Lab, host: &Namespace, words: &[&str]) -> Self {
        static FILES: AtomicU32 = AtomicU32::new(0);
        let file = lab.folder().join(format!("{}.pcapng", FILES.fetch_add(1, Ordering::Relaxed)));
        let path = file.to_string_lossy().into_owned();
        let mut program = host.spawn(&[&[product(), "capture", "-w", &path], words].concat());
        // The block of the interface is written when the stack has been met.
        eventually("the capture begins", 10, || {
            assert!(program.is_running(), "{}", program.said());
            std::fs::metadata(&file).is_ok_and(|m| m.len() > 0)
        });
        Self { program, file }
    }

    /// Ends it as Ctrl-C does; what it says.
    fn end(mut self) -> (PathBuf, String) {
        self.program.signal(Signal::Term);
        assert_eq!(self.program.ended(20), 0, "{}", self.program.said());
        (self.file, self.program.said())
    }
}

/// What tshark finds in a file: a line a packet, fields separated by tabs. It must find no fault.
fn tshark(host: &Namespace, file: &Path, filter: &str, fields: &[&str]) -> Vec<Vec<String>> {
    let path = file.to_string_lossy();
    let mut command = vec!["tshark", "-n", "-r", &path, "-Y", filter, "-T", "fields"];
    fields.iter().for_each(|field| command.extend(["-e", field]));
    let outcome = host.run_for(60, &command);
    let faults: Vec<&str> =
        outcome.stderr.lines().filter(|line| !line.starts_with("Running as user")).collect();
    assert!(outcome.code == 0 && faults.is_empty(), "{faults:?}");
    outcome.stdout.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect()
}

/// How many packets a capture that has ended says it has, and has lost.
fn counted(said: &str) -> (u64, u64) {
    let mut numbers = said.split(|c: char| !c.is_ascii_digit()).filter_map(|word| word.parse().ok());
    numbers.next().zip(numbers.next()).unwrap_or_else(|| panic!("no two numbers in {said}"))
}

fn curl(client: &Namespace, from: &str, file: &str, port: u16) -> i32 {
    let url = format!("http://{SERVER}:{port}/{file}");
    // Nobody but the stranger is refused: the others are served when the machine has time for it.
    let wait = if from == STRANGER { "3" } else { "20" };
    let command = ["curl", "-sS", "--interface", from, "--max-time", wait, "-o", "/dev/null", &url];
    client.run_for(30, &command).code
}

/// All of a large transfer beside others is there: tshark, which follows the sequence numbers, puts the whole file
/// together.
#[test]
fn every_segment_of_a_transfer_is_in_the_file_under_load() {
    let lab = Lab::new("capture");
    let (server, client) = lab.pair();
    let site = Site::new(&lab, 8101, FILES);
    let _nginx = on_road(&server, &[], &site.nginx(), 8101);
    let capturing = Capturing::begin(&lab, &server, &[]);
    let small = format!("http://{SERVER}:8101/small.bin");
    // All of it is less than the ring holds: nothing is lost, however seldom its reader gets to run.
    let asks = REQUESTS.to_string();
    let mut load = client.spawn(&["h2load", "--h1", "-n", &asks, "-c", "16", "-t", "1", &small]);
    assert_eq!(curl(&client, CLIENT, "large.bin", 8101), 0);
    assert_eq!(load.ended(20), 0, "{}", load.said());
    assert!(load.said().contains(&format!("{REQUESTS} succeeded")), "{}", load.said());
    let (file, said) = capturing.end();
    assert!(said.contains(" 0 lost"), "{said}");
    let gaps = "tcp.analysis.lost_segment or tcp.analysis.ack_lost_segment or _ws.malformed";
    assert_eq!(tshark(&server, &file, gaps, &["frame.number"]), Vec::<Vec<String>>::new());
    let large = tshark(&server, &file, "http.content_length > 1000000", &["tcp.stream"]);
    let stream = format!("tcp.stream == {}", large[0][0]);
    let (path, one) = (file.to_string_lossy(), lab.folder().join("one.pcapng"));
    server.must(&["tshark", "-n", "-r", &path, "-Y", &stream, "-w", &one.to_string_lossy()]);
    let objects = format!("http,{}", lab.folder().display());
    server.must(&["tshark", "-n", "-Q", "-r", &one.to_string_lossy(), "--export-objects", &objects]);
    let got = sha256(&server, &lab.folder().join("large.bin").to_string_lossy());
    assert_eq!(got, sha256(&server, &site.path("large.bin")), "the answer that was put together");
    let answers = tshark(&server, &file, "http.response", &["frame.interface_name"]);
    assert_eq!(answers.len(), REQUESTS + 1);
    assert!(answers.iter().all(|fields| fields[0] == IFACE), "{answers:?}");
}

#[test]
fn a_refused_packet_is_there_with_its_reason_and_the_filter_finds_it() {
    let lab = Lab::new("capfilt");
    let (server, client) = lab.pair();
    client.must(&["ip", "address", "add", &format!("{STRANGER}/24"), "dev", IFACE]);
    let policy = lab.file(
        "policy.toml",
        format!(
            "[[table]]\nlocal = \"{SERVER}\"\nrule = [{{ name = \"web\", direction = \"in\", protocol = \"tcp\", \
             remote = \"{CLIENT}\", action = \"allow\" }}]\n"
        ),
    );
    let site = Site::new(&lab, 8102, FILES);
    let _nginx = on_road(&server, &["--policy", &policy.to_string_lossy()], &site.nginx(), 8102);
    let words = ["tcp", "port", "8102", "and", "host", STRANGER];
    let only = Capturing::begin(&lab, &server, &words);
    assert_eq!(curl(&client, CLIENT, "small.bin", 8102), 0);
    assert_eq!(curl(&client, STRANGER, "small.bin", 8102), 28);
    let (file, _) = only.end();
    let fields = ["ip.src", "frame.comment", "frame.packet_flags_direction"];
    let seen = tshark(&server, &file, "frame", &fields);
    assert!(seen.len() >= 2, "{seen:?}");
    for packet in &seen {
        let comment = format!("in, dropped (drop_denied_in), no rule of table {SERVER}, process ");
        assert!(packet[0] == STRANGER && packet[1].starts_with(&comment), "{packet:?}");
        assert_eq!(packet[2], "0x00000001", "{packet:?}");
    }
    let both = Capturing::begin(&lab, &server, &["-s", "60"]);
    assert_eq!(curl(&client, CLIENT, "small.bin", 8102), 0);
    let (file, _) = both.end();
    let seen = tshark(&server, &file, "tcp", &["ip.src", "frame.comment", "frame.cap_len"]);
    for (from, way) in [(CLIENT, "in, passed, rule \"web\""), (SERVER, "out, passed, rule \"web\"")] {
        assert!(seen.iter().any(|p| p[0] == from && p[1].starts_with(way)), "{from}: {seen:?}");
    }
    assert!(seen.iter().all(|p| p[2].parse::<u32>().is_ok_and(|n| n <= 60)), "{seen:?}");
    let wrong = server.run(&[product(), "capture", "-w", "/dev/null", "tcp", "prot", "80"]);
    assert!(wrong.code == 1 && wrong.stderr.contains("syntax error"), "{}", wrong.said());
}

/// A reader that stops reading, or is killed, costs nobody anything but itself.
#[test]
fn a_reader_that_is_stopped_or_killed_holds_nobody_up_and_leaves_nothing() {
    let lab = Lab::new("capstop");
    let (server, client) = lab.pair();
    let site = Site::new(&lab, 8103, FILES);
    let nginx = on_road(&server, &[], &site.nginx(), 8103);
    let rings = || {
        let maps = |pid: &u32| std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
        nginx.children().iter().map(|pid| maps(pid).matches("ringroad-capture").count()).sum::<usize>()
    };
    let capturing = Capturing::begin(&lab, &server, &[]);
    assert_eq!(rings(), 1);
    capturing.program.signal(Signal::Stop);
    // More than the ring holds.
    for _ in 0..5 {
        assert_eq!(curl(&client, CLIENT, "large.bin", 8103), 0);
    }
    capturing.program.signal(Signal::Cont);
    let (file, said) = capturing.end();
    let (captured, lost) = counted(&said);
    assert!(captured > 0 && lost > 0, "{said}");
    let whole = server.must(&["capinfos", "-M", "-c", &file.to_string_lossy()]);
    assert_eq!(whole.split_whitespace().last(), Some(captured.to_string().as_str()), "{whole}");
    eventually("the ring is gone", 5, || rings() == 0);
    let mut capturing = Capturing::begin(&lab, &server, &[]);
    assert_eq!(rings(), 1);
    capturing.program.kill();
    assert_eq!(curl(&client, CLIENT, "small.bin", 8103), 0);
    eventually("the ring is gone", 5, || rings() == 0);
}

/// Four at a time, and no more.
#[test]
fn captures_are_bounded_and_end_when_they_should() {
    let lab = Lab::new("capmany");
    let (server, client) = lab.pair();
    let site = Site::new(&lab, 8104, FILES);
    let mut nginx = on_road(&server, &[], &site.nginx(), 8104);
    let worker = nginx.children().first().map(u32::to_string).expect("a worker");
    let mut all: Vec<Running> = (0..4)
        .map(|n| {
            let file = lab.folder().join(format!("many-{n}.pcapng"));
            let file = file.to_string_lossy().into_owned();
            let program = server.spawn(&[product(), "capture", "-w", &file, "--pid", &worker]);
            eventually("the capture begins", 10, || std::fs::metadata(&file).is_ok_and(|m| m.len() > 0));
            program
        })
        .collect();
    let more = server.run(&[product(), "capture", "-w", "/dev/null"]);
    assert!(more.code == 1 && more.stderr.contains("4 captures of it are under way"), "{}", more.said());
    all.truncate(1);
    eventually("there is room again", 5, || {
        server.run(&[product(), "capture", "-w", "/dev/null", "--seconds", "0"]).code == 0
    });
    let file = lab.folder().join("counted.pcapng");
    let file = file.to_string_lossy();
    let mut counted = server.spawn(&[product(), "capture", "-w", &file, "-c", "3"]);
    eventually("the capture begins", 10, || {
        curl(&client, CLIENT, "small.bin", 8104);
        !counted.is_running()
    });
    assert_eq!(
        (counted.ended(1), counted.said().contains("3 packets captured")),
        (0, true),
        "{}",
        counted.said()
    );
    nginx.kill();
    assert_eq!(all[0].ended(10), 0, "{}", all[0].said());
    // Of all stacks it would be that of the keeper, which resets those who talked to nginx.
    let nobody = server.run(&[product(), "capture", "-w", "/dev/null", "--pid", &worker]);
    assert!(nobody.code == 1 && nobody.stderr.contains("runs no stack"), "{}", nobody.said());
}
