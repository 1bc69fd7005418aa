//! The packet path does not allocate.

use std::time::Duration;

use allocation_counter::measure;
use ringroad_tests::host::Host;
use stack::config::Config;
use stack::engine::Journals;
use stack::socket::RecvFlags;
use stack::time::Instant;
use stack::types::SocketId;

/// Moves frames between the two until there are none; on buffers that are there already.
fn exchange(hosts: &mut [Host; 2], wire: &mut Vec<u8>, now: Instant) {
    for _ in 0..64 {
        let mut moved = false;
        for from in 0..2 {
            wire.clear();
            hosts[from].output(|bytes| {
                wire.extend((bytes.len() as u16).to_be_bytes());
                wire.extend_from_slice(bytes);
            });
            hosts[from].sent(0);
            let mut rest = &wire[..];
            while let Some((len, tail)) = rest.split_first_chunk::<2>() {
                let (frame, next) = tail.split_at(usize::from(u16::from_be_bytes(*len)));
                hosts[1 - from].input(now, frame);
                (rest, moved) = (next, true);
            }
        }
        if !moved {
            return;
        }
    }
}

fn request_and_answer(hosts: &mut [Host; 2], ids: [SocketId; 2], wire: &mut Vec<u8>, now: Instant) {
    for (from, size) in [(1, 100), (0, 8000)] {
        assert_eq!(hosts[from].send(now, ids[from], &[3; 8000][..size]), Ok(size));
        exchange(hosts, wire, now);
        let mut heard = 0;
        let to = 1 - from;
        while let Ok(n @ 1..) =
            hosts[to].stack.recv(now, ids[to], 65536, RecvFlags::default(), &mut |piece| {
                heard += piece.len();
                Ok(())
            })
        {
            assert!(n <= size);
        }
        assert_eq!(heard, size);
    }
}

#[test]
fn ten_thousand_requests_allocate_nothing() {
    let mut hosts = Host::pair(2048, &Config::default());
    let mut now = Instant::from_millis(1);
    let mut wire = Vec::with_capacity(1 << 20);
    let listener = hosts[0].listen(80).expect("a listener");
    let remote = (hosts[0].address, 80).into();
    let client = hosts[1].connect(now, 40_000, remote).expect("a connection");
    exchange(&mut hosts, &mut wire, now);
    let server = hosts[0].accept(now, listener).expect("a connection").id;
    let mut turn = |hosts: &mut [Host; 2]| {
        now += Duration::from_millis(1);
        hosts.iter_mut().filter(|h| h.stack.next_deadline() <= now).for_each(|h| h.stack.expire(now));
        request_and_answer(hosts, [server, client], &mut wire, now);
    };
    let journals = Journals::new(hosts[0].stack.flow_slots());
    hosts[0].stack.keep_journals(journals);
    // Until both ends have read 16 KiB: the call that does makes the ledger by which buffers grow, once.
    (0..200).for_each(|_| turn(&mut hosts));
    let before = hosts[0].stack.stats().rx_frames + hosts[1].stack.stats().rx_frames;
    let info = measure(|| (0..10_000).for_each(|_| turn(&mut hosts)));
    let packets = hosts[0].stack.stats().rx_frames + hosts[1].stack.stats().rx_frames - before;
    assert!(packets > 80_000, "{packets} packets");
    assert_eq!(info.count_total, 0, "allocations over {packets} packets");
}
