//! Which files `init` would write, and everything that it checks before it may.

use std::path::{Path, PathBuf};

use super::{
    known::{self, KNOWN},
    look::Found,
    not_here,
    text::{self, Chosen},
};
use oodatcaa_agent::prompt;
use oodatcaa_config::{self as config, Config, Overrides, World};
use oodatcaa_core::layout::Layout;
use oodatcaa_core::text::{many, near};
use oodatcaa_ops::{ErrorKind, Failure, quoted};
use oodatcaa_sys::files;

/// What the user asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wish<'a> {
    /// The agent, by name.
    pub agent: Option<&'a str>,
}

/// Everything that would be written.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// The files, in the order in which they are written.
    pub files: Vec<PlannedFile>,
    /// The agent that the new configuration names.
    pub agent: Option<String>,
    /// What protects the user.
    pub safety: Vec<String>,
    /// What the user should know.
    pub remarks: Vec<String>,
    /// What the user has to add to a configuration that is there already; empty for nothing.
    pub paste: String,
    /// There was no `.oodatcaa` before.
    pub new_project: bool,
    /// The whole configuration is ours: it may be trusted.
    pub may_trust: bool,
}

/// A file to write.
#[derive(Clone, Debug)]
pub struct PlannedFile {
    /// Where.
    pub path: PathBuf,
    /// Where, for people.
    pub shown: String,
    /// What it is.
    pub what: String,
    /// Its whole content.
    pub content: String,
    /// What was there when the plan was made; `None` for no file.
    pub replaces: Option<String>,
}

impl PlannedFile {
    /// Says what happens to it.
    pub fn verb(&self) -> &'static str {
        if self.replaces.is_some() { "extend" } else { "create" }
    }
}

impl Plan {
    /// Tells whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }
}

/// Refuses the directories that nobody wants as a project, unless forced.
pub fn may_be_a_project(world: &World, layout: &Layout, force: bool) -> Result<(), Failure> {
    let (root, mark) = (layout.root(), layout.mark());
    match mark.symlink_metadata() {
        Ok(metadata) if !metadata.is_dir() => {
            let message = format!("{} is there and is no directory of its own", mark.display());
            return Err(
                Failure::new(ErrorKind::UnsafePath, message).hint(format!("look at it: ls -ld {}", quoted(&mark)))
            );
        }
        Ok(_) => return Ok(()),
        Err(_) if force => return Ok(()),
        Err(_) => {}
    }
    if root == Path::new("/") || world.home().and_then(|home| home.canonicalize().ok()).is_some_and(|home| home == root)
    {
        return Err(not_here(format!("{} is no directory of one project", root.display()), root));
    }
    let parent = root.parent().and_then(|parent| Layout::find(parent, Path::is_dir));
    match parent {
        Some(parent) => {
            let message = format!("{} belongs to the project {} already", root.display(), parent.root().display());
            Err(not_here(message, root)
                .hint(format!("to work with that one: agentctl -C {} status", quoted(parent.root()))))
        }
        None => Ok(()),
    }
}

/// Makes the plan.
pub fn plan(world: &World, layout: &Layout, found: &Found, wish: &Wish<'_>) -> Result<Plan, Failure> {
    let mut plan = Plan { new_project: !layout.mark().is_dir(), ..Plan::default() };
    // What stands there must be readable before anything is added to it.
    let before = Config::load_in(world, layout, &Overrides::default())?;
    let workflow = &before.config.workflow;

    if layout.config().symlink_metadata().is_err() {
        let (chosen, name) = choose(found, wish, &before.config, &mut plan)?;
        plan.agent = (!name.is_empty()).then_some(name.clone());
        let content = text::config(chosen, &name, &found.tests, workflow, found.git.is_some());
        let gate = found.tests.first().map_or("no gate", |_| "gate `test`");
        let agent = plan.agent.as_ref().map_or("no agent".into(), |agent| format!("agent `{agent}`"));
        plan.file(layout, layout.config(), format!("{agent}, {gate}"), content);
        plan.may_trust = !layout.local_config().exists();
        if layout.queue().symlink_metadata().is_err() {
            plan.safety.push("one task at a time in every role".into());
        }
        plan.safety
            .push("at most 60m per attempt and 3 attempts per stage; nothing is simulated unless you name it".into());
        plan.safety.push(
            "at most 12 starts of agents a task and 1000 a day; a limit on money: agentctl config show budget".into(),
        );
        if found.git.is_some() {
            plan.safety.push("each task has a git worktree and a branch of its own, outside of this directory".into());
        }
        plan.safety.push("nothing is merged before you have approved it: agentctl inbox".into());
        if let Chosen::Known(known) = chosen {
            plan.safety.push(format!("{}: {}", known.name, known.rights));
        }
        for (test, what) in &found.untried {
            let command = test.argv.join(" ");
            plan.remarks.push(format!("no gate `{command}`: {what}; how to add one: agentctl config show --default"));
        }
        if !found.tests.is_empty() {
            plan.remarks.push("whether the gate is green here is not tried yet: agentctl doctor --gates".into());
            let command = found.tests[0].argv.join(" ");
            plan.safety.push(format!("`{command}` must succeed before a task leaves builder, tester or integrator"));
        }
        let schema = layout.mark().join("config.schema.json");
        if schema.symlink_metadata().is_err() {
            plan.file(layout, schema, "what editors know of config.toml".into(), config::schema());
        }
    } else if let Some(name) = wish.agent {
        describe(name, &before.config, &mut plan)?;
    }
    if layout.queue().symlink_metadata().is_err() {
        plan.file(layout, layout.queue(), "an empty queue, WIP 1 in every role".into(), text::queue(workflow));
    }
    for rule in workflow.rules() {
        let path = layout.prompt(&rule.role);
        if path.symlink_metadata().is_err()
            && let Some(content) = prompt::shipped(&rule.role)
        {
            plan.file(layout, path, "prompt template, yours to change".into(), content.into());
        }
    }
    if found.git.is_some() {
        ignore(layout, &mut plan)?;
    } else {
        plan.remarks.push("without git nothing that an agent does can be taken back: git init".into());
    }
    Ok(plan)
}

