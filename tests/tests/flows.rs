//! What every flow carries is told, of nginx's workers and curl, live and from disk, and others can read it.

use std::fs;
use std::path::Path;

use lab::{CLIENT, Lab, Namespace, SERVER, Site, eventually, eventually_some, product};
use ringroad_tests::{on_road, ringroad, start_on};
use serde_json::Value;

const SIZE: u64 = 200_000;
const FILES: &[(&str, usize)] = &[("large.bin", SIZE as usize)];

fn policy() -> String {
    format!(
        "default = \"allow\"\n[[table]]\nlocal = \"{SERVER}\"\nname = \"front\"\n[[table.rule]]\nname = \"web\"\n\
         direction = \"in\"\nprotocol = \"tcp\"\nlocal_port = [8000]\nremote = \"{CLIENT}\"\naction = \"allow\"\n"
    )
}

/// Fetches the file so often over one connection. The octets that were sent for it, and those that came.
fn fetch(client: &Namespace, count: usize) -> (u64, u64) {
    let url = format!("http://{SERVER}:8000/large.bin?[1-{count}]");
    let sizes = "%{size_request} %{size_header} %{size_download}\n";
    let words = ["curl", "-sS", "--fail", "--max-time", "20", "-o", "/dev/null", "--no-keepalive"];
    let said = client.must(&[&words[..], &["-w", sizes, &url]].concat());
    let numbers: Vec<u64> = said.split_whitespace().map(|number| number.parse().expect("a number")).collect();
    assert_eq!(numbers.len(), 3 * count, "{said}");
    numbers.chunks(3).fold((0, 0), |(sent, came), n| (sent + n[0], came + n[1] + n[2]))
}

