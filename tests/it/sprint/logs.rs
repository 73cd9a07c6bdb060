//! Logs that people read: rotated without a line lost, and rendered from the journal beside what people wrote.

use std::fs;

use serde_json::json;

use super::{agentctl, object, ok, sprint};
use crate::support::Project;

/// A log of so many entries of ten lines each.
fn log(entries: usize, newest_first: bool) -> String {
    let mut numbers: Vec<usize> = (0..entries).collect();
    if newest_first {
        numbers.reverse();
    }
    let entry = |n: &usize| {
        let (hour, minute) = (n / 60, n % 60);
        let lines: String = (0..7).map(|line| format!("- line {line} of entry {n}\n")).collect();
        format!("## 2026-01-05T{hour:02}:{minute:02}:00Z | Builder | P{n:03}\n\n{lines}\n")
    };
    let body: String = numbers.iter().map(entry).collect();
    format!("# OODATCAA Agent Log\n\nOf all agents.\n\n{body}")
}

fn read(project: &Project, name: &str) -> String {
    fs::read_to_string(project.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn long_logs_are_divided_at_an_entry_the_old_part_goes_and_every_line_is_in_one_of_the_parts() {
    let project = sprint();
    let work = ".oodatcaa/work";
    // As agents write it, the newest entry first, and as a log grows.
    let (agents, grown) = (log(150, true), log(140, false));
    fs::write(project.path(&format!("{work}/AGENT_LOG.md")), &agents).unwrap();
    fs::write(project.path(&format!("{work}/SPRINT_LOG.md")), &grown).unwrap();
    fs::write(project.path(&format!("{work}/SPRINT_PLAN.md")), "# Sprint Plan\n").unwrap();

    let would = object(&project, &["sprint", "rotate", "--dry-run"]);
    let archived: Vec<_> = would.as_array().expect("a list").iter().map(|one| one["archived"].as_u64()).collect();
    assert_eq!(archived, [Some(1_050), Some(950), Some(0)], "{would}");
    assert_eq!(read(&project, &format!("{work}/AGENT_LOG.md")), agents);

    ok(&project, &["sprint", "rotate"]);
    let kept = read(&project, &format!("{work}/AGENT_LOG.md"));
    let old = read(&project, &format!("{work}/archive/sprint_2/AGENT_LOG_archive_001.md"));
    assert!(kept.contains("| P149\n") && kept.contains("| P105\n") && !kept.contains("| P104\n"), "the newest stay");
    assert!(kept.starts_with("# OODATCAA Agent Log\n\nOf all agents.\n\n## "), "and so does what stands above them");
    assert_eq!(format!("{kept}{old}"), agents, "not a byte is lost");

    let kept = read(&project, &format!("{work}/SPRINT_LOG.md"));
    let old = read(&project, &format!("{work}/archive/sprint_2/SPRINT_LOG_archive_001.md"));
    assert!(kept.contains("| P139\n") && !kept.contains("| P094\n") && old.starts_with("## 2026-01-05T00:00:00Z"));
    let head = "# OODATCAA Agent Log\n\nOf all agents.\n\n";
    assert_eq!(format!("{head}{old}{}", kept.strip_prefix(head).expect("its head")), grown);

    let stats = read(&project, "ROTATION_STATS.md");
    assert!(stats.contains("| AGENT_LOG.md | 1504 | 454 | 1050 | AGENT_LOG_archive_001.md |"), "{stats}");
    assert_eq!(stats.matches("_archive_001.md |").count(), 2, "{stats}");
    let index = read(&project, "ARCHIVE_INDEX.md");
    assert!(index.contains("`.oodatcaa/work/archive/sprint_2/AGENT_LOG_archive_001.md`"), "{index}");

    // Short enough now; the next archive has the next number.
    let again = object(&project, &["sprint", "rotate"]);
    assert!(again.as_array().expect("a list").iter().all(|one| one["archive"].is_null()), "{again}");
    let one =
        object(&project, &["sprint", "rotate", "--file", "AGENT_LOG.md", "--threshold", "100", "--keep-lines", "20"]);
    assert_eq!(one[0]["archive"], format!("{work}/archive/sprint_2/AGENT_LOG_archive_002.md"));
    assert_eq!(one[0]["kept"], 24);
    let said = agentctl(&project, &["sprint", "rotate", "--file", "NO_LOG"]);
    assert_eq!(said.status.code(), Some(3), "{said:?}");
    let said = agentctl(&project, &["sprint", "rotate", "--threshold", "10", "--keep-lines", "10"]);
    assert_eq!(said.status.code(), Some(2), "{said:?}");
}

#[test]
fn a_project_without_logs_has_nothing_to_rotate_and_one_without_entries_is_cut_at_a_line() {
    let project = sprint();
    assert_eq!(object(&project, &["sprint", "rotate"]), json!([]));
    let plain: String = (0..2_000).map(|n| format!("line {n}\n")).collect();
    fs::write(project.path(".oodatcaa/work/SPRINT_LOG.md"), &plain).unwrap();
    let done = object(&project, &["sprint", "rotate"]);
    assert_eq!((&done[0]["kept"], &done[0]["archived"]), (&json!(450), &json!(1_550)));
    assert!(read(&project, ".oodatcaa/work/SPRINT_LOG.md").starts_with("line 1550\n"));
}

#[test]
fn the_journal_is_rendered_once_beside_what_people_wrote() {
    let project = sprint();
    let work = ".oodatcaa/work";
    let by_hand = "# OODATCAA Agent Log\n\n## 2020-01-02T00:00:00Z | Ada | by hand\n\nMine | *mine*.\n\n---\n\n## 2020-01-01T00:00:00Z | Ada\n";
    fs::write(project.path(&format!("{work}/AGENT_LOG.md")), by_hand).unwrap();
    let theirs = format!("{work}/reports/P004/tester_P004.md");
    fs::create_dir_all(project.path(&format!("{work}/reports/P004"))).unwrap();
    fs::write(project.path(&theirs), "# my own report\n").unwrap();
    fs::write(project.path(&format!("{work}/AGENT_REPORTS.md")), "# Agent Reports\n\nWritten by me.\n").unwrap();
    // An agent says something on the way.
    let mail = r#"{"outcome":"done","summary":"s","messages":[{"to":"tester","text":"look at *this*"}]}"#;
    project.script("agent.sh", &format!("[ $OODATCAA_ROLE != builder ] || echo '{mail}' > \"$OODATCAA_RESULT_FILE\""));
    for role in ["builder", "tester", "integrator"] {
        assert!(project.once(role).status.success());
    }
    assert_eq!(project.status("P003"), "done");

    let would = object(&project, &["sprint", "render", "--dry-run"]);
    assert!(would.as_array().expect("a list").iter().all(|one| one["became"] == "would"), "{would}");
    assert_eq!(read(&project, &format!("{work}/AGENT_LOG.md")), by_hand);

    ok(&project, &["sprint", "render"]);
    let log = read(&project, &format!("{work}/AGENT_LOG.md"));
    assert!(log.ends_with(by_hand.strip_prefix("# OODATCAA Agent Log\n\n").expect("its head")), "{log}");
    let moved = log.find("**STATUS:** `integrating` → `done`").expect("the last move");
    assert!(moved < log.find("**STATUS:** `ready` → `in_progress`").expect("the first"), "the newest stands first");
    assert!(log.contains(" | Builder | P003 Later\n\n**AGENT:** worker:agent-daemon-builder@"), "{log}");
    assert!(log.contains("**ACTION:** Message (attempt 1, token 1)  \n\ntester: look at \\*this\\*"), "{log}");
    let report = read(&project, &format!("{work}/reports/P003/builder_P003.md"));
    assert!(report.contains("## Handoff Notes\n\n- tester: look at \\*this\\*"), "{report}");
    for words in [
        "# Agent Completion Report: P003\n",
        "**Task:** Later  \n",
        "## Outcome\n\ndone",
        "- **Attempts:** 1",
        "- **Cost:** —",
    ] {
        assert!(report.contains(words), "{words}\n{report}");
    }
    let index = read(&project, &format!("{work}/AGENT_REPORTS.md"));
    assert!(
        index.starts_with("# Agent Reports\n\nWritten by me.\n") && index.contains("(reports/P003/tester_P003.md)")
    );

    // Again: nothing. And after one more move: one more entry, and what people wrote meanwhile stays.
    let files = super::files(&project);
    ok(&project, &["sprint", "render"]);
    assert_eq!(super::files(&project), files);
    let mine = format!("{work}/reports/P003/builder_P003.md");
    let kept = report.split_once('\n').expect("the first line").1.to_owned() + "\nAnd this I add.\n";
    fs::write(project.path(&mine), &kept).unwrap();
    fs::write(project.path(&format!("{work}/AGENT_REPORTS.md")), index + "\nAnd below.\n").unwrap();
    ok(&project, &["task", "move", "P004", "needs_manual", "--reason", "not | now"]);
    let again = object(&project, &["sprint", "render"]);
    let of =
        |file: &str| again.as_array().expect("a list").iter().find(|one| one["file"] == file).expect("told").clone();
    assert_eq!((&of(&mine)["became"], &of(&format!("{work}/AGENT_LOG.md"))["entries"]), (&json!("theirs"), &json!(1)));
    assert_eq!(read(&project, &mine), kept);
    assert_eq!(read(&project, &theirs), "# my own report\n");
    assert!(read(&project, &format!("{work}/AGENT_REPORTS.md")).ends_with("\nAnd below.\n"));
    assert!(read(&project, &format!("{work}/AGENT_LOG.md")).contains("not \\| now"));
}
