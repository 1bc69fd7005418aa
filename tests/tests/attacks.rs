//! A flood of SYNs, from sources that do not exist, at the rate that the machine can make: a transfer goes on, new
//! connections come, and memory does not grow (RFC 4987).

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use lab::{CLIENT, IFACE, Lab, Namespace, SERVER, Site, SplitMix};
use ringroad_tests::{fetched_sha256, must_have_stack, on_road, sha256};

const BIG: usize = 64 << 20;
/// The flood ends by itself.
const MOST: Duration = Duration::from_secs(60);

fn sum(bytes: &[u8], from: u32) -> u32 {
    bytes.chunks(2).fold(from, |sum, pair| sum + (u32::from(pair[0]) << 8) + u32::from(pair[1]))
}

fn finish(mut sum: u32) -> [u8; 2] {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!(sum as u16)).to_be_bytes()
}

/// A SYN to the server's port 80, from an address of the client's network that nobody has.
fn syn(random: &mut SplitMix, link: [[u8; 6]; 2]) -> Vec<u8> {
    let to: std::net::Ipv4Addr = SERVER.parse().expect("an address");
    let mut from = CLIENT.parse::<std::net::Ipv4Addr>().expect("an address").octets();
    from[3] = 100 + (random.next() % 100) as u8;
    let mut tcp = vec![0; 20];
    tcp[..2].copy_from_slice(&(1024 + (random.next() % 60_000) as u16).to_be_bytes());
    tcp[2..4].copy_from_slice(&80u16.to_be_bytes());
    tcp[4..8].copy_from_slice(&(random.next() as u32).to_be_bytes());
    tcp[12..16].copy_from_slice(&[0x50, 2, 0xff, 0xff]);
    let field = finish(sum(&tcp, sum(&from, sum(&to.octets(), 26))));
    tcp[16..18].copy_from_slice(&field);
    let mut ip = vec![0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0];
    ip.extend(from);
    ip.extend(to.octets());
    let field = finish(sum(&ip, 0));
    ip[10..12].copy_from_slice(&field);
    [&link[0][..], &link[1], &[8, 0], &ip, &tcp].concat()
}

fn memory(host: &Namespace, pid: u32) -> u64 {
    let status = host.must(&["cat", &format!("/proc/{pid}/status")]);
    // Not the frames: they are shared memory, and there from the beginning.
    let line = status.lines().find(|l| l.starts_with("RssAnon:")).expect("RssAnon");
    line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("kilobytes")
}

fn counter(stack: &serde_json::Value, name: &str) -> u64 {
    stack["counters"][name].as_u64().unwrap_or_else(|| panic!("no counter {name} in {stack}"))
}

/// RFC 4987
#[test]
fn a_syn_flood_stops_nobody() {
    let lab = Lab::new("flood");
    let (server, client) = lab.pair();
    let site = Site::new(&lab, 80, &[("big.bin", BIG), ("small.bin", 612)]);
    let nginx = on_road(&server, &[], &site.nginx(), 80);
    let url = |file: &str| format!("http://{SERVER}/{file}");
    let (big, small) = (sha256(&server, &site.path("big.bin")), sha256(&server, &site.path("small.bin")));
    let fetch = |file: &str, expected: &str| {
        let begun = Instant::now();
        assert_eq!(fetched_sha256(&client, &url(file)), expected, "{file}");
        begun.elapsed()
    };
    let undisturbed = fetch("big.bin", &big);
    // Neighbours that do not exist are asked for: an attacker beyond a router would have none of these costs.
    let neighbour = client.link_address(IFACE).map(|b| format!("{b:02x}")).join(":");
    for n in 100..200 {
        let address = format!("{}.{n}", CLIENT.rsplit_once('.').expect("an address").0);
        server.must(&["ip", "neigh", "replace", &address, "lladdr", &neighbour, "dev", IFACE]);
    }
    let stack = must_have_stack(&server, &nginx);
    let pid = stack["pid"].as_u64().expect("a pid") as u32;
    let before = memory(&server, pid);
    let (over, shots) = (AtomicBool::new(false), AtomicU64::new(0));
    let link = [server.link_address(IFACE), client.link_address(IFACE)];
    let mut disturbed = Duration::ZERO;
    std::thread::scope(|scope| {
        let flood = || {
            let (socket, mut random) = (client.frames(IFACE), SplitMix(7));
            let frames: Vec<Vec<u8>> = (0..20_000).map(|_| syn(&mut random, link)).collect();
            let begun = Instant::now();
            for frame in frames.iter().cycle() {
                if over.load(Ordering::Relaxed) || begun.elapsed() > MOST {
                    break;
                }
                // A full queue of the cable is the cable's matter.
                shots.fetch_add(u64::from(socket.send(frame).is_ok()), Ordering::Relaxed);
            }
        };
        scope.spawn(flood);
        while shots.load(Ordering::Relaxed) < 20_000 {
            std::thread::yield_now();
        }
        disturbed = fetch("big.bin", &big);
        for _ in 0..20 {
            fetch("small.bin", &small);
        }
        over.store(true, Ordering::Relaxed);
    });
    let stack = must_have_stack(&server, &nginx);
    let after = memory(&server, pid);
    let (sent, cookies) = (shots.into_inner(), counter(&stack, "tcp_syncookies_sent"));
    println!(
        "{sent} SYNs, {cookies} cookies; {} MiB in {undisturbed:.2?}, under the flood in {disturbed:.2?}; \
         {before} KiB before, {after} KiB after",
        BIG >> 20
    );
    assert!(cookies > 10_000, "{cookies} cookies of {sent} SYNs");
    assert!(after < before + 2 * 1024, "{before} KiB became {after} KiB");
}
