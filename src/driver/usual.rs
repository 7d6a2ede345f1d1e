//! How large messages are, remembered: the answers of an upstream, the requests of visitors. A
//! connection that waits for one holds room for it all the while, and most are far smaller than
//! what they may be.

use std::cell::Cell;
use std::rc::Rc;

/// The size that messages of one kind usually have. A clone is the same memory.
#[derive(Clone, Debug)]
pub struct Usual {
    bytes: Rc<Cell<usize>>,
    most: usize,
}

impl Usual {
    /// For messages for which there is to be room for so many bytes at most; that is what there is
    /// while nothing is known yet.
    pub fn up_to(most: usize) -> Self {
        Self::supposed(most, most)
    }

    /// The same, but that they are supposed to be smaller while nothing is known yet: the first of
    /// them, and all that are under way together with it, take another read if that is wrong.
    pub fn supposed(bytes: usize, most: usize) -> Self {
        Self { bytes: Rc::new(Cell::new(bytes.min(most))), most }
    }

    /// Room for a whole message, most likely, and for a byte too many to be seen. Where it is too
    /// small, the message takes another read and is remembered.
    pub fn room(&self) -> usize {
        let room = self.bytes.get().saturating_add(1).next_multiple_of(STEP);
        room.clamp(STEP.min(self.most), self.most)
    }

    /// Takes note of a message, head and body. A larger one counts at once, smaller ones little
    /// by little: of several kinds it is the large ones that need the room.
    pub fn learn(&self, bytes: usize) {
        let bytes = bytes.min(self.most);
        let before = self.bytes.get();
        self.bytes.set(bytes.max(before - before.saturating_sub(bytes).div_ceil(FORGETTING)));
    }
}

/// Rooms differ by this many bytes, so that messages that differ by a few have the same.
const STEP: usize = 256;
/// One of so many parts of what a message needs less than those before is forgotten.
const FORGETTING: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: usize = 4096;

    #[test]
    fn nothing_known_is_the_most_there_may_be() {
        assert_eq!(Usual::up_to(MOST).room(), MOST);
    }

    #[test]
    fn what_is_supposed_holds_until_more_is_known() {
        let usual = Usual::supposed(1000, MOST);
        assert_eq!(usual.room(), 1024);
        usual.learn(1500);
        assert_eq!(usual.room(), 1536);
        assert_eq!(Usual::supposed(MOST + 1, MOST).room(), MOST);
    }

    #[test]
    fn room_follows_what_comes_up_at_once_and_down_in_time() {
        let usual = Usual::up_to(MOST);
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
        let usual = Usual::up_to(MOST);
        (0..200).for_each(|_| usual.learn(0));
        assert_eq!(usual.room(), STEP);
        usual.learn(STEP);
        assert_eq!(usual.room(), 2 * STEP);
        usual.learn(usize::MAX);
        assert_eq!(usual.room(), MOST);
    }
}
