//! Threads that wait, on a NIC that only counts how often it was polled.

use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use af_xdp::{Slot, Slots};
use nic::{Arena, Burst, Caps, Doorbell, Nic, Pool, TxPkt};
use stack::config::{Config, Secrets};
use stack::control::{ControlEvent, Request, Route};
use stack::engine::Stack;
use stack::error::SocketError;
use stack::types::{FlowKey, IfaceId, LocalKey, Protocol};

use super::bell::Bell;
use super::block::input;
use super::core::{Core, Link};
use super::steer::Steer;
use super::{Runtime, Spin, Wait, Waited};
use crate::config::Call;

/// A NIC without a wire: its bell stands for arriving frames.
struct Idle {
    bell: Bell,
    fds: [RawFd; 1],
    /// Polls that found the bell ringing.
    woken: Arc<AtomicU32>,
}

impl Nic for Idle {
    fn caps(&self) -> Caps {
        Caps { tx_checksum: false, max_frame: 1514 }
    }

    fn rx(&mut self, _: &mut Pool, _: &mut Burst, _: usize) -> usize {
        if rustix::io::read(&self.bell, &mut [0u8; 8]).is_ok() {
            self.woken.fetch_add(1, Ordering::SeqCst);
        }
        0
    }

    fn tx(&mut self, _: &mut Pool, frame: TxPkt) -> Result<(), TxPkt> {
        Err(frame)
    }

    fn kick(&mut self, _: &mut Pool) -> Doorbell {
        Doorbell::Quiet
    }

    fn reap(&mut self, _: &mut Pool) {}

    fn wait_fds(&self) -> &[RawFd] {
        &self.fds
    }

    fn rx_pending(&self) -> bool {
        false
    }
}

/// Steering that only counts the flows that were to lead here no longer.
#[derive(Default)]
struct Nowhere(Arc<AtomicU32>);

impl Steer for Nowhere {
    fn steer(&mut self, request: &Request) -> std::io::Result<()> {
        self.0.fetch_add(u32::from(matches!(request, Request::UnsteerFlow(_))), Ordering::SeqCst);
        Ok(())
    }

    fn control(&mut self, _: &ControlEvent) -> std::io::Result<()> {
        Ok(())
    }

    fn grant(&mut self, _: u64) {}

    fn shed(&self) -> u64 {
        0
    }

    fn miss_vlan(&self) -> u64 {
        0
    }

    fn hearers(&self, _: SocketAddr) -> Slots {
        Slots::NONE
    }

    fn ends(&self, _: &LocalKey) -> Vec<SocketAddr> {
        Vec::new()
    }

    fn holds(&self, _: &FlowKey) -> bool {
        false
    }

    fn lead(&mut self, _: &FlowKey, _: Slot) -> std::io::Result<()> {
        Ok(())
    }

    fn clear(&mut self) {}
}

/// A runtime without a helper, its NIC's bell, and the count of polls that found it ringing.
pub(super) fn runtime() -> (Runtime, Bell, Arc<AtomicU32>) {
    let bell = Bell::new().unwrap();
    let woken = Arc::new(AtomicU32::new(0));
    let nic = Idle { fds: [bell.raw()], bell: bell.clone(), woken: Arc::clone(&woken) };
    let pool = Pool::new(Arena::new(64, 2048).unwrap());
    let stack = Stack::new(Config::default(), pool, Secrets([7; 32]));
    let links = vec![Link { iface: IfaceId(1), sees_tags: true, nic: Box::new(nic) }];
    let core = Core::new(stack, links, Box::new(Nowhere::default()), Duration::ZERO);
    (Runtime::over(core, Duration::ZERO), bell, woken)
}

fn blocked(keys: &[u64]) -> Wait<'_> {
    Wait { keys, spin: Spin::Never, ..Wait::default() }
}

/// Until so many threads sleep.
fn until_asleep(runtime: &Runtime, threads: usize) {
    while runtime.lock().sleepers().asleep() != threads {
        thread::yield_now();
    }
}

