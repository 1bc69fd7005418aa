//! A router on the way cuts TCP segments in pieces: the stack puts them together, the kernel sees none.

use lab::{IFACE, Lab, SERVER};
use ringroad_tests::{assert_bypassed, must_have_stack, on_road};

const CLIENT: &str = "10.78.0.2";

#[test]
fn a_server_behind_a_router_that_cuts_packets() {
    let lab = Lab::new("pieces");
    let (server, router, client) = (lab.host("server"), lab.host("router"), lab.host("client"));
    lab.cable((&server, IFACE), (&router, "near"));
    lab.cable((&router, "far"), (&client, IFACE));
    for (host, iface, address) in [
        (&server, IFACE, SERVER),
        (&router, "near", "10.77.0.254"),
        (&router, "far", "10.78.0.254"),
        (&client, IFACE, CLIENT),
    ] {
        host.must(&["ip", "address", "add", &format!("{address}/24"), "dev", iface]);
    }
    for (host, iface) in [(&router, "near"), (&router, "far"), (&client, IFACE)] {
        host.must(&["ethtool", "-K", iface, "tx", "off", "tso", "off", "gso", "off", "gro", "off"]);
    }
    server.must(&["ip", "route", "add", "10.78.0.0/24", "via", "10.77.0.254"]);
    client.must(&["ip", "route", "add", "10.77.0.0/24", "via", "10.78.0.254"]);
    router.must(&["sysctl", "-q", "net.ipv4.ip_forward=1"]);
    router.must(&["ip", "route", "change", "10.77.0.0/24", "dev", "near", "mtu", "lock", "600"]);
    // Without DF: this client leaves it to routers.
    client.must(&["sysctl", "-q", "net.ipv4.ip_no_pmtu_disc=1"]);
    let redis =
        ["redis-server", "--port", "6379", "--save", "", "--protected-mode", "no", "--bind", "0.0.0.0"];
    let road = on_road(&server, &[], &redis, 6379);
    let before = server.counters();
    let script = format!(
        "set -e -o pipefail; f=$(mktemp); trap 'rm $f' EXIT; head -c 300000 /dev/urandom | base64 -w0 > $f; \
         redis-cli -h {SERVER} -x set big < $f; redis-cli -h {SERVER} get big | head -c -1 | cmp - $f; echo same"
    );
    let said = client.must(&["bash", "-c", &script]);
    assert_eq!(said.split_whitespace().collect::<Vec<_>>(), ["OK", "same"]);
    assert_bypassed(&server, &before);
    let stack = must_have_stack(&server, &road);
    assert!(stack["counters"]["ip_reassembled"].as_u64() > Some(100), "{}", stack["counters"]);
}
