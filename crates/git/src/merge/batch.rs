//! One batch of the merge queue: build, gates, push, land, check, tag, clean up.

use super::{
    Ended, GateFailure, Gates, Leash, MergeError, MergeRequest, MergeTarget, Merged, Passing, Report,
    build::{self, Built},
    land::{self, RefChange, Repo},
    recover, remote,
    steps::{self, Log, MergeEntry, State, Step},
    tree::{self, Tree},
    verify,
};
use oodatcaa_core::{TaskId, Token};

/// Merges the requests once; each that comes to its end is in the report. One that is not stays
/// for the next batch.
pub(super) fn batch(
    line: &MergeTarget,
    orders: &[&MergeRequest],
    gates: &mut dyn Gates,
    report: &mut Report,
) -> Result<(), MergeError> {
    let firm = Repo::open(&line.repo, &super::keep(&line.dir), &line.author)?.knowing(line.remotes.as_deref());
    let leash = gates.leash();
    let repo = firm.tied(&leash);
    let Some(first) = orders.first() else { return Ok(()) };
    let id = steps::unique(first.task.as_str());
    let from = repo.head(&line.target)?;
    let base = onto(&repo, line.push.as_deref(), &line.target, &from, &id).inspect_err(|_| {
        // What was fetched says nothing any more.
        let _ = remote::forget(&firm, &id);
    })?;
    let mut fresh = Vec::new();
    for &order in orders {
        let checked = repo.head(&order.branch).and_then(|source| {
            order.admits(&source)?;
            Ok(match verify::already(&repo.git, &base, order, &source)? {
                Some(commit) => {
                    if let Some(name) = &line.push {
                        hold(&firm, &repo, &leash, gates, (line, name), (order, &id, &base, &source))?;
                    }
                    Err(commit)
                }
                None => Ok(source),
            })
        });
        match checked {
            Ok(Ok(source)) => fresh.push((order, source)),
            Ok(Err(commit)) => report.done.push((order.task.clone(), known(&repo, line, &commit))),
            Err(
                error @ (MergeError::MovedOn
                | MergeError::Stopped
                | MergeError::Unwanted { .. }
                | MergeError::Unreachable { .. }),
            ) => {
                remote::forget(&firm, &id)?;
                return Err(error);
            }
            Err(error) => report.done.push((order.task.clone(), Err(error))),
        }
    }
    if fresh.is_empty() {
        return remote::forget(&firm, &id);
    }
    let path = Tree::plan(&repo, &line.place, &id)?;
    let state = State {
        format: steps::FORMAT,
        id,
        common: repo.common.clone(),
        target: line.target.clone(),
        step: Step::Begun,
        tree: Some(path.clone()),
        entries: Vec::new(),
        landing: None,
        push: line.push.clone(),
        remotes: line.remotes.clone(),
        tags: line.tags,
        author: line.author.clone(),
        red: None,
        unwanted: false,
    };
    let mut log = Log::begin(&line.dir, state)?;
    let ridden = Tree::add(&repo, &path, &base).and_then(|tree| {
        log.save(Step::Tree)?;
        Batch { line, repo: &repo, firm: &firm, leash: &leash, log: &mut log, tree, from, base }
            .go(&fresh, gates, report)
    });
    match ridden {
        Err(error) if unfinished(&log.state, &error) => Err(error),
        ridden => {
            let cleaned = clean(&firm, log);
            ridden.and(cleaned)
        }
    }
}

/// Returns `true` when something stands in the world that only a recovery can finish.
fn unfinished(state: &State, error: &MergeError) -> bool {
    let pushing = matches!(state.step, Step::Pushing | Step::Pushed)
        && !matches!(
            error,
            MergeError::MovedOn
                | MergeError::PushRefused { .. }
                | MergeError::Unwanted { .. }
                | MergeError::NotAsked(_)
        );
    state.landing.is_some() || state.step >= Step::Landed || pushing
}

/// Removes what a merge leaves beside its results.
pub(super) fn clean(repo: &Repo, log: Log) -> Result<(), MergeError> {
    sweep(repo, &log)?;
    steps::point(Step::Cleaned);
    log.close()
}

/// Removes the same, but for what it remembers.
pub(super) fn sweep(repo: &Repo, log: &Log) -> Result<(), MergeError> {
    if let Some(path) = &log.state.tree {
        tree::remove(repo, path, &log.state.id)?;
    }
    remote::forget(repo, &log.state.id)
}

