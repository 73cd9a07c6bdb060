//! Makes a task's result on top of a commit, inside the temporary worktree: merge, squash, replay.

use std::{collections::BTreeSet, fs, os::unix::fs::PermissionsExt as _};

use super::{
    MergeError, MergeRequest, MergeTarget, Policy, Result, changelog,
    steps::{MergeEntry, Red},
    tree::Tree,
    verify,
};
use crate::{branch, fault::failed, git::Git};
use oodatcaa_core::text;
use oodatcaa_sys::files;

/// What came of it.
pub(super) enum Built {
    /// A new commit.
    Commit(String),
    /// The base has all of it already.
    Already,
}

/// Builds the result of an order whose branch stands at `source` on top of `base`.
pub(super) fn build(tree: &Tree, line: &MergeTarget, order: &MergeRequest, source: &str, base: &str) -> Result<Built> {
    tree.go(base)?;
    let maker = Maker { tree, line, order, source, base };
    let reverted = verify::reverted(&tree.git, order, base)?;
    if let Some((revert, sources)) = &reverted
        && verify::any_in(&tree.git, sources, base)?
    {
        maker.reinstate(revert)?;
    }
    match line.policy {
        Policy::MergeCommit => maker.merge()?,
        Policy::Squash => maker.squash()?,
        Policy::Rebase => maker.replay(reverted.is_some())?,
    }
    let head = tree.git.run(&["rev-parse", "HEAD"])?;
    // By content: a commit that changes nothing is nothing to land.
    let same = tree.git.tree("HEAD")? == tree.git.tree(base)?;
    Ok(if same { Built::Already } else { Built::Commit(head) })
}

struct Maker<'a> {
    tree: &'a Tree,
    line: &'a MergeTarget,
    order: &'a MergeRequest,
    source: &'a str,
    base: &'a str,
}

