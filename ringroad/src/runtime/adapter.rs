//! An adapter that ef_vi drives, and beside it the sockets of its interface.
//!
//! The adapter leads here what its filters name: the ends that the stack listens at, and flows that it began itself. All
//! else comes as it does without one: what no filter has room for, what was under way before there was a filter, what
//! is left when the adapter has stopped. So the steering program's maps stay the truth about who hears what.

use std::collections::HashSet;
use std::mem;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use af_xdp::XskNic;
use ef_vi::{EfVi, Filter};
use nic::{Burst, Caps, Doorbell, Nic, Pool, TxPkt};
use stack::types::{FlowKey, MAX_IFACES};

use crate::log;
use crate::port;

/// Descriptors of the adapters that this process drives, each with one more, -1 where there is none. An adapter is closed,
/// and writes to no frames any more, when the last copy of its descriptor is.
static OPEN: [AtomicI32; 2 * MAX_IFACES] = [const { AtomicI32::new(-1) }; 2 * MAX_IFACES];

/// In a child after a fork: it must not keep the parent's adapters open.
pub(super) fn forked() {
    for place in &OPEN {
        let fd = place.swap(-1, Ordering::Relaxed);
        if fd >= 0 {
            port::close(fd);
        }
    }
}

/// Filters that an adapter is to have, or no longer, since it was last looked.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    has_some: AtomicBool,
    /// The adapter has stopped: nobody takes them any more.
    are_over: AtomicBool,
    list: Mutex<Vec<(Filter, bool)>>,
}

impl Wishes {
    fn add(&self, filter: Filter, on: bool) {
        if self.are_over.load(Ordering::Relaxed) {
            return;
        }
        self.list.lock().unwrap_or_else(PoisonError::into_inner).push((filter, on));
        self.has_some.store(true, Ordering::Release);
    }

