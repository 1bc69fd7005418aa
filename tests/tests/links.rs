//! Interfaces that go down, that go away, and that come back, under what runs on them.

use std::io::Write;
use std::net::{Shutdown, TcpStream};

use lab::{CLIENT, IFACE, Lab, Namespace, Running, SERVER, Signal, Site, eventually, product, stacks};
use ringroad_tests::replacing::replaced;
use ringroad_tests::{
    assert_bypassed, assert_no_connections, fetch_at_once, fetched_sha256, must_have_stack, on_road, sha256,
    start_on,
};

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

/// In the middle of a file: what is under way is cut anew.
#[test]
fn a_transfer_outlives_an_mtu_that_changes() {
    for backend in BACKENDS {
        let lab = Lab::new(&format!("links-mtu-{backend}"));
        let (server, client) = lab.pair();
        let site = Site::new(&lab, 80, FILES);
        let nginx = on_road(&server, &["--strict", "--backend", backend], &site.nginx(), 80);
        let before = server.counters();
        let sum = sha256(&server, &site.path("huge.bin"));
        let url = format!("http://{SERVER}/huge.bin");
        let fetch =
            format!("set -o pipefail; curl -sS --fail --max-time 100 --limit-rate 8M {url} | sha256sum");
        for mtu in ["1300", "1500"] {
            let sent = segments_out(&server, &nginx);
            let mut transfer = client.spawn(&["bash", "-c", &fetch]);
            eventually("the transfer is under way", 60, || segments_out(&server, &nginx) > sent + 100);
            for host in [&server, &client] {
                host.must(&["ip", "link", "set", IFACE, "mtu", mtu]);
            }
            assert_eq!(transfer.ended(110), 0, "{backend}: {}", transfer.said());
            assert!(transfer.said().contains(&sum), "{backend}: {}", transfer.said());
        }
        assert_bypassed(&server, &before);
    }
}

/// The cable is another one from here on, between interfaces of the same names. They get their addresses when `is_ready`.
fn lay_anew(lab: &Lab, server: &Namespace, client: &Namespace, is_ready: impl FnOnce()) {
    lab.cable((server, IFACE), (client, IFACE));
    is_ready();
    for (host, address) in [(server, SERVER), (client, CLIENT)] {
        host.must(&["ip", "address", "add", &format!("{address}/24"), "dev", IFACE]);
    }
}

/// Waits until the stack takes what comes for an address that is new: the kernel's listener does before the stack has heard of it.
/// What is under way then may be lost.
fn is_the_stacks(server: &Namespace, client: &Namespace, url: &str, sum: &str) {
    let fetch = format!("set -o pipefail; curl -sS --fail --max-time 10 '{url}' | sha256sum");
    eventually("the stack serves", 60, || {
        let before = server.counters();
        let outcome = client.run_for(20, &["bash", "-c", &fetch]);
        let opened = server.counters().since(&before, "TcpPassiveOpens");
        outcome.code == 0 && outcome.stdout.starts_with(sum) && opened == 0
    });
}

/// What listens is served there again, by all workers and those that begin later, and connections have waited.
#[test]
fn an_interface_that_comes_back_is_the_stacks_again() {
    for workers in [1, 2] {
        let lab = Lab::new(&format!("links-back-{workers}"));
        let (server, client) = lab.pair();
        let site = Site::with_workers(&lab, 80, FILES, workers);
        let nginx = on_road(&server, &["--strict", "--backend", "packet"], &site.nginx(), 80);
        let all = replaced(&server, workers, || nginx.children(), &[]);
        let (url, small) = (format!("http://{SERVER}/huge.bin"), format!("http://{SERVER}/small.bin"));
        let (sum, of_small) =
            (sha256(&server, &site.path("huge.bin")), sha256(&server, &site.path("small.bin")));
        let fetch =
            format!("set -o pipefail; curl -sS --fail --max-time 100 --limit-rate 8M {url} | sha256sum");
        for round in 1..=2 {
            let sent = || -> u64 {
                stacks(&server)
                    .iter()
                    .map(|s| s["counters"]["tcp_segs_out"].as_u64().expect("a counter"))
                    .sum()
            };
            let before = sent();
            let mut transfer = client.spawn(&["bash", "-c", &fetch]);
            eventually("the transfer is under way", 60, || sent() > before + 100);
            server.must(&["ip", "link", "delete", IFACE]);
            let times = |words: &str| nginx.said().matches(words).count();
            eventually("it is said", 20, || times("is gone: its connections wait") == round * workers);
            lay_anew(&lab, &server, &client, || {
                eventually("it is back", 20, || times(&format!("{IFACE} is back")) == round * workers);
            });
            assert_eq!(transfer.ended(110), 0, "{}", transfer.said());
            assert!(transfer.said().contains(&sum), "{}", transfer.said());
            is_the_stacks(&server, &client, &small, &of_small);
            let before = server.counters();
            fetch_at_once(&client, &small, 20, &of_small);
            assert_no_connections(&server, &before);
        }
        let before = server.counters();
        nginx.signal(Signal::Hup);
        replaced(&server, workers, || nginx.children(), &all);
        eventually("the old workers are gone", 20, || nginx.children().len() == workers);
        fetch_at_once(&client, &small, 20, &of_small);
        // A later program gets the port from the keeper, as it is now.
        let later = Site::new(&lab, 81, FILES);
        let _later = on_road(&server, &["--strict", "--backend", "packet"], &later.nginx(), 81);
        fetch_at_once(&client, &format!("http://{SERVER}:81/small.bin"), 20, &of_small);
        assert_no_connections(&server, &before);
    }
}

