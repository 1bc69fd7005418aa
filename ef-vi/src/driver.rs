//! An adapter, as a NIC.

use std::cell::RefCell;
use std::collections::HashMap;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use nic::{Burst, Caps, Doorbell, Nic, Own, Pool, TxChecksum, TxPkt};
use rustix::event::{EventfdFlags, eventfd};
use rustix::io::fcntl_dupfd_cloexec;

use crate::backlog::Backlog;
use crate::counters::EfViCounters;
use crate::event::Event;
use crate::options::{Filter, Options};
use crate::vi::{Cookie, Vi};
use crate::{Error, Step};

/// The shortest frame that is sent: a link header.
const SHORTEST: usize = 14;
/// Frames that stay out of the receive ring, for sending: one in so many.
const RESERVE: usize = 64;

/// A virtual interface of an adapter that ef_vi drives.
///
/// Frames are sent as they are: no checksum is left to the adapter. What it receives is led here by filters
/// ([`EfVi::add_filter`]); without any, everything is the kernel's.
#[derive(Debug)]
pub struct EfVi {
    /// What the adapter has told is taken also where only a look was asked for ([`Nic::rx_pending`]).
    inner: RefCell<Inner>,
    filters: HashMap<Filter, Cookie>,
    caps: Caps,
    mac: [u8; 6],
    /// The adapter's descriptor, and the bell for what it told already.
    fds: [RawFd; 2],
    bell: Own,
}

/// What is driven.
#[derive(Debug)]
struct Inner {
    vi: Vi,
    /// What came and was not asked for yet.
    backlog: Backlog,
    /// Frames that were sent, to be booked.
    sent: Vec<u32>,
    /// Frames under way.
    sending: usize,
    /// Frames posted, and how many of them there may be, with those that wait.
    posted: usize,
    most: usize,
    /// Frames there are.
    frames: usize,
    /// Those that stay in the pool.
    reserve: usize,
    rung: bool,
    /// The adapter has stopped for good.
    halted: bool,
    counters: EfViCounters,
}

/// Whether there was one, which is gone now.
fn one_fewer(of: &mut usize) -> bool {
    let is_some = *of > 0;
    *of -= usize::from(is_some);
    is_some
}

impl EfVi {
    /// Opens the adapter of `interface` and posts frames of the pool. Every call has to come with that pool. They go
    /// together: frames that an adapter has when it is dropped stay booked as its own.
    ///
    /// # Errors
    /// The step that failed, the reason, and what to do.
    pub fn open(interface: &str, pool: &mut Pool, options: &Options) -> Result<Self, Error> {
        let vi = Vi::open(interface, pool.arena(), options)?;
        let mac = vi.mac().map_err(|error| error.on(interface))?;
        let bell = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)
            .map_err(|error| Error::new(Step::Bell, error.into()).on(interface))?;
        // Where there is no such number left it stays where it is.
        let high = options.lowest_fd.and_then(|lowest| fcntl_dupfd_cloexec(&bell, lowest).ok());
        let bell = Own::new(high.unwrap_or(bell));
        let room =
            if vi.has_superbuffers() { pool.payload_capacity() } else { pool.frame_size() - vi.prefix() };
        let caps = Caps { tx_checksum: false, max_frame: vi.mtu().min(room) };
        let frames = pool.frames() as usize;
        let most = if vi.has_superbuffers() { 0 } else { vi.rx_capacity().min(frames / 2) };
        let mut inner = Inner {
            backlog: Backlog::new(most, vi.prefix(), pool.frame_size()),
            sent: Vec::with_capacity(2 * vi.tx_capacity()),
            sending: 0,
            posted: 0,
            most,
            frames,
            reserve: frames / RESERVE,
            rung: false,
            halted: false,
            counters: EfViCounters::default(),
            vi,
        };
        inner.refill(pool);
        let fds = [inner.vi.fd(), bell.as_raw_fd()];
        Ok(Self { inner: RefCell::new(inner), filters: HashMap::new(), caps, mac, fds, bell })
    }

    /// The link address.
    #[must_use]
    pub fn mac(&self) -> [u8; 6] {
        self.mac
    }

    /// Whether it has stopped for good: nothing comes any more but what it had told of, and what is to be sent is dropped.
    #[must_use]
    pub fn is_halted(&self) -> bool {
        self.inner.borrow().halted
    }

    /// What was counted since it was opened.
    #[must_use]
    pub fn counters(&self) -> EfViCounters {
        self.inner.borrow().counters
    }

    /// Leads what matches here; the kernel hears no more of it.
    ///
    /// # Errors
    /// When the adapter cannot, or has no room for it.
    pub fn add_filter(&mut self, filter: Filter) -> Result<(), Error> {
        if !self.filters.contains_key(&filter) {
            let cookie = self.inner.get_mut().vi.add_filter(filter)?;
            self.filters.insert(filter, cookie);
        }
        Ok(())
    }

    /// Leaves it to the kernel again. What was not led here changes nothing.
    ///
    /// # Errors
    /// When the adapter cannot.
    pub fn remove_filter(&mut self, filter: Filter) -> Result<(), Error> {
        match self.filters.remove(&filter) {
            Some(cookie) => self.inner.get_mut().vi.remove_filter(cookie),
            None => Ok(()),
        }
    }

    /// Leaves everything to the kernel again, as far as the adapter can.
    pub fn remove_filters(&mut self) {
        for (_, cookie) in self.filters.drain() {
            // It may have lost them by itself.
            let _ = self.inner.get_mut().vi.remove_filter(cookie);
        }
    }

    /// Before a sleep: the descriptors become readable when there is something to receive, or is already. Also when
    /// frames have been sent: of those the adapter tells in the same queue, so whoever sends and sleeps wakes once more.
    fn prime(&self) {
        let inner = &mut *self.inner.borrow_mut();
        inner.look();
        if inner.backlog.is_empty() {
            inner.silence(&self.bell);
        } else if !inner.rung {
            inner.rung = rustix::io::write(&self.bell, &1u64.to_ne_bytes()).is_ok();
        }
        inner.vi.prime();
    }
}

