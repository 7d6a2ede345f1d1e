//! Where names are bound while a template is compiled: as minijinja's frames, with slots.

use super::op::Slot;
use std::collections::BTreeMap;
use std::rc::Rc;

/// What a name is.
#[derive(Clone, Debug)]
pub(super) enum Bound<'s> {
    /// A variable, and whether it surely has a value wherever it is looked up from here on.
    Slot { slot: Slot, surely: bool },
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
    /// Whether names of the frames around it are not seen: that of a macro.
    pub(super) isolated: bool,
    /// How many conditions were open when it began.
    conditions: usize,
    /// Variables that may lack a value.
    pub(super) clears: Vec<Slot>,
    /// Whether a body asks for the length of the loop.
    pub(super) needs_length: bool,
}

/// The frames, the innermost last.
#[derive(Debug, Default)]
pub(super) struct Scope<'s> {
    pub(super) frames: Vec<Frame<'s>>,
    /// Conditions that are open: what is set under one may not be set.
    pub(super) conditions: usize,
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
        let conditions = self.conditions;
        self.frames.push(Frame { conditions, ..Frame::default() });
        // It was pushed just now.
        let last = self.frames.len() - 1;
        &mut self.frames[last]
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
        let conditions = self.conditions;
        let frame = self.frames.last_mut()?;
        let surely_now = frame.conditions == conditions;
        let known = frame.names.iter_mut().find(|(other, _)| *other == name);
        if let Some((_, bound)) = known {
            return match bound {
                Bound::Slot { slot, surely } => {
                    *surely |= surely_now;
                    Some(*slot)
                }
                _ => None,
            };
        }
        let slot = self.next_slot;
        self.next_slot += 1;
        frame.names.push((name, Bound::Slot { slot, surely: surely_now }));
        if !surely_now {
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

    /// The loop that `loop` is about.
    pub(super) fn current_loop(&mut self) -> Option<(Slot, &mut Frame<'s>)> {
        for frame in self.frames.iter_mut().rev() {
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
