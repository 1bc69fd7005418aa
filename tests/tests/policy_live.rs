//! Another policy for what runs: all stacks at once or none, established connections judged anew, nothing lost by
//! those who are permitted.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use lab::{CLIENT, IFACE, Lab, Namespace, Outcome, Running, SERVER, Site, eventually, product, stacks};
use ringroad_tests::{assert_bypassed, on_road};
use serde_json::Value;

const FILES: &[(&str, usize)] = &[("small.bin", 612)];
/// A second address of the client, which only some of the policies know.
const STRANGER: &str = "10.77.0.3";
const WORKERS: usize = 2;

/// A policy that lets `remote` in.
fn policy(remote: &str) -> String {
    format!(
        "default = \"allow\"\n[sets]\nclients = [\"{remote}\"]\n[[table]]\nlocal = \"{SERVER}\"\n\
         [[table.rule]]\nname = \"web\"\ndirection = \"in\"\nprotocol = \"tcp\"\nlocal_port = [80]\n\
         remote = \"@clients\"\naction = \"allow\"\ncomment = \"the shop\"\n"
    )
}

fn command(server: &Namespace, words: &[&str]) -> Outcome {
    server.run(&[&[product(), "policy"], words].concat())
}

fn curl(client: &Namespace, from: &str) -> i32 {
    let url = format!("http://{SERVER}/small.bin");
    client.run(&["curl", "-sS", "--interface", from, "--max-time", "4", "-o", "/dev/null", &url]).code
}

/// A request over an open connection; what it meets when it is not answered.
fn ask(stream: &mut TcpStream) -> Result<(), ErrorKind> {
    stream.write_all(b"GET /small.bin HTTP/1.1\r\nHost: x\r\n\r\n").map_err(|e| e.kind())?;
    let mut seen = 0;
    while seen < FILES[0].1 {
        seen += match stream.read(&mut [0; 2048]).map_err(|e| e.kind())? {
            0 => return Err(ErrorKind::UnexpectedEof),
            n => n,
        };
    }
    Ok(())
}

fn hosts(lab: &Lab) -> (Namespace, Namespace) {
    let (server, client) = lab.pair();
    client.must(&["ip", "address", "add", &format!("{STRANGER}/24"), "dev", IFACE]);
    (server, client)
}

/// The stacks of a server's workers; other hosts of the machine have theirs in the same place.
fn stacks_of(server: &Namespace, nginx: &Running) -> Vec<Value> {
    let children = nginx.children();
    let is_ours = |stack: &Value| stack["pid"].as_u64().is_some_and(|pid| children.contains(&(pid as u32)));
    stacks(server).into_iter().filter(is_ours).collect()
}

fn generations(stacks: &[Value]) -> Vec<u64> {
    stacks.iter().filter_map(|stack| stack["policy"]["generation"].as_u64()).collect()
}

#[test]
fn a_policy_is_put_in_force_everywhere_or_nowhere() {
    let lab = Lab::new("apply");
    let (server, client) = hosts(&lab);
    let file = |name: &str, text: String| lab.file(name, text).to_string_lossy().into_owned();
    let both = file("both.toml", policy("10.77.0.0/24"));
    let other = file("other.toml", policy(STRANGER));
    let site = Site::with_workers(&lab, 80, FILES, WORKERS);
    let nginx = on_road(&server, &["--policy", &both], &site.nginx(), 80);
    eventually("all workers have a stack", 10, || stacks_of(&server, &nginx).len() == WORKERS);
    let before = server.counters();

    // A wrong file changes nothing, and says what is wrong.
    let generation = generations(&stacks_of(&server, &nginx));
    let wrong = file("wrong.toml", policy("10.77.0.0/33"));
    let refused = command(&server, &["apply", &wrong]);
    assert_eq!(refused.code, 1, "{}", refused.said());
    assert!(
        refused.said().contains("wrong.toml:3:12: \"10.77.0.0/33\" has no prefix length"),
        "{}",
        refused.said()
    );
    assert_eq!(generations(&stacks_of(&server, &nginx)), generation);

    // An established connection of somebody who is no longer permitted hears nothing more; the others are served.
    let mut known = client.enter(|| TcpStream::connect((SERVER, 80)).expect("a connection"));
    let patience = |seconds| Some(Duration::from_secs(seconds));
    known.set_read_timeout(patience(20)).expect("a time limit");
    assert_eq!(ask(&mut known), Ok(()));
    let differ = command(&server, &["diff", &other]);
    assert_eq!(differ.code, 1, "{}", differ.said());
    assert!(differ.said().contains("set @clients: + 10.77.0.3; - 10.77.0.0/24"), "{}", differ.said());
    command(&server, &["apply", &other]).must();
    assert!(generations(&stacks_of(&server, &nginx)).iter().zip(&generation).all(|(now, was)| now > was));
    known.set_read_timeout(patience(1)).expect("a time limit");
    assert_eq!(ask(&mut known), Err(ErrorKind::WouldBlock));
    assert_eq!((curl(&client, CLIENT), curl(&client, STRANGER)), (28, 0));

    // What is in force can be asked.
    let shown = command(&server, &["show"]);
    assert!(shown.said().contains("@clients (1), any port, to our port 80"), "{}", shown.said());
    let flow = format!("tcp {CLIENT}:4000 -> {SERVER}:80");
    let told = command(&server, &["test", &flow]);
    assert_eq!(told.code, 1, "{}", told.said());
    assert!(told.said().contains("no rule matches, so it is denied"), "{}", told.said());
    let flow = flow.replace(CLIENT, STRANGER);
    assert!(command(&server, &["test", &flow]).must().contains("rule 1 \"web\", line 6"));

    // And back: who was denied goes on where it stopped.
    command(&server, &["rollback"]).must();
    assert_eq!((curl(&client, CLIENT), curl(&client, STRANGER)), (0, 0));
    known.set_read_timeout(patience(20)).expect("a time limit");
    assert!(known.read(&mut [0; 2048]).expect("the answer to what was asked before") > 0);
    assert_bypassed(&server, &before);
}