impl Inner {
    /// Takes what the adapter has to tell, while there is room for it. Says whether there may be more.
    fn poll(&mut self) -> bool {
        let room_for_sent = self.sent.capacity() - self.sent.len() >= self.sending;
        if self.halted || !self.backlog.has_room() || !room_for_sent {
            return false;
        }
        let Self { vi, backlog, sent, sending, posted, frames, halted, counters, .. } = self;
        let exists = |frame: u32| (frame as usize) < *frames;
        vi.poll(|event| match event {
            Event::Filled { frame, end, seen } if exists(frame) && one_fewer(posted) => {
                backlog.filled(frame, end, seen, counters);
            }
            Event::Held { packet, len, seen } => backlog.held(packet, len, seen),
            Event::Sent { frame, ctpio, failed } if exists(frame) && one_fewer(sending) => {
                sent.push(frame);
                counters.tx_ctpio += u64::from(ctpio);
                counters.tx_failed += u64::from(failed);
            }
            Event::Truncated => counters.rx_truncated += 1,
            // What it does not have it cannot be done with: it is not asked again.
            Event::Filled { .. } | Event::Sent { .. } | Event::Halted => {
                counters.halted += u64::from(!*halted);
                *halted = true;
            }
            Event::Other => counters.events_unknown += 1,
        })
    }

    /// Polls until a frame waits, or there is nothing more.
    fn look(&mut self) {
        while self.backlog.is_empty() && self.poll() {}
    }

    /// Books what was sent.
    fn book(&mut self, pool: &mut Pool) {
        self.sent.drain(..).for_each(|frame| pool.returned(frame));
    }

    /// Posts frames, as many at a time as the adapter takes: what is less would wait unseen.
    fn refill(&mut self, pool: &mut Pool) {
        if self.halted {
            return;
        }
        let batch = crate::vi::POSTED_AT_A_TIME;
        let mut pushed = true;
        while self.posted + self.backlog.frames() + batch <= self.most && self.vi.has_room_to_post(batch) {
            if self.backlog.spare() + pool.in_stock().saturating_sub(self.reserve) < batch {
                self.counters.rx_starved += 1;
                break;
            }
            for _ in 0..batch {
                let Some(frame) = self.backlog.take_spare().or_else(|| pool.to_nic()) else { break };
                self.vi.post(frame);
                self.posted += 1;
            }
            pushed = false;
        }
        if !pushed {
            self.vi.push_posted();
        }
    }

    /// The bell has been heard.
    fn silence(&mut self, bell: &OwnedFd) {
        if self.rung {
            self.rung = false;
            // There is a number in it, and what it is does not matter.
            let _ = rustix::io::read(bell, &mut [0u8; 8]);
        }
    }

    fn transmit(&mut self, pool: &Pool, frame: &TxPkt) -> bool {
        // One that overtakes those before it would come out of order.
        let taken = if self.sending == 0 && self.vi.is_small(frame.len()) {
            let taken = self.vi.send_small(frame.frame(), frame.offset(), pool.lent_bytes(frame));
            self.counters.tx_small += u64::from(taken);
            taken
        } else {
            self.vi.send(frame.frame(), frame.offset(), frame.len())
        };
        self.sending += usize::from(taken);
        taken
    }
}

impl Nic for EfVi {
    fn caps(&self) -> Caps {
        self.caps
    }

    fn rx(&mut self, pool: &mut Pool, burst: &mut Burst, max: usize) -> usize {
        let before = burst.len();
        let inner = self.inner.get_mut();
        let mut left = max;
        loop {
            left -= inner.backlog.take(&mut inner.vi, pool, burst, left, &mut inner.counters);
            if left == 0 {
                break;
            }
            // The last poll may have brought frames, also where it says that nothing is left.
            if !inner.poll() && inner.backlog.is_empty() {
                break;
            }
        }
        inner.refill(pool);
        inner.book(pool);
        if inner.backlog.is_empty() {
            inner.silence(&self.bell);
        }
        inner.counters.rx_frames += (burst.len() - before) as u64;
        burst.len() - before
    }

