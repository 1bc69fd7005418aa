//! Cloaked addresses: whoever is not permitted finds no host, by whatever scan, and is told of; who is sees a normal host.

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;

use lab::{
    CLIENT, CLIENT6, IFACE, Lab, Namespace, Running, SERVER, SERVER6, Site, eventually, eventually_some,
    product, stacks,
};
use ringroad_tests::scans::{Scan, alerts, are_told_once, is_told_once};
use ringroad_tests::{accepted, fifo, meanwhile, must_have_stack, on_kernel, on_road, ringroad};
use serde_json::Value;

const FILES: &[(&str, usize)] = &[("small.bin", 612)];
/// Where nginx listens on the road, and where another does on the kernel.
const ROAD: u16 = 8000;
const KERNEL: u16 = 9000;
/// Ports that are permitted; nobody listens on most of them.
const PERMITTED: &str = "8000-9000";
/// An address of the client that the policy does not know.
const STRANGER: &str = "10.77.0.3";
/// Addresses of the server that are cloaked, too, by their last part; and one that is not.
const CROWD: std::ops::RangeInclusive<u8> = 100..=109;
const PLAIN: u8 = 120;

/// Two families, and who is who in each.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    V4,
    V6,
}

impl Family {
    const BOTH: [Self; 2] = [Self::V4, Self::V6];

    /// The server, and the client that is permitted.
    const fn ends(self) -> (&'static str, &'static str) {
        match self {
            Self::V4 => (SERVER, CLIENT),
            Self::V6 => (SERVER6, CLIENT6),
        }
    }

    /// An address of the cable's network.
    fn address(self, n: u8) -> String {
        match self {
            Self::V4 => format!("10.77.0.{n}"),
            Self::V6 => format!("fd00:77::1{n:02x}"),
        }
    }

    /// Gives a host such an address.
    fn add(self, host: &Namespace, n: u8) -> String {
        let address = self.address(n);
        let (len, more): (u8, &[&str]) = if self == Self::V4 { (24, &[]) } else { (64, &["nodad"]) };
        let words = ["ip", "address", "add", &format!("{address}/{len}"), "dev", IFACE];
        host.must(&[&words[..], more].concat());
        address
    }
}

fn policy(mode: &str) -> String {
    format!(
        "[[table]]\nlocal = [\"{SERVER}\", \"10.77.0.96/28\", \"{SERVER6}\", \"fd00:77::160/124\"]\nname = \"hidden\"\n\
         {mode}\nrule = [\n\
         {{ name = \"web\", direction = \"in\", protocol = \"any\", local_port = \"{PERMITTED}\", remote = [\"{CLIENT}\", \
           \"{CLIENT6}\"], action = \"allow\" }},\n\
         {{ name = \"never\", direction = \"in\", protocol = \"tcp\", local_port = 22, remote = \"{STRANGER}\", \
           action = \"deny\", counter = \"knocks\" }},\n\
         {{ name = \"calls\", direction = \"out\", protocol = \"tcp\", remote = \"{CLIENT}\", action = \"allow\" }},\n\
         {{ name = \"ping\", direction = \"in\", protocol = \"icmp\", icmp_type = \"echo-request\", remote = \"{CLIENT}\", \
           action = \"allow\" }},\n\
         {{ name = \"ping6\", direction = \"in\", protocol = \"icmpv6\", icmp_type = \"echo-request\", remote = \
           \"{CLIENT6}\", action = \"allow\" }},\n]\n"
    )
}

/// A server with a program on the road and one on the kernel, and a client with a stranger's address of each family.
struct Hosts {
    server: Namespace,
    client: Namespace,
    road: Running,
    /// Until the end of the test.
    _kernel: Running,
}

impl Hosts {
    fn new(lab: &Lab, mode: &str) -> Self {
        let (server, client) = lab.dual_pair();
        for family in Family::BOTH {
            family.add(&client, 3);
            family.add(&server, PLAIN);
            CROWD.for_each(|n| drop(family.add(&server, n)));
        }
        let file = lab.file("policy.toml", policy(mode));
        let sites = [KERNEL, ROAD].map(|port| site(lab, port));
        let kernel = on_kernel(&server, &sites[0].nginx(), KERNEL);
        let road = on_road(&server, &["--policy", &file.to_string_lossy()], &sites[1].nginx(), ROAD);
        Self { server, client, road, _kernel: kernel }
    }
}

