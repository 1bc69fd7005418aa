//! lwIP as a peer.

use std::time::Duration;

use lwip::{Id, Site};
use stack::time::Instant;

use super::{ADDRESS, MAC, OUR_MAC, OURS, Peer};

/// The port that connections to us come from.
const OWN_PORT: u16 = 50_000;
/// How often lwIP looks at the time.
const TICK: Duration = Duration::from_millis(10);

/// lwIP with at most one connection.
pub struct Lwip {
    lwip: lwip::Lwip,
    id: Option<Id>,
    room: Vec<u8>,
    ticked: Instant,
}

impl Lwip {
    /// lwIP at [`ADDRESS`]. Waits until no other test has it.
    ///
    /// # Panics
    /// When its sources are not there.
    #[must_use]
    pub fn new() -> Self {
        let site = Site { mac: MAC, address: ADDRESS, gateway: OURS, gateway_mac: OUR_MAC };
        let lwip = lwip::Lwip::open(site).unwrap_or_else(|absent| panic!("{absent}"));
        Self { lwip, id: None, room: vec![0; 2048], ticked: Instant::ZERO }
    }

    fn open(&mut self) -> Option<Id> {
        self.id = self.id.or_else(|| self.lwip.accept());
        let id = self.id?;
        let status = self.lwip.status(id);
        assert!(!status.failed, "lwIP gave the connection up");
        status.open.then_some(id)
    }
}

impl Default for Lwip {
    fn default() -> Self {
        Self::new()
    }
}

impl Peer for Lwip {
    fn listen(&mut self, port: u16) {
        self.lwip.listen(port);
    }

    fn connect(&mut self, _: Instant, port: u16) {
        self.id = Some(self.lwip.connect(OURS, port, OWN_PORT));
    }

    fn input(&mut self, _: Instant, frame: &[u8]) {
        // Without a buffer for it the frame is lost, as on any NIC.
        if let Some(frame) = self.lwip.frame(frame) {
            self.lwip.input(frame);
        }
    }

    fn poll(&mut self, now: Instant) {
        if now >= self.ticked + TICK {
            self.ticked = now;
            self.lwip.time(now.as_millis() as u32);
        }
    }

    fn output(&mut self) -> Option<Vec<u8>> {
        let n = self.lwip.output(&mut self.room);
        (n > 0).then(|| self.room[..n].to_vec())
    }

    fn next(&mut self, _: Instant) -> Instant {
        self.ticked + TICK
    }

    fn send(&mut self, bytes: &[u8]) -> usize {
        self.open().map_or(0, |id| self.lwip.send(id, bytes))
    }

    fn recv(&mut self, room: &mut [u8]) -> usize {
        self.open().map_or(0, |id| self.lwip.recv(id, room))
    }

    fn finish(&mut self) {
        if let Some(id) = self.id {
            self.lwip.finish(id);
        }
    }

    fn has_ended(&mut self) -> bool {
        self.id.is_some_and(|id| self.lwip.status(id).ended)
    }
}
