//! Ours.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nic::{Arena, Pool, RxFrame, RxMeta, TxPkt};
use stack::Stack;
use stack::config::{Config, Secrets, TcpConfig};
use stack::control::{ControlEvent, Route};
use stack::socket::{OptName, RecvFlags, SendFlags, Value};
use stack::time::Instant;
use stack::types::{IfaceId, SocketId};

use super::{Engine, GATEWAY_MAC, MAC};
use crate::LOCAL;

const IFACE: IfaceId = IfaceId(1);
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
const FRAMES: u32 = 8192;

/// Our stack, and the frames that its NIC is sending.
#[derive(Debug)]
pub struct Ours {
    /// The stack.
    pub stack: Stack,
    listener: SocketId,
    lent: Vec<TxPkt>,
}

impl Ours {
    /// One whose interface has the address `local`, and reaches everybody by way of `gateway`.
    pub(super) fn at(local: IpAddr, gateway: IpAddr, connections: u32, window: usize) -> Self {
        let pool = Pool::new(Arena::new(FRAMES, 4096).expect("memory for the frames"));
        let buffer = window.max(256 * 1024);
        let tcp = TcpConfig { send_buffer: buffer, recv_buffer: buffer, ..TcpConfig::default() };
        let config = Config { max_sockets: connections + 4096, tcp, ..Config::default() };
        let mut stack = Stack::new(config, pool, Secrets([7; 32]));
        let everybody = match local {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        let route = |network, prefix, gateway| Route {
            network,
            prefix,
            gateway,
            iface: IFACE,
            source: Some(local),
            mtu: None,
        };
        let link = if local.is_ipv4() { 24 } else { 120 };
        for event in [
            ControlEvent::Iface { iface: IFACE, mac: MAC, mtu: 1500, up: true, tx_checksum: false },
            ControlEvent::Address { iface: IFACE, address: local, prefix: link, deprecated: false },
            ControlEvent::Routes(vec![route(gateway, link, None), route(everybody, 0, Some(gateway))]),
            ControlEvent::Neighbour { iface: IFACE, address: gateway, mac: GATEWAY_MAC },
        ] {
            stack.control(Instant::ZERO, event);
        }
        let listener = stack.tcp_socket(0).expect("a socket");
        stack.bind(listener, (local, 80).into()).expect("a local end");
        stack.listen(listener, 4096).expect("a listener");
        stack.set_option(Instant::ZERO, listener, OptName::NoDelay, Value::Int(1)).expect("TCP_NODELAY");
        Self { stack, listener, lent: Vec::new() }
    }
}

impl Engine for Ours {
    type Id = SocketId;
    type Frame = RxFrame;

    fn new(connections: u32, window: usize) -> Self {
        Self::at(LOCAL.into(), GATEWAY.into(), connections, window)
    }

    fn frame(&mut self, bytes: &[u8]) -> RxFrame {
        let pool = self.stack.pool_mut();
        let mut pkt = pool.alloc().expect("a frame to receive into");
        let _ = pool.append_with(&mut pkt, bytes.len(), |room| {
            room.copy_from_slice(bytes);
            Ok::<_, ()>(bytes.len())
        });
        RxFrame { pkt, meta: RxMeta::default() }
    }

    fn input(&mut self, ms: u64, mut frames: Vec<RxFrame>) {
        self.stack.rx_burst(Instant::from_millis(ms), IFACE, &mut frames);
        while self.stack.next_wake().is_some() {}
    }

    fn output(&mut self, each: &mut dyn FnMut(&[u8])) {
        while self.stack.next_request().is_some() {}
        let Some((pool, queue)) = self.stack.tx_queue(IFACE) else { return };
        while let Some(frame) = queue.pop_front() {
            each(pool.lent_bytes(&frame));
            self.lent.push(frame);
        }
        self.lent.drain(..).for_each(|frame| pool.take_back(frame));
    }

    fn accept(&mut self, ms: u64) -> Option<SocketId> {
        self.stack.accept(Instant::from_millis(ms), self.listener).ok().map(|accepted| accepted.id)
    }

    fn send(&mut self, ms: u64, id: SocketId, bytes: &[u8]) -> usize {
        let mut rest = bytes;
        let sent =
            self.stack.send(Instant::from_millis(ms), id, bytes.len(), SendFlags::default(), &mut |room| {
                let n = room.len().min(rest.len());
                room[..n].copy_from_slice(&rest[..n]);
                rest = &rest[n..];
                Ok(n)
            });
        sent.unwrap_or(0)
    }

    fn recv(&mut self, ms: u64, id: SocketId) -> usize {
        let mut all = 0;
        let now = Instant::from_millis(ms);
        while let Ok(n) = self.stack.recv(now, id, 1 << 20, RecvFlags::default(), &mut |_| Ok(())) {
            if n == 0 {
                break;
            }
            all += n;
        }
        all
    }

    fn close(&mut self, ms: u64, id: SocketId) {
        self.stack.close(Instant::from_millis(ms), id).expect("an open socket");
    }

    fn time(&mut self, ms: u64) {
        let now = Instant::from_millis(ms);
        if self.stack.next_deadline() <= now {
            self.stack.expire(now);
        }
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        self.output(&mut |_| {});
    }
}
