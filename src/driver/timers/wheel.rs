//! The wheel under a worker's timers: ticks in, keys that expired out. No clock, no IO.
//!
//! An entry is linked into at most one slot. Moving its due tick later, or clearing it, is one
//! store: the entry stays where it is and is moved when the wheel comes by. Only an earlier tick
//! links it anew. So a deadline that every request sets and clears costs next to nothing.

#![expect(
    clippy::indexing_slicing,
    reason = "a slot is a tick modulo their number, a key is one this wheel gave; hot"
)]

use crate::limits::TIMER_SLOTS;

/// A due tick that never comes: the entry is not set.
pub(super) const NEVER: u64 = u64::MAX;

/// Entries with a due tick each, and the slots that they wait in.
#[derive(Debug)]
pub(super) struct Wheel<T> {
    slots: Vec<Slot>,
    entries: Vec<Entry<T>>,
    /// The first entry that is free for reuse; the others follow through `next`.
    free: usize,
    /// The tick the wheel was advanced to.
    now: u64,
}

/// A doubly linked list of the entries whose `linked` tick falls on this slot.
#[derive(Clone, Debug)]
struct Slot {
    head: usize,
    /// No entry of this slot is linked at a tick before this one, so a slot that only holds
    /// timers of later turns is passed without a look at them.
    earliest: u64,
}

#[derive(Debug)]
struct Entry<T> {
    due: u64,
    /// The tick at which this entry is looked at, at or before `due`; `NEVER` when in no slot.
    linked: u64,
    previous: usize,
    next: usize,
    value: Option<T>,
}

impl<T> Wheel<T> {
    /// An empty wheel at tick 0.
    pub(super) fn new() -> Self {
        let slots = vec![Slot { head: NIL, earliest: NEVER }; TIMER_SLOTS];
        Self { slots, entries: Vec::new(), free: NIL, now: 0 }
    }

    /// Adds an entry that is not set.
    pub(super) fn insert(&mut self) -> usize {
        let entry = Entry { due: NEVER, linked: NEVER, previous: NIL, next: NIL, value: None };
        let key = self.free;
        if key == NIL {
            self.entries.push(entry);
            return self.entries.len() - 1;
        }
        self.free = self.entries[key].next;
        self.entries[key] = entry;
        key
    }

    /// Takes an entry out. Its value is handed over rather than dropped, as dropping a waker may
    /// run code that uses this wheel.
    pub(super) fn remove(&mut self, key: usize) -> Option<T> {
        self.unlink(key);
        let entry = &mut self.entries[key];
        entry.due = NEVER;
        entry.next = self.free;
        self.free = key;
        entry.value.take()
    }

    /// Sets when an entry is due. Gives the tick it will be looked at, if that is earlier than it
    /// was before. One that is due already expires at the next tick.
    pub(super) fn set(&mut self, key: usize, due: u64) -> Option<u64> {
        let earliest = due.max(self.now + 1);
        let entry = &mut self.entries[key];
        entry.due = due;
        if entry.linked <= earliest {
            return None;
        }
        self.unlink(key);
        self.link(key, earliest);
        Some(earliest)
    }

    /// Makes an entry never expire, until it is set again.
    pub(super) fn clear(&mut self, key: usize) {
        self.entries[key].due = NEVER;
    }

    /// Whether an entry's due tick has come.
    pub(super) fn expired(&self, key: usize) -> bool {
        self.entries[key].due <= self.now
    }

    /// The place for an entry's value.
    pub(super) fn value(&mut self, key: usize) -> &mut Option<T> {
        &mut self.entries[key].value
    }

    /// Moves on to tick `now` and appends the keys that came due, each once.
    pub(super) fn advance(&mut self, now: u64, expired: &mut Vec<usize>) {
        if now <= self.now {
            return;
        }
        // When the wheel is a turn or more behind, every slot is passed once.
        let first = (self.now + 1).max((now + 1).saturating_sub(TURN));
        self.now = now;
        for tick in first..=now {
            let slot = slot_of(tick);
            if self.slots[slot].earliest <= now {
                self.visit(slot, expired);
            }
        }
    }

