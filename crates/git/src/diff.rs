//! What a task or one attempt on it changed, as a diff between two states that git still knows.

use std::collections::HashMap;

use super::{
    Config, Workspace, evidence,
    fault::{Result, WorkspaceError},
    git::{Git, words},
    merge,
    project::{Project, own_paths},
    repo::Repository,
    save::Refs,
    state::State,
};
use oodatcaa_core::layout::Layout;
use oodatcaa_core::{Task, TaskId, Token};

/// Two states to compare.
#[derive(Clone, Debug)]
pub struct Range {
    /// A commit or tree.
    pub from: String,
    /// A commit or tree.
    pub to: String,
    /// What the end is, for people.
    pub until: &'static str,
    git: Git,
    paths: Vec<String>,
}

/// One changed file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileChange {
    /// The path, from the top of the repository.
    pub path: String,
    /// Lines that came; `None` for a binary file.
    pub added: Option<u64>,
    /// Lines that went; `None` for a binary file.
    pub removed: Option<u64>,
    /// Other programs, agents or CI obey it, or it was a test and is gone.
    pub risky: bool,
    /// How it is named to whoever should look at it, where it is risky.
    pub look_at: Option<String>,
}

/// Finds what to compare: the whole of a task's work, or one attempt's.
/// `branch` is the one that the task's entry names: what it brought is there also when it was merged and is gone.
pub fn range(
    layout: &Layout,
    config: &Config,
    task: &TaskId,
    branch: Option<&str>,
    token: Option<Token>,
) -> Result<Range> {
    let name = token.map_or_else(|| task.to_string(), |token| format!("{task}/{token}"));
    let nothing = |why: &str| WorkspaceError::Nothing(name.clone(), why.into());
    let project = Project::find(layout, config)?.ok_or_else(|| nothing("the project is not in a git repository"))?;
    let repo = &project.repo;
    let refs = Refs::of(layout, task);
    let starts = refs.tokens(&repo.git, "start")?;
    let newest = starts.last().copied().unwrap_or_default();
    let live = repo.task_tree(layout, task)?;
    let live = live.map(|found| Workspace::found(&project, &found, newest)).transpose()?;
    let tip = match (&live, branch_of(layout, config, task)) {
        (Some(workspace), _) => workspace.branch().map(String::from),
        (None, branch) => branch,
    };
    let tip = tip.map_or(Ok(None), |branch| repo.git.tip(&branch))?;
    // Only where nothing else is left of it.
    let landed = match (&live, &tip, branch) {
        (None, None, Some(branch)) => merge::landed(&repo.git, branch).unwrap_or_default(),
        _ => None,
    };
    let tip = match landed.as_ref().and_then(|landed| landed.source.as_deref()) {
        Some(source) => repo.git.commit(source)?,
        None => tip,
    };
    let end = |saved: Option<Token>| -> Result<(Option<String>, &'static str)> {
        if let Some(checkout) = live.as_ref().and_then(|workspace| workspace.checkout.as_ref()) {
            return Ok((Some(checkout.snapshot()?.tree), "now"));
        }
        let saved = saved.map_or(Ok(None), |token| repo.git.commit(&refs.wip(token)))?;
        Ok(if saved.is_some() { (saved, "its saved work") } else { (tip.clone(), "the end of its branch") })
    };
    let begun = |token: Token| repo.git.commit(&refs.start(token));
    let (from, (to, until)) = match (token, landed) {
        (Some(token), _) => {
            let unknown = || nothing("nothing was noted when it began, or it was cleaned up since");
            let from = begun(token)?.ok_or_else(unknown)?;
            match starts.iter().find(|other| **other > token) {
                Some(next) => (from, (begun(*next)?, "the next attempt")),
                None => (from, end(Some(token))?),
            }
        }
        (None, Some(landed)) => (landed.from, (Some(landed.to), "its merge")),
        (None, None) => {
            let fork = match (&tip, repo.base(config)) {
                (Some(tip), Ok(base)) => repo.git.fork(&base.commit, tip)?.filter(|fork| fork != tip),
                _ => None,
            };
            let first = starts.first().map_or(Ok(None), |first| begun(*first))?;
            let from = fork.or(first).ok_or_else(|| nothing("it was never worked on in a workspace"))?;
            (from, end(None)?)
        }
    };
    let to = to.ok_or_else(|| nothing("its workspace and its branch are gone"))?;
    let own = own_paths(&repo.prefix);
    let paths = words(&[":(top)"], own.iter().map(|path| format!(":(top,exclude,literal){path}")));
    Ok(Range { from, to, until, git: project.repo.git, paths })
}

/// Returns the commit at which a task's branch stands: the branch that we made, or else the one that the task names. `None`
/// where there is neither, or no repository.
pub fn tip(layout: &Layout, config: &Config, task: &Task) -> Result<Option<String>> {
    let Some(branch) = branch_of(layout, config, &task.id).or_else(|| task.branch.clone()) else { return Ok(None) };
    let Some(repo) = Repository::find(layout)? else { return Ok(None) };
    Ok(repo.git.tip(&branch)?)
}

fn branch_of(layout: &Layout, config: &Config, task: &TaskId) -> Option<String> {
    let home = super::repo::Home::of(layout, config).ok()?;
    State::load(&home, task).map(|state| state.branch)
}

impl Range {
    fn args(&self, how: &[&str]) -> Vec<String> {
        let diff = [&["diff", "--no-ext-diff", "--no-textconv", "--no-color"], how].concat();
        let what = [&self.from, &self.to, "--"].map(String::from);
        words(&diff, what.into_iter().chain(self.paths.iter().cloned()))
    }

    /// Returns the diff, byte for byte.
    pub fn patch(&self) -> Result<Vec<u8>> {
        Ok(self.git.bytes(&self.args(&["-M"]))?)
    }

    /// Returns the files, with how many lines.
    pub fn files(&self) -> Result<Vec<FileChange>> {
        let listed = self.git.run(&self.args(&["--raw", "--numstat", "-z", "--no-renames"]))?;
        let mut fields = listed.split('\0');
        // The modes of all files come first, each before its path.
        let mut modes: HashMap<&str, (&str, &str)> = HashMap::new();
        let mut files = Vec::new();
        while let Some(field) = fields.next() {
            if let Some(raw) = field.strip_prefix(':') {
                let mut words = raw.split(' ');
                let pair = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
                modes.extend(fields.next().map(|path| (path, pair)));
                continue;
            }
            let mut parts = field.splitn(3, '\t');
            let (Some(added), Some(removed), Some(path)) = (parts.next(), parts.next(), parts.next()) else { continue };
            let (old, new) = modes.get(path).copied().unwrap_or_default();
            let odd = old != new && matches!(new, "120000" | "160000");
            let look_at = evidence::look_at(path, new == "000000", odd);
            let (added, removed) = (added.parse().ok(), removed.parse().ok());
            files.push(FileChange { risky: look_at.is_some(), look_at, path: path.into(), added, removed });
        }
        Ok(files)
    }
}
