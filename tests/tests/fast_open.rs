//! Fast Open (RFC 7413) between the road and the kernel, each as client and as server: a request in the SYN is answered.
//! What the other end's kernel has counted, and what both TCP_INFO say, is the judge.

use lab::{Lab, Namespace, SERVER};
use ringroad_tests::matrix::program;
use ringroad_tests::{assert_bypassed, assert_no_connections, must_have_stack, on_kernel, on_road, ringroad};

/// What a client prints that gets a cookie with its first connection and uses it for the others.
const COOKIE_THEN_DATA: &str = "HELLO 0\nHELLO 1\nHELLO 1\n";

/// Two hosts that permit it, as the administrator has to: the server for listeners that ask for it, the client for all.
fn hosts(lab: &Lab) -> (Namespace, Namespace) {
    let (server, client) = lab.pair();
    server.must(&["sysctl", "-qw", "net.ipv4.tcp_fastopen=2"]);
    client.must(&["sysctl", "-qw", "net.ipv4.tcp_fastopen=1"]);
    (server, client)
}

fn words<'a>(program: &'a str, what: &'a str, last: &'a str) -> [&'a str; 6] {
    ["python3", program, what, SERVER, "7000", last]
}

#[test]
fn a_request_in_the_syn_of_a_kernel_is_answered() {
    let lab = Lab::new("tfo-server");
    let (server, client) = hosts(&lab);
    let script = program("fast_open.py");
    let serving = on_road(&server, &[], &words(&script, "serve", "16"), 7000);
    let before = (server.counters(), client.counters());
    assert_eq!(client.must(&words(&script, "ask", "sendto")), COOKIE_THEN_DATA);
    assert_eq!(client.counters().since(&before.1, "TcpTCPFastOpenActive"), 2);
    assert_bypassed(&server, &before.0);
    let counters = &must_have_stack(&server, &serving)["counters"];
    assert_eq!(
        (counters["tcp_fastopen_passive"].as_u64(), counters["tcp_passive_opens"].as_u64()),
        (Some(2), Some(3))
    );
}

#[test]
fn a_kernel_answers_a_request_in_our_syn() {
    let lab = Lab::new("tfo-client");
    let (server, client) = hosts(&lab);
    let script = program("fast_open.py");
    let _serving = on_kernel(&server, &words(&script, "serve", "16"), 7000);
    for how in ["sendto", "connect"] {
        let before = (server.counters(), client.counters());
        let asking = ringroad(&["--strict"], &words(&script, "ask", how));
        assert_eq!(client.run(&asking).must(), COOKIE_THEN_DATA, "{how}");
        assert_eq!(server.counters().since(&before.0, "TcpTCPFastOpenPassive"), 2, "{how}");
        assert_no_connections(&client, &before.1);
    }
}

#[test]
fn who_does_not_ask_for_it_has_none() {
    let lab = Lab::new("tfo-off");
    let (server, client) = hosts(&lab);
    let script = program("fast_open.py");
    let serving = on_road(&server, &[], &words(&script, "serve", "0"), 7000);
    let before = client.counters();
    assert_eq!(client.must(&words(&script, "ask", "sendto")), "HELLO 0\nHELLO 0\nHELLO 0\n");
    assert_eq!(client.counters().since(&before, "TcpTCPFastOpenActive"), 0);
    let counters = &must_have_stack(&server, &serving)["counters"];
    assert_eq!(counters["tcp_fastopen_passive"].as_u64(), Some(0));
}