/// A site that listens in both families.
fn site(lab: &Lab, port: u16) -> Site {
    let root = lab.folder().join(format!("site-{port}/www"));
    let six = format!("  server {{ listen [::]:{port}; root {}; }}\n", root.display());
    Site::with(lab, port, FILES, &six)
}

/// How long a client waits for an answer that comes as soon as there is one.
const PATIENCE: &str = "20";
/// How long it waits for one that must not come: the counters of its kernel say whether anything came at all.
const IMPATIENCE: &str = "2";

/// What curl says: 0 when it is served, 7 when it is refused, 28 when there is no answer within `wait` seconds.
fn curl(client: &Namespace, (from, to, port): (&str, &str, u16), wait: &str) -> i32 {
    let host = if to.contains(':') { format!("[{to}]") } else { to.to_owned() };
    let url = format!("http://{host}:{port}/small.bin");
    client.run(&["curl", "-sS", "--interface", from, "--max-time", wait, "-o", "/dev/null", &url]).code
}

/// Who is permitted asks the road's port, the kernel's, nobody's, and one that is not permitted.
fn permitted(client: &Namespace, from: &str, to: &str) -> [i32; 4] {
    [(ROAD, PATIENCE), (KERNEL, PATIENCE), (8500, PATIENCE), (22, IMPATIENCE)]
        .map(|(port, wait)| curl(client, (from, to, port), wait))
}

/// A stranger asks all of them at once.
fn refused(client: &Namespace, from: &str, to: &str) -> Vec<i32> {
    std::thread::scope(|scope| {
        let all = [ROAD, KERNEL, 8500, 22]
            .map(|port| scope.spawn(move || curl(client, (from, to, port), IMPATIENCE)));
        all.into_iter().map(|answer| answer.join().expect("curl")).collect()
    })
}

fn ping(client: &Namespace, (from, to): (&str, &str), wait: &str, more: &[&str]) -> bool {
    client.run(&[&["ping", "-nq", "-c1", "-W", wait, "-I", from][..], more, &[to]].concat()).code == 0
}

/// What a client's kernel counts of answers, whichever family; neighbour discovery is none.
const ANSWERS: [&str; 7] = [
    "TcpInSegs",
    "TcpAttemptFails",
    "TcpEstabResets",
    "IcmpInMsgs",
    "Icmp6InEchoReplies",
    "Icmp6InDestUnreachs",
    "Icmp6InParmProblems",
];
/// Those of them that nobody causes who is served meanwhile.
const OF_SCANS: &[&str] = ANSWERS.split_at(3).1;

#[test]
fn who_is_permitted_sees_a_host_and_who_is_not_sees_nothing() {
    let lab = Lab::new("cloak");
    let all = Hosts::new(&lab, "cloak = true");
    let client = &all.client;
    for family in Family::BOTH {
        let ((to, from), stranger) = (family.ends(), family.address(3));
        assert_eq!(permitted(client, from, to), [0, 0, 7, 28], "{from}");
        assert!(ping(client, (from, to), PATIENCE, &[]), "{from}: an echo");
        assert!(ping(client, (from, to), PATIENCE, &["-s", "4000"]), "{from}: an echo in pieces");
        let heard = client.counters();
        assert_eq!(refused(client, &stranger, to), [28; 4], "{stranger}");
        for more in [&[][..], &["-s", "4000"]] {
            assert!(!ping(client, (&stranger, to), IMPATIENCE, more), "{stranger}: {more:?}");
        }
        let now = client.counters();
        for answer in ANSWERS {
            assert_eq!(now.since(&heard, answer), 0, "{stranger}: {answer}");
        }
    }
}

/// Linux takes a packet for its address in a frame for everybody, and answers an echo.
#[test]
fn a_stranger_who_asks_everybody_on_the_cable_finds_no_host_either() {
    let lab = Lab::new("cloak-all");
    let all = Hosts::new(&lab, "cloak = true");
    let everybody = ["lladdr", "ff:ff:ff:ff:ff:ff", "dev", IFACE, "nud", "permanent"];
    for family in Family::BOTH {
        let ((to, from), stranger) = (family.ends(), family.address(3));
        all.client.must(&[&["ip", "neigh", "replace", to][..], &everybody].concat());
        assert!(ping(&all.client, (from, to), PATIENCE, &[]), "{from}");
        assert!(!ping(&all.client, (&stranger, to), IMPATIENCE, &[]), "{stranger}");
    }
}

