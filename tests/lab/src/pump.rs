//! A program that sends as much as it can and one that takes it, with what each saw: ordinary socket calls, so that the
//! kernel or the road may carry them.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::sys;

/// How often each side looks.
const LOOK: Duration = Duration::from_millis(50);

/// What a sender is to do.
#[derive(Clone, Debug)]
pub struct Pump {
    /// To whom.
    pub to: String,
    /// How long.
    pub time: Duration,
    /// TCP_CONGESTION.
    pub congestion: String,
    /// SO_SNDBUF, if it is to be set.
    pub buffer: Option<i32>,
}

/// What TCP_INFO said at some time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sample {
    /// Milliseconds of the clock on the wall.
    pub at: u64,
    /// The window, in segments.
    pub cwnd: u32,
    /// Microseconds.
    pub rtt: u32,
    /// Segments sent again so far.
    pub retransmits: u32,
}

impl Sample {
    /// From a line that [`send`] printed.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        let mut words = line.strip_prefix("info ")?.split_whitespace();
        let mut next = || words.next().and_then(|w| w.parse::<u64>().ok());
        Some(Self { at: next()?, cwnd: next()? as u32, rtt: next()? as u32, retransmits: next()? as u32 })
    }
}

fn wall() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
}

/// Sends for as long as it is to, and prints what TCP_INFO says meanwhile.
///
/// # Errors
/// Those of the calls.
pub fn send(pump: &Pump) -> io::Result<()> {
    let mut stream = TcpStream::connect(&pump.to)?;
    sys::set_congestion(&stream, &pump.congestion)?;
    if let Some(bytes) = pump.buffer {
        sys::set_send_buffer(&stream, bytes)?;
    }
    let looked_at = stream.try_clone()?;
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                if let Ok(info) = sys::tcp_info(&looked_at) {
                    let word = |at: usize| {
                        let bytes = info.get(at..at + 4).and_then(|b| b.try_into().ok());
                        bytes.map_or(0, u32::from_ne_bytes)
                    };
                    // tcpi_snd_cwnd, tcpi_rtt, tcpi_total_retrans.
                    println!("info {} {} {} {}", wall(), word(80), word(68), word(100));
                }
                thread::park_timeout(LOOK);
            }
        });
        let (block, begin) = ([7; 65_536], Instant::now());
        let mut sent = Ok(());
        while begin.elapsed() < pump.time && sent.is_ok() {
            sent = stream.write_all(&block);
        }
        done.store(true, Ordering::Relaxed);
        // What still waits is not wanted any more.
        let _ = stream.shutdown(Shutdown::Both);
        sent
    })
}

/// Takes connections on `port` for ever, and prints how much each has brought, by the peer's address.
///
/// # Errors
/// Those of the calls.
pub fn receive(port: u16) -> io::Result<()> {
    let listener = TcpListener::bind(("0.0.0.0", port))?;
    loop {
        let (stream, peer) = listener.accept()?;
        thread::spawn(move || count(stream, &peer.ip().to_string()));
    }
}

fn count(mut stream: TcpStream, peer: &str) {
    let (got, done) = (AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                println!("got {} {peer} {}", wall(), got.load(Ordering::Relaxed));
                thread::park_timeout(LOOK);
            }
        });
        let mut buffer = vec![0; 1 << 18];
        loop {
            match stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => {
                    got.fetch_add(n as u64, Ordering::Relaxed);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        done.store(true, Ordering::Relaxed);
    });
}
