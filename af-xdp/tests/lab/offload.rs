//! Runs of segments that go to the kernel as superframes, and what happens where it does not take them.

use std::net::UdpSocket;
use std::os::fd::AsRawFd;

use nic::{Arena, Doorbell, Nic, Pool, TxChecksum};
use ringroad_af_xdp::{Interface, Offload, Options, Port, PortParts, XdpMode, XskCounters};

use crate::net::{End, Lab, Open, TCP, close_all, ethernet, finish, hear_all, ipv4, run, udp_frame};

const AUTO: Options = Options { offload: Offload::Auto, ..PLAIN };
const PLAIN: Options = Options {
    rings: ringroad_af_xdp::RingSizes { fill: 256, completion: 256, rx: 256, tx: 256 },
    xdp: None,
    bind: None,
    multi_buffer: true,
    stacks: 1,
    at_once: 1,
    sockets: u32::MAX,
    offload: Offload::Off,
};
const PAYLOAD: usize = 1400;
const HEADERS: usize = 54;

/// A segment with its checksum finished.
fn segment(from: End, to: End, seq: u32, payload: &[u8]) -> Vec<u8> {
    let mut t = Vec::new();
    t.extend(from.port.to_be_bytes());
    t.extend(to.port.to_be_bytes());
    t.extend(seq.to_be_bytes());
    t.extend([0, 0, 0, 1, 0x50, 0x10, 1, 0, 0, 0, 0, 0]);
    t.extend(payload);
    let sum = finish(from, to, TCP, &t);
    t[16..18].copy_from_slice(&sum.to_be_bytes());
    let mut f = ethernet(from, to, 0x0800);
    f.extend(ipv4(from, to, TCP, 0x4000, &t));
    f
}

/// Segments of a flow one after the other, all full but the last.
fn train(from: End, to: End, full: usize, last: usize) -> Vec<Vec<u8>> {
    let lens = std::iter::repeat_n(PAYLOAD, full).chain([last]);
    let one = |(n, len)| segment(from, to, (n * PAYLOAD) as u32, &vec![n as u8; len]);
    lens.enumerate().map(one).collect()
}

/// Sends `frames` under one doorbell.
fn send(open: &mut Open, frames: &[Vec<u8>]) {
    frames.iter().for_each(|frame| open.send(frame, TxChecksum::Complete));
    open.flush();
}

/// The next frame that came from the other end, as it arrived.
fn heard(tap: &UdpSocket, lab: &Lab) -> Vec<u8> {
    let mut buffer = vec![0; 70_000];
    loop {
        let n = tap.recv(&mut buffer).expect("a frame");
        if buffer[6..12] == lab.macs.0 && buffer[12..14] == [8, 0] {
            buffer.truncate(n);
            return buffer;
        }
    }
}

/// Superframes sent, frames in them, refusals.
fn superframes(open: &Open) -> (u64, u64, u64) {
    let XskCounters { tx_superframes, tx_joined, superframes_refused, .. } = open.road.nic.counters();
    (tx_superframes, tx_joined, superframes_refused)
}

#[test]
fn a_run_of_segments_arrives_as_one_and_a_lone_frame_as_itself_in_their_order() {
    let lab = Lab::new(1);
    let mut open = lab.open(256, &AUTO);
    let tap = lab.far(hear_all);
    let (near, far) = lab.ends(80, 4000);
    let before = udp_frame(near, far, b"before", true);
    let run = train(near, far, 20, 300);
    let after = udp_frame(near, far, b"after", true);
    send(&mut open, &[vec![before.clone()], run.clone(), vec![after.clone()]].concat());
    assert_eq!(heard(&tap, &lab), before);
    let whole = heard(&tap, &lab);
    let payload: Vec<u8> = run.iter().flat_map(|f| f[HEADERS..].to_vec()).collect();
    assert_eq!(whole.len(), HEADERS + payload.len());
    assert_eq!(whole[HEADERS..], payload);
    assert_eq!(heard(&tap, &lab), after);
    assert_eq!(superframes(&open), (1, 21, 0));
    assert_eq!((open.road.nic.counters().tx_frames, open.road.nic.counters().kicks), (23, 0));
    open.assert_whole();
}

#[test]
fn frames_that_have_little_company_go_through_the_ring() {
    let lab = Lab::new(1);
    let mut open = lab.open(256, &AUTO);
    let tap = lab.far(hear_all);
    let (near, far) = lab.ends(80, 4000);
    let mut frames: Vec<_> = (0..4u8).map(|n| udp_frame(near, far, &[n], true)).collect();
    frames.extend(train(near, far, 1, 1));
    send(&mut open, &frames);
    frames.iter().for_each(|frame| assert_eq!(heard(&tap, &lab), *frame));
    assert_eq!(superframes(&open), (0, 0, 0));
    assert!(open.road.nic.counters().kicks > 0);
    open.assert_whole();
}

#[test]
fn a_device_that_has_others_cut_gets_segments_and_is_asked_again_later() {
    let lab = Lab::new(1);
    let mut open = lab.open(256, &AUTO);
    let tap = lab.far(hear_all);
    let (near, far) = lab.ends(80, 4000);
    let frames = train(near, far, 9, 100);
    run(&format!("ip netns exec {} ethtool -K near tso off gso off >/dev/null", lab.near));
    send(&mut open, &frames);
    frames.iter().for_each(|frame| assert_eq!(heard(&tap, &lab), *frame));
    assert_eq!(superframes(&open), (0, 0, 1));
    // Not with the very next batch.
    run(&format!("ip netns exec {} ethtool -K near tso on gso on >/dev/null", lab.near));
    send(&mut open, &frames);
    frames.iter().for_each(|frame| assert_eq!(heard(&tap, &lab), *frame));
    send(&mut open, &frames);
    assert!(heard(&tap, &lab).len() > 9 * PAYLOAD);
    assert_eq!(superframes(&open), (1, 10, 1));
    open.assert_whole();
}

