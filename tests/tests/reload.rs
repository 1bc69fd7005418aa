//! A server whose processes are replaced under load: nobody who wants something of it notices.

use std::io::{Error, ErrorKind, Read};

use lab::{Lab, Namespace, Signal, Site, eventually, eventually_some};
use ringroad_tests::replacing::{
    CLIENTS, Load, all_frames_are_accounted_for, descriptors, open, replaced, request, signal,
};
use ringroad_tests::{on_road, ringroad};

const WORKERS: usize = 2;
const SIZE: usize = 1 << 20;
/// Replacements; RINGROAD_ROUNDS=30 makes it two minutes.
const ROUNDS: usize = 3;
/// Connections that begin while the workers do not look.
const LATE: usize = 32;

fn rounds() -> usize {
    std::env::var("RINGROAD_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(ROUNDS)
}

/// Connections of the client that wait for their handshake.
fn beginning(client: &Namespace) -> usize {
    const SYN_SENT: &str = " 02 ";
    client
        .enter(|| std::fs::read_to_string("/proc/thread-self/net/tcp").expect("the connections"))
        .lines()
        .filter(|line| line.contains(SYN_SENT))
        .count()
}

fn none_failed(load: &Load, failures: &[Error]) {
    let served = load.served();
    println!("{served} requests, {} failures", failures.len());
    assert!(failures.is_empty(), "{} of {served}: {:?}", failures.len(), &failures[..failures.len().min(9)]);
}

#[test]
fn no_request_fails_while_workers_are_replaced() {
    let lab = Lab::new("reload");
    let (server, client) = lab.pair();
    let site = Site::with_workers(&lab, 80, &[("big.bin", SIZE)], WORKERS);
    let nginx = on_road(&server, &[], &site.nginx(), 80);
    let load = Load::default();
    let mut workers = replaced(&server, WORKERS, || nginx.children(), &[]);
    let failures = load.during(&client, || {
        for _ in 0..rounds() {
            // What is under way goes on with the worker that leaves.
            let mut half = client.enter(|| open("/big.bin")).expect("a connection");
            let mut body = vec![0; SIZE / 2];
            half.read_exact(&mut body).expect("the first half");
            load.allow_more();
            nginx.signal(Signal::Hup);
            workers = replaced(&server, WORKERS, || nginx.children(), &workers);
            load.is_served();
            half.read_to_end(&mut body).expect("the second half");
            assert!(body.len() > SIZE, "{} bytes with their header", body.len());
            eventually("the old workers are gone", 20, || nginx.children().len() == WORKERS);
        }
    });
    none_failed(&load, &failures);
}

/// Resident memory of a process, in KiB.
fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a process that lives");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Reloads, and a worker killed after every second one: what fails is what was under way at the worker that died. Nothing
/// is used up: RINGROAD_ROUNDS=300 makes it some minutes.
#[test]
fn reloads_and_deaths_one_after_the_other_cost_what_was_under_way_at_the_dead() {
    const MANY: usize = 4;
    let lab = Lab::new("recipe");
    let (server, client) = lab.pair();
    let site = Site::with_workers(&lab, 80, &[], MANY);
    let nginx = on_road(&server, &[], &site.nginx(), 80);
    let load = Load::default();
    let mut workers = replaced(&server, MANY, || nginx.children(), &[]);
    let opened = descriptors(nginx.pid());
    let (mut deaths, mut warm) = (0, 0);
    let failures = load.during(&client, || {
        for round in 0..rounds() {
            load.allow_more();
            nginx.signal(Signal::Hup);
            workers = replaced(&server, MANY, || nginx.children(), &workers);
            load.is_served();
            if round % 2 == 0 {
                deaths += 1;
                signal(&server, "-KILL", &workers[round % MANY..][..1]);
                load.is_served();
                eventually("another worker", 20, || {
                    let all = nginx.children();
                    all.iter().filter(|pid| !workers.contains(pid)).count() == 1
                });
            }
            workers = nginx.children();
            eventually("the old workers are gone", 20, || nginx.children().len() == MANY);
            if round == rounds() / 3 {
                warm = resident(nginx.pid());
            }
        }
    });
    let grown = resident(nginx.pid()).saturating_sub(warm);
    println!("{} requests, {deaths} deaths, {} failures, {grown} KiB", load.served(), failures.len());
    let cut = |e: &Error| matches!(e.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe);
    assert!(failures.len() <= CLIENTS * deaths && failures.iter().all(cut), "{failures:?}");
    assert_eq!(descriptors(nginx.pid()), opened, "descriptors of the master");
    assert!(grown < 1024, "{grown} KiB more since the first third");
    eventually("frames that only stacks that live have", 10, || all_frames_are_accounted_for(&server));
}

/// Whoever comes while the workers are held up is in their queues when they close.
#[test]
fn what_waits_in_a_worker_that_leaves_is_served_by_the_others() {
    let lab = Lab::new("leavers");
    let (server, client) = lab.pair();
    let site = Site::with_workers(&lab, 80, &[], WORKERS);
    let nginx = on_road(&server, &[], &site.nginx(), 80);
    let mut workers = replaced(&server, WORKERS, || nginx.children(), &[]);
    for _ in 0..rounds() {
        signal(&server, "-STOP", &workers);
        std::thread::scope(|scope| {
            let late: Vec<_> = (0..LATE).map(|_| scope.spawn(|| client.enter(request))).collect();
            eventually("they have begun", 20, || beginning(&client) >= LATE);
            nginx.signal(Signal::Hup);
            eventually("the new workers", 20, || nginx.children().len() == 2 * WORKERS);
            signal(&server, "-CONT", &workers);
            for one in late {
                one.join().expect("a client").expect("an answer for who came late");
            }
        });
        workers = replaced(&server, WORKERS, || nginx.children(), &workers);
        eventually("the old workers are gone", 20, || nginx.children().len() == WORKERS);
    }
}

/// A new master is executed by the old one, with its listeners and an environment of nginx's own making. (It does so
/// only where whoever started it has ended.)
#[test]
fn a_new_binary_takes_over_the_road() {
    let lab = Lab::new("upgrade");
    let (server, client) = lab.pair();
    let site = Site::with_workers(&lab, 80, &[], WORKERS);
    let pid_file = site.path("../nginx.pid");
    let command = site.nginx().join(" ").replacen("nginx", "/usr/sbin/nginx", 1);
    let go = lab.folder().join("go");
    let script = format!("{command} & while [ ! -e {} ]; do sleep 0.1; done", go.display());
    let mut shell = server.spawn(&ringroad(&[], &["sh", "-c", &script]));
    let master = || std::fs::read_to_string(&pid_file).ok().and_then(|pid| pid.trim().parse::<u32>().ok());
    let old_master = eventually_some("the master", 20, master);
    replaced(&server, WORKERS, || children(old_master), &[]);
    std::fs::write(&go, "").expect("a file");
    assert_eq!(shell.ended(20), 0);
    let load = Load::default();
    let failures = load.during(&client, || {
        load.allow_more();
        signal(&server, "-USR2", &[old_master]);
        let another = || master().filter(|pid| *pid != old_master);
        let new_master = eventually_some("the new master", 20, another);
        replaced(&server, WORKERS, || children(new_master), &[]);
        load.is_served();
        load.allow_more();
        signal(&server, "-QUIT", &[old_master]);
        // A zombie, where nobody waits for it, has no command any more.
        let command = || std::fs::read(format!("/proc/{old_master}/cmdline")).unwrap_or_default();
        eventually("the end of the old master", 20, || command().is_empty());
        load.is_served();
    });
    none_failed(&load, &failures);
}

/// The children of a process.
fn children(pid: u32) -> Vec<u32> {
    let list = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    list.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}
