//! The suite on ef_vi's stand-in, as every kind of adapter: on a wire in memory, and, as root, on a cable of the
//! laboratory's.

mod echo;
mod wire;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};

use echo::{Host, echo, join, serve};
use ef_vi::{EfVi, Options, Step};
use lab::{IFACE, Lab};
use nic::{Arena, Burst, Nic, Pool, TxChecksum};
use suite::{conform, ping};
use wire::EfViWire;

/// Posted frames; small ones go by CTPIO, and of those every fifth by its fallback.
#[test]
fn an_adapter_with_ctpio_conforms() {
    let mut wire = EfViWire::in_memory("x2");
    conform(&mut wire);
    // On a quiet wire every frame is sent by itself.
    (0..10).for_each(|turn| ping(&mut wire, 200_000 + turn * 10));
}

/// Posted frames; small ones go by PIO.
#[test]
fn an_adapter_with_pio_conforms() {
    conform(&mut EfViWire::in_memory("sfn7"));
}

/// Superbuffers, and a FIFO to send through.
#[test]
fn an_adapter_with_superbuffers_conforms() {
    conform(&mut EfViWire::in_memory("x3"));
}

#[test]
fn a_cable_conforms() {
    conform(&mut EfViWire::on_a_cable("x2"));
}

#[test]
fn a_cable_conforms_with_superbuffers() {
    conform(&mut EfViWire::on_a_cable("x3"));
}

const TEN_MIB: usize = 10 << 20;

#[test]
fn ten_mib_are_echoed_with_ctpio() {
    let counters = echo(["x2@memory:ctpio:0", "x2@memory:ctpio:1"], TEN_MIB);
    for counters in counters {
        // At least what begins the connection is small and finds a quiet wire.
        assert!(counters.tx_ctpio > 0 && counters.tx_ctpio <= counters.tx_small, "{counters:?}");
        assert_eq!((counters.rx_bad_checksum, counters.rx_discarded, counters.tx_failed), (0, 0, 0));
    }
}

#[test]
fn ten_mib_are_echoed_with_pio() {
    let counters = echo(["sfn7@memory:pio:0", "sfn7@memory:pio:1"], TEN_MIB);
    for counters in counters {
        assert!(counters.tx_small > 0 && counters.tx_ctpio == 0, "{counters:?}");
    }
}

#[test]
fn ten_mib_are_echoed_with_superbuffers() {
    let counters = echo(["x3@memory:superbuffers:0", "x3@memory:superbuffers:1"], TEN_MIB);
    for counters in counters {
        assert!(counters.tx_small == 0 && counters.rx_frames > 1000, "{counters:?}");
    }
}

#[test]
fn ten_mib_are_echoed_over_a_cable() {
    let lab = Lab::new("ef_vi_echo");
    let (server, client) = lab.pair();
    let there = client.enter(|| Host::new(&format!("x2@{IFACE}"), 1));
    let here = server.enter(|| Host::new(&format!("x3@{IFACE}"), 2));
    join([there, here], TEN_MIB);
}

/// Its owner hears of it, loses no frame that he can have back, and may open it again when it is there again.
#[test]
fn an_adapter_that_is_pulled_out_stops() {
    let lab = Lab::new("ef_vi_gone");
    let (host, _peer) = lab.pair();
    for kind in ["x2", "x3"] {
        let name = format!("{kind}@{IFACE}");
        let mut pool = Pool::new(Arena::new(256, 2048).unwrap());
        let mut open = || host.enter(|| EfVi::open(&name, &mut pool, &Options::default()));
        if kind == "x3" {
            assert_eq!(open().unwrap_err().step, Step::Domain, "it has gone");
            host.must(&["ip", "link", "add", IFACE, "type", "veth", "peer", "name", "other"]);
        }
        let mut nic = open().unwrap();
        host.must(&["ip", "link", "delete", IFACE]);
        let mut burst = Burst::new();
        assert_eq!(nic.rx(&mut pool, &mut burst, 64), 0);
        assert_eq!(nic.counters().halted, 1);
        let mut pkt = pool.alloc().unwrap();
        let _ = pool.append_with(&mut pkt, 60, |room| Ok::<_, ()>(room.len()));
        let loan = pool.give(pkt, 0, TxChecksum::Complete);
        assert!(nic.tx(&mut pool, loan).is_ok());
        nic.kick(&mut pool);
        assert!(!nic.rx_pending());
        assert_eq!((nic.counters().tx_rejected, nic.counters().halted), (1, 1));
        let census = pool.census();
        assert_eq!(census.free + census.nic, pool.frames(), "{census:?}");
    }
}

/// Which leaves its checksums unfinished on such a cable, as for an adapter; and would send longer frames than any.
#[test]
fn the_kernel_is_echoed() {
    const LEN: usize = 1 << 20;
    let lab = Lab::new("ef_vi_kernel");
    let (server, client) = lab.pair();
    let mut host = server.enter(|| Host::new(&format!("x2@{IFACE}"), 2));
    host.knows(Ipv4Addr::new(10, 88, 0, 1), client.link_address(IFACE));
    let mac: Vec<String> = host.nic.mac().iter().map(|octet| format!("{octet:02x}")).collect();
    let address = host.address.to_string();
    client.must(&["ip", "address", "add", "10.88.0.1/24", "dev", IFACE]);
    client.must(&["ip", "neighbour", "add", &address, "lladdr", &mac.join(":"), "dev", IFACE]);
    client.must(&["ethtool", "-K", IFACE, "tso", "off", "gso", "off"]);
    let counters = std::thread::scope(|scope| {
        let peer = scope.spawn(|| {
            let mut stream = client.enter(|| TcpStream::connect((address.as_str(), 7))).unwrap();
            let sent: Vec<u8> = (0..LEN).map(|n| (n >> 3) as u8).collect();
            let mut reader = stream.try_clone().unwrap();
            let heard = scope.spawn(move || {
                let mut got = Vec::new();
                reader.read_to_end(&mut got).unwrap();
                got
            });
            stream.write_all(&sent).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            assert!(heard.join().unwrap() == sent);
        });
        let counters = serve(host, || peer.is_finished());
        peer.join().unwrap();
        counters
    });
    assert_eq!((counters.rx_bad_checksum, counters.rx_discarded), (0, 0), "{counters:?}");
}
