//! Every event in every state: RFC 9293 §3.10, RFC 5961.
//!
//! A row is an event, a column a state. A cell is what is answered, and `>` the state it leads to if that is
//! another: `-` nothing, `~` an ACK now or later, else the flags of the answer. Segments are in the notation;
//! `{s}` and `{a}` are the numbers that are due, `{s+1}` is one too many. Where Linux does otherwise, its outcome
//! follows a `!`, and the reason is above the table.

use stack::socket::How;

use super::drills;
use crate::{Drill, Knob, On, State};

drills![resets, syns, acknowledgements, texts, fins, odd_segments, calls, timers, an_hour_passes,];

const STATES: [State; 11] = [
    State::Closed,
    State::Listen,
    State::SynSent,
    State::SynReceived,
    State::Established,
    State::FinWait1,
    State::FinWait2,
    State::CloseWait,
    State::Closing,
    State::LastAck,
    State::TimeWait,
];
const SHORT: [&str; 11] = ["CL", "LI", "SS", "SR", "ES", "F1", "F2", "CW", "CG", "LA", "TW"];

/// A connection in `state`, the peer's next number and the ACK of all we sent; nothing is unread.
fn in_state(on: On, state: State) -> (Drill, u32, u32) {
    // Linux lets a reset end TIME-WAIT unless told that RFC 1337 advises against it.
    Drill::in_state_with(on, state, "<mss 1000>", &[Knob::KernelOnly("tcp_rfc1337", "1")])
}

/// Does what every cell of a table says and collects what came of it otherwise.
fn check(on: On, table: &str, act: impl Fn(&mut Drill, &str, u32, u32)) {
    let mut faults = String::new();
    for line in table.lines().filter(|l| !l.trim().is_empty()).skip(1) {
        let mut cells = line.trim().trim_matches('|').split('|').map(str::trim);
        let event = cells.next().expect("an event");
        let cells: Vec<&str> = cells.collect();
        assert_eq!(cells.len(), STATES.len(), "{line}");
        let mut row = format!("| {event} |");
        let mut differs = false;
        for (state, cell) in STATES.into_iter().zip(cells) {
            let (mut d, seq, ack) = in_state(on, state);
            act(&mut d, event, seq, ack);
            let (got, fits) = outcome(&mut d, state, cell);
            differs |= !fits;
            row.push_str(&format!(" {got} |"));
        }
        if differs {
            faults.push_str(&format!("expected {line}\n     got {row}\n"));
        }
    }
    assert!(faults.is_empty(), "{on:?}\n{faults}");
}

/// What came of an event, as a cell, and whether the cell expects that.
fn outcome(d: &mut Drill, from: State, cell: &str) -> (String, bool) {
    let flags: Vec<String> = d.sent().iter().map(crate::notation::flags).collect();
    let to = d.state();
    // A connection that is gone leaves the listener behind.
    let at = STATES.iter().position(|s| *s == to).map_or("?", |at| SHORT[at]);
    let moved = if to == from { String::new() } else { format!(">{at}") };
    let answer = if flags.is_empty() { "-".to_owned() } else { flags.join(",") };
    let got = format!("{answer}{moved}");
    let cell = match (cell.split_once('!'), d.on()) {
        (Some((ours, _)), On::Stack(_)) => ours,
        (Some((_, linux)), On::Kernel(_)) => linux,
        (None, _) => cell,
    };
    let late = cell.replacen('~', "-", 1);
    let fits = got == cell || (cell.starts_with('~') && (got == late || got == cell.replacen('~', ".", 1)));
    (got, fits)
}

/// A table whose events are segments.
fn segments(on: On, table: &str) {
    check(on, table, |d, event, seq, ack| {
        let mut text = event.to_owned();
        for (letter, due) in [('s', seq), ('a', ack)] {
            for (word, offset) in [
                ("", 0i64),
                ("-1", -1),
                ("+1", 1),
                ("+5", 5),
                ("+9", 9),
                ("+10", 10),
                ("-9", -9),
                ("+far", 90_000),
                ("-far", -90_000),
            ] {
                text = text.replace(&format!("{{{letter}{word}}}"), &(i64::from(due) + offset).to_string());
            }
        }
        d.inject(&text.replace("+far", "").replace("-far", ""));
    });
}