impl Maker<'_> {
    fn merge(&self) -> Result<()> {
        let before = self.tree.git.run(&["rev-parse", "HEAD"])?;
        self.try_out(&["merge", "-q", "--no-ff", "--no-commit", "--no-stat", self.source])?;
        // A merge whose result equals one side stages nothing and is a merge all the same.
        let merging = self.tree.git.asks(&["rev-parse", "-q", "--verify", "MERGE_HEAD"])?;
        if !merging && !self.staged("HEAD")? {
            return Ok(());
        }
        self.note()?;
        // Nothing but the merge: a merge that changes nothing is told by the caller.
        if merging || self.staged(&before)? {
            self.commit(&self.message("Merge"))?;
        }
        Ok(())
    }

    fn squash(&self) -> Result<()> {
        self.try_out(&["merge", "-q", "--squash", "--no-commit", "--no-stat", self.source])?;
        if !self.staged("HEAD")? {
            return Ok(());
        }
        self.note()?;
        self.commit(&self.message(""))
    }

    /// Replays one commit after the other along the branch's own line; its merges are replayed as what they
    /// changed, so that the conflicts which they solved stay solved.
    fn replay(&self, again: bool) -> Result<()> {
        let (git, base) = (&self.tree.git, self.base);
        let range = format!("{base}..{}", self.source);
        let commits = git.run(&["rev-list", "--reverse", "--first-parent", "--parents", &range])?;
        let known: BTreeSet<String> = match again {
            // What was taken back is known, too, and must come again.
            true => BTreeSet::new(),
            false => {
                let cherry = git.run(&["cherry", base, self.source])?;
                cherry.lines().filter_map(|line| line.strip_prefix("- ").map(str::to_owned)).collect()
            }
        };
        let mut made = false;
        for entry in commits.lines() {
            let (commit, how) = along_its_line(entry);
            if known.contains(commit) {
                continue;
            }
            self.try_out(&[&["cherry-pick", "--no-commit"], how, &[commit]].concat())?;
            if !self.staged("HEAD")? {
                continue;
            }
            // Zero bytes between them: no name and no message can hold one.
            let facts = git.run(&["log", "-1", "--no-show-signature", "--format=%an%x00%ae%x00%aI%x00%B", commit])?;
            let mut facts = facts.splitn(4, '\0');
            let mut fact = || facts.next().unwrap_or_default().to_owned();
            let author = super::Author { name: fact(), email: fact() };
            let date = fact();
            let message = self.signed(&foreign(&fact()));
            let git = git.clone().by(&author).committed_by(&self.line.author);
            git.with_env("GIT_AUTHOR_DATE", &date).with_input(message).run(COMMIT)?;
            made = true;
        }
        if made && self.line.changelog {
            self.note()?;
            if self.staged("HEAD")? {
                self.commit(&self.message("Changelog of"))?;
            }
        }
        Ok(())
    }

    /// Brings back what a revert took away; else a merge would bring only what came after it.
    fn reinstate(&self, revert: &str) -> Result<()> {
        self.try_out(&["revert", "--no-commit", revert])?;
        if self.staged("HEAD")? {
            self.commit(&self.message("Reinstate"))?;
        }
        // A revert without a commit leaves its state in the worktree, even when it changed nothing.
        let _ = self.tree.git.call(&["revert", "--quit"])?;
        Ok(())
    }

    fn try_out(&self, args: &[&str]) -> Result<()> {
        try_out(&self.tree.git, self.base, args)
    }

    fn staged(&self, against: &str) -> Result<bool> {
        let how = ["diff-index", "--cached", "--quiet", "--no-ext-diff", "--no-textconv", against, "--"];
        Ok(!self.tree.git.asks(&how)?)
    }

    fn commit(&self, message: &str) -> Result<()> {
        self.tree.git.clone().with_input(message).run(COMMIT)?;
        Ok(())
    }

    fn message(&self, verb: &str) -> String {
        let subject = subject(verb, self.order);
        self.signed(&format!("{subject}\n\nBranch: {}\n", self.order.branch))
    }

    /// Adds the trailers that tell a merged task.
    fn signed(&self, message: &str) -> String {
        let message = message.trim_end();
        let last = message.rsplit("\n\n").next().unwrap_or_default();
        let is_trailer = |line: &str| {
            line.split_once(": ")
                .is_some_and(|(key, _)| !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'))
        };
        // Git takes only the last paragraph for trailers, so they are added to one that is there.
        let joined = message.contains("\n\n") && last.lines().all(is_trailer);
        let MergeRequest { task, token, .. } = self.order;
        format!(
            "{message}{}Oodatcaa-Task: {task}\nOodatcaa-Attempt: {token}\nOodatcaa-Source: {}\n",
            if joined { "\n" } else { "\n\n" },
            self.source
        )
    }

    /// Writes the changelog's entry and stages it.
    fn note(&self) -> Result<()> {
        if !self.line.changelog {
            return Ok(());
        }
        // A project below the top of its repository has a changelog of its own.
        let project = self.tree.project()?;
        let path = project.join(changelog::FILE);
        let old = match fs::symlink_metadata(&path) {
            Ok(meta) if meta.is_file() => Some(files::named::text(&path).map_err(failed("read", &path))?),
            // A link would let a repository choose which file of ours is written.
            Ok(_) => return Ok(()),
            Err(_) => None,
        };
        let Some(new) = changelog::with(old.as_deref(), &changelog::line(self.order.task.as_str(), &self.order.title))
        else {
            return Ok(());
        };
        let mode = fs::symlink_metadata(&path).map_or(0o644, |meta| meta.permissions().mode());
        files::named::write_as(&path, new, mode, files::Durable::No).map_err(failed("write", &path))?;
        // By force, as a repository may ignore its changelog by a pattern of somebody's.
        self.tree.git.run(&["add", "-f", "--", &path.to_string_lossy()])?;
        Ok(())
    }
}

const COMMIT: &[&str] = &["commit", "-q", "--no-verify", "--no-gpg-sign", "--cleanup=whitespace", "-F", "-"];

/// Returns the first line of a message of ours.
fn subject(verb: &str, order: &MergeRequest) -> String {
    let verb = if verb.is_empty() { String::new() } else { format!("{verb} ") };
    format!("{verb}{}", subject_of(order.task.as_str(), &order.title))
}

/// Writes a task in one line: its id and its title, made harmless.
pub(super) fn subject_of(task: &str, title: &str) -> String {
    let words: Vec<String> = text::one_line(&text::cut(title, 400)).split_whitespace().map(str::to_owned).collect();
    let title = text::cut(&words.join(" "), 100);
    if title.is_empty() { task.to_owned() } else { format!("{task}: {title}") }
}

/// Returns a message of somebody else without lines that only we may write.
fn foreign(message: &str) -> String {
    let ours = |line: &&str| !line.trim_start().to_ascii_lowercase().starts_with("oodatcaa-");
    let kept: Vec<&str> = message.lines().filter(ours).collect();
    let text = kept.join("\n");
    if text.trim().is_empty() { "(no message)".into() } else { text }
}

