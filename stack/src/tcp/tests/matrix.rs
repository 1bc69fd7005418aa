//! Every event in every state (RFC 9293 §3.10): what is answered and where it leads.

use super::drill::Drill;
use crate::tcp::State::{self, *};
use crate::tcp::call;
use crate::wire::tcp::Segment;

const STATES: [State; 10] =
    [Closed, SynSent, SynReceived, Established, FinWait1, FinWait2, CloseWait, Closing, LastAck, TimeWait];

/// A connection in `state`, with the next numbers that the peer would use: (seq, ack), and nothing unread.
fn in_state(state: State) -> (Drill, u32, u32) {
    let mut d = Drill::new();
    match state {
        SynSent => {
            d.host.connect().unwrap();
            d.expect("S 0:0(0)");
            return (d, 0, 1);
        }
        SynReceived => {
            d.inject("S 0:0(0) win 20000");
            d.expect("S. 0:0(0) ack 1");
            return (d, 1, 1);
        }
        _ => d.accept("<mss 1000>"),
    }
    let (mut seq, mut ack) = (1, 1);
    if matches!(state, CloseWait | LastAck) {
        d.inject("F. 1:1(0) ack 1");
        d.expect(". 1:1(0) ack 2");
        seq = 2;
    }
    if matches!(state, FinWait1 | FinWait2 | Closing | LastAck | TimeWait) {
        d.shutdown();
        d.expect("F. 1:1(0)");
        ack = 2;
    }
    if matches!(state, FinWait2 | TimeWait) {
        d.inject(". 1:1(0) ack 2");
    }
    if matches!(state, Closing | TimeWait) {
        d.inject("F. 1:1(0) ack 1");
        d.expect(". 2:2(0) ack 2");
        seq = 2;
    }
    if state == Closed {
        d.inject("R 1:1(0)");
    }
    assert_eq!(d.state(), state);
    d.silent();
    (d, seq, ack)
}

/// What an event does in each of [`STATES`]: the flags that are answered ("" for silence), and the new state
/// where it is another.
type Row = [(&'static str, Option<State>); 10];

const SAME: (&str, Option<State>) = ("", None);
const ACK: (&str, Option<State>) = (".", None);
const fn to(flags: &'static str, state: State) -> (&'static str, Option<State>) {
    (flags, Some(state))
}

fn check(event: &str, row: Row, act: impl Fn(&mut Drill, u32, u32)) {
    for (from, (flags, state)) in STATES.into_iter().zip(row) {
        let (mut d, seq, ack) = in_state(from);
        act(&mut d, seq, ack);
        let answers: Vec<String> =
            d.host.wire.sent.drain(..).map(|b| format!("{:?}", Segment::parse(&b).unwrap().flags)).collect();
        let want: Vec<String> = if flags.is_empty() { vec![] } else { vec![flags.to_owned()] };
        assert_eq!(answers, want, "{event} in {}: answers", from.name());
        let want = state.unwrap_or(from);
        assert_eq!(d.state(), want, "{event} in {}: state", from.name());
    }
}

/// An event that is a segment; `{seq}` and `{ack}` stand for the numbers that are due, give or take.
fn segment(event: &str, row: Row) {
    check(event, row, |d, seq, ack| {
        let mut text = event.to_owned();
        for (offset, name) in [(-1i64, "-"), (0, ""), (1, "+"), (5, "++"), (10, "+10")] {
            text = text.replace(&format!("{{seq{name}}}"), &(i64::from(seq) + offset).to_string());
            text = text.replace(&format!("{{ack{name}}}"), &(i64::from(ack) + offset).to_string());
        }
        d.inject(&text);
    });
}

#[test]
fn a_reset_at_the_very_edge() {
    let end = to("", Closed);
    segment("R {seq}:{seq}(0)", [SAME, SAME, end, end, end, end, end, end, end, SAME]);
}

#[test]
fn a_reset_elsewhere_in_the_window() {
    segment("R {seq+}:{seq+}(0)", [SAME, SAME, ACK, ACK, ACK, ACK, ACK, ACK, ACK, SAME]);
}

#[test]
fn a_syn() {
    let row = [SAME, to("S.", SynReceived), to("", Closed), ACK, ACK, ACK, ACK, ACK, ACK, ACK];
    segment("S {seq}:{seq}(0)", row);
}

#[test]
fn a_syn_with_an_ack() {
    let row = [SAME, to(".", Established), to("", Closed), ACK, ACK, ACK, ACK, ACK, ACK, ACK];
    segment("S. {seq}:{seq}(0) ack {ack}", row);
}

#[test]
fn an_ack_of_everything() {
    let row = [
        SAME,
        SAME,
        to("", Established),
        SAME,
        to("", FinWait2),
        SAME,
        SAME,
        to("", TimeWait),
        to("", Closed),
        SAME,
    ];
    segment(". {seq}:{seq}(0) ack {ack}", row);
}

#[test]
fn an_ack_of_the_future() {
    segment(
        ". {seq}:{seq}(0) ack {ack++}",
        [SAME, ("R", None), ("R", None), ACK, ACK, ACK, ACK, ACK, ACK, SAME],
    );
}

#[test]
fn text() {
    let row = [
        SAME,
        SAME,
        to("", Established),
        SAME,
        to("", FinWait2),
        SAME,
        SAME,
        to("", TimeWait),
        to("", Closed),
        ACK,
    ];
    segment("P. {seq}:{seq+10}(10) ack {ack}", row);
}

#[test]
fn text_that_is_known() {
    segment("P. {seq-}:{seq}(1) ack {ack}", [SAME, SAME, ACK, ACK, ACK, ACK, ACK, ACK, ACK, ACK]);
}

#[test]
fn a_fin_that_acknowledges_everything() {
    let row = [
        SAME,
        SAME,
        to(".", CloseWait),
        to(".", CloseWait),
        to(".", TimeWait),
        to(".", TimeWait),
        SAME,
        to("", TimeWait),
        to("", Closed),
        ACK,
    ];
    segment("F. {seq}:{seq}(0) ack {ack}", row);
}

#[test]
fn a_segment_without_flags() {
    segment("- {seq}:{seq+10}(10)", [SAME, SAME, SAME, SAME, SAME, SAME, SAME, SAME, SAME, ACK]);
}

#[test]
fn close() {
    let row =
        [SAME, to("", Closed), SAME, to("F.", FinWait1), SAME, SAME, to("F.", LastAck), SAME, SAME, SAME];
    check("close", row, |d, _, _| d.close());
}

#[test]
fn abort() {
    let (told, quiet) = (to("R.", Closed), to("", Closed));
    check("abort", [SAME, quiet, told, told, told, told, told, quiet, quiet, quiet], |d, _, _| {
        d.host.with(call::abort);
    });
}

#[test]
fn an_hour() {
    let over = to("", Closed);
    let row = [SAME, over, over, SAME, over, SAME, SAME, over, over, over];
    check("an hour", row, |d, _, _| {
        d.at(3_600_000);
        d.host.wire.sent.clear();
    });
}
