//! The same over a cable that loses, repeats and reorders one frame in a hundred.

use lab::{Lab, Relay, SERVER, Site, Trouble};
use ringroad_tests::{
    assert_bypassed, fetch_at_once, fetched_sha256, must_have_stack, on_kernel, on_road, sha256,
};

const FILES: &[(&str, usize)] = &[("small.bin", 612), ("big.bin", 1 << 20), ("huge.bin", 200 << 20)];

fn assert_was_bad(relay: &Relay) {
    let told = [relay.lost(), relay.duplicated(), relay.reordered()];
    let expected = relay.seen() / 100;
    assert!(
        told.iter().all(|n| (expected / 2..expected * 2).contains(n)),
        "{told:?} of {} frames",
        relay.seen()
    );
}

#[test]
fn files_arrive_whole_over_a_bad_cable() {
    let lab = Lab::new("lossy");
    let (server, client, relay) = lab.pair_through(Trouble::one_percent(1));
    let site = Site::new(&lab, 80, FILES);
    let nginx = on_road(&server, &[], &site.nginx(), 80);
    let before = server.counters();
    for (file, _) in FILES {
        let fetched = fetched_sha256(&client, &format!("http://{SERVER}/{file}"));
        assert_eq!(fetched, sha256(&server, &site.path(file)), "{file}");
    }
    assert_bypassed(&server, &before);
    assert_was_bad(&relay);
    let stack = must_have_stack(&server, &nginx);
    assert!(stack["counters"]["tcp_retransmits"].as_u64() > Some(100), "{stack}");
}

#[test]
fn five_hundred_at_once_arrive_whole_over_a_bad_cable() {
    let lab = Lab::new("lossy-many");
    let (server, client, relay) = lab.pair_through(Trouble::one_percent(2));
    let site = Site::new(&lab, 80, &FILES[..2]);
    let _nginx = on_road(&server, &[], &site.nginx(), 80);
    let before = server.counters();
    for (file, _) in &FILES[..2] {
        fetch_at_once(&client, &format!("http://{SERVER}/{file}"), 500, &sha256(&server, &site.path(file)));
    }
    assert_bypassed(&server, &before);
    assert_was_bad(&relay);
}

#[test]
fn a_client_on_the_road_uploads_nothing_wrong_over_a_bad_cable() {
    let lab = Lab::new("lossy-client");
    let (server, client, relay) = lab.pair_through(Trouble::one_percent(3));
    let site = Site::new(&lab, 80, &FILES[..2]);
    let _nginx = on_kernel(&server, &site.nginx(), 80);
    let out = lab.folder().join("fetched").to_string_lossy().into_owned();
    let before = client.counters();
    let url = format!("http://{SERVER}/big.bin?[1-20]");
    let curl = ["curl", "-sS", "--fail", "--max-time", "60", "-o", &out, &url];
    client.must(&ringroad_tests::ringroad(&[], &curl));
    assert_eq!(sha256(&client, &out), sha256(&server, &site.path("big.bin")));
    assert_bypassed(&client, &before);
    assert_was_bad(&relay);
}
