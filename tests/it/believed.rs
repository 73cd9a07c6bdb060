//! In which order the queue, the journal and the attempts' directories are believed, with real workers.

use std::{
    collections::HashMap,
    fs,
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::support::{Project, eventually, patience};

#[test]
fn an_old_result_in_an_attempts_place_speaks_for_nobody() {
    let project = Project::that_succeeds();
    project.config("[roles.tester]\ncriteria = true");
    let criteria = json!(["it works"]);
    project.queue(json!([{"id": "A", "title": "t", "status": "awaiting_test", "acceptance_criteria": criteria}]));
    let old = project.path(".oodatcaa/runs/A/1");
    fs::create_dir_all(&old).expect("made");
    let said = json!({"outcome": "done", "summary": "verified everything",
        "criteria": [{"criterion": 1, "met": true, "evidence": "seen"}]});
    for name in ["result.json", "attempt.json", "shim.json", "session.json", "gate-g.log"] {
        fs::write(old.join(name), said.to_string()).expect("written");
    }
    project.once("tester");
    assert_ne!(project.status("A"), "awaiting_integration", "{}", project.diagnosis());
    let claim = &project.events_of("lease.acquired")[0];
    assert_eq!((&claim["token"], &claim["data"]["run"]), (&json!(2), &json!("2")), "what lay there is not found");
    assert!(!project.events().iter().any(|event| event.to_string().contains("verified everything")));
    assert!(project.path(".oodatcaa/runs/A/2/attempt.json").exists());
}

#[test]
fn an_id_that_is_used_again_is_worked_on() {
    let project = Project::new("echo \"$OODATCAA_TASK_ID $OODATCAA_TOKEN\" >> ran; exit 0");
    project.queue(json!([{"id": "A", "title": "say hello", "status": "ready"}]));
    project.once("builder");
    assert_eq!(project.status("A"), "awaiting_test");
    project.queue(json!([{"id": "A", "title": "rotate the production keys", "status": "ready"}]));
    project.once("builder");
    let ran = fs::read_to_string(project.path("ran")).expect("it ran");
    assert_eq!(ran.lines().collect::<Vec<_>>(), ["A 1", "A 2"]);
    assert!(project.events_of("task.created").iter().any(|event| event["data"]["reused"] == true));
}

#[test]
fn an_older_queue_that_is_put_back_waits_for_a_human_and_either_way_can_be_chosen() {
    let project = Project::that_succeeds();
    project.queue(json!([{"id": "A", "title": "t", "status": "ready"}]));
    let old = project.text();
    project.once("builder");
    let done = project.task("A");
    std::thread::sleep(oodatcaa_core::external_edits::RACE);
    let put_back = || fs::write(project.queue_file(), &old).expect("written");
    let ctl = |args: &[&str]| project.command("agentctl").args(args).output().expect("runs");
    put_back();
    project.once("builder");
    assert_eq!(project.status("A"), "ready", "nothing is claimed, and nothing is undone");
    assert_eq!(project.events_of("lease.acquired").len(), 1);
    for words in [&["inbox"][..], &["doctor"], &["why", "A"], &["queue", "repair", "--dry-run"]] {
        let said = String::from_utf8_lossy(&ctl(words).stdout).into_owned();
        assert!(said.contains("queue repair") || said.contains("--from-journal"), "{words:?}: {said}");
    }
    assert!(ctl(&["queue", "repair", "--from-journal", "--yes"]).status.success());
    assert_eq!((project.status("A"), &project.task("A")["attempts"]), ("awaiting_test".into(), &done["attempts"]));
    put_back();
    assert!(ctl(&["queue", "repair", "--yes"]).status.success());
    project.once("builder");
    assert_eq!(project.events_of("lease.acquired").len(), 2, "the file is the truth");
}

/// How people's programs change a file.
#[derive(Clone, Copy, Debug)]
enum Style {
    /// `jq … > tmp && mv tmp queue`
    Replace,
    /// Opened for writing anew.
    Truncate,
    /// Opened to read and to write, as `open(path, "r+")` does.
    InPlace,
    /// The old file becomes a backup, then a new one is written.
    Backup,
    /// The file is put away under another name, written there, and put back.
    Away,
}

const STYLES: [Style; 5] = [Style::Replace, Style::Truncate, Style::InPlace, Style::Backup, Style::Away];

fn edit(path: &Path, style: Style, change: impl Fn(&mut Value)) -> bool {
    let held = fs::OpenOptions::new().read(true).write(true).open(path);
    let (Ok(mut held), true) = (held, path.exists()) else { return false };
    let mut text = String::new();
    held.read_to_string(&mut text).expect("read");
    let Ok(mut queue) = serde_json::from_str::<Value>(&text) else { return false };
    change(&mut queue);
    let text = serde_json::to_string_pretty(&queue).expect("JSON");
    let (beside, backup) = (path.with_extension("mine"), path.with_extension("json~"));
    match style {
        Style::Replace => fs::write(&beside, text).and_then(|()| fs::rename(&beside, path)).expect("replaced"),
        Style::Truncate => fs::write(path, text).expect("written"),
        Style::InPlace => {
            std::thread::sleep(std::time::Duration::from_millis(5));
            held.seek(SeekFrom::Start(0)).and_then(|_| held.write_all(text.as_bytes())).expect("written");
            held.set_len(text.len() as u64).expect("cut");
        }
        Style::Backup => {
            if fs::rename(path, &backup).is_ok() {
                fs::write(path, text).expect("written");
            }
        }
        Style::Away => {
            if fs::rename(path, &beside).is_ok() {
                fs::write(&beside, text).and_then(|()| fs::rename(&beside, path)).expect("put back");
            }
        }
    }
    true
}

/// Edits of every style, by one program after the other and unsynchronised with us, beside workers that settle, planners
/// that add children, and adders.
fn nothing_is_lost(each: usize) {
    let child =
        r#"{"outcome":"done","summary":"s","tasks":[{"id":"C'"${OODATCAA_TASK_ID#P}"'","title":"c","type":"Build"}]}"#;
    let mut project = Project::new(&format!(
        "[ $OODATCAA_ROLE != planner ] || printf '%s' '{child}' > \"$OODATCAA_RESULT_FILE\"; exit 0"
    ));
    let task = |name: &str, status: &str| {
        let of = |n| json!({"id": format!("{name}{n}"), "title": "t", "status": status});
        (0..each).map(of).collect::<Vec<Value>>()
    };
    project.queue(json!([task("W", "ready"), task("P", "needs_plan")].concat()));
    let queue = project.queue_file();
    project.start_ready("builder", &["--slots", "2"]);
    project.start_ready("planner", &["--slots", "2"]);
    let edits = std::thread::spawn(move || {
        for n in 0..each {
            for style in STYLES {
                let mark = format!("{style:?}-{n}");
                while !edit(&queue, style, |text| text[&mark] = json!(true)) {
                    std::thread::sleep(std::time::Duration::from_millis(1));
                }
            }
        }
    });
    for n in 0..each {
        let id = format!("A{n}");
        let add = ["add", "more", "--id", &id, "--status", "needs_manual"];
        let said = project.command("agentctl").args(add).output().expect("runs");
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    }
    edits.join().expect("edited");
    // What each comes to, where nobody's change is lost and nobody's status is guessed.
    let ends =
        [("W", "awaiting_test"), ("P", "planning_complete"), ("C", "awaiting_test"), ("A", "needs_manual")].map(|of| {
            let of = move |n: usize| (format!("{}{n}", of.0), of.1);
            (0..each).map(of)
        });
    let ends: Vec<(String, &str)> = ends.into_iter().flatten().collect();
    let lost = || {
        let text = project.json();
        let marks = STYLES.iter().flat_map(|style| (0..each).map(move |n| format!("{style:?}-{n}")));
        let mut lost: Vec<String> = marks.filter(|mark| text[mark] != true).collect();
        let status: HashMap<String, String> = project
            .tasks()
            .into_iter()
            .map(|task| {
                (task["id"].as_str().unwrap_or_default().into(), task["status"].as_str().unwrap_or_default().into())
            })
            .collect();
        let other = ends.iter().filter(|(id, status_of)| status.get(id).is_none_or(|status| status != status_of));
        lost.extend(other.map(|(id, _)| format!("{id} {:?}", status.get(id))));
        lost
    };
    let (mut before, mut since) = (lost(), Instant::now());
    while !before.is_empty() {
        // Many at full size take their time; none may stand still.
        std::thread::sleep(Duration::from_millis(50));
        let now = lost();
        if now != before {
            (before, since) = (now, Instant::now());
        }
        assert!(since.elapsed() < patience(), "in vain: {before:?}\n{}", project.diagnosis());
    }
    eventually("nobody works any more", || project.leases().is_empty().then_some(()));
    let mut claims: HashMap<String, usize> = HashMap::new();
    for event in project.events_of("lease.acquired") {
        *claims.entry(event["task"].as_str().unwrap_or_default().into()).or_default() += 1;
    }
    let again: Vec<_> = claims.iter().filter(|(_, count)| **count != 1).collect();
    assert!(again.is_empty(), "a task that had ended was begun again: {again:?}");
    assert_eq!(claims.len(), 3 * each);
    // A move by nobody known is a status that somebody guessed.
    let known = |event: &&Value| event["actor"].as_str().is_some_and(|actor| !actor.starts_with("outside"));
    let moves = project.events_of("task.moved");
    let strange: Vec<&Value> = moves.iter().filter(|event| !known(event)).collect();
    assert!(strange.is_empty(), "{strange:?}");
    eprintln!(
        "{} edits of {} styles, {each} plans with {each} children, {} settlements, {each} adders: none lost, {} events",
        each * STYLES.len(),
        STYLES.len(),
        3 * each,
        project.events().len()
    );
}

/// Who writes without a pause that a change fits into must not be able to refuse what a person asks for.
#[test]
fn adding_beside_a_program_that_replaces_the_file_all_the_time_is_never_refused() {
    let project = Project::that_succeeds();
    project.queue(json!([]));
    let (queue, done) = (project.queue_file(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut edits = 0;
            while !done.load(Ordering::SeqCst) {
                edits += u32::from(edit(&queue, Style::Replace, |text| text["edits"] = json!(edits)));
                std::thread::sleep(Duration::from_millis(10 + u64::from(edits % 11)));
            }
        });
        let refused: Vec<String> = (0..20)
            .filter_map(|n| {
                let add = ["add", "more", "--id", &format!("A{n}"), "--status", "needs_manual"];
                let said = project.command("agentctl").args(add).output().expect("runs");
                (!said.status.success()).then(|| String::from_utf8_lossy(&said.stderr).into_owned())
            })
            .collect();
        done.store(true, Ordering::SeqCst);
        writer.join().expect("it wrote");
        assert!(refused.is_empty(), "{refused:?}");
    });
    // What such a program took out at the last moment, the next change puts back.
    eventually("every added task is there", || {
        let said = project.command("agentctl").args(["task", "prio", "A0", "3"]).output().expect("runs");
        (said.status.success() && project.tasks().len() == 20).then_some(())
    });
}

