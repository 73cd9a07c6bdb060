//! What an attempt has done to its workspace, as our own code sees it.

use super::{
    fault::Result,
    git::{RawChange, listed, words},
    save::Refs,
    snapshot::{Checkout, Snapshot},
};
use oodatcaa_core::Token;

/// What has changed since an attempt began.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Evidence {
    /// True if anything can be known: without git nothing is.
    pub known: bool,
    /// New commits, newest first; those that came from the base branch do not count.
    pub commits: Vec<String>,
    /// Files that differ from how they were, committed or not. Queue, leases and runs do not count.
    pub changed: Vec<String>,
    /// Files that differ from where the branch left its target: what a merge would bring. `None` without a target.
    pub apart: Option<usize>,
    /// The target was taken in: the branch leaves it at a later commit than before.
    pub took_in: bool,
    /// There is work that is not committed.
    pub dirty: bool,
    /// Changed files that other programs, agents or CI obey; they deserve a look.
    pub risky: Vec<String>,
    /// What is there and cannot be put into a commit: repositories inside, very great files.
    pub left_out: Vec<String>,
    /// What git operation is half done, e.g. `a rebase`.
    pub midway: Option<&'static str>,
}

impl Evidence {
    /// Tells whether this proves that work was done.
    pub fn is_work(&self) -> bool {
        !self.changed.is_empty()
    }
}

/// Looks at what changed between the start of an attempt and a snapshot.
pub(super) fn look(checkout: &Checkout, seen: Snapshot, start: &Start, base_branch: Option<&str>) -> Result<Evidence> {
    let git = &checkout.git;
    let head = checkout.git.head()?;
    let dirty = checkout.tree_of(head.as_deref())? != seen.tree;
    let upstream = base_branch.map_or(Ok(None), |name| git.tip(name))?;
    let mut commits = Vec::new();
    let (mut apart, mut took_in) = (None, false);
    let mut files = git.raw_changes(&[&start.tree, &seen.tree])?;
    if let Some(head) = &head {
        // A thousand are more than anybody reads, and bound what is kept in a record.
        let known = start.commit.iter().chain(&upstream).map(|commit| format!("^{commit}"));
        commits = git.run(&words(&["rev-list", "--max-count=1000", head], known))?.lines().map(String::from).collect();
        // What came in from the base branch is nobody's work here.
        if let (Some(upstream), Some(began)) = (&upstream, &start.commit) {
            // Where it left the base then and now: in between the base's own commits came in.
            let (old, new) = (git.fork(upstream, began)?, git.fork(upstream, head)?);
            if let Some(new) = &new {
                let mut own = git.raw_changes(&[new, &seen.tree])?;
                own.retain(|file| !checkout.excludes(&file.name()));
                apart = Some(own.len());
                took_in = old.as_ref() != Some(new);
                if took_in {
                    files.retain(|file| own.iter().any(|other| other.path == file.path));
                }
            }
        }
    }
    files.retain(|file| !checkout.excludes(&file.name()));
    let risky = files.iter().filter_map(|file| look_at(&file.name(), file.is_gone(), file.is_odd())).collect();
    let changed = files.iter().map(RawChange::name).collect();
    let midway = midway(checkout)?;
    Ok(Evidence { known: true, commits, changed, apart, took_in, dirty, risky, left_out: seen.left_out, midway })
}

/// How a checkout was when an attempt began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Start {
    /// The commit; `None` before the first.
    pub(super) commit: Option<String>,
    /// Everything that was there, committed or not.
    pub(super) tree: String,
}

impl Start {
    /// Returns how it was noted to be when an attempt began, if it was.
    pub(super) fn noted(checkout: &Checkout, refs: &Refs, token: Token) -> Result<Option<Self>> {
        let Some(noted) = checkout.git.commit(&refs.start(token))? else { return Ok(None) };
        let tree = checkout.tree_of(Some(&noted))?;
        // The note is a commit of ours on top of the one that was checked out.
        let commit = checkout.git.commit(&format!("{noted}^1"))?;
        Ok(Some(Self { commit, tree }))
    }
}

/// Files that other programs obey, and directories of such files.
const RISKY: &str = include_str!("risky.txt");

/// Names a changed file that deserves a look before it is merged.
pub(super) fn look_at(path: &str, gone: bool, odd: bool) -> Option<String> {
    match () {
        () if gone && is_test(path) => Some(format!("{path} (deleted)")),
        () if odd || is_risky(path) => Some(path.into()),
        () => None,
    }
}

/// Tells whether a file looks like a test.
fn is_test(path: &str) -> bool {
    let lower = path.to_ascii_lowercase();
    let mut words = lower.split(|c: char| !c.is_ascii_alphanumeric());
    words.any(|word| matches!(word, "test" | "tests" | "spec" | "specs" | "testdata" | "testing"))
}

/// Tells whether other programs, agents or CI obey a file.
fn is_risky(path: &str) -> bool {
    let lower = path.to_ascii_lowercase();
    let (dirs, name) = lower.rsplit_once('/').unwrap_or(("", &lower));
    // Also in a project below the top of its repository.
    let own = lower.split_once(".oodatcaa/").is_some_and(|(before, rest)| {
        (before.is_empty() || before.ends_with('/')) && (rest.starts_with("config") || rest.starts_with("prompts/"))
    });
    own || listed(RISKY).any(|risky| match risky.strip_suffix('/') {
        Some(dir) => dirs.split('/').any(|part| part == dir),
        None => name == risky,
    })
}

/// A merge that its author left with conflicts.
pub(super) const CONFLICTS: &str = "a merge with conflicts";

/// Returns the git operation that is half done in a checkout.
pub(super) fn midway(checkout: &Checkout) -> Result<Option<&'static str>> {
    let found = match half_done(&checkout.admin) {
        // A merge without conflicts is ended by the commit of the rest.
        None if !checkout.git.run(&["ls-files", "-u", "-z"])?.is_empty() => Some(CONFLICTS),
        found => found,
    };
    Ok(found)
}

/// Returns what the files of a repository say to be half done.
pub(super) fn half_done(admin: &std::path::Path) -> Option<&'static str> {
    let there = |name: &str| admin.join(name).exists();
    match () {
        () if there("rebase-merge") || there("rebase-apply") => Some("a rebase"),
        () if there("CHERRY_PICK_HEAD") => Some("a cherry-pick"),
        () if there("REVERT_HEAD") => Some("a revert"),
        () if there("BISECT_LOG") => Some("a bisection"),
        () => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_is_known_by_its_path() {
        for path in ["tests/a.rs", "src/foo_test.go", "test/x.py", "a.spec.ts", "pkg/testdata/x"] {
            assert!(is_test(path), "{path}");
        }
        for path in ["src/latest.rs", "contest/a.rs", "src/attestation.rs"] {
            assert!(!is_test(path), "{path}");
        }
    }

    #[test]
    fn files_that_others_obey_are_told() {
        for path in [
            ".claude/settings.json",
            "sub/CLAUDE.md",
            "AGENTS.md",
            ".mcp.json",
            ".github/workflows/x.yml",
            "Makefile",
            ".husky/pre-commit",
            "tools/hooks/x",
            ".oodatcaa/config.toml",
            "a/.oodatcaa/prompts/builder.md",
            ".gitmodules",
        ] {
            assert!(is_risky(path), "{path}");
        }
        for path in ["src/lib.rs", "docs/agents.txt", "makefile.txt", "x.oodatcaa/config.toml", "src/hooks.rs"] {
            assert!(!is_risky(path), "{path}");
        }
    }
}
