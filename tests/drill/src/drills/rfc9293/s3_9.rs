//! The interfaces, to the application and to IP: RFC 9293 §3.9.

use std::net::IpAddr;

use stack::error::SocketError;
use stack::socket::{How, OptName};
use stack::types::Readiness;

use super::drills;
use crate::{Complaint, Drill, Family, Knob, On, State};

drills![
    without_an_address_that_of_the_way_is_taken,
    broadcast_and_multicast_cannot_be_connected_to,
    a_syn_to_everybody_is_not_heard,
    a_syn_from_everybody_is_not_heard,
    a_listener_goes_on_beside_its_connections,
    a_port_can_be_listened_on_while_a_connection_opens,
    the_traffic_class_and_the_time_to_live_are_the_applications,
    ip_options_are_ignored,
    soft_errors_do_not_abort,
    soft_errors_are_the_reason_in_the_end,
    a_port_that_nobody_has_ends_a_connect,
    a_connect_that_is_shut_is_over,
    an_unreachable_host_ends_a_connect,
    an_error_about_what_is_not_in_flight_is_not_heard,
    source_quench_is_not_heard,
    a_narrower_path_makes_segments_smaller,
    keepalive_intervals_can_be_set_and_are_two_hours,
];

/// RFC 9293 MUST-43, MUST-44, MUST-45: the drill hears only what comes from the one address
fn without_an_address_that_of_the_way_is_taken(on: On) {
    for knobs in [&[][..], &[Knob::AnyAddress]] {
        let mut d = Drill::with(on, knobs);
        assert_eq!(d.connect(), Err(SocketError::InProgress.into()));
        d.expect("S 0:0(0)");
        d.inject("S. 0:0(0) ack 1 <mss 1000>");
        d.expect(". 1:1(0) ack 1");
        d.write(1, 10).unwrap();
        d.expect("P. 1:11(10) ack 1");
    }
}

fn everybody(on: On) -> Vec<IpAddr> {
    match on.family() {
        Family::V4 => vec![
            "255.255.255.255".parse().unwrap(),
            "192.0.2.255".parse().unwrap(),
            "224.0.0.1".parse().unwrap(),
        ],
        Family::V6 => vec!["ff02::1".parse().unwrap()],
    }
}

/// RFC 9293 MUST-46
fn broadcast_and_multicast_cannot_be_connected_to(on: On) {
    for address in everybody(on) {
        let mut d = Drill::new(on);
        let answer = d.connect_to(address);
        assert!(answer.is_err() && answer != Err(SocketError::InProgress.into()), "{address}: {answer:?}");
        d.silent();
    }
}

/// RFC 9293 MUST-57; RFC 1122 §3.2.1.3
fn a_syn_to_everybody_is_not_heard(on: On) {
    let mut d = Drill::with(on, &[Knob::AnyAddress]);
    d.listen();
    for address in everybody(on) {
        d.inject_addressed(on.family().remote(), address, "S 0:0(0) <mss 1000>");
    }
    d.silent();
    assert_eq!(d.state(), State::Listen);
}

/// RFC 9293 MUST-63; RFC 1122 §3.2.1.3
fn a_syn_from_everybody_is_not_heard(on: On) {
    let mut d = Drill::with(on, &[Knob::AnyAddress]);
    d.listen();
    for address in everybody(on) {
        d.inject_addressed(address, on.family().local(), "S 0:0(0) <mss 1000>");
    }
    d.silent();
    assert_eq!(d.state(), State::Listen);
}

/// RFC 9293 MUST-42
fn a_port_can_be_listened_on_while_a_connection_opens(on: On) {
    let mut d = Drill::new(on);
    d.set(OptName::ReuseAddr, 1);
    assert_eq!(d.connect(), Err(SocketError::InProgress.into()));
    d.expect("S 0:0(0)");
    d.another();
    d.listen();
    // The connection is not disturbed.
    d.inject("S. 0:0(0) ack 1 <mss 1000>");
    d.expect_all(&[". 1:1(0) ack 1"]);
    assert_eq!(d.state(), State::Established);
}

/// RFC 9293 MUST-41
fn a_listener_goes_on_beside_its_connections(on: On) {
    let mut d = Drill::established(on);
    d.inject_addressed(next(on), on.family().local(), "S 0:0(0) <mss 1000>");
    // The answer goes to another address: the drill does not hear it, but the connection goes on.
    d.inject("P. 1:11(10) ack 1");
    d.read(1, 10);
    assert_eq!(d.take(), Err(SocketError::WouldBlock.into()));
}

