//! The stand-in itself, by raw calls: it does what ef_vi's documentation says, also where that hurts.

#![allow(clippy::multiple_unsafe_ops_per_block, reason = "each call of a raw interface is one")]

use std::ffi::CString;
use std::ptr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ef_vi_sys::*;

const PAGE: usize = 4096;
const PAGES: usize = 64;
const SLOT: usize = 2048;

/// Two pages at a time, aligned as registering wants it.
#[repr(align(4096))]
struct Memory([u8; PAGES * PAGE]);

/// A virtual interface on one end of a wire in memory, with memory of its own. What the library keeps pointers to is
/// in a box.
struct Card {
    ciul: Ciul,
    handle: ef_driver_handle,
    parts: Box<(ef_vi, ef_pd, ef_memreg)>,
    memory: Box<Memory>,
}

/// What an event means, or that there is none.
fn kind(event: Option<&ringroad_ef_event>) -> Option<u32> {
    event.map(|event| event.kind)
}

impl Card {
    fn new(name: &str, events: i32, flags: ef_vi_flags) -> Self {
        let ciul = open(None).unwrap();
        let name = CString::new(name).unwrap();
        let mut card =
            Self { ciul, handle: -1, parts: Box::default(), memory: Box::new(Memory([0; PAGES * PAGE])) };
        let (vi, pd, memory) = &mut *card.parts;
        // SAFETY: everything that is handed over lives as long as the card, in its place.
        unsafe {
            let c = &card.ciul;
            assert_eq!(c.ef_driver_open(&mut card.handle), 0);
            let h = card.handle;
            assert_eq!(c.ef_pd_alloc_by_name(pd, h, name.as_ptr(), 0), 0);
            assert_eq!(c.ef_vi_alloc_from_pd(vi, h, pd, h, events, 64, 128, ptr::null_mut(), -1, flags), 0);
            let bytes = card.memory.0.as_mut_ptr().cast();
            assert_eq!(c.ef_memreg_alloc(memory, h, pd, h, bytes, PAGES * PAGE), 0);
            let mut spec = ef_filter_spec::default();
            c.ef_filter_spec_init(&mut spec, 0);
            assert_eq!(
                c.ef_filter_spec_set_ip4_local(&mut spec, 17, u32::from_ne_bytes([10, 0, 0, 1]), 0),
                0
            );
            assert_eq!(c.ef_vi_filter_add(vi, h, &spec, ptr::null_mut()), 0);
        }
        card
    }

    fn pair(wire: &str, events: i32, flags: ef_vi_flags) -> [Self; 2] {
        [0, 1].map(|side| Self::new(&format!("memory:{wire}:{side}"), events, flags))
    }

    fn address(&mut self, slot: usize) -> ef_addr {
        // SAFETY: the slot is in the registered memory.
        unsafe { ringroad_ef_dma_addr(&mut self.parts.2, slot * SLOT) }
    }

    fn slot(&mut self, slot: usize) -> &mut [u8] {
        &mut self.memory.0[slot * SLOT..(slot + 1) * SLOT]
    }

    fn post(&mut self, slots: std::ops::Range<usize>) {
        for slot in slots {
            let address = self.address(slot);
            // SAFETY: the slot is registered and not posted.
            assert_eq!(unsafe { ringroad_ef_receive_init(&mut self.parts.0, address, slot as i32) }, 0);
        }
        // SAFETY: the virtual interface is allocated.
        unsafe { ringroad_ef_receive_push(&mut self.parts.0) };
    }

    fn init(&mut self, address: ef_addr, len: usize, id: i32) -> i32 {
        // SAFETY: the virtual interface is allocated; what the address is, is for the adapter to see.
        unsafe { self.ciul.ef_vi_transmit_init(&mut self.parts.0, address, len as i32, id) }
    }

    fn push(&mut self) {
        // SAFETY: there is a new descriptor.
        unsafe { ringroad_ef_transmit_push(&mut self.parts.0) };
    }

    /// Sends a datagram of this length from the last slot, whose checksums are wrong.
    fn send(&mut self, len: usize) {
        let last = PAGES * PAGE / SLOT - 1;
        let frame = datagram(len);
        self.slot(last)[..len].copy_from_slice(&frame);
        let address = self.address(last);
        assert_eq!(self.init(address, len, last as i32), 0);
        self.push();
    }