    /// The next tick at which an entry must be looked at. At or before the next due one, as an
    /// entry that was cleared or moved later is still looked at where it was.
    pub(super) fn next_tick(&self) -> Option<u64> {
        let mut next = NEVER;
        for tick in (self.now..self.now.saturating_add(TURN)).map(|tick| tick + 1) {
            let earliest = self.slots[slot_of(tick)].earliest;
            if earliest == tick {
                return Some(tick);
            }
            next = next.min(earliest);
        }
        (next != NEVER).then_some(next)
    }

    /// Looks at each entry of a slot: it expires, or goes to its due tick, or nowhere.
    fn visit(&mut self, slot: usize, expired: &mut Vec<usize>) {
        let list = &mut self.slots[slot];
        let mut key = std::mem::replace(&mut list.head, NIL);
        list.earliest = NEVER;
        while key != NIL {
            let entry = &mut self.entries[key];
            let (due, next) = (entry.due, entry.next);
            entry.linked = NEVER;
            if due <= self.now {
                expired.push(key);
            } else if due != NEVER {
                self.link(key, due);
            }
            key = next;
        }
    }

    fn link(&mut self, key: usize, tick: u64) {
        debug_assert!(tick > self.now, "an entry in the past would wait for a whole turn");
        let list = &mut self.slots[slot_of(tick)];
        let head = std::mem::replace(&mut list.head, key);
        list.earliest = list.earliest.min(tick);
        if head != NIL {
            self.entries[head].previous = key;
        }
        let entry = &mut self.entries[key];
        entry.linked = tick;
        entry.previous = NIL;
        entry.next = head;
    }

    fn unlink(&mut self, key: usize) {
        let entry = &mut self.entries[key];
        let linked = std::mem::replace(&mut entry.linked, NEVER);
        if linked == NEVER {
            return;
        }
        let (previous, next) = (entry.previous, entry.next);
        if next != NIL {
            self.entries[next].previous = previous;
        }
        if previous != NIL {
            self.entries[previous].next = next;
            return;
        }
        let list = &mut self.slots[slot_of(linked)];
        list.head = next;
        if next == NIL {
            list.earliest = NEVER;
        }
    }
}

/// The slot of a tick: the remainder is below `TIMER_SLOTS`, so nothing is cut off.
fn slot_of(tick: u64) -> usize {
    (tick % TURN) as usize
}

