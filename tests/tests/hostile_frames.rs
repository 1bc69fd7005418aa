//! Frames that no well-meaning host sends: counted by reason, and nginx serves on.

use std::net::{Ipv4Addr, Ipv6Addr};

use lab::{CLIENT, CLIENT6, IFACE, Lab, PacketSocket, SERVER, SERVER6, Site, SplitMix, eventually};
use ringroad_tests::{fetched_sha256, must_have_stack, on_road, sha256};

const FRAMES: u64 = 200_000;
const ETH: usize = 14;

/// Makes TCP segments to the server's port 80, and spoils them.
struct Forge {
    random: SplitMix,
    /// Over IPv6.
    v6: bool,
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
            3 => self.spoil(&mut frame, ETH + self.ip()),
            4 => {
                self.spoil(&mut frame, ETH + self.ip());
                finish_tcp(&mut frame);
            }
            5 => {
                self.spoil(&mut frame, ETH);
                finish_ip(&mut frame);
            }
            6 => {
                self.odd_source(&mut frame);
                finish(&mut frame);
            }
            _ => frame[ETH..].iter_mut().for_each(|b| *b = self.random.next() as u8),
        }
        if self.v6 && self.random.chance(200_000) {
            self.extend(&mut frame);
        }
        frame
    }

    fn ip(&self) -> usize {
        if self.v6 { 40 } else { 20 }
    }

    /// An extension header of random content; half of them look like options.
    fn extend(&mut self, frame: &mut Vec<u8>) {
        if frame.len() < ETH + 40 {
            return;
        }
        let mut header: Vec<u8> = (0..8).map(|_| self.random.next() as u8).collect();
        header[..2].copy_from_slice(&[frame[ETH + 6], 0]);
        if self.random.chance(500_000) {
            header[3] = 4;
        }
        frame[ETH + 6] = [0, 43, 44, 60][self.random.next() as usize % 4];
        frame.splice(ETH + 40..ETH + 40, header);
        let payload = (frame.len() - ETH - 40) as u16;
        frame[ETH + 4..ETH + 6].copy_from_slice(&payload.to_be_bytes());
    }

    /// A segment whose fields are all possible, with options and data of random length.
    fn segment(&mut self) -> Vec<u8> {
        let options = (self.random.next() % 11) as usize * 4;
        let data = (self.random.next() % 400) as usize;
        let ip_len = self.ip();
        let mut frame = vec![0; ETH + ip_len + 20 + options + data];
        frame.iter_mut().for_each(|b| *b = self.random.next() as u8);
        frame[..6].copy_from_slice(&self.server);
        frame[6..12].copy_from_slice(&self.client);
        let total = (frame.len() - ETH) as u16;
        frame[12..14].copy_from_slice(if self.v6 { &[0x86, 0xdd] } else { &[0x08, 0x00] });
        let ip = &mut frame[ETH..ETH + ip_len];
        if self.v6 {
            ip[..4].copy_from_slice(&[0x60, 0, 0, 0]);
            ip[4..6].copy_from_slice(&(total - 40).to_be_bytes());
            ip[6..8].copy_from_slice(&[6, 64]);
            ip[8..24].copy_from_slice(&address6(CLIENT6));
            ip[24..].copy_from_slice(&address6(SERVER6));
        } else {
            ip[..2].copy_from_slice(&[0x45, 0]);
            ip[2..4].copy_from_slice(&total.to_be_bytes());
            ip[6..10].copy_from_slice(&[0x40, 0, 64, 6]);
            ip[12..16].copy_from_slice(&address(CLIENT).octets());
            ip[16..20].copy_from_slice(&address(SERVER).octets());
        }
        let tcp = &mut frame[ETH + ip_len..];
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

    /// Gives the frame a source that no peer has.
    fn odd_source(&mut self, frame: &mut [u8]) {
        if self.v6 {
            let odd = ["::", "::1", "ff02::1", "::ffff:10.77.0.2", SERVER6, "febf::1", "fd00:77::99"];
            let odd = odd[self.random.next() as usize % odd.len()];
            frame[ETH + 8..ETH + 24].copy_from_slice(&address6(odd));
            return;
        }
        let odd =
            ["0.0.0.0", "127.0.0.1", "255.255.255.255", "224.0.0.1", SERVER, "10.77.0.255", "10.77.0.99"];
        let odd = odd[self.random.next() as usize % odd.len()];
        frame[ETH + 12..ETH + 16].copy_from_slice(&address(odd).octets());
    }
}

