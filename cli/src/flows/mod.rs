//! `ringroad flows`: what every flow carries, second by second, as it is now or as it was kept.

mod collector;
mod live;

use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

use ringroad::flows::read::{self, Read};
use ringroad::flows::{Flow, Verdict};

use crate::alerts::time_of_day;
use crate::args::Flows;
use crate::complain;
pub(crate) use collector::Collector;

/// Where flows go.
trait Take {
    fn take(&mut self, read: Read<'_>) -> io::Result<()>;
}

/// Shows flows until there are no more.
pub(crate) fn run(flags: &Flows) -> ExitCode {
    let done = match &flags.ipfix {
        Some(collector) => collector.open().and_then(|mut sender| show(flags, &mut sender)),
        None => show(flags, &mut Lines { flags, out: io::stdout(), begun: false }),
    };
    match done {
        // Whoever read has seen enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
        Ok(()) => ExitCode::SUCCESS,
    }
}

fn show(flags: &Flows, to: &mut dyn Take) -> io::Result<()> {
    if flags.from.is_empty() {
        return live::listen(flags.pid, to);
    }
    for path in &flags.from {
        read::kept(path, &mut |read| to.take(read), &mut |wrong| complain(&wrong))?;
    }
    Ok(())
}

/// Prints a line for each flow.
struct Lines<'f, W> {
    flags: &'f Flows,
    out: W,
    begun: bool,
}

impl<W: Write> Take for Lines<'_, W> {
    fn take(&mut self, read: Read<'_>) -> io::Result<()> {
        let mut text = String::new();
        for flow in read.flows.iter().filter(|flow| self.flags.filter.as_ref().is_none_or(|f| f.wants(flow)))
        {
            if self.flags.json {
                text += &serde_json::to_string(flow)?;
            } else {
                if !std::mem::replace(&mut self.begun, true) {
                    text += HEADING;
                }
                text += line(flow).trim_end();
            }
            text.push('\n');
        }
        if read.lost > 0 {
            complain(&format!("{} records were left out: they came faster than they were read", read.lost));
        }
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }
}

const HEADING: &str = "\
TIME      DIR PROTO LOCAL                 REMOTE                STATE        PKTS-IN  BYTES-IN PKTS-OUT BYTES-OUT  RETR SRTT/us PROCESS          VERDICT
";

fn line(f: &Flow) -> String {
    let state = if f.state.is_empty() { "-" } else { f.state };
    let process = format!("{} {}", f.pid, f.command);
    let by = match (f.rule.as_str(), f.table.as_str(), f.verdict) {
        ("", "", _) => String::new(),
        ("", table, Verdict::Allowed) => format!(" by {table}"),
        ("", table, _) => format!(": no rule of {table}"),
        (rule, ..) => format!(" by {rule}"),
    };
    format!(
        "{} {:<3} {:<5} {:<21} {:<21} {:<12} {:>7} {:>9} {:>8} {:>9} {:>5} {:>7} {:<16} {}{}{}",
        time_of_day(f.time),
        f.direction_name(),
        f.protocol_name(),
        f.local.to_string(),
        f.remote.to_string(),
        state,
        f.packets_in,
        f.bytes_in,
        f.packets_out,
        f.bytes_out,
        f.retransmits,
        f.srtt_us,
        process,
        f.verdict.name(),
        by,
        if f.over { ", over" } else { "" },
    )
}
