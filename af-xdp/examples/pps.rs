//! How many frames a second an interface takes or gives through AF_XDP. As root:
//!
//! ```text
//! pps tx IFACE SECONDS              sends 64-byte frames to nobody
//! pps rx IFACE SECONDS ADDRESS:PORT counts and drops UDP datagrams sent there
//! ```

use std::error::Error;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use nic::{Arena, Burst, Nic, Pool, TxChecksum};
use ringroad_af_xdp::{Options, Port, Road};

const BURST: usize = 64;
const UDP: u8 = 17;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let ([direction, name, seconds] | [direction, name, seconds, _]) = words[..] else {
        return Err("pps tx IFACE SECONDS, or pps rx IFACE SECONDS ADDRESS:PORT".into());
    };
    let mut pool = Pool::new(Arena::new(4096, 2048)?);
    let port = Port::open(&mut pool, &[name], &Options::default())?;
    let (mut roads, _) = port.adopt(0, &mut pool, &|_| false)?;
    let road = &mut roads[0];
    let time = Duration::from_secs(seconds.parse()?);
    let begun = Instant::now();
    let frames = match (direction, words.get(3)) {
        ("rx", Some(endpoint)) => receive(road, &mut pool, endpoint.parse()?, begun + time)?,
        _ => send(road, &mut pool, begun + time),
    };
    let rate = frames as f64 / begun.elapsed().as_secs_f64();
    let nic = &road.nic;
    println!(
        "{direction} {} {}: {rate:.0} frames/s, {:?}",
        nic.xdp_mode().name(),
        nic.umem_mode().bind.name(),
        nic.counters()
    );
    Ok(())
}

fn send(road: &mut Road, pool: &mut Pool, until: Instant) -> u64 {
    let mac = road.nic.interface().mac;
    while Instant::now() < until {
        for _ in 0..BURST {
            let Some(mut pkt) = pool.alloc() else { break };
            let _ = pool.append_with(&mut pkt, 64, |b| {
                b.fill(0);
                b[..6].copy_from_slice(&[2, 0, 0, 0, 0, 1]);
                b[6..12].copy_from_slice(&mac);
                b[12..14].copy_from_slice(&[0x88, 0xb5]);
                Ok::<_, ()>(b.len())
            });
            let loan = pool.give(pkt, 0, TxChecksum::Complete);
            if let Err(loan) = road.nic.tx(pool, loan) {
                pool.take_back(loan);
                break;
            }
        }
        road.nic.kick(pool);
    }
    road.nic.counters().tx_frames
}

fn receive(road: &mut Road, pool: &mut Pool, at: SocketAddr, until: Instant) -> std::io::Result<u64> {
    road.steering.iter().try_for_each(|steering| steering.add_port(UDP, at, 0))?;
    let mut burst = Burst::with_capacity(BURST);
    while Instant::now() < until {
        road.nic.rx(pool, &mut burst, BURST);
        burst.drain(..).for_each(|frame| pool.free(frame.pkt));
    }
    Ok(road.nic.counters().rx_frames)
}
