//! The demo's scratch project: a git repository with a sprint of six tasks and a simulated agent.

use std::{
    fs,
    path::{Path, PathBuf},
};

use oodatcaa_agent::prompt;
use oodatcaa_config::{World, trust};
use oodatcaa_core::layout::Layout;
use oodatcaa_core::{Guarantee, Workflow};
use oodatcaa_git::{self as workspace, Author};
use oodatcaa_ops::{ErrorKind, Failure};

const QUEUE: &str = include_str!("sprint.json");
const SIM: &str = include_str!("sim.toml");
const CONFIG: &str = include_str!("config.toml");
/// The gate: what greets, greets without an error.
const CHECK: &str = "for script in greet.sh greet-name.sh goodbye.sh languages.sh greet-all.sh; do\n  if [ -e $script ]; then sh $script Ada || exit 1; fi\ndone\n";
const README: &str = "# Scratch project of `agentctl demo`\n\nEverything that agents did here is simulated.\n";
const IGNORED: &str = "\
/.agent-daemon-logs/\n/.agent-daemon-pids/\n/.agent-daemon-run/\n/.leases/\n/.locks/\n/.oodatcaa/runs/\n\
/.oodatcaa/config.local.toml\n";

/// Sets the project up in a new directory of its own, or in this one, which must be empty: the project in `project`,
/// its worktrees beside it. Its configuration is trusted, as a user would trust it.
pub(super) fn create(dir: Option<&Path>) -> Result<Layout, Failure> {
    let root = match dir {
        Some(dir) => named(dir)?,
        None => {
            let temp = std::env::temp_dir();
            let made = tempfile::Builder::new().prefix("oodatcaa-demo-").tempdir_in(&temp);
            made.map_err(|error| Failure::io("make a directory in", &temp, &error))?.keep()
        }
    };
    let root = root.canonicalize().map_err(|error| Failure::io("find", &root, &error))?;
    let root = root.join("project");
    fs::create_dir(&root).map_err(|error| Failure::io("create", &root, &error))?;
    let layout = World::of_process().at_home(Layout::new(root));
    fill(&layout)?;
    // So that `git diff` and `git status` show what the fleet did.
    let author = Author { name: "oodatcaa demo".into(), email: "demo@localhost".into() };
    workspace::first_commit(&layout, "a sprint to do", &author)?;
    // What was just written here is ours.
    trust::trust(&layout)?;
    Ok(layout)
}

/// Requires no more of the sandbox in this project than what is kept, as its user would; without anything it is off.
pub(super) fn require_less(layout: &Layout, kept: &[Guarantee]) -> Result<(), Failure> {
    let path = layout.local_config();
    let words: Vec<String> = kept.iter().map(|one| format!("\"{}\"", one.as_str())).collect();
    let text = match words.as_slice() {
        [] => "[sandbox]\nmode = \"off\"\n".into(),
        words => format!("[sandbox]\nrequire = [{}]\n", words.join(", ")),
    };
    fs::write(&path, text).map_err(|error| Failure::io("write", &path, &error))?;
    trust::trust(layout)?;
    Ok(())
}

fn named(dir: &Path) -> Result<PathBuf, Failure> {
    fs::create_dir_all(dir).map_err(|error| Failure::io("create", dir, &error))?;
    let mut entries = fs::read_dir(dir).map_err(|error| Failure::io("read", dir, &error))?;
    if entries.next().is_some() {
        return Err(Failure::new(ErrorKind::Refused, format!("{} is not empty", dir.display()))
            .hint("let the demo make a directory of its own: agentctl demo"));
    }
    Ok(dir.into())
}

fn fill(layout: &Layout) -> Result<(), Failure> {
    let mut files = vec![
        (layout.queue(), QUEUE),
        (layout.config(), CONFIG),
        (layout.mark().join("sim.toml"), SIM),
        (layout.root().join("README.md"), README),
        (layout.root().join("check.sh"), CHECK),
        (layout.root().join(".gitignore"), IGNORED),
    ];
    for rule in Workflow::shipped().rules() {
        if let Some(text) = prompt::shipped(&rule.role) {
            files.push((layout.prompt(&rule.role), text));
        }
    }
    for (path, text) in files {
        let parent = path.parent().expect("each lies below the root");
        fs::create_dir_all(parent).map_err(|error| Failure::io("create", parent, &error))?;
        fs::write(&path, text).map_err(|error| Failure::io("write", &path, &error))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sprint_has_six_tasks_and_every_prompt() {
        let dir = tempfile::tempdir().unwrap();
        let layout = create(Some(&dir.path().join("demo"))).unwrap();
        let queue: serde_json::Value = serde_json::from_str(&fs::read_to_string(layout.queue()).unwrap()).unwrap();
        assert_eq!(queue["tasks"].as_array().unwrap().len(), 6);
        for rule in Workflow::shipped().rules() {
            assert!(layout.prompt(&rule.role).is_file(), "{}", rule.role);
        }
    }

    #[test]
    fn a_directory_with_something_in_it_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("mine"), "").unwrap();
        assert_eq!(create(Some(dir.path())).unwrap_err().kind.word(), "refused");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
