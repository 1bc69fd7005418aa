//! Checksums that are left to the other side, and superframes that are left to be cut.

use std::io::Write;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use nic::{Nic, RxChecksum, TxChecksum};
use ringroad_af_xdp::{Options, XdpMode};

use crate::net::{
    End, FAR, Lab, NEAR, Open, TCP, UDP, ethernet, finish, fold, ipv4, run, udp_frame, within_deadline,
};

const AT_UDP: TxChecksum = TxChecksum::Partial { start: 34, offset: 6 };

#[test]
fn a_checksum_left_to_the_kernel_is_finished_before_the_peer_sees_it() {
    let lab = Lab::new(1);
    let mut open = lab.open(256, &Options::default());
    assert!(open.road.nic.caps().tx_checksum);
    let far = lab.far(|| UdpSocket::bind((FAR, 7000)).unwrap());
    let (near, to) = lab.ends(5000, 7000);
    let mut buffer = [0; 64];
    // veth hands the request on to the peer's kernel.
    open.send(&udp_frame(near, to, b"left to the peer", false), AT_UDP);
    open.flush();
    assert_eq!(far.recv(&mut buffer).unwrap(), 16);
    // Without the offload our kernel computes it, and the peer's verifies: only the finished one arrives.
    run(&format!("ip netns exec {} ethtool -K near tx off >/dev/null", lab.near));
    open.send(&udp_frame(near, to, b"unfinished, unasked", false), TxChecksum::Complete);
    open.send(&udp_frame(near, to, b"finished by us", false), AT_UDP);
    open.flush();
    let n = far.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..n], b"finished by us");
    open.assert_whole();
}

/// A SYN-ACK that offers an MSS of 1460, its checksum finished.
fn syn_ack(from: End, to: End, ack: u32) -> Vec<u8> {
    let mut t = Vec::new();
    t.extend(from.port.to_be_bytes());
    t.extend(to.port.to_be_bytes());
    t.extend([0, 0, 0, 100]);
    t.extend(ack.to_be_bytes());
    t.extend([0x60, 0x12, 0xff, 0xff, 0, 0, 0, 0, 2, 4, 0x05, 0xb4]);
    let sum = finish(from, to, TCP, &t);
    t[16..18].copy_from_slice(&sum.to_be_bytes());
    let mut f = ethernet(from, to, 0x0800);
    f.extend(ipv4(from, to, TCP, 0x4000, &t));
    f
}

fn u32_at(f: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([f[at], f[at + 1], f[at + 2], f[at + 3]])
}

/// Whether the checksum field holds the pseudo-header's sum alone.
fn is_unfinished(f: &[u8]) -> bool {
    let len = f.len() as u32 - 34 + u32::from(TCP);
    f[50..52] == fold(&f[26..34], len).to_be_bytes()
}

/// Takes a connection of the kernel's by hand and reads what it sends: `bytes` of payload in order.
fn read_from_the_kernel(open: &mut Open, near: End, bytes: usize) -> Vec<u8> {
    let syn = open.next();
    assert!(is_unfinished(&syn), "a SYN of a local kernel");
    let far =
        End { port: u16::from_be_bytes([syn[34], syn[35]]), ip: FAR, mac: syn[6..12].try_into().unwrap() };
    let first = u32_at(&syn, 38).wrapping_add(1);
    open.send(&syn_ack(near, far, first), TxChecksum::Complete);
    open.flush();
    let mut payload = vec![None; bytes];
    let mut left = bytes;
    within_deadline("the payload", || {
        open.drain(|f| {
            assert!(is_unfinished(f), "a segment of a local kernel, cut or whole");
            assert_eq!(usize::from(u16::from_be_bytes([f[16], f[17]])), f.len() - 14);
            assert_eq!(fold(&f[14..34], 0), 0xffff, "IP checksum");
            let at = u32_at(f, 38).wrapping_sub(first) as usize;
            let data = &f[34 + usize::from(f[46] >> 4) * 4..];
            for (slot, byte) in payload.iter_mut().skip(at).zip(data) {
                left -= usize::from(slot.is_none());
                *slot = Some(*byte);
            }
        });
        left == 0
    });
    payload.into_iter().flatten().collect()
}

fn kernel_data_arrives_in_segments(xdp: XdpMode) {
    let lab = Lab::new(1);
    let mut open = lab.open(512, &Options { xdp: Some(xdp), ..Options::default() });
    assert!(open.road.nic.umem_mode().multi_buffer);
    open.road.steering.add_port(TCP, SocketAddr::from((NEAR, 80)), 0).unwrap();
    // Less than the initial window of ten segments, so that no ACK is needed.
    let sent: Vec<u8> = (0..5000u32).flat_map(|i| (i as u16).to_be_bytes()).collect();
    let (near, _) = lab.ends(80, 0);
    let got = std::thread::scope(|s| {
        let writer = s.spawn(|| {
            lab.far(|| {
                let to = SocketAddr::from((NEAR, 80));
                let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(60)).unwrap();
                stream.write_all(&sent).unwrap();
                stream
            })
        });
        let got = read_from_the_kernel(&mut open, near, sent.len());
        drop(writer.join().unwrap());
        got
    });
    assert!(got == sent);
    // A native program makes veth turn segmentation offload off at the peer, a generic one does not.
    let counters = open.road.nic.counters();
    assert_eq!(counters.rx_cut > 0, xdp == XdpMode::Generic, "{counters:?}");
    assert_eq!(counters.rx_uncut, 0);
    open.drain(|_| {});
    open.assert_whole();
}

#[test]
fn data_of_a_kernel_peer_arrives_in_segments_in_native_mode() {
    kernel_data_arrives_in_segments(XdpMode::Native);
}

#[test]
fn superframes_of_a_kernel_peer_are_cut_in_generic_mode() {
    kernel_data_arrives_in_segments(XdpMode::Generic);
}

#[test]
fn superframes_of_udp_are_the_kernel_s_to_cut() {
    let lab = Lab::new(1);
    let mut open = lab.open(512, &Options { xdp: Some(XdpMode::Generic), ..Options::default() });
    open.road.steering.add_port(UDP, SocketAddr::from((NEAR, 5000)), 0).unwrap();
    let kernel = lab.near(|| UdpSocket::bind((NEAR, 5000)).unwrap());
    let far = lab.far(|| UdpSocket::bind((FAR, 7000)).unwrap());
    crate::net::segment_udp(&far, 1000);
    far.send_to(&[7; 9000], (NEAR, 5000)).unwrap();
    for _ in 0..9 {
        assert_eq!(kernel.recv(&mut [0; 2000]).unwrap(), 1000);
    }
    open.drain(|_| panic!("the kernel's"));
    assert_eq!(open.road.nic.counters().rx_uncut, 0);
    far.send_to(b"single", (NEAR, 5000)).unwrap();
    assert_eq!(open.next()[42..], *b"single");
    open.assert_whole();
}

#[test]
fn a_virtual_interface_says_that_checksums_may_be_unfinished() {
    let lab = Lab::new(1);
    let mut open = lab.open(64, &Options::default());
    open.road.steering.add_port(UDP, SocketAddr::from((NEAR, 5000)), 0).unwrap();
    let far = lab.far(|| UdpSocket::bind((FAR, 7000)).unwrap());
    far.send_to(b"x", (NEAR, 5000)).unwrap();
    within_deadline("a frame", || open.road.nic.rx(&mut open.pool, &mut open.burst, 1) == 1);
    let frame = open.burst.pop().unwrap();
    assert_eq!(frame.meta.checksum, RxChecksum::MayBeUnfinished);
    open.pool.free(frame.pkt);
}
