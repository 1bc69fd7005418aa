//! SYN cookies: RFC 4987.

use super::drills;
use crate::{Drill, Knob, On, State};

drills![options_are_kept_in_the_timestamp, without_timestamps_only_the_mss_is_kept, a_forged_cookie_is_reset];

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
