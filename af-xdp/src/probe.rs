//! Which bind mode works: tried in order of preference, each down to a frame that is really sent.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use nic::{Doorbell, Nic, Pool, TxChecksum};

use crate::driver::{Common, XskNic};
use crate::error::{At, SetupError, Step};
use crate::interface::Interface;
use crate::ledger::{Holder, Ledger};
use crate::port::{Options, too_wide};
use crate::socket::{BindMode, Place, UmemMode, XskSocket};
use crate::steer::XdpMode;
use crate::stock::leaves_half;

/// How long a first frame may take to be sent. A NIC that has just been reset takes its time.
const FIRST_FRAME: Duration = Duration::from_millis(200);
const PAUSE: Duration = Duration::from_millis(1);

/// To the nearest bridge (IEEE 802.1Q 8.6.3: never forwarded), of the EtherType for local experiments: no one
/// will take it for theirs.
const NEAREST_BRIDGE: [u8; 6] = [0x01, 0x80, 0xc2, 0x00, 0x00, 0x0e];
const LOCAL_EXPERIMENT: [u8; 2] = [0x88, 0xb5];
const FRAME: usize = 60;
const HEADER: u16 = 14;

/// Why zero-copy is not to be tried, on interfaces that may have queues which only the program brought.
pub(crate) fn obstacle(
    frames: u32,
    interfaces: &[Interface],
    native: bool,
    brought: bool,
) -> Option<&'static str> {
    if !native {
        return Some("zero-copy needs native XDP on every interface");
    }
    if brought {
        return Some("zero-copy needs a channel for every queue: ethtool -L");
    }
    let rings = interfaces.iter().map(|i| (i.queues, i.rx_ring));
    (!leaves_half(frames, rings))
        .then_some("the NICs' own rings would take most frames: ethtool -G, or more frames")
}

/// Zero-copy before copy, long frames before short ones, checksums left to the kernel where it takes them. `wide`: frames
/// that are longer than a chunk are to be expected.
fn plans(options: &Options, zero_copy: bool, wide: bool) -> impl Iterator<Item = UmemMode> {
    let zero_copy = zero_copy && options.bind != Some(BindMode::Copy);
    let copy = options.bind != Some(BindMode::ZeroCopy);
    let long = options.multi_buffer;
    [
        (zero_copy, BindMode::ZeroCopy, true, false),
        (zero_copy, BindMode::ZeroCopy, false, false),
        (copy, BindMode::Copy, true, true),
        (copy, BindMode::Copy, true, false),
        (copy, BindMode::Copy, false, true),
        (copy, BindMode::Copy, false, false),
    ]
    .into_iter()
    .filter(move |(wanted, _, multi_buffer, _)| *wanted && (if *multi_buffer { long } else { !wide }))
    .map(|(_, bind, multi_buffer, tx_metadata)| UmemMode { bind, multi_buffer, tx_metadata })
}

/// Errors that no other mode can mend.
fn is_final(error: &SetupError) -> bool {
    matches!(error.step, Step::Socket | Step::Interface)
        || matches!(error.errno(), libc::EPERM | libc::EBUSY | libc::ENETDOWN | libc::ENODEV | libc::ENOMEM)
        || (error.step == Step::Umem && error.errno() == libc::ENOBUFS)
}

/// Binds every queue of every interface in the best mode that all of them can do: the UMEM has one. An obstacle rules
/// zero-copy out.
pub(crate) fn bind_best(
    pool: &mut Pool,
    interfaces: &[Interface],
    xdp: &[XdpMode],
    options: &Options,
    obstacle: Option<&'static str>,
) -> Result<(Vec<XskNic>, Arc<Ledger>, UmemMode), SetupError> {
    let frame_size = pool.arena().frame_size();
    let wide = interfaces.iter().find(|interface| interface.is_wide(frame_size));
    let mut last = SetupError::found(Step::Bind, libc::EOPNOTSUPP, obstacle.unwrap_or_default());
    for mode in plans(options, obstacle.is_none(), wide.is_some()) {
        match attempt(pool, interfaces, xdp, options, mode) {
            Ok((nics, ledger)) => return Ok((nics, ledger, mode)),
            Err(e) if is_final(&e) => return Err(e),
            Err(e) => last = e,
        }
    }
    Err(wide.map_or(last, |interface| too_wide(interface, frame_size)))
}

