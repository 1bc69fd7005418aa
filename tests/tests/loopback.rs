//! `--iface lo`: programs that talk to each other on one host.

use lab::{Lab, Namespace, product};
use ringroad_tests::matrix::program;
use ringroad_tests::{sha256, start_on};

/// A host whose kernel takes frames of ours on its loopback device.
fn host(lab: &Lab) -> Namespace {
    let host = lab.host("alone");
    host.must(&["sysctl", "-qw", "net.ipv4.conf.lo.route_localnet=1", "net.ipv4.conf.lo.accept_local=1"]);
    host.must(&["sysctl", "-qw", "net.ipv6.conf.lo.disable_ipv6=0"]);
    host
}

const REDIS: &[&str] = &["redis-server", "--bind", "127.0.0.1", "--port", "6379", "--save", ""];

fn on_lo<'a>(program: &[&'a str]) -> Vec<&'a str> {
    [&[product(), "run", "--iface", "lo", "--strict", "--"], program].concat()
}

/// How many connections the kernel's TCP of a host has opened actively and passively since `before`.
fn opened(host: &Namespace, before: &lab::Counters) -> [u64; 2] {
    let now = host.counters();
    ["TcpActiveOpens", "TcpPassiveOpens"].map(|name| now.since(before, name))
}

#[test]
fn a_server_on_the_road_serves_the_kernel_s_clients() {
    let lab = Lab::new("lo-redis");
    let host = host(&lab);
    let _redis = start_on(&host, &on_lo(REDIS), 6379);
    let before = host.counters();
    let value = "x".repeat(100_000);
    let cli = |words: &[&str]| host.must(&[&["redis-cli", "-h", "127.0.0.1"], words].concat());
    assert_eq!(cli(&["set", "key", &value]).trim(), "OK");
    assert_eq!(cli(&["get", "key"]).trim(), value);
    assert_eq!(opened(&host, &before), [2, 0]);
}

/// Two processes of one application, each with a stack of its own: by the loopback device from one to the other.
#[test]
fn two_processes_of_one_application_talk_past_the_kernel() {
    let lab = Lab::new("lo-both");
    let host = host(&lab);
    let before = host.counters();
    let script = lab.file(
        "both.sh",
        "redis-server --bind 127.0.0.1 --port 6379 --save '' >/dev/null & server=$!\n\
         until redis-cli -h 127.0.0.1 ping >/dev/null 2>&1; do sleep 0.1; done\n\
         v=$(head -c 75000 /dev/zero | tr '\\0' x); for n in 1 2 3; do redis-cli -h 127.0.0.1 set key$n $v; done\n\
         redis-cli -h 127.0.0.1 get key2 | wc -c; kill $server; wait\n",
    );
    let said = host.must(&on_lo(&["sh", script.to_str().unwrap()]));
    assert_eq!(said.split_whitespace().collect::<Vec<_>>(), ["OK", "OK", "OK", "75001"]);
    // Until the server waits for its listener, clients are refused by the kernel, or wait in its queue.
    let [_, passive] = opened(&host, &before);
    assert!(passive <= 1, "{passive}");
}

#[test]
fn a_client_on_the_road_fetches_from_the_kernel_s_server() {
    let lab = Lab::new("lo-http");
    let host = host(&lab);
    let content: Vec<u8> = (0..4_000_000u32).map(|n| (n * 7 / 3) as u8).collect();
    let file = lab.file("file", &content);
    let folder = lab.folder().to_str().unwrap();
    let expected = sha256(&host, file.to_str().unwrap());
    for (address, url) in [("127.0.0.1", "http://127.0.0.1:8000"), ("::1", "http://[::1]:8000")] {
        let server = ["python3", "-m", "http.server", "8000", "-b", address, "-d", folder];
        let _server = ringroad_tests::on_kernel(&host, &server, 8000);
        let before = host.counters();
        let to = lab.folder().join("fetched");
        let (to, url) = (to.to_str().unwrap(), format!("{url}/file"));
        host.must(&on_lo(&["curl", "-sS", "--fail", "--max-time", "50", "-o", to, &url]));
        assert_eq!(sha256(&host, to), expected);
        assert_eq!(opened(&host, &before), [0, 1], "{address}");
    }
}

#[test]
fn what_is_not_set_is_named_with_the_command_that_sets_it() {
    let lab = Lab::new("lo-unset");
    let host = lab.host("alone");
    let outcome = host.run(&on_lo(&["true"]));
    assert_ne!(outcome.code, 0);
    let command = "sysctl -w net.ipv4.conf.lo.route_localnet=1 net.ipv4.conf.lo.accept_local=1";
    assert!(outcome.said().contains(command), "{}", outcome.said());
}

#[test]
fn a_second_run_that_cannot_join_the_first_is_told_of_it() {
    let lab = Lab::new("lo-second");
    let host = host(&lab);
    let _redis = start_on(&host, &on_lo(REDIS), 6379);
    let other = [&["env", "RINGROAD_FRAMES=8192"], &on_lo(&["true"])[..]].concat();
    let outcome = host.run(&other);
    assert_ne!(outcome.code, 0);
    assert!(outcome.said().contains("another ringroad runs on this interface"), "{}", outcome.said());
}

/// A connection that the kernel's listener took goes on with the kernel when the stack of the same process listens.
#[test]
fn a_connection_from_before_the_listener_joined_goes_on() {
    let lab = Lab::new("lo-early");
    let host = host(&lab);
    for address in ["127.0.0.1", "::1"] {
        let said = host.must(&on_lo(&["python3", &program("early_client.py"), address]));
        assert_eq!(said, "b'an answer' 50000\n".repeat(2), "{address}");
    }
}

/// A connection whose ends are in one process goes to a child: the loopback device leads from stack to stack.
#[test]
fn a_child_serves_a_client_of_its_parent() {
    let lab = Lab::new("lo-fork");
    let host = host(&lab);
    let said = host.must(&on_lo(&["python3", &program("forking_alone.py")]));
    let expected: String = (0..5).map(|n| format!("b'HELLO {n}\\n' b''\n")).collect();
    assert_eq!(said, expected);
}
