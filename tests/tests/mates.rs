//! Programs of one host that talk to each other by the rings between their stacks: nothing of it reaches a NIC, the
//! loopback device or the kernel's TCP.

use std::time::Duration;

use lab::{Lab, Namespace, Running, SERVER, SERVER6, eventually, eventually_some, product, stacks};
use ringroad_tests::{assert_bypassed, ringroad, start_on};
use serde_json::Value;

/// A server in a child, and a client in its parent: so many bytes there, the sum of them back, three times. Then the
/// parent stays.
const FORKED: &str = "
import hashlib, os, select, socket, sys, time
address, family = sys.argv[1], socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET
listens, listening = os.pipe()
child = os.fork()
if child == 0:
    listener = socket.socket(family)
    listener.bind((address, 7000)); listener.listen(8)
    select.select([listener], [], [], 0)
    os.write(listening, b'x')
    for n in range(3):
        connection, _ = listener.accept()
        digest = hashlib.sha256()
        while data := connection.recv(1 << 16): digest.update(data)
        connection.sendall(digest.digest()); connection.close()
    # Until the other has seen the end of it.
    time.sleep(600)
os.read(listens, 1)
data = bytes(range(251)) * 40_000
for n in range(3):
    client = socket.create_connection((address, 7000), timeout=30)
    client.sendall(data); client.shutdown(socket.SHUT_WR)
    told = b''
    while piece := client.recv(64): told += piece
    assert told == hashlib.sha256(data).digest()
    client.close()
print('all is well', flush=True)
time.sleep(600)
";

/// A server in a child is stopped, goes on, and is killed, while its client sends all it can.
const KILLED: &str = "
import os, select, signal, socket, sys, time
address = sys.argv[1]
listens, listening = os.pipe()
def serve():
    listener = socket.socket(); listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((address, 7000)); listener.listen(8)
    select.select([listener], [], [], 0)
    os.write(listening, b'x')
    connection, _ = listener.accept()
    while connection.recv(1 << 16): pass
for n in range(int(sys.argv[2])):
    child = os.fork()
    if child == 0: serve()
    os.read(listens, 1)
    client = socket.create_connection((address, 7000)); client.setblocking(False)
    data = bytes(1 << 16)
    def send(most, patience=30):
        sent = 0
        while sent < most:
            if not select.select([], [client], [], patience)[1]: break
            sent += client.send(data)
        return sent
    assert send(20 << 20) >= 20 << 20
    os.kill(child, signal.SIGSTOP)
    assert send(1 << 30, patience=1) < 1 << 30, 'who is stopped takes no more than a window'
    os.kill(child, signal.SIGCONT)
    assert send(20 << 20) >= 20 << 20
    os.kill(child, signal.SIGKILL); os.waitpid(child, 0)
    try:
        while True: send(1 << 20)
    except ConnectionResetError: pass
    client.close()
print('all is well', flush=True)
time.sleep(600)
";

/// A child sleeps, is stopped, called and killed; so is the next one. The last is left to sleep.
const CALLED: &str = "
import os, select, signal, socket, sys, time
address = sys.argv[1]
def sleeps(pid):
    with open(f'/proc/{pid}/stat') as file: return file.read().rsplit(')')[1].split()[0] == 'S'
def serve(listens):
    listener = socket.socket(); listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((address, 7000)); listener.listen(8)
    select.select([listener], [], [], 0)
    os.write(listens, b'x')
    connection, _ = listener.accept()
    while connection.recv(64): connection.sendall(b'x')
def serves():
    reads, listens = os.pipe()
    child = os.fork()
    if child == 0: serve(listens)
    os.read(reads, 1)
    client = socket.create_connection((address, 7000), timeout=60)
    client.sendall(b'x'); assert client.recv(1) == b'x'
    while not sleeps(child): time.sleep(0.01)
    return child, client
for n in range(2):
    child, client = serves()
    os.kill(child, signal.SIGSTOP)
    client.sendall(b'x')
    os.kill(child, signal.SIGKILL); os.waitpid(child, 0)
    try: client.recv(1)
    except ConnectionResetError: client.close()
child, client = serves()
print('all is well', flush=True)
time.sleep(600)
";

/// The stacks that the process and its children drive.
fn stacks_of(host: &Namespace, program: &Running) -> Vec<Value> {
    let mut pids = program.children();
    pids.push(program.pid());
    let is = |stack: &Value| stack["pid"].as_u64().is_some_and(|pid| pids.contains(&(pid as u32)));
    stacks(host).into_iter().filter(is).collect()
}

