//! The answer that was given last: who begins a connection asks for the same way several times, and peers behind one gateway
//! need the same link address.

/// An answer that holds as long as nothing has changed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Latest<K, V> {
    generation: u32,
    key: K,
    answer: V,
}

impl<K: PartialEq, V: Copy> Latest<K, V> {
    /// `answer` was given to who asked for `key`, in this generation.
    pub(super) fn new(generation: u32, key: K, answer: V) -> Self {
        Self { generation, key, answer }
    }

    /// That answer, if it was to this `key`, and nothing has changed since.
    #[inline]
    pub(super) fn of(&self, generation: u32, key: &K) -> Option<V> {
        (self.generation == generation && self.key == *key).then_some(self.answer)
    }
}