/// A third host of the network.
fn next(on: On) -> IpAddr {
    match on.family() {
        Family::V4 => "192.0.2.3".parse().unwrap(),
        Family::V6 => "2001:db8::3".parse().unwrap(),
    }
}

/// RFC 9293 MUST-48, MUST-49, SHLD-21, SHLD-22; RFC 1122 §3.2.1.7
fn the_traffic_class_and_the_time_to_live_are_the_applications(on: On) {
    let mut d = Drill::established(on);
    d.write(1, 10).unwrap();
    let plain = d.expect("P. 1:11(10)");
    assert_eq!((plain.tos & 0xfc, plain.hops), (0, 64));
    if on.family() == Family::V4 {
        d.set(OptName::Tos, 0x28);
        d.set(OptName::Ttl, 33);
        d.inject(". 1:1(0) ack 11");
        d.write(11, 10).unwrap();
        let marked = d.expect("P. 11:21(10)");
        assert_eq!((marked.tos & 0xfc, marked.hops), (0x28, 33));
    }
}

/// RFC 9293 MUST-50
fn ip_options_are_ignored(on: On) {
    let mut d = Drill::established(on);
    if on.family() == Family::V4 {
        d.inject_spoilt("P. 1:11(10) ack 1", |packet| {
            // Four octets of padding after the addresses; the header's checksum follows.
            packet.splice(20..20, [1, 1, 1, 0]);
            packet[0] = 0x46;
            packet[3] += 4;
            let sum = u32::from(u16::from_be_bytes([packet[10], packet[11]]));
            let more = 0x0100 + 4 + 0x0101 + 0x0100;
            let sum = (!sum & 0xffff) + more;
            let sum = (sum & 0xffff) + (sum >> 16);
            packet[10..12].copy_from_slice(&(!sum as u16).to_be_bytes());
        });
        d.read(1, 10);
    }
}

/// RFC 9293 MUST-54, MUST-56, SHLD-25; RFC 1122 §4.2.3.9; SO_ERROR tells, as in Linux
fn soft_errors_do_not_abort(on: On) {
    let mut d = Drill::established(on);
    d.write(1, 100).unwrap();
    d.expect("P. 1:101(100)");
    for (complaint, error) in [
        (Complaint::Network, SocketError::NetworkUnreachable),
        (Complaint::Host, SocketError::HostUnreachable),
        (Complaint::Expired, SocketError::HostUnreachable),
        (Complaint::Port, SocketError::ConnectionRefused),
    ] {
        d.complain(complaint);
        assert_eq!(d.state(), State::Established, "{complaint:?}");
        assert_eq!((d.error(), d.error()), (error.errno(), 0), "{complaint:?}");
    }
    for complaint in [Complaint::Prohibited, Complaint::Protocol] {
        d.complain(complaint);
        assert_eq!(d.state(), State::Established, "{complaint:?}");
    }
    d.inject(". 1:1(0) ack 101");
    d.silent();
}

/// RFC 9293 MUST-47, MUST-20
fn soft_errors_are_the_reason_in_the_end(on: On) {
    let mut d = Drill::with(on, &[Knob::Retries(3)]);
    d.accept("<mss 1000>");
    d.write(1, 100).unwrap();
    d.expect("P. 1:101(100)");
    d.complain(Complaint::Host);
    d.at(12_000);
    d.sent();
    assert_eq!(d.state(), State::Closed);
    assert_eq!(d.error(), SocketError::HostUnreachable.errno());
}

/// RFC 9293 SHLD-26; RFC 5461 §4
fn a_port_that_nobody_has_ends_a_connect(on: On) {
    let mut d = Drill::new(on);
    assert_eq!(d.connect(), Err(SocketError::InProgress.into()));
    d.expect("S 0:0(0)");
    d.complain(Complaint::Port);
    assert_eq!(d.state(), State::Closed);
    assert_eq!(d.error(), SocketError::ConnectionRefused.errno());
}

/// RFC 9293 SHLD-25; as Linux has it
fn an_unreachable_host_ends_a_connect(on: On) {
    let mut d = Drill::new(on);
    assert_eq!(d.connect(), Err(SocketError::InProgress.into()));
    d.expect("S 0:0(0)");
    d.complain(Complaint::Host);
    assert_eq!(d.state(), State::Closed);
    assert_eq!(d.error(), SocketError::HostUnreachable.errno());
}