/// RFC 9293 §3.10.7, §3.5.3; RFC 5961 §3.2; RFC 1337 §3
fn resets(on: On) {
    segments(
        on,
        "
| event                       | CL | LI | SS  | SR  | ES  | F1  | F2  | CW  | CG  | LA  | TW |
| R {s}:{s}(0)                | -  | -  | -   | ->CL | ->CL | ->CL | ->CL | ->CL | ->CL | ->CL | - |
| R. {s}:{s}(0) ack {a}       | -  | -  | ->CL | ->CL | ->CL | ->CL | ->CL | ->CL | ->CL | ->CL | - |
| R {s+1}:{s+1}(0)            | -  | -  | -   | .   | .   | .   | .   | .   | .   | .   | -  |
| R {s-1}:{s-1}(0)            | -  | -  | -   | -   | -   | -   | -   | ->CL | ->CL | ->CL | -  |
| R {s+far}:{s+far}(0)        | -  | -  | -   | -   | -   | -   | -   | -   | -   | -   | -  |
| R. {s}:{s}(0) ack {a+5}     | -  | -  | -   | ->CL | ->CL | ->CL | ->CL | ->CL | ->CL | ->CL | - |
",
    );
}

/// RFC 9293 §3.10.7, MUST-10; RFC 5961 §4.2; RFC 6191 §2
///
/// In SYN-RECEIVED Linux resets the peer and looks at the ACK first; RFC 9293 §3.10.7.4 (fourth) returns to LISTEN
/// without a word, before the ACK is looked at.
fn syns(on: On) {
    segments(
        on,
        "
| event                       | CL | LI     | SS     | SR   | ES  | F1  | F2  | CW  | CG  | LA  | TW |
| S {s}:{s}(0)                | R. | S.>SR  | S.>SR  | ->CL!R.>CL | .   | .   | .   | .   | .   | .   | .     |
| S {s+9}:{s+9}(0)            | R. | S.>SR  | S.>SR  | ->CL!R.>CL | .   | .   | .   | .   | .   | .   | S.>SR |
| S {s-9}:{s-9}(0)            | R. | S.>SR  | S.>SR  | .    | .   | .   | .   | .   | .   | .   | .  |
| S. {s}:{s}(0) ack {a}       | R  | R      | .>ES   | ->CL!R>CL | .   | .   | .   | .   | .   | .   | .  |
| S. {s}:{s}(0) ack {a+5}     | R  | R      | R      | ->CL!R | .   | .   | .   | .   | .   | .   | .  |
| S. {s}:{s}(0) ack {a-1}     | R  | R      | R      | ->CL!R | .   | .   | .   | .   | .   | .   | .  |
",
    );
}

/// RFC 9293 §3.10.7.4 fifth; RFC 5961 §5.2
///
/// Linux takes as the largest window no more than what was ever acknowledged: before anything was, it challenges any
/// old ACK. RFC 5961 §5.2 has the largest window as it is.
fn acknowledgements(on: On) {
    segments(
        on,
        "
| event                       | CL | LI | SS | SR   | ES | F1   | F2 | CW | CG   | LA   | TW |
| . {s}:{s}(0) ack {a}        | R  | R  | -  | ->ES | -  | ->F2 | -  | -  | ->TW | ->CL | -  |
| . {s}:{s}(0) ack {a-1}      | R  | R  | R  | R    | -!. | -    | -  | -!. | -    | -    | -  |
| . {s}:{s}(0) ack {a+5}      | R  | R  | R  | R    | .  | .    | .  | .  | .    | .    | -  |
| . {s}:{s}(0) ack {a-far}    | R  | R  | R  | R    | .  | .    | .  | .  | .    | .    | -  |
| . {s-9}:{s-9}(0) ack {a}    | R  | R  | -  | .    | .  | .    | .  | .  | .    | .    | .  |
| . {s+far}:{s+far}(0) ack {a} | R | R  | -  | .    | .  | .    | .  | .  | .    | .    | .  |
",
    );
}

/// RFC 9293 §3.10.7.4 first, seventh
///
/// Linux takes the ACK of a segment that ends where the window begins; in RFC 9293 §3.10.7.4 (first) it is outside.
fn texts(on: On) {
    segments(
        on,
        "
| event                              | CL | LI | SS | SR   | ES | F1   | F2 | CW | CG   | LA   | TW |
| P. {s}:{s+10}(10) ack {a}          | R  | R  | -  | ~>ES | -  | ->F2 | -  | -  | ->TW | ->CL | .  |
| P. {s-1}:{s}(1) ack {a}            | R  | R  | -  | .    | .  | .!.>F2 | .  | .  | .!->TW | .!->CL | .  |
| P. {s+1}:{s+10}(9) ack {a}         | R  | R  | -  | .>ES | .  | .>F2 | .  | -  | ->TW | ->CL | .  |
| P. {s+far}:{s+far}(0) ack {a}      | R  | R  | -  | .    | .  | .    | .  | .  | .    | .    | .  |
| P {s}:{s+10}(10)                   | R. | -  | -  | -    | -  | -    | -  | -  | -    | -    | .  |
| P. {s}:{s+10}(10) ack {a+5}        | R  | R  | R  | R    | .  | .    | .  | .  | .    | .    | .  |
",
    );
}

