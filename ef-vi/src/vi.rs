//! A virtual interface and what it hangs on: the driver's handle, a protection domain, registered memory, a region for
//! PIO. The only file of this room that holds `unsafe`.

use std::ffi::{CStr, CString};
use std::fmt;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::ptr::{self, NonNull};

use ef_vi_sys as sys;
use nic::{Arena, FrameIndex};

use crate::event::{Event, meaning};
use crate::options::{Filter, Options, Small};
use crate::{Error, Step};

/// Events that one poll takes.
pub(crate) const EVENTS: usize = 64;
/// Descriptors that are posted at a time: adapters take no fewer.
pub(crate) const POSTED_AT_A_TIME: usize = 8;
/// The longest frame that is sent by CTPIO or PIO, in bytes: beyond that the copy costs more than it saves.
const SMALL_FRAME: usize = 512;
/// What PIO wants at least.
const PIO_SHORTEST: usize = 16;
/// DMA addresses go on from byte to byte in a page of the adapter's, and no further.
const PAGE: u32 = 4096;

/// How the adapter sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// By DMA, from descriptors that are pushed.
    Dma,
    /// The same, and small frames by CTPIO.
    Ctpio,
    /// The same, and small frames by PIO, up to so many bytes.
    Pio(usize),
    /// Through its FIFO, at once.
    Fifo,
}

/// What the library fills in and keeps pointers to: it stays where it is.
#[derive(Default)]
struct Parts {
    vi: sys::ef_vi,
    pd: sys::ef_pd,
    memory: sys::ef_memreg,
    pio: sys::ef_pio,
}

/// How far opening came: what is to be undone, in this order.
#[derive(Clone, Copy, Debug, Default)]
struct Made {
    pio_link: bool,
    vi: bool,
    pio: bool,
    memory: bool,
    pd: bool,
    driver: bool,
}

/// What identifies a filter to the adapter.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cookie(sys::ef_filter_cookie);

pub(crate) struct Vi {
    parts: NonNull<Parts>,
    handle: sys::ef_driver_handle,
    made: Made,
    way: Way,
    superbuffers: bool,
    prefix: usize,
    /// The frames' memory, in a mapping of its own: the adapter writes to it until it is closed.
    arena: Arena,
    /// The adapter's address of each frame.
    addresses: Box<[sys::ef_addr]>,
    /// Descriptors that are initialised and not pushed.
    unpushed: u32,
    events: Box<[sys::ef_event]>,
    decoded: Box<[sys::ringroad_ef_event]>,
    sent: [sys::ef_request_id; sys::EF_VI_TRANSMIT_BATCH as usize],
    ciul: sys::Ciul,
}

// SAFETY: nothing that the library made is bound to a thread; `Vi` is the only one that has it, and is no `Sync`.
unsafe impl Send for Vi {}

impl fmt::Debug for Vi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vi")
            .field("way", &self.way)
            .field("superbuffers", &self.superbuffers)
            .finish_non_exhaustive()
    }
}

/// What a call of the library says, 0 or more if all is well.
fn check(step: Step, said: i32) -> Result<i32, Error> {
    if said >= 0 { Ok(said) } else { Err(Error::new(step, io::Error::from_raw_os_error(-said))) }
}

/// The same memory, mapped once more.
fn again(arena: &Arena) -> io::Result<Arena> {
    let (file, base) = arena.file();
    Arena::from_file(File::from(file.try_clone_to_owned()?), base as u64, arena.frames(), arena.frame_size())
}

fn slots(ring: Option<u16>) -> i32 {
    ring.map_or(-1, i32::from)
}

