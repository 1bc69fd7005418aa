//! The calls of `glue/glue.c`, made safe: there is one lwIP in a process, whoever has it holds a lock.

use std::ffi::c_void;
use std::net::Ipv4Addr;
use std::ptr::NonNull;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::{Absent, Id, Site, Status};

mod c {
    use std::ffi::c_void;

    unsafe extern "C" {
        pub(super) fn rr_lwip_open(
            mac: *const u8,
            address: u32,
            mask: u32,
            gateway: u32,
            gateway_mac: *const u8,
        );
        pub(super) safe fn rr_lwip_close();
        pub(super) safe fn rr_lwip_listen(port: u16) -> i32;
        pub(super) safe fn rr_lwip_accept() -> i32;
        pub(super) safe fn rr_lwip_connect(address: u32, port: u16, own_port: u16) -> i32;
        pub(super) fn rr_lwip_state(slot: u32) -> u8;
        pub(super) fn rr_lwip_send(slot: u32, bytes: *const u8, len: u32) -> u32;
        pub(super) fn rr_lwip_recv(slot: u32, bytes: *mut u8, room: u32) -> u32;
        pub(super) fn rr_lwip_finish(slot: u32);
        pub(super) fn rr_lwip_forget(slot: u32);
        pub(super) fn rr_lwip_frame(bytes: *const u8, len: u16) -> *mut c_void;
        pub(super) fn rr_lwip_input(frame: *mut c_void);
        pub(super) fn rr_lwip_output(bytes: *mut u8, room: u32) -> u32;
        pub(super) safe fn rr_lwip_waiting() -> u32;
        pub(super) safe fn rr_lwip_time(ms: u32);
        pub(super) safe fn rr_lwip_pcb_size() -> u32;
    }
}

/// Whose lwIP it is: all its state is in C globals.
static ONE: Mutex<()> = Mutex::new(());

/// A frame on its way in, as a driver holds it.
#[derive(Debug)]
pub struct Frame(NonNull<c_void>);

/// lwIP.
#[derive(Debug)]
pub struct Lwip {
    _one: MutexGuard<'static, ()>,
}

fn network_order(address: Ipv4Addr) -> u32 {
    u32::from_ne_bytes(address.octets())
}

impl Lwip {
    /// An lwIP with one interface. Waits until nobody else has it.
    ///
    /// # Errors
    /// [`Absent`] in a build without it.
    pub fn open(site: Site) -> Result<Self, Absent> {
        let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let (address, gateway) = (network_order(site.address), network_order(site.gateway));
        let mask = network_order(Ipv4Addr::new(255, 255, 255, 0));
        // SAFETY: both pointers are to six bytes that live over the call; the lock excludes other callers.
        unsafe { c::rr_lwip_open(site.mac.as_ptr(), address, mask, gateway, site.gateway_mac.as_ptr()) };
        Ok(Self { _one: one })
    }

    /// Listens on `port`.
    ///
    /// # Panics
    /// When the port is taken.
    pub fn listen(&mut self, port: u16) {
        assert_eq!(c::rr_lwip_listen(port), 0, "lwIP cannot listen on {port}");
    }

    /// The oldest connection not yet accepted.
    pub fn accept(&mut self) -> Option<Id> {
        u32::try_from(c::rr_lwip_accept()).ok().map(Id)
    }

    /// Begins a connection.
    ///
    /// # Panics
    /// When there is no room for one more.
    pub fn connect(&mut self, to: Ipv4Addr, port: u16, own_port: u16) -> Id {
        let slot = c::rr_lwip_connect(network_order(to), port, own_port);
        Id(u32::try_from(slot).expect("lwIP has room for a connection"))
    }

    /// What has become of a connection.
    pub fn status(&self, id: Id) -> Status {
        // SAFETY: an `Id` names a slot of the table.
        let state = unsafe { c::rr_lwip_state(id.0) };
        Status { open: state & 1 != 0, ended: state & 2 != 0, failed: state & 4 != 0 }
    }

    /// Queues what fits of `bytes` and sends what may be sent; how much it took.
    pub fn send(&mut self, id: Id, bytes: &[u8]) -> usize {
        // SAFETY: an `Id` names a slot, pointer and length are of one slice, and the glue copies.
        unsafe { c::rr_lwip_send(id.0, bytes.as_ptr(), bytes.len() as u32) as usize }
    }

    /// Takes what has arrived; how much it was.
    pub fn recv(&mut self, id: Id, room: &mut [u8]) -> usize {
        // SAFETY: an `Id` names a slot, and the glue writes at most `room.len()` bytes.
        unsafe { c::rr_lwip_recv(id.0, room.as_mut_ptr(), room.len() as u32) as usize }
    }

    /// Sends no more: a FIN follows.
    pub fn finish(&mut self, id: Id) {
        // SAFETY: an `Id` names a slot of the table.
        unsafe { c::rr_lwip_finish(id.0) };
    }

    /// Closes the connection, whose number may be used again.
    pub fn forget(&mut self, id: Id) {
        // SAFETY: an `Id` names a slot of the table; one forgotten twice would only be closed twice.
        unsafe { c::rr_lwip_forget(id.0) };
    }

    /// A frame, copied to where a driver would have it. None when lwIP has no buffer.
    pub fn frame(&mut self, bytes: &[u8]) -> Option<Frame> {
        let len = u16::try_from(bytes.len()).ok()?;
        // SAFETY: pointer and length are of one slice; the glue copies it.
        NonNull::new(unsafe { c::rr_lwip_frame(bytes.as_ptr(), len) }).map(Frame)
    }

    /// The frame arrives.
    pub fn input(&mut self, frame: Frame) {
        // SAFETY: the frame came from `rr_lwip_frame` and is handed in once: this consumes it.
        unsafe { c::rr_lwip_input(frame.0.as_ptr()) };
    }

    /// The next frame sent; its length, zero when there is none.
    pub fn output(&mut self, room: &mut [u8]) -> usize {
        // SAFETY: the glue writes at most `room.len()` bytes.
        unsafe { c::rr_lwip_output(room.as_mut_ptr(), room.len() as u32) as usize }
    }

    /// Frames that were sent and not fetched.
    pub fn waiting(&self) -> usize {
        c::rr_lwip_waiting() as usize
    }

    /// It is `ms` milliseconds now; what is due happens.
    pub fn time(&mut self, ms: u32) {
        c::rr_lwip_time(ms);
    }

    /// Bytes of a connection's control block.
    pub fn connection_size(&self) -> usize {
        c::rr_lwip_pcb_size() as usize
    }
}

impl Drop for Lwip {
    fn drop(&mut self) {
        c::rr_lwip_close();
    }
}
