//! AF_XDP on two interfaces of the laboratory.

use std::net::{Ipv4Addr, SocketAddr};

use af_xdp::{Options, Port, RingSizes, SetupError, Steering, UmemMode, XdpMode};
use lab::{CLIENT, IFACE, Lab, Namespace, SERVER, Signal, eventually};
use nic::{Arena, Pool, TxChecksum};

use crate::end::{End, Wire, within};
use crate::frame::{Address, PORT, SHORTEST, Sum, frame};

const FRAMES: u32 = 512;
const UDP: u8 = 17;

/// Tells the driver that will be killed where its frames go: a link address and a network's.
const PEER: &str = "NIC_SUITE_PEER";
/// And where the steering program is to run.
const XDP: &str = "NIC_SUITE_XDP";

/// Two interfaces, each in a namespace of its own.
#[derive(Debug)]
pub struct XskWire {
    sides: [Side; 2],
    options: Options,
    // Last: what is open goes before what it is open on.
    _lab: Lab,
}

#[derive(Debug)]
struct Side {
    host: Namespace,
    address: Address,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    end: End,
    modes: (XdpMode, UmemMode),
    _steering: Steering,
}

impl XskWire {
    /// The ends of the laboratory's first cable, opened with these wishes; rings are small, so that they wrap.
    ///
    /// # Panics
    /// When they cannot be opened.
    #[must_use]
    pub fn new(what: &str, options: &Options) -> Self {
        let lab = Lab::new(what);
        let (server, client) = lab.pair();
        let rings = RingSizes { fill: 64, completion: 64, rx: 64, tx: 64 };
        let options = Options { rings, ..*options };
        let side = |host: Namespace, ip: &str| {
            let address = Address { mac: host.link_address(IFACE), ip: ip.parse().expect("an address") };
            Side { host, address, open: None }
        };
        let mut wire = Self { sides: [side(server, SERVER), side(client, CLIENT)], options, _lab: lab };
        wire.open(0);
        wire.open(1);
        wire
    }

    /// The modes in which an end is open.
    ///
    /// # Panics
    /// When it is not.
    #[must_use]
    pub fn modes(&self, side: usize) -> (XdpMode, UmemMode) {
        self.sides[side].open.as_ref().expect("an open end").modes
    }

    /// A frame with a tag that tells a priority and no VLAN (IEEE 802.1Q 6.9.1) comes without it.
    ///
    /// # Panics
    /// When it does not.
    pub fn ping_with_priority(&mut self, number: u32) {
        let [from, to] = self.ends();
        let plain = frame(from.address, to.address, number, SHORTEST + 100, Sum::Finished);
        let tagged = [&plain[..12], &[0x81, 0, 0xa0, 0], &plain[12..]].concat();
        from.send(&tagged, TxChecksum::Complete);
        let mut came = Vec::new();
        within("a frame with a priority", || {
            to.receive(64, |of, _, bytes| came.extend((of == number).then(|| bytes.to_vec())));
            !came.is_empty()
        });
        assert_eq!(came, [plain]);
        from.settle();
    }

    /// Has another process drive an end, which is this executable again, its test `role`: kills it while it sends
    /// all it can, and opens the end again.
    ///
    /// # Panics
    /// When its frames do not come, or the end cannot be opened again.
    pub fn kill_a_driver(&mut self, side: usize, role: &str) {
        self.sides[side].open = None;
        let peer = self.sides[1 - side].address;
        let executable = std::env::current_exe().expect("this executable");
        let words = [executable.to_str().expect("a path in UTF-8"), "--exact", role, "--nocapture"];
        let octets: Vec<String> = peer.mac.iter().chain(&peer.ip.octets()).map(u8::to_string).collect();
        let host = &self.sides[side].host;
        let xdp = self.options.xdp.map_or("", XdpMode::name);
        let mut driver = host.spawn_with(&words, &[(PEER, &octets.join(" ")), (XDP, xdp)]);
        let mut came = 0;
        eventually("frames of a driver, or its end", 20, || {
            let other = self.sides[1 - side].open.as_mut().expect("an open end");
            other.end.receive(64, |_, _, _| came += 1);
            came >= 500 || !driver.is_running()
        });
        assert!(came >= 500, "{came} frames came of a driver: {}", driver.said());
        driver.signal(Signal::Kill);
        assert_eq!(driver.ended(10), 128 + 9, "{}", driver.said());
        self.open(side);
    }

    fn open(&mut self, side: usize) {
        let Side { host, address, open } = &mut self.sides[side];
        let opened = host.enter(|| Open::new(*address, &self.options));
        *open = Some(opened.unwrap_or_else(|e| panic!("{e}")));
    }
}

impl Open {
    fn new(address: Address, options: &Options) -> Result<Self, SetupError> {
        let mut pool = Pool::new(Arena::new(FRAMES, 2048).expect("an arena"));
        let port = Port::open(&mut pool, &[IFACE], options)?;
        let (mut roads, _) = port.adopt(0, &mut pool, &|_| false)?;
        let road = roads.pop().expect("a road");
        let steering = road.steering.expect("a steering program");
        steering.add_port(UDP, SocketAddr::from((address.ip, PORT)), 0).expect("a place in the maps");
        let modes = (road.nic.xdp_mode(), road.nic.umem_mode());
        Ok(Self { end: End::new(Box::new(road.nic), pool, address), modes, _steering: steering })
    }
}

impl Wire for XskWire {
    fn ends(&mut self) -> [&mut End; 2] {
        self.sides.each_mut().map(|side| &mut side.open.as_mut().expect("an open end").end)
    }

    fn reopen(&mut self, side: usize) {
        self.sides[side].open = None;
        self.open(side);
    }
}

/// What [`XskWire::kill_a_driver`] kills: drives the interface in this namespace, as long as it lives. In a process
/// that was not started for it, does nothing.
///
/// # Panics
/// When the interface cannot be driven.
pub fn drive_until_killed() {
    let Ok(peer) = std::env::var(PEER) else { return };
    let octets: Vec<u8> = peer.split(' ').filter_map(|octet| octet.parse().ok()).collect();
    let to = Address {
        mac: octets[..6].try_into().expect("a link address"),
        ip: Ipv4Addr::new(octets[6], octets[7], octets[8], octets[9]),
    };
    let address = Address { mac: [2, 0, 0, 0, 0, 9], ip: Ipv4Addr::new(10, 77, 0, 9) };
    let named = std::env::var(XDP).unwrap_or_default();
    let xdp = XdpMode::ALL.into_iter().find(|mode| mode.name() == named);
    let mut open =
        Open::new(address, &Options { xdp, ..Options::default() }).unwrap_or_else(|e| panic!("{e}"));
    for number in 0.. {
        let bytes = frame(address, to, number, SHORTEST, Sum::Finished);
        open.end.send(&bytes, TxChecksum::Complete);
        open.end.drain();
    }
}
