//! The suite on AF_XDP: in every mode that the laboratory's cable has. As root.

use af_xdp::{BindMode, Interface, Offload, Options, Port, XdpMode};
use lab::{IFACE, Lab, Nics};
use nic::{Arena, Nic, Pool};
use suite::{XskWire, conform, ping};

#[test]
fn driver() {
    suite::drive_until_killed();
}

/// Also on those that only the XDP program brings: virtio_net receives on them, and ethtool counts them not.
#[test]
fn every_queue_that_the_kernel_receives_on_has_a_socket() {
    let lab = Lab::new("queues");
    let (host, _peer) = lab.pair();
    let channels = |count| {
        if Nics::are_given() {
            host.must(&["ethtool", "-L", IFACE, "combined", count]);
        }
    };
    channels("1");
    let mut pool = Pool::new(Arena::new(512, 2048).unwrap());
    let port = host.enter(|| Port::open(&mut pool, &[IFACE], &Options::default())).unwrap();
    let (roads, _) = port.adopt(0, &mut pool, &|_| false).unwrap();
    let queues = host.must(&["ls", &format!("/sys/class/net/{IFACE}/queues")]);
    let receiving = queues.split_whitespace().filter(|name| name.starts_with("rx-")).count();
    assert_eq!(roads[0].nic.wait_fds().len(), receiving);
    let mut now = host.enter(|| Interface::find(IFACE)).unwrap();
    now.recount();
    assert_eq!(&now, roads[0].nic.interface(), "who looks again while it is open counts the same");
    drop(roads);
    channels("2");
}

fn conforms(what: &str, options: &Options) -> XskWire {
    let mut wire = XskWire::new(what, options);
    println!("{:?}", wire.modes(0));
    conform(&mut wire);
    wire.ping_with_priority(1);
    wire
}

/// Native, and zero-copy where the NICs have it: veth has not.
#[test]
fn native() {
    // virtio_net takes no long frames: to ask every time would double what a slow machine has to verify.
    let multi_buffer = !Nics::are_given();
    let mut wire =
        conforms("native", &Options { xdp: Some(XdpMode::Native), multi_buffer, ..Options::default() });
    for side in [0, 1] {
        let (_, umem) = wire.modes(side);
        assert_eq!(umem.bind, if Nics::are_given() { BindMode::ZeroCopy } else { BindMode::Copy });
    }
    wire.kill_a_driver(0, "driver");
    ping(&mut wire, 1);
}

#[test]
fn generic() {
    let mut wire = conforms("generic", &Options { xdp: Some(XdpMode::Generic), ..Options::default() });
    assert_eq!(wire.modes(0).1.bind, BindMode::Copy);
    wire.kill_a_driver(0, "driver");
    ping(&mut wire, 1);
}

/// With a second road, for runs of segments: whatever is no such run goes its way as without.
#[test]
fn copy_with_superframes() {
    let options = Options { bind: Some(BindMode::Copy), offload: Offload::On, ..Options::default() };
    let mut wire = conforms("superframes", &options);
    assert_eq!(wire.modes(0).1.bind, BindMode::Copy);
    wire.kill_a_driver(0, "driver");
    ping(&mut wire, 1);
}

/// No AF_XDP at all: from a TAP device that the steering program at tc ingress leads to, through a packet socket.
#[test]
fn behind_the_driver() {
    let mut wire = conforms("behind", &Options { xdp: Some(XdpMode::Tc), ..Options::default() });
    assert_eq!([wire.modes(0).0, wire.modes(1).0], [XdpMode::Tc; 2]);
    wire.kill_a_driver(0, "driver");
    ping(&mut wire, 1);
}
