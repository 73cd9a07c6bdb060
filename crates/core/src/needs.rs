//! Who waits for a person, and for what command: one list, from which every surface takes its answer.
//!
//! A task waits for a person when nothing but a person's act moves it on ([`Explainer`] says so, sentence by
//! sentence); tasks that wait for the same thing are one entry. What nobody waits for yet but stops work as
//! well, a paused role or a queue file that cannot be read, stands there too.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::{
    Role, Snapshot, TaskId, Workflow, external_edits,
    state::{
        Failed,
        decisions::{Decision, Topic},
    },
    text::{many, one_line},
    why::{self, Cause, Explainer, Why},
};

/// One thing that a person has to do something about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need<'a> {
    /// Its subject.
    pub cause: Cause,
    /// The sentence.
    pub words: String,
    /// The command that goes on, or the words about it.
    pub next: String,
    /// The decision, where one is asked for.
    pub decision: Option<&'a Decision>,
    /// The time of its beginning, where that is known.
    pub since: Option<DateTime<Utc>>,
    /// The tasks that wait for it, in the order of the file.
    pub tasks: Vec<&'a TaskId>,
}

impl Need<'_> {
    fn new(cause: Cause, words: String, next: impl Into<String>) -> Self {
        Self { cause, words, next: next.into(), decision: None, since: None, tasks: Vec::new() }
    }

    /// Returns the name by which a person speaks of it: of the decision or of the task, `role:NAME`, `queue`.
    pub fn id(&self) -> String {
        self.names().1
    }

    /// Returns its kind in one word: that of the decision, or `config`, `queue`, `paused`, `worker`, `agent`, `budget`, `task`.
    pub fn kind(&self) -> &'static str {
        self.decision.map_or(self.names().0, |decision| decision.topic.as_str())
    }

    fn names(&self) -> (&'static str, String) {
        match &self.cause {
            Cause::Config => ("config", "config".into()),
            Cause::Queue => ("queue", "queue".into()),
            Cause::Role(role) => ("paused", format!("role:{role}")),
            Cause::Worker(name) => ("worker", format!("worker:{name}")),
            Cause::Agent(name) => ("agent", format!("agent:{name}")),
            Cause::Decision(id) => ("task", id.clone()),
            Cause::Budget(scope) => ("budget", format!("budget:{scope}")),
            Cause::Task(id) => ("task", id.to_string()),
        }
    }

    /// Returns the role that it is about.
    pub fn role(&self) -> Option<&Role> {
        match &self.cause {
            Cause::Role(role) => Some(role),
            _ => self.decision.and_then(|decision| decision.role.as_ref()),
        }
    }

    /// Returns the task that it is about, where it is one alone.
    pub fn task(&self) -> Option<&TaskId> {
        match &self.cause {
            Cause::Task(id) => Some(id),
            _ => self.decision.and_then(|decision| decision.task.as_ref()),
        }
    }
}

