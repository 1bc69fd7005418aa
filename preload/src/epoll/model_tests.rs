//! Our list against the kernel's epoll: the same calls on both, the same events out of both.
//!
//! The files are socket pairs. What a file is ready for is read from the kernel (`poll`), so the two lists are
//! asked about the same facts; what is compared is the bookkeeping: level and edge, one-shot, change, order.

use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

use proptest::prelude::*;

use super::interests::{ET, Event, Interests, ONESHOT, Report, World};
use crate::kernel;

const FILES: usize = 3;
const IN: u32 = libc::EPOLLIN as u32;
const OUT: u32 = libc::EPOLLOUT as u32;
const RDHUP: u32 = libc::EPOLLRDHUP as u32;

#[derive(Clone, Debug)]
enum Step {
    Add(usize, u32),
    Modify(usize, u32),
    Delete(usize),
    /// The peer writes this many bytes.
    Write(usize, usize),
    /// The file's owner reads everything.
    Drain(usize),
    /// The peer shuts its sending side.
    Shut(usize),
    Wait(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let file = 0..FILES;
    let events = prop::sample::select(vec![
        IN,
        IN | ET,
        IN | OUT,
        IN | OUT | ET,
        IN | ONESHOT,
        IN | ET | ONESHOT,
        IN | RDHUP | ET,
        OUT | ET,
        OUT,
        0,
    ]);
    let step = prop_oneof![
        (file.clone(), events.clone()).prop_map(|(f, e)| Step::Add(f, e)),
        (file.clone(), events).prop_map(|(f, e)| Step::Modify(f, e)),
        file.clone().prop_map(Step::Delete),
        (file.clone(), 1usize..4).prop_map(|(f, n)| Step::Write(f, n)),
        file.clone().prop_map(Step::Drain),
        file.prop_map(Step::Shut),
        (1usize..4).prop_map(Step::Wait),
        (1usize..4).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 1..60)
}

/// What `poll` says of a descriptor, in epoll's bits.
fn facts(fd: i32) -> u32 {
    let all = libc::POLLIN | libc::POLLOUT | libc::POLLRDHUP | libc::POLLRDNORM | libc::POLLWRNORM;
    let mut entry = libc::pollfd { fd, events: all, revents: 0 };
    // SAFETY: one entry.
    unsafe { libc::poll(&raw mut entry, 1, 0) };
    entry.revents as u16 as u32
}

struct Taken {
    fds: [i32; FILES],
    events: Vec<Event>,
}

impl Report for Taken {
    fn readiness(&mut self, file: u32) -> u32 {
        facts(self.fds[file as usize])
    }
    fn set_of(&self, _: u32) -> Option<u32> {
        None
    }
    fn event(&mut self, event: Event) -> bool {
        self.events.push(event);
        true
    }
    fn disarm(&mut self, _: u32, _: i32) {}
}

struct Pair {
    theirs: i32,
    ours: Interests,
    set: u32,
    files: Vec<(UnixStream, UnixStream)>,
    fds: [i32; FILES],
}

impl Pair {
    fn new() -> Self {
        let files: Vec<_> = (0..FILES).map(|_| UnixStream::pair().unwrap()).collect();
        files.iter().for_each(|(own, _)| own.set_nonblocking(true).unwrap());
        let fds = [files[0].0.as_raw_fd(), files[1].0.as_raw_fd(), files[2].0.as_raw_fd()];
        let mut ours = Interests::default();
        let set = ours.create(99, -1);
        Self { theirs: kernel::epoll_create1(0).unwrap(), ours, set, files, fds }
    }

    fn wake(&mut self, file: usize, events: u32) {
        self.ours.wake(file as u32, events, &mut |_| ());
    }

    fn control(&mut self, operation: i32, file: usize, events: u32) {
        let (fd, data) = (self.fds[file], file as u64 + 7);
        let theirs = kernel::epoll_ctl(self.theirs, operation, fd, events, data).map_err(|e| e.0);
        let now = facts(fd);
        let event = Event { events, data };
        let item = self.ours.find(self.set, fd, file as u32);
        let ours = match (operation, item) {
            (libc::EPOLL_CTL_ADD, _) => self.ours.add(self.set, (fd, file as u32), event, now).map(|index| {
                self.ours.set_world(index, World::Ours);
            }),
            (_, None) => Err(libc::ENOENT),
            (libc::EPOLL_CTL_MOD, Some(index)) => self.ours.modify(index, event, now),
            (_, Some(index)) => {
                self.ours.remove(index);
                Ok(())
            }
        };
        assert_eq!(ours, theirs, "operation {operation} on {file}");
    }

