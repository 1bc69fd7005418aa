//! A port in words: what another process image needs to go on with inherited descriptors.

use std::fmt;
use std::os::fd::RawFd;
use std::str::FromStr;

use crate::interface::Interface;
use crate::ledger::Slot;
use crate::port::Options;
use crate::socket::{BindMode, RingSizes, UmemMode, XskParts};
use crate::steer::{SteeringFds, XdpMode};

/// Everything about a [`Port`](crate::Port) but the arena. As text (`Display`, `FromStr`) it is one line
/// without spaces at its ends, fit for an environment variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortParts {
    /// The ledger of frames.
    pub ledger: RawFd,
    /// The rings between its stacks.
    pub crossing: RawFd,
    /// Frames in the arena.
    pub frames: u32,
    /// Bytes in a frame.
    pub frame_size: u32,
    /// Stacks that may share the port.
    pub stacks: Slot,
    /// How the UMEM is bound.
    pub mode: UmemMode,
    /// The interfaces, at least one.
    pub interfaces: Vec<InterfaceParts>,
    /// Why it is as it is, in words for whoever asks; one line.
    pub why: String,
}

impl PortParts {
    /// Every descriptor, in an order that is always the same, to be read or renumbered.
    pub fn descriptors(&mut self) -> Vec<&mut RawFd> {
        let mut all = vec![&mut self.ledger, &mut self.crossing];
        for part in &mut self.interfaces {
            all.extend(part.steering.iter_mut().flat_map(SteeringFds::each));
            all.extend(&mut part.packet);
            all.extend(&mut part.taps);
            all.extend(part.sockets.iter_mut().map(|socket| &mut socket.fd));
        }
        all
    }

    /// Queues with sockets, of all interfaces together.
    pub(crate) fn queues(&self) -> usize {
        let of = |part: &InterfaceParts| {
            let first = part.sockets.first().map(|s| s.slot);
            part.sockets.iter().filter(|s| Some(s.slot) == first).count()
        };
        self.interfaces.iter().map(of).sum()
    }
}

/// One interface of a [`PortParts`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceParts {
    /// What is known of it.
    pub interface: Interface,
    /// Where its steering program runs.
    pub xdp: XdpMode,
    /// The steering program's descriptors, unless it runs nowhere.
    pub steering: Option<SteeringFds>,
    /// The socket that all stacks send superframes through, where there is one.
    pub packet: Option<RawFd>,
    /// Its sockets: one on every queue, for the first stack, and for the others unless those are made later
    /// ([`PortParts::open_slot`]).
    pub sockets: Vec<XskParts>,
    /// Where there are none: for each stack a queue of the device that hears for it.
    pub taps: Vec<RawFd>,
}

/// The text was not written by this version of [`PortParts`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseError;

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a description of a port by this version")
    }
}

impl std::error::Error for ParseError {}

const VERSION: &str = "xdp7";

impl fmt::Display for PortParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let m = &self.mode;
        write!(f, "{VERSION} {}:{}:{}:{}:", self.ledger, self.crossing, self.frames, self.frame_size)?;
        write!(
            f,
            "{}:{}:{}:{}",
            self.stacks,
            m.bind.name(),
            u8::from(m.multi_buffer),
            u8::from(m.tx_metadata)
        )?;
        for part in &self.interfaces {
            let i = &part.interface;
            let mac = i.mac.iter().fold(0u64, |a, b| a << 8 | u64::from(*b));
            write!(f, " if:{}:{}:{mac:x}:{}:{}", i.name, i.index, i.mtu, i.queues)?;
            write!(f, ":{}:{}", i.rx_ring, i.driver)?;
            write!(f, ":{}", part.xdp.name())?;
            part.steering.iter().flat_map(SteeringFds::all).try_for_each(|fd| write!(f, ":{fd}"))?;
            part.packet.iter().try_for_each(|fd| write!(f, " packet:{fd}"))?;
            part.taps.iter().try_for_each(|fd| write!(f, " tap:{fd}"))?;
            for x in &part.sockets {
                let r = &x.rings;
                write!(
                    f,
                    " xsk:{}:{}:{}:{}:{}:{}:{}",
                    x.fd, x.slot, x.queue, r.fill, r.completion, r.rx, r.tx
                )?;
            }
        }
        if self.why.is_empty() { Ok(()) } else { write!(f, "\n{}", self.why) }
    }
}

