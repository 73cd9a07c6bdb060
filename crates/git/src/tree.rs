//! Making, finding and mending the worktree of a task.
//!
//! What a crash left half made is told from what somebody worked in by the note that is written first:
//! only a tree that never was whole is thrown away, anything else that stands in the way is put aside.

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    admin, branch,
    fault::{Result, WorkspaceError, failed},
    git::{destroy, snags},
    project::Project,
    repo::{Base, Home, Locked, Repository, inside, make_dir},
    save::Refs,
    screen::Copies,
    state::State,
    submodules::Stores,
    trees::Listed,
};
use oodatcaa_core::{Task, TaskId};
use oodatcaa_sys::files::{Durable, named};

/// How long a living git may hold the lock of a branch.
const HELD: Duration = Duration::from_secs(2);

/// Branches that no task works on, whatever its entry says.
const SHARED: [&str; 6] = ["main", "master", "trunk", "develop", "release", "production"];

/// The worktree of a task, whole.
pub(super) struct Made {
    pub(super) home: Home,
    pub(super) path: PathBuf,
    pub(super) admin: PathBuf,
    pub(super) state: State,
    /// Held until the workspace is ready; processes of ours that outlive us hold it, too.
    pub(super) guard: Arc<File>,
}

/// Finds the home of a task's worktree, which may lie elsewhere than the configuration says now.
fn home(Project { layout, config, repo }: &Project<'_>, task: &TaskId) -> Result<Home> {
    if let Some(found) = repo.task_tree(layout, task)? {
        return Ok(found.home);
    }
    let home = Home::of(layout, config)?;
    make_dir(&home.dir)?;
    // As git will list it.
    let dir = home.dir.canonicalize().map_err(failed("find", &home.dir))?;
    Ok(Home { dir })
}

/// Returns what the branch of a task starts from. A task that has begun goes where it began, whatever is checked out now.
pub(super) fn base(project: &Project<'_>, task: &Task) -> Result<Base> {
    match project.repo.base(project.config) {
        Err(WorkspaceError::Detached) => {}
        other => return other,
    }
    let home = home(project, &task.id)?;
    let begun = State::load(&home, &task.id).filter(|state| state.ready).and_then(|state| state.base);
    let Some(name) = begun else { return Err(WorkspaceError::Detached) };
    match project.repo.git.tip(&name)? {
        Some(commit) => Ok(Base { branch: Some(name), commit }),
        None => Err(WorkspaceError::Detached),
    }
}

