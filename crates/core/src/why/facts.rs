//! What was looked at for an answer, thing by thing.

use super::Fact;
use crate::{
    Snapshot, Task, Workflow, claim, pool,
    text::{self, one_line},
};

pub(super) fn facts(snapshot: &Snapshot, workflow: &Workflow, task: &Task) -> Vec<Fact> {
    let mut facts = Vec::new();
    let mut say = |ok: Option<bool>, text: String| facts.push(Fact { ok, text });
    if task.status.is_finished() {
        return facts;
    }
    for name in &task.dependencies {
        match snapshot.queue.find(name) {
            Some(other) => {
                let status = one_line(other.status.as_str());
                say(Some(other.status.is_done()), format!("dependency {} is {status}", other.id));
            }
            None => say(Some(false), format!("dependency `{}` is not in the queue", one_line(name))),
        }
    }
    match snapshot.leases.get(&task.id) {
        Some(held) => say(Some(false), format!("leased by {} (token {})", one_line(held.owner()), held.token())),
        None => say(Some(true), "no lease".into()),
    }
    for rule in workflow.taking(&task.status) {
        let (wip, limit) = (claim::wip(snapshot, rule), workflow.wip_limit(&snapshot.queue, &rule.role));
        say(Some(wip < limit), format!("{} WIP {wip}/{limit}", rule.role));
        match snapshot.history.paused(&rule.role) {
            Some(pause) => say(Some(false), format!("{} is paused: {}", rule.role, one_line(&pause.reason))),
            None => say(Some(true), format!("{} is not paused", rule.role)),
        }
    }
    if task.attempts > 0 {
        say(None, format!("{} charged in this stage", text::many(task.attempts as usize, "attempt")));
    }
    if pool::is_retry(snapshot, task) {
        for (role, special) in
            workflow.taking(&task.status).filter_map(|rule| workflow.policy().on_retry.get_key_value(&rule.role))
        {
            say(
                None,
                format!(
                    "it has failed before, so {} works on it next (roles.{role}.on_retry)",
                    special.agents.join(" or ")
                ),
            );
        }
    }
    let bounds = &workflow.policy().bounds;
    match snapshot.starts(task, bounds) {
        0 => {}
        starts => say(Some(starts < bounds.starts), format!("{starts} of {} starts of agents used", bounds.starts)),
    }
    if let Some(known) = snapshot.history.task(&task.id) {
        for (role, reason) in &known.failures {
            say(None, format!("{role} failed: {}", text::cut(&one_line(reason), 200)));
        }
    }
    facts
}