impl FromStr for PortParts {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        parse(text).ok_or(ParseError)
    }
}

fn parse(text: &str) -> Option<PortParts> {
    let (text, why) = text.split_once('\n').unwrap_or((text, ""));
    let mut words = text.split(' ');
    if words.next()? != VERSION {
        return None;
    }
    let mut head = words.next()?.split(':');
    let mut parts = PortParts {
        ledger: number(&mut head)?,
        crossing: number(&mut head)?,
        frames: number(&mut head)?,
        frame_size: number(&mut head)?,
        stacks: number(&mut head)?,
        mode: UmemMode {
            bind: [BindMode::ZeroCopy, BindMode::Copy]
                .into_iter()
                .find(named(head.next()?, BindMode::name))?,
            multi_buffer: number::<u8>(&mut head)? != 0,
            tx_metadata: number::<u8>(&mut head)? != 0,
        },
        interfaces: Vec::new(),
        why: why.to_owned(),
    };
    for word in words {
        let mut fields = word.split(':');
        match fields.next()? {
            "if" => parts.interfaces.push(interface(&mut fields)?),
            "packet" => parts.interfaces.last_mut()?.packet = Some(number(&mut fields)?),
            "tap" => parts.interfaces.last_mut()?.taps.push(number(&mut fields)?),
            "xsk" => parts.interfaces.last_mut()?.sockets.push(socket(&mut fields)?),
            _ => return None,
        }
    }
    let whole = !parts.interfaces.is_empty()
        && parts.interfaces.iter().all(|i| i.sockets.is_empty() != i.taps.is_empty())
        && parts.frame_size.is_power_of_two()
        && (1..=Options::STACKS).contains(&parts.stacks);
    whole.then_some(parts)
}

fn named<T: Copy>(word: &str, name: fn(T) -> &'static str) -> impl Fn(&T) -> bool {
    move |t| name(*t) == word
}

type Fields<'a> = std::str::Split<'a, char>;

fn number<T: FromStr>(fields: &mut Fields<'_>) -> Option<T> {
    fields.next()?.parse().ok()
}

fn interface(fields: &mut Fields<'_>) -> Option<InterfaceParts> {
    let name = fields.next()?.to_owned();
    let index = number(fields)?;
    let mac = u64::from_str_radix(fields.next()?, 16).ok()?.to_be_bytes();
    let interface = Interface {
        name,
        index,
        mac: [mac[2], mac[3], mac[4], mac[5], mac[6], mac[7]],
        mtu: number(fields)?,
        queues: number(fields)?,
        rx_ring: number(fields)?,
        driver: fields.next()?.to_owned(),
    };
    let xdp = XdpMode::ALL.into_iter().find(named(fields.next()?, XdpMode::name))?;
    Some(InterfaceParts {
        interface,
        xdp,
        steering: if xdp == XdpMode::Nowhere { None } else { Some(steering(fields)?) },
        packet: None,
        sockets: Vec::new(),
        taps: Vec::new(),
    })
}

fn steering(fields: &mut Fields<'_>) -> Option<SteeringFds> {
    Some(SteeringFds {
        link: number(fields)?,
        xsks: number(fields)?,
        flows: number(fields)?,
        ports: number(fields)?,
        counters: number(fields)?,
        directory: number(fields)?,
        groups: number(fields)?,
        config: number(fields)?,
        credits: number(fields)?,
        tagged: number(fields)?,
        guard: [number(fields)?, number(fields)?, number(fields)?, number(fields)?, number(fields)?],
    })
}

