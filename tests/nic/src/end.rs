//! A wire and its two ends, and what checks do with them.

use std::thread;
use std::time::{Duration, Instant};

use nic::{Burst, Nic, Pool, RxMeta, TxChecksum, TxPkt};

use crate::frame::{Address, SHORTEST, Sum, frame, number};

/// What must happen happens within this time.
const PATIENCE: Duration = Duration::from_secs(10);

/// Frames on the way at a time: fewer than any ring has slots.
const WINDOW: u32 = 32;

/// A NIC and the pool that it is driven with.
pub struct End {
    /// The NIC.
    pub nic: Box<dyn Nic>,
    /// Its pool.
    pub pool: Pool,
    /// Where frames for it go.
    pub address: Address,
    /// Reused.
    pub burst: Burst,
}

impl std::fmt::Debug for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("End").field("address", &self.address).finish_non_exhaustive()
    }
}

/// Two NICs joined by a wire. Frames of [`PORT`](crate::PORT) that one sends to the other's address arrive there.
pub trait Wire {
    /// The ends.
    fn ends(&mut self) -> [&mut End; 2];

    /// Whether a frame that an end has queued is out of its pool at once, and a loan over: the other end's pool has it.
    fn hands_over(&self) -> bool {
        false
    }

    /// Closes an end, whatever it is in the middle of, and opens it again with a pool whose frames are all its own.
    fn reopen(&mut self, side: usize);
}

impl End {
    /// A NIC of this address, with its pool.
    #[must_use]
    pub fn new(nic: Box<dyn Nic>, pool: Pool, address: Address) -> Self {
        Self { nic, pool, address, burst: Burst::with_capacity(512) }
    }

    /// A packet with these bytes. `None` when there is no free frame.
    pub(crate) fn packet(&mut self, bytes: &[u8]) -> Option<nic::Pkt> {
        let mut pkt = self.pool.alloc()?;
        let _ = self.pool.append_with(&mut pkt, bytes.len(), |room| {
            room.copy_from_slice(bytes);
            Ok::<_, ()>(room.len())
        });
        Some(pkt)
    }

    /// Offers a frame that nobody wants back.
    pub(crate) fn offer(&mut self, bytes: &[u8], checksum: TxChecksum) -> Result<(), TxPkt> {
        let pkt = self.packet(bytes).expect("a free frame");
        let loan = self.pool.give(pkt, 0, checksum);
        self.nic.tx(&mut self.pool, loan)
    }

    /// Queues a frame, kicking until there is room.
    pub(crate) fn send(&mut self, bytes: &[u8], checksum: TxChecksum) {
        let mut left = self.offer(bytes, checksum).err();
        within("room in the ring", || {
            self.nic.kick(&mut self.pool);
            left = left.take().and_then(|loan| self.nic.tx(&mut self.pool, loan).err());
            left.is_none()
        });
        self.nic.kick(&mut self.pool);
    }

    /// Kicks until everything is sent and back.
    pub(crate) fn settle(&mut self) {
        within("frames sent and back", || {
            self.nic.kick(&mut self.pool);
            let census = self.pool.census();
            census.given + census.lent == 0
        });
    }

    /// Takes up to `max` frames: the numbers of those that are ours, and what the NIC says of each, with its bytes.
    pub(crate) fn receive(&mut self, max: usize, mut each: impl FnMut(u32, RxMeta, &[u8])) -> usize {
        let got = self.nic.rx(&mut self.pool, &mut self.burst, max);
        for received in self.burst.drain(..) {
            let bytes = self.pool.bytes(&received.pkt);
            if let Some(number) = number(bytes) {
                each(number, received.meta, bytes);
            }
            self.pool.free(received.pkt);
        }
        got
    }

    /// Reads until frame `last` has come; the numbers of all.
    pub(crate) fn until(&mut self, last: u32) -> Vec<u32> {
        let mut seen = Vec::new();
        within(&format!("frame {last}"), || {
            self.receive(64, |number, _, _| seen.push(number));
            seen.contains(&last)
        });
        seen
    }

    /// Reads and throws away what is there.
    pub(crate) fn drain(&mut self) {
        while self.receive(64, |_, _, _| ()) > 0 {}
    }

    /// Every frame is free or the NIC's: none is held, none is under way.
    #[track_caller]
    pub(crate) fn whole(&self) {
        let census = self.pool.census();
        let held = (census.owned, census.lent, census.given);
        assert_eq!(
            (held, census.free + census.nic),
            ((0, 0, 0), self.pool.frames()),
            "frames are lost: {census:?}"
        );
    }
}

/// Sends frames `numbers` from one end to the other, a few at a time; they must all come, in order.
///
/// # Panics
/// When they do not.
pub(crate) fn stream(
    from: &mut End,
    to: &mut End,
    numbers: std::ops::Range<u32>,
    len: impl Fn(u32) -> usize,
) {
    let (mut sent, mut back) = (numbers.start, numbers.start);
    within("frames of a stream", || {
        while sent < numbers.end && sent - back < WINDOW {
            from.send(&frame(from.address, to.address, sent, len(sent), Sum::Finished), TxChecksum::Complete);
            sent += 1;
        }
        from.nic.kick(&mut from.pool);
        // Others were under way before.
        to.receive(64, |number, _, _| {
            if !numbers.contains(&number) {
                return;
            }
            assert_eq!(number, back, "frames come each once and in order");
            back += 1;
        });
        back == numbers.end
    });
    from.settle();
}

/// A frame goes each way and is what it was; no frame is lost in either pool.
///
/// # Panics
/// When one is not.
pub fn ping(wire: &mut dyn Wire, first: u32) {
    let [a, b] = wire.ends();
    stream(a, b, first..first + 3, |_| SHORTEST + 100);
    stream(b, a, first..first + 3, |_| SHORTEST + 100);
    a.whole();
    b.whole();
}

/// Looks until `done` says true.
///
/// # Panics
/// When it does not in time.
pub(crate) fn within(what: &str, mut done: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < until, "{what}: waited in vain");
        thread::yield_now();
    }
}
