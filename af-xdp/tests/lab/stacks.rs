//! Several stacks on the rings of one queue: each gets what is steered to it, frames wander between them and
//! none is lost, however a stack ends.

use std::collections::BTreeSet;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use nic::{Arena, Nic, Pool};
use ringroad_af_xdp::{Options, Port, PortParts, Slot};

use crate::net::{
    FAR, Lab, NEAR, Open, UDP, close_all, die_with_parent, inherited_file, keep_open, left_of, turn_round,
    within_deadline,
};

const FRAMES: u32 = 1024;
const STACKS: Slot = 4;
const SLOT: &str = "XDP_TEST_SLOT";
const PARTS: &str = "XDP_TEST_STACK_PARTS";
const ARENA: &str = "XDP_TEST_STACK_ARENA";

/// A port for several stacks, and its arena's file.
struct Shared {
    parts: PortParts,
    arena: std::os::fd::OwnedFd,
}

impl Shared {
    fn open(lab: &Lab) -> Self {
        Self::with_at_once(lab, STACKS)
    }

    fn with_at_once(lab: &Lab, at_once: Slot) -> Self {
        let mut pool = Pool::new(Arena::new(FRAMES, 2048).unwrap());
        let options = Options { stacks: STACKS, at_once, ..Options::default() };
        let port = lab.near(|| Port::open(&mut pool, &["near"], &options)).unwrap();
        let parts = port.inheritable(600).unwrap();
        assert_eq!(parts.stacks, STACKS);
        Self { parts, arena: pool.arena().file().0.try_clone_to_owned().unwrap() }
    }

    fn stack(&self, slot: Slot) -> Open {
        let file = self.arena.try_clone().unwrap().into();
        let open = Open::adopt_slot(
            Port::from_parts(&self.parts, slot).unwrap(),
            slot,
            Pool::new(Arena::from_file(file, 0, FRAMES, 2048).unwrap()),
        );
        let port = SocketAddr::from((NEAR, 5000 + u16::from(slot)));
        open.road.steering.add_port(UDP, port, slot).unwrap();
        open
    }

    /// Settles a slot whose stack is gone, as others may be.
    fn settle(&self, slot: Slot, gone: &dyn Fn(Slot) -> bool) {
        Port::from_parts(&self.parts, slot).unwrap().settle(slot, slot, gone, |_| {}).unwrap();
    }
}

/// Sends back what has come. How many frames that was.
fn echo(open: &mut Open) -> usize {
    let Open { pool, road, burst, .. } = open;
    road.nic.reap(pool);
    road.nic.rx(pool, burst, 64);
    let n = burst.len();
    for mut frame in burst.drain(..) {
        let bytes = pool.bytes_mut(&mut frame.pkt).unwrap();
        turn_round(bytes);
        let checksum = left_of(bytes);
        let loan = pool.give(frame.pkt, 0, checksum);
        if let Err(loan) = road.nic.tx(pool, loan) {
            pool.take_back(loan);
        }
    }
    road.nic.kick(pool);
    n
}

fn far_socket(lab: &Lab, slot: Slot) -> UdpSocket {
    let far = lab.far(|| UdpSocket::bind((FAR, 0)).unwrap());
    far.connect((NEAR, 5000 + u16::from(slot))).unwrap();
    far.set_nonblocking(true).unwrap();
    far
}

#[test]
fn each_stack_gets_its_own_and_frames_wander_without_loss() {
    const EACH: u32 = 20_000;
    const WINDOW: u32 = 24;
    let lab = Lab::new(1);
    let shared = Shared::open(&lab);
    let mut stacks: Vec<Open> = (0..STACKS).map(|slot| shared.stack(slot)).collect();
    let peers: Vec<UdpSocket> = (0..STACKS).map(|slot| far_socket(&lab, slot)).collect();
    let mut counts = vec![(0u32, 0u32); usize::from(STACKS)];
    within_deadline("echoes", || {
        for ((peer, open), (sent, back)) in peers.iter().zip(&mut stacks).zip(&mut counts) {
            while *sent < EACH && *sent - *back < WINDOW {
                peer.send(&sent.to_be_bytes()).unwrap();
                *sent += 1;
            }
            echo(open);
            let mut buffer = [0; 8];
            while let Ok(n) = peer.recv(&mut buffer) {
                assert_eq!(buffer[..n], back.to_be_bytes());
                *back += 1;
            }
        }
        counts.iter().all(|(_, back)| *back == EACH)
    });
    for open in &mut stacks {
        open.flush();
        assert_eq!(open.road.nic.counters().bad_entries, 0);
    }
    let free: u32 = stacks.iter().map(|open| open.pool.census().free).sum();
    let census = stacks[0].road.nic.frames();
    assert_eq!((census.stacks, census.sending), (free, 0), "{census:?}");
    let held: Vec<u32> = stacks.iter().map(|open| open.pool.census().free).collect();
    assert!(held.iter().all(|n| (1..=FRAMES / 4).contains(n)), "nobody starves, nobody hoards: {held:?}");
    drop(stacks);
    (0..STACKS).for_each(|slot| shared.settle(slot, &|_| true));
    shared.stack(0).assert_whole();
    close_all(&shared.parts);
}