/// RFC 9293 §3.10.7.4 eighth
///
/// A segment that ends where the window begins: as above.
fn fins(on: On) {
    segments(
        on,
        "
| event                              | CL | LI | SS | SR   | ES   | F1   | F2   | CW | CG   | LA   | TW |
| F. {s}:{s}(0) ack {a}              | R  | R  | -  | ~>CW | ~>CW | .>TW | .>TW | -  | ->TW | ->CL | .  |
| F. {s+1}:{s+1}(0) ack {a}          | R  | R  | -  | .>ES | .    | .>F2 | .    | -  | ->TW | ->CL | .  |
| F. {s-1}:{s-1}(0) ack {a}          | R  | R  | -  | .    | .    | .!.>F2 | .    | .  | .!->TW | .!->CL | .  |
| F {s}:{s}(0)                       | R. | -  | -  | -    | -    | -    | -    | -  | -    | -    | .  |
| FP. {s}:{s+10}(10) ack {a}         | R  | R  | -  | ~>CW | ~>CW | .>TW | .>TW | -  | ->TW | ->CL | .  |
",
    );
}

/// RFC 9293 §3.10.7
///
/// SYN-RECEIVED: as for any SYN.
fn odd_segments(on: On) {
    segments(
        on,
        "
| event                              | CL | LI | SS | SR   | ES | F1   | F2 | CW | CG   | LA   | TW |
| - {s}:{s}(0)                       | R. | -  | -  | -    | -  | -    | -  | -  | -    | -    | -  |
| SF {s}:{s}(0)                      | R. | -  | S.>SR | ->CL!R.>CL | .  | .    | .  | .  | .    | .    | .  |
| SR {s}:{s}(0)                      | -  | -  | -  | ->CL | ->CL | ->CL | ->CL | ->CL | ->CL | ->CL | - |
",
    );
}

/// RFC 9293 §3.10.1 … §3.10.5
///
/// SYN-RECEIVED: ours is forgotten with its listener; Linux's stays in its table until its timer finds that gone.
fn calls(on: On) {
    let table = "
| event        | CL | LI | SS   | SR | ES    | F1 | F2 | CW    | CG | LA | TW |
| write        | -  | -  | -    | -  | P.    | -  | -  | P.    | -  | -  | -  |
| read         | -  | -  | -    | -  | -     | -  | -  | -     | -  | -  | -  |
| shutdown     | -  | -  | ->CL | -  | F.>F1 | -  | -  | F.>LA | -  | -  | -  |
| close        | -  | ->CL | ->CL | ->CL!- | F.>F1 | -  | -  | F.>LA | -  | -  | -  |
| abort        | -  | ->CL | ->CL | ->CL!- | R.>CL | R.>CL | R.>CL | R.>CL | ->CL | ->CL | - |
| connect      | -  | - | -   | -  | -     | -  | -  | -     | -  | -  | -  |
";
    check(on, table, |d, event, _, _| {
        let fresh = matches!(d.state(), State::Listen | State::SynReceived);
        match event {
            "close" if fresh => d.close_listener(),
            "abort" if fresh => d.close_listener(),
            _ if fresh => {}
            "write" => _ = d.write(1, 10),
            "read" => _ = d.recv(10),
            "shutdown" => _ = d.shutdown_with(How::Write),
            "close" => d.close(),
            "abort" => d.abort(),
            "connect" => {
                d.error();
                _ = d.connect();
            }
            other => panic!("no call {other}"),
        }
    });
}

/// RFC 9293 §3.10.8: whoever waits for the peer gives up, whoever waits for the application does not
fn an_hour_passes(on: On) {
    let table = "
| event   | CL | LI | SS   | SR   | ES | F1   | F2 | CW | CG   | LA   | TW   |
| an hour | -  | -  | ->CL | ->CL | -  | ->CL | - | -  | ->CL | ->CL | ->CL |
";
    check(on, table, |d, _, _, _| {
        d.at(3_600_000);
        d.sent();
    });
}

/// RFC 9293 §3.10.8, §3.8.1: what is not acknowledged is sent again
fn timers(on: On) {
    let table = "
| event   | CL | LI | SS | SR | ES | F1    | F2 | CW | CG    | LA    | TW |
| 300 ms  | -  | -  | -  | -  | -  | F.    | -  | -  | F.    | F.    | -  |
| 1100 ms | -  | -  | S  | S. | -  | F.,F. | -  | -  | F.,F. | F.,F. | -  |
";
    check(on, table, |d, event, _, _| {
        let ms = event.trim_end_matches(" ms").parse().expect("a time");
        d.wait(ms);
    });
}
