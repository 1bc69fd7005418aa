//! Congestion controls on a bottleneck, in virtual time: how much of it they use, how long the queue is, how they
//! share it.

mod common;

use std::time::Duration;

use common::{Link, Net, Shape};
use ringroad_stack::config::Config;
use ringroad_stack::socket::{OptName, TcpInfo, Value};
use ringroad_stack::types::{CongestionControl, Readiness, SocketId};

/// Octets of payload in a full segment (timestamps on).
const MSS: u64 = 1448;
/// The path: 40 ms there and back.
const DELAY: Duration = Duration::from_millis(20);

/// One connection that sends from host 0 as much as it can.
struct Flow {
    client: SocketId,
    server: SocketId,
    received: u64,
}

/// Some flows on one bottleneck.
struct Race {
    net: Net,
    flows: Vec<Flow>,
    listener: SocketId,
    /// Bytes that waited before the bottleneck, looked at each millisecond: sum, greatest, how often.
    queue: (u64, usize, u64),
}

/// `mbit` megabits a second, a queue of so many round trips' worth.
fn path(mbit: u64, round_trips: f64) -> Link {
    let queue = (mbit * 1_000_000 / 8) as f64 * 0.04 * round_trips;
    Link { delay: DELAY, shape: Some(Shape::new(mbit * 1_000_000, queue as usize)), ..Link::default() }
}

impl Race {
    fn new(link: Link, seed: u64) -> Self {
        let mut config = Config::default();
        (config.tcp.send_buffer, config.tcp.recv_buffer) = (8 << 20, 8 << 20);
        config.tcp.ecn = u8::from(link.shape.is_some_and(|s| s.mark != usize::MAX));
        let mut net = Net::with_frames(config, link, seed, 16_384);
        let listener = net.listen(1, 80, 16);
        Self { net, flows: vec![], listener, queue: (0, 0, 0) }
    }

    /// One more flow, under this control.
    fn join(&mut self, control: CongestionControl) {
        let client = self.net.connecting(0, 80);
        let name =
            Value::Name(std::array::from_fn(|i| control.name().as_bytes().get(i).copied().unwrap_or(0)));
        let now = self.net.now;
        self.net.a().set_option(now, client, OptName::Congestion, name).unwrap();
        let mut server = None;
        while server.is_none() {
            self.run_ms(1);
            let (now, listener) = (self.net.now, self.listener);
            server = self.net.b().accept(now, listener).ok().map(|a| a.id);
        }
        self.flows.push(Flow { client, server: server.unwrap(), received: 0 });
    }

    fn run_ms(&mut self, ms: u64) {
        for _ in 0..ms {
            let flows = &mut self.flows;
            flows.iter_mut().for_each(|flow| feed(&mut self.net, flow));
            self.net.run_until(Duration::from_millis(1), |net| {
                let woken = net.hosts.iter().any(|host| !host.wakes.is_empty());
                if woken {
                    net.hosts.iter_mut().for_each(|host| host.wakes.clear());
                    flows.iter_mut().for_each(|flow| feed(net, flow));
                }
                false
            });
            let queued = self.net.queued(1);
            self.queue = (self.queue.0 + queued as u64, self.queue.1.max(queued), self.queue.2 + 1);
        }
    }

    /// Lets `seconds` pass; bytes that each flow brought over in them.
    fn run(&mut self, seconds: u64) -> Vec<u64> {
        let before: Vec<u64> = self.flows.iter().map(|f| f.received).collect();
        self.queue = (0, 0, 0);
        self.run_ms(seconds * 1000);
        self.flows.iter().zip(before).map(|(f, before)| f.received - before).collect()
    }

    fn info(&mut self, flow: usize) -> TcpInfo {
        let id = self.flows[flow].client;
        match self.net.a().option(id, OptName::Info) {
            Ok(Value::Info(info)) => info,
            other => panic!("{other:?}"),
        }
    }

    /// The mean queue, in milliseconds of `mbit` megabits a second.
    fn mean_queue_ms(&self, mbit: u64) -> f64 {
        self.queue.0 as f64 / self.queue.2 as f64 * 8.0 / (mbit as f64 * 1000.0)
    }
}

fn feed(net: &mut Net, flow: &mut Flow) {
    static DATA: [u8; 65_536] = [7; 65_536];
    let now = net.now;
    while net.a().readiness(flow.client).contains(Readiness::OUT)
        && common::send(net.a(), now, flow.client, &DATA).is_ok()
    {}
    while let Ok(bytes) = common::recv(net.b(), now, flow.server, 1 << 20) {
        flow.received += bytes.len() as u64;
    }
}

/// Jain's index: one when all have the same.
fn jain(shares: &[u64]) -> f64 {
    let sum: f64 = shares.iter().map(|&s| s as f64).sum();
    let squares: f64 = shares.iter().map(|&s| (s as f64).powi(2)).sum();
    sum * sum / (shares.len() as f64 * squares)
}

