//! The interest lists and ready lists of all epoll sets, for the files that the kernel's epoll cannot see.
//!
//! The rules are those of Linux's `fs/eventpoll.c`: an item is linked to its set's ready list when something
//! happens to its file; a wait unlinks it, asks the file what it is ready for *now*, reports that, and links
//! it again if it is level-triggered. Everything is O(1) but the wait, which is O(what it looks at).

use libc::c_int;

const NONE: u32 = u32::MAX;
/// Sets in sets in sets; the kernel refuses deeper ones (EP_MAX_NESTS).
const MAX_NESTS: u32 = 4;

/// The bits that are no events (EPOLLWAKEUP, EPOLLONESHOT, EPOLLET, EPOLLEXCLUSIVE).
const PRIVATE: u32 = 1 << 29 | ONESHOT | ET | EXCLUSIVE;
pub(super) const EXCLUSIVE: u32 = 1 << 28;
pub(super) const ONESHOT: u32 = libc::EPOLLONESHOT as u32;
pub(super) const ET: u32 = libc::EPOLLET as u32;
const ALWAYS: u32 = (libc::EPOLLERR | libc::EPOLLHUP) as u32;
/// What an exclusive item may ask for.
const EXCLUSIVE_OK: u32 = ALWAYS | (libc::EPOLLIN | libc::EPOLLOUT) as u32 | 1 << 29 | ET | EXCLUSIVE;

/// A neighbour in a list.
#[derive(Clone, Copy)]
struct Link {
    before: u32,
    after: u32,
}

const UNLINKED: Link = Link { before: NONE, after: NONE };

/// Who watches a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum World {
    /// The kernel's epoll alone: the socket is not accelerated (yet).
    Kernel,
    /// This list alone: an accelerated connection.
    Ours,
    /// Both: a listener, a UDP socket, an epoll set in the set.
    Both,
}

/// A descriptor in a set. Keyed by descriptor and file, as in Linux.
#[derive(Clone, Copy)]
pub(crate) struct Item {
    set: u32,
    file: u32,
    /// The descriptor it was added by.
    pub(crate) fd: c_int,
    /// What is asked for, with the private bits.
    pub(crate) events: u32,
    /// What the application hung on it.
    pub(crate) data: u64,
    /// News of the file's kernel side, until they are reported.
    kernel: u32,
    /// Who watches it.
    pub(crate) world: World,
    ready: bool,
    live: bool,
    by_ready: Link,
    by_file: Link,
    by_set: Link,
}

#[derive(Clone, Copy)]
struct Set {
    /// The slot of the set's own file.
    file: u32,
    fd: c_int,
    items: u32,
    /// Items that are not the kernel's alone.
    ours: u32,
    first_ready: u32,
    last_ready: u32,
    ready: u32,
}

/// All items of all sets.
#[derive(Default)]
pub(crate) struct Interests {
    items: Vec<Item>,
    free_items: Vec<u32>,
    sets: Vec<Set>,
    free_sets: Vec<u32>,
    by_file: Vec<u32>,
}

/// What a wait reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    /// What happened.
    pub(crate) events: u32,
    /// What the application hung on the descriptor.
    pub(crate) data: u64,
}

/// What a wait asks of its caller while it walks the ready list.
pub(crate) trait Report {
    /// What the file in this slot is ready for now, in epoll's bits; not asked of epoll sets.
    fn readiness(&mut self, file: u32) -> u32;
    /// The set that this file is, if it is one.
    fn set_of(&self, file: u32) -> Option<u32>;
    /// Takes an event; false when the application's memory is not there.
    fn event(&mut self, event: Event) -> bool;
    /// A one-shot item that the kernel watches too has fired: it must not fire there.
    fn disarm(&mut self, item: u32, fd: c_int);
}

