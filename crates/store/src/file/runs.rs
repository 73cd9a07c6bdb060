//! Attempts' directories and tokens: made and remembered while a claim is committed, so that nothing that lay there
//! before, and no file that was taken away, can speak for an attempt.

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    path::{Path, PathBuf},
};

use oodatcaa_core::layout::Layout;
use oodatcaa_core::{RunName, TaskId, Token};
use oodatcaa_sys::files::{self, Durable, FileError};

/// No task has more attempts whose directories are still there.
const MANY: usize = 1_000_000;

/// An attempt's directory that this commit made, empty.
#[derive(Debug)]
pub(super) struct Made {
    task: TaskId,
    pub(super) name: RunName,
    path: PathBuf,
    /// The file of the user's state that remembers the token, and the token that it held before.
    kept: Option<(Kept, Token)>,
}

impl Made {
    /// Makes the directory of a claim, exclusively: named by the token, or with random digits beside it where
    /// something lies in that place. Where none can be made, the name is one that nothing bears, and the attempt,
    /// which does not find its directory, says what stands in its way.
    pub(super) fn make(layout: &Layout, task: &TaskId, token: Token) -> Self {
        let kept = Kept::of(layout, task).map(|kept| {
            let before = kept.read();
            kept.write(token);
            (kept, before)
        });
        let mut name = RunName::of(token);
        // A second collision is no accident, and a task must not wait for who plants directories.
        for _ in 0..3 {
            let path = layout.run(task, &name);
            match files::make_new_dir(layout.root(), &path) {
                Ok(()) => return Self { task: task.clone(), name, path, kept },
                Err(error) if error.is_taken() => {
                    log::warn!("{} existed before its attempt; leaving it alone", path.display());
                }
                Err(error) => log::debug!("failed to {error}"),
            }
            name = RunName::beside(token, random());
        }
        Self { task: task.clone(), path: layout.run(task, &name), name, kept }
    }

    /// Returns what it is called, for the attempt that works there from now on.
    pub(super) fn into_name(self) -> (TaskId, RunName) {
        (self.task, self.name)
    }

    /// Takes it away again, as long as nothing is in it: the token has not been given out.
    pub(super) fn undo(self, layout: &Layout) {
        // One that stays only makes the next token greater.
        let _ = files::remove_dir(layout.root(), &self.path);
        if let Some((kept, before)) = self.kept {
            kept.write(before);
        }
    }
}

fn random() -> u64 {
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_u32(std::process::id());
    hasher.finish()
}

/// Returns the greatest token that is known of a task beside queue, leases and journal: by the names of its attempts'
/// directories and by the user's own state, which nothing that befalls the project can take back.
pub(super) fn highest_token(layout: &Layout, task: &TaskId) -> Token {
    let listed = files::list(layout.root(), &layout.runs().join(task.as_str()), MANY).ok().flatten();
    let names = listed.unwrap_or_default();
    let named = names.iter().filter_map(|entry| RunName::parse(entry.name.to_str()?)).map(|name| name.token());
    Token::greatest(Kept::of(layout, task).map(|kept| kept.read()).unwrap_or_default(), named)
}

/// A task's greatest token in the user's own state.
#[derive(Debug)]
struct Kept {
    root: PathBuf,
    path: PathBuf,
}

impl Kept {
    fn of(layout: &Layout, task: &TaskId) -> Option<Self> {
        let root = layout.user_state()?.to_owned();
        Some(Self { path: root.join("tokens").join(task.as_str()), root })
    }

    fn read(&self) -> Token {
        let text = files::read_text(&self.root, &self.path, 64).ok().flatten().unwrap_or_default();
        Token(text.trim().parse().unwrap_or_default())
    }

    fn write(&self, token: Token) {
        let write = || -> Result<(), FileError> {
            files::make_named_dir(&self.root)?;
            files::make_dir(&self.root, self.path.parent().unwrap_or(Path::new("")))?;
            files::write_atomic(&self.root, &self.path, format!("{token}\n").as_bytes(), Durable::No)
        };
        if let Err(error) = write() {
            log::debug!("a token is not kept in the user's state: failed to {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn whatever_lies_in_an_attempts_place_is_left_alone_and_another_name_is_taken() {
        let dir = tempfile::tempdir().expect("a directory");
        let (layout, id) = (Layout::new(dir.path()), TaskId::parse("A").expect("a good id"));
        let of_task = layout.runs().join("A");
        fs::create_dir_all(of_task.join("1")).expect("made");
        fs::write(of_task.join("1/result.json"), "{}").expect("written");
        fs::write(of_task.join("2"), "a file").expect("written");
        std::os::unix::fs::symlink("/nowhere", of_task.join("3")).expect("a link");
        for token in 1..=3 {
            let made = Made::make(&layout, &id, Token(token));
            assert_ne!(made.name, RunName::of(Token(token)));
            assert_eq!(made.name.token(), Token(token));
            assert_eq!(fs::read_dir(&made.path).expect("made").count(), 0);
            made.undo(&layout);
        }
        assert_eq!(fs::read_dir(&of_task).expect("there").count(), 3, "and nothing is left of what was taken back");
        assert_eq!(highest_token(&layout, &id), Token(3), "none of these is given out again");
        let made = Made::make(&layout, &id, Token(4));
        assert_eq!((made.name.as_str(), made.path.is_dir()), ("4", true), "scripts know this name");
    }

    #[test]
    fn a_tasks_directory_that_is_a_link_is_not_followed() {
        let (dir, outside) = (tempfile::tempdir().expect("one"), tempfile::tempdir().expect("another"));
        let (layout, id) = (Layout::new(dir.path()), TaskId::parse("A").expect("a good id"));
        fs::create_dir_all(layout.runs()).expect("made");
        std::os::unix::fs::symlink(outside.path(), layout.runs().join("A")).expect("a link");
        assert!(!Made::make(&layout, &id, Token(1)).path.exists());
        assert_eq!(fs::read_dir(outside.path()).expect("there").count(), 0);
    }
}
