//! Unmodified programs on the road: as clients, as servers, and against each other.

use lab::{Counters, Lab, Namespace, Outcome, Running, SERVER, Site};
use ringroad_tests::{assert_bypassed, assert_no_connections, on_kernel, on_road, ringroad};

const FILES: &[(&str, usize)] = &[("small.bin", 612), ("big.bin", 1 << 20)];

/// Who is on the road; the other is on the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Road {
    Server,
    Client,
    Both,
}

/// A server and a client, on the road or not, and the counters of both kernels before they met.
struct Meeting<'a> {
    road: Road,
    server: &'a Namespace,
    client: &'a Namespace,
    before: (Counters, Counters),
    _running: Running,
}

impl<'a> Meeting<'a> {
    fn new(road: Road, (server, client): &'a (Namespace, Namespace), program: &[&str], port: u16) -> Self {
        let running = if road == Road::Client {
            on_kernel(server, program, port)
        } else {
            on_road(server, &[], program, port)
        };
        Self { road, server, client, before: (server.counters(), client.counters()), _running: running }
    }

    fn run(&self, program: &[&str]) -> Outcome {
        match self.road {
            Road::Server => self.client.run(program),
            Road::Client | Road::Both => self.client.run(&ringroad(&[], program)),
        }
    }

    /// Whoever was on the road was not on the kernel.
    #[track_caller]
    fn assert_bypassed(&self) {
        if self.road != Road::Client {
            assert_bypassed(self.server, &self.before.0);
        }
        // A client that ends in the middle of an answer leaves the rest to the kernel, which refuses it.
        if self.road != Road::Server {
            assert_no_connections(self.client, &self.before.1);
        }
    }
}

fn redis(road: Road, connections: &str, pipeline: &str) {
    let lab = Lab::new("redis");
    let hosts = lab.pair();
    let folder = lab.folder().to_string_lossy().into_owned();
    let server = ["redis-server", "--port", "6379", "--protected-mode", "no", "--save", "", "--dir", &folder];
    let meeting = Meeting::new(road, &hosts, &server, 6379);
    let outcome = meeting.run(&[
        "redis-benchmark",
        "-h",
        SERVER,
        "-t",
        "ping,set,get,lpush,lrange_100",
        "-n",
        "10000",
        "-c",
        connections,
        "-P",
        pipeline,
        "--csv",
    ]);
    let said = outcome.must();
    for test in ["SET", "GET", "LPUSH", "LRANGE_100"] {
        assert!(said.contains(&format!("\"{test}")), "{test} is missing in {said}");
    }
    let value = "x".repeat(100_000);
    let set = format!("redis-cli -h {SERVER} set key {value} && redis-cli -h {SERVER} get key");
    assert_eq!(meeting.run(&["sh", "-c", &set]).must(), format!("OK\n{value}\n"));
    meeting.assert_bypassed();
}

#[test]
fn redis_serves_on_the_road() {
    redis(Road::Server, "50", "1");
}

#[test]
fn redis_benchmark_asks_on_the_road() {
    redis(Road::Client, "50", "1");
}

#[test]
fn redis_and_its_benchmark_meet_on_the_road() {
    redis(Road::Both, "50", "16");
}

#[test]
fn redis_with_one_connection() {
    redis(Road::Both, "1", "1");
}

/// It shows a program no vDSO, which the kernel has told of.
#[test]
fn redis_under_valgrind_is_on_the_road() {
    let lab = Lab::new("valgrind");
    let hosts = lab.pair();
    let folder = lab.folder().to_string_lossy().into_owned();
    let valgrind = ["valgrind", "--tool=none", "redis-server", "--port", "6379", "--protected-mode", "no"];
    let server = [&valgrind[..], &["--save", "", "--dir", &folder]].concat();
    let meeting = Meeting::new(Road::Server, &hosts, &server, 6379);
    assert_eq!(meeting.run(&["redis-cli", "-h", SERVER, "ping"]).must(), "PONG\n");
    meeting.assert_bypassed();
}

fn web(road: Road) {
    let lab = Lab::new("web");
    let hosts = lab.pair();
    let site = Site::new(&lab, 80, FILES);
    let meeting = Meeting::new(road, &hosts, &site.nginx(), 80);
    for (file, size) in FILES {
        let url = format!("http://{SERVER}/{file}");
        let out = lab.folder().join("fetched").to_string_lossy().into_owned();
        meeting.run(&["curl", "-sS", "--fail", "--max-time", "20", "-o", &out, &url]).must();
        let fetched = std::fs::read(&out).unwrap();
        assert_eq!(fetched.len(), *size);
        assert!(fetched == std::fs::read(site.path(file)).unwrap(), "{file}");
        let said = meeting.run(&["wrk", "-t1", "-c32", "-d1s", &url]).must();
        assert!(said.contains("Requests/sec") && !said.contains("Socket errors"), "{said}");
        assert!(!said.contains("Non-2xx"), "{said}");
        let closing = meeting.run(&["wrk", "-t1", "-c8", "-d1s", "-H", "Connection: close", &url]).must();
        assert!(!closing.contains("Socket errors") && !closing.contains("Non-2xx"), "{closing}");
    }
    meeting.assert_bypassed();
}

#[test]
fn nginx_serves_curl_and_wrk_from_the_road() {
    web(Road::Server);
}

#[test]
fn curl_and_wrk_ask_from_the_road() {
    web(Road::Client);
}

#[test]
fn nginx_and_its_clients_meet_on_the_road() {
    web(Road::Both);
}

#[test]
fn a_program_that_needs_no_road_runs_as_ever() {
    let lab = Lab::new("plain");
    let (host, _other) = lab.pair();
    let outcome = host.run(&ringroad(&[], &["sh", "-c", "echo out; echo err >&2; exit 7"]));
    assert_eq!((outcome.code, outcome.stdout.as_str(), outcome.stderr.as_str()), (7, "out\n", "err\n"));
}