impl Interests {
    /// A new, empty set, whose file is in this slot, named by `fd`.
    pub(crate) fn create(&mut self, file: u32, fd: c_int) -> u32 {
        let set = Set { file, fd, items: NONE, ours: 0, first_ready: NONE, last_ready: NONE, ready: 0 };
        match self.free_sets.pop() {
            Some(index) => {
                self.sets[index as usize] = set;
                index
            }
            None => {
                self.sets.push(set);
                self.sets.len() as u32 - 1
            }
        }
    }

    /// The set's descriptor was closed.
    pub(crate) fn destroy(&mut self, set: u32) {
        while self.sets[set as usize].items != NONE {
            self.unlink(self.sets[set as usize].items);
        }
        self.free_sets.push(set);
    }

    /// The item of this descriptor and file in `set`.
    pub(crate) fn find(&self, set: u32, fd: c_int, file: u32) -> Option<u32> {
        self.of_file(file).find(|i| {
            let item = &self.items[*i as usize];
            item.set == set && item.fd == fd
        })
    }

    /// The item itself.
    pub(crate) fn item(&self, index: u32) -> Option<&Item> {
        self.items.get(index as usize).filter(|i| i.live)
    }

    /// Says who watches the item's descriptor from now on.
    pub(crate) fn set_world(&mut self, index: u32, world: World) {
        let item = &mut self.items[index as usize];
        let before = core::mem::replace(&mut item.world, world);
        let ours = &mut self.sets[item.set as usize].ours;
        *ours += u32::from(world != World::Kernel);
        *ours -= u32::from(before != World::Kernel);
    }

    /// Whether the set has items that are not the kernel's alone.
    pub(crate) fn has_ours(&self, set: u32) -> bool {
        self.sets[set as usize].ours != 0
    }

