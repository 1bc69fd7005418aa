//! RFC 6937 and its successor RFC 9937: proportional rate reduction.

use super::drill::Drill;

const SACK: &str = "<mss 1000,sackOK>";

/// RFC 9937 §6.2: sends are to deliveries as ssthresh to the flight at the beginning.
#[test]
fn in_recovery_the_rate_falls_in_proportion() {
    let mut d = Drill::in_flight(SACK, 30);
    d.at(100);
    let mut sent = Vec::new();
    for n in 1..10 {
        d.inject(&format!(". 1:1(0) ack 1 <sack 1001:{}>", n * 1000 + 1001));
        sent.push(d.host.wire.sent.len());
        d.host.wire.sent.clear();
    }
    // Two by limited transmit; the hole; then nothing, until no more than ssthresh is in flight.
    assert_eq!(sent, [1, 1, 1, 0, 0, 1, 1, 1, 1]);
    let info = d.host.tcb().info();
    assert_eq!((info.ssthresh, info.in_flight), (7000, 7000));
    d.at(200);
    d.inject(". 1:1(0) ack 10001");
    d.host.wire.sent.clear();
    d.inject(". 1:1(0) ack 12001");
    assert_eq!(d.host.tcb().info().cwnd, 7000);
    d.host.wire.sent.clear();
}

/// RFC 9937 §6.2: the first retransmission goes out although the flight is far above ssthresh.
#[test]
fn the_fast_retransmission_is_not_held_back() {
    let mut d = Drill::in_flight(SACK, 10);
    d.at(100);
    d.inject(". 1:1(0) ack 1 <sack 1001:2001 3001:4001 5001:6001>");
    d.expect(". 1:1001(1000)");
    d.host.wire.sent.clear();
}

/// RFC 9937 §6.2: after heavy losses packets are conserved until an ACK is safe; then the flight grows again.
/// RFC 9937 §7
#[test]
fn after_heavy_losses_the_flight_grows_with_safe_acks_only() {
    let mut d = Drill::in_flight(SACK, 30);
    d.at(100);
    // Seven of ten are lost: three arrived, three go out.
    d.inject(". 1:1(0) ack 1 <sack 7001:10001>");
    assert_eq!(d.host.wire.sent.len(), 3);
    d.host.wire.sent.clear();
    d.at(200);
    // Safe: one more than arrived.
    d.inject(". 1:1(0) ack 1001 <sack 7001:10001>");
    assert_eq!(d.host.wire.sent.len(), 2);
    d.host.wire.sent.clear();
    d.inject(". 1:1(0) ack 2001 <sack 7001:10001>");
    assert_eq!(d.host.wire.sent.len(), 2);
    d.host.wire.sent.clear();
    d.inject(". 1:1(0) ack 10001");
    d.host.wire.sent.clear();
    assert_eq!(d.host.tcb().info().cwnd, 7000);
}
