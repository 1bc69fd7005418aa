//! Interfaces that go down, and that go away, under what runs on them.

use lab::{CLIENT, IFACE, Lab, Namespace, Running, SERVER, Site, eventually};
use ringroad_tests::{assert_bypassed, fetch_at_once, fetched_sha256, must_have_stack, on_road, sha256};

const FILES: &[(&str, usize)] = &[("small.bin", 612), ("huge.bin", 32 << 20)];
const BACKENDS: [&str; 2] = ["af-xdp", "packet"];

fn segments_out(server: &Namespace, nginx: &Running) -> u64 {
    let stack = must_have_stack(server, nginx);
    stack["counters"]["tcp_segs_out"].as_u64().expect("a counter")
}

/// The interface of either end is down for a moment in the middle of a file.
#[test]
fn a_transfer_outlives_a_link_that_is_down() {
    for backend in BACKENDS {
        let lab = Lab::new(&format!("links-down-{backend}"));
        let (server, client) = lab.pair();
        let site = Site::new(&lab, 80, FILES);
        let nginx = on_road(&server, &["--strict", "--backend", backend], &site.nginx(), 80);
        let before = server.counters();
        let sum = sha256(&server, &site.path("huge.bin"));
        let url = format!("http://{SERVER}/huge.bin");
        let fetch =
            format!("set -o pipefail; curl -sS --fail --max-time 100 --limit-rate 8M {url} | sha256sum");
        for host in [&server, &client] {
            let sent = segments_out(&server, &nginx);
            let mut transfer = client.spawn(&["bash", "-c", &fetch]);
            eventually("the transfer is under way", 60, || segments_out(&server, &nginx) > sent + 100);
            host.must(&["ip", "link", "set", IFACE, "down"]);
            let state = format!("/sys/class/net/{IFACE}/operstate");
            eventually("nothing passes", 20, || host.must(&["cat", &state]) != "up\n");
            host.must(&["ip", "link", "set", IFACE, "up"]);
            assert_eq!(transfer.ended(110), 0, "{backend}: {}", transfer.said());
            assert!(transfer.said().contains(&sum), "{backend}: {}", transfer.said());
        }
        assert_bypassed(&server, &before);
    }
}

/// The program goes on. What is there under the same name later is the kernel's, and so are its listeners.
#[test]
fn an_interface_that_goes_away_leaves_the_program_to_the_kernel() {
    for backend in BACKENDS {
        let lab = Lab::new(&format!("links-gone-{backend}"));
        let (server, client) = lab.pair();
        let site = Site::new(&lab, 80, FILES);
        let mut nginx = on_road(&server, &["--strict", "--backend", backend], &site.nginx(), 80);
        let url = format!("http://{SERVER}/small.bin");
        let sum = sha256(&server, &site.path("small.bin"));
        assert_eq!(fetched_sha256(&client, &url), sum);
        let slow =
            format!("exec curl -sS --max-time 60 --limit-rate 64k -o /dev/null http://{SERVER}/huge.bin");
        let sent = segments_out(&server, &nginx);
        let _transfer = client.spawn(&["bash", "-c", &slow]);
        eventually("the transfer is under way", 60, || segments_out(&server, &nginx) > sent);
        server.must(&["ip", "link", "delete", IFACE]);
        eventually("it is said", 20, || nginx.said().contains(&format!("{IFACE} is gone")));
        lab.cable((&server, IFACE), (&client, IFACE));
        for (host, address) in [(&server, SERVER), (&client, CLIENT)] {
            host.must(&["ip", "address", "add", &format!("{address}/24"), "dev", IFACE]);
        }
        let before = server.counters();
        fetch_at_once(&client, &url, 20, &sum);
        assert!(nginx.is_running(), "{backend}: {}", nginx.said());
        assert_eq!(
            server.counters().since(&before, "TcpPassiveOpens"),
            20,
            "{backend}: the kernel has served them"
        );
        assert_eq!(
            nginx.said().matches("is gone").count(),
            1,
            "{backend}: it is said once: {}",
            nginx.said()
        );
    }
}