#[test]
fn a_wait_that_is_satisfied_does_not_sleep() {
    let (runtime, _, _) = runtime();
    assert_eq!(runtime.wait(blocked(&[1]), |_| Some(5)), Waited::Ready(5));
    let past = Some(runtime.now());
    let wait = Wait { deadline: past, ..blocked(&[1]) };
    assert_eq!(runtime.wait(wait, |_| None::<()>), Waited::TimedOut);
}

#[test]
fn a_call_spins_as_it_is_set_for_it_and_others_as_the_profile_says() {
    let (mut runtime, _, _) = runtime();
    runtime.spins = "recv=0,accept=60000000".parse().unwrap();
    // Looks before the wait slept for the first time, three at the most; it sleeps no longer than so.
    let looks = |runtime: &Runtime, call, longest| {
        let deadline = Some(runtime.now() + longest);
        let (mut looks, mut slept) = (0, false);
        let wait = Wait { deadline, spin: Spin::Of(call), keys: &[1], ..Wait::default() };
        runtime.wait(wait, |turn| {
            slept |= turn.sleepers().asleep() > 0;
            looks += u32::from(!slept);
            (looks == 3).then_some(())
        });
        looks
    };
    // Whoever spins is not to be late for that, however slow the machine; whoever sleeps sleeps for so long.
    let (never, soon) = (Duration::from_secs(60), Duration::from_millis(2));
    let before = runtime.lock().core().turns;
    assert_eq!(looks(&runtime, Call::Accept, never), 3);
    assert_eq!(runtime.lock().core().turns, before + 3);
    assert_eq!(looks(&runtime, Call::Recv, soon), 1);
    // The profile of this runtime is not to spin.
    assert_eq!(looks(&runtime, Call::Epoll, soon), 1);
    runtime.spin_always = true;
    runtime.spin = Duration::from_secs(60);
    assert_eq!(looks(&runtime, Call::Recv, soon), 1);
    assert_eq!(looks(&runtime, Call::Epoll, never), 3);
}

#[test]
fn a_kernel_descriptor_ends_the_wait_and_is_reported_beside_a_ready_stack() {
    let (runtime, _, _) = runtime();
    let kernel = Bell::new().unwrap();
    kernel.ring();
    for spin in [Spin::Never, Spin::For(Duration::from_secs(60))] {
        let mut fds = [input(kernel.raw())];
        let wait = Wait { kernel: &mut fds, spin, ..Wait::default() };
        assert_eq!(runtime.wait(wait, |_| None::<()>), Waited::Kernel);
        assert_eq!(fds[0].revents, libc::POLLIN);
        let mut fds = [input(kernel.raw())];
        let wait = Wait { kernel: &mut fds, spin, ..Wait::default() };
        assert_eq!(runtime.wait(wait, |_| Some(())), Waited::Ready(()));
        assert_eq!(fds[0].revents, libc::POLLIN);
    }
}

#[test]
fn a_descriptor_that_is_always_the_same_is_watched_and_never_missed() {
    let (runtime, _, _) = runtime();
    let kernel = Bell::new().unwrap();
    for round in 0..100 {
        let mut fds = [input(kernel.raw())];
        let wait = Wait { kernel: &mut fds, watch: Some(3), ..blocked(&[]) };
        assert_eq!(runtime.wait(wait, |_| Some(())), Waited::Ready(()));
        assert_eq!(fds[0].revents, 0, "round {round}");
        kernel.ring();
        let wait = Wait { kernel: &mut fds, watch: Some(3), ..blocked(&[]) };
        assert_eq!(runtime.wait(wait, |_| Some(())), Waited::Ready(()));
        assert_eq!(fds[0].revents, libc::POLLIN, "round {round}");
        kernel.quiet();
    }
}