impl Vi {
    /// Opens the adapter of `interface` for frames of the arena.
    pub(crate) fn open(interface: &str, arena: &Arena, options: &Options) -> Result<Self, Error> {
        let about = |error: Error| error.on(interface);
        if arena.frame_size() > PAGE {
            let reason = format!("frames of {} bytes", arena.frame_size());
            return Err(Error::found(Step::Memory, reason, "frames of 4096 bytes at most").on(interface));
        }
        let ciul = sys::open(options.library.as_deref()).map_err(|error| {
            let advice = "install the release that this was built with, or build again with its headers";
            Error::found(Step::Library, error.to_string(), advice).on(interface)
        })?;
        let arena = again(arena).map_err(|error| Error::new(Step::Memory, error).on(interface))?;
        let mut vi = Self {
            parts: NonNull::from(Box::leak(Box::default())),
            handle: -1,
            made: Made::default(),
            way: Way::Dma,
            superbuffers: false,
            prefix: 0,
            arena,
            addresses: Box::default(),
            unpushed: 0,
            events: vec![sys::ef_event::default(); EVENTS].into(),
            decoded: vec![sys::ringroad_ef_event::default(); EVENTS].into(),
            sent: [0; sys::EF_VI_TRANSMIT_BATCH as usize],
            ciul,
        };
        vi.open_driver(options.lowest_fd).map_err(about)?;
        vi.open_domain(interface).map_err(about)?;
        vi.allocate(options).map_err(about)?;
        vi.register().map_err(about)?;
        Ok(vi)
    }

    /// Opens the driver. Its handle is a descriptor: nothing knows its number before it is used.
    fn open_driver(&mut self, lowest: Option<RawFd>) -> Result<(), Error> {
        // SAFETY: the handle is a field of ours, which the call fills.
        check(Step::Driver, unsafe { self.ciul.ef_driver_open(&mut self.handle) })?;
        self.made.driver = true;
        if let Some(lowest) = lowest {
            // SAFETY: the handle is an open descriptor, and ours.
            let high = unsafe { libc::fcntl(self.handle, libc::F_DUPFD_CLOEXEC, lowest) };
            // Where there is no such number left it stays where it is.
            if high >= 0 {
                // SAFETY: it is open under its new number, and nothing was made with the old one.
                unsafe { self.ciul.ef_driver_close(self.handle) };
                self.handle = high;
            }
        }
        Ok(())
    }

    fn open_domain(&mut self, interface: &str) -> Result<(), Error> {
        let name = CString::new(interface)
            .map_err(|_| Error::found(Step::Domain, "its name has a byte of zero", ""))?;
        let (pd, flags) = (self.pd(), sys::ef_pd_flags_EF_PD_DEFAULT);
        // SAFETY: `pd` is ours and stays where it is until it is freed; the name ends with a zero.
        let said = unsafe { self.ciul.ef_pd_alloc_by_name(pd, self.handle, name.as_ptr(), flags) };
        check(Step::Domain, said)?;
        self.made.pd = true;
        Ok(())
    }

    fn allocate(&mut self, options: &Options) -> Result<(), Error> {
        if self.capability(sys::ef_vi_capability_EF_VI_CAP_RX_FORCE_EVENT_MERGING) > 0 {
            let advice = "choose another firmware variant: sfboot event-merge-timeout, or firmware-variant=full-feature";
            return Err(Error::found(Step::Vi, "the adapter merges receive events", advice));
        }
        let wants_ctpio =
            options.small == Small::Auto && self.capability(sys::ef_vi_capability_EF_VI_CAP_CTPIO) > 0;
        let ctpio = sys::ef_vi_flags_EF_VI_TX_CTPIO | sys::ef_vi_flags_EF_VI_TX_CTPIO_NO_POISON;
        // Frames go as they are: what the stack calls complete is, and CTPIO and X3 finish none.
        let as_they_are = sys::ef_vi_flags_EF_VI_TX_IP_CSUM_DIS | sys::ef_vi_flags_EF_VI_TX_TCPUDP_CSUM_DIS;
        let flags = as_they_are | if wants_ctpio { ctpio } else { 0 };
        let (vi, pd, handle) = (self.vi(), self.pd(), self.handle);
        let (rx, tx) = (slots(options.rx_ring), slots(options.tx_ring));
        // SAFETY: `vi` is ours and stays where it is until it is freed; the domain is allocated with this handle.
        let said = unsafe {
            self.ciul.ef_vi_alloc_from_pd(vi, handle, pd, handle, -1, rx, tx, ptr::null_mut(), -1, flags)
        };
        check(Step::Vi, said)?;
        self.made.vi = true;
        // SAFETY: the virtual interface is allocated.
        self.superbuffers = unsafe { sys::ringroad_ef_has_superbuffers(vi) } != 0;
        // SAFETY: as above.
        self.prefix = unsafe { sys::ringroad_ef_receive_prefix_len(vi) }.max(0) as usize;
        self.way = match () {
            () if self.superbuffers => Way::Fifo,
            () if wants_ctpio => Way::Ctpio,
            () if options.small == Small::Auto => self.link_pio().map_or(Way::Dma, Way::Pio),
            () => Way::Dma,
        };
        Ok(())
    }

