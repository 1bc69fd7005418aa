//! How frames get to a stack: by AF_XDP, or on the kernel's receive path where there is none or somebody wants that.

use lab::{IFACE, Lab, Namespace, SERVER, Signal, Site, eventually, product, stacks};
use ringroad_tests::{
    assert_bypassed, fetch_at_once, fetched_sha256, must_have_stack, on_kernel, on_road, ringroad, sha256,
    start_on,
};
use serde_json::Value;

const FILES: &[(&str, usize)] = &[("small.bin", 612), ("big.bin", 1 << 20), ("huge.bin", 64 << 20)];
const PACKET: &[&str] = &["--strict", "--backend", "packet"];

fn counter(stack: &Value, name: &str) -> u64 {
    stack["counters"][name].as_u64().unwrap_or_else(|| panic!("no counter {name} in {stack}"))
}

/// The devices that hear for stacks.
fn devices(host: &Namespace) -> usize {
    let links = host.must(&["ip", "-o", "link"]);
    links.lines().filter(|line| line.split(' ').nth(1).is_some_and(|name| name.starts_with("rr"))).count()
}

fn fetches_all(server: &Namespace, client: &Namespace, site: &Site) {
    for (name, _) in FILES {
        let fetched = fetched_sha256(client, &format!("http://{SERVER}/{name}"));
        assert_eq!(fetched, sha256(server, &site.path(name)), "{name}");
    }
}

#[test]
fn nginx_serves_on_the_kernels_receive_path() {
    let lab = Lab::new("packet");
    let (server, client) = lab.pair();
    let site = Site::new(&lab, 80, FILES);
    let nginx = on_road(&server, PACKET, &site.nginx(), 80);
    let before = server.counters();
    fetches_all(&server, &client, &site);
    fetch_at_once(
        &client,
        &format!("http://{SERVER}/small.bin"),
        200,
        &sha256(&server, &site.path("small.bin")),
    );
    assert_bypassed(&server, &before);
    let stack = must_have_stack(&server, &nginx);
    let interface = &stack["interfaces"][0];
    assert_eq!([&interface["backend"], &interface["why"]], ["packet", "asked for"], "{stack}");
    let (all, joined) = (counter(&stack, "tcp_segs_out"), counter(&stack, "xdp_superframe_segments"));
    // Of the large files; how many are joined the load of this machine says.
    assert!(joined > 1000, "{joined} of {all} segments");
    assert!(server.must(&[product(), "stat"]).contains("  backend packet: asked for\n"));
}

#[test]
fn what_comes_in_superframes_arrives_whole() {
    let lab = Lab::new("packet-upload");
    let (server, client) = lab.pair();
    let site = Site::new(&lab, 81, FILES);
    let sink = lab.folder().join("received").to_string_lossy().into_owned();
    let (listen, create) = (format!("TCP-LISTEN:80,bind={SERVER}"), format!("CREATE:{sink}"));
    let socat = ["socat", "-u", &listen, &create];
    let hearer = on_road(&server, PACKET, &socat, 80);
    let before = server.counters();
    // It goes on to wait for more, so that the connection stays.
    let (file, to) = (format!("OPEN:{},ignoreeof", site.path("huge.bin")), format!("TCP:{SERVER}:80"));
    let _client = client.spawn(&["socat", "-u", &file, &to]);
    eventually("all of it is written", 60, || {
        std::fs::metadata(&sink).is_ok_and(|file| file.len() == FILES[2].1 as u64)
    });
    assert_eq!(sha256(&server, &sink), sha256(&server, &site.path("huge.bin")));
    assert_bypassed(&server, &before);
    let stack = must_have_stack(&server, &hearer);
    let long = counter(&stack, "xdp_superframes_received");
    assert!(long > 100, "{long} superframes: {stack}");
}