#[test]
fn edits_of_every_style_and_added_tasks_survive_each_other() {
    nothing_is_lost(6);
}

#[test]
#[ignore = "minutes: run by `make torture`"]
fn edits_torture_at_full_size() {
    nothing_is_lost(200);
}

#[test]
fn an_edit_in_place_of_a_file_that_was_just_replaced_is_taken_in() {
    let project = Project::that_succeeds();
    project.queue(json!([{"id": "A", "title": "t", "status": "ready"}]));
    let mut held = fs::OpenOptions::new().read(true).write(true).open(project.queue_file()).expect("opened");
    let mut adding = project.command("agentctl");
    let mut adding = adding.args(["add", "more", "--id", "B"]).spawn().expect("runs");
    eventually("the file is another", || project.text().contains("\"B\"").then_some(()));
    let text = r#"{"wip_limits":{"builder":3},"mine":1,"tasks":[{"id":"A","title":"t","status":"ready","x":1}]}"#;
    held.write_all(text.as_bytes()).and_then(|()| held.set_len(text.len() as u64)).expect("written");
    drop(held);
    adding.wait().expect("it waits for who has the old file open");
    assert_eq!((&project.json()["mine"], &project.task("A")["x"]), (&json!(1), &json!(1)));
    assert_eq!(project.task("B")["title"], "more");
}

