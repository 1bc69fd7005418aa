//! SYNs from sources that do not exist, of both families, as fast as one thread can send them.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

use lab::{CLIENT, CLIENT6, IFACE, Namespace, PacketSocket, SERVER, SERVER6, SplitMix};

/// The flood ends by itself, whatever becomes of the test.
const MOST: Duration = Duration::from_secs(100);
/// SYNs that are there when it is said to have begun.
const BEGUN: u64 = 20_000;
/// Sources, by the last octet of their address.
const SOURCES: std::ops::Range<u8> = 100..200;
const ETHERNET: usize = 14;

/// A flood that goes on until it is told to stop.
#[derive(Debug, Default)]
pub struct Flood {
    over: AtomicBool,
    shots: AtomicU64,
}

impl Flood {
    /// Starts a flood from `client`, with both families, against port 80 of `server`, and waits until it is felt. It
    /// ends when the answer is dropped.
    pub fn start<'s>(
        &'s self,
        scope: &'s Scope<'s, '_>,
        (server, client): (&Namespace, &Namespace),
    ) -> Flooding<'s> {
        let link = [server.link_address(IFACE), client.link_address(IFACE)];
        know_sources(server, link[1]);
        let socket = client.frames(IFACE);
        scope.spawn(move || self.run(&socket, link));
        while self.shots.load(Ordering::Relaxed) < BEGUN && !self.over.load(Ordering::Relaxed) {
            thread::yield_now();
        }
        Flooding(self)
    }

    /// SYNs sent so far.
    pub fn shots(&self) -> u64 {
        self.shots.load(Ordering::Relaxed)
    }

    fn run(&self, socket: &PacketSocket, link: [[u8; 6]; 2]) {
        let mut random = SplitMix(7);
        let mut frames: Vec<Syn> = (0..20_000).map(|n| Syn::new(&mut random, link, n % 4 == 3)).collect();
        let begun = Instant::now();
        while !self.over.load(Ordering::Relaxed) && begun.elapsed() < MOST {
            for syn in &mut frames[..] {
                syn.renew();
                // A full queue of the cable is the cable's matter.
                self.shots.fetch_add(u64::from(socket.send(&syn.frame).is_ok()), Ordering::Relaxed);
            }
        }
        self.over.store(true, Ordering::Relaxed);
    }
}

/// A flood that goes on for as long as this lives.
#[derive(Debug)]
pub struct Flooding<'a>(&'a Flood);

impl Drop for Flooding<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::Relaxed);
    }
}

/// Neighbours that do not exist are asked for: an attacker beyond a router would have none of these costs.
fn know_sources(server: &Namespace, link: [u8; 6]) {
    let link = link.map(|b| format!("{b:02x}")).join(":");
    let line = |n: u8| {
        let (four, six) = (source(n), source6(n));
        let entry = |address: &str| format!("neigh replace {address} lladdr {link} dev {IFACE}");
        format!("{}\n{}", entry(&four.to_string()), entry(&six.to_string()))
    };
    let lines: Vec<String> = SOURCES.map(line).collect();
    server.must(&["sh", "-c", &format!("ip -batch - <<E\n{}\nE", lines.join("\n"))]);
}

fn source(n: u8) -> Ipv4Addr {
    let [a, b, c, _] = CLIENT.parse::<Ipv4Addr>().expect("an address").octets();
    Ipv4Addr::new(a, b, c, n)
}

fn source6(n: u8) -> Ipv6Addr {
    let [a, b, c, d, e, f, g, _] = CLIENT6.parse::<Ipv6Addr>().expect("an address").segments();
    Ipv6Addr::new(a, b, c, d, e, f, g, n.into())
}

fn sum(bytes: &[u8], from: u32) -> u32 {
    bytes.chunks(2).fold(from, |sum, pair| sum + (u32::from(pair[0]) << 8) + u32::from(pair[1]))
}

fn finish(mut sum: u32) -> [u8; 2] {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!(sum as u16)).to_be_bytes()
}

/// A SYN to the server's port 80, from an address of the client's network that nobody has.
struct Syn {
    frame: Vec<u8>,
    /// Where the TCP header begins.
    tcp: usize,
}

impl Syn {
    fn new(random: &mut SplitMix, link: [[u8; 6]; 2], six: bool) -> Self {
        let n = SOURCES.start + (random.next() % SOURCES.len() as u64) as u8;
        let mut tcp = vec![0; 20];
        tcp[..2].copy_from_slice(&(1024 + (random.next() % 60_000) as u16).to_be_bytes());
        tcp[2..4].copy_from_slice(&80u16.to_be_bytes());
        tcp[4..8].copy_from_slice(&(random.next() as u32).to_be_bytes());
        tcp[12..16].copy_from_slice(&[0x50, 2, 0xff, 0xff]);
        let (kind, ip, addresses) = if six {
            let to: Ipv6Addr = SERVER6.parse().expect("an address");
            let addresses = [source6(n).octets(), to.octets()].concat();
            ([0x86, 0xdd], [&[0x60, 0, 0, 0, 0, 20, 6, 64], &addresses[..]].concat(), addresses)
        } else {
            let to: Ipv4Addr = SERVER.parse().expect("an address");
            let addresses = [source(n).octets(), to.octets()].concat();
            let head = [0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0];
            let mut ip = [&head, &addresses[..]].concat();
            let field = finish(sum(&ip, 0));
            ip[10..12].copy_from_slice(&field);
            ([8, 0], ip, addresses)
        };
        let field = finish(sum(&tcp, sum(&addresses, 26)));
        tcp[16..18].copy_from_slice(&field);
        let frame = [&link[0][..], &link[1], &kind, &ip, &tcp].concat();
        Self { frame, tcp: ETHERNET + ip.len() }
    }

    /// Another sequence number: who floods does not send the same segment twice.
    fn renew(&mut self) {
        let word = |bytes: &[u8]| u16::from_be_bytes([bytes[0], bytes[1]]);
        let tcp = &mut self.frame[self.tcp..];
        let (old, check) = (word(&tcp[6..]), word(&tcp[16..]));
        let new = old.wrapping_add(1);
        // RFC 1624, equation 3.
        let field = finish(u32::from(!check) + u32::from(!old) + u32::from(new));
        tcp[6..8].copy_from_slice(&new.to_be_bytes());
        tcp[16..18].copy_from_slice(&field);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_checksums_are_right() {
        let mut random = SplitMix(1);
        for six in [false, true] {
            let mut syn = Syn::new(&mut random, [[2; 6], [4; 6]], six);
            for _ in 0..3 {
                let addresses = &syn.frame[syn.tcp - if six { 32 } else { 8 }..syn.tcp];
                assert_eq!(finish(sum(&syn.frame[syn.tcp..], sum(addresses, 26))), [0, 0]);
                syn.renew();
            }
        }
    }
}
