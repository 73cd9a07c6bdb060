//! The files of a checkout of the target: whether they may change, how they change, how a change
//! that was cut short is mended. Nothing that the user has not committed is ever written over.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    fs::{self, File},
    io,
    os::unix::{
        ffi::OsStrExt,
        fs::{FileExt, MetadataExt},
    },
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use super::{MergeError, Result, repo::Repo, steps::Checkout};
use crate::{
    fault::failed,
    git::{Git, RawChange},
};
use oodatcaa_core::text;
use oodatcaa_sys::files;

/// Longer files are not looked into: a half-written one of this length stays as a change of the person's.
const LONGEST: u64 = 1 << 30;

/// Returns git in a checkout that is still what it was, on the scratch index.
fn at(repo: &Repo, checkout: &Checkout) -> Result<Git> {
    let git = repo.git.moved_to(&checkout.path, &checkout.git_dir)?;
    git.verify()?;
    let index = checkout.scratch();
    let index = index.to_str().ok_or_else(|| MergeError::Place(repo.common.clone()))?;
    Ok(git.with_env("GIT_INDEX_FILE", index))
}

/// Asks whether the checkout can go from one commit to another without touching the user's changes.
pub(super) fn probe(repo: &Repo, checkout: &Checkout, from: &str, to: &str) -> Result<()> {
    let git = at(repo, checkout)?;
    // It answers 1 for files that differ; that is what the next call looks at.
    let _ = git.call(&["update-index", "-q", "--refresh"])?;
    let changed = list(&git, &["diff-tree", "-r", from, to])?;
    // Git itself would write over ignored files.
    let mut files = in_the_way(&git, checkout, &changed)?;
    let (code, _, said) = git.call(&["read-tree", "-m", "-u", "-n", from, to])?;
    if code == 0 && files.is_empty() {
        return Ok(());
    }
    // In the files and in the index: either may hold what only the person has.
    let mut dirty = list(&git, &["diff-index", from])?;
    dirty.extend(list(&git, &["diff-index", "--cached", from])?);
    files.extend(changed.intersection(&dirty).cloned());
    let why = match files.is_empty() {
        true => text::cut(&text::one_line(&said), 300),
        false => "they have changes of yours that are not committed; commit, stash or move them".into(),
    };
    let files = files.iter().map(|path| path.display().to_string()).collect();
    Err(MergeError::Busy { checkout: checkout.path.clone(), files, why })
}

fn list(git: &Git, args: &[&str]) -> Result<BTreeSet<PathBuf>> {
    let how = ["-z", "--name-only", "--no-ext-diff", "--no-textconv", "--no-renames"];
    Ok(git.paths(&[args, &how].concat())?.into_iter().collect())
}

/// Returns what git does not know and what stands where something that changes must stand.
fn in_the_way(git: &Git, checkout: &Checkout, changed: &BTreeSet<PathBuf>) -> Result<BTreeSet<PathBuf>> {
    let tracked: BTreeSet<PathBuf> = git.paths(&["ls-files", "-z"])?.into_iter().collect();
    let mut found = BTreeSet::new();
    for path in changed {
        for part in path.ancestors().filter(|part| !part.as_os_str().is_empty() && !tracked.contains(*part)) {
            match fs::symlink_metadata(checkout.path.join(part)) {
                Ok(meta) if meta.is_dir() && part == path.as_path() => {
                    strangers(&checkout.path, part, &tracked, &mut found);
                }
                Ok(meta) if !meta.is_dir() => {
                    found.insert(part.to_owned());
                }
                _ => {}
            }
        }
    }
    Ok(found)
}

/// Files below a directory that git does not know.
fn strangers(top: &Path, dir: &Path, tracked: &BTreeSet<PathBuf>, found: &mut BTreeSet<PathBuf>) {
    for entry in files::named::entries(top.join(dir)) {
        let path = dir.join(entry.name);
        if entry.kind == files::Kind::Directory {
            strangers(top, &path, tracked, found);
        } else if !tracked.contains(&path) {
            found.insert(path);
        }
    }
}

