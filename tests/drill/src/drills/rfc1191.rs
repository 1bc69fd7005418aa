//! Path MTU discovery: RFC 1191 and, for IPv6, RFC 8201.

use stack::socket::{OptName, Value};

use super::drills;
use crate::{Complaint, Drill, Family, On, State};

drills![
    what_was_too_long_goes_again_at_once_and_shorter,
    a_path_that_takes_as_much_is_no_news,
    no_path_is_narrower_than_the_least,
    the_next_connection_begins_with_what_was_learnt,
    it_is_not_congestion,
    ip_mtu_tells,
    a_narrow_path_is_tried_again_after_ten_minutes,
    a_router_that_does_not_say_costs_a_guess,
    what_routers_may_cut_says_so,
    who_asks_for_no_discovery_is_not_told,
];

/// Octets of the headers before the text.
fn headers(on: On) -> u32 {
    u32::from(on.ip_header()) + 20
}

fn full(on: On) -> Drill {
    Drill::accepted(on, &format!("<mss {}>", 1500 - headers(on)))
}

/// RFC 1191 §6.4, RFC 8201 §5.4; RFC 9293 §3.7.2
fn what_was_too_long_goes_again_at_once_and_shorter(on: On) {
    let mut d = full(on);
    let (long, short) = (1500 - headers(on), 1300 - headers(on));
    d.write(1, 2 * long).unwrap();
    d.expect("p. ack 1");
    d.sent();
    d.complain_about(Complaint::TooBig(1300), &format!(". 1:{}({long}) ack 1", long + 1));
    let again = d.expect("p.");
    assert_eq!(again.len(), short);
    assert!(d.sent().iter().all(|s| s.len() <= short));
    assert_eq!(d.state(), State::Established);
}

/// RFC 5927 §7.2
fn a_path_that_takes_as_much_is_no_news(on: On) {
    let mut d = full(on);
    let long = 1500 - headers(on);
    d.write(1, 100).unwrap();
    d.expect("P. 1:101(100)");
    d.complain(Complaint::TooBig(1500));
    d.complain(Complaint::TooBig(9000));
    d.silent();
    d.inject(". 1:1(0) ack 101");
    d.write(101, long).unwrap();
    assert_eq!(d.expect("P.").len(), long);
}

/// RFC 1191 §3 and Linux's min_pmtu; RFC 8201 §4
fn no_path_is_narrower_than_the_least(on: On) {
    let mut d = full(on);
    let long = 1500 - headers(on);
    d.write(1, long).unwrap();
    d.expect("P. ack 1");
    d.complain(Complaint::TooBig(100));
    if on.family() == Family::V6 {
        // Not believed at all.
        d.silent();
        return;
    }
    assert_eq!(d.expect("p. ack 1").len(), 552 - headers(on));
}

/// RFC 1191 §6.1, RFC 8201 §5.2: it is the path's, not the connection's.
fn the_next_connection_begins_with_what_was_learnt(on: On) {
    let mut d = full(on);
    let (long, short) = (1500 - headers(on), 1400 - headers(on));
    d.write(1, long).unwrap();
    d.expect("P. ack 1");
    d.complain(Complaint::TooBig(1400));
    d.expect("p. ack 1");
    d.abort();
    d.sent();
    d.inject(&format!("S 5000:5000(0) win 20000 <mss {long}>"));
    d.expect("S. 0:0(0) ack 5001");
    d.inject(". 5001:5001(0) ack 1 win 20000");
    d.write(1, 2 * long).unwrap();
    assert_eq!(d.expect("p. ack 5001").len(), short);
    d.sent();
}

/// RFC 1191 §6.4, RFC 8201 §5.4: the window is as it was.
fn it_is_not_congestion(on: On) {
    let mut d = full(on);
    let long = 1500 - headers(on);
    d.write(1, 4 * long).unwrap();
    d.expect("p. ack 1");
    let before = d.info().snd_cwnd;
    d.sent();
    d.complain_about(Complaint::TooBig(1400), &format!(". 1:{}({long}) ack 1", long + 1));
    d.sent();
    assert!(d.info().snd_cwnd >= before, "{} after {before}", d.info().snd_cwnd);
    assert!(d.info().snd_ssthresh > 1000, "no threshold");
}

