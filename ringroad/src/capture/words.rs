//! A packet in words, and in the flags of pcapng.

use std::fmt::Write;

use super::pcapng::{INBOUND, OUTBOUND, UNKNOWN};
use super::{Verdict, Way};

/// One line on a packet: which way, what became of it, by whom, and whose it was.
pub fn describe(line: &mut String, way: Way, verdict: &Verdict<'_>, pid: u32) {
    let way = match way {
        Way::In => "in",
        Way::Out => "out",
        Way::Home => "home",
    };
    let _ = write!(line, "{way}, ");
    let _ = match verdict.dropped {
        Some(reason) => write!(line, "dropped ({})", reason.counter()),
        None => write!(line, "passed"),
    };
    if let Some(table) = verdict.table {
        let _ = match verdict.rule {
            Some(rule) => write!(line, ", rule {rule:?} of table {table}"),
            None => write!(line, ", no rule of table {table}"),
        };
    }
    if verdict.limited {
        line.push_str(", beyond its limit");
    } else if verdict.refused && verdict.dropped.is_none() {
        line.push_str(", which only monitors");
    }
    let _ = write!(line, ", process {pid}");
}

/// The direction in a packet's flags.
pub const fn flags(way: Way) -> u32 {
    match way {
        Way::In => INBOUND,
        Way::Out => OUTBOUND,
        Way::Home => UNKNOWN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_which_way_and_what_became_of_it() {
        let told = |way, verdict: &Verdict<'_>| {
            let mut line = String::new();
            describe(&mut line, way, verdict, 7);
            line
        };
        let open = Verdict::default();
        assert_eq!(told(Way::Out, &open), "out, passed, process 7");
        let judged = Verdict { table: Some("10.77.0.1"), rule: Some("web"), ..open };
        assert_eq!(told(Way::In, &judged), "in, passed, rule \"web\" of table 10.77.0.1, process 7");
        let monitored = Verdict { table: Some("t"), refused: true, ..open };
        assert_eq!(
            told(Way::Home, &monitored),
            "home, passed, no rule of table t, which only monitors, process 7"
        );
    }
}