/// Lists what waits for a person: a broken configuration, the queue as a whole, paused roles, agents that cannot be
/// used, decisions (the oldest first), budgets, tasks (in the order of the file). `invalid` says why the queue file
/// cannot be read, while it cannot.
pub fn list<'a>(snapshot: &'a Snapshot, workflow: &'a Workflow, invalid: Option<&str>) -> Vec<Need<'a>> {
    let explainer = Explainer::new(snapshot, workflow);
    let mut waiting: BTreeMap<Cause, (Why, Vec<&TaskId>)> = BTreeMap::new();
    let mut in_order = Vec::new();
    for task in snapshot.queue.tasks().filter(|task| !task.status.is_finished()) {
        let why = explainer.briefly(task);
        let Some(cause) = why.person.clone() else { continue };
        let entry = waiting.entry(cause.clone()).or_insert_with(|| {
            in_order.push(cause);
            (why, Vec::new())
        });
        entry.1.push(&task.id);
    }
    let mut needs: Vec<Need<'a>> = Vec::new();
    needs.extend(why::broken(workflow).map(|why| Need::new(Cause::Config, why.sentence, why.next)));
    let mut queue = |words, next: &str| needs.push(Need::new(Cause::Queue, words, next));
    if let Some(invalid) = invalid {
        queue(format!("the queue file cannot be read: {}", one_line(invalid)), "agentctl queue validate");
    }
    if let Some(behind) = external_edits::behind(snapshot) {
        let words = format!("claiming is stopped, an old queue file was put back: {}", behind.reason);
        queue(words, "agentctl queue repair");
    }
    if let Some(first) = snapshot.queue.problems.first() {
        let more = match snapshot.queue.problems.len() - 1 {
            0 => String::new(),
            more => format!("; and {}", many(more, "more problem")),
        };
        queue(format!("the queue file: {}{more}", one_line(&first.to_string())), "agentctl queue validate");
    }
    for (role, known) in &snapshot.history.roles {
        let Some(pause) = &known.paused else { continue };
        let why = why::paused(role, pause);
        let need = Need::new(Cause::Role(role.clone()), why.sentence, why.next);
        needs.push(Need { since: Some(pause.since), ..need });
    }
    needs.extend(given_up(snapshot));
    needs.extend(lacking(snapshot));
    for decision in snapshot.history.decisions.open() {
        let next = match decision.topic {
            Topic::Question => format!("agentctl answer {} TEXT", decision.id),
            _ => format!("agentctl approve {}", decision.id),
        };
        let mut words = decision.question.clone();
        if let Some(by) = &decision.unsigned {
            words.push_str(&format!(" (the journal has a yes of {by} that is not signed by you and does not count)"));
        }
        let need = Need::new(Cause::Decision(decision.id.clone()), words, next);
        needs.push(Need { decision: Some(decision), since: Some(decision.asked_at), ..need });
    }
    for need in &mut needs {
        need.tasks = waiting.remove(&need.cause).map(|(_, tasks)| tasks).unwrap_or_default();
    }
    for cause in in_order {
        let Some((why, tasks)) = waiting.remove(&cause) else { continue };
        needs.push(Need { tasks, ..Need::new(cause, why.sentence, why.next) });
    }
    needs
}

/// Returns the workers that their supervisor has given up.
fn given_up<'a>(snapshot: &Snapshot) -> Vec<Need<'a>> {
    let roles = snapshot.history.roles.iter();
    let all = roles.flat_map(|(role, known)| known.failed.iter().map(move |(name, failed)| (role, name, failed)));
    let need = |(role, name, failed): (&Role, &String, &Failed)| {
        let words = format!("the worker `{}` is given up: {}", one_line(name), one_line(&failed.why));
        let next = format!("agentctl fleet start {role} (after mending it)");
        let need = Need::new(Cause::Worker(name.clone()), words, next);
        Need { since: Some(failed.since), ..need }
    };
    all.map(need).collect()
}

