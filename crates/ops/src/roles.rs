//! Roles as a configuration has them: each with where it comes from, and a new one written into the project's files.

use std::{os::unix::fs::PermissionsExt as _, path::Path, time::Duration};

use crate::{
    ErrorKind, Failure, Project, quoted,
    view::{RoleAddedView, RoleDetail, RoleEntry, RoleGateView, SettingView, WrittenView},
};
use oodatcaa_agent::{example, prompt};
use oodatcaa_config::{Config, Loaded, Preset, World, trust};
use oodatcaa_core::{
    Duty, Queue, Role, RoleRule, RunName, Status, TaskId, Token,
    text::{near, one_line},
};
use oodatcaa_sys::files::{self, Durable, named};

/// The largest configuration that is extended; none that loads is larger.
const LARGEST: u64 = 1 << 20;

/// Names that mean somebody else wherever a role may be named.
const TAKEN: [&str; 2] = ["all", "human"];

/// A role to be added, as a person describes it.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Its name.
    pub name: String,
    /// The status that it claims.
    pub takes: String,
    /// The status while it works; `NAME_works` when absent.
    pub works: Option<String>,
    /// The status after success.
    pub done: String,
    /// The status when attempts are used up; `needs_manual` when absent.
    pub failed: Option<String>,
    /// The status when its agent asks for a new plan.
    pub replan: Option<String>,
    /// The agent that works; the fleet's when absent.
    pub agent: Option<String>,
    /// Gates to run after its agent said done.
    pub gates: Vec<String>,
    /// The types of tasks that begin with it.
    pub begins: Vec<String>,
    /// Its work is what tasks are about.
    pub builds: bool,
    /// Its purpose, for its prompt.
    pub about: Option<String>,
}

impl Wanted {
    fn rule(&self) -> RoleRule {
        let status = |word: &str| Status::new(word);
        RoleRule {
            role: Role::new(self.name.as_str()),
            takes: status(&self.takes),
            works: self.works.as_deref().map_or_else(|| Status::new(format!("{}_works", self.name)), status),
            done: status(&self.done),
            done_with_children: None,
            failed: self.failed.as_deref().map_or(Status::NEEDS_MANUAL, status),
            replan: self.replan.as_deref().map(status),
            ttl: Duration::from_secs(45 * 60),
            duty: Duty {
                builds: self.builds,
                begins: self.begins.clone(),
                agentless: self.agent.as_deref() == Some("none"),
                ..Duty::default()
            },
        }
    }

    /// Writes its table.
    fn table(&self, rule: &RoleRule) -> String {
        let text = |word: &str| toml::Value::from(word);
        let list = |all: &[String]| (!all.is_empty()).then(|| toml::Value::from(all.to_vec()));
        let entries = [
            ("takes", Some(text(rule.takes.as_str()))),
            ("works", Some(text(rule.works.as_str()))),
            ("done", Some(text(rule.done.as_str()))),
            ("failed", Some(text(rule.failed.as_str()))),
            ("replan", rule.replan.as_ref().map(|status| text(status.as_str()))),
            ("agent", self.agent.as_deref().map(text)),
            ("gates", list(&self.gates)),
            ("begins", list(&self.begins)),
            ("builds", self.builds.then(|| true.into())),
        ];
        let lines = entries.into_iter().filter_map(|(key, value)| Some(format!("{key} = {}\n", value?)));
        format!("[roles.{}]\n{}", self.name, lines.collect::<String>())
    }
}

fn refused(message: impl Into<String>) -> Failure {
    Failure::new(ErrorKind::Refused, message).see("roles")
}

impl Project {
    /// Lists the roles of the configuration, in its order.
    pub fn roles(&self) -> Result<Vec<RoleEntry>, Failure> {
        let (loaded, reading) = (self.loaded()?, self.read()?);
        let queue = &reading.snapshot.queue;
        Ok(loaded.config.workflow.rules().iter().map(|rule| entry(loaded, queue, rule)).collect())
    }

