//! Where names are bound while a template is compiled: as minijinja's frames, with slots.

#![expect(clippy::indexing_slicing, reason = "a frame that was pushed just now is there")]

use super::op::Slot;
use std::collections::BTreeMap;
use std::rc::Rc;

/// What a name is.
#[derive(Clone, Debug)]
pub(super) enum Bound<'s> {
    /// A variable, and the branches in which it gets a value: within them it surely has one.
    Slot { slot: Slot, branches: Vec<u32> },
    /// A macro.
    Macro(usize),
    /// A template whose macros were imported.
    Module(Rc<BTreeMap<&'s str, usize>>),
}

/// A frame of minijinja's.
#[derive(Debug, Default)]
pub(super) struct Frame<'s> {
    names: Vec<(&'s str, Bound<'s>)>,
    /// What `loop` is in it.
    pub(super) state: Option<Slot>,
    /// Names that each turn of its loop begins with, and that nothing else in it sets.
    pub(super) fixed: Vec<&'s str>,
    /// Whether names of the frames around it are not seen: that of a macro.
    pub(super) isolated: bool,
    /// The branch it is in.
    branch: u32,
    /// Variables that may lack a value.
    pub(super) clears: Vec<Slot>,
    /// Whether a body asks for the length of the loop.
    pub(super) needs_length: bool,
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

    /// The loop that `loop` is about, if it begins in this frame or further in.
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
}
