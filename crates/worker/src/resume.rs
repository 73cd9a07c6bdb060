//! Going on with an earlier attempt's session, and the private place of a slot in which sessions lie.
//!
//! A session is only gone on with where nothing has changed since it ended: the same agent, the same content
//! of the workspace, and no failure that asks for a fresh start.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::run::Run;
use oodatcaa_agent::record::Record;
use oodatcaa_core::{Class, Lease, Outcome, Role, layout::Layout, outcome::Policy, text::chain};
use oodatcaa_git::Workspace;
use oodatcaa_sys::{
    files,
    lock::{self, Lock},
};

/// How many earlier attempts are looked through for the role's last.
const BACK: usize = 100;

/// An earlier attempt that can be gone on with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Resume {
    pub(crate) session: String,
    pub(crate) home: Option<PathBuf>,
    /// What became of it.
    pub(crate) words: String,
}

/// Finds a session to go on with and takes a place for the program's own state, where the agent has such.
pub(crate) fn open(run: &mut Run, workspace: Option<&Workspace>) -> Result<Option<Resume>, Outcome> {
    let shared = Arc::clone(&run.shared);
    let (layout, agent) = (&shared.setup.layout, shared.agent(&run.lease().by));
    let now = if agent.can_resume() { content(workspace) } else { None };
    // Only the role's last attempt: a session of one before does not know what that has done.
    let last = now.as_ref().and_then(|_| {
        let mut earlier = Record::earlier(layout, &run.snapshot, run.lease()).take(BACK);
        earlier.find(|record| record.role == run.lease().role)
    });
    let mut resume = last.and_then(|last| goes_on(&last, run.lease(), now.as_deref()));
    if agent.wants_home() {
        let wanted = resume.as_ref().and_then(|resume| resume.home.as_deref());
        let home = take_slot(run, wanted)?;
        // A session lies in the slot that it began in; in another one the program would not find it.
        resume = resume.filter(|resume| resume.home.as_ref() == Some(&home));
        agent.prepare_home(&home).map_err(|error| {
            let what = format!("{} cannot be made ready for {}: {error}", home.display(), agent.name());
            Outcome::failed(Class::PermissionDenied, what)
        })?;
        run.assignment.home = Some(home.clone());
        run.record.found.home = Some(home);
    }
    if let Some(resume) = &resume {
        run.assignment.resume = Some(resume.session.clone());
        run.record.found.resumed = Some(resume.session.clone());
    }
    Ok(resume)
}

/// Returns what the workspace holds, in a form that can be compared later.
pub(crate) fn content(workspace: Option<&Workspace>) -> Option<String> {
    let Some(workspace) = workspace else { return Some("unversioned".into()) };
    match workspace.content() {
        Ok(content) => content,
        Err(error) => {
            log::debug!("cannot note what the worktree holds: failed to {}", chain(&error));
            None
        }
    }
}

/// Returns how an attempt can go on with the session of an earlier one, where it can.
fn goes_on(last: &Record, lease: &Lease, now: Option<&str>) -> Option<Resume> {
    let class = match last.found.class.as_deref().map(str::parse::<Class>) {
        Some(class) => Some(class.ok()?),
        None => None,
    };
    // The session that did bad work is rarely the one that sees why: these start afresh.
    let fresh = class.is_some_and(|class| matches!(class.policy(), Policy::Work | Policy::Context));
    let same = last.found.content.is_some() && last.found.content.as_deref() == now;
    if last.by != lease.by || last.state != "finished" || fresh || !same {
        return None;
    }
    let words = last.found.summary.clone().filter(|_| class.is_some()).unwrap_or_default();
    let words = match class {
        Some(Class::Cancelled) => format!("A person stopped you, and has let the task go on since. Heed why: {words}"),
        Some(class) => format!("It was not your fault: go on where you were.\n{class}: {words}"),
        None => String::new(),
    };
    let session = last.found.seen.as_ref()?.session.clone().filter(|session| is_name(session))?;
    Some(Resume { session, home: last.found.home.clone(), words })
}

/// Takes a directory for the state and caches of what runs for the attempt, unless it has one.
pub(crate) fn take_slot(run: &mut Run, wanted: Option<&Path>) -> Result<PathBuf, Outcome> {
    if let Some((slot, _)) = &run.slot {
        return Ok(slot.clone());
    }
    let (by, role) = (&run.lease().by, run.shared.role());
    let taken = take(&run.shared.setup.layout, role, by, wanted).map_err(|error| {
        let what = format!("cannot make a directory for the state of {by}: {error}");
        Outcome::failed(Class::PermissionDenied, what)
    })?;
    Ok(run.slot.insert(taken).0.clone())
}

