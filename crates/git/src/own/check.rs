//! A look at what an agent left in a repository of its own, as files, before any git reads it: nothing there may lead
//! elsewhere, run something, or keep whoever opens it waiting.

use std::path::Path;

use crate::git::GitError;
use oodatcaa_sys::files::{self, Kind};

/// The number of files that are looked at. An agent that made more than these has not worked for us.
const MOST: usize = 2_000_000;

/// The longest list of refs.
const LONGEST: u64 = 256 << 20;

/// The number of names that may lead to each other.
const DEEPEST: usize = 5;

/// Files that git obeys or follows, besides the files that it keeps: it is put there anew, or is not needed.
const OBEYED: [&str; 8] =
    ["config", "config.worktree", "commondir", "gitdir", "hooks", "info", "objects/info", "shallow"];

/// Leaves nothing but plain files of refs and objects in it.
pub(super) fn plain(own: &Path) -> Result<(), GitError> {
    let odd = |path: &Path, what: &str| Err(GitError::not_ours(path, what));
    let look = |path: &Path| files::look(own, path).map_err(|error| cannot(own, path, &error));
    if !own.symlink_metadata().is_ok_and(|meta| meta.is_dir()) {
        return odd(own, "it is not the directory that the agent was given");
    }
    for name in ["objects", "refs"] {
        if !look(Path::new(name))?.is_some_and(|meta| meta.is_dir()) {
            return odd(&own.join(name), "it is not the directory that the agent was given");
        }
    }
    for name in OBEYED {
        let path = Path::new(name);
        let gone = match look(path)? {
            Some(meta) if meta.is_dir() => files::remove_tree(own, path).map(drop),
            Some(_) => files::remove(own, path).map(drop),
            None => Ok(()),
        };
        gone.map_err(|error| cannot(own, path, &error))?;
    }
    for name in ["HEAD", "packed-refs"] {
        if look(Path::new(name))?.is_some_and(|meta| !meta.is_file()) {
            return odd(&own.join(name), "it is not a file");
        }
    }
    // Whatever else waits for who opens it: an index, a part of one, what is to be merged.
    for entry in
        files::list(own, Path::new(""), MOST).map_err(|error| cannot(own, Path::new(""), &error))?.into_iter().flatten()
    {
        if entry.kind == Kind::Other {
            let name = Path::new(&entry.name);
            files::remove(own, name).map_err(|error| cannot(own, name, &error))?;
        }
    }
    let mut seen = 0;
    let mut open = vec![std::path::PathBuf::from("objects"), "refs".into()];
    // Git goes into submodules from the worktree, so nothing may wait there either.
    for name in ["reftable", "modules"] {
        if look(Path::new(name))?.is_some() {
            open.push(name.into());
        }
    }
    while let Some(dir) = open.pop() {
        let listed = files::list(own, &dir, MOST).map_err(|error| cannot(own, &dir, &error))?;
        for entry in listed.into_iter().flatten() {
            let path = dir.join(&entry.name);
            seen += 1;
            match entry.kind {
                _ if seen > MOST => return odd(own, "it holds more files than anybody needs"),
                Kind::File => {}
                // What a person's template puts there may be links, and is nothing that we run.
                Kind::Directory if entry.name == "hooks" && path.starts_with("modules") => {}
                Kind::Directory => open.push(path),
                Kind::Other => return odd(&own.join(path), "it is neither a file nor a directory"),
            }
        }
    }
    Ok(())
}

fn cannot(own: &Path, path: &Path, error: &files::FileError) -> GitError {
    GitError::not_ours(&own.join(path), oodatcaa_core::text::chain(error))
}

/// The commit that an agent has checked out, and that of its branch. Read as files, unless refs are in tables.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Heads {
    /// The branch that is checked out, by its whole name.
    pub(super) on: Option<String>,
    /// The commit that is checked out.
    pub(super) head: Option<String>,
    /// The commit at which the task's branch stands.
    pub(super) tip: Option<String>,
}

impl Heads {
    pub(super) fn of_files(own: &Path, name: &str) -> Self {
        let text = text(own, Path::new("HEAD")).unwrap_or_default();
        let on = text.strip_prefix("ref: ").map(String::from);
        Self { head: resolve(own, "HEAD", DEEPEST), tip: resolve(own, name, DEEPEST), on }
    }

    /// Reads them from what `ls-remote --symref` says.
    pub(super) fn of_list(listed: &str, name: &str) -> Self {
        let lines = || listed.lines().filter_map(|line| line.split_once('\t'));
        let on = lines().find_map(|(to, of)| to.strip_prefix("ref: ").filter(|_| of == "HEAD")).map(String::from);
        let at = |wanted: &str| lines().find(|(to, of)| *of == wanted && is_id(to)).map(|(to, _)| to.to_owned());
        Self { head: at("HEAD"), tip: at(name), on }
    }
}

