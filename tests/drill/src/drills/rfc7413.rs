//! Fast Open, the server's side: RFC 7413.

use stack::error::SocketError;
use stack::socket::OptName;

use super::drills;
use crate::segment::TcpOption;
use crate::{Drill, Knob, On, Segment, State};

drills![
    nobody_who_has_not_asked_for_it_gives_cookies,
    a_cookie_is_given_to_who_asks,
    text_with_a_good_cookie_is_read_before_the_handshake_ends,
    text_with_a_bad_cookie_has_to_come_again,
];

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
        assert!((8..=32).contains(&cookie.len()) && cookie.len() % 2 == 0, "{cookie}");
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
