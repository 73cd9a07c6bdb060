//! How durations are spread: exact percentiles by the nearest rank.

use std::time::Duration;

use crate::view::SpreadView;

/// Of fewer nothing is said: a percentile of four is no figure.
const ENOUGH: usize = 5;

/// Durations, in milliseconds.
#[derive(Clone, Debug, Default)]
pub(super) struct Durations(Vec<u64>);

impl Extend<Duration> for Durations {
    fn extend<I: IntoIterator<Item = Duration>>(&mut self, more: I) {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.0.extend(more.into_iter().map(millis));
    }
}

impl Durations {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Duration> + '_ {
        self.0.iter().copied().map(Duration::from_millis)
    }

    pub(super) fn total(&self) -> Duration {
        self.0.iter().fold(Duration::ZERO, |all, millis| all.saturating_add(Duration::from_millis(*millis)))
    }

    /// Describes them.
    pub(super) fn spread(&mut self) -> SpreadView {
        self.0.sort_unstable();
        let said = |permille| {
            let enough = self.0.len() >= ENOUGH;
            enough.then(|| nearest_rank(&self.0, permille)).flatten().map(|millis| millis as f64 / 1e3)
        };
        SpreadView {
            n: self.0.len(),
            p50_seconds: said(500),
            p95_seconds: said(950),
            p99_seconds: said(990),
            max_seconds: said(1_000),
        }
    }
}

/// Returns the least of the sorted values that so many of a thousand do not exceed.
fn nearest_rank(sorted: &[u64], permille: usize) -> Option<u64> {
    let rank = (sorted.len() * permille).div_ceil(1_000).max(1);
    sorted.get(rank - 1).copied()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(millis: impl IntoIterator<Item = u64>) -> Durations {
        let mut durations = Durations::default();
        durations.extend(millis.into_iter().map(Duration::from_millis));
        durations
    }

    #[test]
    fn of_fewer_than_five_nothing_is_said_but_how_many() {
        let few = of([1, 2, 3, 4]).spread();
        assert_eq!((few.n, few.p50_seconds, few.max_seconds), (4, None, None));
        let enough = of([1_000, 2_000, 3_000, 4_000, 5_000]).spread();
        assert_eq!((enough.n, enough.p50_seconds, enough.p95_seconds), (5, Some(3.0), Some(5.0)));
    }

    #[test]
    fn percentiles_of_a_hundred_are_the_ones_that_the_word_names() {
        let hundred = of((1..=100).rev().map(|n| n * 1_000)).spread();
        let all = [hundred.p50_seconds, hundred.p95_seconds, hundred.p99_seconds, hundred.max_seconds];
        assert_eq!(all, [Some(50.0), Some(95.0), Some(99.0), Some(100.0)]);
    }

    proptest! {
        #[test]
        fn a_percentile_is_one_of_the_values_and_the_least_that_enough_do_not_exceed(
            mut values in proptest::collection::vec(0..10_000u64, 1..200),
            permille in 1..=1_000usize,
        ) {
            values.sort_unstable();
            let found = nearest_rank(&values, permille).expect("there are some");
            let within = |limit: u64| values.iter().filter(|value| **value <= limit).count() * 1_000;
            prop_assert!(values.contains(&found));
            prop_assert!(within(found) >= values.len() * permille);
            let lesser = values.iter().copied().filter(|value| *value < found).max();
            prop_assert!(lesser.is_none_or(|lesser| within(lesser) < values.len() * permille));
        }

        #[test]
        fn percentiles_rise_and_do_not_depend_on_the_order(values in proptest::collection::vec(0..10_000u64, 5..200)) {
            let spread = of(values.iter().copied()).spread();
            let back = of(values.into_iter().rev()).spread();
            let all = |spread: SpreadView| [spread.p50_seconds, spread.p95_seconds, spread.p99_seconds, spread.max_seconds];
            prop_assert_eq!(all(spread), all(back));
            prop_assert!(all(spread).windows(2).all(|pair| pair[0] <= pair[1]));
        }
    }
}