/// Returns the agents that workers were started without: they work with the others of their role.
fn lacking<'a>(snapshot: &Snapshot) -> Vec<Need<'a>> {
    let mut agents: BTreeMap<&str, (&str, Vec<&str>)> = BTreeMap::new();
    for (role, known) in &snapshot.history.roles {
        for (agent, why) in known.lacks.values().flatten() {
            let (_, roles) = agents.entry(agent).or_insert((why, Vec::new()));
            if !roles.contains(&role.as_str()) {
                roles.push(role.as_str());
            }
        }
    }
    let need = |(agent, (why, roles)): (&str, (&str, Vec<&str>))| {
        let words = format!("`{}` works without `{}`: {}", roles.join("`, `"), one_line(agent), one_line(why));
        let next = format!("agentctl fleet restart {} (after mending it)", roles.join(" "));
        Need::new(Cause::Agent(agent.into()), words, next)
    };
    agents.into_iter().map(need).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Status,
        state::{self, Pause, RoleHistory},
        tests::{id, now_at, snapshot, task, with_limit},
    };
    use std::sync::Arc;

    fn seen(snapshot: &Snapshot) -> Vec<(String, &'static str, usize)> {
        let workflow = Workflow::shipped();
        list(snapshot, &workflow, None).iter().map(|need| (need.id(), need.kind(), need.tasks.len())).collect()
    }

    #[test]
    fn a_paused_role_waits_for_a_person_also_while_its_task_waits_for_a_time_or_there_is_none() {
        let mut all = snapshot(vec![task("A", Status::READY), task("B", Status::READY), task("C", Status::BLOCKED)]);
        assert_eq!(seen(&all), [("C".into(), "task", 1)]);
        let paused = Pause { class: "config".into(), reason: "no git".into(), since: now_at(5).wall };
        let mut role = |role: Role| {
            let known = RoleHistory { paused: Some(paused.clone()), ..RoleHistory::default() };
            Arc::make_mut(&mut all.history).roles.insert(role, known);
        };
        role(Role::BUILDER);
        role(Role::TESTER);
        let mut later = task("D", Status::READY);
        later.not_before = Some(now_at(9_000).wall);
        all.queue = Arc::new(crate::Queue::of(vec![task("A", Status::READY), later, task("C", Status::BLOCKED)]));
        let expected =
            [("role:builder".into(), "paused", 2), ("role:tester".into(), "paused", 0), ("C".into(), "task", 1)];
        assert_eq!(seen(&all), expected);
        let workflow = Workflow::shipped();
        assert_eq!(list(&all, &workflow, None)[0].next, "agentctl fleet start builder (after mending the cause)");
    }

    #[test]
    fn what_was_in_the_way_again_and_again_is_told_and_tried_all_the_same() {
        let mut all = snapshot(vec![task("A", Status::READY)]);
        for (waits, told) in [(state::PATIENCE - 1, 0), (state::PATIENCE, 1)] {
            for not_before in [None, Some(now_at(9_000).wall)] {
                let mut task = task("A", Status::READY);
                (task.not_before, task.blocked_reason) = (not_before, Some("another git holds x.lock".into()));
                all.queue = Arc::new(crate::Queue::of(vec![task]));
                Arc::make_mut(&mut all.history).known(&id("A")).waits = waits;
                let workflow = Workflow::shipped();
                let listed = list(&all, &workflow, None);
                assert_eq!(listed.len(), told, "{waits}: {listed:?}");
                assert!(listed.iter().all(|need| need.words.contains("x.lock")), "{listed:?}");
            }
        }
    }

    #[test]
    fn what_moves_by_itself_waits_for_nobody() {
        let mut tasks = vec![task("A", Status::READY), task("B", Status::IN_PROGRESS), task("C", Status::READY)];
        tasks[2].dependencies = vec!["A".into()];
        assert_eq!(seen(&with_limit(snapshot(tasks), &Role::BUILDER, 2)), []);
    }

    #[test]
    fn what_nothing_can_free_waits_for_a_person() {
        let mut tasks = vec![
            task("A", Status::READY),
            task("B", Status::CANCELLED),
            task("C", Status::READY),
            task("D", Status::NEEDS_MANUAL),
            task("E", Status::new("odd")),
            task("F", Status::FAILED),
        ];
        tasks[0].dependencies = vec!["ghost".into()];
        tasks[2].dependencies = vec!["B".into()];
        let names: Vec<String> = seen(&snapshot(tasks)).into_iter().map(|(id, ..)| id).collect();
        assert_eq!(names, ["A", "C", "D", "E", "F"]);
    }

    #[test]
    fn every_task_that_a_person_must_free_is_in_the_list_with_what_to_run() {
        for status in Workflow::shipped().statuses() {
            let all = snapshot(vec![task("A", status.clone())]);
            let workflow = Workflow::shipped();
            let person = Explainer::new(&all, &workflow).briefly(all.queue.get(&id("A")).expect("there")).person;
            let listed = list(&all, &workflow, None);
            assert_eq!(person.is_some(), !listed.is_empty(), "{status}");
            assert!(listed.iter().all(|need| need.next.starts_with("agentctl ")), "{status}: {listed:?}");
        }
    }
}
