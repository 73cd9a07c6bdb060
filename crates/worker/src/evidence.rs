//! Proof that our own code asks for before a task moves on: a result file, named files, a change, gates.

use std::{
    path::{Component, Path},
    sync::Arc,
};

use crate::{
    baseline::{self, Baseline, Verdict},
    gate,
    run::Run,
};
use oodatcaa_agent::{
    output,
    result::{self, Answer},
};
use oodatcaa_core::{Class, Outcome, environment, state::GATE, text, text::chain};
use oodatcaa_git::{Author, Directory, TakenIn, Workspace, WorkspaceError, git::GitError, prune, trailers};

/// With less room than this nobody can have written anything.
const LEAST_ROOM: u64 = 1 << 20;

fn unproved(reason: impl Into<String>) -> Outcome {
    Outcome::failed(Class::NoEvidence, reason)
}

fn broken(error: &WorkspaceError) -> Outcome {
    Outcome::failed(error.class(), format!("failed to {}", chain(error)))
}

/// Checks everything in order of cost; the first that is missing is the outcome.
pub(crate) fn check(run: &mut Run, baseline: Option<&Baseline>) -> Result<(), Outcome> {
    let role = run.shared.setup.role.clone();
    if role.require_result && !run.assignment.result_file().is_file() {
        return Err(unproved("the agent said done and wrote no result.json, which this role requires"));
    }
    if role.criteria {
        check_criteria(run)?;
    }
    for name in &role.files {
        let path = Path::new(name);
        let inside = path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        if !inside {
            let reason = format!("the required file `{name}` is not below the workspace");
            return Err(Outcome::failed(Class::Config, reason));
        }
        // Looked for in the worktree, where an ignored file counts as well.
        if !run.assignment.workspace.join(path).exists() {
            return Err(unproved(format!("the required file `{name}` is not there")));
        }
    }
    let names = gate::names(&run.shared, &run.assignment.task);
    run_gates(run, baseline, &names).map_err(|(_, outcome)| outcome)
}

/// Checks that every acceptance criterion has an answer with evidence, and that each answer says that it is met.
fn check_criteria(run: &mut Run) -> Result<(), Outcome> {
    let criteria = run.assignment.task.acceptance_criteria.len();
    if criteria == 0 {
        return Ok(());
    }
    let said = result::read(&run.assignment.result_file()).ok().flatten();
    let answers = said.map(|said| said.criteria).unwrap_or_default();
    let judged = judge_criteria(criteria, &answers);
    let secrets = run.secrets();
    let masked = |answer: Answer| Answer { evidence: output::mask(&answer.evidence, &secrets), ..answer };
    run.record.found.criteria = answers.into_iter().map(masked).collect();
    judged
}

fn judge_criteria(criteria: usize, answers: &[Answer]) -> Result<(), Outcome> {
    let broken: Vec<String> = answers
        .iter()
        .filter(|answer| !answer.met)
        .map(|answer| format!("criterion {} is not met: {}", answer.criterion, answer.evidence))
        .collect();
    if !broken.is_empty() {
        return Err(Outcome::NeedsAdapt { reason: broken.join("\n") });
    }
    // An answer without evidence is as good as none.
    let proved =
        |number: &usize| answers.iter().any(|answer| answer.criterion == *number && !answer.evidence.trim().is_empty());
    let open: Vec<String> = (1..=criteria).filter(|number| !proved(number)).map(|number| number.to_string()).collect();
    if open.is_empty() {
        return Ok(());
    }
    let reason = format!(
        "result.json answers {} of {criteria} acceptance criteria with evidence; missing in its `criteria`: {}",
        criteria - open.len(),
        open.join(", ")
    );
    Err(unproved(reason))
}

/// Runs gates in the attempt's workspace, in order; the first that is red is named, with the outcome.
pub(crate) fn run_gates(run: &mut Run, baseline: Option<&Baseline>, names: &[String]) -> Result<(), (String, Outcome)> {
    for name in names {
        let stopped = run.stop_outcome().map_or(Ok(()), Err);
        stopped.and_then(|()| run_gate(run, baseline, name)).map_err(|outcome| (name.clone(), outcome))?;
    }
    Ok(())
}

