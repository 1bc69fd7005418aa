//! smoltcp.

use std::collections::VecDeque;

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp::{Socket, SocketBuffer, State};
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpAddress, IpCidr, Ipv4Address};

use super::{Engine, GATEWAY_MAC, MAC};

/// The buffers of a socket where nothing else is asked for: a few segments.
const BUFFER: usize = 16 * 1024;

/// A driver with queues of ready-made frames; sent ones are written into frames used before.
#[derive(Debug, Default)]
struct Driver {
    arrived: VecDeque<Vec<u8>>,
    sent: VecDeque<Vec<u8>>,
    free: Vec<Vec<u8>>,
}

#[derive(Debug)]
struct Rx<'a>(Vec<u8>, &'a mut Vec<Vec<u8>>);
#[derive(Debug)]
struct Tx<'a>(&'a mut VecDeque<Vec<u8>>, Vec<u8>);

impl RxToken for Rx<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        let result = f(&self.0);
        self.1.push(self.0);
        result
    }
}

impl TxToken for Tx<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(mut self, len: usize, f: F) -> R {
        self.1.resize(len, 0);
        let result = f(&mut self.1);
        self.0.push_back(self.1);
        result
    }
}

impl Device for Driver {
    type RxToken<'a> = Rx<'a>;
    type TxToken<'a> = Tx<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Rx<'_>, Tx<'_>)> {
        let frame = self.arrived.pop_front()?;
        let reused = self.free.pop().unwrap_or_default();
        Some((Rx(frame, &mut self.free), Tx(&mut self.sent, reused)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Tx<'_>> {
        let reused = self.free.pop().unwrap_or_default();
        Some(Tx(&mut self.sent, reused))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut caps = DeviceCapabilities::default();
        caps.medium = Medium::Ethernet;
        caps.max_transmission_unit = 1514;
        caps
    }
}

/// smoltcp, its driver and its sockets.
pub struct Smol {
    interface: Interface,
    driver: Driver,
    sockets: SocketSet<'static>,
    listening: Vec<SocketHandle>,
    window: usize,
}

impl Smol {
    fn poll(&mut self, ms: u64) {
        self.interface.poll(Instant::from_millis(ms as i64), &mut self.driver, &mut self.sockets);
    }
}

impl Engine for Smol {
    type Id = SocketHandle;
    type Frame = Vec<u8>;
    const MOST_WINDOWS: u32 = 100;

    fn new(_: u32, window: usize) -> Self {
        let mut driver = Driver::default();
        let config = Config::new(HardwareAddress::Ethernet(EthernetAddress(MAC)));
        let mut interface = Interface::new(config, &mut driver, Instant::ZERO);
        interface.update_ip_addrs(|a| {
            let _ = a.push(IpCidr::new(IpAddress::v4(10, 77, 0, 1), 24));
        });
        let gateway = Ipv4Address::new(10, 77, 0, 2);
        interface.routes_mut().add_default_ipv4_route(gateway).expect("room for a route");
        let window = if window == 0 { BUFFER } else { window };
        let mut smol =
            Self { interface, driver, sockets: SocketSet::new(vec![]), listening: Vec::new(), window };
        smol.meet_gateway();
        smol
    }

    fn expect(&mut self, syns: usize) {
        for _ in 0..syns {
            let buffer = || SocketBuffer::new(vec![0; self.window]);
            let mut socket = Socket::new(buffer(), buffer());
            socket.set_nagle_enabled(false);
            socket.listen(80).expect("a fresh socket");
            self.listening.push(self.sockets.add(socket));
        }
    }

    fn frame(&mut self, bytes: &[u8]) -> Vec<u8> {
        bytes.to_vec()
    }

    fn input(&mut self, ms: u64, frames: Vec<Vec<u8>>) {
        self.driver.arrived.extend(frames);
        self.poll(ms);
    }

    fn output(&mut self, each: &mut dyn FnMut(&[u8])) {
        while let Some(frame) = self.driver.sent.pop_front() {
            each(&frame);
            self.driver.free.push(frame);
        }
    }

    fn accept(&mut self, _: u64) -> Option<SocketHandle> {
        let open = |handle: &SocketHandle| {
            matches!(self.sockets.get::<Socket<'_>>(*handle).state(), State::Established | State::CloseWait)
        };
        let at = self.listening.iter().position(open)?;
        Some(self.listening.remove(at))
    }

    fn send(&mut self, ms: u64, id: SocketHandle, bytes: &[u8]) -> usize {
        let taken = self.sockets.get_mut::<Socket<'_>>(id).send_slice(bytes).unwrap_or(0);
        self.poll(ms);
        taken
    }

    fn recv(&mut self, _: u64, id: SocketHandle) -> usize {
        let socket = self.sockets.get_mut::<Socket<'_>>(id);
        let mut all = 0;
        while socket.can_recv() {
            all += socket.recv(|bytes| (bytes.len(), bytes.len())).unwrap_or(0);
        }
        all
    }

    fn close(&mut self, ms: u64, id: SocketHandle) {
        self.sockets.get_mut::<Socket<'_>>(id).close();
        self.poll(ms);
    }

    fn forget(&mut self, id: SocketHandle) {
        self.sockets.remove(id);
    }

    fn time(&mut self, ms: u64) {
        self.poll(ms);
    }
}

impl Smol {
    /// An ARP request of the gateway's: who asks is known from then on.
    fn meet_gateway(&mut self) {
        let mut request = vec![0xff; 6];
        request.extend(GATEWAY_MAC);
        request.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
        request.extend(GATEWAY_MAC);
        request.extend([10, 77, 0, 2, 0, 0, 0, 0, 0, 0, 10, 77, 0, 1]);
        self.driver.arrived.push_back(request);
        self.poll(0);
        self.driver.sent.clear();
    }
}