    /// All events, as they are and what they mean.
    fn poll(&mut self) -> Vec<(ef_event, ringroad_ef_event)> {
        let (mut events, mut decoded) = ([ef_event::default(); 64], [ringroad_ef_event::default(); 64]);
        // SAFETY: the virtual interface is allocated, and both arrays are that long.
        let count =
            unsafe { ringroad_ef_poll(&mut self.parts.0, events.as_mut_ptr(), decoded.as_mut_ptr(), 64) };
        events.into_iter().zip(decoded).take(count as usize).collect()
    }

    fn unbundle(&mut self, event: &ef_event) -> Vec<i32> {
        let mut ids = [0; EF_VI_TRANSMIT_BATCH as usize];
        // SAFETY: the event is of this virtual interface, and there is room for a batch.
        let count = unsafe { self.ciul.ef_vi_transmit_unbundle(&mut self.parts.0, event, ids.as_mut_ptr()) };
        ids[..count as usize].to_vec()
    }
}

impl Drop for Card {
    fn drop(&mut self) {
        let (vi, pd, memory) = &mut *self.parts;
        // SAFETY: all of it is allocated, and freed in this order.
        unsafe {
            self.ciul.ef_vi_free(vi, self.handle);
            self.ciul.ef_memreg_free(memory, self.handle);
            self.ciul.ef_pd_free(pd, self.handle);
            self.ciul.ef_driver_close(self.handle);
        }
    }
}

/// A datagram to 10.0.0.1, port 0, of `len` bytes with its link header. Both checksums are wrong.
fn datagram(len: usize) -> Vec<u8> {
    let mut f = vec![7; len];
    f[12..24].copy_from_slice(&[8, 0, 0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17]);
    f[16..18].copy_from_slice(&(len as u16 - 14).to_be_bytes());
    f[30..34].copy_from_slice(&[10, 0, 0, 1]);
    f[36..40].copy_from_slice(&[0, 0, 0, 0]);
    f[38..40].copy_from_slice(&(len as u16 - 34).to_be_bytes());
    f
}

const NO_OFFLOAD: ef_vi_flags = ef_vi_flags_EF_VI_TX_IP_CSUM_DIS | ef_vi_flags_EF_VI_TX_TCPUDP_CSUM_DIS;

#[test]
fn fewer_than_eight_descriptors_are_not_seen_by_the_adapter() {
    let [mut a, mut b] = Card::pair("eight", -1, 0);
    b.post(0..7);
    a.send(100);
    assert_eq!(b.poll().len(), 0, "it has nowhere to go, and is lost");
    b.post(7..8);
    a.send(100);
    let events = b.poll();
    assert_eq!(kind(events.first().map(|e| &e.1)), Some(ringroad_ef_kind_RINGROAD_EF_RX));
    // SAFETY: the virtual interface is allocated.
    let prefix = unsafe { ringroad_ef_receive_prefix_len(&b.parts.0) } as usize;
    assert!(prefix > 0);
    let told = events[0].1;
    assert_eq!((told.id, told.len as usize, told.part), (0, prefix + 100, 0), "in the order of posting");
    assert_eq!(b.slot(0)[prefix + 30..prefix + 34], [10, 0, 0, 1], "behind the prefix");
}

#[test]
fn completions_come_in_batches_and_a_full_ring_says_so() {
    let [mut a, _b] = Card::pair("batches", -1, 0);
    let address = a.address(0);
    let taken = (0..1000).take_while(|id| a.init(address, 60, *id) == 0).count();
    assert_eq!(taken, 127);
    assert_eq!(a.init(address, 60, 1000), -11, "EAGAIN");
    assert_eq!(a.poll().len(), 0, "nothing was pushed");
    a.push();
    let events = a.poll();
    let ids: Vec<Vec<i32>> = events.iter().map(|(event, _)| a.unbundle(event)).collect();
    assert_eq!(ids.iter().map(Vec::len).collect::<Vec<_>>(), [64, 63]);
    assert!(ids.concat().into_iter().eq(0..127));
    assert_eq!(a.init(address, 60, 0), 0, "there is room again");
}

/// Addresses are the adapter's, and go on within a page only.
#[test]
fn what_the_adapter_cannot_reach_is_an_error_of_its_own() {
    let [mut a, _b] = Card::pair("reach", -1, 0);
    assert_ne!(a.address(2), a.address(0) + PAGE as u64, "the next page is elsewhere");
    let end = a.address(1) + SLOT as u64 - 30;
    for (address, id) in [(1 << 40, 1), (end, 2)] {
        assert_eq!(a.init(address, 60, id), 0);
    }
    let good = a.address(0);
    assert_eq!(a.init(good, 60, 3), 0);
    a.push();
    let told: Vec<(u32, Vec<i32>)> = a.poll().iter().map(|(e, d)| (d.kind, a.unbundle(e))).collect();
    let (bad, well) = (ringroad_ef_kind_RINGROAD_EF_TX_ERROR, ringroad_ef_kind_RINGROAD_EF_TX);
    assert_eq!(told, [(bad, vec![1]), (bad, vec![2]), (well, vec![3])]);
}

