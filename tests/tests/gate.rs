//! The gate: what a policy permits passes, what it denies gets silence and is counted.

use std::net::{TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use lab::{CLIENT, IFACE, Lab, Namespace, SERVER, Site, SplitMix, eventually, stack_of, stacks};
use ringroad_tests::{assert_bypassed, must_have_stack, on_kernel, on_road, ringroad};
use serde_json::Value;

const FILES: &[(&str, usize)] = &[("small.bin", 612)];
/// A second address of the client, which the policy does not know.
const STRANGER: &str = "10.77.0.3";

fn policy(mode: &str) -> String {
    format!(
        "default = \"allow\"\n[[table]]\nlocal = \"{SERVER}\"\nmode = \"{mode}\"\n\
         [[table.rule]]\nname = \"web\"\ndirection = \"in\"\nprotocol = \"tcp\"\nlocal_port = [80]\n\
         remote = [\"{CLIENT}/32\"]\nremote_port = \"any\"\naction = \"allow\"\n"
    )
}

fn hosts(lab: &Lab) -> (Namespace, Namespace) {
    let (server, client) = lab.pair();
    client.must(&["ip", "address", "add", &format!("{STRANGER}/24"), "dev", IFACE]);
    (server, client)
}

/// Who is served is so when the machine has time for it.
const PATIENCE: &str = "60";
/// How long a client waits that is refused: two of its SYNs.
const IMPATIENCE: &str = "3";

fn curl(client: &Namespace, from: &str, wait: &str) -> lab::Outcome {
    client.run(&[
        "curl",
        "-sS",
        "--interface",
        from,
        "--max-time",
        wait,
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}",
        &format!("http://{SERVER}/small.bin"),
    ])
}

fn table(stack: &Value) -> &Value {
    &stack["policy"]["tables"][0]
}

#[test]
fn a_denied_client_gets_silence_and_is_counted() {
    let lab = Lab::new("gate");
    let (server, client) = hosts(&lab);
    let file = lab.file("policy.toml", policy("enforce"));
    let site = Site::new(&lab, 80, FILES);
    let nginx = on_road(&server, &["--policy", &file.to_string_lossy()], &site.nginx(), 80);
    let before = server.counters();
    assert_eq!(curl(&client, CLIENT, PATIENCE).must(), "200");
    let permitted = must_have_stack(&server, &nginx);
    assert!(table(&permitted)["rules"][0]["packets"].as_u64() > Some(4), "{permitted}");
    assert!(table(&permitted)["rules"][0]["bytes"].as_u64() > Some(612), "{permitted}");
    assert_eq!(table(&permitted)["denied"]["packets"], 0);

    let heard = client.counters();
    let refused = curl(&client, STRANGER, IMPATIENCE);
    assert_eq!(refused.code, 28, "a time-out, not an answer: {}", refused.said());
    let now = client.counters();
    for answer in ["TcpInSegs", "IcmpInMsgs", "TcpAttemptFails", "TcpEstabResets"] {
        assert_eq!(now.since(&heard, answer), 0, "{answer}");
    }
    let denied = must_have_stack(&server, &nginx);
    assert!(table(&denied)["denied"]["packets"].as_u64() >= Some(2), "{denied}");
    assert!(table(&denied)["denied"]["bytes"].as_u64() >= Some(80), "{denied}");
    assert_eq!(table(&denied)["rules"], table(&permitted)["rules"]);
    assert!(denied["counters"]["drop_denied_in"].as_u64() >= Some(2), "{denied}");
    assert_eq!(curl(&client, CLIENT, PATIENCE).must(), "200");
    assert_bypassed(&server, &before);
}

