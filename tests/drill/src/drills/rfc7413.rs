//! Fast Open: RFC 7413.

use stack::error::SocketError;
use stack::socket::OptName;
use stack::types::Readiness;

use super::drills;
use crate::segment::TcpOption;
use crate::{Drill, Knob, On, Segment, State};

drills![
    a_server_gives_a_cookie_when_asked,
    a_server_that_was_not_set_up_gives_none,
    data_with_a_good_cookie_is_read_at_once,
    a_server_may_answer_before_the_handshake_is_over,
    a_good_cookie_without_data_opens_too,
    a_wrong_cookie_costs_a_round_trip_and_brings_another,
    a_reset_takes_an_early_connection_back,
    a_client_asks_for_a_cookie,
    a_client_brings_its_data,
    data_that_is_not_taken_goes_again_at_once,
    a_syn_that_is_sent_again_is_a_plain_one,
    data_on_the_syn_ack_is_taken,
    nobody_who_has_not_asked_for_it_gives_cookies,
    a_cookie_is_given_to_who_asks,
    text_with_a_good_cookie_is_read_before_the_handshake_ends,
    text_with_a_bad_cookie_has_to_come_again,
];

/// The cookie in a segment.
fn cookie_in(segment: &Segment) -> String {
    let cookie = segment.options.iter().find_map(|o| match o {
        TcpOption::FastOpen(cookie) => Some(cookie),
        _ => None,
    });
    cookie.expect("a cookie").iter().map(|b| format!("{b:02x}")).collect()
}

/// A listener that takes part.
fn server(on: On) -> Drill {
    let mut d = Drill::with(on, &[Knob::FastOpen(3)]);
    d.set(OptName::FastOpen, 5);
    d.listen();
    d
}

/// A server and the cookie that it gave; the connection that asked for it is over.
fn server_with_cookie(on: On) -> (Drill, String) {
    let mut d = server(on);
    d.inject("S 0:0(0) win 20000 <mss 1000,FO>");
    let cookie = cookie_in(&d.expect("S. 0:0(0) ack 1 <FO>"));
    d.inject("R 1:1(0)");
    assert_eq!(d.state(), State::Closed);
    (d, cookie)
}

/// RFC 7413 §4.1.2, §4.2.1
fn a_server_gives_a_cookie_when_asked(on: On) {
    let mut d = server(on);
    d.inject("S 0:5(5) win 20000 <mss 1000,FO>");
    // Data that comes with the question is not taken.
    let cookie = cookie_in(&d.expect("S. 0:0(0) ack 1 <FO>"));
    assert_eq!(cookie.len(), 16, "eight octets");
    d.inject("P. 1:6(5) ack 1");
    d.wait(300);
    d.expect(". 1:1(0) ack 6");
    d.read(1, 5);
}

/// RFC 7413 §4.2: off unless the application asks for it.
fn a_server_that_was_not_set_up_gives_none(on: On) {
    let mut d = Drill::with(on, &[Knob::FastOpen(3)]);
    d.listen();
    d.inject("S 0:5(5) win 20000 <mss 1000,FO>");
    d.expect_all(&["S. 0:0(0) ack 1 <no FO>"]);
}

/// RFC 7413 §4.2.1
fn data_with_a_good_cookie_is_read_at_once(on: On) {
    let (mut d, cookie) = server_with_cookie(on);
    d.inject(&format!("S 0:100(100) win 20000 <mss 1000,FO {cookie}>"));
    d.expect_all(&["S. 0:0(0) ack 101 <no FO>"]);
    assert_eq!(d.state(), State::SynReceived);
    assert!(d.ready().contains(Readiness::IN | Readiness::OUT));
    d.read(1, 100);
    d.inject(". 101:101(0) ack 1 win 20000");
    assert_eq!(d.state(), State::Established);
    d.inject("P. 101:201(100) ack 1");
    d.read(101, 100);
}

/// RFC 7413 §4.2.2
fn a_server_may_answer_before_the_handshake_is_over(on: On) {
    let (mut d, cookie) = server_with_cookie(on);
    d.inject(&format!("S 0:100(100) win 20000 <mss 1000,FO {cookie}>"));
    d.expect_all(&["S. 0:0(0) ack 101"]);
    d.read(1, 100);
    d.write(1, 500).unwrap();
    d.expect("P. 1:501(500) ack 101");
    d.inject(". 101:101(0) ack 501 win 20000");
    assert_eq!(d.state(), State::Established);
    d.silent();
}

