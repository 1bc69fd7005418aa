//! Attacks by those who do not need an answer: nobody else is stopped by them, and memory does not grow.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use lab::{Lab, Namespace, SERVER, SERVER6, Site, Where, must_have_stack, ringroad, start};
use ringroad_tests::flood::Flood;
use ringroad_tests::{fetch_at_once, fetched_sha256, sha256};

const BIG: usize = 64 << 20;

fn memory(host: &Namespace, pid: u64) -> u64 {
    let status = host.must(&["cat", &format!("/proc/{pid}/status")]);
    // Not the frames: they are shared memory, and there from the beginning.
    let line = status.lines().find(|l| l.starts_with("RssAnon:")).expect("RssAnon");
    line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("kilobytes")
}

fn counter(stack: &serde_json::Value, name: &str) -> u64 {
    stack["counters"][name].as_u64().unwrap_or_else(|| panic!("no counter {name} in {stack}"))
}

/// An nginx of either TCP before and under a flood of SYNs: a transfer goes on to its end, new connections come.
/// Prints what it took, which depends on the machine, and asserts no time.
fn flooded(place: Where) {
    let lab = Lab::new("flood");
    let (server, client) = lab.dual_pair();
    let root = lab.folder().join("site-8080/www");
    let both = format!("  server {{ listen [::]:80 ipv6only=off; root {}; }}\n", root.display());
    let site = Site::with(&lab, 8080, &[("big.bin", BIG), ("small.bin", 612)], &both);
    let command = if place == Where::Road { ringroad(&[], &site.nginx()) } else { site.nginx() };
    let nginx = start(&server, &command, 80, place);
    let hosts = [SERVER.to_owned(), format!("[{SERVER6}]")];
    let (big, small) = (sha256(&server, &site.path("big.bin")), sha256(&server, &site.path("small.bin")));
    let transfer = || {
        let begun = Instant::now();
        assert_eq!(fetched_sha256(&client, &format!("http://{SERVER}/big.bin")), big);
        begun.elapsed()
    };
    transfer();
    let undisturbed = transfer();
    let stack = || must_have_stack(&server, &nginx);
    let before = (place == Where::Road).then(|| memory(&server, stack()["pid"].as_u64().expect("a pid")));
    let flood = Flood::default();
    let (mut disturbed, mut opening) = (Duration::ZERO, Duration::ZERO);
    std::thread::scope(|scope| {
        let flooding = flood.start(scope, (&server, &client));
        let begun = Instant::now();
        disturbed = transfer();
        let rate = flood.shots() as f64 / begun.elapsed().as_secs_f64() / 1000.0;
        let begun = Instant::now();
        for host in &hosts {
            fetch_at_once(&client, &format!("http://{host}/small.bin"), 20, &small);
        }
        opening = begun.elapsed();
        drop(flooding);
        println!("{place:?}: {rate:.0} thousand SYNs a second while the transfer went on");
    });
    println!(
        "{place:?}: {} MiB in {undisturbed:.2?}, under the flood in {disturbed:.2?}: {:.0} %; 40 new connections in \
         {opening:.2?}",
        BIG >> 20,
        100.0 * undisturbed.as_secs_f64() / disturbed.as_secs_f64()
    );
    let Some(before) = before else { return };
    let stack = stack();
    let after = memory(&server, stack["pid"].as_u64().expect("a pid"));
    let (shed, cookies) = (counter(&stack, "xdp_syns_shed"), counter(&stack, "tcp_syncookies_sent"));
    println!("{} SYNs, {cookies} cookies, {shed} shed; {before} KiB became {after} KiB", flood.shots());
    assert!(
        cookies > 0 && shed + cookies > 10_000,
        "{cookies} cookies, {shed} shed of {} SYNs",
        flood.shots()
    );
    assert!(after < before + 2 * 1024, "{before} KiB became {after} KiB");
}

/// RFC 4987
#[test]
fn a_syn_flood_stops_nobody() {
    // The same by the kernel's TCP: what the machine can do at all.
    flooded(Where::Kernel);
    flooded(Where::Road);
}

/// Sockstress: peers that ask for much and shut their window, far more of them than there are frames for what they
/// asked. Whoever comes is served all the while.
#[test]
fn idlers_with_shut_windows_starve_nobody() {
    const IDLERS: usize = 200;
    let lab = Lab::new("idlers");
    let (server, client) = lab.pair();
    let site = Site::new(&lab, 80, &[("big.bin", 8 << 20), ("page.bin", 100_000), ("small.bin", 612)]);
    let command = [&["env", "RINGROAD_FRAMES=1024"][..], &ringroad(&[], &site.nginx())].concat();
    let nginx = start(&server, &command, 80, Where::Road);
    let url = |file: &str| format!("http://{SERVER}/{file}");
    let (page, small) = (sha256(&server, &site.path("page.bin")), sha256(&server, &site.path("small.bin")));
    let mut idlers = Vec::new();
    for n in 0..IDLERS {
        idlers.push(client.enter(|| {
            let mut stream = TcpStream::connect((SERVER, 80)).expect("an idler is let in");
            stream.write_all(b"GET /big.bin HTTP/1.1\r\nHost: idle\r\n\r\n").expect("a request");
            stream
        }));
        if n % 40 == 39 {
            fetch_at_once(&client, &url("small.bin"), 10, &small);
            assert_eq!(fetched_sha256(&client, &url("page.bin")), page, "beside {n} idlers");
        }
    }
    for _ in 0..3 {
        fetch_at_once(&client, &url("small.bin"), 20, &small);
        fetch_at_once(&client, &url("page.bin"), 4, &page);
    }
    let stack = must_have_stack(&server, &nginx);
    let names = ["tcp_window_probes", "tcp_aborts_on_memory", "tx_no_frames", "drop_no_frames"];
    println!("{:?}", names.map(|name| (name, counter(&stack, name))));
    let sockets = stack["sockets"].as_array().map(Vec::as_slice).unwrap_or_default();
    let waiting = sockets.iter().filter(|s| s["send_queue"].as_u64().is_some_and(|n| n > 0)).count();
    let aborted = counter(&stack, "tcp_aborts_on_memory") as usize;
    assert!(waiting + aborted > IDLERS / 2, "{waiting} idlers wait, {aborted} were given up");
    drop(idlers);
}
