//! `ringroad top`: what the stacks do, every second, in a terminal.

mod rates;
mod screen;

use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ringroad::control::client;

use crate::args::Top;
use crate::{complain, told_to_end};
use rates::Rates;

/// How often the stacks are asked.
const EVERY: Duration = Duration::from_secs(1);

/// Shows them until a key or a signal ends it. The terminal is as it was afterwards, also after a panic.
pub(crate) fn run(flags: &Top) -> ExitCode {
    if !io::stdout().is_terminal() {
        complain(&"top needs a terminal; `ringroad stat --json` tells the same to programs");
        return ExitCode::FAILURE;
    }
    match in_terminal(flags.pid) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("the terminal: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn in_terminal(pid: Option<u32>) -> io::Result<()> {
    // First: whoever is told to end from here on leaves the terminal as it was.
    let over = told_to_end()?;
    let shown = ratatui::try_init().and_then(|mut terminal| show(&mut terminal, pid, &over));
    ratatui::restore();
    shown
}

fn show(terminal: &mut DefaultTerminal, pid: Option<u32>, over: &AtomicBool) -> io::Result<()> {
    let mut rates = Rates::default();
    let mut first = 0usize;
    while !over.load(Ordering::Relaxed) {
        let asked = Instant::now();
        rates.take(client::stacks(pid), asked);
        loop {
            terminal.draw(|frame| screen::draw(frame, &rates, first))?;
            let left = EVERY.saturating_sub(asked.elapsed());
            if left.is_zero() || over.load(Ordering::Relaxed) || !event::poll(left)? {
                break;
            }
            let last = rates.sockets().len().saturating_sub(1);
            match event::read()? {
                Event::Key(key) if ends(&key) => return Ok(()),
                Event::Key(key) if key.kind != KeyEventKind::Release => first = moved(key.code, first, last),
                _ => {}
            }
        }
    }
    Ok(())
}

fn ends(key: &KeyEvent) -> bool {
    let interrupt = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
    interrupt || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc)
}

/// The first socket to be shown.
fn moved(key: KeyCode, first: usize, last: usize) -> usize {
    const PAGE: usize = 10;
    let to = match key {
        KeyCode::Down | KeyCode::Char('j') => first + 1,
        KeyCode::Up | KeyCode::Char('k') => first.saturating_sub(1),
        KeyCode::PageDown => first + PAGE,
        KeyCode::PageUp => first.saturating_sub(PAGE),
        KeyCode::Home => 0,
        KeyCode::End => last,
        _ => first,
    };
    to.min(last)
}
