//! TIME-WAIT assassination: RFC 1337. Linux has it as a setting, tcp_rfc1337, which is off there by default.

use super::drills;
use crate::{Drill, Knob, On, State};

drills![
    an_old_duplicate_does_not_kill,
    a_reset_does_not_kill,
    a_reset_does_not_kill_whatever_its_number,
    an_old_syn_does_not_kill,
];

fn waited_out(on: On) -> Drill {
    let mut d = Drill::with(on, &[Knob::KernelOnly("tcp_rfc1337", "1")]);
    d.accept("<mss 1000>");
    d.close();
    d.expect("F. 1:1(0) ack 1");
    d.inject("F. 1:1(0) ack 2");
    d.expect_all(&[". 2:2(0) ack 2"]);
    d
}

/// RFC 1337 §1, figure 1: the ACK that an old duplicate earns is answered with a reset by a peer that has
/// forgotten; that reset must not end the wait.
fn an_old_duplicate_does_not_kill(on: On) {
    let mut d = waited_out(on);
    d.inject("P. 1:11(10) ack 1");
    d.expect_all(&[". 2:2(0) ack 2"]);
    d.inject("R 2:2(0)");
    d.silent();
    assert_eq!(d.state(), State::TimeWait);
}

/// RFC 1337 §3, fix (F1)
fn a_reset_does_not_kill(on: On) {
    let mut d = waited_out(on);
    d.inject("R 2:2(0)");
    d.inject("R. 2:2(0) ack 2");
    d.silent();
    assert_eq!(d.state(), State::TimeWait);
}

/// RFC 1337 §3, fix (F1)
fn a_reset_does_not_kill_whatever_its_number(on: On) {
    let mut d = waited_out(on);
    for text in ["R 1:1(0)", "R 3:3(0)", "R 100000:100000(0)"] {
        d.inject(text);
    }
    d.silent();
    assert_eq!(d.state(), State::TimeWait);
}

/// RFC 1337 §2, hazard H3: an old SYN is acknowledged, which its sender, if there is one, answers with a reset.
fn an_old_syn_does_not_kill(on: On) {
    let mut d = waited_out(on);
    d.inject("S 0:0(0) <mss 1000>");
    d.expect_all(&[". 2:2(0) ack 2"]);
    d.inject("R 2:2(0)");
    d.silent();
    assert_eq!(d.state(), State::TimeWait);
}
