//! VLANs on driven interfaces (IEEE 802.1Q): the stack knows each as an interface of its own, whose frames have no tags.
//! Those are taken off and put on here.

use std::net::IpAddr;

use nic::{Burst, Pool, RxFrame, TxPkt};
use stack::control::ControlEvent;
use stack::engine::Stack;
use stack::time::Instant;
use stack::types::{IfaceId, is_link_local};

/// The tag's EtherType (TPID).
const TPID: [u8; 2] = [0x81, 0x00];
/// Where the tag is: behind the addresses.
const AT: usize = 12;
/// Bytes of a tag: TPID, and what it says (TCI).
const TAG: usize = 4;
/// The bits of a TCI that name the VLAN; the others are its priority.
const ID: u16 = 0x0fff;

/// A VLAN on a driven interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Vlan {
    iface: IfaceId,
    parent: IfaceId,
    id: u16,
}

/// All of them; as a rule none.
#[derive(Debug, Default)]
pub(super) struct Vlans {
    all: Vec<Vlan>,
    /// Frames that go to the stack together.
    run: Burst,
}

impl Vlans {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Follows what the kernel says. False when it is nothing for the stack: the link-local addresses of VLANs, and what is
    /// reached from those, stay the kernel's. They have their wire's link address, so its link-local one, too, and the
    /// steering program could not tell them apart.
    pub(super) fn follow(&mut self, event: &mut ControlEvent, most: usize) -> bool {
        match event {
            ControlEvent::Vlan { iface, parent, id } => {
                let new = Vlan { iface: *iface, parent: *parent, id: *id };
                self.all.retain(|old| old.iface != new.iface && (old.parent, old.id) != (new.parent, new.id));
                self.all.push(new);
                self.run.reserve(most);
                true
            }
            ControlEvent::IfaceGone(gone) => {
                self.all.retain(|vlan| vlan.iface != *gone && vlan.parent != *gone);
                true
            }
            ControlEvent::Address { iface, address, .. } => !self.is_of_link(*iface, *address),
            ControlEvent::Routes(routes) => {
                routes.retain(|route| !self.is_of_link(route.iface, route.network));
                true
            }
            _ => true,
        }
    }

    fn is_of_link(&self, iface: IfaceId, address: IpAddr) -> bool {
        let is_local = matches!(address, IpAddr::V6(a) if is_link_local(&a));
        is_local && self.all.iter().any(|vlan| vlan.iface == iface)
    }

    /// Takes the tags off what came by `parent`, and gives the stack runs of frames of one interface, in their order. Frames
    /// of VLANs that nobody told of keep their tag, as those with two: the stack has no use for them, and counts them.
    pub(super) fn receive(&mut self, stack: &mut Stack, now: Instant, parent: IfaceId, burst: &mut Burst) {
        let mut iface = parent;
        let mut run = std::mem::take(&mut self.run);
        for mut frame in burst.drain(..) {
            let of = self.arrive(stack.pool_mut(), parent, &mut frame);
            if of != iface && !run.is_empty() {
                stack.rx_burst(now, iface, &mut run);
            }
            iface = of;
            run.push(frame);
        }
        if !run.is_empty() {
            stack.rx_burst(now, iface, &mut run);
        }
        self.run = run;
    }

    /// Moves what the stack sends by VLANs to the queues of their interfaces, with tags.
    pub(super) fn transmit(&self, stack: &mut Stack) {
        for vlan in &self.all {
            while let Some((pool, queue)) = stack.tx_queue(vlan.iface)
                && let Some(mut frame) = queue.pop_front()
            {
                let tagged = tag(pool, &mut frame, vlan.id);
                debug_assert!(tagged, "no headroom for a tag");
                // Without a tag it would be somebody else's.
                match stack.tx_queue(vlan.parent).filter(|_| tagged) {
                    Some((_, queue)) => queue.push_back(frame),
                    None => stack.pool_mut().take_back(frame),
                }
            }
        }
    }

