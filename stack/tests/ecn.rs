//! ECN between two stacks (RFC 3168), over a bottleneck that marks.

mod common;

use std::time::Duration;

use common::{Family, Link, Net, Shape, pattern};
use ringroad_stack::config::Config;
use ringroad_stack::socket::{OptName, TcpInfo, Value};
use ringroad_stack::types::SocketId;

/// TCPI_OPT_ECN and TCPI_OPT_ECN_SEEN.
const ECN: u8 = 8;
const SEEN: u8 = 16;

/// 20 Mbit/s, 40 ms there and back, a queue of two round trips that marks from a quarter of one on.
fn marking(ecn: u8, family: Family, cookies: u8) -> Net {
    let mut config = Config::default();
    (config.tcp.ecn, config.tcp.syn_cookies) = (ecn, cookies);
    (config.tcp.send_buffer, config.tcp.recv_buffer) = (1 << 20, 1 << 20);
    let shape = Shape { mark: 25_000, ..Shape::new(20_000_000, 200_000) };
    let link = Link { delay: Duration::from_millis(20), shape: Some(shape), ..Link::default() };
    Net::with_frames(config, link, 1, 4096).over(family)
}

fn info(net: &mut Net, host: usize, id: SocketId) -> TcpInfo {
    match net.hosts[host].stack.option(id, OptName::Info) {
        Ok(Value::Info(info)) => info,
        other => panic!("{other:?}"),
    }
}

/// RFC 3168 §6.1: the sender slows down before anything is lost, over both families, and after a SYN cookie.
#[test]
fn a_queue_that_marks_loses_nothing() {
    for (family, cookies) in [(Family::V4, 1), (Family::V6, 1), (Family::V4, 2)] {
        let mut net = marking(1, family, cookies);
        let (client, server, _) = net.connected();
        let data = pattern(8_000_000, 3);
        net.transfer(0, client, server, &data, Duration::from_secs(30));
        assert_eq!(info(&mut net, 0, client).options & (ECN | SEEN), ECN);
        assert_eq!(info(&mut net, 1, server).options & (ECN | SEEN), ECN | SEEN);
        let (sender, receiver) = (net.hosts[0].stack.stats(), net.hosts[1].stack.stats());
        assert_eq!((sender.tcp_retransmits, sender.tcp_timeouts), (0, 0), "{family:?} {cookies}");
        assert!(sender.tcp_ecn_reductions >= 3, "{}", sender.tcp_ecn_reductions);
        assert!(receiver.tcp_ce_in >= sender.tcp_ecn_reductions, "{}", receiver.tcp_ce_in);
    }
}

/// RFC 3168 §6.1.1: who is not asked does not take part, and packets are lost instead.
#[test]
fn by_default_our_connections_do_not_ask() {
    let mut net = marking(2, Family::V4, 1);
    let (client, server, _) = net.connected();
    net.transfer(0, client, server, &pattern(4_000_000, 3), Duration::from_secs(30));
    assert_eq!((info(&mut net, 0, client).options | info(&mut net, 1, server).options) & ECN, 0);
    let stats = net.hosts[0].stack.stats();
    assert!(stats.tcp_retransmits > 0 && stats.tcp_ecn_reductions == 0, "{stats:?}");
}