/// What of the link's rate payload can be, in bytes a second.
fn most(mbit: u64) -> u64 {
    mbit * 1_000_000 / 8 * MSS / (MSS + 66)
}

/// Losses that are none of its making, one in a hundred, do not hold BBR down, also where a
/// flight is so short that chance alone often loses more than one in fifty of it.
#[test]
fn bbr_is_not_held_down_by_one_loss_in_a_hundred() {
    for seed in 1..=3 {
        let mut race = Race::new(Link { loss: 10, ..path(50, 1.0) }, seed);
        race.join(CongestionControl::Bbr);
        race.run(5);
        let got = race.run(20)[0];
        assert!(got * 4 > 20 * most(50) * 3, "seed {seed}: {} of {} kB", got / 1000, 20 * most(50) / 1000);
    }
}

/// RFC 9406: on a deep queue slow start ends by the delay, without a loss.
#[test]
fn hystart_leaves_slow_start_before_the_queue_is_full() {
    for control in [CongestionControl::Cubic, CongestionControl::Reno] {
        let mut race = Race::new(path(50, 12.0), 1);
        race.join(control);
        race.run(3);
        let info = race.info(0);
        assert_eq!(race.net.a().stats().tcp_retransmits, 0);
        // Conservative slow start begins at some two round trips' worth, and grows it by a quarter five times.
        let bdp = 50_000_000 / 8 / 25 / MSS as u32;
        assert!((bdp..11 * bdp).contains(&info.snd_ssthresh), "{control:?}: {info:?}");
        assert!(race.queue.1 < 11 * 250_000, "{control:?}: {} bytes waited", race.queue.1);
    }
}

/// RFC 9438 §5.1: with a queue of a round trip the link is full but for the recoveries.
#[test]
fn one_flow_uses_the_link() {
    for (control, least) in
        [(CongestionControl::Cubic, 95), (CongestionControl::Reno, 90), (CongestionControl::Bbr, 90)]
    {
        let mut race = Race::new(path(20, 1.0), 1);
        race.join(control);
        race.run(3);
        let got = race.run(15)[0];
        assert!(got * 100 > 15 * most(20) * least, "{control:?}: {got} of {}", 15 * most(20));
    }
}

/// draft-ietf-ccwg-bbr §3: a deep queue stays nearly empty under BBR, where CUBIC fills it.
#[test]
fn bbr_uses_the_link_with_a_short_queue() {
    let mut queues = Vec::new();
    for control in [CongestionControl::Bbr, CongestionControl::Cubic] {
        let mut race = Race::new(path(20, 6.0), 1);
        race.join(control);
        race.run(5);
        let got = race.run(15)[0];
        assert!(got * 100 > 15 * most(20) * 90, "{control:?}: {got}");
        queues.push(race.mean_queue_ms(20));
    }
    assert!(queues[0] < 15.0, "{queues:?} ms");
    assert!(queues[1] > 60.0, "{queues:?} ms");
}

/// RFC 3168 §6.1.2: where the queue is marked from half a round trip on, nothing has to be lost to keep it short.
#[test]
fn marks_keep_the_queue_short_without_a_loss() {
    let mut marked = path(20, 8.0);
    marked.shape = marked.shape.map(|shape| Shape { mark: 50_000, ..shape });
    for control in [CongestionControl::Cubic, CongestionControl::Reno, CongestionControl::Bbr] {
        let mut race = Race::new(marked, 1);
        race.join(control);
        race.run(4);
        let got = race.run(12)[0];
        assert_eq!(race.net.a().stats().tcp_retransmits, 0, "{control:?}");
        assert!(got * 100 > 12 * most(20) * 80, "{control:?}: {got} of {}", 12 * most(20));
        assert!(race.queue.1 < 120_000, "{control:?}: {} bytes waited", race.queue.1);
    }
}

/// Two flows of one control come to equal shares, the second a second later than the first.
#[test]
fn two_flows_share_a_bottleneck() {
    for control in [CongestionControl::Cubic, CongestionControl::Reno, CongestionControl::Bbr] {
        for seed in 1..=2 {
            let mut race = Race::new(path(10, 1.0), seed);
            race.join(control);
            race.run_ms(1000 + 100 * seed);
            race.join(control);
            race.run(15);
            let shares = race.run(30);
            assert!(jain(&shares) > 0.9, "{control:?}, seed {seed}: {shares:?}");
            let sum: u64 = shares.iter().sum();
            assert!(sum * 100 > 30 * most(10) * 90, "{control:?}, seed {seed}: {sum}");
        }
    }
}

