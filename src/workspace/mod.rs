//! Where an attempt works: a git worktree per task, and what is kept of it (R20, R23).

pub mod git;
pub mod train;
