//! The repository of an agent's own, which it gets in the place of the project's: it borrows the project's objects, has
//! its branches and tags, and may be done anything to. What is good of it is taken in afterwards.
//!
//! Nothing below the project's `.git` has to be writable for an agent that commits here. The private directory of the
//! worktree stays ours; only the link in the worktree leads elsewhere while the agent works. Both ways are taken again
//! after a crash: to take in twice changes nothing.

use std::path::{Path, PathBuf};

use super::{
    branch,
    fault::{Result, WorkspaceError, failed},
    git::{Git, Spot},
    repo::{Home, make_dir},
    workspace::Workspace,
};
use oodatcaa_core::layout::Layout;
use oodatcaa_sys::files::{self, Durable};

/// Settings of the project that say how files become content; others are none of an agent's repository.
const SETTINGS: [&str; 8] = [
    "core.autocrlf",
    "core.eol",
    "core.filemode",
    "core.ignorecase",
    "core.precomposeunicode",
    "core.symlinks",
    "user.email",
    "user.name",
];

/// What an agent has left in a repository of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TakenIn {
    /// An operation of git that it left half done there.
    pub midway: Option<&'static str>,
    /// The commit that it had checked out.
    pub head: Option<String>,
}

impl Workspace {
    /// Makes a repository of the agent's own, and lets its worktree lead there. Returns where it is.
    ///
    /// An earlier one must have been taken in: what is there is thrown away.
    pub fn hand_out(&self, layout: &Layout) -> Result<Option<PathBuf>> {
        let (Some(checkout), Some(branch), Some(home)) =
            (&self.checkout, &self.branch, Home::holding(layout, &self.top))
        else {
            return Ok(None);
        };
        let git = &checkout.git;
        let common = git.common().unwrap_or(&checkout.admin);
        refuse(git, common)?;
        let dir = self.own(&home);
        files::remove_tree(&home.dir, &dir).map_err(failed("remove", &dir))?;
        make_dir(dir.parent().unwrap_or(&dir))?;
        let format = git.run(&["rev-parse", "--show-object-format"])?;
        let mut init = vec!["init", "-q", "--bare", "--template="];
        let (object, refs) = (format!("--object-format={format}"), format!("--ref-format={}", ref_format(git)?));
        init.extend([object.as_str(), "-b", branch]);
        // Older ones know one format only.
        if !refs.ends_with("=files") {
            init.push(&refs);
        }
        let place = dir.to_string_lossy().into_owned();
        git.looking_from(&home.dir).run(&[&init[..], &[place.as_str()]].concat())?;
        let write = |name: &str, text: &[u8]| {
            let path = dir.join(name);
            files::named::write(&path, text, Durable::No).map_err(failed("write", &path))
        };
        write("objects/info/alternates", format!("{}\n", common.join("objects").display()).as_bytes())?;
        if let Ok(shallow) = files::named::bytes(common.join("shallow")) {
            write("shallow", &shallow)?;
        }
        // It knows the index that the worktree was checked out by, so that nothing has to be read again.
        if let Ok(index) = files::named::bytes(checkout.admin.join("index")) {
            write("index", &index)?;
        }
        let own = git.beside(Spot { top: None, admin: dir.clone(), common: dir.clone() })?;
        let listed =
            git.run(&["for-each-ref", "--format=create %(refname) %(objectname)", "refs/heads", "refs/tags"])?;
        own.change_refs(listed + "\n")?;
        let config = dir.join("config").to_string_lossy().into_owned();
        let set = |name: &str, value: &str| own.run(&["config", "--file", &config, name, value]);
        set("core.bare", "false")?;
        for (name, value) in git.own_settings()? {
            if let Some(value) = value.filter(|_| SETTINGS.contains(&name.to_ascii_lowercase().as_str())) {
                set(&name, &value)?;
            }
        }
        link(&self.top, &dir)?;
        Ok(Some(dir))
    }

