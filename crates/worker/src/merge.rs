//! The integrator is code first: a task's branch goes into the target by the merge queue, with the gates
//! run on the result; no model is asked.

use std::sync::Arc;

use crate::{baseline::Baseline, control::Why, gate, merge_batch::merge_batch, prepare::name_lock, run::Run};
use oodatcaa_core::{
    Class, Outcome, TaskId,
    decision::{self, Approved},
    environment, landing,
    text::{self, chain},
};
use oodatcaa_git::{
    Author, Workspace, WorkspaceError,
    git::Git,
    merge::{MergeDirs, MergeError, MergeRequest, MergeTarget, Merged, Policy},
    takeover::Found,
};
use oodatcaa_sys::files;

/// How many commits of the other side a conflict names.
const NAMED: usize = 6;

/// A branch that is in the target, for the queue.
pub(crate) struct Landed {
    pub(crate) commit: String,
    pub(crate) tag: Option<String>,
    pub(crate) summary: String,
}

/// Merges the branch of the worktree into the target.
pub(crate) fn merge(run: &mut Run, workspace: &Workspace, baseline: Option<&Baseline>) -> Result<Landed, Outcome> {
    let wrong = |what: &str| Err(Outcome::failed(Class::Config, format!("{what}: the branch cannot be merged")));
    let (Some(branch), Some(dirs)) = (workspace.branch(), MergeDirs::of(workspace)) else {
        return wrong("there is no branch");
    };
    let Some(target) = workspace.base_branch() else {
        return wrong("the main checkout is on no branch, and `workspace.base` names none");
    };
    let shared = Arc::clone(&run.shared);
    let (layout, config) = (&shared.setup.layout, &shared.setup.config);
    // Asked before the merge: afterwards it would have to be taken back.
    if let Some(name) = config.merge.after.iter().find(|name| shared.gate(name).is_none()) {
        return Err(Outcome::failed(Class::Config, gate::unknown(name)));
    }
    match workspace.refuses(config.merge.push.is_some()) {
        Ok(None) => {}
        Ok(Some(reason)) => return Err(Outcome::NeedsAdapt { reason }),
        Err(error) => return Err(Outcome::failed(error.class(), format!("failed to {}", chain(&error)))),
    }
    let into = MergeTarget {
        repo: layout.root().to_owned(),
        dir: dirs.dir,
        place: dirs.place,
        target: target.to_owned(),
        policy: config.merge.policy,
        push: config.merge.push.clone(),
        remotes: layout.user_state().map(Into::into),
        tags: config.merge.tags,
        changelog: config.merge.changelog,
        author: Author::of(config.workspace.author.as_deref(), &run.assignment.rule.role),
    };
    let request = MergeRequest {
        task: run.assignment.task.id.clone(),
        title: run.assignment.task.title.clone(),
        token: run.assignment.lease.token,
        branch: branch.to_owned(),
        commit: match decision::approved_commit(&run.snapshot, run.shared.workflow(), &run.assignment.task) {
            Approved::Anything => None,
            Approved::Commit(commit) => Some(commit),
            Approved::Nothing => Some(String::new()),
        },
    };
    // What came of it is written there before the queue hears of it, also where somebody has removed the directory.
    if let Err(error) = files::make_dir(layout.root(), &run.assignment.run_dir) {
        return Err(Outcome::failed(Class::AgentCrashed, format!("cannot write the attempt's directory: {error}")));
    }
    run.note_without_agent("merge");
    let merged = merge_batch(run, baseline, &into, &request, &config.merge.after);
    if !matches!(merged, Ok((Ok(_), _))) {
        if let Ok((Err(MergeError::NotApproved { found, .. }), _)) = &merged {
            ask_again(run, found);
        }
        forget_what_did_not_land(run);
    }
    match merged? {
        (Ok(merged), driver) => Ok(Landed {
            summary: summarize(&merged, branch, &into, driver.as_ref()),
            commit: merged.commit,
            tag: merged.tag,
        }),
        (Err(error), _) => Err(lost(run).unwrap_or_else(|| refused(&error, &into, branch, workspace))),
    }
}

/// Says where a branch is now, and what did not follow it there.
fn summarize(merged: &Merged, branch: &str, into: &MergeTarget, driver: Option<&TaskId>) -> String {
    let (target, short) = (&into.target, merged.commit.chars().take(12).collect::<String>());
    let mut summary = match merged.already {
        true => format!("{branch} was in {target} already, as {short}"),
        false => format!("merged {branch} into {target} as {short}"),
    };
    if let Some(name) = &into.push {
        summary.push_str(&format!("; {name} holds it"));
    }
    if let Some(behind) = &merged.behind {
        summary.push_str(&format!("; the local {target} stays behind: failed to {behind}"));
    }
    if let Some(driver) = driver {
        summary.push_str(&format!("; together with {driver}, whose attempt has the gates' logs"));
    }
    summary
}

