//! One batch of the merge queue: build, gates, push, land, check, tag, clean up.

use super::{
    Ended, GateFailure, Gates, Leash, MergeError, MergeRequest, MergeTarget, Merged, Passing, Report, Result,
    build::{self, Built},
    finish, land, remote,
    repo::Repo,
    steps::{self, Log, MergeEntry, Red, State, Step},
    tree::Tree,
    verify,
};
use oodatcaa_core::TaskId;

/// A request and the head of its branch.
type Fresh<'a> = (&'a MergeRequest, String);

/// A batch on its way.
struct Batch<'a> {
    line: &'a MergeTarget,
    /// For what may be ended at any moment.
    repo: Repo,
    /// For what may not.
    firm: Repo,
    leash: Leash,
    gates: &'a mut dyn Gates,
    report: &'a mut Report,
    id: String,
    /// The place where the target stands.
    from: String,
    /// What the results stand on.
    base: String,
}

/// Merges the requests once; each that comes to its end is in the report. One that is not stays
/// for the next batch.
pub(super) fn batch(
    line: &MergeTarget,
    orders: &[&MergeRequest],
    gates: &mut dyn Gates,
    report: &mut Report,
) -> Result<()> {
    let Some(first) = orders.first() else { return Ok(()) };
    let firm = Repo::open(&line.repo, &super::keep(&line.dir), &line.author)?.knowing(line.remotes.as_deref());
    let leash = gates.leash();
    let repo = firm.tied(&leash);
    let id = steps::unique(first.task.as_str());
    // Asked once: what is built on it lands only if the target still is there.
    let from = repo.head(&line.target)?;
    let mut batch = Batch { line, repo, firm, leash, gates, report, id, base: from.clone(), from };
    match batch.fresh(orders) {
        Ok(fresh) if !fresh.is_empty() => batch.go(&fresh),
        ended => {
            // What was fetched says nothing any more.
            let forgotten = remote::forget(&batch.firm, &batch.id);
            ended.and(forgotten)
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

impl Batch<'_> {
    /// Returns the requests that the target does not hold yet; the others have come to their end.
    fn fresh<'o>(&mut self, orders: &[&'o MergeRequest]) -> Result<Vec<Fresh<'o>>> {
        let line = self.line;
        self.base = finish::onto(&self.repo, line.push.as_deref(), &line.target, &self.from, &self.id)?;
        let mut fresh = Vec::new();
        for &order in orders {
            match self.check(order) {
                Ok((source, None)) => fresh.push((order, source)),
                Ok((_, Some(commit))) => {
                    let known = self.known(&commit);
                    self.report.done.push((order.task.clone(), known));
                }
                Err(
                    error @ (MergeError::MovedOn
                    | MergeError::Stopped
                    | MergeError::Unwanted { .. }
                    | MergeError::Unreachable { .. }),
                ) => return Err(error),
                Err(error) => self.report.done.push((order.task.clone(), Err(error))),
            }
        }
        Ok(fresh)
    }

    /// Returns the head of a request's branch, and the commit by which the target holds it already.
    fn check(&mut self, order: &MergeRequest) -> Result<(String, Option<String>)> {
        let source = self.repo.head(&order.branch)?;
        order.admits(&source)?;
        let commit = verify::already(&self.repo.git, &self.base, order, &source)?;
        // An earlier merge may have died between the landing here and the push.
        if let (Some(_), Some(name)) = (&commit, &self.line.push) {
            self.hold(name, order, &source)?;
        }
        Ok((source, commit))
    }

    fn known(&self, commit: &str) -> Result<Merged> {
        let git = &self.repo.git;
        let parent = git.commit(&format!("{commit}^1"))?;
        let patch_id = parent.map_or(Ok(String::new()), |parent| verify::patch_id(git, &parent, commit))?;
        let tags = if self.line.tags { git.run(&["tag", "--points-at", commit])? } else { String::new() };
        let tag = tags.lines().find(|tag| tag.contains("-complete")).map(str::to_owned);
        Ok(Merged { commit: commit.into(), tag, before: None, patch_id, already: true, behind: None })
    }

    /// Proves that the remote holds what the target holds of a branch already; where that takes a push, it is fenced.
    fn hold(&mut self, name: &str, order: &MergeRequest, source: &str) -> Result<()> {
        let target = &self.line.target;
        if remote::holds(&self.repo, name, target, &self.id, source)? {
            return Ok(());
        }
        let base = self.base.clone();
        self.push(name, &base, &[Passing { task: order.task.clone(), token: order.token, commit: base.clone() }])?;
        match remote::holds(&self.firm, name, target, &self.id, source)? {
            true => Ok(()),
            false => Err(MergeError::Unproven(name.into())),
        }
    }

    /// Pushes the target; the push begins behind the fence.
    fn push(&mut self, name: &str, top: &str, changes: &[Passing]) -> Result<()> {
        // Only who will not wait at all ends a push that has begun: the remote may have taken it already.
        let tied = self.firm.tied_for_push(&self.leash);
        let mut push = None;
        self.gates.pass(changes, &mut || {
            push = Some(remote::push(&tied, name, &self.line.target, top)?);
            Ok(())
        })?;
        let pushed = push.map_or(Ok(false), |push| push.end(name));
        if !matches!(pushed, Ok(true)) {
            self.gates.not_passed(changes);
        }
        if pushed? { Ok(()) } else { Err(MergeError::MovedOn) }
    }

    fn go(&mut self, orders: &[Fresh<'_>]) -> Result<()> {
        let line = self.line;
        let path = Tree::plan(&self.repo, &line.place, &self.id)?;
        let state = State {
            format: steps::FORMAT,
            id: self.id.clone(),
            common: self.repo.common.clone(),
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
        // Before the worktree: a tree that no log knows would stay for ever.
        let mut log = Log::begin(&line.dir, state)?;
        let merged = Tree::add(&self.repo, &path, &self.base).and_then(|tree| self.merge(&mut log, &tree, orders));
        match merged {
            Err(error) if unfinished(&log.state, &error) => Err(error),
            merged => {
                let cleaned = finish::clean(&self.firm, log);
                merged.and(cleaned)
            }
        }
    }

    fn merge(&mut self, log: &mut Log, tree: &Tree, orders: &[Fresh<'_>]) -> Result<()> {
        log.save(Step::Tree)?;
        let entries = self.build(tree, orders)?;
        if entries.is_empty() {
            return Ok(());
        }
        log.state.entries.clone_from(&entries);
        log.save(Step::Built)?;
        let (green, red) = self.longest_green(tree, &entries)?;
        if green > 0 {
            let landed = self.land(log, tree, &entries[..green])?;
            self.report.done.extend(landed);
        }
        // Those before it are what it was red with; where they did not land, it may be green without them.
        let refused = red.map(|(gate, reason)| MergeError::GatesRed { gate, reason });
        self.report.done.extend(refused.map(|error| (entries[green].task.clone(), Err(error))));
        Ok(())
    }

    /// Returns the results, one upon the other.
    fn build(&mut self, tree: &Tree, orders: &[Fresh<'_>]) -> Result<Vec<MergeEntry>> {
        let mut entries: Vec<MergeEntry> = Vec::new();
        for (order, source) in orders {
            let base = entries.last().map_or(self.base.clone(), |entry| entry.commit.clone());
            let commit = match build::build(tree, self.line, order, source, &base) {
                Ok(Built::Commit(commit)) => commit,
                Ok(Built::Already) if entries.is_empty() => {
                    // By no commit that could be named: others made the target hold the same.
                    self.report.done.push((order.task.clone(), Err(MergeError::Empty(order.branch.clone()))));
                    continue;
                }
                Err(error @ (MergeError::Conflict { .. } | MergeError::Refused { .. })) if entries.is_empty() => {
                    self.report.done.push((order.task.clone(), Err(error)));
                    continue;
                }
                // It meets another of this merge: judged by itself in the next batch.
                Ok(Built::Already) | Err(MergeError::Conflict { .. } | MergeError::Refused { .. }) => continue,
                Err(error) => return Err(error),
            };
            let patch = verify::patch_id(&self.repo.git, &base, &commit)?;
            entries.push(MergeEntry {
                task: order.task.clone(),
                title: order.title.clone(),
                token: order.token,
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
    fn longest_green(&mut self, tree: &Tree, entries: &[MergeEntry]) -> Result<(usize, Option<Red>)> {
        let mut test = |count: usize| -> Result<Option<Red>> {
            tree.go(&entries[count - 1].commit)?;
            let tasks: Vec<TaskId> = entries[..count].iter().map(|entry| entry.task.clone()).collect();
            match self.gates.before(&tree.project()?, &tasks) {
                Ok(()) => Ok(None),
                Err(GateFailure::Red { gate, reason }) => Ok(Some((gate, reason))),
                Err(GateFailure::Stopped) => Err(MergeError::Stopped),
            }
        };
        let Some(mut said) = test(entries.len())? else { return Ok((entries.len(), None)) };
        // Between the longest beginning that is known green and the shortest that is known red.
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

    fn land(&mut self, log: &mut Log, tree: &Tree, entries: &[MergeEntry]) -> Result<Ended> {
        log.state.entries = entries.to_vec();
        if self.line.tags {
            for entry in &mut log.state.entries {
                entry.before = Some(build::free_tag(&self.repo.git, &build::before_name(entry.task.as_str()))?);
            }
        }
        log.save(Step::Green)?;
        let top = log.state.top().unwrap_or_default().to_owned();
        let passing =
            |entry: &MergeEntry| Passing { task: entry.task.clone(), token: entry.token, commit: entry.commit.clone() };
        let changes: Vec<Passing> = entries.iter().map(passing).collect();
        if let Some(name) = &self.line.push {
            // What is in the way here is found before the remote has it; there is no way back from there.
            land::ready(&self.firm, log, &self.from, &top)?;
            log.save(Step::Pushing)?;
            self.push(name, &top, &changes)?;
            remote::prove(&self.firm, name, &self.line.target, &self.id, entries)?;
            log.save(Step::Pushed)?;
            finish::follow(&self.firm, log, &self.from, &top)?;
        } else {
            let refs = finish::landing_refs(&self.repo, &log.state)?;
            let mut fence = |deed: super::Deed<'_>| self.gates.pass(&changes, deed);
            land::land(&self.firm, log, &self.from, &top, &refs, &mut fence)?;
        }
        finish::settle(&self.firm, log, Some(tree.firm()), self.gates)
    }
}