/// Makes or finds the worktree of a task.
pub(super) fn prepare(project: &Project<'_>, task: &Task, base: &Base) -> Result<Made> {
    let Project { layout, config, repo } = project;
    let id = &task.id;
    let home = home(project, id)?;
    if State::load(&home, id).is_some_and(|known| known.is_of_another(task)) {
        log::warn!("{id}: a worktree of an earlier task of this id is there; it goes, its work is kept");
        super::prune::clear(layout, config, id)?;
    }
    let top = layout.root().canonicalize().map_err(failed("find", layout.root()))?;
    // Git would find the outer repository from within, and an agent that adds everything would add all worktrees.
    if home.dir.starts_with(&top) || home.dir.starts_with(&repo.common) {
        let reason = "worktrees must be outside the repository; see `workspace.root`".into();
        return Err(WorkspaceError::Unsafe { path: home.dir, reason });
    }
    let guard = home.guard(id, config.lock_wait)?;
    let path = home.tree(id);
    let locked = repo.lock(config.lock_wait)?;
    let known = State::load(&home, id);
    if let Some(name) = known.as_ref().filter(|known| known.ready).and_then(|known| known.admin.as_deref()) {
        let admin = repo.common.join("worktrees").join(name);
        if known.as_ref().is_some_and(|known| known.handed.is_some()) && path.is_dir() && admin.is_dir() {
            super::own::link_back(&home, &path, id, &admin)?;
        }
        rejoin(&repo.common, &home, &path, &repo.common.join("worktrees").join(name))?;
    }
    let listed = repo.worktrees()?;
    let mut state = match find(&locked, &home, &path, &listed, known.as_ref())? {
        Some(found) => {
            keep_locked(&locked, found, id.as_str())?;
            known.unwrap_or_else(|| State::new(layout, id, found.branch.clone(), base.branch.clone()))
        }
        None => {
            super::prune::room(&home.dir, config.disk_min)?;
            let listed = repo.worktrees()?;
            let choice = choose(project, task, base, known.as_ref(), &listed)?;
            let made = choice.start.is_some() || known.as_ref().is_some_and(|known| known.made);
            let mut state = State::new(layout, id, Some(choice.name.clone()), base.branch.clone());
            (state.made, state.ready, state.set_up) = (made, false, false);
            if let Some(known) = known {
                state.block = known.block;
                state.base = known.base.filter(|_| choice.start.is_none()).or(state.base);
            }
            // Before git makes anything: so a crash leaves a note that says what is half made.
            state.save(&home)?;
            unlock_branch(&repo.common, &choice.name);
            add(&locked, &path, &choice, id.as_str())?;
            state
        }
    };
    drop(locked);
    let admin = repo.admin_of(&path).ok_or_else(|| WorkspaceError::Unsafe {
        path: path.clone(),
        reason: "git has made no worktree of this repository there".into(),
    })?;
    state.admin = admin.file_name().and_then(|name| name.to_str()).map(String::from);
    unlock_stale(&admin, &repo.common, &state.branch);
    if state.ready && admin.join("index").symlink_metadata().is_err() {
        repo.git.moved_to(&path, &admin)?.index_anew()?;
    }
    if !state.ready {
        // Outside of the lock, because it takes long; the guard goes with it.
        repo.git.moved_to(&path, &admin)?.holding(Arc::clone(&guard)).reset_hard()?;
        state.copied = copy_all(project, &home, id, &path)?;
        Stores::of(repo, &admin, &Refs::of(layout, id)).set_up(&path)?;
        state.ready = true;
    }
    state.project = layout.root().into();
    state.created.clone_from(&task.created_at);
    state.take_ports(&home, config)?;
    state.save(&home)?;
    Ok(Made { home, path, admin, state, guard })
}

/// Returns the worktree that lies where it should be; without one, clears away what is in the way.
fn find<'a>(
    locked: &Locked<'_>,
    home: &Home,
    path: &Path,
    listed: &'a [Listed],
    known: Option<&State>,
) -> Result<Option<&'a Listed>> {
    let half = known.is_some_and(|state| !state.ready);
    let entry = listed.iter().find(|tree| tree.path == path);
    let there = path.symlink_metadata().is_ok();
    if let Some(entry) = entry {
        if there && !half {
            rejoin(&locked.repo.common, home, path, &entry.admin)?;
            if locked.repo.admin_of(path).is_some() {
                return Ok(Some(entry));
            }
            quarantine(home, path)?;
        }
        locked.git.remove_worktree(path, &entry.admin)?;
    }
    if path.symlink_metadata().is_ok() {
        if half && !path.is_symlink() && path.is_dir() {
            destroy::remove_dir(path).map_err(failed("remove", path))?;
        } else {
            quarantine(home, path)?;
        }
    }
    Ok(None)
}

/// Returns the private directory of a worktree. One whose repository has been moved is linked with it again.
pub(super) fn follow(repo: &Repository, path: &Path) -> Result<Option<PathBuf>> {
    let found = repo.admin_of(path);
    let link = named::text(path.join(".git")).unwrap_or_default();
    let gone = link.strip_prefix("gitdir: ").is_some_and(|to| !path.join(to.trim_end()).exists());
    if found.is_some() || !gone {
        return Ok(found);
    }
    // It writes the file anew, whoever else does so at the moment.
    repo.git.on_itself().call(&["worktree", "repair", "--", &path.to_string_lossy()])?;
    Ok(repo.admin_of(path))
}

