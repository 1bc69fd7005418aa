//! Processes of a port that tell together, in virtual time.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use stack::time::Instant;

use super::*;

fn words(count: usize) -> &'static [AtomicU64] {
    Box::leak((0..count).map(|_| AtomicU64::new(0)).collect())
}

/// Who lives, how often that was asked, and who was called.
#[derive(Default)]
struct Street {
    dead: BTreeSet<u64>,
    asked: Cell<u32>,
    called: RefCell<BTreeSet<u8>>,
}

impl Mates for Street {
    fn is_home(&self, _: u8, owner: u64) -> bool {
        self.asked.set(self.asked.get() + 1);
        !self.dead.contains(&owner)
    }

    fn call(&self, slot: u8) -> bool {
        self.called.borrow_mut().insert(slot)
    }
}

struct Port {
    shared: Shared,
    street: Street,
    offices: Vec<Office>,
    /// When each looks again.
    due: Vec<Instant>,
    files: Vec<tempfile::NamedTempFile>,
}

impl Port {
    fn new(processes: u8) -> Self {
        let shared = Shared { log: words(LOG_WORDS), seats: words(SEATS_WORDS) };
        let (street, offices) = (Street::default(), Vec::new());
        let mut port = Self { shared, street, offices, due: Vec::new(), files: Vec::new() };
        (0..processes).for_each(|_| port.comes(0));
        port
    }

    /// One more process, whose alerts go to a place of this number.
    fn comes(&mut self, place: u64) {
        let slot = self.offices.len() as u8;
        let me = Me { slot, owner: 100 + u64::from(slot), keeps: false };
        let sinks = (place > 0).then(|| {
            let file = tempfile::NamedTempFile::new().unwrap();
            let sinks = Sinks::open(&[Sink::File(file.path().to_owned())]).unwrap();
            self.files.push(file);
            sinks
        });
        let process = Process { pid: u32::from(slot), command: "web".into() };
        self.offices.push(Office::new(self.shared, me, (sinks, place), 1000.0, process));
        self.due.push(Instant::NEVER);
    }

    fn dies(&mut self, slot: usize) {
        self.street.dead.insert(100 + slot as u64);
    }

    fn lives(&self, slot: usize) -> bool {
        !self.street.dead.contains(&(100 + slot as u64))
    }

    /// The process in `slot` refuses a SYN to a port of ours.
    fn sees(&mut self, at: Instant, slot: usize, port: u16) {
        self.sees_of("10.0.0.9", at, slot, port);
    }

    fn sees_of(&mut self, source: &str, at: Instant, slot: usize, port: u16) {
        let process = self.offices[slot].process().clone();
        let one = Seen { process, ..seen(source, &format!("10.77.0.1:{port}"), SYN) };
        self.offices[slot].saw(at, one.without_chance(), 1);
        self.hears(at, slot, true);
    }

    fn hears(&mut self, at: Instant, slot: usize, news: bool) {
        self.due[slot] = self.offices[slot].hear(at, news, &self.street);
    }

    /// Time passes: who is called or due looks.
    fn passes(&mut self, from: u64, to: u64) {
        for at in (from..to).step_by(100).map(ms) {
            let called = self.street.called.take();
            for slot in 0..self.offices.len() {
                if self.lives(slot) && (called.contains(&(slot as u8)) || self.due[slot] <= at) {
                    self.hears(at, slot, false);
                }
            }
        }
    }

    /// What each says, if it is asked.
    fn told(&self, at: u64) -> Vec<(usize, String, u64, u64)> {
        let living = (0..self.offices.len()).filter(|slot| self.lives(*slot));
        let of = |slot: usize| {
            let told = self.offices[slot].told(ms(at), &self.street);
            told.into_iter().map(move |alert| (slot, alert.kind, alert.count, alert.number))
        };
        living.flat_map(of).collect()
    }

    /// The kinds of alerts that were written to the place of the process that came with one as the `n`th, when there are
    /// so many.
    fn written(&self, n: usize, count: usize) -> Vec<String> {
        let begun = std::time::Instant::now();
        loop {
            let text = std::fs::read_to_string(self.files[n].path()).unwrap();
            if text.lines().count() >= count && (text.is_empty() || text.ends_with('\n')) {
                let kind = |line: &str| serde_json::from_str::<Alert>(line).unwrap().kind;
                return text.lines().map(kind).collect();
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "{text}");
            std::thread::yield_now();
        }
    }
}

