use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::*;

fn pool(frames: u32) -> Pool {
    Pool::new(Arena::new(frames, 2048).unwrap())
}

fn whole(pool: &Pool) -> bool {
    let c = pool.census();
    c.free == pool.frames() && pool.available() as u32 == c.free
}

#[test]
fn every_frame_is_given_out_once_and_comes_back() {
    let mut p = pool(8);
    let held: Vec<Pkt> = std::iter::from_fn(|| p.alloc()).collect();
    let mut frames: Vec<_> = held.iter().map(Pkt::frame).collect();
    frames.sort_unstable();
    assert_eq!(frames, (0..8).collect::<Vec<_>>());
    assert!(p.alloc().is_none());
    assert_eq!(p.census().owned, 8);
    held.into_iter().for_each(|k| p.free(k));
    assert!(whole(&p));
}

#[test]
fn bytes_are_written_in_the_window_and_headers_in_front_of_it() {
    let mut p = pool(1);
    let mut k = p.alloc().unwrap();
    let n = p
        .append_with(&mut k, 5, |b| {
            b.copy_from_slice(b"hello");
            Ok::<_, ()>(5)
        })
        .unwrap();
    assert_eq!(n, Ok(5));
    p.headroom_mut(&mut k, 3).unwrap().copy_from_slice(b"abc");
    assert_eq!(p.whole_mut(&mut k, 3).unwrap(), b"abchello");
    let headroom = k.offset();
    assert!(p.whole_mut(&mut k, headroom).is_some() && p.whole_mut(&mut k, headroom + 1).is_none());
    assert_eq!(p.bytes(&k), b"hello");
    let tx = p.lend(&k, 3, TxChecksum::Complete).unwrap();
    assert_eq!(p.lent_bytes(&tx), b"abchello");
    p.take_back(tx);
    k.trim_front(1);
    k.truncate(3);
    assert_eq!(p.bytes(&k), b"ell");
    p.free(k);
    assert!(whole(&p));
}

#[test]
fn a_window_is_cut_at_both_ends_in_one_go() {
    let mut p = pool(1);
    let mut k = p.alloc().unwrap();
    let _ = p.append_with(&mut k, 5, |b| {
        b.copy_from_slice(b"hello");
        Ok::<_, ()>(5)
    });
    let (frame, offset) = (k.frame(), k.offset());
    let k = k.window(0, 99);
    assert_eq!(p.bytes(&k), b"hello");
    let k = k.window(1, 4);
    assert_eq!((p.bytes(&k), k.frame(), k.offset()), (&b"ell"[..], frame, offset + 1));
    let k = k.window(3, 3);
    assert!(k.is_empty() && k.offset() == offset + 4);
    p.free(k);
    assert!(whole(&p));
}

#[test]
fn lent_bytes_cannot_be_written_and_a_freed_loan_returns_later() {
    let mut p = pool(2);
    let mut k = p.alloc().unwrap();
    let tx = p.lend(&k, 14, TxChecksum::Complete).unwrap();
    assert!(p.bytes_mut(&mut k).is_none());
    assert!(p.headroom_mut(&mut k, 4).is_none() && p.whole_mut(&mut k, 4).is_none());
    assert!(p.lend(&k, 14, TxChecksum::Complete).is_none());
    assert!(p.append_with(&mut k, 1, |_| Ok::<_, ()>(1)).is_none());
    p.free(k);
    assert_eq!(p.census().given, 1);
    assert_eq!(p.available(), 1);
    let frame = tx.into_frame();
    p.returned(frame);
    assert!(whole(&p));
}

#[test]
fn a_frame_goes_to_the_nic_and_comes_back_filled() {
    let mut p = pool(2);
    let f = p.to_nic().unwrap();
    assert_eq!(p.census().nic, 1);
    let k = p.from_nic(f, 256, 60);
    assert_eq!((k.offset(), k.len()), (256, 60));
    p.free(k);
    assert!(whole(&p));
}