    /// The interface that a frame belongs to; its tag is off then.
    fn arrive(&self, pool: &mut Pool, parent: IfaceId, frame: &mut RxFrame) -> IfaceId {
        let Some(id) = tag_of(pool.bytes(&frame.pkt)) else { return parent };
        let iface = match id & ID {
            // IEEE 802.1Q 6.9.1: a priority, and no VLAN.
            0 => parent,
            id => match self.all.iter().find(|vlan| (vlan.parent, vlan.id) == (parent, id)) {
                Some(vlan) => vlan.iface,
                None => return parent,
            },
        };
        if let Some(bytes) = pool.bytes_mut(&mut frame.pkt) {
            bytes.copy_within(..AT, TAG);
            frame.pkt.trim_front(TAG);
        }
        iface
    }
}

/// What the tag of a frame says.
fn tag_of(frame: &[u8]) -> Option<u16> {
    let tag = frame.get(AT..)?.first_chunk::<TAG>()?;
    (tag[..2] == TPID).then(|| u16::from_be_bytes([tag[2], tag[3]]))
}

/// Puts the tag of VLAN `id` on a frame. False when there is no room for it.
fn tag(pool: &mut Pool, frame: &mut TxPkt, id: u16) -> bool {
    let Some(bytes) = pool.widen(frame, TAG) else { return false };
    bytes.copy_within(TAG..TAG + AT, 0);
    let [high, low] = id.to_be_bytes();
    bytes[AT..AT + TAG].copy_from_slice(&[TPID[0], TPID[1], high, low]);
    true
}

#[cfg(test)]
mod tests {
    use nic::{Arena, RxChecksum, RxMeta, TxChecksum};
    use stack::config::{Config, Secrets};
    use stack::control::Route;

    use super::*;

    const WIRE: IfaceId = IfaceId(3);
    const VLAN: IfaceId = IfaceId(9);
    const ID_10: u16 = 10;

    fn stack() -> Stack {
        let mut stack =
            Stack::new(Config::default(), Pool::new(Arena::new(64, 2048).unwrap()), Secrets([7; 32]));
        for iface in [WIRE, VLAN] {
            let event = ControlEvent::Iface { iface, mac: [2; 6], mtu: 1500, up: true, tx_checksum: false };
            stack.control(Instant::ZERO, event);
        }
        stack
    }

    fn vlans() -> Vlans {
        let mut vlans = Vlans::default();
        assert!(vlans.follow(&mut ControlEvent::Vlan { iface: VLAN, parent: WIRE, id: ID_10 }, 64));
        vlans
    }

    fn received(pool: &mut Pool, bytes: &[u8]) -> RxFrame {
        let mut pkt = pool.alloc().unwrap();
        pool.append_with(&mut pkt, bytes.len(), |room| {
            room.copy_from_slice(bytes);
            Ok::<usize, ()>(bytes.len())
        });
        RxFrame { pkt, meta: RxMeta { checksum: RxChecksum::Verified } }
    }

    fn frame(tags: &[u16]) -> Vec<u8> {
        let tags = tags.iter().flat_map(|tci| [0x81, 0, (tci >> 8) as u8, *tci as u8]);
        (1..=12).chain(tags).chain([8, 0, 0x45, 1, 2, 3]).collect()
    }

    #[test]
    fn a_tag_says_whose_a_frame_is_and_is_taken_off() {
        let (mut stack, vlans) = (stack(), vlans());
        let whole = frame(&[]);
        for (tags, iface, left) in [
            (&[][..], WIRE, whole.clone()),
            (&[ID_10], VLAN, whole.clone()),
            (&[0xe000 | ID_10], VLAN, whole.clone()),
            (&[0xe000], WIRE, whole.clone()),
            (&[11], WIRE, frame(&[11])),
            (&[ID_10, 11], VLAN, frame(&[11])),
        ] {
            let pool = stack.pool_mut();
            let mut came = received(pool, &frame(tags));
            assert_eq!(vlans.arrive(pool, WIRE, &mut came), iface, "{tags:?}");
            assert_eq!(pool.bytes(&came.pkt), left, "{tags:?}");
            pool.free(came.pkt);
        }
        // The same number on another wire is another VLAN, and a frame may end anywhere.
        let pool = stack.pool_mut();
        for (bytes, wire) in [(frame(&[ID_10]), IfaceId(4)), (frame(&[ID_10])[..15].to_vec(), WIRE)] {
            let mut came = received(pool, &bytes);
            assert_eq!(vlans.arrive(pool, wire, &mut came), wire);
            assert_eq!(pool.bytes(&came.pkt), bytes);
            pool.free(came.pkt);
        }
    }