/// Another policy takes effect at once, whichever way, and addresses that come later are cloaked, too.
#[test]
fn cloaking_comes_and_goes_with_policy_and_address() {
    let lab = Lab::new("cloaks");
    let all = Hosts::new(&lab, "mode = \"monitor\"\ncloak = true");
    let (server, client) = (&all.server, &all.client);
    assert!(ping(client, (STRANGER, SERVER), PATIENCE, &[]), "while it monitors");
    for (n, (mode, answers)) in
        [("cloak = true", false), ("", true), ("cloak = true", false)].iter().enumerate()
    {
        let file = lab.file(&format!("policy-{n}.toml"), policy(mode));
        server.must(&[product(), "policy", "apply", &file.to_string_lossy()]);
        let wait = if *answers { PATIENCE } else { IMPATIENCE };
        assert_eq!(ping(client, (STRANGER, SERVER), wait, &[]), *answers, "{mode:?}");
        assert!(ping(client, (CLIENT, SERVER), PATIENCE, &[]), "{mode:?}");
    }
    let later = "10.77.0.110";
    server.must(&["ip", "address", "add", &format!("{later}/24"), "dev", IFACE]);
    assert!(ping(client, (CLIENT, later), PATIENCE, &[]));
    eventually("the new address is cloaked", 20, || !ping(client, (STRANGER, later), "1", &[]));
    server.must(&["ip", "address", "del", &format!("{later}/24"), "dev", IFACE]);
    assert_eq!(curl(client, (CLIENT, SERVER, ROAD), PATIENCE), 0);
}

/// Packets that the steering program kept out, or would have, by the one rule that denies, which has a counter.
fn rule_that_denies(stack: &Value) -> u64 {
    let rules = stack["policy"]["tables"][0]["rules"].as_array().expect("rules");
    let packets = |rule: &Value| rule["kept_out"]["packets"].as_u64().expect("a count");
    let of = |is: &dyn Fn(&str) -> bool| -> u64 {
        rules.iter().filter(|rule| is(rule["name"].as_str().expect("a name"))).map(packets).sum()
    };
    assert_eq!(of(&|name| name != "never"), 0, "those permit: {stack}");
    let by_rule = of(&|name| name == "never");
    assert_eq!(stack["policy"]["kept_out"]["knocks"]["packets"], by_rule, "{stack}");
    by_rule
}

/// It is judged as where it is enforced, counted and told of, and everybody is answered. What comes to a stack is the
/// stack's to count, and not the steering program's, too.
#[test]
fn who_only_monitors_is_told_what_would_be_kept_out() {
    let lab = Lab::new("monitors");
    let all = Hosts::new(&lab, "mode = \"monitor\"\ncloak = true\noffload = \"xdp\"");
    let (server, client) = (&all.server, &all.client);
    let asked = [ROAD, KERNEL, 8500, 22].map(|port| curl(client, (STRANGER, SERVER, port), PATIENCE));
    assert_eq!(asked, [0, 0, 7, 7], "served by both, and refused by the kernel where nobody listens");
    assert!(ping(client, (STRANGER, SERVER), PATIENCE, &[]), "an echo");
    let stack = must_have_stack(server, &all.road);
    let counters = ["xdp_monitored", "xdp_cloaked", "xdp_denied", "drop_denied_in"]
        .map(|name| stack["counters"][name].as_u64().unwrap_or_default());
    assert!(counters[0] >= 4 && counters[1..] == [0; 3], "three SYNs and an echo: {stack}");
    let table = &stack["policy"]["tables"][0];
    assert_eq!(table["kept_out"]["packets"], counters[0], "{table}");
    assert!(table["denied"]["packets"].as_u64() >= Some(1), "{table}");
    assert!(rule_that_denies(&stack) >= 1, "{table}");
    eventually("all are told of", 20, || {
        let told = alerts(server);
        let of = |port: u16| {
            let end = format!("{SERVER}:{port}");
            told.iter().any(|a| a["local"] == *end && a["remote"] == STRANGER && a["dropped"] == false)
        };
        [ROAD, KERNEL, 8500, 22].into_iter().all(of)
    });
    assert!(alerts(server).iter().all(|a| a["dropped"] == false), "{:?}", alerts(server));
}

