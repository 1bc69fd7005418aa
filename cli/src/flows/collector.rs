//! Messages go to a collector as they are, but for their numbers: over UDP or TCP (RFC 7011 §10), or into a file (RFC 5655).
//!
//! A number counts the data records that went the same way (RFC 7011 §3.1). Templates go together with one, which says whose they
//! are: where they are sent again, or came from another file, all that follows has a number higher by one.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs, UdpSocket};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::{Duration, Instant};

use ringroad::flows::read::Read;

use super::Take;

/// Over UDP templates are sent again, since they may be lost (RFC 7011 §8.1).
const AGAIN: Duration = Duration::from_secs(60);
/// The length of a message's header, and where its words are: the time of export, the number of the first record, the
/// observation domain.
const HEADER: usize = 16;
const TIME: usize = 4;
const NUMBER: usize = 8;
const DOMAIN: usize = 12;
/// The set of templates.
const TEMPLATES: &[u8] = &[0, 2];

/// Where messages go.
#[derive(Clone, Debug)]
pub(crate) enum Collector {
    Udp(String),
    Tcp(String),
    File(PathBuf),
}

impl FromStr for Collector {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("udp", end)) if end.contains(':') => Ok(Self::Udp(end.to_owned())),
            Some(("tcp", end)) if end.contains(':') => Ok(Self::Tcp(end.to_owned())),
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(path.into())),
            _ => Err("expected udp:HOST:PORT, tcp:HOST:PORT or file:PATH".to_owned()),
        }
    }
}

impl Collector {
    pub(super) fn open(&self) -> io::Result<Sender> {
        let named = |what: &str, error: io::Error| io::Error::new(error.kind(), format!("{what}: {error}"));
        Ok(match self {
            Self::Udp(end) => Sender::new(Way::Datagrams(datagrams(end).map_err(|e| named(end, e))?)),
            Self::Tcp(end) => {
                let stream = TcpStream::connect(end.as_str()).map_err(|e| named(end, e))?;
                Sender::new(Way::Stream(Box::new(stream)))
            }
            Self::File(path) => {
                let file = File::create(path).map_err(|e| named(&path.to_string_lossy(), e))?;
                Sender::new(Way::Stream(Box::new(file)))
            }
        })
    }
}

fn datagrams(end: &str) -> io::Result<UdpSocket> {
    let to = end.to_socket_addrs()?.next().ok_or(io::ErrorKind::NotFound)?;
    let any: SocketAddr = match to {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any)?;
    socket.connect(to)?;
    Ok(socket)
}

/// The way there.
enum Way {
    Datagrams(UdpSocket),
    Stream(Box<dyn Write>),
}

impl Way {
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        match self {
            Self::Stream(to) => to.write_all(message),
            Self::Datagrams(socket) => match socket.send(message) {
                // Nobody may hear it: that is no error.
                Err(error) if error.kind() != io::ErrorKind::ConnectionRefused => Err(error),
                _ => Ok(()),
            },
        }
    }
}

/// What was sent of an observation domain.
struct Domain {
    /// The message with its templates, and when it was sent.
    templates: Vec<u8>,
    sent: Instant,
    /// By so much numbers are higher than they came.
    ahead: u32,
}

/// Sends messages.
pub(super) struct Sender {
    way: Way,
    domains: BTreeMap<u32, Domain>,
}

impl Take for Sender {
    fn take(&mut self, read: Read<'_>) -> io::Result<()> {
        self.send(read.message.to_vec(), Instant::now())
    }
}

impl Sender {
    const fn new(way: Way) -> Self {
        Self { way, domains: BTreeMap::new() }
    }

    /// Sends a message, and before it the templates of its domain when their time has come.
    fn send(&mut self, mut message: Vec<u8>, now: Instant) -> io::Result<()> {
        let next = word(&message, NUMBER);
        if message.get(HEADER..HEADER + 2) == Some(TEMPLATES) {
            return self.send_templates(message, next.wrapping_add(1), now);
        }
        let id = word(&message, DOMAIN);
        let due = |known: &&Domain| now.duration_since(known.sent) >= AGAIN;
        if let Way::Datagrams(_) = self.way
            && let Some(known) = self.domains.get(&id).filter(due)
        {
            let mut templates = known.templates.clone();
            put_word(&mut templates, TIME, word(&message, TIME));
            self.send_templates(templates, next, now)?;
        }
        let ahead = self.domains.get(&id).map_or(0, |known| known.ahead);
        put_word(&mut message, NUMBER, next.wrapping_add(ahead));
        self.way.send(&message)
    }

    /// Sends a message with templates before the one that came with the number `next`.
    fn send_templates(&mut self, mut templates: Vec<u8>, next: u32, now: Instant) -> io::Result<()> {
        let id = word(&templates, DOMAIN);
        // The first time its record was counted where it came from.
        let before = self.domains.get(&id).map_or(u32::MAX, |known| known.ahead);
        put_word(&mut templates, NUMBER, next.wrapping_add(before));
        self.way.send(&templates)?;
        self.domains.insert(id, Domain { templates, sent: now, ahead: before.wrapping_add(1) });
        Ok(())
    }
}

/// A word of a message's header.
fn word(message: &[u8], at: usize) -> u32 {
    message.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

fn put_word(message: &mut [u8], at: usize, word: u32) {
    if let Some(place) = message.get_mut(at..at + 4) {
        place.copy_from_slice(&word.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message with one record: (set, time, number).
    fn message((set, time, number): (u16, u32, u32)) -> Vec<u8> {
        let head = [[0, 10, 0, 20], time.to_be_bytes(), number.to_be_bytes(), 7u32.to_be_bytes()];
        [head.as_flattened(), &set.to_be_bytes(), &[0, 4]].concat()
    }

    #[test]
    fn numbers_count_what_was_sent_and_templates_that_are_sent_again_are_of_their_time() {
        let to = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        to.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let way = Way::Datagrams(datagrams(&to.local_addr().unwrap().to_string()).unwrap());
        let (mut sender, begin) = (Sender::new(way), Instant::now());
        let mut went = Vec::new();
        let (templates, flows) = (2, 256);
        for (what, after) in [
            ((templates, 100, 6), 0),
            ((flows, 100, 7), 1),
            ((flows, 161, 8), 61),
            // Another file of the same process.
            ((templates, 170, 8), 70),
            ((flows, 170, 9), 70),
        ] {
            sender.send(message(what), begin + Duration::from_secs(after)).unwrap();
        }
        for _ in 0..6 {
            let mut message = [0; 64];
            let len = to.recv(&mut message).unwrap();
            assert_eq!((len, word(&message, DOMAIN)), (20, 7));
            went.push((message[HEADER + 1], word(&message, TIME), word(&message, NUMBER)));
        }
        let of_flows = 0;
        assert_eq!(
            went,
            [
                (2, 100, 6),
                (of_flows, 100, 7),
                (2, 161, 8),
                (of_flows, 161, 9),
                (2, 170, 10),
                (of_flows, 170, 11)
            ]
        );
    }
}
