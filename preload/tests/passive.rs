//! Where nothing is to be accelerated the library is as good as not there.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use lab::{CLIENT, IFACE, Lab, product, product_for_all};

/// Programs that start other programs, read, write, poll and look names up.
const PROGRAMS: [&[&str]; 4] = [
    &["sh", "-c", "echo one; echo two | cat; ls /; exit 3"],
    &["bash", "-c", "exec 5<>/dev/tcp/127.0.0.1/1; echo $?"],
    // Not with -S: the message says how many milliseconds it took.
    &["curl", "-s", "--max-time", "5", "-w", "%{exitcode} %{num_connects}", "http://127.0.0.1:1/"],
    &["getent", "hosts", "localhost"],
];

fn library() -> String {
    Path::new(product()).with_file_name("libringroad_preload.so").to_string_lossy().into_owned()
}

fn run(program: &[&str], preload: Option<&str>) -> Output {
    let mut command = Command::new(program[0]);
    command.args(&program[1..]).env_remove("RINGROAD_IFACE").env_remove("RINGROAD_PORT");
    if let Some(library) = preload {
        command.env("LD_PRELOAD", library);
    }
    command.output().unwrap()
}

#[test]
fn without_an_interface_it_does_and_says_nothing() {
    let library = library();
    for program in PROGRAMS {
        let (with, without) = (run(program, Some(&library)), run(program, None));
        assert_eq!(with.status.code(), without.status.code(), "{program:?}");
        assert_eq!(with.stdout, without.stdout, "{program:?}");
        assert_eq!(with.stderr, without.stderr, "{program:?}");
    }
}

#[test]
fn what_cannot_be_accelerated_stays_in_the_kernel_and_is_counted() {
    let lab = Lab::new("bypass");
    let (server, client) = lab.pair();
    // A connection over the loopback, a socket of another protocol, an io_uring, and one connection that is
    // accelerated, with an option that only the kernel knows (TCP_THIN_LINEAR_TIMEOUTS), and one that it cannot have any
    // more (IP_MINTTL); a socket that is bound to an interface; and two that are not used, with options that only the
    // kernel knows (of UDP: IP_RECVOPTS).
    let script = format!(
        "import ctypes, errno, socket, subprocess\n\
         l = socket.socket(); l.bind(('127.0.0.1', 0)); l.listen()\n\
         c = socket.create_connection(l.getsockname()); a, _ = l.accept()\n\
         c.send(b'loopback'); assert a.recv(9) == b'loopback'\n\
         raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, 255)\n\
         s = socket.create_connection(('{CLIENT}', 9000)); s.send(b'x'); s.recv(1)\n\
         s.setsockopt(socket.IPPROTO_TCP, 16, 1)\n\
         try: s.setsockopt(socket.IPPROTO_IP, 21, 255); raise SystemExit('a fence around an open connection')\n\
         except OSError as e: assert e.errno == errno.ENOPROTOOPT, e\n\
         f = socket.socket(); f.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b'{IFACE}')\n\
         t = socket.socket(); t.setsockopt(socket.IPPROTO_TCP, 16, 1)\n\
         u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.setsockopt(socket.IPPROTO_IP, 6, 1)\n\
         assert ctypes.CDLL(None).syscall(425, 1, ctypes.create_string_buffer(256)) == -1\n\
         print(subprocess.run(['{}', 'stat', '--json'], capture_output=True, text=True).stdout)",
        product()
    );
    let echo = format!(
        "import socket\n\
         l = socket.create_server(('{CLIENT}', 9000)); print('up', flush=True)\n\
         c, _ = l.accept(); c.send(c.recv(1)); c.recv(1)"
    );
    let file = lab.file("script.py", script);
    let peer = client.spawn(&["python3", "-c", &echo]);
    lab::eventually("the peer listens", 10, || peer.said().contains("up"));
    let file = file.to_str().unwrap();
    let text = server.must(&[product(), "run", "--strict", "--iface", IFACE, "--", "python3", file]);
    let stacks: serde_json::Value = serde_json::from_str(&text).unwrap();
    // Other stacks may run on the host; the script's path is this laboratory's own.
    let ours = |s: &&serde_json::Value| s["command"].as_str().is_some_and(|c| c.contains(file));
    let stack = stacks["stacks"].as_array().unwrap().iter().find(ours).expect("the stack of the script");
    assert_eq!(stack["bypass"]["route"], 1, "{text}");
    assert!(stack["bypass"]["protocol"].as_u64() >= Some(1), "{text}");
    assert_eq!(stack["bypass"]["no_stack"], 0, "{text}");
    assert_eq!(stack["bypass"]["fence"], 1, "{text}");
    assert_eq!((&stack["bypass"]["option"], &stack["bypass"]["io_uring"]), (&3.into(), &1.into()), "{text}");
}

/// The loader ignores LD_PRELOAD for programs that give their user more than he has (ld.so(8)).
#[test]
fn a_set_user_id_program_is_left_alone() {
    let lab = Lab::new("setuid");
    let (server, _client) = lab.pair();
    let ringroad = product_for_all(&lab);
    for (mode, loaded) in [(0o755, true), (0o4755, false)] {
        let cat = lab.folder().join(format!("cat-{mode:o}")).to_string_lossy().into_owned();
        std::fs::copy("/bin/cat", &cat).unwrap();
        std::fs::set_permissions(&cat, Permissions::from_mode(mode)).unwrap();
        let road = [ringroad.to_str().unwrap(), "run", "--strict", "--iface", IFACE, "--"];
        let user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
        let maps = server.must(&[&road[..], &user, &[&cat, "/proc/self/maps"]].concat());
        assert_eq!(maps.contains("libringroad_preload.so"), loaded, "{maps}");
    }
}
