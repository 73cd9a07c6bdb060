//! `[workspace]`: where attempts work. What comes of it is the business of the workspaces.

use std::time::Duration;

/// `[workspace]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkspaceConfig {
    /// A worktree per task, or one directory for all.
    pub mode: WorkspaceMode,
    /// Where worktrees lie; the user's state directory when absent.
    pub root: Option<String>,
    /// The template of branch names. `feat/{task}-{slug}`.
    pub branch: String,
    /// What branches start from; the branch of the main checkout when absent.
    pub base: Option<String>,
    /// The remote to fetch the base from before a task begins; nothing is fetched when absent.
    pub fetch: Option<String>,
    /// `Name <mail>` of commits; the role when absent.
    pub author: Option<String>,
    /// Untracked files that a worktree gets a copy of.
    pub copy: Vec<String>,
    /// Runs in a new worktree; empty for nothing.
    pub setup: Vec<String>,
    /// Runs before a worktree goes; empty for nothing.
    pub teardown: Vec<String>,
    /// Wall-clock limit of a hook. 10 min.
    pub hook_timeout: Duration,
    /// Names of variables that hooks inherit.
    pub hook_env: Vec<String>,
    /// The first port of all blocks; 0 for no ports. 20000.
    pub port_base: u32,
    /// Ports in a block. 10.
    pub ports: u32,
    /// How long to wait for the lock of the repository. 2 min.
    pub lock_wait: Duration,
    /// Bytes that must be free. 512 MiB.
    pub disk_min: u64,
    /// How long what finished tasks left stays. 30 days.
    pub keep: Duration,
    /// Hooks of the project were dropped because it is not trusted: no workspace without them.
    pub untrusted: bool,
}

/// Where attempts work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkspaceMode {
    /// In the project's directory.
    Shared,
    /// Every task in a git worktree of its own.
    Worktree,
}

impl Default for WorkspaceConfig {
    fn default() -> Self {
        Self {
            mode: WorkspaceMode::Worktree,
            root: None,
            branch: "feat/{task}-{slug}".into(),
            base: None,
            fetch: None,
            author: None,
            copy: Vec::new(),
            setup: Vec::new(),
            teardown: Vec::new(),
            hook_timeout: Duration::from_secs(600),
            hook_env: Vec::new(),
            port_base: 20_000,
            ports: 10,
            lock_wait: Duration::from_secs(120),
            disk_min: 512 << 20,
            keep: Duration::from_secs(30 * 86_400),
            untrusted: false,
        }
    }
}
