//! What `doctor --fix` may do: only what any worker would do as well, or what nobody can miss.

use std::path::PathBuf;

use super::{DoctorContext, service};
use oodatcaa_core::{
    lease::LeaseHealth,
    rescue::{self, Orphan},
    text::one_line,
};
use oodatcaa_fleet::pidfile;
use oodatcaa_ops::{Failure, Project};
use oodatcaa_sys::files;

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Remedy {
    /// Create a directory that is missing.
    Directory(PathBuf),
    /// Give back what a dead owner held.
    GiveBack(Orphan),
    /// Remove a pid file that nobody holds.
    PidFile(String),
}

impl Remedy {
    /// Says what will be done.
    pub(super) fn what(&self) -> String {
        match self {
            Self::Directory(path) => format!("create {}", path.display()),
            Self::GiveBack(left) if left.lease => {
                format!("remove the lease of {} and give the task back ({})", left.task, one_line(&left.reason))
            }
            Self::GiveBack(left) => format!("give {} back ({})", left.task, one_line(&left.reason)),
            Self::PidFile(name) => format!("remove the stale pid file of {name}"),
        }
    }
}

/// Finds everything that can be mended without a person.
pub(super) fn find(context: &DoctorContext<'_>) -> Vec<Remedy> {
    let mut remedies = Vec::new();
    let missing = [context.layout.work(), context.layout.prompts()];
    remedies.extend(missing.into_iter().filter(|dir| dir.symlink_metadata().is_err()).map(Remedy::Directory));
    remedies.extend(service::stale_pid_files(context.layout).into_iter().map(Remedy::PidFile));
    // Without a configuration nobody knows where the work is that a dead owner had not committed.
    if let (Some(snapshot), Ok(_), Ok(_)) = (context.snapshot(), &context.store, &context.loaded) {
        let whole = context.reading.as_ref().is_some_and(|reading| matches!(reading, Ok(r) if r.invalid.is_none()));
        // An owner that is silent and alive is for a worker to take over from, or for a human.
        let lost = |left: &Orphan| {
            let held = snapshot.leases.get(&left.task);
            held.is_some_and(|held| held.ours().is_some() && matches!(held.health(&snapshot.now), LeaseHealth::Lost(_)))
        };
        let left = rescue::find(snapshot, &context.workflow).into_iter().filter(|left| whole && !lost(left));
        remedies.extend(left.map(Remedy::GiveBack));
    }
    remedies
}

/// Does it, and says what else was done on the way.
pub(super) fn apply(context: &DoctorContext<'_>, remedy: &Remedy) -> Result<Vec<String>, Failure> {
    match remedy {
        Remedy::Directory(path) => files::make_dir(context.layout.root(), path)?,
        Remedy::PidFile(name) => pidfile::clean(context.layout, name).map(drop)?,
        Remedy::GiveBack(left) => {
            let project = Project::at(context.layout.clone(), context.loaded.clone()?);
            return Ok(project.give_back(vec![left.clone()], false)?.notes);
        }
    }
    Ok(Vec::new())
}
