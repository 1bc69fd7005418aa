//! `ringroad alerts`: what the gates refused lately.

use std::process::ExitCode;

use ringroad::control::client;
use ringroad::control::model::Alert;

use crate::args::Alerts;
use crate::table::{columns, row};
use crate::tell;

/// Asks every stack and prints what they tell, oldest first.
pub(crate) fn run(flags: &Alerts) -> ExitCode {
    let alerts = client::alerts(flags.pid);
    tell(if flags.json {
        alerts.iter().map(|alert| serde_json::to_string(alert).map(|line| line + "\n")).collect()
    } else {
        Ok(text(&alerts))
    })
}

fn text(alerts: &[Alert]) -> String {
    if alerts.is_empty() {
        return "nothing was refused lately\n".to_owned();
    }
    let mut rows = vec![row([
        "FIRST", "SECONDS", "COUNT", "ALERT", "DIR", "PROTO", "LOCAL", "REMOTE", "RULE", "PROCESS",
    ])];
    for a in alerts {
        let dash = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
        let passed = !a.dropped && !a.table.is_empty() && a.kind != "permitted";
        let kind = if passed { format!("{} (monitored)", a.kind) } else { a.kind.clone() };
        rows.push(vec![
            time_of_day(a.first),
            format!("{:.1}", a.last - a.first),
            a.count.to_string(),
            kind,
            dash(&a.direction),
            dash(&a.protocol),
            dash(&a.local),
            dash(&a.remote),
            dash(&a.rule),
            // The steering program is no process.
            if a.pid == 0 { dash("") } else { format!("{} {}", a.pid, a.command) },
        ]);
    }
    columns(0, &rows)
}

/// Hours, minutes and seconds of a moment, in UTC.
pub(crate) fn time_of_day(seconds: f64) -> String {
    let of_day = seconds as u64 % 86_400;
    format!("{:02}:{:02}:{:02}Z", of_day / 3600, of_day / 60 % 60, of_day % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_names_who_what_and_how_often() {
        let denied = Alert {
            kind: "denied".into(),
            pid: 7,
            command: "nginx".into(),
            direction: "in".into(),
            protocol: "tcp".into(),
            local: "10.77.0.1:22".into(),
            remote: "10.77.0.3".into(),
            table: "10.77.0.1".into(),
            count: 12,
            first: 86_400.0 + 3723.0,
            last: 86_400.0 + 3725.5,
            ..Alert::default()
        };
        let scan = Alert {
            kind: "syn scan".into(),
            pid: 7,
            command: "nginx".into(),
            remote: "10.77.0.3".into(),
            count: 100,
            ..Alert::default()
        };
        assert_eq!(
            text(&[denied, scan]),
            "FIRST      SECONDS  COUNT  ALERT               DIR  PROTO  LOCAL         REMOTE     RULE  PROCESS\n\
             01:02:03Z      2.5     12  denied (monitored)  in   tcp    10.77.0.1:22  10.77.0.3     -  7 nginx\n\
             00:00:00Z      0.0    100  syn scan            -    -      -             10.77.0.3     -  7 nginx\n"
        );
        assert_eq!(text(&[]), "nothing was refused lately\n");
    }
}