#[test]
fn a_scan_over_the_workers_of_a_port_is_told_once() {
    for processes in [1, 2, 4, 16] {
        let mut port = Port::new(processes);
        for n in 0..12 {
            port.sees(ms(u64::from(n)), usize::from(n % u16::from(processes)), 8000 + n);
        }
        port.passes(100, 5000);
        assert_eq!(port.told(5000), [(0, "syn scan".into(), 12, 1)], "{processes} processes");
    }
}

#[test]
fn a_flood_over_the_workers_of_a_port_is_one_number() {
    let mut port = Port::new(4);
    for n in 0..1000 {
        port.sees(ms(n), n as usize % 4, 22);
    }
    port.passes(1000, 15_000);
    assert_eq!(port.told(15_000).last(), Some(&(0, "denied".into(), 1000, 2)));
    assert!(port.told(15_000).iter().all(|(slot, kind, ..)| *slot == 0 && kind == "denied"));
}

/// A try a minute, each at another worker, and every worker but the last dies meanwhile.
#[test]
fn a_slow_scan_outlives_whoever_gathers() {
    let mut port = Port::new(4);
    for n in 0..12_u64 {
        let at = n * 60_000;
        let living: Vec<usize> = (0..4).filter(|slot| port.lives(*slot)).collect();
        let worker = living[n as usize % living.len()];
        port.sees(ms(at), worker, 8000 + n as u16);
        port.passes(at + 100, at + 60_000);
        if n % 3 == 2 && n < 9 {
            port.dies(living[0]);
            // The others notice.
            living[1..].iter().for_each(|slot| port.hears(ms(at + 59_990), *slot, false));
        }
    }
    let told = port.told(720_000);
    let kinds = |kind: &str| told.iter().filter(|alert| alert.1 == kind).count();
    // Those of before it was known for a scan are told alone.
    assert_eq!((kinds("syn scan"), kinds("denied"), told.len()), (1, 7, 8), "{told:?}");
    assert!(told.iter().all(|alert| alert.0 == 3), "who is left answers for all");
    let numbers: Vec<u64> = told.iter().map(|alert| alert.3).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6, 7, 8]);
}

#[test]
fn what_waits_when_the_gatherer_dies_is_told_by_the_next() {
    let mut port = Port::new(3);
    for n in 0..6_u16 {
        port.sees(ms(u64::from(n)), usize::from(n % 3), 8000 + n);
    }
    port.passes(100, 400);
    assert_eq!(port.told(400), []);
    port.dies(0);
    for n in 6..12_u16 {
        port.sees(ms(400 + u64::from(n)), usize::from(1 + n % 2), 8000 + n);
    }
    port.passes(500, 5000);
    assert_eq!(port.told(5000), [(1, "syn scan".into(), 12, 1)]);
}

#[test]
fn who_is_called_and_does_not_look_is_passed_over_and_repeats_nothing() {
    let mut port = Port::new(2);
    port.sees(ms(1), 1, 22);
    assert_eq!(port.street.called.take(), BTreeSet::from([0]), "nobody but who tells");
    // It is stopped.
    let again = port.due[1];
    assert_eq!(again, ms(1) + Duration::from_secs(2));
    port.hears(again, 1, false);
    assert_eq!(port.told(2001), [(1, "denied".into(), 1, 1)]);
    // And back: it tells again, and has told.
    port.hears(ms(3000), 0, false);
    assert_eq!(port.told(3000), [(0, "denied".into(), 1, 1)]);
    port.passes(3000, 20_000);
    assert_eq!(port.told(20_000), [(0, "denied".into(), 1, 1)]);
}

/// Where they write to different places, each place has all once.
#[test]
fn every_place_is_written_to_once() {
    let mut port = Port::new(1);
    [5, 5, 6, 5].into_iter().for_each(|place| port.comes(place));
    for n in 0..12_u16 {
        port.sees(ms(u64::from(n)), usize::from(n % 5), 8000 + n);
    }
    port.passes(100, 3000);
    assert_eq!(port.told(3000).len(), 1);
    assert_eq!(port.written(0, 1), ["syn scan"]);
    port.dies(1);
    port.sees_of("10.0.0.8", ms(3000), 0, 22);
    (2..5).for_each(|slot| port.hears(ms(3000), slot, false));
    port.passes(3100, 6000);
    assert_eq!(port.written(2, 2), ["syn scan", "denied"]);
    assert_eq!(port.written(1, 1), ["denied"], "who goes on for the dead one");
    assert_eq!([port.written(0, 1).len(), port.written(3, 0).len()], [1, 0]);
}

