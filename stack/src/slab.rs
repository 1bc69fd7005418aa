//! Sockets by number: a generational slab.
//!
//! A slot keeps its place for as long as the slab lives, and begins with a line of the cache. Slots come in chunks, so
//! that growing moves nothing: the longest pause is the allocation of one chunk. There are few of them, so that where
//! each lies is in the caches whoever is looked for.

use crate::types::SocketId;

/// Slots in a chunk.
const CHUNK: usize = 256;
/// The end of the free list.
const NONE: u32 = u32::MAX;

#[derive(Debug)]
#[repr(align(64))]
enum Slot<T> {
    /// Free; the next free slot. The generation is that of the next tenant.
    Vacant { generation: u32, next: u32 },
    /// Taken.
    Occupied { generation: u32, value: T },
}

impl<T> Slot<T> {
    /// Whether what `id` names lies here.
    fn is_of(&self, id: SocketId) -> bool {
        matches!(self, Slot::Occupied { generation, .. } if *generation == id.generation)
    }
}

/// Values keyed by [`SocketId`]. Every operation is O(1); freed slots are taken again, the last freed first.
#[derive(Debug)]
pub struct Slab<T> {
    chunks: Vec<Box<[Slot<T>; CHUNK]>>,
    free: u32,
    len: u32,
    limit: u32,
}

impl<T> Slab<T> {
    /// An empty slab that holds up to `limit` values. Allocates nothing yet.
    pub fn new(limit: u32) -> Self {
        Self { chunks: Vec::new(), free: NONE, len: 0, limit }
    }

    /// Values held.
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether the limit is reached.
    pub fn is_full(&self) -> bool {
        self.len >= self.limit
    }

    /// Slots that exist, free ones included: every [`SocketId::index`] given out so far is below.
    pub fn slots(&self) -> usize {
        self.chunks.len() * CHUNK
    }

    /// Makes slots ahead, so that the first `total` values allocate nothing.
    pub fn reserve(&mut self, total: u32) {
        while self.slots() < total.min(self.limit) as usize {
            self.grow();
        }
    }

    /// Keeps `value` and names it.
    ///
    /// # Errors
    /// The value itself, when the limit is reached.
    pub fn insert(&mut self, value: T) -> Result<SocketId, T> {
        if self.is_full() {
            return Err(value);
        }
        if self.free == NONE {
            self.grow();
        }
        let index = self.free;
        let slot = self.slot_mut(index).expect("the free list names slots that exist");
        let Slot::Vacant { generation, next } = *slot else { unreachable!("a free slot is vacant") };
        *slot = Slot::Occupied { generation, value };
        self.free = next;
        self.len += 1;
        Ok(SocketId { index, generation })
    }

    /// The value named `id`; none when it is gone, even if its slot has a new tenant.
    #[inline]
    pub fn get(&self, id: SocketId) -> Option<&T> {
        match self.slot(id.index)? {
            Slot::Occupied { generation, value } if *generation == id.generation => Some(value),
            _ => None,
        }
    }

    /// The value named `id`, for change.
    #[inline]
    pub fn get_mut(&mut self, id: SocketId) -> Option<&mut T> {
        match self.slot_mut(id.index)? {
            Slot::Occupied { generation, value } if *generation == id.generation => Some(value),
            _ => None,
        }
    }

    /// Whatever lives in slot `index`, for change, with its full name.
    #[inline]
    pub fn named_mut(&mut self, index: u32) -> Option<(SocketId, &mut T)> {
        match self.slot_mut(index)? {
            Slot::Occupied { generation, value } => {
                Some((SocketId { index, generation: *generation }, value))
            }
            Slot::Vacant { .. } => None,
        }
    }

    /// Whatever lives in slot `index`.
    #[inline]
    pub fn at(&self, index: u32) -> Option<&T> {
        match self.slot(index)? {
            Slot::Occupied { value, .. } => Some(value),
            Slot::Vacant { .. } => None,
        }
    }

    /// Asks the processor to fetch the first `bytes` of what may live in slot `index`.
    #[inline]
    pub fn prefetch(&self, index: u32, bytes: usize) {
        if let Some(slot) = self.slot(index) {
            nic::prefetch(slot, bytes);
        }
    }

    /// Whether `id` still names a value.
    #[inline]
    pub fn contains(&self, id: SocketId) -> bool {
        self.get(id).is_some()
    }

    /// The full name of whatever lives in slot `index`: for timers and side tables, which know slots only.
    #[inline]
    pub fn id_at(&self, index: u32) -> Option<SocketId> {
        match self.slot(index)? {
            Slot::Occupied { generation, .. } => Some(SocketId { index, generation: *generation }),
            Slot::Vacant { .. } => None,
        }
    }

