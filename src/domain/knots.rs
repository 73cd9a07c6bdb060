//! Who waits for whom, for all tasks at once: those that wait for themselves, and by what way (R8); those that
//! something more urgent waits for (R6).
//!
//! Works on places and edges; what a task is, others know.

use std::collections::{HashMap, VecDeque};

/// For every place on a cycle a way from it back to itself, itself first.
#[derive(Clone, Debug, Default)]
pub(super) struct Knots {
    ways: HashMap<usize, Vec<usize>>,
}

impl Knots {
    /// Of a graph: for each place those that it waits for.
    pub(super) fn of(ahead: &[Vec<usize>]) -> Self {
        let tangled = tangled(ahead);
        let mut ways = HashMap::new();
        // Who has looked at a place last, so that nothing has to be cleared between two searches.
        let mut seen_by = vec![usize::MAX; ahead.len()];
        let mut from = vec![usize::MAX; ahead.len()];
        for start in (0..ahead.len()).filter(|place| tangled[*place]) {
            if ways.contains_key(&start) {
                continue;
            }
            let Some(way) = way_back(start, ahead, &tangled, &mut seen_by, &mut from) else { continue };
            // The same way serves all who stand on it.
            for turn in 0..way.len() {
                ways.entry(way[turn]).or_insert_with(|| {
                    let mut turned = way.clone();
                    turned.rotate_left(turn);
                    turned
                });
            }
        }
        Self { ways }
    }

    /// The way from a place back to itself; `None` when there is none.
    pub(super) fn way(&self, place: usize) -> Option<&[usize]> {
        self.ways.get(&place).map(Vec::as_slice)
    }
}

/// For every place that something more urgent waits for, over whatever it may be, the most urgent of those.
#[derive(Clone, Debug, Default)]
pub(super) struct Urged {
    by: HashMap<usize, usize>,
}

impl Urged {
    /// Of a graph, and of what each place has for a priority of its own; small ones are urgent.
    pub(super) fn of(ahead: &[Vec<usize>], priority: impl Fn(usize) -> i64) -> Self {
        let mut by = HashMap::new();
        if ahead.iter().all(Vec::is_empty) {
            return Self { by };
        }
        let mut starts: Vec<usize> = (0..ahead.len()).collect();
        starts.sort_by_key(|&place| (priority(place), place));
        // The most urgent go first, so that whoever comes to a place first is the one for it, and nobody has to
        // come again.
        let mut seen = vec![false; ahead.len()];
        let mut next = Vec::new();
        for start in starts {
            next.push(start);
            while let Some(at) = next.pop() {
                if std::mem::replace(&mut seen[at], true) {
                    continue;
                }
                if priority(start) < priority(at) {
                    by.insert(at, start);
                }
                next.extend(ahead[at].iter().copied().filter(|&other| !seen[other]));
            }
        }
        Self { by }
    }

    /// Who lends a place its urgency.
    pub(super) fn by(&self, place: usize) -> Option<usize> {
        self.by.get(&place).copied()
    }
}

/// What is left after taking away, again and again, whoever waits for nobody and whom nobody waits for:
/// the cycles, and what lies between two.
fn tangled(ahead: &[Vec<usize>]) -> Vec<bool> {
    let mut behind = vec![Vec::new(); ahead.len()];
    for (place, others) in ahead.iter().enumerate() {
        for &other in others {
            behind[other].push(place);
        }
    }
    let mut left = vec![true; ahead.len()];
    for (there, back) in [(ahead, behind.as_slice()), (behind.as_slice(), ahead)] {
        let mut count: Vec<usize> =
            there.iter().map(|others| others.iter().filter(|&&other| left[other]).count()).collect();
        let mut free: Vec<usize> = (0..ahead.len()).filter(|&place| left[place] && count[place] == 0).collect();
        while let Some(place) = free.pop() {
            left[place] = false;
            for &other in &back[place] {
                if left[other] {
                    count[other] -= 1;
                    if count[other] == 0 {
                        free.push(other);
                    }
                }
            }
        }
    }
    left
}

/// The shortest way from a place back to itself.
fn way_back(
    start: usize,
    ahead: &[Vec<usize>],
    tangled: &[bool],
    seen_by: &mut [usize],
    from: &mut [usize],
) -> Option<Vec<usize>> {
    let mut edge = VecDeque::from([start]);
    while let Some(at) = edge.pop_front() {
        for &next in ahead[at].iter().filter(|&&next| tangled[next]) {
            if next == start {
                let mut way = vec![at];
                let mut step = at;
                while step != start {
                    step = from[step];
                    way.push(step);
                }
                way.reverse();
                return Some(way);
            }
            if seen_by[next] != start {
                seen_by[next] = start;
                from[next] = at;
                edge.push_back(next);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn graphs() -> impl Strategy<Value = Vec<(Vec<usize>, i64)>> {
        (1..12usize).prop_flat_map(|n| proptest::collection::vec((proptest::collection::vec(0..n, 0..4), 0..6i64), n))
    }

    proptest! {
        #[test]
        fn a_place_is_as_urgent_as_the_most_urgent_that_waits_for_it(graph in graphs()) {
            let (ahead, priority): (Vec<Vec<usize>>, Vec<i64>) = graph.into_iter().unzip();
            let urged = Urged::of(&ahead, |at| priority[at]);
            let mut expected = priority.clone();
            // However long the way is, it has fewer steps than there are places.
            for _ in 0..ahead.len() {
                for (at, others) in ahead.iter().enumerate() {
                    for &other in others {
                        expected[other] = expected[other].min(expected[at]);
                    }
                }
            }
            for at in 0..ahead.len() {
                let lent = urged.by(at).map(|by| priority[by]);
                prop_assert!(lent.is_none_or(|lent| lent < priority[at]));
                prop_assert_eq!(lent.unwrap_or(priority[at]), expected[at]);
            }
        }
    }

    #[test]
    fn what_lies_between_two_cycles_is_on_none() {
        // 0 ⇄ 1 → 2 → 3 ⇄ 4, and 5 → 0.
        let knots = Knots::of(&[vec![1], vec![0, 2], vec![3], vec![4], vec![3], vec![0]]);
        assert_eq!(knots.way(0), Some(&[0, 1][..]));
        assert_eq!(knots.way(1), Some(&[1, 0][..]));
        assert_eq!(knots.way(4), Some(&[4, 3][..]));
        assert_eq!((knots.way(2), knots.way(5)), (None, None));
    }

    #[test]
    fn a_place_may_wait_for_itself_alone() {
        assert_eq!(Knots::of(&[vec![0]]).way(0), Some(&[0][..]));
    }

    /// Five thousand tasks that all wait for each other somehow must not take the fleet down.
    #[test]
    fn a_great_tangle_is_undone_in_one_go() {
        let n = 5_000;
        let ahead: Vec<Vec<usize>> = (0..n).map(|at| vec![(at * 7 + 1) % n, (at * 13 + 5) % n]).collect();
        let knots = Knots::of(&ahead);
        for (start, _) in ahead.iter().enumerate() {
            let Some(way) = knots.way(start) else { continue };
            assert_eq!(way[0], start);
            assert!(way.windows(2).all(|pair| ahead[pair[0]].contains(&pair[1])));
            assert!(ahead[way[way.len() - 1]].contains(&start));
        }
    }
}
