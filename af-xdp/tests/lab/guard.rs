//! What the program carries out of a policy by itself.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};

use nic::TxChecksum;
use ringroad_af_xdp::{
    Alarm, GUARD_WORDS, Guard, GuardTable, Limits, Options, Place, PlaceKind, Steering, SteeringCounters,
};

use crate::net::{End, FAR, Lab, NEAR, Open, TCP, UDP, ethernet, ipv4, within_deadline};

const ICMP: u8 = 1;
const SCTP: u8 = 132;
const ECHO: &[u8] = &[8, 0, 0, 0, 0, 0, 0, 0];
const FRAGMENTS: u16 = 0x2000;
/// Where the counts of the rules begin: the last fits.
const TALLIES: u32 = ringroad_af_xdp::TALLIES as u32 - 3;

/// Three rules: TCP to ports 22 and 23 from the neighbours is denied, TCP to ports 16 to 23 is permitted, and so is to be
/// asked for an echo from ports of no matter.
fn guard(table: GuardTable) -> Guard {
    let class = |rules: u64| std::array::from_fn(|word| if word == 0 { rules } else { 0 });
    let classes: Vec<[u64; GUARD_WORDS]> = [0, 0b001, 0b010, 0b011, 0b100, 0b110, 0b111].map(class).into();
    let port = |kind, port: u16, len, class| {
        let mut data = [0; 16];
        data[..2].copy_from_slice(&port.to_be_bytes());
        (Place { kind, table: 3, data, len }, class)
    };
    let mut near = [0; 16];
    near[..3].copy_from_slice(&[10, 99, 0]);
    let remote = |data, len, class| (Place { kind: PlaceKind::Remote4, table: 3, data, len }, class);
    let places = vec![
        remote([0; 16], 0, 5),
        remote(near, 24, 6),
        (Place { kind: PlaceKind::Remote6, table: 3, data: [0; 16], len: 0 }, 5),
        port(PlaceKind::LocalPort, 16, 13, 2),
        port(PlaceKind::LocalPort, 22, 15, 3),
        port(PlaceKind::RemotePort, 0, 0, 6),
        port(PlaceKind::IcmpType, 8 << 8, 16, 4),
    ];
    let mut tables = vec![GuardTable::default(); 4];
    tables[3] = GuardTable { allow: 5, protocol: [3, 0, 4, 0], tallies: Some(TALLIES), ..table };
    Guard { tables, places, classes }
}

/// Puts a guard in force.
fn stand(steering: &Steering, mark: u64, guard: &Guard, locals: &[(IpAddr, u8)]) {
    let prepared = steering.prepare_guard(mark, guard, locals).unwrap();
    steering.enforce_guard(prepared);
}

struct Hosts {
    lab: Lab,
    near: Open,
    far: Open,
    alarms: Vec<Alarm>,
}

impl Hosts {
    fn new(table: GuardTable) -> Self {
        let lab = Lab::new(1);
        let (near, far) = (lab.open(256, &Options::default()), lab.open_far(256, &Options::default()));
        stand(&near.road.steering, 7, &guard(table), &[(NEAR.into(), 3), (six(1).into(), 3)]);
        Self { lab, near, far, alarms: Vec::new() }
    }

    fn counters(&self) -> SteeringCounters {
        self.near.road.steering.counters().unwrap()
    }

    /// Sends a frame; whether it was kept out.
    fn kept_out(&mut self, frame: &[u8]) -> bool {
        let all = |c: SteeringCounters| {
            let passed = c.pass_miss + c.pass_other + c.pass_fragment + c.pass_short + c.pass_kernels;
            (c.drop_cloaked + c.drop_denied, passed + c.port + c.flow)
        };
        let before = all(self.counters());
        self.far.send(frame, TxChecksum::Complete);
        self.far.flush();
        let mut now = before;
        within_deadline("the program's counters", || {
            now = all(self.counters());
            now != before
        });
        self.near.road.steering.take_alarms(|alarm| self.alarms.push(alarm));
        now.0 > before.0
    }

