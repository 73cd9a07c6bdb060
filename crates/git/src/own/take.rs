//! The commits of an agent come into the project: by a fetch, which reads every object that comes and gives it its
//! own name, and by a compare-and-swap of the task's branch.

use std::{path::Path, time::Duration};

use super::{
    Handed,
    check::{self, Heads},
    give,
    reader::Reader,
};
use crate::{
    evidence,
    fault::{Result, failed},
    git::{Git, GitError},
    merge::die_at,
    save::Refs,
    snapshot::Checkout,
};
use oodatcaa_core::environment;
use oodatcaa_sys::files::{self, Durable, named};

/// The time that git may take to read what an agent made.
const FETCH: Duration = Duration::from_secs(300);

/// More branches than these nobody merges at once.
const MOST_PARENTS: usize = 16;

/// The repository to take in from, and what is known of it.
pub(super) struct From<'a> {
    pub(super) own: &'a Path,
    pub(super) branch: &'a str,
    pub(super) handed: Option<&'a Handed>,
    pub(super) reader: &'a Reader,
}

/// The state that was taken in.
pub(super) struct Received {
    pub(super) midway: Option<&'static str>,
    pub(super) head: Option<String>,
}

/// A deed of an agent's to its repository, in words.
pub(super) type Wrong = String;

/// Takes in what is there. Fails where it may go well another time; what only the agent can be blamed for is words.
pub(super) fn receive(checkout: &Checkout, refs: &Refs, from: &From<'_>) -> Result<Result<Received, Wrong>> {
    let git = checkout.git.clone().to_its_end();
    let common = git.common().unwrap_or(&checkout.admin).to_owned();
    let (own, name) = (from.own, format!("refs/heads/{}", from.branch));
    give::set_up(&git, &common, own, false)?;
    let heads = match heads(&git, own, from.reader, &name) {
        Ok(heads) => heads,
        Err(error) => return blame(error, from.reader),
    };
    let is_on_branch = heads.on.as_deref() == Some(name.as_str());
    let began = from.handed.and_then(|handed| handed.tip.clone());
    let incoming = refs.dir("in");
    let mut wanted = Vec::new();
    if heads.tip.is_some() && heads.tip != began {
        wanted.push(format!("+{name}:{incoming}/branch"));
    }
    if heads.head.is_some() && !is_on_branch {
        wanted.push(format!("+HEAD:{incoming}/head"));
    }
    let mut fetched = Fetched::default();
    if !wanted.is_empty() {
        match fetch(&git, from, &incoming, &wanted, &name) {
            Ok(found) => fetched = found,
            Err(error) => return blame(error, from.reader),
        }
    }
    die_at("own-fetched");
    let Fetched { before, tip, head } = fetched;
    let mut changes = String::new();
    // What is checked out in the end: what the files and the agent's index say.
    let (mut stands, mut apart) = (before.clone().or_else(|| began.clone()), None);
    if let Some(tip) = &tip {
        match next(&git, before.as_deref(), tip, from.handed)? {
            Next::Move => {
                changes.push_str(&format!("update {name} {tip} {}\n", before.as_deref().unwrap_or_default()));
                stands = Some(tip.clone());
            }
            Next::Stay => {}
            Next::Apart => {
                let kept = refs.old(tip);
                log::warn!(
                    "{}: it was moved while an agent worked on it; the agent's commits are kept as {kept}",
                    from.branch
                );
                changes.push_str(&format!("update {kept} {tip}\n"));
                apart = Some(tip.clone()).filter(|_| is_on_branch);
            }
        }
    }
    for (there, kind) in [(&tip, "branch"), (&head, "head")] {
        if there.is_some() {
            changes.push_str(&format!("delete {incoming}/{kind}\n"));
        }
    }
    if !changes.is_empty() {
        git.clone().with_input(changes).patiently(&["update-ref", "-m", "oodatcaa: take in", "--stdin"])?;
    }
    die_at("own-moved");
    let midway = midway(&git, own, &checkout.admin);
    let beside = head.or(apart);
    match &beside {
        // Beside its branch: what is to become of that is decided where it always is.
        Some(at) => drop(git.run(&["update-ref", "--no-deref", "HEAD", at])?),
        None if named::text(checkout.admin.join("HEAD")).is_ok_and(|text| text == format!("ref: {name}\n")) => {}
        None => git.attach_head("take in", from.branch)?,
    }
    die_at("own-attached");
    // Compared with how it was given away, not with how it was found: whoever began before us may have died in between.
    let stands = beside.or(stands);
    if began.is_none() || stands != began {
        // What it had staged is in the files as well.
        git.run(&["reset", "-q", "--mixed"])?;
        checkout.leave_others_alone()?;
    }
    if midway.is_none() {
        go_on_merging(&git, own, &checkout.admin)?;
    }
    Ok(Ok(Received { midway, head: stands }))
}

/// Sorts what went wrong into what may pass and what the agent did.
pub(super) fn blame<T>(error: GitError, reader: &Reader) -> Result<Result<T, Wrong>> {
    // Before anybody is blamed: it may not have read at all.
    reader.has_read()?;
    let passes = match &error {
        GitError::Failed(_, said) => environment::no_room(said).is_some() || error.passes(),
        GitError::TimedOut(_) => false,
        GitError::NotOurs { .. } | GitError::Files { .. } => true,
        error => !matches!(error, GitError::Failed(..)),
    };
    if passes { Err(error.into()) } else { Ok(Err(error.to_string())) }
}

