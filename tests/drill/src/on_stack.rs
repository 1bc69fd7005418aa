//! The stack as a subject: its public calls and its frames, in virtual time.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use nic::{Arena, Census, Pool, RxChecksum, RxFrame, RxMeta};
use stack::Stack;
use stack::config::{Config, Secrets};
use stack::control::{ControlEvent, Route};
use stack::socket::{How, OptName, RecvFlags, SendFlags, TcpInfo, Value};
use stack::time::Instant;
use stack::types::{IfaceId, Readiness, SocketId};

use crate::drill::Family;
use crate::subject::{Answer, Errno, Fd, Knob, State, Subject};

const IFACE: IfaceId = IfaceId(1);
const FRAMES: u32 = 1024;
const ETHERNET: usize = 14;
const OURS: [u8; 6] = [2, 0, 0, 0, 0, 1];
const PEERS: [u8; 6] = [2, 0, 0, 0, 0, 2];

/// A stack with one interface and one neighbour, the drill.
#[derive(Debug)]
pub struct OnStack {
    stack: Stack,
    ethertype: u16,
    begun: Instant,
    now: Instant,
    sockets: Vec<Option<SocketId>>,
    woken: Vec<(SocketId, Readiness)>,
    sent: VecDeque<Vec<u8>>,
}

impl OnStack {
    /// A fresh stack, with the drill's addresses.
    ///
    /// # Panics
    /// When the host has no memory for its frames.
    #[must_use]
    pub fn new(family: Family, knobs: &[Knob]) -> Self {
        let mut config = Config::default();
        let mut mtu = 1500;
        for knob in knobs {
            match *knob {
                Knob::ChallengeAcks(n) => config.tcp.challenge_acks_per_second = n,
                Knob::SynRetries(n) => config.tcp.syn_retries = n,
                Knob::SynAckRetries(n) => config.tcp.synack_retries = n,
                Knob::Retries(n) => config.tcp.retries = n,
                Knob::FinTimeout(s) => config.tcp.fin_timeout = Duration::from_secs(s.into()),
                Knob::FastOpen(n) => config.tcp.fast_open = n.into(),
                Knob::Ecn(n) => config.tcp.ecn = n,
                Knob::SynCookies(n) => config.tcp.syn_cookies = n,
                Knob::MtuProbing(n) => config.tcp.mtu_probing = n,
                Knob::Mtu(n) => mtu = n,
                Knob::AnyAddress | Knob::KernelOnly(..) => {}
            }
        }
        let pool = Pool::new(Arena::new(FRAMES, 2048).expect("memory for the frames"));
        let begun = Instant::from_millis(1_000_000);
        let mut stack = Stack::new(config, pool, Secrets([7; 32]));
        let (local, remote) = (family.local(), family.remote());
        let prefix = if local.is_ipv4() { 24 } else { 64 };
        let iface = ControlEvent::Iface { iface: IFACE, mac: OURS, mtu, up: true, tx_checksum: false };
        let route =
            Route { network: family.network(), prefix, gateway: None, iface: IFACE, source: None, mtu: None };
        for event in [
            iface,
            ControlEvent::Address { iface: IFACE, address: local, prefix, deprecated: false },
            ControlEvent::Routes(vec![route]),
            ControlEvent::Neighbour { iface: IFACE, address: remote, mac: PEERS },
        ] {
            stack.control(begun, event);
        }
        let ethertype = if local.is_ipv4() { 0x0800 } else { 0x86dd };
        Self { stack, ethertype, begun, now: begun, sockets: vec![], woken: vec![], sent: VecDeque::new() }
    }

    fn add(&mut self, id: SocketId) -> Fd {
        self.sockets.push(Some(id));
        self.sockets.len() - 1
    }

    fn id(&self, fd: Fd) -> Answer<SocketId> {
        self.sockets.get(fd).copied().flatten().ok_or(Errno(9))
    }

    fn drain(&mut self) {
        while self.stack.next_request().is_some() {}
        if let Some((pool, queue)) = self.stack.tx_queue(IFACE) {
            while let Some(tx) = queue.pop_front() {
                self.sent.push_back(pool.lent_bytes(&tx)[ETHERNET..].to_vec());
                pool.take_back(tx);
            }
        }
        while let Some(wake) = self.stack.next_wake() {
            self.woken.push((wake.id, wake.readiness));
        }
    }

    /// Does `what` to a socket and takes what comes of it.
    fn call<T>(
        &mut self,
        fd: Fd,
        what: impl FnOnce(&mut Stack, Instant, SocketId) -> stack::socket::Result<T>,
    ) -> Answer<T> {
        let id = self.id(fd)?;
        let answer = what(&mut self.stack, self.now, id);
        self.drain();
        answer.map_err(Errno::from)
    }
}

impl Subject for OnStack {
    fn elapsed(&self) -> Duration {
        self.now.since(self.begun)
    }

    fn run_to(&mut self, at: Duration) {
        let end = self.begun + at;
        while self.stack.next_deadline() <= end {
            self.now = self.now.max(self.stack.next_deadline());
            self.stack.expire(self.now);
            self.drain();
        }
        self.now = self.now.max(end);
    }

    fn inject(&mut self, packet: &[u8]) {
        let mut bytes = [&OURS[..], &PEERS, &self.ethertype.to_be_bytes()].concat();
        bytes.extend_from_slice(packet);
        let pool = self.stack.pool_mut();
        let mut pkt = pool.alloc().expect("a frame to receive into");
        let wrote = pool.append_with(&mut pkt, bytes.len(), |room| {
            let n = room.len().min(bytes.len());
            room[..n].copy_from_slice(&bytes[..n]);
            Ok::<_, ()>(n)
        });
        assert_eq!(wrote, Some(Ok(bytes.len())), "a packet that fits a frame");
        let frame = RxFrame { pkt, meta: RxMeta { checksum: RxChecksum::Unknown } };
        self.stack.rx(self.now, IFACE, frame);
        self.drain();
    }

