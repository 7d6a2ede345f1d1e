//! What a worker counts of each page or each upstream, found by name when a site is loaded and by
//! place from then on.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A set of numbers for each of several names. Its lock is taken when a site is loaded, and by
/// whoever reads all of them; never by a request.
#[derive(Debug)]
pub struct Sets<T>(Mutex<Vec<(String, Arc<T>)>>);

impl<T> Default for Sets<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

/// The name of the set that all share who are too many for one of their own.
pub const OTHERS: &str = "(others)";

impl<T: Default> Sets<T> {
    /// The sets of these names, in their order. Those that are there are kept, as after a reload;
    /// those of other names are forgotten. From place `max` on all share one, so that who reads
    /// them all has an end.
    pub fn of(&self, names: &[impl AsRef<str>], max: usize) -> Vec<Arc<T>> {
        let mut known = self.lock();
        let before = std::mem::take(&mut *known);
        let mut find = |name: &str| {
            let has_name = |(one, _): &&(String, Arc<T>)| one == name;
            // One that two ask for by the same name is theirs together.
            if let Some((_, same)) = known.iter().find(has_name) {
                return Arc::clone(same);
            }
            let kept = before.iter().find(has_name).map(|(_, set)| Arc::clone(set));
            let set = kept.unwrap_or_default();
            known.push((name.to_owned(), Arc::clone(&set)));
            set
        };
        let named = names.iter().enumerate();
        named.map(|(at, name)| find(if at < max { name.as_ref() } else { OTHERS })).collect()
    }

    /// The set of this name: the one that is there, or a new one. From the `max`th on all share
    /// one.
    pub fn named(&self, name: &str, max: usize) -> Arc<T> {
        let mut known = self.lock();
        let has_name = |name: &str| known.iter().position(|(one, _)| one == name);
        let name = match has_name(name) {
            None if known.len() >= max => OTHERS,
            _ => name,
        };
        if let Some((_, set)) = has_name(name).and_then(|at| known.get(at)) {
            return Arc::clone(set);
        }
        let set = Arc::<T>::default();
        known.push((name.to_owned(), Arc::clone(&set)));
        set
    }

    /// Forgets those of other names.
    pub fn retain(&self, names: &[&str]) {
        self.lock().retain(|(name, _)| name == OTHERS || names.contains(&name.as_str()));
    }

    /// All there are, by name.
    pub fn all(&self) -> Vec<(String, Arc<T>)> {
        self.lock().clone()
    }

    /// Adds all of another's, as `add` does it for one.
    pub(super) fn add(&self, other: &Self, add: impl Fn(&T, &T)) {
        for (name, theirs) in other.all() {
            add(&self.named(&name, usize::MAX), &theirs);
        }
    }

    /// Forgets those that another has none of.
    pub(super) fn retain_as(&self, other: &Self) {
        let known = other.all();
        self.lock().retain(|(name, _)| known.iter().any(|(one, _)| one == name));
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(String, Arc<T>)>> {
        // What is in it is whole, whoever panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Counter;
    use super::*;

    fn names(sets: &Sets<Counter>) -> Vec<String> {
        sets.all().into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn sets_that_stay_are_the_same_after_a_reload() {
        let sets = Sets::<Counter>::default();
        let first = sets.of(&["/", "/users/{id}"], 9);
        first[1].add(5);
        let second = sets.of(&["/users/{id}", "/new"], 9);
        assert!(Arc::ptr_eq(&first[1], &second[0]));
        assert_eq!((second[0].get(), second[1].get()), (5, 0));
        assert_eq!(names(&sets), ["/users/{id}", "/new"]);
    }

    #[test]
    fn those_who_are_too_many_share_one() {
        let sets = Sets::<Counter>::default();
        let got = sets.of(&["a", "b", "c", "d"], 2);
        assert!(Arc::ptr_eq(&got[2], &got[3]) && !Arc::ptr_eq(&got[1], &got[2]));
        assert_eq!(names(&sets), ["a", "b", OTHERS]);
    }

    #[test]
    fn one_by_one_it_is_the_same() {
        let sets = Sets::<Counter>::default();
        let [a, b, c, d] = ["a", "b", "c", "d"].map(|name| sets.named(name, 2));
        assert!(Arc::ptr_eq(&c, &d) && !Arc::ptr_eq(&b, &c));
        assert!(Arc::ptr_eq(&a, &sets.named("a", 2)));
        sets.retain(&["b"]);
        assert_eq!(names(&sets), ["b", OTHERS]);
        assert!(Arc::ptr_eq(&b, &sets.named("b", 2)));
    }
}