/// Connects to a listener of the client's, says an octet, and ends with the connection.
const CALLS: &str = "
import socket
call = socket.create_connection(('10.77.0.2', 9001))
call.send(b'x')
try: call.recv(1)
except ConnectionResetError: pass
";

/// The program's call: when it is dropped it is reset, and nothing of it is left.
fn called(listener: &TcpListener) -> TcpStream {
    let call = accepted(listener);
    assert_eq!(call.peek(&mut [0]).expect("an octet"), 1);
    call
}

/// How many stacks there are on a host. Those of laboratories beside this one are told of, too.
fn running(host: &Namespace) -> usize {
    let network = |process: &str| fs::metadata(format!("/proc/{process}/ns/net")).map(|file| file.ino()).ok();
    let here = host.enter(|| network("thread-self")).expect("a network namespace");
    let of = |stack: &Value| stack["pid"].as_u64().and_then(|pid| network(&pid.to_string()));
    stacks(host).iter().filter(|stack| of(stack) == Some(here)).count()
}

/// No process has a stack for a while, so nobody follows the host's addresses.
#[test]
fn an_address_that_comes_while_nobody_looks_is_cloaked() {
    let lab = Lab::new("unseen");
    let (server, client) = lab.pair();
    client.must(&["ip", "address", "add", &format!("{STRANGER}/24"), "dev", IFACE]);
    let file = lab.file("policy.toml", policy("cloak = true"));
    let listener = client.enter(|| TcpListener::bind((CLIENT, 9001)).expect("a listener"));
    let (fifo, mut go) = fifo(&lab, &server);
    let script = format!("python3 -c \"$0\"; read word < {fifo}; python3 -c \"$0\"");
    let file = file.to_string_lossy();
    let flags = ["--strict", "--policy", &file];
    let mut program = server.spawn(&ringroad(&flags, &["sh", "-c", &script, CALLS]));
    drop(called(&listener));
    eventually("the first stack ends", 20, || running(&server) == 0);
    server.must(&["ip", "address", "add", "10.77.0.110/24", "dev", IFACE]);
    go.write_all(b"go\n").expect("a word");
    let call = called(&listener);
    assert!(!ping(&client, (STRANGER, "10.77.0.110"), IMPATIENCE, &[]), "it is cloaked");
    assert!(ping(&client, (CLIENT, "10.77.0.110"), PATIENCE, &[]));
    drop(call);
    assert_eq!(program.ended(20), 0, "{}", program.said());
}

/// A program that takes its time before its first socket call: there is no stack yet, and whoever is not permitted finds no
/// host all the same, not from the program's first instruction on.
#[test]
fn strangers_find_no_host_before_there_is_a_stack() {
    let lab = Lab::new("slow");
    let (server, client) = lab.pair();
    client.must(&["ip", "address", "add", &format!("{STRANGER}/24"), "dev", IFACE]);
    let site = site(&lab, KERNEL);
    let _kernel = on_kernel(&server, &site.nginx(), KERNEL);
    let (fifo, mut go) = fifo(&lab, &server);
    let script = format!("echo begun; read word < {fifo}; exec python3 -c \"$0\"");
    let listener = client.enter(|| TcpListener::bind((CLIENT, 9001)).expect("a listener"));
    for mode in ["cloak = true", "offload = \"xdp\""] {
        let file = lab.file("policy.toml", policy(mode));
        let flags = ["--strict", "--policy", &file.to_string_lossy()];
        let mut program = server.spawn(&ringroad(&flags, &["sh", "-c", &script, CALLS]));
        eventually("the program begins", 20, || program.said().contains("begun"));
        assert_eq!(running(&server), 0, "{mode}");
        let heard = client.counters();
        let strangers = [22, KERNEL].map(|port| curl(&client, (STRANGER, SERVER, port), IMPATIENCE));
        assert_eq!(strangers, [28, 28], "{mode}");
        assert_eq!(client.counters().since(&heard, "TcpInSegs"), 0, "{mode}");
        assert_eq!(curl(&client, (CLIENT, SERVER, KERNEL), PATIENCE), 0, "{mode}");
        go.write_all(b"go\n").expect("a word");
        let call = called(&listener);
        assert_eq!(curl(&client, (STRANGER, SERVER, KERNEL), IMPATIENCE), 28, "{mode}");
        drop(call);
        assert_eq!(program.ended(20), 0, "{}", program.said());
        eventually("nobody guards it any more", 20, || {
            curl(&client, (STRANGER, SERVER, KERNEL), IMPATIENCE) == 0
        });
    }
    // A program that is killed before it has a stack leaves nothing behind.
    let file = lab.file("policy.toml", policy("cloak = true"));
    let flags = ["--strict", "--policy", &file.to_string_lossy()];
    let program = server.spawn(&ringroad(&flags, &["sh", "-c", &script, CALLS]));
    eventually("the program begins", 20, || program.said().contains("begun"));
    assert_eq!(curl(&client, (STRANGER, SERVER, KERNEL), IMPATIENCE), 28);
    drop(program);
    eventually("nobody guards it any more", 20, || {
        curl(&client, (STRANGER, SERVER, KERNEL), IMPATIENCE) == 0
    });
}