fn attempt(
    pool: &mut Pool,
    interfaces: &[Interface],
    xdp: &[XdpMode],
    options: &Options,
    mode: UmemMode,
) -> Result<(Vec<XskNic>, Arc<Ledger>), SetupError> {
    let queues = interfaces.iter().map(|i| i.queues as usize).sum();
    let ledger = Arc::new(Ledger::new(pool.frames(), queues).at(Step::Umem)?);
    let (frames, frame_size) = (pool.frames(), pool.arena().frame_size());
    let common = Common { ledger: Arc::clone(&ledger), slot: 0, frames, frame_size };
    let mut number = 0;
    let mut nics: Vec<XskNic> = Vec::new();
    for (interface, xdp) in interfaces.iter().zip(xdp) {
        let mut sockets: Vec<XskSocket> = Vec::new();
        for queue in 0..interface.queues {
            let place = Place { interface: interface.index, queue };
            let first = nics.first().and_then(|n| n.queues.first()).map(|q| &q.socket).or(sockets.first());
            let socket = match first {
                None => XskSocket::first(pool.arena(), place, options.rings, mode),
                Some(first) => XskSocket::sharing(first, place, mode),
            };
            sockets.push(socket.map_err(|e| e.on(&interface.name))?);
        }
        let agrees = sockets.iter().all(|s| s.is_zero_copy() == (mode.bind == BindMode::ZeroCopy));
        if !agrees {
            let advice = "the driver bound another mode than was asked for";
            return Err(SetupError::found(Step::Bind, libc::EOPNOTSUPP, advice).on(&interface.name));
        }
        nics.push(XskNic::new((interface.clone(), number), *xdp, mode, sockets, &common));
        number += interface.queues as usize;
    }
    for nic in &mut nics {
        send_one(pool, nic, &ledger).map_err(|e| e.on(&nic.interface().name))?;
    }
    Ok((nics, ledger))
}

/// Sends one frame and waits until it has been.
fn send_one(pool: &mut Pool, nic: &mut XskNic, ledger: &Ledger) -> Result<(), SetupError> {
    let mac = nic.interface().mac;
    let failed = |errno| SetupError::found(Step::Probe, errno, "");
    let mut pkt = pool.alloc().ok_or_else(|| failed(libc::ENOBUFS))?;
    let frame = pkt.frame();
    let written = pool.append_with(&mut pkt, FRAME, |bytes| {
        bytes.fill(0);
        bytes[..6].copy_from_slice(&NEAREST_BRIDGE);
        bytes[6..12].copy_from_slice(&mac);
        bytes[12..14].copy_from_slice(&LOCAL_EXPERIMENT);
        Ok::<usize, ()>(bytes.len())
    });
    debug_assert_eq!(written, Some(Ok(FRAME)));
    let checksum = match nic.caps().tx_checksum {
        true => TxChecksum::Partial { start: HEADER, offset: 0 },
        false => TxChecksum::Complete,
    };
    let loan = pool.give(pkt, 0, checksum);
    if let Err(loan) = nic.tx(pool, loan) {
        pool.take_back(loan);
        return Err(failed(libc::ENOBUFS));
    }
    let until = Instant::now() + FIRST_FRAME;
    while ledger.get(frame).holder() == Holder::Sending {
        if Instant::now() >= until {
            // In copy mode nothing but the ring, which goes with its socket, knows of the frame. A NIC may
            // read it yet: then it stays given away.
            if nic.umem_mode().bind == BindMode::Copy {
                pool.returned(frame);
            }
            return Err(failed(libc::ETIMEDOUT));
        }
        if nic.kick(pool) == Doorbell::Quiet && nic.counters().kicks_down > 0 {
            pool.returned(frame);
            return Err(SetupError::new(Step::Probe, std::io::Error::from_raw_os_error(libc::ENETDOWN)));
        }
        if ledger.get(frame).holder() == Holder::Sending {
            thread::sleep(PAUSE);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(options: &Options, native: bool) -> Vec<(&'static str, bool, bool)> {
        plans(options, native, false).map(|m| (m.bind.name(), m.multi_buffer, m.tx_metadata)).collect()
    }

    #[test]
    fn zero_copy_is_tried_first_and_only_with_a_native_program() {
        let all = names(&Options::default(), true);
        assert_eq!(all.len(), 6);
        assert_eq!(all[0], ("zerocopy", true, false));
        assert_eq!(all[5], ("copy", false, false));
        assert_eq!(names(&Options::default(), false), all[2..]);
    }

    #[test]
    fn wishes_narrow_the_choice() {
        let copy = Options { bind: Some(BindMode::Copy), multi_buffer: false, ..Options::default() };
        assert_eq!(names(&copy, true), [("copy", false, true), ("copy", false, false)]);
        let zero = Options { bind: Some(BindMode::ZeroCopy), ..Options::default() };
        assert_eq!(names(&zero, false), []);
    }

    #[test]
    fn where_frames_are_longer_than_a_chunk_they_have_to_come_in_parts() {
        let all = |options: &Options| plans(options, true, true).map(|m| m.multi_buffer).collect::<Vec<_>>();
        assert_eq!(all(&Options::default()), [true; 3]);
        assert_eq!(all(&Options { multi_buffer: false, ..Options::default() }), []);
    }

    #[test]
    fn a_busy_queue_is_no_question_of_mode() {
        let error = |step, errno| SetupError::new(step, std::io::Error::from_raw_os_error(errno));
        assert!(is_final(&error(Step::Bind, libc::EBUSY)));
        assert!(is_final(&error(Step::Umem, libc::ENOBUFS)));
        assert!(!is_final(&error(Step::Umem, libc::EINVAL)));
        assert!(!is_final(&error(Step::Bind, libc::EOPNOTSUPP)));
    }
}
