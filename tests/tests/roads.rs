//! Rules for interfaces, on a host with two cables: each lets in what its rules say, on the road and on the kernel.

use lab::{CLIENT, IFACE, Lab, Namespace, Running, SERVER, Site, product};
use ringroad_tests::{on_kernel, start_on};

const FILES: &[(&str, usize)] = &[("small.bin", 612)];
/// The second cable, what the server is called there, and who is at its other end.
const BACK: &str = "back0";
const SERVER_BACK: &str = "10.78.0.1";
const NEIGHBOUR: &str = "10.78.0.2";
/// Where nginx listens on the road, and where another does on the kernel.
const ROAD: u16 = 8000;
const KERNEL: u16 = 9000;
/// What curl says: it is served, or it is not answered.
const SERVED: i32 = 0;
const SILENCE: i32 = 28;

/// Web and ping by `web`, what the kernel's server has by `other`.
fn policy(lab: &Lab, web: &str, other: &str) -> String {
    let text = format!(
        "[[table]]\nname = \"both\"\nlocal = [\"{SERVER}\", \"{SERVER_BACK}\"]\ncloak = true\nrule = [\n\
         {{ name = \"web\", direction = \"in\", protocol = \"tcp\", local_port = {ROAD}, interface = \"{web}\", \
           action = \"allow\" }},\n\
         {{ name = \"ping\", direction = \"in\", protocol = \"icmp\", icmp_type = \"echo-request\", interface = \"{web}\", \
           action = \"allow\" }},\n\
         {{ name = \"files\", direction = \"in\", protocol = \"tcp\", local_port = {KERNEL}, interface = \"{other}\", \
           action = \"allow\" }},\n]\n"
    );
    lab.file(&format!("{web}.toml"), text).to_string_lossy().into_owned()
}

/// The same, said by a table for each cable, the second by how its name begins.
fn tables(lab: &Lab) -> String {
    let table = |name: &str, interface: &str, rules: &str| {
        format!(
            "[[table]]\nname = \"{name}\"\nlocal = [\"{SERVER}\", \"{SERVER_BACK}\"]\ninterface = \"{interface}\"\n\
             cloak = true\nrule = [\n{rules}]\n"
        )
    };
    let web = format!(
        "{{ name = \"web\", direction = \"in\", protocol = \"tcp\", local_port = {ROAD}, action = \"allow\" }},\n\
         {{ name = \"ping\", direction = \"in\", protocol = \"icmp\", action = \"allow\" }},\n"
    );
    let files = format!(
        "{{ name = \"files\", direction = \"in\", protocol = \"tcp\", local_port = {KERNEL}, action = \"allow\" }},\n"
    );
    let text =
        format!("default = \"deny\"\n{}{}", table("front", IFACE, &web), table("back", "back*", &files));
    lab.file("tables.toml", text).to_string_lossy().into_owned()
}