/// RFC 5927 §4.1
fn an_error_about_what_is_not_in_flight_is_not_heard(on: On) {
    let mut d = Drill::new(on);
    assert_eq!(d.connect(), Err(SocketError::InProgress.into()));
    d.expect("S 0:0(0)");
    d.complain_about(Complaint::Port, "S 9:9(0)");
    d.complain_about(Complaint::Port, "S -9:-9(0)");
    assert_eq!(d.state(), State::SynSent);
}

/// RFC 9293 MUST-55; RFC 5927 §6; RFC 6633 §4
fn source_quench_is_not_heard(on: On) {
    if on.family() == Family::V6 {
        return;
    }
    let mut d = Drill::established(on);
    d.write(1, 5000).unwrap();
    assert_eq!(d.sent().len(), 5);
    let before = d.info().snd_cwnd;
    d.complain(Complaint::Quench);
    assert_eq!((d.info().snd_cwnd, d.error()), (before, 0));
    d.silent();
}

/// RFC 9293 SHLD-6, §3.7.2; RFC 1191 §3, §6.4; RFC 8201 §4, §5.4; RFC 5927 §7.2
fn a_narrower_path_makes_segments_smaller(on: On) {
    let mut d = Drill::accepted(on, "<mss 1400>");
    d.write(1, 2800).unwrap();
    d.expect_all(&[".p 1:1401(1400)", "P. 1401:2801(1400)"]);
    // Not about what is in flight: not heard.
    d.complain_about(Complaint::TooBig(1300), ". 90000:90000(0)");
    d.silent();
    d.complain_about(Complaint::TooBig(1300), ". 1:1401(1400) ack 1");
    let smaller = u32::from(1280 - on.ip_header());
    let first = d.expect(".p");
    assert_eq!(d.range(&first), (1, 1 + smaller));
    d.sent();
    // It is no sign of congestion.
    d.inject(". 1:1(0) ack 2801");
    d.write(2801, smaller).unwrap();
    assert_eq!(d.expect("P.").len(), smaller);
    // It never grows by such a message.
    d.complain(Complaint::TooBig(1400));
    d.silent();
}

/// RFC 9293 MUST-27, MUST-28
fn keepalive_intervals_can_be_set_and_are_two_hours(on: On) {
    let mut d = Drill::established(on);
    let seconds = |d: &mut Drill| d.get(OptName::KeepIdle).and_then(|v| Ok(v.int()?));
    assert_eq!(seconds(&mut d), Ok(7200));
    d.set(OptName::KeepIdle, 90);
    assert_eq!(seconds(&mut d), Ok(90));
}

/// shutdown(2) as Linux has it: in SYN-SENT it is a disconnect, which is what poll tells
fn a_connect_that_is_shut_is_over(on: On) {
    for how in [How::Write, How::Read, How::Both] {
        let mut d = Drill::new(on);
        assert_eq!(d.connect(), Err(SocketError::InProgress.into()));
        d.expect("S 0:0(0)");
        assert_eq!(d.ready(), Readiness::NONE);
        assert_eq!(d.shutdown_with(how), Ok(()));
        assert_eq!(d.ready(), Readiness::OUT | Readiness::HUP | Readiness::ERR);
        // Whoever asks first is told.
        let told = Err(SocketError::ConnectionReset.into());
        match how {
            How::Write => assert_eq!(d.error(), SocketError::ConnectionReset.errno()),
            How::Read => assert_eq!(d.recv(1), told),
            How::Both => assert_eq!(d.write(1, 1).map(|_| vec![]), told),
        }
        assert_eq!(d.ready(), Readiness::OUT | Readiness::HUP);
        assert_eq!(d.recv(1), Err(SocketError::NotConnected.into()));
        assert_eq!(d.write(1, 1), Err(SocketError::BrokenPipe.into()));
        assert_eq!(d.shutdown_with(how), Err(SocketError::NotConnected.into()));
        // The next one begins anew.
        assert_eq!(d.connect(), Err(SocketError::InProgress.into()));
        d.expect("S 0:0(0)");
        d.inject("S. 0:0(0) ack 1 <mss 1000>");
        d.expect_all(&[". 1:1(0) ack 1"]);
    }
}
