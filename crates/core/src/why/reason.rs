//! The rule that holds a task, in one sentence.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::{Cause, Explainer, NOTHING, Why, why};
use crate::{
    Role, RoleRule, Snapshot, Status, Task, TaskId, Workflow,
    budget::{self, Stop},
    claim::{self, Obstacle},
    coordinate,
    decision::{self, Hold},
    hours, landing,
    lease::LeaseHealth,
    pool,
    queue::Waits,
    state::{
        self, Pause, TaskHistory,
        decisions::{Decision, Topic},
    },
    succession,
    text::{cut, duration, one_line},
    time::stamp,
};

pub(super) fn main_reason(seen: &Explainer<'_>, task: &Task) -> Why {
    let answer = reason(seen, task);
    match broken(seen.workflow) {
        // Whatever waits for a worker waits for one that can start.
        Some(broken) if answer.next.starts_with("agentctl fleet start") && answer.person != Some(Cause::Config) => {
            Why { sentence: format!("{}; but {}", answer.sentence, broken.sentence), ..broken }
        }
        _ => answer,
    }
}

/// Says why no worker can start, where the configuration is broken.
pub(crate) fn broken(workflow: &Workflow) -> Option<Why> {
    let broken = workflow.policy().broken.as_deref()?;
    let sentence = format!("no worker can start until the configuration is mended: {}", cut(&one_line(broken), 1_000));
    Some(why("failure", sentence, "agentctl doctor (after mending it)").needs(Cause::Config))
}

fn reason(seen: &Explainer<'_>, task: &Task) -> Why {
    let (snapshot, workflow) = (seen.snapshot, seen.workflow);
    let id = &task.id;
    if task.status.is_done() {
        let Some(doubt) = snapshot.history.task(id).and_then(TaskHistory::doubt) else {
            return why("ready", "it is done", NOTHING);
        };
        let next = format!("agentctl task move {id} {} --force --reason \"…\" (if it is not)", workflow.work());
        return why("ready", format!("it is done; {doubt}"), next);
    }
    if task.status == Status::CANCELLED {
        let Some(commit) = landing::merged(snapshot, task) else {
            return why("ready", "it was cancelled", format!("agentctl task retry {id} (to bring it back)"));
        };
        let sentence = format!("it was cancelled after it had been merged as {commit}, and its work is in the target");
        let take_back = landing::take_back(workflow, &commit);
        let next = format!("take it back: {take_back}; or leave it: agentctl task done {id} --reason \"…\"");
        return why("merge", sentence, next);
    }
    if let Some(role) = workflow.working(&task.status) {
        return working(snapshot, task, &role.role);
    }
    if let Some(held) = snapshot.leases.get(id) {
        let sentence = format!("it is `{}`, and {} still holds a lease on it", task.status, one_line(held.owner()));
        let next = format!("agentctl lease list (a live attempt ends by itself; else agentctl lease release {id})");
        return why("lease", sentence, next);
    }
    let takers: Vec<&RoleRule> = workflow.rules().iter().filter(|rule| rule.takes == task.status).collect();
    if !takers.is_empty() {
        return taken_by(seen, task, &takers);
    }
    if task.status == Status::BLOCKED {
        return blocked(snapshot, workflow, task);
    }
    if workflow.is_planned(&task.status) {
        return parent(snapshot, workflow, task);
    }
    if task.status == Status::NEEDS_MANUAL
        && let Some(decision) = decision::open_for(snapshot, task)
    {
        let question = cut(&one_line(&decision.question), 500);
        let sentence = format!("an agent asks a human: {question} ({}{})", decision.id, until(decision));
        let next = format!("agentctl answer {} TEXT", decision.id);
        return why("result", sentence, next).needs(Cause::Decision(decision.id.clone()));
    }
    if task.status == Status::NEEDS_MANUAL || task.status == Status::FAILED {
        let reason = task.blocked_reason.as_deref().map_or("no reason is written down".into(), one_line);
        let next = format!("agentctl task retry {id} (or cancel it)");
        return why("failure", format!("a human must act: {reason}"), next).needs_act_on(id);
    }
    let sentence = match workflow.knows(&task.status) {
        true => format!("no role takes `{}`", task.status),
        false => {
            let words: Vec<String> = workflow.statuses().iter().map(Status::to_string).collect();
            let (status, known) = (one_line(task.status.as_str()), words.join(", "));
            format!("its status `{status}` is unknown, so no role takes it; known are {known}")
        }
    };
    why("ready", sentence, format!("agentctl task move {id} STATUS")).needs_act_on(id)
}