    fn ends(&self, local: u16) -> (End, End) {
        self.lab.ends(local, 4000)
    }

    fn four(&self, protocol: u8, fragment: u16, payload: &[u8]) -> Vec<u8> {
        let (near, far) = self.ends(0);
        [ethernet(far, near, 0x0800), ipv4(far, near, protocol, fragment, payload)].concat()
    }

    fn syn(&self, port: u16) -> Vec<u8> {
        self.four(TCP, 0x4000, &segment(port))
    }

    fn six(&self, port: u16) -> Vec<u8> {
        let (near, far) = self.ends(port);
        let tcp = segment(port);
        let head = [0x60, 0, 0, 0, 0, tcp.len() as u8, TCP, 64];
        let ends = [six(2).octets(), six(1).octets()].concat();
        [&ethernet(far, near, 0x86dd)[..], &head, &ends, &tcp].concat()
    }
}

fn six(host: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, 99, 0, 0, 0, 0, 0, host)
}

fn segment(port: u16) -> Vec<u8> {
    let ports = [4000_u16.to_be_bytes(), port.to_be_bytes()].concat();
    [&ports[..], &[0; 8], &[0x50, 2, 255, 255, 0, 0, 0, 0]].concat()
}

#[test]
fn a_cloaked_address_keeps_out_whom_no_rule_permits() {
    let mut hosts = Hosts::new(GuardTable { cloak: true, ..GuardTable::default() });
    for (port, out) in [(15, true), (16, false), (21, false), (22, true), (23, true), (24, true), (28, true)]
    {
        let frame = hosts.syn(port);
        assert_eq!(hosts.kept_out(&frame), out, "port {port}");
    }
    for (port, out) in [(22, false), (28, true)] {
        let frame = hosts.six(port);
        assert_eq!(hosts.kept_out(&frame), out, "IPv6, port {port}");
    }
    let told: Vec<_> = hosts.alarms.iter().map(|a| (a.flow.local.port(), a.rule, a.tcp_flags)).collect();
    assert_eq!(
        told,
        [(15, None, 2), (22, Some(0), 2), (23, Some(0), 2), (24, None, 2), (28, None, 2), (28, None, 2)]
    );
    assert_eq!((hosts.alarms[0].table, hosts.alarms[0].guard), (3, hosts.near.road.steering.guard()));
    assert_eq!(hosts.alarms[5].flow.remote, SocketAddr::from((six(2), 4000)));

    let datagram = hosts.four(UDP, 0x4000, &[0, 9, 0, 22, 0, 8, 0, 0]);
    assert!(hosts.kept_out(&datagram), "the rules are for TCP");
    for (message, out) in
        [(ECHO, false), (&[13, 0, 0, 0, 0, 0, 0, 0], true), (&[0; 8], false), (&[8, 1], true)]
    {
        let frame = hosts.four(ICMP, 0x4000, message);
        let long = [message, &[0; 30]].concat();
        assert_eq!(hosts.kept_out(&frame), out && message.len() == 8, "{message:?}");
        let frame = hosts.four(ICMP, 0x4000, &long);
        assert_eq!(hosts.kept_out(&frame), out, "{message:?}, longer");
    }
    let other = hosts.four(SCTP, 0x4000, &[0; 20]);
    assert!(hosts.kept_out(&other));
    let (packets, bytes) = hosts.near.road.steering.kept_out(hosts.near.road.steering.guard(), 3).unwrap();
    assert_eq!(packets, hosts.counters().drop_cloaked);
    assert!(bytes >= 20 * packets);
    // A stack hears the port: it is the stack's to judge.
    hosts.near.road.steering.add_port(TCP, SocketAddr::from((NEAR, 22)), 0).unwrap();
    let frame = hosts.syn(22);
    assert!(!hosts.kept_out(&frame));
    // For another address nothing has changed, nor without a guard.
    hosts.near.road.steering.guard_local(hosts.near.road.steering.guard(), six(1).into(), None).unwrap();
    let frame = hosts.six(28);
    assert!(!hosts.kept_out(&frame));
    hosts.near.road.steering.clear_guard();
    let frame = hosts.syn(15);
    assert!(!hosts.kept_out(&frame));
}