#[test]
fn a_lease_file_that_somebody_removes_gives_the_task_to_nobody_else() {
    let mut project = Project::new("echo $$ >> started.$OODATCAA_TOKEN; trap '' TERM; sleep 1000");
    project.queue(json!([{"id": "A", "title": "t", "status": "ready"}]));
    let worker = project.start("builder", &[]);
    eventually("the agent runs", || project.path("started.1").exists().then_some(()));
    project.signal(worker, rustix::process::Signal::STOP);
    fs::remove_file(project.path(".leases/A.json")).expect("removed");
    let other = project.command("agent-daemon").args(["--role", "builder", "--once", "--owner", "two"]).output();
    other.expect("runs");
    assert!(!project.path("started.2").exists(), "its worker holds the task's lock");
    assert_eq!(project.status("A"), "in_progress");
    project.signal(worker, rustix::process::Signal::CONT);
}

#[test]
fn a_journal_with_a_hole_of_gigabytes_stops_nobody() {
    let project = Project::that_succeeds();
    project.queue(json!([{"id": "A", "title": "t", "status": "ready"}]));
    project.once("builder");
    let journal = project.path(".oodatcaa/work/events.jsonl");
    fs::OpenOptions::new().write(true).open(&journal).and_then(|file| file.set_len(50 << 30)).expect("stretched");
    project.once("tester");
    assert_ne!(project.status("A"), "awaiting_test");
    assert!(fs::metadata(&journal).expect("there").len() < 1 << 20, "the hole is cut off");
    let queue = project.text();
    let file = fs::OpenOptions::new().write(true).open(project.queue_file()).expect("opened");
    file.set_len(50 << 30).expect("stretched");
    let said = project.command("agentctl").arg("ls").output().expect("runs");
    assert!(String::from_utf8_lossy(&said.stderr).contains("was never written"), "{said:?}");
    file.set_len(queue.len() as u64).expect("cut");
}

