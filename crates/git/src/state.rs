//! What is remembered of a task's workspace, beside its worktree: `tasks/<task>.json`, and the ports.
//!
//! It is written before anything is made, so that what a crash left half done is recognised.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener},
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{
    Config,
    fault::{Result, failed},
    lock,
    own::Handed,
    repo::{Home, make_dir},
};
use oodatcaa_core::{Task, TaskId, Token, layout::Layout};
use oodatcaa_sys::files;

/// How long others are waited for who choose a block of ports.
const CHOOSING: Duration = Duration::from_secs(60);

/// How many blocks are looked at for one that is free.
const TRIED: usize = 200;

/// The highest port that is given out.
const LAST_PORT: u32 = 65_535;

/// What is remembered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) version: u32,
    pub(super) task: TaskId,
    /// The place where the project is, for people.
    pub(super) project: PathBuf,
    pub(super) branch: String,
    /// The branch was made for this task.
    pub(super) made: bool,
    /// The place where it started from and goes to; `None` for a detached head.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) base: Option<String>,
    /// The worktree was whole once; before that nobody worked in it.
    pub(super) ready: bool,
    /// `setup` has run.
    #[serde(default)]
    pub(super) set_up: bool,
    /// The number of the block of ports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) block: Option<u32>,
    /// The copies that were made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) copied: Vec<String>,
    /// The name of git's own directory of the worktree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) admin: Option<String>,
    /// Patterns of what agents' programs leave there that is no work.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) ignored: Vec<String>,
    /// An attempt has ended here, so the task's entry names the branch.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) settled: bool,
    /// The time when the task was made, where its entry says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) created: Option<String>,
    /// The repository of its own that an agent has there, until it was taken in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) handed: Option<Handed>,
    /// The operation of git that an agent left half done there; nobody has ended it yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) midway: Option<String>,
    /// The attempt whose changes are no work, while it lasts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) lent: Option<Token>,
}

impl State {
    /// Tells whether it is of another task than this one, which only has the same id: an entry that has been worked on names
    /// its branch, and says all its life the same of when it was made.
    pub(super) fn is_of_another(&self, task: &Task) -> bool {
        let made =
            |created: &Option<String>| created.as_ref().zip(task.created_at.as_ref()).is_some_and(|(a, b)| a != b);
        task.branch.is_none() && (self.settled || made(&self.created))
    }

    /// Returns what is known of a worktree that nobody has noted anything of: it is whole, and the branch is not ours.
    pub(super) fn new(layout: &Layout, task: &TaskId, branch: Option<String>, base: Option<String>) -> Self {
        Self {
            version: 2,
            task: task.clone(),
            project: layout.root().into(),
            // A worktree that lost its note and its branch gets the plainest one.
            branch: branch.unwrap_or_else(|| format!("oodatcaa/{}", super::branch::component(task.as_str()))),
            made: false,
            base,
            ready: true,
            set_up: true,
            block: None,
            copied: Vec::new(),
            admin: None,
            ignored: Vec::new(),
            settled: false,
            created: None,
            handed: None,
            midway: None,
            lent: None,
        }
    }

    fn path(home: &Home, task: &TaskId) -> PathBuf {
        home.tasks().join(format!("{task}.json"))
    }

    /// Reads it; one that cannot be read counts as none.
    pub(super) fn load(home: &Home, task: &TaskId) -> Option<Self> {
        let state: Self = serde_json::from_str(&files::named::text(Self::path(home, task)).ok()?).ok()?;
        // An agent that runs as the same user could have written it.
        (state.task == *task && super::branch::is_legal(&state.branch)).then_some(state)
    }

    /// Writes it as one.
    pub(super) fn save(&self, home: &Home) -> Result<()> {
        let dir = home.tasks();
        make_dir(&dir)?;
        let path = Self::path(home, &self.task);
        let mut json = serde_json::to_vec_pretty(self).expect("texts become JSON");
        json.push(b'\n');
        files::named::write(&path, json, files::Durable::No).map_err(failed("write", &path))
    }

    /// Forgets it.
    pub(super) fn forget(home: &Home, task: &TaskId) -> Result<()> {
        let path = Self::path(home, task);
        files::named::remove(&path).map(drop).map_err(failed("remove", &path))
    }

    /// Returns every task that something is remembered of.
    pub(super) fn all(home: &Home) -> Vec<TaskId> {
        let entries = files::named::entries(home.tasks()).into_iter();
        let ids = entries.filter_map(|entry| TaskId::parse(entry.name.to_str()?.strip_suffix(".json")?).ok());
        let mut ids: Vec<TaskId> = ids.collect();
        ids.sort();
        ids
    }

    /// Gives the task a block of ports that no other task of the same user has, in whatever project.
    pub(super) fn take_ports(&mut self, home: &Home, config: &Config) -> Result<()> {
        // Switched off since: what it had is free for others.
        if config.port_base == 0 {
            self.block = None;
            return Ok(());
        }
        let first = |block: u32| {
            let first = config.port_base.checked_add(block.checked_mul(config.ports)?)?;
            (first.checked_add(config.ports - 1)? <= LAST_PORT).then_some(first)
        };
        if let Some(port) = self.block.and_then(first) {
            if !in_use(port, config.ports) {
                return Ok(());
            }
            log::warn!("{}: another program uses ports of its block; it gets the next free block", self.task);
        }
        let root = home.dir.parent().unwrap_or(&home.dir);
        make_dir(root)?;
        let _lock = lock::hold(&root.join("ports.lock"), CHOOSING)?;
        // Of all projects of the user: they share one machine and its ports.
        let taken: BTreeSet<u32> = homes(root)
            .iter()
            .flat_map(|home| State::all(home).into_iter().filter_map(|task| State::load(home, &task)?.block))
            .collect();
        let blocks = (0..).map_while(|block| Some((block, first(block)?)));
        let free = blocks.filter(|(block, _)| !taken.contains(block)).take(TRIED).find(|(_, port)| {
            let is_used = in_use(*port, config.ports);
            if is_used {
                log::info!("{}: port {port} and those after it are in use", self.task);
            }
            !is_used
        });
        self.block = free.map(|(block, _)| block);
        if self.block.is_none() {
            log::warn!("{}: no block of {} free ports from {} on", self.task, config.ports, config.port_base);
        }
        self.save(home)
    }

    /// Returns the first port of its block.
    pub(super) fn port(&self, config: &Config) -> Option<u32> {
        let block = self.block?;
        (config.port_base > 0).then(|| config.port_base + block * config.ports)
    }
}

/// Tells whether another program listens on one of these ports.
fn in_use(first: u32, count: u32) -> bool {
    let taken = |port: u32, host: IpAddr| {
        let Ok(port) = u16::try_from(port) else { return true };
        TcpListener::bind((host, port)).is_err_and(|error| error.kind() == std::io::ErrorKind::AddrInUse)
    };
    // A server on the wildcard address is in the way of both.
    let hosts: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    (first..first.saturating_add(count)).any(|port| hosts.into_iter().any(|host| taken(port, host)))
}

fn homes(root: &Path) -> Vec<Home> {
    let dirs = files::named::directories(root).map(|name| root.join(name));
    dirs.filter(|dir| dir.join("tasks").is_dir()).map(|dir| Home { dir }).collect()
}
