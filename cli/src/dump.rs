//! `ringroad dump`: everything of one stack.

use std::collections::BTreeMap;
use std::process::ExitCode;

use ringroad::control::client;
use ringroad::control::model::DumpReport;

use crate::args::Dump;
use crate::stat;
use crate::table::{columns, row};
use crate::{complain, tell};

/// Asks a stack for all it has.
pub(crate) fn run(flags: &Dump) -> ExitCode {
    match client::dump(flags.pid) {
        Ok(report) if flags.json => tell(serde_json::to_string_pretty(&report).map(|text| text + "\n")),
        Ok(report) => tell(Ok::<_, std::fmt::Error>(text(&report))),
        Err(error) => {
            complain(&format!("process {} runs no stack, or it does not answer: {error}", flags.pid));
            ExitCode::FAILURE
        }
    }
}

fn text(report: &DumpReport) -> String {
    let mut text = stat::stack(&report.stack);
    if report.sockets_left_out > 0 {
        text += &format!("  and {} sockets more\n", report.sockets_left_out);
    }
    text += &numbers("FRAMES", &report.frames);
    text += &numbers("OF THE PORT", &report.port_frames);
    text += &numbers("TABLE", &report.tables);
    let mut rows = vec![row(["STEERED", "SOCKETS"])];
    rows.extend(report.steered.iter().map(|(end, n)| row([end, &n.to_string()])));
    text += &columns(2, &rows);
    for (title, list) in
        [("ADDRESS", &report.addresses), ("ROUTE", &report.routes), ("NEIGHBOUR", &report.neighbours)]
    {
        let mut rows = vec![row([title])];
        rows.extend(list.iter().map(|line| vec![line.clone()]));
        text += &columns(2, &rows);
    }
    let due = report.due_ms.map_or_else(|| "nothing is due".to_owned(), |ms| format!("due in {ms} ms"));
    text + "  " + &due + "\n"
}

fn numbers(title: &str, numbers: &BTreeMap<String, u64>) -> String {
    let mut rows = vec![row([title, "N"])];
    rows.extend(numbers.iter().map(|(name, n)| row([name, &n.to_string()])));
    columns(2, &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_is_there() {
        let report = DumpReport {
            sockets_left_out: 7,
            frames: [("free".to_owned(), 100)].into(),
            port_frames: [("nobody's".to_owned(), 60)].into(),
            tables: [("sockets".to_owned(), 3)].into(),
            steered: vec![("tcp 10.77.0.1:80".into(), 2)],
            addresses: vec!["10.77.0.1/24 dev 2".into()],
            routes: vec!["10.77.0.0/24 dev 2".into()],
            neighbours: vec!["10.77.0.2 dev 2 - asked".into()],
            due_ms: Some(12),
            ..DumpReport::default()
        };
        let text = text(&report);
        let expected = "  and 7 sockets more
  FRAMES    N
  free    100
  OF THE PORT   N
  nobody's     60
  TABLE    N
  sockets  3
  STEERED           SOCKETS
  tcp 10.77.0.1:80        2
  ADDRESS
  10.77.0.1/24 dev 2
  ROUTE
  10.77.0.0/24 dev 2
  NEIGHBOUR
  10.77.0.2 dev 2 - asked
  due in 12 ms
";
        assert!(text.ends_with(expected), "{text}");
    }
}
