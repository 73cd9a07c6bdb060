//! The words about the attempts on a task: whether they were confined, and what their sandbox refused.

use std::path::{Path, PathBuf};

use oodatcaa_agent::{
    output,
    record::Record,
    sandbox::{Disk as _, ThisMachine, explain},
};
use oodatcaa_core::{Guarantee, layout::Layout, text::one_line};
use oodatcaa_process::confine::Profile;
use oodatcaa_sys::files;

/// The words about an attempt that nothing confined.
pub const UNCONFINED: &str = "worked unconfined";

/// More files of an attempt are not looked through, and no more refusals are told.
const MOST_FILES: usize = 50;
const MOST: usize = 5;

/// Says what was kept from the agents of these attempts: what each of them had; nothing where none has worked.
pub fn worked(records: &[Record]) -> Option<String> {
    let worked: Vec<&Record> = records.iter().filter(|record| !record.argv.is_empty()).collect();
    let confined: Vec<_> = worked.iter().filter_map(|record| record.found.confined.as_ref()).collect();
    let confined: Vec<_> = confined.into_iter().filter(|report| report.applied).collect();
    match (worked.len(), confined.len()) {
        (0, _) => None,
        (all, some) if all == some => {
            let kept = |one: &Guarantee| confined.iter().all(|report| report.guarantees.contains(one));
            let kept: Vec<&str> = Guarantee::ALL.into_iter().filter(kept).map(Guarantee::as_str).collect();
            Some(format!("worked confined: {}", kept.join(" ")))
        }
        (_, 0) => Some(UNCONFINED.into()),
        (all, some) => Some(format!("{UNCONFINED} in {} of {all} attempts", all - some)),
    }
}

/// One kind of refusal in an attempt's outputs.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Refusal {
    write: bool,
    path: PathBuf,
    times: usize,
}

/// Says what an attempt's sandbox has refused, as its outputs tell: lines of an error with a path that the profile
/// denies. It is a guess, and never an outcome.
pub fn refused(layout: &Layout, dir: &Path) -> Vec<String> {
    let root = layout.root();
    let read = |path: &Path| files::read(root, path, files::RECORD).ok().flatten();
    let Some(profile) = read(&dir.join("sandbox.json")).and_then(|text| serde_json::from_slice::<Profile>(&text).ok())
    else {
        return Vec::new();
    };
    let (mut all, mut nested): (Vec<Refusal>, bool) = (Vec::new(), false);
    let entries = files::list(root, dir, 1_000).ok().flatten().unwrap_or_default();
    let names = entries.into_iter().filter_map(|entry| entry.name.into_string().ok());
    let logs = names.filter(|name| name.ends_with(".log")).take(MOST_FILES);
    for name in logs {
        for line in output::tail(&dir.join(name)).lines() {
            nested |= NESTED.iter().any(|words| line.contains(words));
            note(&profile, line, &mut all);
        }
    }
    all.sort_by_key(|refusal| std::cmp::Reverse(refusal.times));
    let told = all.iter().take(MOST).map(|refusal| words(refusal, layout));
    let nested = nested.then(|| {
        "a sandbox of the program's own could not be made inside ours: [agents.NAME.sandbox] nested = true".to_owned()
    });
    nested.into_iter().chain(told).collect()
}

/// Words of a sandbox that cannot be made inside of another.
const NESTED: [&str; 2] = ["setting up uid map: Permission denied", "RTM_NEWADDR"];

/// Words of a refusal, and what it can be one of.
const WORDS: [(&str, Of); 8] = [
    ("Read-only file system", Of::Writing),
    ("EROFS", Of::Writing),
    ("Permission denied", Of::Both),
    ("EACCES", Of::Both),
    ("Operation not permitted", Of::Both),
    ("EPERM", Of::Both),
    // A directory of secrets is empty in a namespace.
    ("No such file or directory", Of::Reading),
    ("ENOENT", Of::Reading),
];

/// An act that can have been refused.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    Reading,
    Writing,
    Both,
}

/// So many bytes around the words are looked through for a path.
const AROUND: usize = 400;

