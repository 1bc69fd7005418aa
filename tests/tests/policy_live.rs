//! Another policy for what runs: all stacks at once or none, established connections judged anew, nothing lost by
//! those who are permitted.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use lab::{
    CLIENT, IFACE, Lab, Namespace, Outcome, Running, SERVER, Site, eventually, eventually_some, product,
    product_for_all, stacks,
};
use ringroad_tests::{assert_bypassed, meanwhile, on_road};
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

/// curl was not answered.
const SILENCE: i32 = 28;

/// What somebody gets who is to get `expected`: who is served is so when the machine has time for it.
fn curl(client: &Namespace, from: &str, expected: i32) -> i32 {
    let url = format!("http://{SERVER}/small.bin");
    let wait = if expected == SILENCE { "4" } else { "60" };
    client.run(&["curl", "-sS", "--interface", from, "--max-time", wait, "-o", "/dev/null", &url]).code
}

/// That the client and the stranger get this.
#[track_caller]
fn assert_served(client: &Namespace, expected: (i32, i32)) {
    assert_eq!((curl(client, CLIENT, expected.0), curl(client, STRANGER, expected.1)), expected);
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

/// Whether a stack judges by what another process has compiled.
fn shares_what_was_compiled(stack: &Value) -> bool {
    let maps =
        std::fs::read_to_string(format!("/proc/{}/maps", stack["pid"])).expect("the maps of a process");
    maps.contains("/memfd:ringroad-image")
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
    assert!(stacks_of(&server, &nginx).iter().all(shares_what_was_compiled));
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
    known.set_read_timeout(patience(60)).expect("a time limit");
    assert_eq!(ask(&mut known), Ok(()));
    let differ = command(&server, &["diff", &other]);
    assert_eq!(differ.code, 1, "{}", differ.said());
    assert!(differ.said().contains("set @clients: + 10.77.0.3; - 10.77.0.0/24"), "{}", differ.said());
    command(&server, &["apply", &other]).must();
    let stacks = stacks_of(&server, &nginx);
    assert!(generations(&stacks).iter().zip(&generation).all(|(now, was)| now > was));
    assert!(stacks.iter().all(shares_what_was_compiled));
    known.set_read_timeout(patience(1)).expect("a time limit");
    assert_eq!(ask(&mut known), Err(ErrorKind::WouldBlock));
    assert_served(&client, (SILENCE, 0));

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
    assert_served(&client, (0, 0));
    known.set_read_timeout(patience(60)).expect("a time limit");
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
    assert_eq!(curl(&client, STRANGER, 0), 0);
    command(&server, &["apply", &one]).must();
    let first = stacks_of(&server, &nginx)[0]["pid"].as_u64();
    let pid = first.map(|pid| pid.to_string()).unwrap_or_default();
    server.must(&["kill", "-9", &pid]);
    eventually("another worker serves", 20, || {
        let all = stacks_of(&server, &nginx);
        all.len() == 1 && all[0]["pid"].as_u64() != first && curl(&client, CLIENT, 0) == 0
    });
    assert_eq!(curl(&client, STRANGER, SILENCE), SILENCE);
    assert!(stacks_of(&server, &nginx).iter().all(shares_what_was_compiled), "that of the policy in force");
}

/// Policies are swapped this often a second, when the machine can, for so many seconds.
const SWAPS_A_SECOND: u64 = 100;
const SECONDS: &str = "RINGROAD_SWAPS_SECONDS";
/// Applies its arguments but the first two, which are the command and a number, in turn, so many times.
const SWAP: &str = "for ((n = 0; n < $2; n++)); do at=$((3 + n % ($# - 2))); \
                    \"$1\" policy apply \"${!at}\" || exit 1; done";

/// Another host on the client's end of the cable, with an address that the policy does not know.
fn stranger(lab: &Lab, client: &Namespace) -> Namespace {
    let host = lab.host("stranger");
    let link = ["ip", "link", "add", "link", IFACE, "name", "there", "type", "macvlan", "mode", "bridge"];
    client.must(&link);
    client.must(&["ip", "link", "set", "there", "netns", host.name()]);
    host.must(&["ip", "link", "set", "there", "name", IFACE, "up"]);
    host.must(&["ip", "address", "add", &format!("{STRANGER}/24"), "dev", IFACE]);
    host
}

/// Two policies that let only the client in, each in its own way: of what is of one and what is of the other any mixture
/// would let the stranger in.
fn two_ways() -> [String; 2] {
    let rule = |name: &str, remote: &str, action: &str| {
        format!(
            "[[table.rule]]\nname = \"{name}\"\ndirection = \"in\"\nprotocol = \"tcp\"\nlocal_port = 80\n\
             remote = \"{remote}\"\naction = \"{action}\"\n"
        )
    };
    let table = format!("[[table]]\nlocal = \"{SERVER}\"\n");
    [
        format!("{table}{}", rule("the shop", CLIENT, "allow")),
        format!("{table}{}{}", rule("not they", STRANGER, "deny"), rule("all", "10.77.0.0/24", "allow")),
    ]
}

/// Tries to connect, which nothing may answer.
fn knock(host: &Namespace) {
    let address = format!("{SERVER}:80").parse().expect("an address");
    let tried = host.enter(|| TcpStream::connect_timeout(&address, Duration::from_millis(10)));
    assert_eq!(tried.map(drop).map_err(|e| e.kind()), Err(ErrorKind::TimedOut));
}

/// Many policies, one after the other, under load: no request of a permitted client fails, and not one packet of a
/// refused one is answered.
#[test]
fn policies_come_and_go_under_load() {
    let lab = Lab::new("swaps");
    let (server, client) = lab.pair();
    let stranger = stranger(&lab, &client);
    let file = |name: &str, text: &str| lab.file(name, text).to_string_lossy().into_owned();
    let [a, b] = two_ways();
    let (a, b, both) = (file("a.toml", &a), file("b.toml", &b), file("both.toml", &policy("10.77.0.0/24")));
    let site = Site::with_workers(&lab, 80, FILES, WORKERS);
    let _nginx = on_road(&server, &["--policy", &both], &site.nginx(), 80);
    let before = server.counters();
    let mut known = stranger.enter(|| TcpStream::connect((SERVER, 80)).expect("a connection"));
    assert_eq!(ask(&mut known), Ok(()));
    command(&server, &["apply", &a]).must();
    let heard = stranger.counters();
    known.write_all(b"GET /small.bin HTTP/1.1\r\nHost: x\r\n\r\n").expect("room in the send buffer");

    let seconds = std::env::var(SECONDS).map_or(10, |text| text.parse().expect("seconds"));
    let swaps = (seconds * SWAPS_A_SECOND).to_string();
    let begun = Instant::now();
    let mut swapping = server.spawn(&["bash", "-c", SWAP, "swap", product(), &swaps, &b, &a]);
    let limit = begun + Duration::from_secs(30 * seconds);
    let serve = || {
        served_while(&client, || {
            assert!(Instant::now() < limit, "the policies take too long: {}", swapping.said());
            swapping.is_running()
        })
    };
    let (requests, tries) = meanwhile(|| knock(&stranger), serve);
    let took = begun.elapsed().as_secs_f64();
    assert_eq!(swapping.ended(1), 0, "{}", swapping.said());
    println!("{swaps} policies in {took:.1} s; {requests} requests served, {tries} connections refused");
    for answer in ["TcpInSegs", "IcmpInMsgs"] {
        assert_eq!(stranger.counters().since(&heard, answer), 0, "{answer}");
    }
    assert_bypassed(&server, &before);
}

/// Loads the server while `goes_on`, in rounds; the requests that were served, which all of them were. A connection that
/// is silenced keeps its round from ending.
fn served_while(client: &Namespace, mut goes_on: impl FnMut() -> bool) -> u64 {
    const ROUND: u64 = 8000;
    let (url, asks) = (format!("http://{SERVER}/small.bin"), ROUND.to_string());
    let mut requests = 0;
    while goes_on() {
        let round = client.run_for(60, &["h2load", "--h1", "-n", &asks, "-c", "16", "-t", "1", &url]);
        let told = round.must();
        assert!(told.contains(&format!(" {ROUND} succeeded, 0 failed")), "{told}");
        requests += ROUND;
    }
    requests
}

/// What another user runs, which says of itself that it is a stack: it takes every policy, or it refuses every one. Or it
/// was that user's, and its process is root's: the number of one that has ended was given out again.
const SAYS: &str = r#"
import os, socket, sys
listener = socket.socket(socket.AF_UNIX)
pid, namespace = os.getpid(), os.stat("/proc/self/ns/pid").st_ino
name = str(pid) if namespace == 0xEFFFFFFC else "%d-%d" % (pid, namespace)
if sys.argv[1] == "was":
    os.seteuid(64321)
listener.bind("/run/ringroad/%s.sock" % name)
listener.listen()
if sys.argv[1] == "was":
    os.seteuid(0)
print("listening at /run/ringroad/%s.sock" % name, flush=True)
while True:
    stream, _ = listener.accept()
    with stream, stream.makefile("rwb") as file:
        words = file.readline().split()
        if words[:1] != [b"adopt"]:
            continue
        file.read(1)
        file.write(b"{}\n" if sys.argv[1] == "takes" else b'{"error":"I will not"}\n')
        file.flush()
        if file.readline() == b"commit\n":
            file.write(b'{"generation":2}\n')
"#;

/// As another user than root, and than the one as whom nginx runs its workers.
const USER: [&str; 4] = ["setpriv", "--reuid=64321", "--regid=64321", "--clear-groups"];

/// A socket's file that is removed at the end.
struct Left(String);

impl Drop for Left {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Starts what says of itself that it is a stack, by `user`.
fn stand_in(host: &Namespace, user: &[&str], what: &str) -> (Running, Left) {
    let program = host.spawn(&[user, &["/usr/bin/python3", "-c", SAYS, what]].concat());
    let path = eventually_some("it listens", 20, || {
        let said = program.said();
        Some(said.strip_suffix('\n')?.strip_prefix("listening at ")?.to_owned())
    });
    (program, Left(path))
}

/// Root's word is for everybody, and nobody of another user can object for others; a user's word is for what that user runs.
#[test]
fn who_is_of_another_user_decides_for_nobody_else() {
    let lab = Lab::new("objector");
    let (server, client) = hosts(&lab);
    let file = |name: &str, text: String| lab.file(name, text).to_string_lossy().into_owned();
    let (both, one) = (file("both.toml", policy("10.77.0.0/24")), file("one.toml", policy(CLIENT)));
    let site = Site::with_workers(&lab, 80, FILES, WORKERS);
    let nginx = on_road(&server, &["--policy", &both], &site.nginx(), 80);
    eventually("all workers have a stack", 20, || stacks_of(&server, &nginx).len() == WORKERS);
    let [(mut refuses, _first), (takes, _second)] =
        ["refuses", "takes"].map(|what| stand_in(&server, &USER, what));
    let (_was, _third) = stand_in(&server, &[], "was");
    let told = command(&server, &["apply", &one]);
    let refusal = format!("not in force in {}, which is another user's: I will not", refuses.pid());
    assert!(told.code == 3 && told.stderr.contains(&refusal), "{}", told.said());
    assert_eq!(told.stderr.matches("I will not").count(), 1, "{}", told.said());
    let mut pids = [nginx.children(), vec![takes.pid()]].concat();
    pids.sort_unstable();
    let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
    assert_eq!(told.stdout, format!("in force in {}\n", pids.join(", ")), "{}", told.said());
    assert_served(&client, (0, SILENCE));

    let generation = generations(&stacks_of(&server, &nginx));
    let copy = product_for_all(&lab).to_string_lossy().into_owned();
    let apply = |user: &[&str]| server.run(&[user, &[&copy, "policy", "apply", &both]].concat());
    let told = apply(&USER);
    let refusal = format!("nothing was changed: process {}: I will not", refuses.pid());
    assert!(told.code == 1 && told.stderr.contains(&refusal), "{}", told.said());
    refuses.kill();
    let told = apply(&USER);
    let alone = format!("in force in {}\n", takes.pid());
    assert!(told.code == 0 && told.stdout == alone, "{}", told.said());
    let told = apply(&["setpriv", "--reuid=64322", "--regid=64322", "--clear-groups"]);
    assert!(
        told.code == 2 && told.stderr.contains("no stack runs on this host that is yours"),
        "{}",
        told.said()
    );
    assert_eq!(generations(&stacks_of(&server, &nginx)), generation, "no user's word is for another's");
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
