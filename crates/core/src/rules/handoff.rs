//! Hand-offs: what follows on what happens, by rules of the configuration.
//!
//! Each rule has looked at the journal up to some event ([`crate::state::handoffs`]); its answer to the next one that it is
//! for, and the note that it has answered, are one commit, whichever worker looks first. So each is answered once.
//!
//! What a rule does may be answered by the next. A task that a rule made knows how many hand-offs led to it, and each rule
//! counts its answers for a task: at the bound nothing is done any more, and that is told.

use crate::{
    ChangeSet, Data, EventDraft, Role, Snapshot, Status, Task, TaskId, Workflow,
    deed::{Deed, Note},
    event::{Actor, payload::Handed},
    manual::{self, Wanted},
    placeholder,
    state::handoffs::{Happened, Looked, What},
    text,
    words::words,
};

/// The most answers of one rule for one task.
const MOST: u32 = 20;

/// The most answers of all rules in one look; the next look goes on.
const AT_ONCE: usize = 100;

/// The values that texts of a hand-off may name.
pub const PLACEHOLDERS: &[&str] = &["task", "title", "branch", "from", "to", "role", "kind", "text"];

words! {
    /// The kind of event that a hand-off answers.
    pub enum Topic {
        Created = "task.created": "A task that appeared.";
        Moved = "task.moved": "A task that came to another status, whoever moved it.";
        Sent = "message.sent": "A message that an agent or a rule sent.";
    }
}

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handoff {
    /// Its name.
    pub name: String,
    /// The events that it answers.
    pub on: On,
    /// Its answer.
    pub then: Deed,
}

/// The events that a rule answers. What is not said may be anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct On {
    /// The kind of event.
    pub topic: Topic,
    /// The status that the task came to, or the receiver of the message.
    pub to: Option<String>,
    /// The status that the task left.
    pub from: Option<String>,
    /// The role whose worker, or whose agent, did it.
    pub role: Option<String>,
    /// The type of the task, or the kind of the message.
    pub kind: Option<String>,
}

impl On {
    /// Says it in words, which change where it does.
    pub fn words(&self) -> String {
        let kind = if self.topic == Topic::Sent { "kind" } else { "type" };
        let parts = [("from", &self.from), ("to", &self.to), ("from_role", &self.role), (kind, &self.kind)];
        let parts = parts.into_iter().filter_map(|(key, value)| Some(format!(" {key}={}", value.as_ref()?)));
        std::iter::once(self.topic.to_string()).chain(parts).collect()
    }

    /// Tells whether something is what it is for.
    fn is(&self, happened: &Happened, task: Option<&Task>) -> bool {
        let is = |wanted: &Option<String>, word: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| word.is_some_and(|word| word.eq_ignore_ascii_case(wanted)))
        };
        let of_type = || is(&self.kind, task.and_then(|task| task.kind.as_deref()));
        let of_it = match (self.topic, &happened.what) {
            (Topic::Created, What::Created { to }) => is(&self.to, to.as_ref().map(Status::as_str)) && of_type(),
            (Topic::Moved, What::Moved { from, to }) => {
                let [from, to] = [from, to].map(|status| status.as_ref().map(Status::as_str));
                is(&self.from, from) && is(&self.to, to) && of_type()
            }
            (Topic::Sent, What::Sent { to, kind, .. }) => is(&self.to, Some(to)) && is(&self.kind, kind.as_deref()),
            _ => false,
        };
        of_it && is(&self.role, happened.role.as_ref().map(Role::as_str))
    }
}

impl Handoff {
    fn actor(&self) -> String {
        format!("handoff {}", self.name)
    }

    fn event(&self, data: fn(Handed) -> Data, said: Handed) -> EventDraft {
        let said = Handed { handoff: Some(self.name.clone()), ..said };
        EventDraft::new(data(said), Actor::Policy(self.actor()))
    }

    /// Decides what it does next.
    fn decide(&self, snapshot: &Snapshot, workflow: &Workflow) -> ChangeSet {
        let (known, on) = (&snapshot.history.handoffs, self.on.words());
        let before = known.rules.get(&self.name);
        let Some(looked) = before.filter(|looked| looked.on == on) else {
            if before.is_some_and(|looked| workflow.policy().is_older_than(looked.set_at, snapshot.now.wall)) {
                return ChangeSet::none();
            }
            let reason = if before.is_some() { "what it answers was changed" } else { "it is new" };
            let said = Handed { on: Some(on), reason: Some(reason.into()), ..Handed::default() };
            return ChangeSet::told([self.event(Data::HandoffSet, said)]);
        };
        let refused = |of: u64, reason: &str, task: Option<&TaskId>| {
            let said = Handed { of: Some(of), reason: Some(text::cut(reason, 500)), ..Handed::default() };
            let mut event = self.event(Data::HandoffRefused, said);
            event.task = task.cloned();
            ChangeSet::told([event])
        };
        if looked.upto < known.lost() {
            return refused(known.lost(), "more happened than is remembered, and nobody looked meanwhile", None);
        }
        let of = |happened: &Happened| happened.task.as_ref().and_then(|id| snapshot.queue.get(id));
        let Some(happened) = known.since(looked.upto).find(|happened| self.on.is(happened, of(happened))) else {
            return ChangeSet::none();
        };
        match self.answer(snapshot, workflow, happened, looked) {
            Ok((mut changes, said)) => {
                let mut event = self.event(Data::HandoffFired, Handed { of: Some(happened.seq), ..said });
                event.task.clone_from(&happened.task);
                changes.event(event);
                changes
            }
            Err(why) => refused(happened.seq, &why, happened.task.as_ref()),
        }
    }

