//! smoltcp as a peer.

use std::collections::VecDeque;
use std::time::Duration;

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp::{Socket, SocketBuffer, State};
use smoltcp::time::Instant as Moment;
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpAddress, IpCidr};
use stack::time::Instant;

use super::{MAC, OUR_MAC, OURS, Peer};

/// Its buffers, in bytes.
const BUFFER: usize = 256 * 1024;
/// The port that connections to us come from.
const OWN_PORT: u16 = 50_000;

#[derive(Debug, Default)]
struct Wire {
    arrived: VecDeque<Vec<u8>>,
    sent: VecDeque<Vec<u8>>,
}

struct Rx(Vec<u8>);
struct Tx<'a>(&'a mut VecDeque<Vec<u8>>);

impl RxToken for Rx {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

impl TxToken for Tx<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut frame = vec![0; len];
        let result = f(&mut frame);
        self.0.push_back(frame);
        result
    }
}

impl Device for Wire {
    type RxToken<'a> = Rx;
    type TxToken<'a> = Tx<'a>;

    fn receive(&mut self, _: Moment) -> Option<(Rx, Tx<'_>)> {
        let frame = self.arrived.pop_front()?;
        Some((Rx(frame), Tx(&mut self.sent)))
    }

    fn transmit(&mut self, _: Moment) -> Option<Tx<'_>> {
        Some(Tx(&mut self.sent))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut caps = DeviceCapabilities::default();
        caps.medium = Medium::Ethernet;
        caps.max_transmission_unit = 1514;
        caps
    }
}

/// smoltcp with one socket.
pub struct Smol {
    interface: Interface,
    wire: Wire,
    sockets: SocketSet<'static>,
    handle: SocketHandle,
}

fn moment(now: Instant) -> Moment {
    Moment::from_micros((now.as_nanos() / 1000) as i64)
}

impl Smol {
    /// smoltcp at [`ADDRESS`](super::ADDRESS).
    #[must_use]
    pub fn new() -> Self {
        let mut wire = Wire::default();
        let config = Config::new(HardwareAddress::Ethernet(EthernetAddress(MAC)));
        let mut interface = Interface::new(config, &mut wire, Moment::ZERO);
        interface.update_ip_addrs(|a| {
            let _ = a.push(IpCidr::new(IpAddress::v4(10, 77, 0, 2), 24));
        });
        let buffer = || SocketBuffer::new(vec![0; BUFFER]);
        let mut sockets = SocketSet::new(vec![]);
        let handle = sockets.add(Socket::new(buffer(), buffer()));
        Self { interface, wire, sockets, handle }
    }

    fn socket(&mut self) -> &mut Socket<'static> {
        self.sockets.get_mut(self.handle)
    }

    /// The answer to the ARP request `request`, if it asks for us.
    fn arp(request: &[u8]) -> Option<Vec<u8>> {
        if request[12..14] != [8, 6] || request[38..42] != OURS.octets() {
            return None;
        }
        let mut reply = [MAC, OUR_MAC].concat();
        reply.extend(&request[12..20]);
        reply.extend([0, 2]);
        reply.extend(OUR_MAC);
        reply.extend(OURS.octets());
        reply.extend(&request[22..32]);
        Some(reply)
    }
}

impl Default for Smol {
    fn default() -> Self {
        Self::new()
    }
}

impl Peer for Smol {
    fn listen(&mut self, port: u16) {
        self.socket().listen(port).expect("a fresh socket");
    }

    fn connect(&mut self, now: Instant, port: u16) {
        let socket = self.sockets.get_mut::<Socket<'_>>(self.handle);
        let remote = (IpAddress::from(OURS), port);
        socket.connect(self.interface.context(), remote, OWN_PORT).expect("a fresh socket");
        self.poll(now);
    }

    fn input(&mut self, now: Instant, frame: &[u8]) {
        self.wire.arrived.push_back(frame.to_vec());
        self.poll(now);
    }

    fn poll(&mut self, now: Instant) {
        self.interface.poll(moment(now), &mut self.wire, &mut self.sockets);
    }

    fn output(&mut self) -> Option<Vec<u8>> {
        loop {
            let frame = self.wire.sent.pop_front()?;
            match Self::arp(&frame) {
                // ARP is the kernel's, not the stack's; here the cable answers for it.
                Some(reply) => self.wire.arrived.push_back(reply),
                None => return Some(frame),
            }
        }
    }

    fn next(&mut self, now: Instant) -> Instant {
        if !self.wire.arrived.is_empty() {
            return now;
        }
        match self.interface.poll_delay(moment(now), &self.sockets) {
            Some(delay) => now + Duration::from_micros(delay.total_micros().max(1)),
            None => Instant::NEVER,
        }
    }

    fn send(&mut self, bytes: &[u8]) -> usize {
        let socket = self.socket();
        assert!(socket.state() != State::Closed, "smoltcp gave the connection up");
        if socket.can_send() { socket.send_slice(bytes).unwrap_or(0) } else { 0 }
    }

    fn recv(&mut self, room: &mut [u8]) -> usize {
        let socket = self.socket();
        if socket.can_recv() { socket.recv_slice(room).unwrap_or(0) } else { 0 }
    }

    fn finish(&mut self) {
        self.socket().close();
    }

    fn has_ended(&mut self) -> bool {
        let socket = self.socket();
        !socket.may_recv() && !matches!(socket.state(), State::Listen | State::SynSent | State::SynReceived)
    }
}