fn address6(text: &str) -> [u8; 16] {
    text.parse::<Ipv6Addr>().expect("an address").octets()
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

fn is_v6(frame: &[u8]) -> bool {
    frame[12..14] == [0x86, 0xdd]
}

fn finish_ip(frame: &mut [u8]) {
    if is_v6(frame) {
        return;
    }
    frame[ETH + 10..ETH + 12].fill(0);
    let checksum = sum(&frame[ETH..ETH + 20], 0);
    frame[ETH + 10..ETH + 12].copy_from_slice(&checksum.to_be_bytes());
}

fn finish_tcp(frame: &mut [u8]) {
    let (ip, addresses) = if is_v6(frame) { (40, ETH + 8..ETH + 40) } else { (20, ETH + 12..ETH + 20) };
    let len = (frame.len() - ETH - ip) as u32;
    let addresses = u32::from(!sum(&frame[addresses], 0));
    frame[ETH + ip + 16..ETH + ip + 18].fill(0);
    let checksum = sum(&frame[ETH + ip..], addresses + 6 + len);
    frame[ETH + ip + 16..ETH + ip + 18].copy_from_slice(&checksum.to_be_bytes());
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

/// Sends them to an nginx on the road, fetches from it in between, and gives the stack's counters at the end.
fn storm(v6: bool) -> serde_json::Value {
    let lab = Lab::new("hostile");
    let (server, client) = lab.dual_pair();
    let root = lab.folder().join("site-8080/www");
    let both = format!("  server {{ listen [::]:80 ipv6only=off; root {}; }}\n", root.display());
    let site = Site::with(&lab, 8080, &[("small.bin", 612), ("big.bin", 1 << 20)], &both);
    let nginx = on_road(&server, &[], &site.nginx(), 80);
    let before = must_have_stack(&server, &nginx);
    let wire = client.frames(IFACE);
    let (to, from) = (server.link_address(IFACE), client.link_address(IFACE));
    let mut forge = Forge { random: SplitMix(5), v6, server: to, client: from };
    let expected = sha256(&server, &site.path("big.bin"));
    let host = if v6 { format!("[{SERVER6}]") } else { SERVER.to_owned() };
    for round in 1..=4 {
        (0..FRAMES / 4).for_each(|_| send(&wire, &forge.frame()));
        let fetched = fetched_sha256(&client, &format!("http://{host}/big.bin"));
        assert_eq!(fetched, expected, "after round {round}");
    }
    let after = must_have_stack(&server, &nginx);
    assert_eq!(after["pid"], before["pid"]);
    after
}

#[track_caller]
fn assert_counted(stack: &serde_json::Value, reasons: &[&str]) {
    for reason in reasons {
        let count = stack["counters"][reason].as_u64().unwrap_or(0);
        assert!(count > 100, "{reason} is {count} in {stack}");
    }
}

#[test]
fn two_hundred_thousand_hostile_frames_change_nothing() {
    let stack = storm(false);
    assert_counted(&stack, &["drop_bad_header", "drop_ip_checksum", "drop_l4_checksum", "drop_martian"]);
}

#[test]
fn nor_do_as_many_of_ipv6() {
    let stack = storm(true);
    assert_counted(&stack, &["drop_bad_header", "drop_unrecognised", "drop_l4_checksum", "drop_martian"]);
}
