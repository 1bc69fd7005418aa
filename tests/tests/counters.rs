//! What is counted is what was sent: a thousand counters at once, over the processes that share a port.

use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::time::Duration;

use lab::{CLIENT, Lab, Namespace, SERVER, eventually, stacks};
use ringroad_tests::ringroad;
use serde_json::Value;

const COUNTERS: u16 = 1000;
const PROCESSES: usize = 4;
/// Where the server listens, and the client's ports: one for each counter, and others that none counts.
const PORT: u16 = 7000;
const FIRST: u16 = 20_000;
const OTHERS: std::ops::Range<u16> = 30_000..30_064;

/// Processes that share a port and send back what comes.
const ECHO: &str = "
import os, signal, socket
for _ in range(4):
    if os.fork() == 0:
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        s.bind(('0.0.0.0', 7000))
        while True: s.sendto(*s.recvfrom(100))
while True: signal.pause()
";

fn policy() -> String {
    let rule = |n: u16| {
        format!(
            "{{ name = \"rule {n}\", counter = \"{n}\", direction = \"in\", protocol = \"udp\", remote_port = {}, \
             action = \"allow\" }},\n",
            FIRST + n
        )
    };
    let rules: String = (0..COUNTERS).map(rule).collect();
    format!(
        "[[table]]\nlocal = \"{SERVER}\"\nrule = [\n{rules}\
         {{ name = \"others\", direction = \"in\", protocol = \"udp\", remote_port = \"{}-{}\", action = \"allow\" }},\n]\n",
        OTHERS.start,
        OTHERS.end - 1
    )
}

/// Sends a datagram of 8 octets from a port; whether it comes back within `wait`.
fn echoed(client: &Namespace, port: u16, wait: Duration) -> bool {
    client.enter(|| {
        let socket = UdpSocket::bind((CLIENT, port)).expect("a port");
        socket.connect((SERVER, PORT)).expect("the server");
        socket.set_read_timeout(Some(wait)).expect("a time limit");
        socket.send(b"datagram").expect("sent");
        socket.recv(&mut [0; 16]).is_ok()
    })
}

/// How many datagrams each counter is to count in a round.
fn due(n: u16) -> u64 {
    1 + u64::from(n % 3)
}

/// Sends as many as are due, one at a time.
fn round(client: &Namespace) {
    client.enter(|| {
        for n in 0..COUNTERS {
            let socket = UdpSocket::bind((CLIENT, FIRST + n)).expect("a port");
            socket.connect((SERVER, PORT)).expect("the server");
            socket.set_read_timeout(Some(Duration::from_secs(60))).expect("a time limit");
            for _ in 0..due(n) {
                socket.send(b"datagram").expect("sent");
                socket.recv(&mut [0; 16]).expect("an echo");
            }
        }
    });
}

/// Packets and octets by counter.
fn counted(stack: &Value) -> BTreeMap<String, [u64; 2]> {
    let all = stack["policy"]["counters"].as_object().expect("counters");
    let count = |of: &Value| ["packets", "bytes"].map(|what| of[what].as_u64().expect("a number"));
    all.iter().map(|(name, of)| (name.clone(), count(of))).collect()
}

fn sum(stacks: &[Value]) -> BTreeMap<String, [u64; 2]> {
    let mut sum: BTreeMap<String, [u64; 2]> = BTreeMap::new();
    for (name, [packets, bytes]) in stacks.iter().flat_map(counted) {
        let of = sum.entry(name).or_default();
        *of = [of[0] + packets, of[1] + bytes];
    }
    sum
}

/// Packets of those that no counter counts.
fn others(stack: &Value) -> u64 {
    let rules = stack["policy"]["tables"][0]["rules"].as_array();
    rules.and_then(|rules| rules.last()?["packets"].as_u64()).unwrap_or_default()
}

/// So many rounds, there and back, less what one process has counted.
fn expected(rounds: u64, without: &BTreeMap<String, [u64; 2]>) -> BTreeMap<String, [u64; 2]> {
    // RFC 791, RFC 768: headers of 20 and 8.
    const LEN: u64 = 20 + 8 + 8;
    let of = |n: u16| {
        let packets = 2 * rounds * due(n);
        let lost = without.get(&n.to_string()).copied().unwrap_or_default();
        (n.to_string(), [packets - lost[0], packets * LEN - lost[1]])
    };
    (0..COUNTERS).map(of).collect()
}

#[test]
fn a_thousand_counters_are_exact_over_processes_and_over_the_death_of_one() {
    let lab = Lab::new("counters");
    let (server, client) = lab.pair();
    let file = lab.file("policy.toml", policy());
    let flags = ["--strict", "--policy", &file.to_string_lossy()];
    let _echo = server.spawn(&ringroad(&flags, &["python3", "-c", ECHO]));
    let listen = |processes: usize| {
        eventually("each process listens", 60, || {
            let of = |stack: &Value| stack["sockets"].as_array().is_some_and(|all| !all.is_empty());
            stacks(&server).iter().filter(|stack| of(stack)).count() == processes
        });
        // From many ports, so that each is asked, when it waits for them.
        eventually("each answers", 60, || {
            OTHERS.clone().all(|port| echoed(&client, port, Duration::from_secs(3)))
                && stacks(&server).iter().filter(|stack| others(stack) > 0).count() == processes
        });
    };
    listen(PROCESSES);
    round(&client);
    let all = stacks(&server);
    assert!(
        all.iter().filter(|stack| counted(stack).values().any(|c| c[0] > 0)).count() == PROCESSES,
        "{all:?}"
    );
    assert_eq!(sum(&all), expected(1, &BTreeMap::new()));

    // Who is killed takes along what it has counted, and nothing else.
    let dead = all.iter().find(|stack| counted(stack).values().any(|c| c[0] > 0)).expect("one that counts");
    server.must(&["kill", "-9", &dead["pid"].to_string()]);
    eventually("it is gone", 60, || stacks(&server).iter().all(|stack| stack["pid"] != dead["pid"]));
    listen(PROCESSES - 1);
    assert_eq!(sum(&stacks(&server)), expected(1, &counted(dead)));
    round(&client);
    assert_eq!(sum(&stacks(&server)), expected(2, &counted(dead)));
}
