//! Adapters that ef_vi drives, on the stand-in of its library: nginx by them, and what becomes of who asks for what is
//! not there.

use std::fs;

use lab::{CLIENT, IFACE, Lab, Namespace, SERVER, Site, eventually, product, product_on_stand_in, stacks};
use ringroad_tests::{
    assert_bypassed, fetch_at_once, fetched_sha256, must_have_stack, ringroad, sha256, start_on,
};
use serde_json::Value;

const FILES: &[(&str, usize)] = &[("small.bin", 612), ("big.bin", 1 << 20)];
const PORT: u16 = 80;

/// A server whose interface is the kernel's end of an adapter of this kind, and a client. The adapter is plugged in where
/// the kernel's frames come and go, too; `takes`: what its filters lead away from the kernel is kept from it, as by a real
/// one.
fn plugged_in(lab: &Lab, kind: &str, takes: bool) -> (Namespace, Namespace) {
    let (server, client) = (lab.host("server"), lab.host("client"));
    lab.cable((&server, "wire0"), (&client, IFACE));
    for command in [
        &["ip", "link", "add", IFACE, "type", "veth", "peer", "name", "inside"][..],
        &["ip", "link", "add", "adapter", "type", "bridge"],
        &["ip", "link", "set", "wire0", "master", "adapter"],
        &["ip", "link", "set", "inside", "master", "adapter"],
        // It answers for no address of the host.
        &["ip", "link", "set", "adapter", "arp", "off", "up"],
        &["ip", "link", "set", "inside", "up"],
        &["ip", "link", "set", IFACE, "up", "alias", &format!("{kind}@wire0")],
        &["ip", "address", "add", &format!("{SERVER}/24"), "dev", IFACE],
    ] {
        server.must(command);
    }
    client.must(&["ip", "address", "add", &format!("{CLIENT}/24"), "dev", IFACE]);
    // An adapter gets frames of the MTU.
    client.must(&["ethtool", "-K", IFACE, "tso", "off", "gso", "off"]);
    if takes {
        let chain = "type filter hook ingress device wire0 priority 0";
        let rule = format!("ip daddr {SERVER} tcp dport {PORT} counter drop");
        server.must(&["nft", &format!("table netdev adapter {{\n chain in {{\n {chain}\n {rule}\n }}\n }}")]);
    }
    (server, client)
}

/// The stand-in takes privilege to open, which a driver's device does not.
fn keeps_its_user(site: &Site) {
    let conf = site.nginx()[4];
    let text = fs::read_to_string(conf).expect("its configuration");
    fs::write(conf, text.replace("user nobody nogroup;", "user root;")).expect("its configuration");
}

/// `ringroad run` on the stand-in.
fn on_stand_in<'a>(command: &'a str, flags: &[&'a str], program: &[&'a str]) -> Vec<&'a str> {
    let mut all = ringroad(&[&["--strict", "--backend", "ef-vi"], flags].concat(), program);
    all[0] = command;
    all
}

fn counter(stack: &Value, name: &str) -> u64 {
    stack["counters"][name].as_u64().unwrap_or_else(|| panic!("no counter {name} in {stack}"))
}

fn fetches_all(server: &Namespace, client: &Namespace, site: &Site) {
    for (name, _) in FILES {
        let fetched = fetched_sha256(client, &format!("http://{SERVER}/{name}"));
        assert_eq!(fetched, sha256(server, &site.path(name)), "{name}");
    }
    let expected = sha256(server, &site.path("small.bin"));
    fetch_at_once(client, &format!("http://{SERVER}/small.bin"), 50, &expected);
}

#[test]
fn nginx_is_served_by_an_adapter() {
    for kind in ["x2", "sfn7", "x3"] {
        let lab = Lab::new(&format!("adapter-{kind}"));
        let command = product_on_stand_in(&lab);
        let (server, client) = plugged_in(&lab, kind, true);
        let site = Site::new(&lab, PORT, FILES);
        keeps_its_user(&site);
        let nginx = start_on(&server, &on_stand_in(&command, &[], &site.nginx()), PORT);
        let before = server.counters();
        fetches_all(&server, &client, &site);
        assert_bypassed(&server, &before);
        let stack = must_have_stack(&server, &nginx);
        let interface = &stack["interfaces"][0];
        assert_eq!([&interface["backend"], &interface["why"]], ["ef-vi", "asked for"], "{stack}");
        // Whatever came in and went out: nothing of it passed the sockets beside the adapter.
        for (by, of) in [("ef_vi_rx_frames", "tcp_segs_in"), ("ef_vi_tx_frames", "tcp_segs_out")] {
            assert!(counter(&stack, by) >= counter(&stack, of), "{kind}: {by} and {of} in {stack}");
        }
        assert_eq!(counter(&stack, "ef_vi_halted") + counter(&stack, "ef_vi_filters_refused"), 0, "{stack}");
    }
}