    #[inline]
    fn take(&self) -> Vec<(Filter, bool)> {
        if !self.has_some.load(Ordering::Acquire) {
            return Vec::new();
        }
        self.has_some.store(false, Ordering::Relaxed);
        mem::take(&mut *self.list.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// No filters are set any more.
    fn end(&self) {
        self.are_over.store(true, Ordering::Relaxed);
        self.take();
    }
}

/// What the adapters lead here, as it is steered. Without adapters nothing is kept.
#[derive(Debug, Default)]
pub(super) struct Filters {
    adapters: Vec<Arc<Wishes>>,
    led: HashSet<Filter>,
    /// Ends of which a flow went to another process: filters have no exceptions, so all of them are left to the
    /// steering program.
    left: HashSet<(u8, SocketAddr)>,
}

impl Filters {
    pub(super) fn add(&mut self, adapter: Arc<Wishes>) {
        self.adapters.push(adapter);
    }

    /// Whether there are no adapters.
    #[inline]
    pub(super) fn is_off(&self) -> bool {
        self.adapters.is_empty()
    }

    fn lead(&mut self, filter: Filter, on: bool) {
        let changed = if on { self.led.insert(filter) } else { self.led.remove(&filter) };
        if changed {
            self.adapters.iter().for_each(|adapter| adapter.add(filter, on));
        }
    }

    /// The stack hears what is sent to an end, or no longer.
    pub(super) fn port(&mut self, protocol: u8, local: SocketAddr, on: bool) {
        if self.is_off() || on && self.left.contains(&(protocol, local)) {
            return;
        }
        self.lead(Filter { protocol, local, remote: None }, on);
    }

    /// The stack has a flow, or no longer. One to an end that it hears is led here with that.
    pub(super) fn flow(&mut self, key: &FlowKey, on: bool) {
        if self.is_off() {
            return;
        }
        let (protocol, local) = (key.protocol as u8, key.local);
        let with_its_end = self.led.contains(&Filter { protocol, local, remote: None });
        if !on || !with_its_end && !self.left.contains(&(protocol, local)) {
            self.lead(Filter { protocol, local, remote: Some(key.remote) }, on);
        }
    }

    /// A flow is another process's from now on.
    pub(super) fn away(&mut self, key: &FlowKey) {
        if self.is_off() {
            return;
        }
        let (protocol, local) = (key.protocol as u8, key.local);
        self.flow(key, false);
        if self.led.contains(&Filter { protocol, local, remote: None }) {
            self.port(protocol, local, false);
            self.left.insert((protocol, local));
        }
    }
}

/// An adapter and the sockets of its interface, as one NIC. All is sent by the adapter, while it works.
#[derive(Debug)]
pub(super) struct Adapter {
    name: String,
    /// Until the memory is given back.
    adapter: Option<EfVi>,
    /// It has stopped by itself. It stays open: sleepers know its descriptors by number.
    halted: bool,
    beside: XskNic,
    wishes: Arc<Wishes>,
    /// Filters that it did not take: their packets come by the sockets.
    refused: u64,
    fds: Vec<RawFd>,
}

impl Adapter {
    /// The adapter that was opened for an interface, beside what drives that.
    pub(super) fn new(adapter: EfVi, beside: XskNic, wishes: Arc<Wishes>) -> Self {
        for fd in adapter.wait_fds() {
            let is_free = |place: &&AtomicI32| place.load(Ordering::Relaxed) < 0;
            if let Some(place) = OPEN.iter().find(is_free) {
                place.store(*fd, Ordering::Relaxed);
            }
        }
        let fds = adapter.wait_fds().iter().chain(beside.wait_fds()).copied().collect();
        let name = beside.interface().name.clone();
        Self { name, adapter: Some(adapter), halted: false, beside, wishes, refused: 0, fds }
    }

    /// The adapter, while it works.
    fn working(&mut self) -> Option<&mut EfVi> {
        self.adapter.as_mut().filter(|_| !self.halted)
    }

    /// Sets the filters that are wished for. Where the adapter has stopped, goes on without it.
    #[inline]
    fn tend(&mut self) {
        let Some(adapter) = self.adapter.as_mut().filter(|_| !self.halted) else { return };
        for (filter, on) in self.wishes.take() {
            let done = if on { adapter.add_filter(filter) } else { adapter.remove_filter(filter) };
            if let Err(error) = done {
                self.refused += u64::from(on);
                tracing::debug!(?filter, on, %error, "filters");
            }
        }
        if adapter.is_halted() {
            log::tell(format_args!("{}: its adapter has stopped; by the interface's own sockets", self.name));
            // What they led here, the steering program leads from now on.
            adapter.remove_filters();
            self.wishes.end();
            self.halted = true;
        }
    }
}

impl Nic for Adapter {
    fn caps(&self) -> Caps {
        let beside = self.beside.caps();
        let most = self.adapter.as_ref().map_or(beside.max_frame, |adapter| adapter.caps().max_frame);
        // No adapter finishes checksums for us.
        Caps { tx_checksum: false, max_frame: most.min(beside.max_frame) }
    }

    fn rx(&mut self, pool: &mut Pool, burst: &mut Burst, max: usize) -> usize {
        // What it had told of before it stopped, too.
        let got = self.adapter.as_mut().map_or(0, |adapter| adapter.rx(pool, burst, max));
        got + self.beside.rx(pool, burst, max - got)
    }

    fn tx(&mut self, pool: &mut Pool, frame: TxPkt) -> Result<(), TxPkt> {
        match self.working() {
            Some(adapter) => adapter.tx(pool, frame),
            None => self.beside.tx(pool, frame),
        }
    }

    fn kick(&mut self, pool: &mut Pool) -> Doorbell {
        // A connection's filter before its first segment.
        self.tend();
        let doorbell = self.beside.kick(pool);
        match self.working().map(|adapter| adapter.kick(pool)) {
            Some(Doorbell::Needed) => Doorbell::Needed,
            _ => doorbell,
        }
    }

    fn reap(&mut self, pool: &mut Pool) {
        self.tend();
        if let Some(adapter) = self.working() {
            adapter.reap(pool);
        }
        self.beside.reap(pool);
    }

    fn fetch(&mut self, pool: &mut Pool) {
        self.beside.fetch(pool);
    }

    fn rest(&mut self, pool: &mut Pool) {
        self.tend();
        if let Some(adapter) = self.working() {
            adapter.rest(pool);
        }
        self.beside.rest(pool);
    }

    fn stop(&mut self) {
        // Nobody else has its number any more.
        for place in OPEN.iter().filter(|place| self.fds.contains(&place.load(Ordering::Relaxed))) {
            place.store(-1, Ordering::Relaxed);
        }
        self.adapter = None;
        self.wishes.end();
        self.beside.stop();
    }

    fn count(&self, each: &mut dyn FnMut(&'static str, u64)) {
        if let Some(adapter) = &self.adapter {
            adapter.count(each);
        }
        each("ef_vi_filters_refused", self.refused);
        self.beside.count(each);
    }

    fn census(&self, each: &mut dyn FnMut(&'static str, u64)) {
        self.beside.census(each);
    }

    fn wait_fds(&self) -> &[RawFd] {
        if let Some(adapter) = self.adapter.as_ref().filter(|_| !self.halted) {
            // It is told that somebody sleeps; its descriptors are known.
            adapter.wait_fds();
        }
        &self.fds
    }

    fn rx_pending(&self) -> bool {
        self.adapter.as_ref().is_some_and(Nic::rx_pending) || self.beside.rx_pending()
    }
}

#[cfg(test)]
mod tests {
    use stack::types::Protocol;

    use super::*;

    const LISTENED: &str = "10.0.0.1:80";

    fn end(of: &str) -> SocketAddr {
        of.parse().unwrap()
    }

    fn key(local: &str, remote: &str) -> FlowKey {
        FlowKey { protocol: Protocol::Tcp, local: end(local), remote: end(remote) }
    }

    fn filters() -> (Filters, Arc<Wishes>) {
        let (mut filters, wishes) = (Filters::default(), Arc::<Wishes>::default());
        filters.add(Arc::clone(&wishes));
        (filters, wishes)
    }

    fn filter(local: &str, remote: Option<&str>) -> Filter {
        Filter { protocol: Protocol::Tcp as u8, local: end(local), remote: remote.map(end) }
    }

    #[test]
    fn what_is_heard_takes_one_filter_and_what_was_begun_here_takes_its_own() {
        let (mut filters, wishes) = filters();
        filters.port(Protocol::Tcp as u8, end(LISTENED), true);
        filters.port(Protocol::Tcp as u8, end(LISTENED), true);
        filters.flow(&key(LISTENED, "10.0.0.2:999"), true);
        filters.flow(&key("10.0.0.1:4000", "10.0.0.2:80"), true);
        let own = filter("10.0.0.1:4000", Some("10.0.0.2:80"));
        assert_eq!(wishes.take(), [(filter(LISTENED, None), true), (own, true)]);
        filters.flow(&key(LISTENED, "10.0.0.2:999"), false);
        filters.flow(&key("10.0.0.1:4000", "10.0.0.2:80"), false);
        filters.port(Protocol::Tcp as u8, end(LISTENED), false);
        assert_eq!(wishes.take(), [(own, false), (filter(LISTENED, None), false)]);
        assert_eq!(wishes.take(), []);
    }

    /// The adapter would lead it to the process that it has left.
    #[test]
    fn an_end_of_which_a_flow_has_left_is_the_steering_programs_for_good() {
        let (mut filters, wishes) = filters();
        filters.port(Protocol::Tcp as u8, end(LISTENED), true);
        filters.away(&key("10.0.0.1:81", "10.0.0.2:999"));
        assert_eq!(wishes.take(), [(filter(LISTENED, None), true)], "another end's");
        filters.away(&key(LISTENED, "10.0.0.2:999"));
        assert_eq!(wishes.take(), [(filter(LISTENED, None), false)]);
        filters.port(Protocol::Tcp as u8, end(LISTENED), true);
        filters.flow(&key(LISTENED, "10.0.0.2:998"), true);
        assert_eq!(wishes.take(), []);
    }

    #[test]
    fn for_an_adapter_that_has_stopped_nothing_is_kept() {
        let (mut filters, wishes) = filters();
        filters.port(Protocol::Tcp as u8, end(LISTENED), true);
        wishes.end();
        filters.flow(&key("10.0.0.1:4000", "10.0.0.2:80"), true);
        assert_eq!((wishes.take(), wishes.list.lock().unwrap().capacity()), (vec![], 0));
    }

    #[test]
    fn without_adapters_nothing_is_kept() {
        let mut filters = Filters::default();
        filters.port(Protocol::Tcp as u8, end(LISTENED), true);
        filters.flow(&key("10.0.0.1:4000", "10.0.0.2:80"), true);
        filters.away(&key(LISTENED, "10.0.0.2:999"));
        assert!(filters.led.is_empty() && filters.left.is_empty());
    }
}
