//! Frames in and out by value, in every mode that veth has, through small rings and full ones.

use std::net::{SocketAddr, UdpSocket};

use nic::{Doorbell, Nic, RxChecksum, TxChecksum};
use ringroad_af_xdp::{BindMode, Options, RingSizes, XdpMode};

use crate::net::{End, FAR, Lab, NEAR, Open, UDP, left_of, readable, udp_frame, within_deadline};

const SMALL: RingSizes = RingSizes { fill: 64, completion: 64, rx: 64, tx: 64 };

/// A datagram in each direction, its bytes checked on both sides.
fn both_ways(options: &Options, expected: XdpMode) {
    let lab = Lab::new(1);
    let mut open = lab.open(4096, options);
    assert_eq!(open.road.nic.xdp_mode(), expected);
    assert_eq!(
        open.road.nic.umem_mode().bind,
        if expected == XdpMode::Native { lab.bind_mode() } else { BindMode::Copy }
    );
    assert_eq!(open.road.nic.caps().max_frame, 1514);
    let far = lab.far(|| UdpSocket::bind((FAR, 7000)).unwrap());
    open.road.steering.add_port(UDP, SocketAddr::from((NEAR, 5000)), 0).unwrap();
    far.send_to(b"from the kernel", (NEAR, 5000)).unwrap();
    let frame = open.next();
    assert_eq!(frame[..6], lab.macs.0);
    assert_eq!(frame[42..], *b"from the kernel");
    let (near, to) = lab.ends(5000, 7000);
    open.send(&udp_frame(near, to, b"past the kernel", true), TxChecksum::Complete);
    open.flush();
    let mut buffer = [0; 64];
    let (n, from) = far.recv_from(&mut buffer).unwrap();
    assert_eq!((&buffer[..n], from), (&b"past the kernel"[..], SocketAddr::from((NEAR, 5000))));
    open.assert_whole();
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
fn native_without_multi_buffer() {
    both_ways(&Options { multi_buffer: false, ..Options::default() }, XdpMode::Native);
}

#[test]
fn the_kernel_says_when_zero_copy_is_not_to_be_had() {
    let lab = Lab::new(1);
    let options = Options { bind: Some(BindMode::ZeroCopy), ..Options::default() };
    let e = lab.try_open(64, &options).unwrap_err();
    assert_eq!((e.step, e.source.raw_os_error()), (ringroad_af_xdp::Step::Bind, Some(libc::EOPNOTSUPP)));
}

/// Sends back what came, the ends exchanged.
fn echo(open: &mut Open) {
    let Open { pool, road, burst, .. } = open;
    road.nic.rx(pool, burst, 64);
    for mut frame in burst.drain(..) {
        assert_eq!(frame.meta.checksum, RxChecksum::MayBeUnfinished);
        let bytes = pool.bytes_mut(&mut frame.pkt).unwrap();
        crate::net::turn_round(bytes);
        let checksum = left_of(bytes);
        let mut loan = pool.give(frame.pkt, 0, checksum);
        while let Err(back) = road.nic.tx(pool, loan) {
            road.nic.kick(pool);
            loan = back;
        }
    }
    road.nic.kick(pool);
}

#[test]
fn a_hundred_thousand_frames_wrap_rings_of_64_in_order() {
    const FRAMES: u32 = 100_000;
    const WINDOW: u32 = 32;
    let lab = Lab::new(1);
    let mut open = lab.open(256, &Options { rings: SMALL, ..Options::default() });
    open.road.steering.add_port(UDP, SocketAddr::from((NEAR, 5000)), 0).unwrap();
    let far = lab.far(|| UdpSocket::bind((FAR, 7000)).unwrap());
    far.connect((NEAR, 5000)).unwrap();
    far.set_nonblocking(true).unwrap();
    let (mut sent, mut back) = (0u32, 0u32);
    within_deadline("echoes", || {
        while sent < FRAMES && sent - back < WINDOW {
            far.send(&sent.to_be_bytes()).unwrap();
            sent += 1;
        }
        echo(&mut open);
        let mut buffer = [0; 8];
        while let Ok(n) = far.recv(&mut buffer) {
            assert_eq!(buffer[..n], back.to_be_bytes());
            back += 1;
        }
        back == FRAMES
    });
    open.flush();
    open.assert_whole();
    let counters = open.road.nic.counters();
    assert_eq!((counters.rx_frames, counters.tx_frames), (u64::from(FRAMES), u64::from(FRAMES)));
    assert_eq!(open.road.nic.statistics().unwrap().rx_ring_full, 0);
}

#[test]
fn a_full_tx_ring_gives_the_frame_back_and_all_are_sent_at_last() {
    let lab = Lab::new(1);
    let mut open = lab.open(256, &Options { rings: SMALL, ..Options::default() });
    let far = lab.far(|| UdpSocket::bind((FAR, 7000)).unwrap());
    let (near, to) = lab.ends(5000, 7000);
    let mut waiting = Vec::new();
    for i in 0..100u8 {
        let loan = open.loan(&udp_frame(near, to, &[i], true));
        if let Err(back) = open.road.nic.tx(&mut open.pool, loan) {
            waiting.push(back);
        }
    }
    assert_eq!(waiting.len(), 100 - 64, "the ring takes what it has slots");
    assert_eq!(open.road.nic.kick(&mut open.pool), Doorbell::Quiet);
    for loan in waiting {
        assert!(open.road.nic.tx(&mut open.pool, loan).is_ok());
    }
    open.flush();
    let mut buffer = [0; 8];
    let seen: Vec<u8> = (0..100).map(|_| far.recv(&mut buffer).map(|_| buffer[0]).unwrap()).collect();
    assert_eq!(seen, (0..100).collect::<Vec<u8>>());
    open.assert_whole();
}

#[test]
fn what_can_never_be_sent_is_counted_and_its_frame_comes_back() {
    let lab = Lab::new(1);
    let mut open = lab.open(64, &Options::default());
    let long = open.loan(&[0; 1515]);
    let short = open.loan(&[0; 13]);
    let mut beyond = open.loan(&[0; 60]);
    beyond.checksum = TxChecksum::Partial { start: 50, offset: 9 };
    for loan in [long, short, beyond] {
        assert!(open.road.nic.tx(&mut open.pool, loan).is_ok());
    }
    assert_eq!(open.road.nic.counters().tx_rejected, 3);
    assert_eq!(open.pool.census().given, 0);
    assert_eq!(open.road.nic.kick(&mut open.pool), Doorbell::Quiet);
}

#[test]
fn a_flood_that_nobody_reads_loses_frames_of_the_wire_but_none_of_the_pool() {
    let lab = Lab::new(1);
    let mut open = lab.open(256, &Options { rings: SMALL, ..Options::default() });
    open.road.steering.add_port(UDP, SocketAddr::from((NEAR, 5000)), 0).unwrap();
    let far = lab.far(|| UdpSocket::bind((FAR, 7000)).unwrap());
    for _ in 0..1000 {
        far.send_to(b"flood", (NEAR, 5000)).unwrap();
    }
    let mut got = 0;
    assert!(open.road.nic.frames().receiving <= 128, "half of the frames, however many wait");
    let full = |open: &Open| {
        let s = open.road.nic.statistics().unwrap();
        s.rx_ring_full + s.rx_fill_ring_empty_descs
    };
    within_deadline("a full ring", || full(&open) > 0);
    open.drain(|_| got += 1);
    assert!((64..1000).contains(&got), "{got}");
    far.send_to(b"after", (NEAR, 5000)).unwrap();
    let mut last = Vec::new();
    within_deadline("the frame after the flood", || {
        open.drain(|bytes| last = bytes[42..].to_vec());
        last == b"after"
    });
    open.assert_whole();
}

#[test]
fn a_pool_without_frames_starves_the_ring_and_recovers() {
    let lab = Lab::new(1);
    let mut open = lab.open(128, &Options { rings: SMALL, ..Options::default() });
    open.road.steering.add_port(UDP, SocketAddr::from((NEAR, 5000)), 0).unwrap();
    let far = lab.far(|| UdpSocket::bind((FAR, 7000)).unwrap());
    let mut held: Vec<_> = std::iter::from_fn(|| open.pool.alloc()).collect();
    for _ in 0..80 {
        far.send_to(b"hoarded", (NEAR, 5000)).unwrap();
    }
    within_deadline("an empty fill ring", || {
        open.road.nic.rx(&mut open.pool, &mut open.burst, 64);
        held.extend(open.burst.drain(..).map(|f| f.pkt));
        held.len() == 128
    });
    assert!(open.road.nic.counters().fill_starved > 0);
    held.into_iter().for_each(|pkt| open.pool.free(pkt));
    open.drain(|_| {});
    far.send_to(b"fresh", (NEAR, 5000)).unwrap();
    assert_eq!(open.next()[42..], *b"fresh");
    open.assert_whole();
}

#[test]
fn every_queue_has_its_socket() {
    let lab = Lab::new(4);
    let mut open = lab.open(4096, &Options::default());
    assert_eq!(open.road.nic.interface().queues, 4);
    assert_eq!(open.road.nic.wait_fds().len(), 4);
    open.road.steering.add_port(UDP, SocketAddr::from((NEAR, 5000)), 0).unwrap();
    assert!(!open.road.nic.rx_pending());
    // The sender's kernel chooses the queue by the flow's hash.
    for port in 0..200u16 {
        let far = lab.far(|| UdpSocket::bind((FAR, 7000 + port)).unwrap());
        far.send_to(&port.to_be_bytes(), (NEAR, 5000)).unwrap();
    }
    within_deadline("frames on every queue", || {
        open.road.nic.wait_fds().iter().all(|fd| readable(*fd))
            && open.road.steering.counters().unwrap().port == 200
    });
    assert!(open.road.nic.rx_pending());
    let mut seen = vec![];
    open.drain(|f| seen.push(u16::from_be_bytes([f[42], f[43]])));
    seen.sort_unstable();
    assert_eq!(seen, (0..200).collect::<Vec<u16>>());
    open.assert_whole();
}

/// Whatever is read of each queue at a time.
#[test]
fn frames_of_a_flow_never_overtake_each_other_on_several_queues() {
    const FLOWS: u16 = 64;
    const ROUNDS: u32 = 64;
    const AT_ONCE: u32 = 4;
    let lab = Lab::new(4);
    let mut open = lab.open(4096, &Options::default());
    open.road.steering.add_port(UDP, SocketAddr::from((NEAR, 5000)), 0).unwrap();
    // The sender's kernel chooses the queue by the flow's hash.
    let far: Vec<UdpSocket> =
        lab.far(|| (0..FLOWS).map(|flow| UdpSocket::bind((FAR, 7000 + flow)).unwrap()).collect());
    let mut seen = [0; FLOWS as usize];
    for round in 0..ROUNDS {
        for number in 0..AT_ONCE {
            for socket in &far {
                socket.send_to(&(round * AT_ONCE + number).to_be_bytes(), (NEAR, 5000)).unwrap();
            }
        }
        let sent = u64::from((round + 1) * AT_ONCE) * u64::from(FLOWS);
        // Of every second round some are read while others come.
        if round % 2 == 0 {
            within_deadline("all are there", || open.road.steering.counters().unwrap().port == sent);
            assert!(open.road.nic.wait_fds().iter().all(|fd| readable(*fd)), "every queue has some");
        }
        within_deadline("all are read", || {
            open.road.nic.rx(&mut open.pool, &mut open.burst, 1 + round as usize);
            for frame in open.burst.drain(..) {
                let bytes = open.pool.bytes(&frame.pkt);
                let flow = usize::from(u16::from_be_bytes([bytes[34], bytes[35]]) - 7000);
                let number = u32::from_be_bytes([bytes[42], bytes[43], bytes[44], bytes[45]]);
                assert_eq!(number, seen[flow], "the next one of flow {flow}");
                seen[flow] += 1;
                open.pool.free(frame.pkt);
            }
            open.road.nic.counters().rx_frames == sent
        });
    }
    open.assert_whole();
}

#[test]
fn two_interfaces_share_one_pool() {
    let lab = Lab::new(2);
    crate::net::run(&format!(
        "ip -n {0} link add near2 type veth peer name far2 netns {1}
         ip -n {0} link set near2 up; ip -n {1} link set far2 up",
        lab.near, lab.far
    ));
    let mut pool = nic::Pool::new(nic::Arena::new(512, 2048).unwrap());
    let options = Options::default();
    let port = lab.near(|| ringroad_af_xdp::Port::open(&mut pool, &["near", "near2"], &options)).unwrap();
    let (mut roads, _) = port.adopt(0, &mut pool, &|_| false).unwrap();
    assert_eq!(roads[0].nic.frames().receiving, 3 * (512 / 2 / 3), "three queues share half of the frames");
    let from = End { mac: roads[1].nic.interface().mac, ip: NEAR, port: 1 };
    let to = End { mac: lab.macs.1, ip: FAR, port: 2 };
    for road in &mut roads {
        let mut pkt = pool.alloc().unwrap();
        let bytes = udp_frame(from, to, b"either", true);
        let _ = pool.append_with(&mut pkt, bytes.len(), |b| {
            b.copy_from_slice(&bytes);
            Ok::<_, ()>(b.len())
        });
        let loan = pool.give(pkt, 0, TxChecksum::Complete);
        assert!(road.nic.tx(&mut pool, loan).is_ok());
        within_deadline("a frame sent", || {
            road.nic.kick(&mut pool);
            pool.census().given == 0
        });
    }
    let census = roads[0].nic.frames();
    assert_eq!((census.sending, census.stacks), (0, pool.census().free));
}
