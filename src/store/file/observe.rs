//! What the queue shows and the journal does not tell: hand edits, and events that a crash swallowed (R3, R15).

use serde_json::{Map, Value};

use crate::{
    domain::{EventDraft, History, Kind, Queue, event::Actor},
    store::Invalid,
};

/// The events that make the journal agree with a queue.
pub(super) fn observations(queue: &Queue, history: &History) -> Vec<EventDraft> {
    let mut seen = Vec::new();
    if history.invalid.is_some() {
        seen.push(EventDraft::new(Kind::QueueValid, Actor::Outside));
    }
    if !history.baseline {
        let statuses: Map<String, Value> =
            queue.tasks().map(|task| (task.id.to_string(), task.status.as_str().into())).collect();
        seen.push(EventDraft::new(Kind::QueueValid, Actor::Outside).with("statuses", statuses));
        return seen;
    }
    for task in queue.tasks() {
        let draft = match history.task(&task.id).and_then(|known| known.status.as_ref()) {
            Some(status) if *status == task.status => continue,
            Some(status) => EventDraft::new(Kind::TaskObserved, Actor::Outside).with("from", status.as_str()),
            None => EventDraft::new(Kind::TaskCreated, Actor::Outside).with("title", task.title.as_str()),
        };
        seen.push(draft.task(&task.id).with("to", task.status.as_str()));
    }
    let mut gone: Vec<_> = history
        .tasks
        .iter()
        .filter_map(|(id, known)| known.status.as_ref().filter(|_| queue.get(id).is_none()).map(|status| (id, status)))
        .collect();
    gone.sort();
    for (id, status) in gone {
        let draft = EventDraft::new(Kind::TaskObserved, Actor::Outside).task(id).with("from", status.as_str());
        seen.push(draft.with("gone", true));
    }
    seen
}

/// The event that says why the queue cannot be read (R4).
pub(super) fn invalid(wrong: &Invalid) -> EventDraft {
    EventDraft::new(Kind::QueueInvalid, Actor::Outside)
        .with("line", wrong.line)
        .with("column", wrong.column)
        .with("message", wrong.message.as_str())
}

/// The event that says that an unfinished line was cut off the journal (R24).
pub(super) fn cut(bytes: u64) -> EventDraft {
    EventDraft::new(Kind::QueueValid, Actor::Policy("R24".into()))
        .with("note", format!("{bytes} bytes of an unfinished line were cut off the journal"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Event, Status, Task, TaskId};

    fn queue(tasks: &[(&str, Status)]) -> Queue {
        Queue::of(
            tasks.iter().map(|(id, status)| Task::new(TaskId::parse(id).expect("an id"), status.clone())).collect(),
        )
    }

    fn told(queue: &Queue, history: &mut History) -> Vec<String> {
        let drafts = observations(queue, history);
        let shown = drafts.iter().map(|draft| {
            let text = |key: &str| draft.data.get(key).map(ToString::to_string).unwrap_or_default();
            format!("{} {} {}→{}", draft.kind, draft.task.as_ref().map_or("", TaskId::as_str), text("from"), text("to"))
        });
        let shown = shown.collect();
        for draft in drafts {
            history.apply(&Event::number(draft, history.seq + 1, chrono::DateTime::UNIX_EPOCH, ""));
        }
        shown
    }

    #[test]
    fn the_first_queue_is_the_baseline() {
        let mut history = History::default();
        let queue = queue(&[("A", Status::READY)]);
        assert_eq!(told(&queue, &mut history), ["queue.valid  →"]);
        assert!(told(&queue, &mut history).is_empty());
    }

    #[test]
    fn edits_by_hand_are_told_once() {
        let mut history = History::default();
        told(&queue(&[("A", Status::READY), ("B", Status::READY)]), &mut history);
        let edited = queue(&[("A", Status::DONE), ("C", Status::BLOCKED)]);
        assert_eq!(
            told(&edited, &mut history),
            [r#"task.observed A "ready"→"done""#, r#"task.created C →"blocked""#, r#"task.observed B "ready"→"#]
        );
        assert!(told(&edited, &mut history).is_empty());
    }

    #[test]
    fn a_file_that_is_whole_again_is_told() {
        let mut history = History::default();
        let queue = queue(&[("A", Status::READY)]);
        told(&queue, &mut history);
        history.invalid = Some("not JSON".into());
        assert_eq!(told(&queue, &mut history), ["queue.valid  →"]);
        assert!(history.invalid.is_none());
    }
}
