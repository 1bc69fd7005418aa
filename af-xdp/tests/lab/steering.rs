//! What is redirected and what goes to the kernel.

use std::net::{Ipv6Addr, SocketAddr, UdpSocket};

use nic::TxChecksum;
use ringroad_af_xdp::{Options, QUEUES, SLOTS, Slot, Slots, SteeringCounters, Step};

use crate::net::{
    End, FAR, Lab, NEAR, Open, UDP, ethernet, fold, ipv4, run, udp, udp_frame, within_deadline,
};

/// Both ends on AF_XDP, so that any frame can be sent to ours.
fn by_hand(lab: &Lab) -> (Open, Open) {
    (lab.open(256, &Options::default()), lab.open_far(256, &Options::default()))
}

fn send(from: &mut Open, frame: &[u8]) {
    from.send(frame, TxChecksum::Complete);
    from.flush();
}

/// Waits until the program has counted `n` packets more than `before` in all, and says which.
fn counted(open: &Open, before: SteeringCounters, n: u64) -> SteeringCounters {
    let fields = |c: SteeringCounters| {
        [
            c.flow,
            c.port,
            c.piece,
            c.icmp,
            c.pass_miss,
            c.pass_other,
            c.pass_link,
            c.pass_fragment,
            c.pass_short,
            c.pass_no_xsk,
            c.shed_syn,
            c.pass_kernels,
            c.drop_cloaked,
            c.drop_denied,
        ]
    };
    let mut now = before;
    within_deadline("the program's counters", || {
        now = open.road.steering.counters().unwrap();
        fields(now).iter().sum::<u64>() >= fields(before).iter().sum::<u64>() + n
    });
    let d: Vec<u64> = fields(now).iter().zip(fields(before)).map(|(a, b)| a - b).collect();
    SteeringCounters {
        flow: d[0],
        port: d[1],
        piece: d[2],
        icmp: d[3],
        pass_miss: d[4],
        pass_other: d[5],
        pass_link: d[6],
        pass_fragment: d[7],
        pass_short: d[8],
        pass_no_xsk: d[9],
        shed_syn: d[10],
        pass_kernels: d[11],
        drop_cloaked: d[12],
        drop_denied: d[13],
        miss_vlan: now.miss_vlan - before.miss_vlan,
        monitored: now.monitored - before.monitored,
    }
}

#[test]
fn only_what_was_asked_for_leaves_the_kernel() {
    let lab = Lab::new(1);
    let mut open = lab.open(256, &Options::default());
    let steering = &open.road.steering;
    let kernel = lab.near(|| UdpSocket::bind((NEAR, 5000)).unwrap());
    let far = lab.far(|| UdpSocket::bind((FAR, 7000)).unwrap());
    let (local, remote) = (SocketAddr::from((NEAR, 5000)), SocketAddr::from((FAR, 7000)));
    let mut buffer = [0; 16];
    let zero = steering.counters().unwrap();
    far.send_to(b"miss", local).unwrap();
    assert_eq!(kernel.recv(&mut buffer).unwrap(), 4);
    steering.add_port(UDP, local, 0).unwrap();
    far.send_to(b"port", local).unwrap();
    // The flow goes before the port; its slot has no socket, so the kernel gets it.
    steering_settles(&open, 2);
    open.road.steering.add_flow(UDP, local, remote, 1).unwrap();
    far.send_to(b"empty", local).unwrap();
    assert_eq!(kernel.recv(&mut buffer).unwrap(), 5);
    open.road.steering.add_flow(UDP, local, remote, 0).unwrap();
    far.send_to(b"flow", local).unwrap();
    steering_settles(&open, 4);
    open.road.steering.remove_flow(UDP, local, remote, 0).unwrap();
    open.road.steering.remove_port(UDP, local, 0).unwrap();
    open.road.steering.remove_port(UDP, local, 0).unwrap();
    far.send_to(b"kernel again", local).unwrap();
    assert_eq!(kernel.recv(&mut buffer).unwrap(), 12);
    let mut seen = Vec::new();
    open.drain(|f| seen.push(f[42..].to_vec()));
    assert_eq!(seen, [b"port", b"flow"]);
    let c = counted(&open, zero, 5);
    assert_eq!((c.flow, c.port, c.pass_miss, c.pass_no_xsk), (1, 1, 2, 1));
    open.assert_whole();
}