#[test]
fn pieces_go_where_the_first_goes() {
    let mut hosts = Hosts::new(GuardTable { cloak: true, ..GuardTable::default() });
    for (protocol, first, out) in [
        (TCP, &segment(28)[..8], true),
        (TCP, &segment(20)[..8], false),
        (ICMP, ECHO, false),
        (UDP, ECHO, true),
    ] {
        let later = hosts.four(protocol, 1, &[0; 16]);
        assert!(hosts.kept_out(&later), "{protocol}: one that comes before the first is nobody's");
        let first = hosts.four(protocol, FRAGMENTS, first);
        assert_eq!(hosts.kept_out(&first), out, "{protocol}");
        assert_eq!(hosts.kept_out(&later), out, "{protocol}: what follows");
        let last = hosts.four(protocol, 3, &[0]);
        assert_eq!(hosts.kept_out(&last), out, "{protocol}: a last octet");
        // All have one number: the next begins anew.
        hosts = Hosts::new(GuardTable { cloak: true, ..GuardTable::default() });
    }
}

/// The kernel's socket hears for the stack's what is in pieces, or fits no frame: that was asked for, too.
#[test]
fn datagrams_for_a_socket_that_asked_are_no_strangers() {
    const LONG: u16 = 4000;
    const DATAGRAM: &[u8] = &[15, 160, 1, 244, 0, 8, 0, 0];
    let mut hosts = Hosts::new(GuardTable { cloak: true, ..GuardTable::default() });
    let [first, last] = [(FRAGMENTS, DATAGRAM), (1, &[0; 2])].map(|(at, data)| hosts.four(UDP, at, data));
    let mut long = hosts.four(UDP, 0x4000, DATAGRAM);
    long[16..18].copy_from_slice(&LONG.to_be_bytes());
    for heard in [false, true] {
        if heard {
            hosts.near.road.steering.add_port(UDP, SocketAddr::from((NEAR, 500)), 0).unwrap();
        }
        for frame in [&first, &last, &long] {
            assert_eq!(hosts.kept_out(frame), !heard);
        }
    }
}

/// Who takes up a guard that another process left knows the host's addresses as they are now.
#[test]
fn a_guard_follows_the_addresses_of_who_takes_it_up() {
    let mut hosts = Hosts::new(GuardTable { cloak: true, ..GuardTable::default() });
    let frames = [hosts.syn(15), hosts.six(28)];
    let guard_locals = |hosts: &Hosts, locals: &[IpAddr]| {
        let locals: Vec<(IpAddr, u8)> = locals.iter().map(|local| (*local, 3)).collect();
        hosts.near.road.steering.guard_locals(hosts.near.road.steering.guard(), &locals).unwrap();
    };
    for bank in [1, 0] {
        for (locals, out) in [
            (&[six(1).into()][..], [false, true]),
            (&[NEAR.into()], [true, false]),
            (&[NEAR.into(), six(1).into()], [true, true]),
        ] {
            guard_locals(&hosts, locals);
            assert_eq!([0, 1].map(|n: usize| hosts.kept_out(&frames[n])), out, "{locals:?}, bank {bank}");
        }
        let next = guard(GuardTable { cloak: true, ..GuardTable::default() });
        stand(&hosts.near.road.steering, 8, &next, &[(NEAR.into(), 3)]);
    }
}