/// It comes back with its number, and with the program that was attached to it.
#[test]
fn an_interface_that_was_in_another_namespace_is_the_stacks_again() {
    let lab = Lab::new("links-lent");
    let (server, client) = lab.pair();
    let elsewhere = lab.host("elsewhere");
    let site = Site::new(&lab, 80, FILES);
    let nginx = on_road(&server, &["--strict", "--backend", "packet"], &site.nginx(), 80);
    let (url, sum) = (format!("http://{SERVER}/small.bin"), sha256(&server, &site.path("small.bin")));
    fetch_at_once(&client, &url, 20, &sum);
    server.must(&["ip", "link", "set", IFACE, "netns", elsewhere.name()]);
    eventually("it is said", 20, || nginx.said().contains("is gone: its connections wait"));
    elsewhere.must(&["ip", "link", "set", IFACE, "netns", server.name()]);
    eventually("it is back", 20, || nginx.said().contains(&format!("{IFACE} is back")));
    server.must(&["ip", "link", "set", IFACE, "up"]);
    server.must(&["ip", "address", "add", &format!("{SERVER}/24"), "dev", IFACE]);
    is_the_stacks(&server, &client, &url, &sum);
    let before = server.counters();
    fetch_at_once(&client, &url, 20, &sum);
    assert_no_connections(&server, &before);
}

/// Also where there is no keeper, and the process opens it itself.
#[test]
fn an_upload_waits_for_an_interface_that_comes_back() {
    for processes in ["1", "2"] {
        let lab = Lab::new(&format!("links-upload-{processes}"));
        let (server, client) = lab.pair();
        let sink = lab.folder().join("received").to_string_lossy().into_owned();
        let variable = format!("RINGROAD_PROCESSES={processes}");
        let (listen, create) = (format!("TCP-LISTEN:80,bind={SERVER}"), format!("CREATE:{sink}"));
        let socat = ["socat", "-u", &listen, &create];
        let road = [
            &["env", &variable, product(), "run", "--strict", "--backend", "packet", "--iface", IFACE, "--"],
            &socat[..],
        ];
        let hearer = start_on(&server, &road.concat(), 80);
        let before = server.counters();
        let written = |bytes: usize| {
            eventually("it is written", 60, || {
                std::fs::metadata(&sink).is_ok_and(|file| file.len() == bytes as u64)
            });
        };
        let bytes: Vec<u8> = (0..2 << 20).map(|n: u64| ((n * n) >> 7) as u8).collect();
        let parts = [1 << 20, (1 << 20) + (32 << 10)];
        let mut upload = client.enter(|| TcpStream::connect((SERVER, 80)).expect("a connection"));
        upload.write_all(&bytes[..parts[0]]).expect("taken");
        written(parts[0]);
        server.must(&["ip", "link", "delete", IFACE]);
        eventually("it is said", 20, || hearer.said().contains("is gone: its connections wait"));
        upload.write_all(&bytes[parts[0]..parts[1]]).expect("kept for later");
        lay_anew(&lab, &server, &client, || {
            eventually("it is back", 20, || hearer.said().contains(&format!("{IFACE} is back")));
        });
        upload.write_all(&bytes[parts[1]..]).expect("taken");
        upload.shutdown(Shutdown::Write).expect("that is all");
        written(bytes.len());
        assert!(std::fs::read(&sink).is_ok_and(|file| file == bytes), "it came as it was sent");
        assert_bypassed(&server, &before);
    }
}

