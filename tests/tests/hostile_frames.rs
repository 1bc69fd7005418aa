//! Frames that no well-meaning host sends: counted by reason, and nginx serves on.

use std::net::Ipv4Addr;

use lab::{CLIENT, IFACE, Lab, PacketSocket, SERVER, Site, SplitMix, eventually};
use ringroad_tests::{fetched_sha256, must_have_stack, on_road, sha256};

const FRAMES: u64 = 200_000;
const ETH: usize = 14;
const IP: usize = 20;

/// Makes TCP segments to the server's port 80, and spoils them.
struct Forge {
    random: SplitMix,
    server: [u8; 6],
    client: [u8; 6],
}

impl Forge {
    fn frame(&mut self) -> Vec<u8> {
        let mut frame = self.segment();
        match self.random.next() % 8 {
            0 => {}
            1 => frame.truncate((self.random.next() as usize % frame.len()).max(ETH)),
            2 => self.spoil(&mut frame, ETH),
            3 => self.spoil(&mut frame, ETH + IP),
            4 => {
                self.spoil(&mut frame, ETH + IP);
                finish_tcp(&mut frame);
            }
            5 => {
                self.spoil(&mut frame, ETH);
                finish_ip(&mut frame);
            }
            6 => {
                let source = self.odd_source();
                frame[ETH + 12..ETH + 16].copy_from_slice(&source.octets());
                finish(&mut frame);
            }
            _ => frame[ETH..].iter_mut().for_each(|b| *b = self.random.next() as u8),
        }
        frame
    }

    /// A segment whose fields are all possible, with options and data of random length.
    fn segment(&mut self) -> Vec<u8> {
        let options = (self.random.next() % 11) as usize * 4;
        let data = (self.random.next() % 400) as usize;
        let mut frame = vec![0; ETH + IP + 20 + options + data];
        frame.iter_mut().for_each(|b| *b = self.random.next() as u8);
        frame[..6].copy_from_slice(&self.server);
        frame[6..12].copy_from_slice(&self.client);
        frame[12..14].copy_from_slice(&[0x08, 0x00]);
        let total = (frame.len() - ETH) as u16;
        let ip = &mut frame[ETH..ETH + IP];
        ip[..2].copy_from_slice(&[0x45, 0]);
        ip[2..4].copy_from_slice(&total.to_be_bytes());
        ip[6..10].copy_from_slice(&[0x40, 0, 64, 6]);
        ip[12..16].copy_from_slice(&address(CLIENT).octets());
        ip[16..20].copy_from_slice(&address(SERVER).octets());
        let tcp = &mut frame[ETH + IP..];
        tcp[..2].copy_from_slice(&(40_000 + (self.random.next() % 64) as u16).to_be_bytes());
        tcp[2..4].copy_from_slice(&80u16.to_be_bytes());
        tcp[12] = ((5 + options / 4) as u8) << 4;
        if self.random.chance(500_000) {
            tcp[13] = 0x02;
        }
        finish(&mut frame);
        frame
    }

    fn spoil(&mut self, frame: &mut [u8], from: usize) {
        for _ in 0..=self.random.next() % 6 {
            let at = from + self.random.next() as usize % (frame.len() - from).min(60);
            frame[at] = self.random.next() as u8;
        }
    }

    fn odd_source(&mut self) -> Ipv4Addr {
        let odd =
            ["0.0.0.0", "127.0.0.1", "255.255.255.255", "224.0.0.1", SERVER, "10.77.0.255", "10.77.0.99"];
        address(odd[self.random.next() as usize % odd.len()])
    }
}

fn address(text: &str) -> Ipv4Addr {
    text.parse().expect("an address")
}

fn sum(bytes: &[u8], start: u32) -> u16 {
    let words = bytes.chunks(2).map(|w| u32::from(w[0]) << 8 | u32::from(*w.get(1).unwrap_or(&0)));
    let mut sum = words.fold(start, u32::wrapping_add);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

fn finish_ip(frame: &mut [u8]) {
    frame[ETH + 10..ETH + 12].fill(0);
    let checksum = sum(&frame[ETH..ETH + IP], 0);
    frame[ETH + 10..ETH + 12].copy_from_slice(&checksum.to_be_bytes());
}

fn finish_tcp(frame: &mut [u8]) {
    let len = (frame.len() - ETH - IP) as u32;
    let addresses = u32::from(!sum(&frame[ETH + 12..ETH + 20], 0));
    frame[ETH + IP + 16..ETH + IP + 18].fill(0);
    let checksum = sum(&frame[ETH + IP..], addresses + 6 + len);
    frame[ETH + IP + 16..ETH + IP + 18].copy_from_slice(&checksum.to_be_bytes());
}

fn finish(frame: &mut [u8]) {
    finish_ip(frame);
    finish_tcp(frame);
}

/// Sends the frame, however long the other end's queue is full.
fn send(wire: &PacketSocket, frame: &[u8]) {
    eventually("room for a frame", 5, || match wire.send(frame) {
        Ok(()) => true,
        Err(e) => e.raw_os_error() != Some(105),
    });
}

#[test]
fn two_hundred_thousand_hostile_frames_change_nothing() {
    let lab = Lab::new("hostile");
    let (server, client) = lab.pair();
    let site = Site::new(&lab, 80, &[("small.bin", 612), ("big.bin", 1 << 20)]);
    let nginx = on_road(&server, &[], &site.nginx(), 80);
    let before = must_have_stack(&server, &nginx);
    let wire = client.frames(IFACE);
    let mut forge =
        Forge { random: SplitMix(5), server: server.link_address(IFACE), client: client.link_address(IFACE) };
    let expected = sha256(&server, &site.path("big.bin"));
    for round in 1..=4 {
        (0..FRAMES / 4).for_each(|_| send(&wire, &forge.frame()));
        let fetched = fetched_sha256(&client, &format!("http://{SERVER}/big.bin"));
        assert_eq!(fetched, expected, "after round {round}");
    }
    let after = must_have_stack(&server, &nginx);
    assert_eq!(after["pid"], before["pid"]);
    let count = |name: &str| after["counters"][name].as_u64().unwrap_or(0);
    for reason in ["drop_bad_header", "drop_ip_checksum", "drop_l4_checksum", "drop_martian"] {
        assert!(count(reason) > 100, "{reason} is {} in {after}", count(reason));
    }
}