fn working(snapshot: &Snapshot, task: &Task, role: &Role) -> Why {
    let id = &task.id;
    let start = format!("agentctl fleet start {role} (if none runs)");
    let Some(held) = snapshot.leases.get(id) else {
        let what = "nobody holds a lease on it; the next worker that looks gives it back";
        return why("agreement", format!("it is `{}` but {what}", task.status), start);
    };
    let owner = one_line(held.owner());
    match (held.health(&snapshot.now), held.ours()) {
        (LeaseHealth::Live, Some(lease)) => {
            let since = (snapshot.now.wall - lease.started_at).to_std().unwrap_or_default();
            let beat = Duration::from_secs(lease.silence(&snapshot.now).as_secs());
            let what = if lease.simulated { "simulated attempt" } else { "attempt" };
            let sentence = format!(
                "{owner} works on it ({what} {}, pid {}) for {}, heartbeat {} ago",
                lease.attempt,
                lease.pid,
                duration(since),
                duration(beat)
            );
            why("lease", sentence, format!("agentctl logs {id} -f"))
        }
        (LeaseHealth::Live, None) => {
            why("lease", format!("{owner} holds a lease on it until its TTL is over"), NOTHING)
        }
        (LeaseHealth::Dead(reason) | LeaseHealth::Lost(reason), _) => {
            let sentence = format!("its owner {owner} is gone ({reason}); the next worker that looks gives it back");
            why("rescue", sentence, start)
        }
    }
}