#[test]
fn a_journal_of_a_hundred_megabytes_is_read_in_little_memory() {
    let project = Project::that_succeeds();
    project.queue(json!([{"id": "A", "title": "t", "status": "ready"}]));
    project.once("builder");
    let mut event = project.events().pop().expect("an event");
    let (seq, long) = (event["seq"].as_u64().expect("a number"), "x".repeat(200_000));
    let file = fs::OpenOptions::new().append(true).open(project.path(".oodatcaa/work/events.jsonl")).expect("opened");
    let mut journal = std::io::BufWriter::new(file);
    event["data"]["note"] = json!(long);
    for more in 1..=500 {
        (event["seq"], event["id"]) = (json!(seq + more), json!((seq + more).to_string()));
        writeln!(journal, "{event}").expect("written");
    }
    journal.flush().expect("written");
    for (program, args) in [("agentctl", "status"), ("agent-daemon", "--role tester --once")] {
        let program = project.command(program);
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", &format!("ulimit -c 0; ulimit -d 65536; exec \"$0\" {args}")]).arg(program.get_program());
        shell.current_dir(project.root()).env_clear();
        shell.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
        crate::bad_input::run(shell).ended(0);
    }
    assert_ne!(project.status("A"), "awaiting_test");
}

#[test]
fn a_made_up_number_in_the_journal_hides_no_later_event() {
    let project = Project::that_succeeds();
    project.queue(json!([{"id": "A", "title": "t", "status": "ready"}]));
    project.once("builder");
    let journal = project.path(".oodatcaa/work/events.jsonl");
    let last = project.events().pop().expect("an event");
    let mut forged = last.clone();
    forged["seq"] = json!(1_u64 << 53);
    let mut file = fs::OpenOptions::new().append(true).open(&journal).expect("opened");
    writeln!(file, "{forged}").expect("written");
    project.once("tester");
    let next = project.events().into_iter().rev().find(|event| event["seq"] != forged["seq"]).expect("an event");
    assert!(next["seq"].as_u64() > last["seq"].as_u64() && next["seq"].as_u64() < Some(1_000), "{next}");
    assert_ne!(project.status("A"), "awaiting_test");
}

#[test]
fn who_asks_for_something_waits_for_a_program_that_has_emptied_the_file_and_not_written_it_yet() {
    let project = Project::that_succeeds();
    project.queue(json!([{"id": "A", "title": "t", "status": "ready"}]));
    let text = project.text();
    let mut held = fs::OpenOptions::new().write(true).truncate(true).open(project.queue_file()).expect("emptied");
    let adding = project.command("agentctl").args(["add", "more", "--id", "B"]).spawn().expect("runs");
    std::thread::sleep(Duration::from_millis(600));
    held.write_all(text.as_bytes()).expect("written");
    drop(held);
    let said = adding.wait_with_output().expect("runs");
    assert!(said.status.success(), "{said:?}");
    assert_eq!((project.task("A")["title"].clone(), project.task("B")["title"].clone()), (json!("t"), json!("more")));
}

#[cfg(feature = "failpoints")]
#[test]
fn an_edit_of_what_stood_there_for_a_moment_is_not_lost_when_an_earlier_one_is_put_back() {
    let mut project = Project::that_succeeds();
    project.queue(json!([{"id": "A", "title": "t", "status": "ready"}]));
    let (queue, work) = (project.queue_file(), project.path(".oodatcaa/work"));
    let slow = "store.rename=1*sleep(1000)->off;store.putback=1*sleep(1000)->off";
    project.start_with("builder", &[], &[("FAILPOINTS", slow)]);
    eventually("its file waits to take the queue's place", || {
        let mut names = fs::read_dir(&work).expect("there").flatten().map(|entry| entry.file_name());
        names.any(|name| name.to_string_lossy().starts_with(oodatcaa_sys::files::TEMPORARY)).then_some(())
    });
    while !edit(&queue, Style::Replace, |text| text["first"] = json!(true)) {}
    eventually("ours stands there for a moment", || project.text().contains("in_progress").then_some(()));
    while !edit(&queue, Style::Replace, |text| text["second"] = json!(true)) {}
    project.wait_for("A", "awaiting_test");
    eventually("both are there", || {
        let text = project.json();
        (text["first"] == true && text["second"] == true).then_some(())
    });
}
