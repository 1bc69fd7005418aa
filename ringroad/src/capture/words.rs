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
    use stack::ip::input::Reason;

    use super::*;
    use crate::pages::examples;

    fn told(way: Way, verdict: &Verdict<'_>) -> String {
        let mut line = String::new();
        describe(&mut line, way, verdict, 4711);
        line
    }

    #[test]
    fn a_line_says_which_way_and_what_became_of_it_as_the_documentation_shows() {
        let open = Verdict::default();
        let web = Verdict { table: Some("10.77.0.1"), rule: Some("web"), ..open };
        let denied =
            Verdict { table: Some("10.77.0.1"), dropped: Some(Reason::Denied), refused: true, ..open };
        let broken = Verdict { dropped: Some(Reason::L4Checksum), ..open };
        let monitored = Verdict { table: Some("10.77.0.2"), refused: true, ..open };
        let all = [
            (Way::In, &web),
            (Way::In, &denied),
            (Way::In, &broken),
            (Way::In, &monitored),
            (Way::Out, &web),
            (Way::Home, &open),
        ];
        let shown = examples(include_str!("../../../docs/capture.md"), "text")[0];
        assert_eq!(all.map(|(way, verdict)| told(way, verdict) + "\n").concat(), shown);
    }

    #[test]
    fn whoever_was_beyond_a_limit_is_told_so() {
        let dropped = Some(Reason::Denied);
        let limited =
            Verdict { table: Some("t"), rule: Some("r"), limited: true, dropped, ..Verdict::default() };
        let line = "in, dropped (drop_denied_in), rule \"r\" of table t, beyond its limit, process 4711";
        assert_eq!(told(Way::In, &limited), line);
    }
}
