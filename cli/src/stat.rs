//! `ringroad stat`: every stack of the host, as a table or as JSON.

use std::collections::BTreeMap;
use std::process::ExitCode;

use ringroad::control::client;
use ringroad::control::model::{Count, PolicyReport, Report, SocketReport, StackReport};

use crate::args::Stat;
use crate::table::{columns, row};
use crate::{complain, tell};

/// A busy server has thousands of these: the table counts them.
const TIME_WAIT: &str = "TIME-WAIT";

/// Asks every stack and prints what they answer.
pub(crate) fn run(flags: &Stat) -> ExitCode {
    let report = client::stacks(flags.pid);
    if let (Some(pid), true) = (flags.pid, report.stacks.is_empty()) {
        complain(&format!("process {pid} runs no stack, or it does not answer"));
        return ExitCode::FAILURE;
    }
    tell(if flags.json { json(&report) } else { Ok(text(&report)) })
}

fn json(report: &Report) -> serde_json::Result<String> {
    serde_json::to_string_pretty(report).map(|text| text + "\n")
}

fn text(report: &Report) -> String {
    if report.stacks.is_empty() {
        return "no stack runs on this host\n".to_owned();
    }
    report.stacks.iter().map(stack).collect::<Vec<_>>().join("\n")
}

/// A stack as text.
pub(crate) fn stack(stack: &StackReport) -> String {
    let mut text = format!("{}  {}\n", stack.pid, stack.command);
    for i in &stack.interfaces {
        let way = if i.xdp == "tc" { "tc ingress".to_owned() } else { format!("{} XDP", i.xdp) };
        text += &format!("  {} queue {}: {way}, {}\n", i.name, i.queue, i.mode);
    }
    if let Some(i) = stack.interfaces.first().filter(|i| !i.backend.is_empty()) {
        text += &format!("  backend {}: {}\n", i.backend, i.why);
    }
    text += &sockets(&stack.sockets);
    text += &policy(&stack.policy);
    text += &counts("COUNTER", &stack.counters);
    text += &counts("STAYED IN THE KERNEL", &stack.bypass);
    text
}

fn sockets(sockets: &[SocketReport]) -> String {
    if sockets.is_empty() {
        return String::new();
    }
    let mut rows = vec![row(["PROTO", "LOCAL", "REMOTE", "STATE", "RECV-Q", "SEND-Q", "RETRANS", "SRTT/us"])];
    let (waiting, shown): (Vec<_>, Vec<_>) = sockets.iter().partition(|s| s.state == TIME_WAIT);
    for s in shown {
        let end = |address: &str| if address.is_empty() { "-".to_owned() } else { address.to_owned() };
        let numbers = [s.recv_queue, s.send_queue, s.retransmits, s.srtt_us];
        let mut cells = vec![s.protocol.clone(), end(&s.local), end(&s.remote), s.state.clone()];
        cells.extend(numbers.map(|n| n.to_string()));
        rows.push(cells);
    }
    let mut text = columns(2, &rows);
    if !waiting.is_empty() {
        text += &format!("  and {} in {TIME_WAIT}\n", waiting.len());
    }
    text
}

fn policy(policy: &PolicyReport) -> String {
    if policy.tables.is_empty() {
        return String::new();
    }
    let mut rows = vec![row(["GATE", "MODE", "RULE", "PACKETS", "BYTES"])];
    for table in &policy.tables {
        let rules = table.rules.iter().map(|r| (r.name.as_str(), r.packets, r.bytes));
        for (name, packets, bytes) in rules.chain([("(denied)", table.denied.packets, table.denied.bytes)]) {
            rows.push(row([&table.local, &table.mode, name, &packets.to_string(), &bytes.to_string()]));
        }
        if table.kept_out.packets > 0 {
            let (packets, bytes) = (table.kept_out.packets.to_string(), table.kept_out.bytes.to_string());
            let name = if table.mode == "monitor" { "(denied at XDP)" } else { "(kept out by XDP)" };
            rows.push(row([&table.local, &table.mode, name, &packets, &bytes]));
            for (rule, count) in
                table.rules.iter().map(|r| (&r.name, r.kept_out)).filter(|(_, c)| c.packets > 0)
            {
                let (packets, bytes) = (count.packets.to_string(), count.bytes.to_string());
                rows.push(row([&table.local, &table.mode, &format!("{rule} {name}"), &packets, &bytes]));
            }
        }
        for rule in table.rules.iter().filter(|r| r.limited > 0) {
            let name = format!("{} (limited)", rule.name);
            rows.push(row([&table.local, &table.mode, &name, &rule.limited.to_string(), "-"]));
        }
    }
    let mut text = columns(2, &rows);
    if !(policy.counters.is_empty() && policy.kept_out.is_empty()) {
        let mut rows = vec![row(["SHARED COUNTER", "PACKETS", "BYTES"])];
        let cells = |name: &str, c: &Count| row([name, &c.packets.to_string(), &c.bytes.to_string()]);
        rows.extend(policy.counters.iter().map(|(name, count)| cells(name, count)));
        rows.extend(policy.kept_out.iter().map(|(name, count)| cells(&format!("{name} (at XDP)"), count)));
        text += &columns(2, &rows);
    }
    text
}