    /// A region for PIO, if there is one to be had; its bytes.
    fn link_pio(&mut self) -> Option<usize> {
        let bytes = self.capability(sys::ef_vi_capability_EF_VI_CAP_PIO_BUFFER_SIZE);
        if self.capability(sys::ef_vi_capability_EF_VI_CAP_PIO) == 0 || bytes == 0 {
            return None;
        }
        let (vi, pd, pio, handle) = (self.vi(), self.pd(), self.pio(), self.handle);
        // SAFETY: `pio` is ours and stays where it is until it is freed; the domain is allocated with this handle.
        let said = unsafe { self.ciul.ef_pio_alloc(pio, handle, pd, bytes as u32, handle) };
        self.made.pio = said >= 0;
        if !self.made.pio {
            return None;
        }
        // SAFETY: both are allocated with this handle, and neither is linked.
        self.made.pio_link = unsafe { self.ciul.ef_pio_link_vi(pio, handle, vi, handle) } >= 0;
        self.made.pio_link.then_some((bytes as usize).min(SMALL_FRAME))
    }

    fn register(&mut self) -> Result<(), Error> {
        let (memory, pd, handle) = (self.memory(), self.pd(), self.handle);
        let arena = &self.arena;
        let base = arena.as_mut_ptr().cast();
        // SAFETY: the arena is a mapping of that length and begins at a page; it goes after what `drop` frees.
        let said = unsafe { self.ciul.ef_memreg_alloc(memory, handle, pd, handle, base, arena.len()) };
        check(Step::Memory, said)?;
        self.made.memory = true;
        let size = arena.frame_size() as usize;
        // SAFETY: every frame begins in the memory that was registered.
        let address = |frame: u32| unsafe { sys::ringroad_ef_dma_addr(memory, frame as usize * size) };
        self.addresses = (0..arena.frames()).map(address).collect();
        if !self.superbuffers {
            // SAFETY: the virtual interface is allocated; its buffers are whole frames from now on.
            unsafe { sys::ringroad_ef_receive_set_buffer_len(self.vi(), arena.frame_size()) };
        }
        Ok(())
    }

    /// What the adapter has of something; 0 when it has none.
    fn capability(&self, which: sys::ef_vi_capability) -> u64 {
        let pd = self.pd();
        // SAFETY: the domain is allocated; the name ends with a zero and lives as long as it.
        let name = unsafe { self.ciul.ef_pd_interface_name(pd) };
        if name.is_null() {
            return 0;
        }
        // SAFETY: as above.
        let name = unsafe { CStr::from_ptr(name) };
        // SAFETY: the name ends with a zero.
        let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
        let mut value = 0;
        // SAFETY: the value is a variable of ours, which the call fills.
        let said = unsafe { self.ciul.ef_vi_capabilities_get(self.handle, index as i32, which, &mut value) };
        if said == 0 { value } else { 0 }
    }

    fn parts(&self) -> *mut Parts {
        self.parts.as_ptr()
    }

    fn vi(&self) -> *mut sys::ef_vi {
        // SAFETY: the address of a field of what lives as long as `self`.
        unsafe { &raw mut (*self.parts()).vi }
    }

    fn pd(&self) -> *mut sys::ef_pd {
        // SAFETY: the address of a field of what lives as long as `self`.
        unsafe { &raw mut (*self.parts()).pd }
    }

    fn memory(&self) -> *mut sys::ef_memreg {
        // SAFETY: the address of a field of what lives as long as `self`.
        unsafe { &raw mut (*self.parts()).memory }
    }

    fn pio(&self) -> *mut sys::ef_pio {
        // SAFETY: the address of a field of what lives as long as `self`.
        unsafe { &raw mut (*self.parts()).pio }
    }