    /// Takes in what an agent did in a repository of its own, if the worktree has one: its branch, and what it had
    /// checked out. The worktree leads to ours again before anything is read there.
    pub fn take_in(&self, layout: &Layout) -> Result<Option<TakenIn>> {
        let (Some(checkout), Some(branch), Some(home)) =
            (&self.checkout, &self.branch, Home::holding(layout, &self.top))
        else {
            return Ok(None);
        };
        let dir = self.own(&home);
        if !dir.is_dir() {
            return Ok(None);
        }
        link(&self.top, &checkout.admin)?;
        let git = &checkout.git;
        git.verify()?;
        let place = dir.to_string_lossy().into_owned();
        let listed = git.run(&["ls-remote", "--symref", &place])?;
        let target = |name: &str| {
            let lines = listed.lines().filter_map(|line| line.split_once('\t'));
            lines
                .clone()
                .find(|(commit, found)| *found == name && !commit.starts_with("ref: "))
                .map(|(commit, _)| commit)
        };
        let name = format!("refs/heads/{branch}");
        let is_on_branch = listed.lines().any(|line| line == format!("ref: {name}\tHEAD"));
        let incoming = self.refs.dir("in");
        let wanted: Vec<String> = [(name.as_str(), "branch"), ("HEAD", "head")]
            .into_iter()
            .filter(|(from, _)| target(from).is_some())
            .map(|(from, to)| format!("+{from}:{incoming}/{to}"))
            .collect();
        if !wanted.is_empty() {
            let fetch = ["-c", "fetch.fsckObjects=true", "fetch", "-q", "--no-tags", "--no-write-fetch-head", &place];
            git.run(&[&fetch[..], &wanted.iter().map(String::as_str).collect::<Vec<_>>()].concat())?;
        }
        let (tip, head) = (git.commit(&format!("{incoming}/branch"))?, git.commit(&format!("{incoming}/head"))?);
        let before = git.tip(branch)?.unwrap_or_default();
        if let Some(tip) = tip.as_ref().filter(|tip| **tip != before) {
            git.set_ref("take in", &name, tip, Some(&before))?;
        }
        match &head {
            // Beside its branch: what is to become of that is decided where it always is.
            Some(head) if !is_on_branch => git.run(&["update-ref", "--no-deref", "HEAD", head]).map(drop)?,
            _ => git.attach_head("take in", branch)?,
        }
        // What it had staged is in the files as well.
        git.run(&["reset", "-q", "--mixed"])?;
        checkout.leave_others_alone()?;
        let midway = super::evidence::half_done(&dir);
        let gone = [format!("delete {incoming}/branch\n"), format!("delete {incoming}/head\n")];
        let gone = gone.iter().zip([&tip, &head]).filter(|(_, there)| there.is_some()).map(|(line, _)| line.as_str());
        git.change_refs(gone.collect())?;
        files::remove_tree(&home.dir, &dir).map_err(failed("remove", &dir))?;
        Ok(Some(TakenIn { midway, head }))
    }

    fn own(&self, home: &Home) -> PathBuf {
        home.dir.join("git").join(branch::component(self.task.as_str()))
    }
}

/// Refuses what a repository that borrows objects cannot stand for.
fn refuse(git: &Git, common: &Path) -> Result<()> {
    let partial = |(name, _): &(String, Option<String>)| {
        let name = name.to_ascii_lowercase();
        name == "extensions.partialclone" || name.starts_with("remote.") && name.ends_with(".promisor")
    };
    if git.own_settings()?.iter().any(partial) {
        return Err(WorkspaceError::Unsafe {
            path: common.into(),
            reason: "it is a partial clone, whose objects an agent would have to fetch; make it whole: git fetch --refetch --no-filter"
                .into(),
        });
    }
    Ok(())
}

/// Returns how a repository keeps its refs.
fn ref_format(git: &Git) -> Result<String> {
    let (code, format, _) = git.call(&["rev-parse", "--show-ref-format"])?;
    // Before 2.44 there was one way, and the option is taken for a name.
    Ok(if code == 0 && !format.starts_with('-') { format } else { "files".into() })
}

/// Lets a worktree lead to a repository. As one step: git never sees half of it.
fn link(top: &Path, to: &Path) -> Result<()> {
    let path = top.join(".git");
    let text = format!("gitdir: {}\n", to.display());
    files::write_atomic(top, &path, text.as_bytes(), Durable::No).map_err(failed("write", &path))
}