    fn wait(&mut self, max: usize) {
        let mut room = vec![libc::epoll_event { events: 0, u64: 0 }; max];
        let n = kernel::epoll_look(self.theirs, &mut room).unwrap();
        let mut taken = Taken { fds: self.fds, events: Vec::new() };
        self.ours.collect(self.set, max, &mut taken);
        let theirs: Vec<(u64, u32)> = room[..n].iter().map(|e| (e.u64, e.events)).collect();
        let ours: Vec<(u64, u32)> = taken.events.iter().map(|e| (e.data, e.events)).collect();
        assert_eq!(ours, theirs);
    }

    fn run(&mut self, step: &Step) {
        match *step {
            Step::Add(file, events) => self.control(libc::EPOLL_CTL_ADD, file, events),
            Step::Modify(file, events) => self.control(libc::EPOLL_CTL_MOD, file, events),
            Step::Delete(file) => self.control(libc::EPOLL_CTL_DEL, file, 0),
            Step::Write(file, n) => {
                if self.files[file].1.write(&vec![1; n]).is_ok() {
                    self.wake(file, IN | libc::EPOLLRDNORM as u32);
                }
            }
            Step::Drain(file) => {
                let mut sink = [0; 256];
                while self.files[file].0.read(&mut sink).is_ok_and(|n| n == sink.len()) {}
            }
            Step::Shut(file) => {
                let _ = self.files[file].1.shutdown(std::net::Shutdown::Write);
                self.wake(file, 0);
            }
            Step::Wait(max) => self.wait(max),
        }
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        let _ = kernel::close(self.theirs);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn our_list_reports_what_the_kernels_reports(steps in steps()) {
        let mut pair = Pair::new();
        for step in &steps {
            pair.run(step);
        }
        for _ in 0..4 {
            pair.wait(FILES);
        }
    }
}

#[test]
fn a_closed_file_leaves_all_sets_and_a_destroyed_set_leaves_all_files() {
    let mut interests = Interests::default();
    let (a, b) = (interests.create(50, -1), interests.create(51, -1));
    for set in [a, b] {
        for file in 0..3 {
            let event = Event { events: IN, data: u64::from(file) };
            interests.add(set, (file as i32, file), event, IN).unwrap();
        }
    }
    assert_eq!((interests.ready(a), interests.ready(b)), (3, 3));
    interests.forget_file(1);
    assert_eq!((interests.ready(a), interests.ready(b)), (2, 2));
    assert_eq!(interests.of_file(1).count(), 0);
    interests.destroy(a);
    assert_eq!(interests.of_file(0).count(), 1);
    assert_eq!(interests.of_set(b).count(), 2);
    assert_eq!(interests.create(50, -1), a, "the slot is used again");
    assert_eq!(interests.ready(a), 0);
}

#[test]
fn a_set_in_a_set_is_woken_and_looked_into() {
    struct Both(u32, u32);
    impl Report for Both {
        fn readiness(&mut self, _: u32) -> u32 {
            self.1
        }
        fn set_of(&self, file: u32) -> Option<u32> {
            (file == 50).then_some(self.0)
        }
        fn event(&mut self, _: Event) -> bool {
            true
        }
        fn disarm(&mut self, _: u32, _: i32) {}
    }
    let mut interests = Interests::default();
    let (inner, outer) = (interests.create(50, -1), interests.create(51, -1));
    let own = interests.add(inner, (3, 3), Event { events: IN, data: 1 }, 0).unwrap();
    let nested = interests.add(outer, (50, 50), Event { events: IN, data: 2 }, 0).unwrap();
    interests.set_world(own, World::Ours);
    interests.set_world(nested, World::Both);
    let mut woken = Vec::new();
    interests.wake(3, IN, &mut |set| woken.push(set));
    assert_eq!(woken, [inner, outer]);
    assert_eq!(interests.collect(outer, 4, &mut Both(inner, IN)).0, 1);
    assert_eq!(interests.collect(outer, 4, &mut Both(inner, 0)).0, 0, "what the inner set had is gone");
    assert_eq!(interests.ready(outer), 0);
}

#[test]
fn an_exclusive_item_is_refused_as_the_kernel_refuses_it() {
    let mut interests = Interests::default();
    let set = interests.create(50, -1);
    let exclusive = |events| Event { events: events | 1 << 28, data: 0 };
    assert_eq!(interests.add(set, (1, 1), exclusive(IN | ONESHOT), 0), Err(libc::EINVAL));
    let index = interests.add(set, (1, 1), exclusive(IN | ET), 0).unwrap();
    assert_eq!(interests.modify(index, Event { events: IN, data: 0 }, 0), Err(libc::EINVAL));
}