fn steering_settles(open: &Open, packets: u64) {
    within_deadline("packets", || {
        let c = open.road.steering.counters().unwrap();
        c.flow + c.port + c.pass_miss + c.pass_no_xsk >= packets
    });
}

/// A packet that was steered here before another stack took its flow takes nothing from that stack.
#[test]
fn a_new_flow_is_whose_it_is_first() {
    let lab = Lab::new(1);
    let open = lab.open(64, &Options::default());
    let steering = &open.road.steering;
    let (local, remote) = (SocketAddr::from((NEAR, 5000)), SocketAddr::from((FAR, 7000)));
    assert!(steering.hearers(UDP, local).unwrap().is_empty());
    for slot in [1, 0] {
        steering.add_port(UDP, local, slot).unwrap();
        steering.add_new_flow(UDP, local, remote, slot).unwrap();
    }
    assert_eq!(
        (steering.slot_of(UDP, local, remote), steering.hearers(UDP, local).unwrap()),
        (Some(1), Slots::from_iter([0, 1]))
    );
    steering.add_flow(UDP, local, remote, 0).unwrap();
    assert_eq!(steering.slot_of(UDP, local, remote), Some(0), "who is given it has it");
}

/// Flows that find no place in the directory are whose they are as well.
#[test]
fn a_full_directory_gives_no_flow_away() {
    let lab = Lab::new(1);
    let open = lab.open(64, &Options::default());
    let steering = &open.road.steering;
    // Its places, and a few thousand more.
    let flows = (0..70_000_u32).map(|n| {
        let (local, remote) = (1000 + (n >> 14) as u16, 1000 + (n & 0x3fff) as u16);
        (SocketAddr::from((NEAR, local)), SocketAddr::from((FAR, remote)))
    });
    for (local, remote) in flows.clone() {
        steering.add_flow(UDP, local, remote, 1).unwrap();
    }
    for (local, remote) in flows {
        steering.add_new_flow(UDP, local, remote, 0).unwrap();
        steering.remove_flow(UDP, local, remote, 0).unwrap();
        assert_eq!(steering.slot_of(UDP, local, remote), Some(1));
        steering.remove_flow(UDP, local, remote, 1).unwrap();
        assert_eq!(steering.slot_of(UDP, local, remote), None);
    }
}

#[test]
fn cleared_maps_steer_nothing() {
    let lab = Lab::new(1);
    let open = lab.open(64, &Options::default());
    let kernel = lab.near(|| UdpSocket::bind((NEAR, 5000)).unwrap());
    let far = lab.far(|| UdpSocket::bind((FAR, 7000)).unwrap());
    let (local, remote) = (SocketAddr::from((NEAR, 5000)), SocketAddr::from((FAR, 7000)));
    for port in 5000..5100 {
        open.road.steering.add_port(UDP, (NEAR, port).into(), 0).unwrap();
    }
    open.road.steering.add_flow(UDP, local, remote, 0).unwrap();
    open.road.steering.release(0, None, &|_| false, |_| {}).unwrap();
    open.road.steering.release(0, None, &|_| false, |_| {}).unwrap();
    far.send_to(b"all yours", local).unwrap();
    assert_eq!(kernel.recv(&mut [0; 16]).unwrap(), 9);
}

#[test]
fn slots_and_queues_have_bounds() {
    let lab = Lab::new(1);
    let open = lab.open(64, &Options::default());
    let socket = std::fs::File::open("/dev/null").unwrap();
    let fd = std::os::fd::AsFd::as_fd(&socket);
    let errno = |slot, queue| open.road.steering.set_xsk(slot, queue, fd).unwrap_err().raw_os_error();
    assert_eq!(errno(SLOTS as Slot, 0), Some(libc::EINVAL));
    assert_eq!(errno(0, QUEUES), Some(libc::EINVAL));
    assert!(errno(0, 0).is_some(), "not a socket");
}

fn icmp_error(kind: u8, quoted: &[u8]) -> Vec<u8> {
    let mut p = vec![kind, 3, 0, 0, 0, 0, 0, 0];
    p.extend(quoted);
    let sum = !fold(&p, 0);
    p[2..4].copy_from_slice(&sum.to_be_bytes());
    p
}