/// Returns the first line of a small file.
pub(super) fn text(own: &Path, path: &Path) -> Option<String> {
    let text = files::read_text(own, path, files::RECORD).ok()??;
    Some(text.lines().next().unwrap_or_default().trim_end().to_owned())
}

/// Returns what a ref points to.
fn resolve(own: &Path, name: &str, left: usize) -> Option<String> {
    let is_name = name == "HEAD" || name.starts_with("refs/") && !name.split('/').any(|part| part == "..");
    if !is_name || left == 0 {
        return None;
    }
    match text(own, Path::new(name)) {
        Some(text) => match text.strip_prefix("ref: ") {
            Some(next) => resolve(own, next, left - 1),
            None => Some(text).filter(|id| is_id(id)),
        },
        None => packed(own, name),
    }
}

fn packed(own: &Path, name: &str) -> Option<String> {
    let all = files::read_text(own, Path::new("packed-refs"), LONGEST).ok()??;
    let mut lines = all.lines().filter_map(|line| line.split_once(' '));
    lines.find(|(id, of)| *of == name && is_id(id)).map(|(id, _)| id.to_owned())
}

/// Tells whether a word is the id of an object.
pub(super) fn is_id(word: &str) -> bool {
    matches!(word.len(), 40 | 64) && word.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const ONE: &str = "1111111111111111111111111111111111111111";
    const TWO: &str = "2222222222222222222222222222222222222222";

    fn repository(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a directory");
        for name in ["objects/info", "objects/aa", "refs/heads", "hooks", "info"] {
            fs::create_dir_all(dir.path().join(name)).expect("made");
        }
        for (name, text) in files {
            fs::write(dir.path().join(name), text).expect("written");
        }
        dir
    }

    #[test]
    fn what_is_checked_out_is_read_from_files() {
        let packed = format!("# pack-refs with: sorted \n{ONE} refs/heads/a\n{ONE} refs/heads/b\n");
        let dir = repository(&[("HEAD", "ref: refs/heads/b\n"), ("packed-refs", &packed)]);
        let heads = |name: &str| Heads::of_files(dir.path(), name);
        let (one, two) = (Some(ONE.to_owned()), Some(TWO.to_owned()));
        let on = Some("refs/heads/b".to_owned());
        assert_eq!(heads("refs/heads/a"), Heads { on: on.clone(), head: one.clone(), tip: one.clone() });
        fs::write(dir.path().join("refs/heads/b"), format!("{TWO}\n")).expect("written");
        assert_eq!(heads("refs/heads/c"), Heads { on, head: two.clone(), tip: None });
        fs::write(dir.path().join("HEAD"), TWO).expect("written");
        assert_eq!(heads("refs/heads/a"), Heads { on: None, head: two, tip: one });
        for odd in ["", "ref: ../../etc/passwd", "ref: refs/../x", "ref: HEAD", "zz"] {
            fs::write(dir.path().join("HEAD"), odd).expect("written");
            assert_eq!(heads("refs/heads/a").head, None, "{odd}");
        }
    }

    #[test]
    fn what_is_checked_out_is_read_from_a_list() {
        let listed = format!("ref: refs/heads/a\tHEAD\n{ONE}\tHEAD\n{ONE}\trefs/heads/a\n");
        let (on, one) = (Some("refs/heads/a".to_owned()), Some(ONE.to_owned()));
        assert_eq!(Heads::of_list(&listed, "refs/heads/a"), Heads { on, head: one.clone(), tip: one });
        assert_eq!(Heads::of_list("", "refs/heads/a"), Heads::default());
    }

    #[test]
    fn what_leads_elsewhere_is_refused_and_what_git_obeys_is_gone() {
        let dir = repository(&[("HEAD", ""), ("config", "x"), ("hooks/a", "x"), ("objects/info/alternates", "/x")]);
        let at = |name: &str| dir.path().join(name);
        plain(dir.path()).expect("plain files");
        for name in ["config", "hooks", "objects/info", "info"] {
            assert!(at(name).symlink_metadata().is_err(), "{name}");
        }
        std::os::unix::fs::symlink("/nowhere", at("info")).expect("a link");
        plain(dir.path()).expect("it is gone");
        for name in ["objects/aa/link", "refs/heads/link"] {
            std::os::unix::fs::symlink("/etc/passwd", at(name)).expect("a link");
            let said = plain(dir.path()).expect_err("refused").to_string();
            assert!(said.contains(name), "{said}");
            fs::remove_file(at(name)).expect("removed");
        }
        for name in ["HEAD", "packed-refs", "refs/heads/pipe"] {
            let _ = fs::remove_file(at(name));
            let made = std::process::Command::new("mkfifo").arg(at(name)).status().expect("mkfifo");
            assert!(made.success() && plain(dir.path()).is_err(), "{name}");
            fs::remove_file(at(name)).expect("removed");
        }
        fs::rename(at("refs"), at("other")).expect("moved");
        std::os::unix::fs::symlink("other", at("refs")).expect("a link");
        assert!(plain(dir.path()).is_err());
    }
}
