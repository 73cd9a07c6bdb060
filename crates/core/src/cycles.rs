//! Who waits for whom, for all tasks at once: those that wait for themselves, and by what way; those that
//! something more urgent waits for.
//!
//! Works on places and edges; what a task is, others know.

use std::collections::{HashMap, VecDeque};

/// The places that wait for themselves, found in time and space that grow with places and edges, not with the length of
/// cycles.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cycles {
    /// For each place of a cycle those of the same cycle that it waits for; empty for all others.
    ahead: Vec<Vec<usize>>,
    /// The number of places in each cycle, by the cycle of a place.
    sizes: Vec<usize>,
    cycle: Vec<usize>,
}

/// A way from a place back to itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Way {
    /// The place itself, and those that follow; where `among` says something, the beginning only.
    pub(crate) places: Vec<usize>,
    /// The number of places that wait for each other, where the whole way is too long to be looked for.
    pub(crate) among: Option<usize>,
}

/// A place of no cycle.
const FREE: usize = usize::MAX;

/// So many places are looked at for one way. Each task of a queue may be asked, so that has to be a bound.
const LOOKED_AT: usize = 64;

/// So much of a longer way is told.
const TOLD: usize = 4;

impl Cycles {
    /// Finds the cycles of a graph, given for each place those that it waits for.
    pub(crate) fn of(ahead: &[Vec<usize>]) -> Self {
        let part = parts(ahead);
        let mut sizes = vec![0; ahead.len()];
        part.iter().for_each(|&part| sizes[part] += 1);
        let tangled = |at: usize| sizes[part[at]] > 1 || ahead[at].contains(&at);
        let cycle: Vec<usize> = (0..ahead.len()).map(|at| if tangled(at) { part[at] } else { FREE }).collect();
        let within = |at: usize| match cycle[at] {
            FREE => Vec::new(),
            mine => ahead[at].iter().copied().filter(|&next| cycle[next] == mine).collect(),
        };
        Self { ahead: (0..ahead.len()).map(within).collect(), sizes, cycle }
    }

    /// Returns the shortest way from a place back to itself, or how it begins; `None` when there is none.
    pub(crate) fn way(&self, place: usize) -> Option<Way> {
        if *self.cycle.get(place)? == FREE {
            return None;
        }
        let mut from: HashMap<usize, usize> = HashMap::new();
        let mut edge = VecDeque::from([place]);
        while let Some(at) = edge.pop_front().filter(|_| from.len() < LOOKED_AT) {
            for &next in &self.ahead[at] {
                if next == place {
                    let mut places = vec![at];
                    while let Some(&before) = places.last().and_then(|last| from.get(last)) {
                        places.push(before);
                    }
                    places.reverse();
                    return Some(Way { places, among: None });
                }
                from.entry(next).or_insert_with(|| {
                    edge.push_back(next);
                    at
                });
            }
        }
        let mut places = vec![place];
        while places.len() < TOLD {
            let last = places[places.len() - 1];
            // Everybody in a cycle waits for somebody in it.
            let Some(&next) = self.ahead[last].iter().find(|next| !places.contains(next)) else { break };
            places.push(next);
        }
        Some(Way { places, among: Some(self.sizes[self.cycle[place]]) })
    }
}

