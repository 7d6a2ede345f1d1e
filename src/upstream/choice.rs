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
}

/// The index of the best candidate; `turn` says with whom to begin, which decides ties. One that
/// is available comes before one that is to be avoided, and that before one that is not available:
/// where none is, all are, as asking in vain is no worse than not asking.
pub(super) fn choose(
    count: usize,
    turn: usize,
    candidate: impl Fn(usize) -> Candidate,
) -> Option<usize> {
    let start = turn.checked_rem(count)?;
    let order = (start..count).chain(0..start);
    order.min_by_key(|&index| {
        let Candidate { available, avoided, outstanding } = candidate(index);
        (!available, avoided, outstanding)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(text: &str) -> Vec<Candidate> {
        let one = |word: &str| Candidate {
            available: !word.contains('x'),
            avoided: word.contains('a'),
            outstanding: word.trim_matches(['x', 'a']).parse().unwrap(),
        };
        text.split(' ').map(one).collect()
    }

    fn chosen(text: &str, turn: usize) -> usize {
        let candidates = candidates(text);
        choose(candidates.len(), turn, |index| candidates[index]).unwrap()
    }

    #[test]
    fn the_least_busy_is_next_and_ties_take_turns() {
        assert_eq!(chosen("3 1 2", 0), 1);
        assert_eq!(chosen("3 1 2", 2), 1);
        assert_eq!([0, 1, 2, 3, 4].map(|turn| chosen("0 0 0", turn)), [0, 1, 2, 0, 1]);
        assert_eq!([0, 1, 2].map(|turn| chosen("0 5 0", turn)), [0, 2, 2]);
    }

    #[test]
    fn who_is_not_well_or_has_just_failed_is_passed_over() {
        assert_eq!(chosen("0x 9 0x", 0), 1);
        assert_eq!(chosen("0a 9 0x", 0), 1);
        assert_eq!(chosen("7a 0x", 1), 0);
        assert_eq!(chosen("7xa 9x", 0), 1, "where none is well, all are asked");
        assert_eq!(chosen("4a", 0), 0);
        assert_eq!(choose(0, 3, |_| unreachable!()), None);
    }
}