/// One process has the adapter; the others listen in the kernel, which hears nothing for them, and say so.
#[test]
fn one_worker_has_the_adapter() {
    let lab = Lab::new("adapter-workers");
    let command = product_on_stand_in(&lab);
    let (server, client) = plugged_in(&lab, "x2", true);
    let site = Site::with_workers(&lab, PORT, FILES, 3);
    keeps_its_user(&site);
    let nginx = start_on(&server, &on_stand_in(&command, &[], &site.nginx()), PORT);
    fetches_all(&server, &client, &site);
    eventually("the others say so", 20, || nginx.said().matches("joining the port: process").count() == 2);
    assert_eq!(stacks(&server).len(), 1);
}

/// Whoever has given up its privileges, here, or may not open the driver's device.
#[test]
fn who_may_not_open_the_adapter_goes_by_the_sockets_of_the_interface() {
    let lab = Lab::new("adapter-nobody");
    let command = product_on_stand_in(&lab);
    let (server, client) = plugged_in(&lab, "x2", false);
    let site = Site::new(&lab, PORT, FILES);
    let nginx = start_on(&server, &on_stand_in(&command, &[], &site.nginx()), PORT);
    let before = server.counters();
    fetches_all(&server, &client, &site);
    assert_bypassed(&server, &before);
    let said = nginx.said();
    let why = "road0: allocating a virtual interface: Operation not permitted (os error 1)";
    assert!(said.contains(why) && said.contains("; by the interface's own sockets"), "{said}");
    assert_eq!(must_have_stack(&server, &nginx)["interfaces"][0]["backend"], "af-xdp");
}

/// The adapter was reset: what it led here comes by the sockets, and connections go on.
#[test]
fn an_adapter_that_stops_is_done_without() {
    let lab = Lab::new("adapter-reset");
    let command = product_on_stand_in(&lab);
    let (server, client) = plugged_in(&lab, "x2", true);
    let site = Site::new(&lab, PORT, FILES);
    keeps_its_user(&site);
    let nginx = start_on(&server, &on_stand_in(&command, &[], &site.nginx()), PORT);
    fetches_all(&server, &client, &site);
    let received = |by: &str| counter(&must_have_stack(&server, &nginx), by);
    let by_adapter = received("ef_vi_rx_frames");
    // It is gone for the stand-in, and leads nothing away any more; the cable is the same when it is back.
    server.must(&["nft", "delete", "table", "netdev", "adapter"]);
    let elsewhere = lab.host("elsewhere");
    server.must(&["ip", "link", "set", "wire0", "netns", elsewhere.name()]);
    eventually("it is said", 20, || nginx.said().contains("road0: its adapter has stopped"));
    elsewhere.must(&["ip", "link", "set", "wire0", "netns", server.name()]);
    server.must(&["ip", "link", "set", "wire0", "master", "adapter"]);
    server.must(&["ip", "link", "set", "wire0", "up"]);
    let before = server.counters();
    fetches_all(&server, &client, &site);
    assert_bypassed(&server, &before);
    assert_eq!(received("ef_vi_rx_frames"), by_adapter);
    assert_eq!(received("ef_vi_halted"), 1);
}

#[test]
fn what_is_not_there_is_refused_in_one_line() {
    let lab = Lab::new("adapter-refused");
    let (server, _client) = lab.pair();
    let refused = |command: &str, flags: &[&str]| {
        let outcome = server.run(&on_stand_in(command, flags, &["true"]));
        assert_eq!(outcome.code, 1, "{outcome:?}");
        outcome.stderr
    };
    // The product that everybody has, unless ef_vi is installed on this machine.
    let said = refused(product(), &[]);
    assert!(said.contains("opening road0: road0: "), "{said}");
    assert!(said.trim_end().ends_with("(--backend af-xdp works here)"), "{said}");
    let command = product_on_stand_in(&lab);
    let library = "RINGROAD_EF_VI_LIBRARY=/nonexistent/libciul.so.1";
    let outcome = server.run(&[&["env", library][..], &on_stand_in(&command, &[], &["true"])].concat());
    let said = outcome.stderr;
    assert!(said.contains("road0: opening the library of ef_vi: /nonexistent/libciul.so.1"), "{said}");
    assert!(said.trim_end().ends_with("(--backend af-xdp works here)"), "{said}");
}