#[test]
fn icmp_errors_follow_the_packet_they_quote() {
    let lab = Lab::new(1);
    let (mut open, mut far) = by_hand(&lab);
    let (near, to) = lab.ends(5000, 7000);
    open.road.steering.add_port(UDP, SocketAddr::from((NEAR, 5000)), 0).unwrap();
    let quoted = ipv4(near, to, UDP, 0x4000, &udp(near, to, b"quoted", true));
    let error = |from: End, kind: u8, quoted: &[u8]| {
        let mut f = ethernet(to, near, 0x0800);
        f.extend(ipv4(from, near, 1, 0, &icmp_error(kind, quoted)));
        f
    };
    let before = open.road.steering.counters().unwrap();
    let router = End { ip: [10, 99, 0, 77].into(), ..to };
    for kind in [3, 11, 12] {
        let frame = error(router, kind, &quoted[..28]);
        send(&mut far, &frame);
        assert_eq!(open.next(), frame, "type {kind}");
    }
    // Not an error; an error about someone else's packet; of another port; cut short; about a later fragment.
    let stranger = End { ip: [10, 99, 0, 66].into(), ..near };
    let other_port = End { port: 5001, ..near };
    let foreign = ipv4(stranger, to, UDP, 0x4000, &udp(stranger, to, b"", true));
    let closed = ipv4(other_port, to, UDP, 0x4000, &udp(other_port, to, b"", true));
    let later = ipv4(near, to, UDP, 0x0010, &udp(near, to, b"", true));
    for frame in [
        error(to, 8, &quoted),
        error(to, 3, &foreign),
        error(to, 3, &closed),
        error(to, 3, &quoted[..23]),
        error(to, 3, &later),
    ] {
        send(&mut far, &frame);
    }
    let c = counted(&open, before, 8);
    assert_eq!((c.icmp, c.pass_other, c.pass_short, c.pass_fragment), (3, 3, 1, 1));
    open.drain(|_| panic!("the kernel's"));
}

const NEAR6: Ipv6Addr = Ipv6Addr::new(0xfd00, 99, 0, 0, 0, 0, 0, 1);
const FAR6: Ipv6Addr = Ipv6Addr::new(0xfd00, 99, 0, 0, 0, 0, 0, 2);

fn ipv6(from: Ipv6Addr, to: Ipv6Addr, next: u8, payload: &[u8]) -> Vec<u8> {
    let mut p = vec![0x60, 0, 0, 0];
    p.extend((payload.len() as u16).to_be_bytes());
    p.extend([next, 64]);
    p.extend(from.octets());
    p.extend(to.octets());
    p.extend(payload);
    p
}

/// A UDP header and nothing else; the program does not look at checksums.
fn ports(from: u16, to: u16) -> Vec<u8> {
    [from.to_be_bytes(), to.to_be_bytes(), [0, 8], [1, 2]].concat()
}

#[test]
fn ipv6_is_steered_behind_its_extension_headers() {
    let lab = Lab::new(1);
    let (mut open, mut far) = by_hand(&lab);
    let (near, to) = lab.ends(5000, 7000);
    let (local, remote) = (SocketAddr::from((NEAR6, 5000)), SocketAddr::from((FAR6, 7000)));
    open.road.steering.add_port(UDP, local, 0).unwrap();
    open.road.steering.add_flow(UDP, SocketAddr::from((NEAR6, 5001)), remote, 0).unwrap();
    let frame = |packet: &[u8]| [&ethernet(to, near, 0x86dd), packet].concat();
    let from_far = |next, payload: &[u8]| frame(&ipv6(FAR6, NEAR6, next, payload));
    let padded = |next| [next, 0, 1, 4, 0, 0, 0, 0];
    let atomic = [17, 0, 0, 0, 0, 0, 0, 7];
    let chain =
        [&padded(60)[..], &padded(43), &[44, 0, 0, 0, 0, 0, 0, 0], &atomic, &ports(7000, 5000)].concat();
    let before = open.road.steering.counters().unwrap();
    let ours = [from_far(17, &ports(7000, 5000)), from_far(17, &ports(7000, 5001)), from_far(0, &chain)];
    for frame in &ours {
        send(&mut far, frame);
        assert_eq!(open.next(), *frame);
    }
    let c = counted(&open, before, 3);
    assert_eq!((c.port, c.flow), (2, 1));
    let long: Vec<u8> = [padded(60); 8].concat();
    let theirs = [
        from_far(17, &ports(7001, 5001)),          // nobody's
        from_far(58, &[135, 0, 0, 0, 0, 0, 0, 0]), // neighbour discovery
        from_far(60, &long),                       // too long a chain
        from_far(43, &[&[17, 0, 4, 1, 0, 0, 0, 0][..], &ports(7000, 5000)].concat()), // a route that goes on
        from_far(44, &[&[17, 0, 0, 1, 0, 0, 0, 7][..], &ports(7000, 5000)].concat()), // a piece
        from_far(60, &[17, 9]),                    // cut short
        from_far(17, &[0, 1]),
        frame(&ipv6(FAR6, NEAR6, 17, &[])[..30]),
    ];
    let before = open.road.steering.counters().unwrap();
    for frame in &theirs {
        send(&mut far, frame);
    }
    let c = counted(&open, before, theirs.len() as u64);
    assert_eq!((c.pass_miss, c.pass_other, c.pass_fragment, c.pass_short), (1, 3, 1, 3));
    open.drain(|_| panic!("the kernel's"));
}

