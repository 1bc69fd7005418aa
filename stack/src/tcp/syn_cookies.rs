//! SYN cookies (RFC 4987 §3.6; Bernstein, 1996): what a request needs is kept by the peer, in the numbers that it
//! sends back.
//!
//! As in Linux: the initial sequence number carries the minute and an index into a table of segment sizes, both
//! under a keyed hash of the five-tuple; the low bits of TSval carry the window scale, SACK and ECN. A peer without
//! timestamps gets a connection without these three.

use crate::hash::{FlowWords, HashKey};
use crate::seq::Seq;
use crate::time::Instant;
use crate::types::FlowKey;
use crate::wire::tcp::{Flags, Options, Segment, TimestampsOption};

/// Segment sizes that a cookie can say, of the address family's common links (Linux: msstab).
const SIZES_V4: [u16; 4] = [536, 1300, 1440, 1460];
const SIZES_V6: [u16; 4] = [1220, 1420, 1440, 8940];
/// A cookie is good in the minute in which it was made, and in the next.
const MINUTES: u32 = 2;
const MINUTE_MS: u64 = 60_000;
/// Low bits of TSval: four of window scale (all ones: none), SACK, ECN.
const TS_BITS: u32 = 6;
const TS_SCALE: u32 = 0xf;
const TS_SACK: u32 = 1 << 4;
const TS_ECN: u32 = 1 << 5;
/// The part of a cookie that carries data.
const DATA_BITS: u32 = 24;
const DATA: u32 = (1 << DATA_BITS) - 1;

/// Makes and reads cookies; keyed by the stack's secret.
#[derive(Clone, Copy, Debug)]
pub struct SynCookies {
    base: HashKey,
    minute: HashKey,
}

impl SynCookies {
    /// Derives its keys from the stack's secret.
    pub fn new(secret: &HashKey) -> Self {
        Self { base: secret.derive(0x3), minute: secret.derive(0x4) }
    }

    /// The number to answer `syn` with.
    pub fn number(&self, flow: &FlowKey, syn: &Segment, now: Instant) -> Seq {
        let sizes = sizes(flow);
        let mss = syn.options.mss.unwrap_or(sizes[0]);
        let index = sizes.iter().rposition(|&size| size <= mss).unwrap_or(0) as u32;
        let minute = minute(now);
        let data = self.of_minute(flow, minute, syn.seq).wrapping_add(index) & DATA;
        Seq(self.of_flow(flow).wrapping_add(syn.seq.0).wrapping_add(minute << DATA_BITS).wrapping_add(data))
    }

    /// The peer's segment size, when `ack` acknowledges a cookie that was made lately.
    pub fn read(&self, flow: &FlowKey, ack: &Segment, now: Instant) -> Option<u16> {
        let (cookie, irs) = (ack.ack - 1, ack.seq - 1);
        let bits = cookie.0.wrapping_sub(self.of_flow(flow)).wrapping_sub(irs.0);
        let now = minute(now);
        let age = now.wrapping_sub(bits >> DATA_BITS) & (u32::MAX >> DATA_BITS);
        if age >= MINUTES {
            return None;
        }
        let index = bits.wrapping_sub(self.of_minute(flow, now.wrapping_sub(age), irs)) & DATA;
        sizes(flow).get(index as usize).copied()
    }

    fn of_flow(&self, flow: &FlowKey) -> u32 {
        FlowWords::new(flow).strong_hash(&self.base) as u32
    }

    fn of_minute(&self, flow: &FlowKey, minute: u32, irs: Seq) -> u32 {
        let word = u64::from(irs.0) << 32 | u64::from(minute);
        FlowWords::new(flow).strong_hash_with(&self.minute, word) as u32
    }
}

fn sizes(flow: &FlowKey) -> &'static [u16; 4] {
    if flow.remote.ip().to_canonical().is_ipv4() { &SIZES_V4 } else { &SIZES_V6 }
}

fn minute(now: Instant) -> u32 {
    (now.as_millis() / MINUTE_MS) as u32
}

/// The clock of timestamps, `ms`, set back by as little as makes its low bits say what `syn` offered; `ecn`: we
/// take part.
pub(super) fn stamp(ms: u32, syn: &Segment, ecn: bool) -> u32 {
    let offer = &syn.options;
    let scale = offer.window_scale.map_or(TS_SCALE, u32::from);
    let bits = scale
        | if offer.sack_permitted { TS_SACK } else { 0 }
        | if ecn && syn.flags.has(Flags::ECE) && syn.flags.has(Flags::CWR) { TS_ECN } else { 0 };
    let stamp = ms >> TS_BITS << TS_BITS | bits;
    if stamp > ms { stamp.wrapping_sub(1 << TS_BITS) } else { stamp }
}