#[test]
fn in_monitor_mode_it_is_served_and_counted() {
    let lab = Lab::new("monitor");
    let (server, client) = hosts(&lab);
    let file = lab.file("policy.toml", policy("monitor"));
    let site = Site::new(&lab, 80, FILES);
    let nginx = on_road(&server, &["--policy", &file.to_string_lossy()], &site.nginx(), 80);
    let before = server.counters();
    assert_eq!(curl(&client, STRANGER, PATIENCE).must(), "200");
    assert_bypassed(&server, &before);
    let stack = must_have_stack(&server, &nginx);
    assert_eq!(table(&stack)["mode"], "monitor");
    assert!(table(&stack)["denied"]["packets"].as_u64() > Some(4), "{stack}");
    assert_eq!(table(&stack)["rules"][0]["packets"], 0);
}

#[test]
fn an_outbound_connection_needs_a_rule() {
    let lab = Lab::new("outbound");
    let (server, client) = hosts(&lab);
    let site = Site::new(&lab, 8080, FILES);
    let _kernel = on_kernel(&client, &site.nginx(), 8080);
    let url = format!("http://{CLIENT}:8080/small.bin");
    let fetch = ["curl", "-sS", "--fail", "--max-time", PATIENCE, "-o", "/dev/null", &url];

    let closed = lab.file("closed.toml", policy("enforce"));
    let (before, heard) = (server.counters(), client.counters());
    let refused = server.run(&ringroad(&["--policy", &closed.to_string_lossy()], &fetch));
    assert_eq!(refused.code, 7, "curl says that it cannot connect: {}", refused.said());
    assert_eq!(client.counters().since(&heard, "TcpInSegs"), 0, "no SYN may leave");
    assert_bypassed(&server, &before);

    let out = "[[table.rule]]\nname = \"out\"\ndirection = \"out\"\nprotocol = \"tcp\"\nremote_port = [8080]\naction = \"allow\"\n";
    let open = lab.file("open.toml", policy("enforce") + out);
    server.must(&ringroad(&["--policy", &open.to_string_lossy()], &fetch));
    assert_eq!(client.counters().since(&heard, "TcpPassiveOpens"), 1);
    assert_bypassed(&server, &before);
}

#[test]
fn the_default_deny_closes_addresses_without_a_table() {
    let lab = Lab::new("default");
    let (server, client) = hosts(&lab);
    let file = lab.file("policy.toml", "default = \"deny\"\n");
    let site = Site::new(&lab, 80, FILES);
    let nginx = on_road(&server, &["--policy", &file.to_string_lossy()], &site.nginx(), 80);
    assert_eq!(curl(&client, CLIENT, IMPATIENCE).code, 28);
    eventually("the denied packets are counted", 5, || {
        must_have_stack(&server, &nginx)["counters"]["drop_denied_in"].as_u64() >= Some(2)
    });
}

/// Rules with a counter each, told apart by the port that datagrams come from; every fourth denies.
const COUNTERS: u16 = 1000;
const FIRST_PORT: u16 = 20_000;
const SINK: &str = "import socket\ns=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\ns.bind(('10.77.0.1',7000))\n\
    while True: s.recv(2048)";

fn policy_of_counters() -> String {
    let rule = |n: u16| {
        let (port, action) = (FIRST_PORT + n, if n % 4 == 3 { "deny" } else { "allow" });
        format!(
            "[[table.rule]]\nname = \"rule {n}\"\ndirection = \"in\"\nprotocol = \"udp\"\nlocal_port = 7000\n\
             remote_port = {port}\naction = \"{action}\"\ncounter = \"counter {n}\"\n"
        )
    };
    format!("[[table]]\nlocal = \"{SERVER}\"\n{}", (0..COUNTERS).map(rule).collect::<String>())
}

/// Packets and bytes of one counter.
type Count = (u64, u64);

fn counts(stack: &Value) -> Vec<Count> {
    let one = |n: u16| {
        let counter = &stack["policy"]["counters"][format!("counter {n}")];
        (counter["packets"].as_u64().unwrap_or(0), counter["bytes"].as_u64().unwrap_or(0))
    };
    (0..COUNTERS).map(one).collect()
}

