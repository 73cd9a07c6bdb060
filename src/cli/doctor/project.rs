//! The project's files: rights, links, room on the disk, configuration, what git ignores.

use std::path::Path;

use rustix::fs::Access;

use super::{
    DoctorContext,
    check::{Check, Checks, Group},
};
use crate::cli::init::text;
use oodatcaa_config::Trust;
use oodatcaa_core::layout::Layout;
use oodatcaa_git as workspace;
use oodatcaa_ops::{Failure, quoted};
use oodatcaa_store::StoreError;
use oodatcaa_sys::files;

/// With less room left than this nothing can be written safely.
const NO_ROOM: u64 = 64 << 20;
/// One attempt may write this much (its two output files).
const LITTLE_ROOM: u64 = 1 << 30;

pub(super) fn check(context: &DoctorContext<'_>) -> Vec<Check> {
    let mut checks = Checks::of(Group::Project);
    directories(&mut checks, context.layout);
    own_state(&mut checks, context);
    if let Err(error) = &context.store {
        checks.bad("store", sentence_of(error), "no worker can start with these files as they are", "");
    }
    room(&mut checks, context.layout);
    configuration(&mut checks, context);
    old_homes(&mut checks, context.layout);
    git(&mut checks, context);
    checks.into_vec()
}

/// Says an error of the store in one line.
pub(super) fn sentence_of(error: &StoreError) -> String {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    format!("failed to {error}{cause}")
}

fn directories(checks: &mut Checks, layout: &Layout) {
    let before = checks.len();
    let all = [layout.root().to_owned(), layout.mark(), layout.work(), layout.leases(), layout.locks(), layout.runs()];
    for directory in all {
        let run = format!("ls -ld {}", quoted(&directory));
        let Ok(metadata) = directory.symlink_metadata() else { continue };
        let shown = directory.display();
        if metadata.is_symlink() && directory != layout.root() {
            let why = "state is written here; behind a link it would land outside of the project";
            checks.bad("link", format!("{shown} is a symbolic link"), why, run);
        } else if !directory.is_dir() {
            checks.bad("not_a_directory", format!("{shown} is no directory"), "nothing can be written below it", run);
        } else if !may(&directory, DIRECTORY) {
            let why = "workers read and write here, as the user that you are now";
            checks.bad("rights", format!("{shown} cannot be read and written"), why, run);
        } else if world_writable(&metadata) {
            let why = "any user of this machine could change what the agents do";
            checks.warn(
                "open_to_all",
                format!("{shown} can be written by everybody"),
                why,
                format!("chmod o-w {}", quoted(&directory)),
            );
        }
    }
    // A queue that may only be read is replaced all the same, as its editors do it.
    let writable = Access::READ_OK | Access::WRITE_OK;
    for (file, access) in
        [(layout.queue(), Access::READ_OK), (layout.journal(), writable), (layout.queue_lock(), writable)]
    {
        if file.symlink_metadata().is_ok_and(|meta| meta.is_file()) && !may(&file, access) {
            let what = if access == writable { "read and written" } else { "read" };
            let why = "nothing is claimed before it can, by the user that you are now";
            let run = format!("ls -l {}", quoted(&file));
            checks.bad("rights", format!("{} cannot be {what}", file.display()), why, run);
        }
    }
    if checks.len() == before {
        checks.good("rights", format!("{} can be read and written", layout.root().display()));
    }
}

/// Names the rights that workers need in a directory to make files there.
const DIRECTORY: Access = Access::READ_OK.union(Access::WRITE_OK).union(Access::EXEC_OK);

fn may(path: &Path, access: Access) -> bool {
    rustix::fs::access(path, access).is_ok()
}

/// Finds what keeps workers from making files in a directory that is there or would be made: itself, or one above.
fn closed(place: &Path) -> Option<&Path> {
    let there = place.ancestors().find(|dir| dir.symlink_metadata().is_ok()).unwrap_or(place);
    (!there.is_dir() || !may(there, DIRECTORY)).then_some(there)
}

/// Checks the user's own state, where what a project must not bring along lies: trust, counts of starts.
fn own_state(checks: &mut Checks, context: &DoctorContext<'_>) {
    let layout = context.world.at_home(context.layout.clone());
    let why = "what you trusted, approved and spent here is kept there; without it nothing is trusted, and starts of \
               agents are counted in the project's own files only";
    let Some(place) = layout.user_state() else {
        return checks.bad("own_state", "HOME and XDG_STATE_HOME name no directory", why, "echo $HOME");
    };
    let ledger = layout.ledger().filter(|ledger| ledger.symlink_metadata().is_ok());
    let broken = ledger.as_deref().filter(|ledger| {
        !ledger.symlink_metadata().is_ok_and(|meta| meta.is_file()) || !may(ledger, Access::READ_OK | Access::WRITE_OK)
    });
    if let Some(there) = closed(place) {
        let what = format!("{} cannot be read and written", there.display());
        checks.bad("own_state", what, why, format!("ls -ld {}", quoted(there)));
    } else if let Some(ledger) = broken {
        let what = format!("{} is no file that you can read and write", ledger.display());
        checks.bad("own_state", what, why, format!("ls -ld {}", quoted(ledger)));
    } else {
        checks.good("own_state", format!("{} can be read and written", place.display()));
    }
}

