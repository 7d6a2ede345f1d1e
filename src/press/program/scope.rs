//! Where names are bound while a template is compiled: as minijinja's frames, with slots.

#![expect(clippy::indexing_slicing, reason = "a frame that was pushed just now is there")]

use super::op::{Escape, LoopAsks, LoopId, Slot};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// What a name is.
#[derive(Clone, Debug)]
pub(super) enum Bound<'s> {
    /// A variable, and the branches in which it gets a value: within them it surely has one.
    Slot { slot: Slot, branches: Vec<u32> },
    /// A macro.
    Macro(usize),
    /// A variable of the template that a macro may see: it had its only value before that.
    Fixed(Slot),
    /// A template whose macros were imported.
    Module(Rc<BTreeMap<&'s str, usize>>),
}

/// A frame of minijinja's.
#[derive(Debug, Default)]
pub(super) struct Frame<'s> {
    names: Vec<(&'s str, Bound<'s>)>,
    /// What `loop` is in it.
    pub(super) state: Option<Slot>,
    /// How this loop is called from within.
    pub(super) recursion: Option<Recursion<'s>>,
    /// What its body asks of `loop`.
    pub(super) asks: LoopAsks,
    /// Names that each turn of its loop begins with, and that nothing else in it sets.
    pub(super) fixed: Vec<&'s str>,
    /// Whether names of the frames around it are not seen: that of a macro.
    pub(super) isolated: bool,
    /// The branch it is in.
    branch: u32,
    /// Variables that may lack a value.
    pub(super) clears: Vec<Slot>,
}

/// A loop that calls itself.
#[derive(Debug)]
pub(super) struct Recursion<'s> {
    pub(super) called: LoopId,
    pub(super) place: Surroundings,
    /// Levels around its body.
    pub(super) levels: usize,
    /// Names that get a value within it: where they may lack one, that of the turn that called
    /// would be seen.
    pub(super) sets: BTreeSet<&'s str>,
    /// Whether it has an `else`.
    pub(super) has_else: bool,
}

/// What must be the same where a loop calls itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Surroundings {
    /// The template, block or macro.
    pub(super) depth: usize,
    /// The call block.
    pub(super) call_frame: Option<usize>,
    pub(super) escape: Escape,
}

/// The frames, the innermost last.
#[derive(Debug, Default)]
pub(super) struct Scope<'s> {
    pub(super) frames: Vec<Frame<'s>>,
    /// The branches of conditions that we are in, the innermost last.
    open: Vec<u32>,
    branches: u32,
    next_slot: Slot,
}

impl<'s> Frame<'s> {
    pub(super) fn find(&self, name: &str) -> Option<&Bound<'s>> {
        self.names.iter().find(|(other, _)| *other == name).map(|(_, bound)| bound)
    }

    /// Whether it has a variable of this name that surely has a value.
    pub(super) fn is_sure(&self, name: &str, scope: &Scope<'s>) -> bool {
        matches!(self.find(name), Some(Bound::Slot { branches, .. }) if scope.is_sure(branches))
    }

    /// Its variables that surely have a value.
    pub(super) fn sure(&self) -> impl Iterator<Item = (&'s str, Slot)> {
        self.names.iter().filter_map(|(name, bound)| match bound {
            Bound::Slot { slot, branches } if branches.contains(&0) => Some((*name, *slot)),
            _ => None,
        })
    }

    /// The macros of this frame.
    pub(super) fn macros(&self) -> BTreeMap<&'s str, usize> {
        let macros = self.names.iter().filter_map(|(name, bound)| match bound {
            Bound::Macro(id) => Some((*name, *id)),
            _ => None,
        });
        macros.collect()
    }
}

