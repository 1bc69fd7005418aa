//! VLANs on an accelerated interface (IEEE 802.1Q), against the kernel's own. They need a kernel that has VLANs, which not
//! every machine's has: `cargo xtask guest` runs them, nothing else does; in CI, whose guest has no time for all, those of a VLAN
//! that is named or behind the driver are left out: `cargo xtask guest a_vlan_that a_vlan_behind`.

#[path = "../lab/programs.rs"]
mod programs;
mod roles;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use lab::{Counters, IFACE, Lab, Namespace, SERVER, eventually_some};
use ringroad::control::client::stacks;

use programs::{start, start_with};

/// The VLAN's device, and who lives there.
const VLAN: &str = "tagged0";
const HERE: &str = "10.80.0.1";
const THERE: &str = "10.80.0.2";
const PATIENCE: Option<Duration> = Some(Duration::from_secs(30));
const BYTES: usize = 1 << 18;

/// Gives a host a VLAN on its cable.
fn give(host: &Namespace, iface: &str, address: &str) {
    host.must(&["ip", "link", "add", "link", iface, "name", VLAN, "type", "vlan", "id", "10"]);
    host.must(&["ip", "address", "add", &format!("{address}/24"), "dev", VLAN]);
    host.must(&["ip", "link", "set", VLAN, "up"]);
}

/// A server and a client with a VLAN on their cable.
fn hosts(lab: &Lab) -> (Namespace, Namespace) {
    let (server, client) = lab.pair();
    for (host, address) in [(&server, HERE), (&client, THERE)] {
        give(host, IFACE, address);
    }
    (server, client)
}

/// The same on veth, which keeps tags beside frames unless it is told otherwise.
fn hosts_on_veth(lab: &Lab, in_frames: bool) -> (Namespace, Namespace) {
    let (server, client) = (lab.host("server"), lab.host("client"));
    let ends = ["ip", "link", "add", IFACE, "type", "veth", "peer", "name", IFACE, "netns", client.name()];
    server.must(&ends);
    for (host, plain, address) in [(&server, SERVER, HERE), (&client, lab::CLIENT, THERE)] {
        if in_frames {
            host.must(&["ethtool", "-K", IFACE, "rxvlan", "off", "txvlan", "off"]);
        }
        host.must(&["ip", "address", "add", &format!("{plain}/24"), "dev", IFACE]);
        host.must(&["ip", "link", "set", IFACE, "up"]);
        give(host, IFACE, address);
    }
    (server, client)
}