impl Plan {
    fn file(&mut self, layout: &Layout, path: PathBuf, what: String, content: String) {
        let shown = path.strip_prefix(layout.root()).unwrap_or(&path).display().to_string();
        self.files.push(PlannedFile { path, shown, what, content, replaces: None });
    }
}

/// Chooses the agent of a new configuration: the one that was named, else the first that was found.
fn choose(found: &Found, wish: &Wish<'_>, before: &Config, plan: &mut Plan) -> Result<(Chosen, String), Failure> {
    let Some(name) = wish.agent else {
        let others: Vec<&str> = found.agents.iter().skip(1).map(|(known, _)| known.name).collect();
        if !others.is_empty() {
            plan.remarks.push(format!("also found: {}; to take another one: --agent NAME", others.join(", ")));
        }
        return Ok(match found.agents.first() {
            Some((known, _)) => (Chosen::Known(known), known.name.into()),
            None => {
                plan.remarks
                    .push("no agent program was found; the configuration names none, and no worker will start".into());
                (Chosen::None, String::new())
            }
        });
    };
    if name == "sim" {
        return Ok((Chosen::Sim, name.into()));
    }
    if before.agents.contains_key(name) {
        return Ok((Chosen::Theirs, name.into()));
    }
    let known = known::find(name).ok_or_else(|| unknown(name))?;
    if !found.agents.iter().any(|(other, _)| other.name == name) {
        plan.remarks.push(format!("{name} is not on PATH; install it: {}", known.install));
    }
    Ok((Chosen::Known(known), name.into()))
}

/// Says what to write by hand into a configuration that is there already.
fn describe(name: &str, before: &Config, plan: &mut Plan) -> Result<(), Failure> {
    if before.agents.contains_key(name) {
        plan.remarks.push(format!("config.toml is there and stays; to use it, write into [fleet]: agent = \"{name}\""));
        return Ok(());
    }
    let known = known::find(name).ok_or_else(|| unknown(name))?;
    plan.remarks.push(format!(
        "config.toml is there and stays; to use {name}, write agent = \"{name}\" into [fleet] and append:"
    ));
    plan.paste = text::agent(known);
    Ok(())
}

fn unknown(name: &str) -> Failure {
    let names: Vec<&str> = KNOWN.iter().map(|known| known.name).collect();
    let failure =
        Failure::new(ErrorKind::Usage, format!("no agent `{name}` is known; there are: {}", names.join(", ")));
    match near(name, names.iter().copied()).first() {
        Some(meant) => failure.hint(format!("agentctl init --agent {meant}")),
        None => failure.hint("any program will do: how to describe yours is shown by: agentctl config show --default"),
    }
}

fn ignore(layout: &Layout, plan: &mut Plan) -> Result<(), Failure> {
    let path = layout.root().join(".gitignore");
    let old = match path.symlink_metadata() {
        Ok(metadata) if metadata.is_file() => files::read_text(layout.root(), &path, 1 << 20)?,
        Ok(_) => {
            plan.remarks.push(".gitignore is no regular file and stays as it is".into());
            return Ok(());
        }
        Err(_) => None,
    };
    let (missing, content) = text::gitignore(old.as_deref().unwrap_or_default());
    if !missing.is_empty() {
        plan.file(
            layout,
            path,
            format!("+{}: runs, leases, locks, logs, journal", many(missing.len(), "line")),
            content,
        );
        plan.files.last_mut().expect("just planned").replaces = old;
    }
    Ok(())
}
