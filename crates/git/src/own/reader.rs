//! Git's way to read what an agent wrote: its side of a fetch, which works in the agent's repository, is confined as agents
//! are, and nothing is read where it cannot be.

use std::path::{Path, PathBuf};

use crate::{
    Config,
    fault::{Result, WorkspaceError},
    repo::{Home, make_dir},
};
use oodatcaa_config::{Confined, Confinee};
use oodatcaa_core::text;
use oodatcaa_process::confine::{self, Report};
use oodatcaa_sys::files;

/// The program of git's that works there.
const PROGRAM: &str = "git-upload-pack";

/// A way to read one agent's repositories.
pub(super) struct Reader {
    /// The option that names the command to git, which hands it to a shell.
    pub(super) option: String,
    home: Home,
    /// The directory of profile and report.
    dir: PathBuf,
    confined: Option<Confined>,
}

impl Reader {
    /// Confines whoever reads below this directory.
    pub(super) fn of(config: &Config, home: &Home, own: &Path) -> Result<Self> {
        let dir = super::beside(own, ".read");
        make_dir(&dir)?;
        let confined = config.confine.confine(Confinee::Git(own), &dir).map_err(refused)?;
        let mut words = Vec::new();
        if let Some(Confined { profile, env, .. }) = &confined {
            // Whatever became of its file; and not `self`, which is whoever follows the link.
            let ourselves = PathBuf::from(format!("/proc/{}/exe", std::process::id()));
            words.push("env".into());
            words.extend(env.iter().map(|(name, value)| format!("{name}={value}")));
            words.extend([&ourselves, &PathBuf::from(confine::MODE), profile].map(|word| word.display().to_string()));
            words.push("--".into());
        }
        words.push(PROGRAM.into());
        let words: Vec<String> = words.iter().map(|word| text::shell_word(word)).collect();
        // Away from the worktree, in which it has nothing to look for.
        Ok(Self { option: format!("--upload-pack=cd / && {}", words.join(" ")), home: home.clone(), dir, confined })
    }

    /// Checks that whoever has read was confined: what it says counts only then, and nobody can be blamed else.
    pub(super) fn has_read(&self) -> Result<()> {
        match &self.confined {
            Some(_) => Report::ran(&self.dir).map(drop).map_err(refused),
            None => Ok(()),
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if let Err(error) = files::remove_tree(&self.home.dir, &self.dir) {
            log::warn!("{} stays: {error}", self.dir.display());
        }
    }
}

fn refused(words: String) -> WorkspaceError {
    WorkspaceError::Sandbox { hook: PROGRAM, words }
}
