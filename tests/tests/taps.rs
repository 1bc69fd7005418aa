//! Programs that are neighbours of their host: behind a TAP device, with addresses of their own (`--backend tap`).

use lab::{
    CLIENT, CLIENT6, IFACE, Lab, Namespace, Running, SERVER, SERVER6, Signal, Site, eventually, product,
    product_for_all,
};
use ringroad_tests::{
    assert_bypassed, fetch_at_once, fetched_sha256, must_have_stack, on_kernel, sha256, start_on,
};
use serde_json::Value;

/// The device, and what stands behind it.
const TAP: &str = "berth0";
const OWN: &str = "10.88.0.2";
const OWN6: &str = "fd88::2";
const ADDRESSES: &str = "10.88.0.2/24,fd88::2/64";

const SMALL: (&str, usize) = ("small.bin", 612);
const HUGE: (&str, usize) = ("huge.bin", 100 << 20);

/// Two hosts, of which the server passes on what is for the neighbour behind its TAP device, and the client knows it.
fn routed(lab: &Lab) -> (Namespace, Namespace) {
    let (server, client) = lab.dual_pair();
    for forwards in ["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"] {
        server.must(&["sysctl", "-q", "-w", forwards]);
    }
    client.must(&["ip", "route", "add", "10.88.0.0/24", "via", SERVER]);
    client.must(&["ip", "-6", "route", "add", "fd88::/64", "via", SERVER6]);
    (server, client)
}

