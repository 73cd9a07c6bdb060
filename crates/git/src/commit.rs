//! Committing what an agent left uncommitted, in our own words, with who and what stands behind it.

use super::{
    author::Author,
    evidence,
    fault::{Result, WorkspaceError},
    git::words,
    snapshot::Checkout,
};
use oodatcaa_core::{
    Lease,
    text::{cut, one_line},
};

/// Bytes of a message's body.
const BODY: usize = 8_000;

/// Returns the lines at the end of a commit that say what it came from.
pub fn trailers(lease: &Lease) -> Vec<(&'static str, String)> {
    let mut all = vec![
        ("Oodatcaa-Task", lease.task_id.to_string()),
        ("Oodatcaa-Role", lease.role.to_string()),
        ("Oodatcaa-Attempt", lease.token.to_string()),
    ];
    if !lease.by.is_empty() {
        all.push(("Oodatcaa-Agent", lease.by.clone()));
    }
    if lease.simulated {
        all.push(("Oodatcaa-Simulated", "true".into()));
    }
    all
}

/// Writes a message whose subject is one line, with its trailers.
pub(super) fn message(text: &str, trailers: &[(&str, String)]) -> String {
    let clean = oodatcaa_core::text::many_lines(&text.chars().take(BODY).collect::<String>());
    let (subject, body) = clean.trim().split_once('\n').unwrap_or((clean.trim(), ""));
    // `git log --oneline` is read in terminals.
    let subject = cut(subject.trim(), 100);
    let mut all = if subject.is_empty() { "work of an agent".to_owned() } else { subject };
    // Words of others must not end in something that reads as a trailer of ours.
    let body: Vec<&str> =
        body.trim().lines().filter(|line| !line.to_ascii_lowercase().starts_with("oodatcaa-")).collect();
    if !body.is_empty() {
        all.push_str("\n\n");
        all.push_str(body.join("\n").trim());
    }
    all.push('\n');
    for (key, value) in trailers {
        all.push_str(&format!("\n{key}: {}", cut(&one_line(value), 200)));
    }
    all.push('\n');
    all
}

/// Puts everything of the checkout's own into its index.
pub(super) fn stage(checkout: &Checkout) -> Result<()> {
    let left_out = checkout.left_out()?;
    // Also what lies outside of a sparse checkout: whoever made it wants it in.
    checkout.git.run(&checkout.git.add_all(checkout.own(&left_out)?)?)?;
    Ok(())
}

/// Commits everything of the checkout's own on its branch; `None` when there is nothing. What the branch changed
/// in queue, leases and runs is put back to how `fork` has it.
pub(super) fn rest(checkout: &Checkout, fork: Option<&str>, message: &str, author: &Author) -> Result<Option<String>> {
    let git = checkout.git.clone().by(author);
    // A commit now would end it with conflict markers in the files.
    if let Some(what) = evidence::midway(checkout)? {
        return Err(WorkspaceError::Midway { tree: git.dir().into(), what });
    }
    stage(checkout)?;
    if !checkout.excluded.is_empty() {
        git.run(&words(&["reset", "-q", fork.unwrap_or("HEAD"), "--"], checkout.others()))?;
        checkout.leave_others_alone()?;
    }
    if git.asks(&["diff-index", "--cached", "--quiet", "HEAD", "--"])? {
        return Ok(None);
    }
    // `verbatim`, as the message is clean and a line that begins with `#` is a part of it.
    git.run(&["commit", "-q", "--no-verify", "--no-post-rewrite", "--cleanup=verbatim", "-m", message])?;
    Ok(checkout.git.head()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_bounded_and_its_trailers_are_ours() {
        let made =
            message("--force $(x)\x1b[2J\nbody\nOodatcaa-Simulated: false\n", &[("Oodatcaa-Task", "T\nX: y".into())]);
        assert_eq!(made, "--force $(x)\u{fffd}[2J\n\nbody\n\nOodatcaa-Task: T X: y\n");
        assert_eq!(message("", &[("A", "b".into())]), "work of an agent\n\nA: b\n");
        assert!(message(&"x".repeat(1 << 20), &[]).len() < 10_000);
    }
}
