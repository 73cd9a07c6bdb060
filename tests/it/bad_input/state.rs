//! Lease files and journals with garbage in them.

use std::{fs, io::Write as _};

use super::{ctl, once, with_one};

#[test]
fn garbage_in_lease_files_holds_nothing_and_is_told() {
    let project = with_one("exit 0");
    fs::create_dir(project.path(".leases")).expect("a directory");
    let deep = "[".repeat(100_000);
    let huge = "x".repeat(1 << 20);
    let garbage: [(&str, &[u8]); 8] = [
        ("A.json", b"\x00\xffgarbage"),
        ("B.json", b"[]"),
        ("C.json", b""),
        ("D.json", deep.as_bytes()),
        ("E.json", huge.as_bytes()),
        ("F.json", br#"{"task_id":"../../x","owner":7,"token":-1,"ttl_seconds":1e999}"#),
        ("-rf.json", b"{}"),
        ("notes.txt", b"mine"),
    ];
    for (name, bytes) in garbage {
        fs::write(project.path(".leases").join(name), bytes).expect("written");
    }
    ctl(&project, "ls").ended(0);
    ctl(&project, "lease list").ended(0);
    let said = once(&project, "builder");
    said.ended(0);
    for task in ["A", "B", "C", "D", "E", "F"] {
        assert_eq!(said.err.matches(&format!("| {task} is given back: ")).count(), 1, "{task}: {said:#?}");
    }
    assert_eq!(project.status("A"), "awaiting_test", "garbage holds no task");
    assert_eq!(fs::read(project.path(".leases/notes.txt")).expect("there"), b"mine", "what is not ours stays");
    assert!(!project.root().parent().expect("a parent").join("x.json").exists());
}

#[test]
fn garbage_in_the_journal_is_skipped_a_torn_end_is_cut_off_and_no_number_is_given_out_twice() {
    let project = with_one("exit 0");
    once(&project, "builder").ended(0);
    let path = project.path(".oodatcaa/work/events.jsonl");
    let before = fs::read_to_string(&path).expect("a journal");
    let mut lines: Vec<&str> = before.lines().collect();
    let last = lines.len();
    lines[2] = "gar\u{1}bage {";
    fs::write(&path, lines.join("\n") + "\n").expect("written");
    let mut file = fs::File::options().append(true).open(&path).expect("a journal");
    file.write_all(b"\xff\xfe\x00\n{\"specversion\":\"1.0\",\"id\":\"x").expect("written");
    drop(file);

    let said = once(&project, "tester");
    assert_eq!(said.ended(0).complaints().len(), 3, "two lines and the end: {said:#?}");
    assert!(said.err.contains("events.jsonl: skipping the line at byte "), "{said:#?}");
    assert!(said.err.contains("28 bytes of an unfinished line were cut off"), "{said:#?}");
    assert_eq!(project.status("A"), "ready_for_integrator");
    let after = fs::read(&path).expect("a journal");
    let whole = String::from_utf8_lossy(&after);
    assert!(whole.contains("gar\u{1}bage {"), "what cannot be read is not thrown away");
    let numbers: Vec<u64> = whole
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok()?["seq"].as_u64())
        .collect();
    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{numbers:?}");
    assert_eq!(numbers.last().copied(), Some((last + (numbers.len() - (last - 1))) as u64), "none missing but one");
    ctl(&project, "events tail").ended(0);
    ctl(&project, "ls").ended(0);
    ctl(&project, "run list").ended(0);
    let doctor = ctl(&project, "doctor");
    assert!(doctor.ended(8).out.contains("events.jsonl"), "{doctor:#?}");
}

#[test]
fn a_pipe_in_the_place_of_a_file_holds_nobody() {
    for name in [".oodatcaa/work/events.jsonl", ".leases/A.json"] {
        let project = with_one("exit 0");
        fs::create_dir_all(project.path(".leases")).expect("a directory");
        let made = std::process::Command::new("mkfifo").arg(project.path(name)).status().expect("mkfifo runs");
        assert!(made.success());
        let said = once(&project, "builder");
        assert!(!said.complaints().is_empty() && said.err.contains("not a regular file"), "{name}: {said:#?}");
        ctl(&project, "ls");
    }
}