    fn tx(&mut self, pool: &mut Pool, frame: TxPkt) -> Result<(), TxPkt> {
        let inner = self.inner.get_mut();
        let well =
            (SHORTEST..=self.caps.max_frame).contains(&frame.len()) && frame.checksum == TxChecksum::Complete;
        if !well || inner.halted {
            inner.counters.tx_rejected += 1;
            pool.take_back(frame);
            return Ok(());
        }
        if !inner.transmit(pool, &frame) {
            return Err(frame);
        }
        inner.counters.tx_frames += 1;
        // It is answered for when the adapter says that it was sent.
        frame.into_frame();
        Ok(())
    }

    fn kick(&mut self, pool: &mut Pool) -> Doorbell {
        self.inner.get_mut().vi.push();
        self.reap(pool);
        // From here on the adapter goes on by itself.
        Doorbell::Quiet
    }

    fn reap(&mut self, pool: &mut Pool) {
        let inner = self.inner.get_mut();
        if inner.sending > 0 {
            while inner.poll() {}
        }
        inner.book(pool);
    }

    fn rest(&mut self, pool: &mut Pool) {
        self.inner.get_mut().book(pool);
        // Whoever knows the descriptors by number does not ask for them before a sleep.
        self.prime();
    }

    fn count(&self, each: &mut dyn FnMut(&'static str, u64)) {
        self.inner.borrow().counters.each(each);
    }

    fn wait_fds(&self) -> &[RawFd] {
        self.prime();
        &self.fds
    }

    fn rx_pending(&self) -> bool {
        let inner = &mut *self.inner.borrow_mut();
        inner.look();
        !inner.backlog.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;
    use crate::common::{End, PORT};

    fn rings(end: &End) -> bool {
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut [PollFd::new(&end.nic.bell, PollFlags::IN)], Some(&now)) == Ok(1)
    }

    /// The adapter has told of it already, and would not wake anybody for it again.
    #[test]
    fn what_came_while_it_sent_wakes_a_sleeper() {
        for kind in ["x2", "x3"] {
            let [mut a, mut b] = End::pair(kind, &format!("bell-{kind}"));
            a.send(b.ip, [1, PORT], 1);
            b.send(a.ip, [1, PORT], 2);
            assert!(
                !b.nic.inner.borrow().backlog.is_empty(),
                "{kind}: taken while the kick looked what was sent"
            );
            b.nic.wait_fds();
            assert!(rings(&b), "{kind}");
            b.nic.rest(&mut b.pool);
            assert!(rings(&b), "{kind}: twice is once");
            assert_eq!(b.received(), [1]);
            assert!(!rings(&b), "{kind}: all is taken");
            b.nic.wait_fds();
            assert!(!rings(&b), "{kind}: and nothing came");
        }
    }

    /// Whoever sleeps by its bell would wake for ever otherwise.
    #[test]
    fn what_came_before_it_stopped_is_received_and_the_bell_is_silent() {
        for kind in ["x2", "x3"] {
            let [mut a, mut b] = End::pair(kind, &format!("stopped-{kind}"));
            a.send(b.ip, [1, PORT], 1);
            b.send(a.ip, [1, PORT], 2);
            b.nic.wait_fds();
            let inner = b.nic.inner.get_mut();
            inner.halted = true;
            let posted = inner.posted;
            assert!(rings(&b) && b.nic.rx_pending(), "{kind}");
            assert_eq!(b.received(), [1], "{kind}");
            assert!(!rings(&b) && !b.nic.rx_pending(), "{kind}");
            assert_eq!(b.nic.inner.get_mut().posted, posted, "{kind}: it is given no more frames");
        }
    }

    /// A frame that there is not, or more frames than it was given.
    #[test]
    fn an_adapter_whose_words_cannot_be_has_stopped() {
        type Doubt = (&'static str, fn(&mut Inner));
        let doubts: [Doubt; 3] = [
            ("received", |inner| inner.posted = 0),
            ("numbers", |inner| inner.frames = 0),
            ("sent", |inner| inner.sending = 0),
        ];
        for (name, doubt) in doubts {
            let [mut a, mut b] = End::pair("x2", &format!("doubt-{name}"));
            a.send(b.ip, [1, PORT], 1);
            b.queue(a.ip, [1, PORT], 2);
            doubt(b.nic.inner.get_mut());
            b.nic.kick(&mut b.pool);
            let came: &[u8] = if name == "sent" { &[1] } else { &[] };
            assert_eq!(b.received(), came, "{name}");
            assert_eq!(b.nic.counters().halted, 1, "{name}");
            b.send(a.ip, [1, PORT], 3);
            assert_eq!(b.nic.counters().tx_rejected, 1, "{name}");
        }
    }
}
