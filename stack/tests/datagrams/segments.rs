//! UDP_SEGMENT and UDP_GRO: many datagrams, one call.

use ringroad_stack::error::{Fault, SocketError};
use ringroad_stack::policy::{Action, Mode, PortRange, RuleDirection};
use ringroad_stack::socket::{OptName, Outbound, RecvFlags};

use crate::common::{self, Net};
use crate::{address, guard, recv_from, rule, send_msg, send_to, set, udp};

fn cut(segment: u16) -> Outbound {
    Outbound { remote: Some(address(1, 53)), segment: Some(segment), ..Outbound::default() }
}

#[test]
fn one_send_many_datagrams() {
    let mut net = Net::ideal();
    let (a, b) = (udp(&mut net, 0, 1000), udp(&mut net, 1, 53));
    let data = common::pattern(2500, 3);
    assert_eq!(send_msg(&mut net, 0, a, &cut(1000), &data), Ok(2500));
    set(&mut net, 0, a, OptName::Segment, 600);
    assert_eq!(send_to(&mut net, 0, a, Some(address(1, 53)), &data[..1200]), Ok(1200));
    assert_eq!(send_msg(&mut net, 0, a, &cut(0), &data[..1300]), Ok(1300));
    net.run_ms(1);
    for part in
        [&data[..1000], &data[1000..2000], &data[2000..], &data[..600], &data[600..1200], &data[..1300]]
    {
        let (got, told) = recv_from(&mut net, 1, b, 2000).unwrap();
        assert!(got == part && told.segment.is_none(), "{} bytes", got.len());
    }
    assert_eq!((net.a().stats().udp_out, net.b().stats().udp_in), (6, 6));
}

#[test]
fn limits_of_a_cut_send() {
    let mut net = Net::ideal();
    let a = udp(&mut net, 0, 1000);
    assert_eq!(send_msg(&mut net, 0, a, &cut(1473), &[0; 3000]), Err(SocketError::MessageSize));
    assert_eq!(send_msg(&mut net, 0, a, &cut(1), &[0; 129]), Err(SocketError::Invalid));
    assert_eq!(send_msg(&mut net, 0, a, &cut(1), &[0; 128]), Ok(128));
    set(&mut net, 0, a, OptName::NoCheck, 1);
    assert_eq!(send_msg(&mut net, 0, a, &cut(100), &[0; 300]), Err(SocketError::Invalid));
    net.run_ms(1);
    net.assert_whole();
}

#[test]
fn all_or_none_of_a_cut_send() {
    let mut net = Net::ideal();
    let a = udp(&mut net, 0, 1000);
    let (now, mut calls) = (net.now, 0);
    let faulty = net.a().send_msg(now, a, &cut(100), 1000, &mut |room| {
        calls += 1;
        if calls == 7 { Err(Fault) } else { Ok(room.len()) }
    });
    assert_eq!((faulty, net.a().stats().udp_out), (Err(SocketError::Fault), 0));
    net.run_ms(1);
    assert_eq!(net.b().stats().rx_frames, 0);
    net.assert_whole();
}

#[test]
fn a_train_is_one_judged_flow() {
    let mut net = Net::ideal();
    guard(
        &mut net,
        0,
        Mode::Enforce,
        vec![rule("dns", RuleDirection::Out, PortRange::one(1000), Action::Allow)],
    );
    let (a, other) = (udp(&mut net, 0, 1000), udp(&mut net, 0, 1001));
    assert_eq!(send_msg(&mut net, 0, a, &cut(100), &[0; 1000]), Ok(1000));
    assert_eq!(send_msg(&mut net, 0, other, &cut(100), &[0; 1000]), Err(SocketError::NotPermitted));
    let told = net.a().policy();
    assert_eq!(told.tables[0].rules[0].count.packets, 10);
    assert_eq!(told.tables[0].denied.packets, 1, "the first refusal is the train's");
    net.run_ms(1);
    net.assert_whole();
}

#[test]
fn datagrams_of_one_length_are_received_together() {
    let mut net = Net::ideal();
    let (a, b) = (udp(&mut net, 0, 1000), udp(&mut net, 1, 53));
    let other = udp(&mut net, 0, 1001);
    set(&mut net, 1, b, OptName::Gro, 1);
    let data = common::pattern(950, 3);
    send_msg(&mut net, 0, a, &cut(200), &data).unwrap();
    send_msg(&mut net, 0, a, &cut(200), &data[..400]).unwrap();
    send_to(&mut net, 0, other, Some(address(1, 53)), &data[..200]).unwrap();
    net.run_ms(1);
    // Peeked at and taken: the same. The shorter one ends the train.
    let (now, mut seen) = (net.now, 0);
    let flags = RecvFlags { peek: true, ..RecvFlags::default() };
    let peeked = net.b().recv_from(now, b, 5000, flags, &mut |piece| {
        seen += piece.len();
        Ok(())
    });
    let (got, told) = recv_from(&mut net, 1, b, 5000).unwrap();
    assert_eq!((seen, peeked), (950, Ok(told)));
    assert!(got == data && told.segment == Some(200) && told.len == 950);
    // As many as fit, whole.
    let (got, told) = recv_from(&mut net, 1, b, 399).unwrap();
    assert_eq!((got.as_slice(), told.segment), (&data[..200], None));
    let (got, told) = recv_from(&mut net, 1, b, 5000).unwrap();
    assert_eq!((got.as_slice(), told.segment, told.remote), (&data[200..400], None, address(0, 1000)));
    assert_eq!(recv_from(&mut net, 1, b, 5000).unwrap().1.remote, address(0, 1001));
    net.run_ms(1);
    net.assert_whole();
}