/// RFC 7413 §4.2.1
fn a_good_cookie_without_data_opens_too(on: On) {
    let (mut d, cookie) = server_with_cookie(on);
    d.inject(&format!("S 0:0(0) win 20000 <mss 1000,FO {cookie}>"));
    d.expect_all(&["S. 0:0(0) ack 1"]);
    d.write(1, 100).unwrap();
    d.expect_all(&["P. 1:101(100) ack 1"]);
    d.inject(". 1:1(0) ack 101");
    assert_eq!(d.state(), State::Established);
}

/// RFC 7413 §4.1.2, §4.2.1
fn a_wrong_cookie_costs_a_round_trip_and_brings_another(on: On) {
    let (mut d, cookie) = server_with_cookie(on);
    d.inject("S 0:100(100) win 20000 <mss 1000,FO 0102030405060708>");
    let again = cookie_in(&d.expect("S. 0:0(0) ack 1 <FO>"));
    assert_eq!(again, cookie);
    d.inject("P. 1:101(100) ack 1 win 20000");
    assert_eq!(d.state(), State::Established);
    d.read(1, 100);
}

/// RFC 7413 §5.1
fn a_reset_takes_an_early_connection_back(on: On) {
    let (mut d, cookie) = server_with_cookie(on);
    d.inject(&format!("S 0:100(100) win 20000 <mss 1000,FO {cookie}>"));
    d.expect_all(&["S. 0:0(0) ack 101"]);
    d.read(1, 100);
    d.inject("R 101:101(0)");
    assert_eq!(d.state(), State::Closed);
    assert_eq!(d.error(), stack::error::SocketError::ConnectionReset.errno());
}

/// RFC 7413 §4.1.2
fn a_client_asks_for_a_cookie(on: On) {
    let mut d = Drill::with(on, &[Knob::FastOpen(1), Knob::KernelOnly("tcp_no_metrics_save", "0")]);
    assert!(d.write_opening(100).is_err_and(|e| e.0 == 115), "EINPROGRESS");
    d.expect_all(&["S 0:0(0) <mss,FO>"]);
    d.inject("S. 0:0(0) ack 1 <mss 1000,FO 0102030405060708>");
    d.expect(". 1:1(0) ack 1");
    assert_eq!(d.state(), State::Established);
    d.write(1, 100).unwrap();
    d.expect_all(&["P. 1:101(100) ack 1"]);
}

/// A client that has a cookie, and a fresh socket.
fn client(on: On) -> Drill {
    let mut d = Drill::with(on, &[Knob::FastOpen(1), Knob::KernelOnly("tcp_no_metrics_save", "0")]);
    let _ = d.write_opening(100);
    d.expect_all(&["S 0:0(0) <mss,FO>"]);
    d.inject("S. 0:0(0) ack 1 <mss 1000,FO 0102030405060708>");
    d.expect(". 1:1(0) ack 1");
    d.abort();
    d.expect("R. 1:1(0) ack 1");
    d.another();
    d
}

/// RFC 7413 §4.1.3, §4.2.1
fn a_client_brings_its_data(on: On) {
    let mut d = client(on);
    assert_eq!(d.write_opening(100), Ok(100));
    d.expect_all(&["S 0:100(100) <mss,FO 0102030405060708>"]);
    d.inject("S. 0:0(0) ack 101 win 20000 <mss 1000>");
    d.expect_all(&[". 101:101(0) ack 1"]);
    assert_eq!(d.state(), State::Established);
    assert_eq!(d.info().options & 32, 32, "TCPI_OPT_SYN_DATA");
    d.write(101, 100).unwrap();
    d.expect_all(&["P. 101:201(100) ack 1"]);
}