    /// Takes the value named `id` out; its name never means another value.
    pub fn remove(&mut self, id: SocketId) -> Option<T> {
        self.get(id)?;
        let vacant = Slot::Vacant { generation: id.generation.wrapping_add(1), next: self.free };
        let slot = self.slot_mut(id.index)?;
        let Slot::Occupied { value, .. } = core::mem::replace(slot, vacant) else {
            unreachable!("get saw a value")
        };
        self.free = id.index;
        self.len -= 1;
        Some(value)
    }

    /// As [`Slab::remove`], where nobody wants the value: it is dropped where it lies. False when there was none.
    pub fn discard(&mut self, id: SocketId) -> bool {
        let free = self.free;
        match self.slot_mut(id.index) {
            Some(slot) if slot.is_of(id) => {
                *slot = Slot::Vacant { generation: id.generation.wrapping_add(1), next: free };
            }
            _ => return false,
        }
        self.free = id.index;
        self.len -= 1;
        true
    }

    /// Every value with its name, by slot. Linear in the slots: for dumps and shutdown, not for packets.
    pub fn iter(&self) -> impl Iterator<Item = (SocketId, &T)> {
        self.chunks.iter().flat_map(|chunk| chunk.iter()).zip(0u32..).filter_map(|(slot, index)| match slot {
            Slot::Occupied { generation, value } => {
                Some((SocketId { index, generation: *generation }, value))
            }
            Slot::Vacant { .. } => None,
        })
    }

    #[inline]
    fn slot(&self, index: u32) -> Option<&Slot<T>> {
        self.chunks.get(index as usize / CHUNK).map(|chunk| &chunk[index as usize % CHUNK])
    }

    #[inline]
    fn slot_mut(&mut self, index: u32) -> Option<&mut Slot<T>> {
        self.chunks.get_mut(index as usize / CHUNK).map(|chunk| &mut chunk[index as usize % CHUNK])
    }

    /// Adds a chunk; its slots go in front of the free list, lowest first.
    fn grow(&mut self) {
        let first = self.slots() as u32;
        let last = first + CHUNK as u32 - 1;
        let next = |index| if index == last { self.free } else { index + 1 };
        let slots: Box<[Slot<T>]> =
            (first..=last).map(|index| Slot::Vacant { generation: 0, next: next(index) }).collect();
        let Ok(chunk) = slots.try_into() else { unreachable!("there are as many as a chunk has") };
        self.chunks.push(chunk);
        self.free = first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_outlives_its_value_but_not_its_meaning() {
        let mut slab = Slab::new(10);
        let a = slab.insert("a").unwrap();
        assert_eq!(a, SocketId { index: 0, generation: 0 });
        assert_eq!(slab.remove(a), Some("a"));
        let b = slab.insert("b").unwrap();
        assert_eq!(b, SocketId { index: 0, generation: 1 });
        assert_eq!(slab.get(a), None);
        assert_eq!(slab.remove(a), None);
        assert_eq!(slab.get(b), Some(&"b"));
        assert_eq!(slab.id_at(0), Some(b));
        assert_eq!(slab.id_at(1), None);
        assert_eq!(slab.id_at(9999), None);
    }

    #[test]
    fn what_is_discarded_is_dropped_once_and_its_slot_is_taken_again() {
        let value = std::rc::Rc::new(());
        let mut slab = Slab::new(10);
        let id = slab.insert(value.clone()).unwrap();
        assert!(slab.discard(id));
        assert_eq!((std::rc::Rc::strong_count(&value), slab.len()), (1, 0));
        assert!(!slab.discard(id), "its name means nothing any more");
        let other = slab.insert(value.clone()).unwrap();
        assert_eq!(other, SocketId { index: 0, generation: 1 });
        assert!(!slab.discard(id) && slab.contains(other));
    }

    #[test]
    fn the_limit_gives_the_value_back() {
        let mut slab = Slab::new(65);
        for n in 0..65 {
            assert_eq!(slab.insert(n).unwrap().index, n);
        }
        assert_eq!(slab.insert(65), Err(65));
        assert_eq!(slab.len(), 65);
        slab.remove(SocketId { index: 7, generation: 0 });
        assert_eq!(slab.insert(66), Ok(SocketId { index: 7, generation: 1 }));
    }

    #[test]
    fn reserve_makes_slots_ahead() {
        let mut slab: Slab<u8> = Slab::new(1000);
        slab.reserve(100);
        assert_eq!((slab.slots(), slab.len()), (256, 0));
        slab.reserve(u32::MAX);
        assert_eq!(slab.slots(), 1024);
    }

    #[test]
    fn iter_sees_each_value_once() {
        let mut slab = Slab::new(1000);
        let ids: Vec<_> = (0..200).map(|n| slab.insert(n).unwrap()).collect();
        for id in ids.iter().step_by(2) {
            slab.remove(*id);
        }
        let seen: Vec<_> = slab.iter().map(|(id, v)| (id.index, *v)).collect();
        assert_eq!(seen, (0..200).filter(|n| n % 2 == 1).map(|n| (n, n)).collect::<Vec<_>>());
    }
}