fn socket(fields: &mut Fields<'_>) -> Option<XskParts> {
    Some(XskParts {
        fd: number(fields)?,
        slot: number(fields)?,
        queue: number(fields)?,
        rings: RingSizes {
            fill: number(fields)?,
            completion: number(fields)?,
            rx: number(fields)?,
            tx: number(fields)?,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts() -> PortParts {
        let interface = |name: &str, queues: u32, packet| InterfaceParts {
            interface: Interface {
                name: name.into(),
                index: 7,
                mac: [2, 0, 0xff, 1, 0, 9],
                mtu: 1500,
                queues,
                rx_ring: 256,
                driver: "veth".into(),
            },
            xdp: XdpMode::Generic,
            steering: Some(SteeringFds {
                link: 900,
                xsks: 901,
                flows: 902,
                ports: 903,
                counters: 904,
                directory: 905,
                groups: 906,
                config: 907,
                credits: 908,
                tagged: 909,
                guard: [910, 911, 912, 913, 914],
            }),
            packet,
            sockets: (0..2 * queues)
                .map(|n| XskParts {
                    fd: 920 + n as RawFd,
                    slot: (n / queues) as u8,
                    queue: n % queues,
                    rings: RingSizes::default(),
                })
                .collect(),
            taps: Vec::new(),
        };
        PortParts {
            ledger: 800,
            crossing: 801,
            frames: 4096,
            frame_size: 2048,
            stacks: 2,
            mode: UmemMode { bind: BindMode::Copy, multi_buffer: true, tx_metadata: false },
            interfaces: vec![interface("veth0", 1, Some(915)), interface("eth-x.9", 2, None)],
            why: String::new(),
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        let text = parts().to_string();
        assert_eq!(text.parse(), Ok(parts()), "{text}");
        assert_eq!((parts().queues(), parts().stacks), (3, 2));
        assert!(text.starts_with(
            "xdp7 800:801:4096:2048:2:copy:1:0 if:veth0:7:200ff010009:1500:1:256:veth:generic:"
        ));
    }

    /// One of the kernel's receive path, and words.
    #[test]
    fn what_has_no_sockets_reads_back_too() {
        let mut parts = parts();
        for part in &mut parts.interfaces {
            part.xdp = XdpMode::Tc;
            part.packet = Some(930);
            part.taps = vec![931, 932, 933];
            part.sockets.clear();
        }
        parts.stacks = 3;
        parts.why = "auto: there was nothing else: veth0".into();
        let text = parts.to_string();
        assert_eq!(text.parse(), Ok(parts.clone()), "{text}");
        assert_eq!((parts.queues(), parts.descriptors().len()), (0, 2 + 2 * (15 + 1 + 3)));
        for part in &mut parts.interfaces {
            (part.xdp, part.steering, part.packet) = (XdpMode::Nowhere, None, None);
        }
        let text = parts.to_string();
        assert_eq!(text.parse(), Ok(parts.clone()), "{text}");
        assert_eq!((parts.queues(), parts.descriptors().len()), (0, 2 + 2 * 3));
        parts.interfaces[1].taps.clear();
        assert_eq!(parts.to_string().parse::<PortParts>(), Err(ParseError), "neither the one nor the other");
    }

    #[test]
    fn every_descriptor_can_get_another_number() {
        let mut parts = parts();
        let before: Vec<RawFd> = parts.descriptors().into_iter().map(|fd| *fd).collect();
        parts.descriptors().into_iter().for_each(|fd| *fd += 1000);
        let text = parts.to_string();
        let numbers: Vec<&str> = text.split([':', ' ']).collect();
        assert_eq!(before.len(), 2 + 2 * 15 + 1 + 6);
        assert!(before.iter().all(|fd| numbers.contains(&(fd + 1000).to_string().as_str())), "{text}");
    }

    #[test]
    fn anything_else_is_refused() {
        let text = parts().to_string();
        for cut in 0..text.rfind(' ').unwrap() {
            let read = text[..cut].parse::<PortParts>();
            // A cut may fall behind a whole socket, or inside a number of the last one.
            assert!(read.is_err() || read != Ok(parts()), "cut at {cut}");
        }
        for bad in [
            "",
            "xdp7",
            "xdp6 1:2:3:4:copy:0:0",
            "xdp7 800:801:4096:2048:2:copy:1:0",
            "xdp7 x",
            &text.replace("2048:2:", "2048:0:"),
        ] {
            assert_eq!(bad.parse::<PortParts>(), Err(ParseError), "{bad}");
        }
    }
}