/// RFC 7413 §4.2.1
fn data_that_is_not_taken_goes_again_at_once(on: On) {
    let mut d = client(on);
    assert_eq!(d.write_opening(100), Ok(100));
    d.expect_all(&["S 0:100(100)"]);
    d.inject("S. 0:0(0) ack 1 win 20000 <mss 1000>");
    d.expect("P. 1:101(100) ack 1");
    d.inject(". 1:1(0) ack 101");
    assert_eq!(d.state(), State::Established);
    assert_eq!(d.info().options & 32, 0);
    d.sent();
}

/// RFC 7413 §4.1.3.1: in case something on the way drops such SYNs.
fn a_syn_that_is_sent_again_is_a_plain_one(on: On) {
    let mut d = client(on);
    assert_eq!(d.write_opening(100), Ok(100));
    d.expect_all(&["S 0:100(100) <FO>"]);
    d.wait(1100);
    d.expect("S 0:0(0) <no FO>");
    d.inject("S. 0:0(0) ack 1 win 20000 <mss 1000>");
    d.expect("P. 1:101(100) ack 1");
    d.inject(". 1:1(0) ack 101");
    d.sent();
}

/// RFC 7413 §4.2.1: text may come back with the SYN-ACK.
fn data_on_the_syn_ack_is_taken(on: On) {
    let mut d = client(on);
    assert_eq!(d.write_opening(100), Ok(100));
    d.expect_all(&["S 0:100(100)"]);
    d.inject("S. 0:50(50) ack 101 win 20000 <mss 1000>");
    d.expect(". 101:101(0) ack 51");
    d.read(1, 50);
}

const ASKS: &str = "S 0:0(0) win 20000 <mss 1000,sackOK,FO>";

fn serving(on: On) -> Drill {
    let mut d = Drill::with(on, &[Knob::FastOpen(3)]);
    d.set(OptName::FastOpen, 5);
    d.listen();
    d
}

fn cookie_of(segment: &Segment) -> String {
    let cookie = segment.options.iter().find_map(|option| match option {
        TcpOption::FastOpen(cookie) => Some(cookie.iter().map(|b| format!("{b:02x}")).collect()),
        _ => None,
    });
    cookie.expect("a cookie")
}

/// RFC 7413 §2: off unless the application asks
fn nobody_who_has_not_asked_for_it_gives_cookies(on: On) {
    let mut d = Drill::listening(on);
    d.inject(ASKS);
    d.expect("S. 0:0(0) ack 1 <no FO>");
}

/// RFC 7413 §4.1.1, §4.1.2
fn a_cookie_is_given_to_who_asks(on: On) {
    let mut cookies = Vec::new();
    let mut d = serving(on);
    for _ in 0..2 {
        d.inject(ASKS);
        let cookie = cookie_of(&d.expect("S. 0:0(0) ack 1 <FO>"));
        assert!((8..=32).contains(&cookie.len()) && cookie.len().is_multiple_of(2), "{cookie}");
        cookies.push(cookie);
        d.inject("R 1:1(0)");
    }
    assert_eq!(cookies[0], cookies[1]);
}

/// RFC 7413 §4.2.2
fn text_with_a_good_cookie_is_read_before_the_handshake_ends(on: On) {
    let mut d = serving(on);
    d.inject(ASKS);
    let cookie = cookie_of(&d.expect("S. 0:0(0) ack 1 <FO>"));
    d.inject("R 1:1(0)");
    d.inject(&format!("S 0:10(10) win 20000 <mss 1000,sackOK,FO {cookie}>"));
    d.expect("S. 0:0(0) ack 11 <no FO>");
    assert_eq!(d.take(), Ok(()));
    assert_eq!(d.state(), State::SynReceived);
    d.read(1, 10);
    d.write(1, 10).unwrap();
    d.expect("P. 1:11(10) ack 11");
    d.inject(". 11:11(0) ack 11");
    assert_eq!(d.state(), State::Established);
}

/// RFC 7413 §4.2.2
fn text_with_a_bad_cookie_has_to_come_again(on: On) {
    let mut d = serving(on);
    d.inject("S 0:10(10) win 20000 <mss 1000,sackOK,FO 0123456789abcdef>");
    d.expect("S. 0:0(0) ack 1 <FO>");
    assert_eq!(d.take(), Err(SocketError::WouldBlock.into()));
    d.inject("P. 1:11(10) ack 1");
    assert_eq!(d.take(), Ok(()));
    d.read(1, 10);
}