/// A slot whose sockets were not made with the port hears when they are made, and its next stack hears by the same ones;
/// when they are gone with all who held them, it can be settled still.
#[test]
fn a_slot_has_its_sockets_when_somebody_comes() {
    let lab = Lab::new(2);
    let mut shared = Shared::with_at_once(&lab, 1);
    let bare = shared.parts.clone();
    let has = |parts: &PortParts| [0, 1, 3, STACKS].map(|slot| parts.has_slot(slot));
    assert_eq!((has(&bare), bare.stacks), ([true, false, false, false], STACKS));
    assert!(bare.open_slot(0).is_err() && bare.open_slot(STACKS).is_err());
    let made = lab.near(|| bare.open_slot(3)).unwrap();
    let numbers: Vec<RawFd> = made.iter().map(AsRawFd::as_raw_fd).collect();
    assert_eq!(numbers.len(), 2, "one for each queue");
    assert!(bare.clone().with_slot(3, &numbers[1..]).is_err());
    shared.parts = bare.clone().with_slot(3, &numbers).unwrap();
    assert_eq!(has(&shared.parts), [true, false, true, false]);
    for slot in [3, 0, 3] {
        let (mut open, peer) = (shared.stack(slot), far_socket(&lab, slot));
        within_deadline("an echo", || {
            peer.send(b"is it there").unwrap();
            echo(&mut open);
            peer.recv(&mut [0; 16]).is_ok()
        });
        drop(open);
        shared.settle(slot, &|_| true);
    }
    drop(made);
    shared.parts = bare;
    shared.settle(3, &|_| true);
    shared.stack(0).assert_whole();
    close_all(&shared.parts);
}

/// What is left to a stack may be led to it before it begins; what it had in a former life is over.
#[test]
fn flows_that_were_led_to_a_stack_before_it_begins_are_its_own() {
    let lab = Lab::new(1);
    let shared = Shared::open(&lab);
    let first = shared.stack(0);
    let (local, remote) = (SocketAddr::from((NEAR, 4000)), SocketAddr::from((FAR, 4000)));
    let steering = &first.road.steering;
    let pool =
        || Pool::new(Arena::from_file(shared.arena.try_clone().unwrap().into(), 0, FRAMES, 2048).unwrap());
    let port = || Port::from_parts(&shared.parts, 1).unwrap();
    steering.add_flow(UDP, local, remote, 1).unwrap();
    let led = port().adopt_led(1, &mut pool(), &|_| false).unwrap();
    assert_eq!(steering.slot_of(UDP, local, remote), Some(1));
    drop(led);
    port().adopt(1, &mut pool(), &|_| false).unwrap();
    assert_eq!(steering.slot_of(UDP, local, remote), None);
    drop(first);
    close_all(&shared.parts);
}

/// Stacks that hear one endpoint share its flows; a flow that the directory names stays where it is, whoever joins
/// or leaves.
#[test]
fn members_of_a_group_share_an_endpoint() {
    let lab = Lab::new(1);
    let shared = Shared::open(&lab);
    let mut stacks: Vec<Open> = (0..3).map(|slot| shared.stack(slot)).collect();
    let local = SocketAddr::from((NEAR, 6000));
    let peers: Vec<UdpSocket> = (0..64).map(|_| lab.far(|| UdpSocket::bind((FAR, 0)).unwrap())).collect();
    let ask = |stacks: &mut Vec<Open>| -> Vec<usize> {
        peers.iter().for_each(|peer| assert_eq!(peer.send_to(b"who?", local).unwrap(), 4));
        let mut heard = vec![usize::MAX; peers.len()];
        within_deadline("datagrams", || {
            for (slot, open) in stacks.iter_mut().enumerate() {
                open.drain(|f| {
                    let port = u16::from_be_bytes([f[34], f[35]]);
                    let at = peers.iter().position(|p| p.local_addr().unwrap().port() == port).unwrap();
                    heard[at] = slot;
                });
            }
            heard.iter().all(|slot| *slot != usize::MAX)
        });
        heard
    };
    let shares = |heard: &[usize]| [0, 1, 2].map(|slot| heard.iter().filter(|h| **h == slot).count());
    stacks[0].road.steering.add_port(UDP, local, 0).unwrap();
    assert_eq!(shares(&ask(&mut stacks)), [64, 0, 0]);
    stacks[1].road.steering.add_port(UDP, local, 1).unwrap();
    stacks[2].road.steering.add_port(UDP, local, 2).unwrap();
    let spread = ask(&mut stacks);
    assert!(shares(&spread).iter().all(|n| *n >= 8), "{:?}", shares(&spread));
    assert_eq!(ask(&mut stacks), spread, "a flow stays with its stack");
    for (peer, slot) in peers.iter().zip(&spread) {
        let remote = SocketAddr::from((FAR, peer.local_addr().unwrap().port()));
        let slot = *slot as Slot;
        stacks[usize::from(slot)].road.steering.add_flow(UDP, local, remote, slot).unwrap();
    }
    stacks[1].road.steering.remove_port(UDP, local, 1).unwrap();
    assert_eq!(ask(&mut stacks), spread, "also when its stack hears no new ones");
    let mut named = 0;
    stacks[0]
        .road
        .steering
        .release(2, Some(0), &|_| false, |flow| {
            assert_eq!((flow.protocol, flow.local), (UDP, local));
            named += 1;
        })
        .unwrap();
    assert_eq!(named, shares(&spread)[2]);
    let heard = ask(&mut stacks);
    assert!(heard.iter().zip(&spread).all(|(now, then)| *now == [0, 1, 0][*then]), "the heir has its flows");
    drop(stacks);
    close_all(&shared.parts);
}

