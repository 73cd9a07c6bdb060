//! What holds for any queue text and any plan.

use std::path::Path;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    tests::{adding, assert_same, id, parse, set},
    *,
};
use oodatcaa_core::{self, ChangeSet, Snapshot, time::stamp};

/// Any JSON value as somebody may have written it.
fn raw_value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".into()),
        Just("1.50e+3".into()),
        Just("-0".into()),
        any::<i32>().prop_map(|n| n.to_string()),
        "[ -~äé😀\"\\\\\n]{0,8}".prop_map(|text| Value::String(text).to_string()),
        Just(r#""\u00e4\/\t""#.into()),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            (gap(), proptest::collection::vec(inner.clone(), 0..4))
                .prop_map(|(gap, all)| format!("[{gap}{}{gap}]", all.join(&format!("{gap},")))),
            (gap(), proptest::collection::vec(("[a-z]{1,3}", inner), 0..4)).prop_map(|(gap, all)| {
                let all: Vec<String> = all.iter().map(|(key, value)| format!("\"{key}\"{gap}: {value}")).collect();
                format!("{{{gap}{}}}", all.join(","))
            }),
        ]
    })
}

fn gap() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        Just(" ".into()),
        Just("\n    ".into()),
        Just("\r\n\t".into()),
        Just(" \n\n  ".into())
    ]
}

fn raw_task(at: usize) -> impl Strategy<Value = String> {
    let member = prop_oneof![
        4 => ("[xyz][a-z]{0,4}", raw_value()),
        1 => (Just("status".to_owned()), Just("\"ready\"".to_owned())),
        1 => (Just("lease".to_owned()), raw_value()),
        1 => (Just("branch".to_owned()), raw_value()),
        1 => (Just("attempts".to_owned()), raw_value()),
        1 => (Just("title".to_owned()), raw_value()),
    ];
    (gap(), gap(), gap(), proptest::collection::vec(member, 0..6), any::<bool>()).prop_map(
        move |(lead, colon, comma, members, nested)| {
            let mut all = vec![("id".to_owned(), format!("\"T{at}\""))];
            all.extend(members);
            if nested {
                all.push(("subtasks".into(), format!("[{lead}{{{lead}\"id\"{colon}:\"T{at}-1\"}}{lead}]")));
            }
            let all: Vec<String> = all.iter().map(|(key, value)| format!("\"{key}\"{colon}:{colon}{value}")).collect();
            format!("{{{lead}{}{lead}}}", all.join(&format!(",{comma}")))
        },
    )
}

fn raw_queue() -> impl Strategy<Value = String> {
    (gap(), gap(), [raw_task(0), raw_task(1), raw_task(2)], 0..4_usize, raw_value(), any::<bool>()).prop_map(
        |(lead, comma, tasks, count, other, after)| {
            let tasks = tasks[..count.min(3)].join(&format!(",{comma}"));
            let tasks = format!("\"tasks\": [{lead}{tasks}{lead}]");
            let counted = format!("\"metadata\":{lead}{{\"done_tasks\":{lead} 7}}");
            let members = if after { [tasks, counted] } else { [counted, tasks] };
            format!("{{{lead}\"other\":{other},{comma}{}{lead}}}\n", members.join(&format!("{lead},")))
        },
    )
}

fn any_plan() -> impl Strategy<Value = Vec<(usize, oodatcaa_core::Member, Value)>> {
    let member = prop_oneof![
        Just(oodatcaa_core::Member::Status),
        Just(oodatcaa_core::Member::Lease),
        Just(oodatcaa_core::Member::Attempts),
        Just(oodatcaa_core::Member::Branch),
        Just(oodatcaa_core::Member::UpdatedAt),
    ];
    (proptest::collection::vec((0..6_usize, member, any::<bool>(), "[a-zä\"]{0,6}"), 0..6)).prop_map(|edits| {
        let value = |member, null: bool, text: String| match member {
            oodatcaa_core::Member::Attempts => json!(text.len()),
            oodatcaa_core::Member::UpdatedAt => json!(stamp(chrono::DateTime::UNIX_EPOCH)),
            oodatcaa_core::Member::Status => json!(text),
            _ if null => Value::Null,
            _ => json!(text),
        };
        edits.into_iter().map(|(task, member, null, text)| (task, member, value(member, null, text))).collect()
    })
}

/// All values by their path, as they are written; objects and lists as their parts.
fn leaves(text: &str, path: &str, found: &mut Vec<(String, String)>) {
    match text.as_bytes()[0] {
        b'{' => {
            for (at, member) in json::members(text).expect("an object").iter().enumerate() {
                leaves(member.value, &format!("{path}/{at}:{}", member.key), found);
            }
        }
        b'[' => {
            for (at, element) in json::elements(text).expect("a list").iter().enumerate() {
                leaves(element, &format!("{path}/{at}"), found);
            }
        }
        _ => found.push((path.into(), text.into())),
    }
}

