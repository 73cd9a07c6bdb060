//! Why a task does not move: one computed sentence that names the rule that holds it, the same on every surface.

use std::{
    cell::{OnceCell, RefCell},
    collections::{BTreeMap, HashMap},
    rc::Rc,
};

use crate::{
    Role, RoleRule, Snapshot, Task, TaskId, Workflow, claim, external_edits, pool,
    text::{self, one_line},
};

mod reason;

use reason::main_reason;
pub(crate) use reason::{broken, paused};

/// An answer to "why".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Why {
    /// The sentence.
    pub sentence: String,
    /// The rule that holds it, e.g. `limit`.
    pub rule: &'static str,
    /// The facts that were looked at.
    pub facts: Vec<Fact>,
    /// The next step: a command, or `nothing to do`.
    pub next: String,
    /// The cause that a person must act on before it moves; `None` while it moves by itself.
    pub person: Option<Cause>,
}

/// Something that waits for a person; the same for every task that it holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// The configuration, which cannot be used.
    Config,
    /// The queue file as a whole.
    Queue,
    /// A role that is paused.
    Role(Role),
    /// A worker that was given up, by its name.
    Worker(String),
    /// An agent that workers cannot use, by its name.
    Agent(String),
    /// An open decision, by its id.
    Decision(String),
    /// A budget or bound that is used up, by its scope.
    Budget(&'static str),
    /// One task alone.
    Task(TaskId),
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// `true` where it lets the task go; `None` for mere information.
    pub ok: Option<bool>,
    /// In words.
    pub text: String,
}

const NOTHING: &str = "nothing to do";

fn why(rule: &'static str, sentence: impl Into<String>, next: impl Into<String>) -> Why {
    Why { sentence: sentence.into(), rule, facts: Vec::new(), next: next.into(), person: None }
}

impl Why {
    /// Marks it as something for a person to act on.
    fn needs(self, cause: Cause) -> Self {
        Self { person: Some(cause), ..self }
    }

    /// Marks it as something that a person does to the task.
    fn needs_act_on(self, task: &TaskId) -> Self {
        self.needs(Cause::Task(task.clone()))
    }
}

/// Explains many tasks of one snapshot: what is the same for all of them is looked at once.
#[derive(Debug)]
pub struct Explainer<'a> {
    snapshot: &'a Snapshot,
    workflow: &'a Workflow,
    behind: OnceCell<Option<external_edits::Behind>>,
    lines: RefCell<BTreeMap<&'a Role, Rc<Line<'a>>>>,
}

/// The tasks that wait for a role, and the used part of its limit.
#[derive(Debug)]
struct Line<'a> {
    wip: u32,
    places: HashMap<&'a TaskId, usize>,
}

impl<'a> Explainer<'a> {
    /// Explains the tasks of this snapshot.
    pub fn new(snapshot: &'a Snapshot, workflow: &'a Workflow) -> Self {
        Self { snapshot, workflow, behind: OnceCell::new(), lines: RefCell::default() }
    }

    /// Explains one of them.
    pub fn explain(&self, task: &Task) -> Why {
        let mut answer = main_reason(self, task);
        answer.facts = facts(self.snapshot, self.workflow, task);
        answer
    }

    /// Returns the sentence, the next step and the cause, without the facts.
    pub fn briefly(&self, task: &Task) -> Why {
        main_reason(self, task)
    }

    fn behind(&self) -> Option<&external_edits::Behind> {
        self.behind.get_or_init(|| external_edits::behind(self.snapshot)).as_ref()
    }

    fn line(&self, rule: &'a RoleRule) -> Rc<Line<'a>> {
        let look = || {
            let places = claim::candidates(self.snapshot, self.workflow, rule)
                .into_iter()
                .map(|task| &task.id)
                .zip(0..)
                .collect();
            Rc::new(Line { wip: claim::wip(self.snapshot, rule), places })
        };
        self.lines.borrow_mut().entry(&rule.role).or_insert_with(look).clone()
    }
}

/// Lists what was looked at for an answer, thing by thing.
fn facts(snapshot: &Snapshot, workflow: &Workflow, task: &Task) -> Vec<Fact> {
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
        let on_retry = &workflow.policy().on_retry;
        for (role, special) in workflow.taking(&task.status).filter_map(|rule| on_retry.get_key_value(&rule.role)) {
            let who = special.agents.join(" or ");
            say(None, format!("it has failed before, so {who} works on it next (roles.{role}.on_retry)"));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Holder, LeaseRecord, LeaseState, Status,
        tests::{id, now_at, snapshot, task, with_limit},
    };

    fn said(snapshot: &Snapshot, name: &str) -> (String, &'static str) {
        let workflow = Workflow::shipped();
        let why = Explainer::new(snapshot, &workflow).explain(snapshot.queue.find(name).expect("there"));
        (why.sentence, why.rule)
    }

    #[test]
    fn every_status_has_a_sentence() {
        let mut words = Workflow::shipped().statuses();
        words.push(Status::new("odd"));
        for status in words {
            let (sentence, _) = said(&snapshot(vec![task("A", status.clone())]), "A");
            assert!(!sentence.is_empty(), "{status}");
        }
    }

    #[test]
    fn the_sentence_names_what_holds() {
        let mut tasks = vec![task("A", Status::READY), task("B", Status::IN_PROGRESS)];
        tasks[0].dependencies = vec!["B".into()];
        assert_eq!(said(&snapshot(tasks.clone()), "A"), ("it waits for B, which is `in_progress`".into(), "ready"));
        tasks[0].dependencies.clear();
        assert_eq!(
            said(&snapshot(tasks.clone()), "A"),
            ("the WIP limit of `builder` is reached (1 of 1)".into(), "limit")
        );
        let wide = with_limit(snapshot(tasks.clone()), &Role::BUILDER, 2);
        assert_eq!(said(&wide, "A").0, "it is claimable; a worker of `builder` takes it next");
        tasks[0].not_before = Some(now_at(1_090).wall);
        let wide = with_limit(snapshot(tasks), &Role::BUILDER, 2);
        assert_eq!(said(&wide, "A").0, "it is tried again at 2026-01-05T08:18:10.000Z (in 1m30s)");
    }

    #[test]
    fn a_working_task_says_who_and_since_when() {
        let mut before = snapshot(vec![task("A", Status::IN_PROGRESS)]);
        let lease = crate::tests::lease("A", &Role::BUILDER, 1);
        before.leases.insert(id("A"), LeaseState { record: LeaseRecord::Ours(lease), holder: Holder::Alive });
        before.now = now_at(1_010);
        assert_eq!(
            said(&before, "A"),
            ("w@h works on it (attempt 1, pid 7) for 10s, heartbeat 10s ago".into(), "lease")
        );
    }

    #[test]
    fn hostile_words_do_not_reach_the_sentence() {
        let mut tasks = vec![task("A", Status::BLOCKED)];
        tasks[0].blocked_reason = Some("\x1b]0;owned\x07".into());
        assert!(!said(&snapshot(tasks), "A").0.contains('\x1b'));
    }
}