/// Whose numbers lead to the same place among the voices.
#[test]
fn places_whose_numbers_meet_have_all_of_them() {
    let mut port = Port::new(1);
    [5, 5 + u64::from(af_xdp::SLOTS)].into_iter().for_each(|place| port.comes(place));
    for n in 0..3_u16 {
        let at = u64::from(n) * 3000;
        port.sees_of(&format!("10.0.0.{n}"), ms(at), 0, 22);
        port.passes(at + 100, at + 3000);
    }
    assert_eq!([port.written(0, 3), port.written(1, 3)], [["denied"; 3]; 2]);
}

/// To see whether a process lives takes system calls.
#[test]
fn however_many_there_are_few_are_looked_at() {
    let mut port = Port::new(250);
    port.street.asked.take();
    port.sees(ms(0), 249, 22);
    assert_eq!(port.street.called.borrow().clone(), BTreeSet::from([0]));
    assert!(port.street.asked.get() < 5, "{}", port.street.asked.get());
    port.offices[249].close(ms(1), &port.street);
    assert!(port.street.asked.get() < 12, "{}", port.street.asked.get());
}

#[test]
fn what_is_told_late_is_not_told_again_by_the_next() {
    let mut port = Port::new(2);
    [(0, 22), (100, 23)].into_iter().for_each(|(at, end)| port.sees(ms(at), 1, end));
    [100, 950].into_iter().for_each(|at| port.hears(ms(at), 0, false));
    let before = port.told(950);
    port.dies(0);
    port.hears(ms(1000), 1, false);
    let numbers =
        |told: Vec<(usize, String, u64, u64)>| told.into_iter().map(|alert| alert.3).collect::<Vec<_>>();
    assert_eq!(numbers(port.told(1000)), numbers(before), "what was told is remembered");
    port.passes(1000, 5000);
    assert_eq!(numbers(port.told(5000)), [1, 2]);
}

/// Of whoever was killed while it wrote, nothing comes any more: nothing else calls those who wait for it.
#[test]
fn what_lies_behind_a_record_that_never_comes_is_told_soon() {
    let mut port = Port::new(2);
    port.shared.log[0].fetch_add(1, Ordering::Relaxed);
    port.sees(ms(0), 1, 22);
    port.passes(0, 3000);
    assert_eq!(port.told(3000), [(0, "denied".into(), 1, 1)]);
}

/// All words are memory that every process of the port writes to.
#[test]
fn what_another_writes_there_keeps_nobody() {
    // What was long ago is no part of what is now.
    for (at, told) in [(Instant::NEVER, 2), (Instant::from_nanos(1 << 60), 2), (Instant::ZERO, 3)] {
        let mut port = Port::new(2);
        let mut early = seen("10.0.0.7", "10.77.0.1:22", SYN);
        early.process = port.offices[1].process().clone();
        port.offices[1].saw(at, early.clone(), u64::MAX);
        port.offices[1].saw(Instant::NEVER, early, u64::MAX);
        let now = 1 << 40;
        port.sees(ms(now), 1, 22);
        port.passes(now, now + 3000);
        assert_eq!(port.told(now + 3000).len(), told, "{at:?}");
    }
    for word in [u64::MAX, u64::MAX - 1, 1 << 63, 1] {
        let mut port = Port::new(2);
        port.sees(ms(0), 1, 22);
        port.shared.seats.iter().chain(port.shared.log).for_each(|one| one.store(word, Ordering::Relaxed));
        port.street.dead.insert(word);
        port.sees(ms(1), 1, 23);
        port.passes(1, 5000);
        port.comes(0);
        port.sees(ms(5000), 2, 24);
        port.passes(5000, 9000);
        (0..3).for_each(|slot| port.offices[slot].close(ms(9000), &port.street));
    }
}

/// What a program told that has ended is not told by the next one.
#[test]
fn the_last_one_leaves_nothing_untold() {
    let mut port = Port::new(1);
    port.sees(ms(0), 0, 22);
    port.offices[0].close(ms(50), &port.street);
    port.dies(0);
    port.comes(0);
    port.hears(ms(5000), 1, false);
    assert_eq!(port.told(5000), []);
}

/// One who leaves while others are there leaves what waits to them.
#[test]
fn who_leaves_calls_the_next() {
    let mut port = Port::new(2);
    port.sees(ms(0), 0, 22);
    port.offices[0].close(ms(50), &port.street);
    assert_eq!(port.street.called.borrow().clone(), BTreeSet::from([1]));
    port.dies(0);
    port.passes(100, 3000);
    assert_eq!(port.told(3000), [(1, "denied".into(), 1, 1)]);
}
