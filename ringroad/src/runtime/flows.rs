//! What flows carry comes from the stack to those who listen.

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use stack::engine::Journals;
use stack::journal::{FlowRecord, Traffic};
use stack::policy::{Marked, Policy, Roads};
use stack::time::Instant;
use stack::types::{Direction, Road};

use super::{Runtime, now};
use crate::alerts::Seen;
use crate::flows::ipfix::{Encoder, Preamble, Source, Told};
use crate::flows::{FLOWS, Hub, MARKED, Place, Store, Verdict};

/// Flows that are told of, or looked at, under one lock.
const AT_A_TIME: usize = 256;
/// How often flows are told of.
pub(super) const EVERY: Duration = Duration::from_secs(1);

/// The way from the stack to the hub.
#[derive(Debug)]
pub(super) struct Flows {
    preamble: Preamble,
    encoder: Encoder,
    hub: Option<Hub>,
    /// Those that the policy marks are kept apart, too.
    marks: Option<Marks>,
    /// Whether the stack keeps journals.
    kept: bool,
    /// When flows were told of last.
    told: Instant,
    /// The time of day, in milliseconds, when the stack's clock was zero: before 1970 where nobody has set the clock.
    epoch: i64,
    /// Kept, so that it need not grow again.
    records: Vec<FlowRecord>,
    /// Records that the hub had no room for, and flows that were over too fast.
    lost: u64,
    /// Records that the disk did not take.
    unwritten: Arc<AtomicU64>,
}

/// The way to the records of those that the policy marks.
#[derive(Debug)]
struct Marks {
    marked: Arc<Marked>,
    encoder: Encoder,
    hub: Hub,
}

impl Flows {
    /// For this process.
    pub(super) fn new() -> Self {
        let day = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as i64;
        let command = std::fs::read_to_string("/proc/self/comm").unwrap_or_default().trim_end().to_owned();
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let source = Source { host, pid: std::process::id(), command };
        Self {
            preamble: Preamble::new(&source),
            encoder: Encoder::new(source.pid),
            hub: None,
            marks: None,
            kept: false,
            told: now(),
            epoch: day - milliseconds(now()),
            records: Vec::new(),
            lost: 0,
            unwritten: Arc::default(),
        }
    }

    fn open(&mut self, store: Option<Place>) -> io::Result<&Hub> {
        let hub = match self.hub.take() {
            Some(hub) => hub,
            None => {
                let store = store.map(|place| Store::new(place, FLOWS, self.preamble.clone()));
                Hub::open(store, self.preamble.clone(), Arc::clone(&self.unwritten))?
            }
        };
        Ok(self.hub.insert(hub))
    }

    /// Hands over what was taken from the stack, with what `policy` says to it.
    fn hand_over(&mut self, policy: &Policy, roads: &Roads) {
        let mut records = std::mem::take(&mut self.records);
        for record in records.drain(..) {
            let said = policy.tell(&record.key, record.direction, policy.via(roads.name(record.road)));
            let verdict = match (said.allowed, said.refused) {
                (false, _) => Verdict::Denied,
                (true, true) => Verdict::Monitored,
                (true, false) => Verdict::Allowed,
            };
            self.put(&record, verdict, said.table.unwrap_or_default(), said.rule.unwrap_or_default());
        }
        self.records = records;
    }

    fn put(&mut self, record: &FlowRecord, verdict: Verdict, table: &str, rule: &str) {
        let span = (self.day(self.told.min(record.at)), self.day(record.at));
        let told = Told { record, verdict, table, rule, span };
        let Self { encoder, hub, marks, lost, .. } = self;
        if let Some(hub) = hub {
            encoder.put(&told, &mut |message, records| send(hub, (message, records), lost));
        }
        if let Some(Marks { marked, encoder, hub }) = marks
            && marked.holds(record.key.remote.ip())
        {
            encoder.put(&told, &mut |message, records| send(hub, (message, records), lost));
        }
    }

    /// The time of day, in milliseconds.
    fn day(&self, at: Instant) -> u64 {
        u64::try_from(self.epoch + milliseconds(at)).unwrap_or_default()
    }

    fn finish(&mut self) {
        let Self { encoder, hub, marks, lost, .. } = self;
        if let Some(hub) = hub {
            encoder.finish(&mut |message, records| send(hub, (message, records), lost));
        }
        if let Some(Marks { encoder, hub, .. }) = marks {
            encoder.finish(&mut |message, records| send(hub, (message, records), lost));
        }
    }

    /// Whether anybody hears of flows.
    fn are_heard(&self) -> bool {
        self.marks.is_some() || self.hub.as_ref().is_some_and(Hub::is_heard)
    }
}

/// Of the stack's clock.
fn milliseconds(at: Instant) -> i64 {
    (at.as_nanos() / 1_000_000) as i64
}

fn send(hub: &Hub, (message, records): (&[u8], u32), lost: &mut u64) {
    if !hub.put(message, records) {
        *lost += u64::from(records);
    }
}

impl Runtime {
    fn flows(&self) -> MutexGuard<'_, Flows> {
        self.flows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps flows on disk from now on.
    pub(super) fn keep_flows(&self, place: &Place) {
        let mut flows = self.flows();
        match flows.open(Some(place.clone())) {
            Ok(_) => self.begin_flows(&mut flows),
            Err(error) => tracing::warn!(%error, "flows are not kept"),
        }
    }

