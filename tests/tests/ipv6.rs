//! IPv6 on the road: unmodified programs, dual-stack listeners, the gate; and the kernel's counters to show that
//! none of it passed through the kernel.

use lab::{CLIENT6, Counters, IFACE, Lab, Namespace, SERVER, SERVER6, Site};
use ringroad_tests::matrix::program;
use ringroad_tests::{
    assert_bypassed, assert_no_connections, fetched_sha256, must_have_stack, on_kernel, on_road, ringroad,
    sha256,
};

const FILES: &[(&str, usize)] = &[("small.bin", 612), ("big.bin", 1 << 20)];
/// Packets of IPv6 that the kernel may see in a test: neighbour discovery, whose table it keeps, and the empty
/// datagrams that make it look.
const DISCOVERY: u64 = 40;

/// An nginx on port 80 of all addresses of both families, by one socket.
fn dual_site(lab: &Lab) -> Site {
    let root = lab.folder().join("site-8080/www");
    let server = format!("  server {{ listen [::]:80 ipv6only=off; root {}; }}\n", root.display());
    Site::with(lab, 8080, FILES, &server)
}

#[track_caller]
fn assert_only_discovery(host: &Namespace, before: &Counters) {
    let seen = host.counters().since(before, "Ip6InReceives");
    assert!(seen <= DISCOVERY, "the kernel of {} has seen {seen} packets of IPv6", host.name());
}

#[test]
fn one_listener_of_nginx_serves_both_families() {
    let lab = Lab::new("dual");
    let (server, client) = lab.dual_pair();
    let site = dual_site(&lab);
    let nginx = on_road(&server, &[], &site.nginx(), 80);
    let expected = sha256(&server, &site.path("big.bin"));
    let before = server.counters();
    for host in [format!("[{SERVER6}]"), SERVER.to_owned()] {
        for _ in 0..3 {
            assert_eq!(fetched_sha256(&client, &format!("http://{host}/big.bin")), expected, "{host}");
        }
        let url = format!("http://{host}/small.bin");
        let said = client.must(&["wrk", "-t1", "-c16", "-d1s", &url]);
        assert!(said.contains("Requests/sec") && !said.contains("Socket errors"), "{said}");
        let closing = client.must(&["wrk", "-t1", "-c4", "-d1s", "-H", "Connection: close", &url]);
        assert!(!closing.contains("Socket errors") && !closing.contains("Non-2xx"), "{closing}");
    }
    assert_bypassed(&server, &before);
    assert_only_discovery(&server, &before);
    let stack = must_have_stack(&server, &nginx);
    assert!(stack["counters"]["tcp_passive_opens"].as_u64().unwrap_or(0) > 10, "{stack}");
}

#[test]
fn curl_asks_over_ipv6_from_the_road() {
    let lab = Lab::new("ask6");
    let (server, client) = lab.dual_pair();
    let site = dual_site(&lab);
    let _nginx = on_kernel(&server, &site.nginx(), 80);
    let before = client.counters();
    let out = lab.folder().join("fetched").to_string_lossy().into_owned();
    let link = "fe80::77:1%25road0";
    for host in [SERVER6, link] {
        let url = format!("http://[{host}]/big.bin");
        let fetch = ["curl", "-g", "-6", "-sS", "--fail", "--max-time", "20", "-o", &out, &url];
        client.run(&ringroad(&["--strict"], &fetch)).must();
        assert_eq!(sha256(&client, &out), sha256(&server, &site.path("big.bin")), "{host}");
    }
    assert_no_connections(&client, &before);
}

#[test]
fn redis_and_its_benchmark_meet_over_ipv6() {
    let lab = Lab::new("redis6");
    let (server, client) = lab.dual_pair();
    let folder = lab.folder().to_string_lossy().into_owned();
    let redis = ["redis-server", "--port", "6379", "--bind", "::", "--protected-mode", "no", "--save", ""];
    let _redis = on_road(&server, &[], &[&redis[..], &["--dir", &folder]].concat(), 6379);
    let before = (server.counters(), client.counters());
    let ask = ["redis-benchmark", "-h", SERVER6, "-t", "set,get", "-n", "5000", "-c", "20", "--csv"];
    let said = client.run(&ringroad(&["--strict"], &ask)).must();
    assert!(said.contains("\"SET\"") && said.contains("\"GET\""), "{said}");
    assert_bypassed(&server, &before.0);
    assert_only_discovery(&server, &before.0);
    assert_no_connections(&client, &before.1);
}