#[test]
fn an_mtu_that_is_lowered_for_a_while_puts_no_end_to_superframes() {
    let lab = Lab::new(1);
    let mut open = lab.open(256, &AUTO);
    let tap = lab.far(hear_all);
    let (near, far) = lab.ends(80, 4000);
    let long = udp_frame(near, far, &[7; PAYLOAD], true);
    let frames = [vec![long], train(near, far, 9, 100)].concat();
    run(&format!("ip -n {} link set near mtu 1300", lab.near));
    send(&mut open, &frames);
    assert_eq!(superframes(&open), (0, 0, 1), "the frame in front is longer than the kernel takes");
    frames.iter().for_each(|frame| assert_eq!(heard(&tap, &lab), *frame));
    run(&format!("ip -n {} link set near mtu 1500", lab.near));
    for _ in 0..2 {
        send(&mut open, &frames);
    }
    assert_eq!(superframes(&open), (1, 10, 1));
    open.assert_whole();
}

#[test]
fn a_stack_at_the_other_end_gets_segments() {
    for xdp in [XdpMode::Native, XdpMode::Generic] {
        let lab = Lab::new(1);
        let mut open = lab.open(256, &AUTO);
        let mut peer = lab.open_far(256, &Options { xdp: Some(xdp), ..PLAIN });
        let (near, far) = lab.ends(80, 4000);
        let at = std::net::SocketAddr::from((far.ip, far.port));
        peer.road.steering.add_port(TCP, at, 0).unwrap();
        let frames = train(near, far, 30, 100);
        send(&mut open, &frames);
        let mut payload: Vec<u8> = Vec::new();
        while payload.len() < 30 * PAYLOAD + 100 {
            let frame = peer.next();
            assert_eq!(usize::from(u16::from_be_bytes([frame[16], frame[17]])), frame.len() - 14);
            payload.extend(&frame[HEADERS..]);
        }
        let sent: Vec<u8> = frames.iter().flat_map(|f| f[HEADERS..].to_vec()).collect();
        assert!(payload == sent, "{xdp:?}");
        open.assert_whole();
    }
}

#[test]
fn while_the_interface_is_down_frames_wait_in_the_ring() {
    let lab = Lab::new(1);
    let mut open = lab.open(256, &AUTO);
    let (near, far) = lab.ends(80, 4000);
    run(&format!("ip -n {} link set near down", lab.near));
    for frame in train(near, far, 9, 100) {
        open.send(&frame, TxChecksum::Complete);
    }
    assert_eq!(open.road.nic.kick(&mut open.pool), Doorbell::Quiet);
    assert!(open.road.nic.counters().kicks_down > 0);
    run(&format!("ip -n {} link set near up", lab.near));
    open.flush();
    assert_eq!(superframes(&open), (0, 0, 1));
    open.assert_whole();
}

#[test]
fn an_interface_with_several_transmit_queues_is_left_alone_unless_it_is_asked_for() {
    for (offload, sent) in [(Offload::Auto, 0), (Offload::On, 1), (Offload::Off, 0)] {
        let lab = Lab::new(2);
        let mut open = lab.open(256, &Options { offload, ..PLAIN });
        let (near, far) = lab.ends(80, 4000);
        send(&mut open, &train(near, far, 9, 100));
        assert_eq!(superframes(&open).0, sent, "{offload:?}");
        open.assert_whole();
    }
}

#[test]
fn an_interface_without_a_queue_in_use_has_those_it_was_made_with() {
    let lab = Lab::new(1);
    run(&format!(
        "ip -n {0} tuntap add dev one mode tap; ip -n {0} tuntap add dev many mode tap multi_queue",
        lab.near
    ));
    let wanted = |name| lab.near(|| Offload::Auto.is_wanted_on(&Interface::find(name).unwrap()));
    assert_eq!(["near", "one", "many"].map(wanted), [true, true, false]);
}

#[test]
fn the_socket_travels_with_the_port_and_hears_nothing_however_it_is_bound() {
    let lab = Lab::new(1);
    let mut pool = Pool::new(Arena::new(256, 2048).unwrap());
    let port = lab.near(|| Port::open(&mut pool, &["near"], &AUTO)).unwrap();
    let parts: PortParts = port.inheritable(700).unwrap().to_string().parse().unwrap();
    drop(port);
    let mut open = Open::adopt(Port::from_parts(&parts, 0).unwrap(), pool);
    let (near, far) = lab.ends(80, 4000);
    send(&mut open, &train(near, far, 9, 100));
    assert_eq!(superframes(&open), (1, 10, 0));
    let socket = crate::net::borrowed_socket(parts.interfaces[0].packet.unwrap());
    crate::net::bind_to_all(&socket);
    let sender = lab.far(|| UdpSocket::bind((far.ip, 7000)).unwrap());
    let kernel = lab.near(|| UdpSocket::bind((near.ip, 7000)).unwrap());
    sender.send_to(b"listen", (near.ip, 7000)).unwrap();
    assert_eq!(kernel.recv(&mut [0; 16]).unwrap(), 6);
    socket.set_nonblocking(true).unwrap();
    let heard = socket.recv(&mut [0; 2000]).unwrap_err();
    assert_eq!(heard.raw_os_error(), Some(libc::EAGAIN));
    assert_eq!(crate::net::detach_filter(socket.as_raw_fd()), Some(libc::EPERM));
    close_all(&parts);
}