/// Runs one gate; where it is red, finds out whether that says anything of the work.
fn run_gate(run: &mut Run, baseline: Option<&Baseline>, name: &str) -> Result<(), Outcome> {
    let config = run.shared.gate(name).cloned().ok_or_else(|| Outcome::failed(Class::Config, gate::unknown(name)))?;
    let cwd = run.assignment.workspace.clone();
    let ran = gate::execute(run, name, &config, &cwd, "")?;
    if ran.ok {
        return Ok(());
    }
    let strange = ran.cannot || environment::no_room_inside(&ran.tail, ran.confined).is_some();
    let tail = if ran.tail.is_empty() { String::new() } else { format!("; its last lines:\n{}", ran.tail) };
    // What is shown in one line is cut at its end: why it failed comes before what stands around it.
    let why =
        text::telling(&ran.tail).filter(|line| !ran.tail.lines().next().is_some_and(|first| first.contains(line)));
    let why = why.map(|line| format!(": {}", text::cut(line, 200))).unwrap_or_default();
    let words = format!("{GATE}{name}` {}{why}{tail}", ran.words);
    let role = run.shared.role().clone();
    match baseline::ask(run, baseline, name, &config, strange)? {
        Verdict::Red { commit, words } => Err(Outcome::failed(
            Class::Environment,
            format!(
                "the gate `{name}` {words}, also on {commit}, on which nobody has worked yet: it says nothing about the \
                 work. Make it green there, or, where it is meant to be red until a task is done, set \
                 `baseline = \"skip\"` in [gates.{name}]; then: agentctl fleet start {role}"
            ),
        )),
        Verdict::Unknown if strange => {
            Err(Outcome::failed(Class::Environment, format!("{words}\nafter mending it: agentctl fleet start {role}")))
        }
        Verdict::Green | Verdict::Unknown => Err(Outcome::failed(Class::GateFailed, words)),
    }
}

/// Takes in what the agent did in a repository of its own, however the attempt ended.
pub(crate) fn take_in(run: &mut Run, workspace: &Workspace, outcome: Outcome) -> (Outcome, TakenIn) {
    let shared = Arc::clone(&run.shared);
    match run.beside(|| workspace.take_in(&shared.setup.layout, &shared.setup.config.workspace)) {
        Ok(taken) => (outcome, taken.unwrap_or_default()),
        Err(error) => {
            let id = &run.assignment.task.id;
            log::error!(task = id.as_str(); "{id}: what its agent committed is not taken in yet: failed to {}", chain(&error));
            match error {
                // Judged with what else it did.
                WorkspaceError::Git(GitError::NotOurs { .. }) => {
                    (outcome, TakenIn { wrong: Some(chain(&error)), ..TakenIn::default() })
                }
                error if outcome.is_success() => (broken(&error), TakenIn::default()),
                _ => (outcome, TakenIn::default()),
            }
        }
    }
}

