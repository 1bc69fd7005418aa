//! Attacks by ICMP: RFC 5927, RFC 5461.

use stack::error::SocketError;

use super::drills;
use crate::{Complaint, Drill, On, State};

drills![
    an_error_about_what_is_not_in_flight_is_not_believed,
    a_hard_error_does_not_end_an_open_connection,
    a_connect_is_ended_by_an_error,
    a_connect_is_not_ended_by_a_guess,
    a_forged_narrow_path_is_not_believed,
    source_quench_is_ignored,
];

const ALL: [Complaint; 5] =
    [Complaint::Network, Complaint::Host, Complaint::Port, Complaint::Prohibited, Complaint::Expired];

/// RFC 5927 §4.1
fn an_error_about_what_is_not_in_flight_is_not_believed(on: On) {
    let mut d = Drill::established(on);
    d.write(1, 100).unwrap();
    d.expect("P. 1:101(100)");
    for text in
        [". -100:-100(0) ack 1", ". 102:102(0) ack 1", ". 5000:5000(0) ack 1", ". 900000:900000(0) ack 1"]
    {
        for what in ALL {
            d.complain_about(what, text);
        }
        d.complain_about(Complaint::TooBig(1280), text);
    }
    d.silent();
    assert_eq!(d.state(), State::Established);
    assert_eq!(d.error(), 0);
}

/// RFC 5927 §5.2, RFC 9293 §3.9.2.2 MUST-56: hard errors are soft in synchronized states.
fn a_hard_error_does_not_end_an_open_connection(on: On) {
    let mut d = Drill::established(on);
    d.write(1, 100).unwrap();
    d.expect("P. 1:101(100)");
    for what in ALL {
        d.complain(what);
        assert_eq!(d.state(), State::Established, "{what:?}");
    }
    d.complain(Complaint::Protocol);
    assert_eq!(d.state(), State::Established);
    d.inject(". 1:1(0) ack 101");
    d.write(101, 100).unwrap();
    d.expect("P. 101:201(100)");
}

/// RFC 5461 §4, as Linux: a connect fails by the first error.
fn a_connect_is_ended_by_an_error(on: On) {
    let mut d = Drill::new(on);
    let _ = d.connect();
    d.expect("S 0:0(0)");
    d.complain(Complaint::Port);
    assert_eq!(d.error(), SocketError::ConnectionRefused.errno());
    assert_eq!(d.state(), State::Closed);
}

/// RFC 5927 §4.1
fn a_connect_is_not_ended_by_a_guess(on: On) {
    let mut d = Drill::new(on);
    let _ = d.connect();
    d.expect("S 0:0(0)");
    d.complain_about(Complaint::Port, "S 77:77(0)");
    d.complain_about(Complaint::Host, "S -1:-1(0)");
    assert_eq!(d.state(), State::SynSent);
    d.inject("S. 0:0(0) ack 1 <mss 1000>");
    d.expect(". 1:1(0) ack 1");
    assert_eq!(d.state(), State::Established);
}

/// RFC 5927 §7.2
fn a_forged_narrow_path_is_not_believed(on: On) {
    let mut d = Drill::established(on);
    d.write(1, 1000).unwrap();
    d.expect("P. 1:1001(1000)");
    d.complain_about(Complaint::TooBig(1280), ". 1001:2001(1000) ack 1");
    d.complain_about(Complaint::TooBig(1280), ". -1000:0(1000) ack 1");
    d.silent();
    d.inject(". 1:1(0) ack 1001");
    d.write(1001, 1000).unwrap();
    d.expect("P. 1001:2001(1000)");
}

/// RFC 6633 §3, RFC 9293 MUST-55
fn source_quench_is_ignored(on: On) {
    let mut d = Drill::established(on);
    d.write(1, 100).unwrap();
    d.expect("P. 1:101(100)");
    let before = d.info().snd_cwnd;
    if on.family() == crate::Family::V4 {
        d.complain(Complaint::Quench);
    }
    d.silent();
    assert_eq!(d.info().snd_cwnd, before);
}