/// To open it again takes more privilege than the rest (CAP_SYS_ADMIN). Without, it is the kernel's, and so are its listeners.
#[test]
fn an_interface_that_comes_back_and_that_nobody_may_open_is_the_kernels() {
    let lab = Lab::new("links-closed");
    let (server, client) = lab.pair();
    let site = Site::new(&lab, 80, FILES);
    let less = ["setpriv", "--bounding-set", "-sys_admin", "--inh-caps", "-sys_admin"];
    let road =
        [&less[..], &[product(), "run", "--strict", "--backend", "packet", "--iface", IFACE, "--"]].concat();
    let mut nginx = start_on(&server, &[&road[..], &site.nginx()].concat(), 80);
    let (url, sum) = (format!("http://{SERVER}/small.bin"), sha256(&server, &site.path("small.bin")));
    let before = server.counters();
    fetch_at_once(&client, &url, 20, &sum);
    assert_bypassed(&server, &before);
    server.must(&["ip", "link", "delete", IFACE]);
    lay_anew(&lab, &server, &client, || {
        eventually("it is said", 60, || {
            nginx.said().contains(&format!("{IFACE} is back, but nobody could open it"))
        });
    });
    let before = server.counters();
    fetch_at_once(&client, &url, 20, &sum);
    assert!(nginx.is_running(), "{}", nginx.said());
    assert_eq!(server.counters().since(&before, "TcpPassiveOpens"), 20, "the kernel has served them");
}

/// The other goes on as before.
#[test]
fn one_of_two_interfaces_goes_away_for_good() {
    for backend in BACKENDS {
        let lab = Lab::new(&format!("links-other-{backend}"));
        let (server, client) = lab.pair();
        lab.cable((&server, "other"), (&client, "other"));
        for (host, address) in [(&server, "10.78.0.1/24"), (&client, "10.78.0.2/24")] {
            host.must(&["ip", "address", "add", address, "dev", "other"]);
        }
        let site = Site::new(&lab, 80, FILES);
        let both = format!("{IFACE},other");
        let road = [product(), "run", "--strict", "--backend", backend, "--iface", &both, "--"];
        let nginx = start_on(&server, &[&road[..], &site.nginx()].concat(), 80);
        let before = server.counters();
        let sum = sha256(&server, &site.path("small.bin"));
        fetch_at_once(&client, "http://10.78.0.1/small.bin", 20, &sum);
        server.must(&["ip", "link", "delete", IFACE]);
        eventually("it is said", 20, || nginx.said().contains(&format!("{IFACE} is gone")));
        fetch_at_once(&client, "http://10.78.0.1/small.bin", 20, &sum);
        assert_eq!(
            fetched_sha256(&client, "http://10.78.0.1/huge.bin"),
            sha256(&server, &site.path("huge.bin"))
        );
        assert_eq!(nginx.said().matches("is gone").count(), 1, "{backend}: {}", nginx.said());
        assert_bypassed(&server, &before);
    }
}

/// The program goes on. AF_XDP sockets are of one interface for good: what is there under the same name later is the kernel's,
/// and so are its listeners.
#[test]
fn an_interface_with_af_xdp_sockets_that_goes_away_leaves_the_program_to_the_kernel() {
    let lab = Lab::new("links-gone");
    let (server, client) = lab.pair();
    let site = Site::new(&lab, 80, FILES);
    let mut nginx = on_road(&server, &["--strict", "--backend", "af-xdp"], &site.nginx(), 80);
    let url = format!("http://{SERVER}/small.bin");
    let sum = sha256(&server, &site.path("small.bin"));
    assert_eq!(fetched_sha256(&client, &url), sum);
    let slow = format!("exec curl -sS --max-time 60 --limit-rate 64k -o /dev/null http://{SERVER}/huge.bin");
    let sent = segments_out(&server, &nginx);
    let _transfer = client.spawn(&["bash", "-c", &slow]);
    eventually("the transfer is under way", 60, || segments_out(&server, &nginx) > sent);
    server.must(&["ip", "link", "delete", IFACE]);
    eventually("it is said", 20, || nginx.said().contains(&format!("{IFACE} is gone")));
    lay_anew(&lab, &server, &client, || ());
    let before = server.counters();
    fetch_at_once(&client, &url, 20, &sum);
    assert!(nginx.is_running(), "{}", nginx.said());
    assert_eq!(server.counters().since(&before, "TcpPassiveOpens"), 20, "the kernel has served them");
    assert_eq!(nginx.said().matches("is gone").count(), 1, "it is said once: {}", nginx.said());
}