    /// Describes a role.
    pub fn role(&self, name: &str) -> Result<RoleDetail, Failure> {
        let (loaded, reading) = (self.loaded()?, self.read()?);
        let config = &loaded.config;
        let names = config.role_names();
        let Some(rule) = config.workflow.rule(&Role::new(name)) else {
            let failure = Failure::new(ErrorKind::NotFound, format!("there is no role `{}`", one_line(name)));
            return Err(match near(name, names.iter().map(String::as_str)).first() {
                Some(near) => failure.hint(format!("agentctl role show {near}")),
                None => failure.hint("agentctl role list"),
            });
        };
        let own = config.roles.get(&rule.role).cloned().unwrap_or_default();
        let path = self.layout()?.prompt(&rule.role);
        let gate = |name: &String| RoleGateView {
            name: name.clone(),
            argv: config.gates.get(name).map(|gate| gate.argv.clone()).unwrap_or_default(),
        };
        let sandbox = config.sandbox(own.agent.as_deref().unwrap_or_default(), &rule.role);
        let below = format!("roles.{name}.");
        Ok(RoleDetail {
            entry: entry(loaded, &reading.snapshot.queue, rule),
            builds: rule.duty.builds,
            merges: rule.duty.merges,
            begins: rule.duty.begins.clone(),
            gates: own.gates.iter().map(gate).collect(),
            prompt_source: match (path.symlink_metadata().is_ok(), prompt::shipped(&rule.role)) {
                _ if rule.duty.agentless => "none",
                (true, _) => "project",
                (false, Some(_)) => "ships",
                (false, None) => "missing",
            },
            prompt: self.shown(&path)?,
            sandbox: sandbox.mode.as_str(),
            require: sandbox.require.iter().map(|guarantee| guarantee.as_str()).collect(),
            settings: loaded.settings.iter().filter(|s| s.key.starts_with(&below)).map(SettingView::from).collect(),
        })
    }

    /// Adds a role: its table at the end of the project's configuration, whose every other byte stays, and its prompt,
    /// unless there is one.
    pub fn add_role(&self, wanted: &Wanted, dry_run: bool) -> Result<RoleAddedView, Failure> {
        let layout = self.layout()?;
        let rule = wanted.rule();
        let name = one_line(&wanted.name);
        if let Err(bad) = TaskId::parse(&wanted.name) {
            return Err(Failure::new(ErrorKind::Usage, format!("the name `{name}` {bad}")));
        }
        if TAKEN.contains(&wanted.name.as_str()) {
            return Err(refused(format!("`{name}` is no name for a role: it means somebody else already")));
        }
        let path = layout.config();
        let old = files::read_text(layout.root(), &path, LARGEST)?;
        // What the project says is looked at whole, also before somebody has trusted its last change.
        let world = World::of_process();
        let whole = Config::would_load(&world, layout, old.as_deref().unwrap_or_default())?.config;
        if whole.workflow.rule(&rule.role).is_some() {
            let hint =
                format!("look at it: agentctl role show {name}; change it in [roles.{name}] of .oodatcaa/config.toml");
            return Err(refused(format!("there is a role `{name}` already")).hint(hint));
        }
        let mut notes = whole.workflow.admits(&rule).map_err(|bad| {
            refused(format!("it cannot work: {bad}")).hint("which statuses are whose: agentctl role list")
        })?;

        let table = wanted.table(&rule);
        let before = old.as_deref().unwrap_or_default();
        let gap = match before {
            "" => "",
            text if text.ends_with('\n') => "\n",
            _ => "\n\n",
        };
        let text = format!("{before}{gap}{table}");
        Config::would_load(&world, layout, &text)?;

        let at = layout.prompt(&rule.role);
        // Nobody reads one of a role without an agent.
        let is_read = !rule.duty.agentless;
        let new_prompt = (is_read && at.symlink_metadata().is_err()).then(|| {
            let about = wanted.about.clone().unwrap_or_else(|| format!("Do what this task asks of the role `{name}`."));
            prompt::of_new_role(&about)
        });
        if let Some(template) = &new_prompt {
            let run = layout.run(&TaskId::parse("EXAMPLE").expect("a good id"), &RunName::of(Token(1)));
            let example = example::assignment(&rule, layout.root(), &run);
            prompt::render(template, &example, &prompt::PromptFacts::default())
                .map_err(|error| Failure::new(ErrorKind::Usage, format!("failed to {error}")))?;
        } else if is_read {
            notes.push(format!("{} is there already and stays as it is", self.shown(&at)?));
        }
        let mut files = vec![WrittenView { path: self.shown(&path)?, what: format!("[roles.{name}] at its end") }];
        if new_prompt.is_some() {
            let what = if wanted.about.is_some() { "its prompt" } else { "its prompt: say there what it is for" };
            files.push(WrittenView { path: self.shown(&at)?, what: what.into() });
        }
        if !dry_run {
            write(&path, old.as_deref(), &text, new_prompt.as_deref().map(|template| (at.as_path(), template)))?;
        }
        let mut next = Vec::new();
        if new_prompt.is_some() && wanted.about.is_none() {
            next.push(format!("$EDITOR {}", quoted(Path::new(&self.shown(&at)?))));
        }
        // A project that was trusted is trusted as it was before this.
        if world.var(trust::TRUST_ALL) != Some("1") {
            next.push("agentctl config trust".into());
        }
        next.push(format!("agentctl fleet start {name}"));
        Ok(RoleAddedView { role: rule.role, dry_run, files, table, notes, next })
    }

