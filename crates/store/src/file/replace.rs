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

use super::disk::{self, TEMPORARY, holds, point};
use oodatcaa_core::layout::Layout;
use oodatcaa_sys::files::named;

/// What became of an attempt to take a file's place.
pub(super) enum Put {
    /// It stands there now; the file that it displaced, into which somebody may still be writing.
    Done(File),
    /// Somebody wrote in the last moment, and what they wrote stands.
    Refused(Option<Moment>),
}

/// What stood there and what stood aside until an edit was seen and put back.
pub(super) struct Moment {
    /// The edit, as it was found: who read the queue in this moment may write over it.
    pub(super) edited: Vec<u8>,
    /// What took the place in this moment: somebody may have written into it, or put theirs over it.
    pub(super) instead: Option<File>,
}

/// How often an edit is put back while others move the file away and write it anew.
const TRIES: usize = 100;

/// A file that waits to take another's place.
pub(super) struct Replacement {
    temporary: tempfile::NamedTempFile,
    mark: Mark,
}

impl Replacement {
    /// Writes the content that shall follow `old` beside it, with the old file's mode and, where possible, owner.
    /// `None` when an edit that a crash had displaced was put back meanwhile: `old` is not what counts any more.
    pub(super) fn write(
        path: &Path,
        (old, content): (&[u8], &[u8]),
        meta: Option<&fs::Metadata>,
    ) -> io::Result<Option<Self>> {
        let directory = path.parent().expect("our files stand in directories");
        point("store.temp")?;
        if recover(path)? {
            return Ok(None);
        }
        let mut temporary = disk::temporary(directory)?;
        if let Some(old) = meta {
            // The owner first: a change of it takes set-id bits away.
            let _ = std::os::unix::fs::fchown(temporary.as_file(), Some(old.uid()), Some(old.gid()));
            let mode = fs::Permissions::from_mode(old.mode() & 0o7777);
            temporary.as_file().set_permissions(mode)?;
        }
        temporary.as_file_mut().write_all(content)?;
        // A disk that lies about what it took must not lie its way into the place of a good file.
        if temporary.as_file().metadata()?.len() != content.len() as u64 {
            return Err(io::Error::new(io::ErrorKind::WriteZero, "the file is shorter than what was written to it"));
        }
        point("store.temp.written")?;
        Ok(Some(Self { temporary, mark: Mark { old: hash(old), new: hash(content) } }))
    }

    /// Has the content reach the disk. When that fails, nobody knows what did; the file is given up.
    pub(super) fn sync(&self) -> io::Result<()> {
        point("store.fsync")?;
        self.temporary.as_file().sync_all()
    }

    /// Takes the place of a file that should still hold `old`; what holds something else is put back, since then
    /// somebody wrote in the last moment.
    pub(super) fn put(self, path: &Path, old: &[u8]) -> io::Result<Put> {
        point("store.rename")?;
        let temporary = self.mark.name(self.temporary.into_temp_path())?;
        match named::exchange(&temporary, path) {
            Ok(()) => {
                point("store.exchanged")?;
                let there = named::open(&temporary).and_then(|mut file| match holds(&mut file, old)? {
                    true => Ok((None, file)),
                    false => Ok((Some(disk::whole(&mut file)?), file)),
                });
                match there {
                    Ok((None, file)) => {
                        // If it cannot be removed now, the next sweep tries again.
                        let _ = temporary.close();
                        point("store.renamed")?;
                        Ok(Put::Done(file))
                    }
                    other => {
                        point("store.putback")?;
                        let is_instead = put_back(&temporary, path)?;
                        let Some(edited) = other?.0 else { return Ok(Put::Refused(None)) };
                        // We may have been held up in between, and others have gone on from what was ours.
                        let instead = is_instead.then(|| named::open(&temporary)).transpose()?;
                        Ok(Put::Refused(Some(Moment { edited, instead })))
                    }
                }
            }
            // Some editors take the old file away before they write the new one.
            Err(rustix::io::Errno::NOENT) => Ok(Put::Refused(None)),
            // The file system cannot exchange two files; then a moment stays in which an edit is not seen.
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::OPNOTSUPP) => {
                let mut file = named::open(path)?;
                if !holds(&mut file, old)? {
                    return Ok(Put::Refused(None));
                }
                temporary.persist(path).map_err(|error| error.error)?;
                point("store.renamed")?;
                Ok(Put::Done(file))
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Puts an edit back into its place; `true` when what stood there stands in the edit's now. Some editors have moved it
/// away meanwhile, to write the file anew.
fn put_back(edit: &Path, path: &Path) -> io::Result<bool> {
    for _ in 0..TRIES {
        // By exchange, since a plain rename would drop what others put there in this moment.
        match named::exchange(edit, path) {
            Err(rustix::io::Errno::NOENT) => {}
            done => return Ok(done.map(|()| true)?),
        }
        match named::rename_new(edit, path) {
            Err(rustix::io::Errno::EXIST) => {}
            done => return Ok(done.map(|()| false)?),
        }
    }
    // Its text is known, and whoever writes there now has it added.
    Ok(false)
}

/// What the name of a replacement tells: the hashes of the content that was expected in its place, and of its own.
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
        let read = |path: &Path| match disk::read(path) {
            Ok(found) => Ok(found.map(|(bytes, _)| hash(&bytes))),
            Err(error) => Err(io::Error::other(super::commit::whole(&error))),
        };
        match read(&left) {
            Ok(None) => {}
            Ok(Some(found)) if found == mark.new || found == mark.old => disk::discard(&left),
            _ if read(path).is_ok_and(|there| there == Some(mark.new)) => {
                named::exchange(&left, path)?;
                if read(&left).is_ok_and(|displaced| displaced == Some(mark.new)) {
                    disk::discard(&left);
                    log::warn!(
                        "{}: a worker died while it put its change over an edit; the edit is back",
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
        "{}: a worker died while it put its change over an edit, and others have gone on; what the file held with \
         the edit is kept in {}: bring over what you miss, then remove it",
        path.display(),
        aside.display()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replacement(path: &Path, old: &str) -> Replacement {
        let written = Replacement::write(path, (old.as_bytes(), b"ours"), None);
        written.expect("written").expect("nothing was put back")
    }

    #[test]
    fn an_edit_in_the_last_moment_is_put_back() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("queue");
        fs::write(&path, "theirs").expect("written");
        assert!(matches!(
            replacement(&path, "what we read").put(&path, b"what we read").expect("put back"),
            Put::Refused(Some(_))
        ));
        assert_eq!(fs::read(&path).expect("read"), b"theirs");
        assert!(matches!(replacement(&path, "theirs").put(&path, b"theirs").expect("put"), Put::Done(_)));
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