/// The future of the task's branch.
enum Next {
    Move,
    Stay,
    Apart,
}

/// Decides on the branch: the agent moves it as it likes from where it was given it, and nobody else's move is undone.
fn next(git: &Git, now: Option<&str>, tip: &str, handed: Option<&Handed>) -> Result<Next> {
    let Some(now) = now else { return Ok(Next::Move) };
    if handed.is_some_and(|handed| handed.tip.as_deref() == Some(now)) {
        return Ok(Next::Move);
    }
    Ok(match () {
        () if git.is_ancestor(tip, now)? => Next::Stay,
        () if git.is_ancestor(now, tip)? => Next::Move,
        () => Next::Apart,
    })
}

/// Whatever a person allows of files.
const READS: [&str; 2] = ["-c", "protocol.file.allow=always"];

/// Objects that no sound git makes do not come in.
const SOUND: [&str; 2] = ["-c", "fetch.fsckObjects=true"];

/// Returns what an agent has checked out, and where a ref stands there.
pub(super) fn heads(git: &Git, own: &Path, reader: &Reader, name: &str) -> Result<Heads, GitError> {
    if !own.join("reftable").is_dir() {
        return Ok(Heads::of_files(own, name));
    }
    let place = own.to_string_lossy();
    let list = ["ls-remote", "--symref", &reader.option, "--", &place, "HEAD", name];
    let said = git.clone().within(FETCH).run(&[&READS[..], &list].concat())?;
    Ok(Heads::of_list(&said, name))
}

/// Reads refs of an agent's repository into ours, whatever the agent made of them. `how` ends in `fetch` and its
/// own options.
pub(super) fn read(git: &Git, reader: &Reader, own: &Path, how: &[&str], wanted: &[&str]) -> Result<(), GitError> {
    let place = own.to_string_lossy();
    let quiet = ["-q", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules", "--update-head-ok"];
    let from = [&reader.option, "--", &place];
    git.clone().within(FETCH).run(&[&READS[..], how, &quiet, &from, wanted].concat()).map(drop)
}

/// The object that a fetch has brought, where it is a commit.
#[derive(Default)]
struct Fetched {
    /// The commit of the project's branch.
    before: Option<String>,
    tip: Option<String>,
    head: Option<String>,
}

/// Fetches branch and head, and looks at what came.
fn fetch(git: &Git, from: &From<'_>, incoming: &str, wanted: &[String], name: &str) -> Result<Fetched, GitError> {
    // What the agent was given it has, so that is all that has to be told; else git would offer whatever the project has.
    let tip = from.handed.and_then(|handed| handed.tip.as_ref()).map(|tip| format!("--negotiation-tip={tip}"));
    let settings = [&SOUND[..], &["fetch"], &tip.as_deref().map_or(vec![], |tip| vec![tip])].concat();
    let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
    read(git, from.reader, from.own, &settings, &wanted)?;
    let (format, incoming) = ("--format=%(objecttype) %(objectname) %(refname)", format!("{incoming}/"));
    let said = git.run(&["for-each-ref", format, &incoming, name])?;
    let at = |name: &str| {
        let of = |line: &&str| {
            line.strip_prefix("commit ").and_then(|line| line.split_once(' ')).is_some_and(|(_, of)| of == name)
        };
        said.lines().find(of).and_then(|line| line.split(' ').nth(1)).map(String::from)
    };
    Ok(Fetched { before: at(name), tip: at(&format!("{incoming}branch")), head: at(&format!("{incoming}head")) })
}

/// Returns what the agent left half done.
fn midway(git: &Git, own: &Path, admin: &Path) -> Option<&'static str> {
    let stamp = |dir: &Path| {
        let meta = files::look(dir, Path::new("index")).ok().flatten().filter(std::fs::Metadata::is_file)?;
        Some((meta.len(), meta.modified().ok()?))
    };
    evidence::half_done(own).or_else(|| {
        // Its index, by whatever way it is written; one that cannot be read holds nothing that the files do not, and one
        // that is still ours, with its time, nobody has written.
        stamp(own).filter(|own| stamp(admin).as_ref() != Some(own))?;
        let unmerged = git.with_dir(own).run(&["ls-files", "-u", "-z"]).unwrap_or_default();
        (!unmerged.is_empty()).then_some(evidence::CONFLICTS)
    })
}

/// Lets the commit of the rest be the merge that the agent had begun and not committed.
fn go_on_merging(git: &Git, own: &Path, admin: &Path) -> Result<()> {
    let Ok(Some(text)) = files::read_text(own, Path::new("MERGE_HEAD"), files::RECORD) else { return Ok(()) };
    let mut parents = String::new();
    for id in text.lines().take(MOST_PARENTS) {
        // Only what the project has; a branch of the agent's alone is not known here, and its content is in the files.
        if !check::is_id(id) || git.commit(id)?.is_none() {
            return Ok(());
        }
        parents.push_str(&format!("{id}\n"));
    }
    let path = admin.join("MERGE_HEAD");
    named::write(&path, parents, Durable::No).map_err(failed("write", &path))
}