/// Counts a refusal that a line tells of.
fn note(profile: &Profile, line: &str, all: &mut Vec<Refusal>) {
    let Some((at, of)) = WORDS.iter().find_map(|(words, of)| Some((line.find(words)?, *of))) else {
        return;
    };
    let begin = line.floor_char_boundary(at.saturating_sub(AROUND));
    let end = line.ceil_char_boundary((at + AROUND).min(line.len()));
    let is_between = |c: char| c.is_whitespace() || "'\"`()[]{}<>,;:=\\|‘’“”".contains(c);
    for word in line[begin..end].split(is_between).filter(|word| word.starts_with('/') && word.len() > 1) {
        let path = ThisMachine.real(Path::new(word.trim_end_matches('.')));
        let denies = |write| !explain(profile, &path, write).allowed;
        let write = match (of, denies(false), denies(true)) {
            (Of::Reading | Of::Both, true, _) => false,
            (Of::Writing | Of::Both, _, true) => true,
            _ => continue,
        };
        match all.iter_mut().find(|other| other.path == path && other.write == write) {
            Some(known) => known.times += 1,
            None => all.push(Refusal { write, path, times: 1 }),
        }
        return;
    }
}

fn words(refusal: &Refusal, layout: &Layout) -> String {
    let Refusal { write, path, times } = refusal;
    let hint = match super::hint(Some(layout), path, *write) {
        Some(hint) => format!(": {hint}, where it should be allowed"),
        None => ": nobody may have it".into(),
    };
    let (what, path) = (if *write { "writing" } else { "reading" }, path.display());
    let times = if *times > 1 { format!(" ({times}×)") } else { String::new() };
    one_line(&format!("the sandbox refused {what} {path}{times}{hint}"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use oodatcaa_process::confine::Report;

    fn record(guarantees: Option<&[Guarantee]>) -> Record {
        let text = serde_json::json!({
            "schema": "oodatcaa/attempt.v1", "task": "A", "title": "a", "role": "builder", "token": 1, "attempt": 1,
            "owner": "w", "by": "a", "state": "finished", "started_at": "2026-01-05T09:00:00Z", "argv": ["a"],
        });
        let mut record: Record = serde_json::from_value(text).expect("a record");
        record.found.confined = guarantees.map(|given| Report {
            applied: true,
            guarantees: given.iter().copied().collect::<BTreeSet<_>>(),
            ..Report::default()
        });
        record
    }

    #[test]
    fn what_is_said_of_a_task_is_what_all_its_attempts_had() {
        use Guarantee::{Files, Secrets, Sockets};
        let (both, one, none) = (record(Some(&[Files, Secrets])), record(Some(&[Sockets, Files])), record(None));
        let say = |records: &[&Record]| worked(&records.iter().map(|record| (*record).clone()).collect::<Vec<_>>());
        assert_eq!(say(&[&both]).as_deref(), Some("worked confined: files secrets"));
        assert_eq!(say(&[&both, &one]).as_deref(), Some("worked confined: files"));
        assert_eq!(say(&[&none]).as_deref(), Some("worked unconfined"));
        assert_eq!(say(&[&both, &none]).as_deref(), Some("worked unconfined in 1 of 2 attempts"));
        let mut merged = none;
        merged.argv.clear();
        assert_eq!(worked(&[merged]), None, "a merge runs no agent");
        let mut broken = both;
        broken.found.confined.as_mut().expect("a report").applied = false;
        assert_eq!(worked(&[broken]).as_deref(), Some("worked unconfined"), "only what was applied counts");
    }

    #[test]
    fn what_a_sandbox_refused_is_found_in_what_programs_say_and_nothing_else_is() {
        let profile = Profile {
            write: vec!["/wt".into()],
            deny: vec!["/home/me/.ssh".into()],
            namespace: true,
            ..Profile::default()
        };
        let found = |lines: &[&str]| {
            let mut all = Vec::new();
            lines.iter().for_each(|line| note(&profile, line, &mut all));
            all.into_iter().map(|one| (one.write, one.path.display().to_string(), one.times)).collect::<Vec<_>>()
        };
        let told = found(&[
            "npm error EROFS: read-only file system, mkdir '/home/me/.npm/_logs'",
            "bash: line 1: /home/me/.npm/_logs: Read-only file system",
            r#"{"type":"tool_result","content":"cat: /home/me/.ssh/id: Permission denied\n"}"#,
            "PermissionError: [Errno 13] Permission denied: '/home/me/x'",
        ]);
        let expected = [
            (true, "/home/me/.npm/_logs".to_owned(), 2),
            (false, "/home/me/.ssh/id".into(), 1),
            (true, "/home/me/x".into(), 1),
        ];
        assert_eq!(told, expected);
        // A permission that no rule of ours took, a path without a refusal, a refusal without a path.
        let none = found(&[
            "/wt/run.sh: Permission denied",
            "ls: /home/me/x: No such file or directory",
            "see /home/me/.ssh/id",
            "Operation not permitted",
            "",
        ]);
        assert_eq!(none, []);
    }
}