    /// The items of a file, over all sets.
    pub(crate) fn of_file(&self, file: u32) -> impl Iterator<Item = u32> + '_ {
        let mut next = self.by_file.get(file as usize).copied().unwrap_or(NONE);
        core::iter::from_fn(move || {
            let item = (next != NONE).then_some(next)?;
            next = self.items[item as usize].by_file.after;
            Some(item)
        })
    }

    /// EPOLL_CTL_ADD. `now` is what the file is ready for.
    ///
    /// # Errors
    /// EEXIST; EINVAL for an exclusive item with other flags.
    pub(crate) fn add(&mut self, set: u32, key: (c_int, u32), event: Event, now: u32) -> Result<u32, c_int> {
        let (fd, file) = key;
        if event.events & EXCLUSIVE != 0 && event.events & !EXCLUSIVE_OK != 0 {
            return Err(libc::EINVAL);
        }
        if self.find(set, fd, file).is_some() {
            return Err(libc::EEXIST);
        }
        let item = Item {
            set,
            file,
            fd,
            events: event.events | ALWAYS,
            data: event.data,
            kernel: 0,
            world: World::Kernel,
            ready: false,
            live: true,
            by_ready: UNLINKED,
            by_file: UNLINKED,
            by_set: UNLINKED,
        };
        let index = match self.free_items.pop() {
            Some(index) => {
                self.items[index as usize] = item;
                index
            }
            None => {
                self.items.push(item);
                self.items.len() as u32 - 1
            }
        };
        self.link_to_file(index, file);
        self.link_to_set(index, set);
        if now & self.items[index as usize].events != 0 {
            self.link_ready(index);
        }
        Ok(index)
    }

    /// EPOLL_CTL_MOD. `now` is what the file is ready for.
    ///
    /// # Errors
    /// EINVAL when either is exclusive.
    pub(crate) fn modify(&mut self, index: u32, event: Event, now: u32) -> Result<(), c_int> {
        let item = &mut self.items[index as usize];
        if (item.events | event.events) & EXCLUSIVE != 0 {
            return Err(libc::EINVAL);
        }
        item.events = event.events | ALWAYS;
        item.data = event.data;
        if now & item.events != 0 {
            self.link_ready(index);
        }
        Ok(())
    }

    /// Puts an armed item on its set's ready list: the next wait looks at it.
    pub(crate) fn link(&mut self, index: u32) {
        if !self.is_disarmed(index) {
            self.link_ready(index);
        }
    }

    /// The slot of the file of the set that the item is in, and the descriptor that the set was made with.
    pub(crate) fn set_behind(&self, index: u32) -> (u32, c_int) {
        let set = &self.sets[self.items[index as usize].set as usize];
        (set.file, set.fd)
    }

    /// The set that the item is in.
    pub(crate) fn set_of_item(&self, index: u32) -> Option<u32> {
        self.item(index).map(|item| item.set)
    }

    /// EPOLL_CTL_DEL.
    pub(crate) fn remove(&mut self, index: u32) {
        self.unlink(index);
    }

    /// The last descriptor of a file was closed: it leaves all sets.
    pub(crate) fn forget_file(&mut self, file: u32) {
        while let Some(&head) = self.by_file.get(file as usize)
            && head != NONE
        {
            self.unlink(head);
        }
    }

    /// Something happened to a file: `events` says what (zero: unknown). Calls `woken` with each set whose
    /// ready list was empty before; the sets that such a set is in are woken too.
    pub(crate) fn wake(&mut self, file: u32, events: u32, woken: &mut dyn FnMut(u32)) {
        self.wake_at(file, events, woken, MAX_NESTS);
    }

    fn wake_at(&mut self, file: u32, events: u32, woken: &mut dyn FnMut(u32), depth: u32) {
        let mut next = self.by_file.get(file as usize).copied().unwrap_or(NONE);
        while next != NONE {
            let item = self.items[next as usize];
            let armed = item.world != World::Kernel && !self.is_disarmed(next);
            if armed && (events == 0 || events & item.events != 0) {
                self.link_and_tell(next, woken, depth);
            }
            next = item.by_file.after;
        }
    }

    fn link_and_tell(&mut self, index: u32, woken: &mut dyn FnMut(u32), depth: u32) {
        let set = self.items[index as usize].set;
        let first = self.sets[set as usize].ready == 0;
        self.link_ready(index);
        if first {
            woken(set);
            if depth > 0 {
                self.wake_at(self.sets[set as usize].file, libc::EPOLLIN as u32, woken, depth - 1);
            }
        }
    }

    /// The kernel's epoll reported `events` for the descriptor of an item.
    pub(crate) fn wake_from_kernel(&mut self, index: u32, events: u32) {
        if self.item(index).is_some() && !self.is_disarmed(index) {
            self.items[index as usize].kernel = events;
            self.link_ready(index);
        }
    }

    fn is_disarmed(&self, index: u32) -> bool {
        self.items[index as usize].events & !PRIVATE == 0
    }

    /// Items on the set's ready list: each may be ready, none that is not on it is.
    pub(crate) fn ready(&self, set: u32) -> u32 {
        self.sets[set as usize].ready
    }

    /// The items of a set.
    pub(crate) fn of_set(&self, set: u32) -> impl Iterator<Item = u32> + '_ {
        let mut next = self.sets[set as usize].items;
        core::iter::from_fn(move || {
            let item = (next != NONE).then_some(next)?;
            next = self.items[item as usize].by_set.after;
            Some(item)
        })
    }

    /// Whether a wait on the set would report something, without reporting it. Items that turn out not to
    /// be ready leave the list.
    pub(crate) fn peek(&mut self, set: u32, report: &mut impl Report) -> bool {
        while self.sets[set as usize].first_ready != NONE {
            let index = self.sets[set as usize].first_ready;
            let item = self.items[index as usize];
            if (self.ready_now(&item, report) | item.kernel) & item.events != 0 {
                return true;
            }
            self.unlink_ready(index);
        }
        false
    }

    fn ready_now(&mut self, item: &Item, report: &mut impl Report) -> u32 {
        match report.set_of(item.file) {
            // The kernel refuses loops of sets, so this ends.
            Some(set) if self.peek(set, report) => (libc::EPOLLIN | libc::EPOLLRDNORM) as u32,
            Some(_) => 0,
            // What it is ready for the kernel tells.
            None if item.world == World::Kernel => 0,
            None => report.readiness(item.file),
        }
    }

    /// Reports up to `max` events of `set`. Answers how many, and whether the application's memory was bad.
    pub(crate) fn collect(&mut self, set: u32, max: usize, report: &mut impl Report) -> (usize, bool) {
        let mut found = 0;
        for _ in 0..self.sets[set as usize].ready {
            if found == max {
                break;
            }
            let index = self.sets[set as usize].first_ready;
            self.unlink_ready(index);
            let item = self.items[index as usize];
            let events = (self.ready_now(&item, report) | item.kernel) & item.events & !PRIVATE;
            self.items[index as usize].kernel = 0;
            if events == 0 {
                continue;
            }
            if !report.event(Event { events, data: item.data }) {
                self.items[index as usize].kernel = item.kernel;
                self.link_ready_first(index);
                return (found, true);
            }
            found += 1;
            if item.events & ONESHOT != 0 {
                self.items[index as usize].events &= PRIVATE;
                if item.world == World::Both {
                    report.disarm(index, item.fd);
                }
            } else if item.events & ET == 0 {
                self.link_ready(index);
            }
        }
        (found, false)
    }

    fn unlink(&mut self, index: u32) {
        self.unlink_ready(index);
        self.set_world(index, World::Kernel);
        let item = self.items[index as usize];
        let Link { before, after } = item.by_file;
        match before {
            NONE => self.by_file[item.file as usize] = after,
            _ => self.items[before as usize].by_file.after = after,
        }
        if after != NONE {
            self.items[after as usize].by_file.before = before;
        }
        let Link { before, after } = item.by_set;
        match before {
            NONE => self.sets[item.set as usize].items = after,
            _ => self.items[before as usize].by_set.after = after,
        }
        if after != NONE {
            self.items[after as usize].by_set.before = before;
        }
        self.items[index as usize].live = false;
        self.free_items.push(index);
    }

    fn link_to_file(&mut self, index: u32, file: u32) {
        if self.by_file.len() <= file as usize {
            self.by_file.resize(file as usize + 1, NONE);
        }
        let head = core::mem::replace(&mut self.by_file[file as usize], index);
        self.items[index as usize].by_file.after = head;
        if head != NONE {
            self.items[head as usize].by_file.before = index;
        }
    }

    fn link_to_set(&mut self, index: u32, set: u32) {
        let head = core::mem::replace(&mut self.sets[set as usize].items, index);
        self.items[index as usize].by_set.after = head;
        if head != NONE {
            self.items[head as usize].by_set.before = index;
        }
    }

    fn link_ready(&mut self, index: u32) {
        if core::mem::replace(&mut self.items[index as usize].ready, true) {
            return;
        }
        let set = &mut self.sets[self.items[index as usize].set as usize];
        set.ready += 1;
        let last = core::mem::replace(&mut set.last_ready, index);
        match last {
            NONE => set.first_ready = index,
            _ => self.items[last as usize].by_ready.after = index,
        }
        self.items[index as usize].by_ready = Link { before: last, after: NONE };
    }

    fn link_ready_first(&mut self, index: u32) {
        self.items[index as usize].ready = true;
        let set = &mut self.sets[self.items[index as usize].set as usize];
        set.ready += 1;
        let first = core::mem::replace(&mut set.first_ready, index);
        match first {
            NONE => set.last_ready = index,
            _ => self.items[first as usize].by_ready.before = index,
        }
        self.items[index as usize].by_ready = Link { before: NONE, after: first };
    }

    fn unlink_ready(&mut self, index: u32) {
        if !core::mem::replace(&mut self.items[index as usize].ready, false) {
            return;
        }
        let item = self.items[index as usize];
        let Link { before, after } = item.by_ready;
        self.sets[item.set as usize].ready -= 1;
        match before {
            NONE => self.sets[item.set as usize].first_ready = after,
            _ => self.items[before as usize].by_ready.after = after,
        }
        match after {
            NONE => self.sets[item.set as usize].last_ready = before,
            _ => self.items[after as usize].by_ready.before = before,
        }
    }
}