#[test]
fn icmpv6_errors_follow_the_packet_they_quote() {
    let lab = Lab::new(1);
    let (mut open, mut far) = by_hand(&lab);
    let (near, to) = lab.ends(5000, 7000);
    open.road.steering.add_port(UDP, SocketAddr::from((NEAR6, 5000)), 0).unwrap();
    let router: Ipv6Addr = "fd00:99::77".parse().unwrap();
    let quoted = ipv6(NEAR6, FAR6, 17, &ports(5000, 7000));
    let error = |kind: u8, quoted: &[u8]| {
        let message = [&[kind, 0, 0, 0, 0, 0, 5, 0][..], quoted].concat();
        [&ethernet(to, near, 0x86dd)[..], &ipv6(router, NEAR6, 58, &message)].concat()
    };
    let before = open.road.steering.counters().unwrap();
    for kind in 1..=4 {
        let frame = error(kind, &quoted);
        send(&mut far, &frame);
        assert_eq!(open.next(), frame, "type {kind}");
    }
    // Through a tunnel, which put a header in.
    let padded = [&[17, 0, 1, 4, 0, 0, 0, 0][..], &ports(5000, 7000)].concat();
    let frame = error(2, &ipv6(NEAR6, FAR6, 60, &padded));
    send(&mut far, &frame);
    assert_eq!(open.next(), frame);
    let later = [&[17, 0, 1, 0, 0, 0, 0, 7][..], &ports(5000, 7000)].concat();
    for frame in [
        error(128, &quoted),
        error(1, &ipv6(router, FAR6, 17, &ports(5000, 7000))),
        error(1, &ipv6(NEAR6, FAR6, 17, &ports(5001, 7000))),
        error(1, &quoted[..42]),
        error(2, &ipv6(NEAR6, FAR6, 44, &later)),
    ] {
        send(&mut far, &frame);
    }
    let c = counted(&open, before, 10);
    assert_eq!((c.icmp, c.pass_other, c.pass_short, c.pass_fragment), (5, 3, 1, 1));
    open.drain(|_| panic!("the kernel's"));
}

#[test]
fn fragments_are_reassembled_by_the_kernel() {
    let lab = Lab::new(1);
    let mut open = lab.open(256, &Options::default());
    open.road.steering.add_port(UDP, SocketAddr::from((NEAR, 5000)), 0).unwrap();
    let kernel = lab.near(|| UdpSocket::bind((NEAR, 5000)).unwrap());
    let far = lab.far(|| UdpSocket::bind((FAR, 7000)).unwrap());
    let before = open.road.steering.counters().unwrap();
    far.send_to(&[9; 4000], (NEAR, 5000)).unwrap();
    let mut buffer = [0; 5000];
    assert_eq!(kernel.recv(&mut buffer).unwrap(), 4000);
    assert_eq!(counted(&open, before, 3).pass_fragment, 3);
    open.drain(|_| panic!("the kernel's"));
}