/// Returns what a result stands on: the target, or the remote's if that is further.
pub(super) fn onto(repo: &Repo, push: Option<&str>, target: &str, from: &str, id: &str) -> Result<String, MergeError> {
    let Some(name) = push else { return Ok(from.into()) };
    let Some(theirs) = remote::head(repo, name, target, id)? else { return Ok(from.into()) };
    if repo.git.asks(&["merge-base", "--is-ancestor", &theirs, from])? {
        Ok(from.into())
    } else if repo.git.asks(&["merge-base", "--is-ancestor", from, &theirs])? {
        Ok(theirs)
    } else {
        Err(MergeError::Diverged { target: target.into(), remote: name.into() })
    }
}

fn known(repo: &Repo, line: &MergeTarget, commit: &str) -> Result<Merged, MergeError> {
    let parent = verify::read_ref(&repo.git, &format!("{commit}^1"))?;
    let patch_id = match parent {
        Some(parent) => verify::patch_id(&repo.git, &parent, commit)?,
        None => String::new(),
    };
    let tag = if line.tags {
        let tags = repo.git.run(&["tag", "--points-at", commit])?;
        tags.lines().find(|tag| tag.contains("-complete")).map(str::to_owned)
    } else {
        None
    };
    Ok(Merged { commit: commit.into(), tag, before: None, patch_id, already: true, behind: None })
}

/// Proves that the remote holds what the target holds of a branch already; where that takes a push, it is fenced.
fn hold(
    firm: &Repo,
    repo: &Repo,
    leash: &Leash,
    gates: &mut dyn Gates,
    (line, name): (&MergeTarget, &str),
    (order, id, base, source): (&MergeRequest, &str, &str, &str),
) -> Result<(), MergeError> {
    if remote::holds(repo, name, &line.target, id, source)? {
        return Ok(());
    }
    let change = Passing { task: order.task.clone(), token: order.token, commit: base.into() };
    push(firm, leash, gates, (line, name), base, &[change])?;
    match remote::holds(firm, name, &line.target, id, source)? {
        true => Ok(()),
        false => Err(MergeError::Unproven { remote: name.into() }),
    }
}

/// Pushes the target; the push begins behind the fence.
fn push(
    firm: &Repo,
    leash: &Leash,
    gates: &mut dyn Gates,
    (line, name): (&MergeTarget, &str),
    top: &str,
    changes: &[Passing],
) -> Result<(), MergeError> {
    let tied = firm.tied_for_push(leash);
    let mut push = None;
    gates.pass(changes, &mut || {
        push = Some(remote::push(&tied, name, &line.target, top)?);
        Ok(())
    })?;
    let pushed = push.map_or(Err(MergeError::MovedOn), |push| push.end(name));
    if !matches!(pushed, Ok(true)) {
        gates.not_passed(changes);
    }
    if pushed? { Ok(()) } else { Err(MergeError::MovedOn) }
}

/// `repo` is for what may be ended at any moment, `firm` for what may not.
struct Batch<'a> {
    line: &'a MergeTarget,
    repo: &'a Repo,
    firm: &'a Repo,
    leash: &'a Leash,
    log: &'a mut Log,
    tree: Tree,
    from: String,
    base: String,
}

