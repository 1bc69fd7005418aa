//! One end: a pool, a connection, and a way out that keeps what was sent.

use std::collections::VecDeque;

use nic::{Arena, Pkt, Pool, TxChecksum, TxPkt};

use crate::config::TcpConfig;
use crate::error::{Fault, SocketError};
use crate::hash::HashKey;
use crate::ip::{Egress, Flow, Outgoing, Payload, Unsent};
use crate::stats::Stats;
use crate::tcp::{Env, SegTable, Shared, Tcb, TcpOptions, call, connect, expiry, input, listen};
use crate::time::Instant;
use crate::types::{Direction, Ecn, FlowKey, Protocol};
use crate::wire::tcp::Segment;

/// Keeps what was sent, as the bytes of a TCP segment.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) sent: VecDeque<Vec<u8>>,
    pub(super) mtu: u16,
    /// The ECN field of the packet sent last.
    pub(super) ecn: Ecn,
    /// Refuse to send, for this reason.
    pub(super) refuse: Option<Unsent>,
    /// Frames stay lent until [`Host::complete`].
    pub(super) slow_nic: bool,
    lent: Vec<TxPkt>,
}

impl Egress for Wire {
    fn send(
        &mut self,
        pool: &mut Pool,
        _flow: &mut Flow,
        out: Outgoing<'_>,
        _now: Instant,
    ) -> Result<(), Unsent> {
        let mut refuse = self.refuse;
        let len = match &out.payload {
            Payload::None => 0,
            Payload::Lend(pkt) => pkt.len(),
            Payload::Give(pkt) => pkt.len(),
        };
        if 20 + out.header.len() + len > usize::from(self.mtu) {
            refuse = Some(Unsent::TooBig);
        }
        let mut bytes = out.header.to_vec();
        match out.payload {
            Payload::None => {}
            Payload::Give(pkt) => {
                bytes.extend_from_slice(pool.bytes(&pkt));
                pool.free(pkt);
            }
            Payload::Lend(pkt) => {
                if let Some(refuse) = refuse {
                    return Err(refuse);
                }
                let Some(room) = pool.headroom_mut(pkt, out.header.len()) else { return Err(Unsent::Lent) };
                room.copy_from_slice(out.header);
                bytes.extend_from_slice(pool.bytes(pkt));
                let tx = pool.lend(pkt, out.header.len(), TxChecksum::Complete).unwrap();
                match self.slow_nic {
                    true => self.lent.push(tx),
                    false => pool.take_back(tx),
                }
            }
        }
        if let Some(refuse) = refuse {
            return Err(refuse);
        }
        self.ecn = out.ecn;
        self.sent.push_back(bytes);
        Ok(())
    }

    fn mtu(&mut self, _flow: &mut Flow) -> u16 {
        self.mtu
    }
}

/// One end of a connection.
pub(super) struct Host {
    pub(super) now: Instant,
    pub(super) pool: Pool,
    pub(super) segs: SegTable,
    pub(super) wire: Wire,
    pub(super) stats: Stats,
    pub(super) config: TcpConfig,
    pub(super) options: TcpOptions,
    pub(super) shared: Shared,
    pub(super) tcb: Option<Tcb>,
    pub(super) flow: FlowKey,
    pub(super) burst: bool,
    /// Neither header prediction nor the short way of a write.
    pub(super) slowly: bool,
    /// The ECN field of what arrives.
    pub(super) ecn: Ecn,
}

impl Host {
    pub(super) fn new(frames: u32, local: u16, remote: u16) -> Self {
        // Buffers that stay as they are, so that windows can be told in advance.
        let buffers = TcpConfig { recv_buffer_max: 256 << 10, ..TcpConfig::default() };
        let config = TcpConfig { send_buffer: 256 << 10, recv_buffer: 256 << 10, ..buffers };
        Self {
            now: Instant::from_millis(1_000_000),
            pool: Pool::new(Arena::new(frames, 2048).unwrap()),
            segs: SegTable::new(frames),
            wire: Wire {
                sent: VecDeque::new(),
                mtu: 1500,
                ecn: Ecn::NotEct,
                refuse: None,
                slow_nic: false,
                lent: Vec::new(),
            },
            stats: Stats::default(),
            // In the midst of a conversation: no ACK is sent that could wait.
            options: TcpOptions { quickack: false, ..TcpOptions::new(&config) },
            config,
            shared: Shared::new(&HashKey::new([local as u8; 16])),
            tcb: None,
            flow: FlowKey {
                protocol: Protocol::Tcp,
                local: ([192, 0, 2, 1], local).into(),
                remote: ([192, 0, 2, 2], remote).into(),
            },
            burst: false,
            slowly: false,
            ecn: Ecn::NotEct,
        }
    }

