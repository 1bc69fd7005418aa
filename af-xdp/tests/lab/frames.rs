//! Frames in and out by value, over veth, in every mode there is. As root.

use std::net::{SocketAddr, UdpSocket};

use crate::net::{self, FAR, Lab, NEAR, UDP, udp_frame};
use nic::{Nic, TxChecksum};
use ringroad_af_xdp::{BindMode, Options, XdpMode};

fn ends(lab: &Lab, near: u16, far: u16) -> (net::End, net::End) {
    (net::End { mac: lab.macs.0, ip: NEAR, port: near }, net::End { mac: lab.macs.1, ip: FAR, port: far })
}

/// A datagram in each direction, its bytes checked on both sides.
fn both_ways(options: &Options, expected: XdpMode) {
    let lab = Lab::new(1);
    let mut open = lab.open(4096, options);
    assert_eq!(open.road.nic.xdp_mode(), expected);
    assert_eq!(open.road.nic.umem_mode().bind, BindMode::Copy);
    assert_eq!(open.road.nic.interface().driver, "veth");
    let far = lab.far(|| UdpSocket::bind((FAR, 7000)).unwrap());
    open.road.steering.add_port(UDP, SocketAddr::from((NEAR, 5000)), 0).unwrap();
    far.send_to(b"from the kernel", (NEAR, 5000)).unwrap();
    let frame = open.next();
    assert_eq!(frame[..6], lab.macs.0);
    assert_eq!(frame[42..], *b"from the kernel");
    let (near_end, far_end) = ends(&lab, 5000, 7000);
    open.send(&udp_frame(near_end, far_end, b"past the kernel", true), TxChecksum::Complete);
    open.flush();
    let mut buffer = [0; 64];
    let (n, from) = far.recv_from(&mut buffer).unwrap();
    assert_eq!((&buffer[..n], from), (&b"past the kernel"[..], SocketAddr::from((NEAR, 5000))));
    open.assert_whole();
    assert!(open.road.nic.caps().tx_checksum);
    assert_eq!(open.road.nic.caps().max_frame, 1514);
}

#[test]
fn native() {
    both_ways(&Options::default(), XdpMode::Native);
}

#[test]
fn generic() {
    both_ways(&Options { xdp: Some(XdpMode::Generic), ..Options::default() }, XdpMode::Generic);
}

#[test]
fn without_multi_buffer() {
    both_ways(&Options { multi_buffer: false, ..Options::default() }, XdpMode::Native);
}