/// Checks what was done in a worktree, and commits what is left there: who says done without a change has no proof.
pub(crate) fn check_tree(
    run: &mut Run,
    workspace: &Workspace,
    taken: &TakenIn,
    outcome: &Outcome,
) -> Result<(), Outcome> {
    let wrong = taken.wrong.clone();
    if let Some(why) = wrong.or_else(|| run.beside(|| workspace.verify()).err().map(|error| chain(&error))) {
        return Err(unproved(format!("what the agent did in its worktree does not count as work: {why}")));
    }
    let known = run.snapshot.history.task(&run.assignment.task.id);
    // What an attempt made that was interrupted is this one's as well: nobody has judged it yet.
    let first = known.and_then(|known| known.unjudged.as_ref()).filter(|(role, _)| role == run.shared.role());
    let first = first.map_or(run.lease().token, |(_, first)| *first);
    let after_conflict = known.is_some_and(|known| known.conflicts > 0);
    let token = run.lease().token;
    let evidence = run.beside(|| match first == token {
        true => workspace.evidence(),
        false => workspace.evidence_since(first),
    });
    let evidence = evidence.map_err(|error| broken(&error))?;
    if let Some(midway) = evidence.midway.or(taken.midway) {
        return Err(unproved(format!("the agent left {midway} half done in the worktree")));
    }
    if run.shared.setup.role.change && evidence.known {
        // Whoever resolves a conflict may keep every line of its own: that it took the other side in is the work.
        let worked = evidence.is_work() || after_conflict && evidence.took_in;
        judge_change(outcome, worked, &evidence.changed, evidence.apart != Some(0)).map_err(|refused| {
            let least = run.shared.setup.config.workspace.disk_min.min(LEAST_ROOM);
            match prune::room(workspace.path(), least) {
                Ok(()) => and_left_out(refused, &evidence.left_out),
                Err(error) => Outcome::failed(Class::Environment, format!("failed to {}", chain(&error))),
            }
        })?;
    }
    let out = |name: &String| format!("{name} (too large, or a repository of its own: no part of the change)");
    let left_out: Vec<String> = evidence.left_out.iter().map(out).collect();
    let look_at = [evidence.risky, left_out.clone()].concat();
    if !look_at.is_empty() {
        let (id, all) = (&run.assignment.task.id, text::one_line(&look_at.join(", ")));
        log::warn!(task = id.as_str(); "{id}: look at these before you merge: {all}");
    }
    run.record.found.risky.extend(look_at);
    run.record.found.beside.extend(left_out);
    if !run.commits() {
        return Ok(());
    }
    if evidence.dirty {
        let role = &run.assignment.rule.role;
        let author = Author::of(run.shared.setup.config.workspace.author.as_deref(), role);
        let title = text::cut(&text::one_line(&run.assignment.task.title), 60);
        let message = format!("{}: {title}", run.assignment.task.id);
        let trailers = trailers(&run.assignment.lease);
        run.beside(|| workspace.commit_rest(&message, &trailers, &author)).map_err(|error| broken(&error))?;
    }
    let unfinished = run.beside(|| workspace.unfinished_submodules()).map_err(|error| broken(&error))?;
    if run.shared.setup.role.change && !unfinished.is_empty() {
        let names = text::one_line(&unfinished.join(", "));
        let reason = format!(
            "these submodules hold changes that are not committed in them, and only committed work can be kept: {names}"
        );
        return Err(unproved(reason));
    }
    let published = run.shared.setup.config.merge.push.is_some();
    match run.beside(|| workspace.refuses(published)).map_err(|error| broken(&error))? {
        Some(reason) => Err(unproved(reason)),
        None => Ok(()),
    }
}

/// Records what happened beside the work while the agent worked, however the attempt ended.
pub(crate) fn note_beside(run: &mut Run, workspace: &Workspace, baseline: Option<&Baseline>) {
    let told = beside(run, workspace, baseline);
    if !told.is_empty() {
        let id = &run.assignment.task.id;
        log::warn!(task = id.as_str(); "{id}: besides its work: {}", text::one_line(&told.join(", ")));
    }
    run.record.found.risky.clone_from(&told);
    run.record.found.beside = told;
}

