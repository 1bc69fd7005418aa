//! A program with nothing to do does nothing, whatever the profile: counted in turns of its runtime.

use std::time::Duration;

use lab::{Lab, Namespace, Running, SERVER, Site, eventually, must_have_stack};
use ringroad_tests::on_road;

/// Turns between two looks, of a stack that rests: the helper looks after neighbours, timers run out.
const FEW: u64 = 50;

fn turns(host: &Namespace, program: &Running) -> u64 {
    must_have_stack(host, program)["counters"]["runtime_turns"].as_u64().expect("a counter")
}

/// A spin is hundreds of thousands of turns a second, on any machine: who spins never gets here.
#[test]
fn a_server_comes_to_rest_in_every_profile() {
    for profile in ["latency", "throughput", "balanced"] {
        let lab = Lab::new("idle");
        let (server, client) = lab.pair();
        let site = Site::new(&lab, 80, &[("small.bin", 612)]);
        let nginx = on_road(&server, &["--profile", profile], &site.nginx(), 80);
        let url = format!("http://{SERVER}/small.bin");
        client.must(&["curl", "-sS", "--fail", "--max-time", "60", "-o", "/dev/null", &url]);
        // A connection that stays open and quiet, too.
        let quiet = client.enter(|| std::net::TcpStream::connect((SERVER, 80)).expect("a connection"));
        assert!(turns(&server, &nginx) > 0, "it has served");
        eventually("the server is at rest", 30, || {
            let before = turns(&server, &nginx);
            std::thread::park_timeout(Duration::from_millis(400));
            turns(&server, &nginx) - before <= FEW
        });
        drop(quiet);
    }
}