    /// Keeps the flows of whom `to` marks in the place that it names, from now on; of nobody, when there is none.
    pub(super) fn mark_flows(&self, to: Option<(Place, Arc<Marked>)>) {
        let mut flows = self.flows();
        flows.marks = to.and_then(|(place, marked)| {
            let store = Store::new(place, MARKED, flows.preamble.clone());
            let hub = Hub::open(Some(store), flows.preamble.clone(), Arc::clone(&flows.unwritten))
                .inspect_err(|error| tracing::warn!(%error, "marked flows are not kept"))
                .ok()?;
            Some(Marks { marked, encoder: Encoder::new(std::process::id()), hub })
        });
        if flows.marks.is_some() {
            self.begin_flows(&mut flows);
        }
    }

    /// Somebody wants to hear of flows from now on.
    ///
    /// # Errors
    /// As starting a thread; `QuotaExceeded` when too many listen.
    pub(crate) fn listen_to_flows(&self, client: UnixStream) -> io::Result<()> {
        let mut flows = self.flows();
        if !flows.open(None)?.listen(client) {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        self.begin_flows(&mut flows);
        Ok(())
    }

    /// Has the stack keep journals, if it does not.
    fn begin_flows(&self, flows: &mut Flows) {
        if flows.kept {
            return;
        }
        let slots = self.lock_quietly().stack().flow_slots();
        let journals = Journals::new(slots);
        self.lock_quietly().stack().keep_journals(journals);
        let mut from = Some(0);
        while let Some(slot) = from {
            from = self.lock_quietly().stack().survey(slot, AT_A_TIME as u32);
        }
        (flows.kept, flows.told) = (true, now());
    }

    /// Tells of what flows carried, of those that go on once a second. When flows were told of last.
    pub(super) fn tell_flows(&self, now: Instant) -> Instant {
        let mut flows = self.flows();
        if flows.kept && !flows.are_heard() {
            flows.kept = false;
            let journals = self.lock_quietly().stack().drop_journals();
            drop(journals);
        }
        let all = now.since(flows.told) >= EVERY;
        self.take_flows(&mut flows, all);
        if all {
            flows.told = now;
        }
        flows.told
    }

    /// Takes what is to be told from the stack, a few flows under one lock; with `all`, of those that go on, too.
    fn take_flows(&self, flows: &mut Flows, all: bool) {
        let mut first = true;
        loop {
            let mut turn = self.lock_quietly();
            let now = turn.now();
            if std::mem::take(&mut first) {
                turn.core().pulse.take_news();
                if all {
                    turn.stack().turn_journals();
                }
                flows.lost += turn.stack().take_untold();
            }
            let more = turn.stack().tell_flows(now, AT_A_TIME, &mut flows.records);
            let (policy, roads) =
                (Arc::clone(turn.stack().policy_in_force()), Arc::clone(turn.stack().roads()));
            drop(turn);
            flows.hand_over(&policy, &roads);
            if !more {
                break;
            }
        }
        flows.finish();
    }

    /// Flows that the gate, or the steering program, refused at once are flows, too.
    pub(super) fn tell_refusals(&self, now: Instant, refused: &[Seen]) {
        let mut flows = self.flows();
        if !flows.kept {
            return;
        }
        for seen in refused.iter().filter(|seen| seen.dropped) {
            let (Some(key), direction) = (seen.flow(), seen.direction) else { continue };
            let one = |is: Direction| u32::from(direction == is);
            let (packets_in, packets_out) = (one(Direction::In), one(Direction::Out));
            let carried = Traffic { packets_in, packets_out, ..Traffic::default() };
            let (road, state, srtt_us) = (Road::UNKNOWN, 0, 0);
            let record = FlowRecord { key, direction, road, carried, state, srtt_us, over: true, at: now };
            flows.put(&record, Verdict::Denied, &seen.table, &seen.rule);
        }
        flows.finish();
    }

    /// The process ends: what is not told now never will be.
    pub(super) fn last_flows(&self) {
        let mut flows = self.flows();
        if flows.kept {
            self.take_flows(&mut flows, true);
        }
        let hubs = [flows.hub.take(), flows.marks.take().map(|marks| marks.hub)];
        // Who wants to see what was lost does not wait for the disk.
        drop(flows);
        hubs.into_iter().flatten().for_each(Hub::close);
    }

    /// Flow records that could not be told of, or not be kept, so far.
    pub(super) fn untold_flows(&self) -> u64 {
        let flows = self.flows();
        flows.lost + flows.unwritten.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A host that has been up for longer than its clock says that 1970 is past.
    #[test]
    fn a_clock_that_nobody_has_set_tells_what_it_shows() {
        let up = Instant::from_nanos(90_000_000_000);
        let day = |shown: i64| Flows { epoch: shown - milliseconds(up), ..Flows::new() };
        let later = up + Duration::from_millis(5);
        assert_eq!([day(60_000).day(up), day(60_000).day(later)], [60_000, 60_005]);
        assert_eq!(day(60_000).day(Instant::ZERO), 0, "before it began");
    }
}