/// The next program on the interface has no policy: nothing of the one before is carried out any more.
#[test]
fn a_program_without_a_policy_cloaks_nothing() {
    let lab = Lab::new("uncloaked");
    let (server, client) = lab.pair();
    client.must(&["ip", "address", "add", &format!("{STRANGER}/24"), "dev", IFACE]);
    let file = lab.file("policy.toml", policy("cloak = true"));
    let listener = client.enter(|| TcpListener::bind((CLIENT, 9001)).expect("a listener"));
    let file = file.to_string_lossy();
    // It closes first: its keeper has TIME-WAIT to keep, and with it the port.
    let closes = "import socket; socket.create_connection(('10.77.0.2', 9001)).close()";
    let flags = ["--strict", "--policy", &file];
    let mut first = server.spawn(&ringroad(&flags, &["python3", "-c", closes]));
    let mut call = accepted(&listener);
    assert_eq!(first.ended(20), 0, "{}", first.said());
    assert_eq!(call.read(&mut [0; 8]).expect("its end"), 0);
    drop(call);
    assert!(!ping(&client, (STRANGER, SERVER), IMPATIENCE, &[]), "while the keeper is there");
    let (fifo, mut go) = fifo(&lab, &server);
    let script = format!("echo begun; read word < {fifo}; exec python3 -c \"$0\"");
    let mut next = server.spawn(&ringroad(&["--strict"], &["sh", "-c", &script, CALLS]));
    eventually("the program begins", 20, || next.said().contains("begun"));
    assert!(ping(&client, (STRANGER, SERVER), PATIENCE, &[]), "before it has a stack");
    go.write_all(b"go\n").expect("a word");
    let call = called(&listener);
    assert!(ping(&client, (STRANGER, SERVER), PATIENCE, &[]), "the policy of another program");
    drop(call);
    assert_eq!(next.ended(20), 0, "{}", next.said());
}

/// With the program in front neither a socket of the kernel nor a stack hears of strangers.
#[test]
fn what_the_program_denies_costs_no_stack_anything() {
    let lab = Lab::new("offload");
    let all = Hosts::new(&lab, "offload = \"xdp\"");
    let (server, client, road) = (&all.server, &all.client, &all.road);
    assert_eq!(permitted(client, CLIENT, SERVER), [0, 0, 7, 28]);
    let before = must_have_stack(server, road);
    let heard = server.counters();
    assert_eq!(refused(client, STRANGER, SERVER), [28; 4]);
    assert!(ping(client, (STRANGER, SERVER), PATIENCE, &[]), "ICMP is judged where it is cloaked");
    let after = must_have_stack(server, road);
    let since = |name: &str| {
        let of = |stack: &Value| stack["counters"][name].as_u64().unwrap_or_default();
        of(&after) - of(&before)
    };
    assert!(since("xdp_denied") >= 4, "{after}");
    assert_eq!([since("rx_frames"), since("drop_denied_in"), since("xdp_cloaked")], [0; 3], "{after}");
    assert_eq!(server.counters().since(&heard, "TcpInSegs"), 0, "nor has the kernel heard of them");
    let by_rule = rule_that_denies(&after);
    assert!(by_rule >= 1 && by_rule < since("xdp_denied"), "{after}");
    let told =
        eventually_some("an alert", 10, || alerts(server).into_iter().find(|a| a["remote"] == STRANGER));
    assert_eq!((&told["kind"], &told["protocol"]), (&"denied".into(), &"tcp".into()), "{told}");
}

