//! Numbers that a stranger must not guess: initial sequence numbers (RFC 6528) and the offset of timestamps
//! (RFC 7323 §5.4).

use crate::hash::{FlowWords, HashKey};
use crate::time::Instant;
use crate::types::FlowKey;

/// Source of initial sequence numbers and timestamp offsets, both keyed by the stack's secret.
#[derive(Clone, Copy, Debug)]
pub struct Isn {
    sequence: HashKey,
    timestamp: HashKey,
}

impl Isn {
    /// Derives its keys from the stack's secret.
    pub fn new(secret: &HashKey) -> Self {
        Self { sequence: secret.derive(0x1), timestamp: secret.derive(0x2) }
    }

    /// ISN = M + F(flow, secret), RFC 6528 §3. M ticks every 64 ns, as in Linux: it comes round after 274 s,
    /// longer than any segment lives, and stays ahead of a connection that sent up to 15 MB/s on the same
    /// flow before. (RFC 9293 §3.4.1 asks for 4 µs "or faster"; faster serves today's rates.)
    pub fn sequence(&self, flow: &FlowKey, now: Instant) -> u32 {
        let f = FlowWords::new(flow).strong_hash(&self.sequence) as u32;
        f.wrapping_add((now.as_nanos() >> 6) as u32)
    }

    /// What to add to the timestamp clock on this flow. The same for each connection of a flow, so that PAWS
    /// works across them.
    pub fn timestamp_offset(&self, flow: &FlowKey) -> u32 {
        FlowWords::new(flow).strong_hash(&self.timestamp) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Protocol;

    fn flow(port: u16) -> FlowKey {
        FlowKey {
            protocol: Protocol::Tcp,
            local: ([10, 0, 0, 1], 80).into(),
            remote: ([10, 0, 0, 2], port).into(),
        }
    }

    /// RFC 6528 §3; RFC 9293 MUST-8, MUST-9, SHLD-1
    #[test]
    fn one_flow_climbs_with_the_clock_and_flows_are_unrelated() {
        let isn = Isn::new(&HashKey::new([5; 16]));
        let first = isn.sequence(&flow(1), Instant::ZERO);
        assert_eq!(isn.sequence(&flow(1), Instant::from_nanos(6_400)), first.wrapping_add(100));
        let step = isn.sequence(&flow(2), Instant::ZERO).wrapping_sub(first);
        assert_ne!(isn.sequence(&flow(3), Instant::ZERO).wrapping_sub(first), step.wrapping_mul(2));
        let other = Isn::new(&HashKey::new([6; 16]));
        assert_ne!(other.sequence(&flow(1), Instant::ZERO), first);
    }

    /// RFC 7323 §5.4
    #[test]
    fn timestamp_offsets_stay_with_the_flow() {
        let isn = Isn::new(&HashKey::new([5; 16]));
        assert_eq!(isn.timestamp_offset(&flow(1)), isn.timestamp_offset(&flow(1)));
        assert_ne!(isn.timestamp_offset(&flow(1)), isn.timestamp_offset(&flow(2)));
        assert_ne!(isn.timestamp_offset(&flow(1)), isn.sequence(&flow(1), Instant::ZERO));
    }
}
