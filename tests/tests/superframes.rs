//! Bulk data goes to the kernel as superframes where it copies, and arrives as ever where it does not take them.

use lab::{IFACE, Lab, Namespace, SERVER, Site};
use ringroad_tests::{
    assert_bypassed, fetched_sha256, must_have_stack, on_kernel, on_road, ringroad, sha256, start_on,
};
use serde_json::Value;

const FILES: &[(&str, usize)] = &[("small.bin", 612), ("huge.bin", 200 << 20)];

fn counter(stack: &Value, name: &str) -> u64 {
    stack["counters"][name].as_u64().unwrap_or_else(|| panic!("no counter {name} in {stack}"))
}

/// Fetches the large file from nginx on the road and says what its stack counted.
fn served(lab: &Lab, server: &Namespace, client: &Namespace, setting: &str) -> Value {
    let site = Site::new(lab, 80, FILES);
    let command = [&["env", setting][..], &ringroad(&[], &site.nginx())].concat();
    let nginx = start_on(server, &command, 80);
    let before = server.counters();
    let fetched = fetched_sha256(client, &format!("http://{SERVER}/huge.bin"));
    assert_eq!(fetched, sha256(server, &site.path("huge.bin")));
    assert_bypassed(server, &before);
    must_have_stack(server, &nginx)
}

#[test]
fn a_large_file_goes_in_superframes_and_arrives_whole() {
    let lab = Lab::new("superframes");
    let (server, client) = lab.pair();
    let stack = served(&lab, &server, &client, "RINGROAD_OFFLOAD=auto");
    let (all, joined) = (counter(&stack, "tcp_segs_out"), counter(&stack, "xdp_superframe_segments"));
    // Of 140,000; how many are joined, and how many into one, the load of this machine says.
    assert!(joined > 1000, "{joined} of {all} segments");
    assert!(2 * counter(&stack, "xdp_superframes_sent") <= joined, "{stack}");
    assert_eq!(counter(&stack, "xdp_superframes_refused"), 0);
}

#[test]
fn lost_superframes_are_sent_again() {
    let lab = Lab::new("superframes-lossy");
    let (server, client) = lab.pair();
    let lossy = lab.file(
        "lossy.nft",
        "table ip lossy {\n chain in {\n  type filter hook prerouting priority 0\n  \
         tcp sport 80 numgen inc mod 50 == 7 drop\n }\n}\n",
    );
    client.must(&["nft", "-f", &lossy.to_string_lossy()]);
    let stack = served(&lab, &server, &client, "RINGROAD_OFFLOAD=auto");
    assert!(counter(&stack, "tcp_retransmits") > 100, "{stack}");
    assert!(counter(&stack, "xdp_superframes_sent") > 100, "{stack}");
}

#[test]
fn a_device_that_has_others_cut_gets_the_file_in_segments() {
    let lab = Lab::new("superframes-refused");
    let (server, client) = lab.pair();
    server.must(&["ethtool", "-K", IFACE, "tso", "off", "gso", "off"]);
    let stack = served(&lab, &server, &client, "RINGROAD_OFFLOAD=auto");
    assert_eq!(counter(&stack, "xdp_superframes_sent"), 0);
    // The longer it refuses, the less it is asked.
    let refused = counter(&stack, "xdp_superframes_refused");
    assert!((1..100).contains(&refused), "{refused}");
}

#[test]
fn the_setting_turns_them_off() {
    let lab = Lab::new("superframes-off");
    let (server, client) = lab.pair();
    let stack = served(&lab, &server, &client, "RINGROAD_OFFLOAD=off");
    assert_eq!(counter(&stack, "xdp_superframes_sent"), 0);
    assert_eq!(counter(&stack, "xdp_superframes_refused"), 0);
}

#[test]
fn what_a_client_on_the_road_sends_to_the_kernel_goes_in_superframes() {
    let lab = Lab::new("superframes-upload");
    let (server, client) = lab.pair();
    let site = Site::new(&lab, 81, FILES);
    let sink = lab.folder().join("received").to_string_lossy().into_owned();
    let listen = format!("TCP-LISTEN:80,bind={SERVER}");
    let _sink = on_kernel(&server, &["socat", "-u", &listen, &format!("CREATE:{sink}")], 80);
    let before = client.counters();
    let (file, to) = (format!("OPEN:{}", site.path("huge.bin")), format!("TCP:{SERVER}:80"));
    client.must(&ringroad(&[], &["socat", "-u", &file, &to]));
    lab::eventually("all of it is written", 60, || {
        std::fs::metadata(&sink).is_ok_and(|file| file.len() == FILES[1].1 as u64)
    });
    assert_eq!(sha256(&server, &sink), sha256(&server, &site.path("huge.bin")));
    assert_bypassed(&client, &before);
}

#[test]
fn between_two_stacks_a_large_file_arrives_whole() {
    let lab = Lab::new("superframes-two");
    let (server, client) = lab.pair();
    let site = Site::new(&lab, 80, FILES);
    let _nginx = on_road(&server, &[], &site.nginx(), 80);
    let out = lab.folder().join("fetched").to_string_lossy().into_owned();
    let before = client.counters();
    let url = format!("http://{SERVER}/huge.bin");
    client.must(&ringroad(&[], &["curl", "-sS", "--fail", "--max-time", "100", "-o", &out, &url]));
    assert_eq!(sha256(&client, &out), sha256(&server, &site.path("huge.bin")));
    assert_bypassed(&client, &before);
}