#[test]
fn checksums_are_finished_unless_that_is_turned_off() {
    for (flags, expected) in
        [(0, ringroad_ef_kind_RINGROAD_EF_RX), (NO_OFFLOAD, ringroad_ef_kind_RINGROAD_EF_RX_DISCARD)]
    {
        let [mut a, mut b] = Card::pair(&format!("sums-{flags}"), -1, flags);
        b.post(0..8);
        a.send(100);
        let events = b.poll();
        assert_eq!(kind(events.first().map(|e| &e.1)), Some(expected), "{flags:#x}");
        if expected == ringroad_ef_kind_RINGROAD_EF_RX_DISCARD {
            assert_eq!(events[0].1.reason, EF_EVENT_RX_DISCARD_CSUM_BAD);
        }
    }
}

#[test]
fn a_long_frame_takes_several_buffers_and_its_length_adds_up() {
    let [mut a, mut b] = Card::pair("parts", -1, 0);
    // SAFETY: the virtual interface is allocated.
    unsafe { ringroad_ef_receive_set_buffer_len(&mut b.parts.0, 512) };
    b.post(0..8);
    a.send(1200);
    let told: Vec<_> = b.poll().iter().map(|(_, d)| (d.id, d.len, d.part)).collect();
    assert_eq!(told, [(0, 512, 1), (1, 1024, 1), (2, 1214, 1)]);
}

#[test]
fn events_that_find_no_room_end_it() {
    let [mut a, mut b] = Card::pair("overflow", 4, 0);
    b.post(0..8);
    (0..5).for_each(|_| {
        a.send(100);
        a.poll().iter().for_each(|(event, _)| drop(a.unbundle(event)));
    });
    let told = b.poll();
    let last = b.poll();
    assert!(told.len() <= 4);
    assert_eq!(kind(last.first().map(|e| &e.1)), Some(ringroad_ef_kind_RINGROAD_EF_HALTED));
}

#[test]
fn a_frame_has_the_time_at_which_it_came() {
    let [mut a, mut b] = Card::pair("times", -1, ef_vi_flags_EF_VI_RX_TIMESTAMPS);
    b.post(0..8);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    a.send(100);
    assert_eq!(b.poll().len(), 1);
    let (mut time, mut flags) = (timespec::default(), 0);
    let buffer = b.slot(0).as_ptr().cast();
    let vi = &mut b.parts.0;
    // SAFETY: the frame came with the last events, and its buffer is as it was filled.
    let said =
        unsafe { b.ciul.ef_vi_receive_get_timestamp_with_sync_flags(vi, buffer, &mut time, &mut flags) };
    assert_eq!((said, flags), (0, 1), "the clock is set");
    let came = Duration::new(time.tv_sec as u64, time.tv_nsec as u32);
    // Clocks are set now and then.
    assert!(came.abs_diff(now) < Duration::from_secs(3600), "{came:?}");
}

#[test]
fn a_filter_of_a_link_address_takes_all_that_goes_there() {
    let [mut a, mut b] = Card::pair("link", -1, 0);
    b.post(0..16);
    let mut frame = datagram(100);
    frame[30] = 11;
    let mut spec = ef_filter_spec::default();
    // SAFETY: the specification is ours, and the virtual interface is allocated with this handle.
    unsafe {
        b.ciul.ef_filter_spec_init(&mut spec, 0);
        assert_eq!(b.ciul.ef_filter_spec_set_eth_local(&mut spec, -1, frame.as_ptr().cast()), 0);
        assert_eq!(
            b.ciul.ef_filter_spec_set_eth_local(&mut spec, -1, frame.as_ptr().cast()),
            -93,
            "EPROTONOSUPPORT"
        );
    }
    for (mac, added, expected) in [(7, false, 0), (7, true, 1), (9, true, 0)] {
        if added && mac == 7 {
            // SAFETY: as above.
            let said = unsafe { b.ciul.ef_vi_filter_add(&mut b.parts.0, b.handle, &spec, ptr::null_mut()) };
            assert_eq!(said, 0);
        }
        frame[5] = mac;
        a.slot(0)[..100].copy_from_slice(&frame);
        let address = a.address(0);
        assert_eq!(a.init(address, 100, 0), 0);
        a.push();
        assert_eq!(b.poll().len(), expected, "to {mac}, the filter added: {added}");
    }
}