/// Ticks of one turn.
const TURN: u64 = TIMER_SLOTS as u64;
/// No entry: the end of a list.
const NIL: usize = usize::MAX;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[derive(Clone, Debug)]
    enum Step {
        Insert,
        Remove(usize),
        Set(usize, u64),
        Clear(usize),
        Advance(u64),
    }

    fn ticks() -> impl Strategy<Value = u64> {
        prop_oneof![3 => 0..8_u64, 3 => 0..TURN + 8, 1 => 0..TURN * 3, 1 => Just(TURN)]
    }

    fn step() -> impl Strategy<Value = Step> {
        let which = 0..1000_usize;
        prop_oneof![
            2 => Just(Step::Insert),
            1 => which.clone().prop_map(Step::Remove),
            6 => (which.clone(), ticks()).prop_map(|(which, by)| Step::Set(which, by)),
            1 => which.prop_map(Step::Clear),
            5 => ticks().prop_map(Step::Advance),
        ]
    }

    /// What the wheel must do, the plain way: each key with its due tick, and whether it was
    /// reported since it was set.
    #[derive(Default)]
    struct Model {
        now: u64,
        due: BTreeMap<usize, (u64, bool)>,
    }

    impl Model {
        fn pick(&self, which: usize) -> Option<usize> {
            let count = self.due.len();
            self.due.keys().nth(which.checked_rem(count)?).copied()
        }

        fn advance(&mut self, by: u64) -> Vec<usize> {
            self.now += by;
            let mut expired = Vec::new();
            for (key, (due, reported)) in &mut self.due {
                if by > 0 && *due <= self.now && !*reported {
                    *reported = true;
                    expired.push(*key);
                }
            }
            expired
        }
    }

    fn apply(wheel: &mut Wheel<()>, model: &mut Model, step: Step) {
        match step {
            Step::Insert => {
                let key = wheel.insert();
                assert!(model.due.insert(key, (NEVER, false)).is_none(), "a key given twice");
            }
            Step::Remove(which) => {
                if let Some(key) = model.pick(which) {
                    wheel.remove(key);
                    model.due.remove(&key);
                }
            }
            Step::Set(which, by) => {
                if let Some(key) = model.pick(which) {
                    // A few back, so that ticks in the past are tried as well.
                    let due = (model.now + by).saturating_sub(4);
                    wheel.set(key, due);
                    model.due.insert(key, (due, false));
                }
            }
            Step::Clear(which) => {
                if let Some(key) = model.pick(which) {
                    wheel.clear(key);
                    model.due.insert(key, (NEVER, false));
                }
            }
            Step::Advance(by) => {
                let mut expired = Vec::new();
                wheel.advance(model.now + by, &mut expired);
                expired.sort_unstable();
                assert_eq!(expired, model.advance(by));
            }
        }
    }

    proptest! {
        #[test]
        fn it_does_what_the_plain_model_does(steps in prop::collection::vec(step(), 1..200)) {
            let (mut wheel, mut model) = (Wheel::new(), Model::default());
            for step in steps {
                apply(&mut wheel, &mut model, step);
                for (key, (due, _)) in &model.due {
                    prop_assert_eq!(wheel.expired(*key), *due <= model.now);
                }
                let pending = model.due.values().filter(|(due, reported)| {
                    *due != NEVER && !reported
                });
                let first = pending.map(|(due, _)| (*due).max(model.now + 1)).min();
                let next = wheel.next_tick();
                prop_assert!(next.is_none_or(|next| next > model.now));
                prop_assert!(first.is_none_or(|first| next.is_some_and(|next| next <= first)));
            }
        }
    }

    #[test]
    fn nothing_armed_leaves_nothing_to_wake_for() {
        let mut wheel = Wheel::<()>::new();
        let (removed, cleared) = (wheel.insert(), wheel.insert());
        wheel.set(removed, 5);
        wheel.set(cleared, 7);
        wheel.remove(removed);
        wheel.clear(cleared);
        assert_eq!(wheel.next_tick(), Some(7), "a cleared entry is looked at once more");
        let mut expired = Vec::new();
        wheel.advance(7, &mut expired);
        assert_eq!((expired, wheel.next_tick()), (Vec::new(), None));
    }

    #[test]
    fn a_far_timer_is_not_looked_at_every_turn() {
        let mut wheel = Wheel::<()>::new();
        let key = wheel.insert();
        let due = TURN * 15 + 3;
        wheel.set(key, due);
        assert_eq!(wheel.next_tick(), Some(due));
        let mut expired = Vec::new();
        wheel.advance(due - 1, &mut expired);
        assert!(expired.is_empty());
        wheel.advance(due, &mut expired);
        assert_eq!(expired, [key]);
    }

    #[test]
    fn a_later_deadline_does_not_link_anew() {
        let mut wheel = Wheel::<()>::new();
        let key = wheel.insert();
        assert_eq!(wheel.set(key, 10), Some(10));
        assert_eq!(wheel.set(key, 20), None);
        wheel.clear(key);
        assert_eq!(wheel.set(key, 15), None);
        assert_eq!(wheel.set(key, 4), Some(4));
    }
}
