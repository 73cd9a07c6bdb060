//! One ride of the train: build, gates, push, land, check, tag, clean up.

use super::{
    Ended, GateFailure, Gates, Line, Merged, Order, Report, TrainError,
    build::{self, Built},
    land::{self, RefChange, Repo},
    recover, remote,
    steps::{self, Car, Log, State, Step},
    tree::{self, Tree},
    verify,
};
use crate::domain::TaskId;

/// Rides once with the orders; each that comes to its end is in the report. One that is not stays
/// for the next ride.
pub(super) fn ride(
    line: &Line,
    orders: &[&Order],
    gates: &mut dyn Gates,
    report: &mut Report,
) -> Result<(), TrainError> {
    let repo = Repo::open(&line.repo, &super::keep(&line.dir), &line.author)?;
    let Some(first) = orders.first() else { return Ok(()) };
    let id = steps::unique(first.task.as_str());
    let from = repo.head(&line.target)?;
    let base = onto(&repo, line.push.as_deref(), &line.target, &from, &id).inspect_err(|_| {
        // What was fetched says nothing any more.
        let _ = remote::forget(&repo, &id);
    })?;
    let mut fresh = Vec::new();
    for &order in orders {
        let checked = repo.head(&order.branch).and_then(|source| {
            Ok(match verify::already(&repo.git, &base, order, &source)? {
                Some(commit) => {
                    if let Some(name) = &line.push {
                        remote::hold(&repo, name, &line.target, &id, &base, &source)?;
                    }
                    Err(commit)
                }
                None => Ok(source),
            })
        });
        match checked {
            Ok(Ok(source)) => fresh.push((order, source)),
            Ok(Err(commit)) => report.done.push((order.task.clone(), known(&repo, line, &commit))),
            Err(error @ (TrainError::MovedOn | TrainError::Unreachable { .. })) => {
                remote::forget(&repo, &id)?;
                return Err(error);
            }
            Err(error) => report.done.push((order.task.clone(), Err(error))),
        }
    }
    if fresh.is_empty() {
        return remote::forget(&repo, &id);
    }
    let path = Tree::plan(&repo, &line.place, &id)?;
    let state = State {
        format: steps::FORMAT,
        id,
        common: repo.common.clone(),
        target: line.target.clone(),
        step: Step::Begun,
        tree: Some(path.clone()),
        cars: Vec::new(),
        landing: None,
        push: line.push.clone(),
        tags: line.tags,
        author: line.author.clone(),
        red: None,
    };
    let mut log = Log::begin(&line.dir, state)?;
    let ridden = Tree::add(&repo, &path, &base).and_then(|tree| {
        log.save(Step::Tree)?;
        Ride { line, repo: &repo, log: &mut log, tree, from, base }.go(&fresh, gates, report)
    });
    match ridden {
        Err(error) if unfinished(&log.state, &error) => Err(error),
        ridden => {
            let cleaned = clean(&repo, log);
            ridden.and(cleaned)
        }
    }
}

/// `true` when something stands in the world that only a recovery can finish.
fn unfinished(state: &State, error: &TrainError) -> bool {
    let pushing = matches!(state.step, Step::Pushing | Step::Pushed)
        && !matches!(error, TrainError::MovedOn | TrainError::PushRefused { .. });
    state.landing.is_some() || state.step >= Step::Landed || pushing
}

/// Removes what a train leaves beside its results.
pub(super) fn clean(repo: &Repo, log: Log) -> Result<(), TrainError> {
    sweep(repo, &log)?;
    steps::point(Step::Cleaned);
    log.close()
}

/// The same, but for what it remembers.
pub(super) fn sweep(repo: &Repo, log: &Log) -> Result<(), TrainError> {
    if let Some(path) = &log.state.tree {
        tree::remove(repo, path, &log.state.id)?;
    }
    remote::forget(repo, &log.state.id)
}

/// What a result stands on: the target, or the remote's if that is further.
pub(super) fn onto(repo: &Repo, push: Option<&str>, target: &str, from: &str, id: &str) -> Result<String, TrainError> {
    let Some(name) = push else { return Ok(from.into()) };
    let Some(theirs) = remote::head(repo, name, target, id)? else { return Ok(from.into()) };
    if repo.git.asks(&["merge-base", "--is-ancestor", &theirs, from])? {
        Ok(from.into())
    } else if repo.git.asks(&["merge-base", "--is-ancestor", from, &theirs])? {
        Ok(theirs)
    } else {
        Err(TrainError::Diverged { target: target.into(), remote: name.into() })
    }
}

fn known(repo: &Repo, line: &Line, commit: &str) -> Result<Merged, TrainError> {
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

struct Ride<'a> {
    line: &'a Line,
    repo: &'a Repo,
    log: &'a mut Log,
    tree: Tree,
    from: String,
    base: String,
}