#[test]
fn a_pool_lives_from_a_depot_that_it_shares() {
    let mut p = pool(4);
    let gone: Vec<_> = std::iter::from_fn(|| p.to_nic()).collect();
    assert_eq!((gone.len(), p.available(), p.census().nic), (4, 0, 4));
    p.set_depot(4);
    assert_eq!((p.available(), p.in_stock()), (4, 0));
    assert!(p.alloc().is_none(), "they are to be fetched first");
    p.unfilled(gone[2]);
    p.set_depot(3);
    assert_eq!((p.available(), p.in_stock()), (4, 1));
    let pkt = p.alloc().unwrap();
    assert_eq!(pkt.frame(), gone[2]);
    p.free(pkt);
}

#[test]
fn a_leaked_packet_is_reported_where_it_is_dropped() {
    let before = leaked();
    let died = catch_unwind(AssertUnwindSafe(|| {
        let mut p = pool(1);
        drop(p.alloc());
    }));
    assert_eq!(died.is_err(), cfg!(debug_assertions));
    // Tests beside this one may drop some, too.
    assert!(leaked() > before);
}

#[test]
fn a_frame_returned_twice_is_caught() {
    let mut p = pool(1);
    let k = p.alloc().unwrap();
    let tx = p.give(k, 0, TxChecksum::Complete);
    let frame = tx.into_frame();
    p.returned(frame);
    assert!(catch_unwind(AssertUnwindSafe(|| p.returned(frame))).is_err());
    assert!(whole(&p));
}

#[test]
fn what_a_nic_claims_is_checked() {
    let mut p = pool(1);
    let f = p.to_nic().unwrap();
    assert!(catch_unwind(AssertUnwindSafe(|| p.from_nic(f, 2000, 60))).is_err());
    p.unfilled(f);
    assert!(catch_unwind(AssertUnwindSafe(|| p.from_nic(f, 0, 60))).is_err());
}

#[test]
fn an_arena_of_impossible_shape_is_refused() {
    assert!(Arena::new(0, 2048).is_err());
    assert!(Arena::new(1, 2000).is_err());
    assert!(Arena::new(1, 1024).is_err());
}

#[test]
fn an_arena_is_the_same_memory_for_all_who_map_it() {
    let arena = Arena::new(4, 2048).unwrap();
    let file = std::fs::File::from(arena.file().0.try_clone_to_owned().unwrap());
    let mut one = Pool::new(arena);
    let two = Pool::new(Arena::from_file(file, 0, 4, 2048).unwrap());
    let mut k = one.alloc().unwrap();
    one.append_with(&mut k, 2, |b| {
        b.copy_from_slice(b"hi");
        Ok::<_, ()>(2)
    });
    assert_eq!(&two.arena().bytes(k.frame(), HEADROOM as u16, 2), b"hi");
    one.free(k);
}

#[test]
fn bytes_are_copied_from_frame_to_frame_within_what_they_hold() {
    let mut pool = pool(3);
    let (mut from, mut to) = (pool.alloc().unwrap(), pool.alloc().unwrap());
    let fill = |room: &mut [u8]| {
        room.iter_mut().zip(0..).for_each(|(b, n)| *b = n);
        Ok::<_, ()>(room.len())
    };
    pool.append_with(&mut from, 10, fill).unwrap().unwrap();
    assert!(pool.copy(&from, 4..10, &mut to, 8));
    assert!(pool.copy(&from, 0..8, &mut to, 0));
    assert_eq!(pool.bytes(&to), [0, 1, 2, 3, 4, 5, 6, 7, 4, 5, 6, 7, 8, 9]);
    assert!(pool.copy(&from, 9..10, &mut to, 0));
    assert_eq!((pool.bytes(&to)[0], to.len()), (9, 14));
    // Neither more than there is, nor beyond the frame, nor while a NIC reads it.
    assert!(!pool.copy(&from, 4..11, &mut to, 0));
    let end = pool.payload_capacity();
    assert!(!pool.copy(&from, 0..1, &mut to, end));
    assert!(!pool.copy(&from, 0..1, &mut to, usize::MAX));
    assert!(pool.copy(&from, 0..1, &mut to, end - 1));
    let lent = pool.lend(&to, 0, TxChecksum::Complete).unwrap();
    assert!(!pool.copy(&from, 0..1, &mut to, 0));
    pool.take_back(lent);
    pool.free(from);
    pool.free(to);
}
