//! What may have been meant by a name that is not there.

use super::{ErrorKind, Failure};
use oodatcaa_core::text::{cut, one_line};

/// Returns the names most like a name that is not there, best first, at most three.
pub fn nearest<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let wanted = wanted.to_lowercase();
    let mut close: Vec<(usize, &str)> = names
        .filter_map(|name| {
            let lower = name.to_lowercase();
            let distance = match lower.starts_with(&wanted) || wanted.starts_with(&lower) {
                true => 1,
                false => strsim::osa_distance(&wanted, &lower),
            };
            (distance <= 1 + wanted.chars().count() / 4).then_some((distance, name))
        })
        .collect();
    close.sort_unstable();
    close.into_iter().take(3).map(|(_, name)| name.into()).collect()
}

/// Returns the failure for a task that is not in the queue, with those that may have been meant.
pub fn no_task<'a>(id: &str, ids: impl Iterator<Item = &'a str>) -> Failure {
    let id = cut(&one_line(id), 80);
    let failure = Failure::new(ErrorKind::NotFound, format!("there is no task `{id}`"));
    match nearest(&id, ids).as_slice() {
        [] => failure.hint("see which there are: agentctl ls --all"),
        [near] => failure.hint(format!("the nearest is {near}: agentctl show {near}")),
        near => failure.hint(format!("the nearest are {}: agentctl show {}", near.join(", "), near[0])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_offered_and_far_ones_are_not() {
        let ids = ["P001", "P001-B01", "P010", "W777"];
        assert_eq!(nearest("p001", ids.into_iter()), ["P001", "P001-B01", "P010"]);
        assert_eq!(nearest("P01", ids.into_iter()), ["P001", "P010"]);
        assert_eq!(nearest("zzz", ids.into_iter()), Vec::<String>::new());
    }
}
