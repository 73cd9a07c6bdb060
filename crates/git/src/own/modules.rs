//! The submodules of a worktree: each has a repository of ours below the worktree's private directory, and while an agent
//! works one below the agent's own, which borrows its objects. They are handed out and taken in with the one around them.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::{
    check, give,
    reader::Reader,
    take::{self, Wrong},
};
use crate::{
    fault::{Result, failed},
    git::{Git, Spot, plain},
    remotes,
    repo::make_dir,
    submodules::{is_repository, named, named_in, repositories},
};
use oodatcaa_sys::files::{self, Durable, named as file};

/// The depth to which submodules lie in each other.
const DEEPEST: usize = 8;

/// Calls in a submodule's repository, and in its checkout where there is one.
fn inside(git: &Git, repository: &Path, checkout: Option<PathBuf>) -> Result<Git> {
    Ok(git.beside(Spot { top: checkout, admin: repository.into(), common: repository.into() })?)
}

/// Makes those of an agent's repository.
pub(super) fn make(git: &Git, admin: &Path, new: &Path) -> Result<()> {
    for (ours, below) in repositories(&admin.join("modules")) {
        let module = inside(git, &ours, None)?;
        if give::has_tables(&module) {
            log::warn!("the submodule {below} keeps its refs in tables; a confined agent cannot commit in it");
            continue;
        }
        let own = new.join("modules").join(below);
        make_dir(&own)?;
        let head = file::text(ours.join("HEAD")).map_err(failed("read", ours.join("HEAD")))?;
        let refs = module.run(&["for-each-ref", "--format=%(objectname) %(refname)"])?;
        give::make(&module, (&ours, &ours), &own, &head, &refs, true)?;
    }
    Ok(())
}

/// Takes in what an agent committed in them; repositories of new ones are made.
pub(super) fn receive(git: &Git, admin: &Path, own: &Path, reader: &Reader) -> Result<Result<(), Wrong>> {
    for (own, below) in repositories(&own.join("modules")) {
        let ours = admin.join("modules").join(below);
        let url = if is_repository(&ours) { None } else { url(git, &own) };
        if let Err(wrong) = check::plain(&own) {
            return Ok(Err(wrong.to_string()));
        }
        if !is_repository(&ours) {
            found(git, &ours, url.as_deref())?;
        }
        let module = inside(git, &ours, None)?.to_its_end();
        give::set_up(&module, &ours, &own, true)?;
        let heads = match take::heads(&module, &own, reader, "refs/stash") {
            Ok(heads) => heads,
            Err(error) => return take::blame(error, reader),
        };
        let mut wanted = vec!["+refs/heads/*:refs/heads/*", "+refs/remotes/*:refs/remotes/*"];
        if heads.tip.is_some() {
            wanted.push("+refs/stash:refs/stash");
        }
        if heads.head.is_some() {
            wanted.push("+HEAD:refs/oodatcaa/in/head");
        }
        // Of a project of others, whose old commits are what they are; each object gets its name here as well.
        if let Err(error) = take::read(&module, reader, &own, &["fetch"], &wanted) {
            return take::blame(error, reader);
        }
        if let Some(head) = module.commit("refs/oodatcaa/in/head")? {
            // What it has checked out it has checked out here as well, on no branch: that is how submodules are.
            module.run(&["update-ref", "--no-deref", "HEAD", &head])?;
            module.delete_ref("refs/oodatcaa/in/head", &head)?;
        }
    }
    Ok(Ok(()))
}

/// Lets the checkouts of submodules lead to their repositories below a directory; `git` works in ours around them.
pub(super) fn link(git: &Git, tree: &Path, admin: &Path, to: &Path, depth: usize) -> Result<()> {
    if depth == DEEPEST || !admin.join("modules").is_dir() {
        return Ok(());
    }
    let mut all = named(git, "HEAD")?;
    // Those that are not committed yet, too.
    if let Ok(Some(text)) = files::read_text(tree, Path::new(".gitmodules"), files::RECORD) {
        all.extend(named_in(git, &text)?);
    }
    for (path, name) in all {
        let below = Path::new("modules").join(&name);
        let (ours, link) = (admin.join(&below), Path::new(&path).join(".git"));
        let is_file = files::look(tree, &link).ok().flatten().is_some_and(|meta| meta.is_file());
        if !is_file || !is_repository(&ours) || !to.join(&below).is_dir() {
            continue;
        }
        let text = format!("gitdir: {}\n", to.join(&below).display());
        let module = inside(git, &ours, Some(tree.join(&path)))?;
        if files::read_text(tree, &link, files::RECORD).ok().flatten().as_ref() != Some(&text) {
            files::write_atomic(tree, &link, text.as_bytes(), Durable::No)
                .map_err(failed("write", tree.join(&link)))?;
            if to == admin {
                module.run(&["reset", "-q", "--mixed"])?;
            }
        }
        self::link(&module, &tree.join(&path), &ours, &to.join(&below), depth + 1)?;
    }
    Ok(())
}

/// Returns where an agent's new submodule comes from.
fn url(git: &Git, own: &Path) -> Option<String> {
    let text = files::read_text(own, Path::new("config"), files::RECORD).ok()??;
    let args = ["config", "--file", "-", "--no-includes", "--get", "remote.origin.url"];
    let url = git.clone().with_input(text).run(&args).ok()?;
    Some(url).filter(|url| remotes::is_plain(url))
}

/// Makes the repository of a submodule that an agent has added.
fn found(git: &Git, ours: &Path, url: Option<&str>) -> Result<()> {
    for dir in ["objects/pack", "refs/heads", "refs/tags"] {
        make_dir(&ours.join(dir))?;
    }
    // As many bytes to an object's name as around it; git wants it so.
    let is_format = |(name, _): &&(String, Option<String>)| {
        let name = name.to_ascii_lowercase();
        name == "extensions.objectformat" || name == "core.repositoryformatversion"
    };
    let mut settings: plain::Settings = git.settings().iter().filter(is_format).cloned().collect();
    let settings_of = BTreeMap::from([("url", url), ("fetch", Some("+refs/heads/*:refs/remotes/origin/*"))]);
    if url.is_some() {
        settings
            .extend(settings_of.iter().map(|(name, value)| (format!("remote.origin.{name}"), value.map(Into::into))));
    }
    for (name, text) in
        [("config", plain::for_agent(&settings, true, false)), ("HEAD", "ref: refs/heads/main\n".into())]
    {
        let path = ours.join(name);
        file::write(&path, text, Durable::No).map_err(failed("write", &path))?;
    }
    Ok(())
}