struct Hosts {
    server: Namespace,
    /// Who asks, and at which address.
    peers: [(Namespace, &'static str); 2],
    /// Until the end of the test.
    _servers: [Running; 2],
}

fn hosts(lab: &Lab, policy: &str) -> Hosts {
    let (server, client) = lab.pair();
    let neighbour = lab.host("back");
    lab.cable((&server, BACK), (&neighbour, BACK));
    for (host, address) in [(&server, SERVER_BACK), (&neighbour, NEIGHBOUR)] {
        host.must(&["ip", "address", "add", &format!("{address}/24"), "dev", BACK]);
    }
    neighbour.must(&["ip", "route", "add", &format!("{SERVER}/32"), "via", SERVER_BACK]);
    let kernel = on_kernel(&server, &Site::new(lab, KERNEL, FILES).nginx(), KERNEL);
    let both = format!("{IFACE},{BACK}");
    let run = [product(), "run", "--iface", &both, "--policy", policy, "--"];
    let road = start_on(&server, &[&run[..], &Site::new(lab, ROAD, FILES).nginx()].concat(), ROAD);
    Hosts { server, peers: [(client, SERVER), (neighbour, SERVER_BACK)], _servers: [road, kernel] }
}

/// How many seconds are waited for what is to come, as soon as the machine has time for it, and for what is not.
fn wait(answered: bool) -> &'static str {
    if answered { "20" } else { "1" }
}

/// What somebody gets who is to get `expected`.
fn curl(client: &Namespace, to: &str, port: u16, expected: i32) -> i32 {
    let url = format!("http://{to}:{port}/small.bin");
    let wait = wait(expected == SERVED);
    client.run(&["curl", "-sS", "--max-time", wait, "-o", "/dev/null", &url]).code
}

/// That each peer gets this of the road's server, of the kernel's, and is answered or not when it pings.
#[track_caller]
fn assert_seen(hosts: &Hosts, expected: [(i32, i32, bool); 2]) {
    for ((host, server), (road, kernel, answered)) in hosts.peers.iter().zip(expected) {
        assert_eq!(curl(host, server, ROAD, road), road, "{server}, on the road");
        assert_eq!(curl(host, server, KERNEL, kernel), kernel, "{server}, on the kernel");
        let pinged = host.run(&["ping", "-nq", "-c1", "-W", wait(answered), server]).code == 0;
        assert_eq!(pinged, answered, "{server}");
    }
}

#[test]
fn each_cable_has_its_own_rules_also_after_they_change() {
    let lab = Lab::new("roads");
    let front = policy(&lab, IFACE, BACK);
    let hosts = hosts(&lab, &front);
    let (web, files) = ((SERVED, SILENCE, true), (SILENCE, SERVED, false));
    assert_seen(&hosts, [web, files]);
    // The address of the one cable, asked for by the other: what counts is how it comes.
    assert_eq!(curl(&hosts.peers[1].0, SERVER, ROAD, SILENCE), SILENCE);

    let back = policy(&lab, BACK, IFACE);
    hosts.server.must(&[product(), "policy", "apply", &back]);
    assert_seen(&hosts, [files, web]);
    let asked = format!("tcp {CLIENT}:4000 -> {SERVER}:{ROAD} iface {IFACE}");
    let said = hosts.server.run(&[product(), "policy", "test", &asked]);
    assert!(said.code == 1 && said.stdout.starts_with("denied: "), "{}", said.said());

    hosts.server.must(&[product(), "policy", "apply", &tables(&lab)]);
    assert_seen(&hosts, [web, files]);
    assert_eq!(curl(&hosts.peers[1].0, SERVER, ROAD, SILENCE), SILENCE);
    let said = hosts.server.run(&[product(), "policy", "test", &asked]);
    assert!(said.code == 0 && said.stdout.contains("table front, inbound: rule 1"), "{}", said.said());
    let shown = hosts.server.must(&[product(), "policy", "show"]);
    assert!(shown.contains("back: 10.77.0.1, 10.78.0.1 by back* (enforced"), "{shown}");
}

#[test]
fn an_interface_that_is_not_there_is_warned_of() {
    let lab = Lab::new("roadless");
    let host = lab.host("server");
    let said = host.run(&[product(), "policy", "check", &policy(&lab, "l0", BACK)]);
    assert_eq!(said.code, 0, "{}", said.said());
    assert!(
        said.stderr.contains("warning: this host has no interface \"l0\"; did you mean \"lo\"?"),
        "{}",
        said.stderr
    );
    assert!(
        said.stderr.contains("warning: this host has no interface \"back0\"; it has lo"),
        "{}",
        said.stderr
    );
    let said = host.run(&[product(), "policy", "check", &tables(&lab)]);
    let warning = "warning: this host has no interface like \"back*\"; it has lo";
    assert!(said.code == 0 && said.stderr.contains(warning), "{}", said.said());
}