#[test]
fn workers_share_the_interface() {
    let lab = Lab::new("packet-workers");
    let (server, client) = lab.pair();
    let site = Site::with_workers(&lab, 80, FILES, 3);
    let nginx = on_road(&server, PACKET, &site.nginx(), 80);
    let before = server.counters();
    let those_of = |pids: &[u32]| -> Vec<Value> {
        let is_one = |stack: &Value| stack["pid"].as_u64().is_some_and(|pid| pids.contains(&(pid as u32)));
        stacks(&server).into_iter().filter(is_one).collect()
    };
    eventually("a stack in every worker", 20, || {
        let workers = nginx.children();
        workers.len() == 3 && those_of(&workers).len() == 3
    });
    let expected = sha256(&server, &site.path("big.bin"));
    fetch_at_once(&client, &format!("http://{SERVER}/big.bin"), 60, &expected);
    assert_bypassed(&server, &before);
    let served: Vec<u64> =
        those_of(&nginx.children()).iter().map(|stack| counter(stack, "tcp_segs_out")).collect();
    assert!(served.len() == 3 && served.iter().all(|segments| *segments > 0), "{served:?}");
}

/// What a filter of the host's drops on its way out is lost, and nothing waits behind it.
#[test]
fn a_filter_on_the_way_out_stops_nobody_else() {
    const UNHEARD: &str = "10.99.0.2";
    let lab = Lab::new("packet-egress");
    let (server, client) = lab.pair();
    client.must(&["ip", "address", "add", &format!("{UNHEARD}/32"), "dev", IFACE]);
    server.must(&["ip", "route", "add", UNHEARD, "via", lab::CLIENT]);
    let site = Site::new(&lab, 80, FILES);
    let nginx = on_road(&server, PACKET, &site.nginx(), 80);
    let filter = format!(
        "table netdev out {{\n chain out {{\n type filter hook egress device {IFACE} priority 0\n \
         ip daddr {UNHEARD} counter drop\n }}\n }}"
    );
    server.must(&["nft", &filter]);
    let url = format!("http://{SERVER}/small.bin");
    let _unheard = client.spawn(&["curl", "--silent", "--interface", UNHEARD, &url]);
    eventually("something is dropped", 20, || {
        !server.must(&["nft", "list", "ruleset"]).contains("counter packets 0")
    });
    fetches_all(&server, &client, &site);
    assert!(counter(&must_have_stack(&server, &nginx), "xdp_frames_dropped") > 0);
}

/// Whoever has a queue hears what is a stack's.
#[test]
fn other_users_cannot_join_the_device() {
    const JOIN: &str = "
import fcntl, os, struct, sys
tun = os.open('/dev/net/tun', os.O_RDWR)
os.seteuid(int(sys.argv[2]))
try:
    fcntl.ioctl(tun, 0x400454ca, struct.pack('16sH22x', sys.argv[1].encode(), 0x5102))
    print('joined')
except OSError as error:
    print(error.strerror)
";
    let lab = Lab::new("packet-owner");
    let (server, _client) = lab.pair();
    let site = Site::new(&lab, 80, FILES);
    let _nginx = on_road(&server, PACKET, &site.nginx(), 80);
    let device = server.must(&["sh", "-c", "cd /sys/class/net && echo rr*"]);
    let join = |user: &str| server.must(&["python3", "-c", JOIN, device.trim(), user]);
    assert_eq!(join("65534"), "Operation not permitted\n");
    // It is there, and can be joined: its owner does.
    assert_eq!(join("0"), "joined\n");
}

/// Time that processes have taken of the processors, in hundredths of a second (proc_pid_stat(5), fields 14 and 15).
fn ticks(pids: &[u32]) -> u64 {
    let stats = pids.iter().filter_map(|pid| std::fs::read_to_string(format!("/proc/{pid}/stat")).ok());
    stats
        .map(|stat| {
            let fields = stat.rsplit_once(") ").expect("a name").1.split(' ').skip(11).take(2);
            fields.map(|field| field.parse::<u64>().expect("a number")).sum::<u64>()
        })
        .sum()
}

#[test]
fn a_device_that_somebody_deletes_is_missed_and_it_is_said() {
    let lab = Lab::new("packet-deleted");
    let (server, _client) = lab.pair();
    let site = Site::new(&lab, 80, FILES);
    let nginx = on_road(&server, PACKET, &site.nginx(), 80);
    server.must(&["sh", "-c", "ip link delete $(basename /sys/class/net/rr*)"]);
    eventually("it is said", 20, || nginx.said().contains("nothing is heard any more"));
    // Who sleeps on it is not woken by that: the processor has a rest of them.
    eventually("it sleeps", 20, || {
        let before = ticks(&nginx.children());
        std::thread::sleep(std::time::Duration::from_millis(300));
        ticks(&nginx.children()) <= before + 2
    });
}