    /// Does what it does on what happened. Says why not, where it cannot.
    fn answer(
        &self,
        snapshot: &Snapshot,
        workflow: &Workflow,
        happened: &Happened,
        looked: &Looked,
    ) -> Result<(ChangeSet, Handed), String> {
        let (id, most) = (happened.task.as_ref(), workflow.policy().bounds.handoffs);
        let (times, depth) = id.map_or((0, 0), |id| (looked.times(id), snapshot.history.handoffs.depth(id)));
        if times >= MOST {
            return Err(format!("it was answered {times} times for this task already"));
        }
        if depth >= most && self.then.task.is_some() {
            return Err(format!("{depth} hand-offs in a row led to this task, and limits.handoffs is {most}"));
        }
        let task = id.and_then(|id| snapshot.queue.get(id));
        let (actor, value) = (Actor::Policy(self.actor()), |name: &str| Some(value(name, happened, task)));
        let filled = |text: &str| placeholder::filled(text, &value).unwrap_or_default();
        let mut changes = ChangeSet::none();
        if let Some(to) = &self.then.to {
            let task = task.ok_or("the task that it would move is not in the queue")?;
            if let What::Created { to: Some(came) } | What::Moved { to: Some(came), .. } = &happened.what
                && *came != task.status
            {
                return Err(format!("{} is `{}` by now", task.id, task.status));
            }
            let reason = format!("hand-off {}", self.name);
            let moved = manual::move_to(snapshot, workflow, &task.id, to, Some(&reason), false, &actor);
            changes.then(moved.map_err(|refusal| refusal.to_string())?);
        }
        let mut made = None;
        if let Some(wanted) = &self.then.task {
            let new = self.id(happened, times)?;
            // A crash may have left it without the word in the journal.
            if snapshot.queue.get(&new).is_none() {
                let urgency = match &happened.what {
                    What::Sent { priority, .. } => priority.map(|priority| i64::from(priority) * 10),
                    _ => None,
                };
                let wanted = Wanted {
                    id: Some(new.to_string()),
                    title: text::cut(&text::one_line(&filled(&wanted.title)), Task::LONGEST_TITLE),
                    description: wanted.description.as_deref().map(filled),
                    priority: wanted.priority.or(urgency),
                    of: id.cloned(),
                    ..wanted.clone()
                };
                let added = manual::add(snapshot, workflow, &wanted, &actor);
                changes.then(added.map_err(|refusal| refusal.to_string())?);
            }
            made = Some(new);
        }
        if let Some(note) = &self.then.message {
            changes.event(Note { text: filled(&note.text), ..note.clone() }.send(&self.actor(), id));
        }
        let said = Handed {
            did: Some(self.then.words()),
            depth: made.as_ref().map(|_| u64::from(depth) + 1),
            made: made.map(|id| id.to_string()),
            ..Handed::default()
        };
        Ok((changes, said))
    }

    /// Returns the id of the task that it makes: the same whoever makes it, so that none is made twice.
    fn id(&self, happened: &Happened, times: u32) -> Result<TaskId, String> {
        let of = happened.task.as_ref().map_or_else(|| happened.seq.to_string(), ToString::to_string);
        let again = if times == 0 { String::new() } else { format!("-{}", times + 1) };
        let id = format!("{}-{of}{again}", self.name);
        TaskId::parse(&id).map_err(|bad| format!("the id {id:?} of the task that it would make {bad}"))
    }
}

/// Returns what a placeholder stands for; nothing where it has no value.
fn value(name: &str, happened: &Happened, task: Option<&Task>) -> String {
    let of_task = |member: fn(&Task) -> Option<&str>| task.and_then(member).map(String::from);
    let word = |status: &Option<Status>| status.as_ref().map(ToString::to_string);
    let value = match (name, &happened.what) {
        ("task", _) => happened.task.as_ref().map(ToString::to_string),
        ("title", _) => of_task(|task| Some(&task.title)),
        ("branch", _) => of_task(|task| task.branch.as_deref()),
        ("role", _) => happened.role.as_ref().map(ToString::to_string),
        ("from", What::Moved { from, .. }) => word(from),
        ("to", What::Created { to } | What::Moved { to, .. }) => word(to),
        ("to", What::Sent { to, .. }) => Some(to.clone()),
        ("kind", What::Sent { kind, .. }) => kind.clone(),
        ("kind", _) => of_task(|task| task.kind.as_deref()),
        ("text", What::Sent { text, .. }) => Some(text.clone()),
        _ => None,
    };
    value.unwrap_or_default()
}

/// Answers what has happened, rule by rule, each in the order in which it happened.
pub fn decide(snapshot: &Snapshot, workflow: &Workflow) -> ChangeSet {
    let mut all: Option<(Snapshot, ChangeSet)> = None;
    let mut left = AT_ONCE;
    for rule in &workflow.policy().handoffs {
        while left > 0 {
            let changes = rule.decide(all.as_ref().map_or(snapshot, |(seen, _)| seen), workflow);
            if changes.is_empty() {
                break;
            }
            let (seen, said) = all.get_or_insert_with(|| (snapshot.clone(), ChangeSet::none()));
            seen.advance(&changes);
            said.then(changes);
            left -= 1;
        }
    }
    all.map(|(_, said)| said).unwrap_or_default()
}

#[cfg(test)]
mod tests;
