//! Two edits of one queue that did not know of each other, taken together: somebody else's, and what has come to the
//! file since they read it.
//!
//! Only for an edit that was written into a file which was no longer the queue; every other one is read where it is.

use serde_json::{Map, Value};

use super::{
    body,
    style::{self, Style},
};
use oodatcaa_core::Member;

/// Merges into the current text what somebody changed between `base` and `theirs`; `None` when that changes nothing. Where
/// both changed the same member theirs counts, as in any file that they wrote last.
pub(crate) fn merged(base: &str, theirs: &str, current: &str) -> serde_json::Result<Option<String>> {
    let value = |text: &str| serde_json::from_str::<Value>(body(text));
    let (base, theirs, now) = (value(base)?, value(theirs)?, value(current)?);
    let merged = both(Some(&base), Some(&theirs), Some(&now)).unwrap_or(Value::Null);
    // Spans cannot be kept here, since both sides have changed; the style can.
    let style = Style::of(body(current), style::is_escaped(current)).filter(|_| merged != now);
    let end = if current.ends_with('\n') { "\n" } else { "" };
    Ok(style.map(|style| style.value(&merged, style.outer()) + end))
}

/// Returns what somebody changed, without what their copy of the queue was too old to have: entries of ours and members of
/// anybody's that it lacks, and our members of entries that bear another stamp than the base's. That they lack it is no
/// edit.
pub(crate) fn without_what_is_old(base: &str, theirs: &str) -> serde_json::Result<String> {
    let value = |text: &str| serde_json::from_str::<Value>(body(text));
    let (base, mut theirs) = (value(base)?, value(theirs)?);
    bring_up(&base, &mut theirs);
    Ok(theirs.to_string())
}

fn bring_up(base: &Value, theirs: &mut Value) {
    match (base, theirs) {
        (Value::Object(base), Value::Object(theirs)) => {
            let is_task = id_of(&Value::Object(base.clone())).is_some();
            if is_task && base.get("updated_at") != theirs.get("updated_at") {
                // Another stamp: what they have of our members is from before our last change.
                for key in Member::of_rules().map(Member::as_str) {
                    match base.get(key) {
                        Some(value) => drop(theirs.insert(key.into(), value.clone())),
                        None => drop(theirs.remove(key)),
                    }
                }
            }
            for (key, value) in base {
                match theirs.get_mut(key) {
                    Some(there) => bring_up(value, there),
                    // Another's edit that was taken in meanwhile, for one.
                    None => drop(theirs.insert(key.clone(), value.clone())),
                }
            }
        }
        (Value::Array(base), Value::Array(theirs)) if are_tasks(base) && are_tasks(theirs) => {
            for (at, task) in base.iter().enumerate() {
                match theirs.iter_mut().find(|there| id_of(there) == id_of(task)) {
                    Some(there) => bring_up(task, there),
                    // Entries that we added since they read the file are no entries that they removed.
                    None => theirs.insert(at.min(theirs.len()), task.clone()),
                }
            }
        }
        _ => {}
    }
}

fn both(base: Option<&Value>, theirs: Option<&Value>, now: Option<&Value>) -> Option<Value> {
    if theirs == base || theirs == now {
        return now.cloned();
    }
    if now == base {
        return theirs.cloned();
    }
    match (theirs, now) {
        (Some(Value::Object(theirs)), Some(Value::Object(now))) => {
            let empty = Map::new();
            Some(Value::Object(members(base.and_then(Value::as_object).unwrap_or(&empty), theirs, now)))
        }
        (Some(Value::Array(theirs)), Some(Value::Array(now))) if are_tasks(theirs) && are_tasks(now) => {
            Some(Value::Array(tasks(base.and_then(Value::as_array).map_or(&[][..], Vec::as_slice), theirs, now)))
        }
        // What they took out and we have changed since stays.
        (None, _) => now.cloned(),
        _ => theirs.cloned(),
    }
}

