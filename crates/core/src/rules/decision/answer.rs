//! What a human's word on a decision does. It counts once, and for the content that was asked about.

use serde_json::Value;

use super::ask;
use crate::{
    ChangeSet, Data, Edit, Member, Snapshot, Status, Workflow,
    event::{Actor, payload::Decided},
    rules::question::{aside, ended},
    state::decisions::{Closed, Decision, End, Topic},
    text,
    time::stamp,
};

/// A human's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word<'a> {
    /// Yes.
    Approve,
    /// No, for this reason.
    Reject(&'a str),
    /// An answer, or the number of one that was offered.
    Answer(&'a str),
}

/// The reason why a word does not count; a sentence of its own.
#[expect(missing_docs, reason = "the sentence says what each field is")]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No such decision, and no such task.
    #[error("there is no decision `{0}`")]
    Unknown(String),
    /// The task waits for nobody.
    #[error("nothing about {0} waits for a decision")]
    Nothing(String),
    /// The task waits for several.
    #[error("{task} waits for several decisions: {}", ids.join(", "))]
    Several { task: String, ids: Vec<String> },
    /// Somebody, or the deadline, was faster.
    #[error("{id} was {} by {} at {}{}", closed.how.as_str(), closed.by, stamp(closed.at), said(closed))]
    Closed { id: String, closed: Closed },
    /// Its subject has changed.
    #[error("what {id} was about has changed since it was asked{}", newer.as_deref().map(|id| format!("; it is asked again as {id}")).unwrap_or_default())]
    Changed { id: String, newer: Option<String> },
    /// It is about another commit than somebody wanted.
    #[error("{id} is about {}, not about {wanted}", commit.as_deref().unwrap_or("no commit"))]
    OtherCommit { id: String, commit: Option<String>, wanted: String },
    /// Its deadline is over, and its default holds.
    #[error("the deadline of {0} is over, so it was rejected")]
    Overdue(String),
    /// A question wants an answer, not a yes.
    #[error("{0} is a question; it needs an answer, not an approval")]
    WantsAnswer(String),
    /// It can only be approved or rejected.
    #[error("{0} can be approved or rejected, not answered")]
    WantsYesOrNo(String),
    /// The number of an answer that was not offered.
    #[error("{id} offers {} answers, and {number} is none of them", options.len())]
    NoOption { id: String, number: usize, options: Vec<String> },
    /// Nothing was said.
    #[error("an answer, and the reason of a rejection, cannot be empty")]
    Empty,
    /// An agent, or something that it started.
    #[error("only a human may decide, and this was called from within an agent's attempt")]
    NotHuman,
}

fn said(closed: &Closed) -> String {
    if closed.words.is_empty() { String::new() } else { format!(" ({})", text::one_line(&closed.words)) }
}

/// Returns the open decision that somebody named by its id, or by the task that has only one.
pub fn find<'a>(snapshot: &'a Snapshot, name: &str) -> Result<&'a Decision, Refusal> {
    let decisions = &snapshot.history.decisions;
    if let Some(decision) = decisions.get(name) {
        return match &decision.closed {
            None => Ok(decision),
            Some(closed) => Err(match newer(snapshot, decision).filter(|_| closed.how == End::Withdrawn) {
                Some(newer) => Refusal::Changed { id: decision.id.clone(), newer: Some(newer) },
                None => Refusal::Closed { id: decision.id.clone(), closed: closed.clone() },
            }),
        };
    }
    let open: Vec<&Decision> = decisions.open().into_iter().filter(|decision| decision.subject == name).collect();
    match open.as_slice() {
        [one] => Ok(one),
        [] if snapshot.queue.find(name).is_some() => Err(Refusal::Nothing(name.into())),
        [] => Err(Refusal::Unknown(name.into())),
        several => {
            let ids = several.iter().map(|decision| decision.id.clone()).collect();
            Err(Refusal::Several { task: name.into(), ids })
        }
    }
}

/// Returns the open decision that was asked in the place of another.
fn newer(snapshot: &Snapshot, decision: &Decision) -> Option<String> {
    let latest = snapshot.history.decisions.latest(&decision.subject, decision.topic);
    latest.filter(|latest| latest.is_open()).map(|latest| latest.id.clone())
}

/// Passes on a change set of [`resolve`], if the yes in it is about the commit that begins so.
pub fn pinned(changes: ChangeSet, commit: Option<&str>) -> Result<ChangeSet, Refusal> {
    let resolved = changes.events.iter().rev().find_map(|event| match &event.data {
        Data::DecisionResolved(decided) => Some(decided),
        _ => None,
    });
    let (Some(wanted), Some(decided)) = (commit, resolved) else { return Ok(changes) };
    let same = |commit: &String| commit.starts_with(&wanted.to_ascii_lowercase());
    if wanted.len() >= 4 && decided.commit.as_ref().is_some_and(same) {
        return Ok(changes);
    }
    let (id, commit) = (decided.decision.clone().unwrap_or_default(), decided.commit.clone());
    Err(Refusal::OtherCommit { id, commit, wanted: wanted.into() })
}

