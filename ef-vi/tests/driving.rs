//! What driving an adapter is like, on the stand-in.

mod common;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use common::{End, PORT, UDP, local};
use ef_vi::{EfVi, Filter, Options, Small, Step};
use nic::{Arena, Nic, Pool};

const KINDS: [&str; 3] = ["x2", "sfn7", "x3"];

fn refused(name: &str, frame_size: u32, options: &Options) -> (Step, String) {
    let mut pool = Pool::new(Arena::new(64, frame_size).unwrap());
    let error = EfVi::open(name, &mut pool, options).expect_err("it cannot be opened");
    assert_eq!(pool.census().free, pool.frames(), "an adapter that is not opened has no frames");
    let line = error.to_string();
    assert!(line.starts_with(&format!("{name}: ")) && !line.contains('\n'), "{line}");
    (error.step, line)
}

#[test]
fn what_cannot_be_opened_says_the_step_the_reason_and_what_to_do() {
    let plain = Options::default();
    let (step, line) = refused("nosuch0", 2048, &plain);
    assert_eq!(step, Step::Domain);
    assert!(line.contains("there is no such interface here"), "{line}");
    let (step, line) = refused("memory:long:0", 8192, &plain);
    assert_eq!(step, Step::Memory);
    assert!(line.contains("frames of 8192 bytes: frames of 4096 bytes at most"), "{line}");
    let odd = Options { rx_ring: Some(100), ..Options::default() };
    let (step, line) = refused("memory:odd:0", 2048, &odd);
    assert_eq!(step, Step::Vi);
    assert!(line.contains("rings of that size"), "{line}");
    let _open = End::new("x2", "taken", 0);
    assert_eq!(refused("memory:taken:0", 2048, &plain).0, Step::Vi);
}

/// Its structures would be others, and nothing would say so.
#[test]
fn the_library_of_another_release_is_refused() {
    let other = Options { library: Some(PathBuf::from(ef_vi_sys::OTHER)), ..Options::default() };
    let (step, line) = refused("memory:other:0", 2048, &other);
    assert_eq!(step, Step::Library);
    assert!(
        line.contains("is version ringroad-stand-in-0, and this was built for ringroad-stand-in-1"),
        "{line}"
    );
    let none = Options { library: Some("/nonexistent/libciul.so.1".into()), ..Options::default() };
    let (step, line) = refused("memory:none:0", 2048, &none);
    assert_eq!(step, Step::Library);
    assert!(line.contains("/nonexistent/libciul.so.1"), "{line}");
}

#[test]
fn filters_lead_here_what_they_name_and_nothing_else() {
    for kind in KINDS {
        let [mut a, mut b] = End::pair(kind, &format!("filters-{kind}"));
        let (to, elsewhere) = (b.ip, Ipv4Addr::new(10, 0, 0, 9));
        a.send(to, [1, PORT], 1);
        a.send(to, [1, PORT + 1], 2);
        a.send(elsewhere, [1, PORT], 3);
        assert_eq!(b.received(), [1], "{kind}");
        let flow = Filter {
            protocol: UDP,
            local: SocketAddr::from((to, PORT + 1)),
            remote: Some(SocketAddr::from((a.ip, 7))),
        };
        b.nic.add_filter(flow).unwrap();
        b.nic.add_filter(flow).unwrap();
        b.nic.remove_filter(local(to, PORT)).unwrap();
        b.nic.remove_filter(local(to, PORT)).unwrap();
        a.send(to, [7, PORT + 1], 4);
        a.send(to, [8, PORT + 1], 5);
        a.send(to, [7, PORT], 6);
        assert_eq!(b.received(), [4], "{kind}");
        b.nic.remove_filter(flow).unwrap();
        a.send(to, [7, PORT + 1], 7);
        assert_eq!(b.received(), [0; 0], "{kind}: added twice, removed once");
    }
}

#[test]
fn a_filter_that_cannot_be_is_refused() {
    let mut end = End::new("x2", "refused", 0);
    let v6: SocketAddr = "[2001:db8::1]:80".parse().unwrap();
    let mixed = Filter { protocol: UDP, local: SocketAddr::from((end.ip, 80)), remote: Some(v6) };
    assert_eq!(end.nic.add_filter(mixed).unwrap_err().step, Step::Filter);
    let icmp = Filter { protocol: 1, ..local(end.ip, 80) };
    let error = end.nic.add_filter(icmp).unwrap_err().to_string();
    assert!(error.contains("TCP and UDP by address and port only"), "{error}");
    end.nic.add_filter(Filter { protocol: UDP, local: v6, remote: Some(v6) }).unwrap();
    let full = (0..1000).map(|port| end.nic.add_filter(local(end.ip, 10_000 + port))).find_map(Result::err);
    let error = full.expect("the adapter has room for fewer").to_string();
    assert!(error.contains("has no room for it"), "{error}");
}

