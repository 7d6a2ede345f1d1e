//! What a worker is to serve next: put here by the control thread, taken by the worker between two
//! turns. The lock is for that alone; no request comes near it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// A box for one recipe, of one worker.
#[derive(Debug)]
pub struct Mailbox<R> {
    post: Mutex<Option<Arc<R>>>,
    posted: AtomicU64,
    taken: AtomicU64,
    refused: AtomicU64,
}

impl<R> Default for Mailbox<R> {
    fn default() -> Self {
        let zero = AtomicU64::default;
        Self { post: Mutex::default(), posted: zero(), taken: zero(), refused: zero() }
    }
}

impl<R> Mailbox<R> {
    /// Puts a recipe here, in place of one that nobody has taken yet, and gives the number of the
    /// post.
    pub fn put(&self, recipe: Arc<R>) -> u64 {
        *self.post.lock().unwrap_or_else(PoisonError::into_inner) = Some(recipe);
        self.posted.fetch_add(1, Ordering::Release) + 1
    }

    /// What became of a post: served, refused, or neither yet.
    pub fn outcome(&self, number: u64) -> Option<bool> {
        if self.refused.load(Ordering::Acquire) >= number {
            return Some(false);
        }
        (self.taken.load(Ordering::Acquire) >= number).then_some(true)
    }

    /// The recipe that lies here, if there is a new one, and its number.
    pub(super) fn take(&self) -> Option<(Arc<R>, u64)> {
        let number = self.posted.load(Ordering::Acquire);
        if number == self.taken.load(Ordering::Relaxed) {
            return None;
        }
        let recipe = self.post.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        Some((recipe, number))
    }

    /// Says what became of it.
    pub(super) fn answer(&self, number: u64, is_served: bool) {
        if !is_served {
            self.refused.store(number, Ordering::Release);
        }
        self.taken.store(number, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_post_is_taken_once_and_answered() {
        let mailbox = Mailbox::default();
        assert!(mailbox.take().is_none());
        let first = mailbox.put(Arc::new("first"));
        let second = mailbox.put(Arc::new("second"));
        assert_eq!(mailbox.outcome(first), None);
        let (recipe, number) = mailbox.take().unwrap();
        assert_eq!((*recipe, number), ("second", second));
        mailbox.answer(number, true);
        assert_eq!(mailbox.outcome(second), Some(true));
        assert!(mailbox.take().is_none());
        let third = mailbox.put(Arc::new("third"));
        let (_, number) = mailbox.take().unwrap();
        mailbox.answer(number, false);
        assert_eq!(mailbox.outcome(third), Some(false));
        assert!(mailbox.take().is_none());
    }
}