fn taken_by<'a>(seen: &Explainer<'a>, task: &Task, takers: &[&'a RoleRule]) -> Why {
    let (id, snapshot, workflow) = (&task.id, seen.snapshot, seen.workflow);
    if let Some(behind) = seen.behind() {
        let sentence = format!("claiming is stopped, an old queue file was put back: {}", behind.reason);
        return why("tokens", sentence, "agentctl queue repair").needs(Cause::Queue);
    }
    if succession::is_over(snapshot) {
        return why("sprint", succession::over(snapshot), "agentctl sprint new").needs(Cause::Queue);
    }
    let hours = workflow.policy().hours.as_ref();
    if let Some((until, hours)) = hours::closed(hours, snapshot.now.wall).zip(hours) {
        let left = duration((until - snapshot.now.wall).to_std().unwrap_or_default());
        let sentence =
            format!("it is outside of the fleet's hours ({hours}); new work begins at {} (in {left})", stamp(until));
        return why("ready", sentence, "nothing to do, or change [fleet] hours");
    }
    // With several takers the first that nothing keeps from it answers, else the first.
    let of = |rule: &&'a RoleRule| (*rule, claim::obstacle(snapshot, workflow, rule, task));
    let (rule, obstacle) =
        takers.iter().map(of).find(|(_, obstacle)| obstacle.is_none()).unwrap_or_else(|| of(&takers[0]));
    // While its role is paused, or none can start, no time that comes moves it.
    if let Some(Obstacle::NotBefore(_) | Obstacle::Paced(..)) | None = obstacle {
        let pause = snapshot.history.paused(&rule.role).map(|pause| paused(&rule.role, pause));
        if let Some(answer) = pause.or_else(|| broken(workflow)) {
            return answer;
        }
    }
    let in_time = |time: DateTime<Utc>| {
        let left = (time - snapshot.now.wall).to_std().unwrap_or_default();
        format!("{} (in {})", stamp(time), duration(left))
    };
    match obstacle {
        Some(Obstacle::Leased(owner)) => {
            why("lease", format!("{} holds a lease on it", one_line(&owner)), format!("agentctl lease release {id}"))
        }
        Some(Obstacle::Marked(text)) => {
            let sentence = format!("its `lease` member says {:?}, which no worker of ours wrote", one_line(&text));
            why("ready", sentence, format!("agentctl lease release {id} (clears it)")).needs_act_on(id)
        }
        Some(Obstacle::OtherRole(role)) => {
            let (role, status) = (one_line(&role), &task.status);
            let sentence = format!("it is only for the role `{role}`, and `{status}` is taken by `{}`", rule.role);
            why("ready", sentence, format!("agentctl task move {id} STATUS")).needs_act_on(id)
        }
        Some(Obstacle::Waits(waits)) => waiting(id, &waits),
        Some(Obstacle::Decision(hold)) => held(snapshot, task, &hold),
        Some(Obstacle::Budget(stop)) => used_up(&stop),
        Some(Obstacle::Spent(starts)) => {
            let limit = "which is the limit; the next worker that looks asks you";
            let next = format!("agentctl task retry {id} (allows as many again)");
            why("bounds", format!("its agents were started {starts} times, {limit}"), next).needs_act_on(id)
        }
        Some(Obstacle::Checked(checks)) => {
            let limit = "which is the limit; the next worker that looks asks you";
            let next = format!("agentctl task retry {id} (allows as many again)");
            why("bounds", format!("roles without an agent tried it {checks} times, {limit}"), next).needs_act_on(id)
        }
        Some(Obstacle::Paced(time, starts)) => {
            let limit = workflow.policy().bounds.starts;
            let sentence = format!(
                "its agents were started {starts} times ({limit} is the limit), so the next start waits until {}",
                in_time(time)
            );
            why("bounds", sentence, format!("agentctl task retry {id} (to try now, and count anew)"))
        }
        Some(Obstacle::NotBefore(time)) => {
            let mut sentence = format!("it is tried again at {}", in_time(time));
            let known = snapshot.history.task(id);
            let failed = || known.and_then(|known| known.failures.last()).map(|(_, reason)| reason.as_str());
            let trouble = || known.and_then(|known| known.trouble.as_deref());
            if let Some(reason) = task.blocked_reason.as_deref().or_else(trouble).or_else(failed) {
                sentence.push_str(&format!(", after: {}", one_line(reason)));
            }
            in_vain(snapshot, task, why("failure", sentence, format!("agentctl task retry {id} (to try now)")))
        }
        None => {
            let answer = claimable(seen, task, rule);
            let (urged, conflicts) = (urged(snapshot, task), after_conflicts(snapshot, task));
            in_vain(snapshot, task, Why { sentence: format!("{}{urged}{conflicts}", answer.sentence), ..answer })
        }
    }
}

/// Shows a person what has been in the way of a task again and again, who may know that it never goes away; the task is
/// tried all the same.
fn in_vain(snapshot: &Snapshot, task: &Task, answer: Why) -> Why {
    let id = &task.id;
    let times = snapshot.history.task(id).map_or(0, |known| known.waits);
    if times < state::PATIENCE || answer.person.is_some() {
        return answer;
    }
    let reason = task.blocked_reason.as_deref().map_or_else(String::new, |reason| format!(": {}", one_line(reason)));
    let sentence = format!("something was in its way {times} times in a row, and it is tried again and again{reason}");
    why("failure", sentence, format!("agentctl task retry {id} (after mending the cause)")).needs_act_on(id)
}

/// Returns what is added for a task that goes before others for the sake of another one.
fn urged(snapshot: &Snapshot, task: &Task) -> String {
    let by = snapshot.queue.urged_by(task);
    by.map(|by| format!("; it goes before others because {} (priority {}) waits for it", by.id, by.priority))
        .unwrap_or_default()
}

