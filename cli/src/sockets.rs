//! `ringroad sockets`: what ss cannot see.

use std::process::ExitCode;

use ringroad::control::client;
use ringroad::control::model::{SocketReport, StackReport};

use crate::args::Sockets;
use crate::table::{columns, row};
use crate::{complain, tell};

/// Asks every stack and prints the sockets that are wanted.
pub(crate) fn run(flags: &Sockets) -> ExitCode {
    let report = client::stacks(flags.pid);
    if let (Some(pid), true) = (flags.pid, report.stacks.is_empty()) {
        complain(&format!("process {pid} runs no stack, or it does not answer"));
        return ExitCode::FAILURE;
    }
    tell(if flags.json { json(flags, &report.stacks) } else { Ok(text(flags, &report.stacks)) })
}

/// What is neither of a connection that is open, nor about to be: only those who ask for all see it.
fn is_over(socket: &SocketReport) -> bool {
    matches!(socket.state.as_str(), "TIME-WAIT" | "SYN-RECEIVED" | "CLOSED")
}

fn listens(socket: &SocketReport) -> bool {
    matches!(socket.state.as_str(), "LISTEN" | "UNCONN")
}

/// As ss: without flags the connections that live.
fn wanted(flags: &Sockets, socket: &SocketReport) -> bool {
    let of_protocol = match (flags.tcp, flags.udp) {
        (true, false) => socket.protocol == "tcp",
        (false, true) => socket.protocol == "udp",
        _ => true,
    };
    let of_state = match (flags.all, flags.listening) {
        (true, _) => true,
        (false, true) => listens(socket),
        (false, false) => !listens(socket) && !is_over(socket),
    };
    of_protocol && of_state
}

/// A line of JSON each: the socket with its process.
fn json(flags: &Sockets, stacks: &[StackReport]) -> serde_json::Result<String> {
    let mut text = String::new();
    for (stack, socket) in all(flags, stacks) {
        let mut value = serde_json::to_value(socket)?;
        value["pid"] = stack.pid.into();
        value["command"] = stack.command.as_str().into();
        text += &serde_json::to_string(&value)?;
        text.push('\n');
    }
    Ok(text)
}

fn all<'s>(
    flags: &'s Sockets,
    stacks: &'s [StackReport],
) -> impl Iterator<Item = (&'s StackReport, &'s SocketReport)> {
    let of = |stack: &'s StackReport| stack.sockets.iter().map(move |socket| (stack, socket));
    stacks.iter().flat_map(of).filter(|(_, socket)| wanted(flags, socket))
}

fn text(flags: &Sockets, stacks: &[StackReport]) -> String {
    let mut rows =
        vec![row(["PROTO", "STATE", "RECV-Q", "SEND-Q", "LOCAL", "REMOTE", "TIMER", "RETRANS", "PROCESS"])];
    for (stack, socket) in all(flags, stacks) {
        let end = |address: &str| if address.is_empty() { "*".to_owned() } else { address.to_owned() };
        rows.push(vec![
            socket.protocol.clone(),
            socket.state.clone(),
            socket.recv_queue.to_string(),
            socket.send_queue.to_string(),
            end(&socket.local),
            end(&socket.remote),
            timer(socket),
            socket.retransmits.to_string(),
            format!("{} {}", stack.pid, stack.command),
        ]);
    }
    columns(0, &rows)
}

/// What is due next, and when.
pub(crate) fn timer(socket: &SocketReport) -> String {
    if socket.timer.is_empty() { "-".to_owned() } else { format!("{},{}ms", socket.timer, socket.timer_ms) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Args, Task};
    use clap::Parser;

    fn stacks() -> Vec<StackReport> {
        let socket = |protocol: &str, state: &str, local: &str, remote: &str| SocketReport {
            protocol: protocol.into(),
            state: state.into(),
            local: local.into(),
            remote: remote.into(),
            ..SocketReport::default()
        };
        let mut sockets = vec![
            socket("tcp", "LISTEN", "0.0.0.0:80", ""),
            socket("tcp", "ESTAB", "10.77.0.1:80", "10.77.0.2:4000"),
            socket("tcp", "TIME-WAIT", "10.77.0.1:80", "10.77.0.2:3999"),
            socket("udp", "UNCONN", "0.0.0.0:53", ""),
            socket("udp", "ESTAB", "10.77.0.1:53", "10.77.0.2:4001"),
        ];
        (sockets[1].timer, sockets[1].timer_ms, sockets[1].send_queue) = ("retransmit".into(), 204, 1448);
        vec![StackReport { pid: 42, command: "nginx".into(), sockets, ..StackReport::default() }]
    }

    fn shown(words: &[&str]) -> String {
        let Task::Sockets(flags) = Args::parse_from([&["ringroad", "sockets"], words].concat()).task else {
            panic!("not sockets")
        };
        let shown = text(&flags, &stacks());
        shown
            .lines()
            .skip(1)
            .map(|line| line.split_whitespace().nth(4).unwrap_or_default())
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn flags_choose_as_those_of_ss_do() {
        assert_eq!(shown(&[]), "10.77.0.1:80 10.77.0.1:53");
        assert_eq!(shown(&["-t"]), "10.77.0.1:80");
        assert_eq!(shown(&["-lu"]), "0.0.0.0:53");
        assert_eq!(shown(&["-l"]), "0.0.0.0:80 0.0.0.0:53");
        assert_eq!(shown(&["-ta"]), "0.0.0.0:80 10.77.0.1:80 10.77.0.1:80");
        assert_eq!(shown(&["-tua"]).split(' ').count(), 5);
    }

    #[test]
    fn a_line_says_who_waits_for_what() {
        let Task::Sockets(flags) = Args::parse_from(["ringroad", "sockets", "-t"]).task else { panic!() };
        assert_eq!(
            text(&flags, &stacks()),
            "PROTO  STATE  RECV-Q  SEND-Q  LOCAL         REMOTE          TIMER             RETRANS  PROCESS\n\
             tcp    ESTAB       0    1448  10.77.0.1:80  10.77.0.2:4000  retransmit,204ms        0  42 nginx\n"
        );
        let line = json(&flags, &stacks()).unwrap();
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&value["pid"], &value["timer_ms"]), (&42.into(), &204.into()));
    }
}