#[test]
fn the_gate_judges_ipv6_as_it_judges_ipv4() {
    let lab = Lab::new("gate6");
    let (server, client) = lab.dual_pair();
    let site = dual_site(&lab);
    let policy = lab.file(
        "policy.toml",
        format!(
            "default = \"allow\"\n[[table]]\nlocal = \"{SERVER6}\"\nmode = \"enforce\"\n[[table.rule]]\n\
             name = \"others\"\ndirection = \"in\"\nprotocol = \"tcp\"\nlocal_port = [80]\n\
             remote = [\"fd00:77::100/120\"]\nremote_port = \"any\"\naction = \"allow\"\n"
        ),
    );
    let nginx = on_road(&server, &["--policy", policy.to_str().expect("a path of UTF-8")], &site.nginx(), 80);
    let fetch = |from: &str, wait: &str| {
        let url = format!("http://[{SERVER6}]/small.bin");
        client.run(&[
            "curl",
            "-g",
            "-6",
            "-sS",
            "--interface",
            from,
            "--max-time",
            wait,
            "-o",
            "/dev/null",
            &url,
        ])
    };
    client.must(&["ip", "address", "add", "fd00:77::123/64", "dev", lab::IFACE, "nodad"]);
    assert_eq!(fetch("fd00:77::123", "60").code, 0);
    // Silence, not an answer.
    assert_eq!(fetch(CLIENT6, "2").code, 28);
    let stack = must_have_stack(&server, &nginx);
    assert!(stack["counters"]["drop_denied_in"].as_u64().unwrap_or(0) > 0, "{stack}");
    let by_v4 = format!("http://{SERVER}/small.bin");
    client.must(&["curl", "-sS", "--fail", "--max-time", "60", "-o", "/dev/null", &by_v4]);
}

const SPEAKS: &str = r#"
import select, socket, sys
def ready(*listeners):
    # A listener is on the road once the process has waited for it.
    select.select(listeners, [], [], 0)
    print("ready"); sys.stdout.flush()
def listener(family, host, only=None):
    s = socket.socket(family, socket.SOCK_STREAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if only is not None:
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only)
    s.bind((host, 9000)); s.listen(8); s.settimeout(60)
    return s
def accept(s, what):
    try:
        c, peer = s.accept()
        print(what, peer[0], c.getsockname()[0], c.family.name, len(peer))
        c.sendall(c.recv(100).upper()); c.close()
    except OSError as e:
        print(what, type(e).__name__)
    sys.stdout.flush()
s = listener(socket.AF_INET6, "::", 0)
ready(s)
accept(s, "dual"); accept(s, "dual")
s.close()
six = listener(socket.AF_INET6, "::", 1); four = listener(socket.AF_INET, "0.0.0.0")
ready(six, four)
accept(six, "six"); accept(four, "four")
"#;

#[test]
fn python_s_listeners_hear_what_they_hear_on_the_kernel() {
    let said = [false, true].map(|road| {
        let lab = Lab::new(if road { "py6r" } else { "py6k" });
        let (server, client) = lab.dual_pair();
        let script = lab.file("speaks.py", SPEAKS).to_string_lossy().into_owned();
        let program = ["python3", script.as_str()];
        let before = server.counters();
        let words = if road { ringroad(&["--strict"], &program) } else { program.to_vec() };
        let mut python = server.spawn(&words);
        let ask = |host: &str| {
            let send = format!("exec 3<>/dev/tcp/{host}/9000; echo hello >&3; cat <&3");
            client.run_for(60, &["bash", "-c", &send]).stdout
        };
        let ready = |python: &mut lab::Running, n: usize| {
            lab::eventually("python listens", 20, || {
                assert!(python.is_running(), "{}", python.said());
                python.said().matches("ready").count() == n
            });
        };
        let mut answers = Vec::new();
        for round in 1..=2 {
            ready(&mut python, round);
            answers.extend([SERVER6, SERVER].map(ask));
        }
        lab::eventually("python ends", 20, || !python.is_running());
        if road {
            assert_eq!(server.counters().since(&before, "TcpPassiveOpens"), 0);
        }
        (python.said(), answers)
    });
    assert_eq!(said[0], said[1]);
    assert!(said[0].0.contains("dual ::ffff:10.77.0.2 ::ffff:10.77.0.1 AF_INET6 4"), "{}", said[0].0);
    assert_eq!(said[0].1, vec!["HELLO\n"; 4]);
}

/// RFC 4861 §6.3.4: what a router advertises is the kernel's to take in, and ours to follow.
#[test]
fn packets_are_as_long_and_live_as_long_as_a_router_says() {
    let lab = Lab::new("router6");
    let (server, client) = lab.dual_pair();
    server.must(&["sysctl", "-qw", &format!("net.ipv6.conf.{IFACE}.accept_ra=1")]);
    let _serving = on_road(&server, &[], &["python3", &program("echo_six.py")], 7000);
    let before = server.counters();
    let said = client.must(&["python3", &program("router.py"), IFACE, "33", "1400", SERVER6]);
    assert_eq!(said, "33 1328\n", "the hop limit, and 1400 without 40, 20 and the timestamps' 12");
    assert_eq!(server.counters().since(&before, "Udp6InDatagrams"), 0);
    assert_no_connections(&server, &before);
}