/// Brings the files and the scratch index from one commit to another.
pub(super) fn forward(repo: &Repo, lock: &Arc<File>, checkout: &Checkout, from: &str, to: &str) -> Result<()> {
    at(repo, checkout)?.holding(Arc::clone(lock)).run(&["read-tree", "-m", "-u", from, to])?;
    Ok(())
}

/// A file's state in a commit: mode and object.
type Entry = Option<(String, String)>;

/// Brings files that are half on the way between two commits to `to`, and the scratch index with
/// them. A file that is as neither commit has it is the user's and stays.
pub(super) fn mend(repo: &Repo, checkout: &Checkout, from: &str, to: &str) -> Result<()> {
    let git = at(repo, checkout)?;
    let changes = changes(&git, from, to)?;
    let index = index(&git)?;
    let mut entries = Vec::new();
    let mut write = Vec::new();
    for (path, (old, new)) in &changes {
        // The person's index is the one that counts: the scratch index was made from it.
        let known = index.get(path).cloned();
        if known != *old && known != *new {
            // Staged by the user.
            continue;
        }
        let full = checkout.path.join(path);
        // Nothing of ours is written where a link of the person's leads.
        if is_behind_link(&checkout.path, path) {
            continue;
        }
        let now = state_of(&git, path, &full)?;
        let lost = now.is_none() || is_cut_short(&git, &full, old, new)?;
        if now != *new && (now == *old || lost) {
            match new {
                Some(_) => write.push(path.clone()),
                None => remove(&checkout.path, path)?,
            }
        }
        entries.extend(match new {
            Some((mode, object)) => format!("{mode} {object}\t").into_bytes(),
            None => format!("0 {}\t", "0".repeat(to.len())).into_bytes(),
        });
        entries.extend_from_slice(path.as_os_str().as_bytes());
        entries.push(0);
    }
    git.clone().with_input(entries).run(&["update-index", "-z", "--index-info"])?;
    // What gives way to a directory must be gone first.
    let mut list = Vec::new();
    for path in &write {
        list.extend_from_slice(path.as_os_str().as_bytes());
        list.push(0);
    }
    if !list.is_empty() {
        git.clone().with_input(list).run(&["checkout-index", "-f", "-q", "-z", "--stdin"])?;
    }
    let _ = git.call(&["update-index", "-q", "--refresh"])?;
    Ok(())
}

fn changes(git: &Git, from: &str, to: &str) -> Result<BTreeMap<PathBuf, (Entry, Entry)>> {
    let entry = |mode: String, object| (mode != "000000").then_some((mode, object));
    let of = |change: RawChange| {
        (change.path, (entry(change.old_mode, change.old_object), entry(change.mode, change.object)))
    };
    Ok(git.raw_changes(&[from, to])?.into_iter().map(of).collect())
}

fn index(git: &Git) -> Result<BTreeMap<PathBuf, (String, String)>> {
    let mut found = BTreeMap::new();
    for line in git.paths(&["ls-files", "-s", "-z"])? {
        let line = line.as_os_str().as_bytes();
        let Some(tab) = line.iter().position(|byte| *byte == b'\t') else { continue };
        let head = String::from_utf8_lossy(&line[..tab]);
        let mut words = head.split(' ');
        if let (Some(mode), Some(object), Some("0")) = (words.next(), words.next(), words.next()) {
            found.insert(OsStr::from_bytes(&line[tab + 1..]).into(), (mode.into(), object.into()));
        }
    }
    Ok(found)
}