impl<'s> Scope<'s> {
    /// Begins a frame.
    pub(super) fn push(&mut self) -> &mut Frame<'s> {
        let branch = self.branch();
        self.frames.push(Frame { branch, ..Frame::default() });
        // It was pushed just now.
        let last = self.frames.len() - 1;
        &mut self.frames[last]
    }

    /// Begins a branch of a condition.
    pub(super) fn enter(&mut self) {
        self.branches += 1;
        self.open.push(self.branches);
    }

    /// Ends it.
    pub(super) fn leave(&mut self) {
        self.open.pop();
    }

    /// The branch we are in.
    fn branch(&self) -> u32 {
        self.open.last().copied().unwrap_or(0)
    }

    /// Whether we are under a condition.
    pub(super) fn is_conditional(&self) -> bool {
        !self.open.is_empty()
    }

    /// Whether a variable surely has a value here.
    pub(super) fn is_sure(&self, branches: &[u32]) -> bool {
        branches.iter().any(|branch| *branch == 0 || self.open.contains(branch))
    }

    /// Goes into a macro, which is under no condition of where it is called.
    pub(super) fn isolate(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.open)
    }

    /// Comes back from it.
    pub(super) fn rejoin(&mut self, open: Vec<u32>) {
        self.open = open;
    }

    /// Ends the innermost frame.
    pub(super) fn pop(&mut self) -> Frame<'s> {
        self.frames.pop().unwrap_or_default()
    }

    /// Binds a name in the innermost frame to something other than a variable.
    pub(super) fn bind(&mut self, name: &'s str, bound: Bound<'s>) {
        if let Some(frame) = self.frames.last_mut() {
            frame.names.retain(|(other, _)| *other != name);
            frame.names.push((name, bound));
        }
    }

    /// The slot of a variable of the innermost frame that gets a value here. `None` when the name
    /// is something else.
    pub(super) fn assign(&mut self, name: &'s str) -> Option<Slot> {
        let branch = self.branch();
        let frame = self.frames.last_mut()?;
        let known = frame.names.iter_mut().find(|(other, _)| *other == name);
        if let Some((_, bound)) = known {
            return match bound {
                Bound::Slot { slot, branches } => {
                    branches.push(branch);
                    Some(*slot)
                }
                _ => None,
            };
        }
        let slot = self.next_slot;
        self.next_slot += 1;
        frame.names.push((name, Bound::Slot { slot, branches: vec![branch] }));
        if frame.branch != branch {
            frame.clears.push(slot);
        }
        Some(slot)
    }

    /// A slot without a name.
    pub(super) fn unnamed(&mut self) -> Slot {
        let slot = self.next_slot;
        self.next_slot += 1;
        slot
    }

    /// The next slot.
    pub(super) fn next_slot(&self) -> Slot {
        self.next_slot
    }

    /// The slots given so far.
    pub(super) fn slots(&self) -> usize {
        self.next_slot as usize
    }

    /// Begins counting slots anew, for a body with slots of its own; gives where it was.
    pub(super) fn start_slots(&mut self) -> Slot {
        std::mem::take(&mut self.next_slot)
    }

    /// Goes on counting.
    pub(super) fn resume_slots(&mut self, slot: Slot) {
        self.next_slot = slot;
    }

    /// Whether we are in a loop.
    pub(super) fn is_in_loop(&self) -> bool {
        self.frames.iter().any(|frame| frame.state.is_some())
    }

    /// The frame of the loop that `loop` is about, if it begins in this frame or further in; and
    /// what `loop` is.
    pub(super) fn current_loop(&mut self, from: usize) -> Option<(Slot, &mut Frame<'s>)> {
        for frame in self.frames.iter_mut().skip(from).rev() {
            if let Some(slot) = frame.state {
                return Some((slot, frame));
            }
            if frame.isolated {
                return None;
            }
        }
        None
    }

    /// A slot of that loop's, for something that its body asks of `loop`.
    pub(super) fn asked(
        &mut self,
        from: usize,
        which: fn(&mut LoopAsks) -> &mut Option<Slot>,
    ) -> Option<Slot> {
        let slot = self.next_slot;
        let (_, frame) = self.current_loop(from)?;
        let asked = *which(&mut frame.asks).get_or_insert(slot);
        self.next_slot = self.next_slot.max(asked + 1);
        Some(asked)
    }
}