/// Takes back what the lease says of a merge that passed and came to nothing: it must not say that it is too late to stop.
fn forget_what_did_not_land(run: &Run) {
    let shared = &run.shared;
    let Ok(seen) = shared.store.read() else { return };
    let task = &run.assignment.task.id;
    let Some(commit) = landing::passed(&seen.snapshot, task) else { return };
    // Asked of git and not of the error: it may have failed after the target had moved.
    let (layout, config) = (&shared.setup.layout, &shared.setup.config);
    if !Found::unknown().has_landed(layout, config, task, &commit) {
        let merge = [(run.lease().clone(), commit)];
        if let Err(error) = shared.store.transact(&mut |snapshot| landing::withdraw(snapshot, &merge)) {
            log::warn!(task = task.as_str(); "cannot note that {task} was not merged: failed to {}", chain(&error));
        }
    }
}

/// Asks for an approval of the commit that was put on the branch since another one was approved.
fn ask_again(run: &Run, found: &str) {
    let (workflow, task) = (run.shared.workflow(), &run.assignment.task.id);
    let asked = run.shared.store.transact(&mut |now| decision::moved(now, workflow, task, found));
    if let Err(error) = asked {
        log::warn!(task = task.as_str(); "{task}: approval of the new commit is not asked for yet: failed to {}", chain(&error));
    }
}

/// Returns what others have said of the task since: it is the reason why a merge did not come about, whatever else went
/// wrong.
fn lost(run: &mut Run) -> Option<Outcome> {
    run.stop_outcome().or_else(|| {
        let seen = run.shared.store.read().ok()?;
        landing::lost(&seen.snapshot, run.lease()).map(|veto| Why::Lost(veto).outcome())
    })
}

/// Returns what it means for the task that the merge did not take it.
fn refused(error: &MergeError, into: &MergeTarget, branch: &str, workspace: &Workspace) -> Outcome {
    let reason = format!("failed to {}", chain(error));
    match error {
        MergeError::Conflict { files, onto } => {
            let more = workspace.git().map(|git| both_sides(git, into, branch, onto, files)).unwrap_or_default();
            Outcome::Conflict { files: files.clone(), reason: format!("{reason}.{more}") }
        }
        MergeError::Empty(_) => Outcome::NoChange {
            summary: format!("nothing was merged: {branch} holds nothing that {} does not", into.target),
        },
        MergeError::GatesRed { .. } | MergeError::RedAfter { .. } => Outcome::NeedsAdapt { reason },
        // Nobody's fault, and nothing that the task could do about it.
        MergeError::MovedOn
        | MergeError::NotApproved { .. }
        | MergeError::Busy { .. }
        | MergeError::Diverged { .. }
        | MergeError::Unreachable { .. }
        | MergeError::NotAsked(_)
        | MergeError::Stopped => Outcome::Waits { reason },
        MergeError::Unwanted { .. } => Outcome::failed(Class::Interrupted, reason),
        // No task may be merged before a human has looked.
        MergeError::NotReverted { .. }
        | MergeError::Place(_)
        | MergeError::NoBranch(_)
        | MergeError::RemoteMoved(_)
        | MergeError::PushRefused { .. } => Outcome::failed(Class::Config, reason),
        MergeError::Workspace(WorkspaceError::Git(error)) if error.passes() => {
            Outcome::Waits { reason: name_lock(error, reason) }
        }
        MergeError::Workspace(error) => Outcome::failed(error.class(), reason),
        MergeError::Unproven(_) => Outcome::failed(Class::Network, reason),
        MergeError::Refused { .. } => {
            let class = if environment::of_git(&reason).is_some() { Class::Environment } else { Class::AgentCrashed };
            Outcome::failed(class, reason)
        }
    }
}

/// Tells who resolves a conflict what the target holds by now, and the command that brings it in.
fn both_sides(git: &Git, into: &MergeTarget, branch: &str, onto: &str, files: &[String]) -> String {
    let target = &into.target;
    let range = format!("refs/heads/{branch}..{onto}");
    let count = format!("-{NAMED}");
    let mut args = vec!["--literal-pathspecs", "log", "--no-show-signature", "--no-merges", "--format=%h %s", &count];
    args.extend([range.as_str(), "--"]);
    args.extend(files.iter().map(String::as_str));
    let theirs: Vec<String> = git
        .run(&args)
        .unwrap_or_default()
        .lines()
        .map(|commit| format!("\n- {}", text::cut(&text::one_line(commit), 120)))
        .collect();
    // What the remote has beyond the local branch has no name here.
    let is_local = git.is_ancestor(onto, &format!("refs/heads/{target}")).unwrap_or(true);
    let name = if is_local { target.as_str() } else { onto };
    let verb = if into.policy == Policy::Rebase { "rebase" } else { "merge" };
    let end = if into.policy == Policy::Rebase { "git rebase --continue" } else { "git commit" };
    format!(
        " {target} has changed them since {branch} left it:{}\nTo resolve it, run `git {verb} {name}` in the worktree \
         (for this it is allowed), keep in each of these files what both sides want, `git add` them, `{end}`, then \
         run the gates again.",
        theirs.concat()
    )
}