/// Sends a datagram from the port of counter `n`; the bytes of its IP packet.
fn datagram(n: u16, len: usize) -> u64 {
    let socket = UdpSocket::bind((CLIENT, FIRST_PORT + n)).expect("a socket");
    socket.send_to(&[0; 512][..len], (SERVER, 7000)).expect("a datagram that is sent");
    20 + 8 + len as u64
}

/// So many datagrams go out before their number is asked for: what waits at once has room everywhere.
const BATCH: usize = 500;

#[test]
fn a_thousand_counters_are_exact_at_once() {
    let lab = Lab::new("counters");
    let (server, client) = lab.pair();
    let file = lab.file("policy.toml", policy_of_counters());
    let sink = server.spawn(&ringroad(&["--policy", &file.to_string_lossy()], &["python3", "-c", SINK]));
    let stack = || stack_of(&server, &sink).unwrap_or_default();
    eventually("the sink is on the road", 20, || {
        stack()["sockets"].as_array().is_some_and(|all| !all.is_empty())
    });
    let mut random = SplitMix(11);
    let many = (0..COUNTERS).flat_map(|n| vec![n; 1 + (random.next() % 16) as usize]);
    let mut order: Vec<u16> = many.collect();
    (1..order.len()).rev().for_each(|at| order.swap(at, (random.next() % (at as u64 + 1)) as usize));
    let mut sent = vec![(0, 0); COUNTERS.into()];
    for (batch, so_far) in order.chunks(BATCH).zip((BATCH as u64..).step_by(BATCH)) {
        let bytes: Vec<u64> =
            client.enter(|| batch.iter().map(|n| datagram(*n, (random.next() % 512) as usize)).collect());
        for (n, bytes) in batch.iter().zip(bytes) {
            let (packets, sum) = &mut sent[usize::from(*n)];
            (*packets, *sum) = (*packets + 1, *sum + bytes);
        }
        let wanted = so_far.min(order.len() as u64);
        eventually("all that was sent is counted", 20, || {
            counts(&stack()).iter().map(|(packets, _)| packets).sum::<u64>() >= wanted
        });
    }
    let told = stack();
    assert_eq!(counts(&told), sent);
    let of_denied =
        |counts: &[Count]| counts.iter().skip(3).step_by(4).map(|(packets, _)| packets).sum::<u64>();
    assert_eq!(table(&told)["denied"]["packets"].as_u64(), Some(of_denied(&sent)), "{}", order.len());
}

/// A source has one limit, however many workers it comes to.
#[test]
fn a_limit_holds_for_all_workers_of_a_port() {
    const LIMIT: u32 = 10;
    let lab = Lab::new("limit");
    let (server, client) = hosts(&lab);
    let rule = format!("remote_port = \"any\"\nlimit = {LIMIT}\n");
    let file = lab.file("policy.toml", policy("enforce").replace("remote_port = \"any\"\n", &rule));
    let site = Site::with_workers(&lab, 80, FILES, 4);
    let _nginx = on_road(&server, &["--policy", &file.to_string_lossy()], &site.nginx(), 80);
    eventually("every worker", 60, || stacks(&server).len() == 4);
    let to = format!("{SERVER}:80").parse().expect("an end");
    let begun = Instant::now();
    let connects = |ms| TcpStream::connect_timeout(&to, Duration::from_millis(ms)).is_ok();
    // The first may take its time, the others hurry: a limit is seen by who asks too often.
    let served = client.enter(|| {
        assert!(connects(60_000), "one is permitted");
        1 + (0..150).filter(|_| connects(20)).count() as u64
    });
    // A second's worth at once, and what the time since brought.
    let most = u64::from(LIMIT) * (begun.elapsed().as_secs() + 2);
    let sum = || {
        let of = |stack: &Value| table(stack)["rules"][0]["limited"].as_u64();
        stacks(&server).iter().filter_map(of).sum::<u64>()
    };
    eventually("what is beyond is counted", 60, || sum() > 0);
    assert!(served <= most, "{served} of {most}, {} beyond", sum());
}