/// Lets a worktree and what git knows of it name each other again, whatever an agent wrote into either, or where the
/// worktree has moved as a whole.
fn rejoin(common: &Path, home: &Home, path: &Path, admin: &Path) -> Result<()> {
    let is_dir = |path: &Path| path.symlink_metadata().is_ok_and(|meta| meta.is_dir());
    if !is_dir(path) || !is_dir(admin) || admin.parent() != Some(&common.join("worktrees")) {
        return Ok(());
    }
    while let Some(snag) = snags::among(admin) {
        if !snag.let_go(admin) {
            quarantine(home, &snag.at)?;
        }
    }
    let put = |file: &Path, text: String| -> Result<()> {
        if file.symlink_metadata().is_ok_and(|meta| !meta.is_file()) {
            quarantine(home, file)?;
        }
        log::warn!("{} was not what git expects there and is put right", file.display());
        named::write(file, text, Durable::No).map_err(failed("write", file))
    };
    let link = path.join(".git");
    let back = admin.join("gitdir");
    if !admin::names(admin, path) {
        put(&back, format!("{}\n", link.display()))?;
    }
    let shared = admin.join("commondir");
    if !admin::shares(admin, common) {
        put(&shared, "../..\n".into())?;
    }
    if admin::link_of(path) != admin.canonicalize().ok() {
        put(&link, format!("gitdir: {}\n", admin.display()))?;
    }
    Ok(())
}

/// Puts something that is not ours out of the way, where it can be looked at.
pub(super) fn quarantine(home: &Home, path: &Path) -> Result<PathBuf> {
    let dir = home.dir.join("aside");
    make_dir(&dir)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let to = (1..).map(|n| dir.join(format!("{name}.{n}"))).find(|to| to.symlink_metadata().is_err());
    let to = to.expect("numbers do not end");
    log::warn!("{} is not what git expects there and is moved aside: {}", path.display(), to.display());
    named::rename(path, &to).map_err(failed("put aside", path))?;
    Ok(to)
}

/// A branch for a worktree, and the commit to make it at.
struct Choice {
    name: String,
    start: Option<String>,
}

fn choose(project: &Project<'_>, task: &Task, base: &Base, known: Option<&State>, listed: &[Listed]) -> Result<Choice> {
    let Project { layout, config, repo } = project;
    let heads = repo.branches()?;
    let there = |name: &str| heads.iter().any(|head| head == name);
    // Whatever was merged or taken back under a name is not to be taken for another task's.
    let used = super::merge::used_branches(&repo.git)?;
    let at = |name: &str| listed.iter().find(|tree| tree.branch.as_deref() == Some(name));
    // A ref is a file, so `a` leaves no room for `a/b`.
    let crossed = |name: &str| {
        heads.iter().any(|head| {
            head.strip_prefix(name).is_some_and(|rest| rest.starts_with('/'))
                || name.strip_prefix(head.as_str()).is_some_and(|rest| rest.starts_with('/'))
        })
    };
    let take = |name: &str| Choice { start: (!there(name)).then(|| base.commit.clone()), name: name.into() };
    let in_use = |name: &str, tree: &Listed| WorkspaceError::BranchInUse { branch: name.into(), at: tree.path.clone() };
    if let Some(known) = known.filter(|known| !crossed(&known.branch)) {
        return match at(&known.branch) {
            Some(tree) => Err(in_use(&known.branch, tree)),
            None => Ok(take(&known.branch)),
        };
    }
    if let Some(name) = task.branch.as_deref() {
        let shared = SHARED.contains(&name) || base.branch.as_deref() == Some(name);
        match at(name) {
            _ if shared || !branch::is_legal(name) || crossed(name) => {
                log::warn!("{}: its entry names a branch that no task can work on; it gets one of its own", task.id);
            }
            None => return Ok(take(name)),
            Some(tree) if Home::holding(layout, &tree.path).is_none() => return Err(in_use(name, tree)),
            Some(_) => log::warn!("{}: another task works on the branch `{name}`; it gets one of its own", task.id),
        }
    }
    let mut name = branch::name(&config.branch, task);
    if crossed(&name) {
        name = name.replace('/', "-");
    }
    let names = std::iter::once(name.clone()).chain((2..).map(|n| branch::numbered(&name, n)));
    let free = names
        .into_iter()
        .find(|name| !there(name) && !crossed(name) && !used.contains(name))
        .expect("numbers do not end");
    Ok(take(&free))
}

