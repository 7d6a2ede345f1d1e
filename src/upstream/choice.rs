//! Which address is asked next: the one with the fewest exchanges under way.

/// An address, as far as it matters for the choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    /// Whether it is well, as far as is known.
    pub(super) available: bool,
    /// Whether another one would be preferred, as this one has just failed.
    pub(super) avoided: bool,
    /// Exchanges under way.
    pub(super) outstanding: usize,
    /// When it was last chosen, as a number that grows.
    pub(super) chosen: u64,
}

/// The index of the best candidate; among equals that is the one not chosen for longest.
/// One that is available comes before one that is to be avoided, and that before one that is not
/// available: where none is, all are, as asking in vain is no worse than not asking.
pub(super) fn choose(candidates: impl Iterator<Item = Candidate>) -> Option<usize> {
    let ranked = candidates.enumerate().min_by_key(|(_, candidate)| {
        let Candidate { available, avoided, outstanding, chosen } = *candidate;
        (!available, avoided, outstanding, chosen)
    });
    ranked.map(|(index, _)| index)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The choice among candidates as in `3` or `0xa`, chosen last at these times.
    fn chosen(text: &str, times: [u64; 3]) -> usize {
        let one = |(word, chosen): (&str, u64)| Candidate {
            available: !word.contains('x'),
            avoided: word.contains('a'),
            outstanding: word.trim_matches(['x', 'a']).parse().unwrap(),
            chosen,
        };
        choose(text.split(' ').zip(times).map(one)).unwrap()
    }

    #[test]
    fn the_least_busy_is_next_and_equals_take_turns() {
        assert_eq!(chosen("3 1 2", [1, 9, 1]), 1);
        assert_eq!(chosen("0 0 0", [7, 9, 8]), 0);
        assert_eq!(chosen("0 0 0", [10, 9, 8]), 2);
        assert_eq!(chosen("0 5 0", [10, 1, 8]), 2);
    }

    #[test]
    fn who_is_not_well_or_has_just_failed_is_passed_over() {
        assert_eq!(chosen("0x 9 0x", [1, 9, 1]), 1);
        assert_eq!(chosen("0a 9 0x", [1, 9, 1]), 1);
        assert_eq!(chosen("7a 0x 0x", [9, 1, 1]), 0);
        assert_eq!(chosen("7xa 9x 9x", [1, 2, 3]), 1, "where none is well, all are asked");
        assert_eq!(choose(std::iter::empty()), None);
    }
}
