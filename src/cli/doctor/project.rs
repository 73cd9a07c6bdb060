//! The project's files: rights, links, room on the disk, configuration, what git ignores.

use std::{os::unix::fs::PermissionsExt as _, path::Path};

use rustix::fs::Access;

use super::{failed_to, report::Report};
use crate::cli::init::text;
use oodatcaa_config::Trust;
use oodatcaa_git as workspace;
use oodatcaa_ops::{Failure, quoted};
use oodatcaa_sys::files;

/// With less room left than this nothing can be written safely.
const NO_ROOM: u64 = 64 << 20;
/// One attempt may write this much (its two output files).
const LITTLE_ROOM: u64 = 1 << 30;

/// The rights that workers need in a file, and in a directory to make files there.
const FILE: Access = Access::READ_OK.union(Access::WRITE_OK);
const DIRECTORY: Access = FILE.union(Access::EXEC_OK);

pub(super) fn directories(report: &mut Report<'_>) {
    let (layout, before) = (report.context.layout, report.checks.len());
    let all = [layout.root().to_owned(), layout.mark(), layout.work(), layout.leases(), layout.locks(), layout.runs()];
    for directory in all {
        let Ok(metadata) = directory.symlink_metadata() else { continue };
        let (shown, run) = (directory.display(), format!("ls -ld {}", quoted(&directory)));
        if metadata.is_symlink() && directory != layout.root() {
            report.found("link", format!("{shown} is a symbolic link"), run);
        } else if !directory.is_dir() {
            report.found("not_a_directory", format!("{shown} is not a directory"), run);
        } else if !may(&directory, DIRECTORY) {
            report.found("rights.directory", format!("{shown} cannot be read and written"), run);
        } else if metadata.permissions().mode() & 0o1002 == 0o002 {
            let run = format!("chmod o-w {}", quoted(&directory));
            report.found("open_to_all", format!("{shown} is writable by everyone"), run);
        }
    }
    // A queue that may only be read is replaced all the same, as its editors do it.
    for (file, access) in [(layout.queue(), Access::READ_OK), (layout.journal(), FILE), (layout.queue_lock(), FILE)] {
        if file.symlink_metadata().is_ok_and(|meta| meta.is_file()) && !may(&file, access) {
            let rights = if access == FILE { "read and written" } else { "read" };
            let what = format!("{} cannot be {rights}", file.display());
            report.found("rights.file", what, format!("ls -l {}", quoted(&file)));
        }
    }
    if report.checks.len() == before {
        report.good("rights", format!("{} can be read and written", layout.root().display()));
    }
}

fn may(path: &Path, access: Access) -> bool {
    rustix::fs::access(path, access).is_ok()
}

/// Finds what keeps workers from making files in a directory that is there or would be made: itself, or one above.
fn closed(place: &Path) -> Option<&Path> {
    let there = place.ancestors().find(|dir| dir.symlink_metadata().is_ok()).unwrap_or(place);
    (!there.is_dir() || !may(there, DIRECTORY)).then_some(there)
}

/// Checks the user's own state, where what a project must not bring along lies: trust, counts of starts.
pub(super) fn own_state(report: &mut Report<'_>) {
    let layout = report.context.world.at_home(report.context.layout.clone());
    let Some(place) = layout.user_state() else {
        return report.found("own_state", "HOME and XDG_STATE_HOME name no directory", "echo $HOME");
    };
    let broken = layout
        .ledger()
        .filter(|ledger| ledger.symlink_metadata().is_ok_and(|meta| !meta.is_file() || !may(ledger, FILE)));
    if let Some(there) = closed(place) {
        let what = format!("{} cannot be read and written", there.display());
        report.found("own_state", what, format!("ls -ld {}", quoted(there)));
    } else if let Some(ledger) = broken {
        let what = format!("{} is not a file that you can read and write", ledger.display());
        report.found("own_state", what, format!("ls -ld {}", quoted(&ledger)));
    } else {
        report.good("own_state", format!("{} can be read and written", place.display()));
    }
}