fn world_writable(metadata: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    metadata.permissions().mode() & 0o1002 == 0o002
}

fn room(checks: &mut Checks, layout: &Layout) {
    let Ok(found) = rustix::fs::statvfs(layout.root()) else { return };
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    let shown = if free < 1 << 30 { format!("{} MiB", free >> 20) } else { format!("{} GiB", free >> 30) };
    let run = format!("du -sh {}", quoted(&layout.runs()));
    if free < NO_ROOM {
        checks.bad("disk", format!("{shown} are free"), "claims and results cannot be written any more", run);
    } else if found.f_files > 0 && found.f_favail < 1_000 {
        checks.bad(
            "disk",
            format!("{} more files can be created", found.f_favail),
            "every attempt creates a dozen",
            run,
        );
    } else if free < LITTLE_ROOM {
        checks.warn("disk", format!("{shown} are free"), "the output of a few attempts can fill that", run);
    } else {
        checks.good("disk", format!("{shown} are free"));
    }
}

/// Tells of directories that earlier versions made and nobody uses any more.
fn old_homes(checks: &mut Checks, layout: &Layout) {
    let old = layout.old_homes();
    if old.symlink_metadata().is_ok() {
        let what = format!("{} is not used: homes of agents lie in your own state directory now", old.display());
        let why = "a clone could bring one along, with hooks that its program obeys; sessions in it do not go on";
        checks.warn("homes", what, why, format!("rm -r {}", quoted(&old)));
    }
}

fn configuration(checks: &mut Checks, context: &DoctorContext<'_>) {
    let loaded = match &context.loaded {
        Ok(loaded) => loaded,
        Err(failure) => {
            let run = "agentctl config show --default";
            return checks.bad(
                "config",
                failure.sentence(),
                "no worker starts with a configuration that cannot be used",
                run,
            );
        }
    };
    match loaded.trust {
        Trust::Untrusted { changed } => {
            let what = if changed {
                "the project's configuration or its prompts have changed since you trusted them"
            } else {
                "the project's files choose what only you may choose, and you have not trusted them"
            };
            checks.bad(
                "trust",
                what,
                "they only count where they tighten something: its agents, gates and prompts are not used",
                "agentctl config trust",
            );
        }
        Trust::Trusted => checks.good("trust", "the project's configuration and prompts are trusted"),
        Trust::NothingToTrust => checks.good("config", "the configuration loads; the project's files choose nothing"),
    }
    for hint in &loaded.hints {
        checks.good("config", hint.as_str());
    }
    // The warning about trust has been told above, with its own command.
    for warning in loaded.warnings.iter().filter(|warning| !warning.contains("agentctl config trust")) {
        checks.warn(
            "config",
            warning.as_str(),
            "what is not understood has no effect",
            "agentctl config show --default",
        );
    }
}

fn git(checks: &mut Checks, context: &DoctorContext<'_>) {
    let layout = context.layout;
    let config = context.loaded.as_ref().map(|loaded| loaded.config.workspace.clone()).unwrap_or_default();
    match workspace::condition(layout, &config) {
        Ok(None) => {
            let why = "what an agent breaks cannot be taken back, and gates cannot see what changed";
            return checks.warn("git", "no git work tree", why, format!("git -C {} init", quoted(layout.root())));
        }
        Ok(Some(found)) => {
            checks.good("git_version", format!("git {}", found.version));
            if let Some(closed) = found.home.as_deref().and_then(closed) {
                let what = format!("{} cannot be read and written", closed.display());
                checks.bad(
                    "worktrees",
                    what,
                    "worktrees of tasks are made there",
                    format!("ls -ld {}", quoted(closed)),
                );
            }
            for admin in found.half_made {
                let what = format!("{} was left half made by a git that died", admin.display());
                let why = "git stops at it, so no worktree can be made; a worker removes its own";
                checks.bad("git_half_made", what, why, format!("rm -r {}", quoted(&admin)));
            }
        }
        Err(error) => {
            let failure = Failure::from(error);
            let worktrees = config.mode == workspace::Mode::Worktree;
            let why = if worktrees { "no task can start" } else { "what an agent changes cannot be seen" };
            let said = std::iter::once(&failure.message).chain(&failure.causes).cloned().collect::<Vec<_>>().join(": ");
            let run = failure.hints.first().cloned().unwrap_or_default();
            return checks.bad("git", said, why, run);
        }
    }
    let ignored = files::read_text(layout.root(), ".gitignore".as_ref(), 1 << 20).ok().flatten().unwrap_or_default();
    let (missing, _) = text::gitignore(&ignored);
    if missing.is_empty() {
        checks.good("git", "git ignores what workers write");
    } else {
        let what = format!("git does not ignore {}", missing.join(" "));
        let why = "a checkout could put an old journal or lease back, and agents would commit logs";
        checks.warn("gitignore", what, why, "agentctl init");
    }
}