proptest! {
    #[test]
    fn editing_and_reading_can_be_exchanged(text in raw_queue(), edits in any_plan(), add in any::<bool>(), count in 0..9_u64) {
        let document = parse(&text);
        let mut changes = ChangeSet::none();
        for (task, member, value) in edits {
            let name = format!("T{}{}", task / 2, if task % 2 == 0 { "" } else { "-1" });
            if document.queue().find(&name).is_some() {
                changes.set(&id(&name), member, value);
            }
        }
        changes.counters.insert("done_tasks".into(), count);
        if add {
            let json = json!({"id": "N", "status": "ready", "x": [1, {"y": "ä"}], "z": {}});
            changes.add = adding("N", &json).add;
        }
        let edited = document.apply(&changes).expect("edited");
        let again = parse(edited.text());
        assert_same(&edited, &again);

        // Reading, then editing what was read, says the same.
        let snapshot = Snapshot {
            now: oodatcaa_core::Now::new(chrono::DateTime::UNIX_EPOCH, std::time::Duration::ZERO),
            queue: document.queue().clone(),
            leases: BTreeMap::new(),
            history: Arc::default(),
            beside: Default::default(),
            kept: Arc::default(),
        };
        let wanted = snapshot.after(&changes).queue;
        for (one, other) in wanted.tasks().zip(again.queue().tasks()) {
            prop_assert_eq!((&one.id, &one.status, &one.lease), (&other.id, &other.status, &other.lease));
            prop_assert_eq!((one.updated_at, one.nested, one.place), (other.updated_at, other.nested, other.place));
        }
        prop_assert_eq!(wanted.len(), again.queue().len());

        // What was not set stands as it was written.
        let (mut before, mut after) = (Vec::new(), Vec::new());
        leaves(text.trim_end(), "", &mut before);
        leaves(edited.text().trim_end(), "", &mut after);
        let writable = ["status", "lease", "attempts", "branch", "updated_at", "done_tasks"];
        let untouched = |(path, _): &&(String, String)| !writable.iter().any(|key| path.contains(&format!(":{key}")));
        let before: Vec<_> = before.iter().filter(untouched).collect();
        let after: Vec<_> = after.iter().filter(untouched).collect();
        for leaf in &before {
            prop_assert!(after.contains(leaf), "{:?} is gone", leaf);
        }
    }

    #[test]
    fn bytes_outside_the_edited_task_are_copied(text in raw_queue(), value in "[a-z]{0,9}") {
        let document = parse(&text);
        for (place, task) in document.queue().tasks().enumerate() {
            let edited = document.edited(&set(task.id.as_str(), oodatcaa_core::Member::Branch, value.as_str())).expect("edited");
            let span = document.parts.entries[place];
            prop_assert_eq!(&edited[..span.start], &text[..span.start]);
            prop_assert!(edited.ends_with(&text[span.end..]));
            // Back again: what was there before is there again, byte for byte.
            let members = json::members(span.in_text(&text)).expect("an object");
            if let Some(old) = json::last(&members, "branch").filter(|old| old.value.is_ascii() && !old.value.starts_with(['{', '[']))
                && let Ok(old_value) = serde_json::from_str::<Value>(old.value)
                && style::scalar(&old_value, false) == old.value
            {
                let back = parse(&edited).edited(&set(task.id.as_str(), oodatcaa_core::Member::Branch, old_value)).expect("edited");
                prop_assert_eq!(&back, &text);
            }
        }
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64), text in "[\\[\\]{}\",:a-z0-9 \\\\]{0,64}") {
        let _ = Document::from_bytes(Path::new("q"), bytes);
        let _ = Document::parse(Path::new("q"), text.clone());
        let _ = Document::parse(Path::new("q"), format!("{{\"tasks\":[{text}]}}"));
    }
}

/// Something that somebody may put into a queue file, whole or not.
fn snippet() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => Just(String::new()),
        2 => "[a-z\",:{}\\[\\] 05.]{1,3}",
        1 => Just(",".to_owned()),
        2 => Just("{\"id\": \"N1\"}".to_owned()),
        2 => Just(", {\"id\": \"N1\", \"status\": \"ready\"}".to_owned()),
        1 => Just("{\"id\": \"T1\"},".to_owned()),
        1 => Just("], \"x\": [".to_owned()),
        1 => Just("null,".to_owned()),
    ]
}

fn assert_reread(old: &str, new: String) {
    let anew = Document::parse(Path::new("q.json"), new.clone());
    match (parse(old).reread(new), anew) {
        (Ok(one), Ok(other)) => {
            assert_same(&one, &other);
            for task in other.queue().tasks() {
                assert_eq!(one.queue().get(&task.id), Some(task));
            }
        }
        (one, other) => assert_eq!(one.map(|_| ()), other.map(|_| ())),
    }
}

proptest! {
    #[test]
    fn reading_what_changed_is_reading_the_whole(
        text in raw_queue(), from in 0.0..1.0_f64, length in 0..40_usize, with in snippet()
    ) {
        let from = text.floor_char_boundary((from * text.len() as f64) as usize);
        let to = text.ceil_char_boundary((from + length).min(text.len()));
        assert_reread(&text, [&text[..from], &with, &text[to..]].concat());
    }

    #[test]
    fn tasks_added_removed_and_replaced_are_read_as_in_the_whole(
        texts in (raw_queue().boxed(), raw_queue().boxed()), range in (0..5_usize, 0..5_usize), with in snippet()
    ) {
        let (old, other) = (parse(&texts.0), parse(&texts.1));
        let entries: Vec<&str> = other.parts.entries.iter().map(|span| span.in_text(other.text())).collect();
        let (from, to) = (range.0.min(old.parts.entries.len()), range.1.min(old.parts.entries.len()));
        let at = |place: usize, end: bool| {
            old.parts.entries.get(place).map_or(old.parts.tasks.end - 1, |span| if end { span.end } else { span.start })
        };
        let (start, end) = (at(from, false), at(to, true).max(at(from, false)));
        for between in [with, entries.join(",").replace("\"T", "\"O")] {
            assert_reread(old.text(), [&old.text()[..start], &between, &old.text()[end..]].concat());
        }
    }
}
