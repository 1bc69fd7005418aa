//! Two small programs that talk to each other by ordinary socket calls, for `bench --home`: over TCP, or a Unix socket.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Instant;

use clap::Subcommand;

/// Octets that are written and read at a time in bulk.
const CHUNK: usize = 64 << 10;
/// Round trips before those that count.
const WARM: usize = 2000;

/// What a program does. A place is ADDRESS:PORT or unix:PATH.
#[derive(Subcommand)]
pub(crate) enum Talk {
    /// Accept a connection and give back what comes, so many octets at a time
    Echo {
        place: String,
        octets: usize,
        #[arg(long)]
        spin: bool,
    },
    /// Ask so often, and tell how long answers took
    Ask {
        place: String,
        octets: usize,
        count: usize,
        #[arg(long)]
        spin: bool,
    },
    /// Accept a connection and take all that comes
    Drain { place: String },
    /// Send so many octets, and tell how long it took until the other end had them
    Fill { place: String, octets: usize },
}

impl Talk {
    /// Does it.
    ///
    /// # Errors
    /// Those of the calls.
    pub(crate) fn run(&self) -> io::Result<()> {
        match self {
            Self::Echo { place, octets, spin } => echo(&mut *accept(place, *spin)?, *octets),
            Self::Ask { place, octets, count, spin } => ask(&mut *open(place, *spin)?, *octets, *count),
            Self::Drain { place } => drain(&mut *accept(place, false)?),
            Self::Fill { place, octets } => fill(&mut *open(place, false)?, *octets),
        }
    }
}

trait Line: Read + Write {}
impl<T: Read + Write> Line for T {}

fn accept(place: &str, spin: bool) -> io::Result<Box<dyn Line>> {
    match place.strip_prefix("unix:") {
        Some(path) => unix(UnixListener::bind(path)?.accept()?.0, spin),
        None => tcp(TcpListener::bind(place)?.accept()?.0, spin),
    }
}

fn open(place: &str, spin: bool) -> io::Result<Box<dyn Line>> {
    match place.strip_prefix("unix:") {
        Some(path) => unix(UnixStream::connect(path)?, spin),
        None => tcp(TcpStream::connect(place)?, spin),
    }
}

fn tcp(stream: TcpStream, spin: bool) -> io::Result<Box<dyn Line>> {
    stream.set_nodelay(true)?;
    stream.set_nonblocking(spin)?;
    Ok(Box::new(stream))
}

fn unix(stream: UnixStream, spin: bool) -> io::Result<Box<dyn Line>> {
    stream.set_nonblocking(spin)?;
    Ok(Box::new(stream))
}

/// Reads until the buffer is full; false at the end.
fn take(line: &mut dyn Line, buffer: &mut [u8]) -> io::Result<bool> {
    let mut got = 0;
    while got < buffer.len() {
        match line.read(&mut buffer[got..]) {
            Ok(0) => return Ok(false),
            Ok(n) => got += n,
            Err(e) if e.kind() == ErrorKind::WouldBlock => std::hint::spin_loop(),
            Err(e) => return Err(e),
        }
    }
    Ok(true)
}

fn echo(line: &mut dyn Line, octets: usize) -> io::Result<()> {
    let mut buffer = vec![0; octets];
    while take(line, &mut buffer)? {
        line.write_all(&buffer)?;
    }
    Ok(())
}

fn ask(line: &mut dyn Line, octets: usize, count: usize) -> io::Result<()> {
    let mut buffer = vec![7; octets];
    let mut times = Vec::with_capacity(count);
    for n in 0..WARM + count {
        let begin = Instant::now();
        line.write_all(&buffer)?;
        if !take(line, &mut buffer)? {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        if n >= WARM {
            times.push(begin.elapsed().as_nanos() as u64);
        }
    }
    times.sort_unstable();
    let at = |part: usize| times.get(count * part / 100).copied().unwrap_or_default();
    println!("min {} p10 {} p50 {} p99 {}", at(0), at(10), at(50), at(99));
    Ok(())
}

fn drain(line: &mut dyn Line) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    let mut octets = [0; 8];
    take(line, &mut octets)?;
    let mut left = u64::from_le_bytes(octets);
    while left > 0 {
        match line.read(&mut buffer)? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            n => left = left.saturating_sub(n as u64),
        }
    }
    line.write_all(&[1])
}

fn fill(line: &mut dyn Line, octets: usize) -> io::Result<()> {
    let chunk = vec![7; CHUNK];
    let begin = Instant::now();
    line.write_all(&(octets as u64).to_le_bytes())?;
    let mut left = octets;
    while left > 0 {
        let n = left.min(CHUNK);
        line.write_all(&chunk[..n])?;
        left -= n;
    }
    if !take(line, &mut [0])? {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    println!("rate {}", octets as f64 / begin.elapsed().as_secs_f64());
    Ok(())
}