/// Returns what stands on the disk, as git would record it.
fn state_of(git: &Git, path: &Path, full: &Path) -> Result<Entry> {
    let Ok(meta) = fs::symlink_metadata(full) else { return Ok(None) };
    if meta.is_symlink() {
        let link = fs::read_link(full).map_err(failed("read", full))?;
        let object =
            git.clone().with_input(link.as_os_str().as_bytes()).run(&["hash-object", "--stdin", "--no-filters"])?;
        return Ok(Some(("120000".into(), object)));
    }
    if !meta.is_file() {
        return Ok(Some(("040000".into(), String::new())));
    }
    let mode = if meta.mode() & 0o100 == 0 { "100644" } else { "100755" };
    // What is not ours to read, or so long, is as no commit has it.
    let Some(file) = opened(full)? else { return Ok(Some((mode.into(), String::new()))) };
    // With the filters of its path: what is compared is what a commit would hold.
    let filter = [OsStr::new("--path="), path.as_os_str()].join(OsStr::new(""));
    let args: [&OsStr; 3] = ["hash-object".as_ref(), "--stdin".as_ref(), &filter];
    let object = git.clone().holding(Arc::new(file)).run(&args)?;
    Ok(Some((mode.into(), object)))
}

/// Returns `true` for a file that is the beginning of one of the two: a write that was cut short.
fn is_cut_short(git: &Git, full: &Path, old: &Entry, new: &Entry) -> Result<bool> {
    let Ok(meta) = fs::symlink_metadata(full) else { return Ok(true) };
    if !meta.is_file() {
        return Ok(false);
    }
    let Some(file) = opened(full)? else { return Ok(false) };
    for (mode, object) in [old, new].into_iter().flatten() {
        let long = || git.run(&["cat-file", "-s", object]).map(|size| size.parse().unwrap_or(u64::MAX));
        if !mode.starts_with("100") || !(meta.len()..=LONGEST).contains(&long()?) {
            continue;
        }
        let failed = || failed("compare", full);
        // Neither is ever in memory as a whole.
        let whole = tempfile::tempfile_in(git.common().unwrap_or(full)).map_err(failed())?;
        git.clone().into_file(Arc::new(whole.try_clone().map_err(failed())?)).run(&["cat-file", "blob", object])?;
        if begins_with(&whole, &file).map_err(failed())? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Opens a file of the checkout; `None` for what is not ours, or longer than what is compared.
fn opened(full: &Path) -> Result<Option<File>> {
    match files::named::open(full) {
        Ok(file) => Ok(file.metadata().is_ok_and(|meta| meta.len() <= LONGEST).then_some(file)),
        Err(error) if files::Why::of(&error).is_some() => Ok(None),
        Err(error) => Err(failed("read", full)(error).into()),
    }
}

fn begins_with(whole: &File, part: &File) -> io::Result<bool> {
    let (mut at, mut piece, mut same) = (0, vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        let length = part.read_at(&mut piece, at)?;
        if length == 0 {
            return Ok(true);
        }
        match whole.read_exact_at(&mut same[..length], at) {
            Ok(()) if same[..length] == piece[..length] => at += length as u64,
            Ok(()) => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            Err(error) => return Err(error),
        }
    }
}

/// Returns `true` when a part of the path above the file is a link, which might lead anywhere.
fn is_behind_link(top: &Path, path: &Path) -> bool {
    let safe = path.components().all(|part| matches!(part, Component::Normal(_)));
    let mut full = top.to_owned();
    let parents = path.parent().map(Path::components).into_iter().flatten();
    !safe
        || parents.into_iter().any(|part| {
            full.push(part);
            fs::symlink_metadata(&full).is_ok_and(|meta| meta.is_symlink())
        })
}

fn remove(top: &Path, path: &Path) -> Result<()> {
    let full = top.join(path);
    match files::named::remove(&full) {
        Err(error) if error.kind() != io::ErrorKind::IsADirectory => return Err(failed("remove", full)(error).into()),
        _ => {}
    }
    // As git does: directories that nothing is left in go, too.
    for dir in path.ancestors().skip(1).filter(|dir| !dir.as_os_str().is_empty()) {
        if files::named::remove_dir(&top.join(dir)).is_err() {
            break;
        }
    }
    Ok(())
}