impl Ride<'_> {
    fn go(
        &mut self,
        orders: &[(&Order, String)],
        gates: &mut dyn Gates,
        report: &mut Report,
    ) -> Result<(), TrainError> {
        let cars = self.build(orders, report)?;
        if cars.is_empty() {
            return Ok(());
        }
        self.log.state.cars = cars.clone();
        self.log.save(Step::Built)?;
        let (green, red) = self.longest_green(&cars, gates)?;
        let refused = red.map(|(gate, reason)| {
            let task = task(&cars[green]);
            (task, Err(TrainError::GatesRed { gate, reason }))
        });
        if green > 0 {
            let landed = self.land(&cars[..green], gates);
            // Those before it are what it was red with; without them it may be green.
            let landed = landed?;
            report.done.extend(landed);
        }
        report.done.extend(refused);
        Ok(())
    }

    /// The results, one upon the other.
    fn build(&mut self, orders: &[(&Order, String)], report: &mut Report) -> Result<Vec<Car>, TrainError> {
        let mut cars: Vec<Car> = Vec::new();
        for (order, source) in orders {
            let base = cars.last().map_or(self.base.clone(), |car| car.commit.clone());
            let commit = match build::build(&self.tree, self.line, order, source, &base) {
                Ok(Built::Commit(commit)) => commit,
                Ok(Built::Already) if cars.is_empty() => {
                    // By no commit that could be named: others made the target hold the same.
                    report.done.push((order.task.clone(), Err(TrainError::Empty { branch: order.branch.clone() })));
                    continue;
                }
                Err(error @ (TrainError::Conflict { .. } | TrainError::Refused { .. })) if cars.is_empty() => {
                    report.done.push((order.task.clone(), Err(error)));
                    continue;
                }
                // It meets another of this train: judged by itself in the next ride.
                Ok(Built::Already) | Err(TrainError::Conflict { .. } | TrainError::Refused { .. }) => continue,
                Err(error) => return Err(error),
            };
            let patch = verify::patch_id(&self.repo.git, &base, &commit)?;
            cars.push(Car {
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
        Ok(cars)
    }

    /// How many cars from the first on are green together, and what the next one's gate said.
    fn longest_green(
        &self,
        cars: &[Car],
        gates: &mut dyn Gates,
    ) -> Result<(usize, Option<(String, String)>), TrainError> {
        let mut test = |count: usize| -> Result<Option<(String, String)>, TrainError> {
            self.tree.go(&cars[count - 1].commit)?;
            let tasks: Vec<TaskId> = cars[..count].iter().map(task).collect();
            match gates.before(&self.tree.project()?, &tasks) {
                Ok(()) => Ok(None),
                Err(GateFailure::Red { gate, reason }) => Ok(Some((gate, reason))),
                Err(GateFailure::Stopped) => Err(TrainError::Stopped),
            }
        };
        let Some(mut said) = test(cars.len())? else { return Ok((cars.len(), None)) };
        let (mut green, mut red) = (0, cars.len());
        while red - green > 1 {
            let middle = green.midpoint(red);
            match test(middle)? {
                None => green = middle,
                Some(words) => (red, said) = (middle, words),
            }
        }
        Ok((green, Some(said)))
    }

    fn land(&mut self, cars: &[Car], gates: &mut dyn Gates) -> Result<Ended, TrainError> {
        self.log.state.cars = cars.to_vec();
        if self.line.tags {
            for car in &mut self.log.state.cars {
                let name = build::free_tag(&self.repo.git, &build::before_name(&car.task))?;
                car.before = Some(name);
            }
        }
        self.log.save(Step::Green)?;
        let top = cars.last().map(|car| car.commit.clone()).unwrap_or_default();
        let mut behind = None;
        if let Some(name) = self.line.push.clone() {
            land::ready(self.repo, self.log, &self.from, &top)?;
            self.log.save(Step::Pushing)?;
            if !remote::push(self.repo, &name, &self.line.target, &top)? {
                return Err(TrainError::MovedOn);
            }
            remote::prove(self.repo, &name, &self.line.target, &self.log.state.id, cars)?;
            self.log.save(Step::Pushed)?;
            behind = recover::follow(self.repo, self.log, &self.from, &top)?;
        } else {
            let refs = landing_refs(self.repo, &self.log.state)?;
            land::land(self.repo, self.log, &self.from, &top, &refs)?;
        }
        recover::settle(self.repo, self.log, Some(&self.tree), gates, behind.as_deref())
    }
}

/// The refs that move together with the target.
pub(super) fn landing_refs(repo: &Repo, state: &State) -> Result<Vec<RefChange>, TrainError> {
    let mut refs = Vec::new();
    for car in &state.cars {
        refs.push(RefChange::Set(verify::merged_ref(&car.task), car.commit.clone()));
        refs.push(RefChange::Remove(verify::reverted_ref(&car.task)));
        if let Some(name) = &car.before {
            let message = format!("{} before {}", state.target, car.task);
            let object = build::tag_object(&repo.git, name, &car.base, &state.author, &message)?;
            refs.push(RefChange::Create(format!("refs/tags/{name}"), object));
        }
    }
    Ok(refs)
}

/// The task of a car.
pub(super) fn task(car: &Car) -> TaskId {
    TaskId::parse(&car.task).expect("a car's task was an id when it was written")
}