#[test]
fn a_table_that_the_program_carries_out_is_judged_before_the_stack_sees_it() {
    let mut hosts = Hosts::new(GuardTable { offload: true, ..GuardTable::default() });
    for port in [21, 22, 500] {
        hosts.near.road.steering.add_port(TCP, SocketAddr::from((NEAR, port)), 0).unwrap();
        hosts.near.road.steering.add_port(UDP, SocketAddr::from((NEAR, port)), 0).unwrap();
    }
    for (port, out) in [(21, false), (22, true), (500, true), (501, true)] {
        let frame = hosts.syn(port);
        assert_eq!(hosts.kept_out(&frame), out, "port {port}");
    }
    assert_eq!(hosts.counters().drop_denied, 3);
    let flow = (SocketAddr::from((NEAR, 22)), SocketAddr::from((FAR, 4000)));
    hosts.near.road.steering.add_flow(TCP, flow.0, flow.1, 0).unwrap();
    let frame = hosts.syn(22);
    assert!(!hosts.kept_out(&frame), "a connection that there is is the stack's to judge");
    // ICMP and the rest are judged where an address is cloaked.
    for (protocol, message) in [(ICMP, &[13, 0, 0, 0, 0, 0, 0, 0][..]), (SCTP, &[0; 20])] {
        let frame = hosts.four(protocol, 0x4000, message);
        assert!(!hosts.kept_out(&frame), "{protocol}");
    }
    let datagram = hosts.four(UDP, 0x4000, &[15, 160, 1, 244, 0, 8, 0, 0]);
    assert!(hosts.kept_out(&datagram));
    let table = GuardTable { offload: true, udp_out: true, ..GuardTable::default() };
    let locals = [(NEAR.into(), 3)];
    let prepared = hosts.near.road.steering.prepare_guard(8, &guard(table), &locals).unwrap();
    assert_eq!((hosts.near.road.steering.guard(), hosts.near.road.steering.guard_mark()), (1, 7));
    assert!(hosts.kept_out(&datagram), "nothing has changed yet");
    hosts.near.road.steering.enforce_guard(prepared);
    assert_eq!((hosts.near.road.steering.guard(), hosts.near.road.steering.guard_mark()), (2, 8));
    assert!(!hosts.kept_out(&datagram), "it may be a reply to what the socket has sent");
}

/// It judges as one that enforces does, and everything passes. What a stack hears is left to the stack: once is enough.
#[test]
fn a_table_that_monitors_counts_and_tells_and_lets_pass() {
    for offload in [false, true] {
        let mut hosts =
            Hosts::new(GuardTable { cloak: true, offload, monitor: true, ..GuardTable::default() });
        for (port, denied) in [(15, true), (16, false), (22, true), (28, true)] {
            let (frame, before) = (hosts.syn(port), hosts.counters());
            assert!(!hosts.kept_out(&frame), "port {port}");
            let now = hosts.counters();
            assert_eq!(now.pass_miss - before.pass_miss, 1, "port {port}");
            assert_eq!(now.monitored - before.monitored, u64::from(denied), "port {port}");
        }
        let [first, later] =
            [(FRAGMENTS, &segment(28)[..8]), (1, &[0; 16])].map(|(at, data)| hosts.four(TCP, at, data));
        let message = hosts.four(ICMP, 0x4000, &[13, 0, 0, 0, 0, 0, 0, 0]);
        for frame in [&first, &later, &message] {
            assert!(!hosts.kept_out(frame));
        }
        let told: Vec<_> =
            hosts.alarms.iter().map(|a| (a.flow.protocol, a.flow.local.port(), a.rule, a.dropped)).collect();
        let message_type = 13 << 8;
        assert_eq!(
            told,
            [
                (TCP, 15, None, false),
                (TCP, 22, Some(0), false),
                (TCP, 28, None, false),
                (TCP, 28, None, false),
                (ICMP, message_type, None, false)
            ]
        );
        let (packets, bytes) =
            hosts.near.road.steering.kept_out(hosts.near.road.steering.guard(), 3).unwrap();
        assert_eq!((packets, hosts.counters().monitored), (5, 5));
        assert!(bytes >= 20 * packets);
        hosts.near.road.steering.add_port(TCP, SocketAddr::from((NEAR, 28)), 0).unwrap();
        let frame = hosts.syn(28);
        assert!(!hosts.kept_out(&frame));
        assert_eq!(hosts.counters().monitored, 5, "the stack judges it");
    }
}

/// Packets and bytes of IP that were kept out by each rule of the guard in force.
fn tallies(hosts: &Hosts) -> [(u64, u64); 3] {
    let steering = &hosts.near.road.steering;
    std::array::from_fn(|rule| steering.tally(steering.guard(), TALLIES + rule as u32))
}

