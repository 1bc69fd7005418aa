//! What `top` draws: the stacks above, their sockets below, in 80 columns or more.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Modifier, Style};
use ratatui::widgets::{Paragraph, Row, Table};

use super::rates::{Busy, Rates, Stack};

/// Stacks that are shown at the most.
const STACKS: usize = 6;

/// Draws all, the sockets from number `first` on.
pub(super) fn draw(frame: &mut Frame<'_>, rates: &Rates, first: usize) {
    let stacks = rates.stacks().len().min(STACKS) as u16;
    let parts = [Constraint::Length(1), Constraint::Length(stacks + 2), Constraint::Min(2)];
    let [title, above, below] = Layout::vertical(parts).areas(frame.area());
    let words = format!(
        "ringroad top  {} stacks, {} sockets  q ends, arrows move",
        rates.stacks().len(),
        rates.sockets().len()
    );
    frame.render_widget(Paragraph::new(words), title);
    frame.render_widget(stacks_table(rates.stacks()), above);
    frame.render_widget(sockets_table(rates.sockets(), first, below.height), below);
}

fn heading<const N: usize>(cells: [&'static str; N]) -> Row<'static> {
    Row::new(cells).style(Style::new().add_modifier(Modifier::REVERSED))
}

fn stacks_table(stacks: &[Stack]) -> Table<'static> {
    let row = |s: &Stack| {
        Row::new([
            right(s.pid, 7),
            right(s.sockets, 7),
            right(short(s.packets_in), 6),
            right(short(s.packets_out), 6),
            right(short(s.bytes_in), 6),
            right(short(s.bytes_out), 6),
            right(short(s.dropped), 6),
            right(short(s.resent), 6),
            s.command.clone(),
        ])
    };
    let widths = [7, 7, 6, 6, 6, 6, 6, 6].map(Constraint::Length).into_iter().chain([Constraint::Min(8)]);
    let names = ["    PID", "SOCKETS", " PKT-I", " PKT-O", "   B-I", "   B-O", "  DROP", " RETRA", "COMMAND"];
    Table::new(stacks.iter().take(STACKS).map(row), widths).header(heading(names))
}

fn sockets_table(sockets: &[Busy], first: usize, height: u16) -> Table<'static> {
    let row = |s: &Busy| {
        let end = |text: &str| if text.is_empty() { "*".to_owned() } else { text.to_owned() };
        Row::new([
            s.socket.state.chars().take(8).collect(),
            right(short(s.socket.recv_queue as f64), 5),
            right(short(s.socket.send_queue as f64), 5),
            right(short(s.bytes_in), 6),
            right(short(s.bytes_out), 6),
            right(s.resent, 4),
            right(short(s.socket.srtt_us as f64), 5),
            end(&s.socket.local),
            end(&s.socket.remote),
        ])
    };
    let fixed = [8, 5, 5, 6, 6, 4, 5].map(Constraint::Length);
    let widths = fixed.into_iter().chain([Constraint::Fill(1), Constraint::Fill(1)]);
    let names = ["STATE", " RECV", " SEND", "   B-I", "   B-O", "RTX", "RTT/u", "LOCAL", "REMOTE"];
    let shown = sockets.iter().skip(first).take(height.into());
    Table::new(shown.map(row), widths).header(heading(names))
}

fn right(what: impl ToString, width: usize) -> String {
    format!("{:>width$}", what.to_string())
}

/// A number in five signs at the most.
fn short(n: f64) -> String {
    const UNITS: [&str; 5] = ["", "k", "M", "G", "T"];
    let (mut n, mut unit) = (n, 0);
    while n >= 9999.5 && unit + 1 < UNITS.len() {
        (n, unit) = (n / 1000.0, unit + 1);
    }
    format!("{n:.0}{}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use ringroad::control::model::{Report, SocketReport, StackReport};

    use super::*;

    #[test]
    fn numbers_are_short() {
        for (n, text) in
            [(0.0, "0"), (9999.0, "9999"), (10_000.0, "10k"), (9_999_499.0, "9999k"), (3e9, "3000M")]
        {
            assert_eq!(short(n), text);
        }
    }

    #[test]
    fn a_small_terminal_shows_the_stacks_and_the_busiest_sockets() {
        let report = |bytes: u64| {
            let socket = |n: u64| SocketReport {
                protocol: "tcp".into(),
                state: "ESTAB".into(),
                local: "10.77.0.1:80".into(),
                remote: format!("10.77.0.2:{}", 40_000 + n),
                bytes_out: bytes * n,
                ..SocketReport::default()
            };
            let counters = [("tx_bytes".to_owned(), bytes * 1000)];
            Report {
                stacks: vec![StackReport {
                    pid: 4711,
                    command: "nginx: worker process".into(),
                    sockets: (0..100).map(socket).collect(),
                    counters: counters.into(),
                    ..StackReport::default()
                }],
            }
        };
        let (mut rates, now) = (Rates::default(), Instant::now());
        rates.take(report(0), now);
        rates.take(report(1000), now + Duration::from_secs(1));
        let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
        let mut shown = |first| {
            terminal.draw(|frame| draw(frame, &rates, first)).unwrap();
            terminal.backend().to_string()
        };
        let text = shown(0);
        for words in [
            "1 stacks, 100 sockets",
            "4711",
            "nginx: worker",
            "1000k",
            "10.77.0.1:80",
            "99k",
            "10.77.0.2:40099",
        ] {
            assert!(text.contains(words), "{words} is not in\n{text}");
        }
        assert!(!text.contains("40050"), "{text}");
        assert!(shown(49).contains("10.77.0.2:40050"));
        let mut tiny = Terminal::new(TestBackend::new(10, 3)).unwrap();
        tiny.draw(|frame| draw(frame, &rates, 1000)).unwrap();
    }
}