fn members(base: &Map<String, Value>, theirs: &Map<String, Value>, now: &Map<String, Value>) -> Map<String, Value> {
    // In the order of the file as it is; what is new to it comes last.
    let keys = now.keys().chain(theirs.keys().filter(|key| !now.contains_key(*key)));
    let one = |key: &String| match (key.as_str(), now.get(key)) {
        // The stamp tells which of our changes are in the entry, and they all are.
        ("updated_at", Some(stamp)) => Some(stamp.clone()),
        (_, value) => both(base.get(key), theirs.get(key), value),
    };
    keys.filter_map(|key| Some((key.clone(), one(key)?))).collect()
}

fn tasks(base: &[Value], theirs: &[Value], now: &[Value]) -> Vec<Value> {
    let find = |list: &[Value], id: &str| list.iter().position(|task| id_of(task) == Some(id));
    let get = |list: &'_ [Value], id: &str| find(list, id).map(|at| list[at].clone());
    let id = |task: &Value| id_of(task).unwrap_or_default().to_owned();
    let kept =
        now.iter().filter_map(|task| both(get(base, &id(task)).as_ref(), get(theirs, &id(task)).as_ref(), Some(task)));
    let new = theirs.iter().filter(|task| find(now, &id(task)).is_none() && find(base, &id(task)).is_none());
    kept.chain(new.cloned()).collect()
}

fn id_of(task: &Value) -> Option<&str> {
    task.get("id")?.as_str()
}

fn are_tasks(list: &[Value]) -> bool {
    list.iter().all(|task| id_of(task).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_edits_are_in_the_text_and_ours_keeps_its_stamp() {
        let base = r#"{"tasks":[{"id":"A","status":"ready","n":1},{"id":"B","status":"ready"}],"x":1}"#;
        let theirs = r#"{"tasks":[{"id":"A","status":"ready","n":2,"updated_at":"old"},{"id":"C"}],"x":2}"#;
        let ours = "{\n    \"tasks\": [{\"id\": \"A\", \"status\": \"done\", \"n\": 1, \"updated_at\": \"new\"}, {\"id\": \"B\", \"status\": \"ready\"}, {\"id\": \"D\"}], \"x\": 1}\n";
        let text = merged(base, theirs, ours).expect("JSON").expect("a change");
        let value: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(
            value,
            serde_json::json!({"tasks": [{"id": "A", "status": "done", "n": 2, "updated_at": "new"}, {"id": "D"}, {"id": "C"}], "x": 2})
        );
        assert!(text.starts_with("{\n    \"tasks\"") && text.ends_with("}\n"), "{text}");
        assert_eq!(merged(base, base, ours).expect("JSON"), None);
    }

    #[test]
    fn a_decision_of_theirs_about_a_status_stands() {
        let of = |status: &str| format!(r#"{{"tasks":[{{"id":"A","status":"{status}"}}]}}"#);
        assert_eq!(merged(&of("ready"), &of("cancelled"), &of("done")).expect("JSON"), Some(of("cancelled")));
    }

    #[test]
    fn what_a_copy_was_too_old_to_have_is_no_edit_of_its_writer() {
        let base = r#"{"other":true,"tasks":[{"id":"A","status":"in_progress","lease":"w#1","n":1,"updated_at":"2"},{"id":"B"},{"id":"C","status":"ready","updated_at":"1"}]}"#;
        let theirs = r#"{"mine":1,"tasks":[{"id":"A","status":"ready","n":2},{"id":"C","status":"cancelled","updated_at":"1"}]}"#;
        let theirs = without_what_is_old(base, theirs).expect("JSON");
        let value: Value =
            serde_json::from_str(&merged(base, &theirs, base).expect("JSON").expect("a change")).expect("JSON");
        assert_eq!(
            value,
            serde_json::json!({"other": true, "mine": 1, "tasks": [
                {"id": "A", "status": "in_progress", "lease": "w#1", "n": 2, "updated_at": "2"},
                {"id": "B"},
                {"id": "C", "status": "cancelled", "updated_at": "1"},
            ]})
        );
    }
}