/// Who comes to drive the port later has the policy that is in force then.
#[test]
fn a_worker_that_comes_later_has_the_policy_in_force() {
    let lab = Lab::new("later");
    let (server, client) = hosts(&lab);
    let file = |name: &str, text: String| lab.file(name, text).to_string_lossy().into_owned();
    let both = file("both.toml", policy("10.77.0.0/24"));
    let one = file("one.toml", policy(CLIENT));
    let site = Site::new(&lab, 80, FILES);
    let nginx = on_road(&server, &["--policy", &both], &site.nginx(), 80);
    assert_eq!(curl(&client, STRANGER), 0);
    command(&server, &["apply", &one]).must();
    let first = stacks_of(&server, &nginx)[0]["pid"].as_u64();
    let pid = first.map(|pid| pid.to_string()).unwrap_or_default();
    server.must(&["kill", "-9", &pid]);
    eventually("another worker serves", 20, || {
        let all = stacks_of(&server, &nginx);
        all.len() == 1 && all[0]["pid"].as_u64() != first && curl(&client, CLIENT) == 0
    });
    assert_eq!(curl(&client, STRANGER), 28);
}

/// Many policies, one after the other, under load: no request of a permitted client fails, and not one packet of a
/// refused one is answered.
#[test]
fn policies_come_and_go_under_load() {
    let lab = Lab::new("swaps");
    let (server, client) = hosts(&lab);
    let file = |name: &str, text: String| lab.file(name, text).to_string_lossy().into_owned();
    let (a, b) = (policy(CLIENT), policy(&format!("{CLIENT}/32")).replace("the shop", "the same shop"));
    let (a, b) = (file("a.toml", a), file("b.toml", b));
    let site = Site::with_workers(&lab, 80, FILES, WORKERS);
    let _nginx = on_road(&server, &["--policy", &a], &site.nginx(), 80);
    let before = server.counters();
    let url = format!("http://{SERVER}/small.bin");
    let mut load = client.spawn(&["wrk", "-t1", "-c16", "-d5s", &url]);
    let mut swaps = 0;
    let refused = curl(&client, STRANGER);
    while load.is_running() {
        let next = if swaps % 2 == 0 { &b } else { &a };
        command(&server, &["apply", next]).must();
        swaps += 1;
    }
    let told = load.said();
    assert!(swaps > 2, "only {swaps} policies");
    assert!(!told.contains("Socket errors") && !told.contains("Non-2xx"), "{told}");
    assert!(told.contains("requests in"), "{told}");
    assert_eq!((refused, curl(&client, STRANGER)), (28, 28));
    assert_bypassed(&server, &before);
}

#[test]
fn nobody_to_tell_is_an_error() {
    let lab = Lab::new("nobody");
    let (server, _client) = lab.pair();
    let file = lab.file("policy.toml", policy(CLIENT));
    let file = file.to_string_lossy();
    for words in [&["apply", "/nonexistent.toml"][..], &["apply", &file], &["rollback"], &["show"]] {
        let told = command(&server, words);
        assert_eq!(told.code, 2, "{words:?}: {}", told.said());
    }
    assert!(command(&server, &["check", &file]).must().contains("1. web: allow TCP"));
}