/// Finds for every place that something more urgent waits for, over whatever it may be, the most urgent of those; given
/// what each has for a priority of its own, small ones being urgent.
pub(crate) fn urged(ahead: &[Vec<usize>], priority: impl Fn(usize) -> i64) -> HashMap<usize, usize> {
    let mut by = HashMap::new();
    if ahead.iter().all(Vec::is_empty) {
        return by;
    }
    let mut starts: Vec<usize> = (0..ahead.len()).collect();
    starts.sort_by_key(|&place| (priority(place), place));
    // The most urgent go first, so that whoever comes to a place first is the one for it, and nobody has to come again.
    let mut seen = vec![false; ahead.len()];
    for start in starts {
        let mut next = vec![start];
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
    by
}

/// Returns the part of the graph that each place belongs to: two are in one part if there is a way from each to the
/// other (Kosaraju, with stacks of its own, for chains may be long).
fn parts(ahead: &[Vec<usize>]) -> Vec<usize> {
    let mut seen = vec![false; ahead.len()];
    let mut left = Vec::new();
    for start in 0..ahead.len() {
        let mut walk = vec![(start, 0)];
        while let Some((at, step)) = walk.pop() {
            // Seen is who has been entered; who comes back to go on has been, too.
            if step == 0 && std::mem::replace(&mut seen[at], true) {
                continue;
            }
            match ahead[at].get(step) {
                Some(&next) => walk.extend([(at, step + 1), (next, 0)]),
                None => left.push(at),
            }
        }
    }
    let mut behind = vec![Vec::new(); ahead.len()];
    for (at, next) in ahead.iter().enumerate().flat_map(|(at, all)| all.iter().map(move |&next| (at, next))) {
        behind[next].push(at);
    }
    // Backwards from whoever was left last, only those of one part can be come to that belong to none yet.
    let mut part = vec![FREE; ahead.len()];
    for start in left.into_iter().rev() {
        let mut walk = vec![start];
        while let Some(at) = walk.pop() {
            if part[at] == FREE {
                part[at] = start;
                walk.extend(&behind[at]);
            }
        }
    }
    part
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
            let urged = urged(&ahead, |at| priority[at]);
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
                let lent = urged.get(&at).map(|&by| priority[by]);
                prop_assert!(lent.is_none_or(|lent| lent < priority[at]));
                prop_assert_eq!(lent.unwrap_or(priority[at]), expected[at]);
            }
        }
    }

    #[test]
    fn what_lies_between_two_cycles_is_on_none() {
        // 0 ⇄ 1 → 2 → 3 ⇄ 4, and 5 → 0.
        let cycles = Cycles::of(&[vec![1], vec![0, 2], vec![3], vec![4], vec![3], vec![0]]);
        let whole = |places: &[usize]| Some(Way { places: places.to_vec(), among: None });
        assert_eq!(cycles.way(0), whole(&[0, 1]));
        assert_eq!(cycles.way(1), whole(&[1, 0]));
        assert_eq!(cycles.way(4), whole(&[4, 3]));
        assert_eq!((cycles.way(2), cycles.way(5)), (None, None));
    }

    #[test]
    fn a_place_may_wait_for_itself_alone() {
        assert_eq!(Cycles::of(&[vec![0]]).way(0), Some(Way { places: vec![0], among: None }));
    }

    /// Checks a way of places against the graph.
    fn holds(ahead: &[Vec<usize>], start: usize, way: &Way) {
        assert_eq!(way.places[0], start);
        assert!(way.places.windows(2).all(|pair| ahead[pair[0]].contains(&pair[1])));
        let back = ahead[way.places[way.places.len() - 1]].contains(&start);
        assert!(way.among.is_some() || back, "{way:?}");
    }

    /// A hundred thousand tasks that all wait for each other somehow must not take the fleet down: the work for each
    /// is bounded, whatever they look like.
    #[test]
    fn great_cycles_of_every_shape_are_undone_in_one_go() {
        let n = 100_000;
        let shapes: [fn(usize, usize) -> Vec<usize>; 3] = [
            |at, n| vec![(at + 1) % n],
            |at, n| vec![(at * 7 + 1) % n, (at * 13 + 5) % n],
            |at, n| vec![(at + 1) % n, (at + 2) % n],
        ];
        for shape in shapes {
            let ahead: Vec<Vec<usize>> = (0..n).map(|at| shape(at, n)).collect();
            let cycles = Cycles::of(&ahead);
            for start in 0..n {
                let Some(way) = cycles.way(start) else { continue };
                assert!(way.places.len() <= LOOKED_AT + 1);
                holds(&ahead, start, &way);
            }
        }
        let ring: Vec<Vec<usize>> = (0..n).map(|at| vec![(at + 1) % n]).collect();
        let expected = Way { places: vec![7, 8, 9, 10], among: Some(n) };
        assert_eq!(Cycles::of(&ring).way(7), Some(expected));
        let chain: Vec<Vec<usize>> = (0..n).map(|at| if at == 0 { Vec::new() } else { vec![at - 1] }).collect();
        assert!(Cycles::of(&chain).way(n - 1).is_none());
    }

    proptest! {
        #[test]
        fn a_place_has_a_way_back_if_and_only_if_it_comes_back_to_itself(graph in graphs()) {
            let ahead: Vec<Vec<usize>> = graph.into_iter().map(|(ahead, _)| ahead).collect();
            let cycles = Cycles::of(&ahead);
            for start in 0..ahead.len() {
                let mut reached = vec![false; ahead.len()];
                let mut next = ahead[start].clone();
                while let Some(at) = next.pop() {
                    if !std::mem::replace(&mut reached[at], true) {
                        next.extend(&ahead[at]);
                    }
                }
                let way = cycles.way(start);
                prop_assert_eq!(way.is_some(), reached[start]);
                if let Some(way) = way {
                    holds(&ahead, start, &way);
                }
            }
        }
    }
}
