//! The user timeout: RFC 5482, by TCP_USER_TIMEOUT.

use stack::error::SocketError;
use stack::socket::{OptName, Value};

use super::drills;
use crate::{Drill, On, State};

drills![
    data_may_wait_so_long,
    an_ack_starts_the_wait_anew,
    a_shut_window_may_last_so_long,
    a_connect_may_take_so_long,
    probes_of_an_idle_connection_may_go_unanswered_so_long,
    the_peer_s_wish_is_ignored,
    the_option_reads_back,
    less_than_a_time_out_is_one_try,
];

/// RFC 5482 §1, RFC 9293 §3.9.1.8, §3.10.8
fn data_may_wait_so_long(on: On) {
    let mut d = Drill::established(on);
    d.set(OptName::UserTimeout, 1500);
    d.write(1, 100).unwrap();
    d.expect("P. 1:101(100)");
    d.at(1000);
    assert_eq!(d.state(), State::Established);
    d.sent();
    // The timer comes when the time is up, not with the next doubling of the time-out.
    d.at(1900);
    assert_eq!(d.state(), State::Closed);
    assert_eq!(d.error(), SocketError::TimedOut.errno());
    d.sent();
    d.at(4000);
    d.silent();
}

/// RFC 5482 §1
fn an_ack_starts_the_wait_anew(on: On) {
    let mut d = Drill::established(on);
    d.set(OptName::UserTimeout, 1000);
    d.write(1, 100).unwrap();
    d.expect("P. 1:101(100)");
    d.at(700);
    d.sent();
    d.inject(". 1:1(0) ack 101");
    d.write(101, 100).unwrap();
    d.expect("P. 101:201(100)");
    d.at(1300);
    d.sent();
    assert_eq!(d.state(), State::Established);
    d.inject(". 1:1(0) ack 201");
    d.at(3000);
    assert_eq!(d.state(), State::Established);
    d.silent();
}

/// RFC 9293 §3.8.6.1: a user may be less patient than the protocol.
fn a_shut_window_may_last_so_long(on: On) {
    let mut d = Drill::established(on);
    d.set(OptName::UserTimeout, 1500);
    d.inject(". 1:1(0) ack 1 win 0");
    d.write(1, 100).unwrap();
    d.at(1000);
    for _ in d.sent() {
        d.inject(". 1:1(0) ack 1 win 0");
    }
    assert_eq!(d.state(), State::Established);
    d.at(2600);
    assert_eq!(d.state(), State::Closed);
    assert_eq!(d.error(), SocketError::TimedOut.errno());
    d.sent();
}

/// RFC 9293 §3.10.1: the time-out of OPEN.
fn a_connect_may_take_so_long(on: On) {
    let mut d = Drill::new(on);
    d.set(OptName::UserTimeout, 1500);
    let _ = d.connect();
    d.expect("S 0:0(0)");
    d.at(1200);
    d.expect("S 0:0(0)");
    assert_eq!(d.state(), State::SynSent);
    d.at(2500);
    assert_eq!(d.error(), SocketError::TimedOut.errno());
    assert_eq!(d.state(), State::Closed);
}

/// RFC 9293 §3.8.4, SHLD: with keepalive the user's timeout takes the place of the count of probes.
fn probes_of_an_idle_connection_may_go_unanswered_so_long(on: On) {
    let mut d = Drill::established(on);
    d.set(OptName::KeepIdle, 1);
    d.set(OptName::KeepInterval, 1);
    d.set(OptName::KeepCount, 9);
    d.set(OptName::UserTimeout, 1500);
    d.set(OptName::KeepAlive, 1);
    d.at(1200);
    d.expect(". 0:0(0) ack 1");
    assert_eq!(d.state(), State::Established);
    d.at(2400);
    d.expect("R. 1:1(0) ack 1");
    assert_eq!(d.state(), State::Closed);
    assert_eq!(d.error(), SocketError::TimedOut.errno());
}

/// RFC 5482 §3.1, §3.3: a host may ignore the option; we do, as Linux does.
fn the_peer_s_wish_is_ignored(on: On) {
    let mut d = Drill::accepted(on, "<mss 1000,kind 28 8001>");
    d.write(1, 100).unwrap();
    d.expect("P. 1:101(100) <no kind>");
    d.at(2000);
    assert_eq!(d.state(), State::Established);
    d.sent();
}

/// RFC 5482 §3.2: what the user asked for is what the user is told.
fn the_option_reads_back(on: On) {
    let mut d = Drill::established(on);
    assert_eq!(d.get(OptName::UserTimeout), Ok(Value::Int(0)));
    d.set(OptName::UserTimeout, 12_345);
    assert_eq!(d.get(OptName::UserTimeout), Ok(Value::Int(12_345)));
    assert_eq!(d.try_set(OptName::UserTimeout, Value::Int(-1)).unwrap_err(), SocketError::Invalid);
    d.set(OptName::UserTimeout, 0);
}

/// RFC 5482 §1: a timeout that is over with the first time-out; what was sent is tried once more.
fn less_than_a_time_out_is_one_try(on: On) {
    let mut d = Drill::established(on);
    d.set(OptName::UserTimeout, 10);
    d.write(1, 100).unwrap();
    d.expect("P. 1:101(100)");
    d.at(150);
    assert_eq!(d.state(), State::Established);
    d.at(700);
    assert_eq!(d.state(), State::Closed);
    assert_eq!(d.error(), SocketError::TimedOut.errno());
    d.sent();
}
