//! SYN floods: RFC 4987, and SYN cookies as Linux has them.

use super::drills;
use crate::{Drill, Knob, On, State};

drills![
    a_cookie_keeps_what_the_syn_offered,
    without_timestamps_only_the_segment_size_is_kept,
    an_ack_with_data_redeems_a_cookie,
    nothing_is_sent_again_by_itself,
    a_guess_is_reset,
    a_wrong_sequence_number_is_reset,
    a_reset_ends_nothing,
    options_are_kept_in_the_timestamp,
    without_timestamps_only_the_mss_is_kept,
    a_forged_cookie_is_reset,
];

fn listening(on: On) -> Drill {
    let mut d = Drill::with(on, &[Knob::SynCookies(2)]);
    d.listen();
    d
}

/// RFC 4987 §3.6
fn a_cookie_keeps_what_the_syn_offered(on: On) {
    let mut d = listening(on);
    d.inject("S 0:0(0) win 20000 <mss 1460,sackOK,TS 100 0,wscale 9>");
    d.expect_all(&["S. 0:0(0) ack 1 <mss,sackOK,TS * 100,wscale>"]);
    assert_eq!(d.state(), State::Closed, "nothing is kept");
    d.inject(". 1:1(0) ack 1 win 100 <TS 101 last>");
    assert_eq!(d.state(), State::Established);
    let info = d.info();
    // TCPI_OPT_TIMESTAMPS, TCPI_OPT_SACK, TCPI_OPT_WSCALE.
    assert_eq!((info.options & 7, info.wscale.0), (7, 9));
    d.write(1, 2000).unwrap();
    d.expect("p. ack 1 <TS * 101>");
    d.sent();
    d.inject(". 1:1(0) ack 2001 win 100 <TS 102 last>");
    d.inject("P. 1:501(500) ack 2001 <TS 103 last>");
    d.read(1, 500);
}

/// RFC 4987 §3.6
fn without_timestamps_only_the_segment_size_is_kept(on: On) {
    let mut d = listening(on);
    d.inject("S 0:0(0) win 20000 <mss 1300,sackOK,wscale 9>");
    d.expect_all(&["S. 0:0(0) ack 1 <mss,no sackOK,no wscale,no TS>"]);
    d.inject(". 1:1(0) ack 1 win 20000");
    assert_eq!(d.state(), State::Established);
    assert_eq!(d.info().options & 7, 0);
    d.write(1, 1300).unwrap();
    // The size is rounded down to one of a few.
    let sent = d.expect("p. ack 1");
    assert!((1220..=1300).contains(&sent.len()), "{} octets", sent.len());
    d.sent();
}

/// RFC 4987 §3.6
fn an_ack_with_data_redeems_a_cookie(on: On) {
    let mut d = listening(on);
    d.inject("S 0:0(0) win 20000 <mss 1000>");
    d.expect_all(&["S. 0:0(0) ack 1"]);
    // The ACK that should have come before was lost.
    d.inject("P. 1:11(10) ack 1");
    assert_eq!(d.state(), State::Established);
    d.read(1, 10);
}

/// RFC 4987 §3.6
fn nothing_is_sent_again_by_itself(on: On) {
    let mut d = listening(on);
    d.inject("S 0:0(0) win 20000 <mss 1000>");
    d.expect_all(&["S. 0:0(0) ack 1"]);
    d.at(3500);
    d.silent();
    d.inject("S 0:0(0) win 20000 <mss 1000>");
    d.expect_all(&["S. 0:0(0) ack 1"]);
    d.inject(". 1:1(0) ack 1");
    assert_eq!(d.state(), State::Established);
}

/// RFC 4987 §3.6, RFC 9293 §3.10.7.2
fn a_guess_is_reset(on: On) {
    let mut d = listening(on);
    d.inject("S 0:0(0) win 20000 <mss 1000>");
    d.expect_all(&["S. 0:0(0) ack 1"]);
    d.inject(". 1:1(0) ack 500");
    d.expect_all(&["R 500:500(0)"]);
    assert_eq!(d.state(), State::Closed);
    d.inject(". 1:1(0) ack 1");
    assert_eq!(d.state(), State::Established);
}

/// RFC 4987 §3.6
fn a_wrong_sequence_number_is_reset(on: On) {
    let mut d = listening(on);
    d.inject("S 0:0(0) win 20000 <mss 1000>");
    d.expect_all(&["S. 0:0(0) ack 1"]);
    d.inject(". 5000:5000(0) ack 1");
    d.expect_all(&["R 1:1(0)"]);
    assert_eq!(d.state(), State::Closed);
}

/// RFC 9293 §3.10.7.2 first
fn a_reset_ends_nothing(on: On) {
    let mut d = listening(on);
    d.inject("S 0:0(0) win 20000 <mss 1000>");
    d.expect_all(&["S. 0:0(0) ack 1"]);
    d.inject("R 1:1(0)");
    d.silent();
    d.inject(". 1:1(0) ack 1");
    assert_eq!(d.state(), State::Established);
}

fn with_cookies(on: On) -> Drill {
    let mut d = Drill::with(on, &[Knob::SynCookies(2)]);
    d.listen();
    d
}

/// RFC 4987 §3.6
fn options_are_kept_in_the_timestamp(on: On) {
    let mut d = with_cookies(on);
    d.inject("S 0:0(0) win 20000 <mss 1440,sackOK,wscale 7,TS 100 0>");
    d.expect("S. 0:0(0) ack 1 <mss,sackOK,wscale,TS * 100>");
    // Nothing is kept: the SYN-ACK is not sent again.
    d.at(1_300);
    d.silent();
    d.inject(". 1:1(0) ack 1 win 1000 <TS 101 last>");
    assert_eq!(d.take(), Ok(()));
    assert_eq!(d.state(), State::Established);
    assert_eq!(d.info().wscale.0, 7);
    d.write(1, 3000).unwrap();
    assert_eq!(d.sent()[0].len(), 1428);
    d.inject("P. 11:21(10) ack 3001 win 1000 <TS 102 last>");
    d.expect(". 3001:3001(0) ack 1 <sack 11:21>");
}

/// RFC 4987 §3.6
fn without_timestamps_only_the_mss_is_kept(on: On) {
    let mut d = with_cookies(on);
    d.inject("S 0:0(0) win 20000 <mss 1440,sackOK,wscale 7>");
    d.expect("S. 0:0(0) ack 1 <mss,no wscale,no TS>");
    d.inject(". 1:1(0) ack 1 win 20000");
    assert_eq!(d.take(), Ok(()));
    d.inject("P. 11:21(10) ack 1 win 20000");
    d.expect(". 1:1(0) ack 1 <no sack>");
    d.write(1, 3000).unwrap();
    assert_eq!(d.sent()[0].len(), 1440);
}

/// RFC 4987 §3.6
fn a_forged_cookie_is_reset(on: On) {
    let mut d = with_cookies(on);
    d.inject("S 0:0(0) win 20000 <mss 1440>");
    d.expect("S. 0:0(0) ack 1");
    d.inject(". 1:1(0) ack 77 win 20000");
    d.expect("R 77:77(0)");
    assert!(d.take().is_err());
}
