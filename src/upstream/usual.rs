//! How large the answers of an upstream are, remembered: a connection that waits for one holds
//! room for it all the while, and most answers are far smaller than what they may be.

use std::cell::Cell;
use std::rc::Rc;

use crate::limits;

/// The size that the answers of one upstream usually have. A clone is the same memory.
#[derive(Clone, Debug)]
pub(super) struct Usual(Rc<Cell<usize>>);

impl Usual {
    /// Room for a whole answer, most likely, and for a byte too many to be seen. Where it is too
    /// small, the answer takes another read and is remembered.
    pub(super) fn room(&self) -> usize {
        let room = self.0.get().saturating_add(1).next_multiple_of(STEP);
        room.clamp(STEP, limits::UPSTREAM_READ_BYTES)
    }

    /// Takes note of an answer, head and body. A larger one counts at once, smaller ones little
    /// by little: of several kinds it is the large ones that need the room.
    pub(super) fn learn(&self, bytes: usize) {
        let bytes = bytes.min(limits::UPSTREAM_READ_BYTES);
        let before = self.0.get();
        self.0.set(bytes.max(before - before.saturating_sub(bytes).div_ceil(FORGETTING)));
    }
}

impl Default for Usual {
    /// As much as there may be: nothing is known yet.
    fn default() -> Self {
        Self(Rc::new(Cell::new(limits::UPSTREAM_READ_BYTES)))
    }
}

/// Rooms differ by this many bytes, so that answers that differ by a few have the same.
const STEP: usize = 256;
/// One of so many parts of what an answer needs less than those before is forgotten.
const FORGETTING: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_known_is_the_most_there_may_be() {
        assert_eq!(Usual::default().room(), limits::UPSTREAM_READ_BYTES);
    }

    #[test]
    fn room_follows_what_comes_up_at_once_and_down_in_time() {
        let usual = Usual::default();
        (0..50).for_each(|_| usual.learn(1500));
        assert_eq!(usual.room(), 1536);
        usual.learn(2600);
        assert_eq!(usual.room(), 2816);
        usual.learn(1500);
        assert!((2304..2816).contains(&usual.room()), "{}", usual.room());
        // A large one among eight: there is room for it every time.
        for size in [200, 200, 200, 200, 200, 200, 200, 3000].into_iter().cycle().take(80) {
            usual.learn(size);
        }
        assert!(usual.room() > 3000);
    }

    #[test]
    fn room_has_bounds_and_the_byte_too_many_has_its_place() {
        let usual = Usual::default();
        (0..200).for_each(|_| usual.learn(0));
        assert_eq!(usual.room(), STEP);
        usual.learn(STEP);
        assert_eq!(usual.room(), 2 * STEP);
        usual.learn(usize::MAX);
        assert_eq!(usual.room(), limits::UPSTREAM_READ_BYTES);
    }
}