impl Batch<'_> {
    fn go(
        &mut self,
        orders: &[(&MergeRequest, String)],
        gates: &mut dyn Gates,
        report: &mut Report,
    ) -> Result<(), MergeError> {
        let entries = self.build(orders, report)?;
        if entries.is_empty() {
            return Ok(());
        }
        self.log.state.entries = entries.clone();
        self.log.save(Step::Built)?;
        let (green, red) = self.longest_green(&entries, gates)?;
        let refused = red.map(|(gate, reason)| {
            let task = task(&entries[green]);
            (task, Err(MergeError::GatesRed { gate, reason }))
        });
        if green > 0 {
            let landed = self.land(&entries[..green], gates);
            // Those before it are what it was red with; without them it may be green.
            let landed = landed?;
            report.done.extend(landed);
        }
        report.done.extend(refused);
        Ok(())
    }

    /// Returns the results, one upon the other.
    fn build(
        &mut self,
        orders: &[(&MergeRequest, String)],
        report: &mut Report,
    ) -> Result<Vec<MergeEntry>, MergeError> {
        let mut entries: Vec<MergeEntry> = Vec::new();
        for (order, source) in orders {
            let base = entries.last().map_or(self.base.clone(), |entry| entry.commit.clone());
            let commit = match build::build(&self.tree, self.line, order, source, &base) {
                Ok(Built::Commit(commit)) => commit,
                Ok(Built::Already) if entries.is_empty() => {
                    // By no commit that could be named: others made the target hold the same.
                    report.done.push((order.task.clone(), Err(MergeError::Empty { branch: order.branch.clone() })));
                    continue;
                }
                Err(error @ (MergeError::Conflict { .. } | MergeError::Refused { .. })) if entries.is_empty() => {
                    report.done.push((order.task.clone(), Err(error)));
                    continue;
                }
                // It meets another of this merge: judged by itself in the next batch.
                Ok(Built::Already) | Err(MergeError::Conflict { .. } | MergeError::Refused { .. }) => continue,
                Err(error) => return Err(error),
            };
            let patch = verify::patch_id(&self.repo.git, &base, &commit)?;
            entries.push(MergeEntry {
                task: order.task.to_string(),
                title: order.title.clone(),
                token: order.token.0,
                branch: order.branch.clone(),
                source: source.clone(),
                base,
                commit,
                patch,
                before: None,
                after: None,
            });
        }
        Ok(entries)
    }

    /// Returns how many entries from the first on are green together, and what the next one's gate said.
    fn longest_green(
        &self,
        entries: &[MergeEntry],
        gates: &mut dyn Gates,
    ) -> Result<(usize, Option<(String, String)>), MergeError> {
        let mut test = |count: usize| -> Result<Option<(String, String)>, MergeError> {
            self.tree.go(&entries[count - 1].commit)?;
            let tasks: Vec<TaskId> = entries[..count].iter().map(task).collect();
            match gates.before(&self.tree.project()?, &tasks) {
                Ok(()) => Ok(None),
                Err(GateFailure::Red { gate, reason }) => Ok(Some((gate, reason))),
                Err(GateFailure::Stopped) => Err(MergeError::Stopped),
            }
        };
        let Some(mut said) = test(entries.len())? else { return Ok((entries.len(), None)) };
        let (mut green, mut red) = (0, entries.len());
        while red - green > 1 {
            let middle = green.midpoint(red);
            match test(middle)? {
                None => green = middle,
                Some(words) => (red, said) = (middle, words),
            }
        }
        Ok((green, Some(said)))
    }

    fn land(&mut self, entries: &[MergeEntry], gates: &mut dyn Gates) -> Result<Ended, MergeError> {
        self.log.state.entries = entries.to_vec();
        if self.line.tags {
            for entry in &mut self.log.state.entries {
                let name = build::free_tag(&self.repo.git, &build::before_name(&entry.task))?;
                entry.before = Some(name);
            }
        }
        self.log.save(Step::Green)?;
        let top = entries.last().map(|entry| entry.commit.clone()).unwrap_or_default();
        let changes: Vec<Passing> = self.log.state.entries.iter().map(passing).collect();
        let mut behind = None;
        if let Some(name) = self.line.push.clone() {
            land::ready(self.firm, self.log, &self.from, &top)?;
            self.log.save(Step::Pushing)?;
            push(self.firm, self.leash, gates, (self.line, &name), &top, &changes)?;
            remote::prove(self.firm, &name, &self.line.target, &self.log.state.id, entries)?;
            self.log.save(Step::Pushed)?;
            behind = recover::follow(self.firm, self.log, &self.from, &top)?;
        } else {
            let refs = landing_refs(self.repo, &self.log.state)?;
            let mut fence = |deed: super::Deed<'_>| gates.pass(&changes, deed);
            land::land(self.firm, self.log, (&self.from, &top), &refs, &mut fence)?;
        }
        let tree = self.tree.firm();
        recover::settle(self.firm, self.log, Some(&tree), gates, behind.as_deref())
    }
}

fn passing(entry: &MergeEntry) -> Passing {
    Passing { task: task(entry), token: Token(entry.token), commit: entry.commit.clone() }
}

/// Returns the refs that move together with the target.
pub(super) fn landing_refs(repo: &Repo, state: &State) -> Result<Vec<RefChange>, MergeError> {
    let mut refs = Vec::new();
    for entry in &state.entries {
        refs.push(RefChange::Set(verify::merged_ref(&entry.branch), entry.commit.clone()));
        refs.push(RefChange::Remove(verify::reverted_ref(&entry.branch)));
        if let Some(name) = &entry.before {
            let message = format!("{} before {}", state.target, entry.task);
            let object = build::tag_object(&repo.git, name, &entry.base, &state.author, &message)?;
            refs.push(RefChange::Create(format!("refs/tags/{name}"), object));
        }
    }
    Ok(refs)
}

/// Returns the task of an entry.
pub(super) fn task(entry: &MergeEntry) -> TaskId {
    TaskId::parse(&entry.task).expect("a car's task was an id when it was written")
}