/// Runs what may stop at a conflict.
fn try_out(git: &Git, base: &str, args: &[&str]) -> Result<()> {
    let (code, out, said) = git.call(args)?;
    if code == 0 {
        return Ok(());
    }
    let files = git.unmerged()?;
    if files.is_empty() {
        let words = if said.is_empty() { out } else { said };
        let command = args.first().copied().unwrap_or_default().to_owned();
        return Err(MergeError::Refused { command, said: text::cut(&text::many_lines(&words), 2_000) });
    }
    Err(MergeError::Conflict { files, onto: base.into() })
}

/// Returns the commit of a line with its parents, and the options that take a merge for what it changed on its own line.
fn along_its_line(entry: &str) -> (&str, &'static [&'static str]) {
    let mut words = entry.split(' ');
    let commit = words.next().unwrap_or_default();
    (commit, if words.count() > 1 { &["-m", "1"] } else { &[] })
}

/// Commits that take back the entries on top of `base`, one each, the last entry's first.
pub(super) fn revert(tree: &Tree, entries: &[MergeEntry], base: &str, (gate, words): &Red) -> Result<Vec<String>> {
    tree.go(base)?;
    let git = &tree.git;
    let mut made = Vec::new();
    for entry in entries.iter().rev() {
        let range = format!("{}..{}", entry.base, entry.commit);
        for entry in git.run(&["rev-list", "--first-parent", "--parents", &range])?.lines() {
            let (commit, how) = along_its_line(entry);
            let args = [&["revert", "--no-commit"], how, &[commit]].concat();
            try_out(git, base, &args)?;
        }
        let words = text::cut(&text::one_line(words), 200);
        let why = match gate.as_str() {
            "" => words,
            gate => format!("The gate {} was red after the merge: {words}", text::cut(&text::one_line(gate), 60)),
        };
        let message = format!(
            "Revert {}\n\n{why}\n\nOodatcaa-Task: {}\nOodatcaa-Reverts: {}\nOodatcaa-Reverted-Source: {}\n",
            entry.task, entry.task, entry.commit, entry.source
        );
        let mut args = COMMIT.to_vec();
        args.push("--allow-empty");
        git.clone().with_input(message).run(&args)?;
        // Its state in the worktree would stand in the way of the next one.
        let _ = git.call(&["revert", "--quit"])?;
        made.push(git.run(&["rev-parse", "HEAD"])?);
    }
    Ok(made)
}

/// Returns a tag object on a commit, not yet named by a ref, under the first name that is free.
pub(super) fn free_tag(git: &Git, name: &str) -> Result<String> {
    // A tag `pre` leaves no room for tags below `pre/`.
    let parent = name.split_once('/').map(|(parent, _)| format!("refs/tags/{parent}"));
    let name = match parent {
        Some(parent) if git.asks(&["show-ref", "--verify", "-q", &parent])? => name.replacen('/', "-", 1),
        _ => name.to_owned(),
    };
    for n in 1..10_000_u32 {
        let candidate = if n == 1 { name.clone() } else { format!("{name}-{n}") };
        let full = format!("refs/tags/{candidate}");
        let taken = git.asks(&["show-ref", "--verify", "-q", &full])?
            || !git.run(&["for-each-ref", "--count=1", "--format=%(refname)", &format!("{full}/")])?.is_empty();
        if !taken {
            return Ok(candidate);
        }
    }
    Err(MergeError::Refused { command: "tag".into(), said: format!("every name like `{name}` is taken") })
}

/// Makes an annotated tag's object and answers with its id; no ref names it yet.
pub(super) fn tag_object(git: &Git, name: &str, commit: &str, author: &super::Author, message: &str) -> Result<String> {
    let super::Author { name: who, email } = author.clean();
    let time = chrono::Utc::now().timestamp();
    // `mktag` checks the form; made by hand, because `git tag` would name it at once, before the branch moves.
    let object =
        format!("object {commit}\ntype commit\ntag {name}\ntagger {who} <{email}> {time} +0000\n\n{message}\n");
    Ok(git.clone().with_input(object).run(&["mktag"])?)
}

/// Returns the name of the tag on the old head.
pub(super) fn before_name(task: &str) -> String {
    format!("pre/{}-{}", branch::component(task), chrono::Utc::now().format("%Y-%m-%dT%H%M%SZ"))
}

/// Returns the name of the tag on the result.
pub(super) fn after_name(task: &str) -> String {
    branch::component(&format!("{task}-complete"))
}
