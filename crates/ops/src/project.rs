//! The project that a request is about: where it lies, its store, its configuration, who asks.
//!
//! Everything is looked up when it is first asked for, so that a request pays for what it needs and
//! works where the rest is broken.

use std::{cell::OnceCell, path::PathBuf};

use crate::{ErrorKind, Failure, no_task, quoted};
use oodatcaa_agent::sandbox;
use oodatcaa_config::{Config, Loaded, Overrides, World};
use oodatcaa_core::layout::Layout;
use oodatcaa_core::{Queue, Task, TaskId, Workflow, event::Actor, policy::Policy, text};
use oodatcaa_process::caller;
use oodatcaa_store::{Desk, LOCK_WAIT, Mailboxes, Reading};

/// A project, or the place where one was looked for.
#[derive(Debug, Default)]
pub struct Project {
    named: Option<PathBuf>,
    layout: OnceCell<Layout>,
    store: OnceCell<Desk>,
    loaded: OnceCell<Loaded>,
    workflow: OnceCell<Workflow>,
    pub(crate) mailboxes: OnceCell<Box<dyn Mailboxes>>,
}

impl Project {
    /// Returns the project that was named, or else the one around the working directory.
    pub fn new(named: Option<PathBuf>) -> Self {
        Self { named, ..Self::default() }
    }

    /// Returns the project that lies there, with the configuration that was loaded of it.
    pub fn at(layout: Layout, loaded: Loaded) -> Self {
        Self { layout: layout.into(), loaded: loaded.into(), ..Self::default() }
    }

    /// Returns the directory that was named, or else the working directory.
    pub fn directory(&self) -> Result<PathBuf, Failure> {
        let directory = match &self.named {
            Some(named) => std::path::absolute(named),
            None => std::env::current_dir(),
        };
        directory.map_err(|error| Failure::io("find", self.named.as_deref().unwrap_or(".".as_ref()), &error))
    }

    /// Finds where the project lies; `None` where there is none.
    pub fn find_layout(&self) -> Result<Option<&Layout>, Failure> {
        if let Some(layout) = self.layout.get() {
            return Ok(Some(layout));
        }
        let directory = self.directory()?;
        let directory = directory.canonicalize().unwrap_or(directory);
        let found = match self.named {
            // A directory that was named is meant; its parents are not.
            Some(_) => directory.join(Layout::MARK).is_dir().then(|| Layout::new(directory)),
            None => Layout::find(&directory, std::path::Path::is_dir),
        };
        Ok(found.map(|layout| self.layout.get_or_init(|| World::of_process().at_home(layout))))
    }

    /// Finds where the project lies; without one the request cannot be served.
    pub fn layout(&self) -> Result<&Layout, Failure> {
        if let Some(layout) = self.find_layout()? {
            return Ok(layout);
        }
        let directory = self.directory()?;
        if self.named.is_some() && !directory.is_dir() {
            return Err(Failure::new(ErrorKind::NoProject, format!("there is no directory {}", directory.display())));
        }
        let message = match self.named {
            Some(_) => format!("{} is not a project: it has no {} directory", directory.display(), Layout::MARK),
            None => {
                format!("not in a project: neither {} nor a parent has a {}", directory.display(), Layout::MARK)
            }
        };
        Err(Failure::new(ErrorKind::NoProject, message)
            .hint(match self.named {
                Some(_) => format!("set one up there: agentctl -C {} init", quoted(&directory)),
                None => "set one up here: agentctl init".into(),
            })
            .hint("or watch a simulated one first: agentctl demo"))
    }

    /// Loads the configuration; a broken one is a failure.
    pub fn loaded(&self) -> Result<&Loaded, Failure> {
        if let Some(loaded) = self.loaded.get() {
            return Ok(loaded);
        }
        let mut loaded = Config::load(self.layout()?, &Overrides::default())?;
        sandbox::confine_hooks(&mut loaded.config, self.layout()?);
        Ok(self.loaded.get_or_init(|| loaded))
    }

    /// Returns the table of roles. With a broken configuration the shipped one stands in, and its policy says what is
    /// broken: looking at tasks works always, and no worker can start.
    pub fn workflow(&self) -> &Workflow {
        self.workflow.get_or_init(|| match self.loaded() {
            Ok(loaded) => loaded.config.workflow.clone(),
            // Outside of a project there is nothing to show, and the request says so.
            Err(_) if self.layout().is_err() => Workflow::shipped(),
            Err(failure) => Workflow::shipped().under(Policy { broken: Some(failure.sentence()), ..Policy::default() }),
        })
    }

    /// Opens the store, without an identity: it never takes a lease.
    pub fn store(&self) -> Result<&Desk, Failure> {
        if let Some(store) = self.store.get() {
            return Ok(store);
        }
        let lock_wait = self.loaded().map_or(LOCK_WAIT, |loaded| loaded.config.fleet.lock_wait);
        let layout = self.layout()?;
        let store = oodatcaa_store::open(layout.root(), layout, None, lock_wait)?;
        Ok(self.store.get_or_init(|| store))
    }

    /// Reads what stands there now, without a lock; of a broken queue file the last good content.
    pub fn read(&self) -> Result<Reading, Failure> {
        Ok(self.store()?.read()?)
    }

    /// Tells who asks: the user that this process belongs to, and how. Something that an agent started is no human, and
    /// the journal does not call it one.
    pub fn actor(&self) -> Actor {
        match caller::attempt() {
            Some(_) => Actor::Outside,
            None => Actor::Human(format!("{}@{}", text::cut(&text::one_line(&caller::user()), 64), caller::way())),
        }
    }
}

/// Finds a task by an id as somebody typed it; a failure names the nearest ones.
pub fn find_task<'a>(queue: &'a Queue, id: &str) -> Result<&'a Task, Failure> {
    let found = queue.find(id).or_else(|| queue.tasks().find(|task| task.id.as_str().eq_ignore_ascii_case(id)));
    // One that stands in the file and cannot be used is told as what it is.
    let skipped = queue.problems.iter().find(|problem| problem.task.as_deref() == Some(id));
    if let (None, Some(problem)) = (found, skipped) {
        let words = text::cut(&text::one_line(&problem.to_string()), 300);
        return Err(Failure::new(ErrorKind::NotFound, words).hint("agentctl queue validate"));
    }
    found.ok_or_else(|| no_task(id, queue))
}

/// Finds a task by an id as somebody typed it, also one that has left the queue where it has `left` something.
pub fn find_id(queue: &Queue, id: &str, left: impl Fn(&TaskId) -> bool) -> Result<TaskId, Failure> {
    let found = find_task(queue, id).map(|task| task.id.clone());
    found.or_else(|failure| TaskId::parse(id).ok().filter(left).ok_or(failure))
}
