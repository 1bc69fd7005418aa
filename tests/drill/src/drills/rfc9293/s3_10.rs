//! Event processing: RFC 9293 §3.10, what no other file tells.

use stack::error::SocketError;

use super::drills;
use crate::{Drill, On, State};

drills![
    segments_without_an_ack_are_dropped,
    a_segment_for_nobody_is_reset,
    a_connected_socket_does_not_connect_again,
];

/// RFC 9293 §3.10.7.4 fifth
fn segments_without_an_ack_are_dropped(on: On) {
    let mut d = Drill::established(on);
    d.inject("P 1:101(100)");
    d.inject("F 1:1(0)");
    d.silent();
    assert_eq!(d.recv(1), Err(SocketError::WouldBlock.into()));
    assert_eq!(d.state(), State::Established);
}

/// RFC 9293 §3.10.7.1
fn a_segment_for_nobody_is_reset(on: On) {
    let mut d = Drill::new(on);
    assert_eq!(d.connect(), Err(SocketError::InProgress.into()));
    d.expect("S 0:0(0)");
    d.close();
    d.inject("R 1:1(0)");
    d.inject("R. 1:1(0) ack 5");
    d.silent();
    d.inject(". 1:1(0) ack 5");
    d.expect_all(&["R 5:5(0)"]);
    d.inject("P 1:11(10)");
    d.expect_all(&["R. ack 11"]);
}

/// RFC 9293 §3.10.1: "connection already exists"
fn a_connected_socket_does_not_connect_again(on: On) {
    let mut d = Drill::established(on);
    assert_eq!(d.connect(), Err(SocketError::IsConnected.into()));
    d.silent();
}
