//! A repository is made for an agent: files of ours alone, and no git where refs are files.

use std::path::Path;

use crate::{
    fault::{Result, WorkspaceError, failed},
    git::{Git, Spot, plain},
    repo::make_dir,
    save::Refs,
    snapshot::copy_index,
};
use oodatcaa_sys::files::{self, Durable, named};

/// Refs that every agent may want to see, besides those of its own task.
const SEEN: [&str; 4] = ["refs/heads/", "refs/tags/", "refs/remotes/", "refs/notes/"];

/// Refs of ours that an agent's prompt names: work of earlier attempts.
const TOLD: [&str; 3] = ["wip", "aside", "old"];

/// Refuses what a repository that borrows objects cannot stand for.
pub(super) fn refuse(git: &Git, common: &Path) -> Result<()> {
    let is_partial = |(name, _): &(String, Option<String>)| {
        let name = name.to_ascii_lowercase();
        name == "extensions.partialclone" || name.starts_with("remote.") && name.ends_with(".promisor")
    };
    if git.settings().iter().any(is_partial) {
        let reason = "it is a partial clone, and an agent would have to fetch what it lacks; make it whole: git fetch \
                      --refetch --no-filter, then git config --unset remote.NAME.promisor";
        return Err(WorkspaceError::Unsafe { path: common.into(), reason: reason.into() });
    }
    Ok(())
}

/// Returns what an agent sees of the refs, as `packed-refs` has them.
pub(super) fn refs(git: &Git, of_task: &Refs) -> Result<String> {
    let told = TOLD.map(|kind| format!("{}/", of_task.dir(kind)));
    let args = ["for-each-ref", "--format=%(objectname) %(refname)"];
    Ok(git.run(&[&args[..], &SEEN, &told.each_ref().map(String::as_str)].concat())?)
}

/// Returns where a branch stands in such a list.
pub(super) fn tip(refs: &str, branch: &str) -> Option<String> {
    let name = format!("refs/heads/{branch}");
    refs.lines().find_map(|line| line.split_once(' ').filter(|(_, of)| *of == name)).map(|(tip, _)| tip.into())
}

/// Tells whether a repository of ours keeps its refs in tables.
pub(super) fn has_tables(git: &Git) -> bool {
    let is_it = |(name, value): &(String, Option<String>)| {
        name.eq_ignore_ascii_case("extensions.refStorage") && value.as_deref() != Some("files")
    };
    git.settings().iter().any(is_it)
}

/// Makes the repository in an empty directory, in the place of one of ours: its private directory, and what it shares.
/// `head` is what git writes of what is checked out.
pub(super) fn make(
    git: &Git,
    (admin, common): (&Path, &Path),
    new: &Path,
    head: &str,
    refs: &str,
    with_remotes: bool,
) -> Result<()> {
    let write = |name: &str, text: &str| {
        let path = new.join(name);
        named::write(&path, text, Durable::No).map_err(failed("write", &path))
    };
    let has_tables = has_tables(git);
    if has_tables {
        let format = git.settings().iter().find(|(name, _)| name.eq_ignore_ascii_case("extensions.objectFormat"));
        let format = format.and_then(|(_, value)| value.as_deref()).unwrap_or("sha1");
        let object = format!("--object-format={format}");
        let place = new.to_string_lossy();
        let branch = head.trim_end().strip_prefix("ref: refs/heads/").unwrap_or_default();
        let init = ["init", "-q", "--bare", "--template=", &object, "--ref-format=reftable", "-b", branch, &place];
        git.looking_from(new).run(&init)?;
    } else {
        for dir in ["objects/pack", "refs/heads", "refs/tags"] {
            make_dir(&new.join(dir))?;
        }
        write("HEAD", head)?;
        // One file, however many there are. They come in the order in which git wants them.
        let end = if refs.is_empty() { "" } else { "\n" };
        write("packed-refs", &format!("# pack-refs with: sorted \n{refs}{end}"))?;
    }
    set_up(git, common, new, with_remotes)?;
    // It knows the index that the worktree was checked out by, so that nothing has to be read again.
    let index = new.join("index");
    copy_index(&admin.join("index"), &index).map_err(failed("write", &index))?;
    let sparse = admin.join("info/sparse-checkout");
    if let Ok(patterns) = named::text(&sparse) {
        write("info/sparse-checkout", &patterns)?;
    }
    for name in ["info/exclude", "info/attributes"] {
        if let Ok(text) = named::text(common.join(name)) {
            write(name, &text)?;
        }
    }
    if has_tables {
        let own = git.beside(Spot { top: None, admin: new.into(), common: new.into() })?;
        let create = |line: &str| line.split_once(' ').map(|(id, name)| format!("create {name} {id}\n"));
        own.change_refs(refs.lines().filter_map(create).collect())?;
    }
    Ok(())
}

/// Writes what an agent's repository is by: its settings, where the objects are that it borrows, where history ends.
pub(super) fn set_up(git: &Git, common: &Path, own: &Path, with_remotes: bool) -> Result<()> {
    let write = |name: &str, text: &[u8]| {
        let path = own.join(name);
        named::write(&path, text, Durable::No).map_err(failed("write", &path))
    };
    for dir in ["objects/info", "info"] {
        make_dir(&own.join(dir))?;
    }
    // By what is there: an agent may have its refs kept in another way than it got them.
    let has_tables = own.join("reftable").is_dir();
    write("config", plain::for_agent(git.settings(), with_remotes, has_tables).as_bytes())?;
    write("objects/info/alternates", format!("{}\n", common.join("objects").display()).as_bytes())?;
    match files::read_named(&common.join("shallow"), files::RECORD).ok().flatten() {
        Some(shallow) => write("shallow", &shallow),
        None => Ok(()),
    }
}
