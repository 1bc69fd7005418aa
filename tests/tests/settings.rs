//! What an administrator has set for the host's sockets holds for ours.

use std::io::Write;
use std::net::TcpListener;
use std::thread;

use ringroad_tests::accepted;
use ringroad_tests::matrix::{program, same_on_both};

/// None is Linux's default.
const SETTINGS: &[&str] = &[
    "net.core.somaxconn=7",
    "net.ipv4.ip_default_ttl=77",
    "net.ipv4.tcp_fin_timeout=17",
    "net.ipv4.tcp_keepalive_time=601",
    "net.ipv4.tcp_keepalive_intvl=31",
    "net.ipv4.tcp_keepalive_probes=4",
    "net.ipv4.tcp_rmem=4096 262144 8388608",
    "net.ipv4.tcp_syn_retries=3",
    "net.ipv6.auto_flowlabels=2",
    "net.ipv6.bindv6only=1",
];

#[test]
fn sockets_begin_with_what_the_host_has_set() {
    same_on_both("settings", |stage| {
        for host in [&stage.server, &stage.client] {
            host.must(&[&["sysctl", "-qw"], SETTINGS].concat());
        }
        let listener = stage.server.enter(|| TcpListener::bind("10.77.0.1:80")).expect("a listener");
        let peer = thread::spawn(move || {
            let mut stream = accepted(&listener);
            stream.write_all(b"hello").expect("sent");
        });
        let said = stage.ask(&["python3", &program("settings.py")]);
        peer.join().expect("the peer");
        assert!(said.contains("tcp TCP_KEEPIDLE 601") && said.contains("tcp IP_TTL 77"), "{said}");
        stage.assert_asked_past_the_kernel();
        said
    });
}
