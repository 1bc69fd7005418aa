//! From the helper thread to those who listen: a bounded queue, and a thread that writes.

use std::io::{ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

use nic::Own;

use super::Store;
use super::ipfix::Preamble;
use crate::runtime::without_signals;

/// Messages that wait to be written.
const WAITING: usize = 4096;
/// Listeners at the most.
const MOST: usize = 64;
/// What is written to disk at a time, at the most, in bytes.
const AT_ONCE: usize = 64 * 1024;
/// How long the end of a process waits for what is not written.
const LAST_WORDS: Duration = Duration::from_millis(200);

enum Item {
    /// With so many records.
    Message(Vec<u8>, u32),
    Listener(UnixStream),
}

/// The way to those who listen. Who reads slowly loses messages, whose numbers say how many records they had.
#[derive(Debug)]
pub(crate) struct Hub {
    to: SyncSender<Item>,
    /// Disconnected when all is written.
    done: Receiver<()>,
    listeners: Arc<AtomicUsize>,
    stores: bool,
}

impl Hub {
    /// Starts the thread that writes to `store`, if there is one, and to those who come; records that the disk does not
    /// take are counted in `unwritten`.
    ///
    /// # Errors
    /// As starting a thread.
    pub(crate) fn open(
        store: Option<Store>,
        preamble: Preamble,
        unwritten: Arc<AtomicU64>,
    ) -> std::io::Result<Self> {
        let (to, from) = sync_channel(WAITING);
        let (end, done) = sync_channel(0);
        let listeners = Arc::new(AtomicUsize::new(0));
        let stores = store.is_some();
        let mut writer =
            Writer { store, preamble, clients: Vec::new(), listeners: Arc::clone(&listeners), unwritten };
        let write = move || {
            writer.write(&from);
            drop(end);
        };
        without_signals(|| thread::Builder::new().name("ringroad-flows".into()).spawn(write))?;
        Ok(Self { to, done, listeners, stores })
    }

    /// Whether anybody listens.
    pub(crate) fn is_heard(&self) -> bool {
        self.stores || self.listeners.load(Ordering::Acquire) > 0
    }

    /// One more listens from now on; false when there are too many.
    pub(crate) fn listen(&self, client: UnixStream) -> bool {
        if self.listeners.load(Ordering::Acquire) >= MOST || client.set_nonblocking(true).is_err() {
            return false;
        }
        self.listeners.fetch_add(1, Ordering::AcqRel);
        let taken = self.to.try_send(Item::Listener(client)).is_ok();
        if !taken {
            self.listeners.fetch_sub(1, Ordering::AcqRel);
        }
        taken
    }

    /// Hands a message of so many records over; false when those who write are behind.
    pub(crate) fn put(&self, message: &[u8], records: u32) -> bool {
        match self.to.try_send(Item::Message(message.to_vec(), records)) {
            Ok(()) => true,
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => false,
        }
    }

    /// Waits until all is written, a moment at most.
    pub(crate) fn close(self) {
        let Self { to, done, .. } = self;
        drop(to);
        let _ = done.recv_timeout(LAST_WORDS);
    }
}

struct Client {
    stream: Own<UnixStream>,
    /// It has had the preamble.
    knows: bool,
    /// What is left of a message that it took half of.
    rest: Vec<u8>,
}

struct Writer {
    store: Option<Store>,
    preamble: Preamble,
    clients: Vec<Client>,
    listeners: Arc<AtomicUsize>,
    unwritten: Arc<AtomicU64>,
}

impl Writer {
    fn write(&mut self, from: &Receiver<Item>) {
        let mut batch = Vec::with_capacity(AT_ONCE);
        // Where each message of it ends, and how many records that has.
        let mut ends: Vec<(usize, u32)> = Vec::new();
        while let Ok(first) = from.recv() {
            let mut next = Some(first);
            while let Some(item) = next {
                match item {
                    Item::Listener(stream) => {
                        self.clients.push(Client {
                            stream: Own::new(stream),
                            knows: false,
                            rest: Vec::new(),
                        });
                    }
                    Item::Message(message, records) => {
                        self.send(&message);
                        batch.extend(message);
                        ends.push((batch.len(), records));
                    }
                }
                next = if batch.len() < AT_ONCE { from.try_recv().ok() } else { None };
            }
            if let Some(store) = &mut self.store
                && !batch.is_empty()
            {
                let kept = store.append(&batch);
                let lost = ends.iter().filter(|(end, _)| *end > kept).map(|(_, n)| u64::from(*n)).sum();
                self.unwritten.fetch_add(lost, Ordering::Relaxed);
            }
            batch.clear();
            ends.clear();
        }
    }

    fn send(&mut self, message: &[u8]) {
        let (preamble, before) = (&self.preamble, self.clients.len());
        self.clients.retain_mut(|client| client.send(preamble, message).is_ok());
        self.listeners.fetch_sub(before - self.clients.len(), Ordering::AcqRel);
    }
}

impl Client {
    fn send(&mut self, preamble: &Preamble, message: &[u8]) -> std::io::Result<()> {
        if !self.rest.is_empty() {
            let rest = std::mem::take(&mut self.rest);
            self.rest = rest[self.push(&rest)?..].to_vec();
            if !self.rest.is_empty() {
                return Ok(());
            }
        }
        let first = if self.knows { Vec::new() } else { preamble.before(message) };
        let whole = [&first, message].concat();
        let taken = self.push(&whole)?;
        if taken > 0 {
            self.knows = true;
            self.rest = whole[taken..].to_vec();
        }
        Ok(())
    }

    /// Writes what is taken at once; how much that was.
    fn push(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self.stream.write(bytes) {
            Ok(0) => Err(ErrorKind::WriteZero.into()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
            taken => taken,
        }
    }
}