fn bytes() -> Vec<u8> {
    (0..BYTES as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

/// What the client sends to the server's echo comes back.
#[track_caller]
fn assert_echoed(client: &Namespace, address: &str) {
    let to = format!("{address}:7").parse().expect("an address");
    let stream = client.enter(|| TcpStream::connect_timeout(&to, Duration::from_secs(60)));
    let stream = stream.unwrap_or_else(|e| panic!("{address}: {e}; {:?}", stacks(None)));
    stream.set_read_timeout(PATIENCE).expect("a time limit");
    let sent = bytes();
    let mut got = Vec::new();
    thread::scope(|scope| {
        scope.spawn(|| {
            (&stream).write_all(&sent).expect("sent");
            stream.shutdown(Shutdown::Write).expect("shut down");
        });
        (&stream).read_to_end(&mut got).expect("echoed");
    });
    assert!(got == sent, "{} of {} bytes by {address}", got.len(), sent.len());
}

#[track_caller]
fn assert_unseen(server: &Namespace, before: &Counters) {
    for counter in ["TcpPassiveOpens", "TcpActiveOpens", "TcpInSegs", "TcpOutSegs"] {
        assert_eq!(server.counters().since(before, counter), 0, "{counter}");
    }
}

#[test]
fn a_vlan_is_on_the_road() {
    let lab = Lab::new("vlan");
    let (server, client) = hosts(&lab);
    let _echo = start(&server, "echo", &format!("{HERE}:7"));
    let before = server.counters();
    assert_echoed(&client, HERE);
    assert_unseen(&server, &before);
}

#[test]
fn a_vlan_is_the_way_to_who_lives_there() {
    let lab = Lab::new("vlan-out");
    let (server, client) = hosts_on_veth(&lab, true);
    let listener = client.enter(|| TcpListener::bind((THERE, 9000)).expect("a listener"));
    listener.set_nonblocking(true).expect("set");
    let before = server.counters();
    let mut fetch = start(&server, "fetch", &format!("{THERE}:9000"));
    let (mut stream, from) = eventually_some("a connection", 10, || listener.accept().ok());
    assert_eq!(from.ip().to_string(), HERE);
    stream.set_nonblocking(false).expect("set");
    stream.set_write_timeout(PATIENCE).expect("a time limit");
    stream.write_all(&bytes()).expect("sent");
    drop(stream);
    assert_eq!(fetch.ended(30), 0, "{}", fetch.said());
    assert!(fetch.said().contains(&format!("fetched {BYTES} true")), "{}", fetch.said());
    assert_unseen(&server, &before);
}

/// With segments joined on their way out, and cut on their way in.
#[test]
fn a_vlan_is_on_the_road_of_a_veth_that_leaves_tags_in_frames() {
    let lab = Lab::new("vlan-veth");
    let (server, client) = hosts_on_veth(&lab, true);
    let both = format!("{HERE}:7,{SERVER}:7");
    let _echo = start_with(&server, "echo", &both, &[("RINGROAD_OFFLOAD", "auto")]);
    let before = server.counters();
    assert_echoed(&client, HERE);
    assert_echoed(&client, SERVER);
    assert_unseen(&server, &before);
    // A VLAN that the server has not: nothing answers, there or here.
    let missed = || stacks(None).stacks.iter().map(|stack| stack.counters["xdp_miss_vlan"]).sum::<u64>();
    let before = missed();
    client.must(&["ip", "link", "add", "link", IFACE, "name", "other0", "type", "vlan", "id", "11"]);
    client.must(&["ip", "link", "set", "other0", "up", "address", &mac(&client)]);
    client.must(&["ip", "route", "replace", &format!("{HERE}/32"), "dev", "other0"]);
    client.must(&["ip", "neighbour", "replace", HERE, "lladdr", &mac(&server), "dev", "other0"]);
    let address = format!("{HERE}:7").parse().expect("an address");
    let tried = client.enter(|| TcpStream::connect_timeout(&address, Duration::from_secs(1)));
    assert_eq!(tried.map(drop).map_err(|e| e.kind()), Err(std::io::ErrorKind::TimedOut));
    assert!(missed() > before, "the steering program saw them");
}

fn mac(host: &Namespace) -> String {
    host.link_address(IFACE).map(|byte| format!("{byte:02x}")).join(":")
}

/// Frames that seem to have no tag are not taken for the cable's.
#[test]
fn a_vlan_whose_tags_are_hidden_is_the_kernels_and_it_is_said() {
    let lab = Lab::new("vlan-hidden");
    let (server, client) = hosts_on_veth(&lab, false);
    let kernel = server.enter(|| TcpListener::bind((HERE, 9000)).expect("a listener"));
    let program = start_with(&server, "who", &format!("{HERE}:7"), &[("RINGROAD_STRICT", "0")]);
    let said = program.said();
    assert!(said.contains("accelerated false"), "{said}");
    assert!(said.contains(&format!("{VLAN} stays with the kernel: {IFACE} takes VLAN tags off")), "{said}");
    client.enter(|| TcpStream::connect((HERE, 9000)).expect("the kernel answers"));
    drop(kernel);
}

/// Where the kernel has taken all tags off, they need not be asked for.
#[test]
fn a_vlan_behind_the_driver_is_the_kernels_and_it_is_said() {
    let lab = Lab::new("vlan-behind");
    let (server, client) = hosts_on_veth(&lab, true);
    let kernel = server.enter(|| TcpListener::bind((HERE, 9000)).expect("a listener"));
    let packet = [("RINGROAD_STRICT", "0"), ("RINGROAD_BACKEND", "packet")];
    let program = start_with(&server, "who", &format!("{HERE}:7"), &packet);
    let said = program.said();
    assert!(said.contains("accelerated false"), "{said}");
    assert!(said.contains(&format!("{VLAN} stays with the kernel: the backend packet sees no")), "{said}");
    client.enter(|| TcpStream::connect((HERE, 9000)).expect("the kernel answers"));
    drop(kernel);
}

/// AF_XDP on the VLAN's own device sees frames without tags, wherever they are: in generic mode.
#[test]
fn a_vlan_that_is_named_has_sockets_of_its_own() {
    let lab = Lab::new("vlan-named");
    let (server, client) = hosts_on_veth(&lab, false);
    let _echo = start_with(&server, "echo", &format!("{HERE}:7"), &[("RINGROAD_IFACE", VLAN)]);
    let before = server.counters();
    assert_echoed(&client, HERE);
    assert_unseen(&server, &before);
}
