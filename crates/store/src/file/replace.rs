//! A file takes another's place: written beside it, exchanged with it, and back again when the other was not the one
//! that was to go.
//!
//! While the two are exchanged, an edit of the last moment stands under a temporary name. Whoever comes after a crash
//! of that moment tells it from a file of ours by the name, which says what was expected there and what was put there.

use std::{
    fmt,
    fs::{self, File},
    hash::{DefaultHasher, Hasher as _},
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
};

use rustix::io::Errno;

use super::disk::{self, LONGEST, TEMPORARY, holds, point};
use oodatcaa_core::layout::Layout;
use oodatcaa_sys::files::named;

/// The outcome of an attempt to take a file's place.
pub(super) enum Put {
    /// It is in its place now; with the file that it displaced, into which somebody may still be writing.
    Done(Option<File>),
    /// Somebody wrote in the last moment, and their content is in its place.
    Refused(Option<Moment>),
}

/// The two files that had changed places for a moment, until an edit was seen and put back.
pub(super) struct Moment {
    /// The edit, as it was found: who read the queue in this moment may write over it.
    pub(super) edited: Vec<u8>,
    /// The file that took the place in this moment: somebody may have written into it, or put theirs over it.
    pub(super) instead: Option<File>,
}

/// The number of times that an edit is put back while others move the file away and write it anew.
const TRIES: usize = 100;

/// Puts a new content in the place of a file that should still hold the old one, with its mode and, where possible,
/// owner; `still` says in the last moment whether it may. What holds something else is put back, since then somebody
/// wrote in the last moment.
pub(super) fn replace(
    path: &Path,
    (old, new): (&[u8], &[u8]),
    still: impl FnOnce() -> io::Result<bool>,
) -> io::Result<Put> {
    let meta = match fs::symlink_metadata(path) {
        // Some editors take the old file away before they write the new one.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Put::Refused(None)),
        meta => meta?,
    };
    point("store.temp")?;
    // An edit that a crash had displaced is back: what was read is not what counts any more.
    if recover(path)? {
        return Ok(Put::Refused(None));
    }
    // The slow part, before the last look: what others write meanwhile is still seen.
    let temporary = write_beside(path, new, &meta)?;
    if !still()? {
        return Ok(Put::Refused(None));
    }
    point("store.rename")?;
    let temporary = Mark { old: hash(old), new: hash(new) }.name(temporary.into_temp_path())?;
    match named::exchange(&temporary, path) {
        Ok(()) => {}
        Err(Errno::NOENT) => return Ok(Put::Refused(None)),
        // The file system cannot exchange two files; then a moment stays in which an edit is not seen.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            let mut file = named::open(path)?;
            if !holds(&mut file, old)? {
                return Ok(Put::Refused(None));
            }
            temporary.persist(path).map_err(|error| error.error)?;
            point("store.renamed")?;
            return Ok(Put::Done(Some(file)));
        }
        Err(error) => return Err(error.into()),
    }
    point("store.exchanged")?;
    let there = named::open(&temporary).and_then(|mut file| match holds(&mut file, old)? {
        true => Ok((None, file)),
        false => Ok((Some(disk::whole(&mut file, LONGEST)?), file)),
    });
    let done = |temporary: tempfile::TempPath, displaced| {
        // If it cannot be removed now, the next sweep tries again.
        let _ = temporary.close();
        point("store.renamed").map(|()| Put::Done(displaced))
    };
    let edited = match there {
        Ok((None, file)) => return done(temporary, Some(file)),
        Ok((Some(edited), _)) => Ok(edited),
        // Another worker, whose lock is on another file since somebody took ours away, has cleared up what was to go. As
        // long as ours stands there, to say that nothing was done would do it twice.
        Err(error) if error.kind() == io::ErrorKind::NotFound && is(path, new) => return done(temporary, None),
        Err(error) => Err(error),
    };
    point("store.putback")?;
    let is_instead = put_back(&temporary, path)?;
    let edited = edited?;
    // We may have been held up in between, and others have gone on from what was ours.
    let instead = is_instead.then(|| named::open(&temporary)).transpose()?;
    Ok(Put::Refused(Some(Moment { edited, instead })))
}

/// Writes a content beside a file, with that file's mode and, where possible, owner, and has it reach the disk.
fn write_beside(path: &Path, content: &[u8], meta: &fs::Metadata) -> io::Result<tempfile::NamedTempFile> {
    let directory = path.parent().expect("our files stand in directories");
    // Its name stays out of errors: the same trouble must read the same each time.
    let mut temporary = tempfile::Builder::new().prefix(TEMPORARY).make_in(directory, named::create_new)?;
    // The owner first: a change of it takes set-id bits away.
    let _ = std::os::unix::fs::fchown(temporary.as_file(), Some(meta.uid()), Some(meta.gid()));
    temporary.as_file().set_permissions(fs::Permissions::from_mode(meta.mode() & 0o7777))?;
    temporary.as_file_mut().write_all(content)?;
    // A disk that lies about what it took must not lie its way into the place of a good file.
    if temporary.as_file().metadata()?.len() != content.len() as u64 {
        return Err(io::Error::new(io::ErrorKind::WriteZero, "the file is shorter than what was written to it"));
    }
    point("store.temp.written")?;
    point("store.fsync")?;
    // When this fails, nobody knows what reached the disk; the file is given up.
    temporary.as_file().sync_all()?;
    Ok(temporary)
}

fn is(path: &Path, content: &[u8]) -> bool {
    named::open(path).and_then(|mut file| holds(&mut file, content)).is_ok_and(|same| same)
}