/// Lists what happened beside the work while the agent worked: to the target, and to its own task in the queue.
fn beside(run: &Run, workspace: &Workspace, baseline: Option<&Baseline>) -> Vec<String> {
    let mut told = Vec::new();
    let began = baseline.and_then(|baseline| baseline.target.clone());
    let now = workspace.target_commit().ok().flatten();
    if let (Some(began), Some(now), Some(git), Some(target)) = (began, now, workspace.git(), workspace.base_branch())
        && began != now
    {
        // What we merge ourselves names its task.
        let range = format!("{began}..{now}");
        let args = ["rev-list", "--first-parent", "--count", "--invert-grep", "--grep=^Oodatcaa-Task: ", &range];
        match git.run(&args).as_deref() {
            Ok("0") => {}
            Ok(count) => {
                let commits = text::many(count.parse().unwrap_or_default(), "commit");
                told.push(format!("{target} got {commits} that did not come from a merge of ours"));
            }
            Err(_) => told.push(format!("{target} was rewritten while the agent worked")),
        }
    }
    let mine = &run.assignment.task;
    let Ok(reading) = run.shared.store.read() else { return told };
    if let Some(task) = reading.snapshot.queue.get(&mine.id) {
        let members = [
            ("acceptance_criteria", task.acceptance_criteria != mine.acceptance_criteria),
            ("exit_gates", task.exit_gates != mine.exit_gates),
            ("gates", task.gates != mine.gates),
            ("role", task.role != mine.role),
            ("trusted", task.trusted != mine.trusted),
        ];
        let changed = members.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name);
        told.extend(changed.map(|name| format!("`{name}` of the task was changed while the agent worked")));
    }
    told
}

/// Checks what was done in a directory that attempts share, by what was there before.
pub(crate) fn check_directory(before: &Directory, outcome: &Outcome) -> Result<(), Outcome> {
    let changed = before.changed().map_err(|error| broken(&error))?;
    judge_change(outcome, !changed.is_empty(), &changed, true)
}

/// Adds to a refusal what was made and is no part of the change.
fn and_left_out(mut refused: Outcome, left_out: &[String]) -> Outcome {
    if let (Outcome::Failed { reason, .. }, false) = (&mut refused, left_out.is_empty()) {
        reason.push_str(&format!("; what could not be taken in: {}", text::one_line(&left_out.join(", "))));
    }
    refused
}

/// Checks that the agent's answer fits what was made: content, never the number of commits.
fn judge_change(outcome: &Outcome, worked: bool, changed: &[String], is_apart: bool) -> Result<(), Outcome> {
    let reason = match outcome {
        Outcome::Done { .. } if !worked => {
            "the agent said done and changed nothing; `no_change` is an outcome of its own".to_owned()
        }
        Outcome::Done { .. } if !is_apart => "the agent said done, and its branch holds nothing that the target does \
             not have; `no_change` is an outcome of its own"
            .to_owned(),
        Outcome::NoChange { .. } if !changed.is_empty() => {
            let (shown, more) = (changed.len().min(5), changed.len().saturating_sub(5));
            let more = if more == 0 { String::new() } else { format!(" and {more} more") };
            format!("the agent said no_change and changed {}{more}", changed[..shown].join(", "))
        }
        _ => return Ok(()),
    };
    Err(unproved(reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(criterion: usize, met: bool, evidence: &str) -> Answer {
        Answer { criterion, met, evidence: evidence.into() }
    }

    #[test]
    fn each_criterion_needs_an_answer_with_evidence() {
        let class = |answers: &[Answer]| match judge_criteria(2, answers) {
            Err(Outcome::Failed { class, reason, .. }) => Some((class, reason)),
            Err(other) => panic!("{other:?}"),
            Ok(()) => None,
        };
        let said = class(&[answer(2, true, "ran it"), answer(1, true, "  "), answer(7, true, "what?")]);
        let (class_of, reason) = said.expect("one is open");
        assert_eq!(class_of, Class::NoEvidence);
        assert!(reason.contains("1 of 2") && reason.ends_with("`criteria`: 1"), "{reason}");
        assert!(class(&[]).is_some());
        assert_eq!(class(&[answer(1, true, "ran it"), answer(2, true, "read it")]), None);
    }

    #[test]
    fn an_answer_that_says_no_sends_the_task_back_whatever_the_outcome_says() {
        let judged = judge_criteria(2, &[answer(1, true, "ran it"), answer(2, false, "hangs")]);
        assert_eq!(judged, Err(Outcome::NeedsAdapt { reason: "criterion 2 is not met: hangs".into() }));
    }
}