/// The first piece says whose the segment is; what comes before it, or belongs to nobody here, is the kernel's.
#[test]
fn pieces_of_tcp_segments_follow_their_first() {
    const TCP: u8 = 6;
    let lab = Lab::new(1);
    let (mut open, mut far) = by_hand(&lab);
    let (near, to) = lab.ends(80, 7000);
    let mine = SocketAddr::from((NEAR, 80));
    open.road.steering.add_port(TCP, mine, 0).unwrap();
    open.road.steering.add_port(TCP, SocketAddr::from((NEAR6, 80)), 0).unwrap();
    let v4 = |id: u8, fragment: u16, port: u16| {
        let mut f = [
            ethernet(to, near, 0x0800),
            ipv4(to, near, TCP, fragment, &[&ports(7000, port)[..], &[7; 20]].concat()),
        ]
        .concat();
        f[19] = id;
        f[24..26].fill(0);
        let sum = !fold(&f[14..34], 0);
        f[24..26].copy_from_slice(&sum.to_be_bytes());
        f
    };
    let v6 = |id: u8, offset: u16, port: u16| {
        let [high, low] = offset.to_be_bytes();
        let piece = [&[TCP, 0, high, low, 0, 0, 0, id][..], &ports(7000, port), &[7; 20]].concat();
        [ethernet(to, near, 0x86dd), ipv6(FAR6, NEAR6, 44, &piece)].concat()
    };
    let (first, later) = (0x2000, 0x0005);
    let before = open.road.steering.counters().unwrap();
    for (frame, ours) in [
        (v4(1, later, 80), false),
        (v4(1, first, 80), true),
        (v4(1, later, 9), true),
        (v4(2, later, 80), false),
        (v4(3, first, 81), false),
        (v4(3, later, 80), false),
        (v6(1, 40, 80), false),
        (v6(1, 1, 80), true),
        (v6(1, 40, 9), true),
        (v6(3, 1, 81), false),
    ] {
        send(&mut far, &frame);
        if ours {
            assert_eq!(open.next(), frame);
        }
    }
    let c = counted(&open, before, 10);
    assert_eq!((c.piece, c.pass_fragment), (4, 6));
    open.drain(|_| panic!("the kernel's"));
}

#[test]
fn frames_that_are_odd_go_to_the_kernel_by_reason() {
    let lab = Lab::new(1);
    let (mut open, mut far) = by_hand(&lab);
    let (near, to) = lab.ends(5000, 7000);
    open.road.steering.add_port(UDP, SocketAddr::from((NEAR, 5000)), 0).unwrap();
    let good = udp_frame(to, near, b"good", true);
    let with = |at: usize, bytes: &[u8]| {
        let mut f = good.clone();
        f[at..at + bytes.len()].copy_from_slice(bytes);
        f
    };
    let vlan = tagged(&good, &[0x81, 0, 0, 5]);
    let twice = tagged(&vlan, &[0x81, 0, 0, 6]);
    let provider = tagged(&good, &[0x88, 0xa8, 0, 5]);
    let before = open.road.steering.counters().unwrap();
    let odd = [
        with(12, &[0x08, 0x06]), // ARP
        vlan,
        twice,
        provider,
        with(12, &[0x86, 0xdd]), // IPv6, says its type
        with(14, &[0x65]),       // version 6 in an IPv4 frame
        with(14, &[0x44]),       // a header of 16 bytes
        with(14, &[0x4f]),       // options beyond the end
        good[..20].to_vec(),
        good[..36].to_vec(),
        with(23, &[132]),     // SCTP
        with(20, &[0x20, 0]), // more fragments
        with(20, &[0, 1]),    // a later fragment
        with(33, &[9]),       // another host's address
    ];
    for frame in &odd {
        send(&mut far, frame);
    }
    let c = counted(&open, before, odd.len() as u64);
    assert_eq!((c.pass_link, c.pass_short), (3, 6));
    assert_eq!((c.pass_other, c.pass_fragment, c.pass_miss), (1, 2, 2));
    send(&mut far, &good);
    assert_eq!(open.next(), good);
    // A header with options is read past them.
    let mut options = good.clone();
    options[14] = 0x46;
    options.splice(34..34, [1, 1, 1, 0]);
    send(&mut far, &options);
    assert_eq!(open.next(), options);
}

/// The frame with a tag: its EtherType, and what it says.
fn tagged(frame: &[u8], tag: &[u8; 4]) -> Vec<u8> {
    [&frame[..12], tag, &frame[12..]].concat()
}