/// Puts an edit back into its place; `true` when it has changed places with the file there. Some editors have moved that
/// away meanwhile, to write the file anew.
fn put_back(edit: &Path, path: &Path) -> io::Result<bool> {
    for _ in 0..TRIES {
        // By exchange, since a plain rename would drop what others put there in this moment.
        match named::exchange(edit, path) {
            Err(Errno::NOENT) => {}
            done => return Ok(done.map(|()| true)?),
        }
        match named::rename_new(edit, path) {
            Err(Errno::EXIST) => {}
            done => return Ok(done.map(|()| false)?),
        }
    }
    // Its text is known, and whoever writes there now has it added.
    Ok(false)
}

/// The hashes in the name of a replacement: of the content that was expected in its place, and of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    old: u64,
    new: u64,
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{:016x}.", self.old, self.new)
    }
}

impl Mark {
    /// Names a file that is written whole; what a crash cut off bears no mark and is no edit.
    fn name(self, temporary: tempfile::TempPath) -> io::Result<tempfile::TempPath> {
        let name = temporary.file_name().unwrap_or_default().to_string_lossy().replacen(TEMPORARY, "", 1);
        let marked = temporary.with_file_name(format!("{TEMPORARY}{self}{name}"));
        named::rename(&temporary, &marked)?;
        // Nothing bears the old name any more.
        temporary.keep().map_err(|error| error.error)?;
        tempfile::TempPath::try_from_path(marked)
    }

    fn of(path: &Path) -> Option<Self> {
        let (old, rest) = path.file_name()?.to_str()?.strip_prefix(TEMPORARY)?.split_once('-')?;
        let number = |word: &str| u64::from_str_radix(word, 16).ok().filter(|_| word.len() == 16);
        Some(Self { old: number(old)?, new: number(rest.split_once('.')?.0)? })
    }
}

/// Tells contents apart for as long as one build of the program is used; by another build, all are taken for edits,
/// and none is lost.
fn hash(content: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(content);
    hasher.finish()
}

/// Removes the replacements that crashes left, and puts back or keeps the edits among them; only for one who holds the
/// lock. `true` when an edit is back in its place.
pub(super) fn recover(path: &Path) -> io::Result<bool> {
    let directory = path.parent().expect("our files stand in directories");
    let mut is_back = false;
    for left in disk::leftovers(directory) {
        let Some(mark) = Mark::of(&left) else { continue };
        let read = |path: &Path| match disk::read(path, LONGEST) {
            Ok(found) => Ok(found.map(|bytes| hash(&bytes))),
            Err(error) => Err(io::Error::other(error.with_source())),
        };
        match read(&left) {
            Ok(None) => {}
            Ok(Some(found)) if found == mark.new || found == mark.old => disk::discard(&left),
            _ if read(path).is_ok_and(|there| there == Some(mark.new)) => {
                named::exchange(&left, path)?;
                if read(&left).is_ok_and(|displaced| displaced == Some(mark.new)) {
                    disk::discard(&left);
                    log::warn!(
                        "{}: a worker died while it was replacing an edit; the edit has been restored",
                        path.display()
                    );
                    is_back = true;
                } else {
                    // Somebody wrote in this moment, too, and theirs is the younger one.
                    named::exchange(&left, path)?;
                    set_aside(&left, path)?;
                }
            }
            _ => set_aside(&left, path)?,
        }
    }
    Ok(is_back)
}

/// Keeps an edit beside the file for its author: others have gone on from what had displaced it.
fn set_aside(left: &Path, path: &Path) -> io::Result<()> {
    let random = left.extension().unwrap_or_default().to_string_lossy();
    let aside = path.with_extension(format!("{}{random}", Layout::LOST_EDIT));
    named::rename(left, &aside)?;
    log::error!(
        "{}: a worker died while it was replacing an edit, and the file has changed since; the version with the edit is \
         kept in {}: copy what you miss from it, then remove it",
        path.display(),
        aside.display()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replacing(path: &Path, old: &str) -> Put {
        replace(path, (old.as_bytes(), b"ours"), || Ok(true)).expect("put, or put back")
    }

    #[test]
    fn an_edit_in_the_last_moment_is_put_back() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("queue");
        fs::write(&path, "theirs").expect("written");
        assert!(matches!(replacing(&path, "what we read"), Put::Refused(Some(_))));
        assert_eq!(fs::read(&path).expect("read"), b"theirs");
        assert!(matches!(replacing(&path, "theirs"), Put::Done(_)));
        assert_eq!(fs::read(&path).expect("read"), b"ours");
        assert_eq!(fs::read_dir(dir.path()).expect("listed").count(), 1, "nothing is left behind");
    }

    #[test]
    fn an_edit_that_a_crash_left_displaced_is_put_back_or_kept() {
        for (there, is_back) in [("ours", true), ("others have gone on", false)] {
            let dir = tempfile::tempdir().expect("a directory");
            let path = dir.path().join("queue.json");
            fs::write(&path, there).expect("written");
            let mark = Mark { old: hash(b"what we read"), new: hash(b"ours") };
            let left = |name: &str, content: &str| {
                fs::write(dir.path().join(format!("{TEMPORARY}{mark}{name}")), content).expect("written");
            };
            left("a", "an edit");
            // What had been taken away rightly, and what never came to its place.
            left("b", "what we read");
            left("c", "ours");
            assert_eq!(recover(&path).expect("recovered"), is_back);
            let aside = path.with_extension("lost-edit-a");
            let (stands, kept) = if is_back { ("an edit", None) } else { (there, Some("an edit".to_owned())) };
            assert_eq!(fs::read_to_string(&path).expect("read"), stands);
            assert_eq!(fs::read_to_string(aside).ok(), kept);
            let count = fs::read_dir(dir.path()).expect("listed").count();
            assert_eq!(count, if is_back { 1 } else { 2 }, "nothing else is left");
        }
    }
}
