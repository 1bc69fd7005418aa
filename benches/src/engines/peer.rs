//! The other end of every connection, without a state machine: frames made by hand, the same for all engines.

use std::net::Ipv4Addr;

use super::{GATEWAY_MAC, MAC};
use crate::{LOCAL, flow};

/// No more data from the sender.
pub const FIN: u8 = 0x01;
/// Synchronise sequence numbers.
pub const SYN: u8 = 0x02;
/// Push.
pub const PSH: u8 = 0x08;
/// The acknowledgment field counts.
pub const ACK: u8 = 0x10;

/// A client's end of the `n`-th flow.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    /// Which flow.
    pub n: u32,
    /// What it sends next.
    pub nxt: u32,
    /// What it expects next.
    pub ack: u32,
}

impl Client {
    /// One that is about to send its SYN.
    #[must_use]
    pub fn new(n: u32) -> Self {
        Self { n, nxt: n.wrapping_mul(0x9e37_79b9), ack: 0 }
    }

    /// Its SYN, with an MSS of 1460, a window scale of 7 and SACK.
    pub fn syn(&mut self) -> Vec<u8> {
        let frame = self.frame(SYN, &[2, 4, 5, 180, 1, 3, 3, 7, 1, 1, 4, 2], &[]);
        self.nxt = self.nxt.wrapping_add(1);
        frame
    }

    /// Takes the SYN-ACK in and answers it.
    pub fn answer(&mut self, syn_ack: &[u8]) -> Vec<u8> {
        self.ack = sequence(syn_ack).wrapping_add(1);
        self.bare(ACK)
    }

    /// A segment of data.
    pub fn data(&mut self, payload: &[u8]) -> Vec<u8> {
        let frame = self.frame(ACK | PSH, &[], payload);
        self.nxt = self.nxt.wrapping_add(payload.len() as u32);
        frame
    }

    /// Acknowledges `len` octets more.
    pub fn acknowledge(&mut self, len: u32) -> Vec<u8> {
        self.ack = self.ack.wrapping_add(len);
        self.bare(ACK)
    }

    /// An ACK for nothing new that tells of octets behind a hole (RFC 2018).
    #[must_use]
    pub fn duplicate(&self, left: u32, right: u32) -> Vec<u8> {
        let mut options = vec![1, 1, 5, 10];
        options.extend(left.to_be_bytes());
        options.extend(right.to_be_bytes());
        self.frame(ACK, &options, &[])
    }

    /// Its FIN.
    pub fn fin(&mut self) -> Vec<u8> {
        let frame = self.bare(FIN | ACK);
        self.nxt = self.nxt.wrapping_add(1);
        frame
    }

    /// A segment without data.
    #[must_use]
    pub fn bare(&self, flags: u8) -> Vec<u8> {
        self.frame(flags, &[], &[])
    }

    fn frame(&self, flags: u8, options: &[u8], payload: &[u8]) -> Vec<u8> {
        let key = flow(self.n);
        let std::net::IpAddr::V4(remote) = key.remote.ip() else { unreachable!("the flows are IPv4") };
        let mut tcp = Vec::with_capacity(20 + options.len() + payload.len());
        tcp.extend(key.remote.port().to_be_bytes());
        tcp.extend(key.local.port().to_be_bytes());
        tcp.extend(self.nxt.to_be_bytes());
        tcp.extend(self.ack.to_be_bytes());
        tcp.extend([((20 + options.len()) as u8 / 4) << 4, flags, 0xff, 0xff, 0, 0, 0, 0]);
        tcp.extend(options);
        tcp.extend(payload);
        let mut pseudo = [remote.octets(), LOCAL.octets()].concat();
        pseudo.extend([0, 6]);
        pseudo.extend((tcp.len() as u16).to_be_bytes());
        let sum = checksum(&[&pseudo, &tcp]);
        tcp[16..18].copy_from_slice(&sum.to_be_bytes());
        let mut frame = [MAC, GATEWAY_MAC].concat();
        frame.extend([8, 0]);
        frame.extend(ip_header(remote, tcp.len()));
        frame.extend(tcp);
        frame
    }
}

fn ip_header(source: Ipv4Addr, payload: usize) -> [u8; 20] {
    let mut header = [0; 20];
    (header[0], header[8], header[9]) = (0x45, 64, 6);
    header[2..4].copy_from_slice(&(20 + payload as u16).to_be_bytes());
    header[12..16].copy_from_slice(&source.octets());
    header[16..20].copy_from_slice(&LOCAL.octets());
    let sum = checksum(&[&header]);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    header
}

fn checksum(pieces: &[&[u8]]) -> u16 {
    let words = pieces.iter().flat_map(|piece| piece.chunks(2));
    let mut sum: u32 =
        words.map(|w| u32::from(u16::from_be_bytes([w[0], w.get(1).copied().unwrap_or(0)]))).sum();
    while sum >> 16 != 0 {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    !(sum as u16)
}

/// The flags of a frame of an engine's.
#[must_use]
pub fn flags(frame: &[u8]) -> u8 {
    frame.get(47).copied().unwrap_or(0)
}

/// The sequence number of a frame of an engine's.
#[must_use]
pub fn sequence(frame: &[u8]) -> u32 {
    u32::from_be_bytes([frame[38], frame[39], frame[40], frame[41]])
}

/// The client's port that a frame of an engine's goes to.
#[must_use]
pub fn port(frame: &[u8]) -> u16 {
    u16::from_be_bytes([frame[36], frame[37]])
}

/// The client's address that a frame of an engine's goes to.
#[must_use]
pub fn address(frame: &[u8]) -> Ipv4Addr {
    Ipv4Addr::new(frame[30], frame[31], frame[32], frame[33])
}

/// Which flow a frame of an engine's belongs to.
#[must_use]
pub fn flow_of(frame: &[u8]) -> u32 {
    let base = u32::from(Ipv4Addr::new(10, 80, 0, 0));
    (u32::from(address(frame)) - base) * 1000 + u32::from(port(frame) - 20_000)
}

/// Octets of data in a frame of an engine's.
#[must_use]
pub fn payload(frame: &[u8]) -> usize {
    if frame.len() < 54 {
        // ARP.
        return 0;
    }
    let total = usize::from(u16::from_be_bytes([frame[16], frame[17]]));
    let header = usize::from(frame[46] >> 4) * 4;
    (14 + total).saturating_sub(14 + 20 + header)
}