/// Applies a human's word to the decision that `name` names: an id, or a task with only one open.
///
/// The inbox is put right first, so that a word never counts for something else than was asked. A
/// decision that is named by its id must have been asked before; a task's may be asked just now.
pub fn resolve(
    snapshot: &Snapshot,
    workflow: &Workflow,
    name: &str,
    word: Word<'_>,
    actor: &Actor,
) -> Result<ChangeSet, Refusal> {
    if !matches!(actor, Actor::Human(_)) {
        return Err(Refusal::NotHuman);
    }
    let before = snapshot.history.decisions.get(name);
    let inbox = snapshot.chain(&mut [&mut |seen| ask::tidy(seen, workflow), &mut |seen| ask::ask(seen, workflow)]);
    let seen = snapshot.after(&inbox);
    if before.is_none() && seen.history.decisions.get(name).is_some() {
        return Err(Refusal::Unknown(name.into()));
    }
    if let Some(before) = before.filter(|before| before.is_open()) {
        let after = seen.history.decisions.get(name);
        if after.is_some_and(|after| after.ended(End::Expired)) {
            return Err(Refusal::Overdue(name.into()));
        }
        if after.is_none_or(|after| !after.is_open()) {
            return Err(Refusal::Changed { id: name.into(), newer: newer(&seen, before) });
        }
    }
    let decision = find(&seen, name)?;
    let mut changes = inbox;
    changes.then(apply(&seen, workflow, decision, word, actor)?);
    Ok(changes)
}

fn apply(
    snapshot: &Snapshot,
    workflow: &Workflow,
    decision: &Decision,
    word: Word<'_>,
    actor: &Actor,
) -> Result<ChangeSet, Refusal> {
    let mut changes = ChangeSet::none();
    let resolved = |how, said| ended(decision, how, actor.clone(), said);
    let task = decision.task.as_ref().and_then(|id| snapshot.queue.get(id));
    match (word, decision.topic) {
        (Word::Approve, Topic::Question) => return Err(Refusal::WantsAnswer(decision.id.clone())),
        (Word::Approve, _) => {
            let (content, commit) = (Some(decision.content.clone()), decision.commit.clone());
            changes.event(resolved(End::Approved, Decided { content, commit, ..Decided::default() }));
        }
        (Word::Reject(reason), topic) => {
            let reason = reason.trim();
            if reason.is_empty() {
                return Err(Refusal::Empty);
            }
            let said = Decided { reason: Some(text::cut(reason, 2_000)), ..Decided::default() };
            changes.event(resolved(End::Rejected, said));
            if let Some(task) = task {
                changes.change(&snapshot.now, task, turned_down(workflow, topic, reason, actor));
            }
        }
        (Word::Answer(words), Topic::Question) => {
            let answer = chosen(decision, words)?;
            let said = Decided { answer: Some(text::cut(&answer, 4_000)), ..Decided::default() };
            changes.event(resolved(End::Answered, said));
            if let Some(task) = task {
                let back = decision.back.clone().unwrap_or_else(|| workflow.start(task, &snapshot.queue));
                let edit = Edit::by(actor.clone()).verb("answer").to(&back).set(Member::BlockedReason, Value::Null);
                let reason = format!("{} was answered", decision.id);
                changes.change(&snapshot.now, task, edit.reason(reason.as_str()));
            }
        }
        (Word::Answer(_), _) => return Err(Refusal::WantsYesOrNo(decision.id.clone())),
    }
    Ok(changes)
}

/// Returns where a task goes about which a human said no, and what is said of it there.
fn turned_down(workflow: &Workflow, topic: Topic, reason: &str, actor: &Actor) -> Edit {
    let parked = Status::NEEDS_MANUAL;
    let (to, what) = match topic {
        Topic::Merge => (workflow.merging().map_or(parked, |rule| rule.failed.clone()), "did not approve the merge"),
        Topic::Intake => (Status::CANCELLED, "did not let it in"),
        Topic::Question => (parked, "did not answer the agent's question"),
        Topic::Budget => (parked, "allowed it no further budget"),
    };
    aside(&to, &format!("{actor} {what}: {reason}"), actor.clone())
}

/// Returns the answer that was meant: a number picks one that was offered.
fn chosen(decision: &Decision, words: &str) -> Result<String, Refusal> {
    let words = words.trim();
    if words.is_empty() {
        return Err(Refusal::Empty);
    }
    match words.parse::<usize>() {
        Ok(number) if !decision.options.is_empty() => {
            let picked = number.checked_sub(1).and_then(|at| decision.options.get(at));
            let (id, options) = (decision.id.clone(), decision.options.clone());
            picked.cloned().ok_or(Refusal::NoOption { id, number, options })
        }
        _ => Ok(words.into()),
    }
}