    #[test]
    fn a_burst_reaches_the_stack_whole() {
        let (mut stack, mut vlans) = (stack(), vlans());
        let tags: [&[u16]; 6] = [&[], &[ID_10], &[ID_10], &[], &[11], &[ID_10]];
        let mut burst: Burst = tags.iter().map(|tags| received(stack.pool_mut(), &frame(tags))).collect();
        vlans.receive(&mut stack, Instant::ZERO, WIRE, &mut burst);
        assert!(burst.is_empty() && vlans.run.is_empty());
        assert_eq!((stack.stats().rx_frames, stack.stats().drop_not_ip), (6, 1));
        assert_eq!(stack.pool_mut().available(), 64);
    }

    #[test]
    fn what_leaves_by_a_vlan_leaves_by_its_wire_with_the_tag() {
        let (mut stack, vlans) = (stack(), vlans());
        for checksum in [TxChecksum::Complete, TxChecksum::Partial { start: 34, offset: 16 }] {
            let pkt = received(stack.pool_mut(), &frame(&[])).pkt;
            let (pool, queue) = stack.tx_queue(VLAN).unwrap();
            queue.push_back(pool.give(pkt, 0, checksum));
            vlans.transmit(&mut stack);
            assert!(stack.tx_queue(VLAN).unwrap().1.is_empty());
            let (pool, queue) = stack.tx_queue(WIRE).unwrap();
            let sent = queue.pop_front().unwrap();
            assert_eq!(pool.lent_bytes(&sent), frame(&[ID_10]));
            match (checksum, sent.checksum) {
                (TxChecksum::Partial { .. }, TxChecksum::Partial { start, offset }) => {
                    assert_eq!((start, offset), (38, 16));
                }
                (before, after) => assert_eq!(before, after),
            }
            pool.take_back(sent);
        }
    }

    /// Both interfaces have the same one.
    #[test]
    fn link_local_addresses_of_a_vlan_stay_the_kernels() {
        let mut vlans = vlans();
        let link: IpAddr = "fe80::1".parse().unwrap();
        let global: IpAddr = "2001:db8::1".parse().unwrap();
        let mut told = |iface, address| {
            vlans.follow(&mut ControlEvent::Address { iface, address, prefix: 64, deprecated: false }, 64)
        };
        assert_eq!([told(WIRE, link), told(VLAN, link), told(VLAN, global)], [true, false, true]);
        let route =
            |iface, network| Route { network, prefix: 64, gateway: None, iface, source: None, mtu: None };
        let kept = vec![route(WIRE, link), route(VLAN, global)];
        let mut all = ControlEvent::Routes([&kept[..], &[route(VLAN, link)]].concat());
        assert!(vlans.follow(&mut all, 64));
        assert_eq!(all, ControlEvent::Routes(kept));
    }

    #[test]
    fn a_vlan_that_is_made_anew_or_gone_is_known_as_that() {
        let mut vlans = vlans();
        let again = IfaceId(12);
        vlans.follow(&mut ControlEvent::Vlan { iface: again, parent: WIRE, id: ID_10 }, 64);
        assert_eq!(vlans.all, [Vlan { iface: again, parent: WIRE, id: ID_10 }]);
        vlans.follow(&mut ControlEvent::IfaceGone(VLAN), 64);
        assert!(!vlans.is_empty());
        vlans.follow(&mut ControlEvent::IfaceGone(WIRE), 64);
        assert!(vlans.is_empty());
    }
}