    pub(super) fn with<T>(&mut self, f: impl FnOnce(&mut Tcb, &mut Env<'_, Wire>) -> T) -> T {
        let mut tcb = self.tcb.take().expect("a connection");
        let answer = f(&mut tcb, &mut self.env());
        self.tcb = Some(tcb);
        answer
    }

    pub(super) fn env(&mut self) -> Env<'_, Wire> {
        Env {
            now: self.now,
            pool: &mut self.pool,
            segs: &mut self.segs,
            egress: &mut self.wire,
            stats: &mut self.stats,
            config: &self.config,
            shared: &mut self.shared,
            burst: self.burst,
        }
    }

    pub(super) fn connect(&mut self) -> Result<(), SocketError> {
        let (flow, options) = (Flow::new(self.flow, Direction::Out), self.options);
        self.tcb = Some(connect::open(flow, options, &mut self.env())?);
        Ok(())
    }

    /// A segment from the network, as bytes. Without a connection it meets a listener.
    pub(super) fn receive(&mut self, bytes: &[u8]) {
        let seg = Segment::parse(bytes).expect("a well-formed segment");
        let seg = Segment { ecn: self.ecn, ..seg };
        if self.tcb.is_none() {
            if listen::check(&seg) == listen::Arrival::Syn {
                let (flow, options) = (Flow::new(self.flow, Direction::In), self.options);
                self.tcb = Some(listen::syn(&seg, flow, options, &mut self.env()));
            }
            return;
        }
        let Some(pkt) = self.frame(&bytes[usize::from(seg.header_len)..]) else { return };
        let slowly = self.slowly;
        self.with(|tcb, env| match slowly {
            true => input::segment_slowly(tcb, &seg, pkt, env),
            false => input::segment(tcb, &seg, pkt, env),
        });
    }

    /// A received frame. None when the pool is empty: then the NIC would have dropped it.
    fn frame(&mut self, payload: &[u8]) -> Option<Pkt> {
        let frame = self.pool.to_nic()?;
        let mut pkt = self.pool.from_nic(frame, 300, 0);
        let _ = self.pool.append_with(&mut pkt, payload.len(), |room| {
            room.copy_from_slice(payload);
            Ok::<_, Fault>(payload.len())
        });
        Some(pkt)
    }

    pub(super) fn send(&mut self, bytes: &[u8]) -> Result<usize, SocketError> {
        let mut rest = bytes;
        self.write(bytes.len(), false, |room| {
            room.copy_from_slice(&rest[..room.len()]);
            rest = &rest[room.len()..];
            Ok(room.len())
        })
    }

    /// As [`Host::send`], of what `source` gives; `more`: MSG_MORE.
    pub(super) fn write(
        &mut self,
        want: usize,
        more: bool,
        source: impl FnMut(&mut [u8]) -> Result<usize, Fault>,
    ) -> Result<usize, SocketError> {
        let slowly = self.slowly;
        self.with(|tcb, env| match slowly {
            true => call::send_slowly(tcb, env, want, more, source),
            false => call::send(tcb, env, want, more, source),
        })
    }

    pub(super) fn recv(&mut self, want: usize) -> Result<Vec<u8>, SocketError> {
        let mut bytes = Vec::new();
        let n = self.with(|tcb, env| {
            call::recv(tcb, env, want, false, |piece| {
                bytes.extend_from_slice(piece);
                Ok(())
            })
        })?;
        assert_eq!(n, bytes.len());
        Ok(bytes)
    }

    /// Runs the timers up to `now`, each at its time.
    pub(super) fn run_to(&mut self, now: Instant) {
        while self.tcb.as_ref().is_some_and(|tcb| tcb.next_deadline() <= now) {
            let due = self.tcb.as_ref().unwrap().next_deadline();
            self.now = due.max(self.now);
            self.with(expiry::timers);
        }
        self.now = now.max(self.now);
    }

    /// The NIC has sent all it was lent.
    pub(super) fn complete(&mut self) {
        for tx in self.wire.lent.drain(..) {
            self.pool.take_back(tx);
        }
    }

    pub(super) fn tcb(&self) -> &Tcb {
        self.tcb.as_ref().expect("a connection")
    }

    /// Drops the connection; every frame must be back.
    pub(super) fn close_books(&mut self) {
        if let Some(mut tcb) = self.tcb.take() {
            tcb.release(&mut self.pool, &mut self.segs);
        }
        self.complete();
        assert_eq!(self.pool.census().free, self.pool.frames(), "{:?}", self.pool.census());
    }
}
