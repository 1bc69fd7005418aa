//! Two of ef_vi's stand-ins, joined.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};

use ef_vi::{EfVi, Filter, Options};
use lab::{IFACE, Lab, Namespace};
use nic::{Arena, Pool};
use suite::{Address, End, PORT, Wire};

const FRAMES: u32 = 512;
const UDP: u8 = 17;
/// Small, so that it wraps; the receive ring holds more than it, so that a whole one arrives.
const TX_RING: u16 = 64;

static WIRES: AtomicU32 = AtomicU32::new(0);

/// Two adapters of one kind and what is between them.
pub(crate) struct EfViWire {
    sides: [Side; 2],
    // Last: what is open goes before what it is open on.
    _lab: Option<Lab>,
}

struct Side {
    /// The kind, an @, and the interface or the end of a wire in memory.
    name: String,
    host: Option<Namespace>,
    ip: Ipv4Addr,
    end: Option<End>,
}

impl EfViWire {
    pub(crate) fn in_memory(kind: &str) -> Self {
        let wire = WIRES.fetch_add(1, Ordering::Relaxed);
        let name = |side: usize| format!("{kind}@memory:suite{wire}:{side}");
        Self::new([(name(0), None), (name(1), None)], None)
    }

    /// The kernel has other addresses there than the adapters, so it has nothing to answer.
    pub(crate) fn on_a_cable(kind: &str) -> Self {
        let lab = Lab::new("ef_vi");
        let (server, client) = lab.pair();
        let name = format!("{kind}@{IFACE}");
        Self::new([(name.clone(), Some(server)), (name, Some(client))], Some(lab))
    }

    fn new(sides: [(String, Option<Namespace>); 2], lab: Option<Lab>) -> Self {
        let mut octets = 1..;
        let sides = sides.map(|(name, host)| {
            let ip = Ipv4Addr::new(10, 88, 0, octets.next().unwrap_or(0));
            Side { name, host, ip, end: None }
        });
        let mut wire = Self { sides, _lab: lab };
        wire.open(0);
        wire.open(1);
        wire
    }

    fn open(&mut self, side: usize) {
        let Side { name, host, ip, end } = &mut self.sides[side];
        let open = || open(name, *ip);
        *end = Some(match host {
            Some(host) => host.enter(open),
            None => open(),
        });
    }
}

fn open(name: &str, ip: Ipv4Addr) -> End {
    let mut pool = Pool::new(Arena::new(FRAMES, 2048).expect("an arena"));
    let options = Options { tx_ring: Some(TX_RING), ..Options::default() };
    let mut nic = EfVi::open(name, &mut pool, &options).unwrap_or_else(|error| panic!("{error}"));
    let local = SocketAddr::from((ip, PORT));
    nic.add_filter(Filter { protocol: UDP, local, remote: None }).unwrap_or_else(|error| panic!("{error}"));
    let address = Address { mac: nic.mac(), ip };
    End::new(Box::new(nic), pool, address)
}

impl Wire for EfViWire {
    fn ends(&mut self) -> [&mut End; 2] {
        self.sides.each_mut().map(|side| side.end.as_mut().expect("an open end"))
    }

    fn reopen(&mut self, side: usize) {
        self.sides[side].end = None;
        self.open(side);
    }
}
