//! A program that does the work of attempts, as a configuration describes it.
//!
//! There are three kinds, and they differ in what is executed and in who judges the end: any command (`command`), an agent
//! CLI that a descriptor describes (`cli`), and the simulated agent (`sim`).

use std::{collections::BTreeMap, io, path::Path, sync::Arc, time::Duration};

use super::{
    Assignment, Watcher, argv, cli, command,
    descriptor::{self, Descriptor, Dialect, Via},
    environment, find_program, home, sim,
};
use oodatcaa_config::{AgentConfig, AgentKind, PromptVia};
use oodatcaa_core::Outcome;
use oodatcaa_process::{Exit, Invocation};

/// A program that does the work of attempts.
#[derive(Clone, Debug)]
pub struct Agent {
    pub(crate) name: String,
    pub(crate) config: AgentConfig,
    /// The description of an agent CLI; `None` for other programs, and for one that nobody described well.
    descriptor: Option<Arc<Descriptor>>,
    bad: Option<BadAgent>,
}

/// The reason why an agent cannot be used as it is configured.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("use agent `{name}`: {what}")]
pub struct BadAgent {
    name: String,
    what: String,
}

/// Opens the agent of this name. A configuration that cannot be used opens as well: see [`Agent::problem`].
pub fn open(name: &str, config: &AgentConfig) -> Agent {
    let mut config = config.clone();
    if config.kind == AgentKind::Sim {
        sim::complete(&mut config);
    }
    let described = match config.kind {
        AgentKind::Adapter => {
            let adapter = config.adapter.as_deref().unwrap_or(name);
            descriptor::load(adapter, &config.adapters).map(Some).map_err(|what| format!("cannot {what}"))
        }
        AgentKind::Command | AgentKind::Sim => Ok(None),
    };
    let checked = match &described {
        Ok(Some(descriptor)) => cli::check(&config, descriptor).and_then(|()| variables_are_theirs(&config)),
        Ok(None) => command::check(&config).and_then(|()| variables_are_theirs(&config)),
        Err(what) => Err(what.clone()),
    };
    let bad = checked.err().map(|what| BadAgent { name: name.into(), what });
    Agent { name: name.into(), config, descriptor: described.ok().flatten().map(Arc::new), bad }
}

/// Returns what stands in an agent's place for roles that work without: nothing of it is ever executed.
pub fn nobody() -> Agent {
    Agent { name: "none".into(), config: AgentConfig::default(), descriptor: None, bad: None }
}

/// Checks that nobody else sets our variables.
fn variables_are_theirs(config: &AgentConfig) -> Result<(), String> {
    let mut names = config.env.iter().chain(config.set.keys());
    match names.find(|variable| variable.starts_with(environment::OURS)) {
        Some(variable) => Err(format!(
            "variable `{variable}` belongs to us; names that start with `OODATCAA_` cannot be set or inherited"
        )),
        None => Ok(()),
    }
}

impl Agent {
    /// Returns its name in the configuration.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Tells whether the configuration sets this variable for it.
    pub fn sets(&self, variable: &str) -> bool {
        self.config.set.contains_key(variable)
    }

    /// Returns `true` for the simulated agent: everything that it touched says so.
    pub fn simulated(&self) -> bool {
        self.config.kind == AgentKind::Sim
    }

    /// Returns the description of an agent CLI.
    pub fn descriptor(&self) -> Option<&Descriptor> {
        self.descriptor.as_deref()
    }

    /// Returns what shares one allowance with others: adapter, account and model.
    pub fn pool(&self) -> String {
        if self.config.kind != AgentKind::Adapter {
            return self.name.clone();
        }
        let spoken = self.descriptor().is_some_and(|descriptor| descriptor.dialect == Dialect::Acp);
        // By the protocol an agent is only reached: its account is its own.
        let program = self.config.argv.first().filter(|_| spoken).and_then(|program| Path::new(program).file_name());
        let program = program.and_then(|name| name.to_str());
        let adapter = program.or(self.config.adapter.as_deref()).unwrap_or(&self.name);
        let account = self.config.account.as_deref().unwrap_or("default");
        let model = self.config.model.as_deref().unwrap_or("default");
        format!("{adapter}/{account}/{model}")
    }

    /// Returns what is wrong with its configuration. Each attempt would end as a `config` failure, and nothing is executed.
    pub fn problem(&self) -> Option<&BadAgent> {
        self.bad.as_ref()
    }

    /// Returns its program: what the configuration names, else the first of the descriptor's names that is on `path`.
    pub fn program(&self, path: &str, cwd: &Path) -> String {
        self.program_in(path, cwd, cwd)
    }

    /// Returns what is wrong with its configuration inside our sandbox, where its program brings none of its own:
    /// [`Agent::problem`], and permissions that only its own sandbox could keep.
    pub fn problem_sandboxed(&self) -> Option<BadAgent> {
        let permitted = |found: &Descriptor| found.args.permitted(self.config.permissions.as_deref(), true).err();
        let what = |word| {
            format!(
                "its permission `{word}` is kept by its own sandbox, which does not work inside ours; write \
                 `nested = true` in `[agents.{name}.sandbox]`, or other permissions",
                name = self.name
            )
        };
        self.bad.clone().or_else(|| {
            let word = self.descriptor().filter(|_| self.config.argv.is_empty()).and_then(permitted)?;
            Some(BadAgent { name: self.name.clone(), what: what(word) })
        })
    }

