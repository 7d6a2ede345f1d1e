//! Nodes that need each other.

/// A cycle, its first node also at its end, if there is one.
pub(super) fn find_cycle(needs: &[&[usize]]) -> Option<Vec<usize>> {
    let mut done = vec![false; needs.len()];
    for start in 0..needs.len() {
        let mut trail = Vec::new();
        if let Some(cycle) = walk(start, needs, &mut done, &mut trail) {
            return Some(cycle);
        }
    }
    None
}

fn walk(
    at: usize,
    needs: &[&[usize]],
    done: &mut [bool],
    trail: &mut Vec<usize>,
) -> Option<Vec<usize>> {
    if let Some(first) = trail.iter().position(|passed| *passed == at) {
        let mut cycle = trail.get(first..)?.to_vec();
        cycle.push(at);
        return Some(cycle);
    }
    if *done.get(at)? {
        return None;
    }
    trail.push(at);
    for next in *needs.get(at)? {
        if let Some(cycle) = walk(*next, needs, done, trail) {
            return Some(cycle);
        }
    }
    trail.pop();
    if let Some(done) = done.get_mut(at) {
        *done = true;
    }
    None
}
