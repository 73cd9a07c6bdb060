//! Keeping work safe: everything that is not committed, as a commit under a ref of ours.
//!
//! Neither the index nor the files are touched, so it may happen while an agent works. What was saved before
//! stays reachable from what is saved later.

use super::{
    author::Author,
    branch,
    fault::Result,
    git::{Git, RawChange},
    snapshot::{Checkout, Snapshot},
};
use oodatcaa_core::layout::Layout;
use oodatcaa_core::{TaskId, Token};
use oodatcaa_sys::project::Identity;

/// The refs of one task. Two projects in one repository, each with a task of the same id, have none in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refs {
    project: String,
    task: String,
}

impl Refs {
    /// Returns the refs of a task of this project.
    pub fn of(layout: &Layout, task: &TaskId) -> Self {
        Self { project: project(layout), task: branch::component(task.as_str()) }
    }

    /// Returns the ref of an attempt's saved work.
    pub fn wip(&self, token: Token) -> String {
        format!("{}/{token}", self.dir("wip"))
    }

    /// Returns the ref of what an attempt began with.
    pub fn start(&self, token: Token) -> String {
        format!("{}/{token}", self.dir("start"))
    }

    /// Returns the ref of a branch that was left for a new one.
    pub(super) fn old(&self, tip: &str) -> String {
        format!("{}/{}", self.dir("old"), tip.get(..12).unwrap_or(tip))
    }

    /// Returns what all refs of one kind begin with.
    pub(super) fn dir(&self, kind: &str) -> String {
        format!("refs/oodatcaa/{kind}/{}/{}", self.project, self.task)
    }

    /// Returns what names the task in a ref that others make.
    pub(super) fn label(&self) -> String {
        format!("{}/{}", self.project, self.task)
    }

    /// Returns the attempts that have a ref of this kind, in order.
    pub(super) fn tokens(&self, git: &Git, kind: &str) -> Result<Vec<Token>> {
        let listed = git.run(&["for-each-ref", "--format=%(refname:lstrip=-1)", &format!("{}/", self.dir(kind))])?;
        let mut all: Vec<Token> = listed.lines().filter_map(|name| name.parse().ok().map(Token)).collect();
        all.sort();
        Ok(all)
    }
}

/// Returns what names a project in refs and in the directory of its worktrees: the same after a rename.
pub(super) fn project(layout: &Layout) -> String {
    let root = layout.root();
    // By its file's identity and not by its path, which changes with a rename.
    let id = match Identity::of(root) {
        Ok(identity) => identity.id(root).to_string(),
        Err(_) => branch::hash8(root.as_os_str().as_encoded_bytes()),
    };
    id.chars().take(8).collect()
}

/// Makes a commit of a tree; nothing points to it yet.
pub(super) fn commit_tree(git: &Git, tree: &str, parents: &[&str], message: &str) -> Result<String> {
    let git = git.clone().by(&Author::ourselves());
    let mut args = vec!["commit-tree", tree, "-m", message];
    parents.iter().for_each(|parent| args.extend(["-p", parent]));
    Ok(git.run(&args)?)
}

/// Saves what a checkout holds under this name, on top of what is checked out and of what was saved there before.
pub(super) fn keep(checkout: &Checkout, seen: &Snapshot, name: &str, what: &str) -> Result<String> {
    let git = &checkout.git;
    let head = checkout.git.head()?;
    let before = git.commit(name)?;
    // Nothing new: a save at every heartbeat must not grow the repository.
    if let Some(before) = &before
        && checkout.tree_of(Some(before))? == seen.tree
        && git.commit(&format!("{before}^1"))? == head
    {
        return Ok(before.clone());
    }
    // What was saved before stays reachable, and is shown by `git log` of the ref.
    let parents: Vec<&str> = head.iter().chain(&before).map(String::as_str).collect();
    let commit = commit_tree(git, &seen.tree, &parents, &format!("oodatcaa: {what}"))?;
    // Compared and swapped: of two who save at one moment the second fails instead of dropping the first one's work.
    git.set_ref("save", name, &commit, Some(before.as_deref().unwrap_or_default()))?;
    Ok(commit)
}

/// A ref that holds saved work, and the files in it that are meant.
pub(super) type Saved = (String, Vec<String>);

/// Returns what earlier attempts left and was saved, at their end or before this one began, and is not in a tree. The
/// latest first.
pub(super) fn missing(checkout: &Checkout, refs: &Refs, token: Token, tree: &str) -> Result<Vec<Saved>> {
    let git = &checkout.git;
    let earlier = refs.tokens(git, "wip")?.into_iter().rev().filter(|saved| *saved <= token).take(TOLD);
    let mut all: Vec<Saved> = Vec::new();
    for name in earlier.map(|saved| refs.wip(saved)) {
        let of = |what: &str| format!("{name}{what}");
        // Since it left what is checked out, so that commits beside the branch count as well.
        let began = checkout.tree_of(git.fork("HEAD", &name)?.as_deref())?;
        let names = |from: &str, to: &str| -> Result<Vec<String>> {
            Ok(git.raw_changes(&[from, to])?.iter().map(RawChange::name).collect())
        };
        let lacking = names(tree, &of("^{tree}"))?;
        let mut files = names(&began, &of("^{tree}"))?;
        files.retain(|file| lacking.contains(file));
        if !files.is_empty() && all.iter().all(|(_, told)| *told != files) {
            all.push((name, files));
        }
    }
    Ok(all)
}

/// How many saves of earlier attempts are told.
const TOLD: usize = 3;

/// Tells whether a branch holds a commit.
pub(super) fn holds(checkout: &Checkout, branch: Option<&str>, commit: &str) -> Result<bool> {
    if checkout.git.current_branch()?.is_some() {
        return Ok(true);
    }
    let Some(branch) = branch else { return Ok(true) };
    let tip = checkout.git.tip(branch)?;
    Ok(tip.map_or(Ok(false), |tip| checkout.git.is_ancestor(commit, &tip))?)
}