#[test]
fn an_address_on_a_vlan_is_reached_by_its_tag_and_no_other() {
    let lab = Lab::new(1);
    let (mut open, mut far) = by_hand(&lab);
    let (near, to) = lab.ends(5000, 7000);
    let vlan = |id: u8| Some([0x81, 0, 0xe0, id]);
    let steering = &open.road.steering;
    steering.add_port(UDP, SocketAddr::from((NEAR, 5000)), 0).unwrap();
    let frame = |tag: Option<[u8; 4]>, payload: &[u8]| {
        let frame = udp_frame(to, near, payload, true);
        tag.map_or(frame.clone(), |tag| tagged(&frame, &tag))
    };
    // As long as nobody says that it is on one: without a tag, or with one that only tells a priority.
    for (lives, tags) in [
        (None, [(None, true), (vlan(0), true), (vlan(5), false), (vlan(6), false)]),
        (Some(5), [(None, false), (vlan(0), false), (vlan(5), true), (vlan(6), false)]),
        (None, [(None, true), (vlan(0), true), (vlan(5), false), (vlan(6), false)]),
    ] {
        open.road.steering.set_vlan(NEAR.into(), lives).unwrap();
        for (tag, ours) in tags {
            let before = open.road.steering.counters().unwrap();
            let (frame, untagged) = (frame(tag, b"to whom"), frame(None, b"to whom"));
            send(&mut far, &frame);
            if ours {
                // A stack hears nothing of priorities.
                let heard = if tag == vlan(0) { untagged.clone() } else { frame };
                assert_eq!(open.next(), heard, "{tag:?} where {lives:?} has it");
            }
            let c = counted(&open, before, 1);
            assert_eq!(
                (c.port, c.pass_miss, c.miss_vlan),
                if ours { (1, 0, 0) } else { (0, 1, 1) },
                "{tag:?}"
            );
        }
    }
    open.drain(|_| panic!("the kernel's"));
}

#[test]
fn an_interface_that_is_taken_is_said_so() {
    let lab = Lab::new(1);
    let first = lab.open(64, &Options::default());
    let e = lab.try_open(64, &Options::default()).unwrap_err();
    assert_eq!((e.step, e.source.raw_os_error()), (Step::Attach, Some(libc::EBUSY)));
    let line = e.to_string();
    assert!(line.starts_with("near: attaching the steering program: "), "{line}");
    assert!(line.contains("\"steer_frags\" (id ") && line.contains("another ringroad"), "{line}");
    assert!(!line.contains('\n'));
    drop(first);
    drop(lab.open(64, &Options::default()));
}

#[test]
fn an_interface_that_is_down_or_too_wide_is_said_so() {
    let lab = Lab::new(1);
    run(&format!("ip -n {} link set near mtu 3000", lab.near));
    let e = lab.try_open(64, &Options::default()).unwrap_err();
    assert!(e.to_string().contains("its MTU is 3000, and frames of this size take 1774"), "{e}");
    run(&format!("ip -n {0} link set near mtu 1500; ip -n {0} link set near down", lab.near));
    let e = lab.try_open(64, &Options::default()).unwrap_err();
    assert_eq!((e.step, e.source.raw_os_error()), (Step::Probe, Some(libc::ENETDOWN)), "{e}");
    assert!(e.to_string().contains("ip link set up"), "{e}");
}

#[test]
fn an_interface_that_goes_down_later_holds_frames_and_goes_on() {
    use nic::{Doorbell, Nic};
    let lab = Lab::new(1);
    let mut open = lab.open(64, &Options::default());
    let far = lab.far(|| UdpSocket::bind((FAR, 7000)).unwrap());
    let (near, to) = lab.ends(5000, 7000);
    run(&format!("ip -n {} link set near down", lab.near));
    open.send(&udp_frame(near, to, b"later", true), TxChecksum::Complete);
    assert_eq!(open.road.nic.kick(&mut open.pool), Doorbell::Quiet);
    assert_eq!(open.road.nic.counters().kicks_down, 1);
    assert_eq!(open.pool.census().given, 1);
    run(&format!("ip -n {} link set near up", lab.near));
    open.flush();
    assert_eq!(far.recv(&mut [0; 16]).unwrap(), 5);
    open.assert_whole();
}