/// Returns what is added for a task that came back from its merge.
fn after_conflicts(snapshot: &Snapshot, task: &Task) -> String {
    let times = snapshot.history.task(&task.id).map_or(0, |known| known.conflicts);
    match (&task.blocked_reason, times) {
        (Some(reason), 1..) => {
            let times = if times == 1 { String::new() } else { format!(" {times} times, the last time") };
            format!("; it came back from its merge{times}: {}", cut(&one_line(reason), 300))
        }
        _ => String::new(),
    }
}

fn claimable<'a>(seen: &Explainer<'a>, task: &Task, rule: &'a RoleRule) -> Why {
    let (role, snapshot) = (&rule.role, seen.snapshot);
    if let Some(stop) = budget::of_role_stop(snapshot, seen.workflow, role).filter(|_| !rule.duty.agentless) {
        return used_up(&stop);
    }
    let known = snapshot.history.roles.get(role).filter(|_| seen.workflow.starts_agent(rule, task));
    let pools = known.map(|known| known.pools.as_slice()).unwrap_or_default();
    if let Some(limited) = pool::limited(snapshot, pools.iter().map(String::as_str)) {
        let left = limited.until.map(|until| (until - snapshot.now.wall).to_std().unwrap_or_default());
        let left = left.map(|left| format!(" (in {})", duration(left))).unwrap_or_default();
        let next = format!("nothing to do, or agentctl agent reopen {} (if you know that it is back)", limited.pool);
        return why("failure", format!("no agent of `{role}` can work{left}: {limited}"), next);
    }
    let line = seen.line(rule);
    let (wip, limit) = (line.wip, seen.workflow.wip_limit(&snapshot.queue, role));
    if wip >= limit {
        let sentence = format!("the WIP limit of `{role}` is reached ({wip} of {limit})");
        let next = match snapshot.queue.wip_limit(role) {
            0 => "raise `wip_limits` in the queue file".to_owned(),
            asked if asked > limit => {
                let more = format!("the queue allows {asked}; more than {limit} counts in a trusted project");
                format!("agentctl config trust ({more})")
            }
            _ => NOTHING.to_owned(),
        };
        return why("limit", sentence, next);
    }
    let ahead = line.places.get(&task.id).copied().unwrap_or_default();
    let room = usize::try_from(limit - wip).unwrap_or(usize::MAX);
    let next = format!("agentctl fleet start {role} (if none runs)");
    match ahead {
        n if n < room && rule.duty.agentless => {
            let sentence = format!("it is claimable; a worker of `{role}` runs its gates next, without an agent");
            why("ready", sentence, next)
        }
        n if n < room => why("ready", format!("it is claimable; a worker of `{role}` takes it next"), next),
        1 => why("ready", format!("it is claimable, 1 task is before it in the order of `{role}`"), next),
        n => why("ready", format!("it is claimable, {n} tasks are before it in the order of `{role}`"), next),
    }
}

/// Says why nothing of a role moves while it is paused.
pub(crate) fn paused(role: &Role, pause: &Pause) -> Why {
    let sentence = format!("the role `{role}` is paused ({}): {}", pause.class, one_line(&pause.reason));
    let next = match pause.class.as_str() {
        Pause::ASKED => format!("agentctl fleet resume {role}"),
        _ => format!("agentctl fleet start {role} (after mending the cause)"),
    };
    why("failure", sentence, next).needs(Cause::Role(role.clone()))
}

fn until(decision: &Decision) -> String {
    let time = decision.deadline.map(|time| time.format("%Y-%m-%d %H:%M UTC"));
    time.map(|time| format!("; without an answer it is rejected at {time}")).unwrap_or_default()
}

