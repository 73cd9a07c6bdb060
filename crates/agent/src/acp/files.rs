//! Files that the agent has read and written by us: in the workspace only, and through no link.

use std::{
    io::Write as _,
    path::{Component, Path, PathBuf},
};

use serde_json::Value;

use super::LONGEST;
use oodatcaa_sys::files;

/// The protocol's codes.
const BAD_PARAMS: i64 = -32602;
const FAILED: i64 = -32603;
const NOT_FOUND: i64 = -32002;

/// An error of the protocol.
type Refusal = (i64, String);

/// The files that may be reached.
pub(super) struct Files {
    /// The workspace as it was named, and as the system names it.
    roots: Vec<PathBuf>,
    /// Files outside of it, by the same two names.
    also: Vec<PathBuf>,
    /// The workspace, too, may be written.
    writable: bool,
}

/// A file's place: a directory that is ours, and the way below it.
struct Place {
    root: PathBuf,
    way: PathBuf,
}

impl Files {
    /// Makes the door to this workspace and these files.
    pub(super) fn new(workspace: &Path, also: &[PathBuf], writable: bool) -> Self {
        let mut roots = vec![workspace.to_owned()];
        roots.extend(workspace.canonicalize());
        Self { roots, also: also.to_vec(), writable }
    }

    /// Tells whether the agent may change this file by itself.
    pub(super) fn may_write(&self, path: &str) -> Result<(), String> {
        let place = self.writable(path).map_err(|(_, why)| why)?;
        // What stands there already is looked at; what does not yet, nobody can have linked.
        match files::look(&place.root, &place.way) {
            Ok(found) if found.as_ref().is_none_or(|meta| !meta.is_symlink()) => Ok(()),
            _ => Err(format!("{path}: not reached without links")),
        }
    }

    /// Serves `fs/read_text_file`.
    pub(super) fn read(&self, params: &Value) -> Result<String, Refusal> {
        let path = named(params)?;
        let place = self.place(path)?;
        let text = files::read_text(&place.root, &place.way, LONGEST as u64)
            .map_err(|error| (FAILED, format!("{path}: {}", error.why)))?
            .ok_or_else(|| (NOT_FOUND, format!("Resource not found: {path}")))?;
        let number = |name: &str| params.get(name).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
        let (line, limit) = (number("line"), number("limit"));
        if line.is_none() && limit.is_none() {
            return Ok(text);
        }
        let lines = text.split_inclusive('\n').skip(line.unwrap_or(1).saturating_sub(1));
        Ok(lines.take(limit.unwrap_or(usize::MAX)).collect())
    }

    /// Serves `fs/write_text_file`.
    pub(super) fn write(&self, params: &Value) -> Result<(), Refusal> {
        let path = named(params)?;
        let content = params.get("content").and_then(Value::as_str);
        let content = content.ok_or_else(|| (BAD_PARAMS, "`content` is not text".to_owned()))?;
        let place = self.writable(path)?;
        let write = || -> std::io::Result<()> {
            let mut file = files::edit(&place.root, &place.way)?;
            file.set_len(0)?;
            file.write_all(content.as_bytes())
        };
        write().map_err(|error| (FAILED, format!("{path}: {error}")))
    }

    fn writable(&self, path: &str) -> Result<Place, Refusal> {
        if !self.writable && !self.also.iter().any(|file| file == Path::new(path)) {
            return Err((BAD_PARAMS, format!("{path}: only the result file may be written")));
        }
        self.place(path)
    }

    fn place(&self, path: &str) -> Result<Place, Refusal> {
        let outside = || (BAD_PARAMS, format!("{path}: outside of the workspace"));
        let asked = Path::new(path);
        if self.also.iter().any(|file| file == asked) {
            let (Some(root), Some(name)) = (asked.parent(), asked.file_name()) else { return Err(outside()) };
            return Ok(Place { root: root.to_owned(), way: name.into() });
        }
        let root = self.roots.first().ok_or_else(outside)?;
        let below = match asked.is_absolute() {
            true => self.roots.iter().find_map(|root| asked.strip_prefix(root).ok()).ok_or_else(outside)?,
            false => asked,
        };
        let mut way = PathBuf::new();
        for part in below.components() {
            match part {
                Component::CurDir => {}
                // What stands there would be executed by the user's own git.
                Component::Normal(name) if name != ".git" => way.push(name),
                Component::Normal(_) => return Err((BAD_PARAMS, format!("{path}: git's own directory"))),
                _ => return Err(outside()),
            }
        }
        if way.as_os_str().is_empty() { Err(outside()) } else { Ok(Place { root: root.clone(), way }) }
    }
}

