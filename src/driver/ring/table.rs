//! A table whose places are used again. A key names one stay in a place: the key of one that has
//! left finds nothing, whoever is there now.

/// Values that are found by a key.
pub(super) struct Table<T> {
    places: Vec<Place<T>>,
    /// Places that nothing is in; the last one is used next, as its memory is warm.
    free: Vec<u32>,
}

/// One stay in a place of a [`Table`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    index: u32,
    generation: u32,
}

struct Place<T> {
    generation: u32,
    value: Option<T>,
}

/// Keys have so many bits.
pub(super) const KEY_BITS: u32 = 62;
/// Generations, beyond which they are used again.
const GENERATIONS: u32 = 1 << (KEY_BITS - u32::BITS);

impl Key {
    /// The key as a number below `1 << KEY_BITS`.
    pub(super) fn number(self) -> u64 {
        u64::from(self.generation) << u32::BITS | u64::from(self.index)
    }

    /// The key of a number.
    pub(super) fn of(number: u64) -> Self {
        let generation = number >> u32::BITS & u64::from(GENERATIONS - 1);
        Self { index: number as u32, generation: generation as u32 }
    }
}

impl<T> Table<T> {
    /// An empty one.
    pub(super) const fn new() -> Self {
        Self { places: Vec::new(), free: Vec::new() }
    }

    /// Gives a value a place; none when there are four thousand million values.
    pub(super) fn insert(&mut self, value: T) -> Option<Key> {
        if let Some(index) = self.free.pop()
            && let Some(place) = self.places.get_mut(index as usize)
        {
            place.value = Some(value);
            return Some(Key { index, generation: place.generation });
        }
        let index = u32::try_from(self.places.len()).ok()?;
        self.places.push(Place { generation: 0, value: Some(value) });
        Some(Key { index, generation: 0 })
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let place = self.places.get_mut(key.index as usize)?;
        if place.generation == key.generation { place.value.as_mut() } else { None }
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<T> {
        let place = self.places.get_mut(key.index as usize)?;
        if place.generation != key.generation {
            return None;
        }
        let value = place.value.take()?;
        place.generation = (place.generation + 1) % GENERATIONS;
        self.free.push(key.index);
        Some(value)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (Key, &mut T)> {
        let places = (0..).zip(&mut self.places);
        places.filter_map(|(index, place)| {
            Some((Key { index, generation: place.generation }, place.value.as_mut()?))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_outlives_its_value_and_finds_nothing() {
        let mut table = Table::new();
        let first = table.insert("first").unwrap();
        let other = table.insert("other").unwrap();
        assert_eq!(table.remove(first), Some("first"));
        let second = table.insert("second").unwrap();
        assert_eq!(second.index, first.index);
        assert_eq!(table.get_mut(first), None);
        assert_eq!(table.remove(first), None);
        assert_eq!(table.get_mut(second), Some(&mut "second"));
        let all: Vec<_> = table.iter_mut().map(|(key, value)| (key, *value)).collect();
        assert_eq!(all, [(second, "second"), (other, "other")]);
    }

    #[test]
    fn generations_are_used_again_and_keys_come_back_from_their_numbers() {
        let mut table = Table::new();
        table.insert(()).unwrap();
        table.places[0].generation = GENERATIONS - 1;
        let last = Key { index: 0, generation: GENERATIONS - 1 };
        assert_eq!(table.remove(last), Some(()));
        assert_eq!(table.insert(()), Some(Key { index: 0, generation: 0 }));
        for key in [last, Key { index: u32::MAX, generation: 7 }] {
            assert!(key.number() < 1 << KEY_BITS);
            assert_eq!(Key::of(key.number()), key);
        }
    }
}
