//! The file that a capture writes: packets of several stacks, in the order of time.

use std::collections::BTreeMap;
use std::io::{self, Write};

use ringroad::capture::pcapng::{Frame, Pcapng};
use ringroad::capture::{Source, Totals, describe, flags};

/// An interface of the file.
struct Interface {
    number: u32,
    /// What was counted there, by stacks that are gone.
    gone: Totals,
    written: u64,
}

/// A capture that is written.
pub(super) struct File<W> {
    to: Pcapng<W>,
    interfaces: BTreeMap<String, Interface>,
    snaplen: u32,
    filter: String,
    comment: String,
    /// Packets so far.
    pub(super) packets: u64,
}

impl<W: Write> File<W> {
    pub(super) fn new(to: W, snaplen: u32, filter: &str) -> io::Result<Self> {
        let to = Pcapng::new(to, concat!("ringroad ", env!("CARGO_PKG_VERSION")))?;
        let filter = filter.to_owned();
        Ok(Self { to, interfaces: BTreeMap::new(), snaplen, filter, comment: String::new(), packets: 0 })
    }

    /// Makes sure that the interfaces of a stack are in the file.
    pub(super) fn meet(&mut self, source: &Source) -> io::Result<()> {
        for name in &source.interfaces {
            if !self.interfaces.contains_key(name) {
                let number = self.to.interface(name, "driven by ringroad", self.snaplen, &self.filter)?;
                let interface = Interface { number, gone: Totals::default(), written: 0 };
                self.interfaces.insert(name.clone(), interface);
            }
        }
        Ok(())
    }

    /// Writes the next packet of a stack.
    pub(super) fn packet_of(&mut self, source: &mut Source) -> io::Result<()> {
        let pid = source.pid;
        let (names, packet) = source.take();
        let Some(packet) = packet else { return Ok(()) };
        let interface = names.get(packet.interface).and_then(|name| self.interfaces.get_mut(name));
        let Some(interface) = interface else { return Ok(()) };
        interface.written += 1;
        self.packets += 1;
        self.comment.clear();
        describe(&mut self.comment, packet.way, &packet.verdict, pid);
        self.to.packet(&Frame {
            interface: interface.number,
            nanos: packet.nanos,
            wire_len: packet.wire_len,
            flags: flags(packet.way),
            comment: &self.comment,
            bytes: packet.bytes,
        })
    }

    /// Remembers what a stack counted, since it is read no longer.
    pub(super) fn part_from(&mut self, source: &Source) {
        for (n, name) in source.interfaces.iter().enumerate() {
            if let Some(interface) = self.interfaces.get_mut(name) {
                interface.gone.add(source.totals(n));
            }
        }
    }

    /// Whoever reads along sees what there is.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }

    /// Writes what was counted. Packets that were wanted and are not in the file.
    pub(super) fn finish(mut self, nanos: u64) -> io::Result<u64> {
        let mut lost = 0u64;
        for interface in self.interfaces.values() {
            self.to.statistics(interface.number, nanos, &interface.gone, interface.written)?;
            lost = lost.saturating_add(interface.gone.lost);
        }
        self.to.flush()?;
        Ok(lost)
    }
}
