//! The facts of a session beside a run's output: figures of programs that count from its begin, off which what
//! earlier attempts had used up is taken, and the record that some programs keep of it.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{descriptor::Descriptor, home::Variable, observation::Observation, probe};
use oodatcaa_core::{Usage, layout::Layout};
use oodatcaa_sys::files::{self, Durable, Kind};

/// The file in an attempt's directory for the next attempt of the same session.
const FILE: &str = "session.json";

/// No task has as many attempts.
const MOST_RUNS: usize = 100_000;

/// A session's figures at the end of an attempt.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Before {
    session: String,
    #[serde(flatten)]
    usage: Usage,
}

/// Notes the figures for a later attempt.
pub(crate) fn remember(run_dir: &Path, descriptor: &Descriptor, seen: &Observation) {
    let Some(session) = seen.session.clone().filter(|_| descriptor.map.cumulative) else { return };
    let before = Before { session, usage: seen.usage };
    let text = serde_json::to_vec(&before).expect("plain members");
    let written = files::write_atomic(Layout::root_of(run_dir), &run_dir.join(FILE), &text, Durable::No);
    if let Err(error) = written {
        log::warn!("cannot note what the session has used: failed to {error}: {}", error.why);
    }
}

/// Returns what the session had used before this attempt, by the newest attempt of the task that knows.
pub(crate) fn before(run_dir: &Path, session: &str) -> Before {
    let number = |name: &OsStr| name.to_str().and_then(|name| name.parse::<u64>().ok());
    let Some((own, task)) = run_dir.file_name().and_then(number).zip(run_dir.parent()) else {
        return Before::default();
    };
    let root = Layout::root_of(run_dir);
    let siblings = files::list(root, task, MOST_RUNS).ok().flatten().unwrap_or_default();
    let mut earlier: Vec<u64> =
        siblings.iter().filter_map(|entry| number(&entry.name)).filter(|token| *token < own).collect();
    earlier.sort_unstable_by(|a, b| b.cmp(a));
    let read = |token: &u64| -> Option<Before> {
        let path = task.join(token.to_string()).join(FILE);
        serde_json::from_slice(&files::read(root, &path, files::RECORD).ok()??).ok()
    };
    earlier.iter().filter_map(read).find(|before| before.session == session).unwrap_or_default()
}

impl Before {
    /// Takes off what was used before.
    pub(crate) fn take_off(&self, seen: &mut Observation) {
        seen.usage = seen.usage.without_tokens_of(self.usage);
    }
}

/// The largest record of a session that is read, in bytes.
const RECORD: u64 = 64 << 20;

/// A record is looked for so many directories deep, among so many entries: the place is the agent's, too.
const DEPTH: usize = 4;
const ENTRIES: usize = 20_000;

/// Returns the program's own record of the session, as its description says where that is; `None` where it cannot be
/// read.
pub(crate) fn record(descriptor: &Descriptor, session: &str, variable: Variable<'_>) -> Option<Vec<u8>> {
    // The name comes from the program's output.
    let is_name = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if session.is_empty() || !session.chars().all(is_name) {
        return None;
    }
    let end = format!("{session}.jsonl");
    let places = descriptor.output.sessions.iter().filter_map(|pattern| probe::place(pattern, variable));
    places.into_iter().find_map(|place| {
        let path = find(&place, &place, &end, DEPTH, &mut ENTRIES.clone())?;
        files::read(&place, &path, RECORD).ok()?
    })
}

/// Finds the newest file with this end of its name; programs order them by date.
fn find(root: &Path, at: &Path, end: &str, depth: usize, left: &mut usize) -> Option<PathBuf> {
    let mut entries = files::list(root, at, *left).ok()??;
    *left -= entries.len();
    entries.sort_unstable_by(|a, b| b.name.cmp(&a.name));
    entries.iter().find_map(|entry| {
        let path = at.join(&entry.name);
        let name = entry.name.to_str().unwrap_or_default();
        match entry.kind {
            Kind::File => name.ends_with(end).then_some(path),
            Kind::Directory if depth > 0 => find(root, &path, end, depth - 1, left),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::descriptor;

    #[test]
    fn what_a_session_had_used_before_is_not_counted_again() {
        let codex = descriptor::load("codex", &BTreeMap::new()).expect("ships");
        let root = tempfile::tempdir().expect("a directory");
        let usage = |n| Usage { tokens_in: Some(n), ..Usage::default() };
        let seen = |n| Observation { session: Some("s".into()), usage: usage(n), ..Observation::default() };
        for (token, figure) in [("7", 100), ("9", 250)] {
            std::fs::create_dir(root.path().join(token)).expect("made");
            remember(&root.path().join(token), &codex, &seen(figure));
        }
        let later = root.path().join("12");
        let mut now = seen(400);
        before(&later, "s").take_off(&mut now);
        assert_eq!(now.usage, usage(150));
        assert_eq!(before(&later, "other"), Before::default());
        assert_eq!(before(&root.path().join("7"), "s"), Before::default());
    }
}
