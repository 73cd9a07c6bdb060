//! How a command says no: exit codes of `agentctl`, the JSON form of a failure, near names.

use serde_json::{Value, json};

use crate::error::Failure;

/// Something did not work.
pub const FAILED: u8 = 1;
/// The command line makes no sense, or asks where nobody can answer.
pub const USAGE: u8 = 2;
/// A task, run or project that is not there.
pub const NOT_FOUND: u8 = 3;
/// The state of things forbids it.
pub const REFUSED: u8 = 5;
/// It took too long.
pub const TIMED_OUT: u8 = 6;
/// It worked, and the answer is bad: problems were found.
pub const NEGATIVE: u8 = 8;

/// What a command answers: its exit code, or why there is none.
pub type Done = Result<u8, Failure>;

/// A failure without causes and hints yet.
pub fn failure(code: &'static str, message: impl Into<String>, exit: u8) -> Failure {
    Failure { code, message: message.into(), causes: Vec::new(), hints: Vec::new(), see: None, exit }
}

/// A failure with one thing to do about it.
pub fn hinted(code: &'static str, message: impl Into<String>, exit: u8, hint: impl Into<String>) -> Failure {
    let mut failure = failure(code, message, exit);
    failure.hints.push(hint.into());
    failure
}

/// The operating system said no.
pub fn io(doing: &str, path: &std::path::Path, error: &std::io::Error) -> Failure {
    let mut failure = failure("io", format!("failed to {doing} {}", path.display()), FAILED);
    failure.causes.push(error.to_string());
    failure
}

/// The object that `--json` prints on standard error.
pub fn object(failure: &Failure) -> Value {
    json!({"error": {
        "code": failure.code,
        "message": failure.message,
        "causes": failure.causes,
        "hint": failure.hints.first(),
        "hints": failure.hints,
        "see": failure.see,
        "retryable": matches!(failure.code, "busy" | "contended" | "lock_busy"),
        "exit": failure.exit,
    }})
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
    close.sort();
    close.into_iter().take(3).map(|(_, name)| name.into()).collect()
}

/// A task that is not in the queue, with those that may have been meant.
pub fn no_task<'a>(id: &str, ids: impl Iterator<Item = &'a str>) -> Failure {
    let id = crate::domain::text::cut(&crate::domain::text::one_line(id), 80);
    let mut failure = failure("no_task", format!("there is no task `{id}`"), NOT_FOUND);
    match nearest(&id, ids).as_slice() {
        [] => failure.hints.push("list them: agentctl ls --all".into()),
        near => failure.hints.push(format!("did you mean {}?", near.join(", "))),
    }
    failure
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