/// It would overtake them.
#[test]
fn a_small_frame_waits_for_those_before_it() {
    let [mut a, mut b] = End::pair("x2", "order");
    for turn in 0..50 {
        let first = turn * 3;
        // The first finds a quiet wire and goes by CTPIO, those behind it by DMA.
        (first..first + 3).for_each(|byte| a.queue(b.ip, [1, PORT], byte));
        a.nic.kick(&mut a.pool);
        assert_eq!(b.received(), [first, first + 1, first + 2]);
    }
    let counters = a.nic.counters();
    assert_eq!((counters.tx_frames, counters.tx_small), (150, 50), "{counters:?}");
    assert_eq!(counters.tx_ctpio, 40, "a fifth has to be fetched by the adapter, and is there all the same");
}

#[test]
fn small_frames_go_by_dma_where_that_is_asked_for() {
    for kind in ["x2", "sfn7"] {
        let name = format!("{kind}@memory:dma-{kind}:0");
        let mut pool = Pool::new(Arena::new(64, 2048).unwrap());
        let options = Options { small: Small::Dma, ..Options::default() };
        let nic = EfVi::open(&name, &mut pool, &options).unwrap();
        let mut end = End { nic, pool, burst: Vec::new(), ip: Ipv4Addr::new(10, 0, 0, 1) };
        end.send(end.ip, [1, PORT], 0);
        assert_eq!(end.nic.counters().tx_small, 0, "{kind}");
    }
}

/// Their buffers are posted again.
#[test]
fn frames_that_are_too_long_do_not_use_up_the_ring() {
    for kind in ["x2", "sfn7"] {
        let wire = format!("jumbo-{kind}");
        let mut a = End::with_frames_of(4096, kind, &wire, 0);
        let mut b = End::new(kind, &wire, 1);
        for _ in 0..32 {
            (0..16).for_each(|_| a.queue_long(b.ip, [1, PORT], 1, 3000));
            a.nic.kick(&mut a.pool);
            assert_eq!(b.received(), [0; 0], "{kind}");
        }
        assert_eq!(b.nic.counters().rx_parts, 32 * 16 * 2, "{kind}: two parts of each");
        a.send(b.ip, [1, PORT], 2);
        assert_eq!(b.received(), [2], "{kind}");
    }
}

#[test]
fn the_frames_memory_stays_while_the_adapter_may_write_to_it() {
    for kind in KINDS {
        let [mut a, b] = End::pair(kind, &format!("memory-{kind}"));
        let End { nic, pool, ip, .. } = b;
        drop(pool);
        a.send(ip, [1, PORT], 1);
        assert!(nic.rx_pending(), "{kind}");
    }
}

/// Otherwise a flood that the pool has no frames for would keep the caller here.
#[test]
fn frames_that_are_dropped_count_among_those_asked_for() {
    let [mut a, mut b] = End::pair("x3", "dropped");
    let held: Vec<_> = std::iter::from_fn(|| b.pool.alloc()).collect();
    (0..20).for_each(|byte| a.send(b.ip, [1, PORT], byte));
    assert_eq!(b.nic.rx(&mut b.pool, &mut b.burst, 8), 0);
    assert_eq!(b.nic.counters().rx_starved, 8);
    assert!(b.nic.rx_pending(), "the others wait");
    held.into_iter().for_each(|pkt| b.pool.free(pkt));
    assert_eq!(b.received(), (8..20).collect::<Vec<u8>>());
}

#[test]
fn frames_allocate_nothing() {
    for kind in KINDS {
        let [mut a, mut b] = End::pair(kind, &format!("allocations-{kind}"));
        let mut came = 0;
        let mut exchange = |times: u32| {
            for turn in 0..times {
                let (to, back) = (b.ip, a.ip);
                (0..4).for_each(|_| a.queue(to, [1, PORT], turn as u8));
                a.nic.kick(&mut a.pool);
                b.receive(|_| came += 1);
                b.send(back, [1, PORT], turn as u8);
                assert!(a.nic.rx_pending());
                a.receive(|_| came += 1);
                for end in [&mut a, &mut b] {
                    end.nic.reap(&mut end.pool);
                    end.nic.rest(&mut end.pool);
                }
            }
        };
        exchange(10);
        let info = allocation_counter::measure(|| exchange(2000));
        assert_eq!(info.count_total, 0, "{kind}: {info:?}");
        assert_eq!(came, 2010 * 5, "{kind}");
    }
}