    /// Whether frames are received into superbuffers, and not into posted frames.
    pub(crate) fn has_superbuffers(&self) -> bool {
        self.superbuffers
    }

    /// Where a frame begins in what was posted for it.
    pub(crate) fn prefix(&self) -> usize {
        self.prefix
    }

    /// Slots of the receive ring that can be in use.
    pub(crate) fn rx_capacity(&self) -> usize {
        // SAFETY: the virtual interface is allocated.
        unsafe { sys::ringroad_ef_receive_capacity(self.vi()) }.max(0) as usize
    }

    /// Slots of the transmit ring that can be in use.
    pub(crate) fn tx_capacity(&self) -> usize {
        // SAFETY: the virtual interface is allocated.
        unsafe { sys::ringroad_ef_transmit_capacity(self.vi()) }.max(0) as usize
    }

    /// The longest frame on the wire, link header included.
    pub(crate) fn mtu(&self) -> usize {
        // SAFETY: the virtual interface is allocated with this handle.
        unsafe { self.ciul.ef_vi_mtu(self.vi(), self.handle) as usize }
    }

    /// The link address.
    pub(crate) fn mac(&self) -> Result<[u8; 6], Error> {
        let mut mac = [0; 6];
        // SAFETY: the virtual interface is allocated with this handle; the six bytes are ours.
        let said = unsafe { self.ciul.ef_vi_get_mac(self.vi(), self.handle, mac.as_mut_ptr().cast()) };
        check(Step::Vi, said).map(|_| mac)
    }

    /// What becomes readable when there are events, once after each [`Vi::prime`].
    pub(crate) fn fd(&self) -> RawFd {
        self.handle
    }

    /// Makes the descriptor readable when there are events that were not polled.
    pub(crate) fn prime(&self) {
        // SAFETY: the virtual interface is allocated.
        let current = unsafe { sys::ringroad_ef_current(self.vi()) };
        // SAFETY: as above, with this handle. What it says is of no use: a sleeper has other reasons to wake.
        unsafe { self.ciul.ef_vi_prime(self.vi(), self.handle, current) };
    }

    /// Whether so many frames can be posted.
    pub(crate) fn has_room_to_post(&self, frames: usize) -> bool {
        // SAFETY: the virtual interface is allocated.
        let space = unsafe { sys::ringroad_ef_receive_space(self.vi()) };
        usize::try_from(space).is_ok_and(|space| space >= frames)
    }

    /// Posts a frame, which is the adapter's from then on; the adapter hears of it by [`Vi::push_posted`].
    pub(crate) fn post(&mut self, frame: FrameIndex) {
        let address = self.addresses[frame as usize];
        // SAFETY: the virtual interface is allocated, and the address is that of a registered frame.
        let said = unsafe { sys::ringroad_ef_receive_init(self.vi(), address, frame as i32) };
        assert!(said == 0, "frame {frame} is posted to a full ring");
    }

    /// Tells the adapter of what was posted, [`POSTED_AT_A_TIME`] frames at a time.
    pub(crate) fn push_posted(&mut self) {
        // SAFETY: the virtual interface is allocated.
        unsafe { sys::ringroad_ef_receive_push(self.vi()) };
    }

    /// Whether a frame of this length is sent at once, by CTPIO or PIO, if nothing else is under way.
    pub(crate) fn is_small(&self, len: usize) -> bool {
        match self.way {
            Way::Ctpio => len <= SMALL_FRAME,
            Way::Pio(most) => (PIO_SHORTEST..=most).contains(&len),
            Way::Dma | Way::Fifo => false,
        }
    }

    /// Sends a small frame at once. Not while another is under way: it would be overtaken, or its bytes overwritten.
    /// False when there is no room.
    pub(crate) fn send_small(&mut self, frame: FrameIndex, offset: usize, bytes: &[u8]) -> bool {
        let (vi, id, from) = (self.vi(), frame as i32, bytes.as_ptr().cast());
        let said = if let Way::Pio(_) = self.way {
            // SAFETY: the region is linked and nothing is sent from it; the bytes are read before the call returns.
            unsafe { sys::ringroad_ef_transmit_copy_pio(vi, 0, from, bytes.len() as i32, id) }
        } else {
            let address = self.addresses[frame as usize] + offset as u64;
            // SAFETY: the bytes are read before the call returns; those at the address are the same, and lent.
            unsafe { sys::ringroad_ef_transmit_ctpio(vi, from, address, bytes.len(), id) }
        };
        said == 0
    }

