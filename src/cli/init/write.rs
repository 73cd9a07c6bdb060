//! Writes a plan: all of it or nothing, and over nothing that appeared meanwhile.

use std::{
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use super::plan::{Plan, PlannedFile};
use oodatcaa_config::{Config, Overrides, World, trust};
use oodatcaa_core::layout::Layout;
use oodatcaa_ops::{ErrorKind, Failure, quoted};
use oodatcaa_sys::files::{self, Durable, named};

/// Checks everything that can be known before the first byte is written.
pub(super) fn check(layout: &Layout, plan: &Plan) -> Result<(), Failure> {
    for file in &plan.files {
        let directory = existing_parent(&file.path);
        if !directory.starts_with(layout.root()) {
            let message = format!("{} is not below the project", file.path.display());
            return Err(Failure::new(ErrorKind::UnsafePath, message));
        }
        let metadata = directory.symlink_metadata().map_err(|error| Failure::io("look at", directory, &error))?;
        if !metadata.is_dir() {
            let message = format!("{} is not a directory of its own", directory.display());
            let hint = format!("look at it: ls -ld {}", quoted(directory));
            return Err(Failure::new(ErrorKind::UnsafePath, message).hint(hint));
        }
        use rustix::fs::Access;
        rustix::fs::access(directory, Access::WRITE_OK | Access::EXEC_OK)
            .map_err(|errno| Failure::io("write into", directory, &errno.into()))?;
    }
    Ok(())
}

/// Returns the nearest directory above a path that is there.
fn existing_parent(path: &Path) -> &Path {
    path.ancestors().skip(1).find(|dir| dir.symlink_metadata().is_ok()).unwrap_or(Path::new("/"))
}

/// Writes. A new `.oodatcaa` is built beside its place, loaded once as a test, and moved there as one.
pub(super) fn write(world: &World, layout: &Layout, plan: &Plan) -> Result<(), Failure> {
    let mark = layout.mark();
    let (inside, outside): (Vec<&PlannedFile>, Vec<&PlannedFile>) =
        plan.files.iter().partition(|file| plan.new_project && file.path.starts_with(&mark));
    let mut undo = Undo::default();

    let staging = tempfile::Builder::new().prefix(".oodatcaa-init-").tempdir_in(layout.root());
    let staging = staging.map_err(|error| Failure::io("create a directory in", layout.root(), &error))?;
    let staged = Layout::new(staging.path());
    for file in &inside {
        let below = file.path.strip_prefix(layout.root()).expect("planned below the root");
        create(&staging.path().join(below), &file.content, &mut undo)?;
    }
    if plan.new_project {
        // With its commands, which nobody can have trusted at that place.
        Config::load_in(&world.with(trust::TRUST_ALL, "1"), &staged, &Overrides::default())?;
    }
    for file in &outside {
        match &file.replaces {
            None => create(&file.path, &file.content, &mut undo)?,
            Some(old) => replace(&file.path, old, &file.content, &mut undo)?,
        }
    }
    if plan.new_project {
        let from = staged.mark();
        std::fs::set_permissions(&from, std::fs::Permissions::from_mode(0o755))
            .map_err(|error| Failure::io("change", &from, &error))?;
        // Onto an empty directory the move would succeed; onto anything else it must not.
        files::rename_new(layout.root(), &from, &mark).map_err(|error| Failure::io("create", &mark, &error.into()))?;
    }
    undo.0.clear();
    if let Ok(directory) = std::fs::File::open(layout.root()) {
        // Best effort: what was written is whole either way.
        let _ = directory.sync_all();
    }
    Ok(())
}

fn create(path: &Path, content: &str, undo: &mut Undo) -> Result<(), Failure> {
    let directory = path.parent().expect("a file has a directory");
    let mut missing: Vec<PathBuf> =
        directory.ancestors().take_while(|dir| dir.symlink_metadata().is_err()).map(Into::into).collect();
    missing.reverse();
    for directory in missing {
        std::fs::create_dir(&directory).map_err(|error| Failure::io("create", &directory, &error))?;
        undo.0.push(Written::Directory(directory));
    }
    named::write_new(path, content, 0o644).map_err(|error| Failure::io("write", path, &error))?;
    undo.0.push(Written::File(path.into()));
    Ok(())
}

fn replace(path: &Path, old: &str, content: &str, undo: &mut Undo) -> Result<(), Failure> {
    let write = || -> std::io::Result<bool> {
        if std::fs::read_to_string(path)? != old {
            return Ok(false);
        }
        named::write_as(path, content, path.metadata()?.permissions().mode(), Durable::Yes).map(|()| true)
    };
    match write() {
        Ok(true) => {
            undo.0.push(Written::Over(path.into(), old.into()));
            Ok(())
        }
        Ok(false) => {
            Err(Failure::new(ErrorKind::Refused, format!("{} changed meanwhile", path.display())).hint("agentctl init"))
        }
        Err(error) => Err(Failure::io("write", path, &error)),
    }
}

enum Written {
    File(PathBuf),
    Directory(PathBuf),
    /// A file that was there before, with what it held.
    Over(PathBuf, String),
}

/// Takes back what was written when the rest fails.
#[derive(Default)]
struct Undo(Vec<Written>);

impl Drop for Undo {
    fn drop(&mut self) {
        for written in self.0.drain(..).rev() {
            // Best effort: whatever stays is told by the failure that led here.
            let _ = match written {
                Written::File(path) => std::fs::remove_file(path),
                Written::Directory(path) => std::fs::remove_dir(path),
                Written::Over(path, old) => std::fs::write(path, old),
            };
        }
    }
}