/// The SYN that the peer must have sent, from the ACK that closes the handshake: `mss` is the cookie's, `offset`
/// the flow's of timestamps.
pub(super) fn recall(ack: &Segment, mss: u16, offset: u32) -> Segment {
    let mut options = Options { mss: Some(mss), ..Options::default() };
    let mut flags = Flags::SYN;
    if let Some(ts) = ack.options.timestamps {
        let bits = ts.ecr.wrapping_sub(offset);
        let scale = bits & TS_SCALE;
        options.window_scale = (scale != TS_SCALE).then_some(scale as u8);
        options.sack_permitted = bits & TS_SACK != 0;
        options.timestamps = Some(TimestampsOption { val: ts.val, ecr: 0 });
        if bits & TS_ECN != 0 {
            flags = flags | Flags::ECE | Flags::CWR;
        }
    }
    Segment { seq: ack.seq - 1, flags, wnd: ack.wnd, options, ..Segment::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Protocol;

    fn cookies() -> SynCookies {
        SynCookies::new(&HashKey::new([3; 16]))
    }

    fn v4(port: u16) -> FlowKey {
        let (local, remote) = (([10, 0, 0, 1], 80).into(), ([10, 0, 0, 2], port).into());
        FlowKey { protocol: Protocol::Tcp, local, remote }
    }

    fn v6() -> FlowKey {
        let end = |n| ([0x2001, 0xdb8, 0, 0, 0, 0, 0, n], 80).into();
        FlowKey { protocol: Protocol::Tcp, local: end(1), remote: end(2) }
    }

    fn syn(mss: Option<u16>) -> Segment {
        let options = Options { mss, ..Options::default() };
        Segment { seq: Seq(u32::MAX - 3), flags: Flags::SYN, options, ..Segment::default() }
    }

    fn ack_of(cookie: Seq) -> Segment {
        Segment { seq: Seq(u32::MAX - 2), ack: cookie + 1, flags: Flags::ACK, ..Segment::default() }
    }

    const NOW: Instant = Instant::from_millis(59_000);

    #[test]
    fn the_size_comes_back_rounded_down_to_the_table() {
        for (flow, table) in [(v4(7), SIZES_V4), (v6(), SIZES_V6)] {
            for (offered, kept) in [
                (None, table[0]),
                (Some(1), table[0]),
                (Some(table[1]), table[1]),
                (Some(table[2] + 1), table[2]),
                (Some(9999), table[3]),
            ] {
                let cookie = cookies().number(&flow, &syn(offered), NOW);
                assert_eq!(cookies().read(&flow, &ack_of(cookie), NOW), Some(kept), "{offered:?}");
            }
        }
    }

    #[test]
    fn it_is_good_for_this_minute_and_the_next() {
        let cookie = ack_of(cookies().number(&v4(7), &syn(Some(1460)), NOW));
        for (ms, good) in
            [(59_999, true), (60_000, true), (119_999, true), (120_000, false), (15_420_000, false)]
        {
            assert_eq!(cookies().read(&v4(7), &cookie, Instant::from_millis(ms)).is_some(), good, "{ms}");
        }
    }

    #[test]
    fn guesses_do_not_pass() {
        // 2 of 256 minutes and 4 of 2^24 sizes pass: 1 in 536 million for a guess; the flow's own key makes a
        // cookie of one flow a guess for another.
        let cookie = ack_of(cookies().number(&v4(7), &syn(Some(1460)), NOW));
        assert_eq!(cookies().read(&v4(8), &cookie, NOW), None);
        let other = Segment { seq: cookie.seq + 1, ..cookie };
        assert_eq!(cookies().read(&v4(7), &other, NOW), None);
        let hits = (0..200_000u32).filter(|n| {
            let guess = Segment { ack: Seq(n.wrapping_mul(2_654_435_761)), ..cookie };
            cookies().read(&v4(7), &guess, NOW).is_some()
        });
        assert!(hits.count() <= 1);
    }

    #[test]
    fn the_timestamp_keeps_scale_sack_and_ecn_and_never_runs_ahead() {
        for (scale, sack, ecn) in [(None, false, false), (Some(0), true, false), (Some(14), true, true)] {
            let mut syn = syn(Some(1460));
            syn.options.window_scale = scale;
            syn.options.sack_permitted = sack;
            if ecn {
                syn.flags = syn.flags | Flags::ECE | Flags::CWR;
            }
            for ms in [64, 127, 1_000_000, u32::MAX] {
                let stamp = stamp(ms, &syn, true);
                assert!(stamp <= ms && ms - stamp < 128, "{stamp} of {ms}");
                let mut ack = ack_of(Seq(0));
                ack.options.timestamps = Some(TimestampsOption { val: 77, ecr: stamp.wrapping_add(5) });
                let told = recall(&ack, 1300, 5);
                assert_eq!(told.options.window_scale, scale);
                assert_eq!((told.options.sack_permitted, told.flags.has(Flags::ECE)), (sack, ecn));
                assert_eq!((told.seq, told.options.mss), (ack.seq - 1, Some(1300)));
                assert_eq!(told.options.timestamps.unwrap().val, 77);
            }
        }
    }
}