fn add(locked: &Locked<'_>, path: &Path, choice: &Choice, task: &str) -> Result<()> {
    if let Some(parent) = path.parent() {
        make_dir(parent)?;
    }
    let (path, reason) = (path.to_string_lossy(), format!("oodatcaa {task}"));
    let mut args = vec!["worktree", "add", "-q", "--no-checkout", "--lock"];
    match &choice.start {
        Some(start) => args.extend(["--no-track", "-b", &choice.name, "--", &path, start]),
        None => args.extend(["--", &path, &choice.name]),
    }
    locked.git.on_itself().patiently(&args)?;
    if let Some(admin) = locked.repo.admin_of(Path::new(&*path)) {
        // Older versions of git cannot be told the reason at once.
        let file = admin.join("locked");
        named::write(&file, reason, Durable::No).map_err(failed("write", &file))?;
    }
    Ok(())
}

/// Locks a worktree against `git worktree prune`, if a person has unlocked it.
fn keep_locked(locked: &Locked<'_>, found: &Listed, task: &str) -> Result<()> {
    if found.locked.is_none() {
        let (reason, path) = (format!("oodatcaa {task}"), found.path.to_string_lossy());
        locked.git.on_itself().patiently(&["worktree", "lock", "--reason", &reason, "--", &path])?;
    }
    Ok(())
}

/// Removes git's own locks, which a killed git leaves; nobody but the caller works in this tree. Its branch
/// lies where others may write it, too, but never for as long as this.
fn unlock_stale(admin: &Path, common: &Path, branch: &str) {
    for lock in [admin.join("index.lock"), admin.join("HEAD.lock")] {
        unlock(&lock);
    }
    unlock_branch(common, branch);
}

fn unlock_branch(common: &Path, branch: &str) {
    let lock = common.join("refs/heads").join(format!("{branch}.lock"));
    let age = || lock.symlink_metadata().ok()?.modified().ok()?.elapsed().ok();
    let started = Instant::now();
    while started.elapsed() < HELD {
        match age() {
            Some(age) if age < HELD => std::thread::sleep(Duration::from_millis(20)),
            _ => break,
        }
    }
    if lock.symlink_metadata().is_ok() {
        unlock(&lock);
    }
}

fn unlock(lock: &Path) {
    match named::remove(lock) {
        Ok(true) => log::warn!("removed {}, which a killed git had left", lock.display()),
        Ok(false) => {}
        Err(error) => log::warn!("cannot remove {}: {error}", lock.display()),
    }
}

/// Brings what `workspace.copy` names into a new worktree, and answers with the paths below its top.
fn copy_all(project: &Project<'_>, home: &Home, task: &TaskId, tree: &Path) -> Result<Vec<String>> {
    let repo = &project.repo;
    let (made, wrong) = super::project::copy(project.layout, project.config, &inside(tree, &repo.prefix)?);
    for (pattern, error) in wrong {
        log::warn!("{pattern}, of `workspace.copy`, is not copied: {error}");
    }
    let below = |path: &PathBuf| repo.prefix.join(path);
    let files: Vec<PathBuf> = made.files.iter().map(below).collect();
    Copies::note(&repo.git, home, task, tree, &files)?;
    Ok(made.paths.iter().map(|path| below(path).to_string_lossy().into_owned()).collect())
}
