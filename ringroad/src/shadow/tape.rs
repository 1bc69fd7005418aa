//! Packets in files of pcapng, one behind the other.

use std::fs::File;
use std::io::{self, BufWriter};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nic::Own;

use crate::capture::pcapng::{Frame, Pcapng};
use crate::capture::{Packet, Reading, Totals, describe, flags};
use crate::flows::{Kind, Place, Shelf, is_removed};
use crate::log;
use crate::port::aside;

/// How files are called.
const KIND: Kind = Kind("shadow-", ".pcapng");
/// A directory that takes nothing is tried again after so long.
const RETRY: Duration = Duration::from_secs(10);

/// A file that is written.
struct Open {
    to: Pcapng<BufWriter<Own<File>>>,
    file: Own<File>,
    since: SystemTime,
    /// Packets in it, of each interface.
    delivered: Vec<u64>,
    /// Octets that the disk has, of whole blocks; and packets behind them.
    safe: u64,
    fresh: u64,
}

/// The files of a recording.
pub(super) struct Tape {
    shelf: Shelf,
    interfaces: Vec<String>,
    open: Option<Open>,
    failed: Option<SystemTime>,
    comment: String,
    /// What could not be written.
    unwritten: u64,
    /// What found no room in the ring and what could not be written, of all recordings so far, for others to see.
    lost: Arc<AtomicU64>,
    /// How much of that is ours.
    told: u64,
    /// The ring makes no sense any more.
    broken: bool,
}

/// Bytes that the block of an interface, of what was counted of it, or of the file itself takes at the most.
const BLOCK: u64 = 128;

impl Tape {
    pub(super) fn new(place: Place, interfaces: Vec<String>, lost: Arc<AtomicU64>) -> Self {
        let (shelf, comment) = (Shelf::new(place, KIND), String::new());
        let (open, failed) = (None, None);
        Self { shelf, interfaces, open, failed, comment, unwritten: 0, lost, told: 0, broken: false }
    }

    /// Writes what is in the ring.
    pub(super) fn take(&mut self, reading: &mut Reading) {
        self.open.take_if(|open| is_removed(&open.file));
        let until = reading.until();
        while let Some(packet) = self.next(reading, until) {
            self.put(&packet);
        }
        if self.try_to(|tape| tape.open.as_mut().map_or(Ok(()), Open::flush)) && self.open.is_some() {
            // Not before: on a full disk there may be room for the head of a file, again and again.
            self.failed = None;
        }
        self.tell(reading);
    }

    /// Says what is lost so far.
    fn tell(&mut self, reading: &Reading) {
        let lost = (0..self.interfaces.len()).map(|n| reading.totals(n).lost).sum::<u64>();
        let all = lost + self.unwritten;
        self.lost.fetch_add(all - std::mem::replace(&mut self.told, all), Ordering::Relaxed);
    }

    /// The next packet in the ring. What makes no sense ends it.
    fn next<'r>(&mut self, reading: &'r mut Reading, until: u64) -> Option<Packet<'r>> {
        match reading.next_at(until) {
            Ok(Some(_)) => reading.take(),
            Ok(None) => None,
            Err(error) => {
                if !std::mem::replace(&mut self.broken, true) {
                    tracing::warn!(%error, "marked flows are recorded no more");
                }
                None
            }
        }
    }

    fn put(&mut self, packet: &Packet<'_>) {
        let now = SystemTime::now();
        let resting = self.failed.is_some_and(|at| now.duration_since(at).is_ok_and(|time| time < RETRY));
        if resting || !self.try_to(|tape| tape.write(packet, now)) {
            self.unwritten += 1;
        }
    }

    /// Does something with the files; where that fails, which is said once, they are left alone for a while.
    fn try_to(&mut self, act: impl FnOnce(&mut Self) -> io::Result<()>) -> bool {
        let Err(error) = act(self) else { return true };
        if self.failed.replace(SystemTime::now()).is_none() {
            let directory = self.shelf.directory().display();
            log::tell(format_args!("marked flows are not recorded in {directory}: {error}"));
        }
        if let Some(open) = self.open.take() {
            self.unwritten += open.give_up();
        }
        false
    }

    fn write(&mut self, packet: &Packet<'_>, now: SystemTime) -> io::Result<()> {
        self.comment.clear();
        describe(&mut self.comment, packet.way, &packet.verdict, std::process::id());
        let frame = Frame {
            interface: packet.interface as u32,
            nanos: packet.nanos,
            wire_len: packet.wire_len,
            flags: flags(packet.way),
            comment: &self.comment,
            bytes: packet.bytes,
        };
        // What is counted of each interface ends the last file.
        let interfaces = BLOCK * self.interfaces.len() as u64;
        let more = frame.most() + interfaces;
        if BLOCK + interfaces + more > self.shelf.part() {
            self.unwritten += 1;
            return Ok(());
        }
        let takes = |open: &Open| self.shelf.takes((open.to.written(), more), open.since, now);
        if !self.open.as_ref().is_some_and(takes) {
            if let Some(open) = &mut self.open {
                open.flush()?;
            }
            self.open = Some(Open::begin(&self.shelf, &self.interfaces, now)?);
        }
        let Some(open) = &mut self.open else { return Ok(()) };
        open.to.packet(&frame)?;
        open.fresh += 1;
        if let Some(delivered) = open.delivered.get_mut(packet.interface) {
            *delivered += 1;
        }
        Ok(())
    }

    /// The last file has what was counted.
    pub(super) fn finish(mut self, reading: &Reading) {
        let totals: Vec<Totals> = (0..self.interfaces.len()).map(|n| reading.totals(n)).collect();
        self.try_to(|tape| tape.open.as_mut().map_or(Ok(()), |open| open.end(&totals)));
        self.tell(reading);
    }
}

impl Open {
    fn begin(shelf: &Shelf, interfaces: &[String], now: SystemTime) -> io::Result<Self> {
        shelf.begin(now, |file| {
            let written = BufWriter::new(Own::new(File::from(aside(file.try_clone()?.into()))));
            let mut to = Pcapng::new(written, concat!("ringroad ", env!("CARGO_PKG_VERSION")))?;
            for name in interfaces {
                to.interface(name, "driven by ringroad", 0, "")?;
            }
            to.flush()?;
            let safe = to.written();
            Ok(Self { to, file, since: now, delivered: vec![0; interfaces.len()], safe, fresh: 0 })
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()?;
        (self.safe, self.fresh) = (self.to.written(), 0);
        Ok(())
    }

    /// The disk takes no more: leaves what can be read, and answers how many packets it has not.
    fn give_up(self) -> u64 {
        let Self { to, file, safe, fresh, .. } = self;
        // It tries once more to write what it has.
        drop(to);
        let _ = file.set_len(safe);
        fresh
    }

    /// With what was counted.
    fn end(&mut self, totals: &[Totals]) -> io::Result<()> {
        let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64;
        for ((number, totals), delivered) in (0..).zip(totals).zip(&self.delivered) {
            self.to.statistics(number, nanos, totals, *delivered)?;
        }
        self.flush()
    }
}