/// RFC 9438 §4.3, §5.2: in the Reno-friendly region CUBIC and Reno share.
#[test]
fn cubic_and_reno_share_a_short_path() {
    for seed in 1..=2 {
        let mut race = Race::new(path(10, 1.0), seed);
        race.join(CongestionControl::Cubic);
        race.run_ms(500 * seed);
        race.join(CongestionControl::Reno);
        race.run(15);
        let shares = race.run(40);
        assert!(jain(&shares) > 0.8, "seed {seed}: {shares:?}");
    }
}

/// BBR beside CUBIC: neither starves (draft-ietf-ccwg-bbr §5.3.3.1 sets the pace of its probes by Reno's).
#[test]
fn bbr_and_cubic_do_not_starve_each_other() {
    for seed in 1..=2 {
        let mut race = Race::new(path(10, 1.5), seed);
        race.join(CongestionControl::Cubic);
        race.run_ms(700 * seed);
        race.join(CongestionControl::Bbr);
        race.run(15);
        let shares = race.run(40);
        let sum: u64 = shares.iter().sum();
        assert!(shares.iter().all(|s| s * 100 > sum * 15), "seed {seed}: {shares:?}");
    }
}

/// One in a hundred lost at random: CUBIC keeps to what Reno makes of it (RFC 9438 §4.3: √(3/2p) segments a round
/// trip), BBR is not held to that.
#[test]
fn random_loss_slows_cubic_as_it_must_and_bbr_less() {
    let lossy = Link { loss: 10, ..path(20, 4.0) };
    for seed in 1..=2 {
        let [cubic, bbr] = [CongestionControl::Cubic, CongestionControl::Bbr].map(|control| {
            let mut race = Race::new(lossy, seed);
            race.join(control);
            race.run(5);
            race.run(30)[0]
        });
        let model = 12.2 * MSS as f64 / 0.04 * 30.0;
        assert!((0.7..1.6).contains(&(cubic as f64 / model)), "seed {seed}: {cubic}, {model:.0} expected");
        assert!(bbr > 2 * cubic, "seed {seed}: {bbr} to {cubic}");
    }
}

fn name_of(control: CongestionControl) -> Value {
    Value::Name(std::array::from_fn(|i| control.name().as_bytes().get(i).copied().unwrap_or(0)))
}

/// SO_MAX_PACING_RATE holds for a control that does not pace by itself, too, and leaves no bursts.
#[test]
fn a_pace_that_was_set_is_kept() {
    for control in [CongestionControl::Cubic, CongestionControl::Bbr] {
        let mut race = Race::new(path(20, 4.0), 1);
        race.join(control);
        let (now, client) = (race.net.now, race.flows[0].client);
        race.net.a().set_option(now, client, OptName::MaxPacingRate, Value::Rate(500_000)).unwrap();
        race.run(2);
        let got = race.run(10)[0];
        assert!((4_500_000..=5_050_000).contains(&got), "{control:?}: {got}");
        assert!(race.queue.1 < 5 * 1514, "{control:?}: {} bytes at once", race.queue.1);
        let info = race.info(0);
        assert!(info.pacing_rate <= 500_000 && info.max_pacing_rate == 500_000, "{info:?}");
        assert!((400_000..=550_000).contains(&info.delivery_rate), "{info:?}");
    }
}

/// Accepted connections have their listener's control, and any may change it while it runs.
#[test]
fn a_control_is_inherited_and_changed_on_the_way() {
    let mut race = Race::new(path(20, 1.0), 1);
    let (now, listener) = (race.net.now, race.listener);
    race.net.b().set_option(now, listener, OptName::Congestion, name_of(CongestionControl::Bbr)).unwrap();
    race.join(CongestionControl::Reno);
    let server = race.flows[0].server;
    assert_eq!(race.net.b().option(server, OptName::Congestion), Ok(name_of(CongestionControl::Bbr)));
    assert!(matches!(race.net.b().option(server, OptName::ControlInfo), Ok(Value::ControlInfo(Some(_)))));
    let client = race.flows[0].client;
    assert_eq!(race.net.a().option(client, OptName::ControlInfo), Ok(Value::ControlInfo(None)));
    for control in [CongestionControl::Bbr, CongestionControl::Cubic, CongestionControl::Bbr] {
        race.run(3);
        let now = race.net.now;
        race.net.a().set_option(now, client, OptName::Congestion, name_of(control)).unwrap();
        assert_eq!(race.net.a().option(client, OptName::Congestion), Ok(name_of(control)));
        let got = race.run(5)[0];
        assert!(got * 100 > 5 * most(20) * 80, "{control:?}: {got}");
    }
    let Ok(Value::ControlInfo(Some(told))) = race.net.a().option(client, OptName::ControlInfo) else {
        panic!("BBR has nothing to tell");
    };
    assert!((2_000_000..3_000_000).contains(&told.bw), "{told:?}");
    assert!((40_000..60_000).contains(&told.min_rtt), "{told:?}");
}