/// What this binary does when the test below starts it; as a test of its own it has nothing to do.
#[test]
fn role() {
    die_with_parent();
    let Ok(slot) = std::env::var(SLOT) else { return };
    let slot: Slot = slot.parse().unwrap();
    let parts: PortParts = std::env::var(PARTS).unwrap().parse().unwrap();
    let arena = inherited_file(std::env::var(ARENA).unwrap().parse().unwrap());
    let shared = Shared { parts, arena: arena.into() };
    let mut open = shared.stack(slot);
    loop {
        if echo(&mut open) == 0 {
            thread::yield_now();
        }
    }
}

fn start(lab: &Lab, shared: &Shared, slot: Slot, arena: i32) -> Child {
    Command::new("ip")
        .args(["netns", "exec", &lab.near])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "stacks::role", "--nocapture"])
        .envs([(SLOT, slot.to_string()), (PARTS, shared.parts.to_string()), (ARENA, arena.to_string())])
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// Stacks are killed at moments that nobody chose, under load, and succeeded, again and again. At the end every
/// frame is in the depot or with the kernel, and no frame was ever in two hands (a frame sent twice or read
/// while another wrote it would break an echo).
#[test]
fn killed_stacks_leave_no_frame_behind() {
    const DEATHS: u32 = 60;
    let lab = Lab::new(1);
    let shared = Shared::open(&lab);
    let arena = keep_open(std::os::fd::AsFd::as_fd(&shared.arena), 600);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let guard = Raise(&stop);
        for slot in 0..STACKS {
            let peer = far_socket(&lab, slot);
            let stop = &stop;
            scope.spawn(move || load(&peer, stop));
        }
        let mut children: Vec<Child> = (0..STACKS).map(|slot| start(&lab, &shared, slot, arena)).collect();
        let probes: Vec<UdpSocket> = (0..STACKS).map(|slot| far_socket(&lab, slot)).collect();
        for death in 0..DEATHS {
            let slot = (death % u32::from(STACKS)) as Slot;
            let at = usize::from(slot);
            answers(&probes[at], death);
            children[at].kill().unwrap();
            children[at].wait().unwrap();
            shared.settle(slot, &|_| false);
            children[at] = start(&lab, &shared, slot, arena);
        }
        for child in &mut children {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        drop(guard);
    });
    (0..STACKS).for_each(|slot| shared.settle(slot, &|_| true));
    let mut last = shared.stack(0);
    within_deadline("the kernel's last frames", || {
        last.road.nic.reap(&mut last.pool);
        last.road.nic.frames().sending == 0
    });
    last.assert_whole();
    close_all(&shared.parts);
    drop(inherited_file(arena));
}

/// Datagrams, each as often as the answers come; wrong answers end the test.
fn load(peer: &UdpSocket, stop: &AtomicBool) {
    let (mut next, mut floor) = (0u64, 0u64);
    let mut buffer = [0; 1500];
    let mut open = BTreeSet::new();
    while !stop.load(Ordering::Relaxed) {
        for _ in 0..16 {
            let mut text = [0; 256];
            text.chunks_mut(8).for_each(|chunk| chunk.copy_from_slice(&next.to_be_bytes()));
            if peer.send(&text).is_ok() {
                open.insert(next);
            }
            next += 1;
        }
        while let Ok(n) = peer.recv(&mut buffer) {
            let number = u64::from_be_bytes(buffer[..8].try_into().unwrap());
            assert_eq!(n, 256);
            assert!(buffer[..n].chunks(8).all(|chunk| chunk == number.to_be_bytes()), "a torn frame");
            assert!(number < floor || open.remove(&number), "datagram {number} came twice");
        }
        if open.len() > 4096 {
            // Most were lost with a stack.
            open.clear();
            floor = next;
        }
        thread::yield_now();
    }
}

/// The stack of the slot is alive.
fn answers(probe: &UdpSocket, death: u32) {
    let text = u64::MAX - u64::from(death);
    let mut buffer = [0; 64];
    within_deadline("an answer", || {
        let _ = probe.send(&text.to_be_bytes());
        std::iter::from_fn(|| probe.recv(&mut buffer).ok().map(|n| buffer[..n] == text.to_be_bytes()))
            .any(|x| x)
    });
}

/// Raises a flag when it goes, by a panic too.
struct Raise<'a>(&'a AtomicBool);

impl Drop for Raise<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