/// Neither the program nor the device outlives those who hold them, however they end.
#[test]
fn killed_it_leaves_the_interface_to_the_kernel() {
    let lab = Lab::new("packet-killed");
    let (server, client) = lab.pair();
    let site = Site::new(&lab, 80, FILES);
    let nginx = on_road(&server, PACKET, &site.nginx(), 80);
    fetches_all(&server, &client, &site);
    assert_eq!(devices(&server), 1);
    let workers = nginx.children();
    nginx.signal(Signal::Kill);
    for pid in workers {
        server.run(&["kill", "-9", &pid.to_string()]);
    }
    eventually("the device is gone", 20, || devices(&server) == 0);
    let _again = on_kernel(&server, &site.nginx(), 80);
    fetches_all(&server, &client, &site);
}

/// The road `lab` is on has more queues than AF_XDP sockets are made for.
fn has_too_many_queues(lab: &Lab) -> (Namespace, Namespace) {
    let (server, client) = (lab.host("server"), lab.host("client"));
    for (host, address) in [(&server, SERVER), (&client, lab::CLIENT)] {
        if host.name() == server.name() {
            host.must(&[
                "ip",
                "link",
                "add",
                IFACE,
                "numrxqueues",
                "70",
                "numtxqueues",
                "70",
                "type",
                "veth",
                "peer",
                "name",
                IFACE,
                "netns",
                client.name(),
            ]);
        }
        host.must(&["ip", "address", "add", &format!("{address}/24"), "dev", IFACE]);
        host.must(&["ip", "link", "set", IFACE, "up"]);
    }
    server.must(&["ethtool", "-L", IFACE, "rx", "70"]);
    (server, client)
}

#[test]
fn where_af_xdp_cannot_be_had_auto_says_so_and_goes_the_other_way() {
    let lab = Lab::new("packet-auto");
    let (server, client) = has_too_many_queues(&lab);
    let site = Site::new(&lab, 80, FILES);
    let reason = "road0: looking at the interface: Operation not supported (os error 95): it has 70 receive queues, 64 is \
                  the limit: ethtool -L";
    let refused = server.run(&ringroad(&["--strict", "--backend", "af-xdp"], &["true"]));
    assert_eq!(refused.code, 1);
    let expected = format!("opening road0: {reason} (--backend packet works here)");
    assert!(refused.stderr.trim_end().ends_with(&expected), "{}", refused.stderr);

    let nginx = start_on(&server, &ringroad(&["--strict"], &site.nginx()), 80);
    fetches_all(&server, &client, &site);
    let why = format!("auto: AF_XDP cannot be had: {reason}");
    assert_eq!(must_have_stack(&server, &nginx)["interfaces"][0]["why"], why.as_str());
    assert!(server.must(&[product(), "stat"]).contains(&format!("  backend packet: {why}\n")));
    assert!(nginx.said().contains(&why), "it is told where it begins, too: {}", nginx.said());
}

/// Two on one interface would steer for each other.
#[test]
fn one_interface_has_one_port() {
    let lab = Lab::new("packet-twice");
    let (server, client) = lab.pair();
    let site = Site::new(&lab, 80, FILES);
    let _by_packet = on_road(&server, PACKET, &site.nginx(), 80);
    let listens = ["socat", "TCP-LISTEN:80", "PIPE"];
    let _by_af_xdp = on_road(&client, &["--strict", "--backend", "af-xdp"], &listens, 80);
    for (host, backend) in [(&server, "auto"), (&client, "packet")] {
        let refused = host.run(&ringroad(&["--strict", "--backend", backend], &["true"]));
        let said = &refused.stderr;
        assert!(refused.code == 1 && said.contains("another ringroad runs on this interface"), "{said}");
        assert!(!said.contains("works here"), "{said}");
    }
}