    fn next_sent(&mut self) -> Option<Vec<u8>> {
        self.sent.pop_front()
    }

    fn sent_by_now(&mut self) -> Option<Vec<u8>> {
        self.sent.pop_front()
    }

    fn socket(&mut self) -> Answer<Fd> {
        let id = self.stack.tcp_socket(0)?;
        Ok(self.add(id))
    }

    fn bind(&mut self, fd: Fd, local: SocketAddr) -> Answer<()> {
        self.call(fd, |stack, _, id| stack.bind(id, local))
    }

    fn listen(&mut self, fd: Fd, backlog: u32) -> Answer<()> {
        self.call(fd, |stack, _, id| stack.listen(id, backlog))
    }

    fn connect(&mut self, fd: Fd, remote: SocketAddr) -> Answer<()> {
        self.call(fd, |stack, now, id| stack.connect(now, id, remote))
    }

    fn send_opening(&mut self, fd: Fd, remote: SocketAddr, bytes: &[u8]) -> Answer<usize> {
        let mut rest = bytes;
        self.call(fd, |stack, now, id| {
            stack.send_opening(now, id, remote, bytes.len(), &mut |room| {
                let n = room.len().min(rest.len());
                room[..n].copy_from_slice(&rest[..n]);
                rest = &rest[n..];
                Ok(n)
            })
        })
    }

    fn accept(&mut self, fd: Fd) -> Answer<Fd> {
        let accepted = self.call(fd, |stack, now, id| stack.accept(now, id))?;
        Ok(self.add(accepted.id))
    }

    fn send(&mut self, fd: Fd, bytes: &[u8], flags: SendFlags) -> Answer<usize> {
        let mut rest = bytes;
        self.call(fd, |stack, now, id| {
            stack.send(now, id, bytes.len(), flags, &mut |room| {
                let n = room.len().min(rest.len());
                room[..n].copy_from_slice(&rest[..n]);
                rest = &rest[n..];
                Ok(n)
            })
        })
    }

    fn recv(&mut self, fd: Fd, want: usize, flags: RecvFlags) -> Answer<Vec<u8>> {
        let mut got = Vec::new();
        let n = self.call(fd, |stack, now, id| {
            stack.recv(now, id, want, flags, &mut |piece| {
                got.extend_from_slice(piece);
                Ok(())
            })
        })?;
        assert!(flags.trunc || n == got.len(), "recv answers {n} and gives {}", got.len());
        Ok(got)
    }

    fn shutdown(&mut self, fd: Fd, how: How) -> Answer<()> {
        self.call(fd, |stack, now, id| stack.shutdown(now, id, how))
    }

    fn close(&mut self, fd: Fd) {
        if self.call(fd, |stack, now, id| stack.close(now, id)).is_ok() {
            self.sockets[fd] = None;
        }
    }

    fn set(&mut self, fd: Fd, name: OptName, value: Value) -> Answer<()> {
        self.call(fd, |stack, now, id| stack.set_option(now, id, name, value))
    }

    fn get(&mut self, fd: Fd, name: OptName) -> Answer<Value> {
        self.call(fd, |stack, _, id| stack.option(id, name))
    }

    fn info(&mut self, fd: Fd) -> TcpInfo {
        match self.get(fd, OptName::Info) {
            Ok(Value::Info(info)) => info,
            other => panic!("TCP_INFO answers {other:?}"),
        }
    }

    fn readiness(&mut self, fd: Fd) -> Readiness {
        self.id(fd).map_or(Readiness::NONE, |id| self.stack.readiness(id))
    }

    fn wakes(&mut self, fd: Fd) -> Readiness {
        let Ok(id) = self.id(fd) else { return Readiness::NONE };
        let last = self.woken.iter().rev().find(|(woken, _)| *woken == id).map(|(_, ready)| *ready);
        self.woken.retain(|(woken, _)| *woken != id);
        last.unwrap_or(Readiness::NONE)
    }

    fn state(&mut self, local: SocketAddr, remote: SocketAddr) -> State {
        let mut all = self.stack.sockets().filter(|s| s.local == Some(local) && s.remote == Some(remote));
        // An application may still hold the socket of a connection that is waited out elsewhere.
        let ours = all.find(|s| s.state != "CLOSED");
        match ours.map(|s| s.state) {
            None => State::Closed,
            Some("SYN-SENT") => State::SynSent,
            Some("SYN-RECEIVED") => State::SynReceived,
            Some("ESTABLISHED") => State::Established,
            Some("FIN-WAIT-1") => State::FinWait1,
            Some("FIN-WAIT-2") => State::FinWait2,
            Some("CLOSE-WAIT") => State::CloseWait,
            Some("CLOSING") => State::Closing,
            Some("LAST-ACK") => State::LastAck,
            Some("TIME-WAIT") => State::TimeWait,
            Some(other) => panic!("a state called {other}"),
        }
    }

    /// No frame may be lost, whatever the drill did.
    fn finish(&mut self) {
        self.stack.reset_all(self.now);
        self.drain();
        // Handshakes of a listener that is gone go when their timers come, as in Linux.
        self.run_to(self.elapsed() + Duration::from_secs(300));
        let frames = self.stack.pool().frames();
        assert_eq!(self.stack.pool().census(), Census { free: frames, ..Census::default() });
        let left: Vec<IpAddr> = self.stack.sockets().filter_map(|s| s.remote).map(|r| r.ip()).collect();
        assert_eq!(left, [] as [IpAddr; 0], "sockets that are left");
    }
}
