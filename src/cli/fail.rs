//! How a command says no: what it answers with, and what may have been meant.

use crate::error::Failure;
use oodatcaa_core::text::{cut, one_line};

pub use crate::error::exit;

/// What a command answers: its exit code, or why there is none.
pub type Done = Result<u8, Failure>;

/// The operating system said no.
pub fn io(doing: &str, path: &std::path::Path, error: &std::io::Error) -> Failure {
    let said = Failure::from(match error.raw_os_error() {
        Some(number) => std::io::Error::from_raw_os_error(number),
        None => std::io::Error::new(error.kind(), error.to_string()),
    });
    let mut failure = Failure::new(said.code, format!("failed to {doing} {}", path.display()));
    failure.causes.push(said.message);
    failure
}

/// The names most like a name that is not there, best first, at most three.
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

/// A task that is not in the queue, with those that may have been meant.
pub fn no_task<'a>(id: &str, ids: impl Iterator<Item = &'a str>) -> Failure {
    let id = cut(&one_line(id), 80);
    let failure = Failure::new("not_found", format!("there is no task `{id}`"));
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