/// RFC 1191 §6.2: the application can learn of it (IP_MTU).
fn ip_mtu_tells(on: On) {
    let mut d = full(on);
    let name = if on.family() == Family::V4 { OptName::Mtu } else { OptName::MtuV6 };
    assert_eq!(d.get(name), Ok(Value::Int(1500)));
    let long = 1500 - headers(on);
    d.write(1, long).unwrap();
    d.expect("P. ack 1");
    d.complain(Complaint::TooBig(1400));
    d.expect("p. ack 1");
    assert_eq!(d.get(name), Ok(Value::Int(1400)));
}

/// RFC 1191 §6.3, RFC 8201 §5.3
fn a_narrow_path_is_tried_again_after_ten_minutes(on: On) {
    let mut d = full(on);
    let (long, short) = (1500 - headers(on), 1400 - headers(on));
    d.write(1, long).unwrap();
    d.expect("P. ack 1");
    d.complain(Complaint::TooBig(1400));
    d.expect("p. ack 1");
    d.sent();
    d.inject(&format!(". 1:1(0) ack {}", long + 1));
    d.at(590_000);
    d.write(long + 1, long).unwrap();
    assert_eq!(d.expect("p.").len(), short);
    d.sent();
    d.inject(&format!(". 1:1(0) ack {}", 2 * long + 1));
    d.at(601_000);
    d.write(2 * long + 1, long).unwrap();
    assert_eq!(d.expect("P.").len(), long);
}

/// RFC 1191 §5, §7.1: the next plateau (Linux takes the least at once).
fn a_router_that_does_not_say_costs_a_guess(on: On) {
    let mut d = full(on);
    let long = 1500 - headers(on);
    d.write(1, long).unwrap();
    d.expect("P. ack 1");
    d.complain(Complaint::TooBig(0));
    if on.family() == Family::V6 {
        // There, every router says.
        d.silent();
        return;
    }
    let guess = d.expect("p. ack 1").len();
    assert!((552 - headers(on)..=1492 - headers(on)).contains(&guess), "{guess} octets");
}

/// IP_MTU_DISCOVER; Linux: ip_dont_fragment
fn what_routers_may_cut_says_so(on: On) {
    for discover in 0..=5 {
        let mut d = Drill::new(on);
        let name = if on.family() == Family::V4 { OptName::MtuDiscover } else { OptName::MtuDiscoverV6 };
        d.set(name, discover);
        d.accept("<mss 1000>");
        d.write(1, 100).unwrap();
        let may_cut = on.family() == Family::V4 && !(1..=2).contains(&discover);
        assert_eq!(d.expect("P. 1:101(100)").may_fragment, may_cut, "{discover}");
        // It holds for all that follows.
        d.inject("P. 1:101(100) ack 101");
        d.read(1, 100);
        d.set(OptName::QuickAck, 1);
        d.write(101, 100).unwrap();
        assert!(d.sent().iter().all(|segment| segment.may_fragment == may_cut), "{discover}");
        d.abort();
        d.sent();
    }
}

/// IP_MTU_DISCOVER; Linux: ip_sk_accept_pmtu, IP_PMTUDISC_DONT
fn who_asks_for_no_discovery_is_not_told(on: On) {
    for discover in [0, 4, 5] {
        let v4 = on.family() == Family::V4;
        if discover == 0 && !v4 {
            continue;
        }
        let mut d = Drill::new(on);
        d.set(if v4 { OptName::MtuDiscover } else { OptName::MtuDiscoverV6 }, discover);
        d.accept(&format!("<mss {}>", 1500 - headers(on)));
        let long = 1500 - headers(on);
        d.write(1, long).unwrap();
        assert_eq!(d.expect("P. ack 1").len(), long, "{discover}");
        d.complain(Complaint::TooBig(1300));
        d.silent();
        d.abort();
        d.sent();
    }
}
