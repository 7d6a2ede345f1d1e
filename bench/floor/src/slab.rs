//! A bounded table whose slots are used again. A key names one stay in a slot: the key of one that
//! has left finds nothing, whoever is there now.

/// A table of at most `capacity` values.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    slots: Vec<Slot<T>>,
    /// Slots that are empty; the last one is used next, since its memory is warm.
    free: Vec<u32>,
    capacity: usize,
}

/// One stay in a slot of a [`Slab`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

impl<T> Slab<T> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { slots: Vec::new(), free: Vec::new(), capacity }
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.len() >= self.capacity
    }

    /// Gives the value a place, or gives it back when there is none.
    pub(crate) fn insert(&mut self, value: T) -> Result<Key, T> {
        if let Some(index) = self.free.pop()
            && let Some(slot) = self.slots.get_mut(index as usize)
        {
            debug_assert!(slot.value.is_none(), "slot {index} is free and has a value");
            slot.value = Some(value);
            return Ok(Key { index, generation: slot.generation });
        }
        match u32::try_from(self.slots.len()) {
            Ok(index) if self.slots.len() < self.capacity => {
                self.slots.push(Slot { generation: 0, value: Some(value) });
                Ok(Key { index, generation: 0 })
            }
            _ => Err(value),
        }
    }

    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let slot = self.slots.get_mut(key.index as usize)?;
        if slot.generation == key.generation { slot.value.as_mut() } else { None }
    }

    pub(crate) fn get(&self, key: Key) -> Option<&T> {
        let slot = self.slots.get(key.index as usize)?;
        if slot.generation == key.generation { slot.value.as_ref() } else { None }
    }

    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        let slot = self.slots.get_mut(key.index as usize)?;
        if slot.generation != key.generation {
            return None;
        }
        let value = slot.value.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(key.index);
        Some(value)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        let slots = (0..).zip(&self.slots);
        slots.filter_map(|(index, slot)| {
            Some((Key { index, generation: slot.generation }, slot.value.as_ref()?))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_outlives_its_value_and_finds_nothing() {
        let mut slab = Slab::new(2);
        let first = slab.insert("first").unwrap();
        assert_eq!(slab.remove(first), Some("first"));
        let second = slab.insert("second").unwrap();
        assert_eq!(second.index, first.index);
        assert_eq!(slab.get(first), None);
        assert_eq!(slab.get_mut(first), None);
        assert_eq!(slab.remove(first), None);
        assert_eq!(slab.get(second), Some(&"second"));
    }

    #[test]
    fn it_is_bounded_and_counts() {
        let mut slab = Slab::new(2);
        let one = slab.insert(1).unwrap();
        let two = slab.insert(2).unwrap();
        assert!(slab.is_full());
        assert_eq!(slab.insert(3), Err(3));
        assert_eq!(slab.remove(one), Some(1));
        assert_eq!(slab.len(), 1);
        let three = slab.insert(3).unwrap();
        let found: Vec<_> = slab.iter().map(|(key, value)| (key, *value)).collect();
        assert_eq!(found, [(three, 3), (two, 2)]);
    }
}