    /// Queues a frame; most adapters hear of it by [`Vi::push`]. False when there is no room.
    pub(crate) fn send(&mut self, frame: FrameIndex, offset: usize, len: usize) -> bool {
        let (address, id) = (self.addresses[frame as usize] + offset as u64, frame as i32);
        if self.way == Way::Fifo {
            // SAFETY: the virtual interface is allocated; the bytes are registered, and lent.
            return unsafe { sys::ringroad_ef_transmit(self.vi(), address, len as i32, id) } == 0;
        }
        // SAFETY: as above.
        let taken = unsafe { self.ciul.ef_vi_transmit_init(self.vi(), address, len as i32, id) } == 0;
        self.unpushed += u32::from(taken);
        taken
    }

    /// Tells the adapter of what was queued.
    pub(crate) fn push(&mut self) {
        if self.unpushed > 0 {
            self.unpushed = 0;
            // SAFETY: the virtual interface is allocated, and there are descriptors that were not pushed.
            unsafe { sys::ringroad_ef_transmit_push(self.vi()) };
        }
    }

    /// Takes what the adapter has to tell, up to [`EVENTS`] events. Says whether there may be more.
    pub(crate) fn poll(&mut self, mut each: impl FnMut(Event)) -> bool {
        let (events, decoded) = (self.events.as_mut_ptr(), self.decoded.as_mut_ptr());
        // SAFETY: the virtual interface is allocated, and both arrays are that long.
        let count = unsafe { sys::ringroad_ef_poll(self.vi(), events, decoded, EVENTS as i32) };
        let count = usize::try_from(count).unwrap_or(0).min(EVENTS);
        for at in 0..count {
            let told = self.decoded[at];
            match told.kind {
                sys::ringroad_ef_kind_RINGROAD_EF_TX | sys::ringroad_ef_kind_RINGROAD_EF_TX_ERROR => {
                    self.unbundle(at, &mut each);
                }
                _ => each(meaning(&told)),
            }
        }
        count == EVENTS
    }

    /// The frames of an event of transmission.
    fn unbundle(&mut self, at: usize, each: &mut impl FnMut(Event)) {
        let told = self.decoded[at];
        let (vi, ids) = (self.vi(), self.sent.as_mut_ptr());
        let event: *const sys::ef_event = &self.events[at];
        // SAFETY: the event is of this virtual interface, and is unbundled once; there is room for a whole batch.
        let count = unsafe { self.ciul.ef_vi_transmit_unbundle(vi, event, ids) };
        let failed = told.kind == sys::ringroad_ef_kind_RINGROAD_EF_TX_ERROR;
        for id in self.sent.iter().take(count.max(0) as usize) {
            each(Event::Sent { frame: *id as FrameIndex, ctpio: told.ctpio != 0, failed });
        }
    }

    /// Gives the bytes of a frame in a superbuffer to `read`, then lets go of it.
    pub(crate) fn take_held(&mut self, packet: u32, len: usize, read: impl FnOnce(&[u8])) {
        // SAFETY: the packet came with an event of this virtual interface and was not released.
        let bytes = unsafe { self.ciul.efct_vi_rxpkt_get(self.vi(), packet) };
        // SAFETY: the event said that so many bytes are there, and they stay until it is released.
        read(unsafe { std::slice::from_raw_parts(bytes.cast(), len) });
        // SAFETY: as the first; it is not used any more.
        unsafe { self.ciul.efct_vi_rxpkt_release(self.vi(), packet) };
    }

    /// Leads what matches here.
    pub(crate) fn add_filter(&mut self, filter: Filter) -> Result<Cookie, Error> {
        let mut spec = sys::ef_filter_spec::default();
        // SAFETY: the specification is ours, and the call fills it.
        unsafe { self.ciul.ef_filter_spec_init(&mut spec, sys::ef_filter_flags_EF_FILTER_FLAG_NONE) };
        check(Step::Filter, self.specify(&mut spec, filter)?)?;
        let mut cookie = Cookie::default();
        // SAFETY: the virtual interface is allocated with this handle; specification and cookie are ours.
        let said = unsafe { self.ciul.ef_vi_filter_add(self.vi(), self.handle, &spec, &mut cookie.0) };
        check(Step::Filter, said)?;
        Ok(cookie)
    }