#[test]
fn what_is_kept_out_is_counted_by_the_rule_that_says_so() {
    for monitor in [false, true] {
        let table = GuardTable { cloak: true, monitor, ..GuardTable::default() };
        let mut hosts = Hosts::new(table);
        for port in [15, 22, 16, 23, 28] {
            let frame = hosts.syn(port);
            assert_eq!(hosts.kept_out(&frame), !monitor && port != 16, "port {port}");
        }
        assert_eq!(tallies(&hosts), [(2, 2 * 40), (0, 0), (0, 0)], "no rule decides about 15 and 28");
        let kept_out = hosts.near.road.steering.kept_out(hosts.near.road.steering.guard(), 3).unwrap();
        assert_eq!(kept_out, (4, 4 * 40));
        // The next guard begins anew, and so does the one after it, which has the same bank.
        for mark in [8, 9] {
            stand(&hosts.near.road.steering, mark, &guard(table), &[(NEAR.into(), 3)]);
            assert_eq!(tallies(&hosts), [(0, 0); 3]);
            let frame = hosts.syn(22);
            hosts.kept_out(&frame);
            assert_eq!(tallies(&hosts), [(1, 40), (0, 0), (0, 0)]);
        }
        let none = GuardTable { allow: 5, protocol: [3, 0, 4, 0], ..table };
        let mut guard = guard(table);
        guard.tables[3] = none;
        stand(&hosts.near.road.steering, 10, &guard, &[(NEAR.into(), 3)]);
        let frame = hosts.syn(22);
        hosts.kept_out(&frame);
        assert_eq!(tallies(&hosts), [(0, 0); 3], "the rules of this table have no counts of their own");
    }
}

/// What the kernel's own sockets have begun goes on.
#[test]
fn replies_to_the_kernel_are_let_pass() {
    let lab = Lab::new(1);
    let open = lab.open(256, &Options::default());
    let table = GuardTable { cloak: true, ..GuardTable::default() };
    stand(&open.road.steering, 7, &guard(table), &[(NEAR.into(), 3)]);
    let listener = lab.far(|| TcpListener::bind((FAR, 700)).unwrap());
    let stream = lab.near(|| TcpStream::connect((FAR, 700)).unwrap());
    drop((listener.accept().unwrap(), stream));
    let far = lab.far(|| UdpSocket::bind((FAR, 7000)).unwrap());
    let near = lab.near(|| UdpSocket::bind((NEAR, 7001)).unwrap());
    far.send_to(b"stranger", (NEAR, 7001)).unwrap();
    within_deadline("the stranger", || open.road.steering.counters().unwrap().drop_cloaked == 1);
    near.connect((FAR, 7000)).unwrap();
    far.send_to(b"peer", (NEAR, 7001)).unwrap();
    let mut buffer = [0; 16];
    assert_eq!(near.recv(&mut buffer).unwrap(), 4);
}

/// Who may steer only some ports can keep nobody from the others.
#[test]
fn a_guard_reaches_no_further_than_the_limits() {
    let mut hosts = Hosts::new(GuardTable { cloak: true, ..GuardTable::default() });
    let guarded = guard(GuardTable { cloak: true, ..GuardTable::default() });
    drop(hosts.near);
    let limits = Limits { addresses: vec![IpAddr::from(NEAR)], ports: vec![28..=30] };
    hosts.near = hosts.lab.open_within(256, &limits);
    stand(&hosts.near.road.steering, 7, &guarded, &[(NEAR.into(), 3), (six(1).into(), 3)]);
    let frames = [(hosts.syn(28), true), (hosts.syn(31), false), (hosts.six(28), false)];
    let other = [(hosts.four(ICMP, 0x4000, &[13; 40]), false), (hosts.four(SCTP, 0x4000, &[0; 20]), false)];
    for (n, (frame, out)) in frames.iter().chain(&other).enumerate() {
        assert_eq!(hosts.kept_out(frame), *out, "frame {n}");
    }
}