fn count(stack: &Value, name: &str) -> u64 {
    stack["counters"][name].as_u64().unwrap_or_else(|| panic!("{name} in {stack}"))
}

/// Nothing has gone or come by an interface, and something by the rings.
fn assert_by_the_rings(all: &[Value], frames: u64) {
    for stack in all {
        assert_eq!((count(stack, "tx_frames"), count(stack, "rx_frames")), (0, 0), "{stack}");
        let (sent, came) = (count(stack, "mates_frames_sent"), count(stack, "mates_frames_received"));
        assert!(sent + came >= frames, "{stack}");
    }
}

fn until_well(host: &Namespace, command: &[&str], seconds: u64) -> Running {
    let mut program = host.spawn(command);
    eventually("the program is well", seconds, || {
        let said = program.said();
        assert!(program.is_running(), "it has ended:\n{said}");
        said.contains("all is well")
    });
    program
}

/// A host whose kernel takes frames of ours on its loopback device.
fn alone(lab: &Lab) -> Namespace {
    let host = lab.host("alone");
    host.must(&["sysctl", "-qw", "net.ipv4.conf.lo.route_localnet=1", "net.ipv4.conf.lo.accept_local=1"]);
    host.must(&["sysctl", "-qw", "net.ipv6.conf.lo.disable_ipv6=0"]);
    host
}