    /// Names a file of the project by its path in it.
    pub(crate) fn shown(&self, path: &Path) -> Result<String, Failure> {
        Ok(path.strip_prefix(self.layout()?.root()).unwrap_or(path).display().to_string())
    }
}

fn entry(loaded: &Loaded, queue: &Queue, rule: &RoleRule) -> RoleEntry {
    let config = &loaded.config;
    let ships = config.fleet.preset.role_names().contains(&rule.role.as_str());
    RoleEntry {
        role: rule.role.clone(),
        preset: ships.then_some(config.fleet.preset).map(Preset::as_str).map(Into::into),
        takes: rule.takes.clone(),
        works: rule.works.clone(),
        done: rule.done.clone(),
        done_with_children: rule.done_with_children.clone(),
        failed: rule.failed.clone(),
        replan: rule.replan.clone(),
        agentless: rule.duty.agentless,
        agents: config.roles.get(&rule.role).map(|role| role.agents.clone()).unwrap_or_default(),
        wip_limit: config.workflow.wip_limit(queue, &rule.role),
    }
}

/// Writes the prompt, then the configuration that names its role; what was changed meanwhile is left as it is.
fn write(config: &Path, old: Option<&str>, text: &str, prompt: Option<(&Path, &str)>) -> Result<(), Failure> {
    if let Some((path, template)) = prompt {
        if let Some(directory) = path.parent() {
            files::make_named_dir(directory)?;
        }
        named::write_new(path, template, 0o644).map_err(|error| Failure::io("write", path, &error))?;
    }
    let done = match old {
        None => named::write_new(config, text, 0o644),
        Some(old) => match named::text(config) {
            Ok(now) if now == old => {
                let mode = config.metadata().map(|found| found.permissions().mode());
                mode.and_then(|mode| named::write_as(config, text, mode & 0o7777, Durable::Yes))
            }
            Ok(_) => Err(std::io::Error::other("it has changed meanwhile; try again")),
            Err(error) => Err(error),
        },
    };
    done.map_err(|error| {
        if let Some((path, _)) = prompt {
            // Best effort: a prompt without a role is read by nobody.
            let _ = named::remove(path);
        }
        Failure::io("write", config, &error)
    })
}