/// Takes this one of the role's directories if it is free, else the first that is. An agent's accounts, which its name
/// tells apart, have directories of their own.
fn take(layout: &Layout, role: &Role, by: &str, wanted: Option<&Path>) -> io::Result<(PathBuf, Lock)> {
    let (Some(base), Some(homes)) = (layout.user_base(), layout.homes()) else {
        return Err(io::Error::other("neither HOME nor XDG_STATE_HOME is set"));
    };
    files::make_named_dir(base)?;
    files::make_dir(base, &homes)?;
    // It was read from a file that agents can write: only one of these directories is ever taken.
    let wanted = wanted.filter(|path| path.parent() == Some(&homes) && path.is_dir());
    let account = by.split_once('@').map(|(_, account)| format!("@{account}")).unwrap_or_default();
    let all = (1..=1_000).map(|n| homes.join(format!("{role}{account}-{n}")));
    for path in wanted.map(Path::to_owned).into_iter().chain(all) {
        let mut name = path.clone().into_os_string();
        name.push(".lock");
        // Beside the directory, in which the program may tidy up, and a lock that dies with us: no directory stays taken by a worker that was killed.
        if let Some(lock) = Lock::try_take(Path::new(&name), lock::open(base, Path::new(&name)))? {
            files::make_dir(base, &path)?;
            return Ok((path, lock));
        }
    }
    Err(io::Error::other("all thousand of them are in use"))
}

/// Tells whether a session's name can only be a name: it comes out of a file of the project and becomes an argument.
fn is_name(session: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    !session.is_empty() && session.len() <= 128 && !session.starts_with(['-', '.']) && session.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use oodatcaa_agent::{Observation, example};
    use oodatcaa_core::{Token, Workflow};

    fn record(class: Option<Class>) -> (Record, Lease) {
        let dir = tempfile::tempdir().expect("a directory");
        let workflow = Workflow::shipped();
        let assignment = example::assignment(workflow.rule(&Role::BUILDER).expect("ships"), dir.path(), dir.path());
        let mut record = Record::new(&assignment.task, &assignment.lease);
        record.state = "finished".into();
        record.found.class = class.map(|class| class.to_string());
        record.found.summary = Some("the window is used up".into());
        record.found.content = Some("c1:t1".into());
        record.found.seen = Some(Observation { session: Some("s-1".into()), ..Observation::default() });
        let lease = Lease { token: Token(assignment.lease.token.0 + 1), ..assignment.lease };
        (record, lease)
    }

    #[test]
    fn a_session_goes_on_after_passing_trouble_and_stops_but_not_after_bad_work() {
        for class in Class::ALL {
            let (record, lease) = record(Some(*class));
            let goes_on = goes_on(&record, &lease, Some("c1:t1")).is_some();
            let expected = !matches!(class.policy(), Policy::Work | Policy::Context);
            assert_eq!(goes_on, expected, "{class}");
        }
        let (record, lease) = record(None);
        assert!(goes_on(&record, &lease, Some("c1:t1")).is_some(), "a conflict comes back to its author");
    }

    #[test]
    fn a_session_does_not_go_on_with_another_agent_content_or_without_a_name() {
        let (mut last, mut lease) = record(Some(Class::Overloaded));
        assert_eq!(goes_on(&last, &lease, Some("c2:t1")), None, "somebody worked in between");
        assert_eq!(goes_on(&last, &lease, None), None);
        last.found.content = None;
        assert_eq!(goes_on(&last, &lease, None), None, "nobody knows what was there");
        last.found.content = Some("c1:t1".into());
        last.state = "running".into();
        assert_eq!(goes_on(&last, &lease, Some("c1:t1")), None, "its worker died");
        last.state = "finished".into();
        lease.by = "another".into();
        assert_eq!(goes_on(&last, &lease, Some("c1:t1")), None);
        lease.by = last.by.clone();
        for hostile in ["--dangerously-skip-permissions", "", "a b", "../../x", "s\n1"] {
            last.found.seen = Some(Observation { session: Some(hostile.into()), ..Observation::default() });
            assert_eq!(goes_on(&last, &lease, Some("c1:t1")), None, "{hostile}");
        }
        last.found.seen = None;
        assert_eq!(goes_on(&last, &lease, Some("c1:t1")), None);
    }

    #[test]
    fn two_attempts_never_share_a_slot_and_a_wanted_one_is_given_when_it_is_free() {
        let dir = tempfile::tempdir().expect("a directory");
        let layout = Layout::new(dir.path()).kept_in(dir.path().join("state/projects/p"));
        let first = take(&layout, &Role::BUILDER, "claude", None).expect("a slot");
        let second = take(&layout, &Role::BUILDER, "claude", Some(&first.0)).expect("a slot");
        assert_ne!(first.0, second.0);
        assert!(second.0.ends_with("builder-2"), "{:?}", second.0);
        let path = second.0.clone();
        drop(second);
        assert_eq!(take(&layout, &Role::BUILDER, "claude", Some(&path)).expect("a slot").0, path);
        let work = take(&layout, &Role::BUILDER, "claude@work", None).expect("a slot");
        assert!(work.0.ends_with("builder@work-1"), "{:?}", work.0);
        let alone = Layout::new(dir.path());
        assert!(take(&alone, &Role::BUILDER, "claude", None).is_err(), "never below the project");
        let strange = dir.path().join("elsewhere");
        std::fs::create_dir(&strange).expect("a directory");
        assert_eq!(take(&layout, &Role::BUILDER, "claude", Some(&strange)).expect("a slot").0, path);
    }
}
