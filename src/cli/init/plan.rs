//! Which files `init` would write, and everything that it checks before it may.

use std::path::{Path, PathBuf};

use super::{
    known::{self, KNOWN, Known},
    look::Found,
    text,
};
use oodatcaa_agent::prompt;
use oodatcaa_config::{self as config, Config, Overrides, World};
use oodatcaa_core::layout::Layout;
use oodatcaa_core::text::{many, near};
use oodatcaa_ops::{ErrorKind, Failure, quoted};
use oodatcaa_sys::files;

/// Everything that would be written.
#[derive(Clone, Debug, Default)]
pub(super) struct Plan {
    /// The files, in the order in which they are written.
    pub(super) files: Vec<PlannedFile>,
    /// The agent that the new configuration names.
    pub(super) agent: Option<String>,
    /// What protects the user.
    pub(super) safety: Vec<String>,
    /// What the user should know.
    pub(super) remarks: Vec<String>,
    /// What the user has to add to a configuration that is there already; empty for nothing.
    pub(super) paste: String,
    /// There was no `.oodatcaa` before.
    pub(super) new_project: bool,
    /// The whole configuration is ours: it may be trusted.
    pub(super) may_trust: bool,
}

/// A file to write.
#[derive(Clone, Debug)]
pub(super) struct PlannedFile {
    pub(super) path: PathBuf,
    /// Its path for people.
    pub(super) shown: String,
    /// What it is, for people.
    pub(super) what: String,
    pub(super) content: String,
    /// What was there when the plan was made; `None` for no file.
    pub(super) replaces: Option<String>,
}

/// Refuses the directories that nobody wants as a project, unless forced.
pub(super) fn may_be_a_project(world: &World, layout: &Layout, force: bool) -> Result<(), Failure> {
    let (root, mark) = (layout.root(), layout.mark());
    match mark.symlink_metadata() {
        Ok(metadata) if !metadata.is_dir() => {
            let message = format!("{} is there and is not a directory of its own", mark.display());
            let hint = format!("look at it: ls -ld {}", quoted(&mark));
            return Err(Failure::new(ErrorKind::UnsafePath, message).hint(hint));
        }
        Ok(_) => return Ok(()),
        Err(_) if force => return Ok(()),
        Err(_) => {}
    }
    let not_here = |message: String| {
        let hint = format!("if you mean it: agentctl -C {} init --force", quoted(root));
        Failure::new(ErrorKind::Refused, message).hint(hint)
    };
    let home = world.home().and_then(|home| home.canonicalize().ok());
    if root == Path::new("/") || home.is_some_and(|home| home == root) {
        return Err(not_here(format!("{} is not a directory of one project", root.display())));
    }
    let Some(parent) = root.parent().and_then(|parent| Layout::find(parent, Path::is_dir)) else { return Ok(()) };
    let message = format!("{} belongs to the project {} already", root.display(), parent.root().display());
    let hint = format!("to work with that one: agentctl -C {} status", quoted(parent.root()));
    Err(not_here(message).hint(hint))
}

/// Makes the plan; `agent` and `preset` are those that the user named.
pub(super) fn plan(
    world: &World,
    layout: &Layout,
    found: &Found,
    agent: Option<&str>,
    preset: Option<&str>,
) -> Result<Plan, Failure> {
    let mut plan = Plan { new_project: !layout.mark().is_dir(), ..Plan::default() };
    // What stands there must be readable before anything is added to it.
    let mut overrides = Overrides::default();
    if let Some(preset) = preset {
        overrides = overrides.with("fleet.preset", preset, "--preset");
    }
    if !is_missing(&layout.config()) {
        let there = Config::load_in(world, layout, &Overrides::default())?.config.fleet.preset;
        if let Some(preset) = preset.filter(|preset| *preset != there.as_str()) {
            let message =
                format!("config.toml is there and stays as it is; its roles are those of `{}`", there.as_str());
            let hint = format!("write into its [fleet], and look at its tables [roles.*]: preset = \"{preset}\"");
            return Err(Failure::new(ErrorKind::Refused, message).hint(hint));
        }
    }
    let before = Config::load_in(world, layout, &overrides)?.config;
    if is_missing(&layout.config()) {
        plan.configuration(layout, found, agent, &before)?;
    } else if let Some(name) = agent {
        plan.describe(name, &before)?;
    }
    if is_missing(&layout.queue()) {
        let queue = text::queue(&before.workflow);
        plan.file(layout, layout.queue(), "an empty queue, WIP 1 in every role".into(), queue);
    }
    for rule in before.workflow.rules().iter().filter(|rule| !rule.duty.agentless) {
        let path = layout.prompt(&rule.role);
        if let (true, Some(content)) = (is_missing(&path), prompt::shipped(&rule.role)) {
            plan.file(layout, path, "prompt template, yours to change".into(), content.into());
        }
    }
    if found.git.is_some() {
        plan.ignore(layout)?;
    } else {
        plan.remarks.push("without git nothing that an agent does can be taken back: git init".into());
    }
    Ok(plan)
}

fn is_missing(path: &Path) -> bool {
    path.symlink_metadata().is_err()
}

impl Plan {
    fn file(&mut self, layout: &Layout, path: PathBuf, what: String, content: String) {
        let shown = path.strip_prefix(layout.root()).unwrap_or(&path).display().to_string();
        self.files.push(PlannedFile { path, shown, what, content, replaces: None });
    }

