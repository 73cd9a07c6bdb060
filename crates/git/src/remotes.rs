//! Where a project pushes and fetches: what was so when it was first used is kept in the user's own state, and nothing
//! goes to another address before a person has said yes.

use std::{collections::BTreeMap, path::Path};

use super::{
    fault::{Result, WorkspaceError},
    git::{Git, GitError, without_passwords},
    repo::Repository,
};
use oodatcaa_core::layout::Layout;
use oodatcaa_sys::files::{self, Durable, RECORD};

/// The record's name in the user's state of the project.
const FILE: &str = "remotes.json";

/// Everything that decides where a remote is, one fact a line: its addresses first.
pub(super) type Addresses = Vec<String>;

/// What is remembered of all remotes.
type Known = BTreeMap<String, Addresses>;

/// A remote that is somewhere else than it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// Its name.
    pub remote: String,
    /// What was so and is not any more.
    pub was: String,
    /// What is so instead.
    pub now: String,
}

/// Signs of a remote that may answer later.
const AWAY: &[&str] = &[
    "Could not resolve host",
    "Connection refused",
    "Connection reset",
    "Connection timed out",
    "Operation timed out",
    "Network is unreachable",
    "No route to host",
    "Failed to connect",
    "early EOF",
    "hung up unexpectedly",
    "unexpected disconnect",
    "error: 429",
    "error: 50",
    "Couldn't connect",
];

/// Signs of one that never will before a human acts.
const UNWANTED: &[&str] = &["Permission denied", "Authentication failed", "Host key verification failed"];

/// Tells whether what git says of a remote means that nobody is there at the moment; else a person has to do something.
pub(super) fn is_away(said: &str) -> bool {
    let has = |signs: &[&str]| signs.iter().any(|sign| said.contains(sign));
    has(AWAY) && !has(UNWANTED)
}

/// Checks that a remote's name or address is no option and no program.
pub(super) fn is_plain(remote: &str) -> bool {
    !(remote.is_empty() || remote.starts_with('-') || remote.contains("::") || remote.chars().any(char::is_control))
}

/// Fetches one ref; whatever the remote is configured to run in the place of its own programs.
pub(super) fn fetch(git: &Git, remote: &str, spec: &str) -> Result<(), GitError> {
    let how = ["fetch", "-q", "--no-tags", "--no-write-fetch-head", "--upload-pack=git-upload-pack", "--"];
    git.run(&[&how[..], &[remote, spec]].concat()).map(drop)
}

impl Moved {
    /// Says what has changed.
    pub fn change(&self) -> String {
        format!("it {} and no longer {}, as it did when this project first used it", self.now, self.was)
    }
}

impl std::fmt::Display for Moved {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}; if that is right, run: agentctl config trust", self.change())
    }
}

/// Returns the address of a remote as git uses it in these calls.
fn facts(git: &Git, remote: &str) -> Result<Addresses, GitError> {
    let mut all = Vec::new();
    for (word, args) in [
        ("fetches from", &["remote", "get-url", "--all"][..]),
        ("pushes to", &["remote", "get-url", "--push", "--all"]),
    ] {
        let (code, urls, _) = git.call(&[args, &["--", remote]].concat())?;
        let urls = match code {
            0 => urls,
            // Not a name, but an address itself.
            _ if remote.contains('/') => git.run(&["ls-remote", "--get-url", "--", remote])?,
            _ => return Ok(Addresses::new()),
        };
        all.extend(urls.lines().map(|url| format!("{word} {url}")));
    }
    let of_remote = format!("remote.{remote}.");
    let decides = |key: &str| {
        let lower = key.to_ascii_lowercase();
        // Any of them can send the same name elsewhere, or to a proxy.
        let redirects = ["url.", "http.", "credential.", "lfs."].iter().any(|section| lower.starts_with(section));
        redirects || (key.starts_with(&of_remote) && !lower.ends_with(".fetch") && !lower.ends_with("url"))
    };
    let own = git.own_settings()?.into_iter().filter(|(key, _)| decides(key) && key != "lfs.storage");
    let mut own: Addresses = own.map(|(key, value)| format!("{key} = {}", value.unwrap_or_default())).collect();
    own.sort();
    all.extend(own);
    Ok(all)
}

