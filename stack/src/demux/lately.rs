//! Where flows were found lately.
//!
//! What comes in a row is mostly of a few connections. Before the index of all flows is asked, which takes a keyed hash, the
//! place is tried where a flow of the same shape was last found. Nothing rests on it: whoever tries compares the whole
//! tuple there, and peers that make flows of one shape have gained a search in the index for each segment, as without it.
//!
//! Of more than a few flows in no order too many would be looked for in vain, and a guess that is sometimes right costs the
//! processor more than the hash. Then only the latest place is tried: a train of segments is of one flow.

use core::cell::Cell;

use crate::hash::FlowWords;

/// Places that are kept: four KiB, so that they stay in the first cache.
const SPOTS: usize = 512;
/// So many flows are few: nearly all of them have a spot of their own.
const FEW: usize = 64;

/// The places of flows that were looked for lately, each beside some bits of the flow's shape.
#[derive(Debug)]
pub struct Lately(Box<[Cell<(u32, u32)>; SPOTS]>);

impl Default for Lately {
    fn default() -> Self {
        Self(Box::new([const { Cell::new((0, 0)) }; SPOTS]))
    }
}

impl Lately {
    /// The spot of this one of `flows` flows.
    #[inline(always)]
    pub fn spot(&self, flows: usize, flow: &FlowWords) -> Spot<'_> {
        let shape = flow.shape();
        let kept = if flows <= FEW { &self.0[spot_of(shape)] } else { &self.0[0] };
        Spot { kept, mark: (shape >> 16) as u32 }
    }
}

/// Where the place of a flow is kept, and some bits of the flow's shape.
#[derive(Debug)]
pub struct Spot<'a> {
    kept: &'a Cell<(u32, u32)>,
    mark: u32,
}

impl Spot<'_> {
    /// Where a flow of that shape was found last.
    #[inline(always)]
    pub fn place(&self) -> Option<u32> {
        let (mark, place) = self.kept.get();
        (mark == self.mark).then_some(place)
    }

    /// The flow was found elsewhere, if at all.
    #[inline(always)]
    pub fn keep(&self, found: Option<u32>) {
        if let Some(place) = found {
            self.kept.set((self.mark, place));
        }
    }
}

/// Where flows of a shape are kept: by its upper bits, which all of a flow's have a say in.
#[inline(always)]
fn spot_of(shape: u64) -> usize {
    (shape >> 48) as usize % SPOTS
}

#[cfg(test)]
mod tests {
    use core::net::Ipv4Addr;

    use super::*;
    use crate::types::Protocol;

    impl Lately {
        /// As the engine looks for a flow: `is_it` that lies at a place, and what a search says.
        fn find(
            &self,
            flows: usize,
            flow: &FlowWords,
            is_it: impl Fn(u32) -> bool,
            search: impl FnOnce() -> Option<u32>,
        ) -> Option<u32> {
            let spot = self.spot(flows, flow);
            if let Some(place) = spot.place().filter(|place| is_it(*place)) {
                return Some(place);
            }
            let found = search();
            spot.keep(found);
            found
        }
    }

    fn flow(n: u32) -> FlowWords {
        let local = (Ipv4Addr::new(10, 0, 0, 1), 80);
        FlowWords::v4(Protocol::Tcp, local, (Ipv4Addr::from_bits(n), 40_000))
    }

    #[test]
    fn what_was_found_is_not_looked_for_again() {
        for flows in [1, FEW, FEW + 1] {
            let lately = Lately::default();
            assert_eq!(lately.find(flows, &flow(7), |_| false, || Some(5)), Some(5));
            assert_eq!(lately.find(flows, &flow(7), |place| place == 5, || panic!("it was there")), Some(5));
        }
    }

    #[test]
    fn what_has_gone_is_looked_for() {
        let lately = Lately::default();
        for found in [Some(5), None, Some(6)] {
            assert_eq!(lately.find(1, &flow(7), |_| false, || found), found);
        }
    }

    #[test]
    fn flows_of_one_shape_find_their_own_places() {
        let flows: Vec<FlowWords> = (0..4 * SPOTS as u32).map(flow).collect();
        for many in [1, flows.len()] {
            let lately = Lately::default();
            for (at, flow) in flows.iter().enumerate().chain(flows.iter().enumerate()) {
                let is_it = |place: u32| flows[place as usize] == *flow;
                assert_eq!(lately.find(many, flow, is_it, || Some(at as u32)), Some(at as u32));
            }
        }
    }

    #[test]
    fn neighbours_have_different_shapes() {
        let spots = |flows: &mut dyn Iterator<Item = FlowWords>| {
            flows.map(|flow| spot_of(flow.shape())).collect::<std::collections::HashSet<_>>().len()
        };
        // 64 that are thrown at 512 spots by chance have some 60 to themselves.
        assert!(spots(&mut (0..64).map(flow)) >= 52);
        let local = (Ipv4Addr::new(10, 0, 0, 1), 80);
        let remote = Ipv4Addr::new(192, 0, 2, 1);
        let ports = &mut (0..64).map(|n| FlowWords::v4(Protocol::Tcp, local, (remote, 40_000 + n)));
        assert!(spots(ports) >= 52);
        let both = &mut (0..64_u16).map(|n| {
            FlowWords::v4(Protocol::Tcp, local, (Ipv4Addr::from_bits(0x0a00_0000 + u32::from(n)), 1024 + n))
        });
        assert!(spots(both) >= 52);
    }
}