fn held(snapshot: &Snapshot, task: &Task, hold: &Hold) -> Why {
    let decision = hold.decision.as_deref().and_then(|id| snapshot.history.decisions.get(id));
    let asked = decision.map(|decision| format!(" ({}{})", decision.id, until(decision))).unwrap_or_default();
    let name = decision.map_or(task.id.as_str(), |decision| &decision.id);
    let cause = decision.map_or(Cause::Task(task.id.clone()), |decision| Cause::Decision(decision.id.clone()));
    let (rule, sentence) = match hold.topic {
        Topic::Intake => {
            let what = "no agent sees it before a human approves";
            ("prompt", format!("its text comes from {}; {what}{asked}", task.source_words()))
        }
        _ => ("ready", format!("a human must approve it before it is merged{asked}")),
    };
    why(rule, sentence, format!("agentctl approve {name} (or reject it)")).needs(cause)
}

fn used_up(stop: &Stop) -> Why {
    let (next, cause) = match &stop.decision {
        Some(id) => (format!("agentctl approve {id} (allows the same amount again)"), Cause::Decision(id.clone())),
        None => (format!("raise [budget.{}] in .oodatcaa/config.toml", stop.scope), Cause::Budget(stop.scope)),
    };
    why("failure", stop.to_string(), next).needs(cause)
}

fn waiting(id: &TaskId, waits: &Waits) -> Why {
    let (sentence, next) = match waits {
        Waits::No => return why("ready", "nothing holds it", NOTHING),
        Waits::On(other, status) => {
            let sentence = format!("it waits for {other}, which is `{}`", one_line(status.as_str()));
            return why("ready", sentence, format!("agentctl why {other}"));
        }
        Waits::OnCancelled(other) => (
            format!("it depends on {other}, which was cancelled; a human must decide"),
            format!("agentctl task retry {other}, or: agentctl task dep rm {id} {other}"),
        ),
        Waits::OnMissing(name) => (
            format!("it depends on `{}`, which is not in the queue", one_line(name)),
            format!("agentctl task dep rm {id} {} (or add a task with that id)", one_line(name)),
        ),
        Waits::InCycle(way) => {
            let (this, next) = (&way.way[0], way.way.get(1).unwrap_or(&way.way[0]));
            (format!("it waits for itself: {way}"), format!("agentctl task dep rm {this} {next}"))
        }
    };
    why("coordination", sentence, next).needs_act_on(id)
}

fn blocked(snapshot: &Snapshot, workflow: &Workflow, task: &Task) -> Why {
    let id = &task.id;
    let reason = task.blocked_reason.as_deref().filter(|reason| !reason.trim().is_empty());
    let stuck = match reason {
        Some(reason) => Some(format!("it is blocked: {}", one_line(reason))),
        None if coordinate::unblocks_itself(task) => None,
        None => {
            Some("it is blocked without a reason and without dependencies, so nothing can unblock it by itself".into())
        }
    };
    if let Some(sentence) = stuck {
        return why("coordination", sentence, format!("agentctl task unblock {id}")).needs_act_on(id);
    }
    match snapshot.queue.waits(task) {
        Waits::No => {
            let to = workflow.start(task, &snapshot.queue);
            let sentence = format!("every dependency is done; the next worker that looks makes it `{to}`");
            why("coordination", sentence, "agentctl fleet start (if no worker runs)")
        }
        waits => waiting(id, &waits),
    }
}

fn parent(snapshot: &Snapshot, workflow: &Workflow, task: &Task) -> Why {
    let (id, all) = (&task.id, snapshot.queue.children(&task.id).len());
    let mut open = snapshot.queue.children(id).filter(|child| !child.status.is_finished());
    match open.next() {
        None if all == 0 => {
            let sentence = "it is planned, but no task names it as its parent, so nothing will finish it";
            let next = format!("agentctl task move {id} {} (or done --reason …)", workflow.work());
            why("coordination", sentence, next).needs_act_on(id)
        }
        None => {
            let sentence = "its children are all finished; the next worker that looks moves it on";
            why("coordination", sentence, "agentctl fleet start (if no worker runs)")
        }
        Some(first) => {
            let (status, open) = (one_line(first.status.as_str()), open.count() + 1);
            let sentence = format!("it waits for {open} of its {all} children, the first is {} (`{status}`)", first.id);
            why("coordination", sentence, format!("agentctl why {}", first.id))
        }
    }
}
