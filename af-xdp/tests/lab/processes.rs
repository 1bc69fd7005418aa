//! A port that travels: over exec, to another user, and from a process that is killed to the next.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nic::{Arena, Nic, Pool, TxChecksum};
use ringroad_af_xdp::{BindMode, Options, Port, PortParts, SteeringFds, TakeOver};

use crate::net::{
    FAR, Lab, NEAR, Open, UDP, become_nobody, close_all, die_with_parent, inherited_file, keep_open, left_of,
    lower_descriptor_limit, run, turn_round, udp_frame, within_deadline,
};

const FRAMES: u32 = 512;
const ROLE: &str = "XDP_TEST_ROLE";
const PARTS: &str = "XDP_TEST_PARTS";
const ARENA: &str = "XDP_TEST_ARENA";

/// What this test binary does when another test starts it as a process of its own; as a test of its own it has
/// nothing to do.
#[test]
fn role() {
    die_with_parent();
    match std::env::var(ROLE).as_deref() {
        Ok("keep") => keep(),
        Ok("launch") => launch(),
        Ok("own") => own(),
        Ok("unprivileged") => unprivileged(),
        _ => {}
    }
}

/// This binary again, in the role `role`.
fn me(role: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "processes::role", "--nocapture"]).env(ROLE, role);
    command
}

/// Opens the port and describes it to the process that `role` will be; this one keeps only the descriptors.
fn opened(role: &str) -> Command {
    let mut pool = Pool::new(Arena::new(FRAMES, 2048).unwrap());
    let port = Port::open(&mut pool, &["near"], &Options::default()).unwrap();
    let parts = port.inheritable(700).unwrap();
    let arena = keep_open(pool.arena().file().0, 700);
    let mut command = me(role);
    command.env(PARTS, parts.to_string()).env(ARENA, arena.to_string());
    command
}

/// Starts an owner for every line it reads, the next when the one before has ended.
fn keep() {
    let mut owner = opened("own");
    for _ in std::io::stdin().lines() {
        owner.stdin(Stdio::null()).spawn().unwrap().wait().unwrap();
    }
}

/// Becomes the owner by exec.
fn launch() {
    let error = opened("own").exec();
    panic!("exec: {error}");
}

/// Takes the port over as nobody and echoes datagrams until one says quit.
fn own() {
    // Its own words, so that they come in order.
    say(&format!("pid {}", std::process::id()));
    become_nobody();
    die_with_parent();
    // Below the numbers that were inherited.
    lower_descriptor_limit(256);
    let parts: PortParts = std::env::var(PARTS).unwrap().parse().unwrap();
    let file = inherited_file(std::env::var(ARENA).unwrap().parse().unwrap());
    let pool = Pool::new(Arena::from_file(file, 0, FRAMES, 2048).unwrap());
    let mut open = Open::adopt(Port::from_parts(&parts, 0).unwrap(), pool);
    open.road.steering.add_port(UDP, SocketAddr::from((NEAR, 5000)), 0).unwrap();
    say("ready");
    while !echo(&mut open) {}
    open.road.steering.remove_port(UDP, SocketAddr::from((NEAR, 5000)), 0).unwrap();
    open.flush();
    open.drain(|_| {});
    open.assert_whole();
    say(&format!("receiving {}", open.road.nic.frames().receiving));
}

/// Tries to open the interface as nobody.
fn unprivileged() {
    become_nobody();
    let mut pool = Pool::new(Arena::new(64, 2048).unwrap());
    let e = Port::open(&mut pool, &["near"], &Options::default()).unwrap_err();
    say(&e.to_string());
}

fn say(line: &str) {
    println!("\n@{line}");
}

/// A turn of echoing; true when told to quit.
fn echo(open: &mut Open) -> bool {
    let Open { pool, road, burst, .. } = open;
    road.nic.rx(pool, burst, 64);
    let mut quit = false;
    for mut frame in burst.drain(..) {
        let bytes = pool.bytes_mut(&mut frame.pkt).unwrap();
        quit |= bytes[42..] == *b"quit";
        turn_round(bytes);
        let checksum = left_of(bytes);
        let loan = pool.give(frame.pkt, 0, checksum);
        if let Err(loan) = road.nic.tx(pool, loan) {
            pool.take_back(loan);
        }
    }
    road.nic.kick(pool);
    quit
}