#[test]
fn the_follower_is_promoted_when_the_leader_leaves() {
    let (runtime, nic, woken) = runtime();
    let go = AtomicBool::new(false);
    thread::scope(|scope| {
        let leader =
            scope.spawn(|| runtime.wait(blocked(&[1]), |_| go.load(Ordering::SeqCst).then_some("leader")));
        until_asleep(&runtime, 1);
        let follower = scope.spawn(|| {
            runtime.wait(blocked(&[2]), |_| (woken.load(Ordering::SeqCst) > 0).then_some("follower"))
        });
        until_asleep(&runtime, 2);
        go.store(true, Ordering::SeqCst);
        runtime.lock().sleepers().notify(1);
        assert_eq!(leader.join().unwrap(), Waited::Ready("leader"));
        // Only a leader sleeps on the NIC's descriptor.
        nic.ring();
        assert_eq!(follower.join().unwrap(), Waited::Ready("follower"));
    });
    assert_eq!((woken.load(Ordering::SeqCst), runtime.lock().sleepers().asleep()), (1, 0));
}

#[test]
fn of_many_waiters_each_is_woken_by_its_own_key() {
    const THREADS: u64 = 16;
    const ROUNDS: u32 = 200;
    let (runtime, _, _) = runtime();
    let tokens: Vec<AtomicU32> = (0..THREADS).map(|_| AtomicU32::new(0)).collect();
    thread::scope(|scope| {
        for key in 0..THREADS {
            let (runtime, tokens) = (&runtime, &tokens);
            // Each takes its token and hands one to the next: a lost wake-up stops the whole ring.
            scope.spawn(move || {
                for _ in 0..ROUNDS {
                    let mine = &tokens[key as usize];
                    let waited = runtime.wait(blocked(&[key]), |_| {
                        (mine.load(Ordering::SeqCst) > 0).then(|| mine.fetch_sub(1, Ordering::SeqCst))
                    });
                    assert_eq!(waited, Waited::Ready(1));
                    let next = (key + 1) % THREADS;
                    let mut turn = runtime.lock();
                    tokens[next as usize].fetch_add(1, Ordering::SeqCst);
                    turn.sleepers().notify(next);
                }
            });
        }
        let mut turn = runtime.lock();
        tokens[0].fetch_add(1, Ordering::SeqCst);
        turn.sleepers().notify(0);
    });
    assert_eq!(tokens.iter().map(|t| t.load(Ordering::SeqCst)).sum::<u32>(), 1);
}

#[test]
fn a_handler_that_ran_while_spinning_interrupts() {
    let (runtime, _, _) = runtime();
    let handlers = std::sync::atomic::AtomicU64::new(0);
    let wait =
        Wait { handlers: Some(&handlers), spin: Spin::For(Duration::from_secs(60)), ..Wait::default() };
    let waited = runtime.wait(wait, |_| {
        handlers.fetch_add(1, Ordering::Relaxed);
        None::<()>
    });
    assert_eq!(waited, Waited::Interrupted);
}

/// A connection may have the ends of one that died with another process.
#[test]
fn a_flow_that_is_in_use_again_stays_led_here() {
    let (runtime, _, _) = runtime();
    let mut turn = runtime.lock();
    let now = turn.now();
    let core = turn.core();
    let unsteered = Arc::new(AtomicU32::new(0));
    core.steer = Box::new(Nowhere(Arc::clone(&unsteered)));
    let [local, remote] = [1, 2].map(|host| SocketAddr::from(([10, 0, 0, host], 4000)));
    let iface = IfaceId(1);
    let (network, prefix) = (local.ip(), 24);
    let route = Route { network, prefix, gateway: None, iface, source: None, mtu: None };
    for event in [
        ControlEvent::Iface { iface, mac: [2, 0, 0, 0, 0, 1], mtu: 1500, up: true, tx_checksum: false },
        ControlEvent::Address { iface, address: local.ip(), prefix, deprecated: false },
        ControlEvent::Routes(vec![route]),
    ] {
        core.control(now, event);
    }
    let id = core.stack.tcp_socket(1).unwrap();
    core.stack.bind(id, local).unwrap();
    assert_eq!(core.stack.connect(now, id, remote), Err(SocketError::InProgress));
    let key = FlowKey { protocol: Protocol::Tcp, local, remote };
    core.lead_no_longer(key);
    assert_eq!(unsteered.load(Ordering::SeqCst), 0, "it is a connection of ours now");
    core.lead_no_longer(FlowKey { local: remote, remote: local, ..key });
    assert_eq!(unsteered.load(Ordering::SeqCst), 1);
}