    /// Plans a new configuration, and says what it protects from.
    fn configuration(
        &mut self,
        layout: &Layout,
        found: &Found,
        wanted: Option<&str>,
        before: &Config,
    ) -> Result<(), Failure> {
        let (agent, known) = self.choose(found, wanted, before)?;
        let content = text::config(agent.as_deref(), known, found, before);
        let named = agent.as_ref().map_or("no agent".into(), |agent| format!("agent `{agent}`"));
        let gate = found.tests.first().map_or("no gate", |_| "gate `test`");
        self.file(layout, layout.config(), format!("{named}, {gate}"), content);
        let schema = layout.mark().join("config.schema.json");
        if is_missing(&schema) {
            self.file(layout, schema, "what editors know of config.toml".into(), config::schema());
        }
        self.agent = agent;
        self.may_trust = !layout.local_config().exists();

        let safety = [
            (is_missing(&layout.queue()), "one task at a time in every role"),
            (true, "at most 60m per attempt and 3 attempts per stage; nothing is simulated unless you name it"),
            (true, "at most 12 starts of agents a task and 1000 a day; a limit on money: agentctl config show budget"),
            (found.git.is_some(), "each task has a git worktree and a branch of its own, outside of this directory"),
            (true, "nothing is merged before you have approved it: agentctl inbox"),
        ];
        self.safety.extend(safety.iter().filter(|(holds, _)| *holds).map(|(_, line)| (*line).to_owned()));
        self.safety.extend(known.map(|known| format!("{}: {}", known.name, known.rights)));
        for (test, what) in &found.untried {
            let command = test.argv.join(" ");
            self.remarks.push(format!("no gate `{command}`: {what}; how to add one: agentctl config show --default"));
        }
        if let Some(test) = found.tests.first() {
            let command = test.argv.join(" ");
            self.safety
                .push(format!("`{command}` must succeed before a task leaves {}", text::listed(&text::gated(before))));
            self.remarks.push("whether the gate is green here is not tried yet: agentctl doctor --gates".into());
        }
        Ok(())
    }

    /// Chooses the agent of a new configuration: the one that was named, else the first that was found.
    fn choose(
        &mut self,
        found: &Found,
        wanted: Option<&str>,
        before: &Config,
    ) -> Result<(Option<String>, Option<&'static Known>), Failure> {
        let known = match wanted {
            None => {
                let mut names = found.agents.iter().map(|(known, _)| known.name.as_str());
                let first = names.next();
                let others: Vec<&str> = names.collect();
                if first.is_none() {
                    let remark = "no agent program was found; the configuration names none, and no worker will start";
                    self.remarks.push(remark.into());
                } else if !others.is_empty() {
                    self.remarks.push(format!("also found: {}; to take another one: --agent NAME", others.join(", ")));
                }
                first.and_then(known::find)
            }
            Some(name) if name == "sim" || before.agents.contains_key(name) => return Ok((Some(name.into()), None)),
            Some(name) => {
                let known = named(name)?;
                if !found.agents.iter().any(|(other, _)| other.name == name) {
                    self.remarks.push(format!("{name} is not on PATH; install it: {}", known.install()));
                }
                Some(known)
            }
        };
        Ok((known.map(|known| known.name.clone()), known))
    }

    /// Says what to write by hand into a configuration that is there already.
    fn describe(&mut self, name: &str, before: &Config) -> Result<(), Failure> {
        let remark = if before.agents.contains_key(name) {
            format!("config.toml is there and stays as it is; to use it, write into [fleet]: agent = \"{name}\"")
        } else {
            self.paste = text::agent(named(name)?);
            format!(
                "config.toml is there and stays as it is; to use {name}, write agent = \"{name}\" into [fleet] and append:"
            )
        };
        self.remarks.push(remark);
        Ok(())
    }

    /// Plans the lines that `.gitignore` lacks.
    fn ignore(&mut self, layout: &Layout) -> Result<(), Failure> {
        let path = layout.root().join(".gitignore");
        let old = match path.symlink_metadata() {
            Ok(metadata) if metadata.is_file() => files::read_text(layout.root(), &path, 1 << 20)?,
            Ok(_) => {
                self.remarks.push(".gitignore is not a regular file and stays as it is".into());
                return Ok(());
            }
            Err(_) => None,
        };
        let (missing, content) = text::gitignore(old.as_deref().unwrap_or_default());
        if !missing.is_empty() {
            let what = format!("+{}: runs, leases, locks, logs, journal", many(missing.len(), "line"));
            self.file(layout, path, what, content);
            self.files.last_mut().expect("just planned").replaces = old;
        }
        Ok(())
    }
}

fn named(name: &str) -> Result<&'static Known, Failure> {
    known::find(name).ok_or_else(|| {
        let names: Vec<&str> = KNOWN.iter().map(|known| known.name.as_str()).collect();
        let message = format!("no agent `{name}` is known; there are: {}", names.join(", "));
        Failure::new(ErrorKind::Usage, message).hint(match near(name, names.iter().copied()).first() {
            Some(meant) => format!("agentctl init --agent {meant}"),
            None => "any program will do: how to describe yours is shown by: agentctl config show --default".into(),
        })
    })
}
