//! What a branch may not bring into its target, whoever committed it: copies of a person's own files, links to
//! repositories that nobody else has.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use super::{
    fault::{Result, failed},
    git::{Git, RawChange},
    repo::Home,
    submodules::{self, Stores},
};
use oodatcaa_core::{TaskId, text};
use oodatcaa_sys::files::{self, Durable, named};

/// Contents of no more bytes than this are found everywhere and say nothing about where they came from.
const TELLING: u64 = 8;

/// What `workspace.copy` brought into a worktree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Copies {
    /// Paths below the top, of files and of whole directories.
    pub(super) paths: Vec<String>,
    /// What the files held, as git names it.
    pub(super) blobs: BTreeSet<String>,
}

impl Copies {
    fn file(home: &Home, task: &TaskId) -> PathBuf {
        home.tasks().join(format!("{task}.copied"))
    }

    /// Reads those of a task.
    pub(super) fn load(home: &Home, task: &TaskId, paths: &[String]) -> Self {
        let blobs = match paths {
            [] => String::new(),
            _ => named::text(Self::file(home, task)).unwrap_or_default(),
        };
        Self { paths: paths.to_vec(), blobs: blobs.lines().map(String::from).collect() }
    }

    /// Notes what these files of a worktree hold.
    pub(super) fn note(git: &Git, home: &Home, task: &TaskId, tree: &Path, files: &[PathBuf]) -> Result<()> {
        let note = Self::file(home, task);
        let telling: Vec<&PathBuf> = files
            .iter()
            .filter(|file| fs::symlink_metadata(tree.join(file)).is_ok_and(|meta| meta.len() > TELLING))
            .collect();
        if telling.is_empty() {
            return Self::forget(home, task);
        }
        let list: String = telling.iter().map(|file| format!("{}\n", tree.join(file).display())).collect();
        let git = git.clone().with_input(list);
        // As they are, and as a commit would hold them.
        let mut blobs = git.run(&["hash-object", "--stdin-paths", "--no-filters"])?;
        let (code, filtered, _) = git.call(&["hash-object", "--stdin-paths"])?;
        if code == 0 {
            blobs.push('\n');
            blobs.push_str(&filtered);
        }
        named::write(&note, blobs, Durable::No).map_err(failed("write", &note))
    }

    /// Lets git leave them out where an agent adds everything: a list of what to ignore, beside what the person has
    /// told git to ignore. `None` when there is nothing to leave out.
    pub(super) fn ignore(&self, git: &Git, home: &Home, task: &TaskId) -> Result<Option<PathBuf>> {
        if self.paths.is_empty() {
            return Ok(None);
        }
        let (code, named, _) = git.call(&["config", "--type=path", "--get", "core.excludesFile"])?;
        let of_person = match code {
            0 => Some(PathBuf::from(named)),
            _ => oodatcaa_config::World::of_process()
                .user_config()
                .and_then(|own| Some(own.parent()?.parent()?.join("git/ignore"))),
        };
        let mut text = of_person
            .and_then(|path| String::from_utf8(files::read_named(&path, files::RECORD).ok()??).ok())
            .unwrap_or_default();
        for path in &self.paths {
            let literal: String = path
                .chars()
                .flat_map(|c| (!c.is_alphanumeric() && c != '/').then_some('\\').into_iter().chain([c]))
                .collect();
            text.push_str(&format!("\n/{literal}"));
        }
        text.push('\n');
        let file = home.tasks().join(format!("{task}.ignore"));
        if named::text(&file).ok().as_ref() != Some(&text) {
            named::write(&file, text, Durable::No).map_err(failed("write", &file))?;
        }
        Ok(Some(file))
    }

    pub(super) fn forget(home: &Home, task: &TaskId) -> Result<()> {
        for note in [Self::file(home, task), home.tasks().join(format!("{task}.ignore"))] {
            named::remove(&note).map_err(failed("remove", &note))?;
        }
        Ok(())
    }

    fn hold(&self, path: &str) -> bool {
        self.paths
            .iter()
            .any(|copy| path.strip_prefix(copy.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
    }
}

/// Returns what must not come into `target` of all that `HEAD` has beyond it, in words for whoever mends it; `None` when
/// everything may. `published` says that others must be able to get every commit of a submodule.
pub(super) fn refuse(
    git: &Git,
    stores: &Stores,
    copies: &Copies,
    target: &str,
    published: bool,
) -> Result<Option<String>> {
    let mut words = Vec::new();
    let changes = changes(git, target)?;
    let mut found: BTreeMap<String, (&RawChange, bool)> = BTreeMap::new();
    for change in &changes {
        let by_path = copies.hold(&change.name());
        if by_path || copies.blobs.contains(&change.object) {
            found.entry(change.name()).or_insert((change, by_path));
        }
    }
    let fork = git.fork(target, "HEAD")?;
    if !found.is_empty() {
        let files = found.iter().map(|(path, (change, by_path))| {
            let what = if *by_path { "a copy" } else { "the content of a copy" };
            format!("{} ({what}, in {})", text::one_line(path), cut(&change.commit))
        });
        let names: Vec<String> = found.keys().map(|path| text::shell_word(path)).collect();
        let at = fork.as_deref().map_or("the commit where the branch began", cut);
        words.push(format!(
            "the branch holds what `workspace.copy` brought into the worktree and nobody may merge: {}. Take it out of \
             every commit: `git reset --soft {at}`, `git rm -r --cached --ignore-unmatch -- {}`, then `git commit` again",
            files.collect::<Vec<_>>().join(", "),
            names.join(" ")
        ));
    }
    let known = submodules::named(git, "HEAD")?;
    for (path, commit) in links(git, fork.as_deref())? {
        let Some(name) = known.get(&path) else {
            let path = text::one_line(&path);
            words.push(format!(
                "{path} is a repository of its own that was committed as a link which leads nowhere (`.gitmodules` does \
                 not name it). Take it out: `git rm --cached {}`, `git commit`",
                text::shell_word(&path)
            ));
            continue;
        };
        let at = cut(&commit);
        if !stores.have(name, &commit)? {
            words.push(format!(
                "the submodule {path} points to {at}, which no repository has but perhaps the one in this worktree; \
                 check it out there, `git add {}`, `git commit`",
                text::shell_word(&path)
            ));
        } else if published && !stores.published(name, &commit)? {
            words.push(format!(
                "the submodule {path} points to {at}, which is at none of its remotes, and the result is pushed: run \
                 `git push` in {path} first"
            ));
        }
    }
    Ok((!words.is_empty()).then(|| words.join("\n")))
}

fn cut(commit: &str) -> &str {
    commit.get(..12).unwrap_or(commit)
}

/// Returns every path that a commit beyond the target wrote: what was taken out again later comes along all the same.
fn changes(git: &Git, target: &str) -> Result<Vec<RawChange>> {
    let commits = git.run(&["rev-list", &format!("{target}..HEAD")])?;
    if commits.is_empty() {
        return Ok(Vec::new());
    }
    let mut all = git.clone().with_input(format!("{commits}\n")).raw_changes(&["--stdin", "-c", "--root"])?;
    all.retain(|change| !change.is_gone());
    Ok(all)
}

/// Returns the links to repositories that differ between two commits, as the newer one has them.
fn links(git: &Git, fork: Option<&str>) -> Result<Vec<(String, String)>> {
    let Some(fork) = fork else { return Ok(Vec::new()) };
    let changes = git.raw_changes(&["--ignore-submodules=none", fork, "HEAD"])?;
    let links = changes.into_iter().filter(|change| change.mode == "160000");
    Ok(links.map(|link| (link.name(), link.object)).collect())
}