/// A process in our namespace, and what it says.
struct Process {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Process {
    fn start(lab: &Lab, role: &str) -> Self {
        let plain = me(role);
        let mut child = Command::new("ip")
            .args(["netns", "exec", &lab.near])
            .arg(plain.get_program())
            .args(plain.get_args())
            .env(ROLE, role)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { input: child.stdin.take(), child, output }
    }

    /// Asks the keeper for an owner.
    fn spawn(&mut self) -> u32 {
        self.input.as_mut().unwrap().write_all(b"\n").unwrap();
        self.hears("pid ").parse().unwrap()
    }

    /// What the next line that begins so goes on with.
    fn hears(&mut self, prefix: &str) -> String {
        loop {
            let mut line = String::new();
            assert_ne!(self.output.read_line(&mut line).unwrap(), 0, "it ended without saying \"{prefix}\"");
            if let Some(rest) = line.strip_prefix('@').and_then(|l| l.strip_prefix(prefix)) {
                return rest.trim().to_owned();
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn kill(pid: u32) {
    run(&format!("kill -9 {pid}"));
}

fn is_attached(lab: &Lab) -> bool {
    let shown = Command::new("ip").args(["-n", &lab.near, "link", "show", "near"]).output().unwrap();
    String::from_utf8(shown.stdout).unwrap().contains("prog/xdp")
}

/// The far end of the echo.
fn far_socket(lab: &Lab) -> UdpSocket {
    let far = lab.far(|| UdpSocket::bind((FAR, 0)).unwrap());
    far.connect((NEAR, 5000)).unwrap();
    far.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    far
}

/// Sends `text` until it comes back.
fn ask(far: &UdpSocket, text: &[u8]) {
    let mut buffer = [0; 64];
    within_deadline("an echo", || {
        // A socket that the kernel answers for says "refused" once; asking again is right.
        let _ = far.send(text);
        matches!(far.recv(&mut buffer), Ok(n) if buffer[..n] == *text)
    });
}

#[test]
fn over_exec_to_nobody_and_detached_by_kill() {
    let lab = Lab::new(1);
    let mut owner = Process::start(&lab, "launch");
    owner.hears("ready");
    assert!(is_attached(&lab));
    let far = far_socket(&lab);
    for i in 0..100 {
        ask(&far, format!("over exec {i}").as_bytes());
    }
    let kernel = lab.near(|| UdpSocket::bind((NEAR, 5000)).unwrap());
    kill(owner.child.id());
    within_deadline("the program's end", || !is_attached(&lab));
    far.send(b"the kernel's again").unwrap();
    assert_eq!(kernel.recv(&mut [0; 64]).unwrap(), 18);
}

#[test]
fn a_killed_owner_is_succeeded_and_no_frame_is_lost() {
    let lab = Lab::new(1);
    let mut keeper = Process::start(&lab, "keep");
    let stop = AtomicBool::new(false);
    let flood = far_socket(&lab);
    thread::scope(|s| {
        s.spawn(|| {
            let _stop_before_join = &stop;
            while !stop.load(Ordering::Relaxed) {
                for _ in 0..16 {
                    let _ = flood.send(b"flood");
                }
                thread::yield_now();
            }
        });
        let guard = Raise(&stop);
        let far = far_socket(&lab);
        for round in 0..8 {
            let pid = keeper.spawn();
            keeper.hears("ready");
            for i in 0..10 * round + 1 {
                ask(&far, format!("round {round}, {i}").as_bytes());
            }
            kill(pid);
        }
        drop(guard);
    });
    keeper.spawn();
    keeper.hears("ready");
    let far = far_socket(&lab);
    ask(&far, b"quit");
    // The fill ring is as full as it ever was, and the owner has found its pool whole. A NIC that has its own ring fills
    // that when it likes.
    let receiving: u32 = keeper.hears("receiving ").parse().unwrap();
    let exact = lab.bind_mode() == BindMode::Copy;
    assert!(receiving <= FRAMES / 2 && (!exact || receiving == FRAMES / 2), "{receiving}");
    drop(keeper);
    within_deadline("the program's end", || !is_attached(&lab));
}

/// Raises a flag when it goes, by a panic too.
struct Raise<'a>(&'a AtomicBool);

impl Drop for Raise<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn what_a_predecessor_left_half_done_is_settled() {
    let lab = Lab::new(1);
    let mut pool = Pool::new(Arena::new(128, 2048).unwrap());
    let file = pool.arena().file().0.try_clone_to_owned().unwrap();
    let port = lab.near(|| Port::open(&mut pool, &["near"], &Options::default())).unwrap();
    let parts = port.inheritable(850).unwrap();
    let mut first = Open::adopt(port, pool);
    assert_eq!(first.found, TakeOver::default());
    first.road.steering.add_port(UDP, SocketAddr::from((NEAR, 5000)), 0).unwrap();
    let (near, to) = lab.ends(5000, 7000);
    let far = lab.far(|| UdpSocket::bind((FAR, 7000)).unwrap());
    // Two sent and not booked, five queued and never shown to the kernel, three received and never read.
    for text in [b"one", b"two"] {
        first.send(&udp_frame(near, to, text, true), TxChecksum::Complete);
    }
    first.road.nic.kick(&mut first.pool);
    for _ in 0..5 {
        first.send(&udp_frame(near, to, b"never sent", true), TxChecksum::Complete);
    }
    for _ in 0..3 {
        far.send_to(b"never read", (NEAR, 5000)).unwrap();
    }
    within_deadline("three frames", || first.road.steering.counters().unwrap().port == 3);
    drop(first);
    let pool = Pool::new(Arena::from_file(file.into(), 0, 128, 2048).unwrap());
    let mut second = Open::adopt(Port::from_parts(&parts, 0).unwrap(), pool);
    assert_eq!(second.found, TakeOver { dropped: 3, unsent: 5, ..TakeOver::default() });
    second.assert_whole();
    assert_eq!(second.road.nic.frames().receiving, 64);
    second.road.steering.add_port(UDP, SocketAddr::from((NEAR, 5000)), 0).unwrap();
    far.send_to(b"after", (NEAR, 5000)).unwrap();
    assert_eq!(second.next()[42..], *b"after");
    second.send(&udp_frame(near, to, b"three", true), TxChecksum::Complete);
    second.flush();
    let mut buffer = [0; 16];
    let heard: Vec<usize> = (0..3).map(|_| far.recv(&mut buffer).unwrap()).collect();
    assert_eq!(heard, [3, 3, 5], "one, two, three");
    second.assert_whole();
    close_all(&parts);
}

#[test]
fn without_privilege_the_missing_capability_is_named() {
    let lab = Lab::new(1);
    let mut process = Process::start(&lab, "unprivileged");
    let line = process.hears("near: loading the steering program: ");
    assert!(line.contains("needs CAP_NET_ADMIN and CAP_BPF (run as root, or give the capability)"), "{line}");
}

#[test]
fn descriptors_that_are_closed_or_something_else_are_refused() {
    let lab = Lab::new(1);
    let mut pool = Pool::new(Arena::new(64, 2048).unwrap());
    let port = lab.near(|| Port::open(&mut pool, &["near"], &Options::default())).unwrap();
    let parts = port.inheritable(800).unwrap();
    let refused = |change: &dyn Fn(&mut PortParts)| {
        let mut parts = parts.clone();
        change(&mut parts);
        Port::from_parts(&parts, 0).unwrap_err()
    };
    use ringroad_af_xdp::Step::{Inherit, Rings};
    assert_eq!(refused(&|p| p.ledger = 99_999).step, Inherit);
    assert_eq!(refused(&|p| p.interfaces[0].sockets[0].fd = -1).step, Inherit);
    assert_eq!(refused(&|p| p.interfaces[0].sockets[0].fd = p.ledger).step, Rings);
    let steering = |p: &PortParts| p.interfaces[0].steering.unwrap();
    let with = |p: &mut PortParts, fds| p.interfaces[0].steering = Some(fds);
    let flows = |p: &mut PortParts| with(p, SteeringFds { flows: steering(p).ports, ..steering(p) });
    assert_eq!(refused(&flows).step, Inherit);
    let xsks = |p: &mut PortParts| with(p, SteeringFds { xsks: p.ledger, ..steering(p) });
    assert_eq!(refused(&xsks).step, Inherit);
    let mut other = Pool::new(Arena::new(128, 2048).unwrap());
    let error = Port::from_parts(&parts, 0).unwrap().adopt(0, &mut other, &|_| false).unwrap_err();
    assert!(error.to_string().contains("not over the arena"), "{error}");
    close_all(&parts);
}