const fn scan(flags: &'static [&'static str], kind: &'static str) -> Scan {
    Scan { flags, ports: "7995-8006", kind }
}

const SCANS: &[Scan] = &[
    scan(&["-sS", "-T3"], "syn scan"),
    scan(&["-sS", "-f", "-T5"], "tcp scan"),
    scan(&["-sT", "-T4"], "syn scan"),
    scan(&["-sU", "-T4"], "udp scan"),
    scan(&["-sF", "-T2", "--scan-delay", "150ms"], "fin scan"),
    scan(&["-sN", "-T4"], "null scan"),
    scan(&["-sX", "-T5"], "xmas scan"),
    scan(&["-sA", "-T4"], "ack scan"),
    scan(&["-A", "-T4"], "syn scan"),
    Scan { flags: &["-sO", "-T4"], ports: "1,2,6,17,47,132", kind: "" },
];

const SCANS_OF_IPV6: &[Scan] = &[
    scan(&["-sS", "-T3"], "syn scan"),
    scan(&["-sT", "-T4"], "syn scan"),
    scan(&["-sU", "-T4"], "udp scan"),
    scan(&["-sX", "-T5"], "xmas scan"),
    scan(&["-A", "-T4"], "syn scan"),
];

/// Serves who is permitted all the while `what` goes on.
fn while_served(client: &Namespace, family: Family, what: impl FnOnce()) {
    let (to, from) = family.ends();
    let serve = || {
        for port in [ROAD, KERNEL] {
            assert_eq!(curl(client, (from, to, port), PATIENCE), 0, "{from} at port {port}");
        }
    };
    meanwhile(serve, what);
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn scans_find_nobody(family: Family, scans: &[Scan]) {
    let lab = Lab::new("scans");
    let all = Hosts::new(&lab, "cloak = true");
    let (heard, mut told) = (all.client.counters(), Vec::new());
    while_served(&all.client, family, || {
        for (scan, n) in scans.iter().zip(20..) {
            let (from, to) = (family.add(&all.client, n), family.ends().0);
            scan.finds_nothing(&all.client, address(&from), address(to));
            if !scan.kind.is_empty() {
                scan.is_told_once(&all.server, address(&from));
                told.push(address(&from));
            }
        }
    });
    are_told_once(&all.server, &told);
    let now = all.client.counters();
    for answer in OF_SCANS {
        assert_eq!(now.since(&heard, answer), 0, "{answer}");
    }
}

#[test]
fn scans_find_no_host_and_each_is_told_once() {
    scans_find_nobody(Family::V4, SCANS);
}

#[test]
fn scans_of_ipv6_find_no_host_and_each_is_told_once() {
    scans_find_nobody(Family::V6, SCANS_OF_IPV6);
}

/// Who looks for hosts finds those that are not cloaked, and no others; a sweep is told once, however it asks.
#[test]
fn a_sweep_finds_only_who_is_not_cloaked_and_is_told_once() {
    let lab = Lab::new("sweeps");
    let all = Hosts::new(&lab, "cloak = true");
    let (server, client, mut told) = (&all.server, &all.client, Vec::new());
    for family in Family::BOTH {
        let targets: Vec<String> = CROWD.chain([PLAIN]).map(|n| family.address(n)).collect();
        let sweep = |from: &str| {
            // Not by neighbour discovery, which is answered; nor is an answer waited for that does not come.
            let mut words = vec!["nmap", "-n", "-sn", "--disable-arp-ping", "--max-retries", "1"];
            words.extend(["-S", from, "-e", IFACE]);
            if family == Family::V6 {
                words.push("-6");
            }
            words.extend(targets.iter().map(String::as_str));
            client.run_for(110, &words).must()
        };
        while_served(client, family, || {
            let from = family.add(client, 40);
            let found = sweep(&from);
            assert!(found.contains("(1 host up)"), "{found}");
            assert!(found.contains(&format!("scan report for {}", family.address(PLAIN))), "{found}");
            is_told_once(server, address(&from), "ping sweep");
            told.push(address(&from));
        });
        let all_up = format!("({} hosts up)", targets.len());
        let found = sweep(family.ends().1);
        assert!(found.contains(&all_up), "who is permitted finds them: {found}");
    }
    are_told_once(server, &told);
}