fn load(dir: &Path) -> Result<Known> {
    let unreadable = |reason: String| WorkspaceError::Unsafe { path: dir.join(FILE), reason };
    match files::read_text(dir, Path::new(FILE), RECORD) {
        Ok(Some(text)) => serde_json::from_str(&text).map_err(|error| unreadable(error.to_string())),
        Ok(None) => Ok(Known::new()),
        // Before anything is kept there the directory itself is missing.
        Err(_) if !dir.exists() => Ok(Known::new()),
        Err(error) => Err(unreadable(error.to_string())),
    }
}

fn store(dir: &Path, known: &Known) -> Result<()> {
    let text = serde_json::to_vec_pretty(known).expect("texts become JSON");
    super::repo::make_dir(dir)?;
    files::write_atomic(dir, Path::new(FILE), &text, Durable::Yes)
        .map_err(|error| WorkspaceError::Unsafe { path: dir.join(FILE), reason: error.to_string() })
}

/// Compares a remote with what is known of it; the first use makes it known.
pub(super) fn check(git: &Git, remote: &str, dir: Option<&Path>) -> Result<Option<Moved>> {
    let Some(dir) = dir else { return Ok(None) };
    let now = facts(git, remote)?;
    let mut known = load(dir)?;
    match known.get(remote) {
        Some(was) if *was == now => Ok(None),
        // There is no such remote yet.
        None if now.is_empty() => Ok(None),
        // Not written down: it counts from when a person has said yes.
        Some(was) => Ok(Some(moved(remote, was, &now))),
        None => {
            known.insert(remote.into(), now);
            store(dir, &known)?;
            Ok(None)
        }
    }
}

fn moved(remote: &str, was: &Addresses, now: &Addresses) -> Moved {
    let only = |these: &Addresses, those: &Addresses| {
        let lines: Vec<String> =
            these.iter().filter(|line| !those.contains(line)).map(|line| without_passwords(line)).collect();
        let text = oodatcaa_core::text::one_line(&lines.join(", "));
        if text.is_empty() { "nothing more".into() } else { oodatcaa_core::text::cut(&text, 400) }
    };
    Moved { remote: remote.into(), was: only(was, now), now: only(now, was) }
}

/// Tells whether a remote is somewhere else than it was when the project first used it.
pub fn has_moved(layout: &Layout, remote: &str) -> Result<Option<Moved>> {
    let (Some(repo), Some(dir)) = (Repository::find(layout)?, layout.user_state()) else { return Ok(None) };
    let now = facts(&repo.git, remote)?;
    Ok(load(dir)?.get(remote).filter(|was| **was != now).map(|was| moved(remote, was, &now)))
}

/// Takes a remote as it is now.
pub fn accept(layout: &Layout, remote: &str) -> Result<()> {
    let (Some(repo), Some(dir)) = (Repository::find(layout)?, layout.user_state()) else { return Ok(()) };
    let mut known = load(dir)?;
    known.insert(remote.into(), facts(&repo.git, remote)?);
    store(dir, &known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moved_is_told_without_passwords_and_without_what_stayed() {
        let was = vec!["fetches from https://h/x".into(), "pushes to https://me:secret@h/x".into()];
        let now =
            vec!["fetches from https://h/x".into(), "pushes to /tmp/other".into(), "url./tmp/.insteadof = h".into()];
        let moved = moved("origin", &was, &now);
        assert_eq!(moved.was, "pushes to https://***@h/x");
        assert_eq!(moved.now, "pushes to /tmp/other, url./tmp/.insteadof = h");
    }
}