/// The flows of a text whose last line may not be written to its end.
fn lines(text: &str) -> Vec<Value> {
    let (whole, _) = text.rsplit_once('\n').unwrap_or_default();
    whole.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

fn sum(flows: &[Value], what: &str) -> u64 {
    flows.iter().filter_map(|flow| flow[what].as_u64()).sum()
}

/// nginx with what its flows carry kept in `dir`.
fn nginx(lab: &Lab, server: &Namespace, dir: &Path, flags: &[&str]) -> lab::Running {
    let site = Site::new(lab, 8000, FILES);
    let mut command = vec!["env".to_owned(), format!("RINGROAD_FLOWS={},16M", dir.display())];
    command.extend(ringroad(flags, &site.nginx()).iter().map(ToString::to_string));
    let command: Vec<&str> = command.iter().map(String::as_str).collect();
    start_on(server, &command, 8000)
}

/// What was kept of the one connection to the web site, once that is over.
fn kept(server: &Namespace, dir: &Path) -> Vec<Value> {
    let flows = eventually_some(&format!("a connection in {}", dir.display()), 10, || {
        let words = ["flows", "--json", "--filter", "port 8000", "--from", &dir.to_string_lossy()];
        let flows = lines(&server.must(&[&[product()], &words[..]].concat()));
        flows.iter().any(|flow| flow["over"] == true).then_some(flows)
    });
    assert_eq!(flows.iter().filter(|flow| flow["over"] == true).count(), 1, "{flows:?}");
    flows
}

#[test]
fn what_is_kept_says_who_fetched_how_much() {
    let lab = Lab::new("flows");
    let (server, client) = lab.pair();
    let file = lab.file("policy.toml", policy());
    let dir = lab.folder().join("flows");
    let _nginx = nginx(&lab, &server, &dir, &["--policy", &file.to_string_lossy()]);
    let exchanged = fetch(&client, 3);
    // A port that the policy does not know.
    let url = format!("http://{SERVER}:8001/");
    assert_ne!(client.run(&["curl", "-sS", "--max-time", "1", &url]).code, 0);
    let web = kept(&server, &dir);
    assert_eq!((sum(&web, "bytes_in"), sum(&web, "bytes_out")), exchanged, "{web:?}");
    for flow in &web {
        assert_eq!(flow["rule"], "web", "{flow}");
        assert_eq!((&flow["verdict"], &flow["direction"]), (&"allowed".into(), &"in".into()), "{flow}");
        assert_eq!((&flow["table"], &flow["command"]), (&"front".into(), &"nginx".into()), "{flow}");
        assert_eq!(flow["local"], format!("{SERVER}:8000"), "{flow}");
    }
    let text = server.must(&[
        product(),
        "flows",
        "--from",
        &dir.to_string_lossy(),
        "--filter",
        &format!("remote {CLIENT} and port 8000 and not verdict denied"),
    ]);
    assert!(text.starts_with("TIME ") && text.contains("allowed by web"), "{text}");
    assert_eq!(text.lines().count(), web.len() + 1);
}

/// What the steering program drops comes to no stack, and has a record all the same.
#[test]
fn what_the_steering_program_refuses_is_a_flow() {
    let lab = Lab::new("kept-out");
    let (server, client) = lab.pair();
    let offloaded = policy().replace("name = \"front\"", "name = \"front\"\noffload = \"xdp\"");
    let file = lab.file("policy.toml", offloaded);
    let site = Site::new(&lab, 8000, FILES);
    let _nginx = on_road(&server, &["--policy", &file.to_string_lossy()], &site.nginx(), 8000);
    let listener = server.spawn(&[product(), "flows", "--json", "--filter", "verdict denied"]);
    let url = format!("http://{SERVER}:8001/");
    // Whoever listens is told of what begins from then on.
    let flows = eventually_some("a flow that is refused", 10, || {
        assert_ne!(client.run(&["curl", "-sS", "--max-time", "1", &url]).code, 0);
        Some(lines(&listener.said())).filter(|flows| !flows.is_empty())
    });
    for flow in &flows {
        assert_eq!((&flow["table"], &flow["direction"]), (&"front".into(), &"in".into()), "{flow}");
        assert_eq!(
            (&flow["local"], &flow["packets_in"]),
            (&format!("{SERVER}:8001").into(), &1.into()),
            "{flow}"
        );
    }
    let stack = &lab::stacks(&server)[0];
    assert!(stack["counters"]["xdp_denied"].as_u64() >= Some(1), "{stack}");
    assert_eq!(stack["counters"]["drop_denied_in"].as_u64().unwrap_or_default(), 0, "{stack}");
}

#[test]
fn flows_are_told_while_they_go_on() {
    let lab = Lab::new("live");
    let (server, client) = lab.pair();
    let site = Site::new(&lab, 8000, FILES);
    let _nginx = on_road(&server, &[], &site.nginx(), 8000);
    let listener = server.spawn(&[product(), "flows", "--json", "--filter", "port 8000"]);
    // Whoever listens is told of what begins from then on.
    let flows = eventually_some("flows of a fetch", 10, || {
        fetch(&client, 1);
        let flows = lines(&listener.said());
        flows.iter().any(|flow| flow["over"] == true).then_some(flows)
    });
    assert!(sum(&flows, "bytes_out") >= SIZE, "{flows:?}");
    assert!(
        flows.iter().all(|flow| flow["verdict"] == "allowed" && flow["pid"].as_u64() > Some(0)),
        "{flows:?}"
    );
}

#[test]
fn others_can_read_what_is_kept() {
    let lab = Lab::new("ipfix");
    let (server, client) = lab.pair();
    let dir = lab.folder().join("flows");
    let _nginx = nginx(&lab, &server, &dir, &[]);
    fetch(&client, 2);
    let flows = kept(&server, &dir);
    let file = fs::read_dir(&dir).expect("the directory").next().expect("a file").expect("its name").path();
    let file = file.to_string_lossy();
    let read = server.must(&["tshark", "-r", &file, "-V"]);
    assert!(!read.contains("Malformed") && !read.contains("Expert"), "{read}");
    let out = flows.iter().filter_map(|f| f["bytes_out"].as_u64()).max().expect("a flow");
    for words in [
        format!("SrcAddr: {CLIENT}"),
        format!("DstAddr: {SERVER}"),
        "DstPort: 8000".to_owned(),
        format!("Responder Octets: {out}"),
    ] {
        assert!(read.contains(&words), "{words} is not in\n{read}");
    }
}

#[test]
fn a_collector_gets_what_is_kept_by_udp_and_tcp() {
    let lab = Lab::new("collector");
    let (server, client) = lab.pair();
    let dir = lab.folder().join("flows");
    let _nginx = nginx(&lab, &server, &dir, &[]);
    fetch(&client, 2);
    let flows = kept(&server, &dir);
    server.must(&["ip", "link", "set", "lo", "up"]);
    for (kind, listen, port) in [("udp", "UDP4-RECV", 4739), ("tcp", "TCP4-LISTEN", 4740)] {
        let got = lab.folder().join(kind);
        let (from, to) = (format!("{listen}:{port},bind=127.0.0.1"), format!("CREATE:{}", got.display()));
        let _collector = server.spawn(&["socat", "-u", &from, &to]);
        let bound = ["ss", "-Hlan", &format!("--{kind}"), &format!("sport = :{port}")];
        eventually(&format!("{listen} is there"), 10, || !server.must(&bound).is_empty());
        let target = format!("{kind}:127.0.0.1:{port}");
        server.must(&[product(), "flows", "--from", &dir.to_string_lossy(), "--ipfix", &target]);
        eventually(&format!("all flows by {kind}"), 10, || {
            let text = server.run(&[product(), "flows", "--json", "--from", &got.to_string_lossy()]).stdout;
            let heard = lines(&text);
            flows.iter().all(|flow| heard.contains(flow))
        });
    }
}

#[test]
fn a_policy_from_flows_serves_who_was_seen_and_nobody_else() {
    let lab = Lab::new("suggest");
    let (server, client) = lab.pair();
    let stranger = "10.77.0.200";
    client.must(&["ip", "address", "add", &format!("{stranger}/24"), "dev", lab::IFACE]);
    let dir = lab.folder().join("flows");
    let _nginx = nginx(&lab, &server, &dir, &[]);
    fetch(&client, 3);
    kept(&server, &dir);
    let suggest = [product(), "policy", "suggest", &dir.to_string_lossy(), "--filter", "port 8000"];
    let text = server.must(&suggest);
    assert!(
        text.contains("name = \"in tcp 8000\"") && text.contains(&format!("remote = \"{CLIENT}\"")),
        "{text}"
    );
    let apply = |text: &str| {
        let file = lab.file("suggested.toml", text);
        server.must(&[product(), "policy", "apply", &file.to_string_lossy()]);
    };
    let from = |address: &str, wait: &str| {
        let url = format!("http://{SERVER}:8000/large.bin");
        client.run(&["curl", "-sS", "--interface", address, "--max-time", wait, "-o", "/dev/null", &url]).code
    };
    apply(&text);
    assert_eq!((from(CLIENT, "60"), from(stranger, "60")), (0, 0), "it only monitors");
    apply(&text.replace("\"monitor\"", "\"enforce\""));
    assert_eq!((from(CLIENT, "60"), from(stranger, "2")), (0, 28), "it is in force");
    // What was refused now is no reason to permit it.
    let flows = eventually_some("the refused flow", 10, || {
        let filter = format!("remote {stranger} and verdict denied");
        let words = [product(), "flows", "--json", "--from", &dir.to_string_lossy(), "--filter", &filter];
        Some(lines(&server.must(&words))).filter(|flows| !flows.is_empty())
    });
    assert_eq!(flows[0]["direction"], "in", "{flows:?}");
    let without = format!("remote {stranger} and not verdict monitored and not verdict allowed");
    let nothing = [product(), "policy", "suggest", &dir.to_string_lossy(), "--filter", &without];
    assert_eq!(server.run(&nothing).code, 2);
}

/// Whoever asks hears of all processes, and another answers when the one that did is gone.
#[test]
fn metrics_are_to_be_had_of_all_processes() {
    let lab = Lab::new("metrics");
    let (server, client) = lab.pair();
    let site = Site::with_workers(&lab, 8000, FILES, 2);
    let mut command = vec!["env".to_owned(), format!("RINGROAD_METRICS={SERVER}:9100")];
    command.extend(ringroad(&[], &site.nginx()).iter().map(ToString::to_string));
    let command: Vec<&str> = command.iter().map(String::as_str).collect();
    let _nginx = start_on(&server, &command, 8000);
    fetch(&client, 4);
    let scrape = || {
        let url = format!("http://{SERVER}:9100/metrics");
        let got = client.run(&["curl", "-sS", "--fail", "--max-time", "5", &url]);
        let frames = |line: &&str| line.starts_with("ringroad_rx_frames_total{");
        let pid = |line: &str| line.split('"').nth(1).map(str::to_owned);
        let pids: Vec<String> = got.stdout.lines().filter(frames).filter_map(pid).collect();
        (got.code == 0 && got.stdout.ends_with("# EOF\n")).then_some(pids)
    };
    let before = eventually_some("metrics of two workers", 10, || scrape().filter(|pids| pids.len() == 2));
    for worker in &before {
        server.must(&["kill", "-KILL", worker]);
        eventually("metrics of who is there now", 20, || {
            scrape().is_some_and(|pids| pids.len() == 2 && !pids.contains(worker))
        });
    }
}