    /// Returns what is wrong with its configuration for this attempt.
    pub(crate) fn problem_of(&self, assignment: &Assignment) -> Option<BadAgent> {
        if assignment.sandboxed { self.problem_sandboxed() } else { self.bad.clone() }
    }

    pub(crate) fn program_in(&self, path: &str, project: &Path, workspace: &Path) -> String {
        match &self.descriptor {
            Some(descriptor) if self.config.argv.is_empty() => {
                let names = &descriptor.program.names;
                let there = names.iter().find(|name| find_program(name, path, workspace).is_some());
                there.or(names.first()).cloned().unwrap_or_default()
            }
            _ => argv::program(&self.config.argv, project, workspace),
        }
    }

    /// Returns its program, if that is not there: a worker looks for it before it claims anything.
    pub fn missing_program(&self, cwd: &Path) -> Option<String> {
        let path = environment::path(&self.config.set);
        let wanted = self.program(&path, cwd);
        find_program(&wanted, &path, cwd).is_none().then_some(wanted)
    }

    /// Returns how to install its program, where that is known.
    pub fn install(&self) -> Option<String> {
        self.config.install.clone().or_else(|| self.descriptor()?.program.install.clone())
    }

    /// Returns what reads the output while the agent works, where that output can be understood.
    pub fn watcher(&self, assignment: &Assignment) -> Option<Watcher> {
        Some(Watcher::new(Arc::clone(self.descriptor.as_ref()?), assignment))
    }

    /// Returns the time between TERM and KILL, where the program needs another time than the fleet gives.
    pub fn grace(&self) -> Option<Duration> {
        self.descriptor()?.kill.grace_s.map(Duration::from_secs)
    }

    /// Returns patterns of files that the program leaves in a workspace and that are no work.
    pub fn leaves(&self) -> &[String] {
        self.descriptor().map(|descriptor| descriptor.workspace.ignore.as_slice()).unwrap_or_default()
    }

    /// Returns `true` when it can go on with a session of its own: then [`Assignment::resume`] may name one.
    pub fn can_resume(&self) -> bool {
        self.descriptor().is_some_and(|descriptor| !descriptor.args.resume.is_empty())
    }

    /// Returns `true` when its own state can stand in the slot's directory: then [`Assignment::home`] may name one.
    pub fn wants_home(&self) -> bool {
        self.descriptor().is_some_and(|descriptor| home::wanted(descriptor, &home::lookup(&self.config.set)))
    }

    /// Makes the slot's directory ready for it, its sign-in included: before each run in one.
    pub fn prepare_home(&self, slot: &Path) -> io::Result<()> {
        let variable = home::lookup(&self.config.set);
        match self.descriptor().filter(|found| home::usable(found, Some(slot), &variable).is_some()) {
            Some(descriptor) => home::prepare_home(descriptor, slot, &variable),
            None => Ok(()),
        }
    }

    /// Returns the whole environment of an attempt.
    pub(crate) fn environment(&self, assignment: &Assignment) -> BTreeMap<String, String> {
        match self.descriptor() {
            Some(descriptor) => {
                let (inherit, set) = cli::variables(descriptor, &self.config, assignment.home.as_deref());
                environment(assignment, &inherit, &set)
            }
            None => environment(assignment, &self.config.env, &self.config.set),
        }
    }

    /// Returns the values that it is given and that must not be shown, the longest first.
    pub fn secrets(&self, assignment: &Assignment) -> Vec<String> {
        let env = self.environment(assignment);
        let named = self.descriptor().map(|descriptor| descriptor.env.secret.as_slice()).unwrap_or_default();
        environment::secrets(&env, &self.config.set, named)
    }

    /// Returns what to execute for this attempt. The prompt has been written to [`Assignment::prompt_file`].
    pub fn invocation(&self, assignment: &Assignment) -> Invocation {
        let env = self.environment(assignment);
        let path = env.get("PATH").map_or("", String::as_str);
        let (argv, on_stdin) = match self.descriptor() {
            // A configuration that was refused executes nothing: an empty argv cannot start.
            _ if self.problem_of(assignment).is_some() => (Vec::new(), false),
            Some(descriptor) => {
                cli::head(&assignment.prompt_file());
                let program = self.program(path, &assignment.workspace);
                (cli::arguments(descriptor, &self.config, assignment, program), descriptor.prompt.via == Via::Stdin)
            }
            None => (argv::fill(&self.config.argv, assignment), self.config.prompt == PromptVia::Stdin),
        };
        Invocation {
            argv,
            env,
            cwd: assignment.workspace.clone(),
            stdin: on_stdin.then(|| assignment.prompt_file()),
            stdout: assignment.run_dir.join("stdout.log"),
            stderr: assignment.run_dir.join("stderr.log"),
            confine: None,
        }
    }

    /// Returns what its exit means, by exit status, output and result file. Gates and other evidence are asked for afterwards,
    /// by the worker. Without the watcher that has read the output, the output files are read.
    pub fn outcome(&self, assignment: &Assignment, exit: &Exit, watched: Option<&Watcher>) -> Outcome {
        match (self.config.kind, &self.descriptor) {
            (AgentKind::Adapter, Some(descriptor)) => self.cli_outcome(descriptor, assignment, exit, watched),
            (AgentKind::Sim, _) => self.sim_outcome(assignment, exit),
            _ => self.command_outcome(assignment, exit),
        }
    }
}