fn on_lo<'a>(flags: &[&'a str], program: &[&'a str]) -> Vec<&'a str> {
    [&[product(), "run", "--iface", "lo", "--strict"], flags, &["--"], program].concat()
}

#[test]
fn two_processes_of_one_program_talk_past_every_interface() {
    for address in [SERVER, SERVER6] {
        let lab = Lab::new("mates");
        let (server, _client) = lab.dual_pair();
        let file = lab.file("forked.py", FORKED);
        let before = server.counters();
        let words = ["python3", file.to_str().unwrap(), address];
        let program = until_well(&server, &ringroad(&["--strict"], &words), 60);
        assert_bypassed(&server, &before);
        let both = stacks_of(&server, &program);
        assert_eq!(both.len(), 2);
        assert_by_the_rings(&both, 5000);
    }
}

#[test]
fn the_loopback_device_carries_nothing_between_them() {
    let lab = Lab::new("mates-lo");
    let host = alone(&lab);
    let file = lab.file("forked.py", FORKED);
    let before = host.counters();
    let program = until_well(&host, &on_lo(&[], &["python3", file.to_str().unwrap(), "127.0.0.1"]), 60);
    assert_bypassed(&host, &before);
    assert_by_the_rings(&stacks_of(&host, &program), 5000);
}

const REDIS: &[&str] = &["redis-server", "--bind", "127.0.0.1", "--port", "6379", "--save", ""];
const CLI: &[&str] = &["redis-cli", "-h", "127.0.0.1"];

/// Each is started by itself: the second finds the first at the interface and shares its port.
#[test]
fn two_programs_of_one_user_talk_past_the_kernel() {
    let lab = Lab::new("mates-two");
    let host = alone(&lab);
    let redis = start_on(&host, &on_lo(&[], REDIS), 6379);
    let before = host.counters();
    let value = "x".repeat(75_000);
    let cli = |words: &[&str]| host.must(&on_lo(&[], &[CLI, words].concat()));
    assert_eq!(cli(&["set", "key", &value]).trim(), "OK");
    assert_eq!(cli(&["get", "key"]).trim(), value);
    // A program on the road starts another one.
    let inner = on_lo(&[], &[CLI, &["strlen", "key"]].concat());
    assert_eq!(host.must(&on_lo(&[], &[&["sh", "-c", "\"$@\"", "sh"], &inner[..]].concat())).trim(), "75000");
    assert_bypassed(&host, &before);
    assert_by_the_rings(&stacks_of(&host, &redis), 40);
    // Who comes without the road finds the server all the same.
    assert_eq!(host.must(&[CLI, &["strlen", "key"]].concat()).trim(), "75000");
}

#[test]
fn who_shares_nothing_is_joined_by_nobody() {
    let lab = Lab::new("mates-none");
    let host = alone(&lab);
    let words = ["sh", "-c", "echo all is well; exec sleep 600"];
    let alone = [&["env", "RINGROAD_SHARE=0"], &on_lo(&[], &words)[..]].concat();
    let _first = until_well(&host, &alone, 60);
    let second = host.run(&on_lo(&[], &["true"]));
    assert_ne!(second.code, 0);
    assert!(second.said().contains("another ringroad runs on this interface"), "{}", second.said());
}

#[test]
fn both_are_judged_and_seen() {
    let lab = Lab::new("mates-gate");
    let host = alone(&lab);
    let policy = lab.file(
        "policy.toml",
        "default = \"allow\"\n[[table]]\nlocal = \"127.0.0.1\"\n[[table.rule]]\nname = \"redis\"\n\
         direction = \"both\"\nprotocol = \"tcp\"\nlocal_port = 6379\nremote = \"127.0.0.1\"\naction = \"allow\"\n\
         [[table.rule]]\nname = \"to redis\"\ndirection = \"out\"\nprotocol = \"tcp\"\nremote_port = 6379\n\
         remote = \"127.0.0.1\"\naction = \"allow\"\n",
    );
    let flags = ["--policy", policy.to_str().unwrap()];
    let redis = start_on(&host, &on_lo(&flags, REDIS), 6379);
    let mut client = host.spawn(&on_lo(&flags, &[CLI, &["blpop", "nothing", "0"]].concat()));
    let established = |stack: &Value| {
        let sockets = stack["sockets"].as_array().map(Vec::as_slice).unwrap_or_default();
        sockets.iter().any(|socket| socket["state"].as_str().is_some_and(|s| s == "ESTABLISHED"))
    };
    eventually("both have the connection", 20, || {
        [&redis, &client].iter().all(|program| stacks_of(&host, program).iter().any(established))
    });
    let rules = |program: &Running| {
        let stack = &stacks_of(&host, program)[0];
        let rules = stack["policy"]["tables"][0]["rules"].as_array().cloned().unwrap_or_default();
        rules.iter().map(|rule| rule["packets"].as_u64().unwrap_or_default() > 0).collect::<Vec<_>>()
    };
    assert_eq!((rules(&redis), rules(&client)), (vec![true, false], vec![false, true]));
    client.kill();
    // Another policy is another matter.
    let outcome = host.run(&on_lo(&[], &["true"]));
    assert_ne!(outcome.code, 0);
    assert!(outcome.said().contains("another policy is in force there"), "{}", outcome.said());
}

/// The bell is the slot's: nobody had read what rang for the one before.
#[test]
fn who_follows_a_mate_that_was_called_sleeps() {
    let lab = Lab::new("mates-idle");
    let (server, _client) = lab.pair();
    let file = lab.file("called.py", CALLED);
    let program =
        until_well(&server, &ringroad(&["--strict"], &["python3", file.to_str().unwrap(), SERVER]), 120);
    let turns = || -> Vec<u64> {
        stacks_of(&server, &program).iter().map(|stack| count(stack, "runtime_turns")).collect()
    };
    // Who is woken all the time makes tens of thousands of turns a second.
    eventually("both sleep", 30, || {
        let before = turns();
        std::thread::park_timeout(Duration::from_millis(400));
        let after = turns();
        before.len() == 2 && after.iter().zip(&before).all(|(after, before)| after.abs_diff(*before) <= 50)
    });
}

/// Who is stopped holds nobody up, who is killed leaves nothing behind; the sender hears of it. RINGROAD_DEATHS says how
/// often.
#[test]
fn a_mate_that_is_stopped_or_killed_harms_nobody() {
    let lab = Lab::new("mates-dead");
    let (server, _client) = lab.pair();
    let file = lab.file("killed.py", KILLED);
    let deaths = std::env::var("RINGROAD_DEATHS").unwrap_or_else(|_| "3".into());
    let words = ["python3", file.to_str().unwrap(), SERVER, &deaths];
    let program = until_well(&server, &ringroad(&["--strict"], &words), 600);
    let stack = eventually_some("one stack is left", 20, || {
        let [stack] = stacks_of(&server, &program).try_into().ok()?;
        Some(stack)
    });
    assert_eq!(count(&stack, "drop_no_frames"), 0);
    // All frames are somebody's: what the dead had is in the depot again.
    let held: u64 = {
        let pid = program.pid().to_string();
        let text = server.must(&[product(), "dump", &pid, "--json"]);
        let dump: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e} in {text}"));
        let frames = dump["frames"].as_object().unwrap_or_else(|| panic!("frames in {text}"));
        ["held", "held and being sent", "being sent"].iter().filter_map(|name| frames[*name].as_u64()).sum()
    };
    assert!(held < 100, "{held} frames are held");
}