pub(super) fn store(report: &mut Report<'_>) {
    if let Err(error) = &report.context.store {
        report.found("store", failed_to(error), "");
    }
}

pub(super) fn room(report: &mut Report<'_>) {
    let layout = report.context.layout;
    let Ok(found) = rustix::fs::statvfs(layout.root()) else { return };
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    let amount = if free < 1 << 30 { format!("{} MiB", free >> 20) } else { format!("{} GiB", free >> 30) };
    let (what, run) = (format!("{amount} are free"), format!("du -sh {}", quoted(&layout.runs())));
    if free < NO_ROOM {
        report.found("disk.full", what, run);
    } else if found.f_files > 0 && found.f_favail < 1_000 {
        report.found("disk.files", format!("{} more files can be created", found.f_favail), run);
    } else if free < LITTLE_ROOM {
        report.found("disk.low", what, run);
    } else {
        report.good("disk", what);
    }
}

pub(super) fn configuration(report: &mut Report<'_>) {
    let defaults = "agentctl config show --default";
    let loaded = match &report.context.loaded {
        Ok(loaded) => loaded,
        Err(failure) => return report.found("config.broken", failure.sentence(), defaults),
    };
    let trust = "agentctl config trust";
    match loaded.trust {
        Trust::Untrusted { changed: true } => {
            let what = "the project's configuration or its prompts have changed since you trusted them";
            report.found("trust", what, trust);
        }
        Trust::Untrusted { changed: false } => {
            let what = "the project's files choose what only you may choose, and you have not trusted them";
            report.found("trust", what, trust);
        }
        Trust::Trusted => report.good("trust", "the project's configuration and prompts are trusted"),
        Trust::NothingToTrust => report.good("config", "the configuration loads; the project's files choose nothing"),
    }
    loaded.hints.iter().for_each(|hint| report.good("config", hint));
    // The warning about trust has been given above, with its own command.
    for warning in loaded.warnings.iter().filter(|warning| !warning.contains(trust)) {
        report.found("config.ignored", warning, defaults);
    }
}

/// Looks for homes of agents that a clone brought along; nobody uses them.
pub(super) fn foreign_homes(report: &mut Report<'_>) {
    let old = report.context.layout.foreign_homes();
    if old.symlink_metadata().is_ok() {
        let what = format!("{} is not used: homes of agents are kept in your own state directory", old.display());
        report.found("homes", what, format!("rm -r {}", quoted(&old)));
    }
}

pub(super) fn git(report: &mut Report<'_>) {
    let layout = report.context.layout;
    let config = report.context.loaded.as_ref().map(|loaded| loaded.config.workspace.clone()).unwrap_or_default();
    match workspace::condition(layout, &config) {
        Ok(None) => {
            return report.found("git.none", "no git work tree", format!("git -C {} init", quoted(layout.root())));
        }
        Ok(Some(found)) => {
            report.good("git_version", format!("git {}", found.version));
            if let Some(closed) = found.home.as_deref().and_then(closed) {
                let what = format!("{} cannot be read and written", closed.display());
                report.found("worktrees", what, format!("ls -ld {}", quoted(closed)));
            }
            for admin in found.half_made {
                let what = format!("{} was left unfinished by a git that died", admin.display());
                report.found("git_half_made", what, format!("rm -r {}", quoted(&admin)));
            }
        }
        Err(error) => {
            let failure = Failure::from(error);
            let said = std::iter::once(&failure.message).chain(&failure.causes).cloned().collect::<Vec<_>>().join(": ");
            let run = failure.hints.first().cloned().unwrap_or_default();
            return match config.mode == workspace::Mode::Worktree {
                true => report.found("git.worktrees", said, run),
                false => report.found("git.changes", said, run),
            };
        }
    }
    let ignored = files::read_text(layout.root(), ".gitignore".as_ref(), 1 << 20).ok().flatten().unwrap_or_default();
    match text::gitignore(&ignored).0.as_slice() {
        [] => report.good("git", "git ignores what workers write"),
        missing => report.found("gitignore", format!("git does not ignore {}", missing.join(" ")), "agentctl init"),
    }
}