/// The counters that are not zero.
fn counts(title: &str, counts: &BTreeMap<String, u64>) -> String {
    let mut rows = vec![row([title, "N"])];
    rows.extend(counts.iter().filter(|(_, n)| **n > 0).map(|(name, n)| row([name, &n.to_string()])));
    if rows.len() == 1 { String::new() } else { columns(2, &rows) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringroad::control::model::{InterfaceReport, RuleReport, TableReport};

    fn report() -> Report {
        let listener = SocketReport {
            protocol: "tcp".into(),
            local: "0.0.0.0:80".into(),
            state: "LISTEN".into(),
            send_queue: 511,
            ..SocketReport::default()
        };
        let table = TableReport {
            local: "10.77.0.1".into(),
            mode: "enforce".into(),
            rules: vec![RuleReport {
                name: "web".into(),
                packets: 12,
                bytes: 3456,
                limited: 0,
                kept_out: Count { packets: 3, bytes: 180 },
            }],
            denied: Count { packets: 2, bytes: 120 },
            kept_out: Count { packets: 7, bytes: 420 },
        };
        let interface = InterfaceReport {
            name: "road0".into(),
            xdp: "native".into(),
            mode: "copy".into(),
            backend: "af-xdp".into(),
            why: "asked for".into(),
            ..InterfaceReport::default()
        };
        let kept_out = [("fronts".to_owned(), Count { packets: 3, bytes: 180 })].into();
        let counters = [("rx_frames".to_owned(), 14), ("tx_no_frames".to_owned(), 0)];
        let stack = StackReport {
            pid: 42,
            command: "nginx: worker process".into(),
            interfaces: vec![interface],
            sockets: vec![listener],
            counters: counters.into(),
            policy: PolicyReport { generation: 1, tables: vec![table], kept_out, ..PolicyReport::default() },
            ..StackReport::default()
        };
        Report { stacks: vec![stack] }
    }

    #[test]
    fn connections_in_time_wait_are_counted_not_listed() {
        let mut report = report();
        let old = SocketReport { protocol: "tcp".into(), state: TIME_WAIT.into(), ..SocketReport::default() };
        report.stacks[0].sockets.extend(vec![old; 3]);
        let text = text(&report);
        assert!(text.contains("\n  and 3 in TIME-WAIT\n"), "{text}");
        assert_eq!(text.matches(TIME_WAIT).count(), 1);
    }

    #[test]
    fn the_table_shows_what_is_there() {
        let expected = "\
42  nginx: worker process
  road0 queue 0: native XDP, copy
  backend af-xdp: asked for
  PROTO  LOCAL       REMOTE  STATE   RECV-Q  SEND-Q  RETRANS  SRTT/us
  tcp    0.0.0.0:80       -  LISTEN       0     511        0        0
  GATE       MODE     RULE                   PACKETS  BYTES
  10.77.0.1  enforce  web                         12   3456
  10.77.0.1  enforce  (denied)                     2    120
  10.77.0.1  enforce  (kept out by XDP)            7    420
  10.77.0.1  enforce  web (kept out by XDP)        3    180
  SHARED COUNTER   PACKETS  BYTES
  fronts (at XDP)        3    180
  COUNTER     N
  rx_frames  14
";
        assert_eq!(text(&report()), expected);
        assert_eq!(text(&Report::default()), "no stack runs on this host\n");
    }

    #[test]
    fn the_json_has_the_names_that_others_rely_on() {
        let value: serde_json::Value = serde_json::from_str(&json(&report()).unwrap()).unwrap();
        let stack = &value["stacks"][0];
        for key in ["pid", "command", "interfaces", "sockets", "counters", "bypass", "policy"] {
            assert!(!stack[key].is_null(), "{key}");
        }
        assert_eq!(stack["interfaces"][0]["xdp"], "native");
        assert_eq!(stack["sockets"][0]["send_queue"], 511);
        assert_eq!(stack["policy"]["tables"][0]["rules"][0]["bytes"], 3456);
        assert_eq!(stack["policy"]["tables"][0]["denied"]["packets"], 2);
    }
}