    fn specify(&self, spec: &mut sys::ef_filter_spec, filter: Filter) -> Result<i32, Error> {
        let protocol = i32::from(filter.protocol);
        let port = |at: SocketAddr| i32::from(at.port().to_be());
        Ok(match (filter.local, filter.remote) {
            (SocketAddr::V4(l), remote) if remote.is_none_or(|r| r.is_ipv4()) => {
                let host = u32::from(*l.ip()).to_be();
                if let Some(SocketAddr::V4(r)) = remote {
                    let (rhost, rport) = (u32::from(*r.ip()).to_be(), port(r.into()));
                    // SAFETY: the specification is ours and initialised.
                    unsafe {
                        self.ciul.ef_filter_spec_set_ip4_full(
                            spec,
                            protocol,
                            host,
                            port(l.into()),
                            rhost,
                            rport,
                        )
                    }
                } else {
                    // SAFETY: as above.
                    unsafe { self.ciul.ef_filter_spec_set_ip4_local(spec, protocol, host, port(l.into())) }
                }
            }
            (SocketAddr::V6(l), remote) if remote.is_none_or(|r| r.is_ipv6()) => {
                let host = l.ip().octets();
                let address = |octets: &[u8; 16]| octets.as_ptr().cast();
                if let Some(SocketAddr::V6(r)) = remote {
                    let (rhost, rport) = (r.ip().octets(), port(r.into()));
                    let (here, there) = (address(&host), address(&rhost));
                    // SAFETY: as above; the addresses are read before the call returns.
                    unsafe {
                        self.ciul.ef_filter_spec_set_ip6_full(
                            spec,
                            protocol,
                            here,
                            port(l.into()),
                            there,
                            rport,
                        )
                    }
                } else {
                    // SAFETY: as above.
                    unsafe {
                        self.ciul.ef_filter_spec_set_ip6_local(spec, protocol, address(&host), port(l.into()))
                    }
                }
            }
            _ => return Err(Error::found(Step::Filter, "its ends are of two families", "")),
        })
    }

    /// Leaves what matches to the kernel again.
    pub(crate) fn remove_filter(&mut self, mut cookie: Cookie) -> Result<(), Error> {
        // SAFETY: the virtual interface is allocated with this handle, and the cookie is of it.
        let said = unsafe { self.ciul.ef_vi_filter_del(self.vi(), self.handle, &mut cookie.0) };
        check(Step::Filter, said).map(|_| ())
    }
}

impl Drop for Vi {
    fn drop(&mut self) {
        let (vi, pd, pio, memory) = (self.vi(), self.pd(), self.pio(), self.memory());
        let (made, handle) = (self.made, self.handle);
        if made.pio_link {
            // SAFETY: they are linked. What this and the following calls say changes nothing.
            unsafe { self.ciul.ef_pio_unlink_vi(pio, handle, vi, handle) };
        }
        if made.vi {
            // SAFETY: it is allocated, and nothing is linked to it any more.
            unsafe { self.ciul.ef_vi_free(vi, handle) };
        }
        if made.pio {
            // SAFETY: it is allocated and not linked.
            unsafe { self.ciul.ef_pio_free(pio, handle) };
        }
        if made.memory {
            // SAFETY: it is registered, and the virtual interface that reached it is gone.
            unsafe { self.ciul.ef_memreg_free(memory, handle) };
        }
        if made.pd {
            // SAFETY: it is allocated, and nothing that was allocated from it is left.
            unsafe { self.ciul.ef_pd_free(pd, handle) };
        }
        if made.driver {
            // SAFETY: it is open, and nothing needs it any more.
            unsafe { self.ciul.ef_driver_close(handle) };
        }
        // SAFETY: it came from a box, and nobody else has it.
        drop(unsafe { Box::from_raw(self.parts()) });
    }
}
