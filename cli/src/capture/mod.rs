//! `ringroad capture`: what passes the stacks, in a pcapng file.

mod file;
pub(crate) mod libpcap;

use std::fs::OpenOptions;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ringroad::capture::{Source, Wish, everywhere};

use crate::args::Capture;
use crate::{complain, told_to_end};
use file::File;

/// How often the rings are looked at.
const LOOK: Duration = Duration::from_millis(5);
/// How often stacks that have started meanwhile are looked for.
const SEEK: Duration = Duration::from_millis(500);
/// Packets between two looks at the signals and the time.
const AT_A_TIME: usize = 4096;
/// Bytes written at a time.
const BUFFER: usize = 1 << 20;

/// Captures until one of the ends that were asked for.
pub(crate) fn run(flags: &Capture) -> ExitCode {
    match capture(flags) {
        Ok(()) => ExitCode::SUCCESS,
        Err(what) => {
            complain(&what);
            ExitCode::FAILURE
        }
    }
}

fn capture(flags: &Capture) -> Result<(), String> {
    let expression = flags.filter.join(" ");
    let filter = match expression.as_str() {
        "" => Vec::new(),
        expression => libpcap::compile(expression, flags.snaplen)?,
    };
    let over = told_to_end().map_err(|e| format!("signals: {e}"))?;
    let mut stacks =
        Stacks { sources: Vec::new(), refused: Vec::new(), pid: flags.pid, sought: Instant::now() };
    let wish = Wish { snaplen: flags.snaplen, filter };
    let first = everywhere(flags.pid, &[], &wish);
    if first.is_empty() {
        return Err(match flags.pid {
            Some(pid) => format!("process {pid} runs no stack in this network namespace"),
            None => "no stack runs in this network namespace".to_owned(),
        });
    }
    let failed = |e: io::Error| format!("{}: {e}", flags.file.display());
    let mut file =
        File::new(open(&flags.file).map_err(failed)?, flags.snaplen, &expression).map_err(failed)?;
    stacks.meet(first, &mut file).map_err(failed)?;
    if stacks.sources.is_empty() {
        return Err("there is nothing to see".to_owned());
    }
    let done = stacks.write(&mut file, flags, (&wish, &over));
    for source in &stacks.sources {
        file.part_from(source);
    }
    // What was counted is written whatever came before, but for a disk that is full.
    let packets = file.packets;
    let finished = file.finish(nanos());
    done.map_err(failed)?;
    let lost = finished.map_err(failed)?;
    let _ =
        writeln!(io::stderr(), "{packets} packets captured, {lost} lost because they were not read in time");
    Ok(())
}

/// Nobody else may read what others sent.
fn open(path: &Path) -> io::Result<BufWriter<Box<dyn Write>>> {
    let to: Box<dyn Write> = if path == Path::new("-") {
        Box::new(io::stdout())
    } else {
        Box::new(OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?)
    };
    Ok(BufWriter::with_capacity(BUFFER, to))
}

/// Nanoseconds since 1970.
fn nanos() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos() as u64)
}

/// The stacks that are read.
struct Stacks {
    sources: Vec<Source>,
    /// Processes that do not want to be seen, and were told of.
    refused: Vec<u32>,
    pid: Option<u32>,
    sought: Instant,
}

impl Stacks {
    fn meet<W: Write>(
        &mut self,
        found: Vec<(u32, Result<Source, ringroad::capture::WhyNot>)>,
        file: &mut File<W>,
    ) -> io::Result<()> {
        for (pid, source) in found {
            match source {
                Ok(source) => {
                    file.meet(&source)?;
                    self.sources.push(source);
                }
                Err(why) => {
                    complain(&format!("process {pid}: {why}"));
                    self.refused.push(pid);
                }
            }
        }
        Ok(())
    }

    /// Looks for stacks that are new.
    fn seek<W: Write>(&mut self, wish: &Wish, file: &mut File<W>) -> io::Result<()> {
        if self.sought.elapsed() < SEEK {
            return Ok(());
        }
        self.sought = Instant::now();
        let known: Vec<u32> =
            self.sources.iter().map(|s| s.pid).chain(self.refused.iter().copied()).collect();
        self.meet(everywhere(self.pid, &known, wish), file)
    }

    /// Writes until it is over.
    fn write<W: Write>(
        &mut self,
        file: &mut File<W>,
        flags: &Capture,
        (wish, over): (&Wish, &AtomicBool),
    ) -> io::Result<()> {
        // An end that no clock can show does not come.
        let end = flags.seconds.and_then(|seconds| Instant::now().checked_add(Duration::from_secs(seconds)));
        let enough = flags.count.unwrap_or(u64::MAX);
        loop {
            // What has arrived when it is told to end is written.
            let last = over.load(Ordering::Relaxed) || end.is_some_and(|end| Instant::now() >= end);
            let gone: Vec<u32> = self.sources.iter_mut().filter_map(|s| s.look().then_some(s.pid)).collect();
            let mut left = AT_A_TIME;
            while (last || left > 0) && file.packets < enough {
                if !self.write_next(file)? {
                    break;
                }
                left = left.saturating_sub(1);
            }
            if last || file.packets >= enough {
                return Ok(());
            }
            if left == 0 {
                continue;
            }
            // All that was seen is written.
            file.flush()?;
            self.part(file, &gone);
            if self.sources.is_empty() && self.pid.is_some() {
                return Ok(());
            }
            self.seek(wish, file)?;
            thread::sleep(LOOK);
        }
    }

    /// Writes the oldest packet that there is; false: there is none.
    fn write_next<W: Write>(&mut self, file: &mut File<W>) -> io::Result<bool> {
        let mut oldest: Option<(u64, usize)> = None;
        for (n, source) in self.sources.iter_mut().enumerate() {
            match source.next_at() {
                Ok(Some(at)) if oldest.is_none_or(|(before, _)| at < before) => oldest = Some((at, n)),
                Ok(_) => {}
                Err(error) => {
                    let source = self.sources.remove(n);
                    complain(&format!("process {}: {error}", source.pid));
                    file.part_from(&source);
                    self.refused.push(source.pid);
                    return Ok(true);
                }
            }
        }
        let Some((_, n)) = oldest else { return Ok(false) };
        file.packet_of(&mut self.sources[n])?;
        Ok(true)
    }

    /// Lets those go whose stack is gone.
    fn part<W: Write>(&mut self, file: &mut File<W>, gone: &[u32]) {
        self.sources.retain(|source| {
            let stays = !gone.contains(&source.pid);
            if !stays {
                file.part_from(source);
            }
            stays
        });
    }
}
