//! The order of system calls of one claim, seen from outside: what must be on the disk before an agent starts is.

use std::{fs, process::Command};

use serde_json::json;

use crate::support::Project;

/// A system call that was traced, from its begin to its end.
struct Call {
    text: String,
    begun: usize,
    ended: usize,
}

fn calls(trace: &str) -> Vec<Call> {
    let lines: Vec<(&str, &str)> =
        trace.lines().filter_map(|line| line.trim().split_once(char::is_whitespace)).collect();
    let name = |text: &str| text.split('(').next().unwrap_or_default().to_owned();
    let end = |at: usize| {
        let (pid, text) = lines[at];
        let resumed = format!("<... {} resumed>", name(text));
        let later = lines.iter().enumerate().skip(at + 1);
        later
            .clone()
            .find(|(_, (by, text))| *by == pid && text.trim_start().starts_with(&resumed))
            .map_or(lines.len(), |(at, _)| at)
    };
    let begun = lines.iter().enumerate().filter(|(_, (_, text))| !text.trim_start().starts_with("<..."));
    let call = |(at, (_, text)): (usize, &(&str, &str))| {
        let ended = if text.contains("<unfinished") { end(at) } else { at };
        Call { text: text.trim_start().to_owned(), begun: at, ended }
    };
    begun.map(call).collect()
}

#[test]
fn a_claim_is_durable_before_its_agent_starts() {
    if Command::new("strace").args(["-qq", "true"]).output().is_ok_and(|output| !output.status.success())
        || Command::new("strace").arg("-V").output().is_err()
    {
        eprintln!("skipped: strace is not there, or may not trace");
        return;
    }
    let project = Project::that_succeeds();
    project.queue(json!([{"id": "A", "title": "", "status": "ready"}]));
    let trace = project.path("trace");
    let traced = project
        .command("strace")
        .args(["-f", "-qq", "-y", "-s", "400", "-e", "trace=/rename,fsync,fdatasync,execve", "-o"])
        .arg(&trace)
        .args([env!("CARGO_BIN_EXE_agent-daemon"), "--role", "builder", "--once"])
        .output()
        .expect("strace runs");
    assert!(traced.status.success(), "{}", String::from_utf8_lossy(&traced.stderr));
    assert_eq!(project.status("A"), "awaiting_test");

    let trace = fs::read_to_string(trace).expect("a trace");
    let calls = calls(&trace);
    let (work, agent) = (project.path(".oodatcaa/work"), project.path("agent.sh"));
    let first = |what: &str, is: &dyn Fn(&Call) -> bool| {
        calls.iter().find(|call| is(call)).unwrap_or_else(|| panic!("no {what} in:\n{trace}"))
    };
    let renamed = first("rename of the queue", &|call| {
        call.text.starts_with("rename") && call.text.contains("SPRINT_QUEUE.json")
    });
    let temporary = first("fsync of the new queue", &|call| {
        call.text.starts_with("fsync") && call.text.contains("/.oodatcaa/work/.") && call.begun < renamed.begun
    });
    assert!(temporary.ended < renamed.begun, "the content is on the disk before it takes the place:\n{trace}");
    let directory = first("fsync of the directory after the rename", &|call| {
        call.text.starts_with("fsync")
            && call.text.contains(&format!("<{}>", work.display()))
            && call.begun > renamed.ended
    });
    let started = first("start of the agent", &|call| {
        call.text.starts_with("execve") && call.text.contains(&agent.display().to_string())
    });
    assert!(directory.ended < started.begun, "the claim is on the disk before its agent starts:\n{trace}");
}