/// The command line of a program behind the device, by this copy of the command.
fn behind<'a>(command: &'a str, program: &[&'a str]) -> Vec<&'a str> {
    let run = [command, "run", "--strict", "--backend", "tap", "--iface", TAP, "--address", ADDRESSES, "--"];
    [&run[..], program].concat()
}

/// Serves behind the device and waits until it listens there.
fn on_tap(server: &Namespace, program: &[&str], port: u16) -> Running {
    start_on(server, &behind(product(), program), port)
}

fn counter(stack: &Value, name: &str) -> u64 {
    stack["counters"][name].as_u64().unwrap_or_else(|| panic!("no counter {name} in {stack}"))
}

fn is_there(host: &Namespace) -> bool {
    host.run(&["ip", "link", "show", TAP]).code == 0
}

#[test]
fn nginx_serves_behind_a_device_of_its_own() {
    let lab = Lab::new("tap-nginx");
    let (server, client) = routed(&lab);
    let site = Site::new(&lab, 80, &[SMALL, HUGE]);
    let nginx = on_tap(&server, &site.nginx(), 80);
    let before = server.counters();
    for (name, _) in [SMALL, HUGE] {
        let expected = sha256(&server, &site.path(name));
        assert_eq!(fetched_sha256(&client, &format!("http://{OWN}/{name}")), expected, "{name}");
    }
    fetch_at_once(&client, &format!("http://{OWN}/small.bin"), 200, &sha256(&server, &site.path(SMALL.0)));
    assert_bypassed(&server, &before);
    let stack = must_have_stack(&server, &nginx);
    let interface = &stack["interfaces"][0];
    assert_eq!([&interface["name"], &interface["backend"], &interface["why"]], [TAP, "tap", "asked for"]);
    assert!(server.must(&[product(), "stat"]).contains("  backend tap: asked for\n"));
    let (long, joined) =
        ["xdp_superframes_sent", "xdp_superframe_segments"].map(|n| counter(&stack, n)).into();
    // Of the large file; how many are joined the load of this machine says.
    assert!(long > 100 && joined > 1000, "{long} superframes of {joined} segments: {stack}");
    // The host itself is a neighbour, too.
    let expected = sha256(&server, &site.path(SMALL.0));
    assert_eq!(fetched_sha256(&server, &format!("http://{OWN}/small.bin")), expected);
}

#[test]
fn what_comes_in_superframes_arrives_whole_at_the_address_it_bound() {
    let lab = Lab::new("tap-upload");
    let (server, client) = routed(&lab);
    let site = Site::new(&lab, 81, &[HUGE]);
    let sink = lab.folder().join("received").to_string_lossy().into_owned();
    let (listen, create) = (format!("TCP-LISTEN:80,bind={OWN}"), format!("CREATE:{sink}"));
    let hearer = on_tap(&server, &["socat", "-u", &listen, &create], 80);
    let before = server.counters();
    // It goes on to wait for more, so that the connection stays.
    let (file, to) = (format!("OPEN:{},ignoreeof", site.path(HUGE.0)), format!("TCP:{OWN}:80"));
    let _client = client.spawn(&["socat", "-u", &file, &to]);
    eventually("all of it is written", 120, || {
        std::fs::metadata(&sink).is_ok_and(|file| file.len() == HUGE.1 as u64)
    });
    assert_eq!(sha256(&server, &sink), sha256(&server, &site.path(HUGE.0)));
    assert_bypassed(&server, &before);
    let stack = must_have_stack(&server, &hearer);
    let long = counter(&stack, "xdp_superframes_received");
    assert!(long > 100, "{long} superframes: {stack}");
}

/// Servers that say what they hear of whom; a program behind the device asks them, and says what it is called itself.
const SERVES: &str = "
import socket, sys, threading
def tcp(listener):
    while True:
        stream, peer = listener.accept()
        stream.sendall(peer[0].encode()); stream.close()
def udp(s):
    while True:
        data, peer = s.recvfrom(2048)
        s.sendto(peer[0].encode(), peer)
for address in sys.argv[1:]:
    family = socket.AF_INET6 if ':' in address else socket.AF_INET
    listener = socket.create_server((address, 9000), family=family)
    threading.Thread(target=tcp, args=[listener], daemon=True).start()
    s = socket.socket(family, socket.SOCK_DGRAM); s.bind((address, 9000))
    threading.Thread(target=udp, args=[s], daemon=True).start()
print('ready', flush=True)
threading.Event().wait()
";
const ASKS: &str = "
import socket, sys
for address in sys.argv[1:]:
    family = socket.AF_INET6 if ':' in address else socket.AF_INET
    for kind in [socket.SOCK_STREAM, socket.SOCK_DGRAM]:
        s = socket.socket(family, kind); s.settimeout(60)
        s.connect((address, 9000))
        if kind == socket.SOCK_DGRAM: s.send(b'who am I')
        print(s.getsockname()[0], s.getpeername()[:2] == (address, 9000), s.recv(2048).decode())
    s = socket.socket(family, socket.SOCK_DGRAM); s.settimeout(60)
    s.sendto(b'who am I', (address, 9000))
    heard, peer = s.recvfrom(2048)
    print(peer[0] == address, heard.decode())
    s = socket.socket(family, socket.SOCK_DGRAM); s.settimeout(60)
    s.bind(('', 9001)); s.connect((address, 9000)); s.send(b'who am I')
    print(s.getsockname()[:2], s.recv(2048).decode())
";

#[test]
fn what_it_begins_itself_comes_from_its_own_address() {
    let lab = Lab::new("tap-out");
    let (server, client) = routed(&lab);
    let far = client.spawn(&["python3", "-c", SERVES, CLIENT, CLIENT6]);
    // The host's own sockets are asked by the device, too.
    let near = server.spawn(&["python3", "-c", SERVES, SERVER]);
    eventually("they serve", 20, || [&far, &near].iter().all(|served| served.said().contains("ready")));
    // One process after the other has the device.
    let twice = [
        "sh",
        "-ec",
        "python3 -c \"$0\" \"$1\" \"$2\"; python3 -c \"$0\" \"$3\"",
        ASKS,
        CLIENT,
        CLIENT6,
        SERVER,
    ];
    let asked = server.must(&behind(product(), &twice));
    let expected =
        |own: &str| format!("{own} True {own}\n{own} True {own}\nTrue {own}\n('{own}', 9001) {own}\n");
    assert_eq!(asked, [expected(OWN), expected(OWN6), expected(OWN)].concat());
}

/// Closes all that it does not know, has the numbers itself, and asks again; says what has come into its files.
const CLOSES: &str = "
import os, socket, sys
address, folder = sys.argv[1:]
def ask():
    with socket.create_connection((address, 9000), 60) as s: print(s.getsockname()[0], s.recv(2048).decode())
ask()
os.closerange(3, 65536)
files = [open(f'{folder}/{n}', 'wb') for n in range(64)]
ask()
print(sum(os.fstat(file.fileno()).st_size for file in files))
";

#[test]
fn what_a_program_closes_unasked_is_not_the_way_out() {
    let lab = Lab::new("tap-closes");
    let (server, client) = routed(&lab);
    let far = client.spawn(&["python3", "-c", SERVES, CLIENT]);
    eventually("it serves", 20, || far.said().contains("ready"));
    let folder = lab.folder().to_string_lossy().into_owned();
    let said = server.must(&behind(product(), &["python3", "-c", CLOSES, CLIENT, &folder]));
    assert_eq!(said, format!("{OWN} {OWN}\n{OWN} {OWN}\n0\n"));
}

#[test]
fn it_answers_where_nobody_listens_and_over_ipv6() {
    let lab = Lab::new("tap-closed");
    let (server, client) = routed(&lab);
    let site = Site::new(&lab, 80, &[SMALL]);
    let folder = site.path("");
    let web = ["python3", "-m", "http.server", "-d", &folder, "-b", OWN6, "80"];
    let _web = on_tap(&server, &web, 80);
    let expected = sha256(&server, &site.path(SMALL.0));
    assert_eq!(fetched_sha256(&client, &format!("http://[{OWN6}]/small.bin")), expected);
    // Nobody else could: the stack refuses.
    let refused = client.run_for(60, &["curl", "-sS", &format!("http://{OWN}:81/")]);
    assert!(refused.said().contains("refused") || refused.said().contains("connect"), "{}", refused.said());
    assert_eq!(refused.code, 7, "{}", refused.said());
}

/// Who has a device of the administrator's needs no privilege.
#[test]
fn a_user_has_the_device_that_an_administrator_made() {
    let lab = Lab::new("tap-user");
    let (server, client) = routed(&lab);
    let command = product_for_all(&lab).to_string_lossy().into_owned();
    let site = Site::new(&lab, 8080, &[SMALL]);
    let folder = site.path("");
    let web = ["/usr/bin/python3", "-m", "http.server", "-d", &folder, "-b", OWN, "8080"];
    // On most hosts it is for all users; where it is not, one that is lies over it, for this command alone.
    let tun = lab.folder().join("tun").to_string_lossy().into_owned();
    server.must(&["mknod", "-m", "666", &tun, "c", "10", "200"]);
    let as_user = format!(
        "mount --bind {tun} /dev/net/tun
        exec setpriv --reuid=65534 --regid=65534 --clear-groups --no-new-privs env RINGROAD_AGENT=/nowhere \"$@\""
    );
    let run = [&["sh", "-ec", &as_user, "sh"], &behind(&command, &web)[..]].concat();
    let refused = |why: &str| {
        let said = server.run_for(60, &run).said();
        assert!(said.contains(why), "{why:?} is not in {said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    };
    refused("it is another user's, or not there: ip tuntap add dev ... mode tap user ..., or run as root");
    server.must(&["ip", "tuntap", "add", "dev", TAP, "mode", "tap", "user", "65534"]);
    refused("it has to be up, without ARP: ip link set berth0 arp off up");
    server.must(&["ip", "link", "set", TAP, "arp", "off", "up"]);
    refused("the kernel does not lead 10.88.0.2 there: ip address add 10.88.0.1/24 dev berth0");
    server.must(&["ip", "address", "add", "10.88.0.1/24", "dev", TAP]);
    server.must(&["sysctl", "-q", "-w", &format!("net.ipv6.conf.{TAP}.disable_ipv6=0")]);
    server.must(&["ip", "address", "add", "fd88::1/64", "dev", TAP, "nodad"]);
    let mut served = start_on(&server, &run, 8080);
    let expected = sha256(&server, &site.path(SMALL.0));
    assert_eq!(fetched_sha256(&client, &format!("http://{OWN}:8080/small.bin")), expected);
    served.kill();
    assert!(is_there(&server), "it is the administrator's");
    let _again = start_on(&server, &run, 8080);
    assert_eq!(fetched_sha256(&client, &format!("http://{OWN}:8080/small.bin")), expected);
}

#[test]
fn what_cannot_be_had_is_refused_in_one_line() {
    let lab = Lab::new("tap-refused");
    let (server, _client) = routed(&lab);
    let refused = |flags: &[&str], why: &str| {
        let run = [&[product(), "run", "--strict", "--backend", "tap"], flags, &["--", "true"]].concat();
        let outcome = server.run_for(60, &run);
        let said = outcome.said();
        assert!(said.contains(why), "{why:?} is not in {said}");
        assert_eq!((said.lines().count(), outcome.code == 0), (1, false), "{said}");
    };
    let address = ["--address", ADDRESSES];
    refused(&["--iface", TAP], "none is named (--address 10.88.0.2/24)");
    refused(&[&["--iface", "a,b"], &address[..]].concat(), "one device, and 2 are named (--iface NAME)");
    refused(&[&["--iface", IFACE], &address[..]].concat(), "(--backend af-xdp works here)");
    refused(&["--iface", TAP, "--address", "10.88.0.2/32"], "leaves no address for the kernel's side");
    let elsewhere = server.run_for(
        60,
        &[&[product(), "run", "--strict", "--iface", IFACE], &address[..], &["--", "true"]].concat(),
    );
    assert!(elsewhere.said().ends_with("(--address is for --backend tap)\n"), "{}", elsewhere.said());
    assert!(!is_there(&server), "what was begun is gone");
    // It is for one program.
    let site = Site::new(&lab, 80, &[SMALL]);
    let _nginx = on_tap(&server, &site.nginx(), 80);
    refused(&[&["--iface", TAP], &address[..]].concat(), "it is for one program, and somebody has it");
}

#[test]
fn killed_it_leaves_nothing() {
    let lab = Lab::new("tap-killed");
    let (server, client) = routed(&lab);
    let site = Site::new(&lab, 80, &[SMALL]);
    let nginx = on_tap(&server, &site.nginx(), 80);
    let workers = nginx.children();
    nginx.signal(Signal::Kill);
    for pid in workers {
        server.run(&["kill", "-9", &pid.to_string()]);
    }
    // The kernel closes one after the other what they had.
    eventually("device and listener are gone", 60, || !is_there(&server) && !server.listens(80));
    let _kernels = on_kernel(&server, &site.nginx(), 80);
    let expected = sha256(&server, &site.path(SMALL.0));
    assert_eq!(fetched_sha256(&client, &format!("http://{SERVER}/small.bin")), expected);
}