fn named(params: &Value) -> Result<&str, Refusal> {
    params.get("path").and_then(Value::as_str).ok_or_else(|| (BAD_PARAMS, "`path` is not text".to_owned()))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use serde_json::json;

    use super::*;

    struct Room {
        dir: tempfile::TempDir,
    }

    impl Room {
        fn new() -> Self {
            let room = Self { dir: tempfile::tempdir().expect("a directory") };
            fs::create_dir(room.path("w")).expect("made");
            fs::create_dir(room.path("out")).expect("made");
            fs::write(room.path("out/secret"), "s").expect("written");
            room
        }

        fn path(&self, name: &str) -> PathBuf {
            self.dir.path().join(name)
        }

        fn files(&self) -> Files {
            Files::new(&self.path("w"), &[self.path("out/result.json")], true)
        }

        fn write(&self, name: &str) -> Result<(), Refusal> {
            self.files().write(&json!({"path": self.path(name), "content": "text"}))
        }

        fn read(&self, name: &str) -> Result<String, Refusal> {
            self.files().read(&json!({"path": self.path(name)}))
        }
    }

    #[test]
    fn files_of_the_workspace_and_the_result_file_are_written() {
        let room = Room::new();
        for name in ["w/a.txt", "w/new/deep/b.txt", "out/result.json"] {
            room.write(name).expect(name);
            assert_eq!(fs::read_to_string(room.path(name)).expect(name), "text");
        }
        fs::write(room.path("w/a.txt"), "much longer than before").expect("written");
        room.write("w/a.txt").expect("again");
        assert_eq!(room.read("w/a.txt").expect("there"), "text");
    }

    #[test]
    fn nothing_outside_is_reached_by_name_or_by_link() {
        let room = Room::new();
        symlink(room.path("out"), room.path("w/dir")).expect("linked");
        symlink(room.path("out/secret"), room.path("w/file")).expect("linked");
        for name in ["out/secret", "w/../out/secret", "w/dir/secret", "w/file", "w", "w/.git/hooks/x", "w/sub/.git"] {
            assert!(room.write(name).is_err(), "{name}");
            assert!(room.read(name).is_err(), "{name}");
            assert!(room.files().may_write(&room.path(name).display().to_string()).is_err(), "{name}");
        }
        assert_eq!(fs::read_to_string(room.path("out/secret")).expect("there"), "s");
        assert!(room.write("out/other").is_err());
    }

    #[test]
    fn a_part_of_a_file_is_read_by_lines() {
        let room = Room::new();
        fs::write(room.path("w/a"), "1\n2\n3\n4").expect("written");
        let part = |line: u64, limit: u64| {
            room.files().read(&json!({"path": room.path("w/a"), "line": line, "limit": limit})).expect("there")
        };
        assert_eq!((part(2, 2).as_str(), part(4, 9).as_str(), part(9, 1).as_str()), ("2\n3\n", "4", ""));
        assert_eq!(room.read("w/none").expect_err("missing").0, NOT_FOUND);
    }

    #[test]
    fn nothing_but_files_and_nothing_when_only_planning() {
        let room = Room::new();
        assert!(room.write("w/sub/").is_ok(), "a name is a name");
        fs::create_dir(room.path("w/d")).expect("made");
        assert!(room.write("w/d").is_err() && room.read("w/d").is_err());
        let plan = Files::new(&room.path("w"), &[], false);
        assert!(plan.write(&json!({"path": room.path("w/x"), "content": ""})).is_err());
        assert!(!room.path("w/x").exists());
    }
}
